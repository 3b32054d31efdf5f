//! Collectives on ranks as threads, against serial oracles.
//!
//! Each test goes through the rank counts of [`RANKS`] and the three forms of an operation; `testing::run` has a watchdog.
#![expect(unsafe_code, reason = "test buffers that outlive the requests using them")]

mod creation;
mod intercomm;
mod interleaved;
mod mistakes;
mod moving;
mod neighbours;
mod reducing;

use phalanx_shm::mem::{ConstMem, MutMem};

use crate::coll::{Arg, RecvBlocks, SendBlocks};
use crate::comm::Comm;
use crate::engine::buffer::{Equivalence, RecvBuf, SendBuf};
use crate::testing;

/// Numbers of ranks that tests run on.
const RANKS: [usize; 5] = [1, 2, 3, 5, 8];

/// The form in which an operation is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Blocking,
    Nonblocking,
    Persistent,
}

const FORMS: [Form; 3] = [Form::Blocking, Form::Nonblocking, Form::Persistent];

/// Runs `body` on every rank of worlds of every size, once for each form.
fn everywhere(body: impl Fn(&Comm, Form) + Send + Sync) {
    for n in RANKS {
        testing::run(n, |comm| FORMS.into_iter().for_each(|form| body(comm, form)));
    }
}

/// Calls an operation in a form and waits for it; a persistent one runs twice. Gives the result.
macro_rules! call {
    ($form:expr, $comm:ident . $name:ident | $iname:ident | $init:ident ( $($arg:expr),* $(,)? )) => {
        match $form {
            $crate::coll::tests::Form::Blocking => $comm.$name($($arg),*),
            $crate::coll::tests::Form::Nonblocking => $comm.$iname($($arg),*).and_then(|mut r| r.wait().map(drop)),
            $crate::coll::tests::Form::Persistent => $comm.$init($($arg),*).and_then(|mut request| {
                for _ in 0..2 {
                    request.start()?;
                    request.wait()?;
                }
                request.free()
            }),
        }
    };
}
use call;

/// A buffer that may be used by operations that outlive a borrow: the test keeps it until they are done.
struct Data<T>(Vec<T>);

impl<T: Equivalence> Data<T> {
    fn new(values: impl IntoIterator<Item = T>) -> Data<T> {
        Data(values.into_iter().collect())
    }

    fn filled(len: usize, value: T) -> Data<T> {
        Data(vec![value; len])
    }

    fn const_mem(&self) -> ConstMem {
        // SAFETY: tests complete every operation before they drop or look at the data.
        unsafe { ConstMem::new(self.0.as_ptr().cast(), size_of_val(&self.0[..])) }
    }

    fn mut_mem(&self) -> MutMem {
        // SAFETY: as above; tests only look at the data after the operation.
        unsafe { MutMem::new(self.0.as_ptr().cast_mut().cast(), size_of_val(&self.0[..])) }
    }

    fn send(&self) -> SendBuf<'static, 'static> {
        SendBuf::raw(self.const_mem(), self.0.len(), T::datatype())
    }

    fn recv(&self) -> RecvBuf<'static, 'static> {
        RecvBuf::raw(self.mut_mem(), self.0.len(), T::datatype())
    }

    fn send_blocks<'a>(&self, counts: &'a [i64], displs: &'a [i64]) -> SendBlocks<'static, 'a> {
        SendBlocks::raw(self.const_mem(), counts, displs, T::datatype())
    }

    fn recv_blocks<'a>(&self, counts: &'a [i64], displs: &'a [i64]) -> RecvBlocks<'static, 'a> {
        RecvBlocks::raw(self.mut_mem(), counts, displs, T::datatype())
    }

    fn as_arg(&self) -> Arg<SendBuf<'static, 'static>> {
        Arg::Buf(self.send())
    }
}

/// What rank `rank` holds at position `i`.
fn value(rank: usize, i: usize) -> i32 {
    (rank as i32 + 1) * 1000 + (i % 997) as i32
}

/// The data of rank `rank`.
fn values(rank: usize, count: usize) -> Data<i32> {
    Data::new((0..count).map(|i| value(rank, i)))
}

/// Sizes that reach every algorithm: nothing, one, little, a step of the area, many chunks.
const COUNTS: [usize; 5] = [0, 1, 37, 5_000, 150_000];

fn me(comm: &Comm) -> usize {
    comm.rank() as usize
}

fn size(comm: &Comm) -> usize {
    comm.size() as usize
}
