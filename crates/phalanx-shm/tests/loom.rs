//! Models of the protocols: loom runs them under every interleaving and every
//! value the memory model allows, and reports races on the rings' bytes.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p phalanx-shm --release --test loom --target-dir target/loom
//! ```
#![cfg(loom)]
#![expect(unsafe_code, reason = "loom's cells give raw pointers, and check them")]

use loom::sync::Arc;
use loom::sync::atomic::{AtomicU64, Ordering, fence};
use loom::thread;
use phalanx_shm::agreement::{Fate, Ledger, ROUNDS};
use phalanx_shm::board::LoomClaims;
use phalanx_shm::cells::{CELLS, Cells};
use phalanx_shm::errand::{Act, Answer, ERRAND_WORDS, Errand, Request};
use phalanx_shm::event::Event;
use phalanx_shm::holders::{ALONE, Holders, SHARED};
use phalanx_shm::notes::{NOTE_BYTES, NOTES_WORDS, Notes};
use phalanx_shm::owned::{Acquired, Life, OwnedLock};
use phalanx_shm::queue::LoomQueue;
use phalanx_shm::sleep::{Deadline, SleepWord, Slices, WAITING};
use phalanx_shm::{
    EngineLock, Envelope, HotSet, LoomRing, LoomStack, Part, Positions, RingConsumer, RingProducer, Semaphore, Woken,
};

/// Bounds the preemptions per execution, which finds what real schedulers do
/// and keeps the models small.
fn model(preemptions: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(body);
}

fn envelope(n: u64) -> Envelope {
    Envelope { kind: 1, token: n, ..Envelope::default() }
}

/// A payload whose words look like headers of any lap of a 16-line ring.
fn imitation(n: u64, len: usize) -> Vec<u8> {
    let word = (1u64 << 63 | (n + 1) % 2 << 32 | 1).to_ne_bytes();
    word.iter().copied().cycle().take(len).collect()
}

fn push(producer: &mut RingProducer, n: u64, payload: &[u8]) -> bool {
    producer.try_push(&envelope(n), &[Part::from(payload)])
}

/// The next record's token and payload, if one is there.
fn take(consumer: &mut RingConsumer) -> Option<(u64, Vec<u8>)> {
    let record = consumer.peek().unwrap()?;
    let got = (record.envelope.token, record.to_vec());
    consumer.pop();
    Some(got)
}

/// Brings a ring to the state after records of `lines` lines each were sent
/// and received.
fn warm(producer: &mut RingProducer, consumer: &mut RingConsumer, lines: &[usize]) {
    for (n, lines) in lines.iter().enumerate() {
        let payload = imitation(n as u64, lines * 64 - 40);
        assert!(push(producer, n as u64, &payload));
        assert_eq!(take(consumer), Some((n as u64, payload)));
    }
}

#[test]
fn a_record_appears_whole_or_not_at_all() {
    model(4, || {
        let (mut producer, mut consumer) = LoomRing::ends(&LoomRing::new(16));
        let sender = thread::spawn(move || {
            for n in 0..2 {
                assert!(push(&mut producer, n, &imitation(n, 70)));
            }
        });
        let mut next = 0;
        for _ in 0..3 {
            if let Some((n, payload)) = take(&mut consumer) {
                assert_eq!((n, payload), (next, imitation(next, 70)));
                next += 1;
            }
        }
        sender.join().unwrap();
        while let Some((n, payload)) = take(&mut consumer) {
            assert_eq!((n, payload), (next, imitation(next, 70)));
            next += 1;
        }
        assert_eq!(next, 2);
    });
}

#[test]
fn the_second_lap_is_not_taken_for_the_first_nor_payload_for_a_header() {
    model(3, || {
        let (mut producer, mut consumer) = LoomRing::ends(&LoomRing::new(16));
        // One line before the end: the next record wraps.
        warm(&mut producer, &mut consumer, &[8, 7]);
        let sender = thread::spawn(move || {
            for n in 10..12 {
                assert!(push(&mut producer, n, &imitation(n, 100)));
            }
        });
        let mut next = 10;
        for _ in 0..2 {
            if let Some((n, payload)) = take(&mut consumer) {
                assert_eq!((n, payload), (next, imitation(next, 100)));
                next += 1;
            }
        }
        sender.join().unwrap();
        while let Some((n, payload)) = take(&mut consumer) {
            assert_eq!((n, payload), (next, imitation(next, 100)));
            next += 1;
        }
        assert_eq!(next, 12);
    });
}

