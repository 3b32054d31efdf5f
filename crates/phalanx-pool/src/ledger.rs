//! The ledger: which items of which jobs were handed out in which dispatch, who has it, and what became of them.
//!
//! ```text
//! job ──items──> waiting ──dispatch──> out (a prefix of it done) ──last item──> gone
//!                   ^                     |
//!                   └───── redo <─────────┘   the worker ended, or asked for other bytes
//! ```
//!
//! A worker does the items of a dispatch in order and reports each, so that one number, `done`, says which of them are
//! over: what is reported twice, or late, does not match it and is ignored. Ranges of dispatches never overlap. From
//! these two follows that each item is delivered once.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::Range;
use std::sync::Arc;

use phalanx_shm::board::{Current, MAX_ITEMS};

use crate::items::Items;
use crate::job::{Broken, Bytes, End, Form, FunctionId, JobId, JobSpec, Keep, Lost, Outcome};
use crate::protocol::{Kind, flags};
use crate::stats::WorkerStats;
use crate::tuning::Pace;

/// So many workers in a row whose initializer raises, and the pool gives up.
const RAISING_STARTS: u32 = 3;
/// So many workers in a row that end before they are ready.
const FAILED_STARTS: u32 = 10;

/// Hashes the numbers of dispatches: they are consecutive.
#[derive(Clone, Copy, Debug, Default)]
struct Spread(u64);

impl Hasher for Spread {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(26);
    }
}

type Numbered<T> = HashMap<u64, T, BuildHasherDefault<Spread>>;

/// What a supervisor's user hears of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A job that asked for it is done.
    Done(JobId),
    /// The function is wanted by value ([`Ledger::set_function`]).
    WantFunction(FunctionId),
    /// An item is wanted by value ([`Ledger::replace_item`]).
    WantItem(JobId, u64),
}

#[derive(Debug)]
struct Function {
    name: Arc<str>,
    bytes: Arc<[u8]>,
    by_value: bool,
    /// Whether it cannot be had by value, or is being made.
    asked: bool,
    pace: Pace,
    /// Jobs that use it.
    users: u32,
}

#[derive(Debug)]
struct Job {
    spec: JobSpec,
    items: Items,
    /// First item that was never handed out.
    next: u64,
    delivered: u64,
    arrived: Vec<(u64, Outcome)>,
    /// How often each item was lost.
    tries: BTreeMap<u64, u32>,
    /// Items that wait for other bytes.
    held: u32,
    /// Whether nobody wants the results.
    forgotten: bool,
    cancelled: bool,
    by_value: BTreeMap<u64, ()>,
}

impl Job {
    fn is_done(&self) -> bool {
        self.spec.total == Some(self.delivered)
    }

    /// Items that could be handed out now.
    fn waiting(&self) -> u64 {
        let there = self.items.end() - self.next;
        match self.spec.chunk {
            // A full chunk, unless no more items come.
            Some(chunk) if self.spec.total.is_none() && there < u64::from(chunk) => 0,
            _ => there,
        }
    }
}

#[derive(Debug)]
struct Dispatch {
    job: JobId,
    first: u64,
    count: u32,
    done: u32,
    owner: Option<u32>,
    published: u64,
    bytes: u64,
}

impl Dispatch {
    fn rest(&self) -> Range<u64> {
        self.first + u64::from(self.done)..self.first + u64::from(self.count)
    }
}

/// Items that are to be handed out again, before all others.
#[derive(Debug)]
struct Redo {
    job: JobId,
    items: Range<u64>,
}

/// Why a worker was stopped.
#[derive(Debug)]
enum Stopped {
    /// An item took too long, which was dealt with: what the worker is in now is not to blame.
    Late,
    /// For something that the item it is in is to blame for.
    For(End),
}

#[derive(Debug, Default)]
struct Worker {
    ready: bool,
    /// Why this side stopped it.
    stopped: Option<Stopped>,
    stats: WorkerStats,
}

