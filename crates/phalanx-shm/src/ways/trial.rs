//! What the ways cost while a program runs: tried now and then, in the program's own work.
//!
//! What was measured before the job began holds for the two CPUs and the moment of the measurement. A virtual machine's CPUs are
//! moved, minutes or seconds apart, from two threads of one core to two ends of a processor; neighbours come and go; and what
//! a program does with its memory between two messages nobody can measure beforehand. So what is done thousands of times goes another way a few
//! times in a row, and then its usual way as often, and what was clearly faster twice is the usual way from then on.
//!
//! What counts is the time from the end of one use to the end of the next. A use itself may seem short because the other side, or the
//! next use, pays for it: a sender that finds its cache lines taken, an answer that comes later. Between two ends all of
//! that has been paid, and what the program does besides is the same for both ways, or it decides nothing. Of several such
//! times in a row the middle one is taken, since a process may lose its CPU in any of them.
//!
//! What has been tried in vain is tried ever more seldom. A process that is alone with its decision also watches its usual way between two
//! windows: when that is suddenly much slower than it was, the machine is another one, and all ways are tried at once.

use std::time::Instant;

/// How often and for how long something is tried.
#[derive(Debug)]
pub struct Pace {
    /// Uses of one way in a row in a window,
    run: usize,
    /// of which so many only bring about what the way leaves in the caches: memory that is used in turns comes back after some uses.
    settles: usize,
    /// Uses before the first window: who has no more to do than this gains nothing by trying.
    first: u32,
    /// Uses from a window to the next one after a way was found, or at first,
    rest: u32,
    /// and at most: twice as many each time that nothing was.
    longest_rest: u32,
}

impl Pace {
    /// For what takes microseconds.
    pub const SHORT_USES: Pace = Pace { run: 12, settles: 6, first: 40, rest: 104, longest_rest: 2048 };
    /// For what takes milliseconds: each use fills the caches with its own memory, and a program makes fewer of them.
    pub const LONG_USES: Pace = Pace { run: 5, settles: 2, first: 12, rest: 36, longest_rest: 960 };

    /// Uses of a window: of the other way, and of the usual one.
    const fn window(&self) -> usize {
        2 * self.run
    }
}

/// How much faster the other way has to be in two windows, one after the other. Less is not worth to be wrong.
const CLEARLY: f64 = 1.15;
/// How much faster it is where it is so slow that it is tried again only after so many times as long.
const SLOWER: f64 = 0.67;
const DETERRED: u32 = 4;

/// Of so many uses that are no part of a window, the time from one to the next is looked at.
const WATCHED: u32 = 8;
/// How much slower the usual way has to be than in the last window, and how often in a row, before all ways are tried at once.
const SUDDENLY: f64 = 2.0;
const OFTEN: u32 = 3;

/// Which of `classes` sizes that are judged apart, each twice the one before, so many bytes belong to: what is shorter than two to the
/// power `first` to the first, and what is longer than all to the last.
#[inline]
#[must_use]
pub fn size_class(bytes: u64, first: u32, classes: usize) -> usize {
    (bytes.max(1).ilog2().saturating_sub(first) as usize).min(classes - 1)
}

/// What a window has shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The usual way is as good as the other one, within what counts.
    Keep,
    /// The other way was clearly faster.
    Faster,
    /// The other way was so much slower that trying it costs more than it may bring soon.
    Slower,
}

impl Verdict {
    /// As a byte that is told to others.
    #[must_use]
    pub fn to_byte(self) -> u8 {
        self as u8
    }

    /// What another process told; what is no verdict changes nothing.
    #[must_use]
    pub fn from_byte(byte: u8) -> Verdict {
        let all = [Verdict::Keep, Verdict::Faster, Verdict::Slower];
        all.into_iter().find(|verdict| *verdict as u8 == byte).unwrap_or(Verdict::Keep)
    }
}

