//! What is in the table: each rank, and how much of everything since the last look.

use std::collections::HashMap;
use std::time::Instant;

use phalanx_waits::said;

use crate::look::{self, Look, RankSeen};

/// A look, and what has happened since the one before.
pub(super) struct Sample {
    pub(super) look: Look,
    at: Instant,
    /// CPU time in milliseconds, messages and bytes of each rank, by slot.
    totals: HashMap<u32, [u64; 3]>,
    /// The same for a second since the look before.
    rates: HashMap<u32, [f64; 3]>,
}

impl Sample {
    pub(super) fn new(look: Look, before: Option<&Sample>) -> Sample {
        let at = Instant::now();
        let total = |rank: &RankSeen| {
            let processes = rank.process.iter().chain(&rank.children);
            let (messages, bytes) = rank.sent.unwrap_or_default();
            [processes.map(|process| process.cpu).sum(), messages, bytes]
        };
        let totals: HashMap<u32, [u64; 3]> = look.ranks.iter().map(|rank| (rank.slot, total(rank))).collect();
        let mut rates = HashMap::new();
        if let Some(before) = before {
            let seconds = at.duration_since(before.at).as_secs_f64().max(0.001);
            for (slot, now) in &totals {
                let Some(then) = before.totals.get(slot) else { continue };
                // A child that has ended takes its time with it.
                let rate = |what: usize| now[what].saturating_sub(then[what]) as f64 / seconds;
                rates.insert(*slot, [rate(0) / 10.0, rate(1), rate(2)]);
            }
        }
        Sample { look, at, totals, rates }
    }
}

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Rank,
    Cpu,
    Memory,
    Messages,
    Bytes,
    Blocked,
}

impl Order {
    pub(super) fn of_key(key: char) -> Option<Order> {
        Some(match key {
            'r' => Order::Rank,
            'c' => Order::Cpu,
            'm' => Order::Memory,
            's' => Order::Messages,
            'b' => Order::Bytes,
            't' => Order::Blocked,
            _ => return None,
        })
    }
}

struct Row {
    rank: String,
    pid: u32,
    memory: u64,
    /// Milliseconds.
    blocked: Option<u64>,
    rates: Option<[f64; 3]>,
    counts: bool,
    doing: String,
}

/// The lines of the table, the first of which says what is in the columns, each as wide as the terminal.
pub(super) fn table(sample: &Sample, order: Order, columns: usize) -> Vec<String> {
    let look = &sample.look;
    let mut rows: Vec<Row> = look.ranks.iter().map(|rank| row(sample, rank)).collect();
    let largest = |value: f64| std::cmp::Reverse((value * 1000.0) as u64);
    let rate = |row: &Row, what: usize| largest(row.rates.map_or(0.0, |rates| rates[what]));
    match order {
        Order::Rank => {}
        Order::Cpu => rows.sort_by_key(|row| rate(row, 0)),
        Order::Memory => rows.sort_by_key(|row| std::cmp::Reverse(row.memory)),
        Order::Messages => rows.sort_by_key(|row| rate(row, 1)),
        Order::Bytes => rows.sort_by_key(|row| rate(row, 2)),
        Order::Blocked => rows.sort_by_key(|row| std::cmp::Reverse(row.blocked)),
    }
    let mark = |of: Order, name: &str| if of == order { format!("{name}*") } else { name.to_owned() };
    let mut lines = vec![format!(
        "{:>5} {:>8} {:>6} {:>7} {:>8} {:>9} {:>9}  DOING",
        mark(Order::Rank, "RANK"),
        "PID",
        mark(Order::Cpu, "CPU%"),
        mark(Order::Memory, "MEM"),
        mark(Order::Messages, "SENT/s"),
        mark(Order::Bytes, "BYTES/s"),
        mark(Order::Blocked, "BLOCKED"),
    )];
    for row in rows {
        let of =
            |what: usize, tell: &dyn Fn(f64) -> String| row.rates.map_or("-".to_owned(), |rates| tell(rates[what]));
        let sent = |what: usize| if row.counts { of(what, &short) } else { "-".to_owned() };
        lines.push(format!(
            "{:>5} {:>8} {:>6} {:>7} {:>8} {:>9} {:>9}  {}",
            row.rank,
            row.pid,
            of(0, &|cpu| format!("{cpu:.1}")),
            short(row.memory as f64),
            sent(1),
            sent(2),
            row.blocked.map_or("-".to_owned(), time),
            row.doing
        ));
    }
    let cut = |line: String| format!("{:<columns$}", line.chars().take(columns).collect::<String>());
    lines.into_iter().map(cut).collect()
}

fn row(sample: &Sample, rank: &RankSeen) -> Row {
    let look = &sample.look;
    let name = if rank.world == 0 { rank.rank.to_string() } else { format!("{}.{}", rank.world, rank.rank) };
    let wait = look::blocked_in(look, rank);
    let (words, frames) = look::doing(look, rank);
    let words = wait.map_or(words, said);
    let place = look::own(frames).map_or_else(String::new, |frame| {
        let file = frame.file.rsplit('/').next().unwrap_or(&frame.file);
        format!("{file}:{} {}  ", frame.line, frame.function)
    });
    let processes = rank.process.iter().chain(&rank.children);
    Row {
        rank: name,
        pid: rank.process.as_ref().map_or(rank.pid, |process| process.pid),
        memory: processes.map(|process| process.resident).sum(),
        blocked: wait.map(|wait| look.now.saturating_sub(wait.since)),
        rates: sample.rates.get(&rank.slot).copied(),
        counts: rank.sent.is_some(),
        doing: look::tame(format!("{place}{words}")),
    }
}

/// A number with a letter for thousands: 1.5k, 20M.
fn short(number: f64) -> String {
    let mut rest = number;
    for letter in ["", "k", "M", "G", "T"] {
        if rest < 1000.0 {
            return if rest < 10.0 && !letter.is_empty() {
                format!("{rest:.1}{letter}")
            } else {
                format!("{rest:.0}{letter}")
            };
        }
        rest /= 1000.0;
    }
    format!("{rest:.0}P")
}

/// A time in milliseconds, in nine columns.
fn time(milliseconds: u64) -> String {
    match milliseconds {
        0..100_000 => format!("{:.1} s", milliseconds as f64 / 1000.0),
        _ => look::age(milliseconds).replace(" min ", "m").replace(" h ", "h").replace(" d ", "d").replace(" s", "s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short() {
        let cases = [(0.0, "0"), (999.0, "999"), (1500.0, "1.5k"), (20e6, "20M"), (3.2e9, "3.2G"), (5e15, "5P")];
        for (number, text) in cases {
            assert_eq!(short(number), text);
        }
        assert_eq!((time(1234), time(200_000)), ("1.2 s".to_owned(), "3m20s".to_owned()));
    }

    #[test]
    fn keys_choose_an_order() {
        assert_eq!(Order::of_key('c'), Some(Order::Cpu));
        assert_eq!(Order::of_key('x'), None);
    }
}
