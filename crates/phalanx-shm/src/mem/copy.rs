//! Copies that do not disturb the caches, for data larger than them.
//!
//! An ordinary store to memory that is not cached first reads the line. For a
//! destination far larger than the caches that read is wasted, and so is the
//! cache space; streaming stores avoid both. Measured (docs/decisions/0001):
//! 10 to 20 % faster for 64 MiB, slower for what fits the caches. The C library
//! does the same for one large `memcpy`, but cannot know that a series of small
//! copies out of a pipe is one large transfer.

use crate::mem::{ConstMem, MutMem};

/// Copies `min(from.len(), to.len())` bytes, without caching `to` where the
/// machine can; returns how many. The ranges must not overlap.
///
/// Ends with a store fence, so that a flag stored afterwards is seen after the
/// data, as with ordinary stores.
///
/// With `TAKE`, takes the cache lines of `from` over on the way, which nobody else may use meanwhile: see `lines`.
#[inline]
pub(crate) fn copy_streaming<const TAKE: bool>(from: MutMem, to: MutMem) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let n = from.len().min(to.len());
        if n >= 256 {
            // SAFETY: n bytes are readable and writable by the contracts of the
            // constructors of `from` and `to`.
            unsafe { x86_64::stream::<TAKE>(from.as_ptr(), to.as_ptr(), n) };
            return n;
        }
    }
    from.copy_out(to, TAKE)
}

/// As [`copy_streaming`], for much at a time: the lines of four pages take turns, so that more of `from` is on its way from
/// memory at once. 64 MiB took 6.4 ms without that, 5.2 with it, and 8.1 through the caches (a Xeon of family 6 model 207).
pub(crate) fn copy_streaming_wide(from: ConstMem, to: MutMem) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let n = from.len().min(to.len());
        // SAFETY: n bytes are readable and writable by the contracts of the constructors of `from` and `to`.
        unsafe { x86_64::stream_wide(from.as_ptr(), to.as_ptr(), n) };
        n
    }
    #[cfg(not(target_arch = "x86_64"))]
    from.copy_to_mem(to)
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    use core::ptr;

    /// Bytes per round: a cache line, so that each is written whole.
    const ROUND: usize = 64;

    /// Bytes of a page, and pages whose lines take turns.
    const PAGE: usize = 4096;
    const PAGES: usize = 4;

    /// # Safety
    ///
    /// `from` readable and `to` writable for `n` bytes, no overlap.
    pub(super) unsafe fn stream_wide(mut from: *const u8, mut to: *mut u8, mut n: usize) {
        // SAFETY: as for `stream`: `lead` aligns `to`, each round takes the next four pages of the remaining bytes, each line
        // of them once, and `stream` takes the rest. It does not write to `from` without `TAKE`.
        unsafe {
            let lead = to.align_offset(ROUND).min(n);
            ptr::copy_nonoverlapping(from, to, lead);
            (from, to, n) = (from.add(lead), to.add(lead), n - lead);
            while n >= PAGES * PAGE {
                for line in (0..PAGE).step_by(ROUND) {
                    for page in 0..PAGES {
                        let source = from.add(page * PAGE + line).cast::<__m128i>();
                        let target = to.add(page * PAGE + line).cast::<__m128i>();
                        for word in 0..ROUND / size_of::<__m128i>() {
                            _mm_stream_si128(target.add(word), _mm_loadu_si128(source.add(word)));
                        }
                    }
                }
                (from, to, n) = (from.add(PAGES * PAGE), to.add(PAGES * PAGE), n - PAGES * PAGE);
            }
            stream::<false>(from.cast_mut(), to, n);
        }
    }

    /// # Safety
    ///
    /// `from` readable and `to` writable for `n` bytes, no overlap; with `TAKE`, `from` writable as well.
    pub(super) unsafe fn stream<const TAKE: bool>(mut from: *mut u8, mut to: *mut u8, mut n: usize) {
        // SAFETY: `lead <= n`, each round takes 64 of the remaining bytes, and the
        // rest is below 64; streaming stores need 16-byte alignment of `to`,
        // which `lead` establishes. SSE2 is part of x86-64.
        unsafe {
            let lead = to.align_offset(ROUND).min(n);
            ptr::copy_nonoverlapping(from, to, lead);
            (from, to, n) = (from.add(lead), to.add(lead), n - lead);
            while n >= ROUND {
                let source = from.cast::<__m128i>();
                let words = [
                    _mm_loadu_si128(source),
                    _mm_loadu_si128(source.add(1)),
                    _mm_loadu_si128(source.add(2)),
                    _mm_loadu_si128(source.add(3)),
                ];
                for (i, word) in words.into_iter().enumerate() {
                    _mm_stream_si128(to.cast::<__m128i>().add(i), word);
                }
                if TAKE {
                    // Each round begins in another line of the source.
                    from.write_volatile(from.read_volatile());
                }
                (from, to, n) = (from.add(ROUND), to.add(ROUND), n - ROUND);
            }
            ptr::copy_nonoverlapping(from, to, n);
            _mm_sfence();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::copies_exactly;
    use super::*;

    #[test]
    fn every_alignment_and_length_is_copied_and_nothing_else() {
        copies_exactly(copy_streaming::<false>);
        copies_exactly(copy_streaming::<true>);
        // SAFETY: what may be read and written may be read.
        let source = |from: MutMem| unsafe { ConstMem::new(from.as_ptr(), from.len()) };
        copies_exactly(|from, to| copy_streaming_wide(source(from), to));
    }

    #[test]
    fn pages_that_take_turns_are_copied_each_to_its_place() {
        for (at, len) in [(0, 16 << 10), (1, (48 << 10) + 77), (63, (16 << 10) - 1), (17, 100_000)] {
            let from: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let mut to = vec![0xaa; at + len + 1];
            // SAFETY: both vectors live and are not otherwise used meanwhile.
            let (source, target) =
                unsafe { (ConstMem::new(from.as_ptr(), len), MutMem::new(to[at..].as_mut_ptr(), len)) };
            assert_eq!(copy_streaming_wide(source, target), len);
            assert!(to[at..at + len] == from, "{len} bytes to {at}");
            assert!(to[..at].iter().all(|byte| *byte == 0xaa) && to[at + len] == 0xaa, "{len} bytes to {at}");
        }
    }
}
