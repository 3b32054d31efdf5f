//! Datatypes (MPI 5.0 chapter 5): predefined types, constructors, layout, packing.
//!
//! | file | subject |
//! |---|---|
//! | `basic.rs` | the predefined types |
//! | `layout.rs` | the type map as an immutable tree; sizes, bounds, alignment |
//! | `construct.rs`, `array.rs`, `f90.rs` | the constructors |
//! | `contents.rs` | how a type was made, as `MPI_Type_get_contents` tells it |
//! | `program.rs` | the type map flattened to strided runs |
//! | `pack.rs`, `memory.rs` | packing, unpacking and segments of any part of a message |
//! | `typemap.rs` | element by element: counting elements, element visits |
//! | `external32.rs` | the portable big-endian representation |
//! | `signature.rs` | type signatures as numbers |
//!
//! A [`Datatype`] is a counted reference: types made of a freed type stay usable, and an operation that goes on after its
//! call keeps its type alive. The layout is shared by all duplicates; name, commit state and recipe belong to each.

mod array;
mod basic;
mod construct;
mod contents;
mod external32;
mod f90;
mod layout;
mod memory;
mod pack;
mod program;
pub mod signature;
mod typemap;

#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

pub use array::{Distribution, Order};
pub use basic::{Basic, Kind, LONG_DOUBLE_IS_X87, PairValue};
pub use contents::{Combiner, Contents, Envelope, Integer};
pub use f90::TypeClass;
pub use memory::{Around, AroundMut, Sink, Source};
pub use pack::Segments;
pub use typemap::ElementCount;

use contents::Recipe;
use layout::Layout;

use crate::error::{Error, ErrorClass, Result, fail};

/// Bytes at the bottom of an address space where no data can be.
const FIRST_PAGE: usize = 4096;

/// A datatype. Cloning gives another reference to the same type.
#[derive(Clone)]
pub struct Datatype(Arc<Inner>);

struct Inner {
    layout: Arc<Layout>,
    recipe: Recipe,
    /// Made by a large-count constructor: `Get_envelope` then reports large counts.
    large: bool,
    committed: AtomicBool,
    /// `None` until a name was set; predefined types then have their own.
    name: Mutex<Option<String>>,
}

/// One object for each predefined type, in the order of [`Basic::ALL`].
static PREDEFINED: LazyLock<[Datatype; Basic::ALL.len()]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let basic = Basic::ALL[i];
        let ty = Datatype::assemble(Layout::basic(basic), Recipe::Named(basic));
        ty.commit();
        ty
    })
});

impl Datatype {
    fn assemble(layout: Arc<Layout>, recipe: Recipe) -> Datatype {
        Datatype(Arc::new(Inner {
            layout,
            recipe,
            large: false,
            committed: AtomicBool::new(false),
            name: Mutex::new(None),
        }))
    }

