//! How memory moves between processes on this machine: the ways there are, what each costs here, and what is chosen.
//!
//! The same copy differs by a factor of ten between machines, and on a virtual one between two placements of the same two
//! CPUs (`docs/decisions/0011`). So nothing that depends on the machine is a constant of the program: the launcher
//! [measures](measure) some fifty milliseconds once per machine and boot, [keeps](kept) the [`Table`] with the user's files,
//! and writes what it has [chosen](Table::choose) into the segment, where all processes of the job find the same.

mod filling;
pub mod kept;
pub mod measure;
mod reading;
mod table;
mod trial;

use std::fmt;
use std::str::FromStr;

pub use filling::fill;
pub use reading::Reading;
pub use table::{Cycle, Message, Table};
pub use trial::{Pace, Trial, Turn, Verdict, size_class};

/// The environment variable that comes before everything measured: see [`Ways::from_str`].
pub const VARIABLE: &str = "PHALANX_WAYS";

/// What the processes of a universe do, all of them alike. Sizes are powers of two.
///
/// ```
/// use phalanx_shm::Ways;
///
/// let ways: Ways = "take=512K,alone=never".parse()?;
/// assert_eq!(ways, Ways { take: 512 << 10, alone: usize::MAX, fixed: true, ..Ways::default() });
/// assert_eq!(ways.to_string(), "take=512K,pipe=256K,alone=never,together=never,exchange=never,stream=32M");
/// assert!("take=513K".parse::<Ways>().is_err());
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ways {
    /// Bytes of memory that goes back and forth between one writer and one reader up to which the reader takes the cache
    /// lines over; 0: never.
    pub take: usize,
    /// Bytes of the block of a pipe for large messages.
    pub pipe: usize,
    /// Bytes of a message from which its receiver copies it alone, by the kernel's single copy where that is allowed, even
    /// when the sender waits; `usize::MAX`: never.
    pub alone: usize,
    /// Bytes of a message from which both copy again: two CPUs reach more of a memory that is in no cache than one;
    /// `usize::MAX`: never.
    pub together: usize,
    /// As `alone`, for a receiver that has a large message of its own under way, and for the first one that a rank receives in a
    /// collective: where both sides have to do, what counts
    /// is the work of all and not what goes on at the same time. Never above `alone`.
    pub exchange: usize,
    /// Bytes of a message from which copies out of a pipe go past the caches; `usize::MAX`: never.
    pub stream: usize,
    /// The user has said so: nothing else is [tried](Trial) while the program runs.
    pub fixed: bool,
}

/// Where nothing could be measured. Taking lines costs a store for 64 bytes where it is not needed, and has saved half
/// the time and more where it is; the rest is the smallest of each.
impl Default for Ways {
    fn default() -> Ways {
        let never = usize::MAX;
        Ways {
            take: 512 << 10,
            pipe: PIPES.0,
            alone: never,
            together: never,
            exchange: never,
            stream: 32 << 20,
            fixed: false,
        }
    }
}

/// Smallest and largest block of a pipe. A pipe passes four pieces, which have to be worth their messages.
const PIPES: (usize, usize) = (256 << 10, 8 << 20);

impl Ways {
    /// The smallest block of a pipe.
    pub const LEAST_PIPE: usize = PIPES.0;

    /// Whether the receiver of a message of so many bytes copies it alone.
    #[inline]
    pub fn is_for_one(&self, bytes: u64) -> bool {
        (self.alone as u64..self.together as u64).contains(&bytes)
    }

    /// What the processes of a new universe do: what the user's variable says, else what was measured on this machine.
    /// Measures now if nothing has been kept and `measure` says so.
    ///
    /// # Errors
    ///
    /// What is wrong with the variable.
    pub fn of_this_machine(measure: bool) -> Result<Ways, String> {
        if let Some(spelled) = said() {
            return spelled.parse().map_err(|wrong| format!("{VARIABLE}={spelled}: {wrong}"));
        }
        let table = kept::table(measure);
        Ok(table.map_or_else(Ways::default, |table| table.choose()))
    }

    /// As a word of the segment.
    pub(crate) fn to_word(self) -> u64 {
        let log = |bytes: usize| u64::from(bytes.checked_ilog2().unwrap_or(0));
        let Ways { take, pipe, alone, together, exchange, stream, fixed } = self;
        let sizes = [take, pipe, alone, stream, exchange, together];
        sizes.into_iter().rev().fold(0, |word, bytes| word << 8 | log(bytes)) | u64::from(fixed) << FIXED
    }

    /// What another process wrote there; nothing in it leads outside the segment or to a pipe of no bytes.
    pub(crate) fn from_word(word: u64) -> Ways {
        let bytes = |shift: u32| match (word >> shift) as u8 {
            0 => 0,
            log if u32::from(log) < usize::BITS - 1 => 1 << log,
            _ => usize::MAX,
        };
        let pipe = bytes(8).clamp(PIPES.0, PIPES.1);
        Ways {
            take: bytes(0),
            pipe,
            alone: bytes(16),
            together: bytes(40),
            exchange: bytes(32),
            stream: bytes(24),
            fixed: word >> FIXED & 1 == 1,
        }
    }
}

