//! Putting together what is free in pieces, when memory or the address range has run out.
//!
//! One process does so at a time, the *gatherer*, which has the lock in the header. It takes free blocks out of their
//! stacks into a chain of its own, which hangs in the header: the blocks of a small class, of which it dissolves the
//! slabs that are all free, or all blocks that begin on a page, of which it joins neighbours. Then it puts them back.
//!
//! Each step is one store that leaves whole blocks in the chain and takes at most one out of it, or one slab. So a gatherer that
//! is killed loses no more than that; the next one finds the chain, and goes on with it.
//!
//! The lock is an [`OwnedLock`], taken from gatherers that have ended, like any other, and at the end of the wait from
//! one that lives and has this segment no more: it has called `exec` while it gathered.

use std::time::Instant;

use super::blocks::{HEAD, Heap, RANGE, class_within, paged};
use super::classes::{CLASSES, class_bytes};
use super::layout::{Head, PAGE};
use crate::alive::ShortTag;
use crate::owned::{Life, OwnedGuard, Processes};
use crate::segment::Segment;
use crate::sleep::Deadline;
use crate::sync::{AtomicU64, Ordering};

/// In `Head::count`: one block of the slab taken out of the chain.
const TAKEN: u64 = 1 << 32;

/// `items` in a list, if there is memory for it: this runs when there may be none.
fn list<T>(items: impl ExactSizeIterator<Item = T>) -> Option<Vec<T>> {
    let mut list = Vec::new();
    list.try_reserve_exact(items.len()).ok()?;
    list.extend(items);
    Some(list)
}

/// The processes of this machine, of which those that have left the segment count as ended.
struct StillHere<'a>(&'a Segment);

impl Life for StillHere<'_> {
    fn me(&self) -> u32 {
        Processes.me()
    }

    fn died(&self, word: u32) -> Option<u32> {
        Processes.died(word).or_else(|| {
            let owner = ShortTag::from_u32(word)?;
            self.0.was_left_by(owner).then(|| owner.pid())
        })
    }
}

impl<'a> Heap<'a> {
    /// Gives the pages of free blocks back to the machine and joins neighbours. With `all`, what small blocks were cut
    /// from, too; with `used_up`, the part of the address range that nobody has used. Another process that gathers is
    /// waited for until `deadline`.
    #[cold]
    pub(super) fn gather(&self, all: bool, used_up: bool, deadline: Instant) {
        let Some(_alone) = self.alone(deadline) else { return };
        // What a killed gatherer had in hand.
        self.put_back();
        for class in (0..CLASSES).filter(|class| all && paged(*class).is_none()) {
            self.collect(class);
            self.dissolve(class);
            self.put_back();
        }
        if used_up {
            self.take_the_rest();
        }
        for class in (0..CLASSES).filter(|class| paged(*class).is_some()) {
            self.collect(class);
        }
        self.join();
        self.put_back();
    }

