//! The pace of a wait: look, give way, sleep.
//!
//! A wait goes this way, with one set of numbers:
//!
//! 1. **Look** a few times: what is waited for is often there within a microsecond.
//! 2. **Go on looking and give way** every few microseconds, as long as a wake-up would take longer than what is
//!    waited for usually does. Where processes outnumber the CPUs they share: a few times at least, whatever it takes.
//! 3. **Sleep** until woken, in slices, and look after each at whoever is waited for.
//!
//! **Neighbours.** A `sched_yield` on a CPU that others compute on gives the CPU away for whole time slices: it comes
//! back after milliseconds, and whoever is waited for may meanwhile want the very same. A process that *sleeps* instead
//! is scheduled within microseconds of its wake-up, since it has used less than its share. How long a yield took tells
//! the two machines apart, so every yield is timed. One that took long ends the polling of its wait; two in a row, by
//! any threads of the process, say that neighbours are busy, and from then on its waits sleep after the first looks. Now
//! and then one yield is tried again: soon at first, and more seldom each time that it was as long again, until that costs
//! a fiftieth of the time at most.
//!
//! **Kin.** Where ranks share CPUs, a yield may be long because other ranks of the job used the CPU, to copy much data or
//! to compute: they are waited for, and no neighbours. So after one long yield the ranks' CPU time is read around the
//! next ones. Since a process that wants to run seldom waits where a CPU is idle, a long yield had all CPUs busy; when
//! the ranks, in the mean of the last ones, had clearly more than all CPUs but one, nobody else took part; and if they had
//! all of them in this one, nobody else does now. That is a guess (the kernel counts the time of a process that runs in ticks
//! of some milliseconds), so what was guessed while ranks copied much holds no longer than that.
//!
//! **Patience.** How long a wait polls follows from how long waits were: one that ended within [`MOST`] or so was served by
//! polling, or would have been, and doubles the time; a longer one was not worth it, and halves it.
//!
//! All numbers here are of one process and decide about cost only: they need no order among threads.

use std::time::Duration;

use crate::CpuBudget;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering, spin_loop};

/// The most CPU time that one wait may spend on polling: longer than a wake-up across CPUs takes on any machine that we
/// know, and shorter than anybody notices.
pub const MOST: Duration = Duration::from_micros(100);

/// The least.
const LEAST: Duration = Duration::from_micros(4);

/// Rounds of looks between two yields, where there are CPUs for all: some 5 us.
const ROUNDS_PER_YIELD: u32 = 8;

/// Rounds before the first yield.
const FIRST_ROUNDS: u32 = 3;

/// A yield that takes longer went to somebody who computes, and not to one who polls as this process does: the time that
/// one polls between its own yields is a fortieth of it.
const LONG: Duration = Duration::from_micros(200);

/// The same where processes of the job, or of a pool, share the CPU. Some of them work for others, and those that come from a sleep go
/// before those that yielded, so that a yield to them may take most of a millisecond. Who computes keeps the CPU until the
/// first tick of the scheduler's clock after its slice: more than a millisecond on all but single CPUs.
const LONG_SHARED: Duration = Duration::from_millis(1);

/// Long yields in a row that tell of neighbours: one may be an accident.
const ENOUGH: u32 = 2;

/// Yields of which must be known whether kin took them, before they tell of neighbours.
const KNOWN: u32 = 4;

/// Yields after which what they tell of kin counts for a third.
const LATELY: u64 = 8;

/// A yield that may be as long as the last one is tried once in so many times its length, when neighbours have been busy for
/// long.
const SELDOM: u32 = 50;

/// The same at first: what was met may have been somebody who computed for a moment.
const SOON: u32 = 8;

/// The processes that wait for each other, where they share CPUs.
struct Kin {
    cpus: f64,
    /// The CPU time that they have used.
    used: Box<dyn Fn() -> Duration + Send + Sync>,
}

