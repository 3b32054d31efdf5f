use std::os::fd::AsRawFd;

use super::*;

fn arena() -> Arena {
    Arena::create(ArenaConfig { bytes: 1 << 30, cached: 64 << 20 }).expect("there is memory for a test")
}

/// The right to be the only test that forks: a child has all arenas of its parent.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `body` in a forked child that ends without running destructors, and waits for it.
fn in_child(body: impl FnOnce()) {
    // SAFETY: the child calls only the body and `_exit`; the tests' bodies use memory and atomics.
    match unsafe { libc::fork() } {
        0 => {
            // A panic would end the child's only thread, and the child with success.
            let end = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body));
            // SAFETY: ends this child at once.
            unsafe { libc::_exit(i32::from(end.is_err())) };
        }
        child => {
            let mut status = 0;
            // SAFETY: waits for the child just made.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            assert_eq!(status, 0, "the child failed");
        }
    }
}

#[test]
fn blocks_are_reused_and_handles_of_freed_ones_open_nothing() {
    let (_alone, arena) = (alone(), arena());
    let before = arena.used();
    let block = arena.alloc(100, BlockKind::Lock).unwrap();
    assert_eq!((block.len(), block.kind()), (100, BlockKind::Lock));
    let handle = block.handle();
    assert_eq!(arena.used(), before + 100);
    let second = arena.open(handle).unwrap();
    drop(block);
    assert_eq!(arena.open(handle).unwrap().len(), 100);
    drop(second);
    assert!(matches!(arena.open(handle), Err(ShmError::Freed { .. })));
    assert!(matches!(arena.adopt(handle), Err(ShmError::Freed { .. })));
    let again = arena.alloc(90, BlockKind::Plain).unwrap();
    assert_ne!(again.handle(), handle, "same place, another generation");
    assert_eq!(again.handle().at(), handle.at());
}

#[test]
fn garbage_handles_open_nothing() {
    let arena = arena();
    let held = arena.alloc(64, BlockKind::Plain).unwrap();
    for word in [0, 1, u64::MAX, held.handle().to_u64() + 1, held.handle().to_u64() ^ 1 << 40] {
        assert!(arena.open(Handle::from_u64(word)).is_err(), "{word:#x}");
        arena.discard(Handle::from_u64(word));
    }
    assert!(arena.open(held.handle()).is_ok());
}

#[test]
fn large_blocks_begin_on_a_page_and_small_ones_on_a_line() {
    let arena = arena();
    for bytes in [0, 1, 64, 960, 16 << 10, (64 << 10) - 64, 64 << 10, 1 << 20, 5 << 20] {
        let block = arena.alloc_zeroed(bytes, BlockKind::Plain).unwrap();
        let alignment = if bytes >= 64 << 10 { 4096 } else { 64 };
        assert!((block.as_ptr() as usize).is_multiple_of(alignment), "{bytes} bytes");
        let mut all = vec![1; bytes];
        block.bytes().read(0, &mut all).unwrap();
        assert!(all.iter().all(|byte| *byte == 0));
        block.bytes().write(0, &vec![7; bytes]).unwrap();
    }
}

#[test]
fn what_is_too_large_is_an_error() {
    let (_alone, arena) = (alone(), arena());
    assert!(matches!(arena.alloc(2 << 30, BlockKind::Plain), Err(ShmError::HeapFull { .. })));
    assert!(matches!(arena.alloc(usize::MAX, BlockKind::Plain), Err(ShmError::HeapFull { .. })));
    assert_eq!(arena.used(), 0);
}

#[test]
fn a_message_carries_a_hold() {
    let (_alone, arena) = (alone(), arena());
    let block = arena.alloc(200, BlockKind::Plain).unwrap();
    let other = block.clone();
    let handle = block.into_transit();
    drop(other);
    let read = arena.adopt(handle).unwrap();
    assert_eq!(arena.used(), 200);
    let handle = read.into_transit();
    assert_eq!(arena.used(), 200);
    arena.discard(handle);
    assert_eq!(arena.used(), 0);
}

