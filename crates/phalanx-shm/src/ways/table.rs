//! What the ways cost on a machine, and which of them that makes the right ones.

use super::{PIPES, Ways};

/// Sizes of memory that goes back and forth, for which the ways are measured.
pub(super) const CYCLES: [usize; 6] = [128 << 10, 256 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20];

/// Sizes of messages that are copied by both and by the receiver alone: those that are short beside the start of a pipe, and one
/// that is in no cache of one CPU.
pub(super) const MESSAGES: [usize; 4] = [32 << 10, 64 << 10, 128 << 10, 4 << 20];

/// No last-level cache has fewer bytes.
const SMALLEST: usize = 64 << 10;

/// How much faster something else has to be before it is chosen instead of what costs less memory or fewer rights.
const CLEARLY: f64 = 1.1;

/// How much faster only reading has to be, where taking lines has been found to gain at other sizes, before lines are left
/// alone. On one machine, minutes apart, memory beyond the second cache gave both 38 and 13 GB/s to a reader who only reads,
/// and 33 to one who takes lines; between CPUs far apart, 6 and 13.
const RISK: f64 = 1.5;

/// How much slower a way may be at one size that lies between sizes at which it gains; how much faster one CPU has to be than two
/// with what no cache holds. Less than that is the moment's.
const MUCH: f64 = 1.5;

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
    /// Rate in GB/s when both copy, through a pipe.
    pub pipe: f64,
    /// Rate in GB/s when the receiver copies it, by the kernel; 0 when that is not allowed.
    pub alone: f64,
}

impl Message {
    /// How much faster the receiver alone is, when its work counts so many times less; a logarithm, below 0 where it is slower.
    fn gain_of_one(&self, times: f64) -> f64 {
        (self.alone * times / self.pipe).ln()
    }
}

/// What was measured on a machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Nanoseconds that a cache line takes from one CPU to the other.
    pub ping: f64,
    /// By bytes, from few to many.
    pub cycles: Vec<Cycle>,
    /// By bytes, from few to many.
    pub messages: Vec<Message>,
    /// Rate in GB/s of the kernel's single copy; 0 when it is not allowed.
    pub alone: f64,
    /// Bytes of the last-level cache; 0 when the machine does not tell.
    pub last_level: usize,
}

impl Table {
    /// The right ways for the machine.
    ///
    /// - Lines are taken over where that is clearly faster at some size, up to the first size at which it is slower by more
    ///   than the risk of not doing it allows: more memory leaves the reader's cache by itself.
    /// - A pipe is as small as it can be without losing a tenth of the best rate: it takes room in the caches and in the
    ///   segment. Where taking lines gains, their taking is part of it.
    /// - The receiver copies alone where even the best pipe is clearly slower than the kernel; in an exchange, where each
    ///   process has both copies of a pipe to do, already where it is clearly slower than twice that. Shorter messages than a
    ///   pipe's it copies alone as far down as that gains, all their sizes together, and those that fit into no cache of its own only where it
    ///   is much faster than two CPUs.
    /// - Copies go past the caches from the size of the last-level cache on.
    pub fn choose(&self) -> Ways {
        let gains = self.cycles.iter().any(|cycle| cycle.take > cycle.read * CLEARLY);
        let taken = self.cycles.iter().take_while(|cycle| gains && cycle.take * RISK > cycle.read);
        let take = taken.last().map_or(0, |cycle| cycle.bytes);
        let rate = |cycle: &Cycle| if cycle.bytes <= take { cycle.take } else { cycle.read };
        // Where lines are taken, a larger pipe than that is as fast as the moment has it.
        let largest = if take >= PIPES.0 { take.min(PIPES.1) } else { PIPES.1 };
        let pipes: Vec<_> = self.cycles.iter().filter(|c| (PIPES.0..=largest).contains(&c.bytes)).collect();
        let best = pipes.iter().map(|cycle| rate(cycle)).fold(0.0, f64::max);
        let pipe = pipes.iter().find(|cycle| rate(cycle) * CLEARLY >= best);
        let default = Ways::default();
        let stream = match self.last_level {
            0 => default.stream,
            bytes => bytes.checked_next_power_of_two().unwrap_or(usize::MAX),
        };
        let from = |times: f64| {
            if self.alone * times <= best * CLEARLY {
                return usize::MAX;
            }
            // Where the two are level at a size, one measurement says so and the next one not: what all sizes gain together decides,
            // and a sender that has nothing to copy is a gain, too.
            let short = self.messages.iter().rev().filter(|message| message.bytes < PIPES.0);
            let may = short.map(|message| (message.bytes, message.gain_of_one(times) + CLEARLY.ln()));
            let sums = may.take_while(|(_, gain)| *gain > -MUCH.ln()).scan(0.0, |sum, (bytes, gain)| {
                *sum += gain;
                Some((bytes, *sum))
            });
            sums.fold((PIPES.0, 0.0), |best, next| if next.1 > best.1 { next } else { best }).0
        };
        let long = self.messages.iter().find(|message| message.bytes > PIPES.0 && message.pipe * MUCH > message.alone);
        let alone = from(1.0);
        Ways {
            take,
            pipe: pipe.map_or(default.pipe, |cycle| cycle.bytes),
            alone,
            together: long.filter(|_| alone != usize::MAX).map_or(usize::MAX, |message| message.bytes),
            exchange: from(2.0),
            stream,
        }
    }

