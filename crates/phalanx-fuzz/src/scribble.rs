//! Memory that several processes share, and one of them writes over.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

/// Bytes in front of what a patch writes: its region, and where in that.
const HEAD: usize = 4;
/// Bytes that one patch writes at most.
const PATCH: usize = 32;

/// The memory, as it was.
#[derive(Debug)]
pub struct Scribbled {
    file: File,
    regions: Vec<(Range<u64>, Vec<u8>)>,
}

impl Scribbled {
    /// Keeps what is in these regions of a segment.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn new(segment: OwnedFd, regions: &[Range<u64>]) -> io::Result<Scribbled> {
        let file = File::from(segment);
        let read = |range: &Range<u64>| {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
            file.read_exact_at(&mut bytes, range.start).map(|()| (range.clone(), bytes))
        };
        let regions = regions.iter().map(read).collect::<io::Result<_>>()?;
        Ok(Scribbled { file, regions })
    }

    /// Writes over some of it, as the input says. A patch is the number of a region, a length, two bytes that say where in it, and what
    /// is written there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn scribble(&self, mut input: &[u8]) -> io::Result<()> {
        while let [region, len, low, high, rest @ ..] = input {
            let (range, bytes) = &self.regions[usize::from(*region) % self.regions.len()];
            let len = (usize::from(*len) % (PATCH + 1)).min(rest.len());
            let at = (usize::from(u16::from_le_bytes([*low, *high])) * 4) % bytes.len();
            let len = len.min(bytes.len() - at);
            self.file.write_all_at(&rest[..len], range.start + at as u64)?;
            input = &rest[len..];
        }
        Ok(())
    }

    /// Makes it as it was.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn restore(&self) -> io::Result<()> {
        self.regions.iter().try_for_each(|(range, bytes)| self.file.write_all_at(bytes, range.start))
    }
}

/// A patch, for seeds.
#[must_use]
pub fn patch(region: u8, at: usize, bytes: &[u8]) -> Vec<u8> {
    let words = u16::try_from(at / 4).unwrap_or(u16::MAX).to_le_bytes();
    let mut patch = Vec::with_capacity(HEAD + bytes.len());
    patch.extend([region, bytes.len() as u8, words[0], words[1]]);
    patch.extend_from_slice(bytes);
    patch
}
