//! Tasks that have ended, as long as there is room for them.

use std::collections::{HashMap, VecDeque};

use super::task::Ended;
use super::{Key, Limits, Object};

/// What a record takes beside its texts, roughly.
const HEAD: u64 = 512;

/// Them, the oldest first.
#[derive(Debug)]
pub(crate) struct History<P> {
    ended: HashMap<Key, Ended<P>>,
    order: VecDeque<Key>,
    bytes: u64,
}

impl<P> Default for History<P> {
    fn default() -> Self {
        Self { ended: HashMap::new(), order: VecDeque::new(), bytes: 0 }
    }
}

impl<P: Object> History<P> {
    /// Adds one; those that are forgotten for it.
    pub(crate) fn add(&mut self, key: Key, mut ended: Ended<P>, limits: &Limits) -> Vec<(Key, Ended<P>)> {
        let made_of = ended.made_of.as_ref().map_or(0, |(payload, args)| payload.bytes() + size(args));
        let record = &ended.record;
        let texts = [record.id.len(), record.stdout.len(), record.stderr.len(), record.metadata.0.len()];
        let error =
            record.error.as_ref().map_or(0, |e| e.evalue.len() + e.traceback.iter().map(String::len).sum::<usize>());
        let texts = texts.iter().sum::<usize>() + record.result_metadata.0.len() + error;
        ended.bytes = HEAD + texts as u64 + made_of + size(&ended.result);
        self.bytes += ended.bytes;
        self.ended.insert(key, ended);
        self.order.push_back(key);
        let mut forgotten = Vec::new();
        while self.ended.len() > limits.records || self.bytes > limits.bytes {
            let Some(oldest) = self.order.pop_front() else { break };
            forgotten.extend(self.remove(oldest).map(|ended| (oldest, ended)));
        }
        // Those that were removed from the middle.
        if self.order.len() > 2 * self.ended.len() + 64 {
            self.order.retain(|key| self.ended.contains_key(key));
        }
        forgotten
    }

    pub(crate) fn get(&self, key: Key) -> Option<&Ended<P>> {
        self.ended.get(&key)
    }

    /// Notes that one was submitted again.
    pub(crate) fn resubmitted(&mut self, key: Key, id: &str) {
        if let Some(ended) = self.ended.get_mut(&key) {
            ended.record.resubmitted = Some(id.to_owned());
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<Ended<P>> {
        let ended = self.ended.remove(&key)?;
        self.bytes -= ended.bytes;
        Some(ended)
    }

    /// Lets go of the result of one.
    pub(crate) fn drop_result(&mut self, key: Key) {
        if let Some(ended) = self.ended.get_mut(&key)
            && let Some(result) = ended.result.take()
        {
            ended.record.result_bytes = None;
            ended.bytes -= result.bytes();
            self.bytes -= result.bytes();
        }
    }

    /// Them, the oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Key, &Ended<P>)> {
        self.order.iter().filter_map(|key| Some((*key, self.ended.get(key)?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.ended.len()
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }
}

pub(crate) fn size<P: Object>(object: &Option<P>) -> u64 {
    object.as_ref().map_or(0, Object::bytes)
}
