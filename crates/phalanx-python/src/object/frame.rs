//! How an object and its buffers lie in one message.
//!
//! An object without out-of-band buffers is sent as its bare pickle stream. One with such buffers is a frame:
//!
//! ```text
//! offset 0   magic, 8 bytes (its first byte begins no pickle stream)
//!        8   number n of buffers, u64
//!       16   bytes of the pickle stream, u64
//!       24   bytes of each buffer, n times u64
//!        .   the pickle stream
//!        .   each buffer, at the next multiple of 64
//! ```
//!
//! Numbers are in the machine's order: a frame never leaves a job, and the magic would read differently elsewhere.

use super::block::ALIGNMENT;

/// Begins every frame.
const MAGIC: u64 = u64::from_le_bytes(*b"\x93PHLX\x00\x01\n");

const FIXED: usize = 24;

/// Where the parts of a frame lie: offsets and lengths in bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// The pickle stream.
    pub(crate) stream: (usize, usize),
    /// The buffers.
    pub(crate) buffers: Vec<(usize, usize)>,
    /// The whole frame.
    pub(crate) total: usize,
}

impl Layout {
    /// The layout of a frame with these lengths; `None` when they add up to more than memory can hold.
    pub(crate) fn new(stream: usize, buffers: impl ExactSizeIterator<Item = usize>) -> Option<Layout> {
        let at = buffers.len().checked_mul(8)?.checked_add(FIXED)?;
        let mut end = at.checked_add(stream)?;
        let mut places = Vec::with_capacity(buffers.len());
        for length in buffers {
            let start = end.checked_next_multiple_of(ALIGNMENT)?;
            places.push((start, length));
            end = start.checked_add(length)?;
        }
        (end <= isize::MAX as usize).then_some(Layout { stream: (at, stream), buffers: places, total: end })
    }

    /// The bytes in front of the pickle stream.
    pub(crate) fn head(&self) -> Vec<u8> {
        let lengths = self.buffers.iter().map(|buffer| buffer.1 as u64);
        [MAGIC, self.buffers.len() as u64, self.stream.1 as u64]
            .into_iter()
            .chain(lengths)
            .flat_map(u64::to_ne_bytes)
            .collect()
    }

    /// The layout that the bytes of a message tell: `None` when it is no frame, `Some(Err)` when it is a broken one.
    pub(crate) fn read(message: &[u8]) -> Option<Result<Layout, String>> {
        let word = |index: usize| {
            let bytes = message.get(8 * index..8 * index + 8)?;
            bytes.try_into().ok().map(u64::from_ne_bytes)
        };
        if word(0)? != MAGIC {
            return None;
        }
        let broken = || format!("an object message of {} bytes is cut short or damaged", message.len());
        let layout = || {
            let count = usize::try_from(word(1)?).ok()?;
            let stream = usize::try_from(word(2)?).ok()?;
            if count > message.len() / 8 {
                return None;
            }
            let lengths: Option<Vec<usize>> =
                (0..count).map(|index| word(3 + index).and_then(|n| usize::try_from(n).ok())).collect();
            Layout::new(stream, lengths?.into_iter()).filter(|layout| layout.total <= message.len())
        };
        Some(layout().ok_or_else(broken))
    }
}
