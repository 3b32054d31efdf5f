//! Output of ranks on its way to our standard output and error: whole lines, never torn, never lost, never blocking.
//!
//! A [`Sink`] is one of our two streams; a [`Stream`] is one of a rank's two. A stream hands complete lines to its
//! sink and keeps the rest of the last line until it is complete, the job finds that nobody would be disturbed by it (a
//! prompt: [`Stream::show`]), or the stream ends. A sink writes at once what the
//! descriptor takes and keeps the rest; while it keeps more than [`FULL`], its streams are not read, so that the ranks
//! that write too fast wait in their own `write`, as they would without a launcher.

use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::timestamp;

/// Above so many bytes waiting, a sink's streams are not read.
const FULL: usize = 256 * 1024;
/// Of a last line, so many bytes are kept.
const LONGEST_WORDS: usize = 240;
/// A line longer than this is passed on in pieces.
const LONGEST_LINE: usize = 4 * 1024 * 1024;
/// What a pipe that polls as writable surely takes without blocking.
const PIPE_ATOM: usize = 4096;

/// Writes text to standard output, whatever becomes of it.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
    let _ = std::io::stdout().flush();
}

/// Writes one line to standard error, whatever becomes of it.
pub(crate) fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}

/// How to write without blocking to whatever our output is.
enum Way {
    /// Regular files and what else never waits for a reader.
    Plain,
    /// A second description of the same pipe or terminal, which alone has O_NONBLOCK: the flag on the first one
    /// would also hold for every other process that writes there.
    Own(OwnedFd),
    /// A socket: non-blocking by call.
    Socket,
    /// A pipe or terminal that cannot be opened again: small pieces, after polling.
    Polled,
}

/// One of our two output streams.
pub(crate) struct Sink {
    descriptor: OwnedFd,
    way: Way,
    waiting: Vec<u8>,
    /// How much of `waiting` is already written.
    written: usize,
    /// Whose unfinished line stands at the end of what was handed in.
    unfinished: Option<usize>,
    /// When a rank last wrote something for it, complete or not.
    pub(crate) heard: Instant,
    /// The reader is gone, or no more can be written.
    pub(crate) broken: bool,
    /// Why, when the reader is not simply gone.
    pub(crate) problem: Option<Errno>,
    /// It leads to a terminal.
    is_terminal: bool,
    /// What comes waits, since somebody else has the terminal.
    muted: bool,
    /// Its streams are not read.
    pub(crate) held: bool,
    /// The event loop watches the descriptor for room.
    pub(crate) watched: bool,
}

