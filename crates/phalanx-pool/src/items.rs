//! The items of a job, as bytes, from when they are given until they are done.
//!
//! They are kept one behind the other in segments, as they will stand in a payload, so that a chunk is one copy. A
//! segment goes when all of its items are done: an endless job needs memory only for the items on the way. What an item
//! keeps, which may be far larger than its bytes, goes when that item is done.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::ops::Range;

use smallvec::SmallVec;

use crate::job::Keep;
use crate::protocol::write_item;

/// A segment is full with this many bytes, or items.
const SEGMENT_BYTES: usize = 64 << 10;
const SEGMENT_ITEMS: usize = 4096;

#[derive(Default)]
struct Segment {
    first: u64,
    bytes: Vec<u8>,
    /// Where each item ends.
    ends: Vec<u32>,
    undone: usize,
}

impl Segment {
    fn end(&self) -> u64 {
        self.first + self.ends.len() as u64
    }

    fn start_of(&self, at: usize) -> usize {
        if at == 0 { 0 } else { self.ends[at - 1] as usize }
    }

    fn is_full(&self) -> bool {
        // One whose items are all done has given up its bytes.
        self.bytes.len() >= SEGMENT_BYTES || self.ends.len() >= SEGMENT_ITEMS || self.undone == 0
    }
}

/// The items of one job.
///
/// ```
/// use phalanx_pool::items::Items;
/// use phalanx_pool::protocol::ItemReader;
///
/// let mut items = Items::default();
/// for item in [b"a", b"b", b"c"] {
///     items.push(item, []);
/// }
/// // A chunk is one piece of bytes, of at most so many.
/// let mut payload = Vec::new();
/// assert_eq!(items.append(0..3, &mut payload, 1000), 3);
/// assert_eq!(ItemReader::new(&payload).count(), 3);
/// items.done(1);
/// assert_eq!(items.end(), 3);
/// assert_eq!(items.get(2), Some(&b"c"[..]));
/// ```
#[derive(Default)]
pub struct Items {
    segments: VecDeque<Segment>,
    /// Items given so far.
    end: u64,
    /// Items whose bytes were replaced.
    replaced: HashMap<u64, Vec<u8>>,
    /// What is kept for items that are not done; most have nothing.
    keeps: BTreeMap<u64, SmallVec<[Keep; 2]>>,
    /// What was kept for items that are done. Dropping it may run foreign code, so the owner says when.
    garbage: Vec<Keep>,
}

impl std::fmt::Debug for Items {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Items").field("end", &self.end).field("segments", &self.segments.len()).finish_non_exhaustive()
    }
}

impl Items {
    /// How many were given so far.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// Adds an item.
    pub fn push(&mut self, item: &[u8], keeps: impl IntoIterator<Item = Keep>) {
        if self.segments.back().is_none_or(Segment::is_full) {
            self.segments.push_back(Segment { first: self.end, ..Segment::default() });
        }
        if let Some(segment) = self.segments.back_mut() {
            write_item(&mut segment.bytes, item);
            segment.ends.push(segment.bytes.len() as u32);
            segment.undone += 1;
        }
        let mut keeps = keeps.into_iter().peekable();
        if keeps.peek().is_some() {
            self.keeps.insert(self.end, keeps.collect());
        }
        self.end += 1;
    }

    fn position(&self, index: u64) -> Option<usize> {
        let at = self.segments.partition_point(|segment| segment.end() <= index);
        (at < self.segments.len() && self.segments[at].first <= index).then_some(at)
    }

    /// Appends the items of a range, as a payload has them, until `most` bytes are there. How many were appended: at
    /// least one, unless the first is longer than `most` or done already.
    pub fn append(&self, range: Range<u64>, out: &mut Vec<u8>, most: usize) -> u32 {
        let mut index = range.start;
        let Some(mut at) = self.position(index) else { return 0 };
        while index < range.end {
            let Some(segment) = self.segments.get(at) else { break };
            let from = (index - segment.first) as usize;
            let to = (range.end.min(segment.end()) - segment.first) as usize;
            if self.replaced.is_empty() {
                let start = segment.start_of(from);
                // The last of these items that still fits.
                let limit = start.saturating_add(most - out.len().min(most));
                let fits = segment.ends[from..to].partition_point(|end| *end as usize <= limit);
                if fits > 0 {
                    out.extend_from_slice(&segment.bytes[start..segment.ends[from + fits - 1] as usize]);
                }
                index += fits as u64;
                if fits < to - from {
                    break;
                }
            } else {
                for item in from..to {
                    let bytes = match self.replaced.get(&index) {
                        Some(bytes) => &bytes[..],
                        None => &segment.bytes[segment.start_of(item) + 4..segment.ends[item] as usize],
                    };
                    if out.len() + bytes.len() + 4 > most {
                        return (index - range.start) as u32;
                    }
                    write_item(out, bytes);
                    index += 1;
                }
            }
            at += 1;
        }
        (index - range.start) as u32
    }

