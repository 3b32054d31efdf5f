#![expect(unsafe_code, reason = "tests hand slices to an interface of raw memory")]

use super::*;
use crate::error::ErrorClass;
use crate::softfloat::Format;

/// `input op inout` through the public interface, at an odd address to prove that alignment does not matter.
fn run(op: &Op, ty: &Datatype, input: &[u8], inout: &[u8], count: usize) -> Result<Vec<u8>> {
    let mut from = vec![0u8; 1];
    from.extend_from_slice(input);
    let mut into = vec![0u8; 1];
    into.extend_from_slice(inout);
    // SAFETY: both vectors live, unborrowed, until the call has returned.
    let (a, b) =
        unsafe { (ConstMem::new(from[1..].as_ptr(), input.len()), MutMem::new(into[1..].as_mut_ptr(), inout.len())) };
    op.reduce(ty, a, b, count)?;
    Ok(into[1..].to_vec())
}

fn bytes<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&v| to(v)).collect()
}

fn builtin(b: Builtin, basic: Basic, input: &[u8], inout: &[u8]) -> Vec<u8> {
    let count = inout.len() / basic.extent();
    run(&Op::predefined(b), Datatype::predefined(basic), input, inout, count).unwrap()
}

/// Every integer operation against the obvious expression, on values with all kinds of signs and on enough elements
/// for vector loops and their remainders.
macro_rules! integers {
    ($($basic:ident: $ty:ty),*) => {$({
        let spread = |seed: u64| -> Vec<$ty> {
            let mut x = seed;
            (0..67).map(|i| {
                x = x.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                match i % 5 { 0 => 0, 1 => <$ty>::MIN, 2 => <$ty>::MAX, _ => (x >> 17) as $ty }
            }).collect()
        };
        let (a, b) = (spread(1), spread(99));
        let table: [(Builtin, fn($ty, $ty) -> $ty); 10] = [
            (Builtin::Sum, |a, b| a.wrapping_add(b)), (Builtin::Prod, |a, b| a.wrapping_mul(b)),
            (Builtin::Min, |a, b| a.min(b)), (Builtin::Max, |a, b| a.max(b)),
            (Builtin::Band, |a, b| a & b), (Builtin::Bor, |a, b| a | b), (Builtin::Bxor, |a, b| a ^ b),
            (Builtin::Land, |a, b| (a != 0 && b != 0) as $ty), (Builtin::Lor, |a, b| (a != 0 || b != 0) as $ty),
            (Builtin::Lxor, |a, b| ((a != 0) ^ (b != 0)) as $ty),
        ];
        for (op, f) in table {
            let got = builtin(op, Basic::$basic, &bytes(&a, <$ty>::to_ne_bytes), &bytes(&b, <$ty>::to_ne_bytes));
            let want: Vec<$ty> = a.iter().zip(&b).map(|(&a, &b)| f(a, b)).collect();
            assert_eq!(got, bytes(&want, <$ty>::to_ne_bytes), "{} on {}", op.name(), Basic::$basic.name());
        }
    })*};
}

#[test]
fn integer_operations_are_exact_and_wrap() {
    integers!(Int8: i8, Int16: i16, Int32: i32, Int64: i64, Integer16: i128);
    integers!(Uint8: u8, Uint16: u16, Uint32: u32, Uint64: u64);
    integers!(Char: std::ffi::c_char, SignedChar: i8, UnsignedChar: u8, Short: i16, Int: i32, Long: i64, LongLong: i64);
    integers!(UnsignedShort: u16, Unsigned: u32, UnsignedLong: u64, UnsignedLongLong: u64);
    integers!(Aint: i64, Count: i64, Offset: i64, Integer: i32, Integer1: i8, Integer2: i16, Integer4: i32, Integer8: i64);
}

#[test]
fn floating_point_operations_hand_nan_on() {
    let (a, b) = ([1.5f64, -2.0, f64::NAN, 3.0, -0.0], [2.5f64, -3.0, 1.0, f64::NAN, 4.0]);
    let run = |op| {
        let got = builtin(op, Basic::Double, &bytes(&a, f64::to_ne_bytes), &bytes(&b, f64::to_ne_bytes));
        got.as_chunks().0.iter().map(|w| f64::from_ne_bytes(*w)).collect::<Vec<_>>()
    };
    assert_eq!(run(Builtin::Sum)[..2], [4.0, -5.0]);
    assert_eq!(run(Builtin::Prod)[..2], [3.75, 6.0]);
    for op in [Builtin::Sum, Builtin::Prod, Builtin::Min, Builtin::Max] {
        assert!(run(op)[2].is_nan() && run(op)[3].is_nan(), "{}", op.name());
    }
    assert_eq!((run(Builtin::Min)[0], run(Builtin::Max)[0]), (1.5, 2.5));
    assert_eq!((run(Builtin::Min)[1], run(Builtin::Max)[1]), (-3.0, -2.0));
    let float = builtin(Builtin::Sum, Basic::Real4, &1.25f32.to_ne_bytes(), &2.5f32.to_ne_bytes());
    assert_eq!(float, 3.75f32.to_ne_bytes());
}

