//! Reduction operations (MPI 5.0 §6.9).

use std::ffi::{c_int, c_void};
use std::ops::Deref;
use std::sync::Arc;

use phalanx_engine::ErrorClass;
use phalanx_engine::datatype::Datatype;
use phalanx_engine::op::Op;
use phalanx_mpi_macros::mpi_entry;

use crate::buffer::{RecvPtr, SendPtr};
use crate::datatype::{TypeRef, handle_of};
use crate::entry::{Done, Failure, wrong};
use crate::handle::{Kind, RawOp, RawType};
use crate::param::{Address, Count, Out, Param};
use crate::table::Table;

static OPS: Table<Arc<Op>> = Table::new(Kind::Op);

/// An operation argument. The predefined ones cost no count.
pub(crate) enum OpRef {
    /// An operation of the ABI.
    Static(&'static Op),
    /// One that the program made.
    Counted(Arc<Op>),
}

impl Deref for OpRef {
    type Target = Op;
    #[inline]
    fn deref(&self) -> &Op {
        match self {
            OpRef::Static(op) => op,
            OpRef::Counted(op) => op,
        }
    }
}

impl<W> Param<W> for OpRef {
    type Raw = RawOp;
    #[inline]
    unsafe fn decode(raw: RawOp) -> Result<OpRef, Failure> {
        if raw.0 < 0x1000 {
            if let Some(op) = Op::from_handle(raw.0) {
                return Ok(OpRef::Static(op));
            }
        } else if let Some(op) = OPS.get(raw.0) {
            return Ok(OpRef::Counted(op));
        }
        Err(bad_op(raw))
    }
}

#[cold]
fn bad_op(raw: RawOp) -> Failure {
    let text = if raw == RawOp::NULL {
        "the operation is MPI_OP_NULL".to_string()
    } else {
        format!("the operation handle 0x{:x} is not valid: it was freed, or never was an operation", raw.0)
    };
    wrong(ErrorClass::Op, text)
}

/// The most elements that one call of a user function with an `int` count gets.
const MOST: usize = c_int::MAX as usize;

type UserFunction = unsafe extern "C" fn(*const c_void, *mut c_void, *mut c_int, *mut RawType);
type UserFunctionLarge = unsafe extern "C" fn(*const c_void, *mut c_void, *mut i64, *mut RawType);

/// Gives `run` a handle to the datatype. Reductions hand the function the type that the program passed.
fn with_handle(ty: &Datatype, run: impl FnOnce(*mut RawType)) -> phalanx_engine::Result<()> {
    let known = ty.predefined_handle();
    let handle = handle_of(ty).map_err(|_| {
        phalanx_engine::Error::new(ErrorClass::Other, "no handle is left for the datatype of a user operation")
    })?;
    let mut raw = handle;
    run(&raw mut raw);
    if known.is_none() {
        crate::datatype::forget(handle);
    }
    Ok(())
}

fn create(user: Address, commute: c_int, large: bool) -> Result<RawOp, Failure> {
    if user.0 == 0 {
        return Err(wrong(ErrorClass::Arg, "the function of the operation is a null pointer"));
    }
    let address = user.0;
    let call = move |input: *const u8, inout: *mut u8, count: usize, ty: &Datatype| {
        with_handle(ty, |raw| {
            if large {
                // SAFETY: the program gave this address as an MPI_User_function_c.
                let function = unsafe { std::mem::transmute::<usize, UserFunctionLarge>(address) };
                let mut n = i64::try_from(count).unwrap_or(i64::MAX);
                // SAFETY: the engine passes `count` elements of the type on both sides.
                unsafe { function(input.cast(), inout.cast(), &raw mut n, raw) };
                return;
            }
            // SAFETY: the program gave this address as an MPI_User_function.
            let function = unsafe { std::mem::transmute::<usize, UserFunction>(address) };
            let mut done = 0;
            while done < count {
                let mut n = (count - done).min(MOST) as c_int;
                let at = (done as isize).wrapping_mul(ty.extent());
                // SAFETY: as above, from element `done` on.
                unsafe { function(input.wrapping_offset(at).cast(), inout.wrapping_offset(at).cast(), &raw mut n, raw) };
                done += (count - done).min(MOST);
            }
        })
    };
    let raw = OPS.insert(Arc::new(Op::user(Arc::new(call), commute != 0)));
    raw.map(RawOp).ok_or_else(|| wrong(ErrorClass::Other, "too many operations exist; free some"))
}

/// Makes an operation of a function.
#[mpi_entry(MPI_Op_create)]
fn op_create(user: Address, commute: c_int, op: Out<RawOp>) -> Done {
    op.set(create(user, commute, false)?);
    Ok(())
}

/// Makes an operation of a function that counts with `MPI_Count`.
#[mpi_entry(MPI_Op_create_c)]
fn op_create_c(user: Address, commute: c_int, op: Out<RawOp>) -> Done {
    op.set(create(user, commute, true)?);
    Ok(())
}

/// Frees an operation. What is under way with it goes on.
#[mpi_entry(MPI_Op_free)]
fn op_free(op: Out<RawOp>) -> Done {
    let raw = op.get();
    if raw.0 < 0x1000 && Op::from_handle(raw.0).is_some() {
        return Err(wrong(ErrorClass::Op, "a predefined operation cannot be freed"));
    }
    OPS.remove(raw.0).ok_or_else(|| bad_op(raw))?;
    op.set(RawOp::NULL);
    Ok(())
}

/// Whether the operation commutes.
#[mpi_entry(MPI_Op_commutative)]
fn op_commutative(op: OpRef, commute: Out<c_int>) -> Done {
    commute.set(op.is_commutative().into());
    Ok(())
}

/// Combines two buffers of this process.
#[mpi_entry(MPI_Reduce_local, poly)]
fn reduce_local(inbuf: SendPtr, inoutbuf: RecvPtr, count: Count, ty: TypeRef, op: OpRef) -> Done {
    ty.check_committed()?;
    op.check(&ty)?;
    let input = inbuf.memory(count.0, &ty)?;
    let inout = inoutbuf.memory(count.0, &ty)?;
    Ok(op.reduce(&ty, input, inout, count.0)?)
}
