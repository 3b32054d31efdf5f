//! `MPI.Request`: operations under way (MPI 5.0 section 3.7).
//!
//! A request keeps what its operation needs (buffers, or the state of an object message) until the library reports its
//! completion by setting the handle to null; persistent requests keep it until they are freed. When the object goes away or
//! is freed before that, [`orphans`] keeps it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyType};

use crate::error::{check, check_each};
use crate::ffi::*;
use crate::gil::{self, GilCell};
use crate::handle::{self, Handle, HandleCell, Raw as _, handle_methods};
use crate::numbers;
use crate::orphans;
use crate::patience;
use crate::status::{self, Status};

/// What an operation under way needs besides its handle.
pub(crate) trait Held: Send + Sync {
    /// The object that lower-case `wait` and `test` return, once the library has completed the handle.
    ///
    /// May change `status` to describe the whole message where that took several.
    ///
    /// # Errors
    /// Whatever unpickling raises, or the receive of further parts.
    fn finish(&self, py: Python<'_>, status: &mut MPI_Status) -> PyResult<Py<PyAny>> {
        let _ = status;
        Ok(py.None())
    }
}

/// What a request object keeps alive.
#[derive(Default)]
pub(crate) enum Keep {
    /// Nothing.
    #[default]
    Nothing,
    /// A Python object; lower-case `wait` returns `None`.
    Object(Py<PyAny>),
    /// A state of the binding; lower-case `wait` asks it for the result.
    Held(Arc<dyn Held>),
}

impl Keep {
    pub(crate) fn share(&self, py: Python<'_>) -> Keep {
        match self {
            Keep::Nothing => Keep::Nothing,
            Keep::Object(object) => Keep::Object(object.clone_ref(py)),
            Keep::Held(held) => Keep::Held(held.clone()),
        }
    }

    fn finish(&self, py: Python<'_>, status: &mut MPI_Status) -> PyResult<Py<PyAny>> {
        match self {
            Keep::Nothing | Keep::Object(_) => Ok(py.None()),
            Keep::Held(held) => held.finish(py, status),
        }
    }
}

/// An operation under way.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Request {
    handle: HandleCell<MPI_Request>,
    keep: GilCell<Keep>,
    /// Shared by copies (`Request(other)`): whether one of them has completed or freed the operation.
    copies: GilCell<Option<Arc<AtomicBool>>>,
}

impl Handle for Request {
    type Raw = MPI_Request;

    fn cell(&self) -> &HandleCell<MPI_Request> {
        &self.handle
    }

    fn from_handle<'py>(cls: &Bound<'py, PyType>, raw: MPI_Request) -> PyResult<Bound<'py, PyAny>> {
        let py = cls.py();
        if cls.is_subclass_of::<crate::prequest::Prequest>()? || cls.is_subclass_of::<crate::grequest::Grequest>()? {
            return handle::instance::<Request>(cls, raw);
        }
        handle::wrap::<Request>(py, raw)
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().Free(slf.py())
    }
}

handle_methods!(Request, MPI_Request, handle::reduce);

impl Request {
    /// A request object in Rust, not yet one of Python.
    pub(crate) fn with(raw: MPI_Request, keep: Keep) -> Self {
        Request { handle: HandleCell::new(raw), keep: GilCell::new(keep), copies: GilCell::new(None) }
    }

    /// Starts a nonblocking operation: `call` gets the place for the handle.
    ///
    /// # Errors
    /// The operation's `MPI.Exception`.
    pub(crate) fn start<'py>(
        py: Python<'py>,
        keep: Keep,
        call: impl FnOnce(*mut MPI_Request) -> c_int,
    ) -> PyResult<Bound<'py, Request>> {
        orphans::sweep(py);
        let object = Bound::new(py, Request::with(MPI_REQUEST_NULL, keep))?;
        let mut raw = MPI_REQUEST_NULL;
        let place = &raw mut raw;
        check(gil::starting(py, move || call(place)))?;
        object.get().handle.set(raw);
        Ok(object)
    }

    /// Keeps something else alive instead, and returns what was kept.
    pub(crate) fn set_keep(&self, py: Python<'_>, keep: Keep) -> Keep {
        self.keep.replace(py, keep)
    }

    /// The state kept, shared.
    pub(crate) fn kept(&self, py: Python<'_>) -> Keep {
        self.keep.peek(py, |keep| keep.share(py))
    }

    /// Copies handle and state of another request, for `Class(request)`.
    pub(crate) fn copy(request: Option<&Bound<'_, Request>>) -> Self {
        match request {
            Some(request) => {
                let (py, request) = (request.py(), request.get());
                let copies = request.copies.with(py, |copies| copies.get_or_insert_default().clone());
                Request {
                    handle: HandleCell::new(request.raw()),
                    keep: GilCell::new(request.kept(py)),
                    copies: GilCell::new(Some(copies)),
                }
            }
            None => Request::with(MPI_REQUEST_NULL, Keep::Nothing),
        }
    }

    /// Stores the handle after a call and returns what was kept; lets go of it when the operation is over.
    fn settle(&self, py: Python<'_>, raw: MPI_Request) -> Keep {
        self.handle.set(raw);
        orphans::sweep(py);
        if raw != MPI_REQUEST_NULL {
            return self.kept(py);
        }
        self.end_copies(py);
        self.keep.take(py)
    }

    /// Tells the copies that the operation is over.
    fn end_copies(&self, py: Python<'_>) {
        if let Some(over) = self.copies.take(py) {
            over.store(true, Relaxed);
        }
    }
}

