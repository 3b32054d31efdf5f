//! What is handed out next.

use super::*;

impl Ledger {
    /// Whether events are due.
    pub fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    /// Items that should be there of a job whose items are given as they are wanted.
    pub fn lookahead(&self, id: JobId) -> u64 {
        let workers = self.workers.len() as u32;
        let Some(job) = self.jobs.get(&id) else { return 0 };
        let pace = self.functions.get(&job.spec.function).map(|function| function.pace).unwrap_or_default();
        let chunk = job.spec.chunk.unwrap_or_else(|| pace.chunk(1 << 40, workers).min(1024));
        4 * u64::from(workers) * u64::from(chunk)
    }

    /// Items given and not delivered.
    pub fn outstanding(&self) -> u64 {
        self.outstanding
    }

    /// Whether nothing is to be done: all items of all jobs are delivered, and no more will come.
    pub fn is_idle(&self) -> bool {
        self.outstanding == 0 && self.jobs.values().all(Job::is_done)
    }

    /// Whether something could be handed out.
    pub fn has_waiting(&self) -> bool {
        !self.redo.is_empty() || !self.ready.is_empty()
    }

    /// Whether some job's items have a time limit.
    pub fn has_limits(&self) -> bool {
        self.limited > 0
    }

    /// Whether somebody wants to hear of results at once.
    pub fn is_eager(&self) -> bool {
        self.eager > 0
    }

    /// The next dispatch, with its items appended to `payload` (at most `most` bytes with the function's), unless
    /// `waiting` chunks on the board are enough. `now` is in nanoseconds.
    pub fn hand_out(&mut self, waiting: usize, most: usize, payload: &mut Vec<u8>, now: u64) -> Option<Handout> {
        let workers = self.workers.len() as u32;
        while let Some(redo) = self.redo.pop_front() {
            if !self.jobs.contains_key(&redo.job) {
                continue;
            }
            let Redo { job, items } = redo;
            let count = (items.end - items.start).min(u64::from(MAX_ITEMS)) as u32;
            match self.dispatch(job, items.start, count, most, payload, now) {
                Some(handout) => {
                    let next = items.start + u64::from(handout.count);
                    if next < items.end {
                        self.redo.push_front(Redo { job, items: next..items.end });
                    }
                    return Some(handout);
                }
                None => {
                    // It was too large, and delivered as such, or its function is being made.
                    let next = items.start + 1;
                    if self.wants_function(job) {
                        self.redo.push_front(Redo { job, items });
                        return None;
                    }
                    if next < items.end {
                        self.redo.push_front(Redo { job, items: next..items.end });
                    }
                }
            }
        }
        // A job that cannot go on (its function is being made, its chunk is not full) does not hold up the others.
        for _ in 0..self.ready.len() {
            let id = *self.ready.front()?;
            let Some(job) = self.jobs.get(&id) else {
                self.ready.pop_front();
                continue;
            };
            let there = job.waiting();
            let left = job.items.end() - job.next;
            if left == 0 {
                self.ready.pop_front();
                continue;
            }
            if there == 0 || self.wants_function(id) {
                self.ready.rotate_left(1);
                continue;
            }
            let pace = self.functions.get(&job.spec.function).map(|function| function.pace).unwrap_or_default();
            let count = job.spec.chunk.unwrap_or_else(|| pace.chunk(left, workers)).min(MAX_ITEMS);
            let count = u64::from(count).min(there) as u32;
            if waiting >= pace.ahead(count, workers) {
                return None;
            }
            let first = job.next;
            let handout = self.dispatch(id, first, count, most, payload, now);
            let taken = handout.as_ref().map_or(1, |handout| u64::from(handout.count));
            if let Some(job) = self.jobs.get_mut(&id) {
                job.next = first + taken;
            }
            if handout.is_some() {
                return handout;
            }
        }
        None
    }

    fn wants_function(&self, id: JobId) -> bool {
        self.jobs.get(&id).and_then(|job| self.functions.get(&job.spec.function)).is_some_and(|function| function.asked)
    }

    fn dispatch(
        &mut self,
        id: JobId,
        first: u64,
        count: u32,
        most: usize,
        payload: &mut Vec<u8>,
        now: u64,
    ) -> Option<Handout> {
        let workers = self.workers.len() as u64;
        let job = self.jobs.get(&id)?;
        let function = self.functions.get(&job.spec.function)?;
        if function.asked {
            return None;
        }
        let most = most.saturating_sub(function.bytes.len());
        let taken = job.items.append(first..first + u64::from(count), payload, most);
        if taken == 0 {
            let bytes = job.items.get(first).map_or(0, <[u8]>::len) + 4;
            self.deliver(id, first, Outcome::TooLarge { bytes, most });
            return None;
        }
        let slow = function.pace.item().is_none_or(|nanos| nanos * u64::from(taken) > 1_000_000);
        let last =
            job.spec.total.is_none_or(|total| first + u64::from(taken) + 2 * workers * u64::from(taken) >= total);
        let mut bits = match job.spec.form {
            Form::One => 0,
            Form::Star => flags::STAR,
            Form::Call => flags::CALL,
        };
        if job.spec.each || job.spec.callbacks || slow || last {
            bits |= flags::RING;
        }
        if function.by_value {
            bits |= flags::FUNCTION_BY_VALUE;
        }
        if !function.keeps.0.is_empty() {
            bits |= flags::PASSING;
        }
        if job.spec.retries > 0 {
            bits |= flags::RETRIED;
        }
        if !job.by_value.is_empty() && job.by_value.range(first..first + u64::from(taken)).next().is_some() {
            bits |= flags::ITEMS_BY_VALUE;
        }
        let handout = Handout {
            dispatch: self.last_dispatch + 1,
            function: job.spec.function + u64::from(function.by_value),
            function_bytes: function.bytes.clone(),
            flags: bits,
            count: taken,
        };
        self.last_dispatch += 1;
        let dispatch = Dispatch {
            job: id,
            first,
            count: taken,
            done: 0,
            owner: None,
            published: now,
            bytes: payload.len() as u64,
        };
        self.out.insert(handout.dispatch, dispatch);
        Some(handout)
    }

    /// Takes back a dispatch that could not be published.
    pub fn take_back(&mut self, number: u64) {
        if let Some(dispatch) = self.out.remove(&number) {
            self.redo.push_front(Redo { job: dispatch.job, items: dispatch.rest() });
        }
    }
}
