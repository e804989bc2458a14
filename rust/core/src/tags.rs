//! Delimiters inside of `content`: which text of a choice is reasoning, which is the answer.
//!
//! Mirrors `pure/tags.py`; the words are there.

use std::borrow::Cow;

use crate::code::{CodeState, ExportedCode};
use crate::marks::{
    ANY, Action, FLAGGED, Family, Found, Mark, Marks, Match, NONE, TagMode, Vocabulary, earliest,
    of_family, stands_at,
};

/// Where a choice is; see `START` … `OFF` in `pure/tags.py`, whose numbers these are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Start = 0,
    Prompted = 1,
    Reason = 2,
    After = 3,
    Answer = 4,
    Off = 5,
}

/// Where one choice is in its content; see `TagState` in `pure/tags.py`.
#[derive(Clone, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the fields are the reference's")]
pub struct TagState {
    pub(crate) mode: Mode,
    pub(crate) family: Family,
    pub(crate) held: String,
    pub(crate) trims: bool,
    pub(crate) line_start: bool,
    pub(crate) has_ends: bool,
    pub(crate) flagged: bool,
    pub(crate) in_text: bool,
    /// A field of its own says the reasoning; the caller sets it before each read.
    pub(crate) is_shadowed: bool,
    pub(crate) code: CodeState,
}

/// The state as plain values: (mode, family, held text, trims, at the start of a line, ends
/// of the answer are looked for, flagged, some of the answer was seen, the state of the code).
pub type ExportedTags = (i64, i64, String, bool, bool, bool, bool, bool, ExportedCode);

impl TagState {
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        Self {
            mode: match vocabulary.mode {
                TagMode::Off => Mode::Off,
                _ if vocabulary.is_prompted => Mode::Prompted,
                _ => Mode::Start,
            },
            family: if vocabulary.is_prompted { ANY } else { NONE },
            held: String::new(),
            trims: false,
            line_start: true,
            has_ends: false,
            flagged: false,
            in_text: false,
            is_shadowed: false,
            code: CodeState::default(),
        }
    }

    pub(crate) fn export(&self) -> ExportedTags {
        (
            self.mode as i64,
            self.family.into(),
            self.held.clone(),
            self.trims,
            self.line_start,
            self.has_ends,
            self.flagged,
            self.in_text,
            self.code.export(),
        )
    }

    pub(crate) fn load(state: ExportedTags) -> Self {
        let (mode, family, held, trims, line_start, has_ends, flagged, in_text, code) = state;
        let mode = match mode {
            0 => Mode::Start,
            1 => Mode::Prompted,
            2 => Mode::Reason,
            3 => Mode::After,
            4 => Mode::Answer,
            _ => Mode::Off,
        };
        let family = Family::try_from(family).unwrap_or(NONE);
        let code = CodeState::load(&code);
        Self {
            mode,
            family,
            held,
            trims,
            line_start,
            has_ends,
            flagged,
            in_text,
            is_shadowed: false,
            code,
        }
    }
}

impl Vocabulary {
    /// Whether no content that is still to come can be reasoning.
    pub(crate) fn is_settled(&self, state: &TagState) -> bool {
        match state.mode {
            Mode::Answer => !state.has_ends && self.mode != TagMode::Free,
            mode => mode == Mode::Off,
        }
    }

    /// The next content is not flagged, after some that was.
    pub(crate) fn end_flagged(&self, state: &mut TagState) {
        state.flagged = false;
        if matches!(state.mode, Mode::Prompted | Mode::Reason | Mode::After) {
            (state.mode, state.trims, state.family) = (Mode::After, self.trim, FLAGGED);
        }
    }

    /// Take the next content: (its reasoning, its answer, the family of the reasoning).
    ///
    /// `model` is in lower case. A side that is one piece of `text` is not copied.
    pub(crate) fn read<'a>(
        &self,
        state: &mut TagState,
        text: &'a str,
        model: &str,
        is_final: bool,
    ) -> (Cow<'a, str>, Cow<'a, str>, Family) {
        if state.held.is_empty() && self.is_one_piece(state, text) {
            state.line_start = text.ends_with('\n');
            return (Cow::Borrowed(text), Cow::Borrowed(""), state.family);
        }
        let held = state.held.len();
        let joined;
        let buffer = if held == 0 {
            text
        } else {
            joined = std::mem::take(&mut state.held) + text;
            &joined
        };
        let mut reading = Reading {
            vocabulary: self,
            state,
            buffer,
            model,
            is_final,
            reasoning: Pieces::default(),
            content: Pieces::default(),
            family: NONE,
        };
        reading.run();
        let Reading { reasoning, content, family, .. } = reading;
        (reasoning.of(text, held, buffer), content.of(text, held, buffer), family)
    }

    /// Whether a text is all reasoning and no mark may stand in it: so most of them are.
    pub(crate) fn is_one_piece(&self, state: &TagState, text: &str) -> bool {
        let is_inside = state.mode == Mode::Reason && !state.trims && !text.is_empty();
        is_inside && self.live_closers(state.family).next_place(text.as_bytes(), 0).is_none()
    }

    fn start_marks(&self, state: &TagState) -> &Marks {
        let is_flag = state.flagged || state.family == FLAGGED;
        match state.mode {
            Mode::After if is_flag => &self.flag_after,
            Mode::After => &self.after,
            Mode::Prompted if is_flag => &self.flag_start,
            _ => &self.start,
        }
    }

    fn live_closers(&self, family: Family) -> &Marks {
        if family == ANY { &self.any_closers } else { of_family(&self.closers, family) }
    }
}

