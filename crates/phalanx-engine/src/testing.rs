//! Ranks as threads, for tests: each thread has an engine of its own over one universe.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use phalanx_shm::{Universe, UniverseConfig};

use crate::boot::BootConfig;
use crate::comm::Comm;
use crate::engine::Engine;

/// The ranks to the left and to the right of this one, in a ring of all.
pub fn neighbours(comm: &Comm) -> (i32, i32) {
    let (rank, size) = (comm.rank(), comm.size());
    ((rank + size - 1) % size, (rank + 1) % size)
}

/// Runs `body` as `n` ranks and waits for all of them. See [`run_jobs`].
///
/// # Panics
/// As [`run_jobs`].
pub fn run(n: usize, body: impl Fn(&Comm) + Send + Sync) {
    run_jobs(&[n], |_, comm| body(comm));
}

/// Runs `body` as the ranks of several jobs, each of so many in a universe of its own, and waits for all of them. `body` gets
/// the number of its job.
///
/// A rank that panics fails the test. When the ranks take longer than a minute (`PHALANX_TEST_TIMEOUT` seconds), or
/// when one has panicked and the others still wait for it five seconds later, the process ends, since a hung thread
/// cannot be stopped otherwise.
///
/// # Panics
/// When a rank panics or the universe cannot be made.
pub fn run_jobs(sizes: &[usize], body: impl Fn(usize, &Comm) + Send + Sync) {
    let universe = |n: &usize| {
        let universe = Universe::create(UniverseConfig::for_ranks(*n as u32)).expect("a universe");
        universe.claim_slots(*n as u32).expect("slots for the ranks");
        universe
    };
    let universes: Vec<Universe> = sizes.iter().map(universe).collect();
    let ranks: Vec<(usize, usize)> =
        sizes.iter().enumerate().flat_map(|(job, n)| (0..*n).map(move |rank| (job, rank))).collect();
    let limit = std::env::var("PHALANX_TEST_TIMEOUT").ok().and_then(|s| s.parse().ok()).unwrap_or(60);
    let (ended, ends) = mpsc::channel();
    thread::scope(|scope| {
        for &(job, rank) in &ranks {
            let (universe, n, body, ended) = (&universes[job], sizes[job], &body, ended.clone());
            let start = move || {
                let outcome = catch_unwind(AssertUnwindSafe(|| {
                    let config = BootConfig::first_world(universe, n as u32, rank as u32);
                    let engine = Engine::init(config).expect("an engine");
                    body(job, &engine.world());
                    if !engine.is_finalized() {
                        engine.finalize().expect("finalize");
                    }
                }));
                // The watcher outlives all ranks.
                let _ = ended.send(((job, rank), outcome.err()));
            };
            thread::Builder::new()
                .name(format!("rank {rank} of job {job}"))
                .spawn_scoped(scope, start)
                .expect("a thread");
        }
        let mut patience = Duration::from_secs(limit);
        let mut failure = None;
        let mut running = ranks.clone();
        while !running.is_empty() {
            match ends.recv_timeout(patience) {
                Ok((rank, panic)) => {
                    running.retain(|r| *r != rank);
                    if let Some(panic) = panic {
                        eprintln!("rank {} of job {} failed", rank.1, rank.0);
                        patience = Duration::from_secs(5);
                        failure.get_or_insert(panic);
                    }
                }
                Err(_) => {
                    eprintln!("of {sizes:?} ranks, {running:?} (job, rank) did not end in time: giving up");
                    std::process::exit(101);
                }
            }
        }
        if let Some(panic) = failure {
            resume_unwind(panic);
        }
    });
}
