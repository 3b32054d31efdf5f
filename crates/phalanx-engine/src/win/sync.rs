//! Synchronization (MPI 5.0 §12.5): fence, post-start-complete-wait, locks, flushes.
//!
//! What an operation moves has been moved when it returns, so ending an epoch is telling the others, with what was written
//! before.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::Duration;

use phalanx_shm::holders::{ALONE, SHARED};
use phalanx_shm::owned::Processes;
use phalanx_shm::sleep::{SLICE, SleepWord};
use phalanx_waits::{Kind, Peers};

use crate::engine::{Core, Ended, Told, Waiting};
use crate::error::{Error, ErrorClass, Result, fail};
use crate::group::Group;

use super::Window;
use super::epoch::{FENCE, LOCK_ALL, LOCKED, NOCHECK, STARTED};

/// How a lock is held (`MPI_LOCK_SHARED`, `MPI_LOCK_EXCLUSIVE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Beside others that hold it so.
    Shared,
    /// By one.
    Exclusive,
}

/// What the program promises about an epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Assertions {
    /// Nobody is in the way (`MPI_MODE_NOCHECK`).
    pub nocheck: bool,
    /// No epoch follows a fence (`MPI_MODE_NOSUCCEED`).
    pub nosucceed: bool,
}

/// How long the gate of a lock is waited for before interrupts and deaths are looked at.
const GATE: Option<Duration> = Some(SLICE);

impl Hold {
    fn word(self) -> u64 {
        match self {
            Hold::Shared => SHARED,
            Hold::Exclusive => ALONE,
        }
    }
}

impl Window {
    /// Ends an epoch of access to all ranks and begins the next (`MPI_Win_fence`). Collective.
    ///
    /// # Errors
    /// Class `RmaSync` within another epoch; those of a barrier.
    pub fn fence(&self, assertions: Assertions) -> Result<()> {
        self.engine().serves()?;
        self.0.epochs.check_quiet("MPI_Win_fence", self)?;
        fence(Ordering::SeqCst);
        self.0.comm.barrier()?;
        let next = if assertions.nosucceed { 0 } else { FENCE };
        self.0.epochs.all().store(next, Ordering::Relaxed);
        Ok(())
    }

    /// A fence's epoch is over when another one begins.
    fn leave_fence(&self) {
        self.0.epochs.all().fetch_and(!FENCE, Ordering::Relaxed);
    }

