//! Putting together what is free in pieces, when memory or the address range has run out.
//!
//! One process does so at a time, the *gatherer*. It takes free blocks out of their stacks into a chain of its own, which
//! hangs in the header: the blocks of a small class, of which it dissolves the slabs that are all free, or all blocks
//! that begin on a page, of which it joins neighbours. Then it puts them back.
//!
//! Each step is one store that leaves whole blocks in the chain and takes at most one out of it, or one slab. So a gatherer that
//! is killed loses no more than that; the next one finds the chain, and goes on with it.

use core::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::heap::{HEAD, Heap, RANGE, class_within, paged};
use super::layout::{HEAP_AT, Head, Header, PAGE};
use crate::ProcessTag;
use crate::universe::heap::{CLASSES, class_bytes};

/// How long a process waits for another one that gathers.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long it waits between two looks whether that one lives.
const LOOK: Duration = Duration::from_millis(5);

/// In `Head::count`: one block of the slab taken out of the chain.
const TAKEN: u64 = 1 << 32;

/// The chain is this thread's until dropped.
struct Alone<'a>(&'a Header);

impl Drop for Alone<'_> {
    fn drop(&mut self) {
        // SYNC POINT arena-gather: Release, for the next gatherer's Acquire.
        self.0.gatherer.store(0, Ordering::Release);
    }
}

impl<'a> Heap<'a> {
    /// Gives the pages of free blocks back to the machine and joins neighbours. With `all`, what small blocks were cut
    /// from, too; with `used_up`, the part of the address range that nobody has used.
    #[cold]
    pub(super) fn gather(&self, all: bool, used_up: bool) {
        let Some(_alone) = self.alone() else { return };
        // What a killed gatherer had in hand.
        self.put_back();
        let (large, small): (Vec<usize>, Vec<usize>) = (0..CLASSES).partition(|class| paged(*class).is_some());
        for class in small.into_iter().filter(|_| all) {
            self.collect(class);
            self.dissolve(class);
            self.put_back();
        }
        if used_up {
            self.take_the_rest();
        }
        for class in large {
            self.collect(class);
        }
        self.join();
        self.put_back();
    }

