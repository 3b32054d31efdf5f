//! Binary floating point formats that Rust has no type for: half, x87 extended and quadruple precision.
//!
//! ```text
//! value = (-1)^sign * significand * 2^exponent         significand: integer with its top bit at `precision - 1`
//! ```
//! Addition and multiplication are correctly rounded (to nearest, ties to even), with subnormals, infinities and NaN, as the hardware
//! does them. A reduction in these formats is rare; one in the wrong precision is wrong for ever.

use std::cmp::Ordering;

/// A binary interchange format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// IEEE binary16 in 2 bytes.
    Half,
    /// x87 extended: 64-bit significand with explicit leading bit, 10 bytes of 16 used.
    X87,
    /// IEEE binary128 in 16 bytes.
    Quad,
}

/// An unpacked value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Nan,
    Infinity {
        negative: bool,
    },
    /// `significand` is zero, or any integer: rounding normalises it.
    Finite {
        negative: bool,
        exponent: i32,
        significand: u128,
    },
}

impl Format {
    /// Bits of the significand, the leading one included.
    const fn precision(self) -> u32 {
        match self {
            Format::Half => 11,
            Format::X87 => 64,
            Format::Quad => 113,
        }
    }

    const fn exponent_bits(self) -> u32 {
        match self {
            Format::Half => 5,
            Format::X87 | Format::Quad => 15,
        }
    }

    /// The biased exponent of infinities and NaN.
    const fn special(self) -> u32 {
        (1 << self.exponent_bits()) - 1
    }

    /// Exponent of the last bit of the significand when the biased exponent is 1 (and of subnormals).
    const fn least(self) -> i32 {
        2 - (1 << (self.exponent_bits() - 1)) - (self.precision() as i32 - 1)
    }

    /// Bits stored for the significand: the leading one is implicit but in x87.
    const fn stored(self) -> u32 {
        match self {
            Format::X87 => 64,
            _ => self.precision() - 1,
        }
    }

    fn unpack(self, bits: u128) -> Number {
        let stored = self.stored();
        let field = bits & ((1 << stored) - 1);
        let biased = (bits >> stored) as u32 & self.special();
        let negative = bits >> (stored + self.exponent_bits()) & 1 == 1;
        let fraction = match self {
            Format::X87 => field & !(1 << 63),
            _ => field,
        };
        if biased == self.special() {
            return if fraction == 0 { Number::Infinity { negative } } else { Number::Nan };
        }
        let leading = if self == Format::X87 || biased == 0 { 0 } else { 1 << stored };
        let exponent = self.least() + (biased.max(1) - 1) as i32;
        Number::Finite { negative, exponent, significand: field | leading }
    }

    fn assemble(self, negative: bool, biased: u32, field: u128) -> u128 {
        let stored = self.stored();
        u128::from(negative) << (stored + self.exponent_bits()) | u128::from(biased) << stored | field
    }

    fn pack(self, number: Number) -> u128 {
        let precision = self.precision();
        let explicit = if self == Format::X87 { 1 << 63 } else { 0 };
        let (negative, exponent, significand) = match number {
            Number::Nan => {
                return self.assemble(false, self.special(), explicit | 1 << (precision - 2));
            }
            Number::Infinity { negative } => {
                return self.assemble(negative, self.special(), explicit);
            }
            Number::Finite { negative, exponent, significand } => (negative, exponent, significand),
        };
        if significand == 0 {
            return self.assemble(negative, 0, 0);
        }
        // Bring the significand to `precision` bits, or to the least exponent when that leaves fewer.
        let length = 128 - significand.leading_zeros();
        let shift = (length as i32 - precision as i32).max(self.least() - exponent);
        let (mut exponent, mut significand) = (exponent + shift, shift_nearest(significand, shift));
        if significand >> precision != 0 {
            significand >>= 1;
            exponent += 1;
        }
        let normal = significand >> (precision - 1) != 0;
        let biased = if normal { exponent - self.least() + 1 } else { 0 };
        if biased >= self.special() as i32 {
            return self.pack(Number::Infinity { negative });
        }
        let field = if self == Format::X87 { significand } else { significand & ((1 << self.stored()) - 1) };
        self.assemble(negative, biased as u32, field)
    }

    /// `a + b`.
    pub(crate) fn add(self, a: u128, b: u128) -> u128 {
        self.pack(add(self.unpack(a), self.unpack(b)))
    }

