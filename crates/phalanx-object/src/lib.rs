//! Python objects on their way between processes, for both extensions: `phalanx.MPI` sends them as messages, and
//! `phalanx._workers` puts them into queues and gives them to pools.
//!
//! - `small`: plain values, written directly, without pickle.
//! - `array`: NumPy arrays of numbers, small ones without pickle.
//! - `parcel`: messages of MPI, on their way out and where they arrive.
//! - `pickler`: everything else, by picklers that are kept; large buffers stay outside the stream.
//! - `frame`: how the stream and those buffers lie in memory; pure arithmetic.
//! - [`place`]: the trait that both placements implement, one contiguous message ([`Parcel`]) or blocks of shared memory
//!   (in `phalanx-workers`), and what is written and read through it.
//! - `memory`: private memory that messages arrive in, and what of it is kept for the next ones.
//! - `view`: memory that an object lends ([`View`]), and memory as an object ([`Part`]).
//! - `gil`: giving up the interpreter lock.
//! - `imports`: modules that are imported in the middle of a call, beside signal handlers.
//!
//! Memory has one rule of ownership. A [`Keeper`] owns it; whoever looks at it as a Python object holds a [`Part`], which
//! holds the keeper. The memory goes back when the last array, view or operation that uses it is gone.

#![expect(unsafe_code, reason = "calls Python's C API and owns memory")]

mod array;
pub mod frame;
mod gil;
mod imports;
mod memory;
mod parcel;
mod pickler;
pub mod place;
mod small;
mod view;

pub use array::{array_over, letter};
pub use gil::{GilCell, attached, detached, lasting, until_it_lasts};
pub use imports::{imported, of_pickle};
pub use memory::Memory;
pub use parcel::{Loader, Parcel, Piece, SHORT, is_ours, load, load_short, load_small, with_plain};
pub use pickler::{Reducers, Written, dump, dump_with};
pub use small::{bytes_of, damaged, decode_small, encode_small, long_bytes, tag, text};
pub use view::{Keeper, Part, View};
