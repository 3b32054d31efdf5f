//! Element-wise update of one memory range by another: the loop under every reduction.

use crate::mem::{ConstMem, MutMem};

impl MutMem {
    /// Replaces each word `b` of `N` bytes here by `f(a, b)`, where `a` is the word at the same place in `from`.
    ///
    /// Goes on to the end of the shorter range; a last incomplete word is left alone. The ranges need no alignment. They may
    /// be the same; when they overlap otherwise, words are taken in rising order. `f` is inlined: with a simple one the
    /// loop becomes vector code.
    #[inline]
    pub fn combine<const N: usize>(&self, from: ConstMem, f: impl Fn([u8; N], [u8; N]) -> [u8; N]) {
        let words = self.len().min(from.len()) / N.max(1);
        let (source, target) = (from.as_ptr().cast::<[u8; N]>(), self.as_ptr().cast::<[u8; N]>());
        for i in 0..words {
            // SAFETY: word `i` ends at byte `(i + 1) * N`, within the length of both ranges, which are readable and writable
            // by the contracts of their constructors; byte arrays need no alignment.
            unsafe {
                let at = target.add(i);
                at.write(f(source.add(i).read(), at.read()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_combined_up_to_the_shorter_end() {
        let from: Vec<u8> = (1..=11).collect();
        let mut into = [100u8; 13];
        // SAFETY: both live, unborrowed, until the end of the test.
        let (a, b) = unsafe { (ConstMem::new(from.as_ptr(), 11), MutMem::new(into.as_mut_ptr(), 13)) };
        b.combine(a, |a: [u8; 4], b: [u8; 4]| (u32::from_le_bytes(a) + u32::from_le_bytes(b)).to_le_bytes());
        assert_eq!(into, [101, 102, 103, 104, 105, 106, 107, 108, 100, 100, 100, 100, 100]);
    }

    #[test]
    fn a_range_combines_with_itself() {
        let mut bytes = [1u8, 2, 3];
        // SAFETY: lives, unborrowed, until the end of the test.
        let memory = unsafe { MutMem::new(bytes.as_mut_ptr(), 3) };
        memory.combine(memory.as_const(), |[a]: [u8; 1], [b]| [a + b]);
        assert_eq!(bytes, [2, 4, 6]);
    }
}
