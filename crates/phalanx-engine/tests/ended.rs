//! Ranks that have ended and are still waited for.

use std::sync::mpsc;
use std::thread::sleep;
use std::time::Duration;

use phalanx_engine::boot::BootConfig;
use phalanx_engine::op::{Builtin, Op};
use phalanx_engine::{ANY_SOURCE, ANY_TAG, Arg, Comm, Engine, ErrorClass, RecvBuf, Result, SendBuf, testing};
use phalanx_shm::{Exit, ProcId, ProcessTag, SlotState, Universe, UniverseConfig};

/// The error says that a rank has ended, and the parts.
fn assert_ended<T>(outcome: Result<T>, parts: &[&str]) {
    let Err(error) = outcome else { panic!("the wait for a rank that has ended came to a good end") };
    assert_eq!(error.class(), ErrorClass::ProcAborted, "{error}");
    for part in parts.iter().chain(&["has ended"]) {
        assert!(error.message().contains(part), "'{error}' does not say '{part}'");
    }
}

fn receive(comm: &Comm, source: i32, tag: i32) -> Result<i32> {
    let mut value = [0];
    comm.recv(RecvBuf::of(&mut value), source, tag).map(|_| value[0])
}

#[test]
fn a_receive_from_a_rank_that_has_ended_fails_after_its_last_message() {
    for n in [2, 3] {
        testing::run(n, |comm| {
            if comm.rank() == 1 {
                comm.send(SendBuf::of(&[7]), 0, 5).unwrap();
            }
            if comm.rank() == 0 {
                assert_eq!(receive(comm, 1, 5).unwrap(), 7);
                assert_ended(receive(comm, 1, 6), &["Recv", "rank 1", "tag 6", "MPI_COMM_WORLD"]);
                assert_ended(comm.probe(1, 6).map(drop), &["Probe", "rank 1"]);
                assert_ended(comm.mprobe(1, ANY_TAG).map(drop), &["Mprobe", "rank 1"]);
                let unknown = comm.recv_or_match(RecvBuf::of(&mut [0u8; 64]), 1, 7);
                assert_ended(unknown.map(drop), &["Recv", "rank 1"]);
            }
        });
    }
}

#[test]
fn a_loop_of_tests_ends_when_the_rank_that_it_waits_for_has_ended() {
    testing::run(2, |comm| {
        if comm.rank() == 1 {
            return;
        }
        let room: &'static mut [i32] = Box::leak(Box::new([0]));
        let mut request = comm.irecv(RecvBuf::of(room), 1, 6).unwrap();
        let outcome = loop {
            match request.test() {
                Ok(None) => {}
                outcome => break outcome,
            }
        };
        assert_ended(outcome, &["Test", "rank 1", "tag 6", "MPI_COMM_WORLD"]);
        let room: &'static mut [i32] = Box::leak(Box::new([0]));
        let (mut request, parts) = comm.precv_init(RecvBuf::of(room), 1, 1, 6).unwrap();
        request.start().unwrap();
        let outcome = loop {
            match parts.arrived(0) {
                Ok(false) => {}
                outcome => break outcome,
            }
        };
        assert_ended(outcome, &["rank 1", "tag 6", "partitioned receive"]);
    });
}

#[test]
fn messages_of_a_rank_that_has_ended_can_be_received_much_later() {
    testing::run(2, |comm| {
        if comm.rank() == 1 {
            for i in 0..100 {
                comm.send(SendBuf::of(&[i]), 0, i).unwrap();
            }
        } else {
            sleep(Duration::from_millis(300));
            for i in (0..100).rev() {
                assert_eq!(receive(comm, 1, i).unwrap(), i);
            }
        }
    });
}

#[test]
fn a_receive_from_anybody_waits_as_long_as_somebody_is_left() {
    testing::run(3, |comm| match comm.rank() {
        // (What becomes of one that nobody is left for is proved by whoever sees all threads: tests/waiting has such programs.)
        0 => assert_eq!(receive(comm, ANY_SOURCE, ANY_TAG).unwrap(), 2),
        2 => {
            // Longer than a wait for a rank that has ended is given.
            sleep(Duration::from_millis(2500));
            comm.send(SendBuf::of(&[2]), 0, 0).unwrap();
        }
        _ => {}
    });
}

#[test]
fn a_send_to_a_rank_that_has_ended_fails_where_it_has_to_wait() {
    testing::run(2, |comm| {
        if comm.rank() == 0 {
            let large = vec![1u8; 1 << 20];
            assert_ended(comm.send(SendBuf::of(&large), 1, 3), &["Send", "1048576 bytes", "rank 1"]);
            assert_ended(comm.ssend(SendBuf::of(&[1]), 1, 3), &["Ssend", "rank 1"]);
        }
    });
}

#[test]
fn a_collective_fails_when_a_rank_has_ended_before_it() {
    for n in [2, 3, 8] {
        testing::run(n, |comm| {
            let copy = comm.dup().unwrap();
            copy.barrier().unwrap();
            let last = n as i32 - 1;
            if comm.rank() != last {
                let rank = format!("rank {last}");
                assert_ended(copy.barrier(), &["Barrier", &rank]);
            }
        });
    }
}

