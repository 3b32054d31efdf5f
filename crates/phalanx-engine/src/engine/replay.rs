//! `--record` and `--replay`: what timing decides in the calls of a program is written down, or decided again as it was.
//!
//! A call in which something is to be decided asks first ([`Engine::decide`]), and says afterwards what it came to. Of a receive
//! that has begun, that is known when a message is matched to it. A receive from any rank that is repeated asks for
//! the message of the rank and with the tag that it took then: messages of one rank and one tag are received in the order in which they
//! were sent, so that is the same message.
//!
//! While nobody records or repeats, the only thing that anybody looks at is [`Engine::decides`], where a receive names no rank
//! and where calls test, look or choose. `phalanx-replay` has the file.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};

use phalanx_replay::{Call, Next, Outcome, Place, Player, Ticket, Writer};

use crate::boot::environment;
use crate::error::{Error, ErrorClass, Result};

use super::Engine;
use super::check::CallPlace;
use super::core::Core;
use super::matching::Pattern;
use super::ops::{Owner, RawOp};
use super::receive::Incoming;

/// Fits no message: of a receive that was withdrawn.
const NEVER: i32 = i32::MIN;

/// What is recorded, or repeated.
pub(crate) struct Replay {
    mode: Mode,
    /// The file, and who this process is, for messages.
    file: PathBuf,
    who: String,
    /// The numbers of threads: this process's first is 0, the others follow in the order of their first decisions.
    threads: HashMap<u64, u32>,
    /// Receives that wait for a message, of which is to be written what they took.
    tickets: HashMap<u64, Ticket>,
    /// Receives that wait for a message which came to them then.
    promised: HashSet<u64>,
}

enum Mode {
    Record(Writer),
    Play(Player),
    /// The program does something else than was recorded: every further decision fails with this.
    Left(String),
    /// The file takes no more.
    Over,
}

/// What a call comes to.
#[derive(Debug)]
pub(crate) enum Decision {
    /// To whatever it comes to.
    Free,
    /// The same, and that is to be said.
    Record(Moment),
    /// To this.
    Again(Outcome),
}

/// The call that a decision is recorded of, and its line once somebody has asked.
#[derive(Debug)]
pub(crate) struct Moment {
    call: Call,
    place: Option<Place>,
}

impl Decision {
    /// What to ask for instead of `asked`.
    pub(crate) fn pattern(&self, asked: Pattern) -> Pattern {
        match *self {
            Decision::Again(Outcome::Message { source, tag }) => Pattern { source, tag },
            Decision::Again(Outcome::Cancelled) => Pattern { source: NEVER, tag: asked.tag },
            _ => asked,
        }
    }
}

/// A number of this thread that no other thread of the process has had.
fn this_thread() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    thread_local! {
        static NUMBER: Cell<u64> = const { Cell::new(0) };
    }
    // A thread that is past its end is none that was seen.
    let known = NUMBER.try_with(|number| {
        if number.get() == 0 {
            number.set(NEXT.fetch_add(1, Ordering::Relaxed));
        }
        number.get()
    });
    known.unwrap_or(0)
}

impl Replay {
    fn thread(&mut self) -> u32 {
        // The first thread of a process has the process's number.
        if rustix::thread::gettid() == rustix::process::getpid() {
            return 0;
        }
        let next = u32::try_from(self.threads.len() + 1).unwrap_or(u32::MAX);
        *self.threads.entry(this_thread()).or_insert(next)
    }

    /// Does something with the writer. Where that fails the recording is over, and somebody should know.
    fn write<T>(&mut self, write: impl FnOnce(&mut Writer, u32) -> std::io::Result<T>) -> Option<T> {
        let thread = self.thread();
        let Mode::Record(writer) = &mut self.mode else { return None };
        match write(writer, thread) {
            Ok(written) => Some(written),
            Err(error) => {
                self.mode = Mode::Over;
                let (who, file) = (&self.who, self.file.display());
                say(&format!("{who}: --record: nothing more of it is recorded in '{file}': {error}; the job goes on"));
                None
            }
        }
    }
}

fn say(text: &str) {
    // Nothing can be done where standard error takes nothing.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("phalanx: {text}\n").as_bytes());
}

