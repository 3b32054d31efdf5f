//! Datatypes: what can be asked of them, packing, addresses, counts of elements (MPI 5.0 §5.1.5 to §5.3).

use std::ffi::c_int;

use phalanx_engine::ErrorClass;
use phalanx_engine::datatype::{ElementCount, Sink, Source};
use phalanx_mpi_macros::mpi_entry;

use crate::comm::CommRef;
use crate::consts;
use crate::datatype::{TypeRef, handle_of};
use crate::entry::{Done, Failure, wrong};
use crate::handle::RawType;
use crate::numbers;
use crate::param::{self, Address, Count, CountOut, Number, Out, OutArray, Text};
use crate::status::{StatusIn, StatusOut};

/// Bytes of data in one element.
#[mpi_entry(MPI_Type_size, poly)]
fn type_size(ty: TypeRef, size: CountOut) -> Done {
    size.set_or_undefined(ty.size() as i64);
    Ok(())
}

/// Bytes of data in one element.
#[mpi_entry(MPI_Type_size_x)]
fn type_size_x(ty: TypeRef, size: Out<i64>) -> Done {
    size.set(ty.size() as i64);
    Ok(())
}

/// Lower bound and extent.
#[mpi_entry(MPI_Type_get_extent, poly)]
fn type_get_extent(ty: TypeRef, lb: Out<i64>, extent: Out<i64>) -> Done {
    lb.set(ty.lb() as i64);
    extent.set(ty.extent() as i64);
    Ok(())
}

/// Lower bound and extent.
#[mpi_entry(MPI_Type_get_extent_x)]
fn type_get_extent_x(ty: TypeRef, lb: Out<i64>, extent: Out<i64>) -> Done {
    type_get_extent(ty, lb, extent)
}

/// Where the data begins and how far it reaches, without the bounds that were set.
#[mpi_entry(MPI_Type_get_true_extent, poly)]
fn type_get_true_extent(ty: TypeRef, lb: Out<i64>, extent: Out<i64>) -> Done {
    lb.set(ty.true_lb() as i64);
    // What no count can tell is undefined, as the standard has it.
    extent.set(i64::try_from(ty.true_extent()).unwrap_or(i64::from(consts::UNDEFINED)));
    Ok(())
}

/// Where the data begins and how far it reaches, without the bounds that were set.
#[mpi_entry(MPI_Type_get_true_extent_x)]
fn type_get_true_extent_x(ty: TypeRef, lb: Out<i64>, extent: Out<i64>) -> Done {
    type_get_true_extent(ty, lb, extent)
}

fn no_large(large_counts: usize) -> Done {
    if large_counts == 0 {
        return Ok(());
    }
    Err(wrong(ErrorClass::Type, "the type was made with large counts; use the _c form of the function"))
}

/// How the type was made.
#[mpi_entry(MPI_Type_get_envelope)]
fn type_get_envelope(
    ty: TypeRef,
    integers: Out<c_int>,
    addresses: Out<c_int>,
    types: Out<c_int>,
    combiner: Out<c_int>,
) -> Done {
    let envelope = ty.envelope();
    no_large(envelope.large_counts)?;
    integers.set(envelope.integers as c_int);
    addresses.set(envelope.addresses as c_int);
    types.set(envelope.datatypes as c_int);
    combiner.set(numbers::combiner(envelope.combiner));
    Ok(())
}

/// How the type was made.
#[mpi_entry(MPI_Type_get_envelope_c)]
fn type_get_envelope_c(
    ty: TypeRef,
    integers: Out<i64>,
    addresses: Out<i64>,
    large_counts: Out<i64>,
    types: Out<i64>,
    combiner: Out<c_int>,
) -> Done {
    let envelope = ty.envelope();
    integers.set(envelope.integers as i64);
    addresses.set(envelope.addresses as i64);
    large_counts.set(envelope.large_counts as i64);
    types.set(envelope.datatypes as i64);
    combiner.set(numbers::combiner(envelope.combiner));
    Ok(())
}

