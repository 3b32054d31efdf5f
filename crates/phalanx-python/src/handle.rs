//! What all handle classes share: comparison, truth, conversion, pickling, the constants' registry.
//!
//! A handle object holds one pointer-sized value in an atomic, so that classes can be `frozen` (no borrow flag on the way
//! to the value). `MPI._addressof` gives the address of that value to `ctypes` and `cffi`, which may store through it:
//! nothing may be derived from a handle and kept without noting for which value it was derived.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pyclass::CompareOp;
use pyo3::pyclass::boolean_struct::True;
use pyo3::types::{PyString, PyType};
use pyo3::{PyClass, PyTypeInfo, intern};

use crate::error;
use crate::ffi::*;
use crate::gil::{self, GilCell};

/// Values below this are predefined handles in the standard ABI.
const PREDEFINED_END: usize = 0x1000;

/// A handle type of the ABI.
pub(crate) trait Raw: Copy + Eq + Send + Sync + 'static {
    /// The null handle of this type.
    const NULL: Self;
    /// The class name in Python.
    const CLASS: &'static str;
    /// Whether `--check` tells handles of the type that are lost.
    const IS_MISSED: bool =
        matches!(Self::CLASS.as_bytes(), b"Comm" | b"Datatype" | b"Op" | b"Message" | b"Session" | b"Win" | b"File");
    /// The value as a number.
    fn bits(self) -> usize;
    /// A number as a handle.
    fn from_bits(bits: usize) -> Self;
    /// The library's small integer for the handle.
    fn to_int(self) -> c_int;
    /// The handle of a small integer.
    fn from_int(number: c_int) -> Self;
    /// Whether the standard predefines this value (null handles included).
    fn is_predefined(self) -> bool {
        self.bits() < PREDEFINED_END
    }
}

macro_rules! raw_handles {
    ($($raw:ident, $class:literal, $null:ident, $toint:ident, $fromint:ident;)*) => {$(
        impl Raw for $raw {
            const NULL: Self = $null;
            const CLASS: &'static str = $class;
            fn bits(self) -> usize {
                self.0
            }
            fn from_bits(bits: usize) -> Self {
                $raw(bits)
            }
            fn to_int(self) -> c_int {
                // SAFETY: converts a value; the library checks it.
                unsafe { $toint(self) }
            }
            fn from_int(number: c_int) -> Self {
                // SAFETY: converts a value; the library checks it.
                unsafe { $fromint(number) }
            }
        }
    )*};
}

raw_handles! {
    MPI_Comm, "Comm", MPI_COMM_NULL, MPI_Comm_toint, MPI_Comm_fromint;
    MPI_Group, "Group", MPI_GROUP_NULL, MPI_Group_toint, MPI_Group_fromint;
    MPI_Datatype, "Datatype", MPI_DATATYPE_NULL, MPI_Type_toint, MPI_Type_fromint;
    MPI_Op, "Op", MPI_OP_NULL, MPI_Op_toint, MPI_Op_fromint;
    MPI_Request, "Request", MPI_REQUEST_NULL, MPI_Request_toint, MPI_Request_fromint;
    MPI_Message, "Message", MPI_MESSAGE_NULL, MPI_Message_toint, MPI_Message_fromint;
    MPI_Info, "Info", MPI_INFO_NULL, MPI_Info_toint, MPI_Info_fromint;
    MPI_Errhandler, "Errhandler", MPI_ERRHANDLER_NULL, MPI_Errhandler_toint, MPI_Errhandler_fromint;
    MPI_Session, "Session", MPI_SESSION_NULL, MPI_Session_toint, MPI_Session_fromint;
    MPI_Win, "Win", MPI_WIN_NULL, MPI_Win_toint, MPI_Win_fromint;
    MPI_File, "File", MPI_FILE_NULL, MPI_File_toint, MPI_File_fromint;
}

/// The value inside a handle object, and whether the object is one of the module's constants.
///
/// C and Cython code that was compiled for mpi4py reads and writes the handle where it comes first in an object
/// (`doors/mpi4py/include/mpi4py/pycapi.h`), so it is the first field here, and this is that of the classes.
#[repr(C)]
pub(crate) struct HandleCell<R: Raw> {
    value: AtomicUsize,
    constant: AtomicBool,
    /// Whether the handle was made for this object, whose end is the handle's if nobody has freed it.
    owner: AtomicBool,
    kind: PhantomData<fn() -> R>,
}

