//! Copies straight between processes: what is copied, and how refusals look.
#![cfg(not(loom))]
#![expect(unsafe_code, reason = "the tests hand their own buffers over")]

use std::process::{Command, Stdio};

use phalanx_shm::single_copy::{self, OpenedMemory, ProbeWord, RemoteMem};
use phalanx_shm::{ConstMem, MutMem, ProcessTag, ShmError};

fn me() -> ProcessTag {
    ProcessTag::me()
}

fn remote(bytes: &[u8]) -> RemoteMem {
    RemoteMem { addr: bytes.as_ptr() as u64, len: bytes.len() }
}

/// Whether this machine allows it at all; says so when not.
fn allowed() -> bool {
    let word = Box::new(ProbeWord::new(0x5eed));
    let works = single_copy::probe(me(), word.addr(), 0x5eed);
    if !works {
        eprintln!("process_vm_readv is forbidden here: only the refusals are tested");
    }
    works
}

#[test]
fn a_probe_compares_the_word() {
    let word = Box::new(ProbeWord::new(1234));
    if allowed() {
        assert!(single_copy::probe(me(), word.addr(), 1234));
    }
    assert!(!single_copy::probe(me(), word.addr(), 1235));
    assert!(!single_copy::probe(me(), 8, 0), "no memory there");
    let elsewhere = ProcessTag::from_bits(me().bits() | 1 << 54);
    assert!(elsewhere.is_foreign() && !single_copy::probe(elsewhere, word.addr(), 1234), "another's number");
}

#[test]
fn pieces_of_different_sizes_are_matched_up() {
    if !allowed() {
        return;
    }
    let source: Vec<u8> = (0..100_000).map(|i| (i % 251) as u8).collect();
    // More pieces than one call takes, on both sides, cut differently.
    let there: Vec<RemoteMem> = source.chunks(37).map(remote).collect();
    let mut room = vec![0; source.len()];
    let here: Vec<MutMem> = room
        .chunks_mut(61)
        // SAFETY: `room` is not touched before the copy is over.
        .map(|piece| unsafe { MutMem::new(piece.as_mut_ptr(), piece.len()) })
        .collect();
    single_copy::read_vectored(me(), &there, &here).unwrap();
    assert!(room == source);
}

#[test]
fn data_is_right_wherever_both_sides_begin_in_their_pages() {
    if !allowed() {
        return;
    }
    let source: Vec<u8> = (0..300_000).map(|i| (i % 253) as u8).collect();
    for (skew, len) in [0, 1, 15, 16, 31, 32, 63, 64, 4000].into_iter().flat_map(|skew| [(skew, 5000), (skew, 200_001)])
    {
        let mut room = vec![0; len + 8192];
        // As far behind the source's place in its page.
        let page = |at: *const u8| at.addr() % 4096;
        let start = (page(source.as_ptr()) + skew + 4096 - page(room.as_ptr())) % 4096;
        let into = &mut room[start..start + len];
        // SAFETY: `room` is not touched before the copies are over.
        let here = unsafe { MutMem::new(into.as_mut_ptr(), len) };
        single_copy::read(me(), remote(&source[..len]), here).unwrap();
        assert!(into == &source[..len], "read {skew} {len}");
        let other = &source[7..7 + len];
        // SAFETY: as above; the source is only read.
        let from = unsafe { ConstMem::new(other.as_ptr(), len) };
        single_copy::write_vectored(me(), &[from], &[remote(into)]).unwrap();
        assert!(into == other, "write {skew} {len}");
        assert!(room[..start].iter().chain(&room[start + len..]).all(|byte| *byte == 0), "{skew} {len}");
    }
}

