//! Shared-memory segments, rings, waiting and copies for Phalanx.
//!
//! Everything one launch starts on a machine is one [`Universe`]: one anonymous
//! segment with a slot per process, a byte ring per ordered pair of processes
//! (made on first use) and a heap. This crate owns the protocols by which
//! processes share that memory; what it hands out is safe to use:
//!
//! | module | what it gives |
//! |---|---|
//! | `heap` | the allocator of every segment: blocks that are split, joined and reused |
//! | [`universe`] | the segment's layout, slots, pair table, context counter |
//! | [`arena`] | [`Arena`]: the shared memory of a family of processes, as blocks that are held |
//! | [`alive`] | [`ProcessTag`], [`ShortTag`]: which process it is, and whether it has ended |
//! | [`ring`] | [`RingProducer`] and [`RingConsumer`]: messages between one pair |
//! | [`doorbell`] | [`HotSet`]: which rings are worth polling |
//! | [`queue`] | [`Queue`](queue::Queue): records from many processes to many |
//! | [`cells`] | [`Cells`](cells::Cells): what ranks say to each other in steps that all of them take |
//! | [`agreement`] | [`Ledger`](agreement::Ledger): what processes agree on, of which any may be killed meanwhile |
//! | [`lock`] | [`EngineLock`]: the process-private lock of an engine |
//! | [`log`] | [`Log`]: what one process has done, for who reads it afterwards |
//! | [`board`] | the task board of a pool: claims, results, which item each worker is in |
//! | [`budget`] | [`CpuBudget`]: ranks against the CPUs they may use |
//! | [`sleep`] | [`SleepWord`]: sleeping without losing a wake-up; the pace of a wait: look, give way, sleep; slices and deadlines |
//! | [`condition`], [`event`], [`barrier`] | waiting for a notification, an event, or for each other |
//! | [`owned`], [`holders`], [`semaphore`] | locks that know their owner; that know all who share them; counting semaphores |
//! | `limits` | what control groups allow; [`OomKills`]: whether memory ran out when a process was killed |
//! | [`mem`] | [`ConstMem`], [`MutMem`], [`SharedBytes`]: memory of other owners, and the loops over it |
//! | [`single_copy`] | copies straight from and to another process's memory |
//! | `pipe` | the byte pipe under [`transfer`] and the results of [`board`] |
//! | [`transfer`] | large messages: a pipe through shared memory that both sides advance |
//!
//! Architecture Invariant: nothing here knows about MPI, ranks of communicators
//! or message matching; nothing outside this crate and the launcher makes
//! system calls about memory or waiting.
//!
//! With `--cfg loom` only the cores of protocols ([`ring`], [`sleep`], [`lock`], [`owned`], ...) are compiled, over
//! loom's atomics.
#![expect(unsafe_code, reason = "this crate exists to contain it")]

pub(crate) mod sync;

pub mod agreement;
pub mod board;
pub mod cells;
pub mod lock;
#[cfg(not(loom))]
pub mod log;
pub mod queue;
pub mod ring;
pub mod sleep;
#[cfg(not(loom))]
pub mod stillness;

#[cfg(not(loom))]
pub mod alive;
#[cfg(not(loom))]
pub mod arena;
#[cfg(not(loom))]
pub mod barrier;
#[cfg(not(loom))]
pub mod budget;
#[cfg(not(loom))]
pub mod condition;
pub mod doorbell;
pub mod errand;
pub mod error;
pub mod event;
pub mod findings;
#[cfg(not(loom))]
pub mod fork;
#[cfg(all(any(test, fuzzing), not(loom)))]
pub mod fuzz;
mod heap;
pub mod holders;
#[cfg(not(loom))]
pub mod inherit;
#[cfg(not(loom))]
mod limits;
pub mod mem;
pub mod notes;
pub mod owned;
#[cfg_attr(not(loom), expect(unreachable_pub, reason = "public for the loom models"))]
mod pipe;
mod process;
#[cfg(not(loom))]
mod segment;
pub mod semaphore;
#[cfg(not(loom))]
pub mod single_copy;
#[cfg(not(loom))]
pub mod transfer;
#[cfg(not(loom))]
pub mod universe;
#[cfg(not(loom))]
pub mod ways;

#[cfg(not(loom))]
pub use alive::{Death, ProcessTag, ShortTag};
#[cfg(not(loom))]
pub use arena::{Arena, ArenaConfig, Block, BlockKind, Handle, PrivateView};
#[cfg(not(loom))]
pub use budget::CpuBudget;
pub use doorbell::HotSet;
pub use error::ShmError;
#[cfg(loom)]
pub use heap::LoomStack;
#[cfg(not(loom))]
pub use limits::OomKills;
pub use lock::{EngineGuard, EngineLock};
#[cfg(not(loom))]
pub use log::Log;
#[cfg(not(loom))]
pub use mem::SharedBytes;
pub use mem::{ConstMem, MutMem, Part};
pub use owned::{Acquired, OwnedLock};
#[cfg(loom)]
pub use pipe::Positions;
pub use process::{MAX_SLOTS, ProcId};
#[cfg(loom)]
pub use ring::LoomRing;
pub use ring::{Envelope, Record, RingConsumer, RingProducer};
pub use semaphore::Semaphore;
pub use sleep::{SleepWord, Woken};
#[cfg(not(loom))]
pub use transfer::{TransferReceiver, TransferSender};
#[cfg(not(loom))]
pub use universe::{Deed, Exit, Offset, Slot, SlotState, Standing, Universe, UniverseConfig, common_contexts};
#[cfg(not(loom))]
pub use ways::Ways;