    /// The right to gather; `None` when another process has it and keeps it.
    fn alone(&self) -> Option<Alone<'a>> {
        let gatherer = &self.header.gatherer;
        let me = ProcessTag::me().bits();
        let start = Instant::now();
        let mut look = start + LOOK;
        loop {
            // SYNC POINT arena-gather: Acquire, sees what the last gatherer did.
            let Err(seen) = gatherer.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) else {
                return Some(Alone(self.header));
            };
            let now = Instant::now();
            if now < look {
                std::thread::yield_now();
                continue;
            }
            look = now + LOOK;
            if !ProcessTag::from_bits(seen).is_alive()
                // SYNC POINT arena-gather: Acquire. One process replaces a dead gatherer.
                && gatherer.compare_exchange(seen, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Some(Alone(self.header));
            }
            if now - start > PATIENCE {
                return None;
            }
        }
    }

    /// The block that a link of the chain leads to.
    fn follow(&self, link: &AtomicU64) -> Option<(u64, &'a Head)> {
        let at = link.load(Ordering::Relaxed).checked_mul(64).filter(|at| *at != 0)?;
        // A chain that somebody wrote over ends here: its blocks are lost.
        self.block(at).map(|head| (at, head))
    }

    /// Moves the free blocks of a class into the chain, and gives their pages back.
    fn collect(&self, class: usize) {
        let first = &self.header.gathered;
        while let Some(at) = self.pop(class) {
            let head = self.head(at);
            let large = paged(class).is_some();
            let have = if large { head.pages.swap(0, Ordering::Relaxed) } else { 0 };
            head.link.store(first.load(Ordering::Relaxed), Ordering::Relaxed);
            first.store(at / 64, Ordering::Release);
            if have > 0 {
                self.header.cached.fetch_sub(have, Ordering::Relaxed);
                self.segment.release(at, have);
            }
        }
    }

    /// Moves the blocks of the chain into their stacks.
    fn put_back(&self) {
        let first = &self.header.gathered;
        while let Some((at, head)) = self.follow(first) {
            let class = head.class.load(Ordering::Relaxed) as usize;
            first.store(head.link.load(Ordering::Relaxed), Ordering::Relaxed);
            if class < CLASSES {
                self.push(class, at);
            }
        }
        first.store(0, Ordering::Relaxed);
    }

    /// The slab that a small block of the chain was cut from: where it begins, its bytes, and its first block's head.
    fn slab_of(&self, head: &Head) -> Option<(u64, u64, &'a Head)> {
        let (start, range) = (head.pages.load(Ordering::Relaxed), head.range.load(Ordering::Relaxed));
        let inside = start >= HEAP_AT && start.is_multiple_of(PAGE) && range >= RANGE && self.holds(start + HEAD);
        inside.then(|| (start, range, self.head(start + HEAD)))
    }

    /// Makes the slabs of a small class whose blocks are all in the chain into free blocks of one range each.
    fn dissolve(&self, class: usize) {
        let size = class_bytes(class);
        for counted in [0, 1] {
            let mut link = &self.header.gathered;
            while let Some((_, head)) = self.follow(link) {
                let Some((_, _, slab)) = self.slab_of(head) else { return };
                let before = slab.count.load(Ordering::Relaxed);
                slab.count.store((before + 1) * counted, Ordering::Relaxed);
                link = &head.link;
            }
        }
        let mut link = &self.header.gathered;
        while let Some((_, head)) = self.follow(link) {
            let Some((start, range, slab)) = self.slab_of(head) else { return };
            let (blocks, count) = (range / size, slab.count.load(Ordering::Relaxed));
            if count % TAKEN != blocks {
                link = &head.link;
                continue;
            }
            link.store(head.link.load(Ordering::Relaxed), Ordering::Release);
            self.unmake(head);
            slab.count.store(count + TAKEN, Ordering::Relaxed);
            if count / TAKEN + 1 == blocks {
                self.segment.release(start + PAGE, range - PAGE);
                self.make_block(start, range, 0);
                self.push(class_within(range), start + PAGE);
            }
        }
    }

    /// Makes the part of the range that nobody has used into a free block.
    fn take_the_rest(&self) {
        let rest = self.capacity().saturating_sub(self.header.frontier.load(Ordering::Relaxed)) / PAGE * PAGE;
        if rest < RANGE {
            return;
        }
        if let Ok(start) = self.advance(rest, PAGE) {
            self.make_block(start, rest, 0);
            self.push(class_within(rest), start + PAGE);
        }
    }

    /// Joins blocks of the chain that lie next to each other. Their pages have been given back.
    fn join(&self) {
        let Some(chain) = self.chain() else { return };
        let mut by_place: Vec<usize> = (0..chain.len()).collect();
        by_place.sort_unstable_by_key(|n| chain[*n]);
        // Who is before and after each block in the chain, as blocks are taken out of it.
        let mut before: Vec<Option<usize>> = (0..chain.len()).map(|n| n.checked_sub(1)).collect();
        let mut after: Vec<Option<usize>> =
            (0..chain.len()).map(|n| Some(n + 1).filter(|n| *n < chain.len())).collect();
        let mut places = by_place.into_iter();
        let Some(mut first) = places.next() else { return };
        for n in places {
            let (grows, head) = (self.head(chain[first]), self.head(chain[n]));
            let (range, more) = (grows.range.load(Ordering::Relaxed), head.range.load(Ordering::Relaxed));
            if chain[first] + range != chain[n] {
                first = n;
                continue;
            }
            let link = before[n].map_or(&self.header.gathered, |n| &self.head(chain[n]).link);
            link.store(head.link.load(Ordering::Relaxed), Ordering::Release);
            if let Some(previous) = before[n] {
                after[previous] = after[n];
            }
            if let Some(next) = after[n] {
                before[next] = before[n];
            }
            self.unmake(head);
            self.segment.release(chain[n] - PAGE, PAGE);
            // In this order: a range is never smaller than its class says.
            grows.range.store(range + more, Ordering::Release);
            grows.class.store(class_within(range + more) as u32, Ordering::Release);
        }
    }

    /// The blocks of the chain, in its order; `None` when there is no memory for the list.
    fn chain(&self) -> Option<Vec<u64>> {
        let most = (self.capacity() / RANGE) as usize;
        let mut chain = Vec::new();
        let mut link = &self.header.gathered;
        while let Some((at, head)) = self.follow(link).filter(|_| chain.len() < most) {
            chain.try_reserve(1).ok()?;
            chain.push(at);
            link = &head.link;
        }
        Some(chain)
    }
}
