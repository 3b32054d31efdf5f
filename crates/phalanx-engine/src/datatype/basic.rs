//! The predefined datatypes of the standard: name, size, alignment and what their bits mean.

/// What the bits of a predefined datatype mean; decides which reduction operations are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Two's complement integer.
    Signed,
    /// Unsigned integer.
    Unsigned,
    /// Binary floating point; the size tells the format.
    Float,
    /// Two floating point numbers, real part first.
    Complex,
    /// Fortran logical: an integer where zero is false.
    Logical,
    /// C or C++ `bool`: one byte.
    Bool,
    /// A character: moved, never computed with.
    Character,
    /// `MPI_BYTE`: eight bits.
    Byte,
    /// `MPI_PACKED`: the output of `MPI_Pack`.
    Packed,
    /// A value followed by an index, for `MPI_MINLOC` and `MPI_MAXLOC`.
    Pair {
        /// What the value is.
        value: PairValue,
        /// Bytes of the value.
        value_size: usize,
        /// Where the index lies.
        index_at: usize,
    },
}

/// What the value in a pair type is; the index has the same type in the Fortran pairs, `int` in the C ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PairValue {
    /// An integer, index of C type `int`.
    Signed,
    /// A floating point number, index of C type `int`.
    Float,
    /// A floating point number, index of the same type (the Fortran pairs).
    FloatTwice,
}

/// Whether `long double` is the 80-bit format of x87 stored in 16 bytes (else it is IEEE binary128).
pub const LONG_DOUBLE_IS_X87: bool = cfg!(any(target_arch = "x86_64", target_arch = "x86"));

/// Declares [`Basic`] and its tables. A row: variant, name, size, alignment, kind.
macro_rules! basics {
    ($($variant:ident, $name:literal, $size:literal, $align:literal, $kind:expr;)*) => {
        /// A predefined datatype, numbered by its place in [`Basic::ALL`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum Basic {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Basic {
            /// Every predefined datatype: type number `i` is in place `i`.
            pub const ALL: &'static [Basic] = &[$(Basic::$variant),*];

            /// The name in the standard, such as `MPI_DOUBLE`.
            pub const fn name(self) -> &'static str {
                match self { $(Basic::$variant => $name,)* }
            }

            /// Bytes of data in one element; gaps of pair types do not count.
            pub const fn size(self) -> usize {
                match self { $(Basic::$variant => $size,)* }
            }

            /// Alignment in a C struct.
            pub const fn align(self) -> usize {
                match self { $(Basic::$variant => $align,)* }
            }

            /// What the bits mean.
            pub const fn kind(self) -> Kind {
                match self { $(Basic::$variant => $kind,)* }
            }
        }
    };
}

use Kind::{
    Bool, Byte as ByteKind, Character as Text, Complex as ComplexKind, Float as FloatKind, Signed, Unsigned as Natural,
};

const fn pair(value: PairValue, value_size: usize, index_at: usize) -> Kind {
    Kind::Pair { value, value_size, index_at }
}

