//! Names of blocks, for processes that know a name and have no handle.
//!
//! A singly linked list of entries, each a block of its own. The list holds its entries and the blocks they name, so a
//! name stays when nobody has its block open.
//!
//! ```text
//! entry   u64 handle of the next entry, 0 at the end
//!         u64 handle of the named block
//!         u64 n, then n bytes of the name
//! ```
//!
//! Who reads or changes the list has its lock, which knows its owner and is taken over from a dead one: each change
//! becomes visible by one store, so a killed owner leaves a whole list (and, between two steps, a block that is lost).

use core::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{Arena, Block, BlockKind, Handle};
use crate::{ProcessTag, ShmError};

const NEXT: usize = 0;
const TARGET: usize = 8;
const LENGTH: usize = 16;
const NAME: usize = 24;

/// How long a waiter waits between two looks at the life of the owner.
const LOOK: Duration = Duration::from_millis(5);

/// Longest name in bytes.
const LONGEST: usize = 4096;

/// The list is this thread's until dropped.
struct Locked<'a>(&'a Arena);

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // SYNC POINT arena-names: Release, for the next owner's Acquire.
        self.0.0.header().names_owner.store(0, Ordering::Release);
    }
}

/// An entry, and the one before it.
struct Found {
    before: Option<Block>,
    entry: Block,
}

impl Arena {
    fn lock_names(&self) -> Locked<'_> {
        let owner = &self.0.header().names_owner;
        let me = ProcessTag::me().bits();
        let mut look = Instant::now() + LOOK;
        loop {
            // SYNC POINT arena-names: Acquire, sees what the last owner changed.
            let Err(seen) = owner.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed) else {
                return Locked(self);
            };
            if Instant::now() < look {
                std::thread::yield_now();
                continue;
            }
            look = Instant::now() + LOOK;
            if !ProcessTag::from_bits(seen).is_alive()
                // SYNC POINT arena-names: Acquire. One waiter replaces a dead owner.
                && owner.compare_exchange(seen, me, Ordering::Acquire, Ordering::Relaxed).is_ok()
            {
                return Locked(self);
            }
        }
    }

    fn find_name(&self, name: &[u8]) -> Result<Option<Found>, ShmError> {
        let mut before: Option<Block> = None;
        let mut next = self.0.header().names.load(Ordering::Relaxed);
        while next != 0 {
            let entry = self.open(Handle::from_u64(next))?;
            if entry.word64(LENGTH).load(Ordering::Relaxed) == name.len() as u64 {
                let mut bytes = vec![0; name.len()];
                entry.bytes().read(NAME, &mut bytes)?;
                if bytes == name {
                    return Ok(Some(Found { before, entry }));
                }
            }
            next = entry.word64(NEXT).load(Ordering::Relaxed);
            before = Some(entry);
        }
        Ok(None)
    }

    /// Gives a block a name, which holds it until it is [taken away](Arena::unname). `false` when another block has it.
    ///
    /// # Errors
    ///
    /// [`ShmError::ArenaFull`] or [`ShmError::OutOfMemory`]; [`ShmError::BadRange`] for a name of more than 4096 bytes.
    pub fn name(&self, name: &[u8], block: &Block) -> Result<bool, ShmError> {
        if name.len() > LONGEST {
            return Err(ShmError::BadRange { offset: 0, bytes: name.len() as u64 });
        }
        let entry = self.alloc(NAME + name.len(), BlockKind::Plain)?;
        entry.word64(LENGTH).store(name.len() as u64, Ordering::Relaxed);
        entry.bytes().write(NAME, name)?;
        let _names = self.lock_names();
        if self.find_name(name)?.is_some() {
            return Ok(false);
        }
        let names = &self.0.header().names;
        entry.word64(NEXT).store(names.load(Ordering::Relaxed), Ordering::Relaxed);
        entry.word64(TARGET).store(block.clone().into_transit().to_u64(), Ordering::Relaxed);
        names.store(entry.into_transit().to_u64(), Ordering::Relaxed);
        Ok(true)
    }

    /// The block that has a name, if one has.
    ///
    /// # Errors
    ///
    /// [`ShmError::Freed`] when the list is damaged.
    pub fn named(&self, name: &[u8]) -> Result<Option<Block>, ShmError> {
        let _names = self.lock_names();
        let Some(found) = self.find_name(name)? else { return Ok(None) };
        let target = found.entry.word64(TARGET).load(Ordering::Relaxed);
        self.open(Handle::from_u64(target)).map(Some)
    }

    /// Takes a name away; its block is freed with the last other holder. `false` when no block has it.
    ///
    /// # Errors
    ///
    /// As [`Arena::named`].
    pub fn unname(&self, name: &[u8]) -> Result<bool, ShmError> {
        let names = self.lock_names();
        let Some(Found { before, entry }) = self.find_name(name)? else { return Ok(false) };
        let next = entry.word64(NEXT).load(Ordering::Relaxed);
        match before {
            Some(before) => before.word64(NEXT).store(next, Ordering::Relaxed),
            None => self.0.header().names.store(next, Ordering::Relaxed),
        }
        drop(names);
        self.discard(Handle::from_u64(entry.word64(TARGET).load(Ordering::Relaxed)));
        self.discard(entry.handle());
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ArenaConfig;

    fn arena() -> Arena {
        Arena::create(ArenaConfig { bytes: 64 << 20, cached: 0 }).expect("an arena")
    }

    #[test]
    fn names_hold_their_blocks_until_they_are_taken_away() {
        let arena = arena();
        let before = arena.used();
        for number in 0..50_u64 {
            let block = arena.alloc(4096, BlockKind::Plain).expect("a block");
            block.word64(0).store(number, Ordering::Relaxed);
            assert!(arena.name(format!("name {number}").as_bytes(), &block).expect("room"));
            assert!(!arena.name(format!("name {number}").as_bytes(), &block).expect("room"));
        }
        for number in (0..50_u64).rev().step_by(2) {
            let name = format!("name {number}");
            let block = arena.named(name.as_bytes()).expect("a sound list").expect("the name");
            assert_eq!(block.word64(0).load(Ordering::Relaxed), number);
            assert!(arena.unname(name.as_bytes()).expect("a sound list"));
            assert!(!arena.unname(name.as_bytes()).expect("a sound list"));
            assert!(arena.named(name.as_bytes()).expect("a sound list").is_none());
            assert_eq!(block.word64(0).load(Ordering::Relaxed), number);
        }
        for number in (0..50_u64).step_by(2) {
            assert!(arena.unname(format!("name {number}").as_bytes()).expect("a sound list"));
        }
        assert_eq!(arena.used(), before);
    }

    #[test]
    fn a_dead_owner_of_the_list_harms_nobody() {
        let arena = arena();
        let block = arena.alloc(64, BlockKind::Plain).expect("a block");
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let dead = ProcessTag::of(child.id()).bits();
        child.wait().expect("its end");
        arena.0.header().names_owner.store(dead, Ordering::Relaxed);
        assert!(arena.name(b"a", &block).expect("room"));
        assert!(arena.named(b"a").expect("a sound list").is_some());
    }
}