#[test]
fn reused_lines_were_read_before() {
    model(3, || {
        let (mut producer, mut consumer) = LoomRing::ends(&LoomRing::new(16));
        let large = 7 * 64 - 40;
        assert!(push(&mut producer, 0, &imitation(0, large)));
        assert!(push(&mut producer, 1, &imitation(1, large)));
        let sender = thread::spawn(move || {
            // Room for this comes only from records consumed meanwhile.
            push(&mut producer, 2, &imitation(2, large))
        });
        assert_eq!(take(&mut consumer), Some((0, imitation(0, large))));
        assert_eq!(take(&mut consumer), Some((1, imitation(1, large))));
        let sent = sender.join().unwrap();
        assert_eq!(take(&mut consumer).is_some(), sent);
    });
}

#[test]
fn a_sleeping_receiver_is_woken() {
    model(4, || {
        let ring = LoomRing::new(16);
        let (mut producer, mut consumer) = LoomRing::ends(&ring);
        let sender = thread::spawn(move || {
            assert!(push(&mut producer, 1, &[]));
            assert!(push(&mut producer, 2, &[]));
        });
        let mut hot = HotSet::new();
        for n in 1..=2 {
            loop {
                ring.refresh(&mut hot);
                if !hot.senders().is_empty()
                    && let Some((got, _)) = take(&mut consumer)
                {
                    assert_eq!(got, n);
                    break;
                }
                // A lost wake-up is a deadlock here, which loom reports.
                let token = ring.receiver_sleepers().announce(WAITING);
                ring.refresh(&mut hot);
                if hot.senders().is_empty() || consumer.is_empty() {
                    let why = ring.receiver_sleepers().sleep(token, None);
                    assert_eq!(why, Woken::Notified);
                }
            }
        }
        sender.join().unwrap();
    });
}

#[test]
fn a_cooled_sender_rings_again() {
    model(4, || {
        let ring = LoomRing::new(16);
        let (mut producer, mut consumer) = LoomRing::ends(&ring);
        assert!(push(&mut producer, 0, &[]));
        let mut hot = HotSet::new();
        assert!(ring.refresh(&mut hot));
        assert!(take(&mut consumer).is_some());
        let sender = thread::spawn(move || assert!(push(&mut producer, 1, &[])));
        ring.cool(&mut hot, || consumer.is_empty());
        sender.join().unwrap();
        ring.refresh(&mut hot);
        assert_eq!(hot.senders().len(), 1, "the record would never be looked for");
        assert!(take(&mut consumer).is_some());
    });
}

#[test]
fn a_sender_blocked_by_a_full_ring_is_woken() {
    model(3, || {
        let ring = LoomRing::new(16);
        let (mut producer, mut consumer) = LoomRing::ends(&ring);
        let large = imitation(0, 8 * 64 - 40);
        assert!(push(&mut producer, 0, &large));
        assert!(push(&mut producer, 1, &large));
        let receiver = thread::spawn(move || {
            assert_eq!(take(&mut consumer).unwrap().0, 0);
            assert_eq!(take(&mut consumer).unwrap().0, 1);
            consumer
        });
        while !push(&mut producer, 2, &large) {
            let token = ring.sleepers.announce(WAITING);
            if push(&mut producer, 2, &large) {
                break;
            }
            assert_eq!(ring.sleepers.sleep(token, None), Woken::Notified);
        }
        let mut consumer = receiver.join().unwrap();
        assert_eq!(take(&mut consumer).unwrap().0, 2);
    });
}

#[test]
fn two_threads_asleep_on_one_word_are_both_woken() {
    model(3, || {
        let shared = Arc::new((SleepWord::new(), loom::sync::atomic::AtomicU32::new(0)));
        let sleepers: Vec<_> = (0..2)
            .map(|_| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (word, event) = &*shared;
                    loop {
                        let token = word.announce(WAITING);
                        if event.load(loom::sync::atomic::Ordering::Relaxed) == 1 {
                            return;
                        }
                        assert_eq!(word.sleep(token, None), Woken::Notified);
                    }
                })
            })
            .collect();
        let (word, event) = &*shared;
        event.store(1, loom::sync::atomic::Ordering::Relaxed);
        word.notify();
        for sleeper in sleepers {
            sleeper.join().unwrap();
        }
    });
}

#[test]
fn a_sleeper_that_leaves_sees_what_it_was_counted_for() {
    model(3, || {
        let shared = Arc::new((SleepWord::new(), loom::sync::atomic::AtomicU32::new(0)));
        let waker = {
            let shared = shared.clone();
            thread::spawn(move || {
                let (word, event) = &*shared;
                event.store(1, loom::sync::atomic::Ordering::Relaxed);
                loom::sync::atomic::fence(loom::sync::atomic::Ordering::SeqCst);
                let counted = word.may_sleep();
                word.notify_all(WAITING);
                counted
            })
        };
        let (word, event) = &*shared;
        let _ = word.announce(WAITING);
        word.retract();
        let seen = event.load(loom::sync::atomic::Ordering::Relaxed) == 1;
        assert!(seen || !waker.join().unwrap());
        assert!(!word.may_sleep());
    });
}

