//! Type signatures as 32-bit numbers, carried in message envelopes so that a mismatch can be named.
//!
//! The signature of a type whose basic elements are all the same predefined type is that type's number and one, whatever
//! the count; that of a type without elements is 0; anything else is a hash with the top bit set. Two hashes that differ
//! prove nothing (a receive may take a prefix of its type), so [`mismatch`] speaks only about predefined types.

use super::{Basic, Kind};

/// Marks a signature that is a hash.
const MIXED: u32 = 0x8000_0000;

/// The signature of a predefined type.
pub(super) const fn of(basic: Basic) -> u32 {
    basic as u32 + 1
}

/// The predefined type that all elements of data with this signature have, if there is one.
fn basic_of(signature: u32) -> Option<Basic> {
    Basic::ALL.get((signature as usize).wrapping_sub(1)).copied()
}

/// Collects the signature of a type from those of its parts.
pub(super) struct Builder {
    hash: u64,
    /// The last part, not yet in the hash: neighbours of equal signature are one part.
    last: Option<(u32, u64)>,
    parts: usize,
}

impl Builder {
    pub(super) fn new() -> Builder {
        Builder { hash: 0xcbf2_9ce4_8422_2325, last: None, parts: 0 }
    }

    /// Adds `elements` basic elements of a part with this signature.
    pub(super) fn add(&mut self, signature: u32, elements: usize) {
        match &mut self.last {
            _ if elements == 0 => {}
            Some((last, count)) if *last == signature => *count = count.wrapping_add(elements as u64),
            _ => {
                self.flush();
                self.last = Some((signature, elements as u64));
                self.parts += 1;
            }
        }
    }

    fn flush(&mut self) {
        if let Some((signature, elements)) = self.last.take() {
            for word in [u64::from(signature), elements] {
                self.hash = (self.hash ^ word).wrapping_mul(0x0000_0100_0000_01b3);
                self.hash ^= self.hash >> 29;
            }
        }
    }

    /// The basic type of all elements, when it is one.
    pub(super) fn uniform(&self) -> Option<Basic> {
        match self.last {
            Some((signature, _)) if self.parts == 1 => basic_of(signature),
            _ => None,
        }
    }

    pub(super) fn finish(mut self) -> u32 {
        match self.last {
            None => 0,
            Some((signature, _)) if self.parts == 1 => signature,
            Some(_) => {
                self.flush();
                (self.hash ^ self.hash >> 32) as u32 | MIXED
            }
        }
    }
}

/// Whether data of signature `sent` certainly cannot be received as `expected`: both are single predefined types, of numbers
/// of different formats. C and Fortran types of one format agree; see [`Format`] for what agrees with everything.
#[inline]
pub fn mismatch(sent: u32, expected: u32) -> bool {
    sent != expected && formats_differ(sent, expected)
}

#[cold]
fn formats_differ(sent: u32, expected: u32) -> bool {
    match (basic_of(sent).and_then(Format::of), basic_of(expected).and_then(Format::of)) {
        (Some(a), Some(b)) => a != b,
        _ => false,
    }
}

/// How the numbers of a type are stored, as far as programs that work tell them apart: signed and unsigned integers and
/// logicals of one size are one format, and a complex number is two floating point numbers.
#[derive(PartialEq, Eq)]
enum Format {
    Integer(usize),
    Float(usize),
}

impl Format {
    /// `None` for what may stand for anything: bytes, packed data, characters and integers of one byte, which are how programs
    /// see raw memory. And for pairs, which the standard builds of two numbers.
    fn of(basic: Basic) -> Option<Format> {
        let size = basic.size();
        match basic.kind() {
            Kind::Byte | Kind::Packed | Kind::Character | Kind::Pair { .. } => None,
            Kind::Float => Some(Format::Float(size)),
            Kind::Complex => Some(Format::Float(size / 2)),
            Kind::Signed | Kind::Unsigned | Kind::Logical | Kind::Bool => (size > 1).then_some(Format::Integer(size)),
        }
    }
}

/// Whether a predefined reduction computes the same on elements of both signatures: there a sign matters, too.
pub(crate) fn reduce_alike(a: u32, b: u32) -> bool {
    match (basic_of(a), basic_of(b)) {
        (Some(a), Some(b)) => a.kind() == b.kind() && a.size() == b.size(),
        _ => a == b,
    }
}

/// The name of a signature for messages: the predefined type's name, or that it is mixed.
pub fn describe(signature: u32) -> &'static str {
    match basic_of(signature) {
        Some(basic) => basic.name(),
        None if signature == 0 => "no elements",
        None => "a derived type of mixed elements",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uniform_signatures_do_not_depend_on_the_count() {
        let mut builder = Builder::new();
        builder.add(of(Basic::Int), 3);
        builder.add(of(Basic::Int), 0);
        builder.add(of(Basic::Int), 5);
        assert_eq!(builder.uniform(), Some(Basic::Int));
        assert_eq!(builder.finish(), of(Basic::Int));
        assert_eq!(Builder::new().finish(), 0);
    }

    #[test]
    fn order_and_counts_matter_in_mixed_signatures() {
        let sign = |parts: &[(Basic, usize)]| {
            let mut builder = Builder::new();
            parts.iter().for_each(|(basic, n)| builder.add(of(*basic), *n));
            builder.finish()
        };
        let a = sign(&[(Basic::Int, 1), (Basic::Double, 1)]);
        assert!(a & MIXED != 0);
        assert_ne!(a, sign(&[(Basic::Double, 1), (Basic::Int, 1)]));
        assert_ne!(a, sign(&[(Basic::Int, 2), (Basic::Double, 1)]));
        assert_eq!(
            sign(&[(Basic::Int, 1), (Basic::Int, 1), (Basic::Double, 1)]),
            sign(&[(Basic::Int, 2), (Basic::Double, 1)])
        );
    }

    #[test]
    fn only_certain_mismatches_are_named() {
        let m = |a: Basic, b: Basic| mismatch(of(a), of(b));
        assert!(m(Basic::Int, Basic::Double));
        assert!(m(Basic::Int, Basic::Float));
        assert!(m(Basic::Int, Basic::Long));
        assert!(!m(Basic::Long, Basic::Int64));
        assert!(!m(Basic::Integer4, Basic::Int));
        assert!(!m(Basic::Unsigned, Basic::Int));
        assert!(m(Basic::Long, Basic::Double));
        assert!(!m(Basic::Double, Basic::CDoubleComplex));
        assert!(m(Basic::Float, Basic::CDoubleComplex));
        assert!(!m(Basic::Uint8, Basic::Double) && !m(Basic::Char, Basic::Byte));
        assert!(!m(Basic::TwoInt, Basic::Int) && !m(Basic::DoubleInt, Basic::Byte));
        let alike = |a: Basic, b: Basic| reduce_alike(of(a), of(b));
        assert!(alike(Basic::Long, Basic::Int64) && alike(Basic::Int, Basic::Integer));
        assert!(!alike(Basic::Unsigned, Basic::Int) && !alike(Basic::Int, Basic::Float));
        assert!(!m(Basic::Byte, Basic::Double));
        assert!(!m(Basic::Double, Basic::Packed));
        assert!(!mismatch(MIXED | 5, of(Basic::Int)));
        assert_eq!(describe(of(Basic::Int)), "MPI_INT");
        assert!(Basic::ALL.iter().all(|&basic| basic_of(of(basic)) == Some(basic)));
        assert_eq!((basic_of(0), basic_of(of(Basic::Complex32) + 1), basic_of(u32::MAX)), (None, None, None));
    }
}