    /// A predefined type.
    #[inline]
    pub fn predefined(basic: Basic) -> &'static Datatype {
        &PREDEFINED[basic as usize]
    }

    /// Which named predefined type this is, if it is one.
    pub fn named(&self) -> Option<Basic> {
        match self.0.recipe {
            Recipe::Named(basic) => Some(basic),
            _ => None,
        }
    }

    /// Whether the type may not be freed: a named type, or an unnamed one of the `create_f90` functions.
    pub fn is_predefined(&self) -> bool {
        matches!(self.0.recipe, Recipe::Named(_) | Recipe::F90 { .. })
    }

    /// The predefined type that one element of this type is, also for duplicates and `create_f90` types.
    pub fn basic(&self) -> Option<Basic> {
        match self.0.layout.shape {
            layout::Shape::Basic(basic) => Some(basic),
            _ => None,
        }
    }

    /// The predefined type of all basic elements, when it is the same one, however they are arranged.
    pub fn uniform_basic(&self) -> Option<Basic> {
        self.0.layout.uniform
    }

    /// Whether both are the same object.
    pub fn is_same(&self, other: &Datatype) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Bytes of data in one element (`MPI_Type_size`). Always fits `isize`.
    pub fn size(&self) -> usize {
        self.0.layout.size
    }

    /// Bytes of data in `count` elements.
    ///
    /// # Errors
    /// `MPI_ERR_COUNT` when the product does not fit.
    pub fn bytes(&self, count: usize) -> Result<usize> {
        match self.size().checked_mul(count) {
            Some(bytes) if isize::try_from(bytes).is_ok() => Ok(bytes),
            _ => fail!(
                Count,
                "{count} elements of {self} ({} bytes each) are more than fits an address space",
                self.size()
            ),
        }
    }

    /// Lower bound: where an element begins, relative to its address.
    pub fn lb(&self) -> isize {
        self.0.layout.lb
    }

    /// Upper bound: where an element ends.
    pub fn ub(&self) -> isize {
        self.0.layout.ub
    }

    /// Distance from one element to the next.
    pub fn extent(&self) -> isize {
        self.0.layout.ub - self.0.layout.lb
    }

    /// Lowest byte of data.
    pub fn true_lb(&self) -> isize {
        self.0.layout.data.map_or(0, |(low, _)| low)
    }

    /// Bytes from the lowest to the highest byte of data, gaps included.
    pub fn true_extent(&self) -> usize {
        self.0.layout.data.map_or(0, |(low, high)| high.abs_diff(low))
    }

    /// The range of bytes, relative to the base address, that `count` elements touch; `(0, 0)` when they have no data.
    ///
    /// # Errors
    /// `MPI_ERR_COUNT` when the range does not fit an address space.
    pub fn span(&self, count: usize) -> Result<(isize, isize)> {
        let Some((low, high)) = self.0.layout.data.filter(|_| count > 0) else {
            return Ok((0, 0));
        };
        let reach = isize::try_from(count - 1).ok().and_then(|n| n.checked_mul(self.extent()));
        let range = reach.and_then(|reach| Some((low.checked_add(reach.min(0))?, high.checked_add(reach.max(0))?)));
        range.filter(|(low, high)| high.checked_sub(*low).is_some()).ok_or_else(|| {
            Error::new(ErrorClass::Count, format!("{count} elements of {self} reach beyond an address space"))
        })
    }

    /// Whether `count` elements are exactly the bytes from the base address to `count * size`.
    pub fn is_contiguous(&self) -> bool {
        self.0.layout.program().contiguous
    }

    /// The type signature: a number for the predefined type when all basic elements are of one, 0 without elements, else a
    /// hash with the top bit set. See [`signature`].
    pub fn signature(&self) -> u32 {
        self.0.layout.signature
    }

    /// Makes the type usable for communication. Flattens it now, so that the first message does not have to.
    pub fn commit(&self) {
        self.0.layout.program();
        self.0.committed.store(true, Ordering::Release);
    }

    /// Whether the type may be used for communication.
    pub fn is_committed(&self) -> bool {
        self.0.committed.load(Ordering::Acquire)
    }

    /// Refuses a type that was not committed.
    ///
    /// # Errors
    /// `MPI_ERR_TYPE`.
    pub fn check_committed(&self) -> Result<()> {
        if !self.is_committed() {
            fail!(Type, "{self} is not committed; call MPI_Type_commit before communicating with it");
        }
        Ok(())
    }

    /// Refuses a place where `count` elements cannot lie: what begins in the first page of the address space begins at a null
    /// pointer. (A type with absolute displacements may have a base there, as `MPI_BOTTOM` is.)
    ///
    /// # Errors
    /// `MPI_ERR_COUNT` when there is more data than fits an address space, `MPI_ERR_BUFFER` for the place.
    #[inline]
    pub fn check_place(&self, base: *const u8, count: usize) -> Result<()> {
        let bytes = self.bytes(count)?;
        if base.addr() < FIRST_PAGE && bytes > 0 { self.check_low_place(base, count) } else { Ok(()) }
    }

    #[cold]
    fn check_low_place(&self, base: *const u8, count: usize) -> Result<()> {
        if (base.addr() as isize).wrapping_add(self.true_lb()).unsigned_abs() < FIRST_PAGE {
            fail!(Buffer, "the buffer address is null, but {count} elements of {self} are to be transferred");
        }
        Ok(())
    }

    /// Refuses what cannot be communicated: elements of a type that was not committed, or as [`Datatype::check_place`].
    ///
    /// # Errors
    /// `MPI_ERR_TYPE`, `MPI_ERR_COUNT`, `MPI_ERR_BUFFER`.
    #[inline]
    pub fn check_elements(&self, base: *const u8, count: usize) -> Result<()> {
        if !self.is_committed() {
            self.check_committed()?;
        }
        self.check_place(base, count)
    }

    /// The name: what was set, else that of a predefined type, else empty.
    pub fn name(&self) -> String {
        match &*self.0.name.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(name) => name.clone(),
            None => match self.0.recipe {
                Recipe::Named(basic) => basic.name().to_string(),
                _ => String::new(),
            },
        }
    }

    /// Sets the name.
    pub fn set_name(&self, name: &str) {
        *self.0.name.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.to_string());
    }

    fn layout(&self) -> &Layout {
        &self.0.layout
    }

    fn shared_layout(&self) -> &Arc<Layout> {
        &self.0.layout
    }
}

impl fmt::Display for Datatype {
    /// The name, or what the type is made of: `a vector type of MPI_INT`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        if !name.is_empty() {
            return f.write_str(&name);
        }
        write!(f, "a derived datatype ({}", self.0.recipe.combiner().name())?;
        match self.0.layout.uniform {
            Some(basic) => write!(f, " of {})", basic.name()),
            None => write!(f, ", {} bytes of data)", self.size()),
        }
    }
}

impl fmt::Debug for Datatype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Datatype({self}, size {}, lb {}, extent {})", self.size(), self.lb(), self.extent())
    }
}
