//! Shared memory that somebody has written over, and what is kept in files, with any bytes in it: see `phalanx-fuzz`.

use core::mem::size_of;
use core::ptr::NonNull;
use std::cell::{Cell, OnceCell};
use std::sync::atomic::{AtomicU64 as Word, Ordering};

use phalanx_fuzz::{Scribbled, patch};

use crate::board::{Board, Results, Shape, WorkerEnd};
use crate::findings::{FINDINGS_WORDS, Findings};
use crate::mem::MutMem;
use crate::notes::{NOTE_BYTES, NOTES, NOTES_WORDS, Notes, VERDICT_BYTES};
use crate::queue::{HEADER, Memory, Queue, Record, TryGet};
use crate::universe::{ProcId, SlotState, Universe, UniverseConfig};
use crate::ways::{Table, Ways, kept};
use crate::{Envelope, HotSet, Part, ShmError};

phalanx_fuzz::targets! {
    notes("notes", "the words of the notes of a process", cost 4, note_seeds());
    findings("findings", "the words of the findings of a process", cost 4, finding_seeds());
    universe("universe", "the segment of a job, which a rank has written over, as another rank sees it", cost 8, universe_seeds());
    queue("queue", "the memory of a queue, which a process has written over", cost 4, queue_seeds());
    board("board", "the board of a pool, which a process has written over", cost 4, queue_seeds());
    ways("ways", "what was measured on this machine, in a file or a variable", cost 1, ways_seeds());
}

/// Words with the input in them, over and over.
fn words(bytes: &[u8], count: usize) -> Vec<crate::sync::AtomicU64> {
    let own = bytes.as_chunks().0;
    let word = |at: usize| own.get(at % own.len().max(1)).map_or(0, |word| u64::from_le_bytes(*word));
    (0..count).map(|at| crate::sync::AtomicU64::new(word(at))).collect()
}

fn bytes_of(words: &[crate::sync::AtomicU64]) -> Vec<u8> {
    words.iter().take(phalanx_fuzz::LONGEST / 8).flat_map(|w| w.load(Ordering::Relaxed).to_le_bytes()).collect()
}

fn note_seeds() -> Vec<Vec<u8>> {
    let room = words(&[], NOTES_WORDS);
    let notes = Notes::over(&room);
    notes.write(0, b"a wait");
    notes.asleep(0, 5);
    let one = bytes_of(&room);
    notes.write(0, &[7; NOTE_BYTES]);
    notes.asleep(0, 6);
    if let Some((stamp, _)) = notes.read(0) {
        notes.judge(0, stamp, "it can never go on");
    }
    vec![one, bytes_of(&room), vec![2; 64]]
}

fn notes(bytes: &[u8]) {
    let room = words(bytes, NOTES_WORDS);
    let notes = Notes::over(&room);
    for at in 0..NOTES {
        if let Some((stamp, content)) = notes.read(at) {
            assert!(content.len() <= NOTE_BYTES && notes.holds(at, stamp));
            notes.judge(at, stamp, "it can never go on");
        }
        assert!(notes.verdict(at).is_none_or(|text| text.len() <= 3 * VERDICT_BYTES));
    }
    notes.write(0, b"another wait");
    notes.asleep(0, 1);
    assert!(notes.read(0).is_none_or(|(_, content)| content == b"another wait"));
}

fn finding_seeds() -> Vec<Vec<u8>> {
    let room = words(&[], FINDINGS_WORDS);
    let findings = Findings::over(&room);
    (0..20).for_each(|n| assert!(findings.add(&vec![n; 10 * usize::from(n)])));
    vec![bytes_of(&room), vec![3; 80]]
}

fn findings(bytes: &[u8]) {
    let room = words(bytes, FINDINGS_WORDS);
    let findings = Findings::over(&room);
    let before = findings.all();
    assert!(before.iter().map(Vec::len).sum::<usize>() <= FINDINGS_WORDS * 8);
    let _ = findings.add(b"one more");
    assert!(findings.all().len() >= before.len());
}

/// A universe that is made once and mended after each case, with a ring, notes and findings in it.
struct Small {
    universe: Universe,
    memory: Scribbled,
}

