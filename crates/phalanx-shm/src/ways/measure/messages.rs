//! Messages as processes have them: through the pipes of a [universe](crate::Universe), or copied by the receiver alone,
//! between memory as programs have it.

use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use super::super::table::{Cycle, LONG, MESSAGES, Message, THROUGH, Table};
use super::both::{Line, Meeting, Shared, Side, apart};
use crate::mem::MutMem;
use crate::single_copy::{self, RemoteMem};
use crate::{Offset, ProcId, ProcessTag, TransferReceiver, TransferSender, Universe, UniverseConfig, Ways};

/// Messages of one way one after the other, of which the first is not counted: it meets what the way before has left in the
/// caches, and pays for pages. Of every two, the second is of data that has just been written.
const RUN: u64 = 9;
const RUN_OF_SLOW: u64 = 5;

/// Bytes of a message from which it takes its time.
const SLOW: usize = 512 << 10;

/// The same of long messages: they are in no cache of one CPU, be their data new or not.
const RUN_OF_LONG: u64 = 2;

/// Sets of memory between which messages move. What one gets from the kernel is chance, and worth a tenth.
const SETS: usize = 4;

/// So many more where two ways are within this factor of each other, so that the memory of a few sets may decide.
const SETS_AGAIN: usize = 6;
const LEVEL: f64 = 1.25;

/// Sets of pipes for long messages, whose own memory is many pages, and so no such chance.
const SETS_OF_PIPES: usize = 2;

/// The same for pipes whose lines are taken and left alone.
const SETS_OF_LINES: usize = 3;

/// Bytes of the longest of the others.
const SHORT: usize = MESSAGES[MESSAGES.len() - 2];

/// Bytes of an array that NumPy asks large pages for.
const ARRAY: usize = 4 << 20;

const SENDER: ProcId = ProcId(0);
const RECEIVER: ProcId = ProcId(1);

/// Memory that has not been used before, and what moves in it.
struct Set {
    pipes: Vec<Universe>,
    is_long: bool,
    turns: Vec<Turn>,
}

/// What moves: messages of a size by their place in [`MESSAGES`], through a pipe by its place in its set or by the receiver alone.
#[derive(Clone, Copy)]
struct Turn {
    size: usize,
    pipe: Option<usize>,
    run: u64,
}

/// Where both sides are, as numbers of messages.
#[derive(Default)]
struct Step {
    written: Line,
    ready: Line,
    received: Line,
    /// Where the message is in the sender's memory.
    address: AtomicU64,
    /// Where the pipe of the message is.
    pipe: AtomicU64,
}

/// What was measured of each size of [`MESSAGES`], in GB/s: through each pipe of [`THROUGH`], and of the receiver alone.
type Rates = [[Vec<f64>; THROUGH.len() + 1]; MESSAGES.len()];

/// GB/s of all of them, where pipes of up to `take` bytes are read with their lines. `None` when others use the two CPUs.
pub(super) fn messages(take: usize) -> Option<Vec<Message>> {
    let pipes = THROUGH.map(|bytes| (bytes, take));
    let mut rates = Rates::default();
    let mut add = |turns: Vec<Vec<Turn>>| {
        for (turn, rate) in measure(&pipes, turns)? {
            rates[turn.size][turn.pipe.unwrap_or(THROUGH.len())].push(rate);
        }
        let level = |size: &usize| is_level(*size, &rates[*size]);
        Some((0..MESSAGES.len()).filter(level).collect::<Vec<_>>())
    };
    let sets = |short: usize, long: usize| (0..short).map(|n| (n, false)).chain((0..long).map(|n| (n, true)));
    let level = add(sets(SETS, SETS_OF_PIPES).map(|(number, is_long)| turns(is_long, number)).collect())?;
    if !level.is_empty() {
        let again = |(number, is_long): (usize, bool)| {
            turns(is_long, number).into_iter().filter(|turn| level.contains(&turn.size)).collect::<Vec<_>>()
        };
        add(sets(SETS_AGAIN, SETS_OF_PIPES).map(again).filter(|turns| !turns.is_empty()).collect())?;
    }
    let message = |(bytes, rates): (usize, [Vec<f64>; THROUGH.len() + 1])| {
        let [pipes @ .., alone] = rates.map(|rates| if rates.is_empty() { 0.0 } else { median(rates) });
        Message { bytes, pipes, alone }
    };
    Some(MESSAGES.into_iter().zip(rates).map(message).collect())
}

