//! Taking cache lines over.
//!
//! A line that a process has only read stays shared in its cache, and the next store of the process that writes it has to
//! take it back from there first: on some machines that costs several times the copy itself. A reader who writes into the
//! line owns it, and an owned line moves to the writer at once. So where a line goes back and forth between one writer and
//! one reader, the reader may store what it has found there once more. What is faster depends on the machine: see `ways`.

use super::MutMem;

/// Bytes from one look at a line to the next: the smallest line of the machines that this runs on.
const LINE: usize = 64;

/// Bytes that are copied before their lines are taken. The store has to follow the load while the line is on its way: eight
/// lines were faster than one and than 32 on the machines of decision 0011, by a quarter and more between CPUs far apart.
const PIECE: usize = 8 * LINE;

impl MutMem {
    /// Copies the first bytes to `out`, which must not overlap; returns how many fitted. If `take`, as
    /// [`MutMem::copy_taking`], whose condition holds then.
    #[inline]
    pub fn copy_out(&self, out: MutMem, take: bool) -> usize {
        if take { self.copy_taking(out) } else { self.as_const().copy_to_mem(out) }
    }

    /// Copies the first bytes to `out`, which must not overlap, and takes their lines; returns how many bytes fitted. The
    /// caller must be the only one who uses this memory at this time.
    #[inline]
    pub fn copy_taking(&self, out: MutMem) -> usize {
        let n = self.len().min(out.len());
        for at in (0..n).step_by(PIECE) {
            let piece = self.slice(at, PIECE.min(n - at));
            piece.as_const().copy_to_mem(out.slice(at, PIECE));
            piece.take_lines();
        }
        n
    }

    /// Makes the lines of this memory the cache's own, by storing one byte of each as it is. The caller must be the only
    /// one who uses the memory at this time: a byte that somebody stores meanwhile may be lost.
    #[inline]
    pub fn take_lines(&self) {
        let first = self.as_ptr().align_offset(LINE);
        let starts = (first..self.len()).step_by(LINE);
        for at in std::iter::once(0).filter(|_| first > 0 && !self.is_empty()).chain(starts) {
            // SAFETY: `at` is below the length, and the memory may be read and written by the contract of `MutMem::new`.
            unsafe {
                let byte = self.as_ptr().add(at);
                byte.write_volatile(byte.read_volatile());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::copies_exactly;

    #[test]
    fn a_copy_that_takes_lines_copies_every_byte_and_changes_nothing() {
        copies_exactly(|from, to| from.copy_taking(to));
    }

    #[test]
    fn taking_lines_changes_nothing() {
        copies_exactly(|from, to| {
            from.take_lines();
            from.as_const().copy_to_mem(to)
        });
    }
}
