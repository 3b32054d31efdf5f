//! Queues over a shared anonymous mapping: between threads, between forked processes, and with processes that are killed.
#![cfg(not(loom))]
#![expect(unsafe_code, reason = "the tests fork and kill")]

mod common;

use core::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::Child;
use phalanx_shm::ShmError;
use phalanx_shm::queue::{HEADER, Joining, Memory, Queue, Record, TryGet, TryPut, Turn, Watch};

const SIZE: usize = 64 << 20;
const HEAP: u64 = HEADER as u64 + 128;

/// A mapping that forked processes share: a header, counters, and a heap that only grows (but hands out freed blocks of
/// the same size again, through a stack of one).
struct Mapping(NonNull<u8>);

// SAFETY: an address of a mapping that is never unmapped.
unsafe impl Send for Mapping {}
// SAFETY: as for Send; accesses go by the queue's protocol or are atomic.
unsafe impl Sync for Mapping {}

impl Mapping {
    fn new() -> Mapping {
        // SAFETY: a fresh mapping at an address of the kernel's choice.
        let base = unsafe {
            libc::mmap(
                core::ptr::null_mut(),
                SIZE,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE,
                -1,
                0,
            )
        };
        let mapping = Mapping(NonNull::new(base.cast()).unwrap());
        mapping.word(0).store(HEAP, Ordering::Relaxed);
        mapping
    }

    /// Words behind the header: 0 top of the heap, 1 blocks in use, 2 holds released, 3 to 15 for tests.
    fn word(&self, n: usize) -> &AtomicU64 {
        assert!(n < 16);
        // SAFETY: between the header and the heap, aligned, atomic.
        unsafe { self.0.add(HEADER + 8 * n).cast::<AtomicU64>().as_ref() }
    }

    fn again(&self) -> Mapping {
        Mapping(self.0)
    }
}

impl Memory for Mapping {
    fn header(&self) -> NonNull<u8> {
        self.0
    }

    fn alloc(&self, bytes: usize) -> Result<(u64, usize), ShmError> {
        let len = bytes.next_multiple_of(64);
        let at = self.word(0).fetch_add(len as u64, Ordering::Relaxed);
        if at as usize + len > SIZE {
            return Err(ShmError::HeapFull { bytes: len as u64, live: at, capacity: SIZE as u64, largest: 0 });
        }
        self.word(1).fetch_add(1, Ordering::Relaxed);
        Ok((at, len))
    }

    fn free(&self, _: u64) {
        self.word(1).fetch_sub(1, Ordering::Relaxed);
    }

    fn at(&self, block: u64, len: usize) -> Option<NonNull<u8>> {
        let at = usize::try_from(block).ok()?;
        // SAFETY: in bounds of the mapping by the check.
        at.checked_add(len).is_some_and(|end| end <= SIZE).then(|| unsafe { self.0.add(at) })
    }

    fn release(&self, _: u64) {
        self.word(2).fetch_add(1, Ordering::Relaxed);
    }
}

fn queue(maxsize: u64) -> Queue<Mapping> {
    Queue::create(Mapping::new(), maxsize).unwrap()
}

fn put(queue: &Queue<Mapping>, wire: &[u8]) {
    let mut turn = 0;
    while queue.put(wire, &[], None, turn).unwrap() != Turn::Done {
        turn += 1;
    }
}

fn get(queue: &Queue<Mapping>) -> Vec<u8> {
    let mut record = Record::new();
    let mut turn = 0;
    while queue.get(&mut record, Some(Instant::now() + Duration::from_secs(30)), turn).unwrap() != Turn::Done {
        turn += 1;
        assert!(turn < 400, "nothing came");
    }
    record.bytes().to_vec()
}

fn get_number(queue: &Queue<Mapping>) -> u64 {
    u64::from_ne_bytes(get(queue)[..8].try_into().unwrap())
}

