//! A lock-free stack of block numbers, for the heap's free lists.
//!
//! The head is one word: a block number (40 bits, 0 for "empty") and a tag (24
//! bits) that changes with every update. Each free block has a *link*: the
//! number of the block below it.
//!
//! `pop` reads the link of a block which another process may have popped, and
//! be writing to, in the meantime. What it reads is then nonsense, but the tag
//! has changed too and the compare-and-swap fails. (The tag would have to pass
//! through all its 2^24 values between the two instructions to deceive it.)
//!
//! A process killed inside `push` loses the block it was pushing; one killed
//! inside `pop` nothing, or the block it had just taken.

use crate::sync::{AtomicU64, Ordering};

/// Bits of a block number in a head.
const NUMBER_BITS: u32 = 40;
const NUMBER: u64 = (1 << NUMBER_BITS) - 1;

/// Adds block `number`, whose memory is the caller's, to the stack at `head`.
/// `link` gives each block's link.
pub(crate) fn push<'a>(head: &AtomicU64, number: u64, link: impl Fn(u64) -> &'a AtomicU64) {
    debug_assert!(number != 0 && number <= NUMBER);
    let mut seen = head.load(Ordering::Relaxed);
    loop {
        link(number).store(seen & NUMBER, Ordering::Relaxed);
        let next = retag(seen, number);
        // SYNC POINT stack: Release, so that whoever pops the block sees its
        // link, and its former owner's accesses are over.
        match head.compare_exchange_weak(seen, next, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => seen = now,
        }
    }
}

/// Takes the top block. `valid` tells whether a number can be a block at all: a
/// corrupt head loses its stack instead of leading elsewhere.
pub(crate) fn pop<'a>(
    head: &AtomicU64,
    link: impl Fn(u64) -> &'a AtomicU64,
    valid: impl Fn(u64) -> bool,
) -> Option<u64> {
    // SYNC POINT stack: Acquire, pairs with the Release in `push`.
    let mut seen = head.load(Ordering::Acquire);
    loop {
        let number = seen & NUMBER;
        if number == 0 || !valid(number) {
            return None;
        }
        let below = link(number).load(Ordering::Relaxed) & NUMBER;
        let next = retag(seen, below);
        match head.compare_exchange_weak(seen, next, Ordering::Acquire, Ordering::Acquire) {
            Ok(_) => return Some(number),
            Err(now) => seen = now,
        }
    }
}

/// The number of the top block at this moment, which somebody else may take in the next.
#[cfg(not(loom))]
pub(crate) fn top(head: &AtomicU64) -> Option<u64> {
    Some(head.load(Ordering::Acquire) & NUMBER).filter(|number| *number != 0)
}

/// A new head: another block number, the next tag.
fn retag(seen: u64, number: u64) -> u64 {
    (seen >> NUMBER_BITS).wrapping_add(1) << NUMBER_BITS | number & NUMBER
}

/// A stack of blocks on loom's heap.
#[cfg(loom)]
#[derive(Debug)]
pub struct LoomStack {
    head: AtomicU64,
    links: Vec<AtomicU64>,
}

#[cfg(loom)]
impl LoomStack {
    /// A stack that holds blocks 1 to `blocks`.
    pub fn new(blocks: u64) -> LoomStack {
        let stack = LoomStack { head: AtomicU64::new(0), links: (0..=blocks).map(|_| AtomicU64::new(0)).collect() };
        (1..=blocks).for_each(|n| stack.push(n));
        stack
    }

    /// Gives block `n` back.
    pub fn push(&self, n: u64) {
        push(&self.head, n, |n| &self.links[n as usize]);
    }

    /// Takes a block, and writes over its link as an owner may.
    pub fn pop(&self) -> Option<u64> {
        let n = pop(&self.head, |n| &self.links[n as usize], |n| (n as usize) < self.links.len())?;
        self.links[n as usize].store(n, Ordering::Relaxed);
        Some(n)
    }
}
