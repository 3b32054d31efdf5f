//! What is chosen on this machine, beside what would have been the best.
//!
//! Two processes move messages in all ways in turns, between the same two buffers: of data that the sender has just
//! written, and of data that has not changed since the message before. The rate of a way is the geometric mean of both, as
//! in what the launcher measures, each the median of all rounds. What memory a process and a pipe get is chance, and worth a tenth:
//! so there are several pairs of processes, each with memory of its own. One half of them says which way is the best, and the other
//! one how much better it is than the chosen one, and the other way round. The way that is chosen has two places in
//! the turns. Where these two differ by more than a tenth, the row says so and counts for nothing.

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use phalanx_shm::single_copy::{self, RemoteMem};
use phalanx_shm::ways::{measure, spelled};
use phalanx_shm::{ConstMem, MutMem, Offset, ProcessTag, TransferReceiver, TransferSender, Universe, Ways};

use super::{A, B, PINNED, pair, universe};

const SIZES: [usize; 10] =
    [32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20, 64 << 20];

/// How often is measured on a busy machine, before that is said.
const TRIES: usize = 50;

/// Pairs of processes.
const PAIRS: usize = 8;

/// How much of the best a choice has to reach, and the same way measured twice of itself.
const ENOUGH: f64 = 0.9;

/// How much longer or shorter a line may take than when the choice was made: a job would choose again.
const MOVED: f64 = 1.5;

/// Messages of one way one after the other: the first, which meets what the way before has left in the caches, is not counted.
/// Of every two, the second one is of data that has just been written.
const RUN: u64 = 5;

/// How a message moves.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    /// The receiver copies it out of the sender's memory.
    Alone,
    /// Both copy, through a pipe of so many bytes, whose lines the receiver takes or not.
    Pipe { bytes: usize, take: bool },
}

impl Way {
    fn of(ways: &Ways, size: usize) -> Way {
        match ways.is_for_one(size as u64) {
            true => Way::Alone,
            false => Way::Pipe { bytes: ways.pipe, take: ways.pipe <= ways.take },
        }
    }

    fn name(self) -> String {
        match self {
            Way::Alone => "the receiver alone".to_owned(),
            Way::Pipe { bytes, take } => {
                format!("pipe of {}{}", spelled(bytes), if take { ", lines taken" } else { "" })
            }
        }
    }
}

/// Measures, judges, and fails if a choice falls short.
pub(super) fn judge() -> ExitCode {
    // Others may have used the CPUs at that moment.
    let Some(table) = (0..TRIES).find_map(|_| measure::table()) else {
        println!("one CPU only, or a busy one");
        return ExitCode::from(2);
    };
    let chosen = table.choose();
    println!(
        "{} CPUs, a line takes {:.0} ns; chosen: {chosen}",
        if PINNED.load(Ordering::Relaxed) { "pinned" } else { "unpinned" },
        table.ping
    );
    let every = std::env::args().any(|word| word == "every");
    println!("{:>6} {:>12} {:>10} {:>6} {:>6}  the best", "KiB", "chosen GB/s", "best GB/s", "ratio", "itself");
    let mut short = 0;
    let only: Vec<usize> = std::env::args().filter_map(|word| word.parse().ok()).collect();
    for size in SIZES.into_iter().filter(|size| only.is_empty() || only.contains(&(size >> 10))) {
        let own = Way::of(&chosen, size);
        let mut others: Vec<_> = [256 << 10, 512 << 10, 1 << 20, 2 << 20]
            .into_iter()
            .flat_map(|bytes| [false, true].map(|take| Way::Pipe { bytes, take }))
            .collect();
        if table.messages.iter().any(|message| message.alone > 0.0) {
            others.push(Way::Alone);
        }
        others.retain(|other| *other != own);
        // The chosen one first, and once more in the middle: its own control.
        let again = others.len() / 2 + 1;
        let mut ways = vec![own];
        ways.append(&mut others);
        ways.insert(again, own);
        let halves = rates(&chosen, &ways, size);
        let mean = halves.each_ref().map(|rates| rates.iter().map(|[u, w]| (u * w).sqrt()).collect::<Vec<f64>>());
        let both = |way: usize| (mean[0][way] * mean[1][way]).sqrt();
        let itself = both(0).min(both(again)) / both(0).max(both(again));
        let reached = (both(0) * both(again)).sqrt();
        // Of ways that are level one looks better by chance: which is the best one half of the measurements says, and the other
        // half by how much.
        let compared = [0, 1].map(|half| {
            let best = (0..ways.len()).max_by(|a, b| mean[half][*a].total_cmp(&mean[half][*b])).unwrap_or(0);
            let other = &mean[1 - half];
            (best, if ways[best] == own { 1.0 } else { (other[0] * other[again]).sqrt() / other[best] })
        });
        let ratio = (compared[0].1 * compared[1].1).sqrt();
        let best = (0..ways.len()).max_by(|a, b| both(*a).total_cmp(&both(*b))).unwrap_or(0);
        let is_best = ways[best] == own;
        let here = (0..TRIES).find_map(|_| measure::ping()).unwrap_or(table.ping);
        let verdict = if itself < ENOUGH {
            "too noisy to judge".to_owned()
        } else if !(table.ping / MOVED..table.ping * MOVED).contains(&here) {
            format!("not judged: the CPUs were moved, a line takes {here:.0} ns now")
        } else {
            short += u32::from(ratio < ENOUGH);
            let name = ways[best].name();
            if is_best { format!("the chosen one, {name}") } else { name }
        };
        println!("{:6} {:12.1} {:10.1} {ratio:6.2} {itself:6.2}  {verdict}", size >> 10, reached, both(best));
        if every {
            for ((way, one), other) in ways.iter().zip(&halves[0]).zip(&halves[1]) {
                let [unchanged, written] = [0, 1].map(|kind| (one[kind] * other[kind]).sqrt());
                println!("{:>30} {unchanged:6.1} unchanged {written:6.1} written", way.name());
            }
        }
    }
    ExitCode::from(u8::from(short > 0))
}

