//! The page: what its template is given.

use askama::Template;

use super::advice::{Advice, Findings, advice};
use super::blocked::{self, LineTime, RankTime};
use super::imbalance::{FINALIZE, Imbalance};
use super::matrix::{Pair, pairs};
use super::sizes::{Bucket, histogram};
use super::source::Sources;
use super::timeline::{Timeline, timeline};
use super::{calls, text};
use crate::{End, Trace};

/// Lines of the program that the table of lines shows.
const LINES: usize = 40;
/// Height of the highest column of the histogram, in units of its drawing.
const COLUMN: f64 = 120.0;
/// Width of a column of it, with the room to the next.
const WIDTH: f64 = 34.0;

#[derive(Template)]
#[template(path = "page.html")]
struct Page<'a> {
    style: &'static str,
    script: &'static str,
    title: String,
    command: String,
    facts: Vec<(&'static str, String)>,
    notes: Vec<String>,
    advice: Vec<Piece>,
    ranks: Vec<RankLine>,
    lines: Vec<Line>,
    lines_left_out: usize,
    imbalances: Vec<Meeting>,
    imbalances_left_out: usize,
    sizes: Vec<Size>,
    chart_width: f64,
    data: Data<'a>,
}

/// What the script of the page draws.
#[derive(serde::Serialize)]
struct Data<'a> {
    timeline: Timeline,
    pairs: &'a [Pair],
}

struct Piece {
    finding: String,
    detail: String,
    cost: String,
}

struct Meeting {
    place: String,
    file: String,
    name: String,
    object: Option<String>,
    members: u64,
    times: String,
    last: String,
    share: String,
    mean: String,
    widest: String,
    lost: String,
}

struct RankLine {
    name: String,
    bad_end: Option<String>,
    span: String,
    calls: String,
    inside: String,
    waited: String,
    /// Percent of the time: outside of calls, in calls without waiting, waiting.
    parts: [f64; 3],
}

struct Line {
    place: String,
    file: String,
    function: String,
    source: Option<String>,
    names: String,
    ranks: u64,
    calls: String,
    inside: String,
    waited: String,
    longest: String,
}

struct Size {
    label: String,
    /// What stands on the column: nothing on none.
    short: String,
    messages: String,
    bytes: String,
    x: f64,
    y: f64,
    height: f64,
}

/// The page about a trace.
pub(crate) fn render(trace: &Trace) -> askama::Result<String> {
    let mut sources = Sources::default();
    let pairs = pairs(trace);
    let times = blocked::by_rank(trace);
    let lines = blocked::by_line(trace);
    let waiting: Vec<&LineTime> = lines.iter().filter(|l| l.inside_ns > 0).collect();
    let findings = Findings::of(trace);
    let piece = |a: Advice| Piece {
        finding: a.finding,
        detail: a.detail,
        cost: text::percent(a.cost_ns.min(findings.total_ns), findings.total_ns),
    };
    let met: Vec<&Imbalance> = findings.imbalances.iter().filter(|i| i.lost_ns > 0 || i.name != FINALIZE).collect();
    let sizes = sizes(&histogram(trace));
    let page = Page {
        style: include_str!("page.css"),
        script: include_str!("page.js"),
        title: title(trace),
        command: trace.command.join(" "),
        facts: facts(trace, &times, &pairs),
        notes: Vec::new(),
        advice: advice(trace, &findings).into_iter().map(piece).collect(),
        ranks: trace.ranks.iter().zip(&times).map(|(rank, time)| rank_line(rank, time)).collect(),
        lines: waiting.iter().take(LINES).map(|line| line_of(trace, line, &mut sources)).collect(),
        lines_left_out: waiting.len().saturating_sub(LINES),
        imbalances: met.iter().take(LINES).map(|i| meeting(trace, i)).collect(),
        imbalances_left_out: met.len().saturating_sub(LINES),
        chart_width: WIDTH * sizes.len() as f64 + 16.0,
        sizes,
        data: Data { timeline: timeline(trace, &mut sources), pairs: &pairs },
    };
    let notes = notes(trace, &page.data.timeline);
    Page { notes, ..page }.render()
}

/// The name of the script, or else of the module that was run.
fn title(trace: &Trace) -> String {
    let words = &trace.command;
    let module = words.iter().position(|word| word == "-m").and_then(|at| words.get(at + 1));
    let script = words.iter().find(|word| word.ends_with(".py")).or(module);
    script.map_or_else(|| "job".to_owned(), |word| word.rsplit('/').next().unwrap_or(word).to_owned())
}

fn facts(trace: &Trace, times: &[RankTime], pairs: &[Pair]) -> Vec<(&'static str, String)> {
    let sum = |of: fn(&RankTime) -> u64| times.iter().fold(0, |sum: u64, t| sum.saturating_add(of(t)));
    let span = sum(|t| t.span_ns);
    let messages = pairs.iter().map(|p| p.messages).sum();
    let bytes = pairs.iter().fold(0, |sum: u64, p| sum.saturating_add(p.bytes));
    let mut facts = vec![("lasted", text::duration(trace.lasted_ns)), ("ranks", text::count(trace.ranks.len() as u64))];
    if trace.cpus > 0 {
        facts.push(("CPUs", trace.cpus.to_string()));
    }
    if !trace.host.is_empty() {
        facts.push(("machine", trace.host.clone()));
    }
    facts.push(("began", date(trace.began_unix_ns)));
    facts.push(("calls", text::count(sum(|t| t.calls))));
    facts.push(("messages", format!("{} ({})", text::count(messages), text::bytes(bytes))));
    facts.push(("waiting", text::percent(sum(|t| t.waited_ns), span)));
    facts.push(("outside of calls", text::percent(span - sum(|t| t.inside_ns).min(span), span)));
    facts
}

