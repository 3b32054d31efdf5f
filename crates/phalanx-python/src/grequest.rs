//! `MPI.Grequest`: operations of the user's own that can be waited for like others (MPI 5.0 section 13.2).

use std::sync::Arc;

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple, PyType};

use crate::error::{self, check};
use crate::ffi::*;
use crate::gil::{self, GilCell};
use crate::handle::{self, Handle as _, Raw as _};
use crate::request::{Held, Keep, Request};
use crate::status::Status;

/// An operation of the user's own: started here, completed by `Complete`, waited for like any other.
#[pyclass(module = "phalanx.MPI", subclass, frozen, extends = Request)]
pub(crate) struct Grequest {
    /// The handle to complete: the request's own may be null by then, when another thread waits for it.
    target: handle::HandleCell<MPI_Request>,
}

/// The Python functions of a generalized request: MPI's extra state.
struct Functions {
    query: Option<Py<PyAny>>,
    free: Option<Py<PyAny>>,
    cancel: Option<Py<PyAny>>,
    args: Py<PyTuple>,
    kwargs: Py<PyDict>,
}

impl Functions {
    fn call<'py>(&self, py: Python<'py>, function: &Py<PyAny>, first: Option<Bound<'py, PyAny>>) -> PyResult<()> {
        let mut args: Vec<Bound<'py, PyAny>> = first.into_iter().collect();
        args.extend(self.args.bind(py).iter());
        function.call(py, PyTuple::new(py, args)?, Some(self.kwargs.bind(py))).map(drop)
    }
}

/// The object that `complete` was given, for lower-case `wait`.
struct Outcome(GilCell<Option<Py<PyAny>>>);

impl Held for Outcome {
    fn finish(&self, py: Python<'_>, _status: &mut MPI_Status) -> PyResult<Py<PyAny>> {
        Ok(self.0.get(py).unwrap_or_else(|| py.None()))
    }
}

fn python_is_up() -> bool {
    // SAFETY: asks for a flag only; valid at any time.
    unsafe { pyo3::ffi::Py_IsInitialized() != 0 }
}

fn code(py: Python<'_>, result: PyResult<()>) -> c_int {
    match result {
        Ok(()) => MPI_SUCCESS,
        Err(error) => error::report_from_callback(py, error),
    }
}

unsafe extern "C" fn query(extra: *mut c_void, status: *mut MPI_Status) -> c_int {
    if extra.is_null() || status.is_null() || !python_is_up() {
        return MPI_ERR_INTERN;
    }
    // SAFETY: the library passes a status to fill in; `EMPTY` says "nothing, from nobody, not cancelled".
    unsafe {
        *status = MPI_Status::EMPTY;
        MPI_Status_set_elements_c(status, MPI_BYTE, 0);
        MPI_Status_set_cancelled(status, 0);
    }
    gil::attached(|py| {
        // SAFETY: `extra` is the box that `Start` made and `free` has not yet taken.
        let functions = unsafe { &*extra.cast::<Functions>() };
        let Some(function) = &functions.query else {
            return MPI_SUCCESS;
        };
        let result = (|| {
            // SAFETY: as above.
            let object = Bound::new(py, Status::with(unsafe { *status }))?;
            functions.call(py, function, Some(object.clone().into_any()))?;
            // SAFETY: as above.
            unsafe {
                *status = object.get().get();
                if functions.cancel.is_none() {
                    MPI_Status_set_cancelled(status, 0);
                }
            }
            Ok(())
        })();
        code(py, result)
    })
}

unsafe extern "C" fn free(extra: *mut c_void) -> c_int {
    if extra.is_null() || !python_is_up() {
        return MPI_ERR_INTERN;
    }
    gil::attached(|py| {
        // SAFETY: `extra` is the box that `Start` made; the library calls this once, last.
        let functions = unsafe { Box::from_raw(extra.cast::<Functions>()) };
        match &functions.free {
            Some(function) => code(py, functions.call(py, function, None)),
            None => MPI_SUCCESS,
        }
    })
}

