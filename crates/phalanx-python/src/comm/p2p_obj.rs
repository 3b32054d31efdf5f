//! Point-to-point communication of Python objects (MPI 5.0 chapter 3, by pickle).

use std::cell::UnsafeCell;
use std::mem::MaybeUninit;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;

use super::Comm;
use crate::buffer::{Access, View};
use crate::extras::{self, Irecv};
use crate::ffi::*;
use crate::gil::{self, GilCell};
use crate::handle::Handle as _;
use crate::init;
use crate::object::transfer::{self, IsendCall, Route, SendCall};
use crate::object::{self, Memory, Parcel, SHORT};
use crate::patience;
use crate::request::{Held, Keep, Request};
use crate::status::{self, Status};

/// What an `isend` under way holds.
struct Sending(Parcel);

impl Held for Sending {}

/// What an `irecv` under way holds.
struct Receiving(GilCell<Option<Landing>>);

/// What an `irecv` of a message of any size holds, where the library asks for memory once it knows the message.
struct Growing {
    /// For a short message.
    room: UnsafeCell<MaybeUninit<[u8; SHORT]>>,
    /// For any other one, made when it was matched.
    larger: Mutex<Option<Memory>>,
}

// SAFETY: the library alone writes `room`, as long as the operation is under way; it is read when that is over.
unsafe impl Sync for Growing {}

impl Growing {
    fn larger(&self) -> MutexGuard<'_, Option<Memory>> {
        self.larger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Memory for a message that an `irecv` has matched; null where there is not so much.
unsafe extern "C" fn grow(growing: *mut c_void, bytes: MPI_Count) -> *mut c_void {
    // SAFETY: the library passes the address that `start_growing` gave it, of what the request holds.
    let growing = unsafe { &*growing.cast::<Growing>() };
    let Some(memory) = usize::try_from(bytes).ok().and_then(Memory::new) else {
        return std::ptr::null_mut();
    };
    let address = memory.address();
    *growing.larger() = Some(memory);
    address
}

/// Starts the receive of an object of any size.
fn start_growing<'py>(py: Python<'py>, irecv: Irecv, from: Route) -> PyResult<Bound<'py, Request>> {
    let room = UnsafeCell::new(MaybeUninit::uninit());
    let held = Arc::new(Growing { room, larger: Mutex::new(None) });
    let (place, data) = (held.room.get().cast(), Arc::as_ptr(&held).cast());
    Request::start(py, Keep::Held(held), |request| {
        // SAFETY: the request holds the room and what `grow` works on; the place of the handle is valid.
        unsafe { irecv(place, SHORT as MPI_Count, from.peer, from.tag, from.comm, grow, data, request) }
    })
}

impl Held for Growing {
    fn finish(&self, py: Python<'_>, status: &mut MPI_Status) -> PyResult<Py<PyAny>> {
        let Some(length) = arrived(status)? else {
            return Ok(py.None());
        };
        let larger = self.larger().take();
        if let Some(memory) = larger {
            return object::load(py, memory).map(Bound::unbind);
        }
        // SAFETY: the operation is over, and a message of so many bytes, which fit, is in the room.
        let message = unsafe { std::slice::from_raw_parts(self.room.get().cast(), length.min(SHORT)) };
        object::load_short(py, message).map(Bound::unbind)
    }
}

/// How many bytes a receive that is over has brought; `None` where it was cancelled, or from nobody.
fn arrived(status: &MPI_Status) -> PyResult<Option<usize>> {
    let mut cancelled = 0;
    // SAFETY: both pointers are valid for the call.
    let code = unsafe { MPI_Test_cancelled(status, &mut cancelled) };
    if code != MPI_SUCCESS || cancelled != 0 || status.MPI_SOURCE == MPI_PROC_NULL {
        return Ok(None);
    }
    transfer::message_bytes(status).map(Some)
}

/// Where the object of an `irecv` arrives.
enum Landing {
    /// Memory of our own.
    Memory(Memory),
    /// A buffer that the caller gave.
    Buffer(View),
}