    /// Lines of text, for a file.
    pub(super) fn to_text(&self) -> String {
        let mut text = format!("ping {:.1}\n", self.ping);
        for Cycle { bytes, read, take } in &self.cycles {
            text.push_str(&format!("cycle {bytes} {read:.2} {take:.2}\n"));
        }
        for Message { bytes, pipe, alone } in &self.messages {
            text.push_str(&format!("message {bytes} {pipe:.2} {alone:.2}\n"));
        }
        text.push_str(&format!("alone {:.2}\nlast-level {}\n", self.alone, self.last_level));
        text
    }

    /// The table in lines of text; `None` if there is anything else in them.
    pub(super) fn from_text(text: &str) -> Option<Table> {
        let mut table = Table { ping: 0.0, cycles: Vec::new(), messages: Vec::new(), alone: 0.0, last_level: 0 };
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["ping", ns] => table.ping = rate(ns)?,
                ["cycle", bytes, read, take] => {
                    table.cycles.push(Cycle { bytes: bytes.parse().ok()?, read: rate(read)?, take: rate(take)? });
                }
                ["message", bytes, pipe, alone] => {
                    let (pipe, alone) = (rate(pipe)?, rate(alone)?);
                    table.messages.push(Message { bytes: bytes.parse().ok()?, pipe, alone });
                }
                ["alone", alone] => table.alone = rate(alone)?,
                ["last-level", bytes] => {
                    table.last_level = bytes.parse().ok().filter(|bytes| *bytes == 0 || *bytes >= SMALLEST)?
                }
                _ => return None,
            }
        }
        let is_whole = table.cycles.iter().map(|cycle| cycle.bytes).eq(CYCLES)
            && table.messages.iter().map(|message| message.bytes).eq(MESSAGES);
        (table.ping > 0.0 && is_whole).then_some(table)
    }
}