/// GB/s of long messages through each pipe of up to `take` bytes, read with its lines and without.
pub(super) fn pipes(take: usize) -> Option<Vec<Cycle>> {
    let lengths = || THROUGH.into_iter().filter(|bytes| *bytes <= take);
    let pipes: Vec<_> = lengths().flat_map(|bytes| [(bytes, 0), (bytes, take)]).collect();
    let size = MESSAGES.iter().position(|bytes| *bytes >= LONG)?;
    let turns = (0..SETS_OF_LINES).map(|number| {
        let mut turns: Vec<_> =
            (0..pipes.len()).map(|pipe| Turn { size, pipe: Some(pipe), run: RUN_OF_LONG }).collect();
        turns.rotate_left(number % pipes.len().max(1));
        turns
    });
    let mut rates = vec![Vec::new(); pipes.len()];
    for (turn, rate) in measure(&pipes, turns.collect())? {
        rates[turn.pipe?].push(rate);
    }
    let mut rates = rates.into_iter().map(median);
    lengths().map(|bytes| Some(Cycle { bytes, read: rates.next()?, take: rates.next()? })).collect()
}

/// Whether two ways of a size are to be measured again: the receiver alone and a pipe where those are level, and the shorter pipe
/// where that would be chosen by little.
fn is_level(size: usize, rates: &[Vec<f64>; THROUGH.len() + 1]) -> bool {
    let [pipes @ .., alone] = rates.each_ref().map(|rates| if rates.is_empty() { 0.0 } else { median(rates.clone()) });
    if MESSAGES[size] < LONG {
        pipes.iter().any(|pipe| *pipe > 0.0 && (alone / pipe).ln().abs() < LEVEL.ln())
    } else {
        (1.0..LEVEL).contains(&(pipes[0] / pipes[1]))
    }
}

/// The rates of turns, those of each set in memory of their own, through pipes of which each has so many bytes and is read with its
/// lines if it has no more than so many.
fn measure(pipes: &[(usize, usize)], turns: Vec<Vec<Turn>>) -> Option<Vec<(Turn, f64)>> {
    let set = |turns: Vec<Turn>| {
        let pipes = pipes.iter().map(|(bytes, take)| universe(*bytes, *take)).collect::<Option<Vec<_>>>()?;
        let is_long = turns.iter().any(|turn| MESSAGES[turn.size] >= LONG);
        Some(Set { pipes, is_long, turns })
    };
    let sets = turns.into_iter().map(set).collect::<Option<Vec<_>>>()?;
    let (meeting, step) = (Shared::<Meeting>::new()?, Shared::<Step>::new()?);
    // SAFETY: the sender maps memory, copies, and waits.
    let measured = unsafe {
        apart(&meeting, |side, sender| receive(side, &step, &sets, sender), |side| send(side, &step, &sets))
    }?;
    let rate = |(turn, [unchanged, written]): (Turn, [f64; 2])| {
        (turn, MESSAGES[turn.size] as f64 / (unchanged * written).sqrt().max(1.0))
    };
    Some(measured.into_iter().map(rate).collect())
}

/// All that is measured in a set, in its order: each set begins with another way, since what was there before is worth something.
/// Of long messages those of the receiver alone go first, and their memory is in use by then.
fn turns(is_long: bool, set: usize) -> Vec<Turn> {
    let ways = |bytes: usize| {
        let pipes = if bytes < Table::BY_PIPE { 1 } else { THROUGH.len() };
        let mut ways: Vec<_> = [None].into_iter().chain((0..pipes).map(Some)).collect();
        let rotated = if is_long { &mut ways[1..] } else { &mut ways[..] };
        let first = set % rotated.len();
        rotated.rotate_left(first);
        ways
    };
    let run = |bytes: usize| match bytes {
        LONG.. => RUN_OF_LONG,
        SLOW.. => RUN_OF_SLOW,
        _ => RUN,
    };
    let sizes = MESSAGES.into_iter().enumerate().filter(|(_, bytes)| (*bytes >= LONG) == is_long);
    sizes
        .flat_map(|(size, bytes)| ways(bytes).into_iter().map(move |pipe| Turn { size, pipe, run: run(bytes) }))
        .collect()
}

/// The memory of one side for each set: of its own for short messages, the same for all long ones.
fn arrays(sets: &[Set]) -> Option<Vec<Rc<Array>>> {
    let long = Rc::new(Array::new(LONG)?);
    sets.iter().map(|set| if set.is_long { Some(long.clone()) } else { Array::new(SHORT).map(Rc::new) }).collect()
}

/// Whether a message at this place of a run is of data that has just been written.
fn is_written(time: u64) -> bool {
    time.is_multiple_of(2)
}