#[test]
fn complex_numbers_add_and_multiply() {
    let z = |re: f64, im: f64| [re.to_ne_bytes(), im.to_ne_bytes()].concat();
    for basic in [Basic::CDoubleComplex, Basic::CxxDoubleComplex, Basic::DoubleComplex, Basic::Complex16] {
        assert_eq!(builtin(Builtin::Sum, basic, &z(1.0, 2.0), &z(3.0, -5.0)), z(4.0, -3.0));
        assert_eq!(builtin(Builtin::Prod, basic, &z(1.0, 2.0), &z(3.0, -5.0)), z(13.0, 1.0));
    }
    let z = |re: f32, im: f32| [re.to_ne_bytes(), im.to_ne_bytes()].concat();
    for basic in [Basic::CFloatComplex, Basic::CxxFloatComplex, Basic::Complex, Basic::Complex8] {
        assert_eq!(builtin(Builtin::Prod, basic, &z(0.0, 1.0), &z(0.0, 1.0)), z(-1.0, 0.0));
    }
}

#[test]
fn logical_operations_answer_zero_or_one() {
    for basic in [Basic::CBool, Basic::CxxBool, Basic::Logical1] {
        let (a, b) = ([0u8, 0, 1, 7], [0u8, 1, 0, 1]);
        assert_eq!(builtin(Builtin::Land, basic, &a, &b), [0, 0, 0, 1]);
        assert_eq!(builtin(Builtin::Lor, basic, &a, &b), [0, 1, 1, 1]);
        assert_eq!(builtin(Builtin::Lxor, basic, &a, &b), [0, 1, 1, 0]);
    }
    let wide = builtin(Builtin::Lor, Basic::Logical, &256i32.to_ne_bytes(), &0i32.to_ne_bytes());
    assert_eq!(wide, 1i32.to_ne_bytes());
}

/// Bits of a value with a small exactly representable magnitude in a soft format.
fn soft(format: Format, value: f64) -> u128 {
    let (sign, exponent, fraction) =
        (value.to_bits() >> 63, value.to_bits() >> 52 & 0x7FF, value.to_bits() & ((1 << 52) - 1));
    if exponent == 0 {
        return match format {
            Format::Half => u128::from(sign) << 15,
            Format::X87 => u128::from(sign) << 79,
            Format::Quad => u128::from(sign) << 127,
        };
    }
    let (sign, exponent, fraction) = (u128::from(sign), u128::from(exponent).wrapping_sub(1023), u128::from(fraction));
    match format {
        Format::Half => sign << 15 | (exponent.wrapping_add(15) & 0x1F) << 10 | fraction >> 42,
        Format::X87 => sign << 79 | (exponent.wrapping_add(16383) & 0x7FFF) << 64 | 1 << 63 | fraction << 11,
        Format::Quad => sign << 127 | (exponent.wrapping_add(16383) & 0x7FFF) << 112 | fraction << 60,
    }
}

#[test]
fn formats_without_a_rust_type_are_computed_too() {
    let long_double = if crate::datatype::LONG_DOUBLE_IS_X87 { Format::X87 } else { Format::Quad };
    let cases = [
        (Basic::Real2, Basic::Complex4, Format::Half),
        (Basic::LongDouble, Basic::CLongDoubleComplex, long_double),
        (Basic::Real16, Basic::Complex32, Format::Quad),
    ];
    for (real, complex, format) in cases {
        let n = real.size();
        let word = |value: f64| soft(format, value).to_le_bytes()[..n].to_vec();
        let r = |op, a: f64, b: f64| builtin(op, real, &word(a), &word(b));
        assert_eq!(r(Builtin::Sum, 1.5, 2.25), word(3.75), "{}", real.name());
        assert_eq!(r(Builtin::Sum, 1.5, -2.25), word(-0.75), "{}", real.name());
        assert_eq!(r(Builtin::Prod, -1.5, 2.5), word(-3.75), "{}", real.name());
        assert_eq!(r(Builtin::Min, -1.5, 2.5), word(-1.5));
        assert_eq!(r(Builtin::Max, -1.5, 2.5), word(2.5));
        assert_eq!(r(Builtin::Max, -1.5, -2.5), word(-1.5));
        let z = |re: f64, im: f64| [word(re), word(im)].concat();
        assert_eq!(builtin(Builtin::Sum, complex, &z(1.0, 2.0), &z(3.0, -5.0)), z(4.0, -3.0), "{}", complex.name());
        assert_eq!(builtin(Builtin::Prod, complex, &z(1.0, 2.0), &z(3.0, -5.0)), z(13.0, 1.0), "{}", complex.name());
    }
}

