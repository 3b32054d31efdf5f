//! What becomes of what was handed out: records of workers, their ends, their times.

use super::*;

impl Ledger {
    /// A worker was started in a slot.
    pub fn worker_started(&mut self, slot: u32, pid: u32) {
        if let Some(worker) = self.workers.get_mut(slot as usize) {
            // Whether it is ready may have been heard of before this: it is not said again.
            worker.stopped = None;
            worker.stats = WorkerStats { pid, starts: worker.stats.starts + 1, ..worker.stats };
        }
    }

    /// The worker of a slot has claimed a dispatch.
    #[inline]
    pub fn note_claim(&mut self, number: u64, slot: u32) {
        if let Some(dispatch) = self.out.get_mut(&number) {
            dispatch.owner.get_or_insert(slot);
        }
    }

    /// A record of the worker of a slot. `now` is in nanoseconds.
    #[expect(clippy::too_many_arguments, reason = "what a record says, in its order")]
    pub fn record(&mut self, slot: u32, kind: Kind, number: u64, ordinal: u32, nanos: u32, bytes: &[u8], now: u64) {
        let Some(worker) = self.workers.get_mut(slot as usize) else { return };
        match kind {
            Kind::Ready => {
                worker.ready = true;
                (self.raising_starts, self.failed_starts) = (0, 0);
                if self.broken.is_none() {
                    self.discarded.extend(self.raised.take());
                }
                return;
            }
            Kind::InitializerRaised => {
                self.raising_starts += 1;
                // The last one counts; one that has become an outcome stays.
                let bytes = Bytes::from_slice(bytes);
                let surplus = if self.broken.is_none() { self.raised.replace(bytes) } else { Some(bytes) };
                self.discarded.extend(surplus);
                return;
            }
            _ => {}
        }
        let result = matches!(kind, Kind::Returned | Kind::Raised);
        let holds = result || matches!(kind, Kind::FunctionUnknown | Kind::ItemUnknown);
        let Some(dispatch) = self.out.get_mut(&number).filter(|dispatch| dispatch.done == ordinal) else {
            // Late: the item was delivered as timed out, or everything was ended.
            if holds {
                self.discarded.push(Bytes::from_slice(bytes));
            }
            return;
        };
        dispatch.owner = Some(slot);
        let (id, index) = (dispatch.job, dispatch.first + u64::from(ordinal));
        if ordinal == 0 {
            worker.stats.dispatches += 1;
            worker.stats.bytes_in += dispatch.bytes;
            worker.stats.queued += now.saturating_sub(dispatch.published + u64::from(nanos));
        }
        if result {
            worker.stats.items += 1;
            worker.stats.busy += u64::from(nanos);
            worker.stats.bytes_out += bytes.len() as u64;
            if let Some(job) = self.jobs.get(&id)
                && let Some(function) = self.functions.get_mut(&job.spec.function)
            {
                function.pace.add(u64::from(nanos));
            }
        }
        let pid = worker.stats.pid;
        let lost = |end| Lost { pid, end };
        match kind {
            Kind::FunctionUnknown | Kind::ItemUnknown => {
                self.want(number, kind, bytes);
                return;
            }
            Kind::Returned => self.deliver(id, index, Outcome::Returned(Bytes::from_slice(bytes))),
            Kind::Exited => {
                let text = String::from_utf8_lossy(bytes).into_owned();
                self.lose(id, index, lost(End::SystemExit(text)));
            }
            Kind::Interrupted => self.deliver(id, index, Outcome::Lost(lost(End::Interrupted))),
            _ => self.deliver(id, index, Outcome::Raised(Bytes::from_slice(bytes))),
        }
        if let Some(dispatch) = self.out.get_mut(&number) {
            dispatch.done += 1;
            if dispatch.done == dispatch.count {
                self.out.remove(&number);
            }
        }
    }

    /// A worker could not make the function, or the item it is at. The worker does no more of the dispatch when the
    /// function is unknown; of an unknown item it does the rest.
    fn want(&mut self, number: u64, kind: Kind, bytes: &[u8]) {
        let Some(dispatch) = self.out.get_mut(&number) else { return };
        let (id, index) = (dispatch.job, dispatch.first + u64::from(dispatch.done));
        if kind == Kind::ItemUnknown {
            dispatch.done += 1;
            if dispatch.done == dispatch.count {
                self.out.remove(&number);
            }
            let Some(job) = self.jobs.get_mut(&id) else {
                self.discarded.push(Bytes::from_slice(bytes));
                return;
            };
            if job.by_value.insert(index, ()).is_some() {
                self.deliver(id, index, Outcome::Raised(Bytes::from_slice(bytes)));
                return;
            }
            job.held += 1;
            self.discarded.push(Bytes::from_slice(bytes));
            self.events.push_back(Event::WantItem(id, index));
            return;
        }
        let rest = dispatch.rest();
        self.out.remove(&number);
        // It is said again, by then about the function by value, if that does not help.
        self.discarded.push(Bytes::from_slice(bytes));
        let Some(function) = self.jobs.get(&id).map(|job| job.spec.function) else { return };
        if let Some(entry) = self.functions.get_mut(&function)
            && !entry.by_value
            && !entry.asked
        {
            entry.asked = true;
            self.events.push_back(Event::WantFunction(function));
        }
        self.redo.push_front(Redo { job: id, items: rest });
    }