    pub(super) fn waiting(&self, operation: &'static str) -> Waiting<'static> {
        Waiting::on(operation, self.0.comm.ctx())
    }

    /// A rank that has ended, for a wait for it.
    pub(super) fn ended(&self, rank: usize) -> Option<Ended> {
        let process = self.group().get(rank)?;
        self.engine().has_ended(process).then_some(Ended { rank, process })
    }

    /// Wakes the others, after what this rank has published by a fence or a read-modify-write.
    #[cold]
    fn wake_all(&self) {
        let me = self.engine().me();
        for process in self.group().members().iter().filter(|process| **process != me) {
            self.engine().wake(*process);
        }
    }

    /// The ranks of a group in the window.
    fn ranks_of(&self, group: &Group) -> Result<Vec<usize>> {
        let rank = |process| match self.group().rank_of(process) {
            Some(rank) => Ok(rank),
            None => fail!(Group, "the group has a process that is not in {}", self.title()),
        };
        group.members().iter().map(|process| rank(*process)).collect()
    }

    /// Locks the memory of a rank (`MPI_Win_lock`), which need not take part.
    ///
    /// # Errors
    /// Classes `Rank`, `RmaSync`; `ProcAborted` when that rank has ended; interruption.
    pub fn lock(&self, hold: Hold, rank: i32, assertions: Assertions) -> Result<()> {
        let (target, epochs) = (self.target(rank)?, &self.0.epochs);
        if epochs.is_locked(target) {
            fail!(RmaSync, "rank {rank} of {} is locked by this rank already", self.title());
        }
        if self.rank() != rank && self.ended(target).is_some() {
            fail!(ProcAborted, "rank {rank} of {} has ended; its memory cannot be locked", self.title());
        }
        let state = LOCKED | if assertions.nocheck { NOCHECK } else { 0 };
        if epochs.of(target).compare_exchange(0, state, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            fail!(RmaSync, "rank {rank} of {} is in an epoch of MPI_Win_start; complete it first", self.title());
        }
        self.leave_fence();
        if assertions.nocheck {
            // The program has ordered the accesses; their memory is ordered here.
            fence(Ordering::SeqCst);
            return Ok(());
        }
        let taken = self.take(target, hold);
        if taken.is_err() {
            epochs.of(target).store(0, Ordering::Relaxed);
        }
        taken
    }

    fn take(&self, target: usize, hold: Hold) -> Result<()> {
        let me = self.me();
        match self.0.control.words()?.holders(target).try_take(&Processes, me, hold.word(), GATE) {
            Ok(()) => Ok(()),
            Err(_) => self.wait_for_lock(target, hold, "Win_lock", true),
        }
    }

    /// Waits until the lock of a rank's memory can be had; takes it if it is to be taken.
    #[cold]
    fn wait_for_lock(&self, target: usize, hold: Hold, operation: &'static str, take: bool) -> Result<()> {
        let holders = self.0.control.words()?.holders(target);
        let (me, how) = (self.me(), hold.word());
        let in_the_way = Cell::new(None);
        let _counted = holders.wait();
        let free = || {
            in_the_way.set(holders.in_the_way(me, how));
            in_the_way.get().is_none() && (!take || holders.try_take(&Processes, me, how, GATE).is_ok())
        };
        let dead = || {
            // Who holds it and has ended holds it no longer.
            let holder = in_the_way.get().and_then(|holder| self.ended(holder))?;
            if holders.forget(holder.rank) {
                SleepWord::published_by_atomic();
                self.wake_all();
            }
            None
        };
        let tell = |_: &mut Core, told: &mut Told| match in_the_way.get().and_then(|holder| self.group().get(holder)) {
            Some(process) => {
                let what =
                    format!("of rank {target} of {}, which rank {} holds", self.title(), in_the_way.get().unwrap_or(0));
                told.add(Kind::Lock, Peers::one(process.0), what);
            }
            None => told.unknown(),
        };
        self.engine().wait_flag(self.waiting(operation).for_what(&tell), free, dead)
    }

    pub(super) fn me(&self) -> usize {
        usize::try_from(self.rank()).unwrap_or(0)
    }

    /// What was done to the memory of a rank that has ended is nobody's any more.
    fn need_alive(&self, targets: impl IntoIterator<Item = usize>) -> Result<()> {
        match targets.into_iter().find_map(|target| self.ended(target)) {
            Some(ended) => fail!(
                ProcAborted,
                "rank {} of {} has ended; what was put there is lost, and what was read may be old",
                ended.rank,
                self.title()
            ),
            None => Ok(()),
        }
    }

    /// Gives the lock of a rank's memory back.
    fn give_back(&self, target: usize) -> Result<()> {
        if self.0.control.words()?.holders(target).give_back(self.me()) {
            self.wake_all();
        }
        Ok(())
    }

    /// Ends the access that [`Window::lock`] began (`MPI_Win_unlock`).
    ///
    /// # Errors
    /// Classes `Rank`, `RmaSync`; `ProcAborted` when that rank has ended, and the access is over.
    pub fn unlock(&self, rank: i32) -> Result<()> {
        let target = self.target(rank)?;
        let state = self.0.epochs.of(target).load(Ordering::Relaxed);
        if state & LOCKED == 0 {
            fail!(RmaSync, "rank {rank} of {} is not locked by MPI_Win_lock", self.title());
        }
        if state & NOCHECK == 0 {
            self.give_back(target)?;
        } else {
            fence(Ordering::SeqCst);
        }
        self.0.epochs.of(target).store(0, Ordering::Relaxed);
        self.need_alive([target])
    }

    /// Locks the memory of all ranks, shared (`MPI_Win_lock_all`). Not collective.
    ///
    /// # Errors
    /// As [`Window::lock`].
    pub fn lock_all(&self, assertions: Assertions) -> Result<()> {
        self.engine().serves()?;
        let epochs = &self.0.epochs;
        if epochs.all().load(Ordering::Relaxed) & LOCK_ALL != 0 {
            fail!(RmaSync, "the ranks of {} are locked by this rank already", self.title());
        }
        if let Some(target) = epochs.locked() {
            fail!(RmaSync, "rank {target} of {} is locked by this rank already", self.title());
        }
        if epochs.groups().started.is_some() {
            fail!(RmaSync, "{} is in an epoch of MPI_Win_start; complete it first", self.title());
        }
        if assertions.nocheck {
            fence(Ordering::SeqCst);
            epochs.all().store(LOCK_ALL | NOCHECK, Ordering::Relaxed);
            return Ok(());
        }
        let me = self.me();
        while let Some(held) = self.take_all(me)? {
            // With the others given back: nobody waits for this rank while it waits.
            self.wait_for_lock(held, Hold::Shared, "Win_lock_all", false)?;
            self.engine().check_interrupt()?;
        }
        epochs.all().store(LOCK_ALL, Ordering::Relaxed);
        Ok(())
    }

    /// Takes the locks of all ranks, or none: the rank whose lock cannot be had.
    fn take_all(&self, me: usize) -> Result<Option<usize>> {
        let words = self.0.control.words()?;
        for target in 0..self.0.parts.len() {
            if words.holders(target).try_take(&Processes, me, SHARED, GATE).is_err() {
                (0..target).try_for_each(|taken| self.give_back(taken))?;
                return Ok(Some(target));
            }
        }
        Ok(None)
    }

    /// Ends the access that [`Window::lock_all`] began (`MPI_Win_unlock_all`).
    ///
    /// # Errors
    /// Class `RmaSync`; `ProcAborted` when a rank has ended, and the access is over.
    pub fn unlock_all(&self) -> Result<()> {
        self.engine().serves()?;
        let state = self.0.epochs.all().load(Ordering::Relaxed);
        if state & LOCK_ALL == 0 {
            fail!(RmaSync, "the ranks of {} are not locked by MPI_Win_lock_all", self.title());
        }
        if state & NOCHECK == 0 {
            (0..self.0.parts.len()).try_for_each(|target| self.give_back(target))?;
        } else {
            fence(Ordering::SeqCst);
        }
        self.0.epochs.all().store(0, Ordering::Relaxed);
        self.need_alive(0..self.0.parts.len())
    }

    /// Completes the operations on a rank, here and there (`MPI_Win_flush` and its kin); on all ranks without one.
    ///
    /// # Errors
    /// Classes `Rank`, `RmaSync` where the rank is not locked; `ProcAborted` when it has ended.
    pub fn flush(&self, rank: Option<i32>) -> Result<()> {
        let epochs = &self.0.epochs;
        let among = match rank {
            Some(rank) => self.target(rank).map(|target| target..target + 1)?,
            None => 0..self.0.parts.len(),
        };
        let mut locked = among.filter(|target| epochs.is_locked(*target)).peekable();
        if locked.peek().is_none() {
            return Err(self.not_locked(rank));
        }
        fence(Ordering::SeqCst);
        self.need_alive(locked)
    }

    #[cold]
    fn not_locked(&self, rank: Option<i32>) -> Error {
        let which = rank.map_or_else(|| String::from("no rank"), |rank| format!("rank {rank}"));
        let is = if rank.is_some() { "is not" } else { "is" };
        let text = format!("{which} of {} {is} locked; flushing belongs between lock and unlock", self.title());
        Error::new(ErrorClass::RmaSync, text)
    }

    /// Makes what this process and others have written to the window known to each other (`MPI_Win_sync`). Local: the memory
    /// is the same for all.
    pub fn sync(&self) {
        fence(Ordering::SeqCst);
    }

    /// Lets a group access this rank's memory (`MPI_Win_post`). Does not wait.
    ///
    /// # Errors
    /// Class `RmaSync` after another post, class `Group`.
    pub fn post(&self, group: &Group) -> Result<()> {
        self.engine().serves()?;
        let ranks = self.ranks_of(group)?;
        let words = self.0.control.words()?;
        {
            let mut groups = self.0.epochs.groups();
            if groups.posted.is_some() {
                fail!(RmaSync, "MPI_Win_post on {} twice; call MPI_Win_wait first", self.title());
            }
            ranks.iter().for_each(|rank| groups.completions[*rank] += 1);
            groups.posted = Some(ranks.clone());
        }
        self.leave_fence();
        for rank in ranks {
            self.tell(words.posted(rank, self.me()), rank);
        }
        Ok(())
    }

    /// Counts one up in a word of this rank's, and wakes the rank that waits for it.
    fn tell(&self, word: &AtomicU64, rank: usize) {
        // SYNC POINT window-counter: Release, for what was written before; pairs with `has_come`.
        word.fetch_add(1, Ordering::Release);
        SleepWord::published_by_atomic();
        if let Some(process) = self.group().get(rank) {
            self.engine().wake(process);
        }
    }

    /// Waits until the word of each rank has come to its number. An error names the first rank that has ended instead.
    fn wait_for_all<'w>(
        &self,
        operation: &'static str,
        ranks: &[usize],
        word: impl Fn(usize) -> (&'w AtomicU64, u64),
    ) -> Result<()> {
        let mut next = 0;
        let missing = Cell::new(None);
        let all = || {
            while let Some(rank) = ranks.get(next) {
                let (word, number) = word(*rank);
                if !has_come(word, number) {
                    missing.set(Some(*rank));
                    return false;
                }
                next += 1;
            }
            true
        };
        let tell = |_: &mut Core, told: &mut Told| match missing
            .get()
            .and_then(|rank| Some((rank, self.group().get(rank)?)))
        {
            Some((rank, process)) => {
                let what = format!("on {}, for rank {rank}", self.title());
                told.add(Kind::Epoch, Peers::one(process.0), what);
            }
            None => told.unknown(),
        };
        let what = self.waiting(operation).for_what(&tell);
        self.engine().wait_flag(what, all, || self.ended(missing.get()?))
    }

    /// Begins to access the memory of a group, each of which posts (`MPI_Win_start`). Waits for that.
    ///
    /// # Errors
    /// Classes `RmaSync`, `Group`; `ProcAborted` when one of them has ended; interruption.
    pub fn start(&self, group: &Group, assertions: Assertions) -> Result<()> {
        self.engine().serves()?;
        let (ranks, epochs) = (self.ranks_of(group)?, &self.0.epochs);
        let numbers: Vec<u64> = {
            let mut groups = epochs.groups();
            if groups.started.is_some() {
                fail!(RmaSync, "MPI_Win_start on {} twice; call MPI_Win_complete first", self.title());
            }
            if epochs.all().load(Ordering::Relaxed) & LOCK_ALL != 0 || epochs.locked().is_some() {
                fail!(RmaSync, "MPI_Win_start on {}, of which a rank is locked; unlock it first", self.title());
            }
            ranks.iter().for_each(|rank| groups.posts[*rank] += 1);
            groups.started = Some(ranks.clone());
            groups.posts.clone()
        };
        self.leave_fence();
        let words = self.0.control.words()?;
        if !assertions.nocheck {
            let me = self.me();
            let waited = self.wait_for_all("Win_start", &ranks, |rank| (words.posted(me, rank), numbers[rank]));
            if waited.is_err() {
                let mut groups = epochs.groups();
                ranks.iter().for_each(|rank| groups.posts[*rank] -= 1);
                groups.started = None;
                return waited;
            }
        }
        ranks.iter().for_each(|rank| epochs.of(*rank).store(STARTED, Ordering::Relaxed));
        Ok(())
    }

    /// Ends the access that [`Window::start`] began (`MPI_Win_complete`). Does not wait.
    ///
    /// # Errors
    /// Class `RmaSync`.
    pub fn complete(&self) -> Result<()> {
        self.engine().serves()?;
        let Some(ranks) = self.0.epochs.groups().started.take() else {
            fail!(RmaSync, "MPI_Win_complete on {} without MPI_Win_start", self.title());
        };
        let words = self.0.control.words()?;
        for rank in ranks {
            self.0.epochs.of(rank).store(0, Ordering::Relaxed);
            self.tell(words.done(rank, self.me()), rank);
        }
        Ok(())
    }

    /// Waits until all of the group of [`Window::post`] have completed their access (`MPI_Win_wait`).
    ///
    /// # Errors
    /// Class `RmaSync`; `ProcAborted` when one of them has ended; interruption.
    pub fn wait(&self) -> Result<()> {
        self.engine().serves()?;
        let (ranks, numbers) = self.posted("MPI_Win_wait")?;
        let words = self.0.control.words()?;
        let me = self.me();
        let waited = self.wait_for_all("Win_wait", &ranks, |rank| (words.done(me, rank), numbers[rank]));
        if waited.is_ok() {
            self.0.epochs.groups().posted = None;
        }
        waited
    }

    /// Whether all of the group of [`Window::post`] have completed their access, which ends it then (`MPI_Win_test`).
    ///
    /// # Errors
    /// Class `RmaSync`; when the engine cannot go on.
    pub fn test(&self) -> Result<bool> {
        let (ranks, numbers) = self.posted("MPI_Win_test")?;
        self.engine().progress()?;
        let words = self.0.control.words()?;
        let over = ranks.iter().all(|rank| has_come(words.done(self.me(), *rank), numbers[*rank]));
        if over {
            self.0.epochs.groups().posted = None;
        } else {
            self.engine().after_failed_test();
        }
        Ok(over)
    }

    fn posted(&self, call: &str) -> Result<(Vec<usize>, Vec<u64>)> {
        let groups = self.0.epochs.groups();
        match &groups.posted {
            Some(ranks) => Ok((ranks.clone(), groups.completions.clone())),
            None => fail!(RmaSync, "{call} on {} without MPI_Win_post", self.title()),
        }
    }
}

/// Whether a counter has come to a number.
fn has_come(word: &AtomicU64, number: u64) -> bool {
    // SYNC POINT window-counter: Acquire, sees what was written before the count.
    word.load(Ordering::Acquire).wrapping_sub(number) as i64 >= 0
}
