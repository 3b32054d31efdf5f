//! Windows of ranks that are threads.

use std::sync::atomic::{AtomicBool, Ordering};

use phalanx_shm::ProcId;
use phalanx_shm::errand::{Act, Answer, ERRAND_MOST, Request, WHERE};
use phalanx_shm::mem::MutMem;

use super::reach::Place;
use super::{Assertions, Hold, Target, Window};
use crate::datatype::{Basic, Datatype};
use crate::engine::errands::{PIECE, number_of, place_of};
use crate::engine::memory::{of, of_mut};
use crate::error::{Error, ErrorClass};
use crate::op::{Builtin, Op};
use crate::testing::{neighbours, run};
use crate::{RecvBuf, SendBuf};

fn int() -> &'static Datatype {
    Datatype::predefined(Basic::Int32)
}

fn at(rank: i32, displacement: i64, count: usize) -> Target<'static> {
    Target { rank, displacement, count, ty: int() }
}

#[test]
fn what_is_put_before_a_fence_is_there_after_it() {
    for n in [1, 2, 3, 8] {
        run(n, |comm| {
            let (left, right) = neighbours(comm);
            let win = Window::allocate(comm, Ok((400, 4))).unwrap();
            win.fence(Assertions::default()).unwrap();
            win.put(SendBuf::of(&[comm.rank(); 10]), at(right, 90, 10)).unwrap();
            win.fence(Assertions::default()).unwrap();
            let mut mine = [-1; 10];
            win.get(RecvBuf::of(&mut mine), at(comm.rank(), 90, 10)).unwrap();
            assert_eq!(mine, [left; 10]);
            win.fence(Assertions { nosucceed: true, ..Assertions::default() }).unwrap();
            win.free().unwrap();
        });
    }
}

#[test]
fn numbers_drawn_from_one_counter_are_all_different() {
    const TURNS: usize = 200;
    for n in [1, 2, 3, 8] {
        run(n, |comm| {
            let win = Window::allocate(comm, Ok((if comm.rank() == 0 { 4 } else { 0 }, 4))).unwrap();
            win.lock_all(Assertions::default()).unwrap();
            if comm.rank() == 0 {
                win.put(SendBuf::of(&[0]), at(0, 0, 1)).unwrap();
            }
            comm.barrier().unwrap();
            let sum = Op::predefined(Builtin::Sum);
            let mut last = -1;
            for _ in 0..TURNS {
                let mut old = [0];
                win.accumulate(Some(SendBuf::of(&[1])), Some(RecvBuf::of(&mut old)), at(0, 0, 1), &sum).unwrap();
                assert!(old[0] > last, "{} after {last}", old[0]);
                last = old[0];
            }
            comm.barrier().unwrap();
            let mut total = [0];
            win.get(RecvBuf::of(&mut total), at(0, 0, 1)).unwrap();
            assert_eq!(total[0] as usize, TURNS * n);
            win.unlock_all().unwrap();
            win.free().unwrap();
        });
    }
}

#[test]
fn accesses_out_of_range_or_epoch_are_refused_and_change_nothing() {
    run(2, |comm| {
        let win = Window::allocate(comm, Ok((40, 4))).unwrap();
        win.fence(Assertions::default()).unwrap();
        win.put(SendBuf::of(&[0; 10]), at(comm.rank(), 0, 10)).unwrap();
        win.fence(Assertions { nosucceed: true, ..Assertions::default() }).unwrap();
        let class = |result: crate::error::Result<()>| result.unwrap_err().class();
        let other = 1 - comm.rank();
        let put = |target| win.put(SendBuf::of(&[7; 2]), target);
        assert_eq!(class(put(at(other, 0, 2))), ErrorClass::RmaSync);
        win.lock(Hold::Exclusive, other, Assertions::default()).unwrap();
        assert_eq!(class(win.lock(Hold::Shared, other, Assertions::default())), ErrorClass::RmaSync);
        assert_eq!(class(put(at(other, 9, 2))), ErrorClass::RmaRange);
        assert_eq!(class(put(at(other, i64::MAX, 2))), ErrorClass::RmaRange);
        assert_eq!(class(put(at(other, -1, 2))), ErrorClass::Disp);
        assert_eq!(class(put(at(2, 0, 2))), ErrorClass::Rank);
        assert_eq!(class(put(at(other, 0, 1))), ErrorClass::Truncate);
        win.unlock(other).unwrap();
        assert_eq!(class(win.unlock(other)), ErrorClass::RmaSync);
        comm.barrier().unwrap();
        win.lock(Hold::Shared, comm.rank(), Assertions::default()).unwrap();
        let mut mine = [-1; 10];
        win.get(RecvBuf::of(&mut mine), at(comm.rank(), 0, 10)).unwrap();
        assert_eq!(mine, [0; 10]);
        win.unlock(comm.rank()).unwrap();
        win.free().unwrap();
    });
}

