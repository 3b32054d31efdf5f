//! Copies that do not disturb the caches, for data larger than them.
//!
//! An ordinary store to memory that is not cached first reads the line. For a
//! destination far larger than the caches that read is wasted, and so is the
//! cache space; streaming stores avoid both. Measured (docs/decisions/0001):
//! 10 to 20 % faster for 64 MiB, slower for what fits the caches. The C library
//! does the same for one large `memcpy`, but cannot know that a series of small
//! copies out of a pipe is one large transfer.

use crate::mem::{ConstMem, MutMem};

/// From this total size on, streaming stores are worth their price: about the
/// last-level cache of current machines.
pub(crate) const STREAMING: u64 = 32 << 20;

/// Copies `min(from.len(), to.len())` bytes, without caching `to` where the
/// machine can; returns how many. The ranges must not overlap.
///
/// Ends with a store fence, so that a flag stored afterwards is seen after the
/// data, as with ordinary stores.
#[inline]
pub(crate) fn copy_streaming(from: ConstMem, to: MutMem) -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let n = from.len().min(to.len());
        if n >= 256 {
            // SAFETY: n bytes are readable and writable by the contracts of the
            // constructors of `from` and `to`.
            unsafe { x86_64::stream(from.as_ptr(), to.as_ptr(), n) };
            return n;
        }
    }
    from.copy_to_mem(to)
}

#[cfg(target_arch = "x86_64")]
mod x86_64 {
    use core::arch::x86_64::{__m128i, _mm_loadu_si128, _mm_sfence, _mm_stream_si128};
    use core::ptr;

    /// Bytes per round: a cache line, so that each is written whole.
    const ROUND: usize = 64;

    /// # Safety
    ///
    /// `from` readable and `to` writable for `n` bytes, no overlap.
    pub(super) unsafe fn stream(mut from: *const u8, mut to: *mut u8, mut n: usize) {
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
                (from, to, n) = (from.add(ROUND), to.add(ROUND), n - ROUND);
            }
            ptr::copy_nonoverlapping(from, to, n);
            _mm_sfence();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_alignment_and_length_is_copied_and_nothing_else() {
        let source: Vec<u8> = (0..1200).map(|i| (i * 7) as u8).collect();
        for at in 0..70 {
            for len in [0, 1, 63, 64, 65, 255, 256, 257, 300, 511, 640, 1000] {
                let mut target = vec![0xaa; 1200];
                // SAFETY: both vectors live and are not otherwise used meanwhile.
                let n = unsafe {
                    copy_streaming(
                        ConstMem::new(source[at / 3..].as_ptr(), len),
                        MutMem::new(target[at..].as_mut_ptr(), len),
                    )
                };
                assert_eq!(n, len);
                assert_eq!(target[at..at + len], source[at / 3..at / 3 + len]);
                assert!(target[..at].iter().chain(&target[at + len..]).all(|b| *b == 0xaa));
            }
        }
    }
}