    /// The bytes of an item that is not done.
    pub fn get(&self, index: u64) -> Option<&[u8]> {
        if let Some(bytes) = self.replaced.get(&index) {
            return Some(bytes);
        }
        let segment = &self.segments[self.position(index)?];
        let at = (index - segment.first) as usize;
        segment.bytes.get(segment.start_of(at) + 4..segment.ends[at] as usize)
    }

    /// Gives an item other bytes.
    pub fn replace(&mut self, index: u64, bytes: Vec<u8>, keeps: Vec<Keep>) {
        if self.position(index).is_none() {
            self.garbage.extend(keeps);
            return;
        }
        if !keeps.is_empty() {
            // What the old bytes refer to stays: a worker may still have them.
            self.keeps.entry(index).or_default().extend(keeps);
        }
        self.replaced.insert(index, bytes);
    }

    /// An item is done.
    #[inline]
    pub fn done(&mut self, index: u64) {
        if !self.replaced.is_empty() {
            self.replaced.remove(&index);
        }
        if !self.keeps.is_empty()
            && let Some(keeps) = self.keeps.remove(&index)
        {
            self.garbage.extend(keeps);
        }
        let Some(at) = self.position(index) else { return };
        let segment = &mut self.segments[at];
        segment.undone = segment.undone.saturating_sub(1);
        if segment.undone == 0 {
            // The memory goes now; the place in the middle of the queue when those before it are done.
            segment.bytes = Vec::new();
            while self.segments.len() > 1 && self.segments[0].undone == 0 {
                self.segments.pop_front();
            }
            if self.segments.len() == 1 && self.segments[0].undone == 0 {
                self.segments.clear();
            }
        }
    }

    /// Everything goes.
    pub fn clear(&mut self) {
        self.segments.clear();
        self.garbage.extend(std::mem::take(&mut self.keeps).into_values().flatten());
        self.replaced.clear();
    }

    /// What was kept for items that are done: to be dropped where foreign code may run.
    pub fn take_garbage(&mut self, into: &mut Vec<Keep>) {
        into.append(&mut self.garbage);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::ItemReader;

    fn read(items: &Items, range: Range<u64>) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        let count = items.append(range, &mut out, usize::MAX);
        let read: Vec<Vec<u8>> = ItemReader::new(&out).map(<[u8]>::to_vec).collect();
        assert_eq!(read.len(), count as usize);
        read
    }

    #[test]
    fn chunks_cross_segments_and_segments_go() {
        let mut items = Items::default();
        for n in 0..10_000u32 {
            items.push(&n.to_le_bytes(), []);
        }
        assert_eq!(items.segments.len(), 3);
        let chunk = read(&items, 4000..4200);
        assert_eq!(chunk.len(), 200);
        assert!(chunk.iter().zip(4000u32..).all(|(bytes, n)| *bytes == n.to_le_bytes()));
        (0..4096).for_each(|n| items.done(n));
        assert_eq!(items.segments.len(), 2);
        (4097..10_000).for_each(|n| items.done(n));
        assert_eq!(read(&items, 4096..4097), [4096u32.to_le_bytes()]);
        items.done(4096);
        assert_eq!(items.segments.len(), 0);
        items.push(b"more", []);
        assert_eq!(read(&items, 10_000..10_001), [b"more"]);
    }

    #[test]
    fn what_does_not_fit_is_left_for_the_next_chunk() {
        let mut items = Items::default();
        (0..4).for_each(|_| items.push(&[7; 6], []));
        let mut out = Vec::new();
        assert_eq!(items.append(0..4, &mut out, 25), 2);
        out.clear();
        assert_eq!(items.append(2..4, &mut out, 9), 0);
        items.replace(1, vec![1; 30], Vec::new());
        assert_eq!(items.append(0..4, &mut out, 40), 1);
        assert_eq!(read(&items, 0..4), [vec![7; 6], vec![1; 30], vec![7; 6], vec![7; 6]]);
    }

    #[test]
    fn what_an_item_keeps_goes_with_it() {
        let mut items = Items::default();
        let kept: Vec<_> = (0..3).map(|_| std::sync::Arc::new(())).collect();
        let counts = || kept.iter().map(std::sync::Arc::strong_count).collect::<Vec<_>>();
        for kept in &kept {
            items.push(b"a", [Box::new(kept.clone()) as Keep]);
        }
        items.replace(2, vec![1], vec![Box::new(kept[2].clone()) as Keep]);
        assert_eq!(counts(), [2, 2, 3]);
        items.done(1);
        // Dropped where its owner says.
        assert_eq!(counts(), [2, 2, 3]);
        items.take_garbage(&mut Vec::new());
        assert_eq!(counts(), [2, 1, 3]);
        items.done(2);
        items.clear();
        items.take_garbage(&mut Vec::new());
        assert_eq!(counts(), [1, 1, 1]);
        assert!(items.keeps.is_empty());
    }
}