#[test]
fn records_of_all_sizes_come_in_order() {
    let queue = queue(0);
    let sizes: Vec<usize> = (0..600).map(|n| n * n % 7001).chain([100_000, 3, 200_000, 0]).collect();
    let mut record = Record::new();
    for _ in 0..3 {
        for (n, &size) in sizes.iter().enumerate() {
            assert_eq!(queue.try_put(&vec![n as u8; size], &[7; 3][..n % 4]).unwrap(), TryPut::Done);
        }
        assert_eq!(queue.len(), sizes.len() as u64);
        for (n, &size) in sizes.iter().enumerate() {
            assert_eq!(queue.try_get(&mut record).unwrap(), TryGet::Done);
            assert_eq!(record.bytes(), vec![n as u8; size]);
        }
        assert_eq!(queue.try_get(&mut record).unwrap(), TryGet::Empty);
    }
    // What is in use is one chunk of the queue and a spare one.
    assert!(queue.memory().word(1).load(Ordering::Relaxed) <= 2);
    queue.dismantle();
    assert_eq!(queue.memory().word(1).load(Ordering::Relaxed), 0);
}

#[test]
fn chunks_are_used_again() {
    let queue = queue(0);
    for n in 0..2_000_000u64 {
        put(&queue, &n.to_ne_bytes());
        if n >= 100 {
            assert_eq!(get_number(&queue), n - 100);
        }
    }
    assert!(queue.memory().word(0).load(Ordering::Relaxed) < 1 << 20);
}

#[test]
fn a_bounded_queue_is_full_and_has_room_again() {
    let queue = queue(2);
    assert_eq!(queue.try_put(b"a", &[]).unwrap(), TryPut::Done);
    assert!(!queue.is_full());
    assert_eq!(queue.try_put(b"b", &[]).unwrap(), TryPut::Done);
    assert!(queue.is_full());
    assert_eq!(queue.try_put(b"c", &[]).unwrap(), TryPut::Full);
    let soon = Some(Instant::now() + Duration::from_millis(20));
    assert_eq!(queue.put(b"c", &[], soon, 0).unwrap(), Turn::TimedOut);
    assert_eq!(get(&queue), b"a");
    assert_eq!(queue.try_put(b"c", &[]).unwrap(), TryPut::Done);
    assert_eq!((get(&queue), get(&queue)), (b"b".to_vec(), b"c".to_vec()));
}

#[test]
fn records_that_nobody_got_release_what_they_carry() {
    let queue = queue(0);
    for n in 0..1000 {
        assert_eq!(queue.try_put(&[0; 100], &[1, 2, 3][..n % 4]).unwrap(), TryPut::Done);
    }
    for _ in 0..500 {
        get(&queue);
    }
    queue.dismantle();
    assert_eq!(queue.memory().word(2).load(Ordering::Relaxed), 125 * 6);
    assert_eq!(queue.memory().word(1).load(Ordering::Relaxed), 0);
}

#[test]
fn threads_get_each_record_once() {
    for maxsize in [0, 3] {
        let queue = queue(maxsize);
        let sum = AtomicU64::new(0);
        thread::scope(|scope| {
            for part in 0..3 {
                let queue = &queue;
                scope.spawn(move || (0..20_000u64).for_each(|n| put(queue, &(3 * n + part).to_ne_bytes())));
            }
            for _ in 0..3 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        sum.fetch_add(get_number(&queue), Ordering::Relaxed);
                    }
                });
            }
        });
        assert_eq!(sum.into_inner(), 60_000 * 59_999 / 2);
        assert!(queue.is_empty());
    }
}

#[test]
fn processes_that_sleep_are_woken() {
    let (there, back) = (queue(0), queue(0));
    let child = Child::run(|| {
        let mut record = Record::new();
        for _ in 0..200 {
            let mut turn = 0;
            while there.get(&mut record, None, turn).unwrap() != Turn::Done {
                turn += 1;
            }
            put(&back, record.bytes());
        }
    });
    for n in 0..200u64 {
        if n % 10 == 0 {
            thread::sleep(Duration::from_millis(2));
        }
        put(&there, &n.to_ne_bytes());
        assert_eq!(get_number(&back), n);
    }
    assert_eq!(child.wait(), 0);
}

