//! The numbers that the standard ABI has for what the engine has names for.
//!
//! The engine numbers its types, operations and error classes densely, for itself. Here they meet their handles and codes: by
//! their names in the standard, in tables that the compiler makes from those that `cargo xtask gen` writes. A name that only
//! one side has does not compile. Where engine and ABI use the same number, nothing is translated, and that they are the
//! same is checked below.

use std::ffi::c_int;

use phalanx_engine::comm::create::SplitType;
use phalanx_engine::datatype::{Basic, Combiner, Distribution, Integer, Order, TypeClass};
use phalanx_engine::op::Builtin;
use phalanx_engine::{Comparison, ErrorClass, info, pt2pt, status};

use crate::consts;

// What goes through unchanged.
const _: () = {
    assert!(status::ANY_SOURCE == consts::ANY_SOURCE && status::ANY_TAG == consts::ANY_TAG);
    assert!(status::PROC_NULL == consts::PROC_NULL && status::ROOT == consts::ROOT);
    assert!(status::UNDEFINED == consts::UNDEFINED);
    // What C's constants promise at most, a terminating zero included.
    assert!(pt2pt::buffered::OVERHEAD as c_int <= consts::BSEND_OVERHEAD);
    assert!(info::MAX_KEY < consts::MAX_INFO_KEY as usize && info::MAX_VALUE < consts::MAX_INFO_VAL as usize);
};

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}

/// Our own error classes: the standard ABI has none for them. They are among the numbers that it leaves to libraries, and
/// stay what they are.
const OWN_CLASSES: [(c_int, &str); 2] =
    [(ERR_REVOKED, "PHALANX_ERR_REVOKED"), (ERR_PROC_FAILED_PENDING, "PHALANX_ERR_PROC_FAILED_PENDING")];
const ERR_REVOKED: c_int = 16_001;
const ERR_PROC_FAILED_PENDING: c_int = 16_002;

/// Every error class: the standard's, then our own.
pub(crate) const ERROR_CLASSES: [(c_int, &str); consts::ERROR_CLASSES.len() + OWN_CLASSES.len()] = {
    let mut all = [OWN_CLASSES[0]; consts::ERROR_CLASSES.len() + OWN_CLASSES.len()];
    let mut i = 0;
    while i < all.len() {
        let standard = consts::ERROR_CLASSES.len();
        all[i] = if i < standard { consts::ERROR_CLASSES[i] } else { OWN_CLASSES[i - standard] };
        i += 1;
    }
    all
};

/// A pair of tables, both looked up by index: from the engine's enumeration to the ABI's numbers, and back from the lowest
/// number on.
macro_rules! tables {
    ($of:ty: $to_abi:ident, $from_abi:ident, $rows:expr, $number:ty, $lowest:expr, $highest:expr) => {
        const $to_abi: [$number; <$of>::ALL.len()] = {
            let mut numbers = [0; <$of>::ALL.len()];
            let mut i = 0;
            while i < numbers.len() {
                let mut row = 0;
                while !same($rows[row].1, <$of>::ALL[i].name()) {
                    row += 1;
                }
                numbers[i] = $rows[row].0;
                i += 1;
            }
            numbers
        };

        const $from_abi: [Option<$of>; ($highest - $lowest + 1) as usize] = {
            let mut table = [None; ($highest - $lowest + 1) as usize];
            let mut i = 0;
            while i < $to_abi.len() {
                if $to_abi[i] <= $highest {
                    table[($to_abi[i] - $lowest) as usize] = Some(<$of>::ALL[i]);
                }
                i += 1;
            }
            let mut row = 0;
            while row < $rows.len() {
                let number = $rows[row].0;
                assert!(number > $highest || table[(number - $lowest) as usize].is_some(), "the engine lacks one");
                row += 1;
            }
            table
        };
    };
}

tables! { Basic: TYPE_HANDLES, BASICS, consts::DATATYPES, usize, consts::AINT, consts::COMPLEX32 }
tables! { Builtin: OP_HANDLES, BUILTINS, consts::OPERATIONS, usize, consts::SUM, consts::NO_OP }
tables! { ErrorClass: CLASS_CODES, CLASSES, ERROR_CLASSES, c_int, consts::SUCCESS, consts::ERR_ABI }

/// The predefined datatype behind a handle.
#[inline]
pub(crate) fn basic(handle: usize) -> Option<Basic> {
    *BASICS.get(handle.wrapping_sub(consts::AINT))?
}

