//! What a datatype was made from (MPI 5.0 section 5.1.13), and pickling by that.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyString};

use super::Datatype;
use crate::error::check;
use crate::ffi::*;
use crate::handle::{self, Handle as _, Raw as _};

/// The constructor's arguments, as the library reports them.
struct Contents {
    combiner: c_int,
    integers: Vec<c_int>,
    addresses: Vec<MPI_Aint>,
    counts: Vec<MPI_Count>,
    datatypes: Vec<MPI_Datatype>,
}

/// The numbers of arguments and the constructor.
type Envelope = (MPI_Count, MPI_Count, MPI_Count, MPI_Count, c_int);

fn envelope(raw: MPI_Datatype) -> PyResult<Envelope> {
    let (mut ni, mut na, mut nc, mut nd, mut combiner) = (0, 0, 0, 0, MPI_UNDEFINED);
    // SAFETY: all are valid for the writes.
    check(unsafe { MPI_Type_get_envelope_c(raw, &mut ni, &mut na, &mut nc, &mut nd, &mut combiner) })?;
    Ok((ni, na, nc, nd, combiner))
}

fn contents(raw: MPI_Datatype) -> PyResult<Contents> {
    let (ni, na, nc, nd, combiner) = envelope(raw)?;
    let room = |n: MPI_Count| usize::try_from(n).unwrap_or(0);
    let mut contents = Contents {
        combiner,
        integers: vec![0; room(ni)],
        addresses: vec![0; room(na)],
        counts: vec![0; room(nc)],
        datatypes: vec![MPI_DATATYPE_NULL; room(nd)],
    };
    // SAFETY: the arrays have the sizes that the envelope told.
    check(unsafe {
        MPI_Type_get_contents_c(
            raw,
            ni,
            na,
            nc,
            nd,
            contents.integers.as_mut_ptr(),
            contents.addresses.as_mut_ptr(),
            contents.counts.as_mut_ptr(),
            contents.datatypes.as_mut_ptr(),
        )
    })?;
    Ok(contents)
}

/// How the type was made; `None` while MPI is not active or for an invalid handle.
pub(super) fn combiner(raw: MPI_Datatype) -> Option<c_int> {
    if !crate::init::is_active() {
        return None;
    }
    envelope(raw).ok().map(|(.., combiner)| combiner)
}

/// The one type that `raw` was made from, as a new handle.
pub(super) fn only_part(raw: MPI_Datatype) -> Option<MPI_Datatype> {
    contents(raw).ok()?.datatypes.first().copied()
}

/// Whether the type is the library's own and cannot be freed: by its number or by how it was asked for.
pub(super) fn is_predefined(raw: MPI_Datatype) -> bool {
    raw.is_predefined() || combiner(raw).is_some_and(is_given)
}

fn is_given(combiner: c_int) -> bool {
    [
        MPI_COMBINER_NAMED,
        MPI_COMBINER_VALUE_INDEX,
        MPI_COMBINER_F90_INTEGER,
        MPI_COMBINER_F90_REAL,
        MPI_COMBINER_F90_COMPLEX,
    ]
    .contains(&combiner)
}

/// An object for a type in the contents of another one.
fn part<'py>(py: Python<'py>, raw: MPI_Datatype) -> PyResult<Bound<'py, PyAny>> {
    handle::instance::<Datatype>(&py.get_type::<Datatype>(), raw)
}

fn parts<'py>(py: Python<'py>, raws: &[MPI_Datatype]) -> PyResult<Vec<Bound<'py, PyAny>>> {
    raws.iter().map(|raw| part(py, *raw)).collect()
}