impl Landing {
    /// The memory that an `irecv` argument asks for: nothing, a size, or a buffer.
    fn new(buf: Option<&Bound<'_, PyAny>>) -> PyResult<Landing> {
        let Some(buf) = buf else {
            let memory = Memory::reserve().map_or_else(|| Memory::for_message(init::irecv_bufsz()), Ok);
            return memory.map(Landing::Memory);
        };
        if let Ok(size) = buf.extract::<i64>() {
            let size = usize::try_from(size)
                .map_err(|_| PyValueError::new_err(format!("expected a buffer or a size of at least 0, got {size}")))?;
            return Memory::for_message(size).map(Landing::Memory);
        }
        View::of_bytes(buf, Access::Write).map(Landing::Buffer)
    }

    fn place(&self) -> (*mut c_void, usize) {
        match self {
            Landing::Memory(memory) => (memory.address(), memory.length()),
            Landing::Buffer(view) => (view.address(), view.bytes().unsigned_abs()),
        }
    }

    /// The object in the first `length` bytes.
    fn load(self, py: Python<'_>, length: usize) -> PyResult<Bound<'_, PyAny>> {
        match self {
            Landing::Memory(memory) => object::load(py, memory.settle(length)?),
            Landing::Buffer(view) => {
                let length = length.min(view.bytes().unsigned_abs());
                if length == 0 {
                    return object::load_short(py, &[]);
                }
                // SAFETY: the buffer has so many bytes, which a message has filled.
                let bytes = unsafe { std::slice::from_raw_parts(view.address().cast::<u8>(), length) };
                object::load(py, Memory::copy_of(bytes)?)
            }
        }
    }
}

impl Held for Receiving {
    fn finish(&self, py: Python<'_>, status: &mut MPI_Status) -> PyResult<Py<PyAny>> {
        let Some(landing) = self.0.take(py) else {
            return Ok(py.None());
        };
        match arrived(status)? {
            Some(length) => landing.load(py, length).map(Bound::unbind),
            None => Ok(py.None()),
        }
    }
}

/// A message matched by `Mprobe`, on its way to `Message.irecv`.
pub(crate) fn start_matched<'py>(
    py: Python<'py>,
    message: *mut MPI_Message,
    length: usize,
) -> PyResult<Bound<'py, Request>> {
    let memory = Memory::for_message(length)?;
    let address = memory.address();
    let held = Receiving(GilCell::new(Some(Landing::Memory(memory))));
    Request::start(py, Keep::Held(Arc::new(held)), |request| {
        // SAFETY: the memory has room for the message and is held by the request; both handles are valid places.
        unsafe { MPI_Imrecv_c(address, length as MPI_Count, MPI_BYTE, message, request) }
    })
}

impl Comm {
    fn send_object(&self, obj: &Bound<'_, PyAny>, dest: c_int, tag: c_int, call: Option<SendCall>) -> PyResult<()> {
        let py = obj.py();
        let to = Route { comm: self.raw(), peer: dest, tag };
        // Nobody will receive it: an object that does not pickle is no error then.
        let nothing = py.None();
        let obj = if dest == MPI_PROC_NULL { nothing.bind(py) } else { obj };
        if call.is_none()
            && let Some(sent) = object::with_plain(obj, |message| transfer::send_bytes(py, message, to))
        {
            return sent;
        }
        let parcel = object::dump(obj)?;
        match call {
            None => transfer::send(py, &parcel, to),
            Some(call) => transfer::send_by(py, call, &parcel, to),
        }
    }