    /// The worker of a slot is dead; all of its records were seen, and all of its claims noted. `current` is the item it
    /// was in.
    pub fn worker_ended(&mut self, slot: u32, current: Option<Current>, end: End) {
        let Some(worker) = self.workers.get_mut(slot as usize) else { return };
        let pid = worker.stats.pid;
        let (was_ready, stopped) = (worker.ready, worker.stopped.take());
        worker.ready = false;
        worker.stats.pid = 0;
        let end = stopped.unwrap_or(end);
        let had: Vec<u64> = self.out.iter().filter(|(_, d)| d.owner == Some(slot)).map(|(number, _)| *number).collect();
        for number in had {
            let Some(mut dispatch) = self.out.remove(&number) else { continue };
            let mut charged = None;
            // An item that took too long was dealt with and is behind `done`. Another one that the worker began when it
            // was stopped for it (rarely: workers look before each item) has begun, and is charged like any other.
            if current.is_some_and(|at| at.dispatch == number && at.ordinal == dispatch.done) {
                charged = Some(dispatch.first + u64::from(dispatch.done));
                dispatch.done += 1;
            }
            let rest = dispatch.rest();
            if !rest.is_empty() {
                self.redo.push_front(Redo { job: dispatch.job, items: rest });
            }
            if let Some(index) = charged {
                self.lose(dispatch.job, index, Lost { pid, end: end.clone() });
            }
        }
        if !was_ready {
            self.failed_starts += 1;
            if self.failed_starts >= FAILED_STARTS || self.raising_starts >= RAISING_STARTS {
                let raised = self.raised.clone().filter(|_| self.raising_starts >= RAISING_STARTS);
                let failures = self.failed_starts;
                let broken = Arc::new(Broken { failures, end: Some(end), raised });
                self.broken = Some(broken.clone());
                self.end_all(&Outcome::Broken(broken));
            }
        }
    }

    /// Whether no worker can start.
    pub fn broken(&self) -> Option<Arc<Broken>> {
        self.broken.clone()
    }

    /// Whether the worker of a slot has said that it is ready.
    pub fn is_ready(&self, slot: u32) -> bool {
        self.workers.get(slot as usize).is_some_and(|worker| worker.ready)
    }

    /// Whether the item that the worker of a slot is in is over time. It is delivered, or tried again; the worker is to
    /// be stopped. `now` is in nanoseconds.
    pub fn check_time(&mut self, slot: u32, current: Current, now: u64) -> Option<Overdue> {
        let dispatch = self.out.get_mut(&current.dispatch)?;
        let limit = self.jobs.get(&dispatch.job)?.spec.timeout?;
        if dispatch.done != current.ordinal || now.saturating_sub(current.since) <= limit {
            return None;
        }
        let worker = self.workers.get_mut(slot as usize)?;
        let pid = worker.stats.pid;
        dispatch.owner = Some(slot);
        let (id, index) = (dispatch.job, dispatch.first + u64::from(dispatch.done));
        dispatch.done += 1;
        if dispatch.done == dispatch.count {
            self.out.remove(&current.dispatch);
        }
        if self.try_again(id, index) {
            self.redo.push_back(Redo { job: id, items: index..index + 1 });
        } else {
            self.deliver(id, index, Outcome::TimedOut { pid, limit });
        }
        Some(Overdue { pid })
    }

    /// The worker of a slot is being stopped, for this reason: an item that it is in is lost so.
    pub fn stopping(&mut self, slot: u32, reason: End) {
        if let Some(worker) = self.workers.get_mut(slot as usize) {
            worker.stopped = Some(reason);
        }
    }

    /// What the workers have done.
    pub fn stats(&self) -> impl Iterator<Item = &WorkerStats> {
        self.workers.iter().map(|worker| &worker.stats)
    }

    /// The next event.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What the initializer raised: the outcomes that say so must not be looked at any more.
    pub fn take_raised(&mut self) -> Option<Bytes> {
        self.raised.take()
    }

    /// Results that nobody will take: what they hold is to be released.
    pub fn take_discarded(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.discarded)
    }

    /// What was kept for items that are done: to be dropped where foreign code may run.
    pub fn take_garbage(&mut self) -> Vec<Keep> {
        std::mem::take(&mut self.garbage.0)
    }
}
