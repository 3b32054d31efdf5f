//! Matching: which receive takes which message (MPI 5.0 §3.5).
//!
//! Two queues per context. [`Posted`] holds receives that wait for a message, [`Arrived`] holds
//! messages that wait for a receive. Both answer "the earliest one that fits": among posted
//! receives the earliest pattern that fits a message, among arrived messages the earliest message that fits a
//! pattern. That, with rings that keep the order of each pair, is the standard's ordering rule.
//!
//! Few entries (the usual case) are scanned in order. Above [`LINEAR`] entries the queue turns to
//! hashing, where each operation costs a few lookups whatever its length:
//! - a pattern has one of four shapes: (source, tag), (any, tag), (source, any), (any, any). `Posted` keeps a FIFO
//!   per pattern; a message looks at the heads of the four FIFOs that fit it, and the lowest sequence number wins;
//! - `Arrived` enters each message into the FIFOs of the four patterns that fit it; a receive looks at
//!   one FIFO, its own pattern. Numbers of messages taken through another FIFO are skipped when they
//!   reach the head, and swept when they outnumber the live ones.
//!
//! When a hashed queue runs empty it goes back to scanning.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};

use crate::status::{ANY_SOURCE, ANY_TAG};

/// Entries up to which a queue is scanned instead of hashed.
const LINEAR: usize = 24;

/// Hash of the small integers used as keys here: multiply and mix, no protection against chosen keys needed.
#[derive(Default)]
pub(crate) struct IntHasher(u64);

impl Hasher for IntHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 29)
    }
    fn write(&mut self, bytes: &[u8]) {
        for &b in bytes {
            self.write_u64(u64::from(b));
        }
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(u64::from(n));
    }
    fn write_i32(&mut self, n: i32) {
        self.write_u64(u64::from(n as u32));
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = (self.0.rotate_left(23) ^ n).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

/// A map keyed by small integers.
pub(crate) type IntMap<K, V> = HashMap<K, V, BuildHasherDefault<IntHasher>>;

/// What a receive asks for: a source or `ANY_SOURCE`, a tag or `ANY_TAG`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Pattern {
    pub(crate) source: i32,
    pub(crate) tag: i32,
}

impl Pattern {
    /// Whether a message from `source` with `tag` fits.
    #[inline]
    pub(crate) fn fits(self, source: i32, tag: i32) -> bool {
        (self.source == source || self.source == ANY_SOURCE) && (self.tag == tag || self.tag == ANY_TAG)
    }

    /// The four patterns that fit a message.
    fn around(source: i32, tag: i32) -> [Pattern; 4] {
        [
            Pattern { source, tag },
            Pattern { source: ANY_SOURCE, tag },
            Pattern { source, tag: ANY_TAG },
            Pattern { source: ANY_SOURCE, tag: ANY_TAG },
        ]
    }

    /// Index of this pattern's shape in [`Pattern::around`].
    fn shape(self) -> usize {
        usize::from(self.source == ANY_SOURCE) + 2 * usize::from(self.tag == ANY_TAG)
    }
}

/// Receives that wait for a message, in the order of posting.
pub(crate) struct Posted<T> {
    linear: VecDeque<(Pattern, T)>,
    hashed: Option<Box<PostedHash<T>>>,
}

struct PostedHash<T> {
    fifos: IntMap<Pattern, VecDeque<(u64, T)>>,
    /// Entries per shape, so that shapes nobody uses cost no lookup.
    shapes: [usize; 4],
    len: usize,
    next: u64,
}

impl<T> Default for Posted<T> {
    fn default() -> Self {
        Posted { linear: VecDeque::new(), hashed: None }
    }
}

