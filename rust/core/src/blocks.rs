//! What the framer finds; mirrors `pure/blocks.py`.

/// A half-open range of the framer's buffer.
pub type Span = (usize, usize);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BlockKind {
    #[default]
    Event,
    Json,
    Body,
    Stray,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Line,
    Event,
}

/// What lies between two blank lines; the spans are valid until the next read.
#[derive(Debug, Default)]
pub struct Block {
    pub kind: BlockKind,
    /// Where it starts and, once it is complete, ends in the buffer.
    pub raw: Span,
    /// Values of the `data` lines (the first apart: there is seldom a second).
    pub first: Option<Span>,
    pub more: Vec<Span>,
    pub event: Option<Span>,
    pub id: Option<Span>,
    pub retry: Option<Span>,
    /// Lines that are no field but look like JSON, or values of `error`.
    pub stray: Vec<Span>,
    /// Among them is an `error` line: it counts beside data as well.
    pub has_error: bool,
    /// Bytes that count against the limit of an event; a block with none has not begun.
    pub(crate) size: usize,
}

impl Block {
    /// The values, in order.
    pub fn values(&self) -> impl Iterator<Item = Span> + '_ {
        self.first.into_iter().chain(self.more.iter().copied())
    }

    pub(crate) fn push_value(&mut self, value: Span) {
        if self.first.is_none() {
            self.first = Some(value);
        } else {
            self.more.push(value);
        }
    }

    pub(crate) fn spans_mut(&mut self) -> impl Iterator<Item = &mut Span> {
        self.first
            .iter_mut()
            .chain(&mut self.more)
            .chain(&mut self.event)
            .chain(&mut self.id)
            .chain(&mut self.retry)
            .chain(&mut self.stray)
    }
}

#[derive(Clone, Copy, Debug, Default)]
pub struct Limits {
    pub line: Option<usize>,
    pub event: Option<usize>,
}
