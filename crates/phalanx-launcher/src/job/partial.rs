//! Lines without an end: a prompt must be seen before anybody can answer it.
//!
//! A line is kept back until it is complete, so that no other rank's line begins in its middle. One that stays
//! incomplete is shown when all is quiet: its rank sleeps (it waits for an answer, or for others), and nobody has written
//! to the same place for a moment. A rank that computes with a line begun is given more time, and so is one that is
//! itself no writer, a shell around it.

use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::Job;

/// How long all must be quiet.
const QUIET: Duration = Duration::from_millis(200);
/// The same for a rank that does not sleep.
const LONG_QUIET: Duration = Duration::from_secs(1);

impl Job {
    /// A stream keeps part of a line: it is looked at in a moment.
    pub(super) fn look_at_partial_lines_soon(&mut self) {
        self.partial_at.get_or_insert_with(|| Instant::now() + QUIET);
    }

    /// Shows beginnings of lines that disturb nobody.
    pub(super) fn show_quiet_lines(&mut self) {
        let now = Instant::now();
        let mut again: Option<Duration> = None;
        for (index, rank) in self.ranks.iter_mut().enumerate() {
            for (which, stream) in rank.streams.iter_mut().enumerate() {
                let Some(stream) = stream else { continue };
                let Some(since) = stream.partial_since else { continue };
                let last = self.sinks.len() - 1;
                let sink = &mut self.sinks[which.min(last)];
                let quiet = now.saturating_duration_since(since.max(sink.heard));
                let patience = if rank.pid.is_some_and(is_asleep) { QUIET } else { LONG_QUIET };
                if quiet >= patience && sink.is_free_for(index) && !sink.is_full() {
                    stream.show(sink);
                } else {
                    // Somebody else's unfinished line may stand there for long.
                    let pause = if now.saturating_duration_since(since) > 2 * LONG_QUIET { LONG_QUIET } else { QUIET };
                    again = Some(again.map_or(pause, |other| other.min(pause)));
                }
            }
        }
        self.partial_at = again.map(|pause| now + pause);
    }
}

/// Whether the first thread of a process waits for something.
fn is_asleep(pid: Pid) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    // "pid (name) state ...": the name may hold anything, so count from its end.
    text.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with('S'))
}