impl fmt::Display for Ways {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ways { take, pipe, alone, together, exchange, stream, fixed: _ } = *self;
        let [take, pipe, alone, together] = [take, pipe, alone, together].map(spelled);
        let [exchange, stream] = [exchange, stream].map(spelled);
        write!(f, "take={take},pipe={pipe},alone={alone},together={together},exchange={exchange},stream={stream}")
    }
}

/// What the user's [variable](VARIABLE) says, if anything.
pub fn said() -> Option<String> {
    std::env::var(VARIABLE).ok().filter(|said| !said.is_empty())
}

/// A size as people write it.
pub fn spelled(bytes: usize) -> String {
    match bytes {
        0 | usize::MAX => "never".into(),
        _ if bytes.is_multiple_of(1 << 20) => format!("{}M", bytes >> 20),
        _ if bytes.is_multiple_of(1 << 10) => format!("{}K", bytes >> 10),
        _ => bytes.to_string(),
    }
}

impl FromStr for Ways {
    type Err = String;

    /// Words `NAME=SIZE` between commas; what is not named stays as it is by default. A size is a power of two with K or M
    /// behind it, or `never`.
    fn from_str(text: &str) -> Result<Ways, String> {
        let mut ways = Ways::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            let (name, size) = word.split_once('=').ok_or_else(|| format!("'{word}' is not of the form NAME=SIZE"))?;
            let bytes = size_of_text(size).ok_or_else(|| {
                format!("'{size}' is no size: write a power of two with K or M behind it, as 256K, or never")
            })?;
            let (place, never) = match name {
                "take" => (&mut ways.take, 0),
                "pipe" => (&mut ways.pipe, 0),
                "alone" => (&mut ways.alone, usize::MAX),
                "together" => (&mut ways.together, usize::MAX),
                "exchange" => (&mut ways.exchange, usize::MAX),
                "stream" => (&mut ways.stream, usize::MAX),
                _ => {
                    return Err(format!(
                        "there is no '{name}': the names are take, pipe, alone, together, exchange and stream"
                    ));
                }
            };
            *place = bytes.unwrap_or(never);
            ways.fixed = true;
            if name == "pipe" && !(PIPES.0..=PIPES.1).contains(place) {
                return Err(format!("a pipe has {} to {}", spelled(PIPES.0), spelled(PIPES.1)));
            }
        }
        ways.exchange = ways.exchange.min(ways.alone);
        Ok(ways)
    }
}

/// The bit of the word that says whether somebody has said so; the sizes are below.
const FIXED: u32 = 63;

/// Less than a cache line is no size.
const LINE: usize = 64;

/// `None` inside for "never".
#[expect(clippy::option_option, reason = "no size, and the size never, are two answers")]
fn size_of_text(text: &str) -> Option<Option<usize>> {
    if text == "never" {
        return Some(None);
    }
    let digits = text.trim_end_matches(['K', 'M']);
    let shift = match &text[digits.len()..] {
        "" => 0,
        "K" => 10,
        "M" => 20,
        _ => return None,
    };
    let bytes = digits.parse::<usize>().ok()?.checked_mul(1 << shift)?;
    (bytes.is_power_of_two() && bytes >= LINE).then_some(Some(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_of_the_segment_says_what_was_chosen() {
        let (pipe, never) = (1 << 20, usize::MAX);
        let never = Ways { take: 0, pipe, alone: never, together: never, exchange: never, stream: never, fixed: true };
        let some = Ways { fixed: false, alone: 64 << 10, together: 4 << 20, exchange: 32 << 10, ..never };
        for ways in [Ways::default(), never, some] {
            assert_eq!(Ways::from_word(ways.to_word()), ways, "{ways}");
        }
    }

    #[test]
    fn a_word_that_was_written_over_gives_ways_that_work() {
        for word in [0, u64::MAX, 0x0101_0101_0101_0101, 0x3f3f_3f3f, 0x4040_4040] {
            let ways = Ways::from_word(word);
            assert!((PIPES.0..=PIPES.1).contains(&ways.pipe), "{ways} from {word:#x}");
        }
    }

    #[test]
    fn what_is_spelled_wrong_is_told() {
        for (text, said) in [
            ("take", "not of the form"),
            ("take=3K", "no size"),
            ("take=", "no size"),
            ("take=1", "no size"),
            ("take=1KM", "no size"),
            ("give=1K", "no 'give'"),
            ("pipe=never", "a pipe has"),
            ("pipe=64K", "a pipe has"),
        ] {
            let wrong = text.parse::<Ways>().expect_err(text);
            assert!(wrong.contains(said), "{text}: {wrong}");
        }
        assert_eq!("".parse(), Ok(Ways::default()));
        let ways: Ways = " alone=64K , stream=never".parse().expect("right");
        assert_eq!(ways.to_string().parse(), Ok(ways));
    }
}
