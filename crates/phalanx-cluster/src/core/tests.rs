//! The state machine against engines and clients that do anything at any time.

use std::collections::{BTreeMap, BTreeSet};

use phalanx_wire::cluster::{Dependency, EngineInfo, FromClient, Status, TaskSpec, ToClient, ToEngine};
use proptest::prelude::*;

use super::*;

impl Object for u64 {
    fn bytes(&self) -> u64 {
        *self
    }
}

fn info(id: u32) -> EngineInfo {
    EngineInfo { id, uuid: format!("uuid-{id}"), pid: 1000 + id, host: "here".to_owned() }
}

fn task(id: &str) -> TaskSpec {
    TaskSpec { id: id.to_owned(), kind: "apply".to_owned(), balanced: true, ..TaskSpec::default() }
}

/// A core with engines, what they have, and what clients have heard.
struct World {
    core: Core<u64>,
    now: f64,
    /// What each engine has been given, with the numbers.
    given: BTreeMap<u32, Vec<(u64, String)>>,
    results: BTreeMap<String, Vec<(ClientId, Status)>>,
    /// How often each task has begun.
    begun: BTreeMap<String, u32>,
    interrupted: Vec<u32>,
    replies: Vec<phalanx_wire::cluster::Reply>,
}

impl World {
    fn new(engines: u32) -> Self {
        let mut world = Self {
            core: Core::new(Limits { records: 10_000, bytes: 1 << 30 }),
            now: 100.0,
            given: BTreeMap::new(),
            results: BTreeMap::new(),
            begun: BTreeMap::new(),
            interrupted: Vec::new(),
            replies: Vec::new(),
        };
        world.core.client_joined(1, "one".to_owned());
        for id in 0..engines {
            world.join(id);
        }
        world
    }

    fn join(&mut self, id: u32) {
        self.given.insert(id, Vec::new());
        self.core.engine_joined(info(id), false);
        self.act();
    }

    fn act(&mut self) {
        self.now += 0.000_1;
        self.core.at(self.now);
        for action in self.core.actions() {
            match action {
                Action::Client(client, ToClient::Result(outcome), _) => {
                    self.results.entry(outcome.id).or_default().push((client, outcome.status));
                }
                Action::Client(_, ToClient::Reply(reply), _) => self.replies.push(reply),
                Action::Client(..) => {}
                Action::Run { engine, message: ToEngine::Run { id, seq, .. }, .. } => {
                    self.given.get_mut(&engine).expect("it is there").push((seq, id));
                }
                Action::Run { .. } => panic!("not a task"),
                Action::Interrupt(engine) | Action::Kill(engine) => self.interrupted.push(engine),
            }
        }
    }

    fn submit(&mut self, tasks: Vec<TaskSpec>) {
        self.core.submit(1, tasks, |_| Some(8), false);
        self.act();
    }

    /// An engine ends the first of its tasks.
    fn end(&mut self, engine: u32, status: Status) -> Option<String> {
        let given = self.given.get_mut(&engine)?;
        if given.is_empty() {
            return None;
        }
        let (_, id) = given.remove(0);
        *self.begun.entry(id.clone()).or_default() += 1;
        self.core.at(self.now);
        self.core.done(engine, &id, Said { status, ..Said::default() }, Some(8));
        self.act();
        Some(id)
    }

    /// An engine dies; whether it was in the first of its tasks.
    fn kill(&mut self, engine: u32, in_task: bool) {
        let Some(given) = self.given.remove(&engine) else { return };
        let first = given.first().map_or(0, |(seq, _)| *seq);
        let begun = if in_task { first } else { first.saturating_sub(1) };
        if let (true, Some((_, id))) = (in_task, given.first()) {
            *self.begun.entry(id.clone()).or_default() += 1;
        }
        self.core.engine_left(engine, "was killed by signal 9 (SIGKILL)", begun);
        self.act();
    }

    /// Everybody ends what he has, until nobody has anything.
    fn settle(&mut self) {
        loop {
            let ids: Vec<u32> = self.given.keys().copied().collect();
            if !ids.into_iter().any(|id| self.end(id, Status::Ok).is_some()) {
                return;
            }
        }
    }

    fn status(&self, id: &str) -> Option<Status> {
        match self.results.get(id).map(Vec::as_slice) {
            None => None,
            Some([(_, status)]) => Some(*status),
            Some(several) => panic!("{id} has several results: {several:?}"),
        }
    }
}

#[test]
fn tasks_are_shared_out_and_each_has_a_result() {
    let mut world = World::new(2);
    world.submit((0..10).map(|n| task(&n.to_string())).collect());
    assert!(world.given.values().all(|given| given.len() == 1));
    world.settle();
    assert!((0..10).all(|n| world.status(&n.to_string()) == Some(Status::Ok)));
    assert_eq!(world.core.counts().0, 0);
}

