//! What the ways cost on a machine, and which of them that makes the right ones.

use super::{PIPES, Ways};

/// Sizes of memory that goes back and forth, for which the ways are measured.
pub(super) const CYCLES: [usize; 6] = [128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20];

/// Sizes of messages that are measured: from those that are short beside the start of a pipe to those that are in no cache of one CPU.
pub(super) const MESSAGES: [usize; 7] = [32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 8 << 20];

/// Sizes of pipes through which they are measured. What is between and beyond them was better than both in single rows only.
pub(super) const THROUGH: [usize; 2] = [PIPES.0, 1 << 20];

/// Bytes of a message that goes round a pipe many times: what that costs tells the pipes apart, and not the memory that one happens
/// to have.
pub(super) const LONG: usize = 8 << 20;

/// Bytes of a message that two CPUs share for so long that it is worth to them what they wait for each other.
const SHARED: usize = 1 << 20;

/// No last-level cache has fewer bytes.
const SMALLEST: usize = 64 << 10;

/// How much faster something else has to be before it is chosen instead of what costs less memory or fewer rights.
const CLEARLY: f64 = 1.1;

/// How much faster only reading has to be, where taking lines has been found to gain at other sizes, before lines are left
/// alone. On one machine, minutes apart, memory beyond the second cache gave both 38 and 13 GB/s to a reader who only reads,
/// and 33 to one who takes lines; between CPUs far apart, 6 and 13.
const RISK: f64 = 1.5;

/// What it is worth that the sender of a short message has nothing to copy. At one that is [`SHARED`], one has to be clearly faster.
const FREED: f64 = 1.05;

/// How much faster one CPU has to be than two with what no cache holds.
const MUCH: f64 = 1.5;

/// How many sizes have to gain together: one alone may be the moment's.
const SEVERAL: usize = 2;

/// One writer and one reader on two CPUs, with so much memory between them that is used again and again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cycle {
    /// Bytes of the memory.
    pub bytes: usize,
    /// Rate in GB/s when the reader only reads.
    pub read: f64,
    /// Rate in GB/s when the reader takes the cache lines over.
    pub take: f64,
}

/// A message, from when its receiver is ready until that has it. A rate is the geometric mean of two: that of data which its sender
/// has just written, and whose lines are in his cache, and that of data which has not changed since the message before, and which
/// may be in the receiver's. Programs have both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Message {
    /// Bytes of the message.
    pub bytes: usize,
    /// Rates in GB/s when both copy, through each pipe of [`THROUGH`]; 0 for one that was not measured.
    pub pipes: [f64; THROUGH.len()],
    /// Rate in GB/s when the receiver copies it, by the kernel; 0 when that is not allowed.
    pub alone: f64,
}

impl Message {
    /// Rate in GB/s through a pipe, by its place in [`THROUGH`].
    pub fn through(&self, pipe: usize) -> f64 {
        match self.pipes.get(pipe) {
            Some(rate) if *rate > 0.0 => *rate,
            _ => self.pipes[0],
        }
    }

    /// How much faster the receiver alone is than both through a pipe, when its work counts so many times less; a logarithm, below 0
    /// where it is slower.
    fn gain_of_one(&self, pipe: usize, times: f64) -> f64 {
        (self.alone * times / self.through(pipe)).ln()
    }
}

/// What was measured on a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Nanoseconds that a cache line takes from one CPU to the other.
    pub ping: f64,
    /// By bytes, from few to many.
    pub cycles: Vec<Cycle>,
    /// Long messages through pipes of so many bytes, both ways: of those whose lines would be taken by what the cycles say.
    pub pipes: Vec<Cycle>,
    /// By bytes, from few to many.
    pub messages: Vec<Message>,
    /// Bytes of the last-level cache; 0 when the machine does not tell.
    pub last_level: usize,
}

impl Table {
    /// Bytes of the pipes through which messages were measured, as [`Message::pipes`] has them.
    pub const PIPES: [usize; 2] = THROUGH;

    /// Bytes of a message from which all of these were measured, and not the first alone: shorter ones go the same way through any.
    pub const BY_PIPE: usize = 512 << 10;

