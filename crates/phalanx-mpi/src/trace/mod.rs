//! `--trace`: each call of this process, with its place and what it is about, written into a log that the launcher has made.
//!
//! A call comes here before its body, where [`entry`](crate::entry) looks at what may be called at all, and once more behind it.
//! Where it is made, a Python program says by its code object and instruction ([`extras`]), which are looked up by number once; a
//! program in C by an address on its stack.

mod made;

use std::cell::Cell;
use std::collections::HashMap;
use std::ptr::NonNull;
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
use crate::place;
use crate::{comm, datatype, io, win};

pub(crate) use made::Arguments;
use made::{KNOWS_COUNT, Made};

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
    /// Who records its calls; nobody before the first one.
    recorder: Cell<Option<&'static Recorder>>,
    /// Its number; `u32::MAX` before the first call.
    thread: Cell<u32>,
    /// The record of the call.
    call: Cell<u32>,
    waited: Cell<u64>,
    /// The call whose message may stand in its record; 0 for none. Which of the places it was made at, and with how many bytes.
    lone: Cell<u32>,
    at: Cell<usize>,
    bytes: Cell<u64>,
    /// What the call that began last was made with.
    made: Made,
    /// That call, if its record is still to be written, or 0: see [`Made::is_late`]. When it began, and its message, if that has gone.
    late: Cell<u32>,
    began: Cell<u64>,
    gone: Cell<Option<Half>>,
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
    /// What it was [made](Made) with, and when objects were last called otherwise.
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
            recorder: Cell::new(None),
            thread: Cell::new(u32::MAX),
            call: Cell::new(0),
            waited: Cell::new(0),
            lone: Cell::new(0),
            at: Cell::new(NEAR),
            bytes: Cell::new(0),
            made: Made::new(),
            late: Cell::new(0),
            began: Cell::new(0),
            gone: Cell::new(None),
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
            recorder.ends(recorder.begins(here, form, at, 0), recorder.log.clock().now(), 0);
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

/// A call that is recorded, on its thread. (Two words, which functions give in registers.)
pub(crate) struct Call {
    here: NonNull<Here>,
    /// The call that it was made within.
    outer: u32,
}

/// A call of a function begins. Nothing of one that is not recorded.
#[inline(always)]
pub(crate) fn begins(function: u16, arguments: impl FnOnce() -> Arguments) -> Option<Call> {
    if function == 0 {
        return None;
    }
    let here = here()?;
    // SAFETY: this thread's own, which is there as long as the thread.
    unsafe { here.as_ref() }.made.set(function, &arguments());
    Some(enters(here))
}

/// What this thread is in, if its calls are recorded: it has written the record of the call that it was in.
fn here() -> Option<NonNull<Here>> {
    let recorder: &'static Recorder = RECORDER.get()?;
    if recorder.forks != phalanx_shm::fork::generation() {
        return None;
    }
    // A thread that is past its end has no place to keep what it is in.
    let here = HERE.try_with(|here| {
        here.recorder.set(Some(recorder));
        if here.late.get() != 0 {
            recorder.writes_late(here, 0, 0);
        }
        NonNull::from(here)
    });
    here.ok()
}

/// The call begins that is made with what stands there.
fn enters(here: NonNull<Here>) -> Call {
    // SAFETY: as above.
    let own = unsafe { here.as_ref() };
    let outer = own.call.get();
    let at = own.recorder.get().map_or(0, |recorder| {
        if outer != 0 {
            recorder.has_waited(outer, own.waited.take());
        }
        if own.made.is_late() { recorder.enters_late(own) } else { recorder.enter(own) }
    });
    own.call.set(at);
    Call { here, outer }
}

/// Writes the record of the call that this thread is in, if that is still to be written: the call may not come to its end.
#[cold]
pub(crate) fn settle() {
    let _ = HERE.try_with(|here| {
        if let Some(recorder) = here.recorder.get().filter(|_| here.late.get() != 0) {
            recorder.writes_late(here, 0, 0);
        }
    });
}