#[test]
fn short_tasks_go_together_once_that_is_known() {
    let mut world = World::new(1);
    world.submit((0..200).map(|n| task(&n.to_string())).collect());
    for _ in 0..40 {
        world.end(0, Status::Ok);
    }
    assert!(world.given[&0].len() > 1);
    // With others idle, nobody has several that wait.
    world.join(1);
    assert!(!world.given[&1].is_empty());
    // One that prints gets one at a time.
    let waiting = world.given[&0].len();
    world.core.printed(0, false, "x");
    let few = (waiting - 1).min(8);
    for _ in 0..few {
        world.end(0, Status::Ok);
    }
    assert_eq!(world.given[&0].len(), waiting - few);
}

#[test]
fn an_engine_in_a_long_task_is_given_no_others() {
    let mut world = World::new(1);
    world.submit((0..100).map(|n| task(&n.to_string())).collect());
    world.settle();
    world.submit(vec![task("long")]);
    world.submit((0..20).map(|n| task(&format!("short {n}"))).collect());
    assert!(world.given[&0].len() > 1, "who knows yet that it is long");
    world.join(1);
    world.settle();
    world.submit((100..300).map(|n| task(&n.to_string())).collect());
    // Both engines are known to have short ones.
    while world.end(0, Status::Ok).is_some() | world.end(1, Status::Ok).is_some() {}
    world.submit(vec![task("longer"), task("short")]);
    let (busy, other) = if world.given[&0].iter().any(|(_, id)| id == "longer") { (0, 1) } else { (1, 0) };
    world.now += 2.0 * CHUNK;
    world.submit((0..50).map(|n| task(&format!("late {n}"))).collect());
    while world.end(other, Status::Ok).is_some() {}
    assert_eq!(world.given[&busy].len(), 1);
    assert!((0..50).all(|n| world.status(&format!("late {n}")) == Some(Status::Ok)));
    assert_eq!(world.status("longer"), None);
}

#[test]
fn a_task_is_submitted_again_whether_it_has_ended_or_not() {
    let mut world = World::new(1);
    world.submit(vec![task("a"), task("b")]);
    world.end(0, Status::Ok);
    let ids = ["a", "b"].map(str::to_owned).to_vec();
    let new_ids = ["a again", "b again"].map(str::to_owned).to_vec();
    world.core.request(1, FromClient::Resubmit { ids, new_ids, request: Some(1) });
    world.act();
    assert_eq!(world.replies.pop().and_then(|reply| reply.error), None);
    world.settle();
    assert!(["b", "a again", "b again"].iter().all(|id| world.status(id) == Some(Status::Ok)));
    // What is large may be changed by who runs it.
    world.core.submit(1, vec![task("large")], |_| Some(SMALL + 1), false);
    world.act();
    let (ids, new_ids) = (vec!["large".to_owned()], vec!["large again".to_owned()]);
    world.core.request(1, FromClient::Resubmit { ids, new_ids, request: Some(2) });
    world.act();
    assert!(world.replies.pop().and_then(|reply| reply.error).is_some_and(|error| error.contains("too large")));
}

#[test]
fn what_an_engine_has_not_begun_runs_elsewhere() {
    let mut world = World::new(2);
    world.submit(vec![task("a"), task("b")]);
    world.kill(0, false);
    world.settle();
    assert_eq!((world.status("a"), world.status("b")), (Some(Status::Ok), Some(Status::Ok)));
    world.submit(vec![task("c")]);
    world.kill(1, true);
    assert_eq!(world.status("c"), Some(Status::Error));
}

#[test]
fn retries_go_to_other_engines_until_there_is_none() {
    let mut world = World::new(2);
    world.submit(vec![TaskSpec { retries: 1, ..task("a") }, TaskSpec { retries: 2, timeout: Some(0.5), ..task("b") }]);
    for _ in 0..6 {
        for id in [0, 1] {
            world.end(id, Status::Error);
        }
    }
    assert_eq!((world.status("a"), world.status("b")), (Some(Status::Error), None));
    world.now += 1.0;
    world.core.at(world.now);
    world.core.tick();
    world.act();
    assert_eq!(world.status("b"), Some(Status::Error));
}

#[test]
fn a_task_that_every_engine_rejects_is_impossible() {
    let mut world = World::new(2);
    world.submit(vec![task("a")]);
    let engine = world.given.iter().find(|(_, given)| !given.is_empty()).map(|(id, _)| *id).expect("one has it");
    world.end(engine, Status::Rejected);
    assert_eq!(world.given[&(1 - engine)].len(), 1);
    world.end(1 - engine, Status::Rejected);
    assert_eq!(world.status("a"), Some(Status::Error));
}