unsafe extern "C" fn cancel(extra: *mut c_void, completed: c_int) -> c_int {
    if extra.is_null() || !python_is_up() {
        return MPI_ERR_INTERN;
    }
    gil::attached(|py| {
        // SAFETY: `extra` is the box that `Start` made and `free` has not yet taken.
        let functions = unsafe { &*extra.cast::<Functions>() };
        let Some(function) = &functions.cancel else {
            return MPI_SUCCESS;
        };
        let result = (|| {
            let flag = (completed != 0).into_pyobject(py)?.to_owned().into_any();
            functions.call(py, function, Some(flag))
        })();
        code(py, result)
    })
}

#[pymethods]
impl Grequest {
    #[new]
    #[pyo3(signature = (request=None))]
    fn new(request: Option<&Bound<'_, Request>>) -> PyResult<PyClassInitializer<Self>> {
        let raw = handle::raw_or_null(request);
        if let Some(request) = request
            && raw != MPI_REQUEST_NULL
            && !request.is_instance_of::<Grequest>()
        {
            return Err(error::wrong_type("Grequest", request.as_any()));
        }
        let target = handle::HandleCell::new(raw);
        Ok(PyClassInitializer::from(Request::copy(request)).add_subclass(Grequest { target }))
    }

    /// Start(cls, query_fn=None, free_fn=None, cancel_fn=None, args=None, kwargs=None) -> Grequest
    ///
    /// Start an operation. The functions are called with `args` and `kwargs`: `query_fn(status, ...)` to describe the
    /// result, `free_fn(...)` at the end, `cancel_fn(completed, ...)` on `Cancel`. Does not block.
    #[classmethod]
    #[pyo3(signature = (query_fn=None, free_fn=None, cancel_fn=None, args=None, kwargs=None))]
    fn Start<'py>(
        cls: &Bound<'py, PyType>,
        query_fn: Option<Py<PyAny>>,
        free_fn: Option<Py<PyAny>>,
        cancel_fn: Option<Py<PyAny>>,
        args: Option<&Bound<'py, PyAny>>,
        kwargs: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Grequest>> {
        let py = cls.py();
        let args = match args {
            Some(args) => PyTuple::new(py, args.try_iter()?.collect::<PyResult<Vec<_>>>()?)?,
            None => PyTuple::empty(py),
        };
        let named = PyDict::new(py);
        if let Some(kwargs) = kwargs {
            named.call_method1("update", (kwargs,))?;
        }
        let functions = Box::new(Functions {
            query: query_fn,
            free: free_fn,
            cancel: cancel_fn,
            args: args.unbind(),
            kwargs: named.unbind(),
        });
        let base = PyClassInitializer::from(Request::with(MPI_REQUEST_NULL, Keep::Nothing));
        let target = handle::HandleCell::new(MPI_REQUEST_NULL);
        let object = Bound::new(py, base.add_subclass(Grequest { target }))?;
        let extra = Box::into_raw(functions);
        let mut raw = MPI_Request::NULL;
        // SAFETY: the callbacks live as long as the process, `extra` until the free callback takes it.
        let started = check(unsafe {
            MPI_Grequest_start(query as *mut c_void, free as *mut c_void, cancel as *mut c_void, extra.cast(), &mut raw)
        });
        if let Err(error) = started {
            // SAFETY: the library did not take the box.
            drop(unsafe { Box::from_raw(extra) });
            return Err(error);
        }
        object.as_super().get().cell().set(raw);
        object.get().target.set(raw);
        Ok(object)
    }

    /// Complete(self) -> None
    ///
    /// Say that the operation is complete. Does not block.
    fn Complete(slf: &Bound<'_, Self>) -> PyResult<()> {
        let target = slf.get().target.get();
        slf.get().target.set(MPI_REQUEST_NULL);
        // SAFETY: passes a value; the library checks it.
        check(gil::detached(slf.py(), || unsafe { MPI_Grequest_complete(target) }))
    }

    /// complete(self, obj: Any = None) -> None
    ///
    /// Say that the operation is complete; lower-case `wait` returns `obj`. Does not block.
    #[pyo3(signature = (obj=None))]
    fn complete(slf: &Bound<'_, Self>, obj: Option<Py<PyAny>>) -> PyResult<()> {
        let outcome = Keep::Held(Arc::new(Outcome(GilCell::new(obj))));
        drop(slf.as_super().get().set_keep(slf.py(), outcome));
        Self::Complete(slf)
    }
}

/// Adds the class to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Grequest>()
}