const COMBINERS: &[(c_int, &str)] = &[
    (MPI_COMBINER_NAMED, "NAMED"),
    (MPI_COMBINER_DUP, "DUP"),
    (MPI_COMBINER_CONTIGUOUS, "CONTIGUOUS"),
    (MPI_COMBINER_VECTOR, "VECTOR"),
    (MPI_COMBINER_HVECTOR, "HVECTOR"),
    (MPI_COMBINER_INDEXED, "INDEXED"),
    (MPI_COMBINER_HINDEXED, "HINDEXED"),
    (MPI_COMBINER_INDEXED_BLOCK, "INDEXED_BLOCK"),
    (MPI_COMBINER_HINDEXED_BLOCK, "HINDEXED_BLOCK"),
    (MPI_COMBINER_STRUCT, "STRUCT"),
    (MPI_COMBINER_SUBARRAY, "SUBARRAY"),
    (MPI_COMBINER_DARRAY, "DARRAY"),
    (MPI_COMBINER_RESIZED, "RESIZED"),
    (MPI_COMBINER_VALUE_INDEX, "VALUE_INDEX"),
    (MPI_COMBINER_F90_INTEGER, "F90_INTEGER"),
    (MPI_COMBINER_F90_REAL, "F90_REAL"),
    (MPI_COMBINER_F90_COMPLEX, "F90_COMPLEX"),
];

/// Reads the arguments back in the constructor's order.
///
/// A type made by a large-count constructor reports its sizes and displacements as counts; one made by the older form
/// reports sizes as integers and byte displacements as addresses. Within each list the order is the constructor's.
struct Reader {
    integers: VecDeque<c_int>,
    addresses: VecDeque<MPI_Aint>,
    counts: VecDeque<MPI_Count>,
    large: bool,
}

impl Reader {
    fn new(contents: &Contents) -> Self {
        Reader {
            integers: contents.integers.iter().copied().collect(),
            addresses: contents.addresses.iter().copied().collect(),
            counts: contents.counts.iter().copied().collect(),
            large: !contents.counts.is_empty(),
        }
    }

    fn short() -> PyErr {
        PyValueError::new_err("the library reports fewer arguments than the datatype's constructor has")
    }

    /// A plain integer in both forms.
    fn int(&mut self) -> PyResult<MPI_Count> {
        self.integers.pop_front().map(MPI_Count::from).ok_or_else(Self::short)
    }

    /// A size or a displacement in elements.
    fn size(&mut self) -> PyResult<MPI_Count> {
        if self.large { self.counts.pop_front().ok_or_else(Self::short) } else { self.int() }
    }

    /// A displacement or an extent in bytes.
    fn bytes(&mut self) -> PyResult<MPI_Count> {
        if self.large {
            self.counts.pop_front().ok_or_else(Self::short)
        } else {
            self.addresses.pop_front().and_then(|a| MPI_Count::try_from(a).ok()).ok_or_else(Self::short)
        }
    }

    fn many(n: MPI_Count, mut one: impl FnMut() -> PyResult<MPI_Count>) -> PyResult<Vec<MPI_Count>> {
        (0..n).map(|_| one()).collect()
    }
}

/// The base type, the constructor's name and its arguments by name.
type Decoded<'py> = (Bound<'py, PyAny>, &'static str, Bound<'py, PyDict>);