impl std::fmt::Debug for Kin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kin").field("cpus", &self.cpus).finish_non_exhaustive()
    }
}

impl Kin {
    /// Whether those who used `time` while yields took so long were the only ones that computed.
    fn were_alone(&self, time: Duration, took: Duration) -> bool {
        time.as_secs_f64() >= (self.cpus - 0.9) * took.as_secs_f64()
    }

    /// Whether they left nothing of the CPUs for anybody else.
    fn had_all(&self, time: Duration, took: Duration) -> bool {
        time.as_secs_f64() >= (self.cpus - 0.2) * took.as_secs_f64()
    }
}

/// How a process waits, as far as it was found out. One for all waits of a kind.
#[derive(Debug)]
pub struct Manners {
    /// Whether there is a CPU for each of those who wait for each other.
    roomy: bool,
    /// Yields before sleep, whatever time they take, where there is not; else 0.
    yields: u32,
    /// How long a yield takes that was not to one of those.
    long: Duration,
    /// Nanoseconds that a wait polls.
    patience: AtomicU32,
    /// The most that those may become.
    most: AtomicU32,
    /// Whose long use of the CPU is no neighbour's.
    kin: Option<Kin>,
    /// Whether those have much to copy, as they have last said.
    copying: AtomicBool,
}

impl Manners {
    /// The manners of a process that waits for the others of a job.
    pub fn of(budget: &CpuBudget) -> Manners {
        let shared = budget.oversubscribed();
        let sharing = (f64::from(budget.ranks) / budget.cpus.max(1.0)).ceil() as u32;
        Manners {
            roomy: !shared,
            // About one round of all that share the CPU; beyond that sleep is better.
            yields: if shared { (sharing * 2).clamp(4, 32) } else { 0 },
            long: if shared { LONG_SHARED } else { LONG },
            patience: AtomicU32::new(MOST.as_nanos() as u32),
            most: AtomicU32::new(MOST.as_nanos() as u32),
            kin: None,
            copying: AtomicBool::new(false),
        }
    }

    /// The manners of a process that waits for the others of a job, which by now have `used` so much CPU time.
    pub fn among(budget: &CpuBudget, used: impl Fn() -> Duration + Send + Sync + 'static) -> Manners {
        let kin = budget.oversubscribed().then(|| Kin { cpus: budget.cpus, used: Box::new(used) });
        Manners { kin, ..Manners::of(budget) }
    }

    /// The manners of a process that waits for another one.
    pub fn of_a_pair() -> Manners {
        /// 0 before it is known, 1 when there are CPUs for both, else 2. Not a lock: a child that is forked while another
        /// thread finds out would wait for that thread for ever.
        static CPUS: AtomicU32 = AtomicU32::new(0);
        if CPUS.load(Ordering::Relaxed) == 0 {
            CPUS.store(1 + u32::from(CpuBudget::detect(2).oversubscribed()), Ordering::Relaxed);
        }
        Manners::of(&CpuBudget::new(3 - CPUS.load(Ordering::Relaxed), None, 2))
    }

    /// Whether there is a CPU for each of those who wait for each other.
    pub fn roomy(&self) -> bool {
        self.roomy
    }

    /// How long a wait polls at present.
    pub fn patience(&self) -> Duration {
        Duration::from_nanos(self.patience.load(Ordering::Relaxed).into())
    }

    /// The most CPU time that one wait may spend on polling: [`MOST`], unless it was set.
    pub fn limit(&self) -> Duration {
        Duration::from_nanos(self.most.load(Ordering::Relaxed).into())
    }

    /// Sets [`Manners::limit`], at most a second; waits poll so long at first.
    pub fn set_limit(&self, most: Duration) {
        let most = most.min(Duration::from_secs(1)).as_nanos() as u32;
        self.most.store(most, Ordering::Relaxed);
        self.patience.store(most, Ordering::Relaxed);
    }