impl Sink {
    /// A sink over a duplicate of `target`.
    pub(crate) fn new(target: BorrowedFd<'_>) -> std::io::Result<Self> {
        let descriptor = rustix::io::fcntl_dupfd_cloexec(target, 3)?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&descriptor)?.st_mode);
        let way = match kind {
            FileType::Fifo => reopen(&descriptor).map_or(Way::Polled, Way::Own),
            FileType::CharacterDevice if rustix::termios::isatty(&descriptor) => {
                reopen(&descriptor).map_or(Way::Polled, Way::Own)
            }
            FileType::Socket => Way::Socket,
            _ => Way::Plain,
        };
        Ok(Self {
            descriptor,
            way,
            waiting: Vec::new(),
            written: 0,
            unfinished: None,
            heard: Instant::now(),
            broken: false,
            problem: None,
            is_terminal: kind == FileType::CharacterDevice && rustix::termios::isatty(target),
            muted: false,
            held: false,
            watched: false,
        })
    }

    /// The sinks for our standard output and error: two, or one when both lead to the same place, so that lines
    /// stay whole there as well.
    pub(crate) fn both() -> std::io::Result<Vec<Self>> {
        let (out, err) = (rustix::stdio::stdout(), rustix::stdio::stderr());
        let place = |stat: rustix::fs::Stat| (stat.st_dev, stat.st_ino);
        let same = place(rustix::fs::fstat(out)?) == place(rustix::fs::fstat(err)?);
        let mut sinks = vec![Self::new(out)?];
        if !same {
            sinks.push(Self::new(err)?);
        }
        Ok(sinks)
    }

    /// The descriptor to watch for room.
    pub(crate) fn watch(&self) -> BorrowedFd<'_> {
        match &self.way {
            Way::Own(own) => own.as_fd(),
            _ => self.descriptor.as_fd(),
        }
    }

    /// Whether it leads to a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        self.is_terminal
    }

    /// Somebody else writes to the terminal, on a line of its own.
    pub(crate) fn mute(&mut self) {
        if self.is_terminal {
            if self.unfinished.take().is_some() {
                self.write(b"\n");
            }
            self.muted = true;
        }
    }

    /// The terminal is free again, on a new line.
    pub(crate) fn unmute(&mut self) {
        if std::mem::replace(&mut self.muted, false) {
            self.flush();
        }
    }

    /// Whether what comes has to wait.
    pub(crate) fn is_muted(&self) -> bool {
        self.muted
    }

    /// Whether bytes wait to be written.
    pub(crate) fn is_waiting(&self) -> bool {
        !self.broken && self.written < self.waiting.len()
    }

    /// Whether streams should not be read now.
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() - self.written > FULL && !self.broken
    }

    /// Takes lines (or the end of a stream) of rank `from`; `whole` says that they end in a newline.
    ///
    /// A line never holds bytes of two ranks: an unfinished one is ended before another rank's begins.
    pub(crate) fn push(&mut self, from: usize, parts: &[&[u8]], whole: bool) {
        if self.unfinished.is_some_and(|other| other != from) {
            self.write(b"\n");
        }
        self.unfinished = (!whole).then_some(from);
        for part in parts {
            self.write(part);
        }
    }

    /// Whether rank `from` may begin or go on with a line without ending another rank's.
    pub(crate) fn is_free_for(&self, from: usize) -> bool {
        self.unfinished.is_none_or(|other| other == from)
    }

    /// The terminal has moved to a new line by itself, since a person typed one.
    pub(crate) fn line_ended_by_echo(&mut self) {
        self.unfinished = None;
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.broken {
            return;
        }
        let mut rest = bytes;
        if !self.is_waiting() && !self.muted {
            self.waiting.clear();
            self.written = 0;
            while !rest.is_empty() {
                match self.write_some(rest) {
                    Ok(n) => rest = &rest[n..],
                    Err(Errno::AGAIN) => break,
                    Err(Errno::INTR) => {}
                    Err(error) => return self.give_up(error),
                }
            }
        }
        self.waiting.extend_from_slice(rest);
    }

    /// Writes what waits, as far as there is room.
    pub(crate) fn flush(&mut self) {
        while self.is_waiting() && !self.muted {
            match self.write_some(&self.waiting[self.written..]) {
                Ok(n) => self.written += n,
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return self.give_up(error),
            }
        }
        if !self.is_waiting() {
            self.waiting.clear();
            self.written = 0;
        } else if self.written > FULL {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
    }

    fn give_up(&mut self, error: Errno) {
        self.problem = (error != Errno::PIPE).then_some(error);
        self.broken = true;
        self.waiting = Vec::new();
        self.written = 0;
    }

    fn write_some(&self, bytes: &[u8]) -> Result<usize, Errno> {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        match &self.way {
            Way::Plain => rustix::io::write(&self.descriptor, bytes),
            Way::Own(own) => rustix::io::write(own, bytes),
            Way::Socket => {
                let flags = rustix::net::SendFlags::DONTWAIT | rustix::net::SendFlags::NOSIGNAL;
                rustix::net::send(&self.descriptor, bytes, flags)
            }
            Way::Polled => {
                let mut room = [PollFd::new(&self.descriptor, PollFlags::OUT)];
                let now = Timespec { tv_sec: 0, tv_nsec: 0 };
                if poll(&mut room, Some(&now))? == 0 {
                    return Err(Errno::AGAIN);
                }
                rustix::io::write(&self.descriptor, &bytes[..bytes.len().min(PIPE_ATOM)])
            }
        }
    }
}

fn reopen(descriptor: &OwnedFd) -> Option<OwnedFd> {
    use std::os::fd::AsRawFd;
    let path = format!("/proc/self/fd/{}", descriptor.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, Mode::empty()).ok()
}

/// One of a rank's output streams.
pub(crate) struct Stream {
    /// Our end of the pipe; `None` for a rank on another machine.
    pub(crate) descriptor: Option<OwnedFd>,
    /// Twice the index of its rank, plus one for standard error.
    pub(crate) id: usize,
    /// Stands before each line; empty without tags.
    tag: Vec<u8>,
    /// Whether the time stands before that.
    stamped: bool,
    /// The beginning of a line that is not complete yet, as far as it has not been passed on.
    partial: Vec<u8>,
    /// The beginning of the current line has been passed on.
    shown: bool,
    /// Since when `partial` holds something, and nothing was added.
    pub(crate) partial_since: Option<Instant>,
    /// The last complete line, if it was added since somebody asked.
    last: Option<String>,
    /// Not watched because the sink is full.
    pub(crate) paused: bool,
}

