//! Data representations of the program (MPI 5.0 §14.5.3): Python functions that convert elements of files.

use pyo3::prelude::*;

use crate::buffer::Buffer;
use crate::datatype::Datatype;
use crate::error::{self, check, wrong_type};
use crate::extras;
use crate::ffi::*;
use crate::gil;
use crate::handle::{self, Handle as _};
use crate::large;
use crate::text::Text;

/// The functions of a representation: MPI's extra state. They live as long as the process, as the representation does.
struct Functions {
    read: Option<Py<PyAny>>,
    write: Option<Py<PyAny>>,
    extent: Py<PyAny>,
}

/// Runs `call` with the functions and the datatype as an object. What it raises is shown; the file's call gets a code.
fn with_datatype(
    state: *mut c_void,
    datatype: MPI_Datatype,
    call: impl FnOnce(Python<'_>, &Functions, &Bound<'_, PyAny>) -> PyResult<()>,
) -> c_int {
    // SAFETY: asks for a flag only; valid at any time.
    if state.is_null() || unsafe { pyo3::ffi::Py_IsInitialized() } == 0 {
        return MPI_ERR_INTERN;
    }
    gil::attached(|py| {
        // SAFETY: `state` is what `Register_datarep` leaked for this.
        let functions = unsafe { &*state.cast::<Functions>() };
        let result = (|| {
            let object = handle::wrap::<Datatype>(py, datatype)?;
            let result = call(py, functions, &object);
            let class = object.cast::<Datatype>()?.get();
            if !handle::is_constant(class) {
                // The handle is the library's.
                class.cell().set(MPI_DATATYPE_NULL);
            }
            result
        })();
        match result {
            Ok(()) => MPI_SUCCESS,
            Err(error) => error::report_from_callback(py, error),
        }
    })
}

/// Bytes that elements reach behind their address in memory: none where they lie before it.
fn reach(datatype: MPI_Datatype, elements: MPI_Count) -> PyResult<isize> {
    let (mut lb, mut extent, mut true_lb, mut true_extent) = (0, 0, 0, 0);
    // SAFETY: all places are valid for the writes.
    check(unsafe { MPI_Type_get_extent_c(datatype, &mut lb, &mut extent) })?;
    // SAFETY: as above.
    check(unsafe { MPI_Type_get_true_extent_c(datatype, &mut true_lb, &mut true_extent) })?;
    let last = extent.checked_mul(elements.saturating_sub(1).max(0));
    let end = last.and_then(|last| last.max(0).checked_add(true_lb)?.checked_add(true_extent));
    Ok(end.filter(|_| elements > 0).and_then(|bytes| isize::try_from(bytes).ok()).unwrap_or(0))
}

/// Where a conversion takes place.
struct Conversion {
    memory: *mut c_void,
    datatype: MPI_Datatype,
    count: MPI_Count,
    file: *mut c_void,
    position: MPI_Offset,
}

impl Conversion {
    fn run(&self, state: *mut c_void, writes: bool) -> c_int {
        with_datatype(state, self.datatype, |py, functions, datatype| {
            let function = if writes { &functions.write } else { &functions.read };
            let Some(function) = function else { return Ok(()) };
            let elements = self.position.saturating_add(self.count);
            let (memory, file) = (reach(self.datatype, elements)?, extras::conversion_bytes());
            Buffer::lend(py, (self.memory, memory), (self.file, file), |memory, file| {
                function.call1(py, (memory, datatype, self.count, file, self.position)).map(drop)
            })
        })
    }
}

/// What the library calls, to write or to read, with a count of its width: `int` on a library without large counts.
unsafe extern "C" fn convert<Count: Into<MPI_Count>, const WRITES: bool>(
    memory: *mut c_void,
    datatype: MPI_Datatype,
    count: Count,
    file: *mut c_void,
    position: MPI_Offset,
    state: *mut c_void,
) -> c_int {
    Conversion { memory, datatype, count: count.into(), file, position }.run(state, WRITES)
}

unsafe extern "C" fn extent(datatype: MPI_Datatype, bytes: *mut MPI_Aint, state: *mut c_void) -> c_int {
    with_datatype(state, datatype, |py, functions, object| {
        let said = functions.extent.call1(py, (object,))?.extract(py)?;
        // SAFETY: the library passes a place for the result.
        unsafe { bytes.write(said) };
        Ok(())
    })
}

/// A function, or none.
fn function(found: &Bound<'_, PyAny>, name: &str) -> PyResult<Option<Py<PyAny>>> {
    if found.is_none() {
        return Ok(None);
    }
    if !found.is_callable() {
        return Err(wrong_type(&format!("a function or None as {name}"), found));
    }
    Ok(Some(found.clone().unbind()))
}

/// Register_datarep(datarep: str, read_fn: Callable[[Buffer, Datatype, int, Buffer, int], None] | None, write_fn: Callable[[Buffer, Datatype, int, Buffer, int], None] | None, extent_fn: Callable[[Datatype], int]) -> None
///
/// Register a data representation for files, of which views may have the name.
///
/// The conversion functions get the user's buffer, the datatype, the number of elements, the buffer of the file's
/// side and the position of the first element; without one, data is moved as it is. They must not access the file.
/// `extent_fn` gives the bytes of a predefined type in the file. Local.
#[pyfunction]
#[pyo3(signature = (datarep, read_fn, write_fn, extent_fn))]
fn Register_datarep(
    py: Python<'_>,
    datarep: Text,
    read_fn: &Bound<'_, PyAny>,
    write_fn: &Bound<'_, PyAny>,
    extent_fn: &Bound<'_, PyAny>,
) -> PyResult<()> {
    let functions = Functions {
        read: function(read_fn, "read_fn")?,
        write: function(write_fn, "write_fn")?,
        extent: function(extent_fn, "extent_fn")?.ok_or_else(|| wrong_type("a function as extent_fn", extent_fn))?,
    };
    let (reads, writes) = match large::has_large_conversions() {
        true => (convert::<_, false> as Function as *mut c_void, convert::<_, true> as Function as *mut c_void),
        false => {
            (convert::<_, false> as PlainFunction as *mut c_void, convert::<_, true> as PlainFunction as *mut c_void)
        }
    };
    let given = |address: *mut c_void, there: bool| if there { address } else { std::ptr::null_mut() };
    let (reads, writes) = (given(reads, functions.read.is_some()), given(writes, functions.write.is_some()));
    let sizes: unsafe extern "C" fn(MPI_Datatype, *mut MPI_Aint, *mut c_void) -> c_int = extent;
    let state = Box::into_raw(Box::new(functions)).cast::<c_void>();
    let name = datarep.as_ptr();
    // SAFETY: the functions have the standard's signatures and the state is never freed once the library has it; the name
    // outlives the call.
    let done =
        gil::blocking(py, || unsafe { MPI_Register_datarep_c(name, reads, writes, sizes as *mut c_void, state) });
    if done.is_err() {
        // SAFETY: the box from above, which the library has refused.
        drop(unsafe { Box::from_raw(state.cast::<Functions>()) });
    }
    done
}

type Function =
    unsafe extern "C" fn(*mut c_void, MPI_Datatype, MPI_Count, *mut c_void, MPI_Offset, *mut c_void) -> c_int;

type PlainFunction =
    unsafe extern "C" fn(*mut c_void, MPI_Datatype, c_int, *mut c_void, MPI_Offset, *mut c_void) -> c_int;

/// Adds the function to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(Register_datarep, m)?)
}
