//! `phalanx cluster top`: the engines of a cluster in a table that is kept up to date.

use std::time::{Duration, Instant};

use super::ask::Asked;
use super::files::Place;
use super::flags::Flags;
use super::seen::{Order, Sample, heading, mishaps, table, totals};
use super::{others, usage, why};
use crate::error::LaunchError;
use crate::look::tame;
use crate::output;
use crate::top::screen::{self, Event, Screen};

/// From one look to the next, where nobody says it.
const EVERY: Duration = Duration::from_secs(1);
/// A controller that has not answered for so long is said to be silent.
const PATIENCE: Duration = Duration::from_secs(2);
/// Columns of a table that goes to no terminal.
const COLUMNS: usize = 80;
/// Lines for what went wrong last, at most.
const MISHAPS: usize = 5;
/// What the keys do.
const KEYS: &str = "q quit  w why  sort: e engine c CPU m memory d done f failed t time";

/// `top`.
///
/// # Errors
/// When there is no such cluster, or it does not answer.
pub(super) fn command(flags: Flags) -> Result<u8, LaunchError> {
    let every = match flags.delay.as_deref() {
        None => EVERY,
        Some(given) => {
            let seconds = given.parse::<f64>().ok().filter(|seconds| (0.1..=3600.0).contains(seconds));
            let problem = || usage(format!("--delay takes seconds from 0.1 to 3600, not '{given}'"));
            Duration::from_secs_f64(seconds.ok_or_else(problem)?)
        }
    };
    let place = Place::of(&flags);
    let mut asked = others::asked(&flags)?;
    let first = Sample::ask(&mut asked, None).map_err(|problem| others::silent(&place, &problem))?;
    if flags.json || flags.once || !Screen::is_possible() {
        std::thread::sleep(every);
        // The first one tells no rates.
        let sample = Sample::ask(&mut asked, Some(&first)).map_err(|problem| others::silent(&place, &problem))?;
        if flags.json {
            output::print(&format!("{:#}\n", sample.json()));
        } else {
            let mut page = vec![heading(&place.words(), &sample.seen), totals(&sample)];
            page.extend(table(&sample, Order::Engine, COLUMNS));
            page.extend(mishaps(&sample.seen).into_iter().take(MISHAPS));
            for line in page {
                let line: String = tame(line).chars().take(COLUMNS).collect();
                output::print(&format!("{}\n", line.trim_end()));
            }
        }
        return Ok(0);
    }
    if let Some(words) = live(&place, asked.patient(PATIENCE), first, every)? {
        output::say(&format!("phalanx cluster: {words}"));
    }
    Ok(0)
}

/// What is on the screen.
enum View {
    Table,
    /// The report of `phalanx cluster why`, from which line on.
    Why(Vec<String>, usize),
}

/// The table in the terminal. Gives what there is to say afterwards.
fn live(place: &Place, mut asked: Asked, first: Sample, every: Duration) -> Result<Option<String>, LaunchError> {
    let mut screen = Screen::enter().map_err(|error| LaunchError::system("preparing the terminal", error))?;
    let (mut sample, mut order, mut view, mut top, mut problem) = (first, Order::Engine, View::Table, 0, None);
    let mut next = Instant::now() + every;
    loop {
        let (columns, lines) = screen.size();
        let mut page = vec![heading(&place.words(), &sample.seen)];
        let mut room = lines.saturating_sub(3).max(1);
        match &mut view {
            View::Table => {
                let wrong: Vec<String> = mishaps(&sample.seen).into_iter().take(MISHAPS.min(lines / 4)).collect();
                let rows = table(&sample, order, columns);
                // The heading has a line more, and what went wrong is above the keys.
                room = room.saturating_sub(1 + wrong.len()).max(1);
                page.push(totals(&sample));
                top = top.min(rows.len().saturating_sub(1 + room));
                page.push(screen::reversed(&rows[0]));
                page.extend(rows.into_iter().skip(1 + top).take(room));
                page.resize(3 + room, String::new());
                page.extend(wrong);
                page.push(problem.clone().unwrap_or_else(|| KEYS.to_owned()));
            }
            View::Why(all, from) => {
                *from = (*from).min(all.len().saturating_sub(room + 1));
                page.extend(all.iter().skip(*from).take(room + 1).cloned());
                page.resize(2 + room, String::new());
                page.push("q back   up, down, space: move".to_owned());
            }
        }
        screen.show(&page);
        match screen.wait(next.saturating_duration_since(Instant::now())) {
            Event::Time => {
                next = Instant::now() + every;
                let asked_again = match &mut view {
                    View::Why(all, _) => why::report(&mut asked).map(|text| *all = lines_of(&text)),
                    View::Table => Ok(()),
                };
                match asked_again.and_then(|()| Sample::ask(&mut asked, Some(&sample))) {
                    Ok(new) => (sample, problem) = (new, None),
                    Err(_) if asked.is_over() => {
                        return Ok(Some(format!("the cluster {} has ended; {}", place.words(), others::START)));
                    }
                    Err(silence) => problem = Some(silence),
                }
            }
            Event::Redraw => {}
            Event::Leave => return Ok(None),
            Event::Key(key) => match (&mut view, key) {
                (_, '\u{3}') => return Ok(None),
                (View::Why(..), 'q' | '\u{1b}' | 'w') => view = View::Table,
                (View::Why(_, from), screen::DOWN | 'j') => *from += 1,
                (View::Why(_, from), screen::UP | 'k') => *from = from.saturating_sub(1),
                (View::Why(_, from), screen::PAGE_DOWN | ' ') => *from += room,
                (View::Why(_, from), screen::PAGE_UP) => *from = from.saturating_sub(room),
                (View::Why(..), _) => {}
                (View::Table, 'q' | '\u{1b}') => return Ok(None),
                (View::Table, 'w' | '\r') => match why::report(&mut asked) {
                    Ok(text) => view = View::Why(lines_of(&text), 0),
                    Err(silence) => problem = Some(silence),
                },
                (View::Table, screen::DOWN | 'j') => top += 1,
                (View::Table, screen::UP | 'k') => top = top.saturating_sub(1),
                (View::Table, screen::PAGE_DOWN | ' ') => top += room,
                (View::Table, screen::PAGE_UP) => top = top.saturating_sub(room),
                (View::Table, key) => order = Order::of_key(key).unwrap_or(order),
            },
        }
    }
}

fn lines_of(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}