/// A dispatch that is to be published.
#[derive(Clone, Debug)]
pub struct Handout {
    /// Its number.
    pub dispatch: u64,
    /// The function's number on the board: it changes when the function's bytes do.
    pub function: u64,
    /// The function.
    pub function_bytes: Arc<[u8]>,
    /// See [`crate::protocol::flags`].
    pub flags: u32,
    /// How many items.
    pub count: u32,
}

/// What to do about a worker that is over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overdue {
    /// The process.
    pub pid: u32,
}

/// See the [module](self).
#[derive(Debug)]
pub struct Ledger {
    functions: Numbered<Function>,
    jobs: Numbered<Job>,
    /// Jobs with items to hand out, oldest first.
    ready: VecDeque<JobId>,
    redo: VecDeque<Redo>,
    out: Numbered<Dispatch>,
    workers: Vec<Worker>,
    events: VecDeque<Event>,
    /// Results that nobody will take.
    discarded: Vec<Bytes>,
    last_number: u64,
    last_dispatch: u64,
    /// Items given and not delivered.
    outstanding: u64,
    raising_starts: u32,
    failed_starts: u32,
    broken: Option<Arc<Broken>>,
    /// Set by [`Ledger::end_all`]: what becomes of everything from then on.
    ended: Option<Outcome>,
    /// The last exception of the initializer.
    raised: Option<Bytes>,
    /// Jobs with a time limit.
    limited: u32,
    /// Unfinished jobs somebody waits for each item of, or is called back for.
    eager: u32,
    /// What was kept for items that are done.
    garbage: Garbage,
}

/// Things that only wait to be dropped.
#[derive(Default)]
struct Garbage(Vec<Keep>);

impl std::fmt::Debug for Garbage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Garbage({})", self.0.len())
    }
}

impl Ledger {
    /// An empty ledger for so many slots.
    pub fn new(workers: u32) -> Ledger {
        Ledger {
            functions: Numbered::default(),
            jobs: Numbered::default(),
            ready: VecDeque::new(),
            redo: VecDeque::new(),
            out: Numbered::default(),
            workers: (0..workers).map(|_| Worker::default()).collect(),
            events: VecDeque::new(),
            discarded: Vec::new(),
            last_number: 0,
            last_dispatch: 0,
            outstanding: 0,
            raising_starts: 0,
            failed_starts: 0,
            broken: None,
            ended: None,
            raised: None,
            limited: 0,
            eager: 0,
            garbage: Garbage::default(),
        }
    }

    fn number(&mut self) -> u64 {
        // Steps of two: a function's second number, by value, is one more than its first.
        self.last_number += 2;
        self.last_number
    }

    // Functions

    /// Adds a function: its name for people, and its bytes.
    pub fn add_function(&mut self, name: &str, bytes: &[u8], by_value: bool) -> FunctionId {
        let id = self.number();
        let (name, bytes) = (Arc::from(name), Arc::from(bytes));
        let function = Function { name, bytes, by_value, asked: false, pace: Pace::default(), users: 0 };
        self.functions.insert(id, function);
        id
    }

    /// The name and the bytes of a function.
    pub fn function(&self, id: FunctionId) -> Option<(&str, Arc<[u8]>)> {
        self.functions.get(&id).map(|function| (&*function.name, function.bytes.clone()))
    }

    /// Answers [`Event::WantFunction`]: its bytes by value, or `None` when it cannot be had. Dispatches that waited for
    /// it go on.
    pub fn set_function(&mut self, id: FunctionId, bytes: Option<&[u8]>) {
        if let Some(function) = self.functions.get_mut(&id) {
            function.asked = false;
            // Without bytes it stays as it is; the next worker that does not know it then says so as the result.
            function.by_value = true;
            if let Some(bytes) = bytes {
                function.bytes = Arc::from(bytes);
            }
        }
    }