/// Killed at any instant, those who put leave the records they have put, in order, and nothing else.
#[test]
fn killing_who_puts_harms_nobody() {
    for round in 0..40 {
        let queue = queue(0);
        let counter = queue.memory().again();
        let child = Child::run(|| {
            for n in 0u64.. {
                let mut wire = [0u8; 200];
                wire[..8].copy_from_slice(&n.to_ne_bytes());
                let _ = queue.try_put(&wire[..8 + (n as usize * 31) % 190], &[]);
                counter.word(3).store(n + 1, Ordering::SeqCst);
                if queue.len() > 50_000 {
                    thread::sleep(Duration::from_millis(1));
                }
            }
        });
        while counter.word(3).load(Ordering::SeqCst) < 10 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(50 * round));
        child.kill();
        let said = counter.word(3).load(Ordering::SeqCst);
        put(&queue, &u64::MAX.to_ne_bytes());
        let mut next = 0;
        loop {
            match get_number(&queue) {
                u64::MAX => break,
                n => assert_eq!(n, next),
            }
            next += 1;
        }
        assert!(next == said || next == said + 1, "{said} said to be put, {next} got");
        assert!(queue.is_empty());
    }
}

/// Killed at any instant, those who get have the records they took, in order; the others are there.
#[test]
fn killing_who_gets_harms_nobody() {
    for round in 0..40 {
        let queue = queue(0);
        let counter = queue.memory().again();
        for n in 0..100_000u64 {
            put(&queue, &n.to_ne_bytes());
        }
        let child = Child::run(|| {
            let mut record = Record::new();
            while queue.try_get(&mut record).unwrap() == TryGet::Done {
                let n = u64::from_ne_bytes(record.bytes().try_into().unwrap());
                counter.word(3).store(n + 1, Ordering::SeqCst);
            }
        });
        while counter.word(3).load(Ordering::SeqCst) < 10 {
            thread::yield_now();
        }
        thread::sleep(Duration::from_micros(20 * round));
        child.kill();
        let taken = counter.word(3).load(Ordering::SeqCst);
        if taken < 100_000 {
            let first = get_number(&queue);
            assert!(first == taken || first == taken + 1, "{taken} taken, then came {first}");
            for n in first + 1..100_000 {
                assert_eq!(get_number(&queue), n);
            }
        }
        assert!(queue.is_empty());
    }
}

#[test]
fn killing_who_waits_harms_nobody() {
    let queue = queue(1);
    let waiting: Vec<Child> = (0..4)
        .map(|_| {
            Child::run(|| {
                let mut record = Record::new();
                while queue.get(&mut record, None, 1).unwrap() != Turn::Done {}
            })
        })
        .collect();
    thread::sleep(Duration::from_millis(50));
    waiting.into_iter().for_each(drop);
    let child = Child::run(|| (0..100u64).for_each(|n| put(&queue, &n.to_ne_bytes())));
    for n in 0..100 {
        assert_eq!(get_number(&queue), n);
    }
    assert_eq!(child.wait(), 0);
}

#[test]
fn joining_ends_when_everything_was_done_once() {
    let queue = queue(0);
    assert_eq!(queue.join(&mut queue.joining(), None), Turn::Done);
    assert!(!queue.task_done());
    put(&queue, b"1");
    put(&queue, b"2");
    let mut joining: Joining = queue.joining();
    assert_eq!(queue.join(&mut joining, Some(Instant::now())), Turn::TimedOut);
    assert!(queue.task_done());
    assert_ne!(queue.join(&mut joining, Some(Instant::now())), Turn::Done);
    assert!(queue.task_done());
    put(&queue, b"3");
    // Nothing was unfinished between the two.
    assert_eq!(queue.join(&mut joining, None), Turn::Done);
    assert_eq!(queue.unfinished(), 1);
}

fn is_readable(watch: &Watch) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let fd = watch.fd();
    poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&Timespec::default())).unwrap() > 0
}

