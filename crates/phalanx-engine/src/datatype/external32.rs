//! The portable representation `external32` (MPI 5.0 §14.5.2): big-endian, IEEE formats, fixed sizes.
//!
//! `long` is 4 bytes there and 8 here, `wchar_t` 2 and 4, `long double` binary128 and (on x86) 80 bits: such values are
//! converted, and one that does not fit is an error of class `MPI_ERR_CONVERSION`. Packing goes element by element.

use super::memory::{Sink, Source};
use super::{Basic, Datatype, Kind};
use crate::error::{Error, ErrorClass, Result, fail};
use crate::softfloat::Format;

/// One machine word of a basic type: native size, external size, and what it is.
#[derive(Clone, Copy)]
struct Part {
    native: usize,
    external: usize,
    kind: PartKind,
}

#[derive(Clone, Copy, PartialEq)]
enum PartKind {
    /// Same bits in both, but for the byte order.
    Plain,
    Signed,
    Unsigned,
    /// x87 extended here, binary128 there.
    X87,
}

const fn plain(size: usize) -> Part {
    Part { native: size, external: size, kind: PartKind::Plain }
}

/// The words of one basic element: first, and for complex and pair types second with its native offset.
fn parts(basic: Basic) -> (Part, Option<(usize, Part)>) {
    let extended = Part { native: 16, external: 16, kind: PartKind::X87 };
    let narrow = |kind| Part { native: basic.size(), external: 4, kind };
    match basic {
        Basic::Long => (narrow(PartKind::Signed), None),
        Basic::UnsignedLong => (narrow(PartKind::Unsigned), None),
        Basic::LongInt => (Part { native: 8, external: 4, kind: PartKind::Signed }, Some((8, plain(4)))),
        Basic::Wchar => (Part { native: 4, external: 2, kind: PartKind::Unsigned }, None),
        _ => match basic.kind() {
            Kind::Complex => {
                let half = if basic.is_x87() { extended } else { plain(basic.size() / 2) };
                (half, Some((half.native, half)))
            }
            Kind::Pair { value_size, index_at, .. } => {
                let value = if basic.is_x87() { extended } else { plain(value_size) };
                (value, Some((index_at, plain(basic.size() - value_size))))
            }
            _ if basic.is_x87() => (extended, None),
            _ => (plain(basic.size()), None),
        },
    }
}

/// External bytes of one basic element.
fn external_size(basic: Basic) -> usize {
    let (first, second) = parts(basic);
    first.external + second.map_or(0, |(_, part)| part.external)
}

impl Part {
    fn encode(self, basic: Basic, native: &[u8], out: &mut [u8]) -> Result<()> {
        let bits = native_bits(native);
        let bits = match self.kind {
            PartKind::X87 => Format::X87.convert(bits & ((1 << 80) - 1), Format::Quad),
            _ => bits,
        };
        let width = self.external as u32 * 8;
        let fits = match self.kind {
            PartKind::Signed => (bits as i64) << (64 - width) >> (64 - width) == bits as i64,
            PartKind::Unsigned => bits >> width == 0,
            _ => true,
        };
        if !fits {
            fail!(
                Conversion,
                "a value of {} does not fit the {} bytes external32 has for it",
                basic.name(),
                self.external
            );
        }
        out.copy_from_slice(&bits.to_be_bytes()[16 - self.external..]);
        Ok(())
    }

    fn decode(self, data: &[u8], native: &mut [u8]) {
        let mut wide = [0; 16];
        wide[16 - data.len()..].copy_from_slice(data);
        let bits = u128::from_be_bytes(wide);
        let bits = match self.kind {
            PartKind::X87 => Format::Quad.convert(bits, Format::X87),
            PartKind::Signed => bits as u32 as i32 as i128 as u128,
            _ => bits,
        };
        store_native(bits, native);
    }
}

