//! Measures the building blocks on this machine, between two real processes.
//!
//! ```text
//! cargo run --release -p phalanx-shm --example measure -- latency
//! cargo run --release -p phalanx-shm --example measure -- copies
//! cargo run --release -p phalanx-shm --example measure -- ways [TIMES]
//! cargo run --release -p phalanx-shm --example measure -- choice [unpinned]
//! ```
//!
//! Each figure is the best of several repetitions, since the machine may be
//! shared (`chrt --fifo 10` then gives it the CPUs for its few seconds), and each transfer is verified. A
//! transfer counts from when the later side is ready until the receiver has all.
//! `latency` prints half the round trip of a
//! ping-pong and the time per record of a one-way stream; `copies` compares
//! ways to move a large message from one process's private memory to another's.
//! `ways` is what the launcher measures, five times or as often as said. `choice` judges what is chosen by such a measurement.
#![expect(unsafe_code, reason = "it forks and hands its own buffers to the copy routines")]

mod choice;

use std::hint::spin_loop;
use std::process::ExitCode;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use phalanx_shm::single_copy::{self, RemoteMem};
use phalanx_shm::{
    ConstMem, Envelope, MutMem, Offset, Part, ProcId, TransferReceiver, TransferSender, Universe, UniverseConfig, Ways,
};

const A: ProcId = ProcId(0);
const B: ProcId = ProcId(1);