    /// The right ways for the machine.
    ///
    /// - Lines are taken over where that is clearly faster at several sizes, up to the first size at which it is slower by more
    ///   than the risk of not doing it allows: more memory leaves the reader's cache by itself. No more than the pipes through which
    ///   long messages are not clearly slower by it.
    /// - A pipe is long, so that a side that stops for a moment does not stop the other one, unless long messages are clearly faster
    ///   through a shorter one, as between two threads of one core, which have their caches in common.
    /// - The receiver copies alone from one size to another: those between which that gains most, all their sizes together. Each size by
    ///   itself would be the moment's where both are level. In an exchange, where each process has both copies of a pipe to do, it
    ///   does so where twice its rate is clearly more than the pipe's, and there is no upper end.
    /// - Copies go past the caches from the size of the last-level cache on.
    pub fn choose(&self) -> Ways {
        let default = Ways::default();
        let stream = match self.last_level {
            0 => default.stream,
            bytes => bytes.checked_next_power_of_two().unwrap_or(usize::MAX),
        };
        let pipe = self.pipe();
        let (alone, together) = self.where_one_gains(pipe);
        let exchange = self.where_exchanges_gain(pipe).min(alone);
        Ways {
            take: limited(take(&self.cycles), &self.pipes),
            pipe: THROUGH[pipe],
            alone,
            together,
            exchange,
            stream,
            fixed: false,
        }
    }

    /// The right pipe, by its place in [`THROUGH`].
    fn pipe(&self) -> usize {
        let long = || self.messages.iter().filter(|message| message.bytes >= LONG);
        // How much faster a pipe is than another one, all long messages together.
        let gain = |pipe: usize, than: usize| -> f64 {
            long().map(|message| (message.through(pipe) / message.through(than)).ln()).sum()
        };
        let clearly = CLEARLY.ln() * long().count() as f64;
        (0..THROUGH.len() - 1).rev().fold(
            THROUGH.len() - 1,
            |best, smaller| {
                if gain(smaller, best) > clearly { smaller } else { best }
            },
        )
    }

    /// From and to where a receiver alone gains most. No size above those that were measured, unless it is much faster at the last of
    /// them: two CPUs reach more of a memory that is in no cache than one.
    fn where_one_gains(&self, pipe: usize) -> (usize, usize) {
        let (mut most, mut found) = (0.0, (usize::MAX, usize::MAX));
        for first in 0..self.messages.len() {
            // The rates alone, and with what else counts.
            let (mut rates, mut sum) = (0.0, 0.0);
            for last in first..self.messages.len() {
                let here = &self.messages[last];
                let gain = here.gain_of_one(pipe, 1.0);
                rates += gain;
                sum += gain + if here.bytes < SHARED { FREED.ln() } else { -CLEARLY.ln() };
                if rates > 0.0 && sum > most {
                    let to = match self.messages.get(last + 1) {
                        // In the middle, where there is more between two sizes.
                        Some(next) => next.bytes.min(here.bytes * 4),
                        None if gain > MUCH.ln() => usize::MAX,
                        None => here.bytes * 2,
                    };
                    (most, found) = (sum, (self.messages[first].bytes, to));
                }
            }
        }
        found
    }

    /// From where it gains in exchanges.
    fn where_exchanges_gain(&self, pipe: usize) -> usize {
        let gains = self.messages.iter().rev().scan(0.0, |sum, message| {
            *sum += message.gain_of_one(pipe, 2.0 / CLEARLY);
            Some((message.bytes, *sum))
        });
        gains.fold((usize::MAX, 0.0), |best, next| if next.1 > best.1 { next } else { best }).0
    }