#[test]
fn two_wakers_do_not_leave_a_sleeper_behind() {
    model(3, || {
        let event = || loom::sync::atomic::AtomicU32::new(0);
        let shared = Arc::new((SleepWord::new(), [event(), event()]));
        let wakers: Vec<_> = (0..2)
            .map(|i| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (word, events) = &*shared;
                    events[i].store(1, loom::sync::atomic::Ordering::Relaxed);
                    word.notify();
                })
            })
            .collect();
        let (word, events) = &*shared;
        loop {
            let token = word.announce(WAITING);
            if events.iter().all(|e| e.load(loom::sync::atomic::Ordering::Relaxed) == 1) {
                break;
            }
            assert_eq!(word.sleep(token, None), Woken::Notified);
        }
        for waker in wakers {
            waker.join().unwrap();
        }
    });
}

/// A thread of a model as a process that may die.
struct Process<'a> {
    me: u32,
    /// The process that the kernel would call dead.
    dead: &'a loom::sync::atomic::AtomicU32,
}

impl Life for Process<'_> {
    fn me(&self) -> u32 {
        self.me
    }

    fn died(&self, word: u32) -> Option<u32> {
        (self.dead.load(loom::sync::atomic::Ordering::Acquire) == word).then_some(word)
    }
}

/// A lock, what it protects, and who is dead.
type Owned = (OwnedLock, loom::cell::UnsafeCell<u64>, loom::sync::atomic::AtomicU32);

fn owned() -> Arc<Owned> {
    Arc::new((OwnedLock::new(), loom::cell::UnsafeCell::new(0), loom::sync::atomic::AtomicU32::new(0)))
}

fn count(shared: &Owned) {
    // SAFETY: loom lends the cell to this closure only, and reports whoever else touches it.
    shared.1.with_mut(|cell| unsafe { *cell += 1 });
}

#[test]
fn a_lock_that_knows_its_owner_excludes_and_wakes() {
    model(3, || {
        let shared = owned();
        let threads = [1, 2].map(|me| {
            let shared = shared.clone();
            thread::spawn(move || {
                // A lost wake-up is a deadlock here, which loom reports.
                let held = shared.0.lock_until(&Process { me, dead: &shared.2 }, Deadline::NEVER);
                count(&shared);
                drop(held);
            })
        });
        let held = shared.0.lock_until(&Process { me: 3, dead: &shared.2 }, Deadline::NEVER);
        count(&shared);
        drop(held);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // SAFETY: as in `count`.
        assert_eq!(shared.1.with(|cell| unsafe { *cell }), 3);
        assert!(shared.0.is_free());
    });
}

#[test]
fn one_waiter_is_told_that_the_owner_of_a_lock_died() {
    /// Takes the lock and gives it back; how often it was told of a death.
    fn take(shared: &Owned, me: u32) -> u32 {
        let life = Process { me, dead: &shared.2 };
        // The first slice is over at once, as it must be before anybody looks at the owner's life. After it the dead
        // owner's word is gone, and a lost wake-up is a deadlock, which loom reports.
        let (mut slices, mut told) = (Slices::over(), 0);
        loop {
            match shared.0.acquire_as(&life, &mut slices, Deadline::NEVER) {
                Acquired::Yes => break,
                Acquired::OwnerDied { pid } => {
                    assert_eq!(pid, 1);
                    told += 1;
                }
                Acquired::SliceOver => {}
                Acquired::TimedOut => unreachable!("there is no deadline"),
            }
            slices = Slices::new();
        }
        count(shared);
        shared.0.release();
        told
    }
    model(3, || {
        let shared = owned();
        // Killed with the lock.
        assert!(shared.0.take_free_as(&Process { me: 1, dead: &shared.2 }));
        count(&shared);
        shared.2.store(1, loom::sync::atomic::Ordering::Release);
        let other = {
            let shared = shared.clone();
            thread::spawn(move || take(&shared, 2))
        };
        assert_eq!(take(&shared, 3) + other.join().unwrap(), 1);
        // SAFETY: as in `count`.
        assert_eq!(shared.1.with(|cell| unsafe { *cell }), 3);
        assert!(shared.0.is_free());
    });
}

