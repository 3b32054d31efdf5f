//! Performance variables and their sessions (MPI 5.0 §15.3.7).
//!
//! A handle of a variable that counts has a value of its own: what was counted while it was started. So sessions do not
//! disturb each other, and a handle costs nothing while nobody starts it.

use std::ffi::c_int;

use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, Failure};
use crate::handle::{Kind, RawEnum, RawPerformance, RawPerformanceSession, RawType};
use crate::param::{Address, Out, OutArray, Text, TextOut};
use crate::state;
use crate::table::Table;

use super::variables::{PERFORMANCES, Performance, Source};
use super::{Tool, at, give, refuse, tool};

/// What a handle refers to.
#[derive(Clone, Copy)]
struct Handle {
    /// The token of its session.
    session: usize,
    variable: &'static Performance,
    /// What has been counted before it was started last.
    counted: u64,
    /// Where the count was when it was started; `None` while it is stopped.
    since: Option<u64>,
}

static SESSIONS: Table<()> = Table::new(Kind::PerformanceSession);
static HANDLES: Table<Handle> = Table::new(Kind::PerformanceHandle);

impl Handle {
    fn value(&self) -> u64 {
        match &self.variable.source {
            Source::Level(look) => look(&state::process().map(|process| process.engine.levels()).unwrap_or_default()),
            Source::Count(_) => self.value_at(self.variable.count()),
        }
    }

    /// The value when the count is at `now`. A program may have written any number.
    fn value_at(&self, now: u64) -> u64 {
        self.counted.wrapping_add(self.since.map_or(0, |since| now.wrapping_sub(since)))
    }

    fn start(&mut self, tool: &mut Tool) {
        if self.since.is_none() {
            tool.count(1);
            self.since = Some(self.variable.count());
        }
    }

    fn stop(&mut self, tool: &mut Tool) {
        if self.since.is_some() {
            (self.counted, self.since) = (self.value(), None);
            tool.count(-1);
        }
    }

    fn set(&mut self, value: u64) {
        self.counted = value;
        self.since = self.since.map(|_| self.variable.count());
    }
}

impl Performance {
    /// Where the count is now; 0 for what does not count.
    fn count(&self) -> u64 {
        match &self.source {
            Source::Count(count) => count(&state::process().map(|process| process.engine.tally()).unwrap_or_default()),
            Source::Level(_) => 0,
        }
    }

    fn is_level(&self) -> bool {
        matches!(self.source, Source::Level(_))
    }
}

impl Tool {
    /// One more or one less handle is started.
    fn count(&mut self, change: isize) {
        let before = self.counting;
        self.counting = before.saturating_add_signed(change);
        if (before == 0) != (self.counting == 0)
            && let Some(process) = state::process()
        {
            process.engine.count_messages(self.counting > 0);
        }
    }
}

/// Ends all sessions and their handles.
pub(super) fn end(tool: &mut Tool) {
    SESSIONS.remove_all(|()| true);
    HANDLES.remove_all(|_| true).iter_mut().for_each(|handle| handle.stop(tool));
}

/// Gives the number of performance variables.
#[mpi_entry(MPI_T_pvar_get_num, tool)]
fn pvar_get_num(number: Out<c_int>) -> Done {
    number.set(PERFORMANCES.len() as c_int);
    Ok(())
}

/// Describes a performance variable.
#[mpi_entry(MPI_T_pvar_get_info, tool)]
fn pvar_get_info(
    index: c_int,
    name: TextOut,
    name_len: OutArray<c_int>,
    verbosity: OutArray<c_int>,
    class: OutArray<c_int>,
    datatype: OutArray<RawType>,
    enumeration: OutArray<RawEnum>,
    desc: TextOut,
    desc_len: OutArray<c_int>,
    bind: OutArray<c_int>,
    readonly: OutArray<c_int>,
    continuous: OutArray<c_int>,
    atomic: OutArray<c_int>,
) -> Done {
    let variable = at(PERFORMANCES, index)?;
    give(variable.name, &name, &name_len)?;
    give(variable.text, &desc, &desc_len)?;
    verbosity.set(0, variable.verbosity);
    class.set(0, variable.class);
    datatype.set(0, RawType(variable.ty.datatype()));
    enumeration.set(0, variable.ty.enumeration());
    bind.set(0, consts::T_BIND_NO_OBJECT);
    readonly.set(0, variable.is_level().into());
    continuous.set(0, variable.is_level().into());
    atomic.set(0, (!variable.is_level()).into());
    Ok(())
}

/// Gives the number of the performance variable of a name and a class.
#[mpi_entry(MPI_T_pvar_get_index, tool)]
fn pvar_get_index(name: Text, class: c_int, index: Out<c_int>) -> Done {
    match PERFORMANCES.iter().position(|variable| variable.name == name.0 && variable.class == class) {
        Some(found) => index.set(found as c_int),
        None => return refuse(consts::T_ERR_INVALID_NAME),
    }
    Ok(())
}

/// Begins a session.
#[mpi_entry(MPI_T_pvar_session_create, tool)]
fn pvar_session_create(session: Out<RawPerformanceSession>) -> Done {
    let _tool = tool();
    let Some(raw) = SESSIONS.insert(()) else { return refuse(consts::T_ERR_OUT_OF_SESSIONS) };
    session.set(RawPerformanceSession(raw));
    Ok(())
}

