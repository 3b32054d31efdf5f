//! Sessions (MPI 5.0 §11.3): process sets `mpi://WORLD` and `mpi://SELF`.

use std::ffi::c_int;
use std::sync::{Arc, Mutex, PoisonError};

use phalanx_engine::ErrorClass;
use phalanx_engine::info::Info;
use phalanx_engine::pt2pt::buffered::SessionBuffer;
use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::errors::Handler;
use crate::handle::{Kind, RawErrhandler, RawInfo, RawSession};
use crate::info::InfoRef;
use crate::param::{InOutHandle, Out, Text, TextOut};
use crate::state;
use crate::table::Table;

/// What a session handle refers to.
pub(crate) struct SessionObject {
    handler: Mutex<Handler>,
    /// The buffer that the program attached, if any.
    pub(crate) buffer: SessionBuffer,
}

static SESSIONS: Table<Arc<SessionObject>> = Table::new(Kind::Session);

impl SessionObject {
    /// The error handler.
    pub(crate) fn handler(&self) -> Handler {
        self.handler.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the error handler.
    pub(crate) fn set_handler(&self, handler: Handler) {
        *self.handler.lock().unwrap_or_else(PoisonError::into_inner) = handler;
    }
}

/// The session behind a handle.
pub(crate) fn find(raw: RawSession) -> Option<Arc<SessionObject>> {
    SESSIONS.get(raw.0)
}

/// The session behind a handle, or an error.
pub(crate) fn need(raw: RawSession) -> Result<Arc<SessionObject>, Failure> {
    find(raw).ok_or_else(|| {
        let what = if raw == RawSession::NULL { "is MPI_SESSION_NULL" } else { "is not valid or was finalized" };
        wrong(ErrorClass::Session, format!("the session {what}"))
    })
}

/// A process set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pset {
    /// `mpi://WORLD`.
    World,
    /// `mpi://SELF`.
    Myself,
}

const PSETS: [(&str, Pset); 2] = [("mpi://WORLD", Pset::World), ("mpi://SELF", Pset::Myself)];

/// The process set of a name.
pub(crate) fn pset(name: &str) -> Result<Pset, Failure> {
    PSETS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, set)| *set).ok_or_else(|| {
        wrong(ErrorClass::Arg, format!("there is no process set '{name}'; there are mpi://WORLD and mpi://SELF"))
    })
}

/// Begins a session.
#[mpi_entry(MPI_Session_init, anytime)]
fn session_init(info: InfoRef, errhandler: RawErrhandler, session: Out<RawSession>) -> Done {
    let _ = info;
    session.set(RawSession::NULL);
    let handler = crate::errors::handler(errhandler, Kind::Session)?;
    state::session_begins()?;
    let raw =
        SESSIONS.insert(Arc::new(SessionObject { handler: Mutex::new(handler), buffer: SessionBuffer::default() }));
    session.set(RawSession(raw.ok_or_else(|| wrong(ErrorClass::Other, "too many sessions exist"))?));
    Ok(())
}

/// Ends a session.
#[mpi_entry(MPI_Session_finalize, anytime)]
fn session_finalize(session: InOutHandle<RawSession>) -> Done {
    need(session.get())?;
    SESSIONS.remove(session.get().0);
    session.set(RawSession::NULL);
    state::session_ends()
}

/// How the session was begun.
#[mpi_entry(MPI_Session_get_info)]
fn session_get_info(session: RawSession, info: Out<RawInfo>) -> Done {
    need(session)?;
    let used = Info::new();
    used.set("thread_level", "MPI_THREAD_MULTIPLE")?;
    info.set(crate::info::adopt(used)?);
    Ok(())
}

/// Number of process sets.
#[mpi_entry(MPI_Session_get_num_psets)]
fn session_get_num_psets(session: RawSession, info: InfoRef, n: Out<c_int>) -> Done {
    let _ = info;
    need(session)?;
    n.set(PSETS.len() as c_int);
    Ok(())
}

/// Name of a process set, and how many bytes it needs with the closing zero.
#[mpi_entry(MPI_Session_get_nth_pset)]
fn session_get_nth_pset(session: RawSession, info: InfoRef, n: c_int, length: Out<c_int>, name: TextOut) -> Done {
    let _ = info;
    need(session)?;
    let (known, _) = usize::try_from(n)
        .ok()
        .and_then(|n| PSETS.get(n))
        .ok_or_else(|| wrong(ErrorClass::Arg, format!("process set {n} does not exist; there are {}", PSETS.len())))?;
    let room = usize::try_from(length.get()).unwrap_or(0).min(consts::MAX_PSET_NAME_LEN as usize);
    name.set(known, room)?;
    length.set(known.len() as c_int + 1);
    Ok(())
}

/// What is known about a process set: its size.
#[mpi_entry(MPI_Session_get_pset_info)]
fn session_get_pset_info(session: RawSession, name: Text, info: Out<RawInfo>) -> Done {
    need(session)?;
    let process = state::need_process()?;
    let size = match pset(&name.0)? {
        Pset::World => process.world.comm.size(),
        Pset::Myself => 1,
    };
    let about = Info::new();
    about.set("mpi_size", &size.to_string())?;
    info.set(crate::info::adopt(about)?);
    Ok(())
}