    /// Lines of text, for a file.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("ping {:.1}\n", self.ping);
        for Cycle { bytes, read, take } in &self.cycles {
            text.push_str(&format!("cycle {bytes} {read:.2} {take:.2}\n"));
        }
        for Cycle { bytes, read, take } in &self.pipes {
            text.push_str(&format!("pipe {bytes} {read:.2} {take:.2}\n"));
        }
        for Message { bytes, pipes, alone } in &self.messages {
            let pipes = pipes.map(|rate| format!("{rate:.2}")).join(" ");
            text.push_str(&format!("message {bytes} {pipes} {alone:.2}\n"));
        }
        text.push_str(&format!("last-level {}\n", self.last_level));
        text
    }

    /// The table in lines of text; `None` if there is anything else in them.
    pub(super) fn from_text(text: &str) -> Option<Table> {
        let mut table = Table { ping: 0.0, cycles: Vec::new(), pipes: Vec::new(), messages: Vec::new(), last_level: 0 };
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["ping", ns] => table.ping = rate(ns)?,
                [kind @ ("cycle" | "pipe"), bytes, read, take] => {
                    let cycle = Cycle { bytes: bytes.parse().ok()?, read: rate(read)?, take: rate(take)? };
                    if kind == "cycle" { &mut table.cycles } else { &mut table.pipes }.push(cycle);
                }
                ["message", bytes, ref pipes @ .., alone] => {
                    let pipes = pipes.iter().map(|pipe| rate(pipe)).collect::<Option<Vec<_>>>()?.try_into().ok()?;
                    table.messages.push(Message { bytes: bytes.parse().ok()?, pipes, alone: rate(alone)? });
                }
                ["last-level", bytes] => {
                    table.last_level = bytes.parse().ok().filter(|bytes| *bytes == 0 || *bytes >= SMALLEST)?
                }
                _ => return None,
            }
        }
        let is_whole = table.cycles.iter().map(|cycle| cycle.bytes).eq(CYCLES)
            && THROUGH.iter().take(table.pipes.len()).eq(table.pipes.iter().map(|pipe| &pipe.bytes))
            && table.messages.iter().map(|message| message.bytes).eq(MESSAGES);
        (table.ping > 0.0 && is_whole).then_some(table)
    }
}

/// Up to how much memory lines are taken over, by cycles alone.
pub(super) fn take(cycles: &[Cycle]) -> usize {
    let ratios = || cycles.iter().map(|cycle| cycle.take / cycle.read);
    // All sizes up to one, together.
    let gains = ratios()
        .scan((0_usize, 0.0), |(sizes, sum), ratio| {
            (*sizes, *sum) = (*sizes + 1, *sum + ratio.ln());
            Some(*sizes >= SEVERAL && *sum > *sizes as f64 * CLEARLY.ln())
        })
        .any(|gains| gains);
    let taken = cycles.iter().take_while(|cycle| gains && cycle.take * RISK > cycle.read);
    taken.last().map_or(0, |cycle| cycle.bytes)
}

/// The same, where long messages went through pipes both ways: no more than the longest of those that did not lose by it.
pub(super) fn limited(take: usize, pipes: &[Cycle]) -> usize {
    match pipes.iter().position(|pipe| pipe.read > pipe.take * CLEARLY) {
        Some(loses) => pipes[..loses].last().map_or(0, |pipe| pipe.bytes).min(take),
        None => take,
    }
}

