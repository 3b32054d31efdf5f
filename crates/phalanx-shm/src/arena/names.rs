//! Names of blocks, for processes that know a name and have no handle.
//!
//! A hash table of singly linked lists of entries, each a block of its own. A list holds its entries and the blocks they
//! name, so a name stays when nobody has its block open.
//!
//! ```text
//! entry   u64 handle of the next entry, 0 at the end
//!         u64 handle of the named block
//!         u64 n, then n bytes of the name
//! ```
//!
//! A process that reads or changes the table has its lock, an [`OwnedLock`](crate::OwnedLock), which is taken over silently from a dead
//! owner: each change becomes visible by one store, so a killed owner leaves a whole list (and, between two steps, a
//! block that is lost). A *stopped* owner makes the others wait, asleep, and they look at signals.

use crate::sync::{AtomicU64, Ordering};

use super::layout::BUCKETS;
use super::{Arena, Block, BlockKind, Handle};
use crate::ShmError;
use crate::owned::{OwnedGuard, Processes};
use crate::sleep::{Deadline, SLICE};

const NEXT: usize = 0;
const TARGET: usize = 8;
const LENGTH: usize = 16;
const NAME: usize = 24;

/// Longest name in bytes.
const LONGEST: usize = 4096;

/// An entry, and the one before it.
struct Found {
    before: Option<Block>,
    entry: Block,
}

impl Arena {
    /// Waits for the table. The lock orders all accesses to it (SYNC POINT owned), which are therefore relaxed.
    fn lock_names(&self) -> Result<OwnedGuard<'_>, ShmError> {
        let locked = self.0.header().names_lock.lock_until(&Processes, Deadline::after(Some(SLICE)));
        // The caller sees to signals, and comes back.
        locked.ok_or(ShmError::Interrupted { what: "the table of names" })
    }

    /// The first entry of the list in which a name is, if it is anywhere; 0 at the end.
    fn bucket(&self, name: &[u8]) -> &AtomicU64 {
        // FNV-1a, and a multiplication more: the last bytes have hardly reached the upper bits.
        let hash = name.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        });
        let mixed = (hash ^ hash >> 32).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        &self.0.header().names[(mixed >> 32) as usize % BUCKETS]
    }

    fn find_name(&self, name: &[u8]) -> Result<Option<Found>, ShmError> {
        let mut before: Option<Block> = None;
        let mut next = self.bucket(name).load(Ordering::Relaxed);
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
    /// [`ShmError::HeapFull`] or [`ShmError::OutOfMemory`]; [`ShmError::BadRange`] for a name of more than 4096 bytes;
    /// [`ShmError::Interrupted`] when it had to wait: see to signals, then try again.
    pub fn name(&self, name: &[u8], block: &Block) -> Result<bool, ShmError> {
        if name.len() > LONGEST {
            return Err(ShmError::BadRange { offset: 0, bytes: name.len() as u64 });
        }
        let entry = self.alloc(NAME + name.len(), BlockKind::Plain)?;
        entry.word64(LENGTH).store(name.len() as u64, Ordering::Relaxed);
        entry.bytes().write(NAME, name)?;
        let _names = self.lock_names()?;
        if self.find_name(name)?.is_some() {
            return Ok(false);
        }
        let names = self.bucket(name);
        entry.word64(NEXT).store(names.load(Ordering::Relaxed), Ordering::Relaxed);
        entry.word64(TARGET).store(block.clone().into_transit().to_u64(), Ordering::Relaxed);
        names.store(entry.into_transit().to_u64(), Ordering::Relaxed);
        Ok(true)
    }

    /// The block that has a name, if one has.
    ///
    /// # Errors
    ///
    /// [`ShmError::Freed`] when the table is damaged; [`ShmError::Interrupted`] as in [`Arena::name`].
    pub fn named(&self, name: &[u8]) -> Result<Option<Block>, ShmError> {
        let _names = self.lock_names()?;
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
        let names = self.lock_names()?;
        let Some(Found { before, entry }) = self.find_name(name)? else { return Ok(false) };
        let next = entry.word64(NEXT).load(Ordering::Relaxed);
        match before {
            Some(before) => before.word64(NEXT).store(next, Ordering::Relaxed),
            None => self.bucket(name).store(next, Ordering::Relaxed),
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
            let block = arena.named(name.as_bytes()).expect("a sound table").expect("the name");
            assert_eq!(block.word64(0).load(Ordering::Relaxed), number);
            assert!(arena.unname(name.as_bytes()).expect("a sound table"));
            assert!(!arena.unname(name.as_bytes()).expect("a sound table"));
            assert!(arena.named(name.as_bytes()).expect("a sound table").is_none());
            assert_eq!(block.word64(0).load(Ordering::Relaxed), number);
        }
        for number in (0..50_u64).step_by(2) {
            assert!(arena.unname(format!("name {number}").as_bytes()).expect("a sound table"));
        }
        assert_eq!(arena.used(), before);
    }

    #[test]
    fn names_of_one_list_are_told_apart() {
        let arena = arena();
        let names: Vec<String> = (0..20 * BUCKETS).map(|number| format!("psm_{number:08x}")).collect();
        for (number, name) in names.iter().enumerate() {
            let block = arena.alloc(8, BlockKind::Plain).expect("a block");
            block.word64(0).store(number as u64, Ordering::Relaxed);
            assert!(arena.name(name.as_bytes(), &block).expect("room"));
        }
        let used = arena.0.header().names.iter().filter(|names| names.load(Ordering::Relaxed) != 0).count();
        assert_eq!(used, BUCKETS, "names are spread over all lists");
        for (number, name) in names.iter().enumerate() {
            let block = arena.named(name.as_bytes()).expect("a sound table").expect("the name");
            assert_eq!(block.word64(0).load(Ordering::Relaxed), number as u64);
            assert!(arena.unname(name.as_bytes()).expect("a sound table"));
        }
        assert!(arena.0.header().names.iter().all(|names| names.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn a_dead_owner_of_the_table_harms_nobody() {
        let arena = arena();
        let block = arena.alloc(64, BlockKind::Plain).expect("a block");
        let mut child = std::process::Command::new("true").spawn().expect("a process");
        let dead = crate::ShortTag::of(child.id()).to_u32();
        child.wait().expect("its end");
        arena.0.header().names_lock.seize(dead);
        assert!(arena.name(b"a", &block).expect("room"));
        assert!(arena.named(b"a").expect("a sound table").is_some());
    }

    #[test]
    fn who_waits_for_a_living_owner_is_told_of_signals() {
        extern "C" fn nothing(_: libc::c_int) {}
        let arena = arena();
        let block = arena.alloc(64, BlockKind::Plain).expect("a block");
        let handler: extern "C" fn(libc::c_int) = nothing;
        // SAFETY: the handler does nothing, and no other test uses this signal.
        unsafe { libc::signal(libc::SIGUSR2, handler as libc::sighandler_t) };
        let owner = arena.lock_names().expect("free");
        // SAFETY: asks for a number.
        let waiter = unsafe { libc::pthread_self() } as usize;
        let ended = crate::sync::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                    // SAFETY: the thread lives as long as this scope.
                    unsafe { libc::pthread_kill(waiter as libc::pthread_t, libc::SIGUSR2) };
                }
            });
            assert!(matches!(arena.name(b"a", &block), Err(ShmError::Interrupted { .. })));
            ended.store(true, Ordering::Relaxed);
        });
        drop(owner);
        while matches!(arena.name(b"a", &block), Err(ShmError::Interrupted { .. })) {}
        assert!(arena.named(b"a").expect("a sound table").is_some());
    }
}