/// Asks for bytes that are all `me` to be written, and takes it back if nobody serves it. Whether they were.
fn ask(words: &[AtomicU64; ERRAND_WORDS], me: u8) -> bool {
    let errand = Errand::over(words);
    if !errand.ask(Request { at: usize::from(me), len: 16, act: Act::Write }, &[me; 16]) {
        return false;
    }
    if errand.look().is_none() && errand.withdraw() {
        return false;
    }
    loop {
        match errand.look() {
            Some(Answer::Done) => break,
            Some(Answer::Refused) => panic!("what was served is refused"),
            None => thread::yield_now(),
        }
    }
    let mut shown = [0; 16];
    errand.collect(&mut shown);
    assert_eq!(shown, [me; 16], "somebody else's bytes came between");
    true
}

#[test]
fn an_errand_is_one_askers_until_it_is_collected() {
    model(3, || {
        let words: Arc<[AtomicU64; ERRAND_WORDS]> = Arc::new(std::array::from_fn(|_| AtomicU64::new(0)));
        let server = {
            let words = words.clone();
            thread::spawn(move || {
                let mut served = 0;
                for _ in 0..2 {
                    Errand::over(&words).serve(|request, bytes| {
                        assert_eq!(bytes, [request.at as u8; 16], "a request of two askers");
                        served += 1;
                        true
                    });
                }
                served
            })
        };
        let other = {
            let words = words.clone();
            thread::spawn(move || ask(&words, 1))
        };
        let done = usize::from(ask(&words, 2)) + usize::from(other.join().unwrap());
        assert_eq!(done, server.join().unwrap());
    });
}

/// A lock with a word for each of three holders, a word to sleep on for the waiter, what it protects, and who is dead.
struct Held {
    gate: OwnedLock,
    waiting: loom::sync::atomic::AtomicU64,
    held: [loom::sync::atomic::AtomicU64; 3],
    sleep: SleepWord,
    cell: loom::cell::UnsafeCell<u64>,
    dead: loom::sync::atomic::AtomicU32,
}

impl Held {
    fn new() -> Arc<Held> {
        Arc::new(Held {
            gate: OwnedLock::new(),
            waiting: loom::sync::atomic::AtomicU64::new(0),
            held: std::array::from_fn(|_| loom::sync::atomic::AtomicU64::new(0)),
            sleep: SleepWord::new(),
            cell: loom::cell::UnsafeCell::new(0),
            dead: loom::sync::atomic::AtomicU32::new(0),
        })
    }

    fn lock(&self) -> Holders<'_> {
        Holders::over(&self.gate, &self.waiting, &self.held)
    }

    /// Takes the lock, sleeping on the one word while it is held.
    fn take(&self, me: usize, how: u64) {
        let life = Process { me: me as u32 + 1, dead: &self.dead };
        if self.lock().try_take(&life, me, how, None).is_ok() {
            return;
        }
        let _waits = self.lock().wait();
        loop {
            let token = self.sleep.announce(WAITING);
            if self.lock().try_take(&life, me, how, None).is_ok() {
                return;
            }
            // A lost wake-up is a deadlock here, which loom reports.
            self.sleep.sleep(token, None);
        }
    }

    fn give_back(&self, me: usize) {
        if self.lock().give_back(me) {
            self.sleep.notify();
        }
    }
}

#[test]
fn a_lock_with_many_holders_excludes_and_wakes() {
    model(2, || {
        let shared = Held::new();
        let alone = {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.take(1, ALONE);
                // SAFETY: loom lends the cell to this closure only, and reports whoever else touches it.
                shared.cell.with_mut(|cell| unsafe { *cell += 1 });
                shared.give_back(1);
            })
        };
        shared.take(0, SHARED);
        // SAFETY: as above, for reading.
        let seen = shared.cell.with(|cell| unsafe { *cell });
        assert!(seen <= 1);
        shared.give_back(0);
        alone.join().unwrap();
        // SAFETY: as above.
        assert_eq!(shared.cell.with(|cell| unsafe { *cell }), 1);
    });
}

#[test]
fn the_lock_of_a_holder_that_died_is_free_once_it_is_forgotten() {
    model(2, || {
        let shared = Held::new();
        shared.take(2, ALONE);
        // SAFETY: as in the model above.
        shared.cell.with_mut(|cell| unsafe { *cell += 1 });
        let finder = {
            let shared = shared.clone();
            thread::spawn(move || {
                if shared.lock().forget(2) {
                    shared.sleep.notify();
                }
            })
        };
        shared.take(0, ALONE);
        // SAFETY: as above.
        shared.cell.with_mut(|cell| unsafe { *cell += 1 });
        finder.join().unwrap();
        assert!(!shared.lock().forget(2));
    });
}

