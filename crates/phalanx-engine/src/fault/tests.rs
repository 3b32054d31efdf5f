//! Ranks as threads; one that has failed is a slot that nobody has come to, with the end that a launcher records.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use phalanx_shm::{Exit, ProcId, Universe, UniverseConfig};

use crate::boot::BootConfig;
use crate::comm::Comm;
use crate::engine::Engine;
use crate::engine::buffer::RecvBuf;
use crate::error::{ErrorClass, Result};
use crate::status::ANY_SOURCE;
use crate::testing;

fn class<T>(outcome: Result<T>) -> Option<ErrorClass> {
    outcome.err().map(|e| e.class())
}

/// Runs `body` on all ranks of a world of `n` but the last, which has failed.
fn without_the_last(n: u32, body: impl Fn(&Comm) + Send + Sync) {
    let universe = Universe::create(UniverseConfig::for_ranks(n)).expect("a universe");
    universe.claim_slots(n).expect("slots for the ranks");
    universe.slot(ProcId(n - 1)).record_exit(Exit::Signal(9));
    let live = universe.live();
    thread::scope(|scope| {
        for rank in 0..n - 1 {
            let (universe, body) = (&universe, &body);
            scope.spawn(move || {
                let engine = Engine::init(BootConfig::first_world(universe, n, rank)).expect("an engine");
                engine.core().keeps_going = true;
                body(&engine.world());
                engine.finalize().expect("finalize");
            });
        }
    });
    // Rings, and the tables that lead to records, stay.
    let rings = u64::from(n * n) * (universe.ring_footprint() as u64 + 4096) + 4 * 8192;
    assert!(universe.live() <= live + rings, "{} bytes stay", universe.live() - live);
}

#[test]
fn survivors_agree_and_go_on() {
    without_the_last(4, |world| {
        let me = world.rank();
        let (flag, outcome) = world.agree(!(1 << me));
        assert_eq!((flag, class(outcome)), (!7, Some(ErrorClass::ProcAborted)));
        assert_eq!(world.failed().expect("room").members(), [ProcId(3)]);
        if me == 0 {
            assert_eq!(world.acknowledge_failed(5).expect("room"), 1);
        }
        assert_eq!(class(world.agree(1).1), Some(ErrorClass::ProcAborted));
        assert_eq!(world.acknowledge_failed(1).expect("room"), 1);
        let (flag, outcome) = world.agree(2 | me);
        assert_eq!((flag, class(outcome)), (2, None));
        let new = world.shrink().expect("three are left");
        assert_eq!((new.size(), new.rank(), new.group().members()), (3, me, &world.group().members()[..3]));
        new.barrier().expect("all live");
    });
}

#[test]
fn nonblocking_forms_come_to_the_same() {
    without_the_last(3, |world| {
        let made = Arc::new(std::sync::Mutex::new(None));
        let there = made.clone();
        let done = move |new| {
            *there.lock().expect("no panic") = Some(new);
            Ok(())
        };
        let mut request = world.ishrink(done).expect("room");
        request.wait().expect("two are left");
        let new: Comm = made.lock().expect("no panic").take().expect("made before the request was complete");
        assert_eq!((new.size(), new.rank()), (2, world.rank()));
        new.barrier().expect("all live");
        let mut flags = [[7, 6][new.rank() as usize]; 9];
        let mut requests: Vec<_> = flags
            .iter_mut()
            .map(|flag| new.iagree(RecvBuf::of(std::slice::from_mut(flag)).mem).expect("room"))
            .collect();
        for request in &mut requests {
            request.wait().expect("all live");
        }
        assert_eq!(flags, [6; 9]);
    });
}

#[test]
fn a_receive_from_any_rank_tells_of_a_failure_until_that_is_acknowledged() {
    without_the_last(3, |world| {
        let mut room = [0u8];
        assert_eq!(class(world.recv(RecvBuf::of(&mut room), ANY_SOURCE, 0)), Some(ErrorClass::ProcAborted));
        assert_eq!(class(world.probe(ANY_SOURCE, 0)), Some(ErrorClass::ProcAborted));
        world.acknowledge_failed(1).expect("room");
        // Both have seen the failure.
        assert_eq!(world.agree(1), (1, Ok(())));
        let other = 1 - world.rank();
        world.send(crate::SendBuf::of(&[3u8]), other, 0).expect("it lives");
        assert_eq!(world.recv(RecvBuf::of(&mut room), ANY_SOURCE, 0).map(|s| s.source), Ok(other));
    });
}

#[test]
fn revoking_ends_what_waits_and_what_begins() {
    testing::run(3, |world| {
        let before = world.engine().universe().live();
        for _ in 0..20 {
            let comm = world.dup().expect("all live");
            let mut room = [0u8];
            if comm.rank() == 0 {
                thread::sleep(Duration::from_millis(1));
                comm.revoke().expect("room");
            } else {
                assert_eq!(class(comm.recv(RecvBuf::of(&mut room), ANY_SOURCE, 0)), Some(ErrorClass::Revoked));
            }
            assert!(comm.is_revoked());
            assert_eq!(class(comm.barrier()), Some(ErrorClass::Revoked));
            assert_eq!(class(comm.dup()), Some(ErrorClass::Revoked));
            assert_eq!(comm.agree(5), (5, Ok(())));
            let new = comm.shrink().expect("all live");
            new.barrier().expect("nobody has revoked it");
        }
        world.barrier().expect("all live");
        let after = world.engine().universe().live();
        assert!(after < before + (4 << 20), "{} bytes more", after - before);
    });
}
