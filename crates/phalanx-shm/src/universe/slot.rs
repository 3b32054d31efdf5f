//! A process's slot: who it is, how it fares, and how to draw its attention.

use crate::doorbell::Doorbell;
use crate::sleep::SleepWord;
use crate::sync::{AtomicI32, AtomicU32, AtomicU64, Ordering};
use crate::universe::ProcId;

/// How far a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum SlotState {
    /// Claimed for a process that has not attached.
    Empty = 0,
    /// The process has attached and initialises.
    Starting = 1,
    /// The process may send and receive (MPI_Init is done).
    Running = 2,
    /// The process has said goodbye (MPI_Finalize is done): nothing more comes from it.
    Finalized = 3,
    /// The process says goodbye: it delivers what it has begun to send, and receives and begins nothing any more.
    Finalizing = 4,
}

/// How a process ended, as its parent found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called exit with this status.
    Status(u8),
    /// This signal killed it.
    Signal(u8),
}

/// One process slot in the segment. All fields are atomics: any process of the
/// universe may look.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Slot {
    /// Process id, 0 while unclaimed. Written once, by the process (or its
    /// launcher on its behalf).
    pid: AtomicI32,
    /// A [`SlotState`]. Written by the process.
    state: AtomicU32,
    /// 0, or `pid << 33 | 1 << 32 | abort code as u32`. Written once, by the
    /// process that calls abort.
    abort: AtomicU64,
    /// 0, or `1 << 32 | 0 (status) or 1 (signal) << 8 | number`. Written once,
    /// by the process's parent.
    exit: AtomicU64,
    /// Zero: nobody writes here.
    unused: [AtomicU64; 13],
    /// Hot bits, epoch and the word to sleep on: see [`crate::doorbell`].
    bell: Doorbell,
}

const SET: u64 = 1 << 32;

impl Slot {
    /// The process id, or 0 while nobody has claimed the slot.
    pub fn pid(&self) -> i32 {
        self.pid.load(Ordering::Acquire)
    }

    /// Claims the slot for process `pid`. Claiming again is fine.
    ///
    /// # Errors
    ///
    /// The process that has it, when that is another one.
    pub fn claim(&self, pid: i32) -> Result<(), i32> {
        match self.pid.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => Ok(()),
            Err(owner) if owner == pid => Ok(()),
            Err(owner) => Err(owner),
        }
    }

    /// How far the process has come.
    pub fn state(&self) -> SlotState {
        match self.state.load(Ordering::Acquire) {
            1 => SlotState::Starting,
            2 => SlotState::Running,
            3 => SlotState::Finalized,
            4 => SlotState::Finalizing,
            _ => SlotState::Empty,
        }
    }

    /// Says how far this process has come.
    pub fn set_state(&self, state: SlotState) {
        self.state.store(state as u32, Ordering::Release);
    }

    /// Records that this process aborts the job with `code`. The first call counts.
    pub fn record_abort(&self, code: i32) {
        let value = u64::from(self.pid() as u32) << 33 | SET | u64::from(code as u32);
        let _ = self.abort.compare_exchange(0, value, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The code this process aborted with, if it did. Nonsense in that place is no code: it lacks the process's number.
    pub fn abort_code(&self) -> Option<i32> {
        let value = self.abort.load(Ordering::Acquire);
        let signed = value >> 33 == u64::from(self.pid() as u32 & (u32::MAX >> 1));
        (value & SET != 0 && signed).then_some(value as u32 as i32)
    }

    /// What cannot be in this slot, once it has been claimed.
    pub(super) fn nonsense(&self) -> Option<&'static str> {
        let abort = self.abort.load(Ordering::Relaxed);
        if self.state.load(Ordering::Relaxed) > SlotState::Finalizing as u32 {
            Some("a state that there is not")
        } else if self.pid.load(Ordering::Relaxed) < 0 {
            Some("a process number that there is not")
        } else if abort != 0 && self.abort_code().is_none() {
            Some("an abort code that nobody gave")
        } else if self.unused.iter().any(|word| word.load(Ordering::Relaxed) != 0) {
            Some("something where there is nothing")
        } else {
            None
        }
    }

    /// Records how the process ended. The first call counts.
    pub fn record_exit(&self, exit: Exit) {
        let value = match exit {
            Exit::Status(n) => SET | u64::from(n),
            Exit::Signal(n) => SET | 1 << 8 | u64::from(n),
        };
        let _ = self.exit.compare_exchange(0, value, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// How the process ended, if its parent has seen that.
    pub fn exit(&self) -> Option<Exit> {
        let value = self.exit.load(Ordering::Acquire);
        (value & SET != 0).then_some(if value & 1 << 8 != 0 {
            Exit::Signal(value as u8)
        } else {
            Exit::Status(value as u8)
        })
    }

    /// Wakes the process's threads if they sleep. Publish what they wait for
    /// first; the fence is in here. For events outside the rings: flags of
    /// collectives, requests completed by another thread, state changes.
    #[inline]
    pub fn notify(&self) {
        self.bell.sleepers.notify();
    }

    /// What the threads of the slot's process sleep on.
    #[inline]
    pub fn sleepers(&self) -> &SleepWord {
        &self.bell.sleepers
    }

    /// Makes the process look at the ring from `from` and wakes it. Producers do
    /// this by themselves after each record.
    #[inline]
    pub fn ring_bell(&self, from: ProcId) {
        self.bell.ring(from.0);
    }

    #[inline]
    pub(crate) fn bell(&self) -> &Doorbell {
        &self.bell
    }
}