basics! {
    Aint, "MPI_AINT", 8, 8, Signed;
    Count, "MPI_COUNT", 8, 8, Signed;
    Offset, "MPI_OFFSET", 8, 8, Signed;
    Packed, "MPI_PACKED", 1, 1, Kind::Packed;
    Short, "MPI_SHORT", 2, 2, Signed;
    Int, "MPI_INT", 4, 4, Signed;
    Long, "MPI_LONG", 8, 8, Signed;
    LongLong, "MPI_LONG_LONG", 8, 8, Signed;
    UnsignedShort, "MPI_UNSIGNED_SHORT", 2, 2, Natural;
    Unsigned, "MPI_UNSIGNED", 4, 4, Natural;
    UnsignedLong, "MPI_UNSIGNED_LONG", 8, 8, Natural;
    UnsignedLongLong, "MPI_UNSIGNED_LONG_LONG", 8, 8, Natural;
    Float, "MPI_FLOAT", 4, 4, FloatKind;
    CFloatComplex, "MPI_C_COMPLEX", 8, 4, ComplexKind;
    CxxFloatComplex, "MPI_CXX_FLOAT_COMPLEX", 8, 4, ComplexKind;
    Double, "MPI_DOUBLE", 8, 8, FloatKind;
    CDoubleComplex, "MPI_C_DOUBLE_COMPLEX", 16, 8, ComplexKind;
    CxxDoubleComplex, "MPI_CXX_DOUBLE_COMPLEX", 16, 8, ComplexKind;
    Logical, "MPI_LOGICAL", 4, 4, Kind::Logical;
    Integer, "MPI_INTEGER", 4, 4, Signed;
    Real, "MPI_REAL", 4, 4, FloatKind;
    Complex, "MPI_COMPLEX", 8, 4, ComplexKind;
    DoublePrecision, "MPI_DOUBLE_PRECISION", 8, 8, FloatKind;
    DoubleComplex, "MPI_DOUBLE_COMPLEX", 16, 8, ComplexKind;
    Character, "MPI_CHARACTER", 1, 1, Text;
    LongDouble, "MPI_LONG_DOUBLE", 16, 16, FloatKind;
    CLongDoubleComplex, "MPI_C_LONG_DOUBLE_COMPLEX", 32, 16, ComplexKind;
    CxxLongDoubleComplex, "MPI_CXX_LONG_DOUBLE_COMPLEX", 32, 16, ComplexKind;
    FloatInt, "MPI_FLOAT_INT", 8, 4, pair(PairValue::Float, 4, 4);
    DoubleInt, "MPI_DOUBLE_INT", 12, 8, pair(PairValue::Float, 8, 8);
    LongInt, "MPI_LONG_INT", 12, 8, pair(PairValue::Signed, 8, 8);
    TwoInt, "MPI_2INT", 8, 4, pair(PairValue::Signed, 4, 4);
    ShortInt, "MPI_SHORT_INT", 6, 4, pair(PairValue::Signed, 2, 4);
    LongDoubleInt, "MPI_LONG_DOUBLE_INT", 20, 16, pair(PairValue::Float, 16, 16);
    TwoReal, "MPI_2REAL", 8, 4, pair(PairValue::FloatTwice, 4, 4);
    TwoDoublePrecision, "MPI_2DOUBLE_PRECISION", 16, 8, pair(PairValue::FloatTwice, 8, 8);
    TwoInteger, "MPI_2INTEGER", 8, 4, pair(PairValue::Signed, 4, 4);
    CBool, "MPI_C_BOOL", 1, 1, Bool;
    CxxBool, "MPI_CXX_BOOL", 1, 1, Bool;
    Wchar, "MPI_WCHAR", 4, 4, Text;
    Int8, "MPI_INT8_T", 1, 1, Signed;
    Uint8, "MPI_UINT8_T", 1, 1, Natural;
    Char, "MPI_CHAR", 1, 1, Text;
    SignedChar, "MPI_SIGNED_CHAR", 1, 1, Signed;
    UnsignedChar, "MPI_UNSIGNED_CHAR", 1, 1, Natural;
    Byte, "MPI_BYTE", 1, 1, ByteKind;
    Int16, "MPI_INT16_T", 2, 2, Signed;
    Uint16, "MPI_UINT16_T", 2, 2, Natural;
    Int32, "MPI_INT32_T", 4, 4, Signed;
    Uint32, "MPI_UINT32_T", 4, 4, Natural;
    Int64, "MPI_INT64_T", 8, 8, Signed;
    Uint64, "MPI_UINT64_T", 8, 8, Natural;
    Logical1, "MPI_LOGICAL1", 1, 1, Kind::Logical;
    Integer1, "MPI_INTEGER1", 1, 1, Signed;
    Logical2, "MPI_LOGICAL2", 2, 2, Kind::Logical;
    Integer2, "MPI_INTEGER2", 2, 2, Signed;
    Real2, "MPI_REAL2", 2, 2, FloatKind;
    Logical4, "MPI_LOGICAL4", 4, 4, Kind::Logical;
    Integer4, "MPI_INTEGER4", 4, 4, Signed;
    Real4, "MPI_REAL4", 4, 4, FloatKind;
    Complex4, "MPI_COMPLEX4", 4, 2, ComplexKind;
    Logical8, "MPI_LOGICAL8", 8, 8, Kind::Logical;
    Integer8, "MPI_INTEGER8", 8, 8, Signed;
    Real8, "MPI_REAL8", 8, 8, FloatKind;
    Complex8, "MPI_COMPLEX8", 8, 4, ComplexKind;
    Logical16, "MPI_LOGICAL16", 16, 16, Kind::Logical;
    Integer16, "MPI_INTEGER16", 16, 16, Signed;
    Real16, "MPI_REAL16", 16, 16, FloatKind;
    Complex16, "MPI_COMPLEX16", 16, 8, ComplexKind;
    Complex32, "MPI_COMPLEX32", 32, 16, ComplexKind;
}

impl Basic {
    /// Distance between consecutive elements of an array: the `sizeof` of the C or Fortran type.
    pub const fn extent(self) -> usize {
        match self.kind() {
            Kind::Pair { .. } => self.true_extent().next_multiple_of(self.align()),
            _ => self.size(),
        }
    }

    /// Bytes from the first to the last byte of data; less than the extent when a pair type ends in a gap.
    pub const fn true_extent(self) -> usize {
        match self.kind() {
            Kind::Pair { value_size, index_at, .. } => index_at + self.size() - value_size,
            _ => self.size(),
        }
    }

    /// Number of basic elements that `MPI_Get_elements` counts: two in a pair type, else one.
    pub const fn elements(self) -> usize {
        match self.kind() {
            Kind::Pair { .. } => 2,
            _ => 1,
        }
    }

    /// Whether the floating point format of this type (or of its parts or value) is 80-bit x87 in 16 bytes.
    pub const fn is_x87(self) -> bool {
        LONG_DOUBLE_IS_X87
            && matches!(
                self,
                Basic::LongDouble | Basic::CLongDoubleComplex | Basic::CxxLongDoubleComplex | Basic::LongDoubleInt
            )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::{c_int, c_long, c_short};

    macro_rules! c_pair {
        ($first:ty) => {{
            #[repr(C)]
            struct Pair($first, c_int);
            (size_of::<Pair>(), align_of::<Pair>(), std::mem::offset_of!(Pair, 1))
        }};
    }

    #[test]
    fn pairs_lie_as_in_c() {
        let cases = [
            (Basic::FloatInt, c_pair!(f32)),
            (Basic::DoubleInt, c_pair!(f64)),
            (Basic::LongInt, c_pair!(c_long)),
            (Basic::TwoInt, c_pair!(c_int)),
            (Basic::ShortInt, c_pair!(c_short)),
            (Basic::LongDoubleInt, c_pair!(u128)),
        ];
        for (basic, (extent, align, at)) in cases {
            let Kind::Pair { index_at, .. } = basic.kind() else { panic!("{} is a pair", basic.name()) };
            assert_eq!((basic.extent(), basic.align(), index_at), (extent, align, at), "{}", basic.name());
        }
    }
}