#[test]
fn each_unit_of_a_semaphore_wakes_a_taker() {
    model(2, || {
        let semaphore = Arc::new(Semaphore::new());
        let takers = [(); 2].map(|()| {
            let semaphore = semaphore.clone();
            thread::spawn(move || {
                let mut slices = Slices::new();
                assert_eq!(semaphore.acquire(&mut slices, Deadline::NEVER), Acquired::Yes);
            })
        });
        assert!(semaphore.release(2));
        assert!(semaphore.release(2));
        takers.into_iter().for_each(|taker| taker.join().unwrap());
        assert_eq!(semaphore.value(), 0);
    });
}

#[test]
fn a_setting_of_an_event_that_is_cleared_at_once_wakes_its_waiter() {
    model(3, || {
        let event = Arc::new(Event::new());
        let began = event.begin();
        let waiter = {
            let event = event.clone();
            thread::spawn(move || {
                assert_eq!(event.wait(began, &mut Slices::new(), Deadline::NEVER), Acquired::Yes);
            })
        };
        event.set();
        event.clear();
        waiter.join().unwrap();
        assert!(!event.is_set());
    });
}

#[test]
fn the_engine_lock_excludes_and_wakes() {
    model(4, || {
        let lock = Arc::new(EngineLock::new(loom::cell::Cell::new(0)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let lock = lock.clone();
                thread::spawn(move || {
                    let value = lock.lock();
                    value.set(value.get() + 1);
                })
            })
            .collect();
        {
            let value = lock.lock();
            value.set(value.get() + 1);
        }
        for thread in threads {
            thread.join().unwrap();
        }
        assert_eq!(lock.lock().get(), 3);
    });
}

#[test]
fn a_block_has_one_owner_at_a_time() {
    model(4, || {
        let cells: Vec<_> = (0..4).map(|_| loom::cell::UnsafeCell::new(0u64)).collect();
        let shared = Arc::new((LoomStack::new(3), cells));
        let own = |shared: &(LoomStack, Vec<loom::cell::UnsafeCell<u64>>), n: u64| {
            // Loom reports it when another owner is here too.
            // SAFETY: loom lends the cell to this closure only, and reports whoever else touches it.
            shared.1[n as usize].with_mut(|cell| unsafe { *cell += 1 });
        };
        let other = thread::spawn({
            let shared = shared.clone();
            move || {
                // Takes two and gives the first back: what deceives a stack
                // without tags.
                let (a, b) = (shared.0.pop().unwrap(), shared.0.pop().unwrap());
                own(&shared, a);
                own(&shared, b);
                shared.0.push(a);
                b
            }
        });
        let mine = shared.0.pop().unwrap();
        own(&shared, mine);
        let theirs = other.join().unwrap();
        assert_ne!(mine, theirs);
        let last = shared.0.pop().unwrap();
        assert!(last != mine && last != theirs);
        assert_eq!(shared.0.pop(), None);
    });
}

#[test]
fn an_audit_finds_nothing_in_a_ring_that_is_in_use() {
    model(3, || {
        let (mut producer, mut consumer) = LoomRing::ends(&LoomRing::new(16));
        warm(&mut producer, &mut consumer, &[7, 7]);
        let sender = thread::spawn(move || {
            for n in 0..2 {
                assert!(push(&mut producer, n, &imitation(n, 70)));
                producer.audit().unwrap();
            }
        });
        for _ in 0..2 {
            consumer.audit().unwrap();
            let _ = take(&mut consumer);
        }
        consumer.audit().unwrap();
        sender.join().unwrap();
    });
}

#[test]
fn a_pipe_delivers_bytes_in_order_and_reuses_room_after_they_were_read() {
    const CAPACITY: u64 = 2;
    const TOTAL: u64 = 4;
    model(4, || {
        let bytes: Vec<_> = (0..CAPACITY).map(|_| loom::cell::UnsafeCell::new(0)).collect();
        let shared = Arc::new((Positions::new(), bytes));
        let sender = thread::spawn({
            let shared = shared.clone();
            move || {
                let mut filled = 0;
                while filled < TOTAL {
                    if shared.0.counters().room(filled, CAPACITY).unwrap() == 0 {
                        thread::yield_now();
                        continue;
                    }
                    let cell = &shared.1[(filled % CAPACITY) as usize];
                    // SAFETY: loom lends the cell to this closure only, and reports whoever else touches it.
                    cell.with_mut(|byte| unsafe { *byte = filled });
                    filled += 1;
                    shared.0.counters().put(filled);
                }
            }
        });
        let mut drained = 0;
        while drained < TOTAL {
            for _ in 0..shared.0.counters().available(drained, CAPACITY).unwrap() {
                let cell = &shared.1[(drained % CAPACITY) as usize];
                // SAFETY: loom lends the cell to this closure only, and reports whoever else touches it.
                assert_eq!(cell.with(|byte| unsafe { *byte }), drained);
                drained += 1;
                shared.0.counters().taken(drained);
            }
            thread::yield_now();
        }
        sender.join().unwrap();
    });
}

