//! `MPI_MINLOC` and `MPI_MAXLOC` on the pair types.
//!
//! The better value wins with its index; equal values keep the lower index. A NaN wins over numbers, as in `MPI_MIN` and
//! `MPI_MAX`, so that it is not lost on the way. Elements are moved whole, gaps included.

use std::cmp::Ordering;

use phalanx_shm::mem::{ConstMem, MutMem};

use super::kernels::load;
use super::{Builtin, soft_format};
use crate::datatype::Basic;

/// `inout[i] = input[i] op inout[i]`; both hold `count` elements, the last perhaps without its trailing gap.
pub(super) fn reduce(op: Builtin, basic: Basic, input: ConstMem, inout: MutMem, count: usize) {
    // An index comes after its value in all pair types.
    macro_rules! pairs {
        ($value:ty, $index:ty, $index_at:literal, $extent:literal) => {
            whole::<$extent>(op, input, inout, count, |a, b| {
                let value = |pair: &[u8; $extent]| <$value>::from_ne_bytes(prefix(pair));
                let index = |pair: &[u8; $extent]| <$index>::from_ne_bytes(prefix(&pair[$index_at..]));
                decide(value(a).partial_cmp(&value(b)), is_nan(&value(a)), index(a).partial_cmp(&index(b)))
            })
        };
    }
    match basic {
        Basic::FloatInt => pairs!(f32, i32, 4, 8),
        Basic::DoubleInt => pairs!(f64, i32, 8, 16),
        Basic::LongInt => pairs!(i64, i32, 8, 16),
        Basic::ShortInt => pairs!(i16, i32, 4, 8),
        Basic::TwoReal => pairs!(f32, f32, 4, 8),
        Basic::TwoDoublePrecision => pairs!(f64, f64, 8, 16),
        Basic::LongDoubleInt => {
            let format = soft_format(basic);
            whole::<32>(op, input, inout, count, |a, b| {
                let value = |pair: &[u8; 32]| load(format, &pair[..16]);
                let index = |pair: &[u8; 32]| i32::from_ne_bytes(prefix(&pair[16..]));
                let nan = format.compare(value(a), value(a)).is_none();
                decide(format.compare(value(a), value(b)), nan, index(a).partial_cmp(&index(b)))
            });
        }
        // MPI_2INT and MPI_2INTEGER.
        _ => pairs!(i32, i32, 4, 8),
    }
}

/// How the pair of `input` compares with that of `inout`, for the choice between them.
struct Decision {
    values: Option<Ordering>,
    input_is_nan: bool,
    indices: Option<Ordering>,
}

fn decide(values: Option<Ordering>, input_is_nan: bool, indices: Option<Ordering>) -> Decision {
    Decision { values, input_is_nan, indices }
}

impl Decision {
    fn takes_input(&self, wanted: Ordering) -> bool {
        match self.values {
            Some(Ordering::Equal) => self.indices == Some(Ordering::Less),
            Some(order) => order == wanted,
            None => self.input_is_nan,
        }
    }
}

fn is_nan<T: PartialOrd>(value: &T) -> bool {
    value.partial_cmp(value).is_none()
}

/// The first bytes of a word.
fn prefix<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut word = [0; N];
    word.copy_from_slice(&bytes[..N]);
    word
}

/// Chooses between whole elements of `N` bytes.
fn whole<const N: usize>(
    op: Builtin,
    input: ConstMem,
    inout: MutMem,
    count: usize,
    compare: impl Fn(&[u8; N], &[u8; N]) -> Decision,
) {
    let wanted = if op == Builtin::Minloc { Ordering::Less } else { Ordering::Greater };
    let choose = |a: [u8; N], b: [u8; N]| {
        if compare(&a, &b).takes_input(wanted) { a } else { b }
    };
    let complete = input.len().min(inout.len()).min(count * N) / N;
    inout.slice(0, complete * N).combine(input, choose);
    if complete < count {
        // The last element ends with its data: complete it on the side.
        let (mut a, mut b) = ([0; N], [0; N]);
        let rest = inout.slice(complete * N, N);
        input.slice(complete * N, N).copy_to(&mut a);
        let n = rest.copy_to(&mut b);
        rest.copy_from(&choose(a, b)[..n]);
    }
}
