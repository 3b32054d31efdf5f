//! Reduction operations (MPI 5.0 §6.9).

use std::ffi::{c_int, c_void};
use std::ops::Deref;
use std::sync::Arc;

use phalanx_engine::datatype::Datatype;
use phalanx_engine::op::{Op, UserFunction};
use phalanx_engine::{Error, ErrorClass};
use phalanx_mpi_macros::mpi_entry;
use phalanx_shm::mem::{ConstMem, MutMem};

use crate::buffer::{RecvPtr, SendPtr};
use crate::datatype::{TypeRef, handle_of};
use crate::entry::{Done, Failure, wrong};
use crate::handle::{Kind, RawOp, RawType};
use crate::numbers;
use crate::param::{Address, Count, Out, Param};
use crate::table::Table;

static OPS: Table<Op> = Table::new(Kind::Op);

/// An operation argument.
pub(crate) struct OpRef(Op);

impl Deref for OpRef {
    type Target = Op;
    #[inline]
    fn deref(&self) -> &Op {
        &self.0
    }
}

impl<W> Param<W> for OpRef {
    type Raw = RawOp;
    #[inline]
    unsafe fn decode(raw: RawOp) -> Result<OpRef, Failure> {
        let found = if raw.0 < 0x1000 { numbers::builtin(raw.0).map(Op::predefined) } else { OPS.get(raw.0) };
        found.map(OpRef).ok_or_else(|| bad_op(raw))
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

type UserFunctionSmall = unsafe extern "C" fn(*const c_void, *mut c_void, *mut c_int, *mut RawType);
type UserFunctionLarge = unsafe extern "C" fn(*const c_void, *mut c_void, *mut i64, *mut RawType);

/// A function of the program, as the engine calls it.
struct Function {
    address: usize,
    large: bool,
}

impl UserFunction for Function {
    fn call(&self, input: ConstMem, inout: MutMem, count: usize, ty: &Datatype) -> phalanx_engine::Result<()> {
        // A derived type gets a handle for the time of the call.
        let temporary = ty.named().is_none();
        let handle = handle_of(ty)
            .map_err(|_| Error::new(ErrorClass::Other, "no handle is left for the datatype of a user operation"))?;
        let mut raw = handle;
        self.run(input.as_ptr(), inout.as_ptr(), count, ty.extent(), &raw mut raw);
        if temporary {
            crate::datatype::forget(handle);
        }
        Ok(())
    }
}

impl Function {
    fn run(&self, input: *const u8, inout: *mut u8, count: usize, extent: isize, ty: *mut RawType) {
        if self.large {
            // SAFETY: the program gave this address as an MPI_User_function_c.
            let function = unsafe { std::mem::transmute::<usize, UserFunctionLarge>(self.address) };
            let mut n = i64::try_from(count).unwrap_or(i64::MAX);
            // SAFETY: the engine passes `count` elements of the type on both sides.
            unsafe { function(input.cast(), inout.cast(), &raw mut n, ty) };
            return;
        }
        // SAFETY: the program gave this address as an MPI_User_function.
        let function = unsafe { std::mem::transmute::<usize, UserFunctionSmall>(self.address) };
        let mut done = 0;
        while done < count {
            let step = (count - done).min(MOST);
            let mut n = step as c_int;
            let at = (done as isize).wrapping_mul(extent);
            // SAFETY: as above, from element `done` on.
            unsafe { function(input.wrapping_offset(at).cast(), inout.wrapping_offset(at).cast(), &raw mut n, ty) };
            done += step;
        }
    }
}

fn create(user: Address, commute: c_int, large: bool) -> Result<RawOp, Failure> {
    if user.0 == 0 {
        return Err(wrong(ErrorClass::Arg, "the function of the operation is a null pointer"));
    }
    let raw = OPS.insert(Op::user(Arc::new(Function { address: user.0, large }), commute != 0));
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
    if numbers::builtin(raw.0).is_some() {
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
    let (input, inout) = (inbuf.memory(count.0)?, inoutbuf.memory(count.0)?);
    Ok(op.reduce_local(&ty, input, inout, count.0)?)
}