#[test]
fn a_receiver_that_goes_ahead_of_the_sender_reads_what_is_sent() {
    const CAPACITY: u64 = 2;
    const TOTAL: u64 = 3;
    model(3, || {
        let cells: Vec<_> = (0..CAPACITY).map(|_| loom::cell::UnsafeCell::new(0)).collect();
        let source: Vec<_> = (0..TOTAL).map(AtomicU64::new).collect();
        let shared = Arc::new((Positions::new(), cells, source));
        let sender = thread::spawn({
            let shared = shared.clone();
            move || {
                let mut filled = 0;
                while filled < TOTAL {
                    match shared.0.counters().room(filled, CAPACITY) {
                        Ok(0) => {
                            thread::yield_now();
                            continue;
                        }
                        Ok(_) => {
                            let byte = shared.2[filled as usize].load(Ordering::Relaxed);
                            // SAFETY: loom lends the cell to this closure only, and reports whoever else touches it.
                            shared.1[(filled % CAPACITY) as usize].with_mut(|cell| unsafe { *cell = byte });
                            filled += 1;
                        }
                        Err(ahead) => filled = ahead,
                    }
                    shared.0.counters().put(filled);
                }
                // The end of the send: its owner may write over the data now.
                fence(Ordering::SeqCst);
                shared.2.iter().for_each(|byte| byte.store(99, Ordering::Relaxed));
            }
        });
        let (mut drained, mut ahead) = (0, 0);
        while drained < TOTAL {
            match shared.0.counters().available(drained, CAPACITY) {
                Ok(1..) => {
                    let cell = &shared.1[(drained % CAPACITY) as usize];
                    // SAFETY: loom lends the cell to this closure only, and reports whoever else touches it.
                    assert_eq!(cell.with(|byte| unsafe { *byte }), drained);
                    drained += 1;
                }
                nothing => {
                    assert!(nothing.is_ok() || drained == ahead, "the sender is behind without a reason");
                    let byte = shared.2[drained as usize].load(Ordering::Relaxed);
                    if !shared.0.counters().still_sending(TOTAL) {
                        thread::yield_now();
                        continue;
                    }
                    assert_eq!(byte, drained, "read after it was written over");
                    drained += 1;
                    ahead = drained;
                }
            }
            shared.0.counters().taken(drained);
        }
        sender.join().unwrap();
        assert_eq!(shared.0.counters().sent(), TOTAL);
    });
}

#[test]
fn each_record_of_a_queue_is_got_once() {
    model(2, || {
        let queue = Arc::new(LoomQueue::new(1));
        let putters = [1, 2].map(|n| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.put(n))
        });
        assert_eq!(queue.get() + queue.get(), 3);
        assert_eq!(queue.try_get(), None);
        putters.into_iter().for_each(|putter| putter.join().unwrap());
    });
}

#[test]
fn a_queue_keeps_the_order_and_uses_its_room_again() {
    model(2, || {
        let queue = Arc::new(LoomQueue::new(1));
        let putter = {
            let queue = Arc::clone(&queue);
            thread::spawn(move || (1..=3).for_each(|n| queue.put(n)))
        };
        (1..=3).for_each(|n| assert_eq!(queue.get(), n));
        putter.join().unwrap();
    });
}

#[test]
fn each_record_of_a_queue_wakes_a_sleeper() {
    model(2, || {
        let queue = Arc::new(LoomQueue::new(2));
        let getters = [(); 2].map(|()| {
            let queue = Arc::clone(&queue);
            thread::spawn(move || queue.get())
        });
        assert!(queue.try_put(1));
        assert!(queue.try_put(2));
        assert_eq!(getters.into_iter().map(|getter| getter.join().unwrap()).sum::<u64>(), 3);
    });
}

#[test]
fn each_task_of_a_board_is_claimed_once() {
    model(3, || {
        let board = Arc::new(LoomClaims::new(2));
        let workers = [1, 2].map(|worker| {
            let board = Arc::clone(&board);
            thread::spawn(move || board.claim(worker, false))
        });
        assert!(board.publish(0, 10));
        assert!(board.publish(1, 11));
        let mut seen: Vec<u64> = workers.into_iter().filter_map(|worker| worker.join().unwrap()).collect();
        while let Some(value) = board.claim(3, false) {
            seen.push(value);
        }
        seen.sort_unstable();
        assert_eq!(seen, [10, 11]);
    });
}