#[test]
fn refusals_say_how_far_it_got() {
    let mut room = vec![0; 8192];
    // SAFETY: `room` is not touched before the copies are over.
    let here = unsafe { MutMem::new(room.as_mut_ptr(), room.len()) };
    let mut child = Command::new("true").stdin(Stdio::null()).spawn().unwrap();
    child.wait().unwrap();
    let gone = ProcessTag::of(child.id());
    match single_copy::read(gone, RemoteMem { addr: 4096, len: 8192 }, here) {
        Err(ShmError::SingleCopy { pid, bytes: 8192, done: 0, source, .. }) => {
            assert_eq!(pid, gone.pid().cast_signed());
            let code = source.raw_os_error();
            assert!(code == Some(libc::ESRCH) || code == Some(libc::EPERM), "{source}");
        }
        other => panic!("{other:?}"),
    }
    if !allowed() {
        return;
    }
    // The first piece exists, the second does not: partial.
    let first = vec![7u8; 4096];
    let there = [remote(&first), RemoteMem { addr: 4096, len: 4096 }];
    match single_copy::read_vectored(me(), &there, &[here]) {
        Err(ShmError::SingleCopy { bytes: 8192, done: 4096, source, .. }) => {
            assert_eq!(source.raw_os_error(), Some(libc::EFAULT));
        }
        other => panic!("{other:?}"),
    }
    // Less there than here.
    match single_copy::read(me(), remote(&first), here) {
        Err(ShmError::SingleCopy { bytes: 8192, done: 4096, source, .. }) => {
            assert_eq!(source.kind(), std::io::ErrorKind::UnexpectedEof);
        }
        other => panic!("{other:?}"),
    }
    assert!(room[..4096].iter().all(|b| *b == 7));
}

#[test]
fn opened_memory_is_read_and_written_but_not_where_it_may_only_be_read() {
    if !allowed() {
        return;
    }
    let opened = OpenedMemory::new(me());
    let mut there = vec![1u8; 40_000];
    for (at, len) in [(0, 8), (5, 1), (100, 4096), (3, 20_000), (4000, 200), (0, 8), (1, 8), (0, 0)] {
        let data: Vec<u8> = (0..len).map(|i| (i + at) as u8).collect();
        let target = RemoteMem { addr: there[at..].as_mut_ptr() as u64, len };
        let mut room = vec![0u8; len];
        // SAFETY: the vectors live, and nothing else is done with them meanwhile.
        let (from, to) = unsafe { (ConstMem::new(data.as_ptr(), len), MutMem::new(room.as_mut_ptr(), len)) };
        opened.write(from, target).unwrap();
        opened.read(target, to).unwrap();
        assert_eq!((&room, &there[at..at + len]), (&data, &data[..]), "{len} bytes at {at}");
    }
    // A constant, in the same process.
    static CONSTANT: [u64; 2] = [7, 8];
    let constant = RemoteMem { addr: CONSTANT.as_ptr() as u64, len: 8 };
    let data = [9u8; 8];
    // SAFETY: as above.
    let from = unsafe { ConstMem::new(data.as_ptr(), 8) };
    for _ in 0..2 {
        assert!(matches!(opened.write(from, constant), Err(ShmError::SingleCopy { .. })));
    }
    assert_eq!(std::hint::black_box(&CONSTANT), &[7, 8]);
    let nowhere = RemoteMem { addr: 64, len: 8 };
    assert!(matches!(opened.write(from, nowhere), Err(ShmError::SingleCopy { done: 0, .. })));
}

#[test]
fn the_memory_of_a_process_that_has_ended_is_an_error_also_when_it_was_open() {
    let mut child = Command::new("sleep").arg("100").stdin(Stdio::null()).spawn().unwrap();
    let opened = OpenedMemory::new(ProcessTag::of(child.id()));
    let mut room = [0u8; 8];
    // SAFETY: as above.
    let to = unsafe { MutMem::new(room.as_mut_ptr(), 8) };
    let somewhere = RemoteMem { addr: 64, len: 8 };
    assert!(opened.read(somewhere, to).is_err(), "nothing is there");
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(matches!(opened.read(somewhere, to), Err(ShmError::SingleCopy { done: 0, .. })));
}