/// The handle of a predefined datatype.
#[inline]
pub(crate) fn type_handle(basic: Basic) -> usize {
    TYPE_HANDLES[basic as usize]
}

/// The predefined operation behind a handle.
#[inline]
pub(crate) fn builtin(handle: usize) -> Option<Builtin> {
    *BUILTINS.get(handle.wrapping_sub(consts::SUM))?
}

/// The handle of a predefined operation.
#[cfg(test)]
fn op_handle(builtin: Builtin) -> usize {
    OP_HANDLES[builtin as usize]
}

/// The error class behind a code. The classes of the tool interface are not the engine's.
pub(crate) fn class(code: c_int) -> Option<ErrorClass> {
    match code {
        ERR_REVOKED => Some(ErrorClass::Revoked),
        ERR_PROC_FAILED_PENDING => Some(ErrorClass::ProcFailedPending),
        _ => *CLASSES.get(usize::try_from(code).ok()?)?,
    }
}

/// The code of an error class.
pub(crate) fn class_code(class: ErrorClass) -> c_int {
    CLASS_CODES[class as usize]
}

/// What `MPI_Comm_compare` and `MPI_Group_compare` give.
pub(crate) fn comparison(outcome: Comparison) -> c_int {
    match outcome {
        Comparison::Ident => consts::IDENT,
        Comparison::Congruent => consts::CONGRUENT,
        Comparison::Similar => consts::SIMILAR,
        Comparison::Unequal => consts::UNEQUAL,
    }
}

/// The kind of division that a number stands for.
pub(crate) fn split_type(number: c_int) -> Option<SplitType> {
    Some(match number {
        consts::COMM_TYPE_SHARED => SplitType::Shared,
        consts::COMM_TYPE_HW_UNGUIDED => SplitType::HwUnguided,
        consts::COMM_TYPE_HW_GUIDED => SplitType::HwGuided,
        consts::COMM_TYPE_RESOURCE_GUIDED => SplitType::ResourceGuided,
        _ => return None,
    })
}

/// The order of dimensions that a number stands for.
pub(crate) fn order(number: c_int) -> Option<Order> {
    match number {
        consts::ORDER_C => Some(Order::C),
        consts::ORDER_FORTRAN => Some(Order::Fortran),
        _ => None,
    }
}

/// The distribution that a number stands for.
pub(crate) fn distribution(number: c_int) -> Option<Distribution> {
    match number {
        consts::DISTRIBUTE_NONE => Some(Distribution::None),
        consts::DISTRIBUTE_BLOCK => Some(Distribution::Block),
        consts::DISTRIBUTE_CYCLIC => Some(Distribution::Cyclic),
        _ => None,
    }
}

/// The class of types that a number stands for.
pub(crate) fn type_class(number: c_int) -> Option<TypeClass> {
    match number {
        consts::TYPECLASS_INTEGER => Some(TypeClass::Integer),
        consts::TYPECLASS_REAL => Some(TypeClass::Real),
        consts::TYPECLASS_COMPLEX => Some(TypeClass::Complex),
        _ => None,
    }
}

/// An `int` argument of a type's constructor, as `MPI_Type_get_contents` gives it.
pub(crate) fn integer(argument: Integer) -> c_int {
    match argument {
        Integer::Number(number) => number,
        Integer::Order(Order::C) => consts::ORDER_C,
        Integer::Order(Order::Fortran) => consts::ORDER_FORTRAN,
        Integer::Distribution(Distribution::None) => consts::DISTRIBUTE_NONE,
        Integer::Distribution(Distribution::Block) => consts::DISTRIBUTE_BLOCK,
        Integer::Distribution(Distribution::Cyclic) => consts::DISTRIBUTE_CYCLIC,
        Integer::DefaultArgument => consts::DISTRIBUTE_DFLT_DARG,
    }
}

