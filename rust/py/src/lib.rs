//! The binding: types in and out, locks, and the two calls back into Python.

mod decoder;
mod host;
mod model;
mod normalizer;
mod table;

use pyo3::prelude::*;
use streamnorm_core::Unit;

/// Raised with every change of this module's interface; `_engine.py` compares it.
const ABI: u32 = 5;

fn unit_name(unit: Unit) -> &'static str {
    match unit {
        Unit::Line => "line",
        Unit::Event => "event",
    }
}

/// The Rust engine of streamnorm; `streamnorm.native` is what calls it.
#[pymodule]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::decoder::Decoder;
    #[pymodule_export]
    use crate::normalizer::Normalizer;
    #[pymodule_export]
    use crate::table::{Table, Vocabulary};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("VERSION", env!("STREAMNORM_VERSION"))?;
        module.add("ABI", super::ABI)
    }
}
