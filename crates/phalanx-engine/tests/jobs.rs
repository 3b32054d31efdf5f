//! Jobs that meet: two universes, whose processes are threads here.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use phalanx_engine::op::{Builtin, Op};
use phalanx_engine::testing::run_jobs;
use phalanx_engine::{ANY_TAG, Comm, Error, ErrorClass, RecvBuf, Result, SendBuf};

/// Runs `body` for the ranks of two jobs, which have met at a port, with the number of the job, its world and the
/// intercommunicator.
fn meeting(sizes: [usize; 2], times: usize, body: impl Fn(usize, &Comm, Comm) + Send + Sync) {
    let (told, heard): (Sender<String>, Receiver<String>) = channel();
    let (told, heard) = (Mutex::new(told), Mutex::new(heard));
    run_jobs(&sizes, |job, world| {
        let is_root = world.rank() == 0;
        let mut port = String::new();
        if job == 0 && is_root {
            port = world.engine().open_port().expect("a port");
        }
        for _ in 0..times {
            let inter = if job == 0 {
                if is_root {
                    told.lock().expect("sound").send(port.clone()).expect("heard");
                }
                world.accept(&port, 0, None)
            } else {
                if is_root {
                    port = heard.lock().expect("sound").recv().expect("told");
                }
                world.connect(&port, 0, None)
            };
            let inter = inter.expect("met");
            assert_eq!((inter.size() as usize, inter.remote_size() as usize), (sizes[job], sizes[1 - job]));
            body(job, world, inter);
        }
        if job == 0 && is_root {
            world.engine().close_port(&port).expect("open");
        }
    });
}

fn error_of(outcome: Result<Comm>) -> Error {
    outcome.err().expect("refused")
}

/// What rank `rank` of a job sends, `n` words.
fn data(job: usize, rank: i32, n: usize) -> Vec<u64> {
    (0..n as u64).map(|i| i.wrapping_mul(2_654_435_761) ^ (job as u64) << 50 ^ (rank as u64) << 40).collect()
}

#[test]
fn messages_of_all_sizes_go_both_ways() {
    for sizes in [[1, 1], [2, 3], [3, 1]] {
        meeting(sizes, 1, |job, _, inter| {
            for n in [0usize, 1, 100, 3_000, 100_000, 1_000_000] {
                for them in 0..inter.remote_size() {
                    let mine = data(job, inter.rank(), n);
                    let mut theirs = vec![0u64; n];
                    let status = inter
                        .sendrecv(SendBuf::of(&mine), them, 7, RecvBuf::of(&mut theirs), them, ANY_TAG)
                        .expect("exchanged");
                    assert_eq!((status.source, status.tag, status.bytes), (them, 7, n as u64 * 8));
                    assert!(theirs == data(1 - job, them, n), "{n} words");
                }
            }
            inter.disconnect().expect("parted");
        });
    }
}

#[test]
fn collectives_and_communicators_work_over_both_jobs() {
    meeting([2, 3], 1, |job, world, inter| {
        let mut sum = [0i32];
        let merged = inter.intercomm_merge(job == 1).expect("merged");
        assert_eq!(merged.size(), 5);
        let offset = if job == 0 { 0 } else { 2 };
        assert_eq!(merged.rank(), world.rank() + offset);
        merged
            .allreduce(SendBuf::of(&[merged.rank()]).into(), RecvBuf::of(&mut sum), &Op::predefined(Builtin::Sum))
            .expect("reduced");
        assert_eq!(sum[0], 10);
        for comm in [merged.dup().expect("copied"), merged.split(0, -merged.rank()).expect("split").expect("mine")] {
            let mut all = vec![0i32; 5];
            comm.allgather(SendBuf::of(&[comm.rank()]).into(), RecvBuf::of(&mut all).into()).expect("gathered");
            assert_eq!(all, [0, 1, 2, 3, 4]);
            comm.barrier().expect("together");
            comm.free();
        }
        // A part of each job; a group of one job only goes on as ever.
        let part = merged.split(merged.rank() % 2, 0).expect("split").expect("mine");
        let mut big = vec![0u64; 200_000];
        if part.rank() == 0 {
            big.copy_from_slice(&data(7, 0, 200_000));
        }
        part.bcast(RecvBuf::of(&mut big), 0).expect("told");
        assert!(big == data(7, 0, 200_000));
        let own = merged.split_type(Some(phalanx_engine::SplitType::Shared), 0, None).expect("split").expect("mine");
        assert_eq!(own.size(), world.size());
        own.barrier().expect("together");
        let copy = inter.dup().expect("copied");
        copy.barrier().expect("together");
        let halves = merged.split(job as i32, 0).expect("split").expect("mine");
        let again = halves.intercomm_create(0, Some(&merged), if job == 0 { 2 } else { 0 }, 3).expect("made");
        again.barrier().expect("together");
        assert_eq!(again.remote_size(), inter.remote_size());
        let refused = error_of(merged.spawn(&[], 0));
        assert_eq!(refused.class(), ErrorClass::UnsupportedOperation);
        for comm in [part, own, copy, halves, again, merged] {
            comm.free();
        }
        inter.disconnect().expect("parted");
    });
}

#[test]
fn slots_and_memory_are_used_again() {
    let seen = Mutex::new([(0u32, 0u64); 2]);
    let count = Mutex::new([0; 2]);
    meeting([2, 2], 30, |job, world, inter| {
        inter.barrier().expect("together");
        let mut word = [0u64; 5000];
        let mine = data(job, world.rank(), 5000);
        let other = world.rank();
        inter.sendrecv(SendBuf::of(&mine), other, 1, RecvBuf::of(&mut word), other, 1).expect("exchanged");
        inter.disconnect().expect("parted");
        world.barrier().expect("together");
        world.engine().end_visits();
        world.barrier().expect("together");
        if world.rank() == 0 {
            world.engine().end_visits();
            let universe = world.engine().universe();
            let now = (universe.claimed(), universe.live());
            let mut count = count.lock().expect("sound");
            count[job] += 1;
            let mut seen = seen.lock().expect("sound");
            // The first meetings make what stays: areas of communicators, and a guest that has not left yet when the next comes.
            if count[job] == 10 {
                seen[job] = now;
            } else if count[job] > 10 {
                assert!(now.0 <= seen[job].0 + 2, "{now:?} after {} meetings, {:?} before", count[job], seen[job]);
                assert!(
                    now.1 <= seen[job].1 + (1 << 20),
                    "{now:?} after {} meetings, {:?} before",
                    count[job],
                    seen[job]
                );
            }
        }
    });
}

#[test]
fn a_wait_at_a_port_ends_with_its_timeout() {
    let short = Some(Duration::from_millis(50));
    run_jobs(&[2], |_, world| {
        let port = if world.rank() == 0 { world.engine().open_port().expect("a port") } else { String::new() };
        let refused = error_of(world.accept(&port, 0, short));
        assert_eq!(refused.class(), ErrorClass::Port);
        assert!(refused.to_string().contains("0.05 s"), "{refused}");
    });
    run_jobs(&[1, 1], |job, world| {
        if job == 0 {
            let port = world.engine().open_port().expect("a port");
            let refused = error_of(world.connect(&port, 0, short));
            assert!(refused.to_string().contains("own"), "{refused}");
        } else {
            let wrong = "phalanx:0:1:2:3:4";
            assert_eq!(error_of(world.connect(wrong, 0, short)).class(), ErrorClass::Port);
        }
    });
}
