//! The predefined datatypes of the ABI: handle, name, size, alignment and what their bits mean.

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

/// Declares [`Basic`] and its tables. A row: variant, ABI handle, name, size, alignment, kind.
macro_rules! basics {
    ($($variant:ident = $handle:literal, $name:literal, $size:literal, $align:literal, $kind:expr;)*) => {
        /// A predefined datatype, numbered by its ABI handle.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Basic {
            $(#[doc = concat!("`", $name, "`")] $variant = $handle,)*
        }

        impl Basic {
            /// Every predefined datatype, in the order of the ABI handles.
            pub const ALL: &'static [Basic] = &[$(Basic::$variant),*];

            /// The predefined datatype with this ABI handle, if there is one.
            pub const fn from_handle(handle: usize) -> Option<Basic> {
                match handle { $($handle => Some(Basic::$variant),)* _ => None }
            }

            /// The ABI name, such as `MPI_DOUBLE`.
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
    Aint = 513, "MPI_AINT", 8, 8, Signed;
    Count = 514, "MPI_COUNT", 8, 8, Signed;
    Offset = 515, "MPI_OFFSET", 8, 8, Signed;
    Packed = 519, "MPI_PACKED", 1, 1, Kind::Packed;
    Short = 520, "MPI_SHORT", 2, 2, Signed;
    Int = 521, "MPI_INT", 4, 4, Signed;
    Long = 522, "MPI_LONG", 8, 8, Signed;
    LongLong = 523, "MPI_LONG_LONG", 8, 8, Signed;
    UnsignedShort = 524, "MPI_UNSIGNED_SHORT", 2, 2, Natural;
    Unsigned = 525, "MPI_UNSIGNED", 4, 4, Natural;
    UnsignedLong = 526, "MPI_UNSIGNED_LONG", 8, 8, Natural;
    UnsignedLongLong = 527, "MPI_UNSIGNED_LONG_LONG", 8, 8, Natural;
    Float = 528, "MPI_FLOAT", 4, 4, FloatKind;
    CFloatComplex = 530, "MPI_C_COMPLEX", 8, 4, ComplexKind;
    CxxFloatComplex = 531, "MPI_CXX_FLOAT_COMPLEX", 8, 4, ComplexKind;
    Double = 532, "MPI_DOUBLE", 8, 8, FloatKind;
    CDoubleComplex = 534, "MPI_C_DOUBLE_COMPLEX", 16, 8, ComplexKind;
    CxxDoubleComplex = 535, "MPI_CXX_DOUBLE_COMPLEX", 16, 8, ComplexKind;
    Logical = 536, "MPI_LOGICAL", 4, 4, Kind::Logical;
    Integer = 537, "MPI_INTEGER", 4, 4, Signed;
    Real = 538, "MPI_REAL", 4, 4, FloatKind;
    Complex = 539, "MPI_COMPLEX", 8, 4, ComplexKind;
    DoublePrecision = 540, "MPI_DOUBLE_PRECISION", 8, 8, FloatKind;
    DoubleComplex = 541, "MPI_DOUBLE_COMPLEX", 16, 8, ComplexKind;
    Character = 542, "MPI_CHARACTER", 1, 1, Text;
    LongDouble = 544, "MPI_LONG_DOUBLE", 16, 16, FloatKind;
    CLongDoubleComplex = 548, "MPI_C_LONG_DOUBLE_COMPLEX", 32, 16, ComplexKind;
    CxxLongDoubleComplex = 549, "MPI_CXX_LONG_DOUBLE_COMPLEX", 32, 16, ComplexKind;
    FloatInt = 552, "MPI_FLOAT_INT", 8, 4, pair(PairValue::Float, 4, 4);
    DoubleInt = 553, "MPI_DOUBLE_INT", 12, 8, pair(PairValue::Float, 8, 8);
    LongInt = 554, "MPI_LONG_INT", 12, 8, pair(PairValue::Signed, 8, 8);
    TwoInt = 555, "MPI_2INT", 8, 4, pair(PairValue::Signed, 4, 4);
    ShortInt = 556, "MPI_SHORT_INT", 6, 4, pair(PairValue::Signed, 2, 4);
    LongDoubleInt = 557, "MPI_LONG_DOUBLE_INT", 20, 16, pair(PairValue::Float, 16, 16);
    TwoReal = 560, "MPI_2REAL", 8, 4, pair(PairValue::FloatTwice, 4, 4);
    TwoDoublePrecision = 561, "MPI_2DOUBLE_PRECISION", 16, 8, pair(PairValue::FloatTwice, 8, 8);
    TwoInteger = 562, "MPI_2INTEGER", 8, 4, pair(PairValue::Signed, 4, 4);
    CBool = 568, "MPI_C_BOOL", 1, 1, Bool;
    CxxBool = 569, "MPI_CXX_BOOL", 1, 1, Bool;
    Wchar = 572, "MPI_WCHAR", 4, 4, Text;
    Int8 = 576, "MPI_INT8_T", 1, 1, Signed;
    Uint8 = 577, "MPI_UINT8_T", 1, 1, Natural;
    Char = 579, "MPI_CHAR", 1, 1, Text;
    SignedChar = 580, "MPI_SIGNED_CHAR", 1, 1, Signed;
    UnsignedChar = 581, "MPI_UNSIGNED_CHAR", 1, 1, Natural;
    Byte = 583, "MPI_BYTE", 1, 1, ByteKind;
    Int16 = 584, "MPI_INT16_T", 2, 2, Signed;
    Uint16 = 585, "MPI_UINT16_T", 2, 2, Natural;
    Int32 = 592, "MPI_INT32_T", 4, 4, Signed;
    Uint32 = 593, "MPI_UINT32_T", 4, 4, Natural;
    Int64 = 600, "MPI_INT64_T", 8, 8, Signed;
    Uint64 = 601, "MPI_UINT64_T", 8, 8, Natural;
    Logical1 = 704, "MPI_LOGICAL1", 1, 1, Kind::Logical;
    Integer1 = 705, "MPI_INTEGER1", 1, 1, Signed;
    Logical2 = 712, "MPI_LOGICAL2", 2, 2, Kind::Logical;
    Integer2 = 713, "MPI_INTEGER2", 2, 2, Signed;
    Real2 = 714, "MPI_REAL2", 2, 2, FloatKind;
    Logical4 = 720, "MPI_LOGICAL4", 4, 4, Kind::Logical;
    Integer4 = 721, "MPI_INTEGER4", 4, 4, Signed;
    Real4 = 722, "MPI_REAL4", 4, 4, FloatKind;
    Complex4 = 723, "MPI_COMPLEX4", 4, 2, ComplexKind;
    Logical8 = 728, "MPI_LOGICAL8", 8, 8, Kind::Logical;
    Integer8 = 729, "MPI_INTEGER8", 8, 8, Signed;
    Real8 = 730, "MPI_REAL8", 8, 8, FloatKind;
    Complex8 = 731, "MPI_COMPLEX8", 8, 4, ComplexKind;
    Logical16 = 736, "MPI_LOGICAL16", 16, 16, Kind::Logical;
    Integer16 = 737, "MPI_INTEGER16", 16, 16, Signed;
    Real16 = 738, "MPI_REAL16", 16, 16, FloatKind;
    Complex16 = 739, "MPI_COMPLEX16", 16, 8, ComplexKind;
    Complex32 = 747, "MPI_COMPLEX32", 32, 16, ComplexKind;
}

impl Basic {
    /// The ABI handle.
    pub const fn handle(self) -> u32 {
        self as u32
    }

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
    use crate::abi_table;
    use std::ffi::{c_int, c_long, c_short};

    #[test]
    fn the_table_is_that_of_the_abi() {
        let mut rows = 0;
        for (name, kind, value) in abi_table::rows() {
            if kind == "MPI_Datatype" && name != "MPI_DATATYPE_NULL" {
                let basic = Basic::from_handle(value as usize).unwrap_or_else(|| panic!("{name} is missing"));
                // One type with two names: the table has the synonym, programs ask for the first.
                let name = if name == "MPI_C_FLOAT_COMPLEX" { "MPI_C_COMPLEX" } else { name };
                assert_eq!(basic.name(), name);
                assert_eq!(i64::from(basic.handle()), value);
                rows += 1;
            }
        }
        assert_eq!(rows, Basic::ALL.len());
        assert_eq!(Basic::from_handle(512), None);
    }

    #[test]
    fn sizes_in_the_handles_agree() {
        // The ABI writes log2 of a fixed size into bits 3 to 5 of the handles of fixed-size types.
        for &basic in Basic::ALL {
            let handle = basic.handle();
            if handle >= 576 {
                assert_eq!(1 << (handle >> 3 & 7), basic.size(), "{}", basic.name());
            }
        }
    }

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