const A: ProcId = ProcId(0);
const B: ProcId = ProcId(1);

impl Small {
    fn new() -> Small {
        let config = UniverseConfig { slots: 4, ring_bytes: 1024, heap_bytes: 4 << 20, ways: Ways::default() };
        let universe = Universe::create(config).expect("a universe");
        universe.claim_slots(2).expect("two slots");
        for process in [A, B] {
            universe.slot(process).claim(universe.own_tag()).expect("nobody is in it");
            universe.slot(process).set_state(SlotState::Running);
            universe.make_notes(process).expect("memory");
            universe.make_findings(process).expect("memory");
        }
        let mut producer = universe.producer(A, B).expect("a ring");
        for len in [0, 8, 100] {
            let payload = vec![7; len];
            assert!(
                producer.try_push(&Envelope { len: len as u64, ..Envelope::default() }, &[Part::from(&payload[..])])
            );
        }
        drop(producer);
        universe.record_or_new(8, 100).expect("memory");
        let layout = *universe.layout();
        let mut entry = [0; 8];
        rustix::io::pread(universe.fd(), &mut entry, layout.pair_row(B.0).0).expect("a segment");
        let ring = u64::from_ne_bytes(entry);
        let (start, end) = (layout.heap_at, layout.heap_at + universe.heap_used());
        let file = universe.fd().try_clone_to_owned().expect("a descriptor");
        let regions = [
            0..2048,
            layout.slots_at..layout.slots_at + 2 * size_of::<crate::Slot>() as u64,
            layout.pair_row(0).0..layout.pair_row(3).0,
            ring..ring + universe.ring_footprint() as u64,
            // All of it, of which the first is a block's head.
            start..end,
        ];
        Small { universe, memory: Scribbled::new(file, &regions).expect("a segment") }
    }
}

thread_local! {
    static SMALL: OnceCell<Small> = const { OnceCell::new() };
    static TURN: Cell<u64> = const { Cell::new(0) };
}

fn universe_seeds() -> Vec<Vec<u8>> {
    let far = u64::MAX.to_le_bytes();
    vec![
        Vec::new(),
        patch(0, 128, &[8, 0, 0, 0]),
        patch(1, 0, &far),
        patch(2, 8, &far),
        patch(3, 0, &far),
        [patch(3, 256, &far), patch(4, 0, &far), patch(1, 24, &[64, 0, 3, 0])].concat(),
    ]
}

/// Whatever stands in the segment, a rank that looks at it finds an error or something that can be.
fn universe(bytes: &[u8]) {
    SMALL.with(|small| {
        let Small { universe, memory } = small.get_or_init(Small::new);
        memory.restore().expect("a segment");
        memory.scribble(bytes).expect("a segment");
        let _ = universe.audit(A);
        let claimed = universe.claimed();
        assert!(claimed <= universe.capacity());
        for process in (0..claimed).map(ProcId) {
            let slot = universe.slot(process);
            let _ = (slot.standing(), slot.abort_code(), slot.sent(), slot.is_for_guests(), slot.is_observed());
            if let Some(notes) = universe.notes(process) {
                (0..NOTES).for_each(|at| drop((notes.read(at), notes.verdict(at))));
            }
            let _ = universe.findings(process).map(|findings| findings.all());
            slot.set_state(SlotState::Finalizing);
            slot.alarm();
            HotSet::new().refresh(slot);
        }
        assert!(universe.senders(B).all(|sender| sender.0 < claimed));
        receive(universe);
        if let Ok(mut producer) = universe.producer(A, B) {
            let _ = producer.try_push(&Envelope::default(), &[Part::from(&[1u8; 200][..])]);
        }
        receive(universe);
        let _ =
            (universe.record(8), universe.record_or_new(12, 64), universe.take_record_out(8, crate::Offset::new(64)));
        if let Ok(block) = universe.alloc(3000) {
            let _ = universe.bytes(block, 3000).and_then(|range| range.write(0, &[3; 3000]));
            universe.free(block);
        }
        let _ = universe.claim_slots(1);
        let _ = Universe::attach(universe.fd().try_clone_to_owned().expect("a descriptor")).map(|other| other.ways());
        memory.restore().expect("a segment");
    });
}

