//! A process's slot: which process it is, how it fares, and how to draw its attention.
//!
//! There is no model of it, but for the doorbell's: each word has one writer, and says all that there is to say in one
//! store. The standing has two, the process and the launcher, which change it by compare-and-swap.

use crate::alive::ProcessTag;
use crate::doorbell::Doorbell;
use crate::sleep::SleepWord;
use crate::sync::{AtomicU64, Ordering};
use crate::universe::ProcId;

/// How far a process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
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

/// What a process counts besides messages, while somebody looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Deed {
    /// Collective operations, with the bytes that this process has in them.
    Collective = 0,
    /// One-sided operations.
    Window = 1,
    /// Reads and writes of files.
    File = 2,
}

/// How a process ended, as its parent found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called exit with this status.
    Status(u8),
    /// This signal killed it.
    Signal(u8),
}

/// What a slot says about its process, as of one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    /// How far the process has come, as it said itself.
    pub state: SlotState,
    /// How the program ended that the launcher started for this slot, once the launcher has seen that. Where that
    /// program was a shell or the like, the process of the slot is one of its children, and may outlive it: whether
    /// *that* has ended, its [tag](crate::Universe::process) tells.
    pub exit: Option<Exit>,
}

/// A [`Standing`] in one word: `state | number << 8 | ENDED | KILLED`.
#[derive(Debug)]
#[repr(transparent)]
pub(super) struct StandingWord(AtomicU64);

const STATE: u64 = 0xff;
const NUMBER_AT: u32 = 8;
const ENDED: u64 = 1 << 16;
const KILLED: u64 = 1 << 17;

impl StandingWord {
    fn get(&self) -> Standing {
        // SYNC POINT standing: Acquire, what the process sent before it said how far it is has been published.
        let word = self.0.load(Ordering::Acquire);
        let number = (word >> NUMBER_AT) as u8;
        Standing {
            state: match word & STATE {
                1 => SlotState::Starting,
                2 => SlotState::Running,
                3 => SlotState::Finalized,
                4 => SlotState::Finalizing,
                _ => SlotState::Empty,
            },
            exit: match word & (ENDED | KILLED) {
                ENDED => Some(Exit::Status(number)),
                0 | KILLED => None,
                _ => Some(Exit::Signal(number)),
            },
        }
    }

    /// Changes one half and keeps the other: the process and its parent may write at the same time.
    fn update(&self, change: impl Fn(u64) -> Option<u64>) {
        // SYNC POINT standing: Release, for the process that finds the new word.
        let _unless_recorded = self.0.fetch_update(Ordering::AcqRel, Ordering::Relaxed, change);
    }

    /// Whether no process of the universe can have written this.
    fn is_nonsense(&self) -> bool {
        let word = self.0.load(Ordering::Relaxed);
        let exit = word & !STATE;
        word & STATE > SlotState::Finalizing as u64
            || exit > (STATE << NUMBER_AT | ENDED | KILLED)
            || exit != 0 && exit & ENDED == 0
    }
}

/// One process slot in the segment. All fields are atomics: any process of the universe may look.
#[derive(Debug)]
#[repr(C, align(128))]
pub struct Slot {
    /// [`ProcessTag`] bits of the process, 0 while there is none. Written once, by the process.
    pub(super) process: AtomicU64,
    /// State and exit.
    pub(super) standing: StandingWord,
    /// 0, or `short tag << 33 | 1 << 32 | abort code as u32`. Written once, by the process when it aborts the job.
    pub(super) abort: AtomicU64,
    /// Where the process's [notes](crate::notes) are, 0 while it has none. Written once, by the process.
    pub(super) notes: AtomicU64,
    /// 1 in the slot of a guest, which lives in another universe and sends into this one: it sleeps, and is to be sent to,
    /// there. Written once: such a slot is that of the next guest then.
    guest: AtomicU64,
    /// Not 0 while somebody looks at what the process sends. Written by the launcher.
    observed: AtomicU64,
    /// Messages that the process has sent and their bytes, as of the last time that it was asked. Written by the process.
    sent: [AtomicU64; 2],
    /// Where the process's [findings](crate::findings) are, 0 while it has none. Written once, by the process.
    pub(super) findings: AtomicU64,
    /// Calls and their bytes of each kind of [`Deed`] while somebody looked. Counted by the process.
    done: [AtomicU64; 6],
    /// Zero: nobody writes here.
    pub(super) unused: AtomicU64,
    /// Hot bits, epoch and the word to sleep on: see [`crate::doorbell`].
    bell: Doorbell,
}

/// There is an abort code.
const ABORTED: u64 = 1 << 32;

impl Slot {
    /// Claims the slot for a process: the calling one, by its [name here](crate::Universe::own_tag). Claiming again is
    /// fine.
    ///
    /// # Errors
    ///
    /// The process that has it, when that is another one: an earlier one of the same number, too.
    pub fn claim(&self, process: ProcessTag) -> Result<(), ProcessTag> {
        match self.process.compare_exchange(0, process.bits(), Ordering::AcqRel, Ordering::Acquire) {
            Err(owner) if owner != process.bits() => Err(ProcessTag::from_bits(owner)),
            _ => Ok(()),
        }
    }

    /// Whether the slot is for guests.
    pub fn is_for_guests(&self) -> bool {
        self.guest.load(Ordering::Acquire) == 1
    }