impl Drop for Request {
    /// The operation may outlive the object.
    fn drop(&mut self) {
        let raw = self.handle.get();
        if raw == MPI_REQUEST_NULL || matches!(self.keep.get_mut(), Keep::Nothing) {
            return;
        }
        if let Some(copies) = self.copies.get_mut()
            && (copies.load(Relaxed) || Arc::strong_count(copies) > 1)
        {
            return;
        }
        let keep = std::mem::take(self.keep.get_mut());
        // An object is dropped with the interpreter lock held.
        Python::attach(|py| orphans::adopt(py, raw, keep));
    }
}

#[pymethods]
impl Request {
    #[new]
    #[pyo3(signature = (request=None))]
    fn new(request: Option<&Bound<'_, Request>>) -> Self {
        Request::copy(request)
    }

    /// Wait(self, status: Status | None = None) -> Literal[True]
    ///
    /// Wait for the operation to complete.
    #[pyo3(signature = (status=None))]
    pub(crate) fn Wait(&self, py: Python<'_>, status: Option<&Bound<'_, Status>>) -> PyResult<bool> {
        let (mut raw, mut value) = (self.raw(), MPI_Status::EMPTY);
        // SAFETY: both pointers are valid for the call; the buffers are kept by this object.
        let code = gil::briefly(py, || unsafe { patience::wait(&mut raw, &mut value) });
        self.settle(py, raw);
        check(code)?;
        status::give(status, value);
        Ok(true)
    }

    /// Test(self, status: Status | None = None) -> bool
    ///
    /// Return whether the operation is complete. Does not block.
    #[pyo3(signature = (status=None))]
    fn Test(&self, py: Python<'_>, status: Option<&Bound<'_, Status>>) -> PyResult<bool> {
        let (mut raw, mut value, mut flag) = (self.raw(), MPI_Status::EMPTY, 0);
        // SAFETY: all pointers are valid for the call; the buffers are kept by this object.
        let code = gil::briefly(py, || unsafe { MPI_Test(&mut raw, &mut flag, &mut value) });
        self.settle(py, raw);
        check(code)?;
        if flag != 0 {
            status::give(status, value);
        }
        Ok(flag != 0)
    }

    /// Get_status(self, status: Status | None = None) -> bool
    ///
    /// Return whether the operation is complete, without freeing the request. Does not block.
    #[pyo3(signature = (status=None))]
    fn Get_status(&self, py: Python<'_>, status: Option<&Bound<'_, Status>>) -> PyResult<bool> {
        let (raw, mut value, mut flag) = (self.raw(), MPI_Status::EMPTY, 0);
        // SAFETY: all pointers are valid for the call.
        check(gil::briefly(py, || unsafe { MPI_Request_get_status(raw, &mut flag, &mut value) }))?;
        if flag != 0 {
            status::give(status, value);
        }
        Ok(flag != 0)
    }

    /// Cancel(self) -> None
    ///
    /// Ask to cancel the operation; it has to be completed all the same. Does not block.
    fn Cancel(&self, py: Python<'_>) -> PyResult<()> {
        let mut raw = self.raw();
        // SAFETY: the pointer is valid for the call.
        check(gil::starting(py, || unsafe { MPI_Cancel(&mut raw) }))
    }