/// Room in one of the arrays that `MPI_Type_get_contents` fills.
fn room<T: Copy>(array: &OutArray<T>, max: i64, needed: usize, what: &str) -> Done {
    if max < needed as i64 {
        return Err(wrong(ErrorClass::Arg, format!("there is room for {max} {what}; the type has {needed}")));
    }
    array.need(needed, what)
}

fn fill_types(array: &OutArray<RawType>, types: &[phalanx_engine::datatype::Datatype]) -> Done {
    for (i, ty) in types.iter().enumerate() {
        array.set(i, handle_of(ty)?);
    }
    Ok(())
}

/// The arguments that the type was made with. Derived types among them are new handles, to be freed.
#[mpi_entry(MPI_Type_get_contents)]
fn type_get_contents(
    ty: TypeRef,
    max_integers: c_int,
    max_addresses: c_int,
    max_types: c_int,
    integers: OutArray<c_int>,
    addresses: OutArray<i64>,
    types: OutArray<RawType>,
) -> Done {
    let contents = ty.contents()?;
    no_large(contents.large_counts.len())?;
    room(&integers, max_integers.into(), contents.integers.len(), "integers")?;
    room(&addresses, max_addresses.into(), contents.addresses.len(), "addresses")?;
    room(&types, max_types.into(), contents.datatypes.len(), "datatypes")?;
    contents.integers.iter().enumerate().for_each(|(i, v)| integers.set(i, numbers::integer(*v)));
    contents.addresses.iter().enumerate().for_each(|(i, v)| addresses.set(i, *v));
    fill_types(&types, &contents.datatypes)
}

/// The arguments that the type was made with. Derived types among them are new handles, to be freed.
#[mpi_entry(MPI_Type_get_contents_c)]
fn type_get_contents_c(
    ty: TypeRef,
    max_integers: i64,
    max_addresses: i64,
    max_large_counts: i64,
    max_types: i64,
    integers: OutArray<c_int>,
    addresses: OutArray<i64>,
    large_counts: OutArray<i64>,
    types: OutArray<RawType>,
) -> Done {
    let contents = ty.contents()?;
    room(&integers, max_integers, contents.integers.len(), "integers")?;
    room(&addresses, max_addresses, contents.addresses.len(), "addresses")?;
    room(&large_counts, max_large_counts, contents.large_counts.len(), "large counts")?;
    room(&types, max_types, contents.datatypes.len(), "datatypes")?;
    contents.integers.iter().enumerate().for_each(|(i, v)| integers.set(i, numbers::integer(*v)));
    contents.addresses.iter().enumerate().for_each(|(i, v)| addresses.set(i, *v));
    contents.large_counts.iter().enumerate().for_each(|(i, v)| large_counts.set(i, *v));
    fill_types(&types, &contents.datatypes)
}

// Addresses.

/// The address of a location, for displacements relative to `MPI_BOTTOM`.
#[mpi_entry(MPI_Get_address)]
fn get_address(location: Address, address: Out<isize>) -> Done {
    address.set(location.0 as isize);
    Ok(())
}

/// An address plus a displacement.
#[mpi_entry(MPI_Aint_add, value)]
fn aint_add(base: isize, disp: isize) -> isize {
    base.wrapping_add(disp)
}

/// The displacement between two addresses.
#[mpi_entry(MPI_Aint_diff, value)]
fn aint_diff(addr1: isize, addr2: isize) -> isize {
    addr1.wrapping_sub(addr2)
}

// Packing.

/// The program's memory around a base address.
struct Memory(*mut u8);

impl Source for Memory {
    fn read(&self, at: isize, out: &mut [u8]) {
        // SAFETY: the program promised that the bytes its datatype reaches from the base are valid for the call.
        unsafe { std::ptr::copy(self.0.wrapping_offset(at), out.as_mut_ptr(), out.len()) }
    }
}