#[test]
fn dependencies_hold_tasks_back_and_lead_them() {
    let on = |id: &str| Some(Dependency { ids: vec![id.to_owned()], ..Dependency::default() });
    let mut world = World::new(2);
    world.submit(vec![
        task("a"),
        TaskSpec { after: on("a"), ..task("b") },
        TaskSpec { follow: on("a"), ..task("c") },
        TaskSpec { after: on("nobody"), ..task("d") },
    ]);
    assert_eq!(world.status("d"), Some(Status::Error));
    let (engine, _) = world.given.iter().find(|(_, given)| !given.is_empty()).expect("one has it");
    let engine = *engine;
    world.end(engine, Status::Ok);
    let has = |world: &World, engine: u32, id: &str| world.given[&engine].iter().any(|(_, given)| given == id);
    assert!(!has(&world, 1 - engine, "c"));
    world.settle();
    assert_eq!((world.status("b"), world.status("c")), (Some(Status::Ok), Some(Status::Ok)));
    world.submit(vec![task("e"), TaskSpec { after: on("e"), ..task("f") }]);
    for id in [0, 1] {
        world.end(id, Status::Error);
    }
    assert_eq!((world.status("e"), world.status("f")), (Some(Status::Error), Some(Status::Error)));
}

#[test]
fn a_task_that_takes_too_long_is_interrupted_and_then_its_engine_killed() {
    let mut world = World::new(1);
    world.submit(vec![TaskSpec { time_limit: Some(1.0), ..task("a") }]);
    for expected in [1, 2] {
        world.now += 3.0;
        world.core.at(world.now);
        world.core.tick();
        world.act();
        assert_eq!(world.interrupted.len(), expected);
    }
    world.kill(0, true);
    assert_eq!(world.status("a"), Some(Status::Error));
}

#[test]
fn what_is_aborted_never_runs_and_a_failure_stops_those_behind_it() {
    let mut world = World::new(1);
    let direct = |id: &str| TaskSpec { balanced: false, targets: vec![0], stop_on_error: true, ..task(id) };
    world.submit(vec![direct("a"), direct("b"), direct("c"), TaskSpec { stop_on_error: false, ..direct("d") }]);
    world.core.request(1, FromClient::Abort { ids: Some(vec!["b".to_owned()]), targets: None, request: Some(7) });
    world.act();
    assert_eq!(world.status("b"), Some(Status::Aborted));
    assert_eq!(world.replies.last().map(|reply| reply.ids.clone()), Some(vec!["b".to_owned()]));
    world.end(0, Status::Error);
    assert_eq!(world.status("c"), Some(Status::Aborted));
    world.settle();
    assert_eq!(world.status("d"), Some(Status::Ok));
}

#[test]
fn what_is_remembered_is_bounded() {
    let mut world = World::new(1);
    world.core.limits = Limits { records: 100, bytes: 1 << 20 };
    for n in 0..1000 {
        world.submit(vec![task(&n.to_string())]);
        world.settle();
    }
    assert!(world.core.counts().1 <= 100 && world.core.names.len() <= 100 && world.core.dependents.is_empty());
    world.core.request(1, FromClient::Records { ids: None, request: Some(1) });
    world.act();
    assert_eq!(world.replies.iter().map(|reply| reply.records.len()).sum::<usize>(), 100);
}

#[test]
fn results_are_fetched_by_others_and_tasks_submitted_again() {
    let mut world = World::new(1);
    world.submit(vec![task("a"), task("b")]);
    world.core.client_joined(2, "two".to_owned());
    let fetch = FromClient::Fetch { ids: vec!["a".into(), "b".into(), "zzz".into()], request: Some(1) };
    world.core.request(2, fetch);
    world.act();
    assert!(world.replies[0].error.as_ref().is_some_and(|error| error.starts_with("KeyError")));
    world.settle();
    assert_eq!(world.results["a"], [(1, Status::Ok), (2, Status::Ok)]);
    let again = FromClient::Resubmit { ids: vec!["a".into()], new_ids: vec!["c".into()], request: Some(2) };
    world.core.request(2, again);
    world.act();
    world.settle();
    assert_eq!(world.results["c"], [(2, Status::Ok)]);
    let purge = FromClient::Purge { ids: None, targets: None, everything: true, request: Some(3) };
    world.core.request(2, purge);
    world.act();
    assert_eq!(world.core.counts(), (0, 0, 0));
    assert!(world.core.names.is_empty());
}

