//! How memory that nobody uses yet is filled with much at a time: in pools and clusters, and with a rank's own block in a
//! collective.
//!
//! Nothing is measured before (in pools nobody launches, as for [`Reading`](super::Reading)). But what is much takes long enough
//! to be timed: the first copies of a size go in turns through the caches and past them, later ones the way that was faster, and
//! the other way is tried again now and then. A copy may be slow for other reasons (pages that are touched for the first time,
//! neighbours), and is never fast by accident: so a shorter time counts at once, and a longer one a little.
//!
//! Less than what CPUs keep in caches of their own goes through the caches: who reads it may find it there.

use std::time::Instant;

use super::Ways;
use super::reading::{LITTLE, own_cache};
use super::trial::size_class;
use crate::mem::copy::copy_streaming_wide;
use crate::sync::{AtomicU32, AtomicU64, Ordering};
use crate::{ConstMem, MutMem};

/// So many times what a CPU has as a cache of its own is much,
const MUCH: usize = 8;
/// but never less than this.
const LEAST: usize = 1 << 20;
/// Sizes of copies that are judged apart, from that on.
const SIZES: usize = 16;
/// Each way is tried so often at first,
const TRIES: u32 = 3;
/// and the one that is not chosen in one copy of so many later.
const AGAIN: u32 = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Through,
    Past,
}

/// What copies of one size have shown.
#[derive(Debug)]
struct Learned {
    copies: AtomicU32,
    /// Nanoseconds for a MiB, of each way; 0 before it was tried.
    cost: [AtomicU32; 2],
}

impl Learned {
    const fn new() -> Learned {
        Learned { copies: AtomicU32::new(0), cost: [AtomicU32::new(0), AtomicU32::new(0)] }
    }

    /// The way of the next copy.
    fn next(&self) -> Way {
        // Numbers of one process that decide about cost only: they need no order.
        let copies = self.copies.fetch_add(1, Ordering::Relaxed);
        let [through, past] = [&self.cost[0], &self.cost[1]].map(|cost| cost.load(Ordering::Relaxed));
        let is_past =
            if copies < 2 * TRIES { copies % 2 == 1 } else { (past < through) != copies.is_multiple_of(AGAIN) };
        if is_past { Way::Past } else { Way::Through }
    }

    /// A copy has taken so long for each MiB.
    fn learn(&self, way: Way, cost: u32) {
        let known = &self.cost[way as usize];
        let cost = match known.load(Ordering::Relaxed) {
            0 => cost,
            before if cost < before => cost,
            before => before + (cost - before) / 16,
        };
        known.store(cost.max(1), Ordering::Relaxed);
    }
}

/// From how many bytes on ways are tried, and from how many on copies go past the caches if that was said (else 0).
fn limits() -> (usize, usize) {
    /// Log of the first, and of the second plus one; 0 before they are known. Not a lock: a child that is forked while another
    /// thread finds out would wait for that thread for ever.
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    let mut known = KNOWN.load(Ordering::Relaxed);
    if known == 0 {
        let much = own_cache().unwrap_or(LITTLE).max(1).saturating_mul(MUCH).max(LEAST);
        let said = super::said().map(|_| Ways::of_this_machine(false).unwrap_or_default().stream.max(1).ilog2() + 1);
        known = u64::from(much.ilog2()) << 8 | u64::from(said.unwrap_or(0));
        KNOWN.store(known, Ordering::Relaxed);
    }
    let bytes = |log: u64| 1usize.checked_shl(log as u32).unwrap_or(usize::MAX);
    (bytes(known >> 8), if known & 0xff == 0 { 0 } else { bytes((known & 0xff) - 1) })
}

/// Copies `min(from.len(), to.len())` bytes, by the way that has been the fastest here for so much; returns how many. Nobody else
/// uses `to` yet.
#[inline]
pub fn fill(from: ConstMem, to: MutMem) -> usize {
    let bytes = from.len().min(to.len());
    if bytes < LEAST { from.copy_to_mem(to) } else { fill_much(from, to, bytes) }
}

fn fill_much(from: ConstMem, to: MutMem, bytes: usize) -> usize {
    static LEARNED: [Learned; SIZES] = [const { Learned::new() }; SIZES];
    let (much, said) = limits();
    let overlap = from.as_ptr().addr().abs_diff(to.as_ptr().addr()) < bytes;
    if said > 0 && bytes >= said && !overlap {
        return copy_streaming_wide(from, to);
    }
    if said > 0 || bytes < much || overlap {
        return from.copy_to_mem(to);
    }
    let learned = &LEARNED[size_class(bytes as u64, LEAST.ilog2(), SIZES)];
    let (way, begin) = (learned.next(), Instant::now());
    match way {
        Way::Through => from.copy_to_mem(to),
        Way::Past => copy_streaming_wide(from, to),
    };
    let cost = begin.elapsed().as_nanos() / (bytes as u128 >> 20).max(1);
    learned.learn(way, u32::try_from(cost).unwrap_or(u32::MAX));
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the next copies would be, if they took this long.
    fn after(learned: &Learned, costs: [u32; 2], copies: usize) -> Vec<Way> {
        let each = |_| {
            let way = learned.next();
            learned.learn(way, costs[way as usize]);
            way
        };
        (0..copies).map(each).collect()
    }

    #[test]
    fn both_ways_are_tried_and_the_faster_one_is_taken_until_it_is_not() {
        let learned = Learned::new();
        let first = after(&learned, [100, 60], 2 * TRIES as usize);
        assert_eq!(first, [Way::Through, Way::Past].repeat(TRIES as usize));
        let then = after(&learned, [100, 60], 64);
        assert_eq!(then.iter().filter(|way| **way == Way::Through).count(), 2, "tried again now and then: {then:?}");
        let changed = after(&learned, [100, 200], 400);
        assert_eq!(changed.last(), Some(&Way::Through));
    }

    #[test]
    fn one_slow_copy_changes_nothing() {
        let learned = Learned::new();
        after(&learned, [100, 80], 2 * TRIES as usize);
        learned.learn(Way::Past, 300);
        assert_eq!(learned.next(), Way::Past);
    }

    #[test]
    fn what_overlaps_is_moved() {
        let (bytes, by) = (40 << 20, 4096);
        let mut memory: Vec<u8> = (0..bytes + by).map(|at| (at >> 12) as u8).collect();
        for _ in 0..2 * TRIES {
            let expected = memory[..bytes].to_vec();
            let at = memory.as_mut_ptr();
            // SAFETY: both lie within the vector, which is not otherwise used meanwhile.
            let (from, to) = unsafe { (ConstMem::new(at, bytes), MutMem::new(at.add(by), bytes)) };
            assert_eq!(fill(from, to), bytes);
            assert!(memory[by..] == expected);
        }
    }

    #[test]
    fn much_and_little_arrive_whole() {
        for bytes in [0, 1, 5 << 10, (3 << 20) + 5, (40 << 20) + 3] {
            let from: Vec<u8> = (0..bytes).map(|at| (at >> 9) as u8 ^ at as u8).collect();
            let mut to = vec![0xaau8; bytes + 1];
            for _ in 0..2 * TRIES {
                to.fill(0xaa);
                // SAFETY: both live and are not otherwise used meanwhile.
                let (source, target) =
                    unsafe { (ConstMem::new(from.as_ptr(), bytes), MutMem::new(to.as_mut_ptr(), bytes)) };
                assert_eq!(fill(source, target), bytes);
                assert!(to[..bytes] == from && to[bytes] == 0xaa, "{bytes} bytes");
            }
        }
    }
}