fn decode<'py>(slf: &Bound<'py, Datatype>) -> PyResult<(Decoded<'py>, Vec<Bound<'py, PyAny>>)> {
    let py = slf.py();
    let params = PyDict::new(py);
    let raw = slf.get().raw();
    if envelope(raw)?.4 == MPI_COMBINER_NAMED {
        return Ok(((slf.clone().into_any(), "NAMED", params), Vec::new()));
    }
    let contents = contents(raw)?;
    let name = COMBINERS
        .iter()
        .find_map(|(combiner, name)| (*combiner == contents.combiner).then_some(*name))
        .ok_or_else(|| PyValueError::new_err(format!("unknown combiner {}", contents.combiner)))?;
    let types = parts(py, &contents.datatypes)?;
    let base = match &types[..] {
        [base] => base.clone(),
        _ => handle::wrap::<Datatype>(py, MPI_DATATYPE_NULL)?,
    };
    let mut read = Reader::new(&contents);
    match name {
        "CONTIGUOUS" => params.set_item("count", read.size()?)?,
        "VECTOR" | "HVECTOR" => {
            params.set_item("count", read.size()?)?;
            params.set_item("blocklength", read.size()?)?;
            params.set_item("stride", if name == "VECTOR" { read.size()? } else { read.bytes()? })?;
        }
        "INDEXED" | "HINDEXED" | "STRUCT" => {
            let n = read.size()?;
            params.set_item("blocklengths", Reader::many(n, || read.size())?)?;
            let in_elements = name == "INDEXED";
            let places = Reader::many(n, || if in_elements { read.size() } else { read.bytes() })?;
            params.set_item("displacements", places)?;
            if name == "STRUCT" {
                params.set_item("datatypes", PyList::new(py, &types)?)?;
            }
        }
        "INDEXED_BLOCK" | "HINDEXED_BLOCK" => {
            let n = read.size()?;
            params.set_item("blocklength", read.size()?)?;
            let in_elements = name == "INDEXED_BLOCK";
            let places = Reader::many(n, || if in_elements { read.size() } else { read.bytes() })?;
            params.set_item("displacements", places)?;
        }
        "SUBARRAY" => {
            let n = read.int()?;
            for key in ["sizes", "subsizes", "starts"] {
                params.set_item(key, Reader::many(n, || read.size())?)?;
            }
            params.set_item("order", read.int()?)?;
        }
        "DARRAY" => {
            params.set_item("size", read.int()?)?;
            params.set_item("rank", read.int()?)?;
            let n = read.int()?;
            params.set_item("gsizes", Reader::many(n, || read.size())?)?;
            for key in ["distribs", "dargs", "psizes"] {
                params.set_item(key, Reader::many(n, || read.int())?)?;
            }
            params.set_item("order", read.int()?)?;
        }
        "RESIZED" => {
            params.set_item("lb", read.bytes()?)?;
            params.set_item("extent", read.bytes()?)?;
        }
        "VALUE_INDEX" => {
            let [value, index] = &types[..] else {
                return Err(Reader::short());
            };
            params.set_item("value", value)?;
            params.set_item("index", index)?;
        }
        "F90_INTEGER" => params.set_item("r", read.int()?)?,
        "F90_REAL" | "F90_COMPLEX" => {
            params.set_item("p", read.int()?)?;
            params.set_item("r", read.int()?)?;
        }
        _ => {}
    }
    Ok(((base, name, params), types))
}

/// Named types pickle by name, others by how they are made. The parts are handles of this pickling only.
pub(super) fn reduce<'py>(slf: &Bound<'py, Datatype>) -> PyResult<Bound<'py, PyAny>> {
    let py = slf.py();
    if slf.get().raw().is_predefined() {
        return handle::reduce(slf);
    }
    let ((base, combiner, params), types) = decode(slf)?;
    mark_temporary(&types)?;
    let create = py.import("phalanx.MPI")?.getattr("_datatype_create")?;
    Ok((create, (base, combiner, params, true)).into_pyobject(py)?.into_any())
}

/// Lets the objects free their handles when they go away.
fn mark_temporary(types: &[Bound<'_, PyAny>]) -> PyResult<()> {
    for object in types {
        object.cast::<Datatype>()?.get().temporary.store(true, Relaxed);
    }
    Ok(())
}

/// _datatype_create(datatype: Datatype, combiner: str, params: dict[str, Any], free: bool = False) -> Datatype
///
/// Create and commit a datatype from what `decode` returned; with `free`, free the types it is made from.
#[pyfunction]
#[pyo3(signature = (datatype, combiner, params, free=false))]
fn _datatype_create<'py>(
    datatype: &Bound<'py, Datatype>,
    combiner: &str,
    params: &Bound<'py, PyDict>,
    free: bool,
) -> PyResult<Bound<'py, PyAny>> {
    let made = match combiner {
        "VALUE_INDEX" => datatype.call_method("Get_value_index", (), Some(params)),
        _ => datatype.call_method(format!("Create_{}", combiner.to_lowercase()).as_str(), (), Some(params)),
    };
    if free {
        let mut used = vec![datatype.clone().into_any()];
        if let Some(types) = params.get_item("datatypes")? {
            used = types.try_iter()?.collect::<PyResult<_>>()?;
        }
        for object in used {
            let raw = object.cast::<Datatype>()?.get().raw();
            if !is_predefined(raw) && crate::init::is_active() {
                object.cast::<Datatype>()?.get().Free()?;
            }
        }
    }
    made?.call_method0("Commit")
}