impl<R: Raw> HandleCell<R> {
    /// A cell with a value.
    pub(crate) fn new(raw: R) -> Self {
        Self {
            value: AtomicUsize::new(raw.bits()),
            constant: AtomicBool::new(false),
            owner: AtomicBool::new(false),
            kind: PhantomData,
        }
    }

    /// The value now.
    #[inline]
    pub(crate) fn get(&self) -> R {
        R::from_bits(self.value.load(Relaxed))
    }

    /// Stores another value.
    pub(crate) fn set(&self, raw: R) {
        self.value.store(raw.bits(), Relaxed);
    }

    /// Where the value lies in memory.
    pub(crate) fn address(&self) -> usize {
        self.value.as_ptr().addr()
    }

    /// Lets a C function that takes `MPI_X *` (free, wait, cancel ...) read and write the value.
    pub(crate) fn update<T>(&self, call: impl FnOnce(*mut R) -> T) -> T {
        let mut raw = self.get();
        let result = call(&mut raw);
        self.set(raw);
        result
    }
}

/// Whether the program is checked, and has not come to its end.
static CHECKED: AtomicBool = AtomicBool::new(false);

/// Begins or ends telling the library of handles that are lost.
pub(crate) fn miss_handles(on: bool) {
    CHECKED.store(on, Relaxed);
}

impl<R: Raw> Drop for HandleCell<R> {
    #[inline]
    fn drop(&mut self) {
        if R::IS_MISSED && CHECKED.load(Relaxed) && *self.owner.get_mut() && !self.get().is_predefined() {
            crate::extras::lost_handle(self.get().bits());
        }
    }
}

/// A Python class that holds a handle.
pub(crate) trait Handle: PyClass<Frozen = True> + Sync {
    /// The ABI's type of the handle.
    type Raw: Raw;

    /// The cell in the object.
    fn cell(&self) -> &HandleCell<Self::Raw>;

    /// The handle itself.
    #[inline]
    fn raw(&self) -> Self::Raw {
        self.cell().get()
    }

    /// The class of an object for `raw`.
    fn class_of<'py>(py: Python<'py>, _raw: Self::Raw) -> PyResult<Bound<'py, PyType>> {
        Ok(py.get_type::<Self>())
    }

    /// Whether the handle cannot be freed.
    fn is_predefined(raw: Self::Raw) -> bool {
        raw.is_predefined()
    }

    /// The object for a handle asked for as `cls.fromhandle(...)`.
    fn from_handle<'py>(cls: &Bound<'py, PyType>, raw: Self::Raw) -> PyResult<Bound<'py, PyAny>> {
        wrap::<Self>(cls.py(), raw)
    }

    /// Frees the handle by the class's own method, for `free()`.
    fn release(slf: &Bound<'_, Self>) -> PyResult<()>;

    /// Whether `free()` may run while MPI is not active.
    const OUTLIVES_WORLD: bool = false;
}

/// An object of class `cls` (perhaps a user's subclass) that holds `raw`.
pub(crate) fn instance<'py, H: Handle>(cls: &Bound<'py, PyType>, raw: H::Raw) -> PyResult<Bound<'py, PyAny>> {
    let object = cls.call_method1(intern!(cls.py(), "__new__"), (cls,))?;
    object.cast::<H>()?.get().cell().set(raw);
    Ok(object)
}

/// An object of class `cls` whose handle a local MPI call makes. The object comes first: once the handle exists, nothing
/// can fail any more.
pub(crate) fn create<'py, H: Handle>(
    cls: &Bound<'py, PyType>,
    make: impl FnOnce(*mut H::Raw) -> c_int,
) -> PyResult<Bound<'py, PyAny>> {
    let object = instance::<H>(cls, H::Raw::NULL)?;
    let mut raw = H::Raw::NULL;
    error::check(make(&mut raw))?;
    let cell = object.cast::<H>()?.get().cell();
    cell.set(raw);
    cell.owner.store(true, Relaxed);
    Ok(object)
}

/// As [`create`], for calls that may wait: without the interpreter lock.
pub(crate) fn create_blocking<'py, H: Handle>(
    cls: &Bound<'py, PyType>,
    make: impl FnOnce(*mut H::Raw) -> c_int,
) -> PyResult<Bound<'py, PyAny>> {
    create::<H>(cls, |raw| gil::detached(cls.py(), move || make(raw)))
}

