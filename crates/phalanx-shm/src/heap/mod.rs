//! The allocator of every shared segment: blocks in size classes, split and joined, harmless when its user is killed.
//!
//! A segment begins with the header of whatever it is (an arena, a universe), in which the heap has its [`Books`]; the
//! heap is the rest from some page on. README.md in this folder says how it is cut up and what a killed process costs.
//!
//! There are two kinds of owners. An [`Arena`](crate::Arena) counts holds: a block is freed by whichever process lets go
//! of it last, and what a killed process held is swept. A [`Universe`](crate::Universe) has owned blocks
//! ([`Heap::take_owned`]), which are freed by whoever the protocol in the block says: counting holds for them would
//! cost a note per large message, and serve nothing, as a job ends when one of its ranks is killed.

#[cfg(not(loom))]
mod blocks;
#[cfg(not(loom))]
mod classes;
#[cfg(not(loom))]
mod gather;
#[cfg(not(loom))]
mod layout;
mod stack;

#[cfg(not(loom))]
pub(crate) use blocks::Heap;
#[cfg(not(loom))]
pub(crate) use layout::{Books, PAGE};
#[cfg(loom)]
pub use stack::LoomStack;