    /// Keeps the slot for guests.
    pub(super) fn keep_for_guests(&self) {
        self.guest.store(1, Ordering::Release);
    }

    /// Makes the slot of a guest that has left, and that nobody here deals with any more, one for the next.
    pub(super) fn vacate(&self) {
        self.abort.store(0, Ordering::Relaxed);
        self.standing.0.store(0, Ordering::Relaxed);
        self.process.store(0, Ordering::Release);
    }

    /// The process that has claimed the slot, as it called itself.
    pub(super) fn process(&self) -> Option<ProcessTag> {
        let bits = self.process.load(Ordering::Acquire);
        (bits != 0).then(|| ProcessTag::from_bits(bits))
    }

    /// How far the process has come, and how it ended.
    pub fn standing(&self) -> Standing {
        self.standing.get()
    }

    /// Says how far this process has come.
    pub fn set_state(&self, state: SlotState) {
        self.standing.update(|word| Some(word & !STATE | state as u64));
    }

    /// Records how the program of the slot ended. The first call counts.
    pub fn record_exit(&self, exit: Exit) {
        let exit = match exit {
            Exit::Status(n) => ENDED | u64::from(n) << NUMBER_AT,
            Exit::Signal(n) => ENDED | KILLED | u64::from(n) << NUMBER_AT,
        };
        self.standing.update(|word| (word & ENDED == 0).then_some(word & STATE | exit));
    }

    /// What begins the abort word: nobody but the process of the slot signs like this by accident.
    fn signature(&self) -> u64 {
        u64::from(self.process().map_or(0, |process| process.short().to_u32())) << 33 | ABORTED
    }

    /// Records that this process aborts the job with `code`. The first call counts.
    pub fn record_abort(&self, code: i32) {
        let word = self.signature() | u64::from(code as u32);
        let _later = self.abort.compare_exchange(0, word, Ordering::AcqRel, Ordering::Relaxed);
    }

    /// The code this process aborted with, if it did. Nonsense in that place is no code: it lacks the signature.
    pub fn abort_code(&self) -> Option<i32> {
        let word = self.abort.load(Ordering::Acquire);
        (word & !u64::from(u32::MAX) == self.signature()).then_some(word as u32 as i32)
    }

    /// What cannot be in this slot, once it has been claimed.
    pub(super) fn nonsense(&self) -> Option<&'static str> {
        let process = self.process.load(Ordering::Relaxed);
        if self.standing.is_nonsense() {
            Some("a state that there is not")
        } else if ProcessTag::from_bits(process).bits() != process {
            Some("a process that there is not")
        } else if self.abort.load(Ordering::Relaxed) != 0 && self.abort_code().is_none() {
            Some("an abort code that nobody gave")
        } else if self.guest.load(Ordering::Relaxed) > 1 || self.unused.load(Ordering::Relaxed) != 0 {
            Some("something where there is nothing")
        } else {
            None
        }
    }

    /// Wakes the process's threads if they sleep. Publish what they wait for
    /// first; the fence is in here. For events outside the rings: flags of
    /// collectives, requests completed by another thread, state changes.
    #[inline]
    pub fn notify(&self) {
        self.bell.sleepers.notify();
    }

    /// As [`Slot::notify`], after [`SleepWord::published`] or a fence of the caller's.
    #[inline]
    pub fn wake(&self) {
        self.bell.sleepers.wake();
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

    /// Makes the process look around and wakes it: something has changed that its rings do not tell.
    #[cold]
    pub fn alarm(&self) {
        self.bell.alarm();
    }

    /// Says whether somebody looks at what the process sends, and asks for it. Wakes nobody: who sleeps has nothing to say, and
    /// looks around from time to time.
    #[cold]
    pub fn observe(&self, on: bool) {
        self.observed.store(on.into(), Ordering::Relaxed);
        // The new epoch brings the word above with it.
        self.bell.nudge();
    }

    /// Whether somebody looks.
    #[inline]
    pub fn is_observed(&self) -> bool {
        self.observed.load(Ordering::Relaxed) != 0
    }

    /// Says how many messages, and bytes, the process has sent.
    pub fn tell_sent(&self, messages: u64, bytes: u64) {
        self.sent[0].store(messages, Ordering::Relaxed);
        self.sent[1].store(bytes, Ordering::Relaxed);
    }

    /// What the process has said last.
    pub fn sent(&self) -> (u64, u64) {
        (self.sent[0].load(Ordering::Relaxed), self.sent[1].load(Ordering::Relaxed))
    }

    /// Counts a call of the process, and its bytes.
    #[cold]
    pub fn count(&self, deed: Deed, bytes: u64) {
        self.done[deed as usize * 2].fetch_add(1, Ordering::Relaxed);
        self.done[deed as usize * 2 + 1].fetch_add(bytes, Ordering::Relaxed);
    }

    /// Calls that the process has counted, and their bytes.
    pub fn counted(&self, deed: Deed) -> (u64, u64) {
        let [calls, bytes] = [0, 1].map(|word| self.done[deed as usize * 2 + word].load(Ordering::Relaxed));
        (calls, bytes)
    }

    #[inline]
    pub(crate) fn bell(&self) -> &Doorbell {
        &self.bell
    }
}
