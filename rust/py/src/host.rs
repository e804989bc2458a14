//! The calls back into Python: building chunks, and the reference engine's decisions.

use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use streamnorm_core::{Choices, ExportedState, Facts, Handed, Host, Kind, Rules};

/// What the reference engine answers; see `Documents.hand_over` in `pure/normalizer.py`.
type Answer<'py> =
    (Bound<'py, PyList>, Option<Py<PyAny>>, Bound<'py, PyAny>, (u64, u64, bool, bool, bool));

/// What is called in Python: `orjson.loads` or its stand-in, `_json.loads`, and
/// `Documents.hand_over`.
pub(crate) type Calls = (Py<PyAny>, Py<PyAny>, Py<PyAny>);

pub(crate) struct PyHost {
    /// The fastest parser there is. It may refuse what is rare (numbers out of a float's
    /// range, lone surrogates): then `loads` decides.
    fast_loads: Py<PyAny>,
    loads: Py<PyAny>,
    hand_over: Py<PyAny>,
    is_sse: bool,
    chunks: Vec<Py<PyAny>>,
    fault: Option<Py<PyAny>>,
    /// The states of the choices while Rust cannot hold them.
    away: Option<Py<PyAny>>,
}

impl PyHost {
    pub(crate) fn new(calls: Calls, is_sse: bool) -> Self {
        let (fast_loads, loads, hand_over) = calls;
        Self { fast_loads, loads, hand_over, is_sse, chunks: Vec::new(), fault: None, away: None }
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
            let states = match (self.away.take(), rules.choices.export()) {
                (Some(states), _) => states.into_bound(py),
                (None, states) => states.unwrap_or_default().into_pyobject(py)?.into_any(),
            };
            let values: Vec<_> = values.iter().map(|value| PyBytes::new(py, value)).collect();
            let answer = self.hand_over.bind(py).call1((kind, values, output, states))?;
            let (made, fault, states, facts): Answer<'_> = answer.extract()?;
            // Text with lone surrogates is no UTF-8: then the states stay with Python.
            if let Ok(states) = states.extract::<Vec<(i64, ExportedState)>>() {
                rules.choices = Choices::load(states);
            } else {
                rules.choices = Choices::Away;
                self.away = Some(states.unbind());
            }
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
}
