//! Copies straight between processes: what is copied, and how refusals look.
#![cfg(not(loom))]
#![expect(unsafe_code, reason = "the tests hand their own buffers over")]

use std::process::{Command, Stdio};

use phalanx_shm::single_copy::{self, ProbeWord, RemoteMem};
use phalanx_shm::{MutMem, ProcessTag, ShmError};

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