/// _datatype_decode(datatype: Datatype, mark: bool = False) -> tuple[Datatype, str, dict[str, Any]]
///
/// The same as `Datatype.decode`; with `mark`, the datatypes it returns free their handles when they go away.
#[pyfunction]
#[pyo3(signature = (datatype, mark=false))]
fn _datatype_decode<'py>(datatype: &Bound<'py, Datatype>, mark: bool) -> PyResult<Decoded<'py>> {
    let (decoded, types) = decode(datatype)?;
    if mark {
        mark_temporary(&types)?;
    }
    Ok(decoded)
}

#[pymethods]
impl Datatype {
    /// Get_envelope(self) -> tuple[int, int, int, int, int]
    ///
    /// Return the numbers of integers, addresses, counts and types the constructor got, and which it was. Local.
    fn Get_envelope(&self) -> PyResult<Envelope> {
        envelope(self.raw())
    }

    /// envelope: tuple[int, int, int, int, int]
    ///
    /// Envelope.
    #[getter]
    fn envelope(&self) -> PyResult<Envelope> {
        self.Get_envelope()
    }

    /// Get_contents(self) -> tuple[list[int], list[int], list[int], list[Datatype]]
    ///
    /// Return the integers, addresses, counts and types the constructor got. Local.
    ///
    /// The types are new handles; those of derived types have to be freed.
    #[expect(clippy::type_complexity, reason = "the standard's four lists")]
    fn Get_contents<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Vec<c_int>, Vec<MPI_Aint>, Vec<MPI_Count>, Vec<Bound<'py, PyAny>>)> {
        let contents = contents(self.raw())?;
        Ok((contents.integers, contents.addresses, contents.counts, parts(py, &contents.datatypes)?))
    }

    /// contents: tuple[list[int], list[int], list[int], list[Datatype]]
    ///
    /// Contents.
    #[getter]
    #[expect(clippy::type_complexity, reason = "the standard's four lists")]
    fn contents<'py>(
        &self,
        py: Python<'py>,
    ) -> PyResult<(Vec<c_int>, Vec<MPI_Aint>, Vec<MPI_Count>, Vec<Bound<'py, PyAny>>)> {
        self.Get_contents(py)
    }

    /// decode(self) -> tuple[Datatype, str, dict[str, Any]]
    ///
    /// Return the base type, the constructor's name and its arguments by name. Local.
    fn decode<'py>(slf: &Bound<'py, Self>) -> PyResult<Decoded<'py>> {
        decode(slf).map(|(decoded, _)| decoded)
    }

    /// combiner: int
    ///
    /// Combiner.
    #[getter]
    fn combiner(&self) -> PyResult<c_int> {
        self.Get_envelope().map(|(.., combiner)| combiner)
    }

    /// is_named: bool
    ///
    /// Is a named datatype.
    #[getter]
    fn is_named(&self) -> PyResult<bool> {
        self.combiner().map(|combiner| combiner == MPI_COMBINER_NAMED)
    }

    /// is_predefined: bool
    ///
    /// Is a predefined datatype.
    #[getter(is_predefined)]
    fn predefined(&self) -> PyResult<bool> {
        if self.raw() == MPI_DATATYPE_NULL {
            return Ok(true);
        }
        self.combiner().map(is_given)
    }
}

/// Adds the functions of this file to the module.
pub(super) fn register(m: &Bound<'_, PyModule>) -> PyResult<()> {
    m.add_function(wrap_pyfunction!(_datatype_create, m)?)?;
    m.add_function(wrap_pyfunction!(_datatype_decode, m)?)?;
    // Pickles refer to the function by the module's name.
    let module = PyString::new(m.py(), "phalanx.MPI");
    m.getattr("_datatype_create")?.setattr("__module__", module)
}