#[test]
fn a_cell_of_a_board_is_filled_again_only_when_it_was_read() {
    model(3, || {
        let board = Arc::new(LoomClaims::new(1));
        let worker = {
            let board = Arc::clone(&board);
            thread::spawn(move || {
                let mut seen = Vec::new();
                while seen.len() < 2 {
                    match board.claim(1, false) {
                        Some(value) => seen.push(value),
                        None => thread::yield_now(),
                    }
                }
                seen
            })
        };
        for position in 0..2 {
            while !board.publish(position, 20 + position) {
                thread::yield_now();
            }
        }
        assert_eq!(worker.join().unwrap(), [20, 21]);
    });
}

#[test]
fn a_claim_that_died_is_known_and_passed_over() {
    model(3, || {
        let board = Arc::new(LoomClaims::new(2));
        assert!(board.publish(0, 10));
        assert!(board.publish(1, 11));
        let dies = {
            let board = Arc::clone(&board);
            thread::spawn(move || board.claim(1, true))
        };
        let lives = board.claim(2, false);
        let died = dies.join().unwrap();
        assert_eq!([lives, died].iter().flatten().sum::<u64>(), 21);
        let position = died.unwrap() - 10;
        assert_eq!(board.owner(position), Some(1));
    });
}

#[test]
fn a_task_of_a_board_is_either_withdrawn_or_claimed() {
    model(3, || {
        let board = Arc::new(LoomClaims::new(2));
        assert!(board.publish(0, 10));
        assert!(board.publish(1, 11));
        let worker = {
            let board = Arc::clone(&board);
            thread::spawn(move || [board.claim(1, false), board.claim(1, false)])
        };
        let withdrawn = board.withdraw(0);
        let claimed: u64 = worker.join().unwrap().into_iter().flatten().sum();
        assert_eq!(claimed, if withdrawn { 11 } else { 21 });
    });
}

#[test]
fn a_task_of_a_board_is_found_whatever_was_withdrawn_before() {
    // The publisher leads the hint on, or those who look for a task do.
    for leads in [false, true] {
        model(3, move || {
            let board = Arc::new(LoomClaims::new(1));
            let worker = {
                let board = Arc::clone(&board);
                thread::spawn(move || board.claim(1, false))
            };
            let (mut position, mut published, mut withdrawn) = (0, 0, 0);
            while position < 3 {
                if !board.publish(position, 10 + position) {
                    thread::yield_now();
                    continue;
                }
                published += 10 + position;
                if position < 2 && board.withdraw(position) {
                    withdrawn += 10 + position;
                    if leads {
                        board.lead(position + 1);
                    }
                }
                position += 1;
            }
            let claimed = worker.join().unwrap().unwrap_or(0) + board.claim(2, false).unwrap_or(0);
            assert_eq!(claimed + withdrawn, published);
        });
    }
}

/// The words of so many ranks' cells.
fn cells(ranks: usize) -> Arc<Vec<AtomicU64>> {
    Arc::new((0..Cells::words(ranks)).map(|_| AtomicU64::new(0)).collect())
}

#[test]
fn a_cell_is_written_again_only_when_all_have_read_it() {
    model(3, || {
        let words = cells(2);
        let rank = |words: Arc<Vec<AtomicU64>>, me: usize| {
            let cells = Cells::over(&words, 2).unwrap();
            for step in 1..=CELLS as u64 + 1 {
                while !cells.all_have_entered((step + 1).saturating_sub(CELLS as u64)) {
                    thread::yield_now();
                }
                cells.data(me, step).store(10 * step + me as u64, Ordering::Relaxed);
                cells.say(me, step, Cells::tag(step, 7));
                let other = 1 - me;
                while !cells.has_entered(other, step) {
                    thread::yield_now();
                }
                assert_eq!(cells.seen(other, step), Cells::tag(step, 7));
                assert_eq!(cells.data(other, step).load(Ordering::Relaxed), 10 * step + other as u64);
            }
        };
        let other = {
            let words = words.clone();
            thread::spawn(move || rank(words, 1))
        };
        rank(words, 0);
        other.join().unwrap();
    });
}

#[test]
fn the_last_to_speak_wakes_the_one_who_waits_for_all() {
    model(3, || {
        let (words, sleepers) = (cells(3), Arc::new(SleepWord::new()));
        let speakers: Vec<_> = [1, 2]
            .into_iter()
            .map(|me| {
                let (words, sleepers) = (words.clone(), sleepers.clone());
                thread::spawn(move || {
                    let cells = Cells::over(&words, 3).unwrap();
                    if cells.say(me, 1, Cells::tag(1, 0)) && cells.all_have_entered(1) {
                        sleepers.wake();
                    }
                })
            })
            .collect();
        let cells = Cells::over(&words, 3).unwrap();
        cells.say(0, 1, Cells::tag(1, 0));
        let counted = cells.wait();
        // A lost wake-up is a deadlock here, which loom reports.
        while !cells.all_have_entered(1) {
            let token = sleepers.announce(WAITING);
            if !cells.all_have_entered(1) {
                assert_eq!(sleepers.sleep(token, None), Woken::Notified);
            }
        }
        drop(counted);
        for speaker in speakers {
            speaker.join().unwrap();
        }
    });
}

