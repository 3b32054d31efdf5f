//! The loops behind the predefined operations.
//!
//! A kernel is `combine` over words of N bytes with a closure on the word's value; loading and storing by bytes makes it
//! independent of alignment, and N being a constant makes it plain vector code.
//! Wrapping sums, products and bit operations are the same for signed and unsigned integers, so only the order
//! relations exist twice.

use phalanx_shm::mem::{ConstMem, MutMem};

use super::{Builtin, number, soft_format};
use crate::datatype::{Basic, Kind};
use crate::softfloat::{Format, half};

/// `inout[i] = input[i] op inout[i]` over all of `inout`, for types without gaps. The operation is one that is defined on the type.
pub(super) fn reduce(op: Builtin, basic: Basic, input: ConstMem, inout: MutMem) {
    match number(basic) {
        Kind::Signed => match basic.size() {
            1 => signed8(op, input, inout),
            2 => signed16(op, input, inout),
            4 => signed32(op, input, inout),
            8 => signed64(op, input, inout),
            _ => signed128(op, input, inout),
        },
        Kind::Unsigned | Kind::Byte | Kind::Bool | Kind::Logical => match basic.size() {
            1 => unsigned8(op, input, inout),
            2 => unsigned16(op, input, inout),
            4 => unsigned32(op, input, inout),
            8 => unsigned64(op, input, inout),
            _ => unsigned128(op, input, inout),
        },
        Kind::Float => match basic.size() {
            4 => float32(op, input, inout),
            8 => float64(op, input, inout),
            2 => float16(op, input, inout),
            _ if extended(op, basic, input, inout) => {}
            _ => soft(op, soft_format(basic), input, inout),
        },
        Kind::Complex => match basic.size() {
            8 => complex32(op, input, inout),
            16 => complex64(op, input, inout),
            4 => complex16(op, input, inout),
            _ if extended(op, basic, input, inout) => {}
            _ => soft_complex(op, soft_format(basic), input, inout),
        },
        // Nothing is computed with these.
        Kind::Character | Kind::Packed | Kind::Pair { .. } => {}
    }
}

macro_rules! each {
    ($ty:ty, $input:expr, $inout:expr, $f:expr) => {{
        let f = $f;
        $inout.combine($input, |a, b| <$ty>::to_ne_bytes(f(<$ty>::from_ne_bytes(a), <$ty>::from_ne_bytes(b))))
    }};
}

/// Operations on unsigned integers, and those that do not depend on the sign.
macro_rules! unsigned {
    ($name:ident, $ty:ty) => {
        fn $name(op: Builtin, input: ConstMem, inout: MutMem) {
            match op {
                Builtin::Sum => each!($ty, input, inout, <$ty>::wrapping_add),
                Builtin::Prod => each!($ty, input, inout, <$ty>::wrapping_mul),
                Builtin::Min => each!($ty, input, inout, <$ty>::min),
                Builtin::Max => each!($ty, input, inout, <$ty>::max),
                Builtin::Band => each!($ty, input, inout, |a: $ty, b: $ty| a & b),
                Builtin::Bor => each!($ty, input, inout, |a: $ty, b: $ty| a | b),
                Builtin::Bxor => each!($ty, input, inout, |a: $ty, b: $ty| a ^ b),
                Builtin::Land => each!($ty, input, inout, |a: $ty, b: $ty| <$ty>::from(a != 0 && b != 0)),
                Builtin::Lor => each!($ty, input, inout, |a: $ty, b: $ty| <$ty>::from(a | b != 0)),
                Builtin::Lxor => each!($ty, input, inout, |a: $ty, b: $ty| <$ty>::from((a != 0) != (b != 0))),
                Builtin::Minloc | Builtin::Maxloc | Builtin::Replace | Builtin::NoOp => {}
            }
        }
    };
}

/// Operations on signed integers.
macro_rules! signed {
    ($name:ident, $ty:ty, $unsigned:ident) => {
        fn $name(op: Builtin, input: ConstMem, inout: MutMem) {
            match op {
                Builtin::Min => each!($ty, input, inout, <$ty>::min),
                Builtin::Max => each!($ty, input, inout, <$ty>::max),
                _ => $unsigned(op, input, inout),
            }
        }
    };
}