    /// From here on kin copy much, or little. When they have copied, what their long yields seemed to tell of neighbours is forgotten.
    #[inline]
    pub fn begin(&self, copying: bool) {
        if self.kin.is_some() && self.have_copied(copying) {
            NEIGHBOURS.forget();
        }
    }

    /// Whether kin copied much until now, and no longer do.
    #[inline]
    fn have_copied(&self, copying: bool) -> bool {
        let before = self.copying.load(Ordering::Relaxed);
        if before != copying {
            self.copying.store(copying, Ordering::Relaxed);
        }
        before && !copying
    }

    /// Gives the CPU away for a turn, if that is worth it: false when others compute here, so that sleep is better.
    pub fn give_way(&self) -> bool {
        NEIGHBOURS.give_way(clock(), self.long, self.kin.as_ref()).is_some()
    }

    fn learn(&self, waited: Duration) {
        let now = self.patience.load(Ordering::Relaxed);
        // A wake-up may be in the time.
        let most = self.most.load(Ordering::Relaxed);
        let next = if waited <= 2 * Duration::from_nanos(most.into()) {
            (now.max(1) * 2).min(most)
        } else {
            (now / 2).max(most.min(LEAST.as_nanos() as u32))
        };
        if next != now {
            self.patience.store(next, Ordering::Relaxed);
        }
    }
}

/// Gives the CPU away for a turn, if that is worth it: false when others compute here, so that sleep is better.
pub fn give_way() -> bool {
    NEIGHBOURS.give_way(clock(), LONG, None).is_some()
}

/// The same among the processes of a pool, which work for each other: a worker's yield goes to the one that hands out
/// tasks, and is no neighbour's for being long.
pub fn give_way_in_a_pool() -> bool {
    NEIGHBOURS.give_way(clock(), LONG_SHARED, None).is_some()
}

/// What to do next in a wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Next {
    /// Look (some sixteen times) at what is waited for.
    Look,
    /// Announce sleep, look once more, and sleep.
    Sleep,
}

/// Where one wait stands.
///
/// ```
/// use phalanx_shm::CpuBudget;
/// use phalanx_shm::sleep::{Manners, Next, Pace};
///
/// let manners = Manners::of(&CpuBudget::detect(2));
/// let mut pace = Pace::new(&manners);
/// let mut looks = 0;
/// // What is waited for does not come here, so the wait gets to its sleep.
/// while pace.step() == Next::Look {
///     looks += 1;
/// }
/// assert!(looks > 0);
/// ```
#[derive(Debug)]
pub struct Pace<'a> {
    manners: &'a Manners,
    /// Rounds until the next yield.
    rounds: u32,
    /// Yields that are left where CPUs are short, whatever time they take.
    yields: u32,
    /// Nanoseconds that this wait may poll.
    limit: u64,
    /// The first look at the [`clock`]; 0 before it.
    began: u64,
    /// Whether to sleep at once.
    asleep: bool,
}

