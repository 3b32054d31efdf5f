//! `memmove` that is as fast at every offset as at any other.
//!
//! What would be moved by a string instruction that crawls ([`crawl`](super::crawl)) goes in pieces for which no library takes it.

use core::ptr;

use super::crawl::{FIRST, is_offset_in_question, library_crawls};

/// Bytes of a piece.
const PIECE: usize = FIRST / 2;

/// Bytes to which it matters: beyond the second-level cache of these processors the library takes vectors again.
const LAST: usize = 4 << 20;

/// `memmove` that accepts any pointers when there is nothing to move.
///
/// # Safety
///
/// For `n > 0`: `from` readable and `to` writable for `n` bytes.
#[inline]
pub(crate) unsafe fn copy(from: *const u8, to: *mut u8, n: usize) {
    if (FIRST..=LAST).contains(&n) && is_offset_in_question(from, to) {
        // SAFETY: the caller's contract.
        unsafe { copy_at_offset(from, to, n) };
    } else if n > 0 {
        // SAFETY: the caller's contract.
        unsafe { ptr::copy(from, to, n) };
    }
}

/// As [`copy`], where the offset is in question.
///
/// # Safety
///
/// `from` readable and `to` writable for `n` bytes.
#[inline(never)]
unsafe fn copy_at_offset(from: *const u8, to: *mut u8, n: usize) {
    let overlap = to.addr().wrapping_sub(from.addr()) < n;
    // SAFETY: the caller's contract; in pieces from the first on, what is still to be read has not been written.
    unsafe {
        if overlap || !library_crawls() {
            ptr::copy(from, to, n);
        } else {
            copy_in_pieces(from, to, n);
        }
    }
}

/// # Safety
///
/// As for [`copy_at_offset`]; `to` does not begin within the bytes from `from` on.
unsafe fn copy_in_pieces(from: *const u8, to: *mut u8, n: usize) {
    for at in (0..n).step_by(PIECE) {
        // SAFETY: the piece ends at `n` at the latest.
        unsafe { ptr::copy(from.add(at), to.add(at), PIECE.min(n - at)) };
    }
}

#[cfg(test)]
mod tests {
    use super::super::crawl::PAGE;
    use super::*;

    /// Moves `n` bytes by `copy` from `from` to `to` within one memory, and compares with the standard's.
    fn compare(from: usize, to: usize, n: usize, copy: unsafe fn(*const u8, *mut u8, usize)) {
        let mut memory: Vec<u8> = (0..4 * PAGE).map(|i| (i % 251) as u8).collect();
        let mut expected = memory.clone();
        expected.copy_within(from..from + n, to);
        let start = memory.as_mut_ptr();
        // SAFETY: both ranges lie within the vector.
        unsafe { copy(start.add(from), start.add(to), n) };
        assert!(memory == expected, "{n} bytes from {from} to {to}");
    }

    #[test]
    fn pieces_are_moved_to_their_places_and_nothing_else_is_written() {
        for n in [0, 1, PIECE - 1, PIECE, PIECE + 1, FIRST, FIRST + 77, PAGE] {
            for offset in [0, 1, 16, 31, 63] {
                compare(3, 2 * PAGE + 3 + offset, n, copy_in_pieces);
                // Backwards, and over each other.
                compare(PAGE + offset, 5, n, copy_in_pieces);
                compare(100 + offset, 100, n, copy_in_pieces);
            }
        }
    }

    #[test]
    fn what_overlaps_is_moved_as_if_it_had_been_read_first() {
        for (from, to) in [(0, 16), (0, 1), (16, 0), (0, PAGE + 16), (PAGE + 16, 0), (7, 7)] {
            for n in [FIRST - 1, FIRST, PAGE, PAGE + 17, 2 * PAGE] {
                compare(from, to, n, copy);
            }
        }
    }
}
