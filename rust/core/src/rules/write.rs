//! Which members change, once it is decided which text comes out.

use super::{Counted, Rules};
use crate::content::Reading;
use crate::scan::{Kind, Value};
use crate::splice::{Edit, Name, New, Op};
use crate::state::ChoiceState;
use crate::table::Shape;
use crate::texts::{Content, Delta, Texts, is_empty_string};

impl Rules {
    /// Reasoning of the content that did not lead: the same again, or put back.
    pub(super) fn drop_read(
        &mut self,
        state: &mut ChoiceState,
        (is_mirrored, is_repeated): (bool, bool),
        reading: Option<&mut Reading<'_>>,
    ) {
        let tags = self.table.tag_source;
        if is_mirrored || is_repeated {
            self.tally.add(Counted::Carried, tags);
            let counted = if is_mirrored { Counted::Mirrored } else { Counted::Repeated };
            self.tally.add(counted, tags);
        } else {
            self.tally.add(Counted::Conflicts, tags);
            if let Some(reading) = reading {
                reading.refuse(state);
            }
        }
    }

    /// Bring what stays of a content to its member.
    pub(super) fn write_content(
        &self,
        delta: &Delta,
        reading: Option<&Reading<'_>>,
        edits: &mut Vec<Edit>,
    ) {
        let Some(reading) = reading else { return };
        let answer = &*reading.answer;
        let Some(member) = delta.slots[self.table.content_key] else {
            if !answer.is_empty() {
                let op = Op::Prepend(Name::Content, answer.into());
                edits.push(Edit { member: usize::MAX, op });
            }
            return;
        };
        let is_null = delta.content == Content::Null;
        if reading.text != Some(answer) && !(is_null && answer.is_empty()) {
            edits.push(Edit { member, op: Op::Set(New::Text(answer.into())) });
        }
    }

    /// Bring the leading text to the output keys; false where none can take it.
    pub(super) fn write(
        &mut self,
        delta: &Delta,
        texts: &Texts<'_>,
        (lead, text, fresh): (usize, &str, &str),
        (repeats, reading): (u64, Option<&Reading<'_>>),
        edits: &mut Vec<Edit>,
    ) -> bool {
        let (shape, key) = (self.table.sources[lead].shape, self.table.source_keys[lead]);
        let own = delta.slots[key];
        // The provider's own spelling of the string is kept where the whole string goes.
        let is_whole = match shape {
            Shape::Text => fresh.len() == text.len(),
            Shape::Tags => reading.is_some_and(|reading| reading.text == Some(fresh)),
            _ => false,
        };
        let new = || match own {
            Some(own) if is_whole => New::CopyOf(own),
            _ => New::Text(fresh.into()),
        };
        let before = edits.len();
        let mut missing = Vec::new();
        let mut placed = 0;
        for (t, &target) in self.table.target_keys.iter().enumerate() {
            if target == key {
                // An object here would have been declined: it is text, or nested text.
                placed += 1;
                if let (Some(member), true) = (own, fresh.len() != text.len()) {
                    edits.push(Edit { member, op: Op::Set(New::Text(fresh.into())) });
                }
                continue;
            }
            let Some(at) = delta.slots[target] else {
                missing.push(t);
                continue;
            };
            let value = delta.members[at].value;
            if self.is_free(value, target, repeats) {
                placed += 1;
                edits.push(Edit { member: at, op: Op::Set(new()) });
            } else if texts.iter().any(|(i, said)| self.is_text_at(*i, target) && said == text) {
                placed += 1;
                if fresh.len() != text.len() {
                    edits.push(Edit { member: at, op: Op::Set(New::Text(fresh.into())) });
                }
            }
        }
        if placed == 0 && missing.is_empty() {
            return false;
        }
        let mut missing = missing.into_iter();
        let is_content = key == self.table.content_key;
        let goes = if is_content {
            // A message has a content, even if it is empty.
            let is_empty = |r: &Reading<'_>| r.text.is_some() && r.answer.is_empty();
            !delta.is_message && reading.is_some_and(is_empty)
        } else {
            self.is_movable(lead)
        };
        if let (Some(member), true) = (own, goes) {
            if let Some(target) = missing.next() {
                edits.push(Edit { member, op: Op::Rename(target) });
                if !is_whole {
                    edits.push(Edit { member, op: Op::Set(New::Text(fresh.into())) });
                }
            } else if !is_content {
                edits.push(Edit { member, op: Op::Drop });
            }
        }
        for target in missing {
            edits.push(match own {
                Some(member) => Edit { member, op: Op::Insert(target, new()) },
                None => {
                    Edit { member: usize::MAX, op: Op::Prepend(Name::Target(target), fresh.into()) }
                }
            });
        }
        if edits.len() > before {
            self.tally.add(Counted::Remaps, lead);
        }
        true
    }

    fn is_text_at(&self, source: usize, key: usize) -> bool {
        self.table.sources[source].shape == Shape::Text && self.table.source_keys[source] == key
    }

    /// Whether an output key's value may be replaced: it says nothing, or nothing new.
    fn is_free(&self, value: Value, target: usize, repeats: u64) -> bool {
        if matches!(value.kind, Kind::Null | Kind::Array(true)) || is_empty_string(value) {
            return true;
        }
        let of_target = |(i, key): (usize, &usize)| *key == target && repeats & (1 << i) != 0;
        self.table.source_keys.iter().enumerate().any(of_target)
    }

    /// Whether the source's member holds nothing but the text, and may go. (Objects are
    /// declined, so this is a matter of the table alone.)
    fn is_movable(&self, source: usize) -> bool {
        !self.table.keep_original
            && self.table.sources[source].shape == Shape::Text
            && !self.table.is_target(self.table.source_keys[source])
    }

    pub(super) fn drop_other(
        &mut self,
        delta: &Delta,
        i: usize,
        is_mirrored: bool,
        is_repeated: bool,
        is_alone: bool,
        edits: &mut Vec<Edit>,
    ) {
        if is_mirrored {
            self.tally.add(Counted::Mirrored, i);
        } else if is_repeated {
            self.tally.add(Counted::Repeated, i);
        } else {
            self.tally.add(Counted::Conflicts, i);
            return;
        }
        let key = self.table.source_keys[i];
        let goes = if self.table.is_target(key) { is_alone } else { self.is_movable(i) };
        if let (true, Some(member)) = (goes, delta.slots[key]) {
            edits.push(Edit { member, op: Op::Drop });
        }
    }

    /// Remove aliases that are null or empty.
    pub(super) fn drop_empty(&mut self, delta: &Delta, edits: &mut Vec<Edit>) {
        if self.table.keep_original {
            return;
        }
        for (i, source) in self.table.sources.iter().enumerate() {
            let key = self.table.source_keys[i];
            if source.shape != Shape::Text || self.table.is_target(key) {
                continue;
            }
            let Some(member) = delta.slots[key] else {
                continue;
            };
            let value = delta.members[member].value;
            if value.kind == Kind::Null || is_empty_string(value) {
                self.tally.add(Counted::Removed, i);
                edits.push(Edit { member, op: Op::Drop });
            }
        }
    }
}
