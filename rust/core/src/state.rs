//! What one choice has emitted, and how much of a text is new to it.
//!
//! Mirrors `pure/state.py`.

use crate::marks::Vocabulary;
use crate::tags::{ExportedTags, TagState};
use crate::tool_calls::{CallState, ExportedCalls};

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// What one choice has emitted so far; see `ChoiceState` in `pure/state.py`.
///
/// Positions are counted in bytes here: text that begins with, ends with or equals another
/// does so in either unit.
#[derive(Clone, Debug)]
pub struct ChoiceState {
    leader: Option<usize>,
    /// Code points emitted: the measure of the memory.
    length: usize,
    fragments: usize,
    last: usize,
    /// None once the source has said something else.
    cursors: Vec<(usize, Option<usize>)>,
    forgotten: bool,
    whole: String,
    pub(crate) tags: TagState,
    /// A member of its own said reasoning.
    pub(crate) is_fielded: bool,
    /// Delimited text that a field says as well, as it was sent, until its closer comes.
    pub(crate) shadow: String,
    pub(crate) calls: CallState,
    /// The `finish_reason` that the reference holds back.
    finish: String,
}

/// What was emitted as plain values, in code points: (leader or -1, length, fragments, last,
/// forgotten, cursors, whole).
pub type ExportedText = (i64, usize, usize, usize, bool, Vec<(usize, Option<usize>)>, String);

/// (the text, the tags, a field was seen, the shadow, the tool calls, the `finish_reason`).
pub type ExportedState = (ExportedText, ExportedTags, bool, String, ExportedCalls, String);

impl ChoiceState {
    pub(crate) fn new(vocabulary: &Vocabulary) -> Self {
        Self {
            leader: None,
            length: 0,
            fragments: 0,
            last: 0,
            cursors: Vec::new(),
            forgotten: false,
            whole: String::new(),
            tags: TagState::new(vocabulary),
            is_fielded: false,
            shadow: String::new(),
            calls: CallState::default(),
            finish: String::new(),
        }
    }

    /// Whether something was received that has not gone out.
    pub(crate) fn holds(&self) -> bool {
        !self.tags.held.is_empty() || !self.finish.is_empty()
    }

    /// A member of its own says reasoning: from here on delimited text of `source` counts
    /// only as its echo.
    pub(crate) fn set_fielded(&mut self, source: usize) {
        if !std::mem::replace(&mut self.is_fielded, true) {
            // (No cursor says as much as one at the start.)
            let is_known = self.cursors.iter().any(|(known, _)| *known == source);
            if self.leader == Some(source) && !is_known {
                self.cursors.push((source, Some(self.whole.len())));
            }
        }
    }

    /// Whether delimited text goes on saying what a field has said.
    pub(crate) fn is_echo(&mut self, source: usize, text: &str) -> bool {
        if self.forgotten {
            return false;
        }
        let at = (*self.cursor(source)).unwrap_or(0);
        let said = text.trim_matches(SPACE);
        let Some(rest) = self.whole.get(at..) else { return false };
        // White space around delimiters was trimmed, that in the field was not, or was.
        let fresh = rest.trim_start_matches(SPACE);
        let end = if rest.starts_with(text) {
            at + text.len()
        } else if fresh.starts_with(said) {
            at + (rest.len() - fresh.len()) + said.len()
        } else {
            return false;
        };
        *self.cursor(source) = Some(end);
        true
    }

    /// Whether delimited text has said all that a field has said.
    pub(crate) fn is_echoed(&mut self, source: usize) -> bool {
        let at = (*self.cursor(source)).unwrap_or(0);
        let rest = self.whole.get(at..).unwrap_or("");
        !self.forgotten && rest.trim_matches(SPACE).is_empty()
    }