    /// Forgets a function when no job uses it. Whether it is gone.
    pub fn drop_function(&mut self, id: FunctionId) -> bool {
        if self.functions.get(&id).is_some_and(|function| function.users == 0) {
            self.functions.remove(&id);
            return true;
        }
        false
    }

    // Jobs

    /// Adds a job; its items come by [`Ledger::push_item`].
    pub fn add_job(&mut self, spec: JobSpec) -> JobId {
        let id = self.number();
        if let Some(function) = self.functions.get_mut(&spec.function) {
            function.users += 1;
        }
        self.limited += u32::from(spec.timeout.is_some());
        self.eager += u32::from(spec.each || spec.callbacks);
        let spec = JobSpec { chunk: spec.chunk.map(|chunk| chunk.clamp(1, MAX_ITEMS)), ..spec };
        let job = Job {
            spec,
            items: Items::default(),
            next: 0,
            delivered: 0,
            arrived: Vec::new(),
            tries: BTreeMap::new(),
            held: 0,
            forgotten: false,
            cancelled: false,
            by_value: BTreeMap::new(),
        };
        self.jobs.insert(id, job);
        self.finish_if_done(id);
        id
    }

    /// Adds the next item of a job.
    pub fn push_item(&mut self, id: JobId, item: &[u8], keeps: impl IntoIterator<Item = Keep>) {
        let ended = self.ended.clone();
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let index = job.items.end();
        job.items.push(item, keeps);
        self.outstanding += 1;
        let ended = ended.or_else(|| job.cancelled.then_some(Outcome::Cancelled));
        if let Some(outcome) = ended {
            job.next = index + 1;
            self.deliver(id, index, outcome);
        } else if job.next == index {
            self.ready.push_back(id);
        }
    }

    /// The next item of a job cannot be sent: it is done at once, as [`Outcome::Unsent`].
    pub fn push_unsent(&mut self, id: JobId) {
        self.push_item(id, &[], []);
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let index = job.items.end() - 1;
        if job.next > index {
            return;
        }
        // What was there before it is handed out without it.
        if job.next < index {
            self.redo.push_back(Redo { job: id, items: job.next..index });
        }
        job.next = index + 1;
        self.deliver(id, index, Outcome::Unsent);
    }

    /// Whether a job wants no more items: it was cancelled, or everything was ended.
    pub fn is_closed(&self, id: JobId) -> bool {
        self.ended.is_some() || self.jobs.get(&id).is_none_or(|job| job.cancelled)
    }

    /// Says how many items a job has, when its last one was pushed.
    pub fn set_total(&mut self, id: JobId, total: u64) {
        if let Some(job) = self.jobs.get_mut(&id)
            && job.spec.total.is_none()
        {
            job.spec.total = Some(total.max(job.items.end()));
            self.finish_if_done(id);
        }
    }

