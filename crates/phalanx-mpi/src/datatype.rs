//! Datatypes: handles and construction (MPI 5.0 §5.1).

use std::collections::HashMap;
use std::ffi::c_int;
use std::ops::Deref;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use phalanx_engine::ErrorClass;
use phalanx_engine::datatype::{Datatype, Distribution, Order};
use phalanx_mpi_macros::mpi_entry;

use crate::attr::Attributes;
use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::handle::{Kind, RawType};
use crate::numbers;
use crate::param::{self, Count, In, Large, Number, Numbers, Out, Param, Small, Text, TextOut};
use crate::table::Table;

/// What a datatype handle refers to.
pub(crate) struct TypeObject {
    ty: Datatype,
    raw: usize,
    attrs: Attributes,
}

static TYPES: Table<Arc<TypeObject>> = Table::new(Kind::Datatype);

/// A datatype argument. The predefined ones cost no count.
#[derive(Clone)]
pub(crate) enum TypeRef {
    /// A type of the ABI, with its handle.
    Static(&'static Datatype, usize),
    /// Any other.
    Counted(Arc<TypeObject>),
}

impl Deref for TypeRef {
    type Target = Datatype;
    #[inline]
    fn deref(&self) -> &Datatype {
        match self {
            TypeRef::Static(ty, _) => ty,
            TypeRef::Counted(object) => &object.ty,
        }
    }
}

impl<W> Param<W> for TypeRef {
    type Raw = RawType;
    #[inline]
    unsafe fn decode(raw: RawType) -> Result<TypeRef, Failure> {
        find(raw)
    }
}

/// The type of a message to or from one process: may be null where there is neither a process nor data.
pub(crate) struct PeerType(RawType);

impl<W> Param<W> for PeerType {
    type Raw = RawType;
    #[inline]
    unsafe fn decode(raw: RawType) -> Result<PeerType, Failure> {
        Ok(PeerType(raw))
    }
}

impl PeerType {
    /// The type of `count` elements for or from `peer`.
    #[inline]
    pub(crate) fn with(self, peer: c_int, count: usize) -> Result<TypeRef, Failure> {
        find(self.0).or_else(|failure| self.of_nobody(peer, count, failure))
    }

    #[cold]
    fn of_nobody(self, peer: c_int, count: usize, failure: Failure) -> Result<TypeRef, Failure> {
        let none = self.0 == RawType::NULL && peer == consts::PROC_NULL && count == 0;
        if none { find(RawType(consts::BYTE)) } else { Err(failure) }
    }
}

/// Attributes of predefined types.
static PREDEFINED_ATTRS: LazyLock<Mutex<HashMap<usize, &'static Attributes>>> = LazyLock::new(Mutex::default);

impl TypeRef {
    /// The handle.
    pub(crate) fn raw(&self) -> usize {
        match self {
            TypeRef::Static(_, raw) => *raw,
            TypeRef::Counted(object) => object.raw,
        }
    }