impl<T: Copy + PartialEq> Posted<T> {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.hashed.as_ref().map_or(self.linear.len(), |h| h.len)
    }

    /// Adds a receive behind all others.
    pub(crate) fn push(&mut self, pattern: Pattern, value: T) {
        if let Some(h) = &mut self.hashed {
            h.push(pattern, value);
        } else if self.linear.len() < LINEAR {
            self.linear.push_back((pattern, value));
        } else {
            let mut h = PostedHash { fifos: IntMap::default(), shapes: [0; 4], len: 0, next: 0 };
            for (p, v) in self.linear.drain(..) {
                h.push(p, v);
            }
            h.push(pattern, value);
            self.hashed = Some(Box::new(h));
        }
    }

    /// Takes out the earliest receive that fits a message.
    pub(crate) fn take(&mut self, source: i32, tag: i32) -> Option<T> {
        if let Some(h) = &mut self.hashed {
            let found = h.take(source, tag);
            if h.len == 0 {
                self.hashed = None;
            }
            return found;
        }
        let at = self.linear.iter().position(|(p, _)| p.fits(source, tag))?;
        self.linear.remove(at).map(|(_, v)| v)
    }

    /// Whether some receive fits a message.
    pub(crate) fn has(&self, source: i32, tag: i32) -> bool {
        match &self.hashed {
            Some(h) => Pattern::around(source, tag).iter().any(|p| h.fifos.contains_key(p)),
            None => self.linear.iter().any(|(p, _)| p.fits(source, tag)),
        }
    }

    /// Takes out one receive by its value (cancel); false when it is not here.
    pub(crate) fn remove(&mut self, pattern: Pattern, value: T) -> bool {
        if let Some(h) = &mut self.hashed {
            let done = h.remove(pattern, value);
            if h.len == 0 {
                self.hashed = None;
            }
            return done;
        }
        match self.linear.iter().position(|(_, v)| *v == value) {
            Some(at) => self.linear.remove(at).is_some(),
            None => false,
        }
    }
}

impl<T: Copy + PartialEq> PostedHash<T> {
    fn push(&mut self, pattern: Pattern, value: T) {
        self.fifos.entry(pattern).or_default().push_back((self.next, value));
        self.next += 1;
        self.shapes[pattern.shape()] += 1;
        self.len += 1;
    }

    fn take(&mut self, source: i32, tag: i32) -> Option<T> {
        let mut best: Option<(u64, Pattern)> = None;
        for (shape, pattern) in Pattern::around(source, tag).into_iter().enumerate() {
            if self.shapes[shape] == 0 {
                continue;
            }
            if let Some(&(seq, _)) = self.fifos.get(&pattern).and_then(VecDeque::front)
                && best.is_none_or(|(s, _)| seq < s)
            {
                best = Some((seq, pattern));
            }
        }
        let (_, pattern) = best?;
        let fifo = self.fifos.get_mut(&pattern)?;
        let (_, value) = fifo.pop_front()?;
        if fifo.is_empty() {
            self.fifos.remove(&pattern);
        }
        self.shapes[pattern.shape()] -= 1;
        self.len -= 1;
        Some(value)
    }

    fn remove(&mut self, pattern: Pattern, value: T) -> bool {
        let Some(fifo) = self.fifos.get_mut(&pattern) else {
            return false;
        };
        let Some(at) = fifo.iter().position(|(_, v)| *v == value) else {
            return false;
        };
        fifo.remove(at);
        if fifo.is_empty() {
            self.fifos.remove(&pattern);
        }
        self.shapes[pattern.shape()] -= 1;
        self.len -= 1;
        true
    }
}

/// Messages that wait for a receive, in the order of arrival.
pub(crate) struct Arrived<M> {
    linear: VecDeque<(i32, i32, M)>,
    hashed: Option<Box<ArrivedHash<M>>>,
}

struct ArrivedHash<M> {
    live: IntMap<u64, (i32, i32, M)>,
    fifos: IntMap<Pattern, VecDeque<u64>>,
    /// Numbers in all FIFOs, dead ones included.
    entered: usize,
    next: u64,
}

impl<M> Default for Arrived<M> {
    fn default() -> Self {
        Arrived { linear: VecDeque::new(), hashed: None }
    }
}

