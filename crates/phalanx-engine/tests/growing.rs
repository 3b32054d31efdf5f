//! Receives whose memory is made when their message is known, and sends that happen at once or not at all.
#![expect(unsafe_code, reason = "memory that outlives a call has an unsafe constructor")]

use std::sync::atomic::{AtomicUsize, Ordering};

use phalanx_engine::{ANY_SOURCE, ErrorClass, Grow, PROC_NULL, RecvBuf, SendBuf, SendMode, testing};
use phalanx_shm::mem::MutMem;

const ROOM: usize = 512;
const SIZES: &[usize] = &[0, 1, ROOM, ROOM + 1, 8 << 10, 100_000, 3 << 20];

/// Where a receive got more memory.
#[derive(Default)]
struct Made {
    start: AtomicUsize,
    calls: AtomicUsize,
}

fn make([made, _]: [usize; 2], bytes: usize) -> Option<MutMem> {
    // SAFETY: every test passes the address of a `Made` that it leaks.
    let made = unsafe { &*std::ptr::with_exposed_provenance::<Made>(made) };
    made.calls.fetch_add(1, Ordering::Relaxed);
    let memory: &'static mut [u8] = vec![0; bytes].leak();
    made.start.store(memory.as_mut_ptr().expose_provenance(), Ordering::Relaxed);
    // SAFETY: leaked memory of that length, of which nobody else knows.
    Some(unsafe { MutMem::new(memory.as_mut_ptr(), bytes) })
}

fn nothing(_: [usize; 2], _: usize) -> Option<MutMem> {
    None
}

fn lasting(bytes: usize) -> MutMem {
    let memory: &'static mut [u8] = vec![0; bytes].leak();
    // SAFETY: leaked memory of that length.
    unsafe { MutMem::new(memory.as_mut_ptr(), bytes) }
}

fn pattern(bytes: usize) -> &'static [u8] {
    (0..bytes).map(|i| ((i * 31) ^ (i >> 8)) as u8).collect::<Vec<_>>().leak()
}

#[test]
fn a_receive_grows_for_a_message_that_does_not_fit_and_only_for_that() {
    for n in [1, 2, 3] {
        testing::run(n, |comm| {
            let (left, right) = testing::neighbours(comm);
            for (tag, &bytes) in SIZES.iter().enumerate() {
                let tag = tag as i32;
                // Posted before the message is sent, and only after it has arrived.
                for posted in [true, false] {
                    for mode in [SendMode::Standard, SendMode::Synchronous] {
                        let made: &'static Made = Box::leak(Box::default());
                        let words = [std::ptr::from_ref(made).expose_provenance(), 0];
                        let receive =
                            || comm.irecv_growing(lasting(ROOM), Grow::by(make, words), left, tag).expect("irecv");
                        let early = posted.then(receive);
                        comm.barrier().expect("barrier");
                        let out = pattern(bytes);
                        let mut sending = comm.isend_mode(mode, SendBuf::of(out), right, tag).expect("isend");
                        if !posted {
                            comm.probe(ANY_SOURCE, tag).expect("probe");
                        }
                        let status = early.unwrap_or_else(receive).wait().expect("receive");
                        assert_eq!((status.source, status.tag, status.bytes), (left, tag, bytes as u64));
                        sending.wait().expect("the send");
                        let (start, calls) = (made.start.load(Ordering::Relaxed), made.calls.load(Ordering::Relaxed));
                        assert_eq!(calls, usize::from(bytes > ROOM), "{bytes} bytes, posted first: {posted}");
                        if calls == 1 {
                            // SAFETY: `make` has leaked so many bytes there, and the receive is over.
                            let got = unsafe {
                                std::slice::from_raw_parts(std::ptr::with_exposed_provenance::<u8>(start), bytes)
                            };
                            assert_eq!(got, out);
                        }
                    }
                }
            }
        });
    }
}

#[test]
fn a_message_for_which_there_is_no_memory_is_truncated() {
    testing::run(2, |comm| {
        for (tag, bytes) in [(1, ROOM + 1), (2, 1 << 20)] {
            if comm.rank() == 0 {
                comm.send(SendBuf::of(pattern(bytes)), 1, tag).expect("send");
            } else {
                let mut request = comm.irecv_growing(lasting(ROOM), Grow::by(nothing, [0; 2]), 0, tag).expect("irecv");
                assert_eq!(request.wait().expect_err("does not fit").class(), ErrorClass::Truncate);
            }
        }
    });
}

#[test]
fn a_growing_receive_from_nobody_is_complete_and_one_that_is_cancelled_never_grows() {
    testing::run(1, |comm| {
        let from_nobody = comm.irecv_growing(lasting(1), Grow::by(nothing, [0; 2]), PROC_NULL, 0);
        assert_eq!(from_nobody.expect("irecv").wait().expect("complete").source, PROC_NULL);
        let mut cancelled = comm.irecv_growing(lasting(1), Grow::by(nothing, [0; 2]), 0, 0).expect("irecv");
        cancelled.cancel().expect("cancel");
        assert!(cancelled.wait().expect("complete").cancelled);
    });
}

#[test]
fn a_send_happens_at_once_or_not_at_all() {
    testing::run(2, |comm| {
        if comm.rank() == 0 {
            assert!(comm.send_if_ready(SendBuf::of(&[1u8; 8]), 1, 0).expect("small"));
            assert!(!comm.send_if_ready(SendBuf::of(pattern(1 << 20)), 1, 0).expect("large"));
            assert!(!comm.send_if_ready(SendBuf::of(&[1u8]), 0, 0).expect("to itself"));
            assert!(comm.send_if_ready(SendBuf::of(&[1u8]), PROC_NULL, 0).expect("to nobody"));
            let wrong = comm.send_if_ready(SendBuf::of(&[1u8]), 2, 0).expect_err("no such rank");
            assert_eq!(wrong.class(), ErrorClass::Rank);
            let mut sent = 1;
            while comm.send_if_ready(SendBuf::of(&[1u8; 8]), 1, 0).expect("while there is room") {
                sent += 1;
            }
            comm.send(SendBuf::of(&[sent]), 1, 1).expect("send");
            assert!(comm.iprobe(0, 0).expect("iprobe").is_none());
        } else {
            let mut sent = [0i32];
            // The ring is full until this rank takes what is in it.
            comm.recv(RecvBuf::of(&mut sent), 0, 1).expect("receive");
            for _ in 0..sent[0] {
                comm.recv(RecvBuf::of(&mut [0u8; 8]), 0, 0).expect("receive");
            }
            assert!(comm.iprobe(0, 0).expect("iprobe").is_none());
        }
    });
}