/// What is known of `WAYS` ways to do one thing.
///
/// A process that is alone with its decision asks for each [next](Trial::next) use. Where several processes have to go the same way, each
/// has a trial, and all make the same uses in the same order: then their windows fall together, and only the verdict is one's, who tells it to the
/// others when it [is due](Trial::is_due), and all [settle](Trial::settle) by it.
#[derive(Clone, Debug)]
pub struct Trial<const WAYS: usize> {
    pace: &'static Pace,
    /// What has been found better than what was usual at first.
    found: Option<usize>,
    /// Uses until the next window, or 0 within one; and how many there will be after the next.
    rest: u32,
    next_rest: u32,
    /// Uses in this window so far.
    at: usize,
    /// The window, so that a use that ends after it counts no more.
    window: u32,
    /// The way that this window, or the next one, tries.
    other: usize,
    /// It was clearly faster in the window before.
    confirming: bool,
    /// When the uses of this window ended: of the other way, then of the usual one.
    ends: Box<[Option<Instant>]>,
    /// What is seen between two windows, by who is alone with its decision.
    watch: Option<Watch>,
}

/// What the usual way takes between two windows.
#[derive(Clone, Debug, Default)]
struct Watch {
    /// Nanoseconds that it took in the last window, if there has been one.
    expected: Option<f64>,
    /// When the use before the one that is looked at has ended.
    before: Option<Instant>,
    /// Looks in a row at which it took much longer.
    slow: u32,
    /// Windows that follow each other without a long rest, one for each way.
    urgent: usize,
}

/// Which use a look at the time from one to the next is made at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    Before,
    Behind,
}

/// How one use goes.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    /// Its way.
    pub way: usize,
    /// If it is part of a trial: of which window, and which of its uses.
    part: Option<(u32, usize)>,
    /// If it is none, and is looked at all the same.
    look: Option<Look>,
}

impl Turn {
    /// Whether this use is part of a trial.
    #[must_use]
    pub fn is_tried(&self) -> bool {
        self.part.is_some()
    }

    /// A use that is no part of a trial.
    #[must_use]
    pub fn usual(way: usize) -> Turn {
        Turn { way, part: None, look: None }
    }
}

impl<const WAYS: usize> Default for Trial<WAYS> {
    fn default() -> Trial<WAYS> {
        Trial::paced(&Pace::SHORT_USES)
    }
}

impl<const WAYS: usize> Trial<WAYS> {
    /// One with another pace than that of short uses.
    #[must_use]
    pub fn paced(pace: &'static Pace) -> Trial<WAYS> {
        Trial {
            pace,
            found: None,
            rest: pace.first,
            next_rest: pace.rest,
            at: 0,
            window: 0,
            other: WAYS - 1,
            confirming: false,
            ends: Box::default(),
            watch: None,
        }
    }

    /// One whose process is alone with its decision: it tries all ways at once when the usual one is suddenly much slower.
    #[must_use]
    pub fn watching() -> Trial<WAYS> {
        Trial { watch: Some(Watch::default()), ..Trial::default() }
    }

    /// The way that uses go which are no part of a trial, where `usual` is that of what was measured before.
    #[inline]
    #[must_use]
    pub fn way(&self, usual: usize) -> usize {
        self.found.unwrap_or(usual)
    }

    /// How the next use goes. Ways that are not `open` are not tried.
    #[inline]
    pub fn next(&mut self, usual: usize, open: [bool; WAYS]) -> Turn {
        let way = self.way(usual);
        if self.rest > 0 {
            self.rest -= 1;
            let look = match self.rest % WATCHED {
                1 if self.watch.is_some() => Some(Look::Before),
                0 if self.watch.is_some() => Some(Look::Behind),
                _ => None,
            };
            return Turn { look, ..Turn::usual(way) };
        }
        self.next_of_window(way, open)
    }

    #[cold]
    fn next_of_window(&mut self, way: usize, open: [bool; WAYS]) -> Turn {
        if self.is_due() {
            self.settle(way, self.verdict());
            if self.rest > 0 {
                return self.next(way, open);
            }
        }
        if self.at == 0 {
            let is_other = |other: &usize| *other != way && open[*other];
            let from = if self.confirming { self.other } else { self.other + 1 };
            let Some(other) = (from..from + WAYS).map(|other| other % WAYS).find(is_other) else {
                self.rest = self.pace.rest;
                return Turn::usual(way);
            };
            (self.other, self.ends) = (other, vec![None; self.pace.window()].into());
        }
        let part = Some((self.window, self.at));
        self.at += 1;
        Turn { way: if self.at > self.pace.run { way } else { self.other }, part, look: None }
    }