/// Pieces of a buffer, one behind the other: a span as long as they touch.
#[derive(Default)]
struct Pieces {
    start: usize,
    end: usize,
    /// The pieces, once they do not touch.
    joined: String,
}

impl Pieces {
    fn is_empty(&self) -> bool {
        self.start == self.end && self.joined.is_empty()
    }

    fn push(&mut self, buffer: &str, start: usize, end: usize) {
        if start == end {
            return;
        }
        if !self.joined.is_empty() {
            self.joined.push_str(&buffer[start..end]);
        } else if self.start == self.end {
            (self.start, self.end) = (start, end);
        } else if self.end == start {
            self.end = end;
        } else {
            self.joined = [&buffer[self.start..self.end], &buffer[start..end]].concat();
        }
    }

    /// The whole; `text` begins `held` bytes behind the start of the buffer.
    fn of<'a>(self, text: &'a str, held: usize, buffer: &str) -> Cow<'a, str> {
        if !self.joined.is_empty() {
            Cow::Owned(self.joined)
        } else if self.start == self.end {
            Cow::Borrowed("")
        } else if self.start >= held {
            Cow::Borrowed(&text[self.start - held..self.end - held])
        } else {
            Cow::Owned(buffer[self.start..self.end].to_owned())
        }
    }
}

/// One call of `Vocabulary::read`. The methods take a place in the buffer and return the
/// one where they have stopped.
struct Reading<'r> {
    vocabulary: &'r Vocabulary,
    state: &'r mut TagState,
    buffer: &'r str,
    model: &'r str,
    is_final: bool,
    reasoning: Pieces,
    content: Pieces,
    /// Of the first reasoning.
    family: Family,
}

