//! The parser of streamnorm, without Python in it.
//!
//! It mirrors the reference engine in `python/streamnorm/pure`, file by file. What is rare
//! and delicate it declines without side effects, and the reference decides that event.

mod blocks;
mod documents;
mod events;
mod lines;
mod normalizer;
mod rules;
mod scan;
mod splice;
mod state;
mod table;
mod texts;

pub use blocks::{Block, BlockKind, Limits, Span, Unit};
pub use events::Framer;
pub use normalizer::{Facts, Fault, Handed, Host, Kind, Normalizer, Output};
pub use rules::{Counter, Rules, Tally};
pub use state::{ChoiceState, Choices, ExportedState};
pub use table::{Pick, Shape, Source, Table, Terminal};