/// Operations on floating point numbers.
macro_rules! float {
    ($name:ident, $ty:ty) => {
        fn $name(op: Builtin, input: ConstMem, inout: MutMem) {
            match op {
                Builtin::Sum => each!($ty, input, inout, |a: $ty, b: $ty| a + b),
                Builtin::Prod => each!($ty, input, inout, |a: $ty, b: $ty| a * b),
                Builtin::Min => each!($ty, input, inout, |a: $ty, b: $ty| if a < b || a.is_nan() { a } else { b }),
                Builtin::Max => each!($ty, input, inout, |a: $ty, b: $ty| if a > b || a.is_nan() { a } else { b }),
                _ => {}
            }
        }
    };
}

/// Operations on complex numbers; a sum is that of the parts.
macro_rules! complex {
    ($name:ident, $ty:ty, $parts:ident, $half:literal) => {
        fn $name(op: Builtin, input: ConstMem, inout: MutMem) {
            let load = |z: [u8; 2 * $half]| {
                let [re, im] = *z.as_chunks::<$half>().0 else {
                    return (0.0, 0.0);
                };
                (<$ty>::from_ne_bytes(re), <$ty>::from_ne_bytes(im))
            };
            match op {
                Builtin::Prod => {
                    inout.combine(input, |a, b| {
                        let ((ar, ai), (br, bi)) = (load(a), load(b));
                        join((ar * br - ai * bi).to_ne_bytes(), (ar * bi + ai * br).to_ne_bytes())
                    });
                }
                _ => $parts(op, input, inout),
            }
        }
    };
}

unsigned!(unsigned8, u8);
unsigned!(unsigned16, u16);
unsigned!(unsigned32, u32);
unsigned!(unsigned64, u64);
unsigned!(unsigned128, u128);
signed!(signed8, i8, unsigned8);
signed!(signed16, i16, unsigned16);
signed!(signed32, i32, unsigned32);
signed!(signed64, i64, unsigned64);
signed!(signed128, i128, unsigned128);
float!(float32, f32);
float!(float64, f64);
complex!(complex32, f32, float32, 4);
complex!(complex64, f64, float64, 8);

/// Two words as one of twice the size.
fn join<const HALF: usize, const WHOLE: usize>(first: [u8; HALF], second: [u8; HALF]) -> [u8; WHOLE] {
    let mut whole = [0; WHOLE];
    whole[..HALF].copy_from_slice(&first);
    whole[HALF..].copy_from_slice(&second);
    whole
}

/// The value of a word of a soft format; the padding of x87 words is left out.
pub(super) fn load(format: Format, word: &[u8]) -> u128 {
    let mut bytes = [0; 16];
    let bits = if cfg!(target_endian = "little") {
        bytes[..word.len()].copy_from_slice(word);
        u128::from_le_bytes(bytes)
    } else {
        bytes[16 - word.len()..].copy_from_slice(word);
        u128::from_be_bytes(bytes)
    };
    if format == Format::X87 { bits & ((1 << 80) - 1) } else { bits }
}

fn store(bits: u128) -> [u8; 16] {
    if cfg!(target_endian = "little") { bits.to_le_bytes() } else { bits.to_be_bytes() }
}

/// Half precision, computed in single precision and rounded back: for sums and products that is the correctly rounded result,
/// since single precision has more than twice the bits.
fn float16(op: Builtin, input: ConstMem, inout: MutMem) {
    let (load, store) = (|w| half::widen(u16::from_ne_bytes(w)), |x| half::narrow(x).to_ne_bytes());
    match op {
        Builtin::Sum => inout.combine(input, |a, b| store(load(a) + load(b))),
        Builtin::Prod => inout.combine(input, |a, b| store(load(a) * load(b))),
        Builtin::Min => inout.combine(input, |a, b| {
            let (x, y) = (load(a), load(b));
            if x < y || x.is_nan() { a } else { b }
        }),
        Builtin::Max => inout.combine(input, |a, b| {
            let (x, y) = (load(a), load(b));
            if x > y || x.is_nan() { a } else { b }
        }),
        _ => {}
    }
}