    /// `a * b`.
    pub(crate) fn mul(self, a: u128, b: u128) -> u128 {
        self.pack(multiply(self.unpack(a), self.unpack(b)))
    }

    /// `a - b`, for complex products.
    pub(crate) fn sub(self, a: u128, b: u128) -> u128 {
        self.add(a, self.negate(b))
    }

    fn negate(self, bits: u128) -> u128 {
        bits ^ 1 << (self.stored() + self.exponent_bits())
    }

    /// How `a` compares with `b`; `None` when one is not a number.
    pub(crate) fn compare(self, a: u128, b: u128) -> Option<Ordering> {
        let key = |number: Number| match number {
            Number::Nan => None,
            Number::Infinity { negative } => Some((negative, i64::MAX, u128::MAX)),
            Number::Finite { significand: 0, .. } => Some((false, i64::MIN, 0)),
            Number::Finite { negative, exponent, significand } => {
                let zeros = significand.leading_zeros();
                Some((negative, i64::from(exponent) - i64::from(zeros), significand << zeros))
            }
        };
        let ((na, ea, sa), (nb, eb, sb)) = (key(self.unpack(a))?, key(self.unpack(b))?);
        Some(match (na, nb) {
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => (ea, sa).cmp(&(eb, sb)),
            (true, true) => (eb, sb).cmp(&(ea, sa)),
        })
    }

    /// The value of `bits` in the format `to`, rounded to nearest.
    pub(crate) fn convert(self, bits: u128, to: Format) -> u128 {
        match self.unpack(bits) {
            // A NaN keeps its sign.
            Number::Nan => {
                let negative = bits >> (self.stored() + self.exponent_bits()) & 1;
                to.pack(Number::Nan) | negative << (to.stored() + to.exponent_bits())
            }
            number => to.pack(number),
        }
    }
}

/// Half precision by way of single precision, fast enough for long vectors.
pub(crate) mod half {
    /// The value of a half, exactly.
    #[inline]
    pub(crate) fn widen(half: u16) -> f32 {
        let (magnitude, sign) = (u32::from(half & 0x7FFF), u32::from(half & 0x8000) << 16);
        // A subnormal is an integer in units of 2^-24. Otherwise the exponent moves from bias 15 to bias 127, and the special
        // one to the special one.
        let subnormal = (magnitude as f32 * (1.0 / 16_777_216.0)).to_bits();
        let normal = (magnitude << 13) + (112 << 23);
        let special = normal + (112 << 23);
        let bits = match magnitude {
            ..0x0400 => subnormal,
            0x0400..0x7C00 => normal,
            _ => special,
        };
        f32::from_bits(bits | sign)
    }

    /// The nearest half, ties to even.
    #[inline]
    pub(crate) fn narrow(value: f32) -> u16 {
        let bits = value.to_bits();
        let (magnitude, sign) = (bits & 0x7FFF_FFFF, (bits >> 16) as u16 & 0x8000);
        // Below 2^-14: adding 0.5, whose last bit is 2^-24, rounds to units of that.
        let subnormal = (f32::from_bits(magnitude) + 0.5).to_bits().wrapping_sub(0x3F00_0000);
        // Rounding may carry into the exponent, up to infinity.
        let odd = magnitude >> 13 & 1;
        let normal = magnitude.wrapping_sub(112 << 23).wrapping_add(0xFFF + odd) >> 13;
        let half = match magnitude {
            ..0x3880_0000 => subnormal,
            0x3880_0000..0x4780_0000 => normal,
            0x4780_0000..=0x7F80_0000 => 0x7C00,
            _ => 0x7E00,
        };
        half as u16 | sign
    }
}

/// `value / 2^shift` rounded to nearest, ties to even.
fn shift_nearest(value: u128, shift: i32) -> u128 {
    match shift {
        ..=0 => value << -shift,
        1..=127 => {
            let (whole, rest) = (value >> shift, value & ((1 << shift) - 1));
            let half = 1 << (shift - 1);
            whole + u128::from(rest > half || rest == half && whole & 1 == 1)
        }
        128 => u128::from(value > 1 << 127),
        _ => 0,
    }
}

/// `value / 2^shift` with the lost bits gathered in the lowest one, so that a later rounding sees them.
fn shift_sticky(value: u128, shift: u32) -> u128 {
    match shift {
        0 => value,
        1..=127 => value >> shift | u128::from(value & ((1 << shift) - 1) != 0),
        _ => u128::from(value != 0),
    }
}

