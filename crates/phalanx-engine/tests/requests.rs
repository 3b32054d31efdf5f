//! Requests of all kinds: completion, order, cancellation, persistence, threads, interrupts.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use phalanx_engine::boot::BootConfig;
use phalanx_engine::pt2pt::buffered::Buffer;
use phalanx_engine::request::{self, Generalized, TestAny};
use phalanx_engine::{
    ANY_SOURCE, ANY_TAG, Comm, Engine, ErrorClass, RecvBuf, Request, Result, SendBuf, SendMode, Status, testing,
};
use phalanx_shm::{Universe, UniverseConfig};

/// Memory that outlives the test's requests.
fn lasting<T>(data: Vec<T>) -> &'static mut [T] {
    Vec::leak(data)
}

fn tell(comm: &Comm, dest: i32, tag: i32, value: u64) {
    comm.send(SendBuf::of(&[value]), dest, tag).expect("send");
}

fn hear(comm: &Comm, source: i32, tag: i32) -> (u64, Status) {
    let mut data = [0u64];
    let status = comm.recv(RecvBuf::of(&mut data), source, tag).expect("recv");
    (data[0], status)
}

#[test]
fn posted_receives_match_in_the_order_of_posting() {
    testing::run(2, |comm| {
        const N: usize = 200;
        if comm.rank() == 0 {
            hear(comm, 1, 99);
            for i in 0..N as u64 {
                tell(comm, 1, (i % 3) as i32, i);
            }
            return;
        }
        // Wildcards of every shape, interleaved; each message goes to the first that fits.
        let shapes = [(0, 0), (ANY_SOURCE, 1), (0, ANY_TAG), (ANY_SOURCE, ANY_TAG), (0, 2)];
        let mut receives = Vec::new();
        for i in 0..N {
            let (source, tag) = shapes[i * 7 % shapes.len()];
            let room = lasting(vec![u64::MAX]);
            let address: *const u64 = room.as_ptr();
            receives.push((tag, comm.irecv(RecvBuf::of(room), source, tag).expect("irecv"), address as usize));
        }
        let mut expected: Vec<Option<u64>> = vec![None; N];
        for message in 0..N as u64 {
            let tag = (message % 3) as i32;
            let slot = (0..N).find(|&i| expected[i].is_none() && (receives[i].0 == tag || receives[i].0 == ANY_TAG));
            if let Some(slot) = slot {
                expected[slot] = Some(message);
            }
        }
        tell(comm, 0, 99, 0);
        for (i, (_, request, _)) in receives.iter_mut().enumerate() {
            match expected[i] {
                Some(message) => {
                    let status = request.wait().expect("wait");
                    assert_eq!((status.source, status.tag, status.bytes), (0, (message % 3) as i32, 8));
                }
                None => {
                    request.cancel().expect("cancel");
                    assert!(request.wait().expect("wait").cancelled, "receive {i} fits no message");
                }
            }
        }
        // Messages without a receive are still there.
        let taken = expected.iter().flatten().count();
        for _ in taken..N {
            hear(comm, 0, ANY_TAG);
        }
        assert_eq!(comm.iprobe(ANY_SOURCE, ANY_TAG).expect("iprobe"), None);
    });
}