#[test]
fn wrong_arguments_on_one_rank_are_an_error_on_all() {
    run(3, |comm| {
        let own = |sized: usize| match comm.rank() {
            1 => Err(Error::new(ErrorClass::Size, "the size is -1")),
            _ => Ok((sized, 4)),
        };
        for made in [
            Window::allocate(comm, own(40)),
            Window::allocate_shared(comm, own(40), false),
            Window::allocate_shared(comm, own(40), true),
            Window::create(comm, own(0).map(|(_, unit)| (MutMem::empty(), unit))),
        ] {
            let error = made.err().unwrap();
            assert_eq!(error.class(), ErrorClass::Size);
            assert!(comm.rank() == 1 || error.message().contains("rank 1 failed"), "{error}");
        }
        comm.barrier().unwrap();
    });
}

/// A window over private memory of `bytes` bytes of each rank.
fn private(comm: &crate::Comm, bytes: usize) -> Window {
    let memory: &'static mut [u8] = vec![0; bytes].leak();
    Window::create(comm, Ok((of_mut(memory), 1))).unwrap()
}

fn bytes(rank: i32, displacement: i64, count: usize) -> Target<'static> {
    Target { rank, displacement, count, ty: Datatype::predefined(Basic::Byte) }
}

/// What rank 0 knows of the answers of rank 1.
fn asked(win: &Window) -> &super::errand::Asked {
    match &win.0.parts[1].place {
        Place::There { asked, .. } => asked,
        Place::Here(_) => panic!("the memory of rank 1 is private"),
    }
}

#[test]
fn a_target_that_waits_is_asked_itself_and_one_that_does_not_is_not_waited_for() {
    run(2, |comm| {
        let win = private(comm, 8 + 4 * MANY);
        win.lock_all(Assertions::default()).unwrap();
        if comm.rank() == 1 {
            // Each pass of progress serves who asks.
            while !ASKED.load(Ordering::Acquire) {
                comm.engine().progress().unwrap();
            }
        } else {
            // However slow this machine is now, an answer is waited for.
            asked(&win).expect(u32::MAX / 4);
            for rounds in 0..100 {
                for len in [0, 1, 8, 40, ERRAND_MOST, ERRAND_MOST + 1, 300] {
                    let sent: Vec<u8> = (0..len).map(|i| (i + rounds) as u8).collect();
                    let mut got = vec![0; len];
                    win.put(SendBuf::of(&sent), bytes(1, 5, len)).unwrap();
                    win.get(RecvBuf::of(&mut got), bytes(1, 5, len)).unwrap();
                    assert_eq!(got, sent);
                }
            }
            // Five lengths, both ways. Where there is no CPU for each rank, nobody is asked.
            assert_eq!(asked(&win).answered(), if win.0.asks { 1000 } else { 0 });
            asked(&win).expect(1000);
            combine_by_asking(&win);
            combine_many_by_asking(&win);
            ASKED.store(true, Ordering::Release);
        }
        comm.barrier().unwrap();
        if comm.rank() == 0 {
            // The target computes from now on: all the same, every access is carried out.
            for number in 0..100i32 {
                win.put(SendBuf::of(&[number]), Target { displacement: 8, ..at(1, 0, 1) }).unwrap();
                let mut got = [-1];
                win.get(RecvBuf::of(&mut got), Target { displacement: 8, ..at(1, 0, 1) }).unwrap();
                assert_eq!(got, [number]);
            }
            LEFT.store(true, Ordering::Release);
        } else {
            while !LEFT.load(Ordering::Acquire) {
                std::hint::spin_loop();
            }
        }
        comm.barrier().unwrap();
        win.unlock_all().unwrap();
        win.free().unwrap();
    });
}

