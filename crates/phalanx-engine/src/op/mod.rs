//! Reduction operations (MPI 5.0 §6.9.2 to §6.9.5): the predefined ones on every type the standard allows, and users' own.
//!
//! `inout[i] = input[i] op inout[i]`, as `MPI_Reduce_local` defines it. The operation and the type are looked at once for each
//! call, never once for each element; what remains is a loop the compiler vectorises (`kernels.rs`). Integers wrap around,
//! minimum and maximum of floating point numbers hand a NaN on whichever side it is, so that the result does not depend on
//! who contributed it. Formats Rust has no type for (half, x87 extended, quadruple) are computed by `softfloat.rs`.

mod kernels;
mod pairs;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;

use phalanx_shm::mem::{ConstMem, MutMem};

use crate::datatype::{Basic, Datatype, Kind};
use crate::error::{Result, fail};

macro_rules! builtins {
    ($($variant:ident, $name:literal;)*) => {
        /// A predefined operation, numbered by its place in [`Builtin::ALL`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Builtin {
            $(#[doc = concat!("`", $name, "`")] $variant,)*
        }

        impl Builtin {
            /// Every predefined operation, in the order of their numbers.
            pub const ALL: &'static [Builtin] = &[$(Builtin::$variant),*];

            /// The name in the standard, such as `MPI_SUM`.
            pub const fn name(self) -> &'static str {
                match self { $(Builtin::$variant => $name,)* }
            }
        }
    };
}

builtins! {
    Sum, "MPI_SUM";
    Min, "MPI_MIN";
    Max, "MPI_MAX";
    Prod, "MPI_PROD";
    Band, "MPI_BAND";
    Bor, "MPI_BOR";
    Bxor, "MPI_BXOR";
    Land, "MPI_LAND";
    Lor, "MPI_LOR";
    Lxor, "MPI_LXOR";
    Minloc, "MPI_MINLOC";
    Maxloc, "MPI_MAXLOC";
    Replace, "MPI_REPLACE";
    NoOp, "MPI_NO_OP";
}

impl Builtin {
    /// Whether the operation is defined on elements of this kind (MPI 5.0 §6.9.2), in reductions and in one-sided
    /// accumulation.
    pub const fn allows(self, kind: Kind) -> bool {
        use Builtin::*;
        match (self, kind) {
            (Replace | NoOp, _) => true,
            (Minloc | Maxloc, kind) => matches!(kind, Kind::Pair { .. }),
            (_, Kind::Signed | Kind::Unsigned) => true,
            (Sum | Prod, Kind::Float | Kind::Complex) | (Min | Max, Kind::Float) => true,
            (Land | Lor | Lxor, Kind::Logical | Kind::Bool) => true,
            (Band | Bor | Bxor, Kind::Byte) => true,
            _ => false,
        }
    }
}

/// [Codes](Op::code) of operations of users.
const USERS_COMMUTING: u8 = u8::MAX;
const USERS: u8 = u8::MAX - 1;

/// A user's reduction function.
///
/// It may be called from any thread that makes progress, never under a lock of the engine.
pub trait UserFunction: Send + Sync {
    /// `inout[i] = input[i] op inout[i]` for `count` elements of `ty`; both are based at the address of the first
    /// element, as MPI hands them to the function.
    ///
    /// # Errors
    /// Whatever the function reports; the reduction fails with it.
    fn call(&self, input: ConstMem, inout: MutMem, count: usize, ty: &Datatype) -> Result<()>;
}

impl<F> UserFunction for F
where
    F: Fn(ConstMem, MutMem, usize, &Datatype) -> Result<()> + Send + Sync,
{
    fn call(&self, input: ConstMem, inout: MutMem, count: usize, ty: &Datatype) -> Result<()> {
        self(input, inout, count, ty)
    }
}

/// A reduction operation. Cloning gives another reference to the same one.
#[derive(Clone)]
pub struct Op(What);

#[derive(Clone)]
enum What {
    Builtin(Builtin),
    User { function: Arc<dyn UserFunction>, commutes: bool },
}

impl Op {
    /// A predefined operation.
    pub const fn predefined(builtin: Builtin) -> Op {
        Op(What::Builtin(builtin))
    }

    /// An operation of the user's; `commutes` promises that operands may change places.
    pub fn user(function: Arc<dyn UserFunction>, commutes: bool) -> Op {
        Op(What::User { function, commutes })
    }

    /// Which predefined operation this is, if it is one.
    pub fn builtin(&self) -> Option<Builtin> {
        match self.0 {
            What::Builtin(builtin) => Some(builtin),
            What::User { .. } => None,
        }
    }

    /// A number by which ranks tell each other what they combine with: not 0, and one for all operations of users that
    /// commute, another for all that do not.
    pub(crate) fn code(&self) -> u8 {
        match self.0 {
            What::Builtin(builtin) => builtin as u8 + 1,
            What::User { commutes: true, .. } => USERS_COMMUTING,
            What::User { commutes: false, .. } => USERS,
        }
    }

    /// Whether a [code](Op::code) is that of an operation of a user's.
    pub(crate) const fn is_users(code: u8) -> bool {
        code >= USERS
    }

