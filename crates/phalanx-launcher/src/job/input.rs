//! Standard input of the rank that may read it (rank 0, if nobody says otherwise) when ours is a terminal.
//!
//! A terminal can be read by its foreground process group only, and ranks are in groups of their own: the launcher
//! reads it for them. (A file or pipe is handed to that rank directly, and nothing here is involved.)

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::epoll;

use super::{Job, Source, data, watch};

/// A prompt (an unfinished line of that rank) is shown after this time, since a person may be waiting for it.
const PROMPT: Duration = Duration::from_millis(40);

/// How often a job in the background looks whether it is in the foreground by now: no signal tells it.
const LOOK: Duration = Duration::from_secs(1);

/// The relay from the terminal to the rank that reads it.
#[derive(Default)]
pub(super) struct Input {
    /// Index of the rank.
    reader: usize,
    /// The write end of its standard input; `None` when there is nothing to relay.
    pipe: Option<OwnedFd>,
    /// What was read and not yet taken.
    waiting: Vec<u8>,
    watching: bool,
    flush_at: Option<Instant>,
    /// When to look again whether the terminal is ours.
    look_at: Option<Instant>,
}

impl Input {
    pub(super) fn reader(&self) -> usize {
        self.reader
    }

    pub(super) fn output_came(&mut self, from: usize) {
        if self.pipe.is_some() && from == self.reader {
            self.flush_at = Some(Instant::now() + PROMPT);
        }
    }

    pub(super) fn flush_at(&self) -> Option<Instant> {
        self.flush_at
    }

    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at
    }

    /// Whether typed lines are on their way to the rank.
    pub(super) fn has_typed(&self) -> bool {
        let is_full = |pipe: &OwnedFd| rustix::io::ioctl_fionread(pipe).is_ok_and(|bytes| bytes > 0);
        !self.waiting.is_empty() || self.pipe.as_ref().is_some_and(is_full)
    }

    pub(super) fn flushed(&mut self) {
        self.flush_at = None;
    }
}

impl Job {
    /// Begins to relay the terminal into a rank's pipe.
    pub(super) fn relay_terminal(&mut self, pipe: OwnedFd, reader: usize) {
        self.input.reader = reader;
        self.input.pipe = Some(pipe);
        self.watch_terminal();
    }

    /// Watches the terminal while we are in its foreground; reading it from the background would stop us.
    pub(super) fn watch_terminal(&mut self) {
        let terminal = rustix::stdio::stdin();
        let foreground = rustix::termios::tcgetpgrp(terminal).is_ok_and(|group| group == rustix::process::getpgrp());
        let wanted =
            foreground && !self.turns.takes_lines() && self.input.pipe.is_some() && self.input.waiting.is_empty();
        let later = self.input.pipe.is_some() && !foreground;
        self.input.look_at = later.then(|| Instant::now() + LOOK);
        if wanted == self.input.watching {
            return;
        }
        let done = if wanted {
            watch(&self.epoll, terminal, Source::Terminal).is_ok()
        } else {
            epoll::delete(&self.epoll, terminal).is_ok()
        };
        if done {
            self.input.watching = wanted;
        }
    }

    /// Reads what was typed.
    pub(super) fn read_terminal(&mut self) {
        self.watch_terminal();
        if !self.input.watching {
            return;
        }
        match rustix::io::read(rustix::stdio::stdin(), &mut self.scratch[..]) {
            Ok(0) => self.input.pipe = None,
            Ok(n) => {
                self.input.waiting.extend_from_slice(&self.scratch[..n]);
                // The terminal showed the end of the typed line itself.
                self.sinks[0].line_ended_by_echo();
                self.feed_stdin();
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => self.input.pipe = None,
        }
        self.watch_terminal();
    }

    /// Writes to the rank what waits for it.
    pub(super) fn feed_stdin(&mut self) {
        let Some(pipe) = &self.input.pipe else { return };
        match rustix::io::write(pipe, &self.input.waiting) {
            Ok(n) => {
                self.input.waiting.drain(..n);
            }
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => {}
            Err(_) => {
                // The rank reads no more.
                self.input.waiting.clear();
                self.input.pipe = None;
                return self.watch_terminal();
            }
        }
        let token = data(Source::Stdin);
        if self.input.waiting.is_empty() {
            // Not registered unless it was full once: the answer does not matter.
            let _ = epoll::delete(&self.epoll, pipe);
            self.watch_terminal();
        } else if epoll::add(&self.epoll, pipe, token, epoll::EventFlags::OUT).is_ok() {
            self.watch_terminal();
        }
    }
}