impl Reading<'_> {
    fn run(&mut self) {
        let mut at = 0;
        while at < self.buffer.len() {
            if self.reasoning.is_empty() {
                self.family = self.state.family;
            }
            at = match self.state.mode {
                Mode::Reason => self.reason(at),
                Mode::Start | Mode::Prompted | Mode::After => self.start(at),
                Mode::Answer if self.state.has_ends => self.ended_answer(at),
                Mode::Answer if self.vocabulary.mode == TagMode::Free => self.free_answer(at),
                Mode::Answer | Mode::Off => {
                    self.content.push(self.buffer, at, self.buffer.len());
                    return;
                }
            };
        }
    }

    /// Keep the rest of the buffer back.
    fn hold(&mut self, at: usize) -> usize {
        self.state.held.push_str(&self.buffer[at..]);
        self.buffer.len()
    }

    /// Before the first word of the answer: openers and strays count here.
    fn start(&mut self, at: usize) -> usize {
        let (vocabulary, buffer) = (self.vocabulary, self.buffer);
        let word = skip(buffer, at);
        let is_prompted = self.state.mode == Mode::Prompted;
        let trims = match self.state.mode {
            Mode::After => self.state.trims,
            _ => vocabulary.trim && is_prompted,
        };
        if !trims {
            let side = if is_prompted { &mut self.reasoning } else { &mut self.content };
            side.push(buffer, at, word);
            if is_prompted && word > at {
                self.state.line_start = buffer.as_bytes()[word - 1] == b'\n';
            }
        }
        if vocabulary.mode == TagMode::Free {
            self.state.code.take_all(&buffer.as_bytes()[at..word]);
        }
        if word == buffer.len() {
            return word;
        }
        let Some(found) = self.first_at(vocabulary.start_marks(self.state), word) else {
            self.state.mode = match (is_prompted, self.state.is_shadowed) {
                (true, _) => Mode::Reason,
                (false, true) => Mode::Off,
                (false, false) => Mode::Answer,
            };
            self.state.trims = false;
            return word;
        };
        self.follow(&found)
    }

    /// Go where the mark leads that stands in front of the answer or in it.
    fn follow(&mut self, found: &Found<'_>) -> usize {
        let Some(end) = found.end else {
            return self.hold(found.start);
        };
        if found.mark.action == Action::Swallow {
            self.state.mode = Mode::After;
            self.state.trims = self.vocabulary.trim && !self.state.in_text;
        } else {
            self.enter(found.mark);
        }
        end
    }

    fn enter(&mut self, mark: &Mark) {
        let (vocabulary, state) = (self.vocabulary, &mut *self.state);
        state.family = mark.family;
        state.trims = vocabulary.trim;
        match mark.action {
            Action::Open => (state.mode, state.line_start) = (Mode::Reason, true),
            Action::Close | Action::End => {
                (state.mode, state.has_ends) = (Mode::After, false);
                // Between two pieces of text the white space says something.
                let is_close = mark.action == Action::Close;
                state.trims = vocabulary.trim && !state.in_text && is_close;
            }
            Action::Final | Action::Swallow | Action::Implicit => {
                state.mode = Mode::Answer;
                state.has_ends = mark.action == Action::Final
                    && !of_family(&vocabulary.ends, mark.family).is_empty();
                state.trims = state.has_ends && vocabulary.trim;
                state.code = CodeState::default();
            }
        }
    }

    /// The first place from `at` on that is not dropped; None where all of it is.
    fn trimmed(&mut self, at: usize) -> Option<usize> {
        if !self.state.trims {
            return Some(at);
        }
        let at = skip(self.buffer, at);
        if at == self.buffer.len() {
            return None;
        }
        self.state.trims = false;
        Some(at)
    }

    /// Where the text ends that is in front of what `earliest` has found.
    fn end_before(&self, found: Option<&Found<'_>>) -> usize {
        match found {
            Some(found) if found.end.is_some() || !self.is_final => found.start,
            _ => self.buffer.len(),
        }
    }

    fn reason(&mut self, at: usize) -> usize {
        let Some(at) = self.trimmed(at) else {
            return self.buffer.len();
        };
        let marks = self.vocabulary.live_closers(self.state.family);
        let found = earliest(marks, self.buffer, at, self.state.line_start);
        let end = self.end_before(found.as_ref());
        if end > at {
            self.reasoning.push(self.buffer, at, end);
            self.state.line_start = self.buffer.as_bytes()[end - 1] == b'\n';
        }
        let Some(Found { start, end: Some(after), mark }) = found else {
            return self.hold(end);
        };
        if mark.action != Action::Swallow {
            self.enter(mark);
        }
        if mark.action == Action::Implicit { start } else { after }
    }

    fn ended_answer(&mut self, at: usize) -> usize {
        let Some(at) = self.trimmed(at) else {
            return self.buffer.len();
        };
        let marks = of_family(&self.vocabulary.ends, self.state.family);
        let found = earliest(marks, self.buffer, at, true);
        let end = self.end_before(found.as_ref());
        self.content.push(self.buffer, at, end);
        let Some(Found { end: Some(after), mark, .. }) = found else {
            return self.hold(end);
        };
        self.enter(mark);
        after
    }

    /// The answer in the free mode: marks count anywhere but in code.
    fn free_answer(&mut self, begin: usize) -> usize {
        let (vocabulary, bytes) = (self.vocabulary, self.buffer.as_bytes());
        self.state.in_text = true;
        let mut at = begin;
        while let Some(place) = vocabulary.free.next_place(bytes, at) {
            self.state.code.take_all(&bytes[at..place]);
            if !self.state.code.is_code_before(bytes[place]) {
                if let Some(found) = self.first_at(&vocabulary.free, place) {
                    self.content.push(self.buffer, begin, place);
                    return self.follow(&found);
                }
            }
            self.state.code.take(bytes[place]);
            at = place + 1;
        }
        self.state.code.take_all(&bytes[at..]);
        self.content.push(self.buffer, begin, bytes.len());
        bytes.len()
    }

    /// The mark that stands at `at`, or may still come to stand there.
    fn first_at<'m>(&self, marks: &'m Marks, at: usize) -> Option<Found<'m>> {
        let bytes = self.buffer.as_bytes();
        if !marks.firsts.contains(&bytes[at]) {
            return None;
        }
        let mut partial = None;
        for mark in marks.iter() {
            let is_for_model = mark.models.is_empty()
                || mark.models.iter().any(|name| self.model.contains(&**name));
            let end = match stands_at(mark, bytes, at) {
                Match::No => continue,
                _ if !is_for_model => continue,
                Match::Partial => None,
                Match::Whole(end) if !mark.before_upper => Some(end),
                Match::Whole(end) => match bytes.get(end) {
                    Some(next) if !next.is_ascii_uppercase() => continue,
                    next => next.map(|_| end),
                },
            };
            let found = Found { start: at, end, mark };
            if end.is_some() {
                return Some(found);
            }
            partial.get_or_insert(found);
        }
        if self.is_final { None } else { partial }
    }
}

fn skip(text: &str, at: usize) -> usize {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    at + text.as_bytes()[at..].iter().take_while(|byte| is_space(byte)).count()
}
