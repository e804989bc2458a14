//! The event stream decoder: framing alone, no rules.

use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::PyString;
use streamnorm_core::{Framer, Limits};

use crate::unit_name;

type PyEvent<'py> = (
    Option<Bound<'py, PyString>>,
    Bound<'py, PyString>,
    Option<Bound<'py, PyString>>,
    Option<Bound<'py, PyString>>,
);

/// The event stream decoder: framing alone, no rules.
#[pyclass(frozen, module = "streamnorm._native")]
pub(crate) struct Decoder {
    framer: Mutex<Framer>,
    flush_tail: bool,
}

/// Decode as the standard does: what is not UTF-8 becomes U+FFFD.
fn text<'py>(py: Python<'py>, bytes: &[u8]) -> Bound<'py, PyString> {
    PyString::new(py, &String::from_utf8_lossy(bytes))
}

fn event<'py>(
    py: Python<'py>,
    framer: &Framer,
    block: &streamnorm_core::Block,
) -> Option<PyEvent<'py>> {
    let first = block.first?;
    let field = |span: Option<_>| span.map(|span| text(py, framer.bytes(span)));
    let data = if block.more.is_empty() {
        text(py, framer.bytes(first))
    } else {
        let mut joined = Vec::new();
        for (n, span) in block.values().enumerate() {
            if n > 0 {
                joined.push(b'\n');
            }
            joined.extend_from_slice(framer.bytes(span));
        }
        text(py, &joined)
    };
    Some((field(block.event), data, field(block.id), field(block.retry)))
}

impl Decoder {
    fn with<T>(&self, py: Python<'_>, work: impl FnOnce(&mut Framer) -> T) -> T {
        work(&mut self.framer.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner))
    }
}

#[pymethods]
impl Decoder {
    #[new]
    fn new(max_line: Option<usize>, max_event: Option<usize>, flush_tail: bool) -> Self {
        let limits = Limits { line: max_line, event: max_event };
        Self { framer: Mutex::new(Framer::new(limits, false, false)), flush_tail }
    }

    fn feed<'py>(&self, py: Python<'py>, data: &[u8]) -> Vec<PyEvent<'py>> {
        self.with(py, |framer| {
            let mut events = Vec::new();
            framer.push(data);
            while let Some(block) = framer.next_block() {
                events.extend(event(py, framer, &block));
            }
            framer.settle();
            framer.compact();
            events
        })
    }

    fn close<'py>(&self, py: Python<'py>) -> Vec<PyEvent<'py>> {
        self.with(py, |framer| {
            let block = if self.flush_tail { framer.close() } else { None };
            block.and_then(|block| event(py, framer, &block)).into_iter().collect()
        })
    }

    #[getter]
    fn fault(&self, py: Python<'_>) -> Option<(&'static str, usize)> {
        self.with(py, |framer| framer.fault.map(|(unit, limit)| (unit_name(unit), limit)))
    }

    #[getter]
    fn last_event_id<'py>(&self, py: Python<'py>) -> Bound<'py, PyString> {
        self.with(py, |framer| text(py, &framer.last_event_id))
    }

    #[getter]
    fn retry<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyString>> {
        self.with(py, |framer| framer.retry.as_deref().map(|retry| text(py, retry)))
    }
}
