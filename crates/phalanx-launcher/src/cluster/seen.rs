//! What a cluster looks like, asked for again and again: rates, the lines of a table, JSON.

use phalanx_wire::cluster::FromClient;
use phalanx_wire::overview::{EngineSeen, Mishap, Overview};
use serde_json::{Value, json};

use super::ask::Asked;
use crate::look;
use crate::top::{short, time};

/// Columns for the name of a machine, at most.
const HOST: usize = 12;

/// A look, and what has happened since the one before.
#[derive(Debug, Clone)]
pub(super) struct Sample {
    pub(super) seen: Overview,
    /// Tasks that ended in a second, and those of them that failed.
    rates: Option<(f64, f64)>,
    /// CPU time in percent, of engines by their place.
    cpu: Vec<Option<f64>>,
}

impl Sample {
    /// Asks a controller.
    ///
    /// # Errors
    /// In words, when it does not answer.
    pub(super) fn ask(asked: &mut Asked, before: Option<&Sample>) -> Result<Sample, String> {
        let reply = asked.ask(|request| FromClient::Overview { stacks: false, request })?;
        let seen = reply.overview.ok_or("its controller does not say what it looks like")?;
        Ok(Sample::new(*seen, before.map(|before| &before.seen)))
    }

    pub(super) fn new(seen: Overview, before: Option<&Overview>) -> Sample {
        let seconds = before.map(|before| (seen.now - before.now).max(0.001));
        let rates = before.zip(seconds).map(|(before, seconds)| {
            let more = |which: &dyn Fn(&Overview) -> u64| which(&seen).saturating_sub(which(before)) as f64 / seconds;
            (more(&|seen| seen.ended.iter().sum()), more(&|seen| seen.ended[1]))
        });
        let of_engine = |engine: &EngineSeen| {
            let then = before?.engines.iter().find(|then| then.info.uuid == engine.info.uuid)?;
            let spent = engine.process.cpu.checked_sub(then.process.cpu).filter(|_| engine.process.pid != 0)?;
            // Milliseconds in a second, as a percentage.
            Some(spent as f64 / seconds? / 10.0)
        };
        let cpu = seen.engines.iter().map(of_engine).collect();
        Sample { seen, rates, cpu }
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let mut value = serde_json::to_value(&self.seen).unwrap_or_default();
        value["tasks_per_second"] = json!(self.rates.map(|(all, _)| all));
        value["failed_per_second"] = json!(self.rates.map(|(_, failed)| failed));
        if let Some(engines) = value["engines"].as_array_mut() {
            for ((engine, cpu), seen) in engines.iter_mut().zip(&self.cpu).zip(&self.seen.engines) {
                engine["cpu_percent"] = json!(cpu);
                engine["state"] = json!(state(seen));
            }
        }
        value
    }
}

/// By what rows are sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    Engine,
    Cpu,
    Memory,
    Done,
    Failed,
    Time,
}

impl Order {
    pub(super) fn of_key(key: char) -> Option<Order> {
        Some(match key {
            'e' => Order::Engine,
            'c' => Order::Cpu,
            'm' => Order::Memory,
            'd' => Order::Done,
            'f' => Order::Failed,
            't' => Order::Time,
            _ => return None,
        })
    }
}

/// What an engine is doing, in a word.
pub(super) fn state(engine: &EngineSeen) -> &'static str {
    match &engine.task {
        _ if engine.leaving => "ends",
        Some(_) => "runs",
        None => "idle",
    }
}

/// The cluster in a line.
pub(super) fn heading(words: &str, seen: &Overview) -> String {
    let engines = if seen.engines.len() == 1 { "engine" } else { "engines" };
    let starting = if seen.starting > 0 { format!(", {} starting", seen.starting) } else { String::new() };
    let age = look::age(((seen.now - seen.since).max(0.0) * 1000.0) as u64);
    format!("cluster {words} (pid {}): {} {engines}{starting}, for {age}", seen.controller.pid, seen.engines.len())
}

/// What all of it does, in a line that fits 80 columns.
pub(super) fn totals(sample: &Sample) -> String {
    let seen = &sample.seen;
    let rate = sample.rates.map_or("-".to_owned(), |(all, _)| short(all));
    let number = |number: u64| short(number as f64);
    let line = format!(
        "tasks/s {rate}; queued {}, waiting {}; ended {}, failed {}; controller {}",
        number(seen.queued + seen.engines.iter().map(|engine| engine.behind).sum::<u64>()),
        number(seen.waiting),
        number(seen.ended.iter().sum()),
        number(seen.ended[1]),
        number(seen.controller.resident)
    );
    line.chars().take(80).collect()
}