/// The bytes of a native word as a number.
fn native_bits(bytes: &[u8]) -> u128 {
    let mut wide = [0; 16];
    if cfg!(target_endian = "little") {
        wide[..bytes.len()].copy_from_slice(bytes);
        u128::from_le_bytes(wide)
    } else {
        wide[16 - bytes.len()..].copy_from_slice(bytes);
        u128::from_be_bytes(wide)
    }
}

fn store_native(bits: u128, out: &mut [u8]) {
    let size = out.len();
    if cfg!(target_endian = "little") {
        out.copy_from_slice(&bits.to_le_bytes()[..size]);
    } else {
        out.copy_from_slice(&bits.to_be_bytes()[16 - size..]);
    }
}

impl Datatype {
    /// Bytes of `count` elements in `external32` (`MPI_Pack_external_size`).
    ///
    /// # Errors
    /// `MPI_ERR_COUNT` when the product does not fit.
    pub fn external32_size(&self, count: usize) -> Result<usize> {
        let mut one = 0usize;
        match self.uniform_basic() {
            Some(basic) => one = self.size() / basic.size() * external_size(basic),
            None => self.visit_basics(&mut |basic, _| {
                one += external_size(basic);
                true
            }),
        }
        one.checked_mul(count).ok_or_else(|| {
            Error::new(ErrorClass::Count, format!("{count} elements of {self} are more than fits an address space"))
        })
    }

    /// Writes `count` elements in `external32` to `out` from byte `position` on; returns the position after them.
    ///
    /// # Errors
    /// `MPI_ERR_TRUNCATE` when `out` is too short, `MPI_ERR_CONVERSION` when a value does not fit; `out` may then be
    /// partly written.
    pub fn pack_external32<S>(&self, count: usize, source: &S, out: &mut [u8], position: usize) -> Result<usize>
    where
        S: Source + ?Sized,
    {
        let need = self.external32_size(count)?;
        if out.len().checked_sub(position).is_none_or(|room| room < need) {
            fail!(
                Truncate,
                "packing {count} elements of {self} needs {need} bytes at position {position}, but the buffer has {} bytes",
                out.len()
            );
        }
        let mut at = position;
        let mut outcome = Ok(());
        for i in 0..count {
            let base = i as isize * self.extent();
            self.visit_basics(&mut |basic, offset| {
                let (first, second) = parts(basic);
                for (inside, part) in std::iter::once((0, first)).chain(second) {
                    let mut word = [0; 16];
                    let word = &mut word[..part.native];
                    source.read(base + offset + inside as isize, word);
                    outcome = part.encode(basic, word, &mut out[at..at + part.external]);
                    at += part.external;
                }
                outcome.is_ok()
            });
            if outcome.is_err() {
                break;
            }
        }
        outcome.map(|()| at)
    }

