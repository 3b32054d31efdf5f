//! `phalanx cluster why`: what each engine is doing, in which line, and what waits.

use std::collections::HashMap;
use std::fmt::Write;

use phalanx_waits::{Frame, said, tame, wrapped};
use phalanx_wire::cluster::{FromClient, Record};
use phalanx_wire::overview::{EngineSeen, Overview};

use super::ask::Asked;
use super::files::{Place, host};
use super::flags::Flags;
use super::seen::state;
use super::{others, sight};
use crate::error::LaunchError;
use crate::{jobs, look, output};

/// Tasks for no engine in particular that are told one by one.
const WAITING: usize = 5;
/// Places above the innermost one that are told.
const OUTER: usize = 4;

/// `why`.
///
/// # Errors
/// When there is no such cluster, or it does not answer.
pub(super) fn command(flags: Flags) -> Result<u8, LaunchError> {
    let place = Place::of(&flags);
    let mut asked = others::asked(&flags)?;
    let silent = |problem: String| others::silent(&place, &problem);
    if flags.json {
        let mut value = serde_json::to_value(overview(&mut asked).map_err(silent)?).unwrap_or_default();
        for engine in value["engines"].as_array_mut().into_iter().flatten() {
            let is_in_task = !engine["task"].is_null();
            engine["state"] = if is_in_task { "runs" } else { "idle" }.into();
        }
        output::print(&format!("{value:#}\n"));
    } else {
        output::print(&report(&mut asked).map_err(silent)?);
    }
    Ok(0)
}

fn overview(asked: &mut Asked) -> Result<Overview, String> {
    let reply = asked.ask(|request| FromClient::Overview { stacks: true, request })?;
    reply.overview.map(|seen| *seen).ok_or_else(|| "its controller does not say what it looks like".to_owned())
}

/// What there is to say.
///
/// # Errors
/// In words, when the controller does not answer.
pub(super) fn report(asked: &mut Asked) -> Result<String, String> {
    let seen = overview(asked)?;
    let ranks = ranks(&seen);
    let mut text = String::new();
    let (idle, busy): (Vec<&EngineSeen>, Vec<&EngineSeen>) =
        seen.engines.iter().partition(|engine| engine.task.is_none() && !engine.leaving);
    for engine in busy {
        tell(&mut text, &seen, engine, ranks.by_process.get(&engine.info.pid));
    }
    if let [one] = idle[..] {
        let _ = writeln!(text, "engine {}: has nothing to do, {}", one.info.id, done(one));
    } else if !idle.is_empty() {
        let done: u64 = idle.iter().map(|engine| engine.done).sum();
        let numbers: Vec<u32> = idle.iter().map(|engine| engine.info.id).collect();
        wrapped(&mut text, "", &format!("engines {}: have nothing to do, {done} done", numbers_of(&numbers)));
    }
    if seen.engines.is_empty() {
        text.push_str("no engine is there\n");
    }
    if seen.starting > 0 {
        let _ = writeln!(text, "{} more are starting", seen.starting);
    }
    for proved in &ranks.proved {
        text.push_str(proved);
    }
    if seen.queued + seen.waiting > 0 {
        let status = asked.ask(|request| FromClient::QueueStatus { targets: Some(Vec::new()), request })?;
        let ids = status.unassigned.iter().take(WAITING).cloned().collect();
        let records = asked.ask(|request| FromClient::Records { ids: Some(ids), request })?.records;
        let _ = writeln!(text, "{} tasks wait for any engine, or for other tasks:", status.unassigned_count);
        for record in records {
            let others = record.after.len() + record.follow.len();
            let why = if record.status == "waiting" { format!(", waits for {others} tasks") } else { String::new() };
            wrapped(&mut text, "  ", &format!("{}{why}", words(&record, seen.now)));
        }
    }
    Ok(tame(text))
}

/// An engine that is in a task, or about to leave.
fn tell(text: &mut String, seen: &Overview, engine: &EngineSeen, rank: Option<&Rank>) {
    let id = engine.info.id;
    let doing = match &engine.task {
        Some(task) => {
            let label = task.label.as_ref().map(|label| format!(" '{label}'")).unwrap_or_default();
            format!("{} {}{label} {}, for {}", state(engine), task.kind, task.id, since(seen.now, task.since))
        }
        None => "is about to leave".to_owned(),
    };
    wrapped(text, "", &format!("engine {id} (pid {}): {doing}", engine.info.pid));
    let process = &engine.process;
    let own: Vec<Frame> = process.stack.iter().map(sight::frame).collect();
    let (words, frames) = match rank {
        Some(rank) => (rank.words.as_str(), &rank.frames[..]),
        None => (process.doing.as_str(), &own[..]),
    };
    if !words.is_empty() {
        let unreadable = if frames.is_empty() { &process.unreadable } else { "" };
        let why = if unreadable.is_empty() { String::new() } else { format!("; {unreadable}") };
        wrapped(text, "  ", &format!("it {words}{why}"));
    }
    stack(text, frames);
    let _ = writeln!(text, "  {} more wait for it, {}", engine.behind, done(engine));
}

