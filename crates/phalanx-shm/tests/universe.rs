//! The segment: who may attach, what is counted, what happens when it is full.
#![cfg(not(loom))]

use std::collections::HashSet;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::thread;

use phalanx_shm::{Death, Exit, Offset, ProcId, ProcessTag, ShmError, SlotState, Standing, Universe, UniverseConfig};

fn small() -> UniverseConfig {
    UniverseConfig { slots: 8, ring_bytes: 4096, heap_bytes: 1 << 20, ways: phalanx_shm::Ways::default() }
}

fn fd(universe: &Universe) -> OwnedFd {
    universe.fd().try_clone_to_owned().unwrap()
}

#[test]
fn every_process_sees_the_same_universe() {
    let universe = Universe::create(small()).unwrap();
    let first = universe.claim_slots(2).unwrap();
    let other = Universe::attach(fd(&universe)).unwrap();
    assert_eq!(other.capacity(), 8);
    assert_eq!(other.claimed(), 2);
    assert_eq!(other.claim_slots(3).unwrap(), ProcId(2));
    assert!(universe.has(ProcId(4)) && !universe.has(ProcId(5)));

    let slot = universe.slot(first);
    let me = universe.own_tag();
    assert_eq!((universe.process(first), slot.standing().state), (None, SlotState::Empty));
    assert_eq!(slot.claim(me), Ok(()));
    assert_eq!(other.slot(first).claim(me), Ok(()));
    assert_eq!(other.process(first), Some(ProcessTag::me()));
    slot.set_state(SlotState::Running);
    assert_eq!(other.slot(first).standing().state, SlotState::Running);
    assert_eq!(slot.abort_code(), None);
    slot.record_abort(-5);
    slot.record_abort(6);
    assert_eq!(other.slot(first).abort_code(), Some(-5));
    assert_eq!(slot.standing().exit, None);
    slot.record_exit(Exit::Signal(9));
    slot.record_exit(Exit::Status(0));
    slot.set_state(SlotState::Finalized);
    assert_eq!(other.slot(first).standing(), Standing { state: SlotState::Finalized, exit: Some(Exit::Signal(9)) });
    universe.slot(ProcId(1)).record_exit(Exit::Status(0));
    assert_eq!(other.slot(ProcId(1)).standing().exit, Some(Exit::Status(0)));

    let contexts = universe.next_contexts(2);
    assert_eq!(other.next_contexts(1), contexts + 8);

    let at = universe.alloc(100).unwrap();
    universe.bytes(at, 100).unwrap().write(10, b"hello").unwrap();
    let mut seen = [0; 5];
    other.bytes(at.plus(10), 5).unwrap().read(0, &mut seen).unwrap();
    assert_eq!(&seen, b"hello");
}

#[test]
fn a_slot_stays_with_its_process_when_the_number_lives_again() {
    let universe = Universe::create(small()).unwrap();
    let (first, me) = (universe.claim_slots(2).unwrap(), universe.own_tag());
    // The process that had this one's number before it.
    let earlier = ProcessTag::from_bits(me.bits() ^ 1 << 30);
    assert_eq!(earlier.pid(), me.pid());
    universe.slot(first).claim(earlier).unwrap();
    assert_eq!(universe.slot(first).claim(me), Err(earlier), "rings and messages of the earlier one are none of ours");
    assert_eq!(universe.process(first).unwrap().death(), Some(Death::NumberReused));
    // An abort code is signed by the process, not by its number.
    let later = ProcId(1);
    universe.slot(later).claim(me).unwrap();
    universe.slot(first).record_abort(3);
    universe.slot(later).record_abort(4);
    assert_eq!((universe.slot(first).abort_code(), universe.slot(later).abort_code()), (Some(3), Some(4)));
    assert!(universe.process(later).unwrap().is_alive());
}

#[test]
fn the_process_of_a_slot_is_known_to_have_ended() {
    let universe = Universe::create(small()).unwrap();
    let slot = universe.claim_slots(1).unwrap();
    let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
    universe.slot(slot).claim(ProcessTag::of(child.id())).unwrap();
    assert!(universe.process(slot).unwrap().is_alive());
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(universe.process(slot).unwrap().death(), Some(Death::NoSuchProcess));
}

