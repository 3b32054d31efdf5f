//! The ledger under random histories: items in any order, workers that die anywhere, retries, limits, cancelled jobs.
//! Every item is delivered once, and what is delivered is true.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use phalanx_pool::protocol::{ItemReader, Kind, flags};
use phalanx_pool::{End, Event, Form, JobId, JobSpec, Ledger, Outcome};
use phalanx_shm::board::Current;
use proptest::prelude::*;

const SLOTS: u32 = 3;

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Submit {
        items: u8,
        chunk: Option<u8>,
        retries: u8,
        limited: bool,
    },
    HandOut,
    Claim(u8),
    /// The worker finishes the item it is in (and notes that it is in the next).
    Finish(u8),
    Raise(u8),
    /// The worker does not know the function, or the item.
    Unknown(u8, bool),
    Die(u8),
    /// The item of the worker is over its time; the worker dies of it, perhaps having done more.
    Late(u8, bool),
    Cancel(u8),
    Answer,
}

fn step() -> impl Strategy<Value = Step> {
    let slot = 0..SLOTS as u8;
    prop_oneof![
        2 => (0u8..12, proptest::option::of(1u8..6), 0u8..3, any::<bool>())
            .prop_map(|(items, chunk, retries, limited)| Step::Submit { items, chunk, retries, limited }),
        4 => Just(Step::HandOut),
        4 => slot.clone().prop_map(Step::Claim),
        8 => slot.clone().prop_map(Step::Finish),
        2 => slot.clone().prop_map(Step::Raise),
        1 => (slot.clone(), any::<bool>()).prop_map(|(slot, item)| Step::Unknown(slot, item)),
        2 => slot.clone().prop_map(Step::Die),
        1 => (slot, any::<bool>()).prop_map(|(slot, more)| Step::Late(slot, more)),
        1 => any::<u8>().prop_map(Step::Cancel),
        2 => Just(Step::Answer),
    ]
}

/// A published dispatch, as a worker has it.
#[derive(Clone, Debug)]
struct Task {
    dispatch: u64,
    items: Vec<Vec<u8>>,
    at: usize,
}

/// A family of workers on one ledger, without processes.
struct World {
    ledger: Ledger,
    board: VecDeque<Task>,
    workers: Vec<Option<Task>>,
    jobs: Vec<(JobId, u64)>,
    delivered: HashMap<JobId, BTreeMap<u64, Outcome>>,
    /// How often each item was begun.
    begun: HashMap<Vec<u8>, u32>,
    losses: HashMap<JobId, u32>,
}

impl World {
    fn new() -> World {
        let mut ledger = Ledger::new(SLOTS);
        (0..SLOTS).for_each(|slot| start(&mut ledger, slot));
        World {
            ledger,
            board: VecDeque::new(),
            workers: vec![None; SLOTS as usize],
            jobs: Vec::new(),
            delivered: HashMap::new(),
            begun: HashMap::new(),
            losses: HashMap::new(),
        }
    }

    fn submit(&mut self, items: u8, chunk: Option<u8>, retries: u8, limited: bool) {
        let function = self.ledger.add_function("f", b"f", false, None);
        let job = self.ledger.add_job(JobSpec {
            function,
            form: Form::One,
            chunk: chunk.map(u32::from),
            retries: u32::from(retries),
            timeout: limited.then_some(10),
            callbacks: false,
            each: false,
            total: None,
        });
        for item in 0..items {
            self.ledger.push_item(job, format!("{job}/{item}").as_bytes(), []);
        }
        self.ledger.set_total(job, u64::from(items));
        self.jobs.push((job, u64::from(items)));
    }

    fn hand_out(&mut self) -> bool {
        let mut payload = Vec::new();
        let Some(handout) = self.ledger.hand_out(self.board.len(), 1 << 20, &mut payload, 0) else { return false };
        let items: Vec<Vec<u8>> = ItemReader::new(&payload).map(<[u8]>::to_vec).collect();
        assert_eq!(items.len(), handout.count as usize);
        self.board.push_back(Task { dispatch: handout.dispatch, items, at: 0 });
        true
    }