impl<M> Arrived<M> {
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.hashed.as_ref().map_or(self.linear.len(), |h| h.live.len())
    }

    /// Adds a message behind all others.
    pub(crate) fn push(&mut self, source: i32, tag: i32, message: M) {
        if let Some(h) = &mut self.hashed {
            h.push(source, tag, message);
        } else if self.linear.len() < LINEAR {
            self.linear.push_back((source, tag, message));
        } else {
            let mut h = ArrivedHash { live: IntMap::default(), fifos: IntMap::default(), entered: 0, next: 0 };
            for (s, t, m) in self.linear.drain(..) {
                h.push(s, t, m);
            }
            h.push(source, tag, message);
            self.hashed = Some(Box::new(h));
        }
    }

    /// All messages with their sources and tags, in any order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &(i32, i32, M)> {
        let hashed = self.hashed.iter().flat_map(|h| h.live.values());
        self.linear.iter().chain(hashed)
    }

    /// All messages, in any order.
    pub(crate) fn messages(&self) -> impl Iterator<Item = &M> {
        self.entries().map(|(_, _, message)| message)
    }

    /// Looks at the earliest message that fits a pattern: its source, its tag, itself.
    pub(crate) fn find(&mut self, pattern: Pattern) -> Option<(i32, i32, &mut M)> {
        if let Some(h) = &mut self.hashed {
            let seq = h.head(pattern)?;
            return h.live.get_mut(&seq).map(|(s, t, m)| (*s, *t, m));
        }
        self.linear.iter_mut().find(|(s, t, _)| pattern.fits(*s, *t)).map(|(s, t, m)| (*s, *t, m))
    }

    /// Looks at the earliest message that fits a pattern and for which `is_it` holds.
    pub(crate) fn find_where(&mut self, pattern: Pattern, is_it: impl Fn(&M) -> bool) -> Option<(i32, i32, &mut M)> {
        let found = match &mut self.hashed {
            Some(h) => {
                let is_it = |seq: &&u64| h.live.get(*seq).is_some_and(|(_, _, m)| is_it(m));
                let seq = *h.fifos.get(&pattern)?.iter().find(is_it)?;
                h.live.get_mut(&seq)
            }
            None => self.linear.iter_mut().find(|(s, t, m)| pattern.fits(*s, *t) && is_it(m)),
        };
        found.map(|(s, t, m)| (*s, *t, m))
    }

    /// Takes out the earliest message that fits a pattern.
    pub(crate) fn take(&mut self, pattern: Pattern) -> Option<(i32, i32, M)> {
        if let Some(h) = &mut self.hashed {
            let found = h.head(pattern).and_then(|seq| h.live.remove(&seq));
            if h.live.is_empty() {
                self.hashed = None;
            } else if h.entered > 8 * h.live.len() + 256 {
                h.sweep();
            }
            return found;
        }
        let at = self.linear.iter().position(|(s, t, _)| pattern.fits(*s, *t))?;
        self.linear.remove(at)
    }

    /// Takes out the earliest message that fits a pattern and for which `is_it` holds (cancel of a send).
    pub(crate) fn remove(&mut self, pattern: Pattern, is_it: impl Fn(&M) -> bool) -> bool {
        if let Some(h) = &mut self.hashed {
            let found = h.live.iter().find(|(_, (s, t, m))| pattern.fits(*s, *t) && is_it(m)).map(|(seq, _)| *seq);
            let removed = found.and_then(|seq| h.live.remove(&seq)).is_some();
            if h.live.is_empty() {
                self.hashed = None;
            }
            return removed;
        }
        match self.linear.iter().position(|(s, t, m)| pattern.fits(*s, *t) && is_it(m)) {
            Some(at) => self.linear.remove(at).is_some(),
            None => false,
        }
    }

    /// Takes out everything, in the order of arrival.
    #[cfg(test)]
    pub(crate) fn drain(&mut self) -> Vec<(i32, i32, M)> {
        match self.hashed.take() {
            None => self.linear.drain(..).collect(),
            Some(h) => {
                let mut all: Vec<_> = h.live.into_iter().collect();
                all.sort_by_key(|(seq, _)| *seq);
                all.into_iter().map(|(_, m)| m).collect()
            }
        }
    }
}

impl<M> ArrivedHash<M> {
    fn push(&mut self, source: i32, tag: i32, message: M) {
        let seq = self.next;
        self.next += 1;
        for pattern in Pattern::around(source, tag) {
            self.fifos.entry(pattern).or_default().push_back(seq);
        }
        self.entered += 4;
        self.live.insert(seq, (source, tag, message));
    }

    /// Number of the earliest live message in a FIFO, dropping dead ones before it.
    fn head(&mut self, pattern: Pattern) -> Option<u64> {
        let fifo = self.fifos.get_mut(&pattern)?;
        while let Some(&seq) = fifo.front() {
            if self.live.contains_key(&seq) {
                return Some(seq);
            }
            fifo.pop_front();
            self.entered -= 1;
        }
        self.fifos.remove(&pattern);
        None
    }

