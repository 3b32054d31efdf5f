//! What reaches a rank from outside, with any bytes in it: see `phalanx-fuzz`.
#![expect(unsafe_code, reason = "memory that outlives a receive has an unsafe constructor")]

use std::cell::Cell;

use phalanx_shm::mem::MutMem;
use phalanx_shm::{Envelope, Part, ProcId, SlotState, Universe, UniverseConfig, Ways};

use crate::boot::BootConfig;
use crate::boot::environment::{self, Origin};
use crate::datatype::{Basic, Datatype};
use crate::engine::{Engine, kind};
use crate::{ANY_SOURCE, ANY_TAG, Info, RecvBuf, SendBuf};

use crate::dynamic::fuzz::{meeting_seeds, meetings, name_seeds, names, port_seeds, ports};

phalanx_fuzz::targets! {
    places("environment", "what the environment says of the job", cost 1, place_seeds());
    infos("info", "keys and values of info objects", cost 1, [b"wdir\0/tmp\0path\0a:b\0".to_vec(), b"\0\0".to_vec()]);
    met("meeting", "the first line of another job, at a port or over a socket", cost 1, meeting_seeds());
    ported("port", "the name of a port", cost 2, port_seeds());
    published("name", "a file of a published name", cost 1, name_seeds());
    records("records", "records in the ring from another rank", cost 40, record_seeds());
}

fn met(bytes: &[u8]) {
    meetings(bytes);
}

fn ported(bytes: &[u8]) {
    ports(bytes);
}

fn published(bytes: &[u8]) {
    names(bytes);
}

