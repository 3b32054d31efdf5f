//! `MPI.Info`: hints as text under text keys (MPI 5.0 chapter 10).

use pyo3::exceptions::{PyKeyError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyIterator, PyList, PyString, PyTuple, PyType};

use crate::error::check;
use crate::ffi::*;
use crate::handle::{self, Handle, HandleCell, handle_methods};
use crate::numbers;
use crate::text::{self, Text};

/// Hints: text values under text keys. Behaves as a mapping too.
#[pyclass(module = "phalanx.MPI", subclass, frozen, weakref)]
#[repr(C)] // what compiled code for mpi4py reads comes first
pub(crate) struct Info {
    handle: HandleCell<MPI_Info>,
}

impl Handle for Info {
    type Raw = MPI_Info;

    fn cell(&self) -> &HandleCell<MPI_Info> {
        &self.handle
    }

    fn release(slf: &Bound<'_, Self>) -> PyResult<()> {
        slf.get().Free()
    }

    const OUTLIVES_WORLD: bool = true;
}

/// Predefined objects pickle by name, others by content.
fn reduce<'py>(slf: &Bound<'py, Info>) -> PyResult<Bound<'py, PyAny>> {
    if Info::is_predefined(slf.get().raw()) {
        return handle::reduce(slf);
    }
    let create = slf.get_type().getattr("Create")?;
    Ok((create, (slf.get().items()?,)).into_pyobject(slf.py())?.into_any())
}

handle_methods!(Info, MPI_Info, reduce);

impl Info {
    fn is_null(&self) -> bool {
        self.raw() == MPI_INFO_NULL
    }

    fn size(&self) -> PyResult<c_int> {
        if self.is_null() {
            return Ok(0);
        }
        self.Get_nkeys()
    }

    /// The value of a key, of whatever length.
    fn find(&self, key: &Text) -> PyResult<Option<String>> {
        let mut value = vec![0; MPI_MAX_INFO_VAL as usize + 1];
        loop {
            let room = numbers::count(value.len())?;
            let (mut length, mut flag) = (room, 0);
            // SAFETY: the key is NUL-terminated; the array has the room that `length` says.
            check(unsafe {
                MPI_Info_get_string(self.raw(), key.as_ptr(), &mut length, value.as_mut_ptr(), &mut flag)
            })?;
            if flag == 0 {
                return Ok(None);
            }
            if length <= room {
                return Ok(Some(text::from_c(&value, length)));
            }
            value.resize(usize::try_from(length).unwrap_or(0), 0);
        }
    }

    /// Stores the items of a mapping or of an iterable of pairs.
    fn fill(&self, items: &Bound<'_, PyAny>) -> PyResult<()> {
        if items.hasattr("keys")? {
            for key in items.call_method0("keys")?.try_iter()? {
                let key = key?;
                self.Set(key.extract()?, items.get_item(&key)?.extract()?)?;
            }
        } else {
            for item in items.try_iter()? {
                let (key, value): (Text, Text) = item?.extract()?;
                self.Set(key, value)?;
            }
        }
        Ok(())
    }

    fn missing(key: &Bound<'_, PyAny>) -> PyErr {
        PyKeyError::new_err(key.clone().unbind())
    }
}

#[pymethods]
impl Info {
    #[new]
    #[pyo3(signature = (info=None))]
    fn new(info: Option<&Bound<'_, Info>>) -> Self {
        Info { handle: HandleCell::new(handle::raw_or_null(info)) }
    }

