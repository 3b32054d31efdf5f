//! What needs the inside of a queue, or an arena. The rest is in `tests/queue.rs`.

use std::process::Command;
use std::thread;

use super::{ArenaMemory, Queue, Record, TryGet, TryPut, Turn};
use crate::alive::ShortTag;
use crate::arena::{Arena, ArenaConfig, BlockKind};
use crate::owned::{Life, Processes};

fn arena() -> Arena {
    Arena::create(ArenaConfig { bytes: 64 << 20, cached: 0 }).unwrap()
}

#[test]
fn a_side_whose_owner_is_dead_is_taken_over() {
    let queue = Queue::create(ArenaMemory::create(arena()).unwrap(), 0).unwrap();
    let mut child = Command::new("sleep").arg("60").spawn().unwrap();
    let child_pid = child.id();
    let word = ShortTag::of(child_pid).to_u32();
    let dead = |word: u32| Processes.died(word) == Some(child_pid);
    assert!(word != 0 && word != Processes.me() && !dead(word));
    assert_eq!(Processes.died(Processes.me()), None);
    queue.header().put.lock.seize(word);
    queue.header().get.lock.seize(word);
    assert_eq!(queue.try_put(b"x", &[]).unwrap(), TryPut::Busy);
    child.kill().unwrap();
    let mut got = thread::scope(|scope| {
        for n in 0..4u8 {
            let queue = &queue;
            scope.spawn(move || while queue.put(&[n], &[], None, 0).unwrap() != Turn::Done {});
        }
        let mut record = Record::new();
        (0..4)
            .map(|_| {
                while queue.get(&mut record, None, 0).unwrap() != Turn::Done {}
                record.bytes()[0]
            })
            .collect::<Vec<u8>>()
    });
    got.sort_unstable();
    assert_eq!(got, [0, 1, 2, 3]);
    assert!(dead(word), "before it was waited for");
    child.wait().unwrap();
    assert!(dead(word));
}

#[test]
fn an_arena_gets_everything_back_from_a_queue_nobody_holds() {
    let arena = arena();
    let before = arena.used();
    let carried = arena.alloc(1000, BlockKind::Plain).unwrap();
    let queue = Queue::create(ArenaMemory::create(arena).unwrap(), 0).unwrap();
    for _ in 0..1000 {
        let handle = carried.clone().into_transit().to_u64();
        assert_eq!(queue.try_put(&[1; 100], &[handle]).unwrap(), TryPut::Done);
    }
    let handle = carried.handle();
    drop(carried);
    let block = queue.memory().block().unwrap().clone();
    assert!(Queue::open(ArenaMemory::of(arena.open(block.handle()).unwrap()).unwrap()).unwrap().len() == 1000);
    let mut record = Record::new();
    assert_eq!(queue.try_get(&mut record).unwrap(), TryGet::Done);
    drop((queue, block));
    // What is left is the hold that the record we got has given to us.
    assert_eq!(arena.used(), before + 1000);
    drop(arena.adopt(handle).unwrap());
    assert_eq!(arena.used(), before);
    assert!(arena.open(handle).is_err());
}