impl<'a> Pace<'a> {
    /// A wait begins, with a first round of looks.
    #[inline]
    pub fn new(manners: &'a Manners) -> Pace<'a> {
        Pace {
            manners,
            rounds: if manners.roomy { FIRST_ROUNDS } else { 1 },
            yields: manners.yields,
            limit: 0,
            began: 0,
            asleep: false,
        }
    }

    /// What to do after a round of looks. Gives way by itself where that is next.
    #[inline]
    pub fn step(&mut self) -> Next {
        if self.rounds > 1 {
            self.rounds -= 1;
            spin_loop();
            return Next::Look;
        }
        self.pause()
    }

    fn pause(&mut self) -> Next {
        if self.asleep {
            return Next::Sleep;
        }
        let now = clock();
        if self.began == 0 {
            self.began = now;
            self.limit = u64::from(self.manners.patience.load(Ordering::Relaxed));
        }
        // A yield that nobody took is no reason to sleep: where CPUs are short now and then, they are not at this moment.
        if self.yields == 0 && now - self.began >= self.limit {
            self.asleep = true;
            return Next::Sleep;
        }
        self.yields = self.yields.saturating_sub(1);
        self.rounds = if self.manners.roomy { ROUNDS_PER_YIELD } else { 1 };
        match NEIGHBOURS.give_way(now, self.manners.long, self.manners.kin.as_ref()) {
            Some(took) => {
                self.asleep = took > self.manners.long;
                Next::Look
            }
            None => {
                self.asleep = true;
                Next::Sleep
            }
        }
    }

    /// After a wake-up: what comes next often follows soon, so a quarter of the polling is done again.
    pub fn woken(&mut self) {
        self.learn();
        *self = Pace { limit: self.limit / 4, began: clock(), ..Pace::new(self.manners) };
    }

    /// After a sleep in which nothing came: one round of looks.
    pub fn slept_in_vain(&mut self) {
        *self = Pace { asleep: true, rounds: 1, ..Pace::new(self.manners) };
    }

    /// Learns from how long this wait was; not to be called for those that nothing came of.
    pub fn learn(&self) {
        if self.began != 0 {
            self.manners.learn(Duration::from_nanos(clock() - self.began));
        }
    }
}

/// Who had the CPU during a long yield.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Whose {
    Kin,
    Unknown,
    Strangers,
}

/// Whether others compute on this process's CPUs, as its last yields have shown.
#[derive(Debug)]
struct Neighbours {
    /// Until when (nanoseconds of [`clock`]) the last long yield counts as recent; 0 when it was a short one.
    suspected: AtomicU64,
    /// Long yields one soon after the other.
    in_a_row: AtomicU32,
    /// How often it is known what a long yield was used for.
    known: AtomicU32,
    /// Nanoseconds that those took, and the CPU time that kin used meanwhile: the last ones count most.
    took: AtomicU64,
    used: AtomicU64,
    /// Until when no yield is tried.
    busy: AtomicU64,
    /// How many times the length of a long yield that is.
    pause: AtomicU32,
}

static NEIGHBOURS: Neighbours = Neighbours::new();

impl Neighbours {
    const fn new() -> Neighbours {
        let [suspected, took, used, busy] = [const { AtomicU64::new(0) }; 4];
        let [in_a_row, known] = [const { AtomicU32::new(0) }; 2];
        Neighbours { suspected, in_a_row, known, took, used, busy, pause: AtomicU32::new(SOON) }
    }

    /// Yields at `now`, and says how long it took; `None` without a yield when neighbours are busy.
    fn give_way(&self, now: u64, long: Duration, kin: Option<&Kin>) -> Option<Duration> {
        let busy = self.busy.load(Ordering::Relaxed);
        if now < busy {
            return None;
        }
        let suspected = self.suspected.load(Ordering::Relaxed) != 0;
        let before = kin.filter(|_| suspected).map(|kin| (kin.used)());
        rustix::thread::sched_yield();
        let after = clock();
        let took = Duration::from_nanos(after - now);
        if took > long {
            let used = kin.zip(before).map(|(kin, before)| (kin, (kin.used)().saturating_sub(before)));
            self.was_long(after, took, used);
        } else if suspected {
            self.suspected.store(0, Ordering::Relaxed);
            self.busy.store(0, Ordering::Relaxed);
            let pause = self.pause.load(Ordering::Relaxed);
            self.pause.store((pause / 2).max(SOON), Ordering::Relaxed);
        }
        Some(took)
    }

    /// Begins anew: the next yields show whether neighbours are busy.
    #[cold]
    fn forget(&self) {
        for word in [&self.suspected, &self.busy] {
            word.store(0, Ordering::Relaxed);
        }
        self.in_a_row.store(0, Ordering::Relaxed);
        self.pause.store(SOON, Ordering::Relaxed);
    }

