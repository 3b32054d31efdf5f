//! The note that a blocked call leaves in the segment once it has slept in vain: see `phalanx-waits`.
//!
//! Whoever looks at the notes may prove from them that some ranks can never go on: a launcher, or where none does, the
//! ranks themselves. So a note says nothing that may become wrong while its thread sleeps, and it is taken back, in one
//! store, before the thread does anything else.

use std::cell::Cell;
use std::collections::BTreeSet;

use phalanx_shm::notes::{NOTE_BYTES, NOTES, Notes};
use phalanx_shm::sleep::Token;
use phalanx_shm::stillness::{Stillness, this_thread};
use phalanx_shm::{ProcId, SlotState, Universe};
use phalanx_waits::{Frame, Names, Peers, Snapshot, Wait, report, stuck, verdict};

use crate::boot::environment;
use crate::error::{Error, ErrorClass, Result};

use super::Engine;
use super::told::Told;
use super::wait::{On, Waiting};

thread_local! {
    /// The function that a program has called, where that waits in operations of other names.
    static WITHIN: Cell<Option<&'static str>> = const { Cell::new(None) };
}

/// A call of a function that waits in operations of other names.
#[must_use]
pub struct Within(Option<&'static str>);

/// From now on, until what is returned goes, who asks what this thread waits for hears this name as well.
#[inline]
pub fn within(function: &'static str) -> Within {
    // Of functions that call each other, the program's own.
    let outer = WITHIN.get();
    WITHIN.set(outer.or(Some(function)));
    Within(outer)
}

impl Drop for Within {
    #[inline]
    fn drop(&mut self) {
        WITHIN.set(self.0);
    }
}

/// How the wait in an operation is told.
fn named(operation: &str) -> String {
    match WITHIN.get() {
        Some(function) if function != operation => format!("{function} ({operation})"),
        _ => operation.to_owned(),
    }
}

/// Finds the place of the calling thread in the program, innermost first.
pub type PlaceHook = fn() -> Vec<Frame>;

/// What is done about a wait that can never end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OnDeadlock {
    /// The call fails.
    Raise,
    /// It is said once.
    Report,
    /// Nobody looks.
    Ignore,
}

impl OnDeadlock {
    /// As the environment says.
    pub(super) fn from_env() -> OnDeadlock {
        match std::env::var(environment::ON_DEADLOCK).as_deref() {
            Ok("report") => OnDeadlock::Report,
            Ok("ignore") => OnDeadlock::Ignore,
            _ => OnDeadlock::Raise,
        }
    }
}

/// What the threads of this process have in common.
#[derive(Default)]
pub(super) struct Noted {
    /// The threads that have a note, by its number.
    threads: [Option<u32>; NOTES],
    /// A deadlock has been said.
    told: bool,
}

impl Noted {
    fn mates(&self, me: u32) -> Vec<u32> {
        self.threads.iter().flatten().copied().filter(|thread| *thread != me).collect()
    }
}

/// The note of one wait. Nothing, until the wait has slept in vain.
#[derive(Default)]
pub(super) struct Notice(Option<Box<Written>>);

struct Written {
    engine: Engine,
    at: usize,
    stillness: Stillness,
    /// What that said of the other threads at the last look, which is no sooner than a sleep in vain after the one before.
    still: bool,
    since: u64,
    place: Vec<Frame>,
    content: Vec<u8>,
}

impl Notice {
    /// Brings the note up to date, after a sleep in vain.
    ///
    /// # Errors
    /// When somebody has found out that the wait can never end.
    #[cold]
    pub(super) fn renew(&mut self, engine: &Engine, what: &Waiting<'_>) -> Result<()> {
        if self.0.is_none() {
            self.0 = Written::new(engine).map(Box::new);
        }
        let Some(written) = &mut self.0 else { return Ok(()) };
        written.judged(what)?;
        let mates = engine.noted().mates(this_thread());
        written.still = written.stillness.look(&mates);
        written.renew(what);
        Ok(())
    }

    /// Brings the note up to date before the next sleep: something may have come since the last one that did not end the wait. Who
    /// reads of a message that is awaited, and has come, might see a deadlock where there is none.
    pub(super) fn refresh(&mut self, what: &Waiting<'_>) {
        if let Some(written) = &mut self.0 {
            written.renew(what);
        }
    }

    /// Fails if somebody has found out meanwhile that the wait can never end.
    ///
    /// # Errors
    /// See there.
    pub(super) fn check(&self, what: &Waiting<'_>) -> Result<()> {
        self.0.as_ref().map_or(Ok(()), |written| written.judged(what))
    }

    /// The thread goes to sleep.
    ///
    /// # Errors
    /// When nobody else looks at the notes, and this wait can never end.
    pub(super) fn asleep(&self, token: Token, what: &Waiting<'_>) -> Result<()> {
        let Some(written) = &self.0 else { return Ok(()) };
        let Some(notes) = written.notes().filter(|_| !written.content.is_empty()) else { return Ok(()) };
        notes.asleep(written.at, token.state());
        let proved = written.look();
        if proved.is_err() {
            notes.awake(written.at);
        }
        proved.map_err(|error: Error| error.context(what.operation))
    }

    /// The thread is awake.
    pub(super) fn awake(&self) {
        if let Some(written) = &self.0
            && let Some(notes) = written.notes()
        {
            notes.awake(written.at);
        }
    }
}