#[test]
fn families_complete_what_they_say() {
    for n in [1, 2, 3, 8] {
        testing::run(n, |comm| {
            let (rank, size) = (comm.rank(), comm.size());
            let mut receives: Vec<Request> = (0..size)
                .map(|peer| comm.irecv(RecvBuf::of(lasting(vec![0u32; 5000])), peer, 1).expect("irecv"))
                .collect();
            let mut sends: Vec<Request> = (0..size)
                .map(|peer| comm.isend(SendBuf::of(lasting(vec![rank as u32; 5000])), peer, 1).expect("isend"))
                .collect();
            let mut seen = vec![false; size as usize];
            let mut list: Vec<Option<&mut Request>> = receives.iter_mut().map(Some).collect();
            if let Some((i, outcome)) = request::wait_any(&mut list).expect("wait_any") {
                assert_eq!(outcome.expect("received").source, i as i32);
                seen[i] = true;
            }
            while let Some(done) = request::wait_some(&mut list).expect("wait_some") {
                assert!(!done.is_empty());
                for (i, outcome) in done {
                    assert_eq!(outcome.expect("received").bytes, 20_000);
                    assert!(!std::mem::replace(&mut seen[i], true), "completed twice");
                }
            }
            assert!(seen.iter().all(|s| *s));
            assert!(matches!(request::test_any(&mut list).expect("test_any"), TestAny::NoneActive));
            assert!(request::test_all(&mut list).expect("test_all").is_some());
            let mut list: Vec<Option<&mut Request>> = sends.iter_mut().map(Some).chain([None]).collect();
            let outcomes = request::wait_all(&mut list).expect("wait_all");
            assert_eq!(outcomes.len(), size as usize + 1);
            assert!(outcomes.iter().all(Result::is_ok));
        });
    }
}

#[test]
fn persistent_requests_start_again_and_again() {
    testing::run(2, |comm| {
        let peer = 1 - comm.rank();
        let mut send = comm
            .send_init(SendMode::Standard, SendBuf::of(lasting(vec![comm.rank(); 30_000])), peer, 4)
            .expect("send_init");
        let mut recv = comm.recv_init(RecvBuf::of(lasting(vec![-1i32; 30_000])), peer, 4).expect("recv_init");
        assert!(!send.is_active() && send.is_persistent());
        assert_eq!(send.wait().expect("inactive"), Status::EMPTY);
        for _ in 0..20 {
            request::start_all(&mut [&mut recv, &mut send]).expect("start_all");
            assert_eq!(recv.start().expect_err("active").class(), ErrorClass::Request);
            assert_eq!(recv.wait().expect("wait").bytes, 120_000);
            send.wait().expect("wait");
        }
        let mut once = comm.isend(SendBuf::of(&[1u8]), peer, 5).expect("isend");
        once.wait().expect("wait");
        assert_eq!(once.start().expect_err("not persistent").class(), ErrorClass::Request);
        comm.recv(RecvBuf::of(&mut [0u8]), peer, 5).expect("recv");
    });
}

#[test]
fn unmatched_large_sends_can_be_cancelled() {
    testing::run(2, |comm| {
        if comm.rank() == 0 {
            let mut send = comm.isend(SendBuf::of(lasting(vec![1u8; 100_000])), 1, 1).expect("isend");
            hear(comm, 1, 9);
            send.cancel().expect("cancel");
            assert!(send.wait().expect("local").cancelled);
            tell(comm, 1, 8, 0);
            tell(comm, 1, 1, 42);
            // Small ones have left already: cancellation finds nothing to do, and they arrive.
            let mut small = comm.isend(SendBuf::of(&[7u64]), 1, 1).expect("isend");
            small.cancel().expect("cancel");
            assert!(!small.wait().expect("wait").cancelled);
        } else {
            comm.probe(0, 1).expect("probe");
            tell(comm, 0, 9, 0);
            hear(comm, 0, 8);
            assert_eq!(hear(comm, 0, 1).0, 42, "the cancelled message is skipped");
            assert_eq!(hear(comm, 0, 1).0, 7);
        }
    });
}

