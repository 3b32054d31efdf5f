//! Waiting for and testing several requests (MPI 5.0 §3.7.5).
//!
//! Lists are `&mut [Option<&mut Request>]`, `None` standing for `MPI_REQUEST_NULL`. Outcomes of the operations are values
//! here; only what concerns the call itself (interruption, an engine that cannot go on) is an error.

use phalanx_replay::Kind;

use crate::engine::{Core, Engine, Told, Waiting};
use crate::error::Result;
use crate::status::Status;

use super::{Request, decided};

/// How one of several requests ended.
pub type Outcome = Result<Status>;

/// What a test for one of several requests found.
#[derive(Debug)]
pub enum TestAny {
    /// There is no active request.
    NoneActive,
    /// None has completed yet.
    Pending,
    /// This one has completed.
    Done(usize, Outcome),
}

/// A list entry that is active.
pub(super) fn active<'a>(entry: &'a Option<&mut Request>) -> Option<&'a Request> {
    entry.as_deref().filter(|r| r.is_active())
}

/// The engine of the first active request; `None` when there is none.
fn engine(requests: &[Option<&mut Request>]) -> Option<Engine> {
    requests.iter().find_map(active).map(|r| r.engine.clone())
}

fn finish(entry: &mut Option<&mut Request>) -> Outcome {
    match entry {
        Some(request) => request.finish(),
        None => Ok(Status::EMPTY),
    }
}

/// Waits for all: outcomes in order (`MPI_Waitall`).
///
/// # Errors
/// Only interruption; the operations' own errors are in the outcomes.
pub fn wait_all(requests: &mut [Option<&mut Request>]) -> Result<Vec<Outcome>> {
    if let Some(engine) = engine(requests) {
        let mut next = 0;
        let requests = &*requests;
        let tell =
            |core: &mut Core, told: &mut Told| requests.iter().filter_map(active).for_each(|r| r.tell(core, told));
        engine.block_until(Waiting::on("Waitall", 0).for_what(&tell), |core| {
            while let Some(entry) = requests.get(next) {
                if !active(entry).is_none_or(|r| r.is_ready(core)) {
                    return None;
                }
                next += 1;
            }
            Some(Ok(()))
        })?;
    }
    Ok(requests.iter_mut().map(finish).collect())
}

/// Waits for one: its index and outcome; `None` when there is no active request (`MPI_Waitany`).
///
/// # Errors
/// Only interruption.
pub fn wait_any(requests: &mut [Option<&mut Request>]) -> Result<Option<(usize, Outcome)>> {
    let Some(engine) = engine(requests) else {
        return Ok(None);
    };
    if engine.decides() {
        let index = decided::wait(&engine, Kind::Waitany, requests)?[0];
        return Ok(Some((index, finish(&mut requests[index]))));
    }
    let tell = |core: &mut Core, told: &mut Told| tell_any(requests, core, told);
    let index = engine.block_until(Waiting::on("Waitany", 0).for_what(&tell), |core| {
        requests.iter().position(|e| active(e).is_some_and(|r| r.is_ready(core))).map(Ok)
    })?;
    Ok(Some((index, finish(&mut requests[index]))))
}

/// Waits for at least one: indices and outcomes; `None` when there is no active request (`MPI_Waitsome`).
///
/// # Errors
/// Only interruption.
pub fn wait_some(requests: &mut [Option<&mut Request>]) -> Result<Option<Vec<(usize, Outcome)>>> {
    let Some(engine) = engine(requests) else {
        return Ok(None);
    };
    if engine.decides() {
        let ready = decided::wait(&engine, Kind::Waitsome, requests)?;
        return Ok(Some(ready.into_iter().map(|i| (i, finish(&mut requests[i]))).collect()));
    }
    let tell = |core: &mut Core, told: &mut Told| tell_any(requests, core, told);
    let ready = engine.block_until(Waiting::on("Waitsome", 0).for_what(&tell), |core| {
        let ready = ready_ones(requests, core);
        (!ready.is_empty()).then_some(Ok(ready))
    })?;
    Ok(Some(ready.into_iter().map(|i| (i, finish(&mut requests[i]))).collect()))
}

