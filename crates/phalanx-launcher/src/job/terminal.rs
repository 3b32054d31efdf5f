//! The terminal, handed to one rank at a time: for `input()`, for a debugger, and for `--pdb`.
//!
//! A rank that wants it sends one end of a pair of sockets to the [desk](super::desk) and asks over the other one. It is
//! given the terminal's own descriptor, so that line editing, the window's size and programs that draw on the screen work
//! as they do without us. While it has it, nobody else reads the terminal or writes to it: what other ranks print waits.
//!
//! | it sends | and gets |
//! |---|---|
//! | `i`: to read a line | `g` and the terminal; `o`: typed lines are there for it already; `s`: read your own standard input, now and for ever; `n`: there is no terminal |
//! | `d`: for a debugger | the same |
//! | `p`: for a debugger after the end | the same, if it is the first; the others get no answer, and end with the job |
//! | `r`: it is done with it | nothing |
//!
//! Control-C and Control-Z are typed to our process group: the first goes to the rank that has the terminal, and to no
//! other; the second stops the job, and the terminal is as it was before in the meantime.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags};
use rustix::process::{Pid, Signal};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetpgrp, tcsetattr};

use super::{Job, Source, watch};
use crate::process::Stdin;

/// A debugger that has given the terminal back is the first who may have it again, for so long: it steps.
const KEPT: Duration = Duration::from_millis(300);
/// The same for one who has read a line: the next one is asked for.
const KEPT_AFTER_LINE: Duration = Duration::from_millis(30);
/// How often a job in the background looks whether it is in the foreground by now.
const LOOK: Duration = Duration::from_millis(500);
/// Processes that may ask.
const MOST: usize = 4096;

/// What a process wants the terminal for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Want {
    Line,
    Debugger,
    /// A debugger for an exception that nobody caught.
    PostMortem,
}

/// A process that may ask for the terminal.
struct Speaker {
    socket: OwnedFd,
    /// Index of its rank.
    index: usize,
    /// The process that Control-C is for.
    pid: Pid,
    want: Option<Want>,
}

/// Who has the terminal, and who waits for it.
#[derive(Default)]
pub(super) struct Turns {
    speakers: Vec<Option<Speaker>>,
    queue: VecDeque<usize>,
    holder: Option<usize>,
    /// Who had it last, and until when it may have it again before others.
    kept: Option<(usize, Instant)>,
    /// The terminal, once it was needed.
    terminal: Option<OwnedFd>,
    /// How it was when it was handed over last.
    before: Option<Termios>,
    /// How it was when the job was stopped.
    stopped: Option<Termios>,
    look_at: Option<Instant>,
    /// Those that wait, as it was said last.
    told: Vec<usize>,
    /// It was said that the job is in the background.
    calls: bool,
    /// A debugger has been at work: what is typed is for the next prompt.
    debugs: bool,
    /// A rank is looked at after its end; the others of that kind wait for the end of the job.
    examined: Option<usize>,
}

impl Turns {
    /// Whether a rank has the terminal.
    pub(super) fn is_held(&self) -> bool {
        self.holder.is_some()
    }

    /// Whether what is typed is for whoever asks next, and not for the rank that has our standard input.
    pub(super) fn takes_lines(&self) -> bool {
        self.is_held() || self.debugs
    }

    /// Whether somebody asks for it.
    pub(super) fn is_wanted(&self) -> bool {
        self.holder.is_none() && !self.queue.is_empty()
    }

    /// When to look at the queue again.
    pub(super) fn at(&self) -> Option<Instant> {
        let kept = self.kept.map(|(_, until)| until);
        [self.look_at, kept].into_iter().flatten().min().filter(|_| self.is_wanted())
    }

    fn speaker(&self, id: usize) -> Option<&Speaker> {
        self.speakers.get(id).and_then(Option::as_ref)
    }
}

