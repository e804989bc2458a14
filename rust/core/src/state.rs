//! What one choice has emitted, and how much of a text is new to it.
//!
//! Mirrors `pure/state.py`.

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// What one choice has emitted so far; see `ChoiceState` in `pure/state.py`.
///
/// Positions are counted in bytes here: text that begins with, ends with or equals another
/// does so in either unit.
#[derive(Clone, Debug, Default)]
pub struct ChoiceState {
    leader: Option<usize>,
    /// Code points emitted: the measure of the memory.
    length: usize,
    fragments: usize,
    last: usize,
    cursors: Vec<(usize, usize)>,
    forgotten: bool,
    whole: String,
}

/// The state as plain values, in code points: (leader or -1, length, fragments, last,
/// forgotten, cursors, whole).
pub type ExportedState = (i64, usize, usize, usize, bool, Vec<(usize, usize)>, String);

impl ChoiceState {
    /// The source that first gave text.
    pub(crate) fn leader(&self) -> Option<usize> {
        self.leader
    }

    /// A source has said everything up to here.
    pub(crate) fn catch_up(&mut self, source: usize) {
        *self.cursor(source) = self.whole.len();
    }

    /// Whether `text` is all that has come out so far.
    pub(crate) fn is_all(&self, text: &str) -> bool {
        !self.forgotten && text == self.whole
    }

    pub(crate) fn emit(&mut self, source: usize, text: &str, memory: usize) {
        self.leader.get_or_insert(source);
        self.fragments += 1;
        self.last = text.len();
        self.length += count(text);
        if self.length > memory {
            self.forgotten = true;
            self.whole = String::new();
        }
        if !self.forgotten {
            self.whole.push_str(text);
        }
    }

    fn cursor(&mut self, source: usize) -> &mut usize {
        let at = self.cursors.iter().position(|(known, _)| *known == source).unwrap_or_else(|| {
            self.cursors.push((source, 0));
            self.cursors.len() - 1
        });
        &mut self.cursors[at].1
    }

    fn export(&self) -> ExportedState {
        let points = |bytes: usize| self.whole.get(..bytes).map_or(0, count);
        let last = self.whole.len().checked_sub(self.last);
        let last = last.and_then(|at| self.whole.get(at..)).map_or(0, count);
        (
            self.leader.map_or(-1, |leader| i64::try_from(leader).unwrap_or(-1)),
            self.length,
            self.fragments,
            last,
            self.forgotten,
            self.cursors.iter().map(|&(source, at)| (source, points(at))).collect(),
            self.whole.clone(),
        )
    }

    fn load(state: ExportedState) -> Self {
        let (leader, length, fragments, last, forgotten, cursors, whole) = state;
        let bytes =
            |points: usize| whole.char_indices().nth(points).map_or(whole.len(), |(at, _)| at);
        let kept = count(&whole).saturating_sub(last);
        Self {
            leader: usize::try_from(leader).ok(),
            length,
            fragments,
            last: whole.len() - bytes(kept),
            cursors: cursors.into_iter().map(|(source, at)| (source, bytes(at))).collect(),
            forgotten,
            whole,
        }
    }
}

fn count(text: &str) -> usize {
    text.chars().count()
}

/// The states of the choices, which change hands with every event that is declined.
#[derive(Clone, Debug)]
pub enum Choices {
    Here(Vec<(i64, ChoiceState)>),
    /// The reference engine keeps them: they hold text that UTF-8 cannot carry.
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

    /// The inverse of `export`.
    #[must_use]
    pub fn load(states: Vec<(i64, ExportedState)>) -> Self {
        let load = |(index, state)| (index, ChoiceState::load(state));
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
) -> Option<usize> {
    if state.length == 0 {
        return Some(0);
    }
    if state.leader != Some(source) {
        if state.forgotten {
            return None;
        }
        if is_nested && text.len() > state.whole.len() {
            return Some(after_snapshot(state, text));
        }
        return Some(if repeats(state, source, text) { text.len() } else { 0 });
    }
    if state.forgotten || text.len() < state.whole.len() {
        return Some(0);
    }
    if is_nested {
        return Some(after_snapshot(state, text));
    }
    // A plain string is incremental; only the whole text again at the end is a repeat.
    Some(if is_final && state.fragments > 1 && text == state.whole { text.len() } else { 0 })
}

/// Whether a source that does not lead says again what was emitted.
fn repeats(state: &mut ChoiceState, source: usize, text: &str) -> bool {
    let at = *state.cursor(source);
    if state.whole.get(at..).is_some_and(|rest| rest.starts_with(text)) {
        *state.cursor(source) = at + text.len();
        return true;
    }
    if text == state.whole || (text.len() == state.last && state.whole.ends_with(text)) {
        *state.cursor(source) = state.whole.len();
        return true;
    }
    false
}

/// Where the new part of a fragment starts that repeats everything so far.
fn after_snapshot(state: &ChoiceState, text: &str) -> usize {
    if !text.starts_with(&state.whole) || state.whole.trim_matches(SPACE).is_empty() {
        return 0;
    }
    if text.len() == state.whole.len() {
        return if state.fragments > 1 { text.len() } else { 0 };
    }
    state.whole.len()
}