fn main() -> ExitCode {
    match std::env::args().nth(1).as_deref() {
        Some("latency") => latency(),
        Some("copies") => copies(),
        Some("ways") => ways(),
        Some("choice") => {
            PINNED.store(std::env::args().nth(2).as_deref() != Some("unpinned"), Ordering::Relaxed);
            return choice::judge();
        }
        _ => {
            eprintln!("usage: measure latency|copies|ways|choice [unpinned]");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

/// What the launcher measures, as often as it takes to see how much it varies.
fn ways() {
    let times = std::env::args().nth(2).and_then(|times| times.parse().ok()).unwrap_or(5);
    for _ in 0..times {
        let start = Instant::now();
        let Some(table) = phalanx_shm::ways::measure::table() else {
            println!("one CPU only, or a busy one");
            continue;
        };
        println!("{:?}\n{table:?}\n{}", start.elapsed(), table.choose());
        println!("{:?} for a ping alone", {
            let s = Instant::now();
            phalanx_shm::ways::measure::ping();
            s.elapsed()
        });
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Whether the two processes keep to a CPU each.
static PINNED: AtomicBool = AtomicBool::new(true);

/// Runs `a` here and `b` in a forked process, each on a CPU of its own.
fn pair(a: impl FnOnce(), b: impl FnOnce()) {
    pin(cpus());
    // SAFETY: this program has one thread, so the child may go on as usual.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork failed");
    if child == 0 {
        pin(&cpus()[1 % cpus().len()..][..1]);
        b();
        // SAFETY: ends the child without running the parent's exit handlers.
        unsafe { libc::_exit(0) };
    }
    pin(&cpus()[..1]);
    a();
    let mut status = 0;
    // SAFETY: waits for our own child.
    unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(status, 0, "the other process failed");
}

/// CPUs this program may use, found before it restricts itself.
static CPUS: OnceLock<Vec<usize>> = OnceLock::new();

fn pin(to: &[usize]) {
    if !PINNED.load(Ordering::Relaxed) {
        return;
    }
    let mut set = rustix::thread::CpuSet::new();
    to.iter().for_each(|cpu| set.set(*cpu));
    let _ = rustix::thread::sched_setaffinity(None, &set);
}

fn cpus() -> &'static [usize] {
    CPUS.get_or_init(|| {
        let allowed = rustix::thread::sched_getaffinity(None).expect("affinity");
        let all = 0..rustix::thread::CpuSet::MAX_CPU;
        all.filter(|cpu| allowed.is_set(*cpu)).collect()
    })
}

fn universe(ways: Ways) -> Universe {
    let config = UniverseConfig { ways, ..UniverseConfig::for_ranks(2) };
    let universe = Universe::create(config).expect("a universe");
    universe.claim_slots(2).expect("two slots");
    universe
}

fn best(repetitions: usize, mut once: impl FnMut() -> f64) -> f64 {
    (0..repetitions).map(|_| once()).fold(f64::INFINITY, f64::min)
}

fn latency() {
    println!("payload_B  half_round_trip_ns  stream_ns_per_record");
    for bytes in [0usize, 8, 24, 64, 256, 1024, 4096, 8192, 16384] {
        let universe = universe(Ways::default());
        let (mut ab, mut ba) = (universe.producer(A, B).expect("ring"), universe.producer(B, A).expect("ring"));
        let mut at_b = universe.consumer(A, B).expect("ring").expect("made");
        let mut at_a = universe.consumer(B, A).expect("ring").expect("made");
        let rounds = 20_000u64;
        let repetitions = 15;
        let data = vec![7u8; bytes];
        let envelope = |n| Envelope { kind: 1, token: n, len: bytes as u64, ..Envelope::default() };
        let mut half = 0.0;
        let mut stream = 0.0;
        pair(
            || {
                let mut room = vec![0u8; bytes];
                half = best(repetitions, || {
                    let start = Instant::now();
                    for n in 0..rounds {
                        while !ab.try_push(&envelope(n), &[Part::from(&data[..])]) {}
                        while at_a.is_empty() {
                            spin_loop();
                        }
                        let record = at_a.peek().expect("sound").expect("waiting");
                        assert_eq!(record.envelope.token, n);
                        record.copy_payload(&mut room);
                        at_a.pop();
                    }
                    start.elapsed().as_nanos() as f64 / rounds as f64 / 2.0
                });
                stream = best(repetitions, || {
                    let start = Instant::now();
                    for n in 0..rounds {
                        while !ab.try_push(&envelope(n), &[Part::from(&data[..])]) {
                            spin_loop();
                        }
                    }
                    while at_a.is_empty() {
                        spin_loop();
                    }
                    let took = start.elapsed().as_nanos() as f64 / rounds as f64;
                    at_a.peek().expect("sound").expect("waiting");
                    at_a.pop();
                    took
                });
            },
            || {
                let mut room = vec![0u8; bytes];
                let mut receive = |n: u64| {
                    while at_b.is_empty() {
                        spin_loop();
                    }
                    let record = at_b.peek().expect("sound").expect("waiting");
                    assert_eq!(record.envelope.token, n);
                    assert_eq!(record.copy_payload(&mut room), bytes);
                    at_b.pop();
                };
                for _ in 0..repetitions {
                    for n in 0..rounds {
                        receive(n);
                        while !ba.try_push(&envelope(n), &[Part::from(&data[..])]) {}
                    }
                }
                for _ in 0..repetitions {
                    for n in 0..rounds {
                        receive(n);
                    }
                    while !ba.try_push(&envelope(0), &[]) {}
                }
            },
        );
        println!("{bytes:9}  {half:18.0}  {stream:20.1}");
    }
}

/// Words both processes use to keep in step.
struct Step<'a> {
    words: &'a [AtomicU64],
}

const ARRIVED: usize = 0;
const NEXT: usize = 8;
const COPIED: usize = 16;
const FULL: usize = 24;
const DRAINED: usize = 32;
const ADDRESS: usize = 40;
const READY: usize = 48;
const PIPE: usize = 50;
const DONE: usize = 56;

/// Nanoseconds on the clock that all processes share.
fn now() -> u64 {
    let t = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    t.tv_sec as u64 * 1_000_000_000 + t.tv_nsec as u64
}

impl Step<'_> {
    fn await_at_least(&self, word: usize, value: u64) {
        while self.words[word].load(Ordering::Acquire) < value {
            spin_loop();
        }
    }

    /// Both processes pass here together; `n` counts from 1.
    fn together(&self, n: u64) {
        self.words[READY + n as usize % 2].fetch_max(now(), Ordering::Relaxed);
        self.words[ARRIVED].fetch_add(1, Ordering::AcqRel);
        self.await_at_least(ARRIVED, 2 * n);
    }
}

#[derive(Clone, Copy, Debug)]
enum Method {
    /// The receiver reads everything.
    Read,
    /// The receiver reads and the sender writes, taking chunks from one counter.
    Both { chunk: usize },
    /// The sender copies into shared chunks, the receiver out of them.
    TwoCopy { chunk: usize, depth: usize },
    /// [`phalanx_shm::transfer`], the crate's form of the same.
    Transfer,
    /// The crate's ring, in records of this size.
    Ring { record: usize },
    /// For comparison: one memcpy within a process.
    Memcpy,
}

fn copies() {
    let kib = 1 << 10;
    let mut methods = vec![("memcpy in one process".to_owned(), Method::Memcpy)];
    methods.push(("read by receiver".to_owned(), Method::Read));
    for chunk in [64 * kib, 128 * kib, 256 * kib, 512 * kib] {
        methods.push((format!("read+write, {} KiB chunks", chunk / kib), Method::Both { chunk }));
    }
    for (chunk, depth) in [(8, 32), (16, 4), (16, 16), (32, 8), (64, 4), (128, 2), (256, 4)] {
        let chunk = chunk * kib;
        methods.push((format!("two copies, {depth} x {} KiB", chunk / kib), Method::TwoCopy { chunk, depth }));
    }
    for record in [16 * kib, 30 * kib] {
        methods.push((format!("ring, {} KiB records", record / kib), Method::Ring { record }));
    }
    methods.push(("transfer".to_owned(), Method::Transfer));
    let sizes = [32 * kib, 64 * kib, 256 * kib, 1024 * kib, 4096 * kib, 16384 * kib, 65536 * kib];
    print!("{:28}", "GB/s at KiB:");
    for size in sizes {
        print!("{:>8}", size / kib);
    }
    println!();
    for (name, method) in methods {
        print!("{name:28}");
        for size in sizes {
            print!("{:8.1}", measure(Ways::default(), method, size));
        }
        println!();
    }
}

/// Best rate of one transfer of `size` bytes, in GB/s.
fn measure(ways: Ways, method: Method, size: usize) -> f64 {
    let universe = universe(ways);
    let at = universe.alloc_zeroed(4096).expect("words");
    let area = universe.alloc_zeroed(4 << 20).expect("chunks");
    let mut ring = universe.producer(A, B).expect("ring");
    let mut ring_end = universe.consumer(A, B).expect("ring").expect("made");
    let repetitions = (256 << 20) / size.max(1 << 20);
    let repetitions = repetitions.clamp(5, 30) as u64;
    let mut rate = 0.0;
    let sender = phalanx_shm::ProcessTag::me();
    pair(
        || {
            let data: Vec<u8> = (0..size).map(|i| (i / 7) as u8).collect();
            let step = Step { words: universe.words(at, 64).expect("words") };
            step.words[ADDRESS].store(data.as_ptr() as u64, Ordering::Relaxed);
            let mut room = vec![0u8; if matches!(method, Method::Memcpy) { size } else { 0 }];
            let mut fastest = f64::INFINITY;
            for n in 1..=repetitions {
                step.words[NEXT].store(0, Ordering::Relaxed);
                step.words[COPIED].store(0, Ordering::Relaxed);
                step.words[FULL].store(0, Ordering::Relaxed);
                step.words[DRAINED].store(0, Ordering::Relaxed);
                step.together(2 * n - 1);
                let start = step.words[READY + 1].load(Ordering::Relaxed);
                match method {
                    Method::Memcpy => room.copy_from_slice(&data),
                    Method::Read | Method::Transfer | Method::Ring { .. } => {}
                    Method::Both { chunk } => {
                        let pid = step.words[ADDRESS + 1].load(Ordering::Relaxed) as i32;
                        let addr = step.words[ADDRESS + 2].load(Ordering::Relaxed);
                        take_chunks(&step, size, chunk, |at, len| {
                            // SAFETY: the receiver waits and expects these bytes.
                            unsafe {
                                let here =
                                    libc::iovec { iov_base: data[at..].as_ptr().cast_mut().cast(), iov_len: len };
                                let there = libc::iovec {
                                    iov_base: std::ptr::without_provenance_mut(addr as usize + at),
                                    iov_len: len,
                                };
                                assert_eq!(libc::process_vm_writev(pid, &here, 1, &there, 1, 0), len as isize);
                            }
                        });
                    }
                    Method::TwoCopy { chunk, depth } => fill(&universe, &step, area, &data, chunk, depth),
                }
                if let Method::Transfer = method {
                    step.await_at_least(PIPE, n);
                    let at = Offset::new(step.words[PIPE + 1].load(Ordering::Relaxed));
                    let mut pipe = TransferSender::open(&universe, at, size as u64, B).expect("pipe");
                    while !pipe.is_complete() {
                        // SAFETY: `data` lives until the end of this closure.
                        let rest = unsafe { ConstMem::new(data.as_ptr(), size) };
                        pipe.push(rest.slice(pipe.done() as usize, size)).expect("sound");
                    }
                }
                if let Method::Ring { record } = method {
                    for part in data.chunks(record) {
                        let envelope = Envelope { kind: 1, ..Envelope::default() };
                        while !ring.try_push(&envelope, &[Part::from(part)]) {}
                    }
                }
                if matches!(method, Method::Memcpy) {
                    step.words[DONE].store(now(), Ordering::Relaxed);
                }
                step.together(2 * n);
                let took = step.words[DONE].load(Ordering::Relaxed).saturating_sub(start);
                fastest = fastest.min(took as f64);
            }
            rate = size as f64 / fastest;
        },
        || {
            let mut room = vec![1u8; size];
            let step = Step { words: universe.words(at, 64).expect("words") };
            step.words[ADDRESS + 1].store(u64::from(std::process::id()), Ordering::Relaxed);
            step.words[ADDRESS + 2].store(room.as_ptr() as u64, Ordering::Relaxed);
            for n in 1..=repetitions {
                step.together(2 * n - 1);
                let addr = step.words[ADDRESS].load(Ordering::Relaxed);
                let mut pull = |at: usize, len: usize| {
                    // SAFETY: our own buffer, borrowed mutably.
                    let here = unsafe { MutMem::new(room[at..at + len].as_mut_ptr(), len) };
                    single_copy::read(sender, RemoteMem { addr: addr + at as u64, len }, here).expect("read");
                };
                match method {
                    Method::Memcpy | Method::Transfer | Method::Ring { .. } => {}
                    Method::Read => pull(0, size),
                    Method::Both { chunk } => take_chunks(&step, size, chunk, pull),
                    Method::TwoCopy { chunk, depth } => drain(&universe, &step, area, &mut room, chunk, depth),
                }
                if let Method::Transfer = method {
                    let mut pipe = TransferReceiver::create(&universe, size as u64, B, A).expect("pipe");
                    step.words[PIPE + 1].store(pipe.offset().get(), Ordering::Relaxed);
                    step.words[PIPE].store(n, Ordering::Release);
                    // SAFETY: our own buffer, not used otherwise meanwhile.
                    let into = unsafe { MutMem::new(room.as_mut_ptr(), size) };
                    while !pipe.is_complete() {
                        pipe.pull(into.slice(pipe.done() as usize, size)).expect("sound");
                    }
                }
                if let Method::Ring { record } = method {
                    for part in room.chunks_mut(record) {
                        while ring_end.is_empty() {}
                        let record = ring_end.peek().expect("sound").expect("waiting");
                        assert_eq!(record.copy_payload(part), part.len());
                        ring_end.pop();
                    }
                }
                if !matches!(method, Method::Memcpy) {
                    step.words[DONE].store(now(), Ordering::Relaxed);
                }
                step.together(2 * n);
            }
            if !matches!(method, Method::Memcpy) {
                assert!(room.iter().enumerate().all(|(i, b)| *b == (i / 7) as u8));
            }
        },
    );
    rate
}

fn take_chunks(step: &Step<'_>, size: usize, chunk: usize, mut copy: impl FnMut(usize, usize)) {
    loop {
        let at = step.words[NEXT].fetch_add(chunk as u64, Ordering::Relaxed) as usize;
        if at >= size {
            break;
        }
        let len = chunk.min(size - at);
        copy(at, len);
        step.words[COPIED].fetch_add(len as u64, Ordering::AcqRel);
    }
    step.await_at_least(COPIED, size as u64);
}

fn fill(u: &Universe, step: &Step<'_>, area: Offset, data: &[u8], chunk: usize, depth: usize) {
    for (n, part) in data.chunks(chunk).enumerate() {
        step.await_at_least(DRAINED, (n + 1).saturating_sub(depth) as u64);
        let bytes = u.bytes(area.plus(n % depth * chunk), chunk).expect("chunk");
        bytes.write(0, part).expect("fits");
        step.words[FULL].store(n as u64 + 1, Ordering::Release);
    }
}

fn drain(u: &Universe, step: &Step<'_>, area: Offset, room: &mut [u8], chunk: usize, depth: usize) {
    for (n, part) in room.chunks_mut(chunk).enumerate() {
        step.await_at_least(FULL, n as u64 + 1);
        let bytes = u.bytes(area.plus(n % depth * chunk), chunk).expect("chunk");
        bytes.read(0, part).expect("fits");
        step.words[DRAINED].store(n as u64 + 1, Ordering::Release);
    }
}