fn add(a: Number, b: Number) -> Number {
    use Number::{Finite, Infinity, Nan};
    match (a, b) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinity { negative: x }, Infinity { negative: y }) if x != y => Nan,
        (infinite @ Infinity { .. }, _) | (_, infinite @ Infinity { .. }) => infinite,
        (
            Finite { negative: na, exponent: ea, significand: sa },
            Finite { negative: nb, exponent: eb, significand: sb },
        ) => {
            if sa == 0 || sb == 0 {
                return match (sa, sb) {
                    (0, 0) => Finite { negative: na && nb, exponent: 0, significand: 0 },
                    (0, _) => b,
                    _ => a,
                };
            }
            // The larger exponent (of the top bit) goes as far up as leaves room for the carry; the other is aligned to it.
            let top = |e: i32, s: u128| e + 128 - s.leading_zeros() as i32;
            let swap = top(eb, sb) > top(ea, sa);
            let ((nl, el, sl), (ns, es, ss)) =
                if swap { ((nb, eb, sb), (na, ea, sa)) } else { ((na, ea, sa), (nb, eb, sb)) };
            let up = sl.leading_zeros() - 2;
            let (el, sl) = (el - up as i32, sl << up);
            let down = el - es;
            let ss = if down <= 0 { ss << -down } else { shift_sticky(ss, down as u32) };
            if nl == ns {
                return Finite { negative: nl, exponent: el, significand: sl + ss };
            }
            match sl.cmp(&ss) {
                Ordering::Equal => Finite { negative: false, exponent: 0, significand: 0 },
                Ordering::Greater => Finite { negative: nl, exponent: el, significand: sl - ss },
                Ordering::Less => Finite { negative: ns, exponent: el, significand: ss - sl },
            }
        }
    }
}

fn multiply(a: Number, b: Number) -> Number {
    use Number::{Finite, Infinity, Nan};
    match (a, b) {
        (Nan, _) | (_, Nan) => Nan,
        (Infinity { .. }, Finite { significand: 0, .. }) | (Finite { significand: 0, .. }, Infinity { .. }) => Nan,
        (Infinity { negative: x }, Infinity { negative: y } | Finite { negative: y, .. })
        | (Finite { negative: x, .. }, Infinity { negative: y }) => Infinity { negative: x != y },
        (
            Finite { negative: na, exponent: ea, significand: sa },
            Finite { negative: nb, exponent: eb, significand: sb },
        ) => {
            let (high, low) = sa.carrying_mul_wide(sb);
            // Gather the 256-bit product into 128 bits, the lost ones in the lowest.
            let shift = if high == 0 { 0 } else { 128 - high.leading_zeros() };
            let significand = if shift == 0 {
                low
            } else {
                let kept = if shift == 128 { high } else { high << (128 - shift) | low >> shift };
                let lost = if shift == 128 { low } else { low & ((1 << shift) - 1) };
                kept | u128::from(lost != 0)
            };
            Finite { negative: na != nb, exponent: ea + eb + shift as i32, significand }
        }
    }
}

/// The 256-bit product of two 128-bit integers.
trait WideMul {
    fn carrying_mul_wide(self, other: Self) -> (u128, u128);
}

