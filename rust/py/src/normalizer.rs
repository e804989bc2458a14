//! One stream's engine: what a read gives, and what is asked behind it.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::sync::MutexExt;
use pyo3::types::{PyBytes, PyDict, PyList, PyTuple};
use streamnorm_core::{Counted, Fault, Keep, Limits, Normalizer as Core, Output};

use crate::host::{Attached, PyHost, joined};
use crate::table::Table;
use crate::unit_name;

/// Bytes that a stream may keep for its next output.
const MOST_KEPT: usize = 1024;

/// Reads whose times are kept until somebody asks for them.
const MOST_TIMES: usize = 512;

/// One more event in a pulse, and nothing else.
const ONE_EVENT: u64 = 8;

/// What `step` has noted; see `_engine.SteppingEngine.stepped`.
#[derive(Default)]
struct Noted {
    bytes: usize,
    last: f64,
    /// Of the reads that completed an event.
    times: Vec<f64>,
}

struct Stream {
    core: Core,
    host: PyHost,
    out: Vec<u8>,
    noted: Noted,
}

impl Stream {
    fn feed(&mut self, py: Python<'_>, data: &[u8]) -> PyResult<()> {
        self.core.feed(data, &mut Attached { host: &mut self.host, py }, &mut self.out)
    }

    fn pulse(&self) -> u64 {
        let facts = self.core.facts();
        let is_over = self.core.is_done() || self.core.fault().is_some();
        let flags = u64::from(is_over) | u64::from(facts.reasoning) << 1;
        facts.count << 3 | u64::from(facts.visible) << 2 | flags
    }

    /// Whether nothing is ready.
    fn is_empty(&self) -> bool {
        let (from, upto) = self.core.passed();
        let is_passed = from < upto || !self.core.unedited().is_empty();
        self.out.is_empty() && self.host.is_empty() && !is_passed
    }
}

/// One stream's engine. The lock makes the answer defined when two threads meet in it.
#[pyclass(frozen, subclass, module = "streamnorm._native")]
pub(crate) struct Normalizer {
    stream: Mutex<Stream>,
    output: Output,
    /// Gives the time of a `step`.
    clock: Option<Py<PyAny>>,
}

impl Normalizer {
    fn with<T>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut Stream) -> PyResult<T>,
    ) -> PyResult<T> {
        // A panic while the lock was held leaves no promise broken: the stream is over.
        let mut stream = self.stream.lock_py_attached(py).unwrap_or_else(PoisonError::into_inner);
        work(&mut stream)
    }

    /// What a read gives. `data` is what was fed.
    fn taken(&self, py: Python<'_>, stream: &mut Stream, data: &[u8]) -> PyResult<Py<PyAny>> {
        let Stream { core, host, out, .. } = stream;
        if self.output == Output::Dict {
            core.release(&[], &[]);
            return host.take_chunks(py);
        }
        let (from, upto) = core.passed();
        let passed = &data[from..upto];
        let bytes = joined(py, &[out, core.unedited(), passed])?;
        core.release(out, passed);
        // Of many streams, most wait: memory is not kept for the next read.
        if out.capacity() > MOST_KEPT {
            *out = Vec::new();
        }
        out.clear();
        Ok(bytes.into_any().unbind())
    }
}

#[pymethods]
impl Normalizer {
    #[new]
    fn new(
        py: Python<'_>,
        table: &Table,
        limits: (Option<usize>, Option<usize>),
        output: &str,
        reference: Py<PyAny>,
        collector: Option<Py<PyAny>>,
        clock: Option<Py<PyAny>>,
    ) -> PyResult<Self> {
        let is_sse = output == "sse";
        let output = if is_sse { Output::Sse } else { Output::Dict };
        let limits = Limits { line: limits.0, event: limits.1 };
        let keep = match &collector {
            None => Keep::Nothing,
            Some(collector) if collector.bind(py).getattr("keeps_message")?.is_truthy()? => {
                Keep::All
            }
            Some(_) => Keep::Usage,
        };
        let core = Core::new(Arc::clone(&table.table), limits, output, keep);
        let host = PyHost::new(Arc::clone(&table.calls), reference, collector, is_sse);
        let stream = Stream { core, host, out: Vec::new(), noted: Noted::default() };
        Ok(Self { stream: Mutex::new(stream), output, clock })
    }

    fn feed(&self, py: Python<'_>, data: &[u8]) -> PyResult<Py<PyAny>> {
        self.with(py, |stream| {
            if stream.core.append(data) {
                return Ok(match self.output {
                    Output::Sse => PyBytes::new(py, b"").into_any().unbind(),
                    Output::Dict => PyList::empty(py).into_any().unbind(),
                });
            }
            stream.feed(py, data)?;
            if stream.is_empty() && stream.core.fault().is_some() {
                return Ok(py.None());
            }
            self.taken(py, stream, data)
        })
    }