    fn claim(&mut self, slot: u8) {
        if self.workers[slot as usize].is_none()
            && let Some(task) = self.board.pop_front()
        {
            self.workers[slot as usize] = Some(task);
        }
    }

    fn report(&mut self, slot: u8, kind: Kind) {
        let Some(mut task) = self.workers[slot as usize].take() else { return };
        let item = task.items[task.at].clone();
        self.ledger.record(u32::from(slot), kind, task.dispatch, task.at as u32, 5, &item, 0);
        if kind == Kind::FunctionUnknown {
            return;
        }
        *self.begun.entry(item).or_default() += 1;
        task.at += 1;
        if task.at < task.items.len() {
            self.workers[slot as usize] = Some(task);
        }
    }

    fn current(&self, slot: u8) -> Option<Current> {
        let task = self.workers[slot as usize].as_ref()?;
        Some(Current { dispatch: task.dispatch, ordinal: task.at as u32, since: 0 })
    }

    fn die(&mut self, slot: u8) {
        let current = self.current(slot);
        if let Some(task) = self.workers[slot as usize].take() {
            self.ledger.note_claim(task.dispatch, u32::from(slot));
        }
        self.ledger.worker_ended(u32::from(slot), current, End::Signaled(9));
        start(&mut self.ledger, u32::from(slot));
    }

    fn late(&mut self, slot: u8, more: bool) {
        let Some(current) = self.current(slot) else { return };
        if self.ledger.check_time(u32::from(slot), current, 1000).is_some() {
            if more {
                self.report(slot, Kind::Returned);
            }
            self.die(slot);
        }
    }

    fn cancel(&mut self, which: u8) {
        if self.jobs.is_empty() {
            return;
        }
        let (job, _) = self.jobs[which as usize % self.jobs.len()];
        let board = &mut self.board;
        self.ledger.cancel(job, |dispatch| {
            let before = board.len();
            board.retain(|task| task.dispatch != dispatch);
            board.len() < before
        });
    }

    fn answer(&mut self) -> bool {
        match self.ledger.next_event() {
            Some(Event::WantFunction(id)) => self.ledger.set_function(id, Some(b"by value"), None),
            Some(Event::WantItem(job, index)) => {
                let bytes = self.ledger.item(job, index).map(<[u8]>::to_vec);
                assert!(bytes.is_some(), "an item that is wanted is there");
                self.ledger.replace_item(job, index, bytes, Vec::new());
            }
            Some(Event::Done(_)) => {}
            None => return false,
        }
        true
    }

    fn collect(&mut self) {
        for (job, _) in &self.jobs {
            let mut arrived = Vec::new();
            self.ledger.take_arrived(*job, &mut arrived);
            let delivered = self.delivered.entry(*job).or_default();
            for (index, outcome) in arrived {
                if let Outcome::Returned(bytes) | Outcome::Raised(bytes) = &outcome {
                    assert_eq!(bytes.as_slice(), format!("{job}/{index}").as_bytes(), "the result of that item");
                }
                if matches!(outcome, Outcome::Lost(_)) {
                    *self.losses.entry(*job).or_default() += 1;
                }
                assert_eq!(delivered.insert(index, outcome), None, "item {index} of job {job} was delivered twice");
            }
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Submit { items, chunk, retries, limited } => self.submit(items, chunk, retries, limited),
            Step::HandOut => {
                self.hand_out();
            }
            Step::Claim(slot) => self.claim(slot),
            Step::Finish(slot) => self.report(slot, Kind::Returned),
            Step::Raise(slot) => self.report(slot, Kind::Raised),
            Step::Unknown(slot, item) => {
                self.report(slot, if item { Kind::ItemUnknown } else { Kind::FunctionUnknown });
            }
            Step::Die(slot) => self.die(slot),
            Step::Late(slot, more) => self.late(slot, more),
            Step::Cancel(which) => self.cancel(which),
            Step::Answer => {
                self.answer();
            }
        }
        self.collect();
    }