    /// cancel(self) -> None
    ///
    /// The same as `Cancel`.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        self.Cancel(py)
    }

    /// Free(self) -> None
    ///
    /// Free the request; an operation under way goes on, unobserved.
    fn Free(&self, py: Python<'_>) -> PyResult<()> {
        let mut raw = self.raw();
        let keeps = !self.keep.peek(py, |keep| matches!(keep, Keep::Nothing));
        if raw != MPI_REQUEST_NULL && keeps && !handle::is_constant(self) {
            self.handle.set(MPI_REQUEST_NULL);
            self.end_copies(py);
            orphans::adopt(py, raw, self.keep.take(py));
            return Ok(());
        }
        // SAFETY: the pointer is valid for the call.
        check(gil::starting(py, || unsafe { MPI_Request_free(&mut raw) }))?;
        if !handle::is_constant(self) {
            self.handle.set(raw);
        }
        Ok(())
    }

    /// wait(self, status: Status | None = None) -> Any
    ///
    /// Wait for the operation to complete; return the object received, or `None`.
    #[pyo3(signature = (status=None))]
    fn wait(&self, py: Python<'_>, status: Option<&Bound<'_, Status>>) -> PyResult<Py<PyAny>> {
        let (mut raw, mut value) = (self.raw(), MPI_Status::EMPTY);
        // SAFETY: both pointers are valid for the call; the buffers are kept by this object.
        let code = gil::briefly(py, || unsafe { patience::wait(&mut raw, &mut value) });
        let kept = self.settle(py, raw);
        check(code)?;
        let object = kept.finish(py, &mut value)?;
        status::give(status, value);
        Ok(object)
    }

    /// test(self, status: Status | None = None) -> tuple[bool, Any | None]
    ///
    /// Return whether the operation is complete, and the object received then. Does not block.
    #[pyo3(signature = (status=None))]
    fn test(&self, py: Python<'_>, status: Option<&Bound<'_, Status>>) -> PyResult<(bool, Py<PyAny>)> {
        let (mut raw, mut value, mut flag) = (self.raw(), MPI_Status::EMPTY, 0);
        // SAFETY: all pointers are valid for the call; the buffers are kept by this object.
        let code = gil::briefly(py, || unsafe { MPI_Test(&mut raw, &mut flag, &mut value) });
        let kept = self.settle(py, raw);
        check(code)?;
        if flag == 0 {
            return Ok((false, py.None()));
        }
        let object = kept.finish(py, &mut value)?;
        status::give(status, value);
        Ok((true, object))
    }

    /// get_status(self, status: Status | None = None) -> bool
    ///
    /// The same as `Get_status`.
    #[pyo3(signature = (status=None))]
    fn get_status(&self, py: Python<'_>, status: Option<&Bound<'_, Status>>) -> PyResult<bool> {
        self.Get_status(py, status)
    }
}

/// The requests of a call on several, as the array that MPI wants.
pub(crate) struct Batch<'py> {
    objects: Vec<Bound<'py, Request>>,
    kept: Vec<Keep>,
    pub(crate) raws: Vec<MPI_Request>,
    pub(crate) count: c_int,
}

impl<'py> Batch<'py> {
    /// Reads the sequence.
    pub(crate) fn new(requests: &Bound<'py, PyAny>) -> PyResult<Self> {
        let mut objects = Vec::with_capacity(requests.len().unwrap_or(0));
        for item in requests.try_iter()? {
            let item = item?.cast_into::<Request>().map_err(|error| {
                let name = error.into_inner().get_type().name().map_or_else(|_| "?".into(), |n| n.to_string());
                PyTypeError::new_err(format!("expected a sequence of Request, found {name}"))
            })?;
            objects.push(item);
        }
        let raws: Vec<_> = objects.iter().map(|object| object.get().raw()).collect();
        let count = numbers::count(raws.len())?;
        Ok(Batch { objects, kept: Vec::new(), raws, count })
    }

    /// Stores the handles back after the call, and holds on to what the requests kept, for their results.
    pub(crate) fn settle(&mut self, py: Python<'py>) {
        self.kept = self.objects.iter().zip(&self.raws).map(|(object, raw)| object.get().settle(py, *raw)).collect();
    }

    fn statuses(&self) -> Vec<MPI_Status> {
        vec![MPI_Status::EMPTY; self.raws.len()]
    }

    fn finish(&self, py: Python<'py>, index: usize, status: &mut MPI_Status) -> PyResult<Py<PyAny>> {
        self.kept.get(index).map_or_else(|| Ok(py.None()), |kept| kept.finish(py, status))
    }
}

