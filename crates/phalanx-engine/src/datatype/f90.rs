//! Types by precision (`MPI_Type_create_f90_*`) and by size (`MPI_Type_match_size`), MPI 5.0 §19.1.5.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use super::contents::{Combiner, Recipe};
use super::{Basic, Datatype};
use crate::error::{Result, fail};
use crate::status::UNDEFINED;

/// A class of types for [`Datatype::match_size`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypeClass {
    /// `MPI_TYPECLASS_INTEGER`
    Integer,
    /// `MPI_TYPECLASS_REAL`
    Real,
    /// `MPI_TYPECLASS_COMPLEX`
    Complex,
}

/// The types given out so far: the same arguments give the same type.
static MADE: LazyLock<Mutex<HashMap<Key, Datatype>>> = LazyLock::new(Mutex::default);

/// Combiner, and one or two arguments.
type Key = (Combiner, i32, i32);

/// Digits and exponent range of the real types, and the matching complex types.
const REALS: [(i32, i32, Basic, Basic); 3] = [
    (6, 37, Basic::Real4, Basic::Complex8),
    (15, 307, Basic::Real8, Basic::Complex16),
    (33, 4931, Basic::Real16, Basic::Complex32),
];

const INTEGERS: [(i32, Basic); 5] =
    [(2, Basic::Integer1), (4, Basic::Integer2), (9, Basic::Integer4), (18, Basic::Integer8), (38, Basic::Integer16)];

fn made(combiner: Combiner, basic: Basic, arguments: &[i32]) -> Datatype {
    let key = (combiner, arguments[0], arguments.get(1).copied().unwrap_or(0));
    let mut table = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    let make = || {
        let layout = Datatype::predefined(basic).shared_layout().clone();
        let ty = Datatype::assemble(layout, Recipe::F90 { combiner, arguments: arguments.to_vec() });
        ty.commit();
        ty
    };
    table.entry(key).or_insert_with(make).clone()
}

/// The smallest real type with `digits` decimal digits and exponent range `range`.
fn real(digits: i32, range: i32) -> Result<(Basic, Basic)> {
    if digits == UNDEFINED && range == UNDEFINED {
        fail!(Arg, "precision and range are both MPI_UNDEFINED; give at least one");
    }
    let fits = |have: i32, want: i32| want == UNDEFINED || want <= have;
    match REALS.iter().find(|(p, r, ..)| fits(*p, digits) && fits(*r, range)) {
        Some(&(_, _, real, complex)) => Ok((real, complex)),
        None => fail!(Arg, "no real type has {digits} digits and exponents up to {range}; the largest has 33 and 4931"),
    }
}

impl Datatype {
    /// The real type with at least `digits` decimal digits and exponents up to `range` (`MPI_Type_create_f90_real`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when no type is large enough or both are `MPI_UNDEFINED`.
    pub fn f90_real(digits: i32, range: i32) -> Result<Datatype> {
        Ok(made(Combiner::F90Real, real(digits, range)?.0, &[digits, range]))
    }

    /// The complex type of such reals (`MPI_Type_create_f90_complex`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when no type is large enough or both are `MPI_UNDEFINED`.
    pub fn f90_complex(digits: i32, range: i32) -> Result<Datatype> {
        Ok(made(Combiner::F90Complex, real(digits, range)?.1, &[digits, range]))
    }

    /// The integer type that holds `range` decimal digits (`MPI_Type_create_f90_integer`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when no type is large enough.
    pub fn f90_integer(range: i32) -> Result<Datatype> {
        match INTEGERS.iter().find(|(r, _)| range <= *r) {
            Some(&(_, basic)) => Ok(made(Combiner::F90Integer, basic, &[range])),
            None => fail!(Arg, "no integer type holds {range} decimal digits; the largest holds 38"),
        }
    }

    /// The predefined type of a class and a size in bytes (`MPI_Type_match_size`).
    ///
    /// # Errors
    /// `MPI_ERR_ARG` when there is none.
    pub fn match_size(class: TypeClass, size: i64) -> Result<&'static Datatype> {
        let basic = match (class, size) {
            (TypeClass::Integer, 1) => Basic::Integer1,
            (TypeClass::Integer, 2) => Basic::Integer2,
            (TypeClass::Integer, 4) => Basic::Integer4,
            (TypeClass::Integer, 8) => Basic::Integer8,
            (TypeClass::Integer, 16) => Basic::Integer16,
            (TypeClass::Real, 2) => Basic::Real2,
            (TypeClass::Real, 4) => Basic::Real4,
            (TypeClass::Real, 8) => Basic::Real8,
            (TypeClass::Real, 16) => Basic::Real16,
            (TypeClass::Complex, 4) => Basic::Complex4,
            (TypeClass::Complex, 8) => Basic::Complex8,
            (TypeClass::Complex, 16) => Basic::Complex16,
            (TypeClass::Complex, 32) => Basic::Complex32,
            _ => fail!(Arg, "no predefined type of class {class:?} has {size} bytes"),
        };
        Ok(Datatype::predefined(basic))
    }
}