impl Job {
    /// A process of a rank may ask for the terminal from now on, over this socket.
    pub(super) fn add_speaker(&mut self, index: usize, pid: Pid, socket: OwnedFd) {
        let is_socket = rustix::fs::fstat(&socket).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_socket());
        let id = self.turns.speakers.iter().position(Option::is_none).unwrap_or(self.turns.speakers.len());
        // Whoever gets no answer finds the other end closed.
        if is_socket && id < MOST && watch(&self.epoll, &socket, Source::Speaker(id)).is_ok() {
            let speaker = Some(Speaker { socket, index, pid, want: None });
            match self.turns.speakers.get_mut(id) {
                Some(place) => *place = speaker,
                None => self.turns.speakers.push(speaker),
            }
        }
    }

    /// Reads what a speaker sends.
    pub(super) fn read_speaker(&mut self, id: usize) {
        // Not for ever, whatever it does.
        for _ in 0..16 {
            let Some(speaker) = self.turns.speaker(id) else { return };
            let mut word = [0u8; 1];
            match rustix::net::recv(&speaker.socket, &mut word[..], RecvFlags::DONTWAIT) {
                Ok((0, _)) => return self.drop_speaker(id),
                Ok(_) => match word[0] {
                    b'i' => self.ask(id, Want::Line),
                    b'd' => self.ask(id, Want::Debugger),
                    b'p' => self.ask(id, Want::PostMortem),
                    b'r' => self.give_back(id),
                    _ => return self.drop_speaker(id),
                },
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.drop_speaker(id),
            }
        }
    }

    /// A speaker has gone. The terminal is as it was before, whatever it has made of it.
    fn drop_speaker(&mut self, id: usize) {
        if self.turns.holder == Some(id) {
            self.restore_terminal();
            self.release();
        }
        self.turns.queue.retain(|other| *other != id);
        self.turns.speakers[id] = None;
    }

    fn ask(&mut self, id: usize, want: Want) {
        if self.turns.holder == Some(id) || self.turns.queue.contains(&id) {
            return;
        }
        let Some(speaker) = self.turns.speakers.get_mut(id).and_then(Option::as_mut) else { return };
        speaker.want = Some(want);
        let index = speaker.index;
        let own = self.own_input(index);
        let answer = match own {
            _ if self.course.is_ending() => Some(b"n"),
            Some(Stdin::Pipe) if want == Want::Line && self.input.has_typed() => Some(b"o"),
            Some(Stdin::Inherit) if want != Want::PostMortem => Some(b"s"),
            _ if want == Want::Line && self.stdin != Stdin::Pipe => Some(b"s"),
            Some(Stdin::Inherit) if !self.find_terminal() => Some(b"s"),
            _ if !self.find_terminal() => Some(b"n"),
            _ => None,
        };
        if let Some(answer) = answer {
            return self.answer(id, answer, false);
        }
        if want == Want::PostMortem {
            if self.turns.examined.is_some() {
                // No answer: it has been told of, and ends with the job.
                let name = self.name_of(index);
                return self.say_through(&format!("phalanx: {name} failed, too; it ends with the job"));
            }
            self.turns.examined = Some(id);
            self.tell_raised(index);
        }
        // A debugger after the end comes before all others: the job is over but for it.
        match want {
            Want::PostMortem => self.turns.queue.push_front(id),
            Want::Line | Want::Debugger => self.turns.queue.push_back(id),
        }
    }

    /// What the standard input of a rank is, if it is the one that has ours.
    fn own_input(&self, index: usize) -> Option<Stdin> {
        (self.reader == Some(index)).then_some(self.stdin)
    }

    /// Opens the terminal: our standard input, or else the one that we were started from.
    fn find_terminal(&mut self) -> bool {
        if self.turns.terminal.is_none() && !self.serves {
            let stdin = rustix::stdio::stdin();
            self.turns.terminal = if isatty(stdin) {
                rustix::io::fcntl_dupfd_cloexec(stdin, 3).ok()
            } else {
                rustix::fs::open("/dev/tty", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).ok()
            };
        }
        self.turns.terminal.is_some()
    }

    fn answer(&mut self, id: usize, word: &[u8], with_terminal: bool) {
        let Some(speaker) = self.turns.speaker(id) else { return };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let terminal = self.turns.terminal.as_ref().filter(|_| with_terminal).map(AsFd::as_fd);
        let rights: Vec<_> = terminal.into_iter().collect();
        if !rights.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(&rights));
        }
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        if rustix::net::sendmsg(&speaker.socket, &[IoSlice::new(word)], &mut control, flags).is_err() {
            self.drop_speaker(id);
        }
    }

    /// Hands the terminal to the next who waits for it, if it is free and we may.
    pub(super) fn hand_over(&mut self) {
        if !self.turns.is_wanted() {
            return;
        }
        let now = Instant::now();
        self.turns.look_at = None;
        let kept = self.turns.kept.filter(|(_, until)| *until > now).map(|(id, _)| id);
        if kept.is_none() {
            self.turns.kept = None;
        }
        let next = match kept {
            Some(id) if self.turns.queue.contains(&id) => id,
            // It comes back soon, or not at all.
            Some(id) if self.turns.speaker(id).is_some() => return,
            _ => self.turns.queue[0],
        };
        let Some(speaker) = self.turns.speaker(next) else { return };
        let (index, debugs) = (speaker.index, speaker.want != Some(Want::Line));
        // A terminal that is not our controlling one asks nobody who is in the foreground.
        let is_ours =
            |terminal: &OwnedFd| tcgetpgrp(terminal).map_or(true, |group| group == rustix::process::getpgrp());
        let is_ours = self.turns.terminal.as_ref().is_some_and(is_ours);
        // What the rank has printed before comes before its prompt.
        self.drain(index);
        for stream in self.ranks[index].streams.iter_mut().enumerate() {
            let last = self.sinks.len() - 1;
            if let (which, Some(stream)) = stream {
                stream.show(&mut self.sinks[which.min(last)]);
            }
        }
        self.say_who_waits(next);
        if !is_ours && !std::mem::replace(&mut self.turns.calls, true) {
            let name = self.name_of(index);
            self.say(&format!("phalanx: {name} waits for the terminal: the job is in the background"));
        }
        self.turns.calls &= !is_ours;
        if !is_ours || self.sinks.iter().any(|sink| sink.is_terminal() && sink.is_waiting()) {
            self.turns.look_at = Some(now + if is_ours { Duration::from_millis(10) } else { LOOK });
            return;
        }
        self.turns.queue.retain(|other| *other != next);
        self.turns.kept = None;
        self.turns.holder = Some(next);
        self.turns.debugs |= debugs;
        self.turns.before = self.turns.terminal.as_ref().and_then(|terminal| tcgetattr(terminal).ok());
        for sink in &mut self.sinks {
            sink.mute();
        }
        self.watch_terminal();
        self.guard.terminal_is_lent(true);
        self.answer(next, b"g", true);
    }

    /// Says once which ranks wait for the terminal beside the one that gets it.
    fn say_who_waits(&mut self, next: usize) {
        let waits = |id: &&usize| **id != next;
        let mut others: Vec<usize> =
            self.turns.queue.iter().filter(waits).filter_map(|id| Some(self.turns.speaker(*id)?.index)).collect();
        others.sort_unstable();
        others.dedup();
        if others != self.turns.told {
            if others.iter().any(|index| !self.turns.told.contains(index)) {
                let wait = if others.len() == 1 { "waits" } else { "wait" };
                self.say(&format!("phalanx: {} {wait} for the terminal", self.list(&others)));
            }
            self.turns.told = others;
        }
    }

    fn give_back(&mut self, id: usize) {
        if self.turns.holder == Some(id) {
            let is_line = self.turns.speaker(id).is_some_and(|speaker| speaker.want == Some(Want::Line));
            let kept = if is_line { KEPT_AFTER_LINE } else { KEPT };
            self.turns.kept = Some((id, Instant::now() + kept));
            self.release();
        }
    }

    /// Nobody has the terminal any more.
    fn release(&mut self) {
        self.turns.holder = None;
        self.guard.terminal_is_lent(false);
        for sink in &mut self.sinks {
            sink.unmute();
        }
        self.watch_terminal();
    }

    /// The terminal as it was before it was handed over.
    fn restore_terminal(&self) {
        if let (Some(terminal), Some(before)) = (&self.turns.terminal, &self.turns.before) {
            let _ = tcsetattr(terminal, OptionalActions::Drain, before);
        }
    }

    /// The job ends: nobody gets the terminal any more, and who has it loses it.
    pub(super) fn end_turns(&mut self) {
        if self.turns.holder.is_some() {
            self.restore_terminal();
            for sink in &mut self.sinks {
                sink.unmute();
            }
            // Its prompt stands there.
            self.say("");
        }
        let turns = &mut self.turns;
        turns.holder = None;
        turns.queue.clear();
        turns.speakers.clear();
    }

    /// Control-C was typed while a rank has the terminal: it is for that rank.
    pub(super) fn interrupt_holder(&self) -> bool {
        match self.turns.holder.and_then(|id| self.turns.speaker(id)) {
            Some(speaker) => rustix::process::kill_process(speaker.pid, Signal::INT).is_ok(),
            None => false,
        }
    }

    /// The job is stopped: until it goes on, the terminal is as it was before.
    pub(super) fn suspend_turn(&mut self) {
        if self.turns.holder.is_some()
            && let Some(terminal) = &self.turns.terminal
        {
            self.turns.stopped = tcgetattr(terminal).ok();
            self.restore_terminal();
        }
    }

    /// The job goes on.
    pub(super) fn resume_turn(&mut self) {
        if let (Some(terminal), Some(then)) = (&self.turns.terminal, self.turns.stopped.take()) {
            let _ = tcsetattr(terminal, OptionalActions::Drain, &then);
        }
    }

    /// Says something although a rank has the terminal.
    fn say_through(&mut self, line: &str) {
        if self.turns.is_held()
            && let Some(terminal) = &self.turns.terminal
        {
            let _ = rustix::io::write(terminal, format!("\r\n{line}\r\n").as_bytes());
        } else {
            self.say(line);
        }
    }
}