impl Drop for Notice {
    fn drop(&mut self) {
        let Some(written) = &self.0 else { return };
        if let Some(notes) = written.notes() {
            notes.clear(written.at);
        }
        written.engine.noted().threads[written.at] = None;
    }
}

impl Written {
    fn new(engine: &Engine) -> Option<Written> {
        engine.universe().make_notes(engine.me()).ok()?;
        let at = {
            let mut noted = engine.noted();
            let at = noted.threads.iter().position(Option::is_none)?;
            noted.threads[at] = Some(this_thread());
            at
        };
        Some(Written {
            engine: engine.clone(),
            at,
            stillness: Stillness::default(),
            still: false,
            since: now(),
            place: engine.place(),
            content: Vec::new(),
        })
    }

    fn notes(&self) -> Option<Notes<'_>> {
        self.engine.universe().notes(self.engine.me())
    }

    /// Writes what the wait is for, if that is something else than before.
    fn renew(&mut self, what: &Waiting<'_>) {
        let content = self.describe(what).and_then(|wait| wait.encode(NOTE_BYTES)).unwrap_or_default();
        if content != self.content {
            if let Some(notes) = self.notes() {
                notes.write(self.at, &content);
            }
            self.content = content;
        }
    }

    /// `None` when it is not known what would end the wait.
    fn describe(&self, what: &Waiting<'_>) -> Option<Wait> {
        let mut told = Told::new();
        let mut background = None;
        {
            let mut core = self.engine.enter().ok()?;
            match what.on {
                On::Unknown => told.unknown(),
                On::Messages => told.messages(&mut core),
                On::Told(tell) => tell(&mut core, &mut told),
            }
            // What waits to be sent goes out when there is room, and what moves ends by itself.
            if !core.busy.is_empty() || !core.transfers.is_empty() || core.must_stay_awake() {
                told.unknown();
            }
            if core.schedules.active > 0 {
                match core.background() {
                    Some(peers) => background = Some(peers),
                    None => told.unknown(),
                }
            }
            // Where the job goes on without failed ranks, anybody may revoke a communicator, and with it this wait.
            if core.keeps_going {
                let others = background.iter().flat_map(|peers: &Peers| peers.below(core.universe.capacity()));
                let slots: BTreeSet<u32> = others.chain(live(&core.universe)).collect();
                background = Some(slots.into_iter().collect());
            }
        }
        let thread = this_thread();
        let mates = self.engine.noted().mates(thread);
        let alone = told.whole && self.still;
        Some(Wait {
            thread,
            mates,
            alone,
            operation: named(what.operation),
            since: self.since,
            need: told.need,
            items: told.items,
            collective: told.collective,
            background,
            place: self.place.clone(),
        })
    }

    /// What somebody else has found out.
    fn judged(&self, what: &Waiting<'_>) -> Result<()> {
        match self.notes().filter(|_| !self.content.is_empty()).and_then(|notes| notes.verdict(self.at)) {
            Some(verdict) => Err(deadlock(&verdict).context(what.operation)),
            None => Ok(()),
        }
    }

    /// Looks at all notes where no launcher does. The first of those that can never go on says so.
    fn look(&self) -> Result<()> {
        let (universe, how) = (self.engine.universe(), self.engine.on_deadlock());
        if how == OnDeadlock::Ignore || universe.is_watched() {
            return Ok(());
        }
        let snapshot = Snapshot::take(universe);
        let stuck = stuck(snapshot.standings());
        if snapshot.to_be_told(&stuck).next() != Some(self.engine.me().0) || !snapshot.holds(universe, &stuck) {
            return Ok(());
        }
        if how == OnDeadlock::Raise {
            return Err(deadlock(verdict(&snapshot, &stuck, &OwnNames(&self.engine)).trim_end()));
        }
        let text = report(&snapshot, &stuck, &OwnNames(&self.engine));
        if !std::mem::replace(&mut self.engine.noted().told, true) {
            // Nothing can be done where standard error takes nothing.
            let _ = std::io::Write::write_all(&mut std::io::stderr(), text.as_bytes());
        }
        Ok(())
    }
}

fn deadlock(text: &str) -> Error {
    Error::new(ErrorClass::Other, text.strip_prefix("phalanx: ").unwrap_or(text).to_owned())
}

/// The processes of a job that may still do something.
fn live(universe: &Universe) -> impl Iterator<Item = u32> {
    (0..universe.claimed()).filter(|slot| {
        let standing = universe.slot(ProcId(*slot)).standing();
        let is_dead = || universe.process(ProcId(*slot)).is_none_or(|process| process.is_dead());
        standing.state != SlotState::Finalized && !(standing.exit.is_some() && is_dead())
    })
}

/// Milliseconds since the machine's start.
fn now() -> u64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000
}

/// Processes as a rank calls them.
struct OwnNames<'e>(&'e Engine);

impl Names for OwnNames<'_> {
    fn rank(&self, slot: u32) -> String {
        match self.0.world().group().rank_of(ProcId(slot)) {
            Some(rank) => rank.to_string(),
            None => format!("in slot {slot}"),
        }
    }

    fn source(&self, _: &Frame) -> Option<String> {
        None
    }
}
