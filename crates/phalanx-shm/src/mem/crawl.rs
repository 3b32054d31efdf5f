//! Copies that crawl, and places at which none does.
//!
//! C library and kernel move some KiB by the processor's string instruction. On some processors (AMD's Zen 3 and Zen 4; glibc's bug
//! 30994) that crawls when the target begins 1 to 31 bytes further in its page than the source in its own: at 2 GB/s, where it
//! else goes at 90 within the caches. Which is where data is: pipes, areas and parts of files begin with a page, and `malloc` gives large
//! arrays 16 bytes behind one, or behind the array before (decision 0037). Whether it does, a look at the machine shows, one for each of
//! the two, the first time that it counts.

use core::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

/// Bytes from which it matters: for fewer nobody takes the string instruction.
pub(super) const FIRST: usize = 2 << 10;

/// Bytes of a page, in which offsets count, and how many bytes behind the source's the target's has to be to be far enough.
pub(super) const PAGE: usize = 4096;
const FAR: usize = 64;

/// Bytes that memory needs besides its own for [`lead`].
pub const LEAD: usize = PAGE;

/// How many bytes of memory to leave out, of which there are up to [`LEAD`], so that the rest begins as far in its page as `place`, an
/// address here or in another process, or a place in a file, in its own.
#[must_use]
pub fn lead(memory: &[u8], place: usize) -> usize {
    place.wrapping_sub(memory.as_ptr().addr()) % PAGE
}

/// Whether a copy from one address to another crawls where such copies do. Only the places in their pages count.
#[inline]
pub(super) fn is_offset_in_question(from: *const u8, to: *const u8) -> bool {
    (to.addr().wrapping_sub(from.addr()) % PAGE).wrapping_sub(1) < FAR - 1
}

/// Whether the library's `memmove` crawls at an offset of 16 bytes: a look takes some microseconds.
pub(super) fn library_crawls() -> bool {
    static LOOK: Look = Look::new();
    LOOK.shows(looks::library)
}

/// Whether the kernel's copy of so many bytes crawls from one address to another. A look takes some tens of microseconds.
#[cfg(not(loom))]
#[inline]
pub(crate) fn kernel_crawls(from: *const u8, to: *const u8, len: usize) -> bool {
    static LOOK: Look = Look::new();
    len >= FIRST && is_offset_in_question(from, to) && LOOK.shows(looks::kernel)
}

/// What a look at the machine has shown, once there has been one.
struct Look(AtomicU8);

impl Look {
    const UNKNOWN: u8 = 0;
    const NO: u8 = 1;
    const YES: u8 = 2;

    const fn new() -> Look {
        Look(AtomicU8::new(Look::UNKNOWN))
    }

    #[inline]
    fn shows(&self, look: impl FnOnce() -> bool) -> bool {
        match self.0.load(Ordering::Relaxed) {
            Look::UNKNOWN => {
                let crawls = look();
                self.0.store(if crawls { Look::YES } else { Look::NO }, Ordering::Relaxed);
                crawls
            }
            known => known == Look::YES,
        }
    }
}

