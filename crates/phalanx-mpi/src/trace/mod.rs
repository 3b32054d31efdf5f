//! `--trace`: each call of this process, with its place and what it is about, written into a log that the launcher has made.
//!
//! A call comes here before its body, where [`entry`](crate::entry) looks at what may be called at all, and once more behind it.
//! Where it is made, a Python program says by its code object and instruction ([`extras`]), which are looked up by number once; a
//! program in C by an address on its stack.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use phalanx_engine::Engine;
use phalanx_engine::engine::{Frame, TraceEvent, Traced, Tracer};
use phalanx_shm::log::{Clock, Part};
use phalanx_shm::{Log, ProcId, inherit};
use phalanx_trace::record::{self, About, Event, FORMS, Form, Half, Object};
use phalanx_trace::{Place, number};

use crate::entry::ErrorObject;
use crate::extras::{self, Spot};
use crate::handle::RawType;
use crate::place;
use crate::{comm, datatype, io, win};

const _: () = assert!(phalanx_shm::log::GRANULE == record::GRANULE);

/// The descriptor of the log, set by the launcher.
const LOG: &str = "PHALANX_TRACE_FD";

/// Places that a thread finds without asking others.
const NEAR: usize = 64;
/// Objects whose names a thread knows to have been told.
const TOLD: usize = 8;
/// Places that are looked up: a program that makes its code anew all the time has no more.
const PLACES: usize = 1 << 16;
/// Frames that may belong to the package before one that does not.
const DEPTH: usize = 32;

/// In the number of a message's record: it stands in that of its call.
const OF_CALL: u32 = 1 << 31;

/// A place that belongs to no program.
const NOWHERE: u32 = 0;

static RECORDER: OnceLock<Arc<Recorder>> = OnceLock::new();

/// Changes when an object may be called otherwise than before.
static NAMES: AtomicU32 = AtomicU32::new(1);

/// What a call is about, as C passes it.
pub(crate) struct Arguments {
    pub(crate) object: ErrorObject,
    pub(crate) peer: Option<c_int>,
    pub(crate) tag: Option<c_int>,
    pub(crate) count: Option<i64>,
    /// What is counted; bytes, where there is no type.
    pub(crate) ty: Option<RawType>,
}

pub(crate) struct Recorder {
    log: Log,
    /// In a forked child, nothing is written.
    forks: u32,
    /// There was no room for a message: no more are recorded.
    ends_messages: AtomicBool,
    /// Messages so far. Changed under the engine's lock alone.
    messages: AtomicU32,
    threads: AtomicU32,
    /// Forms of calls so far.
    forms: AtomicU32,
    places: Mutex<HashMap<Spot, u32>>,
    names: Mutex<HashMap<Object, String>>,
}

/// What a thread is in.
struct Here {
    /// Its number; `u32::MAX` before the first call.
    thread: Cell<u32>,
    /// The record of the call.
    call: Cell<u32>,
    waited: Cell<u64>,
    /// The call whose message may stand in its record; 0 for none. Which of the places it was made at, and with how many bytes.
    lone: Cell<u32>,
    at: Cell<usize>,
    bytes: Cell<u64>,
    /// Its part of the log.
    part: Cell<Part>,
    /// The last one is for calls whose place is not known.
    near: [Near; NEAR + 1],
    told: [Cell<(Option<Object>, u32)>; TOLD],
}

/// What is no message.
const NOTHING: About = [u64::MAX; 2];

/// A place, and the call that was made there last. (Each word is a cell of its own: what is stored by words and loaded in larger pieces at
/// once has to wait.)
struct Near {
    spot: [Cell<usize>; 2],
    place: Cell<u32>,
    /// The number of that call's form.
    form: Cell<u32>,
    /// What it was made with: see [`key`].
    key: [Cell<u64>; 4],
    about: [Cell<u64>; 2],
    /// Bytes of what was counted; 0 where that may change.
    size: Cell<u64>,
    /// The first words of its form.
    head: [Cell<u64>; 2],
    /// The form that it got from the last message that it took, and what that is about. 0: none yet.
    taken: Cell<u32>,
    taken_about: [Cell<u64>; 2],
}