/// Copies the reported statuses into the caller's sequence, which grows when it is a list.
fn give_all(statuses: Option<&Bound<'_, PyAny>>, values: &[MPI_Status]) -> PyResult<()> {
    let Some(statuses) = statuses else {
        return Ok(());
    };
    if let Ok(list) = statuses.cast::<PyList>() {
        while list.len() < values.len() {
            list.append(Bound::new(list.py(), Status::with(MPI_Status::EMPTY))?)?;
        }
    }
    for (item, value) in statuses.try_iter()?.zip(values) {
        item?.cast::<Status>()?.get().set(*value);
    }
    Ok(())
}

/// The indices that `Waitsome` and its kin report; `None` when no request was active.
fn indices(outcount: c_int, indices: &[c_int]) -> Option<Vec<c_int>> {
    let count = usize::try_from(outcount).ok()?;
    Some(indices[..count.min(indices.len())].to_vec())
}

type AnyCall = unsafe extern "C" fn(c_int, *mut MPI_Request, *mut c_int, *mut c_int, *mut MPI_Status) -> c_int;
type AllCall = unsafe extern "C" fn(c_int, *mut MPI_Request, *mut c_int, *mut MPI_Status) -> c_int;
type SomeCall = unsafe extern "C" fn(c_int, *mut MPI_Request, *mut c_int, *mut c_int, *mut MPI_Status) -> c_int;

/// `MPI_Waitany` with the signature of `MPI_Testany`.
unsafe extern "C" fn wait_any(
    count: c_int,
    requests: *mut MPI_Request,
    index: *mut c_int,
    flag: *mut c_int,
    status: *mut MPI_Status,
) -> c_int {
    // SAFETY: passes on what the caller vouches for.
    unsafe {
        *flag = 1;
        patience::wait_any(count, requests, index, status)
    }
}

/// `MPI_Waitall` with the signature of `MPI_Testall`.
unsafe extern "C" fn wait_all(
    count: c_int,
    requests: *mut MPI_Request,
    flag: *mut c_int,
    statuses: *mut MPI_Status,
) -> c_int {
    // SAFETY: passes on what the caller vouches for.
    unsafe {
        *flag = 1;
        patience::wait_all(count, requests, statuses)
    }
}

/// `MPI_Request_get_status_any` with the signature of `MPI_Testany`; it leaves the requests alone.
unsafe extern "C" fn status_any(
    count: c_int,
    requests: *mut MPI_Request,
    index: *mut c_int,
    flag: *mut c_int,
    status: *mut MPI_Status,
) -> c_int {
    // SAFETY: passes on what the caller vouches for.
    unsafe { MPI_Request_get_status_any(count, requests, index, flag, status) }
}

/// `MPI_Request_get_status_all` with the signature of `MPI_Testall`; it leaves the requests alone.
unsafe extern "C" fn status_all(
    count: c_int,
    requests: *mut MPI_Request,
    flag: *mut c_int,
    statuses: *mut MPI_Status,
) -> c_int {
    // SAFETY: passes on what the caller vouches for.
    unsafe { MPI_Request_get_status_all(count, requests, flag, statuses) }
}

/// `MPI_Request_get_status_some` with the signature of `MPI_Testsome`; it leaves the requests alone.
unsafe extern "C" fn status_some(
    count: c_int,
    requests: *mut MPI_Request,
    outcount: *mut c_int,
    indices: *mut c_int,
    statuses: *mut MPI_Status,
) -> c_int {
    // SAFETY: passes on what the caller vouches for.
    unsafe { MPI_Request_get_status_some(count, requests, outcount, indices, statuses) }
}

type Requests<'a, 'py> = &'a Bound<'py, PyAny>;
type OneStatus<'a, 'py> = Option<&'a Bound<'py, Status>>;
type Statuses<'a, 'py> = Option<&'a Bound<'py, PyAny>>;

/// One of several: the index, the flag, and the object when `objects` asks for it.
fn any<'py>(
    requests: Requests<'_, 'py>,
    status: OneStatus<'_, 'py>,
    objects: bool,
    call: AnyCall,
) -> PyResult<(c_int, bool, Py<PyAny>)> {
    let py = requests.py();
    let mut batch = Batch::new(requests)?;
    let (mut index, mut flag, mut value) = (MPI_UNDEFINED, 0, MPI_Status::EMPTY);
    let (count, raws) = (batch.count, batch.raws.as_mut_ptr());
    // SAFETY: the array holds `count` handles, the other pointers are valid for the call; the objects keep the buffers.
    let code = gil::briefly(py, || unsafe { call(count, raws, &mut index, &mut flag, &mut value) });
    batch.settle(py);
    check(code)?;
    let mut object = py.None();
    if flag != 0 {
        if objects && let Ok(index) = usize::try_from(index) {
            object = batch.finish(py, index, &mut value)?;
        }
        status::give(status, value);
    }
    Ok((index, flag != 0, object))
}

