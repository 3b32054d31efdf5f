//! The ledger: which items of which jobs were handed out in which dispatch, which worker has it, and what became of them.
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

mod hand_out;
mod workers;

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
    /// Jobs that use it and are not done.
    users: u32,
    /// What its bytes refer to. With such things it is forgotten with the last of these jobs.
    keeps: Garbage,
    /// What is kept while jobs use it ([`Ledger::hold_function`]).
    held: Garbage,
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

#[derive(Debug, Default)]
struct Worker {
    ready: bool,
    /// Why this side stopped it, if the item that it is in is to blame.
    stopped: Option<End>,
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
///
/// ```
/// use phalanx_pool::protocol::Kind;
/// use phalanx_pool::{JobSpec, Ledger};
///
/// let mut ledger = Ledger::new(1);
/// ledger.worker_started(0, 1234);
/// let function = ledger.add_function("double", b"its pickle", false, None);
/// let job = ledger.add_job(JobSpec { function, total: Some(1), ..JobSpec::default() });
/// ledger.push_item(job, b"21", []);
///
/// // What goes out to a worker, and what it says of the item.
/// let mut payload = Vec::new();
/// let out = ledger.hand_out(0, 1000, &mut payload, 0).expect("an item waits");
/// ledger.record(0, Kind::Returned, out.dispatch, 0, 1_000, b"42", 0);
///
/// assert!(ledger.is_done(job));
/// let mut arrived = Vec::new();
/// ledger.take_arrived(job, &mut arrived);
/// assert!(matches!(&arrived[..], [(0, outcome)] if outcome.is_ok()));
/// ```
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

    /// Adds a function: its name for people, and its bytes. With `keep`, which is what they refer to, it is forgotten, and
    /// `keep` is garbage, when the last job that uses it is done; without, it stays until [`Ledger::drop_function`].
    pub fn add_function(&mut self, name: &str, bytes: &[u8], by_value: bool, keep: Option<Keep>) -> FunctionId {
        let id = self.number();
        let (name, bytes) = (Arc::from(name), Arc::from(bytes));
        let keeps = Garbage(keep.into_iter().collect());
        let function = Function {
            name,
            bytes,
            by_value,
            asked: false,
            pace: Pace::default(),
            users: 0,
            keeps,
            held: Garbage::default(),
        };
        self.functions.insert(id, function);
        id
    }

    /// The name and the bytes of a function.
    pub fn function(&self, id: FunctionId) -> Option<(&str, Arc<[u8]>)> {
        self.functions.get(&id).map(|function| (&*function.name, function.bytes.clone()))
    }

    /// What a function was added with.
    pub fn function_keep(&self, id: FunctionId) -> Option<&Keep> {
        self.functions.get(&id).and_then(|function| function.keeps.0.first())
    }

    /// Keeps something for a function until no job uses it; nothing when there is such a thing already, or no such job.
    pub fn hold_function(&mut self, id: FunctionId, keep: impl FnOnce() -> Keep) {
        if let Some(function) = self.functions.get_mut(&id)
            && function.users > 0
            && function.held.0.is_empty()
        {
            function.held.0.push(keep());
        }
    }

    /// What [`Ledger::hold_function`] keeps.
    pub fn held_for_function(&self, id: FunctionId) -> Option<&Keep> {
        self.functions.get(&id).and_then(|function| function.held.0.first())
    }

    /// Answers [`Event::WantFunction`]: its bytes by value, or `None` when it cannot be had, and what they refer to, as
    /// for [`Ledger::add_function`]. Dispatches that waited for it go on.
    pub fn set_function(&mut self, id: FunctionId, bytes: Option<&[u8]>, keep: Option<Keep>) {
        let Some(function) = self.functions.get_mut(&id) else {
            self.garbage.0.extend(keep);
            return;
        };
        function.asked = false;
        // Without bytes it stays as it is; the next worker that does not know it then says so as the result.
        function.by_value = true;
        if let Some(bytes) = bytes {
            function.bytes = Arc::from(bytes);
        }
        // What the old bytes refer to stays: they may be on their way.
        function.keeps.0.extend(keep);
        self.drop_if_unused(id);
    }

    /// Forgets a function when no job uses it. Whether it is gone.
    pub fn drop_function(&mut self, id: FunctionId) -> bool {
        if self.functions.get(&id).is_some_and(|function| function.users > 0) {
            return false;
        }
        if let Some(mut function) = self.functions.remove(&id) {
            self.garbage.0.append(&mut function.keeps.0);
        }
        true
    }

    fn drop_if_unused(&mut self, id: FunctionId) {
        if self.functions.get(&id).is_some_and(|function| !function.keeps.0.is_empty()) {
            self.drop_function(id);
        }
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
        let Some(job) = self.jobs.get_mut(&id) else {
            self.garbage.0.extend(keeps);
            return;
        };
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
        let Some(job) = self.jobs.get_mut(&id) else {
            self.garbage.0.extend(keeps);
            return;
        };
        job.held = job.held.saturating_sub(1);
        match bytes {
            Some(bytes) => job.items.replace(index, bytes, keeps),
            None => self.garbage.0.extend(keeps),
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
        // No function has this number: a job uses its function until it is done, once.
        let function = std::mem::take(&mut job.spec.function);
        if let Some(used) = self.functions.get_mut(&function) {
            used.users -= 1;
            if used.users == 0 {
                self.garbage.0.append(&mut used.held.0);
                self.drop_if_unused(function);
            }
        }
        self.remove_if_over(id);
    }

    fn remove_if_over(&mut self, id: JobId) {
        if self.jobs.get(&id).is_some_and(|job| job.forgotten && job.is_done()) {
            self.jobs.remove(&id);
        }
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
