//! `memmove` that is as fast at every offset as at any other.
//!
//! The C library moves some KiB by the processor's string instruction. On some processors (AMD's Zen 3 and Zen 4; glibc's bug
//! 30994) that crawls when the target begins 1 to 31 bytes further in its page than the source in its own: at 2 GB/s, where
//! it else goes at 90. Which is where data of ours is: pipes and areas begin with a page, large arrays of NumPy 16 bytes
//! behind one (decision 0037). So what would be moved like that goes in pieces for which no library takes that
//! instruction, where a look at the machine shows that it crawls.

use core::ptr;

use core::sync::atomic::{AtomicU8, Ordering};

/// Bytes of a piece: for fewer than 2 KiB no library takes the string instruction.
const PIECE: usize = 1 << 10;

/// Bytes from and to which it matters: beyond the second-level cache of these processors the library takes vectors again.
pub(super) const FIRST: usize = 2 * PIECE;
const LAST: usize = 4 << 20;

/// Bytes of a page, in which offsets count, and how many bytes behind the source's the target's has to be to be far enough.
const PAGE: usize = 4096;
const FAR: usize = 64;

/// What a look at the machine has shown.
static CRAWLS: AtomicU8 = AtomicU8::new(UNKNOWN);
const UNKNOWN: u8 = 0;
const NO: u8 = 1;
const YES: u8 = 2;

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

#[inline]
pub(super) fn is_offset_in_question(from: *const u8, to: *mut u8) -> bool {
    (to.addr().wrapping_sub(from.addr()) % PAGE).wrapping_sub(1) < FAR - 1
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
        if overlap || !string_moves_crawl() {
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

/// Whether the library's `memmove` crawls at an offset of 16 bytes, by a look that takes some microseconds, once per process.
fn string_moves_crawl() -> bool {
    match CRAWLS.load(Ordering::Relaxed) {
        UNKNOWN => {
            let crawls = look::string_moves_crawl();
            CRAWLS.store(if crawls { YES } else { NO }, Ordering::Relaxed);
            crawls
        }
        known => known == YES,
    }
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod look {
    use core::hint::black_box;
    use core::ptr;
    use std::time::{Duration, Instant};

    use super::PAGE;

    /// Bytes that are moved: every version of the library takes the string instruction for so many, if for any.
    const BYTES: usize = 4 * PAGE;

    /// Times that they are moved at each offset. The best counts: others on the machine only make it worse.
    const TIMES: usize = 4;

    /// How many times longer they take at the offset in question where it crawls. It is 20 to 40 times there; what reading the
    /// clock takes counts on both sides. Elsewhere it is the same within a half.
    const CRAWLING: u32 = 4;

    pub(super) fn string_moves_crawl() -> bool {
        let mut memory = vec![1_u8; 2 * BYTES + 16];
        let from = memory.as_mut_ptr();
        let best = |offset: usize| -> Duration {
            let times = (0..TIMES).map(|_| {
                let start = Instant::now();
                // SAFETY: the memory is that of the vector, which has room for both at either offset.
                unsafe { ptr::copy(black_box(from), from.add(BYTES + offset), black_box(BYTES)) };
                start.elapsed()
            });
            times.min().unwrap_or_default()
        };
        let level = best(0);
        best(16) > level * CRAWLING
    }
}

#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod look {
    /// No other processor is known to.
    pub(super) fn string_moves_crawl() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
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

    #[test]
    fn targets_a_little_behind_their_source_within_a_page_are_in_question() {
        let at = |address: usize| ptr::without_provenance_mut::<u8>(address);
        for (from, to) in [(0x1000, 0x5010), (0x9fff, 0x3000), (0x1010, 0x7020), (0x5000, 0x1001), (0, 31)] {
            assert!(is_offset_in_question(at(from), at(to)), "{from:#x} to {to:#x}");
        }
        for (from, to) in [(0x1000, 0x5000), (0x5010, 0x1000), (0x1000, 0x5040), (0x1000, 0x5800), (16, 16)] {
            assert!(!is_offset_in_question(at(from), at(to)), "{from:#x} to {to:#x}");
        }
    }

    #[test]
    fn one_look_is_enough() {
        let first = string_moves_crawl();
        assert_ne!(CRAWLS.load(Ordering::Relaxed), UNKNOWN);
        assert_eq!(string_moves_crawl(), first);
    }
}
