//! What the end of a rank means for its job, and how it is told.

use std::time::Duration;

use crate::process::Ended;
use crate::signals;

/// Why a job fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// The rank called `MPI_Abort` with this code.
    Abort(i32),
    /// The rank exited with this status.
    Exit(i32),
    /// This signal killed the rank.
    Signal(i32),
    /// The rank exited with status 0 after `MPI_Init` and without `MPI_Finalize`: its peers would wait for ever.
    NotFinalized,
    /// The rank exited with status 0 and never met the others, who wait for it where all ranks meet.
    Missed,
    /// The machine of the rank is lost, in this way.
    Lost(Lost),
}

/// How a machine is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lost {
    /// The channel to its agent has closed.
    Closed,
    /// Its agent says nothing any more.
    Silent,
}

impl Cause {
    /// The exit status of a job that fails for this cause.
    #[must_use]
    pub fn status(self) -> u8 {
        match self {
            Self::Abort(code) | Self::Exit(code) => match u8::try_from(code & 0xff).unwrap_or(1) {
                // Only the low byte reaches the parent: a failure must not look like success.
                0 if code != 0 => 1,
                status => status,
            },
            Self::Signal(signal) => 128u8.wrapping_add(u8::try_from(signal).unwrap_or(0)),
            Self::NotFinalized | Self::Missed | Self::Lost(_) => 1,
        }
    }

    /// Lower is more likely the first cause, among ranks found ended at the same moment: who aborts or crashes takes
    /// others along, who exits may be a victim.
    #[must_use]
    pub fn precedence(self) -> u8 {
        match self {
            Self::Abort(_) => 0,
            Self::Signal(_) | Self::Lost(_) => 1,
            Self::Exit(_) => 2,
            Self::NotFinalized | Self::Missed => 3,
        }
    }

    /// What the rank did, as the end of a sentence that begins with its name.
    #[must_use]
    pub fn describe(self) -> String {
        match self {
            Self::Abort(code) => format!("called MPI_Abort with code {code}"),
            Self::Exit(code) => format!("exited with status {code}"),
            Self::Signal(signal) => format!("was killed by {}", signals::name(signal)),
            Self::NotFinalized => "left without MPI_Finalize (exit status 0)".to_owned(),
            Self::Lost(Lost::Closed) => "was lost with its host, whose connection ended".to_owned(),
            Self::Lost(Lost::Silent) => "was lost with its host, which is silent".to_owned(),
            Self::Missed => "exited with status 0 before it met the others".to_owned(),
        }
    }
}

/// Whether a rank that ended is a failure. `unfinished`: it called `MPI_Init` and not `MPI_Finalize`.
#[must_use]
pub fn judge(ended: Ended, abort: Option<i32>, unfinished: bool) -> Option<Cause> {
    match (abort, ended) {
        (Some(code), _) => Some(Cause::Abort(code)),
        (None, Ended::Signal(signal)) => Some(Cause::Signal(signal)),
        (None, Ended::Exit(0)) => unfinished.then_some(Cause::NotFinalized),
        (None, Ended::Exit(code)) => Some(Cause::Exit(code)),
    }
}

/// Rank numbers as ranges: `0-3, 7`.
#[must_use]
pub fn ranges(numbers: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    while let Some((&first, _)) = rest.split_first() {
        let length = rest.iter().zip(first..).take_while(|(a, b)| **a == *b).count();
        if !text.is_empty() {
            text.push_str(", ");
        }
        match length {
            1 => text.push_str(&first.to_string()),
            2 => text.push_str(&format!("{first}, {}", first + 1)),
            _ => text.push_str(&format!("{first}-{}", rest[length - 1])),
        }
        rest = &rest[length..];
    }
    text
}

/// "rank 3" or "ranks 0-2, 5".
#[must_use]
pub fn ranks(numbers: &[u32]) -> String {
    format!("{} {}", if numbers.len() == 1 { "rank" } else { "ranks" }, ranges(numbers))
}

/// A duration in seconds as a person would write it.
#[must_use]
pub fn seconds(time: Duration) -> String {
    let text = format!("{:.3}", time.as_secs_f64());
    format!("{} s", text.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_is_the_failing_ranks() {
        let cases = [
            (Ended::Exit(0), None, false, None),
            (Ended::Exit(3), None, true, Some(3)),
            (Ended::Signal(libc::SIGKILL), None, true, Some(137)),
            (Ended::Signal(libc::SIGABRT), None, false, Some(134)),
            (Ended::Exit(0), None, true, Some(1)),
            (Ended::Exit(0), Some(42), true, Some(42)),
            (Ended::Exit(5), Some(256), true, Some(1)),
            (Ended::Exit(0), Some(0), true, Some(0)),
        ];
        for (ended, abort, unfinished, status) in cases {
            let cause = judge(ended, abort, unfinished);
            assert_eq!(cause.map(Cause::status), status, "{ended:?} {abort:?} {unfinished}");
        }
    }

    #[test]
    fn ranks_are_named_briefly() {
        assert_eq!(ranks(&[4]), "rank 4");
        assert_eq!(ranks(&[0, 1, 2, 3, 7, 9, 10]), "ranks 0-3, 7, 9, 10");
        assert_eq!(ranges(&[]), "");
        assert_eq!(seconds(Duration::from_millis(1500)), "1.5 s");
        assert_eq!(seconds(Duration::from_secs(20)), "20 s");
    }
}
