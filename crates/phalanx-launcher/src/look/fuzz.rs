//! Memory of ranks, what the kernel prints of them, and answers of launchers, with any bytes in it: see [`crate::fuzz`].

use std::collections::HashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

use phalanx_trace::layout::{WORDS, layout};
use phalanx_waits::{Frame, Item, Kind, Need, Peers, Wait};

use super::lines::line_at;
use super::memory::{Memory, Symbols, files_in};
use super::python::Reader;
use super::{About, Doing, DoingKind, Look, Process, RankSeen, Stage, Stuck, Thread};

/// The address of the first byte of an input.
const BASE: u64 = 8192;

/// Memory that holds an input.
fn memory(bytes: &[u8]) -> Memory {
    let file = rustix::fs::memfd_create("memory", rustix::fs::MemfdFlags::CLOEXEC).map(File::from).expect("memory");
    file.write_all_at(bytes, BASE).expect("memory");
    Memory::over(file)
}

/// Words in memory, by their place.
fn image(len: usize, words: &[(usize, u64)]) -> Vec<u8> {
    let mut bytes = vec![0; len];
    for (at, word) in words {
        bytes[*at..at + 8].copy_from_slice(&word.to_ne_bytes());
    }
    bytes
}

pub(crate) fn symbol_seeds() -> Vec<Vec<u8>> {
    // A head, a segment that is loaded, the dynamic section; two names, two symbols and a hash table of one bucket.
    let wanted = b"_PyRuntime".iter().fold(5381u32, |hash, byte| hash.wrapping_mul(33).wrapping_add(u32::from(*byte)));
    let mut bytes = image(
        512,
        &[
            (32, 64),
            (64, 1),
            (120, 2),
            (136, 192),
            (192, 5),
            (200, 272),
            (208, 6),
            (216, 304),
            (224, 0x6fff_fef5),
            (232, 352),
            (328, 1),
            (336, 0x1234),
            (352, 1 | 1 << 32),
            (360, 1),
            (368, u64::MAX),
            (376, 1 | u64::from(wanted | 1) << 32),
        ],
    );
    bytes[..5].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2]);
    bytes[56] = 2;
    bytes[273..284].copy_from_slice(b"_PyRuntime\0");
    let memory = memory(&bytes);
    let found = Symbols::of(&memory, BASE).and_then(|symbols| symbols.find("_PyRuntime"));
    assert_eq!(found, Some(BASE + 0x1234));
    vec![bytes]
}

pub(crate) fn symbols(bytes: &[u8]) {
    let memory = memory(bytes);
    if let Some(symbols) = Symbols::of(&memory, BASE) {
        let _ = ["_PyRuntime", "Py_Version", "getpid"].map(|name| symbols.find(name));
    }
}

/// A runtime as 3.12 has it, with one interpreter, one thread and two frames of one function.
fn runtime() -> Vec<u8> {
    let at = |offset: u64| BASE + offset;
    let (interpreter, thread, cframe, frame, outer, code, file, name, lines) =
        (at(64), at(256), at(512), at(544), at(640), at(736), at(992), at(1056), at(1120));
    let words = [
        (40, interpreter),
        (64 + 72, thread),
        (256 + 8, 0),
        (256 + 56, cframe),
        (256 + 144, 4711),
        (512, frame),
        (544, code),
        (552, outer),
        (544 + 56, code + 192 + 4),
        (640, code),
        (640 + 56, code + 192),
        (736 + 8, CODE_TYPE),
        (736 + 112, file),
        (736 + 128, name),
        (736 + 136, lines),
        (992 + 8, TEXT_TYPE),
        (992 + 16, 5),
        (992 + 32, (1 << 2 | 8 << 2 | 16 << 2)),
        (1056 + 8, TEXT_TYPE),
        (1056 + 16, 4),
        (1056 + 32, (1 << 2 | 8 << 2 | 16 << 2)),
        (1120 + 16, 4),
    ];
    let mut bytes = image(1200, &words);
    bytes[736 + 68] = 10;
    bytes[992 + 40..992 + 45].copy_from_slice(b"/a.py");
    bytes[1056 + 40..1056 + 44].copy_from_slice(b"step");
    bytes[1120 + 32..1120 + 36].copy_from_slice(&[0x80 | 13 << 3 | 1, 2, 0x80 | 13 << 3, 4]);
    bytes
}