/// Complex numbers of half precision parts.
fn complex16(op: Builtin, input: ConstMem, inout: MutMem) {
    if op != Builtin::Prod {
        return float16(op, input, inout);
    }
    let load =
        |[a, b, c, d]: [u8; 4]| (half::widen(u16::from_ne_bytes([a, b])), half::widen(u16::from_ne_bytes([c, d])));
    inout.combine(input, |a, b| {
        let ((ar, ai), (br, bi)) = (load(a), load(b));
        join(half::narrow(ar * br - ai * bi).to_ne_bytes(), half::narrow(ar * bi + ai * br).to_ne_bytes())
    });
}

/// Sums and products of x87 numbers on the x87 unit. Answers whether it did the operation.
#[cfg(all(target_arch = "x86_64", not(miri)))]
fn extended(op: Builtin, basic: Basic, input: ConstMem, inout: MutMem) -> bool {
    use phalanx_shm::mem::x87::{add, mul};
    if !basic.is_x87() {
        return false;
    }
    let number = |word: &[u8]| {
        let mut ten = [0; 10];
        ten.copy_from_slice(&word[..10]);
        ten
    };
    let padded = |ten: [u8; 10]| {
        let mut word = [0; 16];
        word[..10].copy_from_slice(&ten);
        word
    };
    let negative = |mut ten: [u8; 10]| {
        ten[9] ^= 0x80;
        ten
    };
    match (op, basic.kind()) {
        (Builtin::Sum, _) => {
            inout.combine(input, |a: [u8; 16], b| padded(add(number(&a), number(&b))));
        }
        (Builtin::Prod, Kind::Float) => {
            inout.combine(input, |a: [u8; 16], b| padded(mul(number(&a), number(&b))));
        }
        (Builtin::Prod, _) => inout.combine(input, |a: [u8; 32], b| {
            let ((ar, ai), (br, bi)) = ((number(&a), number(&a[16..])), (number(&b), number(&b[16..])));
            let re = add(mul(ar, br), negative(mul(ai, bi)));
            let im = add(mul(ar, bi), mul(ai, br));
            join(padded(re), padded(im))
        }),
        _ => return false,
    }
    true
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
fn extended(_: Builtin, _: Basic, _: ConstMem, _: MutMem) -> bool {
    false
}

/// Floating point operations of 16 bytes in a format Rust has no type for.
fn soft(op: Builtin, format: Format, input: ConstMem, inout: MutMem) {
    let each = |f: &dyn Fn(u128, u128) -> u128| {
        inout.combine(input, |a: [u8; 16], b| store(f(load(format, &a), load(format, &b))));
    };
    // `a` when it is on the wanted side of `b`, or is not a number.
    let choose = |wanted: std::cmp::Ordering| {
        move |a, b| {
            let is_nan = |x| format.compare(x, x).is_none();
            if format.compare(a, b) == Some(wanted) || is_nan(a) { a } else { b }
        }
    };
    match op {
        Builtin::Sum => each(&|a, b| format.add(a, b)),
        Builtin::Prod => each(&|a, b| format.mul(a, b)),
        Builtin::Min => each(&choose(std::cmp::Ordering::Less)),
        Builtin::Max => each(&choose(std::cmp::Ordering::Greater)),
        _ => {}
    }
}

/// Complex operations with parts of 16 bytes in a format Rust has no type for.
fn soft_complex(op: Builtin, format: Format, input: ConstMem, inout: MutMem) {
    if op != Builtin::Prod {
        return soft(op, format, input, inout);
    }
    inout.combine(input, |a: [u8; 32], b: [u8; 32]| {
        let parts = |z: [u8; 32]| (load(format, &z[..16]), load(format, &z[16..]));
        let ((ar, ai), (br, bi)) = (parts(a), parts(b));
        let re = format.sub(format.mul(ar, br), format.mul(ai, bi));
        let im = format.add(format.mul(ar, bi), format.mul(ai, br));
        join(store(re), store(im))
    });
}
