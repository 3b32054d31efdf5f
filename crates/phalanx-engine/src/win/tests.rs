//! Windows of ranks that are threads.

use phalanx_shm::mem::MutMem;

use super::{Assertions, Hold, Target, Window};
use crate::datatype::{Basic, Datatype};
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
