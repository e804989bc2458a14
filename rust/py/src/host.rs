//! The calls back into Python: building chunks, and the reference engine's decisions.

use std::io::Write;
use std::sync::Arc;

use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};
use streamnorm_core as core;
use streamnorm_core::{Choices, ExportedState, Facts, Halves, Handed, Host, Kind, Rules};

use crate::model::Model;

/// What the reference engine answers; see `HandOver.decide` in `pure/handover.py`.
type Answer<'py> = (
    Vec<Vec<u8>>,
    Bound<'py, PyList>,
    Option<Py<PyAny>>,
    (u64, u64, bool, bool, bool, Bound<'py, PyList>, bool, bool, bool),
);

/// Chunks that are copied: as many as there are templates.
const MODELS: usize = 4;

/// The calls that all streams share; see `_native.Table`.
pub(crate) struct Calls {
    /// The fastest parser there is. It may refuse what is rare (numbers out of a float's
    /// range, lone surrogates): then `loads` decides.
    pub(crate) fast_loads: Py<PyAny>,
    /// `_json.loads`.
    pub(crate) loads: Py<PyAny>,
    /// `document` of `pure/split.py`.
    pub(crate) split: Py<PyAny>,
}

/// The parts one behind the other, each copied once.
pub(crate) fn joined<'py>(py: Python<'py>, parts: &[&[u8]]) -> PyResult<Bound<'py, PyBytes>> {
    let mut filled = parts.iter().filter(|part| !part.is_empty());
    let first = filled.next().copied().unwrap_or_default();
    if filled.next().is_none() {
        return Ok(PyBytes::new(py, first));
    }
    let size = parts.iter().map(|part| part.len()).sum();
    PyBytes::new_with_writer(py, size, |writer| {
        parts.iter().try_for_each(|part| writer.write_all(part)).map_err(Into::into)
    })
}

pub(crate) struct PyHost {
    calls: Arc<Calls>,
    /// `HandOver` of `pure/handover.py`.
    reference: Py<PyAny>,
    /// `Collector` of `collect.py`.
    collector: Option<Py<PyAny>>,
    is_sse: bool,
    chunks: Vec<Py<PyAny>>,
    models: Vec<Model>,
    fault: Option<Py<PyAny>>,
}

impl PyHost {
    pub(crate) fn new(
        calls: Arc<Calls>,
        reference: Py<PyAny>,
        collector: Option<Py<PyAny>>,
        is_sse: bool,
    ) -> Self {
        Self {
            calls,
            reference,
            collector,
            is_sse,
            chunks: Vec::new(),
            models: Vec::new(),
            fault: None,
        }
    }

    /// Whether no chunk is ready.
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether more than one chunk is ready.
    pub(crate) fn has_several(&self) -> bool {
        self.chunks.len() > 1
    }

    /// The last chunk that is ready.
    pub(crate) fn take_chunk(&mut self) -> Option<Py<PyAny>> {
        self.chunks.pop()
    }

    pub(crate) fn take_chunks(&mut self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let chunks = std::mem::take(&mut self.chunks);
        Ok(PyList::new(py, chunks)?.into_any().unbind())
    }

    pub(crate) fn fault(&self, py: Python<'_>) -> Option<Py<PyAny>> {
        self.fault.as_ref().map(|fault| fault.clone_ref(py))
    }
}

/// The host of one call from Python.
pub(crate) struct Attached<'host, 'py> {
    pub(crate) host: &'host mut PyHost,
    pub(crate) py: Python<'py>,
}

impl Host for Attached<'_, '_> {
    type Error = PyErr;

    fn chunk(&mut self, document: &[&[u8]], is_plain: bool) -> PyResult<()> {
        let (host, py) = (&mut *self.host, self.py);
        let document = joined(py, document)?;
        let loads = &host.calls.loads;
        let first = if is_plain { &host.calls.fast_loads } else { loads };
        let chunk = first.call1(py, (&document,));
        host.chunks.push(chunk.or_else(|_| loads.call1(py, (&document,)))?);
        Ok(())
    }