#[test]
fn slots_are_claimed_once_by_whoever_asks() {
    let universe = Universe::create(UniverseConfig { slots: 400, ..small() }).unwrap();
    let firsts: Vec<ProcId> = thread::scope(|scope| {
        let claims: Vec<_> =
            (0..4).map(|_| scope.spawn(|| (0..50).map(|_| universe.claim_slots(2).unwrap()).collect())).collect();
        claims.into_iter().flat_map(|c: thread::ScopedJoinHandle<'_, Vec<_>>| c.join().unwrap()).collect()
    });
    let distinct: HashSet<ProcId> = firsts.iter().copied().collect();
    assert_eq!(distinct.len(), 200);
    assert!(distinct.iter().all(|p| p.0 % 2 == 0 && p.0 < 400));
    assert!(matches!(universe.claim_slots(1), Err(ShmError::SlotsUsedUp { requested: 1, free: 0, capacity: 400 })));
}

#[test]
fn a_universe_has_at_least_one_slot_and_not_too_many() {
    for slots in [0, 4097, u32::MAX] {
        let config = UniverseConfig { slots, ..small() };
        assert!(matches!(Universe::create(config), Err(ShmError::SlotCount { max: 4096, .. })));
        let ranks = UniverseConfig::for_ranks(slots);
        assert_eq!(Universe::create(ranks).is_err(), slots > 4096, "{slots} ranks");
    }
}

#[test]
fn strangers_are_not_attached() {
    let reason = |fd: OwnedFd| match Universe::attach(fd) {
        Err(ShmError::NotAUniverse { reason }) => reason,
        other => panic!("{other:?}"),
    };
    let file = std::fs::File::open("/dev/null").unwrap();
    assert!(reason(file.into()).contains("not a memory segment"));

    let flags = rustix::fs::MemfdFlags::CLOEXEC | rustix::fs::MemfdFlags::ALLOW_SEALING;
    let memfd = rustix::fs::memfd_create(c"stranger", flags).unwrap();
    std::fs::File::from(memfd.try_clone().unwrap()).write_all(&[1; 200_000]).unwrap();
    assert!(reason(memfd.try_clone().unwrap()).contains("not sealed"));
    let seals = rustix::fs::SealFlags::GROW | rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&memfd, seals).unwrap();
    assert!(reason(memfd).contains("Phalanx's mark"));
}

#[test]
fn the_size_of_a_universe_is_final() {
    let universe = Universe::create(small()).unwrap();
    assert!(rustix::fs::ftruncate(universe.fd(), 0).is_err());
    assert!(rustix::fs::ftruncate(universe.fd(), 1 << 40).is_err());
}

#[test]
fn a_full_heap_is_an_error_and_freed_blocks_serve_again() {
    let universe = Universe::create(small()).unwrap();
    let mut blocks = Vec::new();
    let error = loop {
        match universe.alloc(100_000) {
            Ok(at) => blocks.push(at),
            Err(error) => break error,
        }
    };
    assert!(error.is_no_memory());
    assert!(matches!(error, ShmError::HeapFull { bytes: 100_000, capacity: 1_048_576, .. }), "{error}");
    assert!(blocks.len() >= 9, "{} blocks", blocks.len());
    assert_eq!(universe.live(), 100_000 * blocks.len() as u64);
    for at in &blocks {
        assert!(universe.free(*at));
        assert!(!universe.free(*at), "freed once");
    }
    let again: HashSet<Offset> = blocks.iter().map(|_| universe.alloc(99_000).unwrap()).collect();
    assert_eq!(again, blocks.into_iter().collect());
}

#[test]
fn areas_of_ever_different_sizes_do_not_fill_the_heap() {
    const RANGE: usize = 32 << 20;
    let universe = Universe::create(UniverseConfig { heap_bytes: RANGE, ..small() }).unwrap();
    let pages = || rustix::fs::fstat(universe.fd()).unwrap().st_blocks as u64 * 512;
    let before = pages();
    let mut kept = std::collections::VecDeque::new();
    let (mut handed, mut most) = (0, 0);
    // Communicators with areas of different sizes, each freed after some others were made.
    for n in 0..600 {
        let bytes = [5_000, 80_000, 300_000, 1 << 20, 3 << 20][n % 5] + n * 1000;
        let at = universe.alloc(bytes).unwrap_or_else(|e| panic!("area {n} of {bytes} bytes: {e}"));
        universe.words(at, bytes / 8).unwrap()[bytes / 8 - 1].store(1, std::sync::atomic::Ordering::Relaxed);
        kept.push_back(at);
        if kept.len() > 4 {
            assert!(universe.free(kept.pop_front().unwrap()));
        }
        handed += bytes;
        most = most.max(universe.live());
    }
    kept.into_iter().for_each(|at| assert!(universe.free(at)));
    assert_eq!(universe.live(), 0);
    println!("{handed} bytes handed out in a heap of {RANGE}, {most} in use at once");
    assert!(handed > 10 * RANGE, "the same range served many times");
    // What may stay are an eighth of the range and the pages of heads.
    assert!(pages() - before < RANGE as u64 / 4, "{} bytes stay", pages() - before);
    // In one piece again, but for the rings and small blocks that nobody took here.
    assert!(universe.alloc(RANGE / 2).is_ok());
}