pub(super) fn tell_any(requests: &[Option<&mut Request>], core: &mut Core, told: &mut Told) {
    told.any();
    requests.iter().filter_map(active).for_each(|request| request.tell(core, told));
}

pub(super) fn ready_ones(requests: &[Option<&mut Request>], core: &crate::engine::Core) -> Vec<usize> {
    let ready = |e: &Option<&mut Request>| active(e).is_some_and(|r| r.is_ready(core));
    requests.iter().enumerate().filter(|(_, e)| ready(e)).map(|(i, _)| i).collect()
}

/// Makes progress, then looks with the core locked.
fn look<T>(engine: &Engine, find: impl Fn(&crate::engine::Core) -> Option<T>) -> Result<Option<T>> {
    if let Some(found) = find(&*engine.enter()?) {
        return Ok(Some(found));
    }
    engine.progress()?;
    let found = find(&*engine.enter()?);
    if found.is_none() {
        engine.after_failed_test();
    }
    Ok(found)
}

/// Tests whether all have completed; if so their outcomes (`MPI_Testall`).
///
/// # Errors
/// Only when the engine cannot go on.
pub fn test_all(requests: &mut [Option<&mut Request>]) -> Result<Option<Vec<Outcome>>> {
    if let Some(engine) = engine(requests) {
        let find =
            || look(&engine, |core| requests.iter().all(|e| active(e).is_none_or(|r| r.is_ready(core))).then(Vec::new));
        let all = match engine.decides() {
            true => decided::choose(&engine, Kind::Testall, requests, find)?,
            false => find()?,
        };
        if all.is_none() {
            return Ok(None);
        }
    }
    Ok(Some(requests.iter_mut().map(finish).collect()))
}

/// Tests for one (`MPI_Testany`).
///
/// # Errors
/// Only when the engine cannot go on.
pub fn test_any(requests: &mut [Option<&mut Request>]) -> Result<TestAny> {
    let Some(engine) = engine(requests) else {
        return Ok(TestAny::NoneActive);
    };
    let find = || look(&engine, |core| requests.iter().position(|e| active(e).is_some_and(|r| r.is_ready(core))));
    let found = match engine.decides() {
        true => {
            let chosen = decided::choose(&engine, Kind::Testany, requests, || Ok(find()?.map(|index| vec![index])))?;
            chosen.and_then(|chosen| chosen.first().copied())
        }
        false => find()?,
    };
    Ok(match found {
        Some(index) => TestAny::Done(index, finish(&mut requests[index])),
        None => TestAny::Pending,
    })
}

/// Tests for any number; `None` when there is no active request (`MPI_Testsome`).
///
/// # Errors
/// Only when the engine cannot go on.
pub fn test_some(requests: &mut [Option<&mut Request>]) -> Result<Option<Vec<(usize, Outcome)>>> {
    let Some(engine) = engine(requests) else {
        return Ok(None);
    };
    let find = || {
        look(&engine, |core| {
            let ready = ready_ones(requests, core);
            (!ready.is_empty()).then_some(ready)
        })
    };
    let found = match engine.decides() {
        true => decided::choose(&engine, Kind::Testsome, requests, find)?,
        false => find()?,
    };
    Ok(Some(found.unwrap_or_default().into_iter().map(|i| (i, finish(&mut requests[i]))).collect()))
}

/// Starts several persistent requests (`MPI_Startall`).
///
/// # Errors
/// As [`Request::start`]; those before the failing one have been started.
pub fn start_all(requests: &mut [&mut Request]) -> Result<()> {
    requests.iter_mut().try_for_each(|r| r.start())
}
