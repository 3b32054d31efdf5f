//! The engine on a real board: workers are threads, some of which stop in the middle as if their process had died.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use phalanx_pool::protocol::{ItemReader, Kind};
use phalanx_pool::{End, Engine, JobId, JobSpec, Outcome};
use phalanx_shm::board::{Board, Idle, Record, Shape, WorkerEnd};

const WORKERS: u32 = 3;

fn board() -> Board {
    let shape = Shape { cells: 64, payload: 1 << 14, workers: WORKERS, results: 1 << 12 };
    Board::anonymous(shape).expect("memory for a small board")
}

/// A worker that answers each item with itself, and "dies" at items that `dies` names. Whether it died.
fn work(board: &Board, slot: u32, dies: impl Fn(&[u8]) -> bool) -> bool {
    let mut end = WorkerEnd::new(board.clone(), slot).expect("a slot of the board");
    let send = |end: &mut WorkerEnd, record: &Record<'_>| {
        while !end.send(record).expect("short records") {
            end.ring();
            end.wait_for_room(Duration::from_millis(10));
        }
    };
    send(&mut end, &Record { kind: Kind::Ready as u32, dispatch: 0, ordinal: 0, nanos: 0, bytes: &[] });
    loop {
        if end.over() {
            return false;
        }
        let Some(claim) = end.claim() else {
            end.ring();
            if end.wait_for_work(Duration::from_millis(50)) == Idle::Over {
                return false;
            }
            continue;
        };
        let payload = end.take_payload();
        for (ordinal, item) in (0..).zip(ItemReader::new(&payload[claim.function_bytes..])) {
            end.begin(claim.dispatch, ordinal, WorkerEnd::now());
            if dies(item) {
                return true;
            }
            let record =
                Record { kind: Kind::Returned as u32, dispatch: claim.dispatch, ordinal, nanos: 10, bytes: item };
            send(&mut end, &record);
        }
        end.rest();
        end.put_payload(payload);
    }
}

fn submit(engine: &mut Engine, items: u32, spec: JobSpec) -> JobId {
    let function = engine.ledger().add_function("echo", b"echo", false, None);
    let job = engine.ledger().add_job(JobSpec { function, total: Some(u64::from(items)), ..spec });
    for item in 0..items {
        engine.ledger().push_item(job, &item.to_le_bytes(), []);
    }
    engine.publish();
    job
}

#[test]
fn ten_thousand_items_with_a_death_every_hundred() {
    const ITEMS: u32 = 10_000;
    let board = board();
    let mut engine = Engine::new(board.clone());
    let ended: [AtomicU32; WORKERS as usize] = Default::default();
    let job = submit(&mut engine, ITEMS, JobSpec { chunk: Some(7), ..JobSpec::default() });
    let mut outcomes: Vec<Option<Outcome>> = vec![None; ITEMS as usize];
    std::thread::scope(|scope| {
        let start = |engine: &mut Engine, slot: u32| {
            engine.prepare_slot(slot);
            engine.ledger().worker_started(slot, 1000 + slot);
            let (board, ended) = (&board, &ended[slot as usize]);
            ended.store(0, Ordering::Relaxed);
            scope.spawn(move || {
                let died = work(board, slot, |item| u32::from_le_bytes(item.try_into().unwrap_or([0; 4])) % 100 == 50);
                ended.store(if died { 1 } else { 2 }, Ordering::Release);
            });
        };
        (0..WORKERS).for_each(|slot| start(&mut engine, slot));
        let limit = Instant::now() + Duration::from_secs(60);
        while !engine.ledger().is_done(job) {
            assert!(Instant::now() < limit, "it hangs: {engine:?}");
            engine.poll().expect("a sound board");
            for slot in 0..WORKERS {
                if ended[slot as usize].load(Ordering::Acquire) == 1 {
                    engine.worker_ended(slot, 1000 + slot, End::Signaled(9)).expect("a sound board");
                    start(&mut engine, slot);
                }
            }
        }
        let mut arrived = Vec::new();
        engine.ledger().take_arrived(job, &mut arrived);
        for (index, outcome) in arrived {
            assert_eq!(outcomes[index as usize].replace(outcome), None, "item {index} came twice");
        }
        board.end(phalanx_shm::board::Phase::Abandoned);
    });
    for (index, outcome) in (0u32..).zip(outcomes) {
        match outcome.expect("every item is delivered") {
            Outcome::Returned(bytes) => assert_eq!(bytes.as_slice(), index.to_le_bytes()),
            Outcome::Lost(_) => assert_eq!(index % 100, 50, "item {index} was not in a worker that died"),
            other => panic!("item {index}: {other:?}"),
        }
    }
}

