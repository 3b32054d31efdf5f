//! What is in the table: each rank, and how much of everything since the last look.

use std::collections::HashMap;
use std::time::Instant;

use phalanx_waits::said;

use crate::look::{self, Done, Look, RankSeen};

/// A look, and what has happened since the one before.
pub(super) struct Sample {
    pub(super) look: Look,
    at: Instant,
    /// CPU time in milliseconds, and calls and bytes of each [`Kind`], of each rank by its slot.
    totals: HashMap<u32, [u64; COUNTS]>,
    /// The same for a second since the look before.
    rates: HashMap<u32, Rates>,
}

/// Columns for the name of a machine, at most.
const HOST: usize = 12;
/// CPU, and two of each kind.
const COUNTS: usize = 1 + 2 * Kind::ALL.len();
type Rates = [f64; COUNTS];

/// What ranks do that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Kind {
    #[default]
    Messages,
    Collectives,
    Windows,
    Files,
}

impl Kind {
    pub(super) const ALL: [Kind; 4] = [Kind::Messages, Kind::Collectives, Kind::Windows, Kind::Files];

    /// The one behind it.
    pub(super) fn next(self) -> Kind {
        Kind::ALL[(self as usize + 1) % Kind::ALL.len()]
    }

    /// Over its column.
    fn title(self) -> &'static str {
        match self {
            Kind::Messages => "SENT/s",
            Kind::Collectives => "COLL/s",
            Kind::Windows => "RMA/s",
            Kind::Files => "FILE/s",
        }
    }

    /// Its calls and its bytes, of what was counted.
    fn of(self, done: &Done) -> (u64, u64) {
        match self {
            Kind::Messages => done.messages,
            Kind::Collectives => done.collectives,
            Kind::Windows => done.windows,
            Kind::Files => done.files,
        }
    }

    /// Where its calls are among the counts; its bytes are behind them.
    fn at(self) -> usize {
        1 + 2 * self as usize
    }
}