fn rate(text: &str) -> Option<f64> {
    text.parse().ok().filter(|number: &f64| number.is_finite() && *number >= 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine by the rates of its cycles, from few bytes to many.
    fn machine(ping: f64, read: [f64; 6], take: [f64; 6], alone: f64) -> Table {
        let cycles = CYCLES.into_iter().zip(read).zip(take).map(|((bytes, read), take)| Cycle { bytes, read, take });
        // Where nothing is known of messages, those of a pipe's size and more decide.
        let messages = MESSAGES.map(|bytes| {
            let pipe = if bytes < PIPES.0 { 3.0 } else { 1.0 };
            Message { bytes, pipe, alone: alone.min(1.0) }
        });
        Table { ping, cycles: cycles.collect(), messages: messages.to_vec(), alone, last_level: 32 << 20 }
    }

    /// As measured on an Intel Xeon (family 6, model 207, KVM), the CPUs far apart.
    fn xeon() -> Table {
        let table = machine(113.0, [11.4, 14.0, 15.9, 16.5, 14.8, 16.4], [8.3, 9.5, 10.0, 10.1, 10.1, 11.7], 22.2);
        of_messages(table, [[8.0, 6.6], [9.7, 11.9], [11.5, 13.1], [10.7, 9.2]])
    }

    /// The table with these rates of messages: by both, and by the receiver alone.
    fn of_messages(table: Table, rates: [[f64; 2]; 4]) -> Table {
        let messages = MESSAGES.into_iter().zip(rates).map(|(bytes, [pipe, alone])| Message { bytes, pipe, alone });
        Table { messages: messages.collect(), ..table }
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
        Table { alone: 0.0, ..far() }
    }

    #[test]
    fn the_whole_choice_for_machines_that_were_recorded() {
        for (table, chosen) in [
            (near(), "take=4M,pipe=256K,alone=never,together=never,exchange=never,stream=32M"),
            (near_again(), "take=4M,pipe=512K,alone=never,together=never,exchange=never,stream=32M"),
            (far(), "take=4M,pipe=256K,alone=never,together=never,exchange=256K,stream=32M"),
            (one_core(), "take=never,pipe=512K,alone=never,together=never,exchange=never,stream=32M"),
            (no_gain(), "take=never,pipe=256K,alone=never,together=never,exchange=never,stream=32M"),
            (forbidden(), "take=4M,pipe=256K,alone=never,together=never,exchange=never,stream=32M"),
            (xeon(), "take=never,pipe=512K,alone=64K,together=4M,exchange=32K,stream=32M"),
        ] {
            assert_eq!(table.choose().to_string(), chosen, "{table:?}");
        }
        // Where nothing else is fast, whether single copies are allowed decides.
        let slow = Table { alone: 11.61, ..machine(209.8, [2.27; 6], [2.27; 6], 0.0) };
        assert_eq!(slow.choose().alone, 256 << 10);
        assert_eq!(Table { alone: 0.0, ..slow }.choose().alone, usize::MAX);
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
    fn a_pipe_is_the_smallest_within_a_tenth_of_the_best() {
        assert_eq!(near().choose().pipe, 256 << 10);
        assert_eq!(far().choose().pipe, 256 << 10);
        assert_eq!(one_core().choose().pipe, 512 << 10);
        assert_eq!(no_gain().choose().pipe, 256 << 10);
        for table in [near(), far(), one_core(), no_gain()] {
            let ways = table.choose();
            let rates = table.cycles.iter().filter(|cycle| cycle.bytes >= PIPES.0);
            let best = rates.clone().map(|cycle| cycle.read.max(cycle.take)).fold(0.0, f64::max);
            let chosen = rates.clone().find(|cycle| cycle.bytes == ways.pipe).expect("a size that was measured");
            let rate = if chosen.bytes <= ways.take { chosen.take } else { chosen.read };
            assert!(rate >= best / CLEARLY, "{ways}: {rate} of {best}");
        }
    }

    #[test]
    fn the_receiver_copies_alone_only_where_the_kernel_is_clearly_faster_and_may() {
        let slow = [2.0; 6];
        assert_eq!(machine(205.0, slow, slow, 11.0).choose().alone, 256 << 10);
        assert_eq!(machine(205.0, slow, slow, 0.0).choose().alone, usize::MAX);
        assert_eq!(machine(205.0, slow, slow, 2.1).choose().alone, usize::MAX);
        assert_eq!(near().choose().alone, usize::MAX);
        assert_eq!(far().choose().alone, usize::MAX);
    }

    #[test]
    fn short_messages_are_copied_alone_as_far_down_as_that_is_faster() {
        let slow = || machine(205.0, [2.0; 6], [2.0; 6], 11.0);
        let from = |rates| of_messages(slow(), rates).choose().alone;
        assert_eq!(from([[2.0, 1.0], [2.0, 4.0], [2.0, 6.0], [2.0, 9.0]]), 64 << 10);
        assert_eq!(
            from([[2.0, 9.0], [2.0, 1.0], [2.0, 6.0], [2.0, 9.0]]),
            128 << 10,
            "not past one that is much slower"
        );
        // Measured minutes apart on one machine, where the two are level at 128 KiB.
        assert_eq!(from([[7.1, 7.7], [9.1, 10.1], [11.2, 9.9], [9.1, 6.9]]), 32 << 10);
        assert_eq!(from([[7.1, 8.0], [8.9, 10.6], [11.8, 13.5], [8.5, 8.3]]), 32 << 10);
        assert_eq!(
            from([[9.0, 7.9], [9.1, 9.2], [11.2, 8.9], [9.1, 6.9]]),
            256 << 10,
            "which is more than the others gain"
        );
        assert_eq!(from([[9.0, 8.9], [9.1, 8.9], [11.2, 11.0], [9.1, 6.9]]), 32 << 10, "level");
        assert_eq!(from([[2.0, 2.1], [2.0, 2.1], [2.0, 1.35], [2.0, 9.0]]), 256 << 10);
        // In an exchange the work of both counts.
        let both = |rates| of_messages(slow(), rates).choose().exchange;
        assert_eq!(both([[2.0, 0.9], [2.0, 1.3], [2.0, 1.5], [2.0, 9.0]]), 64 << 10);
        let table = of_messages(machine(50.0, [30.0; 6], [30.0; 6], 11.0), [[2.0, 9.0]; 4]);
        assert_eq!(
            table.choose().alone,
            usize::MAX,
            "where a stream through a pipe is faster, short ones go there, too"
        );
    }

    #[test]
    fn what_fits_into_no_cache_is_copied_by_both_where_that_is_faster() {
        let ways = |rates| {
            of_messages(machine(205.0, [2.0; 6], [2.0; 6], 11.0), [[2.0, 9.0], [2.0, 9.0], [2.0, 9.0], rates]).choose()
        };
        let far = ways([4.0, 3.9]);
        assert_eq!((far.alone, far.together), (32 << 10, 4 << 20));
        assert!(!far.is_for_one(32 << 10 >> 1) && far.is_for_one(32 << 10) && !far.is_for_one(4 << 20));
        assert_eq!(ways([4.0, 5.9]).together, 4 << 20, "not much");
        assert_eq!(ways([4.0, 6.1]).together, usize::MAX);
        assert!(ways([4.0, 6.1]).is_for_one(1 << 40));
        assert!(!Ways::default().is_for_one(1 << 40));
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