#[test]
fn the_better_value_wins_with_its_index_and_ties_keep_the_lower() {
    let pair = |v: f64, i: i32| [v.to_ne_bytes().to_vec(), i.to_ne_bytes().to_vec(), vec![0xAA; 4]].concat();
    let run = |op, a: &[u8], b: &[u8]| builtin(op, Basic::DoubleInt, a, b);
    assert_eq!(run(Builtin::Minloc, &pair(1.0, 9), &pair(2.0, 3)), pair(1.0, 9));
    assert_eq!(run(Builtin::Maxloc, &pair(1.0, 9), &pair(2.0, 3)), pair(2.0, 3));
    assert_eq!(run(Builtin::Maxloc, &pair(2.0, 9), &pair(2.0, 3)), pair(2.0, 3));
    assert_eq!(run(Builtin::Minloc, &pair(2.0, 1), &pair(2.0, 3)), pair(2.0, 1));
    assert_eq!(run(Builtin::Minloc, &pair(f64::NAN, 1), &pair(2.0, 3))[8..12], 1i32.to_ne_bytes());
    assert_eq!(run(Builtin::Minloc, &pair(2.0, 1), &pair(f64::NAN, 3))[8..12], 3i32.to_ne_bytes());

    let short = |v: i16, i: i32| [v.to_ne_bytes().to_vec(), vec![0; 2], i.to_ne_bytes().to_vec()].concat();
    assert_eq!(builtin(Builtin::Minloc, Basic::ShortInt, &short(-1, 5), &short(1, 4)), short(-1, 5));
    let long = |v: i64, i: i32| [v.to_ne_bytes().to_vec(), i.to_ne_bytes().to_vec(), vec![0; 4]].concat();
    assert_eq!(builtin(Builtin::Maxloc, Basic::LongInt, &long(i64::MAX, 5), &long(1, 4)), long(i64::MAX, 5));
    let two = |v: i32, i: i32| [v.to_ne_bytes(), i.to_ne_bytes()].concat();
    for basic in [Basic::TwoInt, Basic::TwoInteger] {
        assert_eq!(builtin(Builtin::Minloc, basic, &two(3, 5), &two(3, 4)), two(3, 4));
    }
    let float = |v: f32, i: i32| [v.to_ne_bytes(), i.to_ne_bytes()].concat();
    assert_eq!(builtin(Builtin::Maxloc, Basic::FloatInt, &float(3.5, 5), &float(3.0, 4)), float(3.5, 5));
    let reals = |v: f32, i: f32| [v.to_ne_bytes(), i.to_ne_bytes()].concat();
    assert_eq!(builtin(Builtin::Maxloc, Basic::TwoReal, &reals(3.5, 5.0), &reals(3.5, 4.0)), reals(3.5, 4.0));
    let doubles = |v: f64, i: f64| [v.to_ne_bytes(), i.to_ne_bytes()].concat();
    assert_eq!(
        builtin(Builtin::Minloc, Basic::TwoDoublePrecision, &doubles(1.0, 5.0), &doubles(2.0, 4.0)),
        doubles(1.0, 5.0)
    );
    let format = if crate::datatype::LONG_DOUBLE_IS_X87 { Format::X87 } else { Format::Quad };
    let wide =
        |v: f64, i: i32| [soft(format, v).to_le_bytes().to_vec(), i.to_ne_bytes().to_vec(), vec![0; 12]].concat();
    assert_eq!(builtin(Builtin::Minloc, Basic::LongDoubleInt, &wide(-1.0, 5), &wide(2.0, 4)), wide(-1.0, 5));
}