impl Call {
    /// It returns.
    pub(crate) fn ends(self) {
        let Call { here, outer } = self;
        // SAFETY: this thread's own, which is there as long as the thread: a call ends on the thread that it began on.
        let here = unsafe { here.as_ref() };
        let Some(recorder) = here.recorder.get() else { return };
        let now = recorder.log.clock().now();
        let (at, waited) = (here.call.replace(outer), here.waited.take());
        if at != 0 && here.late.get() == at {
            recorder.writes_late(here, now, waited);
        } else {
            recorder.ends(at, now, waited);
        }
    }
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
    fn enter(&self, here: &Here) -> u32 {
        let (form, bytes) = self.look_at(here, None);
        // The time comes last: what has been looked at until now is no part of the call.
        let at = self.begins(here, form, self.log.clock().now(), bytes);
        here.lone.set(if at & OF_CALL == 0 { at } else { 0 });
        at
    }

    /// As [`Recorder::enter`], of a call whose record is written [later](Recorder::writes_late).
    #[inline]
    fn enters_late(&self, here: &Here) -> u32 {
        let Some(at) = self.log.take(&here.part, 1).filter(|at| at & OF_CALL == 0) else {
            self.log.lose();
            return 0;
        };
        here.late.set(at);
        here.gone.set(None);
        here.lone.set(at);
        here.began.set(self.log.clock().now());
        at
    }

    /// Writes the record of a call that has begun before: when it ended, or 0, and how long it has waited.
    #[inline(never)]
    fn writes_late(&self, here: &Here, ended: u64, waited: u64) {
        let (gone, at, began) = (here.gone.take(), here.late.replace(0), here.began.get());
        let (form, bytes) = self.look_at(here, Some(began));
        let ([mut head, began, _, short], _) = record::call(form, began, bytes);
        let about = here.near[here.at.get()].about.each_ref().map(Cell::get);
        let is_told = gone.is_none_or(|half| match record::with_message(head, &about, bytes, &half) {
            Some(with_message) if form != 0 => {
                head = with_message;
                true
            }
            _ => false,
        });
        if form == 0 {
            self.log.lose();
        } else {
            self.log.write(at, [head, began, ended, record::waited(short, waited)]);
        }
        if let Some(half) = gone.filter(|_| !is_told) {
            self.tell_apart(here, &half);
        }
    }

    /// Tells of a message in a record of its own; 0 where there is no room for it.
    fn tell_apart(&self, here: &Here, half: &Half) -> u32 {
        let Some(at) = self.log.take(&here.part, 1) else {
            self.ends_messages.store(true, Ordering::Relaxed);
            return 0;
        };
        self.log.write(at, record::half(half));
        at
    }

    /// What a call has in common with others, and its bytes; with when it began, if it has.
    #[inline]
    fn look_at(&self, here: &Here, began: Option<u64>) -> (u32, u64) {
        let made = &here.made;
        let place = self.place(here);
        let near = &here.near[place];
        let mut key = made.words.each_ref().map(Cell::get);
        key[0] |= u64::from(NAMES.load(Ordering::Relaxed));
        if !near.is_for(&key) {
            self.find_form(here, began, near, key);
        }
        let size = match near.size.get() {
            0 => size_now(made),
            size => size,
        };
        let bytes = made.count.get().saturating_mul(size);
        here.at.set(place);
        here.bytes.set(bytes);
        (near.form.get(), bytes)
    }

