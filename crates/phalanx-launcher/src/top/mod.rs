//! `phalanx top`: the ranks of a running job in a table that is kept up to date.
//!
//! | file | subject |
//! |---|---|
//! | `mod.rs` | the command, and its loop |
//! | `rows.rs` | what is in the table |
//! | `screen.rs` | the terminal: its state, its size, keys |

#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod rows;
pub(crate) mod screen;

use std::ffi::OsString;
use std::time::{Duration, Instant};

use self::rows::{Kind, Order, Sample, table, totals};
pub(crate) use self::rows::{short, time};
use self::screen::{Event, Screen};
use crate::error::LaunchError;
use crate::help;
use crate::jobs::{self, Found, Silence};
use crate::look;
use crate::output;
use crate::why::unknown;

/// From one look to the next, where nobody says it.
const EVERY: Duration = Duration::from_secs(1);
/// Columns of a table that goes to no terminal.
const COLUMNS: usize = 160;
/// A screen of so many columns has room for all that is counted.
const WIDE: usize = 130;
/// What the keys do.
const KEYS: &str = "q quit  n next kind  w why  sort: r rank c CPU m memory s calls b bytes t time";

/// Shows what the ranks of a job are doing until the user has seen enough, or the job has ended.
///
/// # Errors
/// Bad arguments, no such job, a launcher that does not answer.
pub fn command(args: &[OsString]) -> Result<u8, LaunchError> {
    let (mut once, mut every, mut job) = (false, EVERY, None);
    let mut words = args.iter().map(|arg| arg.to_string_lossy().into_owned());
    let usage = |problem: String| LaunchError::Usage { command: "top", problem };
    while let Some(word) = words.next() {
        match word.as_str() {
            "--once" => once = true,
            "-d" | "--delay" => {
                let value = words.next().unwrap_or_default();
                let seconds = value.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
                let problem = || format!("--delay takes seconds from 0.1 to 3600, not '{value}'");
                every = Duration::from_secs_f64(seconds.ok_or_else(|| usage(problem()))?);
            }
            "-h" | "--help" => {
                output::print(help::TOP);
                return Ok(0);
            }
            flag if flag.starts_with('-') => return Err(unknown("top", flag, &["--once", "--delay", "--help"])),
            _ if job.is_none() => job = Some(word),
            _ => return Err(usage(format!("one job at a time, and '{word}' is a second one"))),
        }
    }
    let job = jobs::named(job.as_deref(), "top")?;
    let first = sample(&job, None).map_err(|silence| jobs::silent(&job, silence))?;
    if once || !Screen::is_possible() {
        std::thread::sleep(every);
        // The first one tells no rates.
        let seen = match sample(&job, Some(&first)) {
            Ok(seen) => seen,
            Err(Silence::Gone) => first,
            Err(silence) => return Err(jobs::silent(&job, silence)),
        };
        output::print(&look::tame(format!("{}\n", look::heading(&seen.look.about))));
        output::print(&look::tame(format!("{}\n", totals(&seen))));
        for line in table(&seen, Order::Rank, &Kind::ALL, COLUMNS) {
            output::print(&look::tame(format!("{}\n", line.trim_end())));
        }
        return Ok(0);
    }
    let last = live(&job, first, every)?;
    if let Some(words) = last {
        output::say(&format!("phalanx: {words}"));
    }
    Ok(0)
}

fn sample(job: &Found, before: Option<&Sample>) -> Result<Sample, Silence> {
    Ok(Sample::new(job.top()?, before))
}

/// What is on the screen.
enum View {
    Table,
    /// The report of `phalanx why`, from which line on.
    Why(usize),
}

/// The table in the terminal. Gives what there is to say afterwards.
fn live(job: &Found, first: Sample, every: Duration) -> Result<Option<String>, LaunchError> {
    let mut screen = Screen::enter().map_err(|error| LaunchError::system("preparing the terminal", error))?;
    let (mut seen, mut order, mut view, mut top, mut problem) = (first, Order::Rank, View::Table, 0, None);
    let mut kind = Kind::default();
    let mut next = Instant::now() + every;
    loop {
        let (columns, lines) = screen.size();
        let room = lines.saturating_sub(3).max(1);
        let mut page = vec![look::heading(&seen.look.about)];
        match view {
            View::Table => {
                let mut kinds = std::iter::successors(Some(kind), |kind| Some(kind.next()));
                let kinds: Vec<Kind> = kinds.by_ref().take(if columns < WIDE { 1 } else { Kind::ALL.len() }).collect();
                let rows = table(&seen, order, &kinds, columns);
                // The heading has a line more.
                let room = room.saturating_sub(1).max(1);
                page.push(totals(&seen));
                top = top.min(rows.len().saturating_sub(1 + room));
                page.push(screen::reversed(&rows[0]));
                page.extend(rows.into_iter().skip(1 + top).take(room));
                page.resize(3 + room, String::new());
                page.push(problem.clone().unwrap_or_else(|| KEYS.to_owned()));
            }
            View::Why(from) => {
                let report = look::report(&seen.look, true);
                let all: Vec<String> = report.lines().map(str::to_owned).collect();
                let from = from.min(all.len().saturating_sub(room + 1));
                view = View::Why(from);
                page.extend(all.into_iter().skip(from).take(room + 1));
                page.resize(2 + room, String::new());
                page.push("q back   up, down, space: move".to_owned());
            }
        }
        screen.show(&page);
        match screen.wait(next.saturating_duration_since(Instant::now())) {
            Event::Time => {
                next = Instant::now() + every;
                match sample(job, Some(&seen)) {
                    Ok(new) => (seen, problem) = (new, None),
                    Err(Silence::Gone) => return Ok(Some(format!("job {} has ended", job.id))),
                    Err(silence) => problem = Some(jobs::silent(job, silence).to_string()),
                }
            }
            Event::Redraw => {}
            Event::Leave => return Ok(None),
            Event::Key(key) => match (&mut view, key) {
                (_, '\u{3}') => return Ok(None),
                (View::Why(_), 'q' | '\u{1b}' | 'w') => view = View::Table,
                (View::Why(from), screen::DOWN | 'j') => *from += 1,
                (View::Why(from), screen::UP | 'k') => *from = from.saturating_sub(1),
                (View::Why(from), screen::PAGE_DOWN | ' ') => *from += room,
                (View::Why(from), screen::PAGE_UP) => *from = from.saturating_sub(room),
                (View::Why(_), _) => {}
                (View::Table, 'q' | '\u{1b}') => return Ok(None),
                (View::Table, 'w' | '\r') => view = View::Why(0),
                (View::Table, 'n' | '\t') => kind = kind.next(),
                (View::Table, screen::DOWN | 'j') => top += 1,
                (View::Table, screen::UP | 'k') => top = top.saturating_sub(1),
                (View::Table, screen::PAGE_DOWN | ' ') => top += room,
                (View::Table, screen::PAGE_UP) => top = top.saturating_sub(room),
                (View::Table, key) => order = Order::of_key(key).unwrap_or(order),
            },
        }
    }
}