const CODE_TYPE: u64 = 0x7777_0000;
const TEXT_TYPE: u64 = 0x8888_0000;

pub(crate) fn stack_seeds() -> Vec<Vec<u8>> {
    let whole = runtime();
    let (_, stacks) = read_stacks(&whole, 12);
    let frame = |line| Frame { file: "/a.py".into(), line, function: "step".into() };
    assert_eq!(stacks, [(4711, vec![frame(13), frame(11)])]);
    let table = image(
        52 * 8,
        &[
            (0, u64::from_ne_bytes(*b"xdebugpy")),
            (24, 800),
            (40, 40),
            (48, 4000),
            (64, 8),
            (72, 72),
            (152, 300),
            (168, 8),
            (184, 56),
            (200, 144),
            (224, 88),
        ],
    );
    let of = |version: u8, bytes: &[u8]| [&[version][..], bytes].concat();
    vec![of(12, &whole), of(11, &whole), of(13, &[&table[..], &whole].concat()), of(14, &table)]
}

fn read_stacks(bytes: &[u8], version: u8) -> (bool, Vec<(u32, Vec<Frame>)>) {
    let memory = memory(bytes);
    let table = || -> std::io::Result<Vec<u64>> {
        let bytes = memory.bytes(BASE, WORDS * 8)?;
        Ok(bytes.as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)).collect())
    };
    let Ok(Some(layout)) = layout(3 << 24 | u64::from(version) << 16, table) else {
        return (false, Vec::new());
    };
    let here = Some("/home/you".to_owned());
    let (code_type, text_type) = (CODE_TYPE, TEXT_TYPE);
    let mut reader = Reader { memory: &memory, layout, code_type, text_type, codes: HashMap::new(), here };
    (true, reader.threads(BASE).unwrap_or_default())
}

/// The first byte is the version. Memory full of nonsense gives few stacks, soon.
pub(crate) fn stacks(bytes: &[u8]) {
    let Some((version, bytes)) = bytes.split_first() else { return };
    let (_, stacks) = read_stacks(bytes, *version);
    assert!(stacks.iter().map(|(_, frames)| frames.len()).sum::<usize>() <= 1 << 20);
}

pub(crate) fn line_seeds() -> Vec<Vec<u8>> {
    vec![
        vec![0x80 | 13 << 3 | 1, 2, 0x80 | 3 << 3, 7, 0x80 | 12 << 3, 1, 9, 0x80 | 15 << 3, 0x80 | 13 << 3, 3],
        vec![0x80 | 14 << 3, 64 | 8, 3, 0, 1, 2],
    ]
}

/// Two bytes of the offset, four of the first line, and the table.
pub(crate) fn lines(bytes: &[u8]) {
    if let Some((head, table)) = bytes.split_first_chunk::<6>() {
        let first = i32::from_le_bytes([head[2], head[3], head[4], head[5]]);
        let _ = line_at(table, first.into(), u16::from_le_bytes([head[0], head[1]]).into());
    }
    let _ = line_at(bytes, 10, u64::MAX);
}

