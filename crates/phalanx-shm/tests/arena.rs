//! The arena: blocks, holds, forked and killed processes.
//!
//! Forked children only use atomics and the arena, whose private lists are allocated by the C library's allocator,
//! which stays usable after a fork.
#![cfg(not(loom))]
#![expect(unsafe_code, reason = "the tests fork and kill")]

mod common;

use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::Child;
use phalanx_shm::queue::{ArenaMemory, Queue, Turn};
use phalanx_shm::{Arena, ArenaConfig, Block, BlockKind, Handle, ShmError};

/// A new arena, and the right to be the only test: a fork gives the child a hold on all blocks of its parent.
fn arena() -> (Arena, MutexGuard<'static, ()>) {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    (Arena::create(ArenaConfig { bytes: 1 << 30, cached: 16 << 20 }).unwrap(), alone)
}

fn until(what: &str, ready: impl Fn() -> bool) {
    let start = Instant::now();
    while !ready() {
        assert!(start.elapsed() < Duration::from_secs(30), "{what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn blocks_are_aligned_apart_and_freed_with_the_last_hold() {
    let (arena, _alone) = arena();
    let start = arena.used();
    let sizes = [1, 64, 65, 1000, 16 << 10, (16 << 10) + 1, 64 << 10, 100_000, 1 << 20, 3_000_000];
    let blocks: Vec<_> = sizes.iter().map(|n| arena.alloc_zeroed(*n, BlockKind::Plain).unwrap()).collect();
    for (i, (block, size)) in blocks.iter().zip(sizes).enumerate() {
        assert_eq!(block.len(), size);
        let align = if size >= 64 << 10 { 4096 } else { 64 };
        assert_eq!(block.as_ptr() as usize % align, 0, "{size} bytes");
        block.bytes().write(0, &vec![i as u8 + 1; size]).unwrap();
    }
    for (i, block) in blocks.iter().enumerate() {
        let mut seen = vec![0; block.len()];
        block.bytes().read(0, &mut seen).unwrap();
        assert!(seen.iter().all(|b| *b == i as u8 + 1));
    }
    let handle = blocks[3].handle();
    let again = arena.open(handle).unwrap();
    assert_eq!(again.as_ptr(), blocks[3].as_ptr());
    drop(blocks);
    assert!(arena.open(handle).is_ok(), "one hold is left");
    drop(again);
    assert!(matches!(arena.open(handle), Err(ShmError::Freed { .. })));
    assert_eq!(arena.used() - start, 0);
}

#[test]
fn a_handle_does_not_find_the_next_user_of_its_block() {
    let (arena, _alone) = arena();
    let first = arena.alloc(100, BlockKind::Plain).unwrap();
    let (old, place) = (first.handle(), first.as_ptr());
    drop(first);
    let second = arena.alloc(100, BlockKind::Plain).unwrap();
    assert_eq!(second.as_ptr(), place, "the block is used again");
    assert!(arena.open(old).is_err());
    assert!(arena.open(Handle::from_u64(0)).is_err());
    assert!(arena.open(Handle::from_u64(u64::MAX)).is_err());
}

#[test]
fn a_message_carries_a_hold() {
    let (arena, _alone) = arena();
    let start = arena.used();
    let block = arena.alloc(5000, BlockKind::Plain).unwrap();
    let kept = block.clone();
    let message = block.into_transit();
    drop(kept);
    let block = arena.adopt(message).unwrap();
    let message = block.into_transit();
    assert!(arena.used() > start);
    arena.discard(message);
    assert_eq!(arena.used(), start);
}

#[test]
fn a_forked_child_holds_what_its_parent_held() {
    let (arena, _alone) = arena();
    let block = arena.alloc_zeroed(4096, BlockKind::Plain).unwrap();
    let flag = arena.alloc_zeroed(64, BlockKind::Plain).unwrap();
    let start = arena.used();
    let child = {
        let inherited = block.clone();
        let go = flag.clone();
        Child::run(move || {
            until("the parent lets go", || go.word32(0).load(SeqCst) == 1);
            inherited.word32(0).store(7, SeqCst);
            go.word32(0).store(2, SeqCst);
            until("never", || go.word32(0).load(SeqCst) == 3);
        })
    };
    let handle = block.handle();
    drop(block);
    assert_eq!(arena.used(), start, "the child's hold");
    flag.word32(0).store(1, SeqCst);
    until("the child writes", || flag.word32(0).load(SeqCst) == 2);
    assert_eq!(arena.open(handle).unwrap().word32(0).load(SeqCst), 7);
    drop(child);
    assert_eq!(arena.sweep(), 1);
    assert!(arena.open(handle).is_err());
    assert!(arena.used() < start);
}

#[test]
fn what_a_process_held_that_became_another_program_is_taken_back() {
    let (arena, _alone) = arena();
    let step = arena.alloc_zeroed(64, BlockKind::Plain).unwrap();
    let block = arena.alloc_zeroed(1 << 20, BlockKind::Plain).unwrap();
    let handle = block.handle();
    let child = Child::run(|| {
        until("the parent has looked", || step.word32(0).load(SeqCst) == 1);
        // SAFETY: a path and arguments that end with a null pointer.
        unsafe { libc::execl(c"/bin/sleep".as_ptr(), c"sleep".as_ptr(), c"60".as_ptr(), std::ptr::null::<u8>()) };
    });
    drop(block);
    assert_eq!(arena.sweep(), 0, "the child has it mapped");
    assert!(arena.open(handle).is_ok());
    step.word32(0).store(1, SeqCst);
    until("it is another program", || arena.sweep() == 1);
    assert!(arena.open(handle).is_err());
    drop(child);
    assert_eq!(arena.sweep(), 0);
}

#[test]
fn what_killed_processes_held_is_taken_back() {
    let (arena, _alone) = arena();
    let count = arena.alloc_zeroed(64, BlockKind::Plain).unwrap();
    let start = arena.used();
    for round in 1..=20 {
        let child = Child::run(|| {
            let _held: Vec<_> = (0..100).map(|n| arena.alloc(n * 100, BlockKind::Plain).unwrap()).collect();
            count.word32(0).store(round, SeqCst);
            until("killed", || false);
        });
        until("the child allocates", || count.word32(0).load(SeqCst) == round);
        assert!(arena.used() > start + 400_000);
        let pid = child.pid();
        drop(child);
        arena.sweep_process(pid);
        assert_eq!(arena.used(), start, "round {round}");
    }
}

#[test]
fn processes_killed_at_any_instant_free_nothing_that_is_in_use() {
    let (arena, _alone) = arena();
    let mut kept = Vec::new();
    for round in 0..60u64 {
        let children: Vec<_> = (0..2)
            .map(|_| {
                Child::run(|| {
                    for n in 0usize.. {
                        let block = arena.alloc([64, 900, 20_000, 1 << 20][n % 4], BlockKind::Plain).unwrap();
                        block.word64(0).store(u64::MAX, SeqCst);
                        let copy = arena.open(block.handle()).unwrap();
                        let message = block.into_transit();
                        drop(copy);
                        drop(arena.adopt(message).unwrap());
                    }
                })
            })
            .collect();
        let until = Instant::now() + Duration::from_micros(300 + round * 30);
        while Instant::now() < until {
            let block = arena.alloc([64, 900, 20_000, 1 << 20][kept.len() % 4], BlockKind::Plain).unwrap();
            block.word64(0).store(round, SeqCst);
            kept.push((block, round));
            if kept.len() > 40 {
                let (block, mark) = kept.remove(round as usize % 40);
                assert_eq!(block.word64(0).load(SeqCst), mark, "somebody else got this block too");
            }
        }
        drop(children);
        arena.sweep();
    }
    drop(kept);
    println!("{} bytes lost with 120 killed processes", arena.used());
    // Each dead process loses a block at most.
    assert!(arena.used() < 120 * (1 << 20));
}

#[test]
fn a_full_arena_says_so_and_recovers() {
    let (_, _alone) = arena();
    let arena = Arena::create(ArenaConfig { bytes: 64 << 20, cached: 0 }).unwrap();
    let mut held = Vec::new();
    let error = loop {
        match arena.alloc(5 << 20, BlockKind::Plain) {
            Ok(block) => held.push(block),
            Err(e) => break e,
        }
    };
    assert!(error.is_no_memory() && error.to_string().contains("in use"), "{error}");
    assert!(held.len() >= 8, "{} blocks", held.len());
    drop(held.pop());
    let smaller = arena.alloc(4 << 20, BlockKind::Plain);
    assert!(smaller.is_ok(), "a larger free block serves");
}

fn small_arena(bytes: u64) -> Arena {
    Arena::create(ArenaConfig { bytes, cached: 8 << 20 }).unwrap()
}

/// Blocks of one size until there is no room for more.
fn fill(arena: Arena, bytes: usize) -> Vec<Block> {
    let blocks: Vec<_> = std::iter::from_fn(|| arena.alloc(bytes, BlockKind::Plain).ok()).collect();
    for (n, block) in blocks.iter().enumerate().filter(|(_, block)| block.len() >= 8) {
        block.word64(0).store(n as u64, SeqCst);
        block.word64(block.len() / 8 * 8 - 8).store(n as u64, SeqCst);
    }
    for (n, block) in blocks.iter().enumerate().filter(|(_, block)| block.len() > 8) {
        let (first, last) = (block.word64(0).load(SeqCst), block.word64(block.len() / 8 * 8 - 8).load(SeqCst));
        assert_eq!((first, last), (n as u64, n as u64), "blocks of {bytes} bytes overlap");
    }
    blocks
}

#[test]
fn what_was_full_of_one_size_has_room_for_every_other() {
    let (_, _alone) = arena();
    let arena = small_arena(64 << 20);
    let sizes = [5 << 20, 4000, 100_000, 64, 20 << 20, 30_000, 64 << 10, 1000, 40_000, 16_000, 1 << 20];
    for round in 0..3 {
        for bytes in sizes {
            let blocks = fill(arena, bytes);
            let held = blocks.len() * (bytes + 64);
            assert!(held > 36 << 20, "round {round}: {} blocks of {bytes} bytes", blocks.len());
        }
        assert_eq!(arena.used(), 0);
    }
    // What this process notes its holds in lies behind the first block.
    assert!(arena.alloc(55 << 20, BlockKind::Plain).is_ok(), "the rest is one piece again");
}

#[test]
fn growing_sizes_one_at_a_time_need_no_more_than_the_largest() {
    let (_, _alone) = arena();
    let arena = small_arena(64 << 20);
    for bytes in (100_000..60_000_000).step_by(500_000) {
        let block = arena.alloc_zeroed(bytes, BlockKind::Plain).unwrap();
        let last = block.word64(bytes / 8 * 8 - 8);
        assert_eq!(last.swap(u64::MAX, SeqCst), 0);
        block.word64(0).store(u64::MAX, SeqCst);
    }
}

#[test]
fn small_blocks_are_cut_from_free_large_ones_between_those_in_use() {
    let (_, _alone) = arena();
    let arena = small_arena(64 << 20);
    let mut large = fill(arena, 1 << 20);
    let kept: Vec<_> = (0..large.len() / 2).map(|n| large.remove(n)).collect();
    kept.iter().for_each(|block| block.bytes().write(0, &vec![7; 1 << 20]).unwrap());
    drop(large);
    let small = fill(arena, 4000);
    assert!(small.len() * 4000 > 20 << 20, "{} small blocks", small.len());
    small.iter().for_each(|block| block.bytes().write(0, &[1; 4000]).unwrap());
    let mut bytes = vec![0; 1 << 20];
    for block in &kept {
        block.bytes().read(0, &mut bytes).unwrap();
        assert!(bytes.iter().all(|byte| *byte == 7));
    }
    let error = arena.alloc(8 << 20, BlockKind::Plain).unwrap_err().to_string();
    assert!(error.contains("largest free piece"), "{error}");
    drop(small);
    assert!(fill(arena, 1 << 20).len() + 3 >= kept.len(), "the small blocks' slabs are large ones again");
}

#[test]
fn handles_of_joined_blocks_open_nothing_whatever_is_written_there() {
    let (_, _alone) = arena();
    let arena = small_arena(64 << 20);
    let small: Vec<_> = fill(arena, 4000).iter().map(Block::handle).collect();
    let large: Vec<_> = fill(arena, 1 << 20).iter().map(Block::handle).collect();
    let block = arena.alloc(60 << 20, BlockKind::Plain).unwrap();
    for state in [1, 1 << 32 | 1, 2 << 32 | 3] {
        block.words(0, block.len() / 8).iter().for_each(|word| word.store(state, SeqCst));
        for handle in small.iter().chain(&large).filter(|handle| **handle != block.handle()) {
            assert!(arena.open(*handle).is_err());
            assert!(arena.adopt(*handle).is_err());
            arena.discard(*handle);
        }
        assert!(block.words(0, block.len() / 8).iter().all(|word| word.load(SeqCst) == state));
    }
}

#[test]
fn processes_killed_while_the_arena_is_full_lose_little_of_it() {
    let (_, _alone) = arena();
    let arena = small_arena(32 << 20);
    let sizes = [64, 4000, 100_000, 300_000, 900, 70_000, 20_000, 200];
    let mut kept: Vec<(Block, u64)> = Vec::new();
    for round in 0..60_u64 {
        let children: Vec<_> = (0..2_usize)
            .map(|seed| {
                Child::run(|| {
                    let mut held = Vec::new();
                    for n in seed + round as usize.. {
                        match arena.alloc(sizes[n * 7 % 8], BlockKind::Plain) {
                            Ok(block) => {
                                block.word64(0).store(u64::MAX, SeqCst);
                                block.word64(block.len() / 8 * 8 - 8).store(u64::MAX, SeqCst);
                                held.push(block);
                            }
                            Err(_) => held.clear(),
                        }
                    }
                })
            })
            .collect();
        let until = Instant::now() + Duration::from_micros(2000 + round * 50);
        while Instant::now() < until {
            if let Ok(block) = arena.alloc(sizes[kept.len() % 7], BlockKind::Plain) {
                block.word64(0).store(round, SeqCst);
                block.word64(block.len() / 8 * 8 - 8).store(round, SeqCst);
                kept.push((block, round));
            }
            if kept.len() > 10 {
                let (block, mark) = kept.remove(round as usize % 10);
                let last = block.word64(block.len() / 8 * 8 - 8);
                assert_eq!(
                    (block.word64(0).load(SeqCst), last.load(SeqCst)),
                    (mark, mark),
                    "somebody else has it, too"
                );
            }
        }
        drop(children);
        arena.sweep();
    }
    drop(kept);
    println!("{} bytes lost by count with 120 killed processes", arena.used());
    let room: usize = fill(arena, 100_000).len() * 100_000;
    println!("{room} bytes of {} are left", 32 << 20);
    assert!(room > 4 << 20);
}

#[test]
fn a_child_forked_while_the_arena_is_full_holds_and_gives_back_what_it_inherited() {
    let (_, _alone) = arena();
    let arena = small_arena(32 << 20);
    let before = arena.alloc_zeroed(64, BlockKind::Plain).unwrap();
    let mut held = fill(arena, 300_000);
    held.extend(fill(arena, 20_000));
    held.extend(fill(arena, 500));
    held.truncate(100);
    for _ in 0..10 {
        let mut small = fill(arena, 500);
        small.extend(fill(arena, 64));
        let handles: Vec<_> = small.iter().map(|block| block.clone().into_transit()).collect();
        drop(small);
        let child = Child::run(|| until("killed", || false));
        drop(child);
        arena.sweep();
        handles.into_iter().for_each(|handle| arena.discard(handle));
    }
    let handles: Vec<_> = held.iter().map(Block::handle).collect();
    drop(held);
    assert!(handles.iter().all(|handle| arena.open(*handle).is_err()));
    assert_eq!(arena.used(), 64);
    drop(before);
}

#[test]
fn a_killed_gatherer_leaves_its_blocks_to_the_next() {
    const ROUNDS: u64 = 30;
    let (_, _alone) = arena();
    let arena = small_arena(32 << 20);
    let step = arena.alloc_zeroed(64, BlockKind::Plain).unwrap();
    let mut finished = 0;
    for round in 0..ROUNDS {
        step.word32(0).store(0, SeqCst);
        drop(fill(arena, 500));
        let child = Child::run(|| {
            step.word32(0).store(1, SeqCst);
            // More than there can be beside the block above, so that everything is gathered in vain.
            assert!(arena.alloc((32 << 20) - (300 << 10), BlockKind::Plain).is_err());
            step.word32(0).store(2, SeqCst);
            until("killed", || false);
        });
        while step.word32(0).load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        let then = Instant::now() + Duration::from_micros(round * 25);
        while Instant::now() < then {}
        finished += u64::from(step.word32(0).load(SeqCst) == 2);
        drop(child);
        arena.sweep();
        let room = fill(arena, 4000).len() * 4000;
        let lost = (32 << 20) - room;
        assert!(lost < (4 << 20) + round as usize * (200 << 10), "{lost} bytes lost by round {round}");
    }
    // What was lost lies anywhere: as many pieces as rounds leave this much in one, and none was that large before.
    assert!(arena.alloc(512 << 10, BlockKind::Plain).is_ok());
    println!("{finished} of {ROUNDS} gatherers had ended before they were killed");
}

#[test]
fn a_chain_of_queues_is_freed_one_after_the_other() {
    let (arena, _alone) = arena();
    let start = arena.used();
    let queue = || Queue::create(ArenaMemory::create(arena).unwrap(), 0).unwrap();
    let first = queue();
    let mut last = first.memory().clone();
    for _ in 0..100_000 {
        let next = queue();
        let handle = next.memory().block().unwrap().clone().into_transit();
        let put = Queue::open(last).unwrap().put(b"", &[handle.to_u64()], None, 0).unwrap();
        assert_eq!(put, Turn::Done);
        last = next.memory().clone();
    }
    drop((first, last));
    assert_eq!(arena.used(), start);
}

#[test]
fn another_mapping_of_the_same_arena_sees_the_same_blocks() {
    let (arena, _alone) = arena();
    let block = arena.alloc_zeroed(64, BlockKind::Lock).unwrap();
    let other = Arena::attach(arena.fd().try_clone_to_owned().unwrap()).unwrap();
    assert_eq!(other.id(), arena.id());
    let same = other.open(block.handle()).unwrap();
    assert_eq!(same.kind(), BlockKind::Lock);
    assert_eq!(same.as_ptr(), block.as_ptr(), "mapped once per process");
    block.word32(8).store(5, SeqCst);
    assert_eq!(same.word32(8).load(SeqCst), 5);
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(matches!(Arena::attach(file.into()), Err(ShmError::NotAUniverse { .. })));
}

#[test]
fn children_killed_at_once_keep_nothing() {
    let (arena, _alone) = arena();
    let block = arena.alloc(1 << 20, BlockKind::Plain).unwrap();
    let handle = block.handle();
    for _ in 0..50 {
        // Most die before their first step, in the fork.
        drop(Child::run(|| until("killed", || false)));
    }
    drop(block);
    assert_eq!(arena.sweep(), 50);
    assert!(arena.open(handle).is_err());
}

#[test]
fn many_holds_and_many_children() {
    let (arena, _alone) = arena();
    let held: Vec<_> = (0..3000).map(|_| arena.alloc(64, BlockKind::Plain).unwrap()).collect();
    let start = arena.used();
    for _ in 0..5 {
        assert_eq!(Child::run(|| drop(held.clone())).wait(), 0);
    }
    assert_eq!(arena.sweep(), 5);
    assert_eq!(arena.used(), start);
    drop(held);
    assert_eq!(arena.used(), start - 3000 * 64);
}