/// What reading a stream came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Read {
    /// Bytes were read, and more may follow.
    Some,
    /// Nothing is there now.
    Nothing,
    /// Nobody can write there any more.
    End,
}

impl Stream {
    /// A stream that tags its lines with `tag` (none if empty), after the time if `stamped`.
    pub(crate) fn new(descriptor: Option<OwnedFd>, id: usize, tag: Vec<u8>, stamped: bool) -> Self {
        Self {
            descriptor,
            id,
            tag,
            stamped,
            partial: Vec::new(),
            shown: false,
            partial_since: None,
            last: None,
            paused: false,
        }
    }

    /// Index of its rank.
    fn rank(&self) -> usize {
        self.id / 2
    }

    /// Whether lines are passed on as they are.
    fn is_plain(&self) -> bool {
        self.tag.is_empty() && !self.stamped
    }

    /// What stands before a line that begins now.
    fn prefix(&self) -> Vec<u8> {
        let mut prefix = Vec::new();
        if self.stamped {
            prefix.extend_from_slice(format!("[{}] ", timestamp::now()).as_bytes());
        }
        prefix.extend_from_slice(&self.tag);
        prefix
    }

    /// Reads once and passes complete lines on; with `alone`, everything at once (nobody else's lines to keep apart).
    pub(crate) fn read(&mut self, scratch: &mut [u8], sink: &mut Sink, alone: bool) -> Read {
        let Some(descriptor) = &self.descriptor else { return Read::Nothing };
        match rustix::io::read(descriptor, &mut *scratch) {
            Ok(0) => {
                self.show(sink);
                Read::End
            }
            Ok(n) => {
                self.take(&scratch[..n], sink, alone);
                Read::Some
            }
            Err(Errno::AGAIN) => Read::Nothing,
            Err(Errno::INTR) => Read::Some,
            Err(_) => {
                self.show(sink);
                Read::End
            }
        }
    }

    /// Passes on what has come, as [`Stream::read`] does.
    pub(crate) fn take(&mut self, bytes: &[u8], sink: &mut Sink, alone: bool) {
        self.feed(bytes, sink, alone);
        self.remember(bytes);
        sink.heard = Instant::now();
        self.partial_since = (!self.partial.is_empty()).then_some(sink.heard);
    }

    /// The last line that has anything in it, if it came since this was asked.
    pub(crate) fn last_words(&mut self) -> Option<String> {
        self.last.take()
    }

    /// Keeps the last line of what was read from standard error, as far as it may be told.
    fn remember(&mut self, data: &[u8]) {
        let mut lines = data.rsplit(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty());
        if self.id % 2 == 1
            && let Some(line) = lines.next()
        {
            self.last = Some(String::from_utf8_lossy(&line[..line.len().min(LONGEST_WORDS)]).trim().to_owned());
        }
    }

