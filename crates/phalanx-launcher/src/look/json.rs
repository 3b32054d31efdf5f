//! The same for programs.

use phalanx_waits::{Frame, said, tame};

use super::verdict::{activity, activity_of, is_blocked, verdict, waits_of};
use super::{About, DoingKind, End, Look, Process, RankSeen, Stage};

/// A JSON string.
pub(crate) fn string(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// A list of jobs.
pub(crate) fn jobs_as_json(jobs: &[About]) -> String {
    match jobs {
        [] => "[]\n".to_owned(),
        _ => format!("[\n  {}\n]\n", jobs.iter().map(job).collect::<Vec<_>>().join(",\n  ")),
    }
}

fn job(about: &About) -> String {
    format!(
        "{{\"job\": {}, \"launcher\": {}, \"program\": {}, \"ranks\": {}, \"running\": {}, \"waiting\": {}, \
         \"seconds\": {}, \"state\": {}, \"waits_known\": {}}}",
        string(&about.id),
        about.launcher,
        string(&about.program),
        about.ranks,
        about.running,
        about.waiting,
        seconds(about.age),
        string(about.state()),
        !about.foreign
    )
}

/// A look into a job.
pub(crate) fn as_json(look: &Look) -> String {
    let ranks: Vec<String> = look.ranks.iter().map(|seen| rank(look, seen)).collect();
    format!(
        "{{\"job\": {},\n \"verdict\": {},\n \"ranks\": [\n  {}\n ]}}\n",
        job(&look.about),
        string(&tame(verdict(look))),
        ranks.join(",\n  ")
    )
}

fn rank(look: &Look, rank: &RankSeen) -> String {
    let (kind, words) = match rank.ended {
        Some(End::Status(status)) => ("ended", format!("status {status}")),
        Some(End::Signal(signal)) => ("killed", format!("signal {signal}")),
        None if is_blocked(look, rank) => ("waits", "waits in a call of MPI".to_owned()),
        None => {
            let seen = activity_of(rank);
            (kind(seen.kind), seen.words)
        }
    };
    let waits = waits_of(look, rank.slot).map(|wait| {
        let waited = seconds(look.now.saturating_sub(wait.since));
        format!("{{\"what\": {}, \"thread\": {}, \"seconds\": {waited}}}", string(&tame(said(wait))), wait.thread)
    });
    let stage = match rank.stage {
        Stage::Before => "before MPI_Init",
        Stage::Starting => "in MPI_Init",
        Stage::Running => "running",
        Stage::Finalizing => "in MPI_Finalize",
        Stage::Finalized => "after MPI_Finalize",
        Stage::Unknown => "unknown",
    };
    format!(
        "{{\"rank\": {}, \"world\": {}, \"host\": {}, \"pid\": {}, \"program\": {}, \"mpi\": {}, \"doing\": {}, \"words\": {}, \
         \"waits\": [{}], \"process\": {}, \"children\": [{}]}}",
        rank.rank,
        rank.world,
        rank.host.as_deref().map_or("null".to_owned(), string),
        rank.pid,
        string(&rank.program),
        string(stage),
        string(kind),
        string(&words),
        waits.collect::<Vec<_>>().join(", "),
        rank.process.as_ref().map_or("null".to_owned(), process),
        rank.children.iter().map(process).collect::<Vec<_>>().join(", ")
    )
}

fn process(process: &Process) -> String {
    let threads = process.threads.iter().map(|thread| {
        let frames: Vec<String> = thread.frames.iter().map(frame).collect();
        format!(
            "{{\"thread\": {}, \"doing\": {}, \"words\": {}, \"stack\": [{}]}}",
            thread.number,
            string(kind(thread.doing.kind)),
            string(&thread.doing.words),
            frames.join(", ")
        )
    });
    format!(
        "{{\"pid\": {}, \"command\": {}, \"doing\": {}, \"cpu_seconds\": {}, \"resident_bytes\": {}, \"debugger\": {}, \
         \"unreadable\": {}, \"threads\": [{}]}}",
        process.pid,
        string(&process.command),
        string(kind(activity(process).kind)),
        seconds(process.cpu),
        process.resident,
        process.tracer.as_ref().map_or("null".to_owned(), |(pid, _)| pid.to_string()),
        string(&process.unreadable),
        threads.collect::<Vec<_>>().join(", ")
    )
}

fn frame(frame: &Frame) -> String {
    format!(
        "{{\"file\": {}, \"line\": {}, \"function\": {}}}",
        string(&frame.file),
        frame.line,
        string(&frame.function)
    )
}

fn kind(kind: DoingKind) -> &'static str {
    match kind {
        DoingKind::Computes => "computes",
        DoingKind::Sleeps => "sleeps",
        DoingKind::Stdin => "stdin",
        DoingKind::File => "file",
        DoingKind::Events => "events",
        DoingKind::Child => "child",
        DoingKind::Thread => "thread",
        DoingKind::Disk => "disk",
        DoingKind::Stopped => "stopped",
        DoingKind::Traced => "debugger",
        DoingKind::Ended => "ended",
        DoingKind::Other => "other",
    }
}

fn seconds(milliseconds: u64) -> String {
    format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted() {
        assert_eq!(string("a\"\\\n\u{1}"), "\"a\\\"\\\\\\n\\u0001\"");
        assert_eq!(jobs_as_json(&[]), "[]\n");
        assert_eq!(seconds(61_005), "61.005");
    }
}
