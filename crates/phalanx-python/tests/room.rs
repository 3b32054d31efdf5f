//! The arithmetic of message descriptions, which Python tests reach only as far as there is memory.
//!
//! (An extension module does not link without an interpreter, so its files without Python are compiled into this test.)

#[path = "../src/spec/room.rs"]
mod room;

use room::{Extent, Misfit, Room, pack, spread, strided};

fn of(bytes: i64) -> Room {
    Room { bytes, bounded: true }
}

fn is_value(outcome: Result<impl std::fmt::Debug, Misfit>, part: &str) {
    let error = outcome.expect_err("refused");
    assert!(matches!(error, Misfit::Value(_)), "{error:?}");
    assert!(error.to_string().starts_with("message: ") && error.to_string().contains(part), "{error}");
}

fn is_overflow(outcome: Result<impl std::fmt::Debug, Misfit>) {
    let error = outcome.expect_err("refused");
    assert!(matches!(error, Misfit::Overflow(_)), "{error:?}");
    assert!(error.to_string().starts_with("message: "), "{error}");
}

#[test]
fn a_displacement_takes_entries_off_the_front() {
    let mut room = of(24);
    assert_eq!((room.skip(0, 8), room.bytes), (Ok(0), 24));
    assert_eq!((room.skip(2, 8), room.bytes), (Ok(16), 8));
    assert_eq!((room.skip(1, 8), room.bytes), (Ok(8), 0));
    is_value(room.skip(1, 8), "displacement 1 out of bounds");
    assert_eq!(room.bytes, 0, "what is refused takes nothing");
}

#[test]
fn displacements_that_are_negative_or_overflow_are_refused() {
    for displacement in [-1, i64::MIN] {
        is_value(of(24).skip(displacement, 8), "negative displacement");
    }
    // Times the extent these are 0, 8 and a negative number in 64 bits.
    for displacement in [1 << 61, (1 << 61) + 1, i64::MAX] {
        is_value(of(24).skip(displacement, 8), "out of bounds, number of datatype entries 3");
    }
}

#[test]
fn counts_follow_from_the_bytes() {
    assert_eq!(of(24).entries(8, 0), Ok(3));
    assert_eq!(of(24).entries(8, 1), Ok(3));
    assert_eq!(of(24).entries(8, 3), Ok(1));
    assert_eq!(of(24).entries(1, 2), Ok(12));
    for blocks in [0, 1, 2, 1000] {
        assert_eq!(of(0).entries(8, blocks), Ok(0));
    }
    is_value(of(23).entries(8, 1), "buffer length 23 is not a multiple of datatype extent 8");
    is_value(of(7).entries(8, 1), "not a multiple");
    is_value(of(24).entries(8, 2), "number of entries 3 is not a multiple of required number of blocks 2");
    assert_eq!(of(i64::MAX).entries(1, 1), Ok(i64::MAX));
    assert_eq!(of(i64::MAX - 7).entries(i64::MAX - 7, 1), Ok(1));
    is_value(of(8).entries(i64::MAX, 1), "not a multiple");
}

#[test]
fn entries_fit_or_are_refused() {
    assert_eq!(of(24).check(3, 8), Ok(()));
    assert_eq!(of(24).check(0, 8), Ok(()));
    assert_eq!(of(0).check(0, 8), Ok(()));
    is_value(of(24).check(4, 8), "4 entries of 8 bytes need 32 bytes, but the buffer has 24");
    is_value(of(0).check(1, 1), "need 1 bytes");
    is_value(of(24).check(i128::from(i64::MAX), 1), "need 9223372036854775807 bytes");
    is_overflow(of(24).check(i128::from(i64::MAX), 2));
    is_overflow(of(24).check(i128::from(i64::MAX) * i128::from(i32::MAX), 32));
    // At address 0 the room is not known.
    let bottom = Room { bytes: 0, bounded: false };
    assert_eq!(bottom.check(i128::from(i64::MAX), 16), Ok(()));
    assert_eq!(bottom.check_blocks(&[i64::MAX], &[isize::MAX], 16), Ok(()));
}

