//! Events that a template decides, before they are read or instead of it.

use super::{Host, Model, Normalizer, Output};
use crate::blocks::Span;
use crate::documents::Document;
use crate::kept::Kept;
use crate::rules::Rules;
use crate::scan::Text;
use crate::template::{FIELD, Found, Lesson, Template, Templates};

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
            let Some(data) = self.framer.rest(start).strip_prefix(FIELD) else { break };
            let Some(found) = self.templates.find(data) else { break };
            // Of mixed line ends the framer knows more.
            let blank = match data[found.end..] {
                [b'\n', b'\n', ..] => 2,
                [b'\r', b'\n', b'\r', b'\n', ..] => 4,
                _ => break,
            };
            let start = start + FIELD.len();
            let is_short = self.framer.fits(FIELD.len() + found.end);
            if !is_short || !self.follow(start, found, host, out)? {
                break;
            }
            self.framer.go_on_at(start + found.end + blank);
        }
        Ok(())
    }

    /// Decide a document by a template; whether one fits.
    pub(super) fn by_template<H: Host>(
        &mut self,
        span: Span,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<bool, H::Error> {
        match self.templates.find(self.framer.bytes(span)) {
            Some(found) if found.end == span.1 - span.0 => self.follow(span.0, found, host, out),
            _ => Ok(false),
        }
    }

    /// Decide the document at `start` as the template of `found` says; false, and nothing has
    /// changed, where that is not for it to decide.
    fn follow<H: Host>(
        &mut self,
        start: usize,
        found: Found,
        host: &mut H,
        out: &mut Vec<u8>,
    ) -> Result<bool, H::Error> {
        let Self { framer, rules, templates, kept, facts, .. } = self;
        let Some(template) = templates.first() else { return Ok(false) };
        let data = framer.bytes((start, start + found.end));
        let is_told = template.asks_for_text() || self.output == Output::Dict || kept.wants_all();
        let text = if is_told {
            // What is no text, the ordinary way knows how to read.
            let Ok(text) = Template::text(data, found) else { return Ok(false) };
            Some(text)
        } else {
            None
        };
        if !template.decide(text.as_deref(), rules) {
            return Ok(false);
        }
        facts.count += 1;
        facts.visible |= template.is_visible();
        match self.output {
            Output::Sse if template.is_edited() => {
                framer.make_room(out);
                let place = (start, found);
                self.flushed = template.edit(framer.rest(0), place, self.flushed, out);
            }
            Output::Sse => {}
            Output::Dict => {
                let (serial, is_plain) = (template.serial, template.is_plain);
                let model = Model { serial, parts: template.parts(), is_plain };
                host.like(&model, text.as_deref().unwrap_or_default())?;
            }
        }
        if kept.is_wanted() {
            kept.repeat(template, Template::raw(data, found));
            if kept.is_full() {
                host.collect(kept.take())?;
            }
        }
        Ok(true)
    }

    /// Remember what was decided of a document, if another one like it would be decided alike.
    pub(super) fn learn(
        (templates, kept, rules): (&mut Templates, &Kept, &Rules),
        document: &Document,
        text: Text<'_>,
        is_plain: bool,
    ) {
        if rules.table.splits || rules.has_held || rules.like.is_none() {
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