    /// Lets the workers do all that is left.
    fn finish(&mut self) {
        for _ in 0..100_000 {
            while self.answer() {}
            while self.hand_out() {}
            for slot in 0..SLOTS as u8 {
                self.claim(slot);
                self.report(slot, Kind::Returned);
            }
            self.collect();
            if self.ledger.is_idle() {
                return;
            }
        }
        panic!("the ledger does not come to an end: {:?}", self.ledger);
    }
}

fn start(ledger: &mut Ledger, slot: u32) {
    ledger.worker_started(slot, 1000 + slot);
    ledger.record(slot, Kind::Ready, 0, 0, 0, &[], 0);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_item_is_delivered_once(steps in proptest::collection::vec(step(), 0..120)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.finish();
        for (job, items) in &world.jobs {
            let delivered = world.delivered.get(job).map_or(0, BTreeMap::len) as u64;
            prop_assert_eq!(delivered, *items, "items of job {}", job);
        }
        prop_assert_eq!(world.ledger.outstanding(), 0);
    }

    #[test]
    fn after_the_end_of_all_everything_is_delivered(steps in proptest::collection::vec(step(), 0..80)) {
        let mut world = World::new();
        steps.into_iter().for_each(|step| world.step(step));
        world.board.clear();
        world.ledger.end_all(&Outcome::Terminated);
        world.collect();
        for (job, items) in &world.jobs {
            prop_assert_eq!(world.delivered.get(job).map_or(0, BTreeMap::len) as u64, *items);
        }
        prop_assert!(world.ledger.is_idle());
    }

    #[test]
    fn a_death_costs_one_item(chunk in 1u8..9, done in 0usize..8, items in 8u8..30) {
        let mut world = World::new();
        world.submit(items, Some(chunk), 0, false);
        world.hand_out();
        world.claim(0);
        (0..done).for_each(|_| world.report(0, Kind::Returned));
        let had_one = world.workers[0].is_some();
        world.die(0);
        world.finish();
        let job = world.jobs[0].0;
        prop_assert_eq!(world.losses.get(&job).copied().unwrap_or(0), u32::from(had_one));
        // Nothing that had been done was done again.
        prop_assert!(world.begun.values().all(|times| *times == 1));
    }
}

#[test]
fn retries_are_counted_per_item() {
    let mut world = World::new();
    world.submit(2, Some(1), 2, false);
    for _ in 0..3 {
        while world.hand_out() {}
        // The first item kills its worker each time.
        let at = world.board.iter().position(|task| task.items[0].ends_with(b"/0")).expect("it is handed out again");
        let task = world.board.remove(at);
        world.workers[1] = task;
        world.die(1);
    }
    world.finish();
    let job = world.jobs[0].0;
    assert!(matches!(world.delivered[&job][&0], Outcome::Lost(_)));
    assert!(world.delivered[&job][&1].is_ok());
}

#[test]
fn a_worker_that_went_on_after_its_time_was_over_costs_what_it_had_begun() {
    let mut world = World::new();
    world.submit(3, Some(3), 0, true);
    world.hand_out();
    world.claim(0);
    world.late(0, true);
    world.finish();
    let job = world.jobs[0].0;
    assert!(matches!(world.delivered[&job][&0], Outcome::TimedOut { .. }));
    // The second was begun, so it is not begun again; the third was not.
    assert!(matches!(world.delivered[&job][&1], Outcome::Lost(_)));
    assert!(world.delivered[&job][&2].is_ok());
}

