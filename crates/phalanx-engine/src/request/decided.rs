//! Tests of requests and waits for some of several, while decisions are recorded or repeated: see
//! [`engine::replay`](crate::engine). A request that was complete then is waited for.

use phalanx_replay::{Call, Kind, Outcome as Decided};

use crate::engine::{Core, Decision, Engine, Told, Waiting};
use crate::error::Result;

use super::Request;
use super::family::{active, ready_ones, tell_any};

type List<'r, 'a> = &'r [Option<&'a mut Request>];

/// Whether a request is to count as complete.
pub(super) fn look(request: &Request, kind: Kind) -> Result<bool> {
    let engine = &request.engine;
    match engine.decide(Call::of_requests(kind, 1))? {
        Decision::Again(Decided::Nothing) => nothing(engine).map(|()| false),
        Decision::Again(Decided::Done(_)) => {
            let tell = |core: &mut Core, told: &mut Told| request.tell(core, told);
            let what = Waiting::on(kind.name(), 0).for_what(&tell);
            engine.block_until(what, |core| request.is_ready(core).then_some(Ok(())))?;
            Ok(true)
        }
        decision => {
            let ready = request.look()?;
            engine.decided(decision, if ready { Decided::Done(Vec::new()) } else { Decided::Nothing });
            Ok(ready)
        }
    }
}

/// Which requests are to count as complete; `None` for a test that finds too few.
///
/// `wait` waits until there are some, `find` looks for them.
pub(super) fn choose(
    engine: &Engine,
    kind: Kind,
    requests: List<'_, '_>,
    find: impl FnOnce() -> Result<Option<Vec<usize>>>,
) -> Result<Option<Vec<usize>>> {
    let decision = engine.decide(Call::of_requests(kind, requests.len()))?;
    match decision {
        Decision::Again(Decided::Nothing) => nothing(engine).map(|()| None),
        Decision::Again(Decided::Done(numbers)) => {
            let numbers: Vec<usize> = match kind {
                Kind::Testall => (0..requests.len()).filter(|at| active(&requests[*at]).is_some()).collect(),
                _ => numbers.into_iter().map(|number| number as usize).collect(),
            };
            let is_active = |at: &usize| requests.get(*at).is_some_and(|entry| active(entry).is_some());
            if let Some(other) = numbers.iter().find(|at| !is_active(at)) {
                let what = format!(
                    "recorded was that request {other} of a {} is complete, which is not active now",
                    kind.name()
                );
                return Err(engine.is_another(&what));
            }
            if numbers.is_empty() && kind != Kind::Testall {
                return Err(engine.is_another(&format!("recorded was a {} of no request", kind.name())));
            }
            let chosen = || numbers.iter().filter_map(|at| active(&requests[*at]));
            let tell = |core: &mut Core, told: &mut Told| chosen().for_each(|request| request.tell(core, told));
            let what = Waiting::on(kind.name(), 0).for_what(&tell);
            engine.block_until(what, |core| chosen().all(|request| request.is_ready(core)).then_some(Ok(())))?;
            Ok(Some(numbers))
        }
        decision => {
            let found = find()?;
            let numbers = |found: &Vec<usize>| match kind {
                Kind::Testall => Vec::new(),
                _ => found.iter().filter_map(|at| u32::try_from(*at).ok()).collect(),
            };
            let outcome = found.as_ref().map_or(Decided::Nothing, |found| Decided::Done(numbers(found)));
            engine.decided(decision, outcome);
            Ok(found)
        }
    }
}

/// Waits until some of the requests are complete: those, or the first.
pub(super) fn wait(engine: &Engine, kind: Kind, requests: List<'_, '_>) -> Result<Vec<usize>> {
    let found = choose(engine, kind, requests, || {
        let tell = |core: &mut Core, told: &mut Told| tell_any(requests, core, told);
        let ready = engine.block_until(Waiting::on(kind.name(), 0).for_what(&tell), |core| {
            let mut ready = ready_ones(requests, core);
            if kind == Kind::Waitany {
                ready.truncate(1);
            }
            (!ready.is_empty()).then_some(Ok(ready))
        })?;
        Ok(Some(ready))
    })?;
    Ok(found.unwrap_or_default())
}

/// A look that finds nothing, whatever is there.
fn nothing(engine: &Engine) -> Result<()> {
    engine.progress()?;
    engine.after_failed_test();
    Ok(())
}
