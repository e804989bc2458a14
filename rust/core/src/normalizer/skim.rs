//! Events that a template decides, before they are read or instead of it.

use super::{Host, Model, Normalizer, Output};
use crate::blocks::Span;
use crate::documents::Document;
use crate::events::make_room;
use crate::kept::Kept;
use crate::rules::Rules;
use crate::scan::Text;
use crate::template::{FIELD, Found, Lesson, Template, Templates};

/// A larger document is not remembered: reading it again costs less than memory for it.
const MOST_BYTES: usize = 16 * 1024;

/// A document in the framer's buffer that a template has found.
#[derive(Clone, Copy, Debug)]
struct Event {
    /// Where it starts.
    document: usize,
    found: Found,
    /// Where the next block starts; None for a document whose block was read already.
    behind: Option<usize>,
}

impl Event {
    /// The event whose line starts at `start` of an input, if it is one that `find` knows.
    fn at(input: &[u8], start: usize, find: impl FnOnce(&[u8]) -> Option<Found>) -> Option<Self> {
        let data = input[start..].strip_prefix(FIELD)?;
        Self::of(data, start, find(data)?)
    }

    /// The event whose line starts at `start`, with `data` in it and behind it; None where it
    /// does not end there, or with line ends of two sorts, of which the framer knows more.
    fn of(data: &[u8], start: usize, found: Found) -> Option<Self> {
        let blank = match data[found.end..] {
            [b'\n', b'\n', ..] => 2,
            [b'\r', b'\n', b'\r', b'\n', ..] => 4,
            _ => return None,
        };
        let document = start + FIELD.len();
        Some(Self { document, found, behind: Some(document + found.end + blank) })
    }
}

impl Normalizer {
    /// Decide the events at the front of what is unread, as long as a template fits.
    pub(super) fn skim<H: Host>(
        &mut self,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<(), H::Error> {
        if self.templates.is_empty() {
            return Ok(());
        }
        while let Some(start) = self.framer.block_start() {
            let event = Event::at(self.framer.rest(0), start, |data| self.templates.find(data));
            let Some(event) = event else { break };
            let Some(behind) = self.follow(event, None, host, out)? else { break };
            self.framer.go_on_at(behind);
        }
        Ok(())
    }

    /// The same with `data` itself, between two events of which `at` is. Returns up to where
    /// it was taken; what of it was not put out is at `passed`.
    pub(super) fn skim_directly<H: Host>(
        &mut self,
        data: &[u8],
        mut at: usize,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<usize, H::Error> {
        self.passed = (at, at);
        while let Some(event) = Event::at(data, at, |data| self.templates.find(data)) {
            let Some(behind) = self.follow(event, Some(data), host, out)? else { break };
            at = behind;
            self.passed.1 = at;
        }
        Ok(at)
    }

    /// Decide a document by a template; whether one fits.
    pub(super) fn by_template<H: Host>(
        &mut self,
        span: Span,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<bool, H::Error> {
        match self.templates.find(self.framer.bytes(span)) {
            Some(found) if found.end == span.1 - span.0 => {
                let event = Event { document: span.0, found, behind: None };
                Ok(self.follow(event, None, host, out)?.is_some())
            }
            _ => Ok(false),
        }
    }

    /// Decide a document, and the events behind it that are like it, as the template says that
    /// was found last. They are in `fed`, or in the framer's buffer. Returns the place behind
    /// them; None, and nothing has changed, where the first one is not for a template to decide.
    fn follow<H: Host>(
        &mut self,
        mut event: Event,
        fed: Option<&[u8]>,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<Option<usize>, H::Error> {
        let Self { framer, rules, templates, kept, .. } = self;
        let Some(template) = templates.first() else { return Ok(None) };
        let is_told = template.asks_for_text() || self.output == Output::Dict || kept.wants_all();
        let input = fed.unwrap_or(framer.rest(0));
        let mut behind = None;
        let mut count = 0;
        let mut result = Ok(());
        while event.behind.is_none() || framer.fits(FIELD.len() + event.found.end) {
            let found = event.found;
            let data = &input[event.document..event.document + found.end];
            let text = match is_told.then(|| Template::text(data, found)) {
                // What is no text, the ordinary way knows how to read.
                Some(Err(_)) => break,
                Some(Ok(text)) => Some(text),
                None => None,
            };
            // A text that need not be told does not change what is decided of the next one.
            if (is_told || count == 0) && !template.decide(text.as_deref(), rules) {
                break;
            }
            count += 1;
            behind = Some(event.behind.unwrap_or_default());
            if self.output == Output::Sse && template.is_edited() {
                let place = (event.document, found);
                let flushed = if fed.is_some() {
                    // What was taken before is in the framer's buffer, and comes first.
                    out.extend_from_slice(framer.bytes((self.flushed, framer.ready())));
                    self.flushed = framer.ready();
                    &mut self.passed.0
                } else {
                    &mut self.flushed
                };
                make_room(out, &input[*flushed..]);
                *flushed = template.edit(input, place, *flushed, out);
            } else if self.output == Output::Dict {
                let (serial, is_plain) = (template.serial, template.is_plain);
                let model = Model { serial, parts: &|| template.parts(), is_plain };
                result = host.like(&model, text.as_deref().unwrap_or_default());
            }
            if kept.is_wanted() {
                kept.repeat(template, Template::raw(data, found));
                if kept.is_full() && result.is_ok() {
                    result = host.collect(kept.take_oldest());
                }
            }
            let next = event
                .behind
                .filter(|_| result.is_ok())
                .and_then(|start| Event::at(input, start, |data| template.find(data)));
            let Some(next) = next else { break };
            event = next;
        }
        if count > 0 {
            template.count(count, rules);
            self.facts.count += count;
            self.alike += count;
            self.facts.visible |= template.is_visible();
        }
        result.map(|()| behind)
    }

    /// Remember what was decided of a document, if another one like it would be decided alike.
    pub(super) fn learn(
        (templates, kept, rules): (&mut Templates, &Kept, &Rules),
        document: &Document,
        text: Text<'_>,
        is_plain: bool,
    ) {
        let is_kept_small = text.bytes.len() <= MOST_BYTES;
        if rules.table.splits || rules.has_held || rules.like.is_none() || !is_kept_small {
            return;
        }
        if let Some((index, delta)) = document.lesson() {
            let cuts = &document.cuts;
            let has_usage = kept.holds(text.bytes, &rules.table.usage_keys);
            let lesson = Lesson { text, delta, index, cuts, is_plain, has_usage };
            templates.learn(&lesson, rules);
        }
    }
}