/// The module's constants by class name and value: the object and its name in the module.
type Constants = HashMap<(&'static str, usize), (Py<PyAny>, String)>;

static CONSTANTS: GilCell<Option<Constants>> = GilCell::new(None);

/// The constant object for a handle, with its name in the module.
fn constant<R: Raw>(py: Python<'_>, raw: R) -> Option<(Bound<'_, PyAny>, String)> {
    CONSTANTS.peek(py, |constants| {
        let (object, name) = constants.as_ref()?.get(&(R::CLASS, raw.bits()))?;
        Some((object.bind(py).clone(), name.clone()))
    })
}

/// The object for a handle that came from MPI: the module's constant or a new one.
pub(crate) fn wrap<H: Handle>(py: Python<'_>, raw: H::Raw) -> PyResult<Bound<'_, PyAny>> {
    match constant(py, raw) {
        Some((object, _)) => Ok(object),
        None => instance::<H>(&H::class_of(py, raw)?, raw),
    }
}

/// Makes the module's constant `name` for a predefined handle.
pub(crate) fn add_constant<H: Handle>(m: &Bound<'_, PyModule>, name: &str, raw: H::Raw) -> PyResult<()> {
    let py = m.py();
    let object = match constant(py, raw) {
        Some((object, _)) => object,
        None => {
            let object = instance::<H>(&H::class_of(py, raw)?, raw)?;
            object.cast::<H>()?.get().cell().constant.store(true, Relaxed);
            let mut constants = CONSTANTS.replace(py, None).unwrap_or_default();
            constants.insert((H::Raw::CLASS, raw.bits()), (object.clone().unbind(), name.to_owned()));
            CONSTANTS.replace(py, Some(constants));
            object
        }
    };
    m.add(name, object)
}

/// `==` and `!=` by handle; nothing else.
pub(crate) fn compare<H: Handle>(slf: &H, other: &Bound<'_, PyAny>, op: CompareOp) -> PyResult<Py<PyAny>> {
    let py = other.py();
    let Ok(other) = other.cast::<H>() else {
        return Ok(py.NotImplemented());
    };
    let equal = slf.raw() == other.get().raw();
    match op {
        CompareOp::Eq => Ok(equal.into_pyobject(py)?.to_owned().into_any().unbind()),
        CompareOp::Ne => Ok((!equal).into_pyobject(py)?.to_owned().into_any().unbind()),
        _ => Err(PyTypeError::new_err(format!("unorderable type 'phalanx.MPI.{}'", H::Raw::CLASS))),
    }
}

/// What pickles a predefined handle: the constant's name, or for a copy the way to copy it again.
pub(crate) fn reduce<'py, H: Handle>(slf: &Bound<'py, H>) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    let object = slf.as_any();
    match constant(py, slf.get().raw()) {
        Some((original, name)) if object.is(&original) => Ok(PyString::new(py, &name).into_any()),
        Some((original, _)) => {
            let newobj = py.import("copyreg")?.getattr("__newobj__")?;
            Ok((newobj, (object.get_type(), original)).into_pyobject(py)?.into_any())
        }
        None => {
            let class = object.get_type();
            let name = format!("{}.{}", class.module()?, class.qualname()?);
            Err(PyValueError::new_err(format!("cannot serialize '{name}' instance")))
        }
    }
}

/// The body of `free()`: frees what can be freed, never fails for null, predefined or constant handles.
pub(crate) fn safe_free<H: Handle>(slf: &Bound<'_, H>) -> PyResult<()> {
    let cell = slf.get().cell();
    let raw = cell.get();
    if cell.constant.load(Relaxed) || raw == H::Raw::NULL {
        return Ok(());
    }
    if !H::is_predefined(raw) && (H::OUTLIVES_WORLD || crate::init::is_active()) {
        return H::release(slf);
    }
    cell.set(H::Raw::NULL);
    Ok(())
}

/// A predefined handle cannot be freed: the error that a library gives, or should.
pub(crate) fn is_constant<H: Handle>(slf: &H) -> bool {
    slf.cell().constant.load(Relaxed)
}

