//! The task board between processes that are killed at any instant: what was claimed is known, what was sent is whole,
//! and nothing is done twice.
//!
//! The children are forked, and use only what was made before, without locks or the parent's heap (their own
//! allocations are those of a process with one thread).
#![cfg(not(loom))]
#![expect(unsafe_code, reason = "the tests fork and kill")]

mod common;

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use common::Child;
use phalanx_shm::board::{Board, Idle, Phase, Publisher, Record, Results, Shape, Task, WorkerEnd};

const SHAPE: Shape = Shape { cells: 32, payload: 4096, workers: 2, results: 1024 };

/// Sends back each task's number until it is told to end.
fn work(end: &mut WorkerEnd) {
    loop {
        if end.over() {
            return;
        }
        let Some(claim) = end.claim() else {
            if end.wait_for_work(Duration::from_millis(20)) == Idle::Over {
                return;
            }
            continue;
        };
        end.begin(claim.dispatch, 0, 1);
        let whole = end.payload().iter().all(|byte| *byte == claim.dispatch as u8);
        let bytes = claim.dispatch.to_le_bytes();
        let record = Record { kind: u32::from(whole), dispatch: claim.dispatch, ordinal: 0, nanos: 0, bytes: &bytes };
        while !end.send(&record).unwrap_or(true) {
            end.wait_for_room(Duration::from_millis(1));
        }
        end.rest();
    }
}

fn task(dispatch: u64, bytes: &[u8]) -> Task<'_> {
    Task { dispatch, function: 1, flags: 0, count: 1, function_bytes: &[], items: bytes }
}

/// What the supervisor knows.
struct Desk {
    publisher: Publisher,
    results: Vec<Results>,
    owners: HashMap<u64, u32>,
    waiting: Vec<u64>,
    done: HashSet<u64>,
    lost: HashSet<u64>,
}

impl Desk {
    fn new(board: &Board, tasks: u64) -> Desk {
        Desk {
            publisher: Publisher::new(board.clone()),
            results: (0..SHAPE.workers).map(|slot| Results::new(board.clone(), slot)).collect(),
            owners: HashMap::new(),
            waiting: (1..=tasks).rev().collect(),
            done: HashSet::new(),
            lost: HashSet::new(),
        }
    }

    fn poll(&mut self) {
        for slot in 0..SHAPE.workers {
            let (done, lost) = (&mut self.done, &self.lost);
            self.results[slot as usize]
                .drain(|record| {
                    assert_eq!(record.kind, 1, "task {} arrived whole", record.dispatch);
                    assert_eq!(record.bytes, record.dispatch.to_le_bytes());
                    assert!(done.insert(record.dispatch), "task {} was done twice", record.dispatch);
                    assert!(!lost.contains(&record.dispatch), "task {} was given up", record.dispatch);
                })
                .expect("a sound ring");
        }
        let owners = &mut self.owners;
        self.publisher.note(|dispatch, slot| {
            owners.insert(dispatch, slot);
        });
        while let Some(dispatch) = self.waiting.pop() {
            let bytes = vec![dispatch as u8; dispatch as usize * 37 % 500];
            if !self.publisher.publish(&task(dispatch, &bytes)) {
                self.waiting.push(dispatch);
                break;
            }
        }
        self.publisher.announce();
    }

    fn bury(&mut self, board: &Board, slot: u32) {
        let current = board.current(slot);
        self.poll();
        let owners = &mut self.owners;
        self.publisher.bury(slot, |dispatch| {
            owners.insert(dispatch, slot);
        });
        let had: Vec<u64> = owners.iter().filter(|(_, owner)| **owner == slot).map(|(task, _)| *task).collect();
        for dispatch in had {
            self.owners.remove(&dispatch);
            if self.done.contains(&dispatch) {
                continue;
            }
            if current.is_some_and(|at| at.dispatch == dispatch) {
                self.lost.insert(dispatch);
            } else {
                // Claimed and not begun: somebody else does it, under the same number here.
                self.waiting.push(dispatch);
            }
        }
        self.results[slot as usize].reset();
        board.reset_slot(slot);
    }
}

#[test]
fn killed_workers_cost_the_task_they_were_in() {
    const TASKS: u64 = 20_000;
    let board = Board::anonymous(SHAPE).expect("memory for a small board");
    board.set_spinning(1, 50);
    let mut desk = Desk::new(&board, TASKS);
    let start = |slot: u32| {
        let mut end = WorkerEnd::new(board.clone(), slot).expect("a slot of the board");
        Child::run(move || work(&mut end))
    };
    let mut children: Vec<Child> = (0..SHAPE.workers).map(start).collect();
    let (limit, mut kills, mut next) = (Instant::now() + Duration::from_secs(50), 0u32, Instant::now());
    while desk.done.len() + desk.lost.len() < TASKS as usize {
        assert!(Instant::now() < limit, "it hangs: {} done, {} lost", desk.done.len(), desk.lost.len());
        desk.poll();
        if Instant::now() >= next && kills < 150 {
            let slot = kills % SHAPE.workers;
            children[slot as usize].kill();
            desk.bury(&board, slot);
            children[slot as usize] = start(slot);
            kills += 1;
            next = Instant::now() + Duration::from_micros(u64::from(kills) * 37 % 700);
        }
    }
    assert!(desk.lost.len() <= kills as usize, "{} lost by {kills} kills", desk.lost.len());
    board.end(Phase::Abandoned);
    children.iter().for_each(Child::kill);
    println!("{kills} kills, {} tasks lost of {TASKS}", desk.lost.len());
}