/// The constructor of a type, as `MPI_Type_get_envelope` gives it.
pub(crate) fn combiner(combiner: Combiner) -> c_int {
    match combiner {
        Combiner::Named => consts::COMBINER_NAMED,
        Combiner::Dup => consts::COMBINER_DUP,
        Combiner::Contiguous => consts::COMBINER_CONTIGUOUS,
        Combiner::Vector => consts::COMBINER_VECTOR,
        Combiner::Hvector => consts::COMBINER_HVECTOR,
        Combiner::Indexed => consts::COMBINER_INDEXED,
        Combiner::Hindexed => consts::COMBINER_HINDEXED,
        Combiner::IndexedBlock => consts::COMBINER_INDEXED_BLOCK,
        Combiner::HindexedBlock => consts::COMBINER_HINDEXED_BLOCK,
        Combiner::Struct => consts::COMBINER_STRUCT,
        Combiner::Subarray => consts::COMBINER_SUBARRAY,
        Combiner::Darray => consts::COMBINER_DARRAY,
        Combiner::F90Real => consts::COMBINER_F90_REAL,
        Combiner::F90Complex => consts::COMBINER_F90_COMPLEX,
        Combiner::F90Integer => consts::COMBINER_F90_INTEGER,
        Combiner::Resized => consts::COMBINER_RESIZED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What has a number has the name of the standard's table and tells that number; nothing else has one.
    fn agree<N: Copy + PartialEq + std::fmt::Debug, T>(
        rows: impl IntoIterator<Item = (N, &'static str)>,
        find: fn(N) -> Option<T>,
        tell: fn(T) -> (&'static str, N),
        others: impl IntoIterator<Item = N>,
        all: usize,
    ) {
        for (number, name) in rows {
            assert_eq!(find(number).map(tell), Some((name, number)));
        }
        assert_eq!(others.into_iter().filter(|&number| find(number).is_some()).count(), all);
    }

    #[test]
    fn every_number_of_the_abi_is_what_has_that_name() {
        let handles = || (0..0x1000).chain([usize::MAX]);
        // Types with two names: programs ask for the first.
        let types = consts::DATATYPES.iter().map(|&(handle, name)| match name {
            "MPI_C_FLOAT_COMPLEX" => (handle, "MPI_C_COMPLEX"),
            "MPI_LONG_LONG_INT" => (handle, "MPI_LONG_LONG"),
            name => (handle, name),
        });
        agree(types, basic, |basic| (basic.name(), type_handle(basic)), handles(), Basic::ALL.len());
        let operations = consts::OPERATIONS.iter().copied();
        agree(operations, builtin, |op| (op.name(), op_handle(op)), handles(), Builtin::ALL.len());
        let classes = ERROR_CLASSES.iter().copied().filter(|(_, name)| !name.starts_with("MPI_T_"));
        agree(
            classes,
            class,
            |class| (class.name(), class_code(class)),
            -2000..consts::ERR_LASTCODE + 2000,
            ErrorClass::ALL.len(),
        );
        assert_eq!((basic(consts::DATATYPE_NULL), builtin(consts::OP_NULL)), (None, None));
    }

    #[test]
    fn the_table_of_classes_is_that_of_the_engine() {
        let table = include_str!("../../../abi/error_classes.tsv");
        let rows: Vec<&str> = table.lines().filter(|line| !line.starts_with('#')).skip(1).collect();
        let standard = ErrorClass::ALL.iter().filter(|class| class.name().starts_with("MPI_"));
        let ours: Vec<String> = standard.map(|class| format!("{}\t{}", class.name(), class.description())).collect();
        assert_eq!(rows, ours);
    }

    #[test]
    fn sizes_in_the_handles_agree() {
        // The ABI writes log2 of a fixed size into bits 3 to 5 of the handles of fixed-size types.
        for &basic in Basic::ALL {
            let handle = type_handle(basic);
            if handle >= consts::INT8_T {
                assert_eq!(1 << (handle >> 3 & 7), basic.size(), "{}", basic.name());
            }
        }
    }

    #[test]
    fn combiners_have_the_number_of_their_name() {
        let rows = include_str!("../../../abi/constants.tsv");
        for &each in Combiner::ALL {
            let row = format!("\nMPI_COMBINER_{}\tint\t{}\n", each.name(), combiner(each));
            assert!(rows.contains(&row), "{row}");
        }
    }

    #[test]
    fn numbers_of_arguments_go_there_and_back() {
        for number in -300..300 {
            let there = order(number).map(Integer::Order).or(distribution(number).map(Integer::Distribution));
            assert!(there.is_none_or(|name| integer(name) == number), "{number}");
        }
        let count = |known: &dyn Fn(c_int) -> bool| (-300..300).filter(|&number| known(number)).count();
        assert_eq!(count(&|n| order(n).is_some()), 2);
        assert_eq!(count(&|n| distribution(n).is_some()), 3);
        assert_eq!(count(&|n| type_class(n).is_some()), 3);
        assert_eq!(count(&|n| split_type(n).is_some()), 4);
        assert_eq!(
            (integer(Integer::DefaultArgument), integer(Integer::Number(-7))),
            (consts::DISTRIBUTE_DFLT_DARG, -7)
        );
    }
}