    /// A use has ended.
    #[inline]
    pub fn ended(&mut self, turn: Turn) {
        if turn.part.is_some() || turn.look.is_some() {
            self.ended_at(turn, Instant::now());
        }
    }

    #[cold]
    fn ended_at(&mut self, turn: Turn, now: Instant) {
        if let Some((window, at)) = turn.part
            && window == self.window
            && let Some(end) = self.ends.get_mut(at)
        {
            *end = Some(now);
        }
        if let Some(look) = turn.look {
            self.watch(look, now);
        }
    }

    /// A use has ended between two windows.
    fn watch(&mut self, look: Look, now: Instant) {
        let Some(watch) = &mut self.watch else { return };
        let before = watch.before.take();
        if look == Look::Before {
            watch.before = Some(now);
            return;
        }
        let (Some(before), Some(expected)) = (before, watch.expected) else { return };
        let is_slow = now.saturating_duration_since(before).as_nanos() as f64 > SUDDENLY * expected;
        watch.slow = if is_slow { watch.slow + 1 } else { 0 };
        if watch.slow >= OFTEN {
            (watch.slow, watch.urgent) = (0, WAYS - 1);
            (self.rest, self.next_rest) = (0, self.pace.rest);
        }
    }

    /// Whether a window is over of which nobody has settled yet what it means.
    #[inline]
    #[must_use]
    pub fn is_due(&self) -> bool {
        self.rest == 0 && self.at == self.pace.window()
    }

    /// Nanoseconds of a use in this window: of the other way, and of the usual one, as far as they are known.
    fn times(&self) -> [Option<f64>; 2] {
        let (other, usual) = self.ends.split_at(self.ends.len() / 2);
        [other, usual].map(|ends| middle(ends.get(self.pace.settles - 1..)?))
    }

    /// What the window has shown here.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        let gain = match self.times() {
            [Some(other), Some(usual)] => usual / other.max(1.0),
            _ => 1.0,
        };
        match gain {
            _ if gain > CLEARLY => Verdict::Faster,
            _ if gain < SLOWER => Verdict::Slower,
            _ => Verdict::Keep,
        }
    }

    /// Goes on after a window with what it has shown, where `usual` is as in [`next`](Trial::next).
    pub fn settle(&mut self, usual: usize, verdict: Verdict) {
        let way = self.way(usual);
        let is_faster = verdict == Verdict::Faster;
        let is_found = self.confirming && is_faster;
        let [by_other, by_usual] = self.times();
        self.ends = Box::default();
        (self.at, self.window) = (0, self.window.wrapping_add(1));
        self.confirming = !self.confirming && is_faster;
        let longer = if verdict == Verdict::Slower { DETERRED } else { 1 };
        let rest = (self.next_rest * longer).min(self.pace.longest_rest);
        self.rest = if self.confirming { 0 } else { rest };
        self.next_rest = (rest * 2).min(self.pace.longest_rest);
        if is_found {
            self.found = Some(self.other);
            (self.rest, self.next_rest) = (self.pace.rest, self.pace.rest);
            // Whoever is found has been better than one way only.
            self.other = way;
        }
        if let Some(watch) = &mut self.watch
            && !self.confirming
        {
            (watch.expected, watch.before) = (if is_found { by_other } else { by_usual }, None);
            watch.urgent = watch.urgent.saturating_sub(1);
            if watch.urgent > 0 {
                self.rest = self.pace.run as u32;
            }
        }
    }
}

