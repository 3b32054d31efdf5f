//! Equal blocks at equal distances: a column of a matrix, a field of an array of structures.
//!
//! The loops under packing and unpacking. With the block size a constant they are loads and stores; the bounds of a
//! range are checked once for the whole run.

use crate::mem::{ConstMem, MutMem};

/// Whether `count` blocks of `len` bytes, the first at `at`, lie within `size` bytes; a base address has no end.
#[inline]
fn inside(size: usize, at: isize, stride: isize, len: usize, count: usize) -> bool {
    if size == usize::MAX {
        return true;
    }
    let (Ok(size), Ok(len), Ok(last)) =
        (isize::try_from(size), isize::try_from(len), isize::try_from(count.saturating_sub(1)))
    else {
        return false;
    };
    let Some(reach) = last.checked_mul(stride) else {
        return false;
    };
    let (low, high) = (at.checked_add(reach.min(0)), at.checked_add(reach.max(0)));
    low.is_some_and(|low| low >= 0) && high.and_then(|high| high.checked_add(len)).is_some_and(|end| end <= size)
}

impl ConstMem {
    /// Copies one block of `N` bytes for each element of `out`, the first from signed offset `at`, each next one
    /// `stride` bytes further. Blocks that do not lie in the range stay as they are.
    #[inline]
    pub fn gather<const N: usize>(&self, at: isize, stride: isize, out: &mut [[u8; N]]) {
        if !inside(self.len(), at, stride, N, out.len()) {
            for (i, block) in out.iter_mut().enumerate() {
                let at = at.wrapping_add((i as isize).wrapping_mul(stride));
                let source = self.at(at, N);
                if source.len() == N {
                    source.copy_to(block);
                }
            }
            return;
        }
        let mut from = self.as_ptr().wrapping_offset(at).cast::<[u8; N]>();
        for block in out {
            // SAFETY: the block lies in the range, or behind a base address whose maker promised that every byte reached
            // from it is readable; byte arrays need no alignment.
            *block = unsafe { from.read() };
            from = from.wrapping_byte_offset(stride);
        }
    }
}

impl MutMem {
    /// The reverse of [`ConstMem::gather`]: stores the blocks of `data` from signed offset `at` on, `stride` bytes apart.
    /// Blocks that do not lie in the range are left out.
    #[inline]
    pub fn scatter<const N: usize>(&self, at: isize, stride: isize, data: &[[u8; N]]) {
        if !inside(self.len(), at, stride, N, data.len()) {
            for (i, block) in data.iter().enumerate() {
                let at = at.wrapping_add((i as isize).wrapping_mul(stride));
                let target = self.at(at, N);
                if target.len() == N {
                    target.copy_from(block);
                }
            }
            return;
        }
        let mut to = self.as_ptr().wrapping_offset(at).cast::<[u8; N]>();
        for block in data {
            // SAFETY: the block lies in the range, or behind a base address whose maker promised that every byte reached
            // from it is writable; byte arrays need no alignment.
            unsafe { to.write(*block) };
            to = to.wrapping_byte_offset(stride);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_gathered_and_scattered_both_ways() {
        let mut bytes: Vec<u8> = (0..32).collect();
        // SAFETY: lives, unborrowed, while the memory is used.
        let memory = unsafe { MutMem::new(bytes.as_mut_ptr(), bytes.len()) };
        let mut out = [[0u8; 2]; 4];
        memory.as_const().gather(1, 10, &mut out);
        assert_eq!(out, [[1, 2], [11, 12], [21, 22], [0, 0]]);
        memory.as_const().gather(30, -10, &mut out);
        assert_eq!(out, [[30, 31], [20, 21], [10, 11], [0, 1]]);
        memory.scatter(30, -15, &[[7u8, 8], [9, 10], [11, 12], [13, 14]]);
        assert_eq!((&bytes[30..], &bytes[15..17], &bytes[0..2]), (&[7, 8][..], &[9, 10][..], &[11, 12][..]));
    }

    #[test]
    fn a_base_address_reaches_to_both_sides() {
        let bytes: Vec<u8> = (0..32).collect();
        // SAFETY: only bytes of the living vector are reached.
        let memory = unsafe { ConstMem::base(bytes[16..].as_ptr()) };
        let mut out = [[0u8; 1]; 3];
        memory.gather(-16, 15, &mut out);
        assert_eq!(out, [[0], [15], [30]]);
    }
}