fn rate(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine by the rates of its cycles, from few bytes to many, and of the kernel's copy. Of its messages nothing was recorded:
    /// both copy at the rate of the pipe's memory, and the receiver alone at the kernel's; messages shorter than a pipe are left to
    /// both.
    fn machine(ping: f64, read: [f64; 6], take: [f64; 6], alone: f64) -> Table {
        let cycles = CYCLES.into_iter().zip(read).zip(take).map(|((bytes, read), take)| Cycle { bytes, read, take });
        let cycles: Vec<_> = cycles.collect();
        let taken = super::take(&cycles);
        let pipes = THROUGH.map(|pipe| {
            let cycle = cycles.iter().find(|cycle| cycle.bytes == pipe).expect("a size of cycles");
            if pipe <= taken { cycle.take } else { cycle.read }
        });
        let messages = MESSAGES.map(|bytes| match bytes < PIPES.0 {
            true => Message { bytes, pipes: [3.0; THROUGH.len()], alone: alone.min(1.0) },
            false => Message { bytes, pipes, alone },
        });
        Table { ping, cycles, pipes: Vec::new(), messages: messages.to_vec(), last_level: 32 << 20 }
    }

    /// The table with these rates of messages, from few bytes to many: by both, through each pipe, and by the receiver alone.
    fn of_messages(table: Table, rates: [[f64; 3]; 7]) -> Table {
        let messages =
            MESSAGES.into_iter().zip(rates).map(|(bytes, [pipes @ .., alone])| Message { bytes, pipes, alone });
        Table { messages: messages.collect(), ..table }
    }

    /// As measured on an Intel Xeon (family 6, model 207, KVM), the CPUs far apart: between two processes, a message of data that
    /// changed, and of data that did not.
    fn xeon() -> Table {
        let table = machine(130.0, [10.1, 16.0, 14.9, 13.0, 15.2, 12.0], [9.5, 11.6, 9.5, 10.6, 8.1, 9.2], 0.0);
        of_messages(
            table,
            [
                [6.2, 0.0, 8.5],
                [7.4, 0.0, 10.9],
                [8.1, 0.0, 11.7],
                [10.6, 0.0, 11.7],
                [11.2, 0.0, 11.1],
                [12.3, 11.5, 8.4],
                [9.0, 9.9, 8.0],
            ],
        )
    }

    /// The same minutes later, when more of what a process reads was in its caches.
    fn xeon_again() -> Table {
        of_messages(
            xeon(),
            [
                [6.6, 0.0, 9.4],
                [8.6, 0.0, 12.4],
                [10.1, 0.0, 14.0],
                [11.7, 0.0, 15.8],
                [11.3, 0.0, 14.7],
                [9.7, 13.0, 10.9],
                [8.7, 11.3, 8.9],
            ],
        )
    }

    /// The same virtual CPUs as two threads of one core. Of shorter messages nothing was recorded.
    fn xeon_one_core() -> Table {
        let table = machine(20.0, [15.0; 6], [15.0; 6], 0.0);
        let short = [14.5, 0.0, 12.8];
        of_messages(table, [short, short, short, short, short, [14.5, 9.5, 12.8], [10.6, 8.2, 8.4]])
    }

    /// As measured on an AMD EPYC of family 25 (Zen 4, KVM), both CPUs at one last-level cache.
    fn near() -> Table {
        machine(50.0, [6.8, 6.3, 6.8, 10.7, 12.7, 12.8], [30.5, 30.7, 30.8, 31.8, 32.3, 33.2], 12.4)
    }

    /// The same seconds later.
    fn near_again() -> Table {
        machine(49.0, [8.6, 8.9, 10.1, 17.7, 38.7, 38.8], [27.7, 30.4, 30.7, 31.3, 32.9, 33.5], 14.0)
    }

    /// The same virtual CPUs at two caches.
    fn far() -> Table {
        machine(201.0, [2.3, 2.3, 2.3, 2.4, 2.5, 2.5], [14.9, 15.1, 15.2, 15.7, 15.8, 15.9], 14.0)
    }

    /// The same virtual CPUs as two threads of one core, which have all caches in common.
    fn one_core() -> Table {
        machine(28.0, [19.0, 17.9, 25.7, 24.7, 24.8, 24.5], [18.1, 18.5, 18.0, 15.6, 15.3, 15.3], 14.0)
    }

    /// As measured on an AMD EPYC of family 26 (Zen 5, KVM; decision 0001), where taking was not tried: no gain, then.
    fn no_gain() -> Table {
        machine(45.0, [55.0, 53.0, 55.0, 28.0, 26.0, 25.0], [54.0, 52.0, 55.0, 26.0, 25.0, 25.0], 15.0)
    }

    /// The far placement, on a system that forbids single copies.
    fn forbidden() -> Table {
        machine(201.0, [2.3, 2.3, 2.3, 2.4, 2.5, 2.5], [14.9, 15.1, 15.2, 15.7, 15.8, 15.9], 0.0)
    }

    #[test]
    fn the_whole_choice_for_machines_that_were_recorded() {
        for (table, chosen) in [
            (near(), "take=4M,pipe=1M,alone=never,together=never,exchange=never,stream=32M"),
            (near_again(), "take=4M,pipe=1M,alone=never,together=never,exchange=never,stream=32M"),
            (far(), "take=4M,pipe=1M,alone=never,together=never,exchange=256K,stream=32M"),
            (one_core(), "take=never,pipe=1M,alone=never,together=never,exchange=256K,stream=32M"),
            (no_gain(), "take=never,pipe=256K,alone=never,together=never,exchange=never,stream=32M"),
            (forbidden(), "take=4M,pipe=1M,alone=never,together=never,exchange=never,stream=32M"),
            (xeon(), "take=never,pipe=1M,alone=32K,together=1M,exchange=32K,stream=32M"),
            (xeon_again(), "take=never,pipe=1M,alone=32K,together=1M,exchange=32K,stream=32M"),
            (xeon_one_core(), "take=never,pipe=256K,alone=never,together=never,exchange=32K,stream=32M"),
        ] {
            assert_eq!(table.choose().to_string(), chosen, "{table:?}");
        }
        // Where nothing else is fast, whether single copies are allowed decides.
        let slow = |alone| machine(209.8, [2.27; 6], [2.27; 6], alone).choose().alone;
        assert_eq!(slow(11.61), 256 << 10);
        assert_eq!(slow(0.0), usize::MAX);
    }

    /// What a choice loses against the best of what was measured, at its worst size: at most a tenth.
    #[test]
    fn no_size_of_a_recorded_message_goes_a_way_that_is_more_than_a_tenth_slower() {
        for table in
            [xeon(), xeon_again(), xeon_one_core(), near(), near_again(), far(), one_core(), no_gain(), forbidden()]
        {
            let ways = table.choose();
            let pipe = THROUGH.iter().position(|bytes| *bytes == ways.pipe).expect("a pipe that was measured");
            for message in &table.messages {
                let chosen = if ways.is_for_one(message.bytes as u64) { message.alone } else { message.through(pipe) };
                let best = (0..THROUGH.len()).map(|pipe| message.through(pipe)).fold(message.alone, f64::max);
                assert!(chosen * CLEARLY >= best, "{ways}: {chosen} of {best} in {message:?}");
            }
        }
    }

    #[test]
    fn lines_are_taken_where_that_is_faster() {
        assert_eq!(near().choose().take, 4 << 20);
        assert_eq!(near_again().choose().take, 4 << 20);
        assert_eq!(far().choose().take, 4 << 20);
        assert_eq!(one_core().choose().take, 0);
        assert_eq!(no_gain().choose().take, 0);
    }

    #[test]
    fn lines_are_left_alone_from_the_first_size_on_at_which_taking_costs_much() {
        let mut table = near();
        table.cycles[2].take = table.cycles[2].read / RISK;
        assert_eq!(table.choose().take, 256 << 10);
    }

    #[test]
    fn one_size_at_which_lines_taken_seem_to_gain_is_the_moments() {
        let mut table = xeon();
        table.cycles[4] = Cycle { take: 2.0 * table.cycles[4].read, ..table.cycles[4] };
        assert_eq!(table.choose().take, 0);
    }

    #[test]
    fn lines_are_left_alone_from_the_first_pipe_on_that_loses_by_their_taking() {
        let taken = |rates: [[f64; 2]; 2]| {
            let pipes = THROUGH.into_iter().zip(rates).map(|(bytes, [read, take])| Cycle { bytes, read, take });
            Table { pipes: pipes.collect(), ..near() }.choose().take
        };
        assert_eq!(taken([[10.0, 9.5], [10.0, 30.0]]), 4 << 20);
        assert_eq!(taken([[10.0, 9.5], [10.0, 9.0]]), 256 << 10);
        // As cycles of the Xeon once seemed to say; at 64 MiB it cost half of the rate.
        assert_eq!(taken([[9.0, 4.6], [9.9, 4.7]]), 0);
    }

    #[test]
    fn a_pipe_is_long_unless_a_shorter_one_is_clearly_faster() {
        let pipe = |small: f64, large: f64| {
            let mut table = xeon();
            table.messages[6].pipes = [small, large];
            table.choose().pipe
        };
        assert_eq!(pipe(9.0, 10.0), 1 << 20);
        assert_eq!(pipe(10.5, 10.0), 1 << 20);
        assert_eq!(pipe(10.6, 8.2), 256 << 10);
    }

    #[test]
    fn the_receiver_copies_alone_only_where_the_kernel_is_faster_and_may() {
        let slow = |alone| machine(205.0, [2.0; 6], [2.0; 6], alone).choose().alone;
        assert_eq!(slow(11.0), 256 << 10);
        assert_eq!(slow(0.0), usize::MAX);
        assert_eq!(slow(1.8), usize::MAX);
        assert_eq!(near().choose().alone, usize::MAX);
        assert_eq!(far().choose().alone, usize::MAX);
    }

    /// A machine on which messages move at these rates, through any pipe and by the receiver alone, from 32K to 4M.
    fn moving(rates: [[f64; 2]; 7]) -> Ways {
        of_messages(xeon(), rates.map(|[pipe, alone]| [pipe, pipe, alone])).choose()
    }

    const FAST: [f64; 2] = [2.0, 4.0];
    const SLOW: [f64; 2] = [4.0, 2.0];
    const LEVEL: [f64; 2] = [4.0, 4.0];

    #[test]
    fn the_receiver_copies_alone_between_the_sizes_where_that_gains_most() {
        let range = |rates| {
            let ways = moving(rates);
            (ways.alone, ways.together)
        };
        let never = usize::MAX;
        assert_eq!(range([FAST; 7]), (32 << 10, never));
        assert_eq!(range([SLOW; 7]), (never, never));
        assert_eq!(range([SLOW, FAST, FAST, FAST, SLOW, SLOW, SLOW]), (64 << 10, 512 << 10));
        assert_eq!(range([FAST, SLOW, SLOW, FAST, FAST, SLOW, SLOW]), (256 << 10, 1 << 20), "the better of two");
        assert_eq!(
            range([FAST, FAST, [4.0, 3.5], FAST, SLOW, SLOW, SLOW]),
            (32 << 10, 512 << 10),
            "one slower by chance"
        );
        assert_eq!(range([LEVEL; 7]), (never, never));
        // By less than what a free sender is worth.
        let nearly = [4.0, 3.9];
        assert_eq!(
            range([FAST, FAST, nearly, nearly, nearly, nearly, nearly]),
            (32 << 10, 1 << 20),
            "while it is short"
        );
        assert_eq!(range([SLOW, SLOW, SLOW, SLOW, SLOW, FAST, SLOW]), (1 << 20, 4 << 20));
    }

    #[test]
    fn what_is_longer_than_was_measured_is_copied_by_both_unless_one_is_much_faster() {
        let together = |last| moving([FAST, FAST, FAST, FAST, FAST, FAST, last]).together;
        assert_eq!(together([4.0, 4.0]), 4 << 20);
        assert_eq!(together([4.0, 5.0]), 16 << 20);
        assert_eq!(together([4.0, 7.0]), usize::MAX);
        let far = moving([FAST, FAST, FAST, FAST, FAST, FAST, SLOW]);
        assert!(!far.is_for_one(32 << 10 >> 1) && far.is_for_one(32 << 10) && !far.is_for_one(4 << 20));
        assert!(moving([FAST; 7]).is_for_one(1 << 40));
        assert!(!Ways::default().is_for_one(1 << 40));
    }

    #[test]
    fn in_an_exchange_the_work_of_both_counts() {
        let exchange = |rates| moving(rates).exchange;
        let (gains, loses) = ([2.0, 1.5], [2.0, 0.9]);
        assert_eq!(exchange([gains; 7]), 32 << 10);
        assert_eq!(exchange([loses; 7]), usize::MAX);
        assert_eq!(exchange([loses, loses, gains, gains, gains, gains, gains]), 128 << 10);
        assert_eq!(exchange([gains, gains, gains, gains, gains, loses, loses]), 32 << 10, "all together");
        assert_eq!(exchange([FAST, SLOW, SLOW, SLOW, SLOW, SLOW, SLOW]), 32 << 10, "never above `alone`");
    }

    #[test]
    fn copies_pass_the_caches_from_the_size_of_the_last_one_on() {
        let bytes = |last_level| Table { last_level, ..near() }.choose().stream;
        assert_eq!(bytes(32 << 20), 32 << 20);
        assert_eq!(bytes(24 << 20), 32 << 20);
        assert_eq!(bytes(0), Ways::default().stream);
    }

    #[test]
    fn a_table_is_the_same_after_it_was_kept_and_rubbish_is_none() {
        let rounded = far();
        assert_eq!(Table::from_text(&rounded.to_text()), Some(rounded.clone()));
        let text = rounded.to_text();
        for wrong in
            ["", "ping x\n", &text[..text.len() / 2], &text.replace("15.70", "NaN"), &text.replace("message", "a")]
        {
            assert_eq!(Table::from_text(wrong), None, "{wrong}");
        }
    }
}
