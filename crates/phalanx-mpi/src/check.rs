//! What is looked for at the C surface with `--check`: calls of threads that may not make them, and handles and requests that
//! are left at the end. (Messages and buffers are the engine's business.)
//!
//! Handles: communicators, datatypes, windows, files, operations, sessions, messages, requests. Groups, infos and error
//! handlers are not looked for: they are a few bytes of this process, which few programs give back.
//!
//! A program in C owns its handles until it frees them. One in Python has objects that hold them, and what is in an object when
//! the program ends is no leak: only handles are told whose object is gone, which the binding says ([`lost`]).

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use phalanx_engine::Engine;
use phalanx_engine::engine::{Class, Finding, Frame};
use phalanx_engine::request::Standing;

use crate::consts;
use crate::extras;
use crate::handle::{self, Kind};
use crate::place;
use crate::request;
use crate::state::{self, Process};

/// Whether the program is checked.
static ON: AtomicBool = AtomicBool::new(false);

/// A handle that exists.
struct Made {
    place: Option<Frame>,
    /// Nobody can free it any more.
    lost: bool,
}

static MADE: Mutex<BTreeMap<usize, Made>> = Mutex::new(BTreeMap::new());

fn made_now() -> MutexGuard<'static, BTreeMap<usize, Made>> {
    MADE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[inline]
pub(crate) fn is_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Before the first call.
pub(crate) fn begin(engine: &Engine) {
    ON.store(engine.is_checked(), Ordering::Relaxed);
}

/// A handle has been made.
#[inline]
pub(crate) fn made(raw: usize) {
    if is_on() {
        made_now().insert(raw, Made { place: place::of_call(), lost: false });
    }
}

/// A handle is no more.
#[inline]
pub(crate) fn gone(raw: usize) {
    if is_on() {
        made_now().remove(&raw);
    }
}

/// The program cannot free a handle any more.
pub(crate) fn lost(raw: usize) {
    if is_on()
        && let Some(made) = made_now().get_mut(&raw)
    {
        made.lost = true;
    }
}

/// Calls that every thread may make, whatever the level.
const ANY_THREAD: &[&str] = &["MPI_Query_thread", "MPI_Is_thread_main"];

/// A call begins.
#[cold]
pub(crate) fn look_at_call(name: &'static str) {
    place::call_begins();
    let Some(process) = state::process() else { return };
    let level = state::provided();
    if level > consts::THREAD_FUNNELED
        || process.main_thread == std::thread::current().id()
        || ANY_THREAD.contains(&name)
    {
        return;
    }
    let name = name.strip_prefix("PHALANX_").map_or_else(|| name.to_owned(), |name| format!("MPI_{name}"));
    let level = if level == consts::THREAD_SINGLE { "MPI_THREAD_SINGLE" } else { "MPI_THREAD_FUNNELED" };
    let what = format!("{name} was called by another thread than the one that initialised MPI, which {level} forbids");
    process.engine.found(Finding { class: Class::WrongThread, what, place: None, other: None });
}

/// What a handle is, if it is looked for.
fn called(raw: usize) -> Option<&'static str> {
    let kinds = [
        (Kind::Comm, "a communicator"),
        (Kind::Datatype, "a datatype"),
        (Kind::Win, "a window"),
        (Kind::File, "a file"),
        (Kind::Op, "an operation"),
        (Kind::Session, "a session"),
        (Kind::Message, "a message that was matched by a probe"),
        (Kind::Request, "a request"),
    ];
    kinds.into_iter().find(|(kind, _)| handle::untoken(*kind, raw).is_some()).map(|(_, name)| name)
}

/// What is left at the end.
pub(crate) fn look_for_leaks(process: &Process) {
    if !is_on() {
        return;
    }
    let all = std::mem::take(&mut *made_now());
    let (by_objects, parent) = (extras::finds_places(), process.parent().0);
    for (raw, Made { place, lost }) in all {
        let Some(name) = called(raw).filter(|_| raw != parent) else { continue };
        let found = match (name, request::standing(raw)) {
            ("a request", None) => None,
            ("a request", Some(standing)) => open(standing, by_objects),
            ("a message that was matched by a probe", _) => {
                let what = "was never received, although a probe had matched it".to_owned();
                (lost || !by_objects).then(|| (Class::UnreceivedMessage, format!("a message {what}")))
            }
            _ => (lost || !by_objects).then(|| (Class::LeakedHandle, format!("{name} was made and never freed"))),
        };
        if let Some((class, what)) = found {
            process.engine.found(Finding { class, what, place, other: None });
        }
    }
}

/// What is wrong with a request that is left. Objects that are gone leave requests for which somebody has seen to it that they
/// come to their end.
fn open(standing: Standing, by_objects: bool) -> Option<(Class, String)> {
    let (class, what) = match standing {
        Standing::Waits => (Class::OpenRequest, "a request was never completed: what it waits for has not come"),
        Standing::Own => (Class::OpenRequest, "a generalized request was never completed"),
        _ if by_objects => return None,
        Standing::Sends => (Class::OpenRequest, "a request of a send was never completed"),
        Standing::Complete => (Class::OpenRequest, "a request was never completed by a wait or test"),
        Standing::Inactive => (Class::LeakedHandle, "a persistent request was made and never freed"),
    };
    Some((class, what.to_owned()))
}