/// Ends a session and its handles.
#[mpi_entry(MPI_T_pvar_session_free, tool)]
fn pvar_session_free(session: Out<RawPerformanceSession>) -> Done {
    let mut tool = tool();
    let raw = session.get().0;
    if SESSIONS.remove(raw).is_none() {
        return refuse(consts::T_ERR_INVALID_SESSION);
    }
    HANDLES.remove_all(|handle| handle.session == raw).iter_mut().for_each(|handle| handle.stop(&mut tool));
    session.set(RawPerformanceSession::NULL);
    Ok(())
}

fn check(session: RawPerformanceSession) -> Done {
    if SESSIONS.get(session.0).is_none() { refuse(consts::T_ERR_INVALID_SESSION) } else { Ok(()) }
}

/// Makes a handle of a performance variable in a session. None is bound to an object, so that the object is not looked at.
#[mpi_entry(MPI_T_pvar_handle_alloc, tool)]
fn pvar_handle_alloc(
    session: RawPerformanceSession,
    index: c_int,
    _object: Address,
    handle: Out<RawPerformance>,
    count: Out<c_int>,
) -> Done {
    let _tool = tool();
    check(session)?;
    let made = Handle { session: session.0, variable: at(PERFORMANCES, index)?, counted: 0, since: None };
    let Some(raw) = HANDLES.insert(made) else { return refuse(consts::T_ERR_OUT_OF_HANDLES) };
    handle.set(RawPerformance(raw));
    count.set(1);
    Ok(())
}

/// The handle of a session.
fn find(session: RawPerformanceSession, handle: RawPerformance) -> Result<Handle, Failure> {
    check(session)?;
    match HANDLES.get(handle.0) {
        Some(found) if found.session == session.0 => Ok(found),
        _ => refuse(consts::T_ERR_INVALID_HANDLE),
    }
}

/// Frees a handle.
#[mpi_entry(MPI_T_pvar_handle_free, tool)]
fn pvar_handle_free(session: RawPerformanceSession, handle: Out<RawPerformance>) -> Done {
    let mut tool = tool();
    find(session, handle.get())?.stop(&mut tool);
    HANDLES.remove(handle.get().0);
    handle.set(RawPerformance::NULL);
    Ok(())
}

/// Changes one handle, or all of a session for which that has a meaning; `refused` is the code for one for which it has none.
fn change(
    session: RawPerformanceSession,
    handle: RawPerformance,
    refused: c_int,
    change: impl Fn(&mut Handle, &mut Tool),
) -> Done {
    let mut tool = tool();
    check(session)?;
    let handles = match handle.0 {
        consts::T_PVAR_ALL_HANDLES => HANDLES.tokens(|handle| handle.session == session.0),
        raw => {
            if find(session, handle)?.variable.is_level() {
                return refuse(refused);
            }
            vec![raw]
        }
    };
    for raw in handles {
        // The engine is asked outside the table's lock; nobody else changes handles, since all hold the tool's.
        let Some(mut found) = HANDLES.get(raw).filter(|found| !found.variable.is_level()) else { continue };
        change(&mut found, &mut tool);
        if let Some(place) = HANDLES.lock().get_mut(Kind::PerformanceHandle, raw) {
            *place = found;
        }
    }
    Ok(())
}

/// Starts a variable, or all of a session.
#[mpi_entry(MPI_T_pvar_start, tool)]
fn pvar_start(session: RawPerformanceSession, handle: RawPerformance) -> Done {
    change(session, handle, consts::T_ERR_PVAR_NO_STARTSTOP, Handle::start)
}

/// Stops a variable, or all of a session.
#[mpi_entry(MPI_T_pvar_stop, tool)]
fn pvar_stop(session: RawPerformanceSession, handle: RawPerformance) -> Done {
    change(session, handle, consts::T_ERR_PVAR_NO_STARTSTOP, Handle::stop)
}

/// Sets a variable, or all of a session, back to zero.
#[mpi_entry(MPI_T_pvar_reset, tool)]
fn pvar_reset(session: RawPerformanceSession, handle: RawPerformance) -> Done {
    change(session, handle, consts::T_ERR_PVAR_NO_WRITE, |handle, _| handle.set(0))
}

/// Reads a variable.
#[mpi_entry(MPI_T_pvar_read, tool)]
fn pvar_read(session: RawPerformanceSession, handle: RawPerformance, buffer: Address) -> Done {
    let _tool = tool();
    let found = find(session, handle)?;
    found.variable.ty.store(buffer, found.value())
}

/// Writes a variable.
#[mpi_entry(MPI_T_pvar_write, tool)]
fn pvar_write(session: RawPerformanceSession, handle: RawPerformance, buffer: Address) -> Done {
    let found = find(session, handle)?;
    if found.variable.is_level() {
        return refuse(consts::T_ERR_PVAR_NO_WRITE);
    }
    let value = found.variable.ty.load(buffer)?;
    change(session, handle, consts::T_ERR_PVAR_NO_WRITE, |handle, _| handle.set(value))
}

/// Reads a variable and sets it back to zero, in one step.
#[mpi_entry(MPI_T_pvar_readreset, tool)]
fn pvar_readreset(session: RawPerformanceSession, handle: RawPerformance, buffer: Address) -> Done {
    let _tool = tool();
    let mut found = find(session, handle)?;
    if found.variable.is_level() {
        return refuse(consts::T_ERR_PVAR_NO_ATOMIC);
    }
    // One look at the count, so that nothing falls between.
    let now = found.variable.count();
    found.variable.ty.store(buffer, found.value_at(now))?;
    (found.counted, found.since) = (0, found.since.map(|_| now));
    if let Some(place) = HANDLES.lock().get_mut(Kind::PerformanceHandle, handle.0) {
        *place = found;
    }
    Ok(())
}