fn becomes(watch: &Watch, readable: bool) -> bool {
    (0..5000).any(|_| {
        thread::sleep(Duration::from_millis(1));
        is_readable(watch) == readable
    })
}

#[test]
fn a_watch_follows_the_queue() {
    let queue = Arc::new(queue(0));
    let watch = Watch::start(&queue).unwrap();
    assert!(!is_readable(&watch));
    for _ in 0..20 {
        assert_eq!(Child::run(|| put(&queue, b"1")).wait(), 0);
        assert!(becomes(&watch, true));
        assert_eq!(
            Child::run(|| drop(queue.try_get(&mut Record::new()).map(|got| assert_eq!(got, TryGet::Done)))).wait(),
            0
        );
        assert!(becomes(&watch, false));
        put(&queue, b"2");
        let _ = watch.refresh(&queue);
        assert!(is_readable(&watch));
        get(&queue);
        let _ = watch.refresh(&queue);
        assert!(!is_readable(&watch));
    }
    watch.stop(&queue);
    let mut waited = 0;
    while Arc::strong_count(&queue) > 1 {
        thread::sleep(Duration::from_millis(1));
        waited += 1;
        assert!(waited < 5000, "the thread did not end");
    }
}

/// Putters and getters are killed at any instant and replaced: no item comes twice, and each kill costs one at most.
#[test]
fn a_kill_costs_one_item_at_most() {
    const ITEMS: u64 = 400_000;
    for maxsize in [0, 4] {
        let queue = queue(maxsize);
        let (shared, seen) = (queue.memory().again(), Mapping::new());
        let times = |n: u64| {
            // SAFETY: below the end of the mapping, aligned, atomic.
            unsafe { seen.0.add(HEADER + 256 + 8 * n as usize).cast::<AtomicU64>().as_ref() }
        };
        let (next, all_put) = (shared.word(3), shared.word(4));
        let put_all = || {
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= ITEMS {
                    return;
                }
                let mut wire = [0u8; 300];
                wire[..8].copy_from_slice(&n.to_ne_bytes());
                put(&queue, &wire[..8 + (n % 290) as usize]);
            }
        };
        let get_all = || {
            let mut record = Record::new();
            loop {
                let soon = Some(Instant::now() + Duration::from_millis(50));
                while queue.get(&mut record, soon, 0).unwrap() == Turn::Done {
                    let n = u64::from_ne_bytes(record.bytes()[..8].try_into().unwrap());
                    times(n).fetch_add(1, Ordering::Relaxed);
                }
                // Not by `next`: who took the last number may be far from having put it.
                if all_put.load(Ordering::Acquire) == 1 && queue.is_empty() {
                    return;
                }
            }
        };
        let (mut putters, mut getters): (Vec<Child>, Vec<Child>) =
            (0..2).map(|_| (Child::run(put_all), Child::run(get_all))).unzip();
        let mut kills = 0;
        while next.load(Ordering::Relaxed) < ITEMS && kills < 200 {
            thread::sleep(Duration::from_micros(500 + 137 * (kills % 17)));
            if kills % 2 == 0 {
                putters.remove(0).kill();
                putters.push(Child::run(put_all));
            } else {
                getters.remove(0).kill();
                getters.push(Child::run(get_all));
            }
            kills += 1;
        }
        putters.into_iter().for_each(|child| assert_eq!(child.wait(), 0));
        all_put.store(1, Ordering::Release);
        getters.into_iter().for_each(|child| assert_eq!(child.wait(), 0));
        assert!(queue.is_empty());
        let twice = (0..ITEMS).filter(|n| times(*n).load(Ordering::Relaxed) > 1).count();
        let lost = (0..ITEMS).filter(|n| times(*n).load(Ordering::Relaxed) == 0).count() as u64;
        println!("{ITEMS} items, {kills} kills, {lost} lost, bound {maxsize}");
        assert!(kills > 0 && twice == 0 && lost <= kills, "{twice} twice, {lost} lost, {kills} kills");
    }
}