#[test]
fn a_collective_by_messages_fails_when_a_rank_has_ended_before_it() {
    testing::run(2, |comm| {
        if comm.rank() == 0 {
            assert_ended(comm.ibarrier().unwrap().wait(), &["Ibarrier", "rank 1"]);
            assert_ended(comm.barrier(), &["Barrier", "rank 1"]);
        }
    });
}

#[test]
fn sends_that_nobody_has_waited_for_are_delivered_at_the_end() {
    testing::run(3, |comm| {
        let data: &'static [u8] = Vec::leak(vec![7u8; 300_000]);
        match comm.rank() {
            0 => drop(comm.isend(SendBuf::of(data), 1, 0).unwrap()),
            1 => {
                sleep(Duration::from_millis(1500));
                let mut room = vec![0; data.len()];
                comm.recv(RecvBuf::of(&mut room), 0, 0).unwrap();
                comm.recv(RecvBuf::of(&mut room), 2, 0).unwrap();
                assert_eq!(room, data);
            }
            _ => std::mem::forget(comm.isend(SendBuf::of(data), 1, 0).unwrap()),
        }
    });
}

#[test]
fn messages_that_nobody_takes_do_not_keep_a_job_from_ending() {
    testing::run(2, |comm| {
        // Both end with a message for the other.
        let data: &'static [u8] = Vec::leak(vec![7u8; 300_000]);
        std::mem::forget(comm.isend(SendBuf::of(data), 1 - comm.rank(), 0).unwrap());
        comm.engine().finalize().unwrap();
        let lost = comm.engine().undelivered();
        assert!(lost.len() == 1 && lost[0].contains("300000 bytes"), "{lost:?}");
    });
}

#[test]
fn ranks_that_have_done_their_part_may_end_before_the_others() {
    testing::run(4, |comm| {
        let mut sum = [0];
        let mine = [comm.rank()];
        sleep(Duration::from_millis(700 * comm.rank() as u64));
        let recv = (comm.rank() == 0).then(|| RecvBuf::of(&mut sum));
        comm.reduce(Arg::Buf(SendBuf::of(&mine)), recv, &Op::predefined(Builtin::Sum), 0).unwrap();
        assert!(comm.rank() != 0 || sum[0] == 6);
    });
}

/// Ends the test run in a minute, unless the result is dropped before.
fn watchdog() -> mpsc::Sender<()> {
    let (alive, over) = mpsc::channel();
    std::thread::spawn(move || {
        if over.recv_timeout(Duration::from_secs(60)) == Err(mpsc::RecvTimeoutError::Timeout) {
            eprintln!("a wait for a rank that has ended does not end: giving up");
            std::process::exit(101);
        }
    });
    alive
}

/// Rank 0 of two, in a job whose rank 1 is the process `tag`, as far as its slot says; and a watchdog.
fn beside(tag: Option<ProcessTag>) -> (Universe, Engine, mpsc::Sender<()>) {
    let universe = Universe::create(UniverseConfig { slots: 4, ..UniverseConfig::default() }).unwrap();
    universe.claim_slots(2).unwrap();
    if let Some(tag) = tag {
        universe.slot(ProcId(1)).claim(tag).unwrap();
        universe.slot(ProcId(1)).set_state(SlotState::Running);
    }
    let engine = Engine::init(BootConfig::first_world(&universe, 2, 0)).unwrap();
    (universe, engine, watchdog())
}

#[test]
fn a_rank_whose_number_lives_again_as_another_process_has_ended() {
    let mut later = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let earlier = ProcessTag::from_bits(ProcessTag::of(later.id()).bits() ^ 1 << 30);
    let (_universe, engine, _watchdog) = beside(Some(earlier));
    assert_ended(receive(&engine.world(), 1, 6), &["Recv", "rank 1"]);
    assert_ended(engine.world().barrier(), &["Barrier", "rank 1"]);
    later.kill().unwrap();
    later.wait().unwrap();
}

#[test]
fn a_killed_rank_has_ended_when_no_launcher_ends_the_job() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let (universe, engine, _watchdog) = beside(Some(ProcessTag::of(child.id())));
    child.kill().unwrap();
    child.wait().unwrap();
    universe.slot(ProcId(1)).record_exit(Exit::Signal(9));
    assert_ended(receive(&engine.world(), 1, 6), &["Recv", "rank 1", "killed"]);
}

#[test]
fn a_rank_lives_on_when_the_shell_that_started_it_has_ended() {
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    let (universe, engine, _watchdog) = beside(Some(ProcessTag::of(child.id())));
    universe.slot(ProcId(1)).record_exit(Exit::Status(0));
    let world = engine.world();
    let waiting = std::thread::spawn(move || receive(&world, 1, 6));
    sleep(Duration::from_secs(3));
    assert!(!waiting.is_finished(), "it may still send");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ended(waiting.join().unwrap(), &["Recv", "rank 1"]);
}

#[test]
fn a_program_that_never_began_has_ended_when_the_launcher_says_so() {
    let (universe, engine, _watchdog) = beside(None);
    universe.slot(ProcId(1)).record_exit(Exit::Status(0));
    assert_ended(receive(&engine.world(), 1, 6), &["Recv", "rank 1"]);
}