/// The lines of the table, the first of which says what is in the columns, each as wide as the terminal.
pub(super) fn table(sample: &Sample, order: Order, columns: usize) -> Vec<String> {
    let seen = &sample.seen;
    let mut rows: Vec<(&EngineSeen, Option<f64>)> = seen.engines.iter().zip(sample.cpu.iter().copied()).collect();
    let age = |engine: &EngineSeen| engine.task.as_ref().map(|task| ((seen.now - task.since).max(0.0) * 1000.0) as u64);
    match order {
        Order::Engine => {}
        Order::Cpu => rows.sort_by_key(|(_, cpu)| std::cmp::Reverse((cpu.unwrap_or(0.0) * 1000.0) as u64)),
        Order::Memory => rows.sort_by_key(|(engine, _)| std::cmp::Reverse(engine.process.resident)),
        Order::Done => rows.sort_by_key(|(engine, _)| std::cmp::Reverse(engine.done)),
        Order::Failed => rows.sort_by_key(|(engine, _)| std::cmp::Reverse(engine.failed)),
        Order::Time => rows.sort_by_key(|(engine, _)| std::cmp::Reverse(age(engine))),
    }
    // Only where engines are on several machines.
    let is_far = rows.iter().any(|(engine, _)| engine.info.host != seen.host);
    let width = rows.iter().map(|(engine, _)| engine.info.host.chars().count()).max().filter(|_| is_far);
    let width = width.map_or(0, |width| width.clamp("HOST".len(), HOST));
    let host = |name: &str| match width {
        0 => String::new(),
        _ => format!(" {:<width$}", look::tame(name.chars().take(width).collect())),
    };
    let mark = |of: Order, name: &str| if of == order { format!("{name}*") } else { name.to_owned() };
    let mut lines = vec![format!(
        "{:>7}{} {:>7} {:>5} {:>5} {:<5} {:>5} {:>5} {:>5} {:>7}  TASK",
        mark(Order::Engine, "ENGINE"),
        host("HOST"),
        "PID",
        mark(Order::Cpu, "CPU%"),
        mark(Order::Memory, "MEM"),
        "STATE",
        mark(Order::Done, "DONE"),
        mark(Order::Failed, "FAIL"),
        "NEXT",
        mark(Order::Time, "FOR"),
    )];
    for (engine, cpu) in rows {
        let process = &engine.process;
        let resident = if process.pid == 0 { "-".to_owned() } else { short(process.resident as f64) };
        let task = engine.task.as_ref().map_or_else(String::new, |task| match &task.label {
            Some(label) => format!("{} '{label}' {}", task.kind, end_of(&task.id)),
            None => format!("{} {}", task.kind, end_of(&task.id)),
        });
        lines.push(format!(
            "{:>7}{} {:>7} {:>5} {:>5} {:<5} {:>5} {:>5} {:>5} {:>7}  {}",
            engine.info.id,
            host(&engine.info.host),
            engine.info.pid,
            cpu.map_or("-".to_owned(), |cpu| format!("{cpu:.0}")),
            resident,
            state(engine),
            short(engine.done as f64),
            short(engine.failed as f64),
            short(engine.behind as f64),
            age(engine).map_or("-".to_owned(), time),
            look::tame(task),
        ));
    }
    let cut = |line: String| format!("{:<columns$}", line.chars().take(columns).collect::<String>());
    lines.into_iter().map(cut).collect()
}

/// The part of a task's name that tells it from others: the process that submitted it, and a number.
fn end_of(id: &str) -> &str {
    id.rsplit('-').next().unwrap_or(id)
}

/// What went wrong last, a line each.
pub(super) fn mishaps(seen: &Overview) -> Vec<String> {
    let line = |mishap: &Mishap| {
        let ago = time(((seen.now - mishap.at).max(0.0) * 1000.0) as u64);
        let engine = mishap.engine_id.map_or_else(String::new, |id| format!(" engine {id}"));
        let label = mishap.label.as_ref().map_or_else(String::new, |label| format!(" '{label}'"));
        let says = mishap.evalue.lines().next().unwrap_or_default();
        look::tame(format!("{ago:>7} ago{engine}{label}: {}: {says}", mishap.ename))
    };
    seen.mishaps.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use phalanx_wire::cluster::EngineInfo;
    use phalanx_wire::overview::{InHand, Seen};

    use super::*;

    fn an_engine(id: u32, cpu: u64, done: u64) -> EngineSeen {
        let info = EngineInfo { id, uuid: format!("u{id}"), pid: 1000 + id, host: "here".to_owned() };
        let process = Seen { pid: 1000 + id, cpu, resident: 50 << 20, ..Seen::default() };
        EngineSeen { info, process, done, ..EngineSeen::default() }
    }

    fn a_look(now: f64, cpu: u64, done: u64) -> Overview {
        let mut busy = an_engine(1, cpu, done);
        let label = Some("a label\x1b[31m".repeat(20));
        busy.task = Some(InHand { id: "c_1".to_owned(), kind: "apply".to_owned(), label, since: now - 3.5 });
        let engines = vec![an_engine(0, 0, 0), busy];
        Overview { now, since: 1.0, host: "here".to_owned(), engines, ended: [done, 0, 0], ..Overview::default() }
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks() {
        let before = a_look(10.0, 1000, 5);
        let sample = Sample::new(a_look(12.0, 2000, 25), Some(&before));
        let rows = table(&sample, Order::Cpu, 80);
        assert!(rows.iter().all(|row| row.chars().count() == 80 && !row.contains('\x1b')), "{rows:?}");
        let words: Vec<&str> = rows[1].split_whitespace().collect();
        assert_eq!(words[..9], ["1", "1001", "50", "52M", "runs", "25", "0", "0", "3.5"], "{rows:?}");
        assert!(totals(&sample).starts_with("tasks/s 10; queued 0"));
        let value = sample.json();
        assert_eq!((&value["tasks_per_second"], &value["engines"][1]["state"]), (&json!(10.0), &json!("runs")));
    }

    #[test]
    fn the_first_look_knows_no_rates() {
        let sample = Sample::new(a_look(10.0, 1000, 5), None);
        assert!(totals(&sample).starts_with("tasks/s -;") && sample.json()["tasks_per_second"].is_null());
    }

    #[test]
    fn mishaps_are_lines() {
        let evalue = "one\ntwo".to_owned();
        let mishap =
            Mishap { at: 8.0, engine_id: Some(3), ename: "ValueError".to_owned(), evalue, ..Mishap::default() };
        let seen = Overview { now: 10.0, mishaps: vec![mishap], ..Overview::default() };
        assert_eq!(mishaps(&seen), ["  2.0 s ago engine 3: ValueError: one"]);
    }
}