    /// The right to gather; `None` when another process has it and keeps it until `deadline`.
    fn alone(&self, deadline: Instant) -> Option<OwnedGuard<'a>> {
        if ShortTag::me().is_foreign() {
            // Killed while it gathers, it would have the right for ever: nobody would find it dead.
            return None;
        }
        let (lock, deadline) = (&self.books.gatherer, Deadline::at(deadline));
        // Whether a process has called `exec` takes long to find out, and it is rare: only when all else has failed.
        lock.lock_until(&Processes, deadline).or_else(|| lock.lock_until(&StillHere(self.segment), deadline))
    }

    /// The block that a link of the chain leads to.
    fn follow(&self, link: &AtomicU64) -> Option<(u64, &'a Head)> {
        let at = link.load(Ordering::Relaxed).checked_mul(64).filter(|at| *at != 0)?;
        // A chain that somebody wrote over ends here: its blocks are lost.
        self.block(at).map(|head| (at, head))
    }

    /// Moves the free blocks of a class into the chain, and gives their pages back.
    fn collect(&self, class: usize) {
        let first = &self.books.gathered;
        while let Some(at) = self.pop(class) {
            let head = self.head(at);
            let large = paged(class).is_some();
            let have = if large { self.pages(at, head) } else { 0 };
            if large {
                self.take_back_promise(head, have);
                head.pages.store(0, Ordering::Relaxed);
            }
            head.link.store(first.load(Ordering::Relaxed), Ordering::Relaxed);
            first.store(at / 64, Ordering::Release);
            if have > 0 {
                self.books.cached.fetch_sub(have, Ordering::Relaxed);
                self.segment.release(at, have);
            }
        }
    }

    /// Moves the blocks of the chain into their stacks.
    fn put_back(&self) {
        let first = &self.books.gathered;
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
        let inside = start.is_multiple_of(PAGE) && range >= RANGE && self.contains(start, range);
        inside.then(|| (start, range, self.head(start + HEAD)))
    }

    /// Makes the slabs of a small class whose blocks are all in the chain into free blocks of one range each.
    fn dissolve(&self, class: usize) {
        let size = class_bytes(class);
        for counted in [0, 1] {
            let mut link = &self.books.gathered;
            while let Some((_, head)) = self.follow(link) {
                let Some((_, _, slab)) = self.slab_of(head) else { return };
                let before = slab.count.load(Ordering::Relaxed);
                slab.count.store(before.wrapping_add(1) * counted, Ordering::Relaxed);
                link = &head.link;
            }
        }
        let mut link = &self.books.gathered;
        while let Some((_, head)) = self.follow(link) {
            let Some((start, range, slab)) = self.slab_of(head) else { return };
            let (blocks, count) = (range / size, slab.count.load(Ordering::Relaxed));
            if count % TAKEN != blocks {
                link = &head.link;
                continue;
            }
            link.store(head.link.load(Ordering::Relaxed), Ordering::Release);
            self.unmake(head);
            slab.count.store(count.wrapping_add(TAKEN), Ordering::Relaxed);
            if count / TAKEN + 1 == blocks {
                self.segment.release(start + PAGE, range - PAGE);
                self.make_block(start, range, 0);
                self.push(class_within(range), start + PAGE);
            }
        }
    }

    /// Makes the part of the range that nobody has used into a free block.
    fn take_the_rest(&self) {
        let rest = self.capacity().saturating_sub(self.books.frontier.load(Ordering::Relaxed)) / PAGE * PAGE;
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
        let Some(mut by_place) = list(0..chain.len()) else { return };
        by_place.sort_unstable_by_key(|n| chain[*n]);
        // Which blocks are before and after each block in the chain, as blocks are taken out of it.
        let Some(mut before) = list((0..chain.len()).map(|n| n.checked_sub(1))) else { return };
        let Some(mut after) = list((0..chain.len()).map(|n| Some(n + 1).filter(|n| *n < chain.len()))) else { return };
        let mut places = by_place.into_iter();
        let Some(mut first) = places.next() else { return };
        for n in places {
            let (grows, head) = (self.head(chain[first]), self.head(chain[n]));
            let (range, more) = (grows.range.load(Ordering::Relaxed), head.range.load(Ordering::Relaxed));
            if chain[first].wrapping_add(range) != chain[n] {
                first = n;
                continue;
            }
            let link = before[n].map_or(&self.books.gathered, |n| &self.head(chain[n]).link);
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
            grows.range.store(range.wrapping_add(more), Ordering::Release);
            grows.class.store(class_within(range.wrapping_add(more)) as u32, Ordering::Release);
        }
    }

    /// The blocks of the chain, in its order; `None` when there is no memory for the list.
    fn chain(&self) -> Option<Vec<u64>> {
        let most = (self.capacity() / RANGE) as usize;
        let mut chain = Vec::new();
        let mut link = &self.books.gathered;
        while let Some((at, head)) = self.follow(link).filter(|_| chain.len() < most) {
            chain.try_reserve(1).ok()?;
            chain.push(at);
            link = &head.link;
        }
        Some(chain)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::layout::Books;
    use super::*;

    /// The deadline of a request that waits this long.
    fn within(wait: Duration) -> Instant {
        Instant::now() + wait
    }

    #[test]
    fn a_gatherer_that_stays_is_waited_for_and_one_that_has_ended_or_left_is_replaced() {
        let segment = Segment::create(64 << 20).expect("a segment");
        segment.commit(0, PAGE, "the books").expect("a page");
        // SAFETY: the mapping begins on a page and has room for the books, which are all atomics.
        let books = unsafe { &*segment.base().cast::<Books>() };
        let heap = Heap { segment: &segment, books, start: PAGE };
        let gatherer = &heap.books.gatherer;
        // Lives, and has none of this arena: it has called `exec`.
        let mut other = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        gatherer.seize(ShortTag::of(other.id()).to_u32());
        assert!(heap.alone(within(Duration::ZERO)).is_some(), "it cannot be at work");
        assert!(gatherer.is_free());
        // Dead.
        gatherer.seize(ShortTag::of(other.id()).to_u32());
        other.kill().expect("can be killed");
        other.wait().expect("can be waited for");
        assert!(heap.alone(within(Duration::ZERO)).is_some());
        // Lives, and is at work.
        let first = heap.alone(within(Duration::ZERO)).expect("free");
        assert!(heap.alone(within(Duration::from_millis(20))).is_none());
        std::thread::scope(|scope| {
            let second = scope.spawn(|| heap.alone(within(Duration::from_secs(60))).is_some());
            std::thread::sleep(Duration::from_millis(20));
            drop(first);
            assert!(second.join().expect("it ends"));
        });
        let (at, _) = heap.take_owned(1 << 20).expect("a block");
        assert!(heap.give_owned(at) && !heap.give_owned(at));
    }
}