    /// All that a usual read needs, in one call; see `_engine.SteppingEngine.step`.
    fn step(&self, py: Python<'_>, item: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        let data = item.cast_exact::<PyBytes>().map_or(&[][..], |data| data.as_bytes());
        let Some(clock) = self.clock.as_ref().filter(|_| !data.is_empty()) else {
            return Ok(PyTuple::empty(py).into_any().unbind());
        };
        let now: f64 = clock.bind(py).call0()?.extract()?;
        self.with(py, |stream| {
            let before = stream.pulse();
            if !stream.core.append(data) {
                stream.feed(py, data)?;
            }
            let after = stream.pulse();
            let is_noted = stream.noted.times.len() < MOST_TIMES;
            let is_usual = after == before || after == before + ONE_EVENT;
            if !is_noted || !is_usual || stream.host.has_several() {
                let out = self.taken(py, stream, data)?;
                return Ok((out, now).into_pyobject(py)?.into_any().unbind());
            }
            stream.noted.bytes += data.len();
            stream.noted.last = now;
            if after != before {
                stream.noted.times.push(now);
            }
            if self.output == Output::Dict {
                stream.core.release(&[], &[]);
                return Ok(stream.host.take_chunk().unwrap_or_else(|| py.None()));
            }
            if stream.is_empty() { Ok(py.None()) } else { self.taken(py, stream, data) }
        })
    }

    /// What `step` has noted since the last call; see `_engine.SteppingEngine.stepped`.
    fn stepped<'py>(&self, py: Python<'py>) -> PyResult<Option<(usize, f64, Bound<'py, PyBytes>)>> {
        self.with(py, |stream| {
            let Noted { bytes, last, times } = std::mem::take(&mut stream.noted);
            let times: Vec<u8> = times.into_iter().flat_map(f64::to_ne_bytes).collect();
            Ok((bytes > 0).then(|| (bytes, last, PyBytes::new(py, &times))))
        })
    }

    #[pyo3(signature = (failed=false))]
    fn close(&self, py: Python<'_>, failed: bool) -> PyResult<Py<PyAny>> {
        self.with(py, |stream| {
            let host = &mut Attached { host: &mut stream.host, py };
            stream.core.close(failed, host, &mut stream.out)?;
            self.taken(py, stream, &[])
        })
    }

    /// Give the collector what waits for it.
    fn hand_in(&self, py: Python<'_>) -> PyResult<()> {
        self.with(py, |stream| stream.core.hand_in(&mut Attached { host: &mut stream.host, py }))
    }

    /// What every read asks for, in one number; see `_engine.NormalizerEngine.pulse`.
    #[getter]
    fn pulse(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |stream| Ok(stream.pulse()))
    }

    /// Facts of the fault that ended the stream, or None.
    #[getter]
    fn fault(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        self.with(py, |stream| {
            let Some(fault) = stream.core.fault() else {
                return Ok(None);
            };
            let facts = match fault {
                Fault::Handed => return Ok(stream.host.fault(py)),
                Fault::TooLarge(unit, limit) => {
                    ("too_large", unit_name(*unit), *limit).into_pyobject(py)?.into_any()
                }
                Fault::Empty { done, skipped } => {
                    ("empty", *done, *skipped).into_pyobject(py)?.into_any()
                }
                Fault::NotSse(head) => {
                    ("not_sse", PyBytes::new(py, head)).into_pyobject(py)?.into_any()
                }
                Fault::Truncated => ("truncated",).into_pyobject(py)?.into_any(),
            };
            Ok(Some(facts.unbind()))
        })
    }

    /// Whether `[DONE]` was seen.
    #[getter]
    fn done(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |stream| Ok(stream.core.is_done()))
    }

    #[getter]
    fn events(&self, py: Python<'_>) -> PyResult<u64> {
        self.with(py, |stream| Ok(stream.core.facts().count))
    }

    #[getter]
    fn visible(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |stream| Ok(stream.core.facts().visible))
    }

    #[getter]
    fn reasoning(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |stream| Ok(stream.core.facts().reasoning))
    }

    /// The counters of what was decided here; see `counts_of` in `pure/documents.py`.
    fn counts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        self.with(py, |stream| {
            let counts = PyDict::new(py);
            let tally = stream.core.tally();
            for (counted, name) in Counted::ALL {
                let named = PyDict::new(py);
                for (source, count) in tally.of(counted) {
                    named.set_item(source, count)?;
                }
                counts.set_item(name, named)?;
            }
            counts.set_item("families", &tally.families)?;
            counts.set_item("vague", tally.vague)?;
            let (declined, alike) = stream.core.ways();
            let facts = stream.core.facts();
            counts.set_item("events", facts.count)?;
            counts.set_item("malformed", facts.malformed)?;
            counts.set_item("declined", declined)?;
            counts.set_item("alike", alike)?;
            counts.set_item("complete", facts.complete)?;
            counts.set_item("visible", facts.visible)?;
            counts.set_item("reasoning", facts.reasoning)?;
            Ok(counts)
        })
    }
}