pub(crate) fn proc_seeds() -> Vec<Vec<u8>> {
    [
        "4711 (a) b) S 1 4711 4711 0 -1 4194560 100 0 0 0 12 3 0 0 20 0 1 0 1234 5678 90 18446744073709551615 1 1",
        "7f00-7f10 r--p 00000000 08:01 4711   /usr/lib/a b.so\n7f10-7f20 r-xp 00001000 08:01 4711   /usr/lib/a b.so\n",
        "0 0x0 0x7ffd 0x400 0x0 0x0 0x0 0x7ffd 0x7f00",
        "7 0x7ffd 0x1 0xffffffff 0x8 0x0 0x0 0x7ffd 0x7f00",
        "running",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

pub(crate) fn proc(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    super::process::read_stat(&text);
    for file in files_in(&text) {
        assert!(file.path.starts_with('/'));
    }
    let doing = super::call::told(std::process::id(), 'S', &text);
    assert!(!doing.words.is_empty());
}

pub(crate) fn look_seeds() -> Vec<Vec<u8>> {
    let frame = |line| Frame { file: "/home/you/solver.py".into(), line, function: "step".into() };
    let about = About {
        id: "b2qx".into(),
        launcher: 100,
        program: "solver.py".into(),
        ranks: 2,
        running: 2,
        waiting: 1,
        age: 61_000,
        ending: false,
        deadlock: true,
        foreign: false,
    };
    let doing = |kind, words: &str| Doing { kind, words: words.into() };
    let process = |pid, kind, words: &str| Process {
        pid,
        command: "python3 solver.py".into(),
        state: 'S',
        tracer: Some((7, "gdb".into())),
        cpu: 1234,
        resident: 30 << 20,
        threads: vec![Thread { number: pid, doing: doing(kind, words), frames: vec![frame(3), frame(40)] }],
        unreadable: String::new(),
    };
    let rank = |rank, slot, process, children| RankSeen {
        world: 0,
        rank,
        slot,
        pid: 101 + rank,
        program: "solver.py".into(),
        stage: Stage::Running,
        ended: None,
        done: Some(Default::default()),
        host: None,
        process: Some(process),
        children,
    };
    let item =
        Item { kind: Kind::Receive, peers: Peers::one(1), what: "from rank 1, tag 7".into(), near: String::new() };
    let wait = Wait {
        thread: 101,
        mates: vec![],
        alone: true,
        operation: "Recv".into(),
        since: 100,
        need: Need::All,
        items: vec![item],
        collective: None,
        background: None,
        place: vec![frame(3)],
    };
    let ranks = vec![
        rank(0, 0, process(101, DoingKind::Thread, "waits for another thread or a lock"), vec![]),
        rank(1, 1, process(102, DoingKind::Computes, "computes"), vec![process(103, DoingKind::Child, "waits")]),
    ];
    let stuck = Stuck { slots: vec![0], headline: "deadlock".into(), reason: "  hint: none\n".into() };
    let look = Look { about, ranks, waits: vec![(0, wait)], stuck: None, now: 5000 };
    let mut apart = look.clone();
    for (rank, host) in apart.ranks.iter_mut().zip(["h1", "h2"]) {
        rank.host = Some(host.into());
    }
    let looks = [look.clone(), apart, Look { stuck: Some(stuck), ..look }];
    looks.iter().filter_map(|look| postcard::to_allocvec(look).ok()).collect()
}

/// What is shown of an answer takes no orders to the terminal along, and the lines of a table are as wide as it is.
pub(crate) fn answers(bytes: &[u8]) {
    let Ok(mut look) = postcard::from_bytes::<Look>(bytes) else { return };
    // No file is read for a line of source.
    let stacks = look.ranks.iter_mut().flat_map(|rank| rank.process.iter_mut().chain(&mut rank.children));
    let frames = stacks.flat_map(|process| &mut process.threads).flat_map(|thread| &mut thread.frames);
    let places = look.waits.iter_mut().flat_map(|(_, wait)| &mut wait.place);
    frames.chain(places).for_each(|frame| frame.file.insert(0, '<'));
    for whole in [false, true] {
        let text = super::report(&look, whole);
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()));
    }
    let json = super::as_json(&look);
    assert!(json.chars().all(|c| c == '\n' || !c.is_control()));
    let _ = super::heading(&look.about);
    crate::top::fuzz::drawn(&look);
}