    /// The source that first gave text.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.leader
    }

    /// A source has said everything up to here.
    pub(crate) fn catch_up(&mut self, source: usize) {
        *self.cursor(source) = Some(self.whole.len());
    }

    /// Whether `text` is all that has come out so far.
    pub(crate) fn is_all(&self, text: &str) -> bool {
        !self.forgotten && text == self.whole
    }

    /// Remember `text` as emitted from a source, of whose text it is all or a part.
    pub(crate) fn emit(&mut self, source: usize, text: &str, is_all: bool, memory: usize) {
        if *self.leader.get_or_insert(source) != source && is_all {
            *self.cursor(source) = None;
        }
        self.fragments += 1;
        self.last = text.len();
        self.length += count(text);
        if self.length > memory {
            self.forgotten = true;
            self.whole = String::new();
        }
        if !self.forgotten {
            // By a quarter, not twice: of many streams most wait.
            if self.whole.capacity() - self.whole.len() < text.len() {
                self.whole.reserve_exact(text.len() + self.whole.len() / 4);
            }
            self.whole.push_str(text);
        }
    }

    fn cursor(&mut self, source: usize) -> &mut Option<usize> {
        let at = self.cursors.iter().position(|(known, _)| *known == source).unwrap_or_else(|| {
            self.cursors.push((source, Some(0)));
            self.cursors.len() - 1
        });
        &mut self.cursors[at].1
    }

    fn export(&self) -> ExportedState {
        let points = |bytes: usize| self.whole.get(..bytes).map_or(0, count);
        let last = self.whole.len().checked_sub(self.last);
        let last = last.and_then(|at| self.whole.get(at..)).map_or(0, count);
        let text = (
            self.leader.map_or(-1, |leader| i64::try_from(leader).unwrap_or(-1)),
            self.length,
            self.fragments,
            last,
            self.forgotten,
            self.cursors.iter().map(|&(source, at)| (source, at.map(points))).collect(),
            self.whole.clone(),
        );
        let (tags, calls) = (self.tags.export(), self.calls.export());
        (text, tags, self.is_fielded, self.shadow.clone(), calls, self.finish.clone())
    }

    fn load(state: ExportedState) -> Self {
        let (text, tags, is_fielded, shadow, calls, finish) = state;
        let (leader, length, fragments, last, forgotten, cursors, whole) = text;
        let bytes =
            |points: usize| whole.char_indices().nth(points).map_or(whole.len(), |(at, _)| at);
        let kept = count(&whole).saturating_sub(last);
        Self {
            leader: usize::try_from(leader).ok(),
            length,
            fragments,
            last: whole.len() - bytes(kept),
            cursors: cursors.into_iter().map(|(source, at)| (source, at.map(bytes))).collect(),
            forgotten,
            whole,
            tags: TagState::load(tags),
            is_fielded,
            shadow,
            calls: CallState::load(calls),
            finish,
        }
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

/// The states of the choices, which change hands with every event that is declined.
#[derive(Clone, Debug)]
pub enum Choices {
    Here(Vec<(i64, Box<ChoiceState>)>),
    /// With the reference engine, since it decided an event.
    Away,
}

impl Choices {
    /// The states as plain values; None while they are away.
    #[must_use]
    pub fn export(&self) -> Option<Vec<(i64, ExportedState)>> {
        match self {
            Self::Here(states) => {
                Some(states.iter().map(|(index, state)| (*index, state.export())).collect())
            }
            Self::Away => None,
        }
    }

    /// As `get`, to change it.
    pub(crate) fn get_mut(&mut self, index: i64) -> Option<&mut ChoiceState> {
        match self {
            Self::Here(states) => {
                states.iter_mut().find(|(known, _)| *known == index).map(|(_, state)| &mut **state)
            }
            Self::Away => None,
        }
    }

    /// The state of a choice; None where it is not known, or not here.
    pub(crate) fn get(&self, index: i64) -> Option<&ChoiceState> {
        match self {
            Self::Here(states) => {
                states.iter().find(|(known, _)| *known == index).map(|(_, state)| &**state)
            }
            Self::Away => None,
        }
    }

    /// Whether something is held back; unknown where they are away.
    pub(crate) fn hold(&self) -> bool {
        match self {
            Self::Here(states) => states.iter().any(|(_, state)| state.holds()),
            Self::Away => true,
        }
    }

    /// The inverse of `export`.
    #[must_use]
    pub fn load(states: Vec<(i64, ExportedState)>) -> Self {
        let load = |(index, state)| (index, Box::new(ChoiceState::load(state)));
        Self::Here(states.into_iter().map(load).collect())
    }
}

/// Where the part of `text` starts that the choice has not emitted; None where that cannot
/// be told any more.
pub(crate) fn fresh_part(
    state: &mut ChoiceState,
    (source, is_nested): (usize, bool),
    text: &str,
    is_final: bool,
    sure_length: usize,
) -> Option<usize> {
    if state.length == 0 {
        return Some(0);
    }
    if state.leader != Some(source) {
        // Only a source below the leader can be its echo, and none that has once said
        // something else: a word that comes twice is then no repeat, only the whole is.
        let is_above = state.leader.is_some_and(|leader| source < leader);
        let at = match *state.cursor(source) {
            Some(at) if !is_above => at,
            _ => {
                let is_repeat = state.length >= sure_length && state.is_all(text);
                return Some(if is_repeat { text.len() } else { 0 });
            }
        };
        if state.forgotten {
            return None;
        }
        if is_nested && text.len() > state.whole.len() {
            return Some(after_snapshot(state, text, sure_length));
        }
        let is_repeat = repeats(state, (source, at), text, (is_nested, sure_length));
        return Some(if is_repeat { text.len() } else { 0 });
    }
    if state.forgotten || text.len() < state.whole.len() {
        return Some(0);
    }
    if is_nested {
        return Some(after_snapshot(state, text, sure_length));
    }
    // A plain string is incremental; only the whole text again at the end is a repeat.
    Some(if is_final && state.fragments > 1 && text == state.whole { text.len() } else { 0 })
}

/// Whether a source that does not lead says again what was emitted. A plain string would be
/// lost if it only began alike, so the lag of one has to be known already.
fn repeats(
    state: &mut ChoiceState,
    (source, at): (usize, usize),
    text: &str,
    (is_nested, sure_length): (bool, usize),
) -> bool {
    let goes_on = state.whole.get(at..).is_some_and(|rest| rest.starts_with(text));
    if goes_on && (at > 0 || is_nested) {
        *state.cursor(source) = Some(at + text.len());
        return true;
    }
    // Or a block of the reasoning, at its end: its signature comes with the whole block.
    let is_block = is_nested && count(text) >= sure_length;
    let is_end = (text.len() == state.last || is_block) && state.whole.ends_with(text);
    if text == state.whole || is_end {
        state.catch_up(source);
        return true;
    }
    false
}

/// Where the new part of a fragment starts that repeats everything so far.
fn after_snapshot(state: &ChoiceState, text: &str, sure_length: usize) -> usize {
    if !text.starts_with(&state.whole) || state.whole.trim_matches(SPACE).is_empty() {
        return 0;
    }
    if text.len() == state.whole.len() {
        let is_sure = state.fragments > 1 && state.length >= sure_length;
        return if is_sure { text.len() } else { 0 };
    }
    state.whole.len()
}
