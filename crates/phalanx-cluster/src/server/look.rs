//! The moment before the controller sleeps: what comes next often comes within less time than a wake-up takes.
//!
//! The same pace as clients and engines have (`phalanx_shm::sleep::pace`): it gives way after each look, looks longer where
//! that served the last waits, and sleeps at once beside others that compute.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use phalanx_shm::CpuBudget;
use phalanx_shm::sleep::{Manners, Next, Pace};

use super::Server;

/// So many connections are looked at: those that have said something last.
const RECENT: usize = 4;
/// Whatever comes, other tasks of the runtime (signals, output, timers) wait no longer.
const TURN: Duration = Duration::from_millis(1);

fn pace() -> Pace<'static> {
    static MANNERS: OnceLock<Manners> = OnceLock::new();
    Pace::new(MANNERS.get_or_init(|| Manners::of(&CpuBudget::new(1, None, 2))))
}

/// Which connections are looked at, and the wait that goes on.
#[derive(Default)]
pub(super) struct Look {
    recent: Vec<u64>,
    pace: Option<Pace<'static>>,
}

impl Look {
    /// Something has come.
    pub(super) fn came(&mut self) {
        if let Some(pace) = self.pace.take() {
            pace.learn();
        }
    }
}

/// Looks whether more comes, now that something has come on a connection and been dealt with.
pub(super) fn look_on(server: &mut Server, id: u64) {
    let recent = &mut server.look.recent;
    if recent.first() != Some(&id) {
        recent.retain(|known| *known != id);
        recent.insert(0, id);
        recent.truncate(RECENT);
    }
    let end = Instant::now() + TURN;
    let mut pace = pace();
    loop {
        let mut any = false;
        for place in 0..server.look.recent.len() {
            let Some(id) = server.look.recent.get(place).copied() else { break };
            // The end of one is seen by who attends to it.
            if matches!(server.read(id), Ok(true)) {
                server.heard(id);
                any = true;
            }
        }
        if any {
            pace.learn();
            pace = self::pace();
        } else if pace.step() == Next::Sleep {
            break;
        }
        if Instant::now() >= end {
            break;
        }
    }
    server.look.pace = Some(pace);
}
