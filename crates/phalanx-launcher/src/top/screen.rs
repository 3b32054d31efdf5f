//! The terminal: raw while the table is shown, and as it was before whatever ends it.
//!
//! Signals are read as events, so that none of them leaves the terminal as it is. (SIGKILL does; `reset` mends that.)

use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

use crate::sys;

pub(crate) const UP: char = '\u{f700}';
pub(crate) const DOWN: char = '\u{f701}';
pub(crate) const PAGE_UP: char = '\u{f702}';
pub(crate) const PAGE_DOWN: char = '\u{f703}';
/// A sequence that means nothing here.
const UNKNOWN: char = '\u{f7ff}';

/// Another screen without a cursor, and back.
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";
/// What would end or stop this process, or changes the size of the screen.
const SIGNALS: &[i32] =
    &[libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGTSTP, libc::SIGCONT, libc::SIGWINCH];

/// The terminal, while it is ours.
pub(crate) struct Screen {
    before: Termios,
    signals: OwnedFd,
    /// Bytes that were typed and are no keys yet.
    typed: Vec<u8>,
}

/// What has happened.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Nothing, for so long.
    Time,
    /// The screen is to be written again.
    Redraw,
    /// A key.
    Key(char),
    /// A signal wants an end.
    Leave,
}

impl Screen {
    /// Whether there is a terminal to type at and to show something in.
    pub(crate) fn is_possible() -> bool {
        isatty(stdin()) && isatty(stdout())
    }

    /// Takes the terminal.
    pub(crate) fn enter() -> io::Result<Screen> {
        let signals = sys::signal_descriptor(SIGNALS)?;
        let before = tcgetattr(stdin())?;
        let screen = Screen { before, signals, typed: Vec::new() };
        screen.take()?;
        Ok(screen)
    }

    fn take(&self) -> io::Result<()> {
        let mut raw = self.before.clone();
        raw.make_raw();
        // What was typed meanwhile is for us.
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        write(ENTER);
        Ok(())
    }

    fn give_back(&self) {
        write(LEAVE);
        let _ = tcsetattr(stdin(), OptionalActions::Flush, &self.before);
    }

    /// Columns and lines.
    pub(crate) fn size(&self) -> (usize, usize) {
        match tcgetwinsize(stdout()) {
            Ok(size) if size.ws_col > 0 && size.ws_row > 0 => (size.ws_col.into(), size.ws_row.into()),
            _ => (80, 24),
        }
    }

    /// Writes a page of lines. None may be wider than the screen but by letters that are not shown.
    pub(crate) fn show(&self, page: &[String]) {
        let (columns, lines) = self.size();
        let mut text = String::from("\x1b[H");
        for (at, line) in page.iter().take(lines).enumerate() {
            if at > 0 {
                text.push_str("\r\n");
            }
            match line.strip_prefix(REVERSED) {
                Some(line) => {
                    text.push_str("\x1b[7m");
                    text.extend(plain(line, columns));
                    text.push_str("\x1b[0m");
                }
                None => text.extend(plain(line, columns)),
            }
            text.push_str("\x1b[K");
        }
        text.push_str("\x1b[J");
        write(&text);
    }

    /// Waits for something to happen, for so long at most.
    pub(crate) fn wait(&mut self, longest: Duration) -> Event {
        if let Some(key) = key(&mut self.typed) {
            return Event::Key(key);
        }
        let input = stdin();
        let mut watched = [PollFd::new(&input, PollFlags::IN), PollFd::new(&self.signals, PollFlags::IN)];
        let limit = Timespec { tv_sec: longest.as_secs() as i64, tv_nsec: longest.subsec_nanos().into() };
        match poll(&mut watched, Some(&limit)) {
            Ok(0) => return Event::Time,
            Ok(_) => {}
            Err(_) => return Event::Redraw,
        }
        let (typed, signalled) = (watched[0].revents(), watched[1].revents());
        if !signalled.is_empty() {
            return self.heed();
        }
        let mut room = [0; 64];
        match rustix::io::read(stdin(), &mut room[..]) {
            // The terminal is gone.
            Ok(0) => return Event::Leave,
            Ok(count) => self.typed.extend_from_slice(&room[..count]),
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => return Event::Leave,
        }
        if typed.contains(PollFlags::HUP) && self.typed.is_empty() {
            return Event::Leave;
        }
        match key(&mut self.typed) {
            Some('\u{1a}') => self.pause(),
            Some(key) => Event::Key(key),
            None => Event::Redraw,
        }
    }

    /// Does what a signal asks for.
    fn heed(&mut self) -> Event {
        // struct signalfd_siginfo: 128 bytes, the first field is the signal's number (u32).
        let mut record = [0u8; 128];
        if rustix::io::read(&self.signals, &mut record[..]).ok() != Some(record.len()) {
            return Event::Redraw;
        }
        match i32::try_from(u32::from_ne_bytes([record[0], record[1], record[2], record[3]])) {
            Ok(libc::SIGWINCH) => Event::Redraw,
            Ok(libc::SIGTSTP) => self.pause(),
            // Whoever has gone on may have changed the terminal meanwhile.
            Ok(libc::SIGCONT) if self.take().is_ok() => Event::Redraw,
            _ => Event::Leave,
        }
    }

    /// Stops this process, as a shell expects it, with the terminal as it was.
    fn pause(&mut self) -> Event {
        self.give_back();
        let _ = rustix::process::kill_process(rustix::process::getpid(), Signal::STOP);
        if self.take().is_ok() { Event::Redraw } else { Event::Leave }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.give_back();
    }
}

/// Marks a line that is shown with its colours exchanged.
const REVERSED: char = '\u{f7fe}';

/// A line that is shown so.
pub(crate) fn reversed(line: &str) -> String {
    format!("{REVERSED}{line}")
}

/// What of a line is shown: no orders to the terminal, and no more than fits.
pub(super) fn plain(line: &str, columns: usize) -> impl Iterator<Item = char> {
    line.chars().map(|c| if c.is_control() { '?' } else { c }).take(columns)
}

fn write(text: &str) {
    let mut out = io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The next key of what was typed.
pub(super) fn key(typed: &mut Vec<u8>) -> Option<char> {
    let first = *typed.first()?;
    if first != 0x1b || typed.len() == 1 {
        typed.remove(0);
        return Some(char::from(first));
    }
    let known: [(&[u8], char); 6] = [
        (b"\x1b[A", UP),
        (b"\x1b[B", DOWN),
        (b"\x1bOA", UP),
        (b"\x1bOB", DOWN),
        (b"\x1b[5~", PAGE_UP),
        (b"\x1b[6~", PAGE_DOWN),
    ];
    if let Some((bytes, key)) = known.iter().find(|(bytes, _)| typed.starts_with(bytes)) {
        typed.drain(..bytes.len());
        return Some(*key);
    }
    // Another one, up to the letter that ends it.
    let end = typed.iter().skip(2).position(|byte| (0x40..0x7f).contains(byte)).map_or(typed.len(), |at| at + 3);
    typed.drain(..end);
    Some(UNKNOWN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_apart() {
        let mut typed = b"q\x1b[A\x1b[6~\x1b[1;5Cw\x1b".to_vec();
        let keys: Vec<char> = std::iter::from_fn(|| key(&mut typed)).collect();
        assert_eq!(keys, ['q', UP, PAGE_DOWN, UNKNOWN, 'w', '\u{1b}']);
    }

    #[test]
    fn lines_hold_no_orders() {
        assert_eq!(plain("a\x1b[31mb", 5).collect::<String>(), "a?[31");
    }
}
