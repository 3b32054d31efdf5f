//! Large messages whose sender is away: it has begun to send, and others have its CPU, or it computes.
#![expect(unsafe_code, reason = "a look at the memory of a nonblocking receive")]

use std::sync::atomic::{AtomicBool, Ordering};

use phalanx_engine::{RecvBuf, SendBuf, testing};
use phalanx_shm::ProcessTag;
use phalanx_shm::single_copy::{self, ProbeWord};

fn pattern(bytes: usize, seed: usize) -> Vec<u8> {
    (0..bytes).map(|i| ((i * 31) ^ (i >> 8) ^ (seed * 7)) as u8).collect()
}

#[test]
fn a_large_message_arrives_although_its_sender_does_not_come_back_to_the_pipe() {
    const BYTES: usize = (5 << 20) + 11;
    let word = ProbeWord::new(42);
    if !single_copy::probe(ProcessTag::me(), word.addr(), 42) {
        println!("skipped: this machine allows no reading of another process's memory, and without that nothing helps");
        return;
    }
    let (there, piped, arrived) = (&AtomicBool::new(false), &AtomicBool::new(false), &AtomicBool::new(false));
    let wait_for = |flag: &AtomicBool| {
        while !flag.load(Ordering::Acquire) {
            std::thread::yield_now();
        }
    };
    testing::run(2, |comm| {
        if comm.rank() == 0 {
            let data = Vec::leak(pattern(BYTES, 4));
            let mut send = comm.isend(SendBuf::of(&*data), 1, 3).expect("isend");
            // Opens the pipe, and then computes.
            wait_for(there);
            for _ in 0..100 {
                comm.engine().progress().expect("progress");
            }
            piped.store(true, Ordering::Release);
            wait_for(arrived);
            send.wait().expect("wait");
            // The pipe is used again, or another one is.
            comm.send(SendBuf::of(&*data), 1, 4).expect("send");
        } else {
            comm.probe(0, 3).expect("probe");
            let into = Vec::leak(vec![0; BYTES]);
            let at = into.as_ptr() as usize;
            let mut receive = comm.irecv(RecvBuf::of(into), 0, 3).expect("irecv");
            there.store(true, Ordering::Release);
            wait_for(piped);
            receive.wait().expect("wait");
            // SAFETY: the memory is never freed, and the receive is over.
            let into = unsafe { std::slice::from_raw_parts(at as *const u8, BYTES) };
            assert!(*into == pattern(BYTES, 4));
            arrived.store(true, Ordering::Release);
            let mut again = vec![0; BYTES];
            comm.recv(RecvBuf::of(&mut again), 0, 4).expect("recv");
            assert!(again == pattern(BYTES, 4));
        }
    });
}