    /// Finds out what a call has in common with the next one in its place.
    #[cold]
    fn find_form(&self, here: &Here, began: Option<u64>, near: &Near, key: [u64; 4]) {
        let made = &here.made;
        let (object, peer) = self.object(here, began.unwrap_or_else(|| self.log.clock().now()));
        let place = near.place.get();
        let form = Form {
            function: made.function(),
            thread: self.thread(here),
            place: (place != NOWHERE).then_some(place),
            object,
            peer: peer.map(|peer| peer.0),
            tag: made.tag(),
            has_bytes: made.knows(KNOWS_COUNT),
        };
        let (form, record) = self.write_form(here, |number| record::form(&form, number));
        let about = if form == 0 { NOTHING } else { record::about(&record) };
        let size = match made.ty() {
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
    fn ends(&self, at: u32, now: u64, waited: u64) {
        if at != 0 {
            self.has_waited(at, waited);
            self.log.set(at, record::ENDED, now);
        }
    }

    /// So long has been waited in a call.
    #[inline]
    fn has_waited(&self, at: u32, waited: u64) {
        if waited != 0 {
            self.log.set(at, record::BYTES, record::waited(self.log.get(at, record::BYTES), waited));
        }
    }

    fn write(&self, record: &[u64]) -> bool {
        let granules = u32::try_from(record.len() / record::GRANULE).unwrap_or(u32::MAX);
        let at = self.log.take_apart(granules);
        at.inspect(|at| self.log.write_all(*at, record)).is_some()
    }

    /// What a call is about, and the process of the other rank.
    fn object(&self, here: &Here, now: u64) -> (Option<Object>, Option<ProcId>) {
        let made = &here.made;
        let peer = made.peer().and_then(|peer| usize::try_from(peer).ok());
        match made.object() {
            ErrorObject::Comm(raw) => {
                let Ok(found) = comm::find(raw) else { return (None, None) };
                let object = Object::Comm(found.comm.ctx());
                self.tell(here, object, now, || match found.comm.name() {
                    name if name.is_empty() => found.comm.title(),
                    name => name,
                });
                (Some(object), peer.and_then(|peer| found.comm.peers().get(peer)))
            }
            ErrorObject::Win(raw) => {
                let Some(found) = win::find(raw) else { return (None, None) };
                let object = Object::Win(raw.0 as u32);
                self.tell(here, object, now, || found.title());
                (Some(object), peer.and_then(|peer| found.member(peer)))
            }
            ErrorObject::File(raw) => {
                let Ok(found) = io::find(raw) else { return (None, None) };
                let object = Object::File(raw.0 as u32);
                self.tell(here, object, now, || found.title());
                (Some(object), None)
            }
            ErrorObject::None | ErrorObject::Session(_) => (None, None),
        }
    }

    /// Says how an object is called from now on, unless that has been said.
    fn tell(&self, here: &Here, object: Object, now: u64, name: impl FnOnce() -> String) {
        let (number, names) = (object.number() as usize >> 2, NAMES.load(Ordering::Relaxed));
        let told = &here.told[number % TOLD];
        if told.get() == (Some(object), names) {
            return;
        }
        let name = name();
        let mut all = locked(&self.names);
        if all.get(&object) == Some(&name) || self.write(&record::name(object, &name, now)) {
            all.insert(object, name);
            told.set((Some(object), names));
        }
    }

    /// Which of the places that this thread knows calls.
    #[inline]
    fn place(&self, here: &Here) -> usize {
        let function = here.made.function();
        let (mut cursor, mut spot) = (0, [0; 2]);
        if extras::finds_places() && extras::next_spot(&mut cursor, &mut spot) == Some(true) {
            let at = index(spot, function);
            if here.near[at].is_at(spot) && here.near[at].place.get() != NOWHERE {
                return at;
            }
        }
        // To ask a program for a name may make it call: what it frees, for example.
        let made = here.made.clone();
        let place = self.find_place(here, function).unwrap_or(NEAR);
        here.made.words.iter().zip(&made.words).for_each(|(own, word)| own.set(word.get()));
        here.made.count.set(made.count.get());
        place
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
fn size_now(made: &Made) -> u64 {
    made.ty().and_then(|ty| datatype::find(ty).ok()).map_or(0, |found| found.size() as u64)
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
                TraceEvent::Sent | TraceEvent::Gone => Event::Sent,
                TraceEvent::Matched => Event::Matched,
            };
            let number = self.messages.load(Ordering::Relaxed);
            self.messages.store(number.wrapping_add(1), Ordering::Relaxed);
            let Traced { call, other, ctx: context, tag, bytes, .. } = message;
            let current = here.call.get();
            let half = Half { event, call: call.unwrap_or(current), other: other.0, context, tag, bytes, number };
            if half.call == here.lone.get() && half.call != 0 {
                if half.call != here.late.get() {
                    if self.tell_with_call(here, &half) {
                        // It has no other one.
                        here.lone.set(0);
                        return half.call | OF_CALL;
                    }
                } else if message.event == TraceEvent::Gone {
                    here.gone.set(Some(half));
                    here.lone.set(0);
                    return half.call | OF_CALL;
                }
            }
            self.tell_apart(here, &half)
        });
        record.unwrap_or_else(|_| {
            self.ends_messages.store(true, Ordering::Relaxed);
            0
        })
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

    fn waits(&self) -> u64 {
        settle();
        self.log.clock().now()
    }

    fn waited(&self, since: u64) {
        let waited = self.log.clock().now().saturating_sub(since);
        let _ = HERE.try_with(|here| here.waited.set(here.waited.get() + waited));
    }
}