fn place_seeds() -> Vec<Vec<u8>> {
    [
        "PHALANX_UNIVERSE=5\nPHALANX_WORLD=4:2:1:8:-1:4096\nPMI_FD=7",
        "PMI_FD=7\nPMI_RANK=1\nPMI_SIZE=4",
        "OMPI_COMM_WORLD_SIZE=4\nMPI_LOCALNRANKS=4\nPRTE_JOB_SIZE=1",
        "SLURM_STEP_NUM_TASKS=4\nSLURM_PROCID=1\nSLURM_STEP_ID=0\nSLURM_JOB_NAME=a",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

fn places(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let find = |name: &str| {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.into_iter().find(|(key, _)| *key == name).map(|(_, value)| value.to_owned())
    };
    match environment::read(find) {
        Ok(Ok(Origin::Phalanx { fd, world, .. })) => assert!(fd >= 0 && world.rank < world.size),
        Ok(Ok(Origin::Pmi { fd, .. })) => assert!(fd >= 0),
        Ok(Ok(Origin::Alone)) => {}
        Ok(Err(launcher)) => assert!(!launcher.described().is_empty()),
        Err(error) => assert!(!error.message().is_empty()),
    }
}

/// Keys and values between zeros; what is set can be read, and is what it was.
fn infos(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let words: Vec<&str> = text.split('\0').collect();
    let info = Info::new();
    for [key, value] in words.as_chunks().0 {
        if info.set(key, value).is_ok() {
            assert_eq!(info.get(key).expect("a key that was set").as_deref(), Some(*value));
        }
    }
    let entries = info.to_entries();
    let copy = Info::from_entries(entries.iter().map(|(key, value)| (key, value))).expect("entries of another");
    assert_eq!(copy.to_entries(), entries);
    for (at, (key, _)) in entries.iter().enumerate() {
        assert_eq!(info.nth_key(at as i64).as_ref(), Ok(key));
    }
    entries.iter().for_each(|(key, _)| info.delete(key).expect("it is there"));
    assert!(info.is_empty());
}

/// Bytes of a record in an input, in front of its payload: kind, source, tag, token, context and whether the length is that of the
/// payload, the length of the payload.
fn record_seeds() -> Vec<Vec<u8>> {
    let one = |kind: u8, token: u8, payload: &[u8]| {
        let mut record = vec![kind, 1, 5, token, 0, payload.len() as u8];
        record.extend_from_slice(payload);
        record
    };
    let far = u64::MAX.to_ne_bytes();
    vec![
        [one(kind::EAGER, 0, b"eight bytes"), one(kind::EAGER_SYNC, 1, b"more")].concat(),
        one(kind::OFFER, 0, &0u64.to_ne_bytes()),
        one(kind::OFFER, 0, &262_144u64.to_ne_bytes()),
        [one(kind::OFFER, 0, &far), one(kind::DATA, 0, b"a piece"), one(kind::DONE, 0, &far)].concat(),
        [one(kind::MATCHED, 1, &far), one(kind::PIPE, 1, &far), one(kind::STREAM, 1, &[0; 8])].concat(),
    ]
}

/// Memory for receives, made once; they are over when a case is.
fn room(bytes: usize) -> MutMem {
    thread_local! {
        static ROOM: Cell<*mut u8> = const { Cell::new(std::ptr::null_mut()) };
    }
    let start = ROOM.with(|room| {
        if room.get().is_null() {
            room.set(vec![0u8; 1 << 20].leak().as_mut_ptr());
        }
        room.get()
    });
    // SAFETY: leaked memory of more bytes, which nobody reads but for this target.
    unsafe { MutMem::new(start, bytes.min(1 << 20)) }
}

/// Whatever another rank writes into its ring: a rank takes it, refuses it or finds that it cannot be. It never waits for it here.
fn records(mut bytes: &[u8]) {
    let config = UniverseConfig { slots: 2, ring_bytes: 8192, heap_bytes: 16 << 20, ways: Ways::default() };
    let universe = Universe::create(config).expect("a universe");
    universe.claim_slots(2).expect("two slots");
    let (me, other) = (ProcId(0), ProcId(1));
    universe.slot(other).claim(universe.own_tag()).expect("nobody is in it");
    universe.slot(other).set_state(SlotState::Running);
    let engine = Engine::init(BootConfig::first_world(&universe, 2, 0)).expect("an engine");
    let world = engine.world();
    let byte = Datatype::predefined(Basic::Byte);
    let mut requests = Vec::new();
    requests.extend(world.irecv(RecvBuf::raw(room(64), 64, byte), 1, 5));
    requests.extend(world.irecv(RecvBuf::raw(room(1 << 20), 1 << 20, byte), ANY_SOURCE, 6));
    static LARGE: [u8; 300_000] = [3; 300_000];
    requests.extend(world.isend(SendBuf::of(&LARGE), 1, 3));
    requests.extend(world.isend(SendBuf::of(&LARGE[..7]), 1, 4));
    let mut producer = universe.producer(other, me).expect("a ring");
    while let [kind, source, tag, token, exact, len, rest @ ..] = bytes {
        let (payload, behind) = rest.split_at(usize::from(*len).min(rest.len()));
        let envelope = Envelope {
            kind: *kind,
            ctx: 8 + u32::from(*exact >> 4),
            src: (*source as i8 as i32).cast_unsigned(),
            tag: i32::from(*tag as i8),
            sig: 0,
            len: if exact % 2 == 0 { payload.len() as u64 } else { u64::MAX >> (exact / 2 % 8 * 8) },
            token: match token {
                0..=31 => u64::from(*token) << 32,
                32..=63 => u64::from(*token - 32),
                _ => u64::MAX / u64::from(*token),
            },
        };
        if !producer.try_push(&envelope, &[Part::from(payload)]) {
            break;
        }
        bytes = behind;
        if exact % 4 == 0 && engine.progress().is_err() {
            break;
        }
    }
    for _ in 0..4 {
        let _ = engine.progress();
        requests.iter_mut().for_each(|request| drop(request.test()));
        let _ = world.iprobe(ANY_SOURCE, ANY_TAG);
        let _ = world.iprobe(1, 7);
    }
    let _ = engine.levels();
    requests.into_iter().for_each(|mut request| drop((request.cancel(), request.test())));
    engine.forget_comms();
}
