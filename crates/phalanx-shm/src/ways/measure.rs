//! Measuring the ways: two threads on two CPUs, a few milliseconds.
//!
//! Threads do for processes: what costs is the way of the cache lines from one CPU to the other.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Builder;
use std::time::{Duration, Instant};

use super::table::{CYCLES, MESSAGES};
use super::{Cycle, Message, Table};
use crate::ProcessTag;
use crate::mem::MutMem;
use crate::single_copy::{self, RemoteMem};

/// Bytes moved between two looks at the other side.
const STEP: usize = 32 << 10;

/// Bytes that one measurement moves at least, after it has gone through the memory once: what was done with it before
/// decides where its lines are, and what that round costs.
const TOTAL: usize = 512 << 10;

/// Bytes of the private memory on both sides, which stays in their caches.
const PRIVATE: usize = 256 << 10;

/// Bytes of the pipe through which messages go, and of one piece: those of the shortest of them.
const PIPE: usize = 256 << 10;
const PIECE: usize = 16 << 10;

/// Times that each is measured; the best counts, since others on the machine can only make it worse.
const TIMES: usize = 3;

/// Bytes of a cycle from which it is measured once less: it moves enough to be less of an accident, and takes its time.
const LONG: usize = 2 << 20;

/// Round trips of a cache line in one measurement.
const TRIPS: u64 = 100;

/// How long one measurement may take before the machine counts as busy.
const PATIENCE: Duration = Duration::from_millis(10);

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
    let mut field = Field::new();
    let mut cycles = Vec::new();
    // Whoever comes first pays for the pages.
    field.cycle(CYCLES[CYCLES.len() - 1], true)?;
    for bytes in CYCLES {
        let mut rates = [Vec::new(), Vec::new()];
        let times = if bytes < LONG { TIMES } else { TIMES - 1 };
        for time in 0..2 * times {
            rates[time % 2].push(field.cycle(bytes, time % 2 == 1)?);
        }
        let [read, take] = rates.map(best);
        cycles.push(Cycle { bytes, read, take });
    }
    let alone = best((0..=TIMES).map(|_| field.alone()).skip(1).collect());
    // As a pipe of the least size would.
    let take = cycles.iter().any(|cycle| cycle.bytes == PIPE && cycle.take > cycle.read);
    let mut messages = Vec::new();
    for bytes in MESSAGES {
        let pipe = field.message(bytes, Some(take))?;
        let alone = if alone > 0.0 { field.message(bytes, None)? } else { 0.0 };
        messages.push(Message { bytes, pipe, alone });
    }
    Some(Table { ping, cycles, messages, alone, last_level: last_level().unwrap_or(0) })
}

/// Nanoseconds that a cache line takes from one CPU to the other, as [`Table::ping`].
pub fn ping() -> Option<f64> {
    let lines = [Line::default(), Line::default()];
    let one = |me: usize, late: &dyn Fn() -> bool| -> Option<f64> {
        let mut times = Vec::new();
        let mut turn = 0;
        for _ in 0..=TIMES {
            let start = Instant::now();
            for _ in 0..TRIPS {
                turn += 1;
                if me == 0 {
                    lines[0].0.store(turn, Ordering::Release);
                }
                wait(late, || lines[1 - me].0.load(Ordering::Acquire) >= turn)?;
                if me == 1 {
                    lines[1].0.store(turn, Ordering::Release);
                }
            }
            times.push(start.elapsed().as_nanos() as f64 / (2 * TRIPS) as f64);
        }
        Some(times.into_iter().skip(1).fold(f64::INFINITY, f64::min))
    };
    both(|late| one(0, late), |late| one(1, late).map(drop))
}

/// A word in lines of its own.
#[derive(Default)]
#[repr(align(128))]
struct Line(AtomicU64);

/// Waits for `flag`; `None` when it is `late` for that.
fn wait(late: &dyn Fn() -> bool, flag: impl Fn() -> bool) -> Option<()> {
    let mut looks = 0_u32;
    while !flag() {
        std::hint::spin_loop();
        looks += 1;
        if looks.is_multiple_of(256) && late() {
            return None;
        }
    }
    Some(())
}