    /// What a [code](Op::code) stands for, for messages.
    pub(crate) fn of_code(code: u8) -> &'static str {
        match code {
            USERS_COMMUTING => "an operation of the user's that commutes",
            USERS => "an operation of the user's",
            _ => Builtin::ALL.get(usize::from(code).wrapping_sub(1)).map_or("no operation", |b| b.name()),
        }
    }

    /// Whether the operation is predefined.
    pub fn is_predefined(&self) -> bool {
        self.builtin().is_some()
    }

    /// Whether operands may change places.
    pub fn is_commutative(&self) -> bool {
        match self.0 {
            // The last operand wins, so its place matters.
            What::Builtin(Builtin::Replace | Builtin::NoOp) => false,
            What::Builtin(_) => true,
            What::User { commutes, .. } => commutes,
        }
    }

    /// Whether both are the same operation.
    pub fn is_same(&self, other: &Op) -> bool {
        match (&self.0, &other.0) {
            (What::Builtin(a), What::Builtin(b)) => a == b,
            (What::User { function: a, .. }, What::User { function: b, .. }) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Refuses an operation that does not reduce, and a type that it is not defined on. Users' operations accept every type.
    ///
    /// # Errors
    /// `MPI_ERR_OP`, naming operation and type.
    pub fn check(&self, ty: &Datatype) -> Result<()> {
        let What::Builtin(builtin) = self.0 else {
            return Ok(());
        };
        if matches!(builtin, Builtin::Replace | Builtin::NoOp) {
            fail!(Op, "{} combines nothing: it is for one-sided accumulation, not for reductions", builtin.name());
        }
        match ty.basic() {
            Some(basic) if builtin.allows(number(basic)) => Ok(()),
            Some(_) => fail!(Op, "{} is not defined on {ty}; {}", builtin.name(), advice(builtin)),
            None => fail!(
                Op,
                "{} works on predefined datatypes, not on {ty}; reduce the basic elements or use an operation of your own",
                builtin.name()
            ),
        }
    }

    /// Combines two buffers of the calling process (`MPI_Reduce_local`): checks them, then as [`Op::reduce`].
    ///
    /// # Errors
    /// As [`Op::check`], [`Datatype::check_elements`] and [`Op::reduce`].
    pub fn reduce_local(&self, ty: &Datatype, input: ConstMem, inout: MutMem, count: usize) -> Result<()> {
        self.check(ty)?;
        ty.check_elements(input.as_ptr(), count)?;
        ty.check_elements(inout.as_ptr(), count)?;
        self.reduce(ty, input, inout, count)
    }

    /// `inout[i] = input[i] op inout[i]` for `count` elements, both based at the address of the first element.
    ///
    /// # Errors
    /// As [`Op::check`]; what a user's function reports; `MPI_ERR_INTERN` when a buffer is shorter than the elements.
    pub fn reduce(&self, ty: &Datatype, input: ConstMem, inout: MutMem, count: usize) -> Result<()> {
        let builtin = match &self.0 {
            What::User { function, .. } => return function.call(input, inout, count, ty),
            What::Builtin(builtin) => *builtin,
        };
        match builtin {
            Builtin::NoOp => return Ok(()),
            Builtin::Replace => return replace(ty, input, inout, count),
            _ => {}
        }
        let Some(basic) = ty.basic().filter(|basic| builtin.allows(number(*basic))) else {
            return self.check(ty);
        };
        if count == 0 {
            return Ok(());
        }
        let needed = basic.true_extent() + (count - 1) * basic.extent();
        if input.len() < needed || inout.len() < needed {
            fail!(
                Intern,
                "{} of {count} elements of {ty}: buffers of {} and {} bytes are shorter than {needed}",
                builtin.name(),
                input.len(),
                inout.len()
            );
        }
        let (input, inout) = (input.slice(0, needed), inout.slice(0, needed));
        match basic.kind() {
            Kind::Pair { .. } => pairs::reduce(builtin, basic, input, inout, count),
            _ => kernels::reduce(builtin, basic, input, inout),
        }
        Ok(())
    }
}

/// Copies `count` elements, leaving the gaps of `inout` alone.
fn replace(ty: &Datatype, input: ConstMem, inout: MutMem, count: usize) -> Result<()> {
    let total = ty.bytes(count)?;
    let mut inout = inout;
    let mut piece = [0; 4096];
    let mut from = 0;
    while from < total {
        let n = ty.pack(count, &input, from, &mut piece);
        ty.unpack(count, &mut inout, from, &piece[..n]);
        from += n;
    }
    Ok(())
}

/// What the bits of a type mean in a computation. To the standard `MPI_CHAR` is a character, but other libraries compute with
/// it, and programs expect it: it is the number that C's `char` is.
const fn number(basic: Basic) -> Kind {
    match basic {
        Basic::Char if std::ffi::c_char::MIN == 0 => Kind::Unsigned,
        Basic::Char => Kind::Signed,
        _ => basic.kind(),
    }
}

/// What a predefined operation accepts, for error messages.
fn advice(builtin: Builtin) -> &'static str {
    use Builtin::*;
    match builtin {
        Sum | Prod => "it needs integers, floating point or complex numbers",
        Min | Max => "it needs integers or floating point numbers",
        Band | Bor | Bxor => "it needs integers or bytes",
        Land | Lor | Lxor => "it needs integers, logicals or booleans",
        Minloc | Maxloc => "it needs pairs of value and index, such as MPI_DOUBLE_INT",
        Replace | NoOp => "it accepts every type",
    }
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            What::Builtin(builtin) => builtin.name(),
            What::User { commutes: true, .. } => "a commutative user operation",
            What::User { commutes: false, .. } => "a user operation that does not commute",
        })
    }
}

impl fmt::Debug for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Op({self})")
    }
}

/// A word of the soft formats: which one a basic type (or its parts) has.
fn soft_format(basic: Basic) -> crate::softfloat::Format {
    use crate::softfloat::Format;
    match basic {
        Basic::Real2 | Basic::Complex4 => Format::Half,
        _ if basic.is_x87() => Format::X87,
        _ => Format::Quad,
    }
}