fn receive(universe: &Universe) {
    let Ok(Some(mut consumer)) = universe.consumer(A, B) else { return };
    let mut room = [0; 4096];
    for _ in 0..64 {
        match consumer.peek() {
            Ok(Some(record)) => assert!(record.copy_payload(&mut room) <= record.payload_len()),
            _ => break,
        }
        consumer.pop();
    }
    let _ = consumer.audit();
}

/// Memory of a queue: a header, and chunks behind it that are never used again.
struct Room {
    words: Box<[Word]>,
    used: Cell<usize>,
}

/// Words of it.
const ROOM: usize = 64 << 10;

impl Room {
    fn new() -> Room {
        let words = (0..ROOM).map(|_| Word::new(0)).collect();
        let room = Room { words, used: Cell::new(0) };
        room.used.set((room.first() - room.words.as_ptr().addr()) / 8 + HEADER.div_ceil(8));
        room
    }

    /// The address of the header.
    fn first(&self) -> usize {
        self.words.as_ptr().addr().next_multiple_of(64)
    }

    fn word(&self, at: usize) -> Option<NonNull<u8>> {
        self.words.get(at).map(|word| NonNull::from(word).cast())
    }

    /// Writes over the words that are in use: patches of two bytes that say where, and eight that are written.
    fn scribble(&self, input: &[u8]) {
        let start = (self.first() - self.words.as_ptr().addr()) / 8;
        for patch in input.as_chunks::<10>().0 {
            let at = start + usize::from(u16::from_le_bytes([patch[0], patch[1]])) % (self.used.get() - start);
            let word = patch[2..].try_into().map_or(0, u64::from_le_bytes);
            self.words[at].store(word, Ordering::Relaxed);
        }
    }
}

impl Memory for &Room {
    fn header(&self) -> NonNull<u8> {
        let at = (self.first() - self.words.as_ptr().addr()) / 8;
        self.word(at).expect("it is inside")
    }

    fn alloc(&self, bytes: usize) -> Result<(u64, usize), ShmError> {
        let (at, count) = (self.used.get(), bytes.div_ceil(8));
        if at + count > ROOM {
            return Err(ShmError::HeapFull { bytes: bytes as u64, live: 0, capacity: ROOM as u64 * 8, largest: 0 });
        }
        self.used.set(at + count);
        Ok((at as u64, count * 8))
    }

    fn free(&self, _: u64) {}

    fn at(&self, block: u64, len: usize) -> Option<NonNull<u8>> {
        let at = usize::try_from(block).ok().filter(|at| *at < ROOM && len <= (ROOM - at) * 8)?;
        self.word(at)
    }

    fn release(&self, _: u64) {}
}

fn queue_seeds() -> Vec<Vec<u8>> {
    let patch = |at: u16, word: u64| [&at.to_le_bytes()[..], &word.to_le_bytes()].concat();
    vec![
        Vec::new(),
        patch(3, u64::MAX),
        [patch(9, 1 << 63 | 4096), patch(40, 77)].concat(),
        [patch(70, 1 << 32 | 8), patch(72, 1 << 16), patch(80, 5)].concat(),
    ]
}

/// A getter finds records inside the memory, or an error; and it comes to an end.
fn queue(bytes: &[u8]) {
    let room = Room::new();
    let queue = Queue::create(&room, 0).expect("there is room");
    for len in [0, 5, 600, 3000, 40] {
        let _ = queue.try_put(&vec![9; len], &[[1, 2][len % 2]]).expect("there is room");
    }
    room.scribble(bytes);
    let mut record = Record::new();
    for _ in 0..16 {
        match queue.try_get(&mut record) {
            Ok(TryGet::Done) => assert!(record.bytes().len() <= ROOM * 8),
            _ => break,
        }
    }
    let _ = (queue.try_put(b"one more", &[]), queue.len(), queue.is_full(), queue.unfinished(), queue.task_done());
    let _ = queue.try_get(&mut record);
    queue.dismantle();
    let _ = Queue::open(&room).map(|queue| queue.len());
}

