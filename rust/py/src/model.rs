//! Chunks that are like one that was parsed: copies of it, with another text in them.
//!
//! A copy costs a quarter of what a parser needs. No two chunks share a dict or a list, since
//! whoever gets one may change it.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyInt, PyList, PyString};
use streamnorm_core as core;

/// A part of a chunk that is not the same object in every copy.
enum Part {
    Text,
    /// What is copied (None where every member is a part), and the parts.
    Dict(Option<Py<PyDict>>, Box<[(Py<PyString>, Part)]>),
    /// The items, and which of them are parts.
    List(Box<[Py<PyAny>]>, Box<[(usize, Part)]>),
}

impl Part {
    /// Read a parsed document in which `mark` stands for the texts; None for what all copies
    /// may share.
    fn of(value: &Bound<'_, PyAny>, mark: &str) -> PyResult<Option<Self>> {
        if let Ok(dict) = value.cast::<PyDict>() {
            let mut parts = Vec::new();
            for (key, value) in dict.iter() {
                if let Some(part) = Self::of(&value, mark)? {
                    parts.push((key.cast_into::<PyString>()?.unbind(), part));
                }
            }
            // Each copy has its own in their places: of many streams most wait, so that what
            // was read there is not kept.
            for (key, _) in &parts {
                dict.set_item(key, dict.py().None())?;
            }
            let is_more = parts.len() < dict.len();
            return Ok(Some(Self::Dict(is_more.then(|| dict.clone().unbind()), parts.into())));
        }
        if let Ok(list) = value.cast::<PyList>() {
            let mut parts = Vec::new();
            for (place, value) in list.iter().enumerate() {
                if let Some(part) = Self::of(&value, mark)? {
                    parts.push((place, part));
                }
            }
            let mut items: Box<[_]> = list.iter().map(Bound::unbind).collect();
            for (place, _) in &parts {
                items[*place] = list.py().None();
            }
            return Ok(Some(Self::List(items, parts.into())));
        }
        let is_text = value.cast::<PyString>().is_ok_and(|text| text == mark);
        Ok(is_text.then_some(Self::Text))
    }

    fn copy<'py>(&self, py: Python<'py>, text: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
        match self {
            Self::Text => Ok(text.clone()),
            Self::Dict(dict, parts) => {
                let copy = match dict {
                    Some(dict) => dict.bind(py).copy()?,
                    None => PyDict::new(py),
                };
                for (key, part) in parts {
                    copy.set_item(key.bind(py), part.copy(py, text)?)?;
                }
                Ok(copy.into_any())
            }
            Self::List(items, parts) => {
                // Nearly always: the one choice.
                if let ([_], [(_, part)]) = (&**items, &**parts) {
                    return Ok(PyList::new(py, [part.copy(py, text)?])?.into_any());
                }
                let mut parts = parts.iter().peekable();
                let mut copies = Vec::with_capacity(items.len());
                for (place, item) in items.iter().enumerate() {
                    copies.push(match parts.next_if(|(at, _)| *at == place) {
                        Some((_, part)) => part.copy(py, text)?,
                        None => item.bind(py).clone(),
                    });
                }
                Ok(PyList::new(py, copies)?.into_any())
            }
        }
    }
}

impl Part {
    /// Copy from what another model copies from, where that says the same.
    fn share(&mut self, py: Python<'_>, other: &Self) -> PyResult<()> {
        match (self, other) {
            (Self::Dict(own, parts), Self::Dict(known, others)) => {
                if let (Some(own), Some(known)) = (own, known) {
                    if is_same(own.bind(py), known.bind(py))? {
                        *own = known.clone_ref(py);
                    }
                }
                for ((_, part), (_, other)) in parts.iter_mut().zip(others) {
                    part.share(py, other)?;
                }
            }
            (Self::List(_, parts), Self::List(_, others)) => {
                for ((_, part), (_, other)) in parts.iter_mut().zip(others) {
                    part.share(py, other)?;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// Whether two dicts have the same members in the same order, all of them plain.
fn is_same(own: &Bound<'_, PyDict>, known: &Bound<'_, PyDict>) -> PyResult<bool> {
    if own.len() != known.len() {
        return Ok(false);
    }
    for ((name, value), (other_name, other)) in own.iter().zip(known.iter()) {
        let is_plain =
            value.is_exact_instance_of::<PyString>() || value.is_exact_instance_of::<PyInt>();
        let is_alike = value.is(&other)
            || (is_plain && value.get_type().is(other.get_type()) && value.eq(&other)?);
        if !is_alike || !name.eq(&other_name)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// One chunk to be copied.
pub(crate) struct Model {
    pub(crate) serial: u64,
    part: Part,
}

impl Model {
    /// Parse the document of a model with `loads`; what it has in common with an `other` one
    /// is there once.
    pub(crate) fn new(
        py: Python<'_>,
        model: &core::Model<'_>,
        loads: &Bound<'_, PyAny>,
        other: Option<&Self>,
    ) -> PyResult<Self> {
        let parts = (model.parts)();
        let mark = mark(&parts);
        let document = parts.join(mark.as_bytes());
        let chunk = loads.call1((PyBytes::new(py, &document),))?;
        let part = Part::of(&chunk, &mark)?;
        // (A template is a document, which is an object.)
        let mut part = part.ok_or_else(|| PyValueError::new_err("the model is no object"))?;
        if let Some(other) = other {
            part.share(py, &other.part)?;
        }
        Ok(Self { serial: model.serial, part })
    }

    /// A new chunk with that text.
    pub(crate) fn chunk(&self, py: Python<'_>, text: &str) -> PyResult<Py<PyAny>> {
        let text = PyString::new(py, text).into_any();
        self.part.copy(py, &text).map(Bound::unbind)
    }
}

/// A text that occurs in none of the parts.
fn mark(parts: &[Vec<u8>]) -> String {
    let mut mark = String::from("text");
    while parts.iter().any(|part| memchr::memmem::find(part, mark.as_bytes()).is_some()) {
        mark.push('*');
    }
    mark
}