/// All of several: the flag, and the objects when `objects` asks for them.
fn all<'py>(
    requests: Requests<'_, 'py>,
    statuses: Statuses<'_, 'py>,
    objects: bool,
    call: AllCall,
) -> PyResult<(bool, Vec<Py<PyAny>>)> {
    let py = requests.py();
    let mut batch = Batch::new(requests)?;
    let (mut flag, mut values) = (0, batch.statuses());
    let (count, raws, out) = (batch.count, batch.raws.as_mut_ptr(), values.as_mut_ptr());
    // SAFETY: the arrays hold `count` items, the flag is valid for the call; the objects keep the buffers.
    let code = gil::briefly(py, || unsafe { call(count, raws, &mut flag, out) });
    batch.settle(py);
    if code != MPI_SUCCESS {
        give_all(statuses, &values)?;
        check_each(py, code, values.iter().enumerate())?;
    }
    let mut results = Vec::new();
    if flag != 0 {
        if objects {
            for (index, value) in values.iter_mut().enumerate() {
                results.push(batch.finish(py, index, value)?);
            }
        }
        give_all(statuses, &values)?;
    }
    Ok((flag != 0, results))
}

/// What `some` returns: the indices and the objects, or `None` when no request was active.
type Several = (Option<Vec<c_int>>, Option<Vec<Py<PyAny>>>);

/// Some of several.
fn some<'py>(
    requests: Requests<'_, 'py>,
    statuses: Statuses<'_, 'py>,
    objects: bool,
    call: SomeCall,
) -> PyResult<Several> {
    let py = requests.py();
    let mut batch = Batch::new(requests)?;
    let (mut outcount, mut places, mut values) = (MPI_UNDEFINED, vec![0; batch.raws.len()], batch.statuses());
    let (count, raws) = (batch.count, batch.raws.as_mut_ptr());
    let (place, out) = (places.as_mut_ptr(), values.as_mut_ptr());
    // SAFETY: the arrays hold `count` items, the count is valid for the call; the objects keep the buffers.
    let code = gil::briefly(py, || unsafe { call(count, raws, &mut outcount, place, out) });
    batch.settle(py);
    let done = indices(outcount, &places);
    let reported = done.as_ref().map_or(0, Vec::len);
    if code != MPI_SUCCESS {
        give_all(statuses, &values[..reported])?;
        check_each(py, code, done.iter().flatten().zip(&values))?;
    }
    let Some(done) = done else {
        return Ok((None, None));
    };
    let mut results = Vec::new();
    if objects {
        for (place, value) in done.iter().zip(&mut values) {
            results.push(batch.finish(py, usize::try_from(*place).unwrap_or(usize::MAX), value)?);
        }
    }
    give_all(statuses, &values[..reported])?;
    Ok((Some(done), Some(results)))
}

#[pymethods]
impl Request {
    /// Waitany(cls, requests: Sequence[Request], status: Status | None = None) -> int
    ///
    /// Wait for one of the operations; return its index, or `UNDEFINED` when none is active.
    #[classmethod]
    #[pyo3(signature = (requests, status=None))]
    fn Waitany<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<c_int> {
        any(requests, status, false, wait_any).map(|(index, ..)| index)
    }

    /// Testany(cls, requests: Sequence[Request], status: Status | None = None) -> tuple[int, bool]
    ///
    /// Return the index of a complete operation and whether there is one. Does not block.
    #[classmethod]
    #[pyo3(signature = (requests, status=None))]
    fn Testany<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<(c_int, bool)> {
        any(requests, status, false, MPI_Testany).map(|(index, flag, _)| (index, flag))
    }

    /// Get_status_any(cls, requests: Sequence[Request], status: Status | None = None) -> tuple[int, bool]
    ///
    /// As `Testany`, without freeing the request. Does not block.
    #[classmethod]
    #[pyo3(signature = (requests, status=None))]
    fn Get_status_any<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<(c_int, bool)> {
        any(requests, status, false, status_any).map(|(index, flag, _)| (index, flag))
    }