/// The handles in a sequence of objects of one class.
pub(crate) fn raws<H: Handle + PyTypeInfo>(sequence: &Bound<'_, PyAny>) -> PyResult<Vec<H::Raw>> {
    sequence.try_iter()?.map(|item| Ok(item?.cast::<H>()?.get().raw())).collect()
}

/// The methods every handle class has: comparison, truth, `handle`, `fromhandle`, `free`, integer conversions, pickling.
///
/// The class itself provides its struct with a field `handle: HandleCell<_>` and implements [`Handle`].
// rustfmt indents the lines of `concat!` further at each run.
#[rustfmt::skip]
macro_rules! handle_methods {
    ($class:ident, $raw:ident, $reduce:path) => {
        #[pymethods]
        impl $class {
            fn __richcmp__(
                &self,
                other: &pyo3::Bound<'_, pyo3::PyAny>,
                op: pyo3::pyclass::CompareOp,
            ) -> pyo3::PyResult<pyo3::Py<pyo3::PyAny>> {
                $crate::handle::compare(self, other, op)
            }

            fn __bool__(&self) -> bool {
                use $crate::handle::{Handle as _, Raw as _};
                self.raw() != $raw::NULL
            }

            fn __reduce__<'py>(slf: &pyo3::Bound<'py, Self>) -> pyo3::PyResult<pyo3::Bound<'py, pyo3::PyAny>> {
                $reduce(slf)
            }

            /// handle: int
            ///
            /// MPI handle.
            #[getter]
            fn handle(&self) -> usize {
                use $crate::handle::{Handle as _, Raw as _};
                self.raw().bits()
            }

            #[doc = concat!("fromhandle(cls, handle: int) -> ", stringify!($class), "\n\n",
                "Create an object for a handle that other code owns.")]
            #[classmethod]
            fn fromhandle<'py>(
                cls: &pyo3::Bound<'py, pyo3::types::PyType>,
                handle: usize,
            ) -> pyo3::PyResult<pyo3::Bound<'py, pyo3::PyAny>> {
                use $crate::handle::Raw as _;
                <$class as $crate::handle::Handle>::from_handle(cls, $raw::from_bits(handle))
            }

            /// free(self) -> None
            ///
            /// Free the handle unless it is null or predefined; does nothing then.
            fn free(slf: &pyo3::Bound<'_, Self>) -> pyo3::PyResult<()> {
                $crate::handle::safe_free(slf)
            }

            /// toint(self) -> int
            ///
            /// Return the small integer that stands for the handle.
            fn toint(&self) -> $crate::ffi::c_int {
                use $crate::handle::{Handle as _, Raw as _};
                self.raw().to_int()
            }

            #[doc = concat!("fromint(cls, arg: int, /) -> ", stringify!($class), "\n\n",
                "Create an object for the small integer that `toint` returned.")]
            #[classmethod]
            #[pyo3(signature = (arg, /))]
            fn fromint<'py>(
                cls: &pyo3::Bound<'py, pyo3::types::PyType>,
                arg: $crate::ffi::c_int,
            ) -> pyo3::PyResult<pyo3::Bound<'py, pyo3::PyAny>> {
                use $crate::handle::Raw as _;
                <$class as $crate::handle::Handle>::from_handle(cls, $raw::from_int(arg))
            }

            /// py2f(self) -> int
            ///
            /// Return the Fortran handle: in the standard ABI the same number as `toint`.
            fn py2f(&self) -> $crate::ffi::c_int {
                use $crate::handle::{Handle as _, Raw as _};
                self.raw().to_int()
            }

            #[doc = concat!("f2py(cls, arg: int) -> ", stringify!($class), "\n\n",
                "Create an object for a Fortran handle.")]
            #[classmethod]
            fn f2py<'py>(
                cls: &pyo3::Bound<'py, pyo3::types::PyType>,
                arg: $crate::ffi::c_int,
            ) -> pyo3::PyResult<pyo3::Bound<'py, pyo3::PyAny>> {
                use $crate::handle::Raw as _;
                <$class as $crate::handle::Handle>::from_handle(cls, $raw::from_int(arg))
            }
        }
    };
}
pub(crate) use handle_methods;

/// The handle of an optional argument; the null handle when it is `None`.
pub(crate) fn raw_or_null<H: Handle>(object: Option<&Bound<'_, H>>) -> H::Raw {
    object.map_or(H::Raw::NULL, |object| object.get().raw())
}
