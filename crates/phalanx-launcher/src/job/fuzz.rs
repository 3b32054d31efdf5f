//! What ranks tell and what they leave in the segment, with any bytes in it: see [`crate::fuzz`].

use std::cell::OnceCell;

use phalanx_fuzz::{Scribbled, patch};
use phalanx_shm::{Offset, ProcId, SlotState, Universe, UniverseConfig, Ways};
use phalanx_waits::{
    Class, Finding, Findings, Found, Frame, Item, Kind, Manner, Need, Peers, Snapshot, Wait, fold, headline, reason,
    report, stuck, verdict, waits,
};

use super::block::{write_place, write_traceback};
use super::desk::Message;
use super::waits::RankNames;
use crate::process::Ended;
use crate::universe::JobUniverse;

pub(crate) fn desk_seeds() -> Vec<Vec<u8>> {
    [
        &b"raised\x003\0again\0ValueError\0no\0a.py\x007\0f\0raise\0Traceback\nValueError: no\n"[..],
        b"raised\x000\0\0KeyError\0'x'\0/home/you/a.py\x0012\0step\0d['x']\0Traceback (most recent call last):\n",
        b"raised\x000\0shown\0E\0\0\x000\0\0\0\0",
        b"speaks\x003\x004711",
        b"speaks\x000\0-1",
    ]
    .map(<[u8]>::to_vec)
    .to_vec()
}

/// What a rank tells can be told: in lines, and no more of them than a screen or two.
pub(crate) fn desk(bytes: &[u8]) {
    let Some(Message::Raised(_, exception)) = Message::read(bytes) else { return };
    let mut text = String::new();
    write_traceback(&mut text, &exception);
    write_place(&mut text, &exception);
    assert!(text.lines().count() < 200);
    assert!(!exception.said().contains('\n'));
}

struct Small {
    job: JobUniverse,
    memory: Scribbled,
}

fn wait(peer: u32, place: Vec<Frame>) -> Wait {
    let item = Item { kind: Kind::Receive, peers: Peers::one(peer), what: "from a rank".into(), near: String::new() };
    Wait {
        thread: 1,
        mates: vec![],
        alone: true,
        operation: "Recv".into(),
        since: 5,
        need: Need::All,
        items: vec![item],
        collective: None,
        background: None,
        place,
    }
}

impl Small {
    /// A job of two ranks that wait for each other, and have found something.
    fn new() -> Small {
        let config = UniverseConfig { slots: 4, ring_bytes: 1024, heap_bytes: 4 << 20, ways: Ways::default() };
        let universe = Universe::create(config).expect("a universe");
        universe.claim_slots(2).expect("two slots");
        // No file of that name is read.
        let frame = Frame { file: String::new(), line: 3, function: "exchange".into() };
        for slot in 0..2 {
            let process = ProcId(slot);
            universe.slot(process).claim(universe.own_tag()).expect("nobody is in it");
            universe.slot(process).set_state(SlotState::Running);
            universe.make_notes(process).expect("memory");
            universe.make_findings(process).expect("memory");
            let notes = universe.notes(process).expect("they were made");
            let content = wait(1 - slot, vec![frame.clone()]).encode(2000).expect("there is room");
            notes.write(0, &content);
            notes.asleep(0, universe.slot(process).sleepers().announce(1).state());
            let found = Finding {
                class: Class::OpenRequest,
                what: "a request".into(),
                place: Some(frame.clone()),
                other: None,
            };
            universe.findings(process).expect("they were made").add(&Found::First(found).encode());
        }
        let snapshot = Snapshot::take(&universe);
        assert_eq!(stuck(snapshot.standings()), [0, 1]);
        let (bell, file) = (universe.fd().try_clone_to_owned(), universe.fd().try_clone_to_owned());
        let len = universe.heap_used();
        let start = first_block(&universe);
        let slots = 64 << 10;
        let regions = [0..2048, slots..slots + 1024, start..start + len, slots..slots + 1024];
        let memory = Scribbled::new(file.expect("a descriptor"), &regions).expect("a segment");
        Small { job: JobUniverse::attach(bell.expect("a descriptor")).expect("a universe"), memory }
    }
}

/// Where the heap begins.
fn first_block(universe: &Universe) -> u64 {
    (0..1u64 << 24).step_by(4096).find(|at| universe.bytes(Offset::new(*at), 8).is_ok()).unwrap_or(0)
}

pub(crate) fn segment_seeds() -> Vec<Vec<u8>> {
    let far = u64::MAX.to_le_bytes();
    vec![
        Vec::new(),
        patch(0, 128, &[255, 0, 0, 0]),
        patch(1, 24, &far),
        patch(1, 0, &far),
        [patch(2, 64, &far), patch(2, 96, &[9; 24])].concat(),
    ]
}

/// Whatever a rank has written there, the launcher looks at it and comes back with something to say.
pub(crate) fn segment(bytes: &[u8]) {
    thread_local! {
        static SMALL: OnceCell<Small> = const { OnceCell::new() };
    }
    SMALL.with(|small| {
        let Small { job, memory } = small.get_or_init(Small::new);
        memory.restore().expect("a segment");
        memory.scribble(bytes).expect("a segment");
        let universe = job.universe();
        let snapshot = Snapshot::take(universe);
        let slots = stuck(snapshot.standings());
        let names = RankNames(&[]);
        if !slots.is_empty() {
            let _ = snapshot.holds(universe, &slots);
            for text in [
                report(&snapshot, &slots, &names),
                verdict(&snapshot, &slots, &names),
                headline(&snapshot, &slots, &names),
                reason(&snapshot, &slots, &names),
            ] {
                assert!(text.len() < 1 << 20);
            }
            snapshot.judge(universe, &slots, "it can never go on");
        }
        let manner = Manner { indent: "  ", one: ": something else", more: ": something else each" };
        let told = waits(&snapshot.with_awake(universe), |_| true, &names);
        assert!(fold(&told, 9, manner, &names).lines().count() <= 9);
        let found = Findings::of(universe).told(&names);
        assert!(found.chars().all(|c| c == '\n' || !c.is_control()) && found.len() < 1 << 20);
        for slot in [0, 1, 3, u32::MAX] {
            let _ = (job.state(slot), job.process_of(slot), job.abort_code(slot), job.done(slot));
            job.observe(slot, true);
            job.record_end(slot, Ended::Signal(9));
        }
        let _ = (job.holds(0, 2), job.holds(u32::MAX, 2), job.context());
        let _ = job.claim(1);
        let _ = JobUniverse::attach(universe.fd().try_clone_to_owned().expect("a descriptor"));
        memory.restore().expect("a segment");
    });
}