    /// Waitall(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> Literal[True]
    ///
    /// Wait for all of the operations.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn Waitall<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        all(requests, statuses, false, wait_all).map(|_| true)
    }

    /// Testall(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> bool
    ///
    /// Return whether all of the operations are complete. Does not block.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn Testall<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        all(requests, statuses, false, MPI_Testall).map(|(flag, _)| flag)
    }

    /// Get_status_all(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> bool
    ///
    /// As `Testall`, without freeing the requests. Does not block.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn Get_status_all<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        all(requests, statuses, false, status_all).map(|(flag, _)| flag)
    }

    /// Waitsome(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[int] | None
    ///
    /// Wait for at least one of the operations; return the indices of those complete, `None` when none is active.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn Waitsome<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Vec<c_int>>> {
        some(requests, statuses, false, patience::wait_some).map(|(done, _)| done)
    }

    /// Testsome(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[int] | None
    ///
    /// Return the indices of complete operations, `None` when none is active. Does not block.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn Testsome<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Vec<c_int>>> {
        some(requests, statuses, false, MPI_Testsome).map(|(done, _)| done)
    }

    /// Get_status_some(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[int] | None
    ///
    /// As `Testsome`, without freeing the requests. Does not block.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn Get_status_some<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Vec<c_int>>> {
        some(requests, statuses, false, status_some).map(|(done, _)| done)
    }

    /// waitany(cls, requests: Sequence[Request], status: Status | None = None) -> tuple[int, Any]
    ///
    /// Wait for one of the operations; return its index and the object received.
    #[classmethod]
    #[pyo3(signature = (requests, status=None))]
    fn waitany<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<(c_int, Py<PyAny>)> {
        any(requests, status, true, wait_any).map(|(index, _, object)| (index, object))
    }

    /// testany(cls, requests: Sequence[Request], status: Status | None = None) -> tuple[int, bool, Any | None]
    ///
    /// Return the index of a complete operation, whether there is one, and the object received. Does not block.
    #[classmethod]
    #[pyo3(signature = (requests, status=None))]
    fn testany<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<(c_int, bool, Py<PyAny>)> {
        any(requests, status, true, MPI_Testany)
    }

    /// get_status_any(cls, requests: Sequence[Request], status: Status | None = None) -> tuple[int, bool]
    ///
    /// The same as `Get_status_any`.
    #[classmethod]
    #[pyo3(signature = (requests, status=None))]
    fn get_status_any<'py>(
        cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<(c_int, bool)> {
        Self::Get_status_any(cls, requests, status)
    }

    /// waitall(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[Any]
    ///
    /// Wait for all of the operations; return the objects received.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn waitall<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Vec<Py<PyAny>>> {
        all(requests, statuses, true, wait_all).map(|(_, objects)| objects)
    }

    /// testall(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> tuple[bool, list[Any] | None]
    ///
    /// Return whether all of the operations are complete, and the objects received then. Does not block.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn testall<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<(bool, Option<Vec<Py<PyAny>>>)> {
        all(requests, statuses, true, MPI_Testall).map(|(flag, objects)| (flag, flag.then_some(objects)))
    }

    /// get_status_all(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> bool
    ///
    /// The same as `Get_status_all`.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn get_status_all<'py>(
        cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<bool> {
        Self::Get_status_all(cls, requests, statuses)
    }

    /// waitsome(cls, requests, statuses=None) -> tuple[list[int] | None, list[Any] | None]
    ///
    /// Wait for at least one of the operations; return the indices of those complete and the objects received.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn waitsome<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Several> {
        some(requests, statuses, true, patience::wait_some)
    }

    /// testsome(cls, requests, statuses=None) -> tuple[list[int] | None, list[Any] | None]
    ///
    /// Return the indices of complete operations and the objects received. Does not block.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn testsome<'py>(
        _cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Several> {
        some(requests, statuses, true, MPI_Testsome)
    }

    /// get_status_some(cls, requests: Sequence[Request], statuses: list[Status] | None = None) -> list[int] | None
    ///
    /// The same as `Get_status_some`.
    #[classmethod]
    #[pyo3(signature = (requests, statuses=None))]
    fn get_status_some<'py>(
        cls: &Bound<'py, PyType>,
        requests: &Bound<'py, PyAny>,
        statuses: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Vec<c_int>>> {
        Self::Get_status_some(cls, requests, statuses)
    }
}

/// Adds the class and the constant to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Request>()?;
    handle::add_constant::<Request>(m, "REQUEST_NULL", MPI_Request::NULL)
}
