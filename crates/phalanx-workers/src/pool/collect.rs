//! The thread that collects results while no Python thread waits for one, hands out more, and looks at time limits.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use phalanx_shm::sleep::WAITING;

use super::shared::Shared;

/// Between two looks while items have a time limit.
const LIMITS: Duration = Duration::from_millis(5);
/// While somebody is to be called back: the doorbell wakes before that.
const EAGER: Duration = Duration::from_millis(50);
/// While there is more to hand out.
const BACKLOG: Duration = Duration::from_millis(2);
/// While all is handed out and nobody waits.
const CALM: Duration = Duration::from_millis(20);

/// The thread's life.
pub(super) fn run(shared: &Arc<Shared>) {
    // Whether to listen for the doorbell: only then do workers call for every result.
    let mut listening = false;
    while !shared.shutdown.load(Ordering::Relaxed) {
        let sleepers = if listening { shared.board.doorbell() } else { &shared.collector };
        let token = sleepers.announce(WAITING);
        let mut engine = shared.engine();
        let any = match engine.poll() {
            Ok(any) => any,
            Err(error) => {
                // Who waits finds the same, and says so.
                drop(engine);
                eprintln!("phalanx: the pool of process {} stops: {error}", shared.pid);
                shared.over.store(true, Ordering::Relaxed);
                shared.tell(true);
                return;
            }
        };
        let late = engine.overdue();
        if any || !late.is_empty() {
            shared.end_if_over(&mut engine);
        }
        let ledger = engine.ledger();
        let events = ledger.has_events() || (any && shared.pulling.load(Ordering::Relaxed));
        let (outstanding, backlog) = (ledger.outstanding() > 0, ledger.has_waiting());
        let (limits, eager) = (ledger.has_limits(), ledger.is_eager());
        drop(engine);
        if any || events || !late.is_empty() {
            shared.tell(events);
        }
        for (slot, pid) in late {
            shared.watch.stop(slot, pid);
        }
        // A thread that waits collects; then this one does not have to hear the doorbell.
        let listen = outstanding && eager && shared.waiters.load(Ordering::Relaxed) == 0;
        if listen != listening {
            listening = listen;
            continue;
        }
        if !outstanding {
            shared.collector_sleeps.store(true, Ordering::SeqCst);
            // Who submits looks at the flag after its change: one of the two sees the other.
            if shared.engine().ledger().outstanding() == 0 && !shared.shutdown.load(Ordering::Relaxed) {
                let _ = sleepers.sleep(token, None);
            }
            shared.collector_sleeps.store(false, Ordering::Relaxed);
            continue;
        }
        let time = match () {
            () if limits => LIMITS,
            () if listening => EAGER,
            () if backlog => BACKLOG,
            () => CALM,
        };
        let _ = sleepers.sleep(token, Some(time));
    }
}