/// Runs both at once, each on a CPU of its own; `None` when one of them gave up, or when there is one CPU only. What they
/// are given says whether it is late.
fn both<T: Send>(
    here: impl FnOnce(&dyn Fn() -> bool) -> Option<T> + Send,
    there: impl FnOnce(&dyn Fn() -> bool) -> Option<()> + Send,
) -> Option<T> {
    let [first, second] = cpus()?;
    let meeting = Meeting::default();
    std::thread::scope(|scope| {
        // Where a limit allows no thread, nothing is measured; the other one gives up when it is late.
        let other = Builder::new().spawn_scoped(scope, || meeting.on(second, there)).ok()?;
        let this = Builder::new().spawn_scoped(scope, || meeting.on(first, here));
        let done = this.ok().and_then(|this| this.join().ok()).flatten();
        other.join().ok().flatten().and(done)
    })
}

/// Two threads that begin together, and end together when one of them gives up.
#[derive(Default)]
struct Meeting {
    present: AtomicU64,
    given_up: AtomicBool,
}

impl Meeting {
    /// One thread's part, on a CPU.
    fn on<T>(&self, cpu: usize, work: impl FnOnce(&dyn Fn() -> bool) -> Option<T>) -> Option<T> {
        let begin = Instant::now();
        let late = || self.given_up.load(Ordering::Relaxed) || begin.elapsed() > PATIENCE;
        let mut only = rustix::thread::CpuSet::new();
        only.set(cpu);
        let pinned = rustix::thread::sched_setaffinity(None, &only).ok();
        self.present.fetch_add(1, Ordering::AcqRel);
        let met = pinned.and_then(|()| wait(&late, || self.present.load(Ordering::Acquire) == 2));
        let done = met.and_then(|()| work(&late));
        if done.is_none() {
            self.given_up.store(true, Ordering::Relaxed);
        }
        done
    }
}

/// The memory of the measurements.
struct Field {
    shared: Vec<u8>,
    from: Vec<u8>,
    to: Vec<u8>,
    /// The longest message.
    long: [Vec<u8>; 2],
}

impl Field {
    fn new() -> Field {
        let long = MESSAGES[MESSAGES.len() - 1];
        Field {
            shared: vec![1; CYCLES[CYCLES.len() - 1]],
            from: vec![2; PRIVATE],
            to: vec![3; PRIVATE],
            long: [vec![4; long], vec![5; long]],
        }
    }

    /// GB/s through `bytes` of memory.
    fn cycle(&mut self, bytes: usize, take: bool) -> Option<f64> {
        let (written, read) = (Line::default(), Line::default());
        // SAFETY: the vectors live, and are not touched otherwise, while the threads below run; the positions divide the
        // shared one among them.
        let (shared, from, to) = unsafe {
            let vector = |v: &mut Vec<u8>| MutMem::new(v.as_mut_ptr(), v.len());
            (vector(&mut self.shared), vector(&mut self.from), vector(&mut self.to))
        };
        let depth = (bytes / STEP) as u64;
        let steps = depth + depth.max((TOTAL / STEP) as u64);
        let piece = |mem: MutMem, step: u64| mem.slice(step as usize * STEP % mem.len(), STEP);
        let place = |step: u64| shared.slice((step % depth) as usize * STEP, STEP);
        let write = |late: &dyn Fn() -> bool| {
            let mut start = Instant::now();
            for step in 0..steps {
                if step == depth {
                    start = Instant::now();
                }
                wait(late, || read.0.load(Ordering::Acquire) + depth > step)?;
                piece(from, step).as_const().copy_to_mem(place(step));
                written.0.store(step + 1, Ordering::Release);
            }
            wait(late, || read.0.load(Ordering::Acquire) == steps)?;
            Some((steps - depth) as f64 * STEP as f64 / start.elapsed().as_nanos() as f64)
        };
        let fetch = |late: &dyn Fn() -> bool| {
            for step in 0..steps {
                wait(late, || written.0.load(Ordering::Acquire) > step)?;
                if take {
                    place(step).copy_taking(piece(to, step));
                } else {
                    place(step).as_const().copy_to_mem(piece(to, step));
                }
                read.0.store(step + 1, Ordering::Release);
            }
            Some(())
        };
        both(write, fetch)
    }