fn room_for_notes() -> Arc<Vec<AtomicU64>> {
    Arc::new((0..NOTES_WORDS).map(|_| AtomicU64::new(0)).collect())
}

#[test]
fn a_note_is_read_whole_and_of_one_sleep() {
    model(3, || {
        let words = room_for_notes();
        let reader = {
            let words = words.clone();
            thread::spawn(move || {
                if let Some((stamp, content)) = Notes::over(&words).read(0) {
                    assert_eq!(content, [stamp.token as u8; NOTE_BYTES]);
                }
            })
        };
        let notes = Notes::over(&words);
        for sleep in 1..3 {
            notes.write(0, &[sleep; NOTE_BYTES]);
            notes.asleep(0, sleep.into());
            notes.awake(0);
        }
        reader.join().unwrap();
    });
}

#[test]
fn what_a_thread_does_after_its_sleep_is_seen_with_the_note_taken_back() {
    model(3, || {
        let (words, deed) = (room_for_notes(), Arc::new(AtomicU64::new(0)));
        let reader = {
            let (words, deed) = (words.clone(), deed.clone());
            thread::spawn(move || {
                let notes = Notes::over(&words);
                let Some((stamp, _)) = notes.read(0) else { return };
                // Another thread that was woken by the deed would have taken its own note back.
                if deed.load(Ordering::Acquire) == 1 {
                    assert!(!notes.holds(0, stamp), "it is awake");
                }
            })
        };
        let notes = Notes::over(&words);
        notes.write(0, &[1; NOTE_BYTES]);
        notes.asleep(0, 0);
        notes.awake(0);
        deed.store(1, Ordering::Release);
        reader.join().unwrap();
    });
}

fn ledger(members: usize) -> Arc<Vec<AtomicU64>> {
    Arc::new((0..Ledger::words(members)).map(|_| AtomicU64::new(0)).collect())
}

#[test]
fn all_see_the_same_fate_of_a_member_that_dies_or_only_seems_to() {
    model(3, || {
        let words = ledger(3);
        let survivor = |words: &[AtomicU64], me: usize| {
            let ledger = Ledger::over(words, 3).unwrap();
            assert!(ledger.give(me, 1, me as u32, 0));
            ledger.note_failed(2);
            ledger.miss(2, 1);
            let fate = ledger.fate(2, 1);
            // Whoever is missed is in the list, in one place.
            assert_eq!(ledger.failed().collect::<Vec<_>>(), [2]);
            (fate, ledger.number(1, || 10 + me as u32))
        };
        let victim = {
            let words = words.clone();
            thread::spawn(move || Ledger::over(&words, 3).unwrap().give(2, 1, 7, 1))
        };
        let other = {
            let words = words.clone();
            thread::spawn(move || survivor(&words, 1))
        };
        let mine = survivor(&words, 0);
        assert_eq!(mine, other.join().unwrap());
        let given = victim.join().unwrap();
        assert_eq!(mine.0, if given { Fate::Given { value: 7, acked: 1 } } else { Fate::Missed });
    });
}

#[test]
fn words_of_a_round_serve_again_only_when_all_have_read_them() {
    model(3, || {
        let words = ledger(2);
        let member = |words: &[AtomicU64], me: usize| {
            let ledger = Ledger::over(words, 2).unwrap();
            for round in 1..=ROUNDS + 1 {
                while !(0..2).all(|member| ledger.has_room(member, round)) {
                    thread::yield_now();
                }
                assert!(ledger.give(me, round, round, 10 * round));
                while ledger.fate(1 - me, round) == Fate::Open {
                    thread::yield_now();
                }
                assert_eq!(ledger.fate(1 - me, round), Fate::Given { value: round, acked: 10 * round });
                ledger.finish(me, round);
            }
        };
        let other = {
            let words = words.clone();
            thread::spawn(move || member(&words, 1))
        };
        member(&words, 0);
        other.join().unwrap();
    });
}

#[test]
fn of_the_last_to_leave_one_is_told() {
    model(3, || {
        let words = ledger(2);
        let other = {
            let words = words.clone();
            thread::spawn(move || Ledger::over(&words, 2).unwrap().leave(1, |_| false))
        };
        let mine = Ledger::over(&words, 2).unwrap().leave(0, |_| false);
        assert!(mine | other.join().unwrap());
    });
}