#[test]
fn a_claim_is_known_although_its_owner_died_with_it() {
    let board = Board::anonymous(SHAPE).expect("memory for a small board");
    let mut publisher = Publisher::new(board.clone());
    let mut first = WorkerEnd::new(board.clone(), 0).expect("a slot");
    let mut second = WorkerEnd::new(board.clone(), 1).expect("a slot");
    (1..=3).for_each(|dispatch| assert!(publisher.publish(&task(dispatch, b"x"))));
    assert_eq!(first.claim().map(|claim| claim.dispatch), Some(1));
    assert_eq!(second.claim().map(|claim| claim.dispatch), Some(2));
    let mut told = Vec::new();
    publisher.bury(0, |dispatch| told.push(dispatch));
    assert_eq!(told, [1]);
    // It is not told of the next worker of the slot as well.
    publisher.note(|dispatch, slot| told.push(dispatch * 10 + u64::from(slot)));
    assert_eq!(told, [1, 21]);
    let mut gone = Vec::new();
    publisher.withdraw(|_| true, |dispatch| gone.push(dispatch));
    assert_eq!(gone, [3]);
    assert_eq!(second.claim(), None);
}

#[test]
fn a_task_is_found_after_laps_of_withdrawn_ones() {
    for noted_at_once in [true, false] {
        let board = Board::anonymous(SHAPE).expect("memory for a small board");
        let mut publisher = Publisher::new(board.clone());
        let mut worker = WorkerEnd::new(board.clone(), 0).expect("a slot");
        for dispatch in 1..=u64::from(3 * SHAPE.cells) {
            if !publisher.publish(&task(dispatch, b"x")) {
                publisher.note(|_, _| {});
                assert!(publisher.publish(&task(dispatch, b"x")));
            }
            publisher.withdraw(|_| true, |_| {});
            if noted_at_once {
                publisher.note(|_, _| {});
            }
        }
        publisher.note(|_, _| {});
        assert!(!board.has_work());
        assert!(publisher.publish(&task(1000, b"x")));
        assert!(board.has_work());
        assert_eq!(worker.claim().map(|claim| claim.dispatch), Some(1000));
        assert_eq!(worker.claim(), None);
    }
}

/// Whether a worker that sleeps is woken for a task, after `busy` was done by the other one, which is asked first.
fn wakes_the_other(busy: impl Fn(&mut WorkerEnd)) -> bool {
    let board = Board::anonymous(SHAPE).expect("memory for a small board");
    let mut publisher = Publisher::new(board.clone());
    busy(&mut WorkerEnd::new(board.clone(), 1).expect("a slot"));
    let other = std::thread::spawn(move || {
        let mut end = WorkerEnd::new(board, 0).expect("a slot");
        (end.wait_for_work(Duration::from_secs(5)), end.claim().is_some())
    });
    // It sleeps by now; if not, it finds the task by itself.
    std::thread::sleep(Duration::from_millis(100));
    assert!(publisher.publish(&task(1, b"x")));
    publisher.announce();
    other.join().expect("no panic") == (Idle::Work, true)
}

#[test]
fn a_busy_worker_takes_nobodys_wake_up() {
    // It slept in vain before it became busy.
    assert!(wakes_the_other(|end| assert_eq!(end.wait_for_work(Duration::from_millis(1)), Idle::Look)));
    // It waits for room for its results.
    assert!(wakes_the_other(|end| {
        let record = Record { kind: 1, dispatch: 1, ordinal: 0, nanos: 0, bytes: &[0; 200] };
        while end.send(&record).expect("a short record") {}
        end.wait_for_room(Duration::from_millis(1));
    }));
}

#[test]
fn a_full_board_refuses_and_takes_again() {
    let board = Board::anonymous(SHAPE).expect("memory for a small board");
    let mut publisher = Publisher::new(board.clone());
    let mut worker = WorkerEnd::new(board, 0).expect("a slot");
    let mut next = 1;
    for _ in 0..20 {
        while publisher.publish(&task(next, &[next as u8; 300])) {
            next += 1;
        }
        assert!(!publisher.publish(&task(next, &[0; 2000])), "more than a task may carry");
        while let Some(claim) = worker.claim() {
            assert!(worker.payload().iter().all(|byte| *byte == claim.dispatch as u8));
        }
        publisher.note(|_, _| {});
        assert_eq!(publisher.waiting(), 0);
    }
    assert!(next > 100);
}

#[test]
fn a_damaged_board_is_an_error() {
    let memory = vec![0u64; SHAPE.bytes() / 8 + 8];
    let start = memory.as_ptr().cast::<u8>();
    let start = start.wrapping_add(start.align_offset(64));
    // SAFETY: the vector's memory, which outlives the calls; nobody else uses it.
    let memory = unsafe { phalanx_shm::MutMem::new(start.cast_mut(), SHAPE.bytes()) };
    // SAFETY: as above.
    assert!(unsafe { Board::open(memory, Box::new(())) }.is_err());
    // SAFETY: as above.
    unsafe { Board::create(memory, SHAPE, Box::new(())) }.expect("room for a board");
    // SAFETY: as above.
    assert_eq!(unsafe { Board::open(memory, Box::new(())) }.expect("a board").shape(), SHAPE);
    let odd = Shape { cells: 33, ..SHAPE };
    // SAFETY: as above.
    assert!(unsafe { Board::create(memory, odd, Box::new(())) }.is_err());
}