impl Sink for Memory {
    fn write(&mut self, at: isize, data: &[u8]) {
        // SAFETY: as for reading; the call writes this memory, so nobody else uses it now.
        unsafe { std::ptr::copy(data.as_ptr(), self.0.wrapping_offset(at), data.len()) }
    }
}

/// Part of a packed buffer: `need` bytes from `position`, inside `size`.
fn window(base: Address, size: i64, position: i64, need: usize, what: &str) -> Result<(*mut u8, usize), Failure> {
    let end = usize::try_from(position).ok().and_then(|p| p.checked_add(need));
    match end {
        Some(end) if end as i64 <= size => {}
        _ => {
            return Err(wrong(
                ErrorClass::Truncate,
                format!("{need} bytes at position {position} do not fit the {what} of {size} bytes"),
            ));
        }
    }
    if base.0 == 0 && need > 0 {
        return Err(wrong(ErrorClass::Buffer, format!("the {what} is a null pointer")));
    }
    Ok(((base.0 as *mut u8).wrapping_add(position as usize), need))
}

fn user_memory(base: Address, count: usize, ty: &TypeRef) -> Result<Memory, Failure> {
    crate::buffer::check(base.0, count)?;
    ty.check_place(base.0 as *const u8, count)?;
    Ok(Memory(base.0 as *mut u8))
}

/// The packed bytes as a slice to be written.
///
/// # Safety
/// `at` must come from [`window`] and be used for the time of the call only.
unsafe fn packed<'a>(at: *mut u8, len: usize) -> &'a mut [u8] {
    if len == 0 {
        return &mut [];
    }
    // SAFETY: checked by `window` against the size that the program gave for its buffer.
    unsafe { std::slice::from_raw_parts_mut(at, len) }
}

/// Packs elements behind what a buffer holds already.
#[mpi_entry(MPI_Pack, poly)]
fn pack(
    inbuf: Address,
    incount: Count,
    ty: TypeRef,
    outbuf: Address,
    outsize: Number,
    position: CountOut,
    comm: CommRef,
) -> Done {
    let _ = comm;
    ty.check_committed()?;
    let bytes = ty.bytes(incount.0)?;
    let (at, len) = window(outbuf, outsize.0, position.get(), bytes, "output buffer")?;
    let source = user_memory(inbuf, incount.0, &ty)?;
    // SAFETY: from `window`; the program's data and its packed buffer do not overlap.
    let written = ty.pack(incount.0, &source, 0, unsafe { packed(at, len) });
    position.set(position.get() + written as i64)
}

/// Unpacks elements from where the last unpacking ended.
#[mpi_entry(MPI_Unpack, poly)]
fn unpack(
    inbuf: Address,
    insize: Number,
    position: CountOut,
    outbuf: Address,
    outcount: Count,
    ty: TypeRef,
    comm: CommRef,
) -> Done {
    let _ = comm;
    ty.check_committed()?;
    let bytes = ty.bytes(outcount.0)?;
    let (at, len) = window(inbuf, insize.0, position.get(), bytes, "input buffer")?;
    let mut sink = user_memory(outbuf, outcount.0, &ty)?;
    // SAFETY: as in `pack`; the slice is only read.
    let used = ty.unpack(outcount.0, &mut sink, 0, unsafe { packed(at, len) });
    position.set(position.get() + used as i64)
}

/// Bytes that packing needs.
#[mpi_entry(MPI_Pack_size, poly)]
fn pack_size(incount: Count, ty: TypeRef, comm: CommRef, size: CountOut) -> Done {
    let _ = comm;
    size.set(ty.bytes(incount.0)? as i64)
}

fn need_external32(datarep: &Text) -> Done {
    if datarep.0 == "external32" {
        return Ok(());
    }
    Err(wrong(ErrorClass::Arg, format!("data representation '{}' is not known; only 'external32' is", datarep.0)))
}

