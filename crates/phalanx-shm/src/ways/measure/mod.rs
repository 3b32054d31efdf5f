//! Measuring the ways: on two CPUs, some fifty milliseconds.
//!
//! Threads do for memory that both have: what costs is the way of the cache lines from one CPU to the other. Messages move between
//! processes, since a copy from another one takes longer.

mod both;
mod messages;

use std::time::Instant;

use both::{Line, Side, both};

use super::table::{self, CYCLES};
use super::{Cycle, Table};
use crate::mem::MutMem;

/// Bytes moved between two looks at the other side.
const STEP: usize = 32 << 10;

/// Bytes that one measurement moves at least, after it has gone through the memory once: what was done with it before
/// decides where its lines are, and what that round costs.
const TOTAL: usize = 512 << 10;

/// Bytes of the private memory on both sides, which stays in their caches.
const PRIVATE: usize = 256 << 10;

/// Times that each is measured; the best counts, since others on the machine can only make it worse.
const TIMES: usize = 2;

/// Bytes of a cycle from which it is measured once less: it moves enough to be less of an accident, and takes its time.
const LONG: usize = 2 << 20;

/// Round trips of a cache line in one measurement.
const TRIPS: u64 = 100;

/// The two CPUs between which this process measures: far apart among those it may use, since a wrong way costs most there.
/// `None` when it may use one only.
pub fn cpus() -> Option<[usize; 2]> {
    let allowed = rustix::thread::sched_getaffinity(None).ok()?;
    let all: Vec<_> = (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| allowed.is_set(*cpu)).collect();
    (all.len() > 1).then(|| [all[0], all[all.len() / 2]])
}

/// Measures all ways; `None` when there is one CPU only, or when others use the two.
pub fn table() -> Option<Table> {
    let ping = ping()?;
    let cycles = cycles()?;
    let take = table::take(&cycles);
    let pipes = if take > 0 { messages::pipes(take)? } else { Vec::new() };
    let messages = messages::messages(table::limited(take, &pipes))?;
    Some(Table { ping, cycles, pipes, messages, last_level: last_level().unwrap_or(0) })
}

/// Nanoseconds that a cache line takes from one CPU to the other, as [`Table::ping`].
pub fn ping() -> Option<f64> {
    let lines = [Line::default(), Line::default()];
    let one = |me: usize, side: &Side<'_>| -> Option<f64> {
        let mut times = Vec::new();
        let mut turn = 0;
        for _ in 0..=TIMES {
            side.begin();
            let start = Instant::now();
            for _ in 0..TRIPS {
                turn += 1;
                if me == 0 {
                    lines[0].say(turn);
                }
                side.wait_for(&lines[1 - me], turn)?;
                if me == 1 {
                    lines[1].say(turn);
                }
            }
            times.push(start.elapsed().as_nanos() as f64 / (2 * TRIPS) as f64);
        }
        Some(times.into_iter().skip(1).fold(f64::INFINITY, f64::min))
    };
    both(|side| one(0, side), |side| one(1, side).map(drop))
}

/// Memory that goes back and forth, used again and again.
fn cycles() -> Option<Vec<Cycle>> {
    let mut memory = [vec![1; CYCLES[CYCLES.len() - 1]], vec![2; PRIVATE], vec![3; PRIVATE]];
    // SAFETY: the vectors live, and are not touched otherwise, while the threads below run; the positions divide the
    // shared one among them, and each has one of the others.
    let [shared, from, to] = memory.each_mut().map(|v| unsafe { MutMem::new(v.as_mut_ptr(), v.len()) });
    // By size, first reading and then taking, in turns.
    let turns = CYCLES.into_iter().flat_map(|bytes| {
        let times = if bytes < LONG { TIMES } else { TIMES - 1 };
        (0..2 * times).map(move |time| (bytes, time % 2 == 1))
    });
    let turns: Vec<_> = turns.collect();
    let (written, read) = (Line::default(), Line::default());
    let piece = |mem: MutMem, step: u64| mem.slice(step as usize * STEP % mem.len(), STEP);
    let rates = both(
        |side| {
            let mut done = 0;
            let each = turns.iter().map(|(bytes, _)| {
                side.begin();
                let (depth, steps) = steps(*bytes);
                let mut start = Instant::now();
                for step in 0..steps {
                    if step == depth {
                        start = Instant::now();
                    }
                    side.wait_for(&read, (done + step + 1).saturating_sub(depth))?;
                    piece(from, step).as_const().copy_to_mem(shared.slice((step % depth) as usize * STEP, STEP));
                    written.say(done + step + 1);
                }
                done += steps;
                side.wait_for(&read, done)?;
                Some((steps - depth) as f64 * STEP as f64 / start.elapsed().as_nanos() as f64)
            });
            each.collect::<Option<Vec<f64>>>()
        },
        |side| {
            let mut done = 0;
            for (bytes, take) in &turns {
                side.begin();
                let (depth, steps) = steps(*bytes);
                for step in 0..steps {
                    side.wait_for(&written, done + step + 1)?;
                    let place = shared.slice((step % depth) as usize * STEP, STEP);
                    if *take {
                        place.copy_taking(piece(to, step));
                    } else {
                        place.as_const().copy_to_mem(piece(to, step));
                    }
                    read.say(done + step + 1);
                }
                done += steps;
            }
            Some(())
        },
    )?;
    let of = |bytes: usize, take: bool| {
        let all = turns.iter().zip(&rates).filter(|(turn, _)| **turn == (bytes, take));
        all.map(|(_, rate)| *rate).fold(0.0, f64::max)
    };
    Some(CYCLES.map(|bytes| Cycle { bytes, read: of(bytes, false), take: of(bytes, true) }).to_vec())
}

/// Pieces that so much memory holds, and pieces that are moved through it: once to settle where its lines are, then what counts.
fn steps(bytes: usize) -> (u64, u64) {
    let depth = (bytes / STEP) as u64;
    (depth, depth + depth.max((TOTAL / STEP) as u64))
}

/// Bytes of the last-level cache.
fn last_level() -> Option<usize> {
    let caches = std::fs::read_dir("/sys/devices/system/cpu/cpu0/cache").ok()?;
    let size = |cache: std::fs::DirEntry| {
        let text = std::fs::read_to_string(cache.path().join("size")).ok()?;
        let kib: usize = text.trim().strip_suffix('K')?.parse().ok()?;
        Some(kib << 10)
    };
    caches.flatten().filter_map(size).max()
}