#[test]
fn results_larger_than_the_ring_flow_through_it() {
    let board = board();
    let mut engine = Engine::new(board.clone());
    let function = engine.ledger().add_function("echo", b"echo", false, None);
    let job = engine.ledger().add_job(JobSpec { function, total: Some(500), ..JobSpec::default() });
    for item in 0..500u32 {
        engine.ledger().push_item(job, &[item as u8; 700], []);
    }
    engine.publish();
    std::thread::scope(|scope| {
        for slot in 0..WORKERS {
            engine.prepare_slot(slot);
            engine.ledger().worker_started(slot, 1000 + slot);
            let board = &board;
            scope.spawn(move || work(board, slot, |_| false));
        }
        let limit = Instant::now() + Duration::from_secs(60);
        while !engine.ledger().is_done(job) {
            assert!(Instant::now() < limit, "it hangs: {engine:?}");
            engine.poll().expect("a sound board");
        }
        board.end(phalanx_shm::board::Phase::Drained);
    });
    let mut arrived = Vec::new();
    engine.ledger().take_arrived(job, &mut arrived);
    assert_eq!(arrived.len(), 500);
    for (index, outcome) in arrived {
        assert_eq!(outcome, Outcome::Returned([index as u8; 700].as_slice().into()));
    }
}

#[test]
fn what_cannot_be_sent_says_so() {
    let mut engine = Engine::new(board());
    let function = engine.ledger().add_function("f", b"f", false, None);
    let job = engine.ledger().add_job(JobSpec { function, total: Some(1), ..JobSpec::default() });
    engine.ledger().push_item(job, &[0; 5000], []);
    engine.publish();
    let mut arrived = Vec::new();
    engine.ledger().take_arrived(job, &mut arrived);
    assert!(matches!(arrived[..], [(0, Outcome::TooLarge { bytes: 5004, .. })]), "{arrived:?}");
}

#[test]
fn a_late_worker_that_has_gone_on_is_left_to_end_by_itself() {
    let board = board();
    let mut engine = Engine::new(board.clone());
    let job = submit(&mut engine, 2, JobSpec { chunk: Some(2), timeout: Some(1), ..JobSpec::default() });
    let mut end = WorkerEnd::new(board.clone(), 0).expect("a slot of the board");
    engine.ledger().worker_started(0, 1000);
    engine.poll().expect("a sound board");
    let claim = end.claim().expect("the chunk");
    end.begin(claim.dispatch, 0, WorkerEnd::now() - 1_000_000);
    assert!(!end.stopped());
    assert_eq!(engine.overdue(), [(0, 1000)]);
    // What it looks at before it begins the next one.
    assert!(end.stopped());
    engine.worker_ended(0, 1000, End::Signaled(15)).expect("a sound board");
    let mut arrived = Vec::new();
    engine.ledger().take_arrived(job, &mut arrived);
    assert!(matches!(arrived[..], [(0, Outcome::TimedOut { pid: 1000, .. })]), "{arrived:?}");
    // The other one was not begun.
    assert!(engine.ledger().has_waiting() || board.has_work());
}

#[test]
fn a_late_burial_does_not_charge_the_next_worker() {
    let board = board();
    let mut engine = Engine::new(board.clone());
    let job = submit(&mut engine, 1, JobSpec::default());
    engine.ledger().worker_started(0, 1000);
    engine.worker_ended(0, 1000, End::Exited(0)).expect("a sound board");
    engine.prepare_slot(0);
    engine.ledger().worker_started(0, 1001);
    let mut end = WorkerEnd::new(board.clone(), 0).expect("a slot of the board");
    let claim = end.claim().expect("the item");
    end.begin(claim.dispatch, 0, WorkerEnd::now());
    engine.worker_ended(0, 1000, End::Signaled(9)).expect("a sound board");
    assert!(!engine.ledger().is_done(job));
    let record =
        Record { kind: Kind::Returned as u32, dispatch: claim.dispatch, ordinal: 0, nanos: 10, bytes: b"done" };
    assert!(end.send(&record).expect("a short record"));
    engine.poll().expect("a sound board");
    let mut arrived = Vec::new();
    engine.ledger().take_arrived(job, &mut arrived);
    assert_eq!(arrived, [(0, Outcome::Returned(b"done".as_slice().into()))]);
}