#[test]
fn a_function_with_something_to_keep_goes_with_its_last_job() {
    let kept = Arc::new(());
    let mut ledger = Ledger::new(1);
    ledger.worker_started(0, 5);
    let function = ledger.add_function("f", b"f", false, Some(Box::new(kept.clone())));
    let spec = JobSpec { function, total: Some(1), ..JobSpec::default() };
    let jobs = [ledger.add_job(spec.clone()), ledger.add_job(spec)];
    // By value, it refers to something else besides.
    ledger.set_function(function, Some(b"value"), Some(Box::new(kept.clone())));
    for job in jobs {
        assert_eq!(Arc::strong_count(&kept), 3);
        ledger.push_item(job, b"x", []);
        let handout = ledger.hand_out(0, 100, &mut Vec::new(), 0).expect("there is an item");
        assert_ne!(handout.flags & flags::PASSING, 0);
        ledger.record(0, Kind::Returned, handout.dispatch, 0, 5, b"y", 0);
        assert!(ledger.is_done(job));
        drop(ledger.take_garbage());
    }
    // Though nobody has taken the results yet.
    assert_eq!(Arc::strong_count(&kept), 1);
    assert_eq!(ledger.function(function), None);
    assert!(ledger.drop_function(function));
}

#[test]
fn what_is_reported_twice_is_released_once() {
    let mut ledger = Ledger::new(1);
    let function = ledger.add_function("f", b"f", false, None);
    ledger.worker_started(0, 5);
    ledger.record(0, Kind::InitializerRaised, 0, 0, 0, b"first", 0);
    ledger.record(0, Kind::InitializerRaised, 0, 0, 0, b"second", 0);
    ledger.record(0, Kind::Ready, 0, 0, 0, b"", 0);
    let job = ledger.add_job(JobSpec { function, total: Some(1), ..JobSpec::default() });
    ledger.push_item(job, b"x", []);
    for (kind, bytes) in [(Kind::FunctionUnknown, b"function"), (Kind::ItemUnknown, b"the item")] {
        let handout = ledger.hand_out(0, 100, &mut Vec::new(), 0).expect("it is handed out again");
        ledger.record(0, kind, handout.dispatch, 0, 5, bytes, 0);
        match ledger.next_event().expect("something is wanted") {
            Event::WantFunction(id) => ledger.set_function(id, None, None),
            Event::WantItem(job, index) => ledger.replace_item(job, index, None, Vec::new()),
            Event::Done(_) => panic!("it is not done"),
        }
    }
    let discarded: Vec<Vec<u8>> = ledger.take_discarded().iter().map(|bytes| bytes.to_vec()).collect();
    assert_eq!(discarded, [&b"first"[..], b"second", b"function", b"the item"]);
}

#[test]
fn workers_that_cannot_start_end_the_pool() {
    let mut ledger = Ledger::new(1);
    let function = ledger.add_function("f", b"f", false, None);
    let job = ledger.add_job(JobSpec { function, total: Some(1), ..JobSpec::default() });
    ledger.push_item(job, b"x", []);
    for _ in 0..3 {
        ledger.worker_started(0, 5);
        ledger.record(0, Kind::InitializerRaised, 0, 0, 0, b"why", 0);
        ledger.worker_ended(0, None, End::Exited(1));
    }
    let mut arrived = Vec::new();
    ledger.take_arrived(job, &mut arrived);
    let [(0, Outcome::Broken(broken))] = &arrived[..] else { panic!("{arrived:?}") };
    assert_eq!(broken.raised.as_deref(), Some(&b"why"[..]));
    // And so does what comes later.
    let late = ledger.add_job(JobSpec { function, total: Some(1), ..JobSpec::default() });
    ledger.push_item(late, b"y", []);
    assert!(ledger.is_done(late));
}

#[test]
fn an_unsent_item_does_not_hold_up_its_neighbours() {
    let mut world = World::new();
    let function = world.ledger.add_function("f", b"f", false, None);
    let job = world.ledger.add_job(JobSpec { function, chunk: Some(4), ..JobSpec::default() });
    world.ledger.push_item(job, format!("{job}/0").as_bytes(), []);
    world.ledger.push_unsent(job);
    world.ledger.push_item(job, format!("{job}/2").as_bytes(), []);
    world.ledger.set_total(job, 3);
    world.jobs.push((job, 3));
    world.finish();
    assert_eq!(world.delivered[&job][&1], Outcome::Unsent);
    assert!(world.delivered[&job][&0].is_ok() && world.delivered[&job][&2].is_ok());
}