/// The sender's part.
fn send(side: &Side<'_>, step: &Step, sets: &[Set]) -> Option<()> {
    let arrays = arrays(sets)?;
    let mut n = 0;
    for (set, array) in sets.iter().zip(&arrays) {
        step.address.store(array.memory().as_ptr().addr() as u64, Ordering::Relaxed);
        for turn in &set.turns {
            let data = array.memory().slice(0, MESSAGES[turn.size]);
            for time in 0..turn.run {
                side.begin();
                n += 1;
                if is_written(time) {
                    data.fill(n as u8);
                }
                step.written.say(n);
                if let Some(pipe) = turn.pipe {
                    side.wait_for(&step.ready, n)?;
                    let at = Offset::new(step.pipe.load(Ordering::Relaxed));
                    let mut end = TransferSender::open(&set.pipes[pipe], at, data.len() as u64, RECEIVER).ok()?;
                    while !end.is_complete() {
                        let rest = data.slice(end.done() as usize, data.len());
                        if end.push(rest.as_const()).ok()? == 0 && side.is_late() {
                            return None;
                        }
                    }
                }
                side.wait_for(&step.received, n)?;
            }
        }
    }
    Some(())
}

/// The receiver's part: for each turn the median nanoseconds from when it is ready until it has a message, of data that is
/// unchanged, and of data just written.
fn receive(side: &Side<'_>, step: &Step, sets: &[Set], sender: u32) -> Option<Vec<(Turn, [f64; 2])>> {
    let arrays = arrays(sets)?;
    let sender = ProcessTag::of(sender);
    let mut n = 0;
    let mut measured = Vec::new();
    for (set, array) in sets.iter().zip(&arrays) {
        for turn in &set.turns {
            let room = array.memory().slice(0, MESSAGES[turn.size]);
            let mut times = [Vec::new(), Vec::new()];
            for time in 0..turn.run {
                side.begin();
                n += 1;
                side.wait_for(&step.written, n)?;
                let mut allowed = true;
                let start = Instant::now();
                match turn.pipe {
                    None => {
                        let remote = RemoteMem { addr: step.address.load(Ordering::Relaxed), len: room.len() };
                        allowed = single_copy::read(sender, remote, room).is_ok();
                    }
                    Some(pipe) => {
                        let bytes = room.len() as u64;
                        let mut end = TransferReceiver::create(&set.pipes[pipe], bytes, RECEIVER, SENDER).ok()?;
                        step.pipe.store(end.offset().get(), Ordering::Relaxed);
                        step.ready.say(n);
                        while !end.is_complete() {
                            if end.pull(room.slice(end.done() as usize, room.len())).ok()? == 0 && side.is_late() {
                                return None;
                            }
                        }
                    }
                }
                if time > 0 {
                    let took = if allowed { start.elapsed().as_nanos() as f64 } else { f64::INFINITY };
                    times[usize::from(is_written(time))].push(took);
                }
                step.received.say(n);
            }
            let [unchanged, written] = times;
            let written = if written.is_empty() { unchanged.clone() } else { written };
            measured.push((*turn, [unchanged, written].map(median)));
        }
    }
    Some(measured)
}

/// A segment with two processes, whose pipes have so many bytes.
fn universe(pipe: usize, take: usize) -> Option<Universe> {
    let ways = Ways { pipe, take, ..Ways::default() };
    let config = UniverseConfig { slots: 2, ring_bytes: 1024, heap_bytes: 16 * pipe, ways };
    let universe = Universe::create(config).ok()?;
    universe.claim_slots(2).ok()?;
    Some(universe)
}

/// Memory as arrays of NumPy have it: pages of their own, large ones for a large array, of which the first begins with what the
/// allocator notes there.
struct Array {
    at: *mut u8,
    bytes: usize,
}

/// Bytes of that note.
const NOTE: usize = 16;

impl Array {
    fn new(bytes: usize) -> Option<Array> {
        use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous};
        let bytes = bytes + NOTE;
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: new memory, at a place that the kernel chooses.
        let at = unsafe { mmap_anonymous(std::ptr::null_mut(), bytes, access, MapFlags::PRIVATE) }.ok()?;
        let array = Array { at: at.cast(), bytes };
        if bytes >= ARRAY + NOTE {
            // SAFETY: all of it is ours, and the advice changes nothing that is in it. A kernel without such pages refuses.
            let _ = unsafe { madvise(at, bytes, Advice::LinuxHugepage) };
        }
        array.memory().fill(1);
        Some(array)
    }

    /// All of it, for as long as this lives.
    fn memory(&self) -> MutMem {
        // SAFETY: mapped for as long as this lives, which is longer than the threads of a measurement.
        unsafe { MutMem::new(self.at, self.bytes) }.slice(NOTE, self.bytes)
    }
}

impl Drop for Array {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and nobody has a view of it any more.
        let _ = unsafe { rustix::mm::munmap(self.at.cast(), self.bytes) };
    }
}

/// The middle, or the mean of the two there.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = |from_end: usize| values.get(from_end / 2).copied().unwrap_or(f64::INFINITY);
    (middle(values.len().saturating_sub(1)) + middle(values.len())) / 2.0
}
