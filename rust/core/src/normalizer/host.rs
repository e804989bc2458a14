//! What the engine and its surroundings tell each other.

use crate::blocks::Unit;
use crate::rules::Rules;
use crate::state::ExportedState;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    Sse,
    Dict,
}

/// What a declined event is; see `decide` in `pure/documents.py`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Event,
    /// Cut off by the end of the input.
    Tail,
    Error,
    Stray,
    /// All there is: nothing is held back.
    Body,
    /// The same, and it ends the stream.
    Last,
    /// No event: what is held back comes out, because the stream fails.
    Flush,
    /// The same, because it ends well.
    End,
}

/// The facts of a fault; the words are in `faults.py`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    TooLarge(Unit, usize),
    Empty {
        done: bool,
        skipped: u64,
    },
    NotSse(Vec<u8>),
    Truncated,
    /// Found by the reference engine; the host has it.
    Handed,
}

/// What one event added to the facts of its stream.
// The flags are independent facts, not states of one machine.
#[allow(clippy::struct_excessive_bools)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Facts {
    pub count: u64,
    pub malformed: u64,
    pub complete: bool,
    pub visible: bool,
    pub reasoning: bool,
    /// A choice with a delta was seen.
    pub has_deltas: bool,
    /// It was a whole completion.
    pub was_whole: bool,
    /// The mark that ends the stream stood behind a document.
    pub ends: bool,
}

/// The reference engine's answer.
#[derive(Debug, Default)]
pub struct Handed {
    /// Documents that go out before it.
    pub before: Vec<Vec<u8>>,
    /// For byte output: the edited values, as many as were given.
    pub edited: Vec<Vec<u8>>,
    pub is_fault: bool,
    /// The fault is that it could not be read.
    pub is_broken: bool,
    pub facts: Facts,
    /// Choices whose content leaves as it came from here on.
    pub settled: Vec<i64>,
}

/// The two documents that one was split into.
pub type Halves = (Vec<u8>, Vec<u8>);

/// A normalised document that others will be like; see `Host::like`.
pub struct Model<'a> {
    /// Tells models of one stream apart.
    pub serial: u64,
    /// What stands before, between and behind its texts, which are all the same. Made when it
    /// is asked for: once.
    pub parts: &'a dyn Fn() -> Vec<Vec<u8>>,
    pub is_plain: bool,
}

impl std::fmt::Debug for Model<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Model").field("serial", &self.serial).finish_non_exhaustive()
    }
}

/// What the engine needs from outside.
pub trait Host {
    type Error;

    /// Chunk output: take a normalised document, in pieces. It is plain if all its integers fit
    /// 64 bits.
    fn chunk(&mut self, document: &[&[u8]], is_plain: bool) -> Result<(), Self::Error>;

    /// Chunk output: take a document like a model, with this text in it.
    fn like(&mut self, model: &Model<'_>, text: &str) -> Result<(), Self::Error>;

    /// Take documents that came out, for the message and the usage.
    fn collect(&mut self, documents: Vec<Vec<u8>>) -> Result<(), Self::Error>;

    /// Let the reference engine decide an event; the states of `rules` go there and stay.
    /// `before` is what it needs to know of the events before; see `pure/handover.py`.
    fn hand_over(
        &mut self,
        kind: Kind,
        lines: (&[&[u8]], &[&[u8]]),
        rules: &mut Rules,
        before: (&[u8], bool, bool),
    ) -> Result<Handed, Self::Error>;

    /// A choice has finished; the reference engine remembers how.
    fn note_finish(&mut self, index: i64, reason: &str) -> Result<(), Self::Error>;

    /// Split a normalised document that mixes reasoning and answer.
    fn split(&mut self, document: &[u8]) -> Result<Option<Halves>, Self::Error>;

    /// The states of the choices back from the reference engine; None where they hold text
    /// that Rust cannot: lone surrogates.
    fn take_back(&mut self) -> Result<Option<Vec<(i64, ExportedState)>>, Self::Error>;
}