/// The parent of a pool takes results that are inside the memory, or finds an error.
fn board(bytes: &[u8]) {
    let shape = Shape { cells: 4, payload: 256, workers: 2, results: 1024 };
    let room = Room::new();
    let at = room.used.get();
    let memory = &room.words[at..at + shape.bytes().div_ceil(8) + 8];
    let skip = memory.as_ptr().addr().next_multiple_of(64) - memory.as_ptr().addr();
    room.used.set(at + memory.len());
    let start = memory.as_ptr().cast_mut().cast::<u8>().wrapping_add(skip);
    // SAFETY: inside `room`, which outlives the board, and all of it atomics.
    let memory = unsafe { MutMem::new(start, shape.bytes()) };
    // SAFETY: the words behind it, all atomics, are inside `room`, which outlives the board; zeroed and aligned to 64.
    let board = unsafe { Board::create(memory, shape, Box::new(())) }.expect("a board");
    let mut worker = WorkerEnd::new(board.clone(), 0).expect("a worker");
    for len in [0, 7, 200] {
        let payload = vec![5; len];
        let record = crate::board::Record { kind: 2, dispatch: 1, ordinal: 0, nanos: 9, bytes: &payload };
        assert!(matches!(worker.send(&record), Ok(true)));
    }
    room.scribble(bytes);
    // SAFETY: as above; that its first words may be nonsense is what is tested.
    let opened = unsafe { Board::open(memory, Box::new(())) };
    for board in [Ok(board), opened].into_iter().flatten() {
        if board.shape() != shape {
            continue;
        }
        for number in 0..2 {
            let mut results = Results::new(board.clone(), number);
            for _ in 0..4 {
                let mut most = 0;
                let taken = results.drain(|record| most = most.max(record.bytes.len()));
                assert!(most <= 1024);
                if !matches!(taken, Ok(1..)) {
                    break;
                }
            }
        }
        if let Ok(mut worker) = WorkerEnd::new(board, 1) {
            let _ = worker.claim();
            assert!(worker.payload().len() <= 256);
        }
    }
}

fn ways_seeds() -> Vec<Vec<u8>> {
    let table = "ping 50.0\ncycle 131072 6.80 30.50\ncycle 262144 6.30 30.70\ncycle 524288 6.80 30.80\ncycle 1048576 10.70 31.80\n\
                 cycle 2097152 12.70 32.30\ncycle 4194304 12.80 33.20\nmessage 32768 6.20 0.00 8.50\n\
                 message 65536 7.40 0.00 10.90\nmessage 131072 8.10 0.00 11.70\nmessage 262144 10.60 0.00 11.70\n\
                 message 524288 11.20 0.00 11.10\nmessage 1048576 12.30 11.50 8.40\nmessage 8388608 9.00 9.90 8.00\n\
                 last-level 33554432\n";
    let form = kept::FORM;
    assert_eq!(kept::of_text(&format!("{form} this\n{table}"), "this").map(|tables| tables.len()), Some(1));
    [
        "take=512K,alone=never".to_owned(),
        "take=4M,pipe=256K,alone=64K,exchange=never,stream=32M".to_owned(),
        format!("{form} this\n{table}"),
        format!("{form} this\n{table}\n{}", table.replace("50.0", "201.0")),
    ]
    .map(String::into_bytes)
    .to_vec()
}

/// What is taken can be chosen, written into the segment and read there.
fn ways(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let sound = |ways: Ways| {
        let said = Ways { fixed: true, ..ways };
        assert_eq!(ways.to_string().parse(), Ok(said), "{ways:?}");
        assert_eq!(Ways::from_word(ways.to_word()), ways, "{ways:?}");
    };
    if let Ok(ways) = text.parse::<Ways>() {
        sound(ways);
    }
    let tables = kept::of_text(&text, "this").unwrap_or_default();
    assert!(tables.len() <= bytes.len());
    tables.iter().map(Table::choose).for_each(sound);
    for word in bytes.as_chunks().0 {
        let ways = Ways::from_word(u64::from_le_bytes(*word));
        assert!(ways.pipe.is_power_of_two());
        let _ = ways.to_string();
    }
}