    fn like(&mut self, model: &core::Model<'_>, text: &str) -> PyResult<()> {
        let (host, py) = (&mut *self.host, self.py);
        let known = host.models.iter().position(|known| known.serial == model.serial);
        let place = if let Some(place) = known {
            place
        } else {
            if host.models.len() == MODELS {
                host.models.remove(0);
            }
            host.models.reserve_exact(1);
            let loads = host.calls.loads.bind(py);
            let made = Model::new(py, model, loads, host.models.first())?;
            host.models.push(made);
            host.models.len() - 1
        };
        host.chunks.push(host.models[place].chunk(py, text)?);
        Ok(())
    }

    fn collect(&mut self, documents: Vec<Vec<u8>>) -> PyResult<()> {
        let py = self.py;
        let Some(collector) = &self.host.collector else { return Ok(()) };
        let documents = documents.iter().map(|document| PyBytes::new(py, document));
        let documents = PyList::new(py, documents.collect::<Vec<_>>())?;
        let name = intern!(py, "add_documents");
        collector.bind(py).call_method1(name, (documents,)).map(drop)
    }

    fn hand_over(
        &mut self,
        kind: Kind,
        (values, stray): (&[&[u8]], &[&[u8]]),
        rules: &mut Rules,
        (last, is_complete, has_deltas): (&[u8], bool, bool),
    ) -> PyResult<Handed> {
        let (host, py) = (&mut *self.host, self.py);
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
        let output = if host.is_sse { "sse" } else { "dict" };
        let states = rules.choices.export();
        rules.choices = Choices::Away;
        let values: Vec<_> = values.iter().map(|value| PyBytes::new(py, value)).collect();
        let stray: Vec<_> = stray.iter().map(|line| PyBytes::new(py, line)).collect();
        let before = (PyBytes::new(py, last), is_complete, has_deltas);
        let given = (kind, (values, stray), output, states, before);
        let answer = host.reference.bind(py).call_method1(intern!(py, "decide"), given)?;
        let (before, made, fault, facts): Answer<'_> = answer.extract()?;
        let mut edited = Vec::new();
        if host.is_sse {
            for value in made.iter() {
                edited.push(value.extract::<Vec<u8>>()?);
            }
        } else {
            if let Some(collector) = &host.collector {
                collector.bind(py).call_method1(intern!(py, "add_chunks"), (&made,))?;
            }
            host.chunks.extend(made.iter().map(Bound::unbind));
        }
        let is_fault = fault.is_some();
        let is_broken = match &fault {
            Some(facts) => {
                let kind: String = facts.bind(py).get_item(0)?.extract()?;
                kind == "corrupt" || kind == "truncated"
            }
            None => false,
        };
        host.fault = fault;
        let (count, malformed, complete, visible, reasoning, indices, ..) = facts;
        let (.., has_deltas, was_whole, ends) = facts;
        let facts =
            Facts { count, malformed, complete, visible, reasoning, has_deltas, was_whole, ends };
        // An index that is too large is not looked for either.
        let settled = indices.iter().filter_map(|index| index.extract().ok()).collect();
        Ok(Handed { before, edited, is_fault, is_broken, facts, settled })
    }

    fn note_finish(&mut self, index: i64, reason: &str) -> PyResult<()> {
        let (host, py) = (&mut *self.host, self.py);
        let name = intern!(py, "note_finish");
        host.reference.bind(py).call_method1(name, (index, reason)).map(drop)
    }

    fn split(&mut self, document: &[u8]) -> PyResult<Option<Halves>> {
        let (host, py) = (&mut *self.host, self.py);
        let document = PyBytes::new(py, document);
        host.calls.split.bind(py).call1((document,))?.extract()
    }

    fn take_back(&mut self) -> PyResult<Option<Vec<(i64, ExportedState)>>> {
        let (host, py) = (&mut *self.host, self.py);
        let states = host.reference.bind(py).call_method0(intern!(py, "take_states"))?;
        // Text with lone surrogates is no UTF-8, and an index may be too large.
        Ok(states.extract().ok())
    }
}