    /// A yield took long, and kin used so much CPU time meanwhile, if that is known.
    #[cold]
    fn was_long(&self, now: u64, took: Duration, used: Option<(&Kin, Duration)>) {
        let length = took.as_nanos() as u64;
        let recent = now < self.suspected.swap(now + 2 * length * u64::from(SELDOM), Ordering::Relaxed);
        let whose = used.map_or(Whose::Strangers, |(kin, used)| self.whose(kin, took, used));
        let row = match whose {
            Whose::Kin => 0,
            _ if recent => self.in_a_row.load(Ordering::Relaxed).saturating_add(1),
            _ => 1,
        };
        self.in_a_row.store(row, Ordering::Relaxed);
        if whose == Whose::Strangers && row >= ENOUGH {
            let pause = self.pause.load(Ordering::Relaxed);
            self.busy.store(now + length * u64::from(pause), Ordering::Relaxed);
            self.pause.store((pause * 2).min(SELDOM), Ordering::Relaxed);
        }
    }

    /// Whose a long yield was, in which kin used so much CPU time. Of those before it, the long ones count most.
    fn whose(&self, kin: &Kin, took: Duration, used: Duration) -> Whose {
        let known = self.known.load(Ordering::Relaxed).saturating_add(1);
        self.known.store(known, Ordering::Relaxed);
        let sum = |word: &AtomicU64, more: Duration| {
            let before = word.load(Ordering::Relaxed);
            let sum = (before - before / LATELY).saturating_add(more.as_nanos() as u64);
            word.store(sum, Ordering::Relaxed);
            Duration::from_nanos(sum)
        };
        let (all_took, all_used) = (sum(&self.took, took), sum(&self.used, used));
        match kin.had_all(used, took) {
            true => Whose::Kin,
            _ if known < KNOWN || kin.were_alone(all_used, all_took) => Whose::Unknown,
            _ => Whose::Strangers,
        }
    }
}

/// Milliseconds for which the machine has been up and awake.
pub(crate) fn uptime_ms() -> u64 {
    clock() / 1_000_000
}