    /// The attributes.
    pub(crate) fn attrs(&self) -> &Attributes {
        match self {
            TypeRef::Static(_, raw) => {
                let mut all = PREDEFINED_ATTRS.lock().unwrap_or_else(PoisonError::into_inner);
                // At most one for each predefined type, for the life of the process.
                all.entry(*raw).or_insert_with(|| Box::leak(Box::default()))
            }
            TypeRef::Counted(object) => &object.attrs,
        }
    }
}

/// Handles of predefined types are below this number.
pub(crate) const PREDEFINED_END: usize = 0x1000;

/// The type behind a handle.
#[inline]
pub(crate) fn find(raw: RawType) -> Result<TypeRef, Failure> {
    if raw.0 < PREDEFINED_END {
        if let Some(basic) = numbers::basic(raw.0) {
            return Ok(TypeRef::Static(Datatype::predefined(basic), raw.0));
        }
    } else if let Some(object) = TYPES.get(raw.0) {
        return Ok(TypeRef::Counted(object));
    }
    Err(bad_type(raw))
}

/// Bytes of a predefined type.
pub(crate) fn predefined_size(raw: RawType) -> Option<usize> {
    numbers::basic(raw.0).filter(|_| raw.0 < PREDEFINED_END).map(|basic| Datatype::predefined(basic).size())
}

#[cold]
fn bad_type(raw: RawType) -> Failure {
    let text = if raw == RawType::NULL {
        "the datatype is MPI_DATATYPE_NULL".to_string()
    } else {
        format!("the datatype handle 0x{:x} is not valid: it was freed, or never was a datatype", raw.0)
    };
    wrong(ErrorClass::Type, text)
}

/// Gives a new type a handle.
pub(crate) fn adopt(ty: Datatype) -> Result<RawType, Failure> {
    let raw = TYPES.insert_with(|raw| Arc::new(TypeObject { ty, raw, attrs: Attributes::default() }));
    raw.map(RawType).ok_or_else(|| wrong(ErrorClass::Other, "too many datatypes exist; free some"))
}

/// A handle for a type that the program may know already: predefined types keep theirs.
pub(crate) fn handle_of(ty: &Datatype) -> Result<RawType, Failure> {
    match ty.named() {
        Some(basic) => Ok(RawType(numbers::type_handle(basic))),
        None => adopt(ty.clone()),
    }
}

/// Takes back a handle that the library made for the time of a callback.
pub(crate) fn forget(raw: RawType) {
    TYPES.remove(raw.0);
}

/// Whether a form of a function counts with `MPI_Count`: types remember it for `MPI_Type_get_envelope`.
#[derive(Clone, Copy)]
pub(crate) struct Flavor(bool);

/// The handle of a new type, with the flavor of the constructor that made it.
pub(crate) struct NewType {
    at: Out<RawType>,
    flavor: Flavor,
}

impl Param<Small> for NewType {
    type Raw = *mut RawType;
    unsafe fn decode(raw: *mut RawType) -> Result<NewType, Failure> {
        // SAFETY: the same contract.
        Ok(NewType { at: unsafe { <Out<RawType> as Param<Small>>::decode(raw)? }, flavor: Flavor(false) })
    }
}

impl Param<Large> for NewType {
    type Raw = *mut RawType;
    unsafe fn decode(raw: *mut RawType) -> Result<NewType, Failure> {
        // SAFETY: the same contract.
        Ok(NewType { at: unsafe { <Out<RawType> as Param<Large>>::decode(raw)? }, flavor: Flavor(true) })
    }
}

impl NewType {
    fn set(&self, ty: Datatype) -> Done {
        let ty = if self.flavor.0 { ty.into_large() } else { ty };
        self.at.set(adopt(ty)?);
        Ok(())
    }
}

/// Makes a type ready for communication.
#[mpi_entry(MPI_Type_commit)]
fn type_commit(ty: Out<RawType>) -> Done {
    find(ty.get())?.commit();
    Ok(())
}

/// Frees a type. What is under way with it goes on, and so do types made of it.
#[mpi_entry(MPI_Type_free)]
fn type_free(ty: Out<RawType>) -> Done {
    let raw = ty.get();
    let found = find(raw)?;
    if found.is_predefined() {
        return Err(wrong(ErrorClass::Type, format!("{} is predefined and cannot be freed", found.name())));
    }
    found.attrs().delete_all(raw.0)?;
    TYPES.remove(raw.0);
    ty.set(RawType::NULL);
    Ok(())
}

/// Duplicates a type, attributes included.
#[mpi_entry(MPI_Type_dup)]
fn type_dup(old: TypeRef, new: Out<RawType>) -> Done {
    let raw = adopt(old.dup()?)?;
    let copy = find(raw)?;
    if let Err(failure) = copy.attrs().copy_from(old.raw(), old.attrs()) {
        TYPES.remove(raw.0);
        return Err(failure);
    }
    new.set(raw);
    Ok(())
}

/// `count` elements one after the other.
#[mpi_entry(MPI_Type_contiguous, poly)]
fn type_contiguous(count: Number, old: TypeRef, new: NewType) -> Done {
    new.set(Datatype::contiguous(count.0, &old)?)
}

/// Equally spaced blocks, the stride in elements.
#[mpi_entry(MPI_Type_vector, poly)]
fn type_vector(count: Number, block: Number, stride: Number, old: TypeRef, new: NewType) -> Done {
    new.set(Datatype::vector(count.0, block.0, stride.0, &old)?)
}

/// A stride or displacement in bytes: `MPI_Aint` in one form, `MPI_Count` in the other, both 64 bits wide.
type Bytes = i64;

/// Equally spaced blocks, the stride in bytes.
#[mpi_entry(MPI_Type_create_hvector, poly)]
fn type_create_hvector(count: Number, block: Number, stride: Bytes, old: TypeRef, new: NewType) -> Done {
    new.set(Datatype::hvector(count.0, block.0, stride, &old)?)
}

/// Blocks of given lengths at given displacements in elements.
#[mpi_entry(MPI_Type_indexed, poly)]
fn type_indexed(count: Count, blocks: Numbers, displs: Numbers, old: TypeRef, new: NewType) -> Done {
    let blocks = blocks.read(count.0, "block lengths")?;
    new.set(Datatype::indexed(&blocks, &displs.read(count.0, "displacements")?, &old)?)
}

/// Blocks of given lengths at given displacements in bytes.
#[mpi_entry(MPI_Type_create_hindexed, poly)]
fn type_create_hindexed(count: Count, blocks: Numbers, displs: In<Bytes>, old: TypeRef, new: NewType) -> Done {
    let blocks = blocks.read(count.0, "block lengths")?;
    new.set(Datatype::hindexed(&blocks, displs.read(count.0, "the array of displacements")?, &old)?)
}

/// Blocks of one length at given displacements in elements.
#[mpi_entry(MPI_Type_create_indexed_block, poly)]
fn type_create_indexed_block(count: Count, block: Number, displs: Numbers, old: TypeRef, new: NewType) -> Done {
    new.set(Datatype::indexed_block(block.0, &displs.read(count.0, "displacements")?, &old)?)
}

/// Blocks of one length at given displacements in bytes.
#[mpi_entry(MPI_Type_create_hindexed_block, poly)]
fn type_create_hindexed_block(count: Count, block: Number, displs: In<Bytes>, old: TypeRef, new: NewType) -> Done {
    new.set(Datatype::hindexed_block(block.0, displs.read(count.0, "the array of displacements")?, &old)?)
}

/// Blocks of different types at given displacements in bytes.
#[mpi_entry(MPI_Type_create_struct, poly)]
fn type_create_struct(count: Count, blocks: Numbers, displs: In<Bytes>, types: In<RawType>, new: NewType) -> Done {
    let blocks = blocks.read(count.0, "block lengths")?;
    let displs = displs.read(count.0, "the array of displacements")?;
    let types = read_types(&types, count.0)?;
    new.set(Datatype::structure(&blocks, displs, &types)?)
}

/// The types behind an array of handles.
pub(crate) fn read_types(types: &In<RawType>, n: usize) -> Result<Vec<Datatype>, Failure> {
    types
        .read(n, "the array of datatypes")?
        .iter()
        .map(|raw| match find(*raw)? {
            TypeRef::Static(ty, _) => Ok(ty.clone()),
            TypeRef::Counted(object) => Ok(object.ty.clone()),
        })
        .collect()
}

fn order_of(number: c_int) -> Result<Order, Failure> {
    let text = || format!("order is {number}; it must be MPI_ORDER_C or MPI_ORDER_FORTRAN");
    numbers::order(number).ok_or_else(|| wrong(ErrorClass::Arg, text()))
}

fn distribution_of(number: c_int) -> Result<Distribution, Failure> {
    let text = || format!("distribution is {number}; it must be MPI_DISTRIBUTE_NONE, _BLOCK or _CYCLIC");
    numbers::distribution(number).ok_or_else(|| wrong(ErrorClass::Arg, text()))
}

fn dimensions(ndims: c_int) -> Result<usize, Failure> {
    param::length(ndims, ErrorClass::Arg, "dimensions")
}

/// A part of a dense array.
#[mpi_entry(MPI_Type_create_subarray, poly)]
fn type_create_subarray(
    ndims: c_int,
    sizes: Numbers,
    subsizes: Numbers,
    starts: Numbers,
    order: c_int,
    old: TypeRef,
    new: NewType,
) -> Done {
    let n = dimensions(ndims)?;
    let sizes = sizes.read(n, "sizes")?;
    let subsizes = subsizes.read(n, "subsizes")?;
    let starts = starts.read(n, "starts")?;
    new.set(Datatype::subarray(&sizes, &subsizes, &starts, order_of(order)?, &old)?)
}

/// What one process of a grid holds of a dense array.
#[mpi_entry(MPI_Type_create_darray, poly)]
fn type_create_darray(
    size: c_int,
    rank: c_int,
    ndims: c_int,
    gsizes: Numbers,
    distribs: In<c_int>,
    dargs: In<c_int>,
    psizes: In<c_int>,
    order: c_int,
    old: TypeRef,
    new: NewType,
) -> Done {
    let n = dimensions(ndims)?;
    let distribs: Vec<Distribution> = distribs
        .read(n, "the array of distributions")?
        .iter()
        .map(|number| distribution_of(*number))
        .collect::<Result<_, _>>()?;
    let given = |darg: &c_int| (*darg != consts::DISTRIBUTE_DFLT_DARG).then_some(i64::from(*darg));
    let dargs: Vec<_> = dargs.read(n, "the array of distribution arguments")?.iter().map(given).collect();
    let psizes: Vec<_> = psizes.read(n, "the array of process counts")?.iter().copied().map(i64::from).collect();
    let gsizes = gsizes.read(n, "global sizes")?;
    let order = order_of(order)?;
    new.set(Datatype::darray(size.into(), rank.into(), &gsizes, &distribs, &dargs, &psizes, order, &old)?)
}

/// The same data with other bounds.
#[mpi_entry(MPI_Type_create_resized, poly)]
fn type_create_resized(old: TypeRef, lb: Bytes, extent: Bytes, new: NewType) -> Done {
    new.set(Datatype::resized(&old, lb, extent)?)
}

/// The types made so far, by combiner, precision and range.
type F90Types = HashMap<(c_int, c_int, c_int), RawType>;

/// Types made for Fortran's precisions: the same arguments give the same handle, which is never freed.
static F90: LazyLock<Mutex<F90Types>> = LazyLock::new(Mutex::default);

fn f90(
    combiner: c_int,
    p: c_int,
    r: c_int,
    make: impl FnOnce() -> phalanx_engine::Result<Datatype>,
) -> Result<RawType, Failure> {
    let mut known = F90.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(raw) = known.get(&(combiner, p, r)) {
        return Ok(*raw);
    }
    let raw = adopt(make()?)?;
    // The program need not free it.
    crate::check::gone(raw.0);
    known.insert((combiner, p, r), raw);
    Ok(raw)
}

/// A real type by decimal digits and exponent range.
#[mpi_entry(MPI_Type_create_f90_real)]
fn type_create_f90_real(p: c_int, r: c_int, new: Out<RawType>) -> Done {
    new.set(f90(consts::COMBINER_F90_REAL, p, r, || Datatype::f90_real(p, r))?);
    Ok(())
}

/// A complex type by decimal digits and exponent range.
#[mpi_entry(MPI_Type_create_f90_complex)]
fn type_create_f90_complex(p: c_int, r: c_int, new: Out<RawType>) -> Done {
    new.set(f90(consts::COMBINER_F90_COMPLEX, p, r, || Datatype::f90_complex(p, r))?);
    Ok(())
}

/// An integer type by decimal digits.
#[mpi_entry(MPI_Type_create_f90_integer)]
fn type_create_f90_integer(r: c_int, new: Out<RawType>) -> Done {
    new.set(f90(consts::COMBINER_F90_INTEGER, 0, r, || Datatype::f90_integer(r))?);
    Ok(())
}

/// The Fortran type of a class and size.
#[mpi_entry(MPI_Type_match_size)]
fn type_match_size(class: c_int, size: c_int, ty: Out<RawType>) -> Done {
    let text = || format!("type class is {class}; it must be MPI_TYPECLASS_INTEGER, _REAL or _COMPLEX");
    let class = numbers::type_class(class).ok_or_else(|| wrong(ErrorClass::Arg, text()))?;
    ty.set(handle_of(Datatype::match_size(class, size.into())?)?);
    Ok(())
}

/// The pair type for `MPI_MINLOC` and `MPI_MAXLOC`, or the null handle when there is none.
#[mpi_entry(MPI_Type_get_value_index)]
fn type_get_value_index(value: TypeRef, index: TypeRef, pair: Out<RawType>) -> Done {
    pair.set(match Datatype::value_index(&value, &index) {
        Some(ty) => handle_of(ty)?,
        None => RawType::NULL,
    });
    Ok(())
}

/// The name.
#[mpi_entry(MPI_Type_get_name)]
fn type_get_name(ty: RawType, name: TextOut, length: Out<c_int>) -> Done {
    let text = if ty == RawType::NULL { "MPI_DATATYPE_NULL".to_string() } else { find(ty)?.name() };
    let n = name.set(&text, consts::MAX_OBJECT_NAME as usize)?;
    length.set(n as c_int);
    Ok(())
}

/// Sets the name.
#[mpi_entry(MPI_Type_set_name)]
fn type_set_name(ty: TypeRef, name: Text) -> Done {
    ty.set_name(crate::param::cut(&name.0, consts::MAX_OBJECT_NAME as usize - 1));
    Ok(())
}