/// The shortest of some times that a copy takes: others on the machine only make it longer.
#[cfg(not(miri))]
fn best(mut copy: impl FnMut()) -> Duration {
    let times = (0..4).map(|_| {
        let start = Instant::now();
        copy();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

#[cfg(all(target_arch = "x86_64", not(miri)))]
mod looks {
    use core::hint::black_box;
    use core::ptr;

    use super::{PAGE, best};

    pub(super) fn library() -> bool {
        /// Bytes that are moved: every version of the library takes the string instruction for so many, if for any.
        const BYTES: usize = 4 * PAGE;
        /// How many times longer they take at the offset in question where it crawls. It is 20 to 40 times there; what reading the
        /// clock takes counts on both sides. Elsewhere it is the same within a half.
        const CRAWLING: u32 = 4;
        let mut memory = vec![1_u8; 2 * BYTES + 16];
        let from = memory.as_mut_ptr();
        let best = |offset: usize| {
            // SAFETY: the memory is that of the vector, which has room for both at either offset.
            best(|| unsafe { ptr::copy(black_box(from), from.add(BYTES + offset), black_box(BYTES)) })
        };
        let level = best(0);
        best(16) > level * CRAWLING
    }

    /// By reading some pages of a file. Where there is none in memory, nothing is known to crawl.
    #[cfg(not(loom))]
    pub(super) fn kernel() -> bool {
        use super::{LEAD, lead};

        /// Bytes that are read: so many that the system call itself counts for little.
        const BYTES: usize = 8 * PAGE;
        /// How many times longer they take where it crawls. It is four to five times there; elsewhere it is the same within a half.
        const CRAWLING: u32 = 2;
        let mut memory = vec![1; BYTES + LEAD + 16];
        let Ok(file) = rustix::fs::memfd_create("phalanx-look", rustix::fs::MemfdFlags::CLOEXEC) else { return false };
        let mut whole = rustix::io::pwrite(&file, &memory[..BYTES], 0) == Ok(BYTES);
        let start = lead(&memory, 0);
        let mut best = |offset: usize| {
            let room = &mut memory[start + offset..][..BYTES];
            best(|| whole &= rustix::io::pread(&file, &mut *room, 0) == Ok(BYTES))
        };
        // The first reads bring the memory into the cache.
        best(0);
        let (level, behind) = (best(0), best(16));
        whole && behind > level * CRAWLING
    }
}

/// No other processor is known to.
#[cfg(not(all(target_arch = "x86_64", not(miri))))]
mod looks {
    pub(super) fn library() -> bool {
        false
    }

    #[cfg(not(loom))]
    pub(super) fn kernel() -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use core::ptr;

    use super::*;

    #[test]
    fn targets_a_little_behind_their_source_within_a_page_are_in_question() {
        let at = |address: usize| ptr::without_provenance::<u8>(address);
        for (from, to) in [(0x1000, 0x5010), (0x9fff, 0x3000), (0x1010, 0x7020), (0x5000, 0x1001), (0, 31)] {
            assert!(is_offset_in_question(at(from), at(to)), "{from:#x} to {to:#x}");
        }
        for (from, to) in [(0x1000, 0x5000), (0x5010, 0x1000), (0x1000, 0x5040), (0x1000, 0x5800), (16, 16)] {
            assert!(!is_offset_in_question(at(from), at(to)), "{from:#x} to {to:#x}");
        }
    }

    #[test]
    fn one_look_is_enough() {
        let look = Look::new();
        assert!(look.shows(|| true) && look.shows(|| panic!("a second look")));
        let look = Look::new();
        assert!(!look.shows(|| false) && !look.shows(|| panic!("a second look")));
        assert_eq!(library_crawls(), library_crawls());
    }

    #[test]
    fn what_is_left_of_memory_begins_where_another_place_is_in_its_page() {
        let memory = vec![0; LEAD];
        for place in [0, 16, 4095, 0x7fff_f010, usize::MAX] {
            let lead = lead(&memory, place);
            assert!(lead < LEAD);
            assert_eq!(memory[lead..].as_ptr().addr() % PAGE, place % PAGE);
        }
    }

    #[cfg(not(loom))]
    #[test]
    fn few_bytes_and_other_offsets_need_no_look() {
        let at = |address: usize| ptr::without_provenance::<u8>(address);
        for (from, to, len) in [(0, 0, 4096), (0, 64, 4096), (16, 16, 4096), (4113, 16, 4096), (0, 16, FIRST - 1)] {
            assert!(!kernel_crawls(at(from), at(to), len), "{len} bytes from {from} to {to}");
        }
        let first = kernel_crawls(at(1 << 40), at(16), 4096);
        assert_eq!(kernel_crawls(at(4196), at(117), 4096), first);
    }
}