    /// Drops the numbers of all messages that are gone.
    fn sweep(&mut self) {
        let live = &self.live;
        self.fifos.retain(|_, fifo| {
            fifo.retain(|seq| live.contains_key(seq));
            !fifo.is_empty()
        });
        self.entered = self.fifos.values().map(VecDeque::len).sum();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The rule, stated naively: a vector, scanned from the front.
    #[derive(Default)]
    struct Oracle {
        posted: Vec<(Pattern, u32)>,
        arrived: Vec<(i32, i32, u32)>,
    }

    #[derive(Clone, Debug)]
    enum Action {
        Post(Pattern),
        Arrive(i32, i32),
        TakePosted(i32, i32),
        TakeArrived(Pattern),
        FindArrived(Pattern),
        Cancel(usize),
    }

    fn pattern() -> impl Strategy<Value = Pattern> {
        (-1..4i32, prop_oneof![Just(ANY_TAG), 0..4i32]).prop_map(|(source, tag)| Pattern { source, tag })
    }

    /// `grow` in ten actions add an entry, so that long queues are reached as well as short ones.
    fn action(grow: u32) -> impl Strategy<Value = Action> {
        prop_oneof![
            grow => pattern().prop_map(Action::Post),
            grow => (0..4i32, 0..4i32).prop_map(|(s, t)| Action::Arrive(s, t)),
            3 => (0..4i32, 0..4i32).prop_map(|(s, t)| Action::TakePosted(s, t)),
            3 => pattern().prop_map(Action::TakeArrived),
            1 => pattern().prop_map(Action::FindArrived),
            1 => (0..64usize).prop_map(Action::Cancel),
        ]
    }

    fn check(actions: &[Action]) {
        let mut oracle = Oracle::default();
        let mut posted = Posted::default();
        let mut arrived = Arrived::default();
        for (n, action) in actions.iter().enumerate() {
            let n = n as u32;
            match *action {
                Action::Post(p) => {
                    oracle.posted.push((p, n));
                    posted.push(p, n);
                }
                Action::Arrive(s, t) => {
                    oracle.arrived.push((s, t, n));
                    arrived.push(s, t, n);
                }
                Action::TakePosted(s, t) => {
                    let want = oracle.posted.iter().position(|(p, _)| p.fits(s, t)).map(|i| oracle.posted.remove(i).1);
                    assert_eq!(posted.take(s, t), want);
                }
                Action::TakeArrived(p) => {
                    let want =
                        oracle.arrived.iter().position(|&(s, t, _)| p.fits(s, t)).map(|i| oracle.arrived.remove(i));
                    assert_eq!(arrived.take(p), want);
                }
                Action::FindArrived(p) => {
                    let want = oracle.arrived.iter().find(|&&(s, t, _)| p.fits(s, t)).copied();
                    assert_eq!(arrived.find(p).map(|(s, t, m)| (s, t, *m)), want);
                }
                Action::Cancel(i) => {
                    if let Some(&(p, v)) = oracle.posted.get(i) {
                        oracle.posted.remove(i);
                        assert!(posted.remove(p, v));
                        assert!(!posted.remove(p, v), "removed twice");
                    }
                }
            }
            assert_eq!(posted.len(), oracle.posted.len());
            assert_eq!(arrived.len(), oracle.arrived.len());
        }
        let left: Vec<_> = arrived.drain();
        assert_eq!(left, oracle.arrived);
    }

    proptest! {
        #[test]
        fn short_queues_match_like_the_oracle(actions in proptest::collection::vec(action(3), 1..200)) {
            check(&actions);
        }

        #[test]
        fn long_queues_match_like_the_oracle(actions in proptest::collection::vec(action(9), 1..800)) {
            check(&actions);
        }
    }

    #[test]
    fn dead_numbers_are_swept() {
        let mut arrived = Arrived::default();
        for i in 0..64 {
            arrived.push(1, i, i);
        }
        for i in 0..100_000 {
            arrived.push(0, 0, i);
            assert_eq!(arrived.take(Pattern { source: 0, tag: 0 }), Some((0, 0, i)));
        }
        let hashed = arrived.hashed.as_ref().expect("still long");
        assert!(hashed.entered <= 8 * 65 + 260, "{} numbers kept for 64 messages", hashed.entered);
    }
}