impl Engine {
    /// Whether decisions are recorded or repeated.
    #[inline]
    pub(crate) fn decides(&self) -> bool {
        self.0.decides.load(Ordering::Relaxed)
    }

    /// Records or repeats, if the launcher says so.
    ///
    /// # Errors
    /// When the file cannot be written, or read, or is no recording.
    pub(super) fn begin_decisions(&self) -> Result<()> {
        let file = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let failed = |flag: &str, file: &PathBuf, why: &dyn std::fmt::Display| {
            Error::new(ErrorClass::Other, format!("{flag}: '{}': {why}", file.display()))
        };
        let slot = self.me().0;
        let (mode, file) = match (file(environment::RECORD), file(environment::REPLAY)) {
            (Some(file), _) => {
                (Mode::Record(Writer::open(&file, slot).map_err(|e| failed("--record", &file, &e))?), file)
            }
            (None, Some(file)) => {
                (Mode::Play(Player::open(&file, slot).map_err(|e| failed("--replay", &file, &e))?), file)
            }
            (None, None) => return Ok(()),
        };
        let who = match self.parent() {
            None => format!("rank {}", self.world().rank()),
            Some(_) => format!("rank {} of a world that was spawned", self.world().rank()),
        };
        let (threads, tickets, promised) = (HashMap::new(), HashMap::new(), HashSet::new());
        let replay = Replay { mode, file, who, threads, tickets, promised };
        {
            let mut core = self.core();
            core.replay = Some(Box::new(replay));
            core.set_attentive();
        }
        self.0.decides.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Nothing is decided any more.
    ///
    /// # Errors
    /// When more was decided in the recording.
    pub(super) fn end_decisions(&self) -> Result<()> {
        if !self.decides() {
            return Ok(());
        }
        self.0.decides.store(false, Ordering::Relaxed);
        let replay = {
            let mut core = self.core();
            let replay = core.replay.take();
            core.set_attentive();
            replay
        };
        let Some(mut replay) = replay else { return Ok(()) };
        replay.write(|writer, _| writer.end());
        let Mode::Play(player) = &replay.mode else { return Ok(()) };
        let Some(said) = player.left() else { return Ok(()) };
        // Programs that end look at no error any more.
        say(self.strayed(&replay.who, &said).message());
        Err(Error::new(ErrorClass::Other, "the job is a replay, and more was recorded than came"))
    }

    /// Sets the function that gives the line that a thread is in, where that can be had cheaply. No lock is held when it runs.
    pub fn set_line_hook(&self, hook: CallPlace) {
        *self.0.line.write().unwrap_or_else(PoisonError::into_inner) = Some(hook);
    }

    /// What a call of this thread is to come to.
    ///
    /// # Errors
    /// When the program does something else than was recorded.
    #[cold]
    pub(crate) fn decide(&self, call: Call) -> Result<Decision> {
        let (said, who) = {
            let mut core = self.enter()?;
            let Some(replay) = core.replay.as_deref_mut() else { return Ok(Decision::Free) };
            let thread = replay.thread();
            match &mut replay.mode {
                Mode::Over => return Ok(Decision::Free),
                Mode::Left(text) => return Err(Error::new(ErrorClass::Other, text.clone())),
                Mode::Record(_) => return Ok(Decision::Record(Moment { call, place: None })),
                Mode::Play(player) => match player.next(thread, &call) {
                    Next::Again(outcome) => return Ok(Decision::Again(outcome)),
                    Next::Free(is_first) => {
                        let who = is_first.then(|| replay.who.clone());
                        drop(core);
                        if let Some(who) = who {
                            say(&format!(
                                "{who}: --replay: the recording ends here, as this rank was ended without MPI_Finalize then; \
                                 from here on messages are taken as they come"
                            ));
                        }
                        return Ok(Decision::Free);
                    }
                    Next::Left(said) => (said, replay.who.clone()),
                },
            }
        };
        Err(self.leave_recording(&who, &said))
    }

    /// The program does something else than was recorded: the error of this call and of all that follow.
    #[cold]
    pub(crate) fn leave_recording(&self, who: &str, said: &str) -> Error {
        let error = self.strayed(who, said);
        if let Some(replay) = self.core().replay.as_deref_mut() {
            replay.mode = Mode::Left(error.message().to_owned());
        }
        error
    }

    /// As [`Engine::leave_recording`], for a call that finds it out itself.
    #[cold]
    pub(crate) fn is_another(&self, said: &str) -> Error {
        let who = self.core().replay.as_ref().map(|replay| replay.who.clone());
        self.leave_recording(&who.unwrap_or_else(|| "a rank".to_owned()), said)
    }

    fn strayed(&self, who: &str, said: &str) -> Error {
        let place = self.place();
        let at = place.get(phalanx_waits::main_frame(&place)).map(|frame| match frame.line {
            0 => format!(", in {}", frame.file),
            line => format!(", at {}:{line}", frame.file),
        });
        Error::new(
            ErrorClass::Other,
            format!(
                "--replay: {who} does something else than when it was recorded: {said}{}. Were program, arguments and input the \
                 same? What depends on the time, on random numbers or on other threads is not recorded",
                at.unwrap_or_default()
            ),
        )
    }

    /// The same decision, with the line of the call if it is recorded. No lock is held.
    pub(crate) fn with_line(&self, decision: Decision) -> Decision {
        let Decision::Record(Moment { call, place: None }) = decision else { return decision };
        let line = *self.0.line.read().unwrap_or_else(PoisonError::into_inner);
        let frame = line.and_then(|line| line());
        Decision::Record(Moment { call, place: frame.map(|frame| Place { file: frame.file.into(), line: frame.line }) })
    }

    /// A call has come to something, which is written down if that was asked for.
    pub(crate) fn decided(&self, decision: Decision, outcome: Outcome) {
        // Of a look that found nothing no line is kept.
        let decision = if outcome == Outcome::Nothing { decision } else { self.with_line(decision) };
        if let Decision::Record(moment) = decision {
            self.core().decided(moment, &outcome);
        }
    }
}

impl Core {
    fn decided(&mut self, moment: Moment, outcome: &Outcome) -> Option<Ticket> {
        let Moment { call, place } = moment;
        self.replay.as_deref_mut()?.write(|writer, thread| writer.note(thread, call, outcome, place.as_ref()))
    }