/// Combines elements of rank 1 that waits, by one request each.
fn combine_by_asking(win: &Window) {
    let Place::There { combined, .. } = &win.0.parts[1].place else { panic!("the memory of rank 1 is private") };
    combined.expect(u32::MAX / 4);
    let place = |count| Target { displacement: 8, ..at(1, 0, count) };
    let most = ERRAND_MOST / 4;
    for count in [1, 3, most, most + 1, 40] {
        let start: Vec<i32> = (0..count as i32).map(|i| 1000 * i).collect();
        win.put(SendBuf::of(&start), place(count)).unwrap();
        let mut expected = start;
        for (builtin, given) in
            [(Builtin::Sum, 5), (Builtin::Max, 3001), (Builtin::Replace, 12), (Builtin::Bxor, 7), (Builtin::NoOp, 99)]
        {
            let (given, mut old) = (vec![given; count], vec![-1; count]);
            let op = Op::predefined(builtin);
            win.accumulate(Some(SendBuf::of(&given)), Some(RecvBuf::of(&mut old)), place(count), &op).unwrap();
            assert_eq!(old, expected, "{count} elements before {}", builtin.name());
            win.accumulate(Some(SendBuf::of(&given)), None, place(count), &op).unwrap();
            for value in &mut expected {
                *value = match builtin {
                    Builtin::Sum => *value + 10,
                    Builtin::Max => (*value).max(3001),
                    Builtin::Replace => 12,
                    _ => *value,
                };
            }
        }
        let mut now = vec![0; count];
        win.get(RecvBuf::of(&mut now), place(count)).unwrap();
        assert_eq!(now, expected);
    }
    // Three of the lengths; replacing without looking is a write, and no operation a read.
    assert_eq!(combined.answered(), if win.0.asks { 3 * 7 } else { 0 });
    // What nobody would ask for by this library is refused, and then done by the kernel.
    let errand = win.0.control.errand(1).unwrap();
    let sum = |basic| number_of(Builtin::Sum, basic);
    for (how, len) in [(u32::MAX, 8), (77 << 16, 8), (sum(Basic::Byte), 8), (sum(Basic::Int32), 7)] {
        if win.0.asks {
            assert!(errand.ask(Request { at: 8, len, act: Act::Combine(how) }, &[1; 8][..len]));
            let answer = std::iter::repeat_with(|| errand.look()).flatten().next();
            assert_eq!(answer, Some(Answer::Refused));
        }
    }
    let mut now = [0; 2];
    win.get(RecvBuf::of(&mut now), place(2)).unwrap();
    assert_eq!(now, [12; 2]);
}

/// Elements that are more than two pieces, the last one of which is not whole.
const MANY: usize = 2 * (PIECE / 4) + 1001;

/// Combines more elements than a request carries with those of rank 1 that waits.
fn combine_many_by_asking(win: &Window) {
    let Place::There { many, .. } = &win.0.parts[1].place else { panic!("the memory of rank 1 is private") };
    many.expect(u32::MAX / 4);
    let (before, sum) = (many.answered(), Op::predefined(Builtin::Sum));
    let place = |count| Target { displacement: 8, ..at(1, 0, count) };
    for count in [ERRAND_MOST / 4 + 1, 5000, PIECE / 4, MANY] {
        let start: Vec<i32> = (0..count as i32).map(|i| 3 * i).collect();
        win.put(SendBuf::of(&start), place(count)).unwrap();
        let given: Vec<i32> = (0..count as i32).map(|i| i % 1000).collect();
        win.accumulate(Some(SendBuf::of(&given)), None, place(count), &sum).unwrap();
        let mut now = vec![0; count];
        win.get(RecvBuf::of(&mut now), place(count)).unwrap();
        assert!(now.iter().zip(0..).all(|(value, i)| *value == 3 * i + i % 1000), "{count} elements");
        // What the result is wanted of is read and written.
        let mut old = vec![0; count];
        win.accumulate(Some(SendBuf::of(&given)), Some(RecvBuf::of(&mut old)), place(count), &sum).unwrap();
        assert_eq!(old, now);
    }
    assert_eq!(many.answered() - before, if win.0.asks { 3 + 3 } else { 0 });
    let errand = win.0.control.errand(1).unwrap();
    let (how, mine) = (number_of(Builtin::Sum, Basic::Int32), of(&[1i32; 4]));
    let me = place_of(win.engine().me(), mine);
    let nobody = place_of(ProcId(u32::MAX), mine);
    let nowhere = [[1; WHERE / 2], me[WHERE / 2..].try_into().unwrap()].concat();
    for (len, place) in [(PIECE + 4, &me[..]), (7, &me), (8, &nobody), (8, &nowhere)] {
        if win.0.asks {
            assert!(errand.ask(Request { at: 8, len, act: Act::CombineFrom(how) }, place));
            let answer = std::iter::repeat_with(|| errand.look()).flatten().next();
            assert_eq!(answer, Some(Answer::Refused), "{len} bytes from {place:?}");
        }
    }
    let mut now = [0; 3];
    win.get(RecvBuf::of(&mut now), place(3)).unwrap();
    assert_eq!(now, [0, 5, 10]);
}

/// Rank 0 has done what it does while rank 1 looks, and what it does while that computes.
static ASKED: AtomicBool = AtomicBool::new(false);
static LEFT: AtomicBool = AtomicBool::new(false);

#[test]
fn threads_that_combine_into_private_memory_lose_nothing() {
    const TURNS: i32 = 300;
    run(2, |comm| {
        let win = private(comm, 64);
        win.lock_all(Assertions::default()).unwrap();
        let sum = Op::predefined(Builtin::Sum);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..TURNS {
                        let target = Target { displacement: 16, ..at(1, 0, 1) };
                        win.accumulate(Some(SendBuf::of(&[1])), None, target, &sum).unwrap();
                    }
                });
            }
        });
        comm.barrier().unwrap();
        let mut total = [0];
        win.get(RecvBuf::of(&mut total), Target { displacement: 16, ..at(1, 0, 1) }).unwrap();
        assert_eq!(total, [4 * TURNS]);
        win.unlock_all().unwrap();
        win.free().unwrap();
    });
}
