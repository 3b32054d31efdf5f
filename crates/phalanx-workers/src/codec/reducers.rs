//! The reducers that objects are pickled with: those of `copyreg` and of `multiprocessing.reduction.ForkingPickler`
//! (bound methods, partial functions, sockets, connections, whatever users register), in one plain dictionary.
//!
//! The standard module makes a dictionary for every pickle. Here it is made once, and again when one of its sources has
//! changed, which a fingerprint of their contents tells: some 15 pairs of addresses.

use std::ptr;

use phalanx_object::{GilCell, Reducers};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

use super::array;

/// Buffers from this size on leave the stream. Below, a block costs more than the copy.
const OUT_OF_BAND: usize = 8 << 10;

/// Where reducers are registered.
struct Sources {
    copyreg: Py<PyDict>,
    forking: Py<PyDict>,
    modules: Py<PyDict>,
}

static SOURCES: PyOnceLock<Sources> = PyOnceLock::new();

fn sources(py: Python<'_>) -> PyResult<&'static Sources> {
    SOURCES.get_or_try_init(py, || {
        let pickler = py.import("multiprocessing.reduction")?.getattr("ForkingPickler")?;
        // Registers how to pickle connections.
        py.import("multiprocessing.connection")?;
        Ok(Sources {
            copyreg: py.import("copyreg")?.getattr("dispatch_table")?.cast_into::<PyDict>()?.unbind(),
            forking: pickler.getattr("_extra_reducers")?.cast_into::<PyDict>()?.unbind(),
            modules: py.import("sys")?.getattr("modules")?.cast_into::<PyDict>()?.unbind(),
        })
    })
}

/// The dictionary in use.
struct Table {
    reducers: Py<PyDict>,
    print: u64,
}

static TABLE: GilCell<Option<Table>> = GilCell::new(None);

/// A number that changes when a type or its reducer does. The table holds what it was made of, so that no address can
/// mean another object meanwhile. The sum has no order, which lets the entries be mixed side by side.
fn fingerprint(dict: &Bound<'_, PyDict>) -> u64 {
    let (mut place, mut key, mut value, mut sum) = (0, ptr::null_mut(), ptr::null_mut(), 0_u64);
    // SAFETY: a dictionary that nothing changes meanwhile: the lock is held and no Python code runs.
    while unsafe { ffi::PyDict_Next(dict.as_ptr(), &mut place, &mut key, &mut value) } != 0 {
        let both = key.addr() as u64 ^ (value.addr() as u64).rotate_left(32);
        let mixed = both.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        sum = sum.wrapping_add(mixed ^ (mixed >> 32));
    }
    sum
}

/// The picklers of a family's processes.
pub(super) struct Family;

impl Reducers for Family {
    fn threshold(&self) -> usize {
        OUT_OF_BAND
    }

    fn print(&self, py: Python<'_>) -> PyResult<u64> {
        let sources = sources(py)?;
        let numpy = sources.modules.bind(py).contains(intern!(py, "numpy"))?;
        let both = fingerprint(sources.copyreg.bind(py)).rotate_left(1) ^ fingerprint(sources.forking.bind(py));
        Ok(both ^ u64::from(numpy))
    }

    fn table(&self, py: Python<'_>, print: u64) -> PyResult<Option<Py<PyDict>>> {
        let known = TABLE.peek(py, |table| {
            table.as_ref().filter(|table| table.print == print).map(|table| table.reducers.clone_ref(py))
        });
        if known.is_some() {
            return Ok(known);
        }
        let sources = sources(py)?;
        let reducers = PyDict::new(py);
        if sources.modules.bind(py).contains(intern!(py, "numpy"))? {
            array::register(&reducers)?;
        }
        reducers.update(sources.copyreg.bind(py).as_mapping())?;
        reducers.update(sources.forking.bind(py).as_mapping())?;
        let table = Table { reducers: reducers.clone().unbind(), print };
        drop(TABLE.replace(py, Some(table)));
        Ok(Some(reducers.unbind()))
    }
}