#[test]
fn buffered_sends_need_and_respect_the_attached_buffer() {
    testing::run(2, |comm| {
        let engine = comm.engine();
        if comm.rank() == 0 {
            let data = vec![5u8; 50_000];
            let error = comm.bsend(SendBuf::of(&data), 1, 1).expect_err("nothing attached");
            assert_eq!(error.class(), ErrorClass::Buffer);
            let buffer = Buffer { address: 4096, size: 120_000, unlimited: false };
            engine.attach_buffer(buffer).expect("attach");
            assert_eq!(engine.attach_buffer(buffer).expect_err("attached").class(), ErrorClass::Buffer);
            comm.bsend(SendBuf::of(&data), 1, 1).expect("first");
            comm.bsend(SendBuf::of(&data), 1, 1).expect("second");
            let error = comm.bsend(SendBuf::of(&data), 1, 1).expect_err("full");
            assert!(error.to_string().contains("120000"), "{error}");
            tell(comm, 1, 2, 0);
            assert_eq!(engine.detach_buffer().expect("detach"), buffer);
            assert_eq!(engine.detach_buffer().expect_err("detached").class(), ErrorClass::Buffer);
        } else {
            hear(comm, 0, 2);
            for _ in 0..2 {
                let mut data = vec![0u8; 50_000];
                comm.recv(RecvBuf::of(&mut data), 0, 1).expect("recv");
                assert!(data.iter().all(|b| *b == 5));
            }
        }
    });
}

#[test]
fn threads_of_one_rank_share_the_engine() {
    testing::run(2, |comm| {
        const THREADS: i32 = 4;
        const ROUNDS: u64 = 300;
        let peer = 1 - comm.rank();
        thread::scope(|scope| {
            for id in 0..THREADS {
                scope.spawn(move || {
                    for round in 0..ROUNDS {
                        // Each thread its tag; sizes on both sides of the eager limit.
                        let n = if round % 7 == 0 { 30_000 } else { 3 };
                        let out = vec![round * 100 + id as u64; n];
                        let mut into = vec![0u64; n];
                        let status = comm
                            .sendrecv(SendBuf::of(&out), peer, id, RecvBuf::of(&mut into), peer, id)
                            .expect("sendrecv");
                        assert_eq!((status.tag, status.bytes), (id, n as u64 * 8));
                        assert_eq!(into, out);
                    }
                });
            }
        });
    });
}

#[test]
fn a_thread_is_woken_when_another_completes_its_request() {
    testing::run(2, |comm| {
        if comm.rank() == 1 {
            thread::sleep(Duration::from_millis(50));
            tell(comm, 0, 1, 1);
            tell(comm, 0, 2, 2);
            return;
        }
        thread::scope(|scope| {
            let waiting = scope.spawn(|| hear(comm, 1, 1).0);
            // This thread polls and takes in the other's message.
            assert_eq!(hear(comm, 1, 2).0, 2);
            assert_eq!(waiting.join().expect("woken"), 1);
        });
    });
}

#[test]
fn a_thread_is_woken_by_a_send_to_its_own_rank() {
    static SLICES: AtomicU32 = AtomicU32::new(0);
    testing::run(1, |comm| {
        // The hook runs when a sleep ends without having been ended by somebody.
        comm.engine().set_interrupt_hook(Some(|| {
            SLICES.fetch_add(1, Ordering::Relaxed);
            false
        }));
        for mode in [SendMode::Standard, SendMode::Synchronous] {
            thread::scope(|scope| {
                let waiting = scope.spawn(|| hear(comm, 0, 1).0);
                thread::sleep(Duration::from_millis(20));
                comm.send_mode(mode, SendBuf::of(&[3u64]), 0, 1).expect("send");
                assert_eq!(waiting.join().expect("woken"), 3);
            });
        }
        assert_eq!(SLICES.load(Ordering::Relaxed), 0, "slept through the message");
    });
}