/// Nanoseconds for which the machine has been up and awake: one clock for all processes.
pub(crate) fn clock() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manners(cpus: u32, ranks: u32) -> Manners {
        Manners::of(&CpuBudget::new(cpus, None, ranks))
    }

    #[test]
    fn the_limit_of_polling_can_be_set() {
        let manners = Manners::of(&CpuBudget::new(4, None, 2));
        for limit in [Duration::ZERO, Duration::from_nanos(1), MOST * 5] {
            manners.set_limit(limit);
            assert_eq!(manners.patience(), limit);
            (0..20).for_each(|_| manners.learn(20 * MOST));
            assert!(manners.patience() <= limit.min(LEAST));
            (0..20).for_each(|_| manners.learn(limit));
            assert_eq!((manners.patience(), manners.limit()), (limit, limit));
        }
        manners.set_limit(Duration::MAX);
        assert_eq!(manners.limit(), Duration::from_secs(1));
    }

    #[test]
    fn patience_follows_the_length_of_waits() {
        let manners = manners(4, 2);
        for _ in 0..20 {
            manners.learn(20 * MOST);
        }
        assert_eq!(u128::from(manners.patience.load(Ordering::Relaxed)), LEAST.as_nanos());
        for _ in 0..20 {
            manners.learn(MOST / 2);
        }
        assert_eq!(u128::from(manners.patience.load(Ordering::Relaxed)), MOST.as_nanos());
    }

    #[test]
    fn kin_that_used_more_than_all_cpus_but_one_were_alone() {
        let kin = Kin { cpus: 2.0, used: Box::new(|| Duration::ZERO) };
        let took = Duration::from_millis(4);
        assert!(kin.were_alone(2 * took, took));
        assert!(kin.were_alone(took * 9 / 8, took));
        assert!(!kin.were_alone(took, took), "somebody had the other CPU");
    }

    #[test]
    fn long_yields_to_kin_are_no_sign_of_neighbours() {
        let kin = Kin { cpus: 2.0, used: Box::new(|| Duration::ZERO) };
        let (start, long) = (clock(), Duration::from_millis(4));
        let busy_after = |used: Duration| {
            let neighbours = Neighbours::new();
            neighbours.was_long(start, long, None);
            (1..100).find(|at| {
                neighbours.was_long(start + at * 1000, long, Some((&kin, used)));
                neighbours.busy.load(Ordering::Relaxed) != 0
            })
        };
        assert_eq!(busy_after(2 * long), None);
        // Strangers had it for long; now nobody but kin has.
        let neighbours = Neighbours::new();
        (0..10).for_each(|at| neighbours.was_long(start + at * 1000, 10 * long, Some((&kin, long))));
        let busy = neighbours.busy.swap(0, Ordering::Relaxed);
        assert!(busy > start + 10 * long.as_nanos() as u64 * u64::from(SOON), "longer than at first");
        neighbours.was_long(start + 20_000, long, Some((&kin, 2 * long)));
        assert_eq!(neighbours.busy.load(Ordering::Relaxed), 0);
        assert_eq!(busy_after(long), Some(u64::from(KNOWN)));
    }

    #[test]
    fn what_seemed_to_follow_is_forgotten_when_kin_have_copied() {
        let manners = manners(2, 8);
        let ends = [false, true, true, false, false, true, false].map(|copying| manners.have_copied(copying));
        assert_eq!(ends, [false, false, false, true, false, false, true]);
        let (neighbours, long) = (Neighbours::new(), Duration::from_millis(4));
        let start = clock();
        (0..3).for_each(|at| neighbours.was_long(start + at, long, None));
        neighbours.forget();
        assert!(neighbours.give_way(clock(), Duration::MAX, None).is_some(), "a yield is tried at once");
        neighbours.was_long(start, long, None);
        assert_eq!(neighbours.busy.load(Ordering::Relaxed), 0, "one may have been an accident");
        neighbours.was_long(start + 3, long, None);
        let pause = long.as_nanos() as u64 * u64::from(SOON);
        assert_eq!(neighbours.busy.load(Ordering::Relaxed), start + 3 + pause, "as short as at first");
    }

    #[test]
    fn a_wait_ends_in_sleep() {
        for manners in [manners(4, 2), manners(1, 4)] {
            let mut pace = Pace::new(&manners);
            let mut looks = 0;
            while pace.step() == Next::Look {
                looks += 1;
            }
            assert_eq!(pace.step(), Next::Sleep);
            pace.slept_in_vain();
            assert_eq!(pace.step(), Next::Sleep);
            println!("{looks} rounds of looks");
        }
    }

    #[test]
    fn two_long_yields_end_polling_and_a_short_one_begins_it_again() {
        let neighbours = Neighbours::new();
        let long = Duration::from_millis(1);
        let start = clock();
        neighbours.was_long(start, long, None);
        assert_eq!(neighbours.busy.load(Ordering::Relaxed), 0, "one may have been an accident");
        neighbours.was_long(start + 1000, long, None);
        let busy = neighbours.busy.load(Ordering::Relaxed);
        assert_eq!(busy, start + 1000 + 1_000_000 * u64::from(SOON));
        assert_eq!(neighbours.give_way(clock(), Duration::MAX, None), None);
        // The time is over: the next yield counts.
        neighbours.busy.store(1, Ordering::Relaxed);
        assert!(neighbours.give_way(clock(), Duration::MAX, None).is_some());
        assert_eq!(neighbours.busy.load(Ordering::Relaxed), 0);
        // Long yields far from each other are accidents.
        neighbours.was_long(start, long, None);
        neighbours.was_long(start + 3 * 1_000_000 * u64::from(SELDOM), long, None);
        assert_eq!(neighbours.busy.load(Ordering::Relaxed), 0);
    }
}
