//! How a pickle stream and the buffers that were left out of it lie in the memory of a message.
//!
//! ```text
//! frame   u64 m buffers
//!         m times: u64 block, u64 offset, u64 length
//!         the stream
//! ```
//!
//! Memory comes in blocks. Large buffers may have one of their own; the others share the first block, one after the other,
//! behind the frame if that lies there too. A message of MPI is one block; in the shared memory of a pool there are many.
//! Numbers are little-endian. What is read is not believed: every place is checked against the blocks that there are.

/// Where buffers begin in a block: good for every element type and for vector loads.
pub const ALIGNMENT: usize = 64;

const COUNT: usize = 8;
const ENTRY: usize = 24;

/// Where a buffer lies: the number of its block, and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which block.
    pub block: usize,
    /// Where in the block the buffer begins.
    pub offset: usize,
    /// How long it is.
    pub length: usize,
}

/// How buffers are spread over blocks.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Frames up to this size travel beside the blocks, longer ones in the first.
    pub inline: usize,
    /// Bytes in front of the frame in the first block.
    pub head: usize,
    /// Buffers from this size on have a block of their own...
    pub own: usize,
    /// ... as long as there are no more buffers than this.
    pub most: usize,
}

/// Where everything of a message is to lie.
#[derive(Debug)]
pub struct Plan {
    /// The buffers, in order.
    pub places: Vec<Place>,
    /// Bytes of the frame.
    pub frame: usize,
    /// Whether the frame travels beside the blocks.
    pub inline: bool,
    /// Bytes of the first block, which the frame and small buffers share; `None` when each block is one buffer.
    pub shared: Option<usize>,
}

impl Plan {
    /// The plan for a stream and buffers of these lengths; `None` when they add up to more than memory can hold.
    #[must_use]
    pub fn new(stream: usize, lengths: &[usize], rule: Rule) -> Option<Plan> {
        let frame = lengths.len().checked_mul(ENTRY)?.checked_add(COUNT)?.checked_add(stream)?;
        let inline = frame <= rule.inline;
        let own = |length: usize| lengths.len() <= rule.most && length >= rule.own;
        let shares = !inline || lengths.iter().any(|length| !own(*length));
        let mut end = if inline { 0 } else { rule.head.checked_add(frame)? };
        let mut blocks = usize::from(shares);
        let mut places = Vec::with_capacity(lengths.len());
        for &length in lengths {
            if own(length) {
                places.push(Place { block: blocks, offset: 0, length });
                blocks += 1;
                continue;
            }
            let offset = end.checked_next_multiple_of(ALIGNMENT)?;
            places.push(Place { block: 0, offset, length });
            end = offset.checked_add(length)?;
        }
        (end <= isize::MAX as usize).then_some(Plan { places, frame, inline, shared: shares.then_some(end) })
    }

    /// The bytes of the frame in front of the stream.
    #[must_use]
    pub fn table(&self) -> Vec<u8> {
        let mut table = Vec::with_capacity(COUNT + ENTRY * self.places.len());
        table.extend_from_slice(&(self.places.len() as u64).to_le_bytes());
        for place in &self.places {
            for number in [place.block, place.offset, place.length] {
                table.extend_from_slice(&(number as u64).to_le_bytes());
            }
        }
        table
    }
}

/// The number at the beginning of some bytes, and the rest; `None` when there is none that memory could have.
#[must_use]
pub fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (head, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u64::from_le_bytes(*head)).ok()?, rest))
}

/// The buffers that a frame names and its stream; `None` when it is damaged, or a buffer lies in none of the blocks, whose
/// lengths `blocks` tells.
#[must_use]
pub fn parse(frame: &[u8], blocks: impl Fn(usize) -> Option<usize>) -> Option<(Vec<Place>, &[u8])> {
    let (count, mut rest) = number(frame)?;
    if count > rest.len() / ENTRY {
        return None;
    }
    let mut places = Vec::with_capacity(count);
    for _ in 0..count {
        let (block, offset, length);
        (block, rest) = number(rest)?;
        (offset, rest) = number(rest)?;
        (length, rest) = number(rest)?;
        if offset.checked_add(length)? > blocks(block)? {
            return None;
        }
        places.push(Place { block, offset, length });
    }
    Some((places, rest))
}