impl Near {
    /// No place.
    const fn new() -> Near {
        Near {
            spot: [const { Cell::new(0) }; 2],
            place: Cell::new(NOWHERE),
            form: Cell::new(0),
            key: [const { Cell::new(0) }; 4],
            about: [const { Cell::new(0) }; 2],
            size: Cell::new(0),
            head: [const { Cell::new(0) }; 2],
            taken: Cell::new(0),
            taken_about: [const { Cell::new(0) }; 2],
        }
    }

    /// (Word by word: the spot has just been stored so, and a load of both would wait for it.)
    #[inline]
    fn is_at(&self, spot: Spot) -> bool {
        (self.spot[0].get() ^ spot[0]) | (self.spot[1].get() ^ spot[1]) == 0
    }

    #[inline]
    fn is_for(&self, key: &[u64; 4]) -> bool {
        self.key.iter().zip(key).all(|(own, key)| own.get() == *key)
    }

    fn set_key(&self, key: [u64; 4]) {
        self.key.iter().zip(key).for_each(|(own, key)| own.set(key));
    }
}

thread_local! {
    static HERE: Here = const {
        Here {
            thread: Cell::new(u32::MAX),
            call: Cell::new(0),
            waited: Cell::new(0),
            lone: Cell::new(0),
            at: Cell::new(NEAR),
            bytes: Cell::new(0),
            part: Cell::new(Part::NONE),
            near: [const { Near::new() }; NEAR + 1],
            told: [const { Cell::new((None, 0)) }; TOLD],
        }
    };
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins to record, if the launcher has asked for it.
pub(crate) fn begin(engine: &Engine) {
    let descriptor = || std::env::var(LOG).ok()?.parse::<i32>().ok();
    let Some(number) = descriptor() else { return };
    let Ok(own) = inherit::duplicate(number) else { return };
    // A child of a rank has inherited the number, and the log is the rank's.
    let Some(log) = Log::attach(own) else { return };
    inherit::close_original(number, log.fd());
    let recorder = Arc::new(Recorder {
        log,
        forks: phalanx_shm::fork::generation(),
        ends_messages: AtomicBool::new(false),
        messages: AtomicU32::new(0),
        threads: AtomicU32::new(0),
        forms: AtomicU32::new(0),
        places: Mutex::default(),
        names: Mutex::default(),
    });
    if RECORDER.set(recorder.clone()).is_ok() {
        engine.trace(recorder);
    }
}

/// Whether calls are recorded.
pub(crate) fn is_on() -> bool {
    RECORDER.get().is_some()
}

/// MPI has been initialized by a call that began so long ago.
pub(crate) fn initialized(name: &'static str, began: Began) {
    if let Some(recorder) = RECORDER.get() {
        let at = if recorder.log.clock() == Clock::Counter { began.1 } else { began.0 };
        let _ = HERE.try_with(|here| {
            let form = Form { function: number(name), thread: recorder.thread(here), ..Form::default() };
            let (form, _) = recorder.write_form(here, |number| record::form(&form, number));
            recorder.ends(recorder.begins(here, form, at, 0), 0);
        });
    }
}

/// The time by both clocks, of which a log may have one; of a rank that is traced.
pub(crate) struct Began(u64, u64);

/// The time, for [`initialized`].
pub(crate) fn time() -> Began {
    // Only the launcher knows whether programs may read the counter.
    if std::env::var_os(LOG).is_none() { Began(0, 0) } else { Began(Clock::Monotonic.now(), Clock::Counter.now()) }
}

/// An object may be called otherwise than before.
pub(crate) fn renamed() {
    NAMES.fetch_add(1, Ordering::Relaxed);
}

/// A call that is recorded, on its thread.
pub(crate) struct Call {
    recorder: &'static Recorder,
    /// Its record.
    at: u32,
    /// The call that it was made within, and how long that has waited.
    outer: u32,
    waited: u64,
}

/// A call of a function begins. Nothing of one that is not recorded.
#[inline]
pub(crate) fn begins(function: u16, arguments: impl FnOnce() -> Arguments) -> Option<Call> {
    let recorder = RECORDER.get().filter(|_| function != 0)?;
    if recorder.forks != phalanx_shm::fork::generation() {
        return None;
    }
    // A thread that is past its end has no place to keep what it is in.
    let call = HERE.try_with(|here| {
        let at = recorder.enter(here, function, &arguments());
        Call { recorder, at, outer: here.call.replace(at), waited: here.waited.replace(0) }
    });
    call.ok()
}

impl Call {
    /// It returns.
    pub(crate) fn ends(self) {
        let Call { recorder, at, outer, waited } = self;
        let _ = HERE.try_with(|here| {
            recorder.ends(at, here.waited.replace(waited));
            here.call.set(outer);
        });
    }
}

/// What a call is made with, but for its place and how much it moves: where it is the same, so is what the call is about, as long as
/// no object has been made or given a name.
#[inline]
fn key(function: u16, arguments: &Arguments, names: u32) -> [u64; 4] {
    let (kind, raw) = match arguments.object {
        ErrorObject::None => (1, 0),
        ErrorObject::Comm(raw) => (2, raw.0),
        ErrorObject::Win(raw) => (3, raw.0),
        ErrorObject::File(raw) => (4, raw.0),
        ErrorObject::Session(raw) => (5, raw.0),
    };
    let known = u64::from(arguments.peer.is_some())
        | u64::from(arguments.tag.is_some()) << 1
        | u64::from(arguments.count.is_some()) << 2;
    let number = |of: Option<c_int>| u64::from(of.unwrap_or(0) as u32);
    [
        u64::from(names) | u64::from(function) << 32 | kind << 48 | known << 56,
        raw as u64,
        number(arguments.peer) | number(arguments.tag) << 32,
        arguments.ty.map_or(0, |ty| ty.0) as u64,
    ]
}

impl Recorder {
    fn thread(&self, here: &Here) -> u32 {
        if here.thread.get() == u32::MAX {
            here.thread.set(self.threads.fetch_add(1, Ordering::Relaxed));
        }
        here.thread.get()
    }

    /// A call begins. Its record; 0 where there is no room for it.
    #[inline]
    fn enter(&self, here: &Here, function: u16, arguments: &Arguments) -> u32 {
        let place = self.place(here, function);
        let near = &here.near[place];
        let key = key(function, arguments, NAMES.load(Ordering::Relaxed));
        if !near.is_for(&key) {
            self.look_at(here, function, arguments, near, key);
        }
        let size = match (near.size.get(), arguments.ty) {
            (0, Some(ty)) => size_now(ty),
            (size, _) => size,
        };
        let count = arguments.count.and_then(|count| u64::try_from(count).ok()).unwrap_or(0);
        let bytes = count.saturating_mul(size);
        // The time comes last: what has been looked at until now is no part of the call.
        let at = self.begins(here, near.form.get(), self.log.clock().now(), bytes);
        here.lone.set(at);
        here.at.set(place);
        here.bytes.set(bytes);
        at
    }

    /// Finds out what a call has in common with the next one in its place.
    #[cold]
    fn look_at(&self, here: &Here, function: u16, arguments: &Arguments, near: &Near, key: [u64; 4]) {
        let (object, peer) = self.object(here, arguments);
        let place = near.place.get();
        let form = Form {
            function,
            thread: self.thread(here),
            place: (place != NOWHERE).then_some(place),
            object,
            peer: peer.map(|peer| peer.0),
            tag: arguments.tag,
            has_bytes: arguments.count.is_some(),
        };
        let (form, record) = self.write_form(here, |number| record::form(&form, number));
        let about = if form == 0 { NOTHING } else { record::about(&record) };
        let size = match arguments.ty {
            Some(ty) => datatype::predefined_size(ty).map_or(0, |size| size as u64),
            // Bytes are counted.
            None => 1,
        };
        near.form.set(form);
        near.about.iter().zip(about).for_each(|(own, about)| own.set(about));
        near.head.iter().zip(record).for_each(|(own, word)| own.set(word));
        near.taken.set(0);
        near.size.set(size);
        // Without room for its form, the next call tries again.
        near.set_key(if form == 0 { [0; 4] } else { key });
    }

    /// Writes a form: its number, or 0; and its record.
    fn write_form(
        &self,
        here: &Here,
        form: impl FnOnce(u32) -> [u64; record::GRANULE],
    ) -> (u32, [u64; record::GRANULE]) {
        let number = self.forms.fetch_add(1, Ordering::Relaxed).saturating_add(1);
        let record = form(number);
        let at = self.log.take(&here.part, 1).filter(|_| number < FORMS);
        (at.inspect(|at| self.log.write(*at, record)).map_or(0, |_| number), record)
    }

    /// Tells of a message in the record of the call that waits for it, if that is all there is to tell.
    #[inline]
    fn tell_with_call(&self, here: &Here, half: &Half) -> bool {
        let (near, bytes) = (&here.near[here.at.get()], here.bytes.get());
        let about = near.about.each_ref().map(Cell::get);
        if let Some(word) = record::with_message(self.log.get(half.call, 0), &about, bytes, half) {
            self.log.set(half.call, 0, word);
            return true;
        }
        self.tell_what_was_taken(here, near, half)
    }

    /// As [`Recorder::tell_with_call`], for a receive that has asked for less than its message is.
    #[inline(never)]
    fn tell_what_was_taken(&self, here: &Here, near: &Near, half: &Half) -> bool {
        if !record::takes(&near.about.each_ref().map(Cell::get), here.bytes.get(), half) {
            return false;
        }
        let about = record::about_message(half);
        if near.taken.get() == 0 || near.taken_about.each_ref().map(Cell::get) != about {
            self.take_form(here, near, about);
        }
        let form = near.taken.get();
        if form != 0 {
            let [word, bytes] = record::taken(form, half);
            self.log.set(half.call, record::BYTES, bytes);
            self.log.set(half.call, 0, word);
        }
        form != 0
    }

    /// Writes the form of a call in that place that has taken a message.
    #[cold]
    fn take_form(&self, here: &Here, near: &Near, about: About) {
        let head = near.head.each_ref().map(Cell::get);
        near.taken.set(self.write_form(here, |number| record::form_taken(head, &about, number)).0);
        near.taken_about.iter().zip(about).for_each(|(own, about)| own.set(about));
    }

    /// The record of a call that begins at that time; 0 where there is no room for it.
    #[inline]
    fn begins(&self, here: &Here, form: u32, now: u64, bytes: u64) -> u32 {
        let (call, is_long) = record::call(form, now, bytes);
        let Some(at) = self.log.take(&here.part, 1 + u32::from(is_long)).filter(|_| form != 0) else {
            self.log.lose();
            return 0;
        };
        if is_long {
            self.log.write(at + 1, record::bytes_of_call(bytes));
        }
        self.log.write(at, call);
        at
    }

    #[inline]
    fn ends(&self, at: u32, waited: u64) {
        if at != 0 {
            let behind = record::waited(self.log.get(at, record::BYTES), waited);
            self.log.set_both(at, record::ENDED, [self.log.clock().now(), behind]);
        }
    }

    fn write(&self, record: &[u64]) -> bool {
        let granules = u32::try_from(record.len() / record::GRANULE).unwrap_or(u32::MAX);
        let at = self.log.take_apart(granules);
        at.inspect(|at| self.log.write_all(*at, record)).is_some()
    }

    /// What a call is about, and the process of the other rank.
    fn object(&self, here: &Here, arguments: &Arguments) -> (Option<Object>, Option<ProcId>) {
        let peer = arguments.peer.and_then(|peer| usize::try_from(peer).ok());
        match arguments.object {
            ErrorObject::Comm(raw) => {
                let Ok(found) = comm::find(raw) else { return (None, None) };
                let object = Object::Comm(found.comm.ctx());
                self.tell(here, object, || match found.comm.name() {
                    name if name.is_empty() => found.comm.title(),
                    name => name,
                });
                (Some(object), peer.and_then(|peer| found.comm.peers().get(peer)))
            }
            ErrorObject::Win(raw) => {
                let Some(found) = win::find(raw) else { return (None, None) };
                let object = Object::Win(raw.0 as u32);
                self.tell(here, object, || found.title());
                (Some(object), peer.and_then(|peer| found.member(peer)))
            }
            ErrorObject::File(raw) => {
                let Ok(found) = io::find(raw) else { return (None, None) };
                let object = Object::File(raw.0 as u32);
                self.tell(here, object, || found.title());
                (Some(object), None)
            }
            ErrorObject::None | ErrorObject::Session(_) => (None, None),
        }
    }

    /// Says how an object is called, unless that has been said.
    fn tell(&self, here: &Here, object: Object, name: impl FnOnce() -> String) {
        let (number, names) = (object.number() as usize >> 2, NAMES.load(Ordering::Relaxed));
        let told = &here.told[number % TOLD];
        if told.get() == (Some(object), names) {
            return;
        }
        let name = name();
        let mut all = locked(&self.names);
        if all.get(&object) == Some(&name) || self.write(&record::name(object, &name, self.log.clock().now())) {
            all.insert(object, name);
            told.set((Some(object), names));
        }
    }

    /// Which of the places that this thread knows calls.
    #[inline]
    fn place(&self, here: &Here, function: u16) -> usize {
        let (mut cursor, mut spot) = (0, [0; 2]);
        if extras::finds_places() && extras::next_spot(&mut cursor, &mut spot) == Some(true) {
            let at = index(spot, function);
            if here.near[at].is_at(spot) && here.near[at].place.get() != NOWHERE {
                return at;
            }
        }
        self.find_place(here, function).unwrap_or(NEAR)
    }

    /// As [`Recorder::place`], for one that this thread does not know, or that is not in the innermost function.
    #[inline(never)]
    fn find_place(&self, here: &Here, function: u16) -> Option<usize> {
        if !extras::finds_places() {
            return self.find(here, function, [place::caller()?, 0], |[address, _]| place::of_address(address));
        }
        let (mut cursor, mut spot) = (0, [0; 2]);
        for _ in 0..DEPTH {
            match extras::next_spot(&mut cursor, &mut spot) {
                Some(true) => {}
                Some(false) => return None,
                // It cannot say so quickly where it is.
                None => {
                    let frame = extras::find_place(true).into_iter().next()?;
                    return self.find(here, function, spot_of(&frame), |_| Some(frame));
                }
            }
            if let Some(at) = self.find(here, function, spot, extras::name_of_spot) {
                return Some(at);
            }
        }
        None
    }

    /// Which place that is; none of one that belongs to no program.
    #[inline]
    fn find(&self, here: &Here, function: u16, spot: Spot, name: impl FnOnce(Spot) -> Option<Frame>) -> Option<usize> {
        let at = index(spot, function);
        let near = &here.near[at];
        if !near.is_at(spot) {
            near.place.set(self.look_up(spot, name)?);
            near.spot.iter().zip(spot).for_each(|(own, word)| own.set(word));
            near.set_key([0; 4]);
        }
        (near.place.get() != NOWHERE).then_some(at)
    }

    #[cold]
    fn look_up(&self, spot: Spot, name: impl FnOnce(Spot) -> Option<Frame>) -> Option<u32> {
        {
            let places = locked(&self.places);
            match places.get(&spot) {
                Some(place) => return Some(*place),
                None if places.len() >= PLACES => return None,
                None => {}
            }
        }
        // Without the lock: it may take the interpreter's.
        let frame = name(spot);
        let mut places = locked(&self.places);
        let next = u32::try_from(places.len()).unwrap_or(u32::MAX).saturating_add(1);
        let place = match frame {
            Some(frame) => self.write(&record::place(next, &place_of(frame))).then_some(next)?,
            None => NOWHERE,
        };
        Some(*places.entry(spot).or_insert(place))
    }
}

/// Bytes of a type that is not predefined: it may have been freed, and its handle given to another one.
#[inline(never)]
fn size_now(ty: RawType) -> u64 {
    datatype::find(ty).map_or(0, |found| found.size() as u64)
}

/// Where a thread keeps what it knows of the calls of a function in a spot. (One line may call several: the receive of a large object.)
#[inline]
fn index(spot: Spot, function: u16) -> usize {
    (spot[0] >> 4 ^ spot[1] >> 1 ^ usize::from(function)) % NEAR
}

/// What stands for a place that has a name and nothing else.
fn spot_of(frame: &Frame) -> Spot {
    use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((&frame.file, frame.line, &frame.function));
    [hash as usize, usize::MAX]
}

fn place_of(frame: Frame) -> Place {
    Place { file: frame.file, line: frame.line, function: frame.function }
}

impl Tracer for Recorder {
    fn call(&self) -> u32 {
        HERE.try_with(|here| here.call.get()).unwrap_or(0)
    }

    fn message(&self, message: Traced) -> u32 {
        // Messages are numbered by their order alone: behind one that is missing, none could be told from the next.
        if self.ends_messages.load(Ordering::Relaxed) {
            return 0;
        }
        let record = HERE.try_with(|here| {
            let event = match message.event {
                TraceEvent::Sent => Event::Sent,
                TraceEvent::Matched => Event::Matched,
            };
            let number = self.messages.load(Ordering::Relaxed);
            self.messages.store(number.wrapping_add(1), Ordering::Relaxed);
            let Traced { call, other, ctx: context, tag, bytes, .. } = message;
            let current = here.call.get();
            let half = Half { event, call: call.unwrap_or(current), other: other.0, context, tag, bytes, number };
            let is_lone = half.call == here.lone.get() && half.call != 0 && half.call & OF_CALL == 0;
            if is_lone && self.tell_with_call(here, &half) {
                // It has no other one.
                here.lone.set(0);
                return Some(half.call | OF_CALL);
            }
            let at = self.log.take(&here.part, 1)?;
            self.log.write(at, record::half(&half));
            Some(at)
        });
        let Ok(Some(record)) = record else {
            self.ends_messages.store(true, Ordering::Relaxed);
            return 0;
        };
        record
    }

    fn completed(&self, record: u32) {
        // A call that waits for its message completes it.
        if record & OF_CALL == 0 {
            let outcome = self.log.get(record, record::OUTCOME);
            self.log.set(record, record::OUTCOME, record::completed(outcome, self.call()));
        }
    }

    fn taken_back(&self, record: u32) {
        if record & OF_CALL == 0 {
            let outcome = self.log.get(record, record::OUTCOME);
            self.log.set(record, record::OUTCOME, record::taken_back(outcome));
        } else {
            let call = record & !OF_CALL;
            self.log.set(call, 0, record::without_message(self.log.get(call, 0)));
        }
    }

    fn now(&self) -> u64 {
        self.log.clock().now()
    }

    fn waited(&self, since: u64) {
        let waited = self.log.clock().now().saturating_sub(since);
        let _ = HERE.try_with(|here| here.waited.set(here.waited.get() + waited));
    }
}