#[test]
fn ranges_outside_the_heap_are_refused() {
    let universe = Universe::create(small()).unwrap();
    let at = universe.alloc(64).unwrap();
    let past = Offset::new(at.get() + (1 << 20));
    for (at, len) in [(Offset::NONE, 1), (Offset::new(1), 8), (past, 1), (at, usize::MAX)] {
        assert!(matches!(universe.bytes(at, len), Err(ShmError::BadRange { .. })), "{at:?} {len}");
    }
    assert!(universe.words(at.plus(4), 1).is_err(), "not aligned");
    assert!(universe.words(at, usize::MAX).is_err());
    assert!(!universe.free(Offset::new(1)));
    assert!(!universe.free(past));
    assert!(!universe.free(at.plus(64)), "inside nothing that is a block");
    let range = universe.bytes(at, 64).unwrap();
    assert!(range.write(60, &[0; 5]).is_err());
    assert!(range.read(usize::MAX, &mut [0; 5]).is_err());
    assert_eq!(range.slice(60, 100).len(), 4);
}

#[test]
fn zeroed_memory_is_zero_even_when_used_before() {
    let universe = Universe::create(UniverseConfig { heap_bytes: 64 << 20, ..small() }).unwrap();
    for bytes in [64, 4096, 100_000, 3 << 20] {
        let at = universe.alloc(bytes).unwrap();
        universe.bytes(at, bytes).unwrap().write(0, &vec![0xff; bytes]).unwrap();
        assert!(universe.free(at));
        let again = universe.alloc_zeroed(bytes).unwrap();
        assert_eq!(again, at);
        let mut seen = vec![1; bytes];
        universe.bytes(again, bytes).unwrap().read(0, &mut seen).unwrap();
        assert!(seen.iter().all(|b| *b == 0));
    }
}

#[test]
fn large_blocks_beyond_the_budget_give_their_pages_back() {
    let universe = Universe::create(UniverseConfig { heap_bytes: 64 << 20, ..small() }).unwrap();
    let pages = || rustix::fs::fstat(universe.fd()).unwrap().st_blocks * 512;
    let before = pages();
    let at = universe.alloc(16 << 20).unwrap();
    assert!(pages() - before >= 16 << 20);
    universe.free(at);
    assert!(pages() - before < 1 << 20);
}

/// Bytes of the segment that have pages.
fn with_pages(universe: &Universe) -> u64 {
    rustix::fs::fstat(universe.fd()).unwrap().st_blocks as u64 * 512
}

#[test]
fn pages_of_memory_that_nobody_touches_come_when_somebody_does_and_are_there_for_the_next_user() {
    const LEN: usize = 32 << 20;
    let universe = Universe::create(UniverseConfig { heap_bytes: 256 << 20, ..small() }).unwrap();
    let before = with_pages(&universe);
    let block = universe.alloc_untouched(LEN).unwrap();
    let promised = with_pages(&universe) - before < LEN as u64;
    let words = universe.words(block, LEN / 8).unwrap();
    for n in [0, 1 << 20, LEN / 8 - 1] {
        words[n].store(n as u64 + 1, std::sync::atomic::Ordering::Relaxed);
    }
    assert!(!promised || with_pages(&universe) - before < LEN as u64, "three words are three pages");
    assert!(universe.free(block));
    // Another user of the same kind gets what there is; one who needs the pages gets all of them.
    let again = universe.alloc_untouched(LEN).unwrap();
    assert_eq!(again, block);
    assert_eq!(
        universe.words(again, LEN / 8).unwrap()[1 << 20].load(std::sync::atomic::Ordering::Relaxed),
        (1 << 20) + 1
    );
    assert!(universe.free(again));
    assert_eq!(universe.alloc(LEN).unwrap(), block);
    assert!(with_pages(&universe) - before >= LEN as u64, "reserved for a user who was not told");
    assert!(universe.free(block));
    // More than any machine has is no promise.
    assert!(universe.alloc_untouched(LEN << 20).is_err());
}

#[test]
fn promised_blocks_of_many_sizes_are_joined_and_cut_like_others() {
    let universe = Universe::create(UniverseConfig { heap_bytes: 16 << 20, ..small() }).unwrap();
    for round in 0..200usize {
        let len = (100 << 10) + (round * 7919) % (5 << 20);
        let take = |len| if round % 3 == 0 { universe.alloc(len) } else { universe.alloc_untouched(len) };
        let (a, b) = (take(len).unwrap(), take(len / 2 + 1).unwrap());
        for (block, len) in [(a, len), (b, len / 2 + 1)] {
            universe.bytes(block, len).unwrap().write(len - 8, &round.to_ne_bytes()).unwrap();
        }
        let mut seen = [0; 8];
        universe.bytes(a, len).unwrap().read(len - 8, &mut seen).unwrap();
        assert_eq!(usize::from_ne_bytes(seen), round);
        assert!(universe.free(a) && universe.free(b));
    }
    assert_eq!(universe.live(), 0);
}