/// What happens in a random run.
#[derive(Debug, Clone)]
enum Move {
    Submit { balanced: bool, engine: u32, retries: u32, after: Option<u32>, follows: bool, limit: bool },
    End { engine: u32, status: u8 },
    Return { engine: u32 },
    Kill { engine: u32, in_task: bool },
    Join { engine: u32 },
    Abort { task: u32 },
    Leave,
    Later,
}

fn moves() -> impl Strategy<Value = Move> {
    let engine = || 0..4u32;
    prop_oneof![
        6 => (any::<bool>(), engine(), 0..3u32, prop::option::of(0..60u32), any::<bool>(), any::<bool>()).prop_map(
            |(balanced, engine, retries, after, follows, limit)| Move::Submit {
                balanced, engine, retries, after, follows, limit
            }
        ),
        8 => (engine(), 0..4u8).prop_map(|(engine, status)| Move::End { engine, status }),
        1 => engine().prop_map(|engine| Move::Return { engine }),
        1 => (engine(), any::<bool>()).prop_map(|(engine, in_task)| Move::Kill { engine, in_task }),
        2 => engine().prop_map(|engine| Move::Join { engine }),
        1 => (0..60u32).prop_map(|task| Move::Abort { task }),
        1 => Just(Move::Leave),
        1 => Just(Move::Later),
    ]
}

proptest! {
    /// Each task of a client that stays gets exactly one result, and none begins more often than it may.
    #[test]
    fn each_task_has_one_result_whatever_happens(moves in prop::collection::vec(moves(), 1..120)) {
        let mut world = World::new(2);
        let mut submitted: BTreeMap<String, u32> = BTreeMap::new();
        let mut rejected: BTreeSet<String> = BTreeSet::new();
        let mut guest = 100;
        for step in moves {
            match step {
                Move::Submit { balanced, engine, retries, after, follows, limit } => {
                    let id = submitted.len().to_string();
                    let on = after.map(|other| Dependency { ids: vec![other.to_string()], ..Dependency::default() });
                    let (after, follow) = if follows { (None, on) } else { (on, None) };
                    let targets = if balanced { Vec::new() } else { vec![engine] };
                    let spec = TaskSpec {
                        balanced, targets, retries, after, follow,
                        time_limit: limit.then_some(0.5),
                        ..task(&id)
                    };
                    submitted.insert(id, if balanced { retries } else { 0 });
                    world.submit(vec![spec]);
                }
                Move::End { engine, status } => {
                    let status = [Status::Ok, Status::Ok, Status::Error, Status::Rejected][usize::from(status)];
                    if let Some(id) = world.end(engine, status)
                        && status == Status::Rejected
                    {
                        // It looked at it, and did not run it.
                        *world.begun.get_mut(&id).expect("counted") -= 1;
                        rejected.insert(id);
                    }
                }
                Move::Return { engine } => {
                    if let Some(given) = world.given.get_mut(&engine).filter(|given| given.len() > 1) {
                        let ids: Vec<String> = given.drain(1..).map(|(_, id)| id).collect();
                        world.core.returned(engine, &ids);
                        world.act();
                    }
                }
                Move::Kill { engine, in_task } => world.kill(engine, in_task),
                Move::Join { engine } => {
                    if !world.given.contains_key(&engine) {
                        world.join(engine);
                    }
                }
                Move::Abort { task } => {
                    let ids = Some(vec![task.to_string()]);
                    world.core.request(1, FromClient::Abort { ids, targets: None, request: None });
                    world.act();
                }
                Move::Leave => {
                    guest += 1;
                    world.core.client_joined(guest, "guest".to_owned());
                    let spec = TaskSpec { id: format!("guest-{guest}"), ..task("") };
                    world.core.submit(guest, vec![spec], |_| Some(8), false);
                    world.act();
                    world.core.client_left(guest);
                    world.act();
                }
                Move::Later => {
                    world.now += 1.0;
                    world.core.at(world.now);
                    world.core.tick();
                    world.act();
                }
            }
        }
        // An engine that takes everything: nothing waits then, or it never could.
        if !world.given.contains_key(&9) {
            world.join(9);
        }
        world.settle();
        for (id, retries) in &submitted {
            prop_assert!(world.status(id).is_some(), "{} has no result", id);
            let begun = world.begun.get(id).copied().unwrap_or(0);
            prop_assert!(begun <= 1 + retries, "{} has begun {} times", id, begun);
        }
        let (pending, _, _) = world.core.counts();
        prop_assert_eq!(pending, 0);
        prop_assert!(world.core.dependents.is_empty());
        prop_assert!(world.core.deadlines.is_empty());
    }
}