/// Packs elements in the portable representation.
#[mpi_entry(MPI_Pack_external, poly)]
fn pack_external(
    datarep: Text,
    inbuf: Address,
    incount: Count,
    ty: TypeRef,
    outbuf: Address,
    outsize: i64,
    position: Out<i64>,
) -> Done {
    need_external32(&datarep)?;
    let bytes = ty.external32_size(incount.0)?;
    let (at, len) = window(outbuf, outsize, position.get(), bytes, "output buffer")?;
    let source = user_memory(inbuf, incount.0, &ty)?;
    // SAFETY: as in `pack`.
    ty.pack_external32(incount.0, &source, unsafe { packed(at, len) }, 0)?;
    position.set(position.get() + bytes as i64);
    Ok(())
}

/// Unpacks elements from the portable representation.
#[mpi_entry(MPI_Unpack_external, poly)]
fn unpack_external(
    datarep: Text,
    inbuf: Address,
    insize: i64,
    position: Out<i64>,
    outbuf: Address,
    outcount: Count,
    ty: TypeRef,
) -> Done {
    need_external32(&datarep)?;
    let bytes = ty.external32_size(outcount.0)?;
    let (at, len) = window(inbuf, insize, position.get(), bytes, "input buffer")?;
    let mut sink = user_memory(outbuf, outcount.0, &ty)?;
    // SAFETY: as in `pack`; the slice is only read.
    ty.unpack_external32(outcount.0, &mut sink, unsafe { packed(at, len) }, 0)?;
    position.set(position.get() + bytes as i64);
    Ok(())
}

/// Bytes that packing in the portable representation needs.
#[mpi_entry(MPI_Pack_external_size, poly)]
fn pack_external_size(datarep: Text, incount: Count, ty: TypeRef, size: Out<i64>) -> Done {
    need_external32(&datarep)?;
    size.set(ty.external32_size(incount.0)? as i64);
    Ok(())
}

// Counts in a status.

/// A number of elements, or `MPI_UNDEFINED` when the data ends inside one.
fn number(count: ElementCount) -> i64 {
    match count {
        ElementCount::Whole(n) => i64::try_from(n).unwrap_or(consts::UNDEFINED.into()),
        ElementCount::Partial => consts::UNDEFINED.into(),
    }
}

/// Number of whole elements received, or `MPI_UNDEFINED`.
#[mpi_entry(MPI_Get_count, poly)]
fn get_count(status: StatusIn, ty: TypeRef, count: CountOut) -> Done {
    count.set_or_undefined(number(ty.count_in(status.bytes())));
    Ok(())
}

/// Number of basic elements received, or `MPI_UNDEFINED`.
#[mpi_entry(MPI_Get_elements, poly)]
fn get_elements(status: StatusIn, ty: TypeRef, count: CountOut) -> Done {
    count.set_or_undefined(number(ty.elements_in(status.bytes())));
    Ok(())
}

/// Number of basic elements received, or `MPI_UNDEFINED`.
#[mpi_entry(MPI_Get_elements_x)]
fn get_elements_x(status: StatusIn, ty: TypeRef, count: Out<i64>) -> Done {
    count.set(number(ty.elements_in(status.bytes())));
    Ok(())
}

fn set_elements(status: &StatusOut, ty: &TypeRef, count: i64) -> Done {
    status.set_bytes(ty.bytes_of_elements(param::count(count)?.0));
    Ok(())
}

/// Sets what `MPI_Get_elements` will give.
#[mpi_entry(MPI_Status_set_elements, poly, anytime)]
fn status_set_elements(status: StatusOut, ty: TypeRef, count: Number) -> Done {
    set_elements(&status, &ty, count.0)
}

/// Sets what `MPI_Get_elements_x` will give.
#[mpi_entry(MPI_Status_set_elements_x, anytime)]
fn status_set_elements_x(status: StatusOut, ty: TypeRef, count: i64) -> Done {
    set_elements(&status, &ty, count)
}