#[test]
fn a_child_holds_what_it_inherited_until_it_is_swept() {
    let (_alone, arena) = (alone(), arena());
    let block = arena.alloc(1 << 20, BlockKind::Plain).unwrap();
    let handle = block.handle();
    let freed = arena.alloc(64, BlockKind::Plain).unwrap();
    drop(freed);
    in_child(|| {
        let more = arena.alloc(1 << 20, BlockKind::Plain).unwrap();
        more.bytes().write(0, b"child").unwrap();
        std::mem::forget(more);
    });
    assert_eq!(arena.used(), 2 << 20, "the child's own block is still counted");
    drop(block);
    assert!(arena.open(handle).is_ok(), "the dead child still holds it");
    assert_eq!(arena.sweep(), 1);
    assert!(arena.open(handle).is_err());
    assert_eq!(arena.used(), 0);
    assert_eq!(arena.sweep(), 0);
}

#[test]
fn a_child_that_lets_go_frees_nothing_of_its_parent() {
    let (_alone, arena) = (alone(), arena());
    let block = arena.alloc(300, BlockKind::Plain).unwrap();
    let clone = block.clone();
    in_child(move || {
        drop(clone);
    });
    // The child dropped a clone only; let it drop everything it has.
    let handle = block.handle();
    let held = std::cell::Cell::new(Some(block));
    in_child(|| drop(held.take()));
    assert!(arena.open(handle).is_ok());
    drop(held.take());
    arena.sweep();
    assert_eq!(arena.used(), 0);
}

#[test]
fn growing_sweeps_the_dead_first() {
    let (_alone, arena) = (alone(), arena());
    for _ in 0..40 {
        in_child(|| std::mem::forget(arena.alloc(100 << 20, BlockKind::Plain).unwrap()));
    }
    assert!(arena.reserved() < 400 << 20, "{} bytes", arena.reserved());
}

#[test]
fn many_holds_and_threads() {
    let (_alone, arena) = (alone(), arena());
    let blocks: Vec<Block> = (0..1000).map(|n| arena.alloc(n * 10, BlockKind::Plain).unwrap()).collect();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for block in &blocks {
                    let open = arena.open(block.handle()).unwrap();
                    let own = arena.alloc(open.len(), BlockKind::Plain).unwrap();
                    drop(open);
                    arena.discard(own.into_transit());
                }
            });
        }
    });
    drop(blocks);
    assert_eq!(arena.used(), 0);
}

#[test]
fn attaching_again_finds_the_same_mapping() {
    let arena = arena();
    let fd = arena.fd().try_clone_to_owned().unwrap();
    assert_eq!(Arena::attach(fd).unwrap(), arena);
    assert_eq!(Arena::find(arena.id()), Some(arena));
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(Arena::attach(file.into()).is_err());
}

#[test]
fn what_a_child_inherits_stays_though_there_is_no_room_to_note_it() {
    let _alone = alone();
    // A member, whose child is none; and one for which there is no room itself.
    for member in [true, false] {
        let arena = arena();
        let early = member.then(|| arena.alloc(1 << 20, BlockKind::Plain).unwrap());
        let crowd = members::crowd(arena.0);
        let block = early.unwrap_or_else(|| arena.alloc(1 << 20, BlockKind::Plain).unwrap());
        assert_eq!(arena.0.record().is_member(), member);
        let (handle, entry) = (block.handle(), block.0.entry);
        // What a fork does.
        let mut childs = arena.0.record().duplicate(arena.0);
        assert!(!childs.is_member());
        drop(block);
        assert!(arena.open(handle).is_ok(), "the child's");
        // The child lets go of its copy, takes one of its own, and lets go of that.
        assert!(!childs.strike(arena.0, entry, handle.to_u64()), "never given back");
        assert!(arena.0.count_up(handle.to_u64()));
        let entry = childs.note(arena.0, handle.to_u64());
        assert!(entry.is_none() && childs.strike(arena.0, entry, handle.to_u64()));
        arena.0.count_down(handle.to_u64());
        assert!(arena.open(handle).is_ok());
        members::disperse(arena.0, crowd);
        let more = arena.open(handle).unwrap();
        assert!(arena.0.record().is_member(), "there is room again");
        drop(more);
        assert_eq!(arena.used(), 1 << 20);
    }
}

