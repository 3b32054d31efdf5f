//! Copies that do not disturb the caches, for data larger than them.
//!
//! An ordinary store to memory that is not cached first reads the line. For a
//! destination far larger than the caches that read is wasted, and so is the
//! cache space; streaming stores avoid both. Measured (docs/decisions/0001):
//! 10 to 20 % faster for 64 MiB, slower for what fits the caches. The C library
//! does the same for one large `memcpy`, but cannot know that a series of small
//! copies out of a pipe is one large transfer.

use crate::mem::MutMem;

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

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    use core::ptr;

    /// Bytes per round: a cache line, so that each is written whole.
    const ROUND: usize = 64;

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
    }
}