/// Nanoseconds from one of these ends to the next in the middle; `None` if one is not known.
fn middle(ends: &[Option<Instant>]) -> Option<f64> {
    let times = ends.windows(2).map(|pair| Some(pair[1]?.saturating_duration_since(pair[0]?).as_nanos() as f64));
    let mut times: Vec<f64> = times.collect::<Option<_>>()?;
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const OPEN: [bool; 2] = [true; 2];
    const PACE: Pace = Pace::SHORT_USES;
    const RUN: usize = PACE.run;

    /// The ways of so many uses, each of which takes what its way costs.
    fn uses<const WAYS: usize>(
        trial: &mut Trial<WAYS>,
        count: usize,
        open: [bool; WAYS],
        cost: impl Fn(usize, usize) -> u64,
    ) -> Vec<usize> {
        let mut now = Instant::now();
        let mut each = |number| {
            let turn = trial.next(0, open);
            now += Duration::from_nanos(cost(turn.way, number));
            trial.ended_at(turn, now);
            turn.way
        };
        (0..count).map(&mut each).collect()
    }

    fn times<const WAYS: usize>(ways: &[usize]) -> [usize; WAYS] {
        std::array::from_fn(|way| ways.iter().filter(|other| **other == way).count())
    }

    #[test]
    fn sizes_are_doubled_from_class_to_class() {
        let classes = [0, 1, 1 << 14, (1 << 15) - 1, 1 << 15, 1 << 16, u64::MAX].map(|bytes| size_class(bytes, 14, 3));
        assert_eq!(classes, [0, 0, 0, 0, 1, 2, 2]);
    }

    #[test]
    fn what_is_faster_becomes_the_usual_way_and_what_is_not_is_seldom_used() {
        let mut trial = Trial::<2>::default();
        let ways = uses(&mut trial, 1000, OPEN, |way, _| [100, 80][way]);
        assert!(times::<2>(&ways)[1] > 850, "{ways:?}");
        let mut trial = Trial::<2>::default();
        let ways = uses(&mut trial, 1000, OPEN, |way, _| [80, 101][way]);
        assert_eq!(times::<2>(&ways)[1], 4 * RUN, "{ways:?}");
        assert_eq!(trial.way(0), 0);
    }

    #[test]
    fn it_changes_again_when_the_machine_does() {
        let mut trial = Trial::<2>::default();
        uses(&mut trial, 500, OPEN, |way, _| [200, 100][way]);
        assert_eq!(trial.way(0), 1);
        uses(&mut trial, 10_000, OPEN, |way, _| [100, 200][way]);
        assert_eq!(trial.way(0), 0);
        let ways = uses(&mut trial, 100_000, OPEN, |way, _| [100, 200][way]);
        assert!(times::<2>(&ways)[1] < 1000, "what is slower is used ever more seldom");
    }

    #[test]
    fn who_watches_changes_soon_when_the_machine_does() {
        for better in [1, 2] {
            let mut trial = Trial::<3>::watching();
            // Long enough for the rests to have become long.
            uses(&mut trial, 20_000, [true; 3], |way, _| [40, 45, 50][way]);
            assert_eq!((trial.way(0), trial.next_rest), (0, PACE.longest_rest));
            let ways = uses(&mut trial, 300, [true; 3], |way, _| if way == better { 50 } else { 250 });
            assert_eq!(trial.way(0), better);
            assert!(times::<3>(&ways)[better] > 100, "{ways:?}");
        }
    }

    #[test]
    fn who_watches_tries_little_when_the_program_does_something_else() {
        let tried = |slow: u64, others: u64| {
            let mut trial = Trial::<3>::watching();
            uses(&mut trial, 20_000, [true; 3], |way, _| [40, 45, 50][way]);
            let ways = uses(&mut trial, 10_000, [true; 3], |way, _| [slow, others, others][way]);
            assert_eq!(trial.way(0), 0);
            10_000 - times::<3>(&ways)[0]
        };
        // All ways have become slower: what is expected has, too.
        assert!((2 * RUN..12 * RUN).contains(&tried(400, 450)), "{}", tried(400, 450));
        // A little slower, and now and then much: nothing is tried besides.
        let usual = tried(40, 50);
        assert_eq!(tried(79, 90), usual);
        let mut trial = Trial::<3>::watching();
        uses(&mut trial, 20_000, [true; 3], |way, _| [40, 45, 50][way]);
        let ways = uses(&mut trial, 10_000, [true; 3], |_, number| if number % 3 == 0 { 4000 } else { 45 });
        assert!(10_000 - times::<3>(&ways)[0] <= usual + 4 * RUN);
    }

    #[test]
    fn who_does_not_watch_looks_at_no_use_between_windows() {
        let mut trial = Trial::<3>::default();
        assert!((0..1000).all(|_| trial.next(0, [true; 3]).look.is_none()));
    }

    #[test]
    fn a_window_in_which_the_usual_way_was_slow_by_chance_changes_nothing() {
        let mut trial = Trial::<2>::default();
        let first = PACE.first as usize;
        uses(&mut trial, 2000, OPEN, |way, number| if way == 0 && number < first + PACE.window() { 1000 } else { 100 });
        assert_eq!(trial.way(0), 0);
        // Now and then a process loses its CPU.
        let mut trial = Trial::<2>::default();
        uses(&mut trial, 5000, OPEN, |_, number| if number % 4 == 0 { 100_000 } else { 100 });
        assert_eq!(trial.way(0), 0);
    }

    #[test]
    fn what_is_level_changes_nothing() {
        let mut trial = Trial::<3>::default();
        uses(&mut trial, 10_000, [true; 3], |way, _| [100, 95, 96][way]);
        assert_eq!(trial.way(0), 0);
    }

    #[test]
    fn the_best_of_several_is_found_and_what_is_closed_is_never_tried() {
        let cost = |way: usize, _| [100, 80, 50][way];
        let mut trial = Trial::<3>::default();
        uses(&mut trial, 3000, [true; 3], cost);
        assert_eq!(trial.way(0), 2);
        let mut trial = Trial::<3>::default();
        let ways = uses(&mut trial, 3000, [true, true, false], cost);
        assert_eq!((trial.way(0), times::<3>(&ways)[2]), (1, 0));
        let ways = uses(&mut Trial::<1>::default(), 500, [true], |_, _| 1);
        assert_eq!(times::<1>(&ways), [500]);
    }

    #[test]
    fn a_use_that_ends_after_its_window_counts_for_nothing() {
        let mut trial = Trial::<2>::default();
        uses(&mut trial, PACE.first as usize, OPEN, |_, _| 1);
        let turns: Vec<Turn> = (0..PACE.window()).map(|_| trial.next(0, OPEN)).collect();
        assert_eq!(turns.iter().map(|turn| turn.way).collect::<Vec<_>>(), [[1; RUN], [0; RUN]].concat());
        assert_eq!(trial.next(0, OPEN).way, 0);
        turns.into_iter().for_each(|turn| trial.ended(turn));
        assert!(trial.ends.is_empty());
    }
    #[test]
    fn what_is_far_slower_is_tried_more_seldom() {
        let tried = |cost: u64| times::<2>(&uses(&mut Trial::<2>::default(), 2000, OPEN, |way, _| [100, cost][way]))[1];
        assert!(2 * tried(200) <= tried(110), "{} and {}", tried(200), tried(110));
        for verdict in [Verdict::Keep, Verdict::Faster, Verdict::Slower] {
            assert_eq!(Verdict::from_byte(verdict.to_byte()), verdict);
        }
        assert_eq!(Verdict::from_byte(0xff), Verdict::Keep);
    }

    #[test]
    fn long_uses_are_judged_after_fewer_of_them() {
        let mut trial = Trial::<2>::paced(&Pace::LONG_USES);
        let ways = uses(&mut trial, 50, OPEN, |way, _| [3_000_000, 2_000_000][way]);
        assert_eq!((trial.way(0), times::<2>(&ways)[0]), (1, 12 + 2 * 5), "{ways:?}");
    }

    #[test]
    fn what_one_process_has_found_all_do_from_the_same_use_on() {
        let [mut first, mut other] = [0, 1].map(|_| Trial::<2>::default());
        let mut now = Instant::now();
        for number in 0..1000 {
            assert_eq!(first.is_due(), other.is_due());
            if first.is_due() {
                let verdict = first.verdict();
                first.settle(0, verdict);
                other.settle(0, verdict);
            }
            let (turn, of_other) = (first.next(0, OPEN), other.next(0, OPEN));
            assert_eq!((turn.way, turn.is_tried()), (of_other.way, of_other.is_tried()), "use {number}");
            now += Duration::from_nanos([200, 100][turn.way]);
            first.ended_at(turn, now);
            // To the other one both seem alike.
            other.ended_at(turn, Instant::now());
        }
        assert_eq!((first.way(0), other.way(0)), (1, 1));
    }
}
