//! The parser of streamnorm, without Python in it.
//!
//! It mirrors the reference engine in `python/streamnorm/pure`, file by file. What is rare
//! and delicate it declines without side effects, and the reference decides that event.

mod blocks;
mod code;
mod content;
mod documents;
mod events;
mod kept;
mod lanes;
mod lines;
mod marks;
mod normalizer;
mod rules;
mod scan;
mod splice;
mod state;
mod strings;
mod table;
mod tags;
mod template;
mod texts;
mod tool_calls;

pub use blocks::{Block, BlockKind, Limits, Span, Unit};
pub use code::ExportedCode;
pub use events::Framer;
pub use kept::Keep;
pub use marks::{ANY, Action, Family, Mark, Marks, NONE, TagMode, Vocabulary};
pub use normalizer::{Facts, Fault, Halves, Handed, Host, Kind, Model, Normalizer, Output};
pub use rules::{Counted, Rules, Tally};
pub use state::{ChoiceState, Choices, ExportedState, ExportedText};
pub use table::{ErrorMark, ErrorTest, Pick, Shape, Source, Table, Terminal};
pub use tags::{ExportedTags, TagState};
pub use tool_calls::{ExportedArguments, ExportedCalls};