    /// Starts a receive of which something is decided.
    ///
    /// # Errors
    /// As [`Core::recv_start`].
    #[cold]
    pub(crate) fn recv_decided(&mut self, m: &Incoming<'_>, owner: Owner, decision: Decision) -> Result<RawOp> {
        let pattern = decision.pattern(m.pattern);
        match decision {
            Decision::Free => self.recv_start(m, owner),
            Decision::Again(outcome) => {
                let op = self.recv_start(&Incoming { pattern, ..*m }, owner)?;
                let waits = self.ops.recv(op).is_some_and(|recv| recv.stage.sender().is_none());
                if let (Outcome::Message { .. }, true, Some(replay)) = (outcome, waits, &mut self.replay) {
                    replay.promised.insert(op.token());
                }
                Ok(op)
            }
            Decision::Record(moment) => {
                if let Some((source, tag, stored)) = self.take_arrived(m.ctx, m.pattern) {
                    self.decided(moment, &Outcome::Message { source, tag });
                    return self.recv_stored(m, source, tag, stored, owner);
                }
                let ticket = self.decided(moment, &Outcome::Open);
                let op = self.recv_start(m, owner)?;
                if let (Some(ticket), Some(replay)) = (ticket, &mut self.replay) {
                    replay.tickets.insert(op.token(), ticket);
                }
                Ok(op)
            }
        }
    }

    /// A receive that had begun has been matched with a message of this source and tag, or withdrawn.
    #[cold]
    pub(crate) fn decided_later(&mut self, op: RawOp, message: Option<(i32, i32)>) {
        let Some(replay) = self.replay.as_deref_mut() else { return };
        replay.promised.remove(&op.token());
        let Some(ticket) = replay.tickets.remove(&op.token()) else { return };
        let outcome = message.map_or(Outcome::Cancelled, |(source, tag)| Outcome::Message { source, tag });
        replay.write(|writer, _| writer.settle(&ticket, outcome));
    }

    /// Whether a receive took a message then, so that it cannot be withdrawn now.
    pub(crate) fn is_promised(&self, op: RawOp) -> bool {
        self.replay.as_ref().is_some_and(|replay| replay.promised.contains(&op.token()))
    }
}