impl WideMul for u128 {
    fn carrying_mul_wide(self, other: u128) -> (u128, u128) {
        const LOW: u128 = u64::MAX as u128;
        let (a1, a0, b1, b0) = (self >> 64, self & LOW, other >> 64, other & LOW);
        let (p00, p01, p10, p11) = (a0 * b0, a0 * b1, a1 * b0, a1 * b1);
        let middle = (p00 >> 64) + (p01 & LOW) + (p10 & LOW);
        (p11 + (p01 >> 64) + (p10 >> 64) + (middle >> 64), middle << 64 | p00 & LOW)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A format small enough that every pair can be tried, and the formats of the hardware, whose results are known to be
    /// correctly rounded, through a format that holds them exactly.
    fn half_of(value: f64) -> u128 {
        // Through the quad format: f64 is exact in it, and `pack` rounds once.
        Format::Quad.convert(quad_of(value), Format::Half)
    }

    fn quad_of(value: f64) -> u128 {
        let bits = value.to_bits();
        let (negative, biased, fraction) =
            (bits >> 63 == 1, (bits >> 52 & 0x7FF) as i32, u128::from(bits) & ((1 << 52) - 1));
        let number = match (biased, fraction) {
            (0x7FF, 0) => Number::Infinity { negative },
            (0x7FF, _) => Number::Nan,
            (0, _) => Number::Finite { negative, exponent: -1074, significand: fraction },
            _ => Number::Finite { negative, exponent: biased - 1075, significand: fraction | 1 << 52 },
        };
        Format::Quad.pack(number)
    }

    /// The exact value of a half as f64.
    fn f64_of_half(bits: u128) -> f64 {
        match Format::Half.unpack(bits) {
            Number::Nan => f64::NAN,
            Number::Infinity { negative } => {
                if negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
            Number::Finite { negative, exponent, significand } => {
                let magnitude = significand as f64 * 2f64.powi(exponent);
                if negative { -magnitude } else { magnitude }
            }
        }
    }

    fn same(format: Format, a: u128, b: u128) -> bool {
        let nan = |x| format.compare(x, x).is_none();
        a == b || nan(a) && nan(b)
    }

    #[test]
    fn half_agrees_with_arithmetic_in_double() {
        // Sums and products of halves are exact in double, so rounding those once is the right answer.
        let mut x = 1u32;
        let mut next = || {
            x = x.wrapping_mul(1664525).wrapping_add(1013904223);
            u128::from(x >> 16)
        };
        for _ in 0..200_000 {
            let (a, b) = (next(), next());
            let (fa, fb) = (f64_of_half(a), f64_of_half(b));
            assert!(same(Format::Half, Format::Half.add(a, b), half_of(fa + fb)), "{fa:e} + {fb:e}");
            assert!(same(Format::Half, Format::Half.mul(a, b), half_of(fa * fb)), "{fa:e} * {fb:e}");
            assert_eq!(Format::Half.compare(a, b), fa.partial_cmp(&fb));
        }
    }

    #[test]
    fn halves_widen_exactly_and_narrow_to_the_nearest() {
        for bits in 0..=u16::MAX {
            let (wide, exact) = (half::widen(bits), f64_of_half(u128::from(bits)));
            assert!(f64::from(wide) == exact || wide.is_nan() && exact.is_nan(), "{bits:#x}");
            assert_eq!(wide.is_sign_negative(), bits >> 15 == 1);
            if !wide.is_nan() {
                assert_eq!(half::narrow(wide), bits);
            }
            // Halfway to the next half, and a bit to either side of that.
            let next = half::widen(bits.wrapping_add(1));
            for between in [(wide + next) / 2.0, (wide + next) / 2.0 * 1.000_001, wide * 1.000_2] {
                let (got, want) = (u128::from(half::narrow(between)), half_of(f64::from(between)));
                assert!(same(Format::Half, got, want), "{between:e}: {got:#x}, {want:#x}");
            }
        }
    }

    #[cfg(all(target_arch = "x86_64", not(miri)))]
    proptest! {
        #![proptest_config(ProptestConfig { cases: 20_000, failure_persistence: None, ..ProptestConfig::default() })]

        /// The x87 unit is the definition of its format. Exponents are drawn close together, or from the ends.
        #[test]
        fn x87_agrees_with_the_unit(
            a in any::<u64>(), b in any::<u64>(), ea in 0u16..0x7FFF, apart in -70i32..70, ends in 0u8..4, signs in 0u16..4,
            shift in 0u32..64,
        ) {
            let ea = match ends { 0 => ea % 80, 1 => 0x7FFE - ea % 80, _ => ea };
            let eb = (i32::from(ea) + apart).clamp(0, 0x7FFE) as u16;
            // A subnormal has a clear leading bit, all others a set one. Shifted significands make ties.
            let word = |significand: u64, exponent: u16, negative: bool| {
                let significand = significand >> shift << shift;
                let significand = if exponent == 0 { significand >> 1 } else { significand | 1 << 63 };
                u128::from(significand) | u128::from(exponent) << 64 | u128::from(negative) << 79
            };
            let (a, b) = (word(a, ea, signs & 1 != 0), word(b, eb, signs & 2 != 0));
            let bytes = |x: u128| { let mut t = [0; 10]; t.copy_from_slice(&x.to_le_bytes()[..10]); t };
            let number = |t: [u8; 10]| { let mut w = [0; 16]; w[..10].copy_from_slice(&t); u128::from_le_bytes(w) };
            let sum = number(phalanx_shm::mem::x87::add(bytes(a), bytes(b)));
            prop_assert_eq!(Format::X87.add(a, b), sum, "{:#x} + {:#x}", a, b);
            // The product's exponent goes out of range on either side for most draws: bring the second factor near one.
            let near = b & !(0x7FFF << 64) | u128::from((0x3FFF + apart) as u16) << 64 | 1 << 63;
            let product = number(phalanx_shm::mem::x87::mul(bytes(a), bytes(near)));
            prop_assert_eq!(Format::X87.mul(a, near), product, "{:#x} * {:#x}", a, near);
        }
    }

    #[test]
    fn known_values_of_the_wide_formats() {
        let quad = |high: u128, low: u128| high << 64 | low;
        // 0.1 + 0.2 and 0.1 * 0.2 in binary128, as gcc's __float128 computes them.
        let (tenth, fifth) =
            (quad(0x3FFB_9999_9999_9999, 0x9999_9999_9999_999A), quad(0x3FFC_9999_9999_9999, 0x9999_9999_9999_999A));
        assert_eq!(Format::Quad.add(tenth, fifth), quad(0x3FFD_3333_3333_3333, 0x3333_3333_3333_3334));
        let x87 = |exponent: u128, significand: u128| exponent << 64 | significand;
        // The largest finite x87 number doubled is infinite; half the least one is zero, ties to even.
        let largest = x87(0x7FFE, u128::from(u64::MAX));
        assert_eq!(Format::X87.add(largest, largest), x87(0x7FFF, 1 << 63));
        assert_eq!(Format::X87.mul(x87(0, 1), x87(0x3FFE, 1 << 63)), 0);
        assert_eq!(Format::X87.mul(x87(0, 3), x87(0x3FFE, 1 << 63)), x87(0, 2));
        // The least normal number less the least subnormal one is the largest subnormal one.
        let least = x87(1, 1 << 63);
        assert_eq!(Format::X87.sub(least, x87(0, 1)), x87(0, (1 << 63) - 1));
    }

    proptest! {
        /// Rounding a quad result to x87 goes through the same steps as x87 itself when nothing is lost in quad.
        #[test]
        fn x87_agrees_with_integers(a in any::<i32>(), b in any::<i32>()) {
            let x = |v: i64| Format::Quad.convert(quad_of_i64(v), Format::X87);
            let (a, b) = (i64::from(a), i64::from(b));
            prop_assert_eq!(Format::X87.add(x(a), x(b)), x(a + b));
            prop_assert_eq!(Format::X87.mul(x(a), x(b)), x(a * b));
            prop_assert_eq!(Format::X87.compare(x(a), x(b)), Some(a.cmp(&b)));
        }

        /// The double nearest to a quad sum or product of doubles that is exact in quad is the hardware's answer.
        #[test]
        fn quad_agrees_with_the_hardware(a in any::<f64>(), b in any::<f64>()) {
            let product = Format::Quad.mul(quad_of(a), quad_of(b));
            prop_assert!(same(Format::Quad, quad_of(f64_nearest(product)), quad_of(a * b)), "{a:e} * {b:e}");
        }

        #[test]
        fn sums_commute_and_negate(a in any::<u128>(), b in any::<u128>()) {
            let f = Format::Quad;
            prop_assert!(same(f, f.add(a, b), f.add(b, a)));
            prop_assert!(same(f, f.mul(a, b), f.mul(b, a)));
            if f.compare(a, a).is_some() && a << 1 != 0x7FFF_u128 << 113 {
                prop_assert_eq!(f.sub(a, a), 0);
                prop_assert_eq!(f.convert(a, f), a);
            }
        }
    }

    fn quad_of_i64(value: i64) -> u128 {
        Format::Quad.pack(Number::Finite {
            negative: value < 0,
            exponent: 0,
            significand: u128::from(value.unsigned_abs()),
        })
    }

    /// A quad rounded to double.
    fn f64_nearest(bits: u128) -> f64 {
        match Format::Quad.unpack(bits) {
            Number::Nan => f64::NAN,
            Number::Infinity { negative } => {
                if negative {
                    f64::NEG_INFINITY
                } else {
                    f64::INFINITY
                }
            }
            Number::Finite { negative, exponent, significand } => {
                if significand == 0 {
                    return if negative { -0.0 } else { 0.0 };
                }
                let length = 128 - significand.leading_zeros() as i32;
                let shift = (length - 53).max(-1074 - exponent);
                let (m, e) = (shift_nearest(significand, shift), exponent + shift);
                let magnitude = if e > 971 {
                    f64::INFINITY
                } else {
                    m as f64 * 2f64.powi(e.max(-1022)) * 2f64.powi((e + 1022).min(0))
                };
                if negative { -magnitude } else { magnitude }
            }
        }
    }
}