fn date(unix_ns: u64) -> String {
    if unix_ns == 0 { "unknown".to_owned() } else { text::date(unix_ns) }
}

/// What a reader has to know to read the page right.
fn notes(trace: &Trace, timeline: &Timeline) -> Vec<String> {
    let mut notes = Vec::new();
    let lost = trace.ranks.iter().fold(0, |sum: u64, r| sum.saturating_add(r.lost));
    if lost > 0 {
        let who = trace.ranks.iter().filter(|r| r.lost > 0).map(|r| r.name.clone()).collect::<Vec<_>>();
        notes.push(format!(
            "{} calls were not kept for want of room ({}): what is said here is about the others.",
            text::count(lost),
            some(&who)
        ));
    }
    if timeline.resolution > 0 {
        notes.push(format!(
            "The timeline draws calls shorter than {} together with their neighbours; tables and advice count each.",
            text::duration(timeline.resolution)
        ));
    }
    if timeline.messages_left_out > 0 {
        notes.push(format!(
            "The timeline leaves out {} of the messages, the smaller ones; tables and advice count each.",
            text::count(timeline.messages_left_out)
        ));
    }
    notes
}

/// Up to eight names, and how many more.
fn some(names: &[String]) -> String {
    match names {
        [first @ .., _] if names.len() > 8 => format!("{} and {} more", first[..8].join(", "), names.len() - 8),
        _ => text::list(names),
    }
}

fn rank_line(rank: &crate::Rank, time: &RankTime) -> RankLine {
    let share = |part: u64| if time.span_ns == 0 { 0.0 } else { 100.0 * part as f64 / time.span_ns as f64 };
    // Waits of several threads add up to more than there was time.
    let waited = time.waited_ns.min(time.inside_ns);
    RankLine {
        name: rank.name.clone(),
        bad_end: if let End::Badly(how) = &rank.end { Some(how.clone()) } else { None },
        span: text::duration(time.span_ns),
        calls: text::count(time.calls),
        inside: text::duration(time.inside_ns),
        waited: text::duration(time.waited_ns),
        parts: [share(time.span_ns - time.inside_ns), share(time.inside_ns - waited), share(waited)],
    }
}

fn line_of(trace: &Trace, line: &LineTime, sources: &mut Sources) -> Line {
    let place = calls::place(trace, line.place);
    Line {
        place: place.map_or_else(|| "unknown line".to_owned(), calls::place_name),
        file: place.map(|p| p.file.clone()).unwrap_or_default(),
        function: place.map(|p| p.function.clone()).unwrap_or_default(),
        source: place.and_then(|p| sources.line(p).map(str::to_owned)),
        names: line.names.iter().map(|n| calls::short_name(n)).collect::<Vec<_>>().join(", "),
        ranks: line.ranks,
        calls: text::count(line.calls),
        inside: text::duration(line.inside_ns),
        waited: text::duration(line.waited_ns),
        longest: text::duration(line.longest_ns),
    }
}

fn meeting(trace: &Trace, i: &Imbalance) -> Meeting {
    Meeting {
        place: calls::line_name(trace, i.place),
        file: calls::place(trace, i.place).map(|p| p.file.clone()).unwrap_or_default(),
        name: calls::short_name(i.name).to_owned(),
        object: i.object.clone(),
        members: i.members,
        times: text::count(i.times),
        last: calls::rank_name(trace, i.last.rank),
        share: text::percent(i.last.times, i.times),
        mean: text::duration(i.spread_ns / i.times.max(1)),
        widest: text::duration(i.widest_ns),
        lost: text::duration(i.lost_ns),
    }
}

fn sizes(buckets: &[Bucket]) -> Vec<Size> {
    let most = buckets.iter().map(|b| b.messages).max().unwrap_or(0).max(1);
    let sizes = buckets.iter().enumerate().map(|(i, bucket)| {
        // A column that is there is seen.
        let height = COLUMN * bucket.messages as f64 / most as f64;
        let height = if bucket.messages > 0 { height.max(1.5) } else { 0.0 };
        Size {
            label: text::bytes(bucket.least),
            short: if bucket.messages > 0 { short(bucket.messages) } else { String::new() },
            messages: text::count(bucket.messages),
            bytes: text::bytes(bucket.bytes),
            x: WIDTH * i as f64,
            y: COLUMN - height,
            height,
        }
    });
    sizes.collect()
}

/// A count in four characters: `950`, `9.5k`, `12M`.
fn short(n: u64) -> String {
    let mut value = n as f64;
    for unit in ["", "k", "M", "G", "T", "P", "E"] {
        if value < 999.5 {
            return if unit.is_empty() || value >= 9.95 {
                format!("{value:.0}{unit}")
            } else {
                format!("{value:.1}{unit}")
            };
        }
        value /= 1000.0;
    }
    n.to_string()
}