    /// Create(cls, items: Info | Mapping[str, str] | Iterable[tuple[str, str]] | None = None) -> Self
    ///
    /// Create an object, with the given items. Local.
    #[classmethod]
    #[pyo3(signature = (items=None))]
    fn Create<'py>(cls: &Bound<'py, PyType>, items: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        // SAFETY: the result pointer is valid for the write.
        let object = handle::create::<Info>(cls, |out| unsafe { MPI_Info_create(out) })?;
        if let Some(items) = items {
            let info = object.cast::<Info>()?.get();
            if let Err(error) = info.fill(items) {
                info.Free()?;
                return Err(error);
            }
        }
        Ok(object)
    }

    /// Create_env(cls, args: Sequence[str] | None = None) -> Self
    ///
    /// Create an object that describes how the program was started. Local.
    #[classmethod]
    #[pyo3(signature = (args=None))]
    fn Create_env<'py>(cls: &Bound<'py, PyType>, args: Option<&Bound<'py, PyAny>>) -> PyResult<Bound<'py, PyAny>> {
        let args = match args {
            None => Vec::new(),
            Some(one) if one.is_instance_of::<PyString>() => vec![one.extract()?],
            Some(several) => several.try_iter()?.map(|item| item?.extract()).collect::<PyResult<Vec<Text>>>()?,
        };
        let count = numbers::count(args.len())?;
        let mut pointers: Vec<*mut c_char> = args.iter().map(Text::as_mut_ptr).collect();
        pointers.push(std::ptr::null_mut());
        // SAFETY: a null-terminated list of NUL-terminated strings, which the call only reads.
        handle::create::<Info>(cls, |out| unsafe { MPI_Info_create_env(count, pointers.as_mut_ptr(), out) })
    }

    /// Free(self) -> None
    ///
    /// Free the object. Local.
    fn Free(&self) -> PyResult<()> {
        let (constant, before) = (handle::is_constant(self), self.raw());
        // SAFETY: the library checks and replaces the handle.
        check(self.handle.update(|raw| unsafe { MPI_Info_free(raw) }))?;
        if constant {
            self.handle.set(before);
        }
        Ok(())
    }

    /// Dup(self) -> Self
    ///
    /// Return a copy. Local.
    fn Dup<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        let raw = slf.get().raw();
        // SAFETY: the result pointer is valid for the write.
        handle::create::<Info>(&slf.get_type(), |out| unsafe { MPI_Info_dup(raw, out) })
    }

    /// Get(self, key: str) -> str | None
    ///
    /// Return the value of a key, `None` when there is none. Local.
    fn Get(&self, key: Text) -> PyResult<Option<String>> {
        self.find(&key)
    }

    /// Set(self, key: str, value: str) -> None
    ///
    /// Store a value under a key. Local.
    fn Set(&self, key: Text, value: Text) -> PyResult<()> {
        // SAFETY: both strings are NUL-terminated and outlive the call.
        check(unsafe { MPI_Info_set(self.raw(), key.as_ptr(), value.as_ptr()) })
    }

    /// Delete(self, key: str) -> None
    ///
    /// Remove a key; an error when it is not there. Local.
    fn Delete(&self, key: Text) -> PyResult<()> {
        // SAFETY: the string is NUL-terminated and outlives the call.
        check(unsafe { MPI_Info_delete(self.raw(), key.as_ptr()) })
    }

    /// Get_nkeys(self) -> int
    ///
    /// Return the number of keys. Local.
    fn Get_nkeys(&self) -> PyResult<c_int> {
        let mut count = 0;
        // SAFETY: `count` is valid for the write.
        check(unsafe { MPI_Info_get_nkeys(self.raw(), &mut count) })?;
        Ok(count)
    }

    /// Get_nthkey(self, n: int) -> str
    ///
    /// Return the n-th key, counted from 0. Local.
    fn Get_nthkey(&self, n: c_int) -> PyResult<String> {
        let mut key = [0; MPI_MAX_INFO_KEY as usize + 1];
        // SAFETY: the array has the room the standard asks for.
        check(unsafe { MPI_Info_get_nthkey(self.raw(), n, key.as_mut_ptr()) })?;
        Ok(text::from_c(&key, MPI_MAX_INFO_KEY))
    }

    fn __len__(&self) -> PyResult<usize> {
        self.size().map(|size| usize::try_from(size).unwrap_or(0))
    }

    fn __contains__(&self, key: &Bound<'_, PyAny>) -> PyResult<bool> {
        if self.is_null() {
            return Ok(false);
        }
        self.find(&key.extract()?).map(|value| value.is_some())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        PyList::new(py, self.keys()?)?.try_iter()
    }

    fn __getitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<String> {
        let value = if self.is_null() { None } else { self.find(&key.extract()?)? };
        value.ok_or_else(|| Self::missing(key))
    }

    fn __setitem__(&self, key: &Bound<'_, PyAny>, value: Text) -> PyResult<()> {
        if self.is_null() {
            return Err(Self::missing(key));
        }
        self.Set(key.extract()?, value)
    }

    fn __delitem__(&self, key: &Bound<'_, PyAny>) -> PyResult<()> {
        if !self.__contains__(key)? {
            return Err(Self::missing(key));
        }
        self.Delete(key.extract()?)
    }

    /// get(self, key: str, default: str | None = None) -> str | None
    ///
    /// Return the value of a key, `default` when there is none.
    #[pyo3(signature = (key, default=None))]
    fn get(&self, py: Python<'_>, key: Text, default: Option<Py<PyAny>>) -> PyResult<Py<PyAny>> {
        let value = if self.is_null() { None } else { self.find(&key)? };
        match value {
            Some(value) => Ok(value.into_pyobject(py)?.into_any().unbind()),
            None => Ok(default.unwrap_or_else(|| py.None())),
        }
    }

    /// keys(self) -> list[str]
    ///
    /// Return the keys.
    fn keys(&self) -> PyResult<Vec<String>> {
        (0..self.size()?).map(|n| self.Get_nthkey(n)).collect()
    }

    /// values(self) -> list[str]
    ///
    /// Return the values.
    fn values(&self) -> PyResult<Vec<String>> {
        Ok(self.items()?.into_iter().map(|(_, value)| value).collect())
    }

    /// items(self) -> list[tuple[str, str]]
    ///
    /// Return the pairs of key and value.
    fn items(&self) -> PyResult<Vec<(String, String)>> {
        let mut items = Vec::new();
        for key in self.keys()? {
            let value = self.find(&Text::new(&key)?)?.unwrap_or_default();
            items.push((key, value));
        }
        Ok(items)
    }

    /// update(self, items: Info | Mapping[str, str] | Iterable[tuple[str, str]] = (), **kwds: str) -> None
    ///
    /// Store several items.
    #[pyo3(signature = (items=None, **kwds))]
    fn update(&self, items: Option<&Bound<'_, PyAny>>, kwds: Option<&Bound<'_, PyDict>>) -> PyResult<()> {
        if self.is_null() {
            return Err(PyKeyError::new_err(()));
        }
        if let Some(items) = items {
            self.fill(items)?;
        }
        kwds.map_or(Ok(()), |kwds| self.fill(kwds))
    }

    /// pop(self, key: str, *default: str) -> str
    ///
    /// Remove a key and return its value, or the default.
    #[pyo3(signature = (key, *default))]
    fn pop(&self, key: &Bound<'_, PyAny>, default: &Bound<'_, PyTuple>) -> PyResult<Py<PyAny>> {
        if default.len() > 1 {
            return Err(PyTypeError::new_err("pop expected at most 2 arguments"));
        }
        let value = if self.is_null() { None } else { self.find(&key.extract()?)? };
        match value {
            Some(value) => {
                self.Delete(key.extract()?)?;
                Ok(value.into_pyobject(key.py())?.into_any().unbind())
            }
            None => default.get_item(0).map(Bound::unbind).map_err(|_| Self::missing(key)),
        }
    }

    /// popitem(self) -> tuple[str, str]
    ///
    /// Remove the last item and return it.
    fn popitem(&self) -> PyResult<(String, String)> {
        let item = self.items()?.pop().ok_or_else(|| PyKeyError::new_err(()))?;
        self.Delete(Text::new(&item.0)?)?;
        Ok(item)
    }

    /// copy(self) -> Self
    ///
    /// Return a copy.
    fn copy<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        if slf.get().is_null() {
            return handle::instance::<Info>(&slf.get_type(), MPI_INFO_NULL);
        }
        Self::Dup(slf)
    }

    /// clear(self) -> None
    ///
    /// Remove all items.
    fn clear(&self) -> PyResult<()> {
        for key in self.keys()? {
            self.Delete(Text::new(&key)?)?;
        }
        Ok(())
    }
}

/// Adds the class and its constants to the module.
pub(crate) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_class::<Info>()?;
    handle::add_constant::<Info>(m, "INFO_NULL", MPI_INFO_NULL)?;
    handle::add_constant::<Info>(m, "INFO_ENV", MPI_INFO_ENV)
}