#[test]
fn a_last_pair_without_its_gap_is_enough() {
    let pair = |v: f64, i: i32| [v.to_ne_bytes().to_vec(), i.to_ne_bytes().to_vec()].concat();
    let gap = [0u8; 4];
    let a = [pair(1.0, 1), gap.to_vec(), pair(8.0, 2)].concat();
    let b = [pair(5.0, 3), gap.to_vec(), pair(6.0, 4)].concat();
    let ty = Datatype::predefined(Basic::DoubleInt);
    let got = run(&Op::predefined(Builtin::Maxloc), ty, &a, &b, 2).unwrap();
    assert_eq!(got, [pair(5.0, 3), gap.to_vec(), pair(8.0, 2)].concat());
    let error = run(&Op::predefined(Builtin::Maxloc), ty, &a[..20], &b, 2).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Intern);
}

/// The table of MPI 5.0 §6.9.2, written out once more by groups of types; `MPI_CHAR` counts as an integer.
#[test]
fn operations_are_allowed_exactly_where_the_standard_says() {
    use Builtin::*;
    for &op in Builtin::ALL {
        for &basic in Basic::ALL {
            let name = basic.name();
            let pair = name.contains("_INT") && !name.ends_with("_T") && name.len() > 7 && basic.elements() == 2
                || name.starts_with("MPI_2");
            let complex = name.contains("COMPLEX");
            let float = !pair && !complex && ["FLOAT", "DOUBLE", "REAL"].iter().any(|f| name.contains(f));
            let logical = name.contains("LOGICAL") || name.contains("BOOL");
            let text = ["MPI_CHARACTER", "MPI_WCHAR", "MPI_PACKED"].contains(&name);
            let byte = name == "MPI_BYTE";
            let integer = !(pair || complex || float || logical || text || byte);
            let want = match op {
                Max | Min => integer || float,
                Sum | Prod => integer || float || complex,
                Land | Lor | Lxor => integer || logical,
                Band | Bor | Bxor => integer || byte,
                Minloc | Maxloc => pair,
                Replace | NoOp => false,
            };
            let got = Op::predefined(op).check(Datatype::predefined(basic));
            assert_eq!(got.is_ok(), want, "{} on {name}", op.name());
            if let Err(error) = got {
                assert_eq!(error.class(), ErrorClass::Op);
                let typed = matches!(op, Replace | NoOp) || error.message().contains(name);
                assert!(error.message().contains(op.name()) && typed, "{error}");
            }
        }
    }
}

#[test]
fn derived_types_need_a_user_operation() {
    let ty = Datatype::vector(2, 1, 2, Datatype::predefined(Basic::Int)).unwrap();
    let error = Op::predefined(Builtin::Sum).check(&ty).unwrap_err();
    assert_eq!(error.class(), ErrorClass::Op);
    let dup = Datatype::predefined(Basic::Int).dup().unwrap();
    Op::predefined(Builtin::Sum).check(&dup).unwrap();

    let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = seen.clone();
    let add = move |input: ConstMem, inout: MutMem, count: usize, ty: &Datatype| {
        counter.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(ty.size(), 8);
        inout.combine(input, |[a]: [u8; 1], [b]| [a.max(b)]);
        Ok(())
    };
    let op = Op::user(Arc::new(add), false);
    assert!(!op.is_commutative() && !op.is_predefined() && op.check(&ty).is_ok());
    assert_eq!(run(&op, &ty, &[1, 9, 3], &[4, 5, 6], 3).unwrap(), [4, 9, 6]);
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 3);
    let failing = Op::user(Arc::new(|_, _, _, _: &Datatype| fail!(Other, "no")), true);
    assert_eq!(run(&failing, &ty, &[0], &[0], 1).unwrap_err().class(), ErrorClass::Other);
}

#[test]
fn replace_copies_the_data_and_no_op_nothing() {
    let ty = Datatype::vector(2, 1, 2, Datatype::predefined(Basic::Short)).unwrap();
    let replaced = run(&Op::predefined(Builtin::Replace), &ty, &[1, 2, 3, 4, 5, 6], &[9; 6], 1).unwrap();
    assert_eq!(replaced, [1, 2, 9, 9, 5, 6]);
    let untouched = run(&Op::predefined(Builtin::NoOp), &ty, &[1; 6], &[9; 6], 1).unwrap();
    assert_eq!(untouched, [9; 6]);
}

#[test]
fn commutativity_and_identity() {
    let sum = Op::predefined(Builtin::Sum);
    assert!(sum.is_commutative() && sum.is_same(&Op::predefined(Builtin::Sum)));
    assert!(!Op::predefined(Builtin::Replace).is_commutative());
    assert_eq!(sum.to_string(), "MPI_SUM");
}