    /// Answers [`Event::WantItem`]: the item by value, or `None` when it cannot be had so.
    pub fn replace_item(&mut self, id: JobId, index: u64, bytes: Option<Vec<u8>>, keeps: Vec<Keep>) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.held = job.held.saturating_sub(1);
        if let Some(bytes) = bytes {
            job.items.replace(index, bytes, keeps);
        }
        if let Some(ended) = self.ended.clone() {
            return self.deliver(id, index, ended);
        }
        self.redo.push_front(Redo { job: id, items: index..index + 1 });
    }

    /// The bytes of an item that is not done.
    pub fn item(&self, id: JobId, index: u64) -> Option<&[u8]> {
        self.jobs.get(&id)?.items.get(index)
    }

    /// Takes the outcomes that have arrived since the last call.
    pub fn take_arrived(&mut self, id: JobId, into: &mut Vec<(u64, Outcome)>) {
        if let Some(job) = self.jobs.get_mut(&id) {
            into.append(&mut job.arrived);
        }
    }

    /// How many outcomes have arrived since they were last taken.
    pub fn arrived(&self, id: JobId) -> usize {
        self.jobs.get(&id).map_or(0, |job| job.arrived.len())
    }

    /// Whether all items of a job are done.
    pub fn is_done(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_none_or(Job::is_done)
    }

    /// Items done, and items in all when that is known.
    pub fn progress(&self, id: JobId) -> Option<(u64, Option<u64>)> {
        self.jobs.get(&id).map(|job| (job.delivered, job.spec.total))
    }

    /// Whether a worker has items of this job that are not done.
    pub fn is_running(&self, id: JobId) -> bool {
        self.out.values().any(|dispatch| dispatch.job == id && dispatch.owner.is_some())
    }

    /// No more items of this job will come than were given.
    pub fn give_up(&mut self, id: JobId) {
        self.set_total(id, 0);
    }

    /// Nobody asks for this job's results any more. What is not done of it is done nevertheless.
    pub fn forget(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.forgotten = true;
            let arrived = std::mem::take(&mut job.arrived);
            for (_, outcome) in arrived {
                self.discard(outcome);
            }
            self.remove_if_over(id);
        }
    }

    /// Delivers [`Outcome::Cancelled`] for the items of a job that were not handed out, and for those of dispatches that
    /// `withdraw` takes back. Whether anything was cancelled.
    pub fn cancel(&mut self, id: JobId, mut withdraw: impl FnMut(u64) -> bool) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        job.cancelled = true;
        let mut gone: Vec<u64> = (job.next..job.items.end()).collect();
        job.next = job.items.end();
        self.redo.retain(|redo| {
            if redo.job == id {
                gone.extend(redo.items.clone());
            }
            redo.job != id
        });
        let out: Vec<u64> =
            self.out.iter().filter(|(_, d)| d.job == id && d.owner.is_none()).map(|(n, _)| *n).collect();
        for number in out {
            if withdraw(number)
                && let Some(dispatch) = self.out.remove(&number)
            {
                gone.extend(dispatch.rest());
            }
        }
        gone.iter().for_each(|index| self.deliver(id, *index, Outcome::Cancelled));
        self.set_total(id, 0);
        !gone.is_empty()
    }

    /// Delivers `outcome` for every item of every job that is not done; dispatches are over.
    pub fn end_all(&mut self, outcome: &Outcome) {
        self.ended.get_or_insert_with(|| outcome.clone());
        let mut gone: Vec<(JobId, Range<u64>)> = Vec::new();
        gone.extend(self.redo.drain(..).map(|redo| (redo.job, redo.items)));
        gone.extend(self.out.drain().map(|(_, dispatch)| (dispatch.job, dispatch.rest())));
        let ids: Vec<JobId> = self.jobs.keys().copied().collect();
        for (id, job) in &mut self.jobs {
            gone.push((*id, job.next..job.items.end()));
            job.next = job.items.end();
        }
        self.ready.clear();
        for (id, items) in gone {
            items.for_each(|index| self.deliver(id, index, outcome.clone()));
        }
        // Items that wait for other bytes are in no list.
        let held: Vec<(JobId, u64)> = self.events.iter().filter_map(Event::item).collect();
        self.events.retain(|event| event.item().is_none());
        held.into_iter().for_each(|(id, index)| {
            if let Some(job) = self.jobs.get_mut(&id) {
                job.held = job.held.saturating_sub(1);
            }
            self.deliver(id, index, outcome.clone());
        });
        // Nobody will say how many there are of those that were still being given.
        ids.into_iter().for_each(|id| self.set_total(id, 0));
    }

    // Handing out

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

    // Workers

    /// A worker was started in a slot.
    pub fn worker_started(&mut self, slot: u32, pid: u32) {
        if let Some(worker) = self.workers.get_mut(slot as usize) {
            let stats = WorkerStats { pid, starts: worker.stats.starts + 1, ..worker.stats };
            *worker = Worker { ready: false, stopped: None, stats };
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
                return;
            }
            Kind::InitializerRaised => {
                self.raising_starts += 1;
                self.raised = Some(Bytes::from_slice(bytes));
                return;
            }
            _ => {}
        }
        let result = matches!(kind, Kind::Returned | Kind::Raised);
        let Some(dispatch) = self.out.get_mut(&number).filter(|dispatch| dispatch.done == ordinal) else {
            // Late: the item was delivered as timed out, or everything was ended.
            if result {
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
            let Some(job) = self.jobs.get_mut(&id) else { return };
            if job.by_value.insert(index, ()).is_some() {
                self.deliver(id, index, Outcome::Raised(Bytes::from_slice(bytes)));
                return;
            }
            job.held += 1;
            self.events.push_back(Event::WantItem(id, index));
            return;
        }
        let rest = dispatch.rest();
        self.out.remove(&number);
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
        let (current, end) = match stopped {
            Some(Stopped::Late) => (None, end),
            Some(Stopped::For(reason)) => (current, reason),
            None => (current, end),
        };
        let had: Vec<u64> = self.out.iter().filter(|(_, d)| d.owner == Some(slot)).map(|(number, _)| *number).collect();
        for number in had {
            let Some(mut dispatch) = self.out.remove(&number) else { continue };
            let mut charged = None;
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
        worker.stopped = Some(Stopped::Late);
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
            worker.stopped = Some(Stopped::For(reason));
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

    /// Results that nobody will take: what they hold is to be released.
    pub fn take_discarded(&mut self) -> Vec<Bytes> {
        std::mem::take(&mut self.discarded)
    }

    /// What was kept for items that are done: to be dropped where foreign code may run.
    pub fn take_garbage(&mut self) -> Vec<Keep> {
        std::mem::take(&mut self.garbage.0)
    }

    // Delivery

    /// Whether an item may be tried once more; counts it.
    fn try_again(&mut self, id: JobId, index: u64) -> bool {
        let Some(job) = self.jobs.get_mut(&id) else { return false };
        if job.spec.retries == 0 || job.cancelled {
            return false;
        }
        let tries = job.tries.entry(index).or_insert(0);
        *tries += 1;
        *tries <= job.spec.retries
    }

    fn lose(&mut self, id: JobId, index: u64, lost: Lost) {
        if self.try_again(id, index) {
            // Behind what its worker left undone: that has waited longer.
            self.redo.push_back(Redo { job: id, items: index..index + 1 });
        } else {
            self.deliver(id, index, Outcome::Lost(lost));
        }
    }

    fn deliver(&mut self, id: JobId, index: u64, outcome: Outcome) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.items.done(index);
        job.items.take_garbage(&mut self.garbage.0);
        job.delivered += 1;
        self.outstanding -= 1;
        if job.forgotten {
            self.discard(outcome);
        } else {
            job.arrived.push((index, outcome));
        }
        self.finish_if_done(id);
    }

    fn discard(&mut self, outcome: Outcome) {
        if let Outcome::Returned(bytes) | Outcome::Raised(bytes) = outcome {
            self.discarded.push(bytes);
        }
    }

    fn finish_if_done(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if !job.is_done() {
            return;
        }
        job.items.clear();
        job.items.take_garbage(&mut self.garbage.0);
        if job.spec.callbacks {
            self.events.push_back(Event::Done(id));
        }
        self.limited -= u32::from(job.spec.timeout.take().is_some());
        self.eager -= u32::from(std::mem::take(&mut job.spec.each) || job.spec.callbacks);
        job.spec.callbacks = false;
        self.remove_if_over(id);
    }

    fn remove_if_over(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.forgotten && job.is_done()) else { return };
        if let Some(function) = self.functions.get_mut(&job.spec.function) {
            function.users -= 1;
        }
        self.jobs.remove(&id);
    }
}

impl Event {
    fn item(&self) -> Option<(JobId, u64)> {
        match self {
            Event::WantItem(job, index) => Some((*job, *index)),
            _ => None,
        }
    }
}