    fn isend_object<'py>(
        &self,
        obj: &Bound<'py, PyAny>,
        dest: c_int,
        tag: c_int,
        call: Option<IsendCall>,
    ) -> PyResult<Bound<'py, Request>> {
        let py = obj.py();
        let to = Route { comm: self.raw(), peer: dest, tag };
        let nothing = py.None();
        let obj = if dest == MPI_PROC_NULL { nothing.bind(py) } else { obj };
        let at_once = |message: &[u8]| match extras::send_at_once(message, to) {
            Ok(Some(raw)) => Ok(Ok(raw)),
            Ok(None) => Ok(Err(Parcel::of_slice(message))),
            Err(error) => Err(error),
        };
        let plain = if call.is_none() { object::with_plain(obj, at_once).transpose()? } else { None };
        let parcel = match plain {
            Some(Ok(raw)) => return Bound::new(py, Request::with(raw, Keep::Nothing)),
            Some(Err(parcel)) => parcel,
            None => object::dump(obj)?,
        };
        let held = Arc::new(Sending(parcel));
        let raw = transfer::start_send(py, call.unwrap_or(MPI_Isend_c), &held.0, to)?;
        Bound::new(py, Request::with(raw, Keep::Held(held)))
    }

    /// Receives one object; one from `PROC_NULL` is `None`.
    fn recv_object<'py>(
        &self,
        py: Python<'py>,
        source: c_int,
        tag: c_int,
        status: &mut MPI_Status,
    ) -> PyResult<Bound<'py, PyAny>> {
        let from = Route { comm: self.raw(), peer: source, tag };
        transfer::receive(py, from, status)
    }

    /// Receives into the memory that the caller names.
    fn recv_into<'py>(
        &self,
        buf: &Bound<'py, PyAny>,
        source: c_int,
        tag: c_int,
        status: &mut MPI_Status,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = buf.py();
        let text = c"the 'buf' argument is deprecated: recv() makes room for messages of any size";
        PyErr::warn(py, &py.get_type::<PyUserWarning>(), text, 1)?;
        let landing = Landing::new(Some(buf))?;
        let ((address, length), comm) = (landing.place(), self.raw());
        let place = &raw mut *status;
        gil::brief(py, || {
            // SAFETY: `landing` has room for `length` bytes and outlives the call; the status is valid.
            unsafe { patience::recv((address, length as MPI_Count, MPI_BYTE), source, tag, comm, place) }
        })?;
        if source == MPI_PROC_NULL {
            return Ok(py.None().into_bound(py));
        }
        let length = transfer::message_bytes(status)?;
        landing.load(py, length)
    }
}

#[pymethods]
impl Comm {
    /// send(self, obj: Any, dest: int, tag: int = 0) -> None
    ///
    /// Send an object in standard mode.
    ///
    /// Returns when the object may be changed; waits while a large message is not received yet. Raises what pickling
    /// raises, and Exception for a wrong rank or tag.
    #[pyo3(signature = (obj, dest, tag = 0))]
    fn send(&self, obj: &Bound<'_, PyAny>, dest: c_int, tag: c_int) -> PyResult<()> {
        if patience::are_wanted() {
            return self.isend(obj, dest, tag)?.get().Wait(obj.py(), None).map(drop);
        }
        self.send_object(obj, dest, tag, None)
    }

    /// bsend(self, obj: Any, dest: int, tag: int = 0) -> None
    ///
    /// Send an object in buffered mode: never waits for the receiver. Raises Exception when the attached buffer has no room.
    #[pyo3(signature = (obj, dest, tag = 0))]
    fn bsend(&self, obj: &Bound<'_, PyAny>, dest: c_int, tag: c_int) -> PyResult<()> {
        self.send_object(obj, dest, tag, Some(MPI_Bsend_c))
    }

    /// ssend(self, obj: Any, dest: int, tag: int = 0) -> None
    ///
    /// Send an object in synchronous mode: waits until the receiver has begun to receive it.
    #[pyo3(signature = (obj, dest, tag = 0))]
    fn ssend(&self, obj: &Bound<'_, PyAny>, dest: c_int, tag: c_int) -> PyResult<()> {
        if patience::are_wanted() {
            return self.issend(obj, dest, tag)?.get().Wait(obj.py(), None).map(drop);
        }
        self.send_object(obj, dest, tag, Some(MPI_Ssend_c))
    }

