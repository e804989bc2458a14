//! The calls back into Python: building chunks, and the reference engine's decisions.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use streamnorm_core::{Choices, ExportedState, Facts, Halves, Handed, Host, Kind, Rules};

/// What the reference engine answers; see `HandOver.decide` in `pure/handover.py`.
type Answer<'py> = (
    Vec<Vec<u8>>,
    Bound<'py, PyList>,
    Option<Py<PyAny>>,
    (u64, u64, bool, bool, bool, Bound<'py, PyList>, bool, bool, bool),
);

/// What is called in Python: `orjson.loads` or its stand-in, `_json.loads`, `decide` and
/// `take_states` of `HandOver`, `Documents.note_finish`, and `document` of `pure/split.py`.
pub(crate) type Calls = (Py<PyAny>, Py<PyAny>, Py<PyAny>, Py<PyAny>, Py<PyAny>, Py<PyAny>);

pub(crate) struct PyHost {
    /// The fastest parser there is. It may refuse what is rare (numbers out of a float's
    /// range, lone surrogates): then `loads` decides.
    fast_loads: Py<PyAny>,
    loads: Py<PyAny>,
    hand_over: Py<PyAny>,
    take_states: Py<PyAny>,
    note_finish: Py<PyAny>,
    split: Py<PyAny>,
    is_sse: bool,
    chunks: Vec<Py<PyAny>>,
    fault: Option<Py<PyAny>>,
}

impl PyHost {
    pub(crate) fn new(calls: Calls, is_sse: bool) -> Self {
        let (fast_loads, loads, hand_over, take_states, note_finish, split) = calls;
        Self {
            fast_loads,
            loads,
            hand_over,
            take_states,
            note_finish,
            split,
            is_sse,
            chunks: Vec::new(),
            fault: None,
        }
    }

    pub(crate) fn take_chunks(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(PyList::new(py, self.chunks.drain(..))?.into_any().unbind())
    }

    pub(crate) fn fault(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.fault.as_ref().map(|fault| fault.clone_ref(py))
    }
}

impl Host for PyHost {
    type Error = PyErr;

    fn chunk(&mut self, document: &[u8], is_plain: bool) -> PyResult<()> {
        Python::attach(|py| {
            let document = PyBytes::new(py, document);
            let first = if is_plain { &self.fast_loads } else { &self.loads };
            let chunk = first.call1(py, (&document,));
            self.chunks.push(chunk.or_else(|_| self.loads.call1(py, (&document,)))?);
            Ok(())
        })
    }

    fn hand_over(
        &mut self,
        kind: Kind,
        (values, stray): (&[&[u8]], &[&[u8]]),
        rules: &mut Rules,
        (last, is_complete, has_deltas): (&[u8], bool, bool),
    ) -> PyResult<Handed> {
        Python::attach(|py| {
            let kind = match kind {
                Kind::Event => "event",
                Kind::Tail => "tail",
                Kind::Error => "error",
                Kind::Stray => "stray",
                Kind::Body => "body",
                Kind::Last => "last",
                Kind::Flush => "flush",
                Kind::End => "end",
            };
            let output = if self.is_sse { "sse" } else { "dict" };
            let states = rules.choices.export();
            rules.choices = Choices::Away;
            let values: Vec<_> = values.iter().map(|value| PyBytes::new(py, value)).collect();
            let stray: Vec<_> = stray.iter().map(|line| PyBytes::new(py, line)).collect();
            let before = (PyBytes::new(py, last), is_complete, has_deltas);
            let given = (kind, (values, stray), output, states, before);
            let answer = self.hand_over.bind(py).call1(given)?;
            let (before, made, fault, facts): Answer<'_> = answer.extract()?;
            let mut edited = Vec::new();
            if self.is_sse {
                for value in made.iter() {
                    edited.push(value.extract::<Vec<u8>>()?);
                }
            } else {
                self.chunks.extend(made.iter().map(Bound::unbind));
            }
            let is_fault = fault.is_some();
            let is_broken = match &fault {
                Some(facts) => {
                    let kind: String = facts.bind(py).get_item(0)?.extract()?;
                    kind == "corrupt" || kind == "truncated"
                }
                None => false,
            };
            self.fault = fault;
            let (count, malformed, complete, visible, reasoning, indices, ..) = facts;
            let (.., has_deltas, was_whole, ends) = facts;
            let facts = Facts {
                count,
                malformed,
                complete,
                visible,
                reasoning,
                has_deltas,
                was_whole,
                ends,
            };
            // An index that is too large is not looked for either.
            let settled = indices.iter().filter_map(|index| index.extract().ok()).collect();
            Ok(Handed { before, edited, is_fault, is_broken, facts, settled })
        })
    }

    fn note_finish(&mut self, index: i64, reason: &str) -> PyResult<()> {
        Python::attach(|py| self.note_finish.call1(py, (index, reason)).map(drop))
    }

    fn split(&mut self, document: &[u8]) -> PyResult<Option<Halves>> {
        Python::attach(|py| self.split.bind(py).call1((PyBytes::new(py, document),))?.extract())
    }

    fn take_back(&mut self) -> PyResult<Option<Vec<(i64, ExportedState)>>> {
        Python::attach(|py| {
            let states = self.take_states.bind(py).call0()?;
            // Text with lone surrogates is no UTF-8, and an index may be too large.
            Ok(states.extract().ok())
        })
    }
}