struct Recorded(&'static AtomicU32);

impl Generalized for Recorded {
    fn query(&mut self, status: &mut Status) -> Result<()> {
        self.0.fetch_add(1, Ordering::Relaxed);
        status.tag = 17;
        Ok(())
    }
    fn free(&mut self) -> Result<()> {
        self.0.fetch_add(100, Ordering::Relaxed);
        Ok(())
    }
    fn cancel(&mut self, complete: bool) -> Result<()> {
        assert!(!complete);
        self.0.fetch_add(10_000, Ordering::Relaxed);
        Ok(())
    }
}

#[test]
fn generalized_requests_are_completed_by_any_thread() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    testing::run(1, |comm| {
        let (mut request, completer) = Request::generalized(comm.engine(), Box::new(Recorded(&CALLS)));
        assert_eq!(request.test().expect("test"), None);
        request.cancel().expect("cancel");
        thread::scope(|scope| {
            scope.spawn(move || {
                thread::sleep(Duration::from_millis(20));
                completer.complete();
            });
            assert_eq!(request.wait().expect("wait").tag, 17);
        });
        assert_eq!(CALLS.load(Ordering::Relaxed), 10_101);
    });
}

#[test]
fn the_hook_ends_a_blocked_receive() {
    static ASKED: AtomicBool = AtomicBool::new(false);
    testing::run(2, |comm| {
        if comm.rank() == 0 {
            comm.engine().set_interrupt_hook(Some(|| ASKED.load(Ordering::Relaxed)));
            thread::scope(|scope| {
                scope.spawn(|| {
                    thread::sleep(Duration::from_millis(30));
                    ASKED.store(true, Ordering::Relaxed);
                });
                let mut data = [0u64];
                let error = comm.recv(RecvBuf::of(&mut data), 1, 1).expect_err("interrupted");
                assert!(error.is_interrupted());
            });
            comm.engine().set_interrupt_hook(None);
            tell(comm, 1, 2, 0);
            assert_eq!(hear(comm, 1, 1).0, 6, "the withdrawn receive has taken nothing");
        } else {
            hear(comm, 0, 2);
            tell(comm, 0, 1, 6);
        }
    });
}

/// CPU time of the calling thread.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").expect("schedstat");
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).expect("a number"))
}

#[test]
fn blocked_ranks_sleep() {
    testing::run(8, |comm| {
        if comm.rank() == 0 {
            thread::sleep(Duration::from_millis(600));
            for peer in 1..comm.size() {
                tell(comm, peer, 1, 5);
            }
            return;
        }
        let (began, used) = (Instant::now(), cpu_time());
        assert_eq!(hear(comm, 0, 1).0, 5);
        let (waited, used) = (began.elapsed(), cpu_time() - used);
        assert!(used * 10 < waited, "waiting {waited:?} took {used:?} of CPU time");
    });
}

#[test]
fn a_dropped_request_still_delivers() {
    testing::run(2, |comm| {
        if comm.rank() == 0 {
            for size in [10usize, 500_000] {
                comm.isend(SendBuf::of(lasting(vec![3u8; size])), 1, 1).expect("isend").free().expect("free");
            }
            hear(comm, 1, 2);
        } else {
            for size in [10usize, 500_000] {
                let mut data = vec![0u8; size];
                comm.recv(RecvBuf::of(&mut data), 0, 1).expect("recv");
                assert!(data.iter().all(|b| *b == 3));
            }
            tell(comm, 0, 2, 0);
        }
    });
}

#[test]
fn after_finalize_calls_are_refused() {
    let universe = Universe::create(UniverseConfig::for_ranks(1)).expect("a universe");
    universe.claim_slots(1).expect("a slot");
    let engine = Engine::init(BootConfig::first_world(&universe, 1, 0)).expect("an engine");
    let own = engine.self_comm();
    own.send(SendBuf::of(&[1u8]), 0, 1).expect("send");
    own.recv(RecvBuf::of(&mut [0u8]), 0, 1).expect("recv");
    engine.finalize().expect("finalize");
    assert!(engine.is_finalized());
    let error = own.send(SendBuf::of(&[1u8]), 0, 1).expect_err("over");
    assert!(error.to_string().contains("MPI_Finalize"), "{error}");
    assert!(engine.finalize().is_err(), "finalized twice");
}