impl Sample {
    pub(super) fn new(look: Look, before: Option<&Sample>) -> Sample {
        let at = Instant::now();
        let total = |rank: &RankSeen| {
            let processes = rank.process.iter().chain(&rank.children);
            let mut totals = [0; COUNTS];
            totals[0] = processes.map(|process| process.cpu).fold(0, u64::saturating_add);
            for kind in Kind::ALL {
                (totals[kind.at()], totals[kind.at() + 1]) = kind.of(&rank.done.unwrap_or_default());
            }
            totals
        };
        let totals: HashMap<u32, [u64; COUNTS]> = look.ranks.iter().map(|rank| (rank.slot, total(rank))).collect();
        let mut rates = HashMap::new();
        if let Some(before) = before {
            let seconds = at.duration_since(before.at).as_secs_f64().max(0.001);
            for (slot, now) in &totals {
                let Some(then) = before.totals.get(slot) else { continue };
                // A child that has ended takes its time with it.
                let mut of_rank: Rates =
                    std::array::from_fn(|what| now[what].saturating_sub(then[what]) as f64 / seconds);
                // Milliseconds in a second, as a percentage.
                of_rank[0] /= 10.0;
                rates.insert(*slot, of_rank);
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
    Calls,
    Bytes,
    Blocked,
}

impl Order {
    pub(super) fn of_key(key: char) -> Option<Order> {
        Some(match key {
            'r' => Order::Rank,
            'c' => Order::Cpu,
            'm' => Order::Memory,
            's' => Order::Calls,
            'b' => Order::Bytes,
            't' => Order::Blocked,
            _ => return None,
        })
    }
}

struct Row {
    rank: String,
    /// Its machine, in a job on several.
    host: String,
    pid: u32,
    memory: u64,
    /// Milliseconds.
    blocked: Option<u64>,
    rates: Option<Rates>,
    counts: bool,
    doing: String,
}

/// What all ranks do in a second, of each kind: a line that fits 80 columns.
pub(super) fn totals(sample: &Sample) -> String {
    if sample.look.ranks.iter().all(|rank| rank.done.is_none()) {
        return "calls and bytes are not counted here".to_owned();
    }
    let sum = |at: usize| short(sample.rates.values().map(|rates| rates[at]).sum());
    let of = |kind: Kind| {
        let name = kind.title().trim_end_matches("/s");
        let name = if kind == Kind::Windows { name.to_owned() } else { name.to_lowercase() };
        format!("{} {name} ({})", sum(kind.at()), sum(kind.at() + 1))
    };
    let line = format!("/s: {}", Kind::ALL.map(of).join(", "));
    line.chars().take(80).collect()
}

/// The lines of the table, the first of which says what is in the columns, each as wide as the terminal. `order` goes by the first
/// of the kinds.
pub(super) fn table(sample: &Sample, order: Order, kinds: &[Kind], columns: usize) -> Vec<String> {
    let first = kinds.first().copied().unwrap_or_default();
    let look = &sample.look;
    let mut rows: Vec<Row> = look.ranks.iter().map(|rank| row(sample, rank)).collect();
    let largest = |value: f64| std::cmp::Reverse((value * 1000.0) as u64);
    let rate = |row: &Row, what: usize| largest(row.rates.map_or(0.0, |rates| rates[what]));
    match order {
        Order::Rank => {}
        Order::Cpu => rows.sort_by_key(|row| rate(row, 0)),
        Order::Memory => rows.sort_by_key(|row| std::cmp::Reverse(row.memory)),
        Order::Calls => rows.sort_by_key(|row| rate(row, first.at())),
        Order::Bytes => rows.sort_by_key(|row| rate(row, first.at() + 1)),
        Order::Blocked => rows.sort_by_key(|row| std::cmp::Reverse(row.blocked)),
    }
    let mark = |of: Order, name: &str| if of == order { format!("{name}*") } else { name.to_owned() };
    let titles = kinds.iter().map(|kind| {
        let mark = |of: Order, name: &str| if *kind == first { mark(of, name) } else { name.to_owned() };
        format!(" {:>7} {:>8}", mark(Order::Calls, kind.title()), mark(Order::Bytes, "BYTES/s"))
    });
    // Only where ranks are on several machines.
    let width = rows.iter().map(|row| row.host.chars().count()).max().filter(|width| *width > 0);
    let width = width.map_or(0, |width| width.clamp("HOST".len(), HOST));
    let host = |name: &str| match width {
        0 => String::new(),
        _ => format!(" {:<width$}", name.chars().take(width).collect::<String>()),
    };
    let mut lines = vec![format!(
        "{:>5}{} {:>8} {:>6} {:>6}{} {:>8}  DOING",
        mark(Order::Rank, "RANK"),
        host("HOST"),
        "PID",
        mark(Order::Cpu, "CPU%"),
        mark(Order::Memory, "MEM"),
        titles.collect::<String>(),
        mark(Order::Blocked, "BLOCKED"),
    )];
    for row in rows {
        let of =
            |what: usize, tell: &dyn Fn(f64) -> String| row.rates.map_or("-".to_owned(), |rates| tell(rates[what]));
        let done = |what: usize| if row.counts { of(what, &short) } else { "-".to_owned() };
        let counts = kinds.iter().map(|kind| format!(" {:>7} {:>8}", done(kind.at()), done(kind.at() + 1)));
        lines.push(format!(
            "{:>5}{} {:>8} {:>6} {:>6}{} {:>8}  {}",
            row.rank,
            host(&row.host),
            row.pid,
            of(0, &|cpu| format!("{cpu:.1}")),
            short(row.memory as f64),
            counts.collect::<String>(),
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
        host: rank.host.as_deref().map(|host| look::tame(host.to_owned())).unwrap_or_default(),
        pid: rank.process.as_ref().map_or(rank.pid, |process| process.pid),
        memory: processes.map(|process| process.resident).fold(0, u64::saturating_add),
        blocked: wait.map(|wait| look.now.saturating_sub(wait.since)),
        rates: sample.rates.get(&rank.slot).copied(),
        counts: rank.done.is_some(),
        doing: look::tame(format!("{place}{words}")),
    }
}

/// A number with a letter for thousands: 1.5k, 20M.
pub(crate) fn short(number: f64) -> String {
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

/// A time in milliseconds, in eight columns.
pub(crate) fn time(milliseconds: u64) -> String {
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
    fn kinds_follow_each_other() {
        let round: Vec<&str> =
            std::iter::successors(Some(Kind::Messages), |kind| Some(kind.next())).take(5).map(Kind::title).collect();
        assert_eq!(round, ["SENT/s", "COLL/s", "RMA/s", "FILE/s", "SENT/s"]);
        assert_eq!(Kind::ALL.map(Kind::at), [1, 3, 5, 7]);
    }

    #[test]
    fn keys_choose_an_order() {
        assert_eq!(Order::of_key('c'), Some(Order::Cpu));
        assert_eq!(Order::of_key('x'), None);
    }
}