#[test]
fn a_child_counts_each_hold_for_which_there_was_no_room() {
    let (_alone, arena) = (alone(), arena());
    let crowd = members::crowd(arena.0);
    let first = arena.alloc(1000, BlockKind::Plain).unwrap();
    let handle = first.handle();
    let second = arena.open(handle).unwrap();
    assert!(first.0.entry.is_none() && second.0.entry.is_none());
    let held = std::cell::Cell::new(Some((first, second)));
    in_child(|| {
        // Both go into messages.
        let (first, second) = held.take().expect("both are there");
        let _ = (first.into_transit(), second.into_transit());
    });
    let (first, second) = held.take().expect("both are there");
    drop(first);
    arena.discard(handle);
    arena.discard(handle);
    assert!(arena.open(handle).is_ok(), "freed, though somebody holds it");
    drop(second);
    assert_eq!(arena.used(), 0);
    members::disperse(arena.0, crowd);
}

#[test]
fn without_descriptors_nobody_knows_whether_there_is_a_child() {
    let (_alone, arena) = (alone(), arena());
    let _block = arena.alloc(64, BlockKind::Plain).unwrap();
    let crowd = members::crowd(arena.0);
    // A process of its own, as it uses its descriptors up.
    in_child(|| {
        let me = crate::ProcessTag::me();
        // SAFETY: the child waits for a signal, and ends with its parent at the latest by the alarm.
        let child = unsafe { libc::fork() };
        if child == 0 {
            // SAFETY: as above.
            unsafe {
                libc::alarm(60);
                libc::pause();
                libc::_exit(0);
            }
        }
        assert_eq!(members::is_awaited(arena.0, me), Some(true));
        // The lowest from 3 on that is free; those below are in use.
        let lowest = arena.fd().try_clone_to_owned().unwrap().as_raw_fd() as u64;
        let before = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let mut answers = Vec::new();
        for current in [Some(lowest), Some(lowest + 1), before.current] {
            let limit = rustix::process::Rlimit { current, ..before };
            rustix::process::setrlimit(rustix::process::Resource::Nofile, limit).unwrap();
            answers.push(members::is_awaited(arena.0, me));
        }
        // SAFETY: ends the child above.
        unsafe {
            libc::kill(child, libc::SIGKILL);
            libc::waitpid(child, core::ptr::null_mut(), 0);
        }
        assert_eq!(answers, [None, None, Some(true)]);
    });
    members::disperse(arena.0, crowd);
}

#[test]
fn when_a_hold_cannot_be_noted_the_error_is_that_of_the_note() {
    let _alone = alone();
    let arena = Arena::create(ArenaConfig { bytes: 0, cached: 0 }).expect("the smallest");
    let heap = arena.0.heap();
    let mut held = vec![arena.alloc(64, BlockKind::Plain).expect("room")];
    while heap.take(960, |_| false).is_ok() {}
    let error = loop {
        match arena.alloc(64, BlockKind::Plain) {
            Ok(block) => held.push(block),
            Err(error) => break error,
        }
    };
    // There is room for more blocks of this size, but not for the list of them.
    assert!(matches!(error, ShmError::HeapFull { bytes: 960, .. }), "{error}");
    assert_eq!(arena.used(), 64 * held.len() as u64);
}

#[test]
fn what_the_machine_does_not_have_is_refused() {
    let memory = rustix::system::sysinfo();
    let all = (memory.totalram as u64 + memory.totalswap as u64) * u64::from(memory.mem_unit).max(1);
    let arena = Arena::create(ArenaConfig { bytes: 4 * all, cached: 1 << 30 }).expect("range enough");
    let small = arena.alloc(1000, BlockKind::Plain).unwrap();
    let error = arena.alloc(all as usize, BlockKind::Plain).unwrap_err();
    assert!(matches!(error, ShmError::OutOfMemory { .. }) && error.to_string().contains("bytes left"), "{error}");
    assert_eq!(arena.used(), 1000);
    drop(small);
    assert!(arena.alloc(1 << 20, BlockKind::Plain).is_ok());
}