/// A word in lines of its own.
const APART: usize = 16;

/// GB/s of each way, of data that has not changed and of data just written, by one half of the pairs of processes and by the other.
fn rates(chosen: &Ways, ways: &[Way], size: usize) -> [Vec<[f64; 2]>; 2] {
    let mut times = [(); 2].map(|()| vec![[Vec::new(), Vec::new()]; ways.len()]);
    for pair in 0..PAIRS {
        for (way, is_written, took) in rounds(chosen, ways, size) {
            times[pair % 2][way][usize::from(is_written)].push(took);
        }
    }
    let rate = |times| size as f64 / super::median(times);
    times.map(|half| half.into_iter().map(|kinds| kinds.map(rate)).collect())
}

/// What two processes take: the way, whether the data was just written, and nanoseconds.
fn rounds(chosen: &Ways, ways: &[Way], size: usize) -> Vec<(usize, bool, f64)> {
    let universes: Vec<Option<Universe>> = ways
        .iter()
        .map(|way| match *way {
            Way::Alone => None,
            Way::Pipe { bytes, take } => {
                Some(universe(Ways { pipe: bytes, take: if take { usize::MAX >> 1 } else { 0 }, ..*chosen }))
            }
        })
        .collect();
    let common = universe(*chosen);
    let words = common.words(common.alloc_zeroed(4096).expect("words"), 4096 / 8).expect("words");
    let (address, written, ready, pipe, received) =
        (&words[0], &words[APART], &words[2 * APART], &words[3 * APART], &words[4 * APART]);
    let rounds = ((64 << 20) / size).clamp(3, 40) as u64;
    // What happens, the same for both: which way, and the number of the message.
    let turns = || {
        (0..rounds * ways.len() as u64).flat_map(|turn| {
            let (round, place) = (turn / ways.len() as u64, turn % ways.len() as u64);
            let way = ((round + place) % ways.len() as u64) as usize;
            (0..RUN).map(move |time| (way, time, turn * RUN + time + 1))
        })
    };
    // Nanoseconds of each message, by its number.
    let count = (rounds * RUN) as usize * ways.len() + 1;
    let times = common.words(common.alloc_zeroed(count * 8).expect("words"), count).expect("words");
    let sender = ProcessTag::me();
    pair(
        || {
            let mut data = array(size, 0);
            address.store(data.as_ptr() as u64, Ordering::Relaxed);
            for (way, time, n) in turns() {
                if is_written(time) {
                    data.fill(n as u8);
                }
                written.store(n, Ordering::Release);
                if let Some(universe) = &universes[way] {
                    wait(ready, n);
                    let at = Offset::new(pipe.load(Ordering::Relaxed));
                    let mut end = TransferSender::open(universe, at, size as u64, B).expect("pipe");
                    while !end.is_complete() {
                        // SAFETY: `data` lives until the end of this closure, and is not written meanwhile.
                        let rest = unsafe { ConstMem::new(data.as_ptr(), size) };
                        end.push(rest.slice(end.done() as usize, size)).expect("sound");
                    }
                }
                wait(received, n);
            }
        },
        || {
            let mut room = array(size, 1);
            for (way, time, n) in turns() {
                wait(written, n);
                let start = Instant::now();
                // SAFETY: our own buffer, not used otherwise meanwhile.
                let into = unsafe { MutMem::new(room.as_mut_ptr(), size) };
                match &universes[way] {
                    None => {
                        let remote = RemoteMem { addr: address.load(Ordering::Relaxed), len: size };
                        single_copy::read(sender, remote, into).expect("read");
                    }
                    Some(universe) => {
                        let mut end = TransferReceiver::create(universe, size as u64, B, A).expect("pipe");
                        pipe.store(end.offset().get(), Ordering::Relaxed);
                        ready.store(n, Ordering::Release);
                        while !end.is_complete() {
                            end.pull(into.slice(end.done() as usize, size)).expect("sound");
                        }
                    }
                }
                times[n as usize].store(start.elapsed().as_nanos() as u64, Ordering::Relaxed);
                if is_written(time) {
                    assert!(
                        [0, size / 2, size - 1].iter().all(|at| room[*at] == n as u8),
                        "what was received is wrong"
                    );
                }
                received.store(n, Ordering::Release);
            }
        },
    );
    let counted = turns().filter(|(_, time, _)| *time > 0);
    counted.map(|(way, time, n)| (way, is_written(time), times[n as usize].load(Ordering::Relaxed) as f64)).collect()
}

/// Memory as NumPy gets it: large pages for large arrays.
fn array(size: usize, value: u8) -> Vec<u8> {
    let mut memory = vec![0; size];
    if size >= 4 << 20 {
        let at = memory.as_mut_ptr().addr().next_multiple_of(4096);
        let end = memory.as_mut_ptr().addr() + size;
        // SAFETY: within the vector; the advice changes nothing that is in it.
        unsafe { libc::madvise(std::ptr::with_exposed_provenance_mut(at), end - at, libc::MADV_HUGEPAGE) };
    }
    memory.fill(value);
    memory
}

/// Whether the data of the message at this place of a run is written before it is sent.
fn is_written(time: u64) -> bool {
    time.is_multiple_of(2)
}

fn wait(word: &AtomicU64, n: u64) {
    while word.load(Ordering::Acquire) < n {
        std::hint::spin_loop();
    }
}