    /// Reads `count` elements in `external32` from byte `position` of `data` on; returns the position after them.
    ///
    /// # Errors
    /// `MPI_ERR_TRUNCATE` when `data` is too short.
    pub fn unpack_external32<S>(&self, count: usize, sink: &mut S, data: &[u8], position: usize) -> Result<usize>
    where
        S: Sink + ?Sized,
    {
        let need = self.external32_size(count)?;
        if data.len().checked_sub(position).is_none_or(|left| left < need) {
            fail!(
                Truncate,
                "unpacking {count} elements of {self} needs {need} bytes from position {position}, but there are {} bytes",
                data.len()
            );
        }
        let mut at = position;
        for i in 0..count {
            let base = i as isize * self.extent();
            self.visit_basics(&mut |basic, offset| {
                let (first, second) = parts(basic);
                for (inside, part) in std::iter::once((0, first)).chain(second) {
                    let mut word = [0; 16];
                    let word = &mut word[..part.native];
                    part.decode(&data[at..at + part.external], word);
                    sink.write(base + offset + inside as isize, word);
                    at += part.external;
                }
                true
            });
        }
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(basic: Basic, native: &[u8], external: &[u8]) {
        let ty = Datatype::predefined(basic);
        let mut packed = vec![0xEE; external.len() + 3];
        let end = ty.pack_external32(1, native, &mut packed, 2).unwrap();
        assert_eq!(end, 2 + external.len(), "{}", basic.name());
        assert_eq!(&packed[2..end], external, "{}", basic.name());
        let mut back = vec![0; native.len()];
        assert_eq!(ty.unpack_external32(1, &mut back[..], &packed, 2).unwrap(), end);
        assert_eq!(back, native, "{}", basic.name());
    }

    #[test]
    fn values_are_big_endian_and_have_their_standard_sizes() {
        round_trip(Basic::Int, &0x0102_0304i32.to_ne_bytes(), &[1, 2, 3, 4]);
        round_trip(Basic::Long, &(-2i64).to_ne_bytes(), &[0xFF, 0xFF, 0xFF, 0xFE]);
        round_trip(Basic::LongLong, &(-2i64).to_ne_bytes(), &(-2i64).to_be_bytes());
        round_trip(Basic::UnsignedLong, &7u64.to_ne_bytes(), &[0, 0, 0, 7]);
        round_trip(Basic::Double, &1.5f64.to_ne_bytes(), &1.5f64.to_be_bytes());
        round_trip(Basic::Wchar, &0x20ACu32.to_ne_bytes(), &[0x20, 0xAC]);
        let complex = [2.5f32.to_ne_bytes(), (-1.0f32).to_ne_bytes()].concat();
        round_trip(Basic::CFloatComplex, &complex, &[2.5f32.to_be_bytes(), (-1.0f32).to_be_bytes()].concat());
        let pair = [7i16.to_ne_bytes().to_vec(), vec![0, 0], 9i32.to_ne_bytes().to_vec()].concat();
        round_trip(Basic::ShortInt, &pair, &[0, 7, 0, 0, 0, 9]);
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn long_double_becomes_binary128() {
        // 1.0 and -3.5 in x87 extended, padded to 16 bytes.
        let x87 =
            |sign: u128, exponent: u128, significand: u128| (sign << 79 | exponent << 64 | significand).to_ne_bytes();
        let quad = |high: u64| [high.to_be_bytes(), [0; 8]].concat();
        round_trip(Basic::LongDouble, &x87(0, 0x3FFF, 1 << 63), &quad(0x3FFF_0000_0000_0000));
        round_trip(Basic::LongDouble, &x87(1, 0x4000, 0b111 << 61), &quad(0xC000_C000_0000_0000));
        round_trip(Basic::LongDouble, &x87(0, 0, 0), &quad(0));
        round_trip(Basic::LongDouble, &x87(0, 0x7FFF, 1 << 63), &quad(0x7FFF_0000_0000_0000));
    }

    #[test]
    fn a_value_that_does_not_fit_is_an_error() {
        let ty = Datatype::predefined(Basic::Long);
        let mut out = [0; 4];
        let error = ty.pack_external32(1, &(1i64 << 40).to_ne_bytes()[..], &mut out, 0).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Conversion);
        let error = ty.pack_external32(2, &[0; 16][..], &mut out, 0).unwrap_err();
        assert_eq!(error.class(), ErrorClass::Truncate);
        assert_eq!(ty.external32_size(3).unwrap(), 12);
    }

    #[test]
    fn gaps_of_derived_types_are_left_out() {
        let column = Datatype::vector(3, 1, 2, Datatype::predefined(Basic::Short)).unwrap();
        let source: Vec<u8> = (1i16..=6).flat_map(i16::to_ne_bytes).collect();
        let mut out = [0; 6];
        assert_eq!(column.pack_external32(1, &source[..], &mut out, 0).unwrap(), 6);
        assert_eq!(out, [0, 1, 0, 3, 0, 5]);
        let mut back = [0; 12];
        column.unpack_external32(1, &mut back[..], &out, 0).unwrap();
        let values: Vec<i16> = back.as_chunks().0.iter().map(|b| i16::from_ne_bytes(*b)).collect();
        assert_eq!(values, [1, 0, 3, 0, 5, 0]);
    }
}