#[test]
fn blocks_lie_in_the_buffer_or_are_empty() {
    assert_eq!(of(24).check_blocks(&[1, 1, 1], &[2, 1, 0], 8), Ok(()));
    assert_eq!(of(24).check_blocks(&[3, 0], &[0, 99], 8), Ok(()));
    assert_eq!(of(24).check_blocks(&[0, -5], &[-99, -1], 8), Ok(()), "MPI refuses negative counts");
    assert_eq!(of(24).check_blocks(&[], &[], 8), Ok(()));
    is_value(of(24).check_blocks(&[1, 1], &[0, 3], 8), "4 entries of 8 bytes");
    is_value(of(24).check_blocks(&[1, 1], &[0, -1], 8), "negative displacement -1");
    is_overflow(of(24).check_blocks(&[i64::MAX], &[isize::MAX], 8));
    is_overflow(of(24).check_blocks(&[1], &[isize::MAX], 8));
}

#[test]
fn entries_are_spread_evenly() {
    assert_eq!(*spread(7, 3), [3, 2, 2]);
    assert_eq!(*spread(6, 3), [2, 2, 2]);
    assert_eq!(*spread(2, 4), [1, 1, 0, 0]);
    assert_eq!(*spread(0, 2), [0, 0]);
    assert_eq!(*spread(5, 1), [5]);
    assert!(spread(0, 0).is_empty());
    for total in [0, 1, 12345, i64::MAX] {
        for blocks in [1, 2, 3, 7, 64] {
            let shares = spread(total, blocks);
            assert_eq!(shares.iter().sum::<i64>(), total);
            assert!(shares.windows(2).all(|pair| pair[0] >= pair[1] && pair[0] - pair[1] <= 1), "{shares:?}");
        }
    }
}

#[test]
fn blocks_one_after_the_other() {
    assert_eq!(pack(&[3, 0, 2]).as_deref(), Ok(&[0, 3, 3][..]));
    assert_eq!(pack(&[]).as_deref(), Ok(&[][..]));
    assert_eq!(pack(&[i64::MAX]).as_deref(), Ok(&[0][..]), "the end of the last block is nobody's place");
    assert_eq!(pack(&[i64::MAX, 1]).as_deref(), Ok(&[0, isize::MAX][..]));
    is_overflow(pack(&[i64::MAX, 1, 1]));
    is_overflow(pack(&[1 << 62, 1 << 62, 1 << 62]));
}

#[test]
fn blocks_a_stride_apart() {
    assert_eq!(strided(4, 3).as_deref(), Ok(&[0, 4, 8][..]));
    assert_eq!(strided(-4, 3).as_deref(), Ok(&[0, -4, -8][..]));
    assert_eq!(strided(i64::MAX, 2).as_deref(), Ok(&[0, isize::MAX][..]));
    assert_eq!(strided(i64::MIN, 1).as_deref(), Ok(&[0][..]));
    assert_eq!(strided(9, 0).as_deref(), Ok(&[][..]));
    // Four strides of 2^62 are 2^64: 0 in 64 bits, where the first block is.
    is_overflow(strided(1 << 62, 5));
    is_overflow(strided(i64::MIN, 3));
}

#[test]
fn the_reach_of_entries() {
    let dense = Extent { extent: 8, true_lb: 0, true_extent: 8 };
    assert_eq!((dense.reach(3), dense.reach(1)), ((0, 24), (0, 8)));
    assert_eq!((dense.reach(0), dense.reach(-1), dense.reach(i64::MIN)), ((0, 0), (0, 0), (0, 0)));
    let backwards = Extent { extent: -8, true_lb: 4, true_extent: 4 };
    assert_eq!(backwards.reach(3), (-12, 8));
    let gap = Extent { extent: 20, true_lb: 4, true_extent: 8 };
    assert_eq!(gap.reach(2), (4, 32));
    let still = Extent { extent: 0, true_lb: -2, true_extent: 2 };
    assert_eq!(still.reach(1000), (-2, 0));
    let (low, high) = Extent { extent: i64::MIN, true_lb: i64::MIN, true_extent: i64::MAX }.reach(i64::MAX);
    assert!(low < i128::from(i64::MIN) && high == -1, "nothing wraps around: {low} to {high}");
}