    /// GB/s of a message, as [`Message`] has it. Through a pipe, whose lines the
    /// receiver takes over or not; `None`: by the receiver alone.
    fn message(&mut self, bytes: usize, through: Option<bool>) -> Option<f64> {
        let (written, ready, filled, drained) = (Line::default(), Line::default(), Line::default(), Line::default());
        // SAFETY: the vectors live, and are not touched otherwise, while the threads below run; the positions divide the
        // shared one among them, and the receiver reads the sender's only while that waits.
        let (pipe, from, to) = unsafe {
            let vector = |v: &mut Vec<u8>, len: usize| MutMem::new(v.as_mut_ptr(), v.len().min(len));
            let [from, to] = &mut self.long;
            (vector(&mut self.shared, PIPE), vector(from, bytes), vector(to, bytes))
        };
        // The first pays for the pages; then half of them are written before they are sent.
        let times = if bytes < LONG { 1 + 2 * TIMES as u64 } else { 3 };
        let piece = (bytes / 8).clamp(PIECE, 4 * PIECE);
        let pieces = (bytes / piece) as u64;
        let depth = (PIPE / piece) as u64;
        let place = |step: u64| pipe.slice((step % depth) as usize * piece, piece);
        let part = |mem: MutMem, step: u64| mem.slice((step % pieces) as usize * piece, piece);
        let is_written = |time: u64| time.is_multiple_of(2);
        let send = |late: &dyn Fn() -> bool| {
            for time in 0..times {
                if is_written(time) {
                    from.fill(time as u8);
                }
                written.0.store(time + 1, Ordering::Release);
                wait(late, || ready.0.load(Ordering::Acquire) > time)?;
                for step in time * pieces..(time + 1) * pieces {
                    if through.is_none() {
                        break;
                    }
                    wait(late, || drained.0.load(Ordering::Acquire) + depth > step)?;
                    part(from, step).as_const().copy_to_mem(place(step));
                    filled.0.store(step + 1, Ordering::Release);
                }
                wait(late, || drained.0.load(Ordering::Acquire) == (time + 1) * pieces)?;
            }
            Some(())
        };
        let receive = |late: &dyn Fn() -> bool| {
            let mut fastest = [f64::INFINITY; 2];
            for time in 0..times {
                wait(late, || written.0.load(Ordering::Acquire) > time)?;
                let start = Instant::now();
                ready.0.store(time + 1, Ordering::Release);
                if let Some(take) = through {
                    for step in time * pieces..(time + 1) * pieces {
                        wait(late, || filled.0.load(Ordering::Acquire) > step)?;
                        if take {
                            place(step).copy_taking(part(to, step));
                        } else {
                            place(step).as_const().copy_to_mem(part(to, step));
                        }
                        drained.0.store(step + 1, Ordering::Release);
                    }
                } else {
                    let remote = RemoteMem { addr: from.as_ptr().addr() as u64, len: bytes };
                    single_copy::read(ProcessTag::me(), remote, to).ok()?;
                }
                if time > 0 {
                    let fastest = &mut fastest[usize::from(is_written(time))];
                    *fastest = fastest.min(start.elapsed().as_nanos() as f64);
                }
                drained.0.store((time + 1) * pieces, Ordering::Release);
            }
            Some(bytes as f64 / (fastest[0] * fastest[1]).sqrt().max(1.0))
        };
        both(receive, send)
    }

    /// GB/s of the kernel's copy from this process to itself, which takes the same way as one from another process.
    fn alone(&mut self) -> f64 {
        let remote = RemoteMem { addr: self.from.as_ptr().addr() as u64, len: PRIVATE };
        // SAFETY: the vector lives and is not used otherwise during the call.
        let local = unsafe { MutMem::new(self.to.as_mut_ptr(), PRIVATE) };
        let start = Instant::now();
        match single_copy::read(ProcessTag::me(), remote, local) {
            Ok(()) => PRIVATE as f64 / start.elapsed().as_nanos() as f64,
            Err(_) => 0.0,
        }
    }
}

fn best(rates: Vec<f64>) -> f64 {
    rates.into_iter().fold(0.0, f64::max)
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