    /// isend(self, obj: Any, dest: int, tag: int = 0) -> Request
    ///
    /// Start to send an object. Does not block; a large array in it must not change until the request is complete.
    #[pyo3(signature = (obj, dest, tag = 0))]
    fn isend<'py>(&self, obj: &Bound<'py, PyAny>, dest: c_int, tag: c_int) -> PyResult<Bound<'py, Request>> {
        self.isend_object(obj, dest, tag, None)
    }

    /// ibsend(self, obj: Any, dest: int, tag: int = 0) -> Request
    ///
    /// Start to send an object in buffered mode. Does not block.
    #[pyo3(signature = (obj, dest, tag = 0))]
    fn ibsend<'py>(&self, obj: &Bound<'py, PyAny>, dest: c_int, tag: c_int) -> PyResult<Bound<'py, Request>> {
        self.isend_object(obj, dest, tag, Some(MPI_Ibsend_c))
    }

    /// issend(self, obj: Any, dest: int, tag: int = 0) -> Request
    ///
    /// Start to send an object in synchronous mode. Does not block.
    #[pyo3(signature = (obj, dest, tag = 0))]
    fn issend<'py>(&self, obj: &Bound<'py, PyAny>, dest: c_int, tag: c_int) -> PyResult<Bound<'py, Request>> {
        self.isend_object(obj, dest, tag, Some(MPI_Issend_c))
    }

    /// recv(self, buf: Buffer | None = None, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Any
    ///
    /// Receive an object of any size.
    ///
    /// Waits for a message from `source` with `tag`; `status` then tells where it came from. Large arrays in the object are
    /// views of the memory the message arrived in. Raises what unpickling raises, and Exception for a wrong rank or tag.
    #[pyo3(signature = (buf = None, source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn recv<'py>(
        &self,
        py: Python<'py>,
        buf: Option<&Bound<'py, PyAny>>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let mut value = MPI_Status::EMPTY;
        let object = match buf {
            Some(buf) => self.recv_into(buf, source, tag, &mut value),
            None => self.recv_object(py, source, tag, &mut value),
        };
        status::give(status, value);
        object
    }

    /// irecv(self, buf: Buffer | int | None = None, source: int = ANY_SOURCE, tag: int = ANY_TAG) -> Request
    ///
    /// Start to receive an object, which the request's `wait` or `test` returns. Does not block.
    ///
    /// `buf` is other memory for the message, or its size in bytes. On the embedded engine there is room for an object of
    /// any size, on other libraries for one of a gibibyte.
    #[pyo3(signature = (buf = None, source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG))]
    fn irecv<'py>(
        &self,
        py: Python<'py>,
        buf: Option<&Bound<'py, PyAny>>,
        source: c_int,
        tag: c_int,
    ) -> PyResult<Bound<'py, Request>> {
        if buf.is_none()
            && let Some(irecv) = extras::get().irecv
        {
            return start_growing(py, irecv, Route { comm: self.raw(), peer: source, tag });
        }
        let landing = Landing::new(buf)?;
        let ((address, length), comm) = (landing.place(), self.raw());
        let held = Receiving(GilCell::new(Some(landing)));
        Request::start(py, Keep::Held(Arc::new(held)), |request| {
            // SAFETY: the request holds memory of `length` bytes at `address`; the place of the handle is valid.
            unsafe { MPI_Irecv_c(address, length as MPI_Count, MPI_BYTE, source, tag, comm, request) }
        })
    }

    /// sendrecv(self, sendobj: Any, dest: int, sendtag=0, recvbuf=None, source=ANY_SOURCE, recvtag=ANY_TAG, status=None) -> Any
    ///
    /// Send an object and receive another one at the same time. Waits for both.
    #[pyo3(signature = (
        sendobj, dest, sendtag = 0, recvbuf = None, source = MPI_ANY_SOURCE, recvtag = MPI_ANY_TAG, status = None
    ))]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the standard's function")]
    fn sendrecv<'py>(
        &self,
        sendobj: &Bound<'py, PyAny>,
        dest: c_int,
        sendtag: c_int,
        recvbuf: Option<&Bound<'py, PyAny>>,
        source: c_int,
        recvtag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = sendobj.py();
        let sending = self.isend_object(sendobj, dest, sendtag, None)?;
        let mut value = MPI_Status::EMPTY;
        let object = match recvbuf {
            Some(buf) => self.recv_into(buf, source, recvtag, &mut value),
            None => self.recv_object(py, source, recvtag, &mut value),
        };
        status::give(status, value);
        // After an error, the message goes on without us.
        let object = object?;
        sending.get().Wait(py, None)?;
        Ok(object)
    }

    /// probe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> Literal[True]
    ///
    /// The same as `Probe`.
    #[pyo3(signature = (source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn probe<'py>(
        slf: &Bound<'py, Self>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method1(pyo3::intern!(slf.py(), "Probe"), (source, tag, status))
    }

    /// iprobe(self, source: int = ANY_SOURCE, tag: int = ANY_TAG, status: Status | None = None) -> bool
    ///
    /// The same as `Iprobe`.
    #[pyo3(signature = (source = MPI_ANY_SOURCE, tag = MPI_ANY_TAG, status = None))]
    fn iprobe<'py>(
        slf: &Bound<'py, Self>,
        source: c_int,
        tag: c_int,
        status: Option<&Bound<'py, Status>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.call_method1(pyo3::intern!(slf.py(), "Iprobe"), (source, tag, status))
    }
}