/// Where a program is: the innermost line of its own, what that is in, and where it was called from.
fn stack(text: &mut String, frames: &[Frame]) {
    let Some(own) = look::own(frames) else { return };
    let at = frames.iter().position(|frame| std::ptr::eq(frame, own)).unwrap_or(0);
    let place = |frame: &Frame| match frame.line {
        0 => format!("{}, in {}", frame.file, frame.function),
        line => format!("{}:{line}, in {}", frame.file, frame.function),
    };
    let _ = writeln!(text, "      at {}", place(own));
    if let Some(source) = look::source(own) {
        let _ = writeln!(text, "         {}", phalanx_waits::cut(&source, 71));
    }
    if let Some(inner) = frames[..at].first() {
        let _ = writeln!(text, "      which is in {}", place(inner));
    }
    // What runs tasks is the same in all engines.
    let outer = frames[at + 1..].iter().filter(|frame| look::is_own(frame) && !frame.file.contains("/IPython/"));
    for frame in outer.take(OUTER) {
        let _ = writeln!(text, "      called from {}", place(frame));
    }
}

/// What a job of ours knows of an engine that is one of its ranks.
struct Rank {
    words: String,
    frames: Vec<Frame>,
}

#[derive(Default)]
struct Ranks {
    by_process: HashMap<u32, Rank>,
    /// What was proved of the jobs whose ranks engines are.
    proved: Vec<String>,
}

/// Engines that are ranks, by their processes: the launcher of their job knows what they wait for.
fn ranks(seen: &Overview) -> Ranks {
    let mut found = Ranks::default();
    if seen.host != host() {
        // Processes of another machine have the numbers of others here.
        return found;
    }
    let is_engine =
        |pid: u32| seen.engines.iter().any(|engine| engine.info.pid == pid && engine.info.host == seen.host);
    // One that does not answer is not what was asked for.
    for job in jobs::all().unwrap_or_default() {
        let Ok(look) = job.look() else { continue };
        let mut is_ours = false;
        for rank in &look.ranks {
            let pids = rank.process.iter().map(|process| process.pid).chain([rank.pid]);
            let Some(pid) = pids.into_iter().find(|pid| is_engine(*pid)) else { continue };
            is_ours = true;
            let (mut words, frames) = look::doing(&look, rank);
            if let Some(wait) = look::blocked_in(&look, rank) {
                words = format!("waits in {}, as rank {}, for {}", said(wait), rank.rank, age(&look, wait.since));
            }
            found.by_process.insert(pid, Rank { words, frames: frames.to_vec() });
        }
        if let Some(stuck) = look.stuck.filter(|_| is_ours) {
            found.proved.push(stuck.reason);
        }
    }
    found
}

fn age(look: &look::Look, since: u64) -> String {
    look::age(look.now.saturating_sub(since))
}

fn done(engine: &EngineSeen) -> String {
    match engine.failed {
        0 => format!("{} done", engine.done),
        failed => format!("{} done, {failed} of those failed", engine.done),
    }
}

fn since(now: f64, then: f64) -> String {
    format!("{:.1} s", (now - then).max(0.0))
}

/// A task in words.
fn words(record: &Record, now: f64) -> String {
    let label = record.label.as_ref().map(|label| format!(" '{label}'")).unwrap_or_default();
    let id: String = record.id.chars().take(20).collect();
    format!("{} {id}{label}, for {}", record.kind, since(now, record.submitted))
}

/// "0-3, 7", of numbers in order.
fn numbers_of(numbers: &[u32]) -> String {
    let runs = numbers.chunk_by(|one, next| *next == one.saturating_add(1));
    let words = runs.map(|run| match run {
        [one] => one.to_string(),
        [first, .., last] => format!("{first}-{last}"),
        [] => String::new(),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_follow_each_other_are_told_together() {
        assert_eq!(numbers_of(&[0, 1, 2, 5, 7, 8]), "0-2, 5, 7-8");
        assert_eq!(numbers_of(&[]), "");
    }
}
