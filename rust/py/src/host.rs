//! The calls back into Python: building chunks, and the reference engine's decisions.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use streamnorm_core::{Choices, ExportedState, Facts, Handed, Host, Kind, Rules};

/// What the reference engine answers; see `Documents.hand_over` in `pure/documents.py`.
type Answer<'py> = (Bound<'py, PyList>, Option<Py<PyAny>>, (u64, u64, bool, bool, bool));

/// What is called in Python: `orjson.loads` or its stand-in, `_json.loads`, and `hand_over`
/// and `take_states` of `Documents`.
pub(crate) type Calls = (Py<PyAny>, Py<PyAny>, Py<PyAny>, Py<PyAny>);

pub(crate) struct PyHost {
    /// The fastest parser there is. It may refuse what is rare (numbers out of a float's
    /// range, lone surrogates): then `loads` decides.
    fast_loads: Py<PyAny>,
    loads: Py<PyAny>,
    hand_over: Py<PyAny>,
    take_states: Py<PyAny>,
    is_sse: bool,
    chunks: Vec<Py<PyAny>>,
    fault: Option<Py<PyAny>>,
}

impl PyHost {
    pub(crate) fn new(calls: Calls, is_sse: bool) -> Self {
        let (fast_loads, loads, hand_over, take_states) = calls;
        let chunks = Vec::new();
        Self { fast_loads, loads, hand_over, take_states, is_sse, chunks, fault: None }
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

    fn hand_over(&mut self, kind: Kind, values: &[&[u8]], rules: &mut Rules) -> PyResult<Handed> {
        Python::attach(|py| {
            let kind = match kind {
                Kind::Event => "event",
                Kind::Tail => "tail",
                Kind::Error => "error",
                Kind::Stray => "stray",
            };
            let output = if self.is_sse { "sse" } else { "dict" };
            let states = rules.choices.export();
            rules.choices = Choices::Away;
            let values: Vec<_> = values.iter().map(|value| PyBytes::new(py, value)).collect();
            let answer = self.hand_over.bind(py).call1((kind, values, output, states))?;
            let (made, fault, facts): Answer<'_> = answer.extract()?;
            let mut edited = Vec::new();
            if self.is_sse {
                for value in made.iter() {
                    edited.push(value.extract::<Vec<u8>>()?);
                }
            } else {
                self.chunks.extend(made.iter().map(Bound::unbind));
            }
            let is_fault = fault.is_some();
            let kind_of = |fault: &Py<PyAny>| fault.bind(py).get_item(0)?.extract::<String>();
            let is_cut_off =
                fault.as_ref().map(kind_of).transpose()?.as_deref() == Some("truncated");
            self.fault = fault;
            let (count, malformed, complete, visible, reasoning) = facts;
            let facts = Facts { count, malformed, complete, visible, reasoning };
            Ok(Handed { edited, is_fault, is_cut_off, facts })
        })
    }

    fn take_back(&mut self) -> PyResult<Option<Vec<(i64, ExportedState)>>> {
        Python::attach(|py| {
            let states = self.take_states.bind(py).call0()?;
            // Text with lone surrogates is no UTF-8, and an index may be too large.
            Ok(states.extract().ok())
        })
    }
}