    fn feed(&mut self, data: &[u8], sink: &mut Sink, alone: bool) {
        let plain = self.is_plain();
        let alone = alone && plain;
        if alone && self.partial.is_empty() {
            return sink.push(self.rank(), &[data], data.ends_with(b"\n"));
        }
        // A carriage return is the end of a piece as well (of a progress bar), but not of a tagged line.
        let end = |at: &usize| data[*at] == b'\n' || (data[*at] == b'\r' && plain && at + 1 < data.len());
        let Some(last) = (0..data.len()).rev().find(end) else {
            self.partial.extend_from_slice(data);
            if self.partial.len() > LONGEST_LINE || alone {
                self.show(sink);
            }
            return;
        };
        let (lines, rest) = data.split_at(last + 1);
        if plain {
            sink.push(self.rank(), &[&self.partial, lines], lines.ends_with(b"\n"));
            self.partial.clear();
        } else {
            let prefix = self.prefix();
            let mut begun = self.is_continued(sink);
            let mut text = Vec::with_capacity(lines.len() + 16 * prefix.len());
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                if !std::mem::take(&mut begun) {
                    text.extend_from_slice(&prefix);
                }
                text.append(&mut self.partial);
                text.extend_from_slice(line);
            }
            sink.push(self.rank(), &[&text], true);
        }
        self.shown = false;
        self.partial.extend_from_slice(rest);
    }

    /// Whether what comes next goes on with a line whose beginning, with what stands before it, was passed on last.
    fn is_continued(&self, sink: &Sink) -> bool {
        self.shown && sink.unfinished == Some(self.rank())
    }

    /// Passes on what there is of the last line.
    pub(crate) fn show(&mut self, sink: &mut Sink) {
        self.partial_since = None;
        if !self.partial.is_empty() {
            let prefix = if self.is_continued(sink) { Vec::new() } else { self.prefix() };
            sink.push(self.rank(), &[&prefix, &self.partial], false);
            self.partial.clear();
            self.shown = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;

    fn pipe() -> (std::io::PipeReader, std::io::PipeWriter) {
        std::io::pipe().unwrap()
    }

    fn stream(id: usize, tag: &str) -> Stream {
        Stream::new(Some(pipe().0.into()), id, tag.as_bytes().to_vec(), false)
    }

    fn collect(act: impl FnOnce(&mut Sink)) -> String {
        let (mut reader, writer) = pipe();
        let mut sink = Sink::new(writer.as_fd()).unwrap();
        drop(writer);
        act(&mut sink);
        drop(sink);
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn lines_of_two_ranks_are_never_mixed() {
        let text = collect(|sink| {
            let (mut a, mut b) = (stream(0, ""), stream(2, ""));
            a.feed(b"one, ", sink, false);
            b.feed(b"B1\nB", sink, false);
            a.feed(b"two\nthree", sink, false);
            b.feed(b"2\n", sink, false);
            a.show(sink);
            b.feed(b"B3", sink, false);
            b.show(sink);
        });
        assert_eq!(text, "B1\none, two\nB2\nthree\nB3");
    }

    #[test]
    fn a_progress_bar_moves_on() {
        let text = collect(|sink| {
            let (mut a, mut b) = (stream(0, ""), stream(2, ""));
            a.feed(b"\r10%", sink, false);
            a.feed(b"\r20%", sink, false);
            b.feed(b"B\n", sink, false);
            a.feed(b"\rdone\r\n", sink, false);
        });
        assert_eq!(text, "\r10%\r\nB\n20%\rdone\r\n");
    }

    #[test]
    fn tags_stand_before_every_line() {
        let text = collect(|sink| {
            let mut a = stream(0, "[7] ");
            a.feed(b"x\ny\n\nz", sink, true);
            a.show(sink);
        });
        assert_eq!(text, "[7] x\n[7] y\n[7] \n[7] z");
    }

    #[test]
    fn a_shown_beginning_is_gone_on_with() {
        let text = collect(|sink| {
            let (mut a, mut b) = (stream(0, "[0] "), stream(2, "[1] "));
            a.feed(b"go? ", sink, false);
            a.show(sink);
            assert!(sink.is_free_for(0) && !sink.is_free_for(1));
            a.feed(b"yes\nand? ", sink, false);
            a.show(sink);
            b.feed(b"B\n", sink, false);
            a.feed(b"no\n", sink, false);
        });
        assert_eq!(text, "[0] go? yes\n[0] and? \n[1] B\n[0] no\n");
    }

    #[test]
    fn alone_bytes_pass_as_they_come() {
        let text = collect(|sink| {
            let mut a = stream(0, "");
            a.feed(b"Name: ", sink, true);
            a.feed(b"? ", sink, true);
        });
        assert_eq!(text, "Name: ? ");
    }

    #[test]
    fn a_slow_reader_gets_everything_in_order() {
        let (mut reader, writer) = pipe();
        let mut sink = Sink::new(writer.as_fd()).unwrap();
        drop(writer);
        let text: Vec<u8> = (0..200_000u32).flat_map(|n| format!("{n}\n").into_bytes()).collect();
        sink.push(0, &[&text], true);
        assert!(sink.is_waiting() && sink.is_full());
        let slow = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).unwrap();
            all
        });
        while sink.is_waiting() {
            sink.flush();
            std::thread::yield_now();
        }
        drop(sink);
        assert!(slow.join().unwrap() == text);
    }

    #[test]
    fn a_reader_that_left_is_noticed() {
        let (reader, writer) = pipe();
        let mut sink = Sink::new(writer.as_fd()).unwrap();
        drop(reader);
        sink.push(0, &[b"x\n"], true);
        assert!(sink.broken && !sink.is_waiting());
    }
}
