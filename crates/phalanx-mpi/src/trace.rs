//! `--trace`: each call of this process, with its place and what it is about, written into a log that the launcher has made.
//!
//! A call comes here before its body, where [`entry`](crate::entry) looks at what may be called at all, and is made *again* from
//! here, so that its body exists once: the second time it is let through. Where it is made, a Python program says by its code
//! object and instruction ([`extras`]), which are looked up by number once; a program in C by an address on its stack.

use std::cell::Cell;
use std::collections::HashMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use phalanx_engine::Engine;
use phalanx_engine::engine::{Frame, TraceEvent, Traced, Tracer};
use phalanx_shm::log::Clock;
use phalanx_shm::{Log, ProcId, inherit};
use phalanx_trace::record::{self, Begun, Event, Half, Object};
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

struct Recorder {
    log: Log,
    /// In a forked child, nothing is written.
    forks: u32,
    /// There was no room for a message: no more are recorded.
    ends_messages: AtomicBool,
    threads: AtomicU32,
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
    /// The next call is the one that has been looked at.
    passes: Cell<bool>,
    near: [Cell<(Spot, u32)>; NEAR],
    told: [Cell<(Option<Object>, u32)>; TOLD],
}

thread_local! {
    static HERE: Here = const {
        Here {
            thread: Cell::new(u32::MAX),
            call: Cell::new(0),
            waited: Cell::new(0),
            passes: Cell::new(false),
            near: [const { Cell::new(([0; 2], NOWHERE)) }; NEAR],
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
        threads: AtomicU32::new(0),
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
        let begun = Begun { function: number(name), at, ..Begun::default() };
        let _ = HERE.try_with(|here| {
            let at = recorder.begins(Begun { thread: recorder.thread(here), ..begun });
            recorder.ends(at, 0);
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

/// Whether a call of a function is to be recorded: if so, it goes to [`call`].
pub(crate) fn enters(function: u16) -> bool {
    if function == 0 || !is_on() {
        return false;
    }
    // A thread that is past its end has no place to keep what it is in.
    HERE.try_with(|here| !here.passes.replace(false)).unwrap_or(false)
}

/// Records a call, which `again` makes.
pub(crate) fn call(function: u16, arguments: &Arguments, again: impl FnOnce() -> c_int) -> c_int {
    let Some(recorder) = RECORDER.get().filter(|recorder| recorder.forks == phalanx_shm::fork::generation()) else {
        let _ = HERE.try_with(|here| here.passes.set(true));
        return again();
    };
    let outer = HERE.try_with(|here| {
        let at = recorder.begins(recorder.look_at(here, function, arguments));
        here.passes.set(true);
        (here.call.replace(at), here.waited.replace(0))
    });
    let code = again();
    let _ = HERE.try_with(|here| {
        recorder.ends(here.call.get(), here.waited.get());
        if let Ok((call, waited)) = outer {
            here.call.set(call);
            here.waited.set(waited);
        }
    });
    code
}

impl Recorder {
    fn thread(&self, here: &Here) -> u32 {
        if here.thread.get() == u32::MAX {
            here.thread.set(self.threads.fetch_add(1, Ordering::Relaxed));
        }
        here.thread.get()
    }

    /// What is known of a call before it is made.
    fn look_at(&self, here: &Here, function: u16, arguments: &Arguments) -> Begun {
        let place = self.place(here);
        let (object, peer) = self.object(here, arguments);
        let bytes = arguments.count.and_then(|count| u64::try_from(count).ok()).and_then(|count| match arguments.ty {
            Some(ty) => count.checked_mul(datatype::find(ty).ok()?.size() as u64),
            None => Some(count),
        });
        let (thread, tag) = (self.thread(here), arguments.tag);
        // The time comes last: what has been looked at until now is no part of the call.
        Begun { function, thread, at: self.log.clock().now(), place, object, peer: peer.map(|peer| peer.0), tag, bytes }
    }

    /// The record of a call that begins; 0 where there is no room for it.
    fn begins(&self, begun: Begun) -> u32 {
        let Some(at) = self.log.take(record::CALL_GRANULES) else {
            self.log.lose();
            return 0;
        };
        self.log.write(at, record::call(&begun));
        at
    }

    fn ends(&self, at: u32, waited: u64) {
        if at != 0 {
            self.log.set(at, record::WAITED, waited);
            self.log.set(at, record::ENDED, self.log.clock().now());
        }
    }

    fn write(&self, record: &[u64]) -> bool {
        let granules = u32::try_from(record.len() / record::GRANULE).unwrap_or(u32::MAX);
        let at = self.log.take(granules);
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
        if all.get(&object) == Some(&name) || self.write(&record::name(object, &name)) {
            all.insert(object, name);
            told.set((Some(object), names));
        }
    }

    /// The number of the place that calls.
    #[inline]
    fn place(&self, here: &Here) -> Option<u32> {
        if !extras::finds_places() {
            return self.find(here, [place::caller()?, 0], |[address, _]| place::of_address(address));
        }
        let (mut cursor, mut spot) = (0, [0; 2]);
        for _ in 0..DEPTH {
            match extras::next_spot(&mut cursor, &mut spot) {
                Some(true) => {}
                Some(false) => return None,
                // It cannot say so quickly where it is.
                None => {
                    let frame = extras::find_place(true).into_iter().next()?;
                    return self.by_text(frame);
                }
            }
            if let Some(place) = self.find(here, spot, extras::name_of_spot) {
                return Some(place);
            }
        }
        None
    }

    /// The number of a place; none of one that belongs to no program.
    #[inline]
    fn find(&self, here: &Here, spot: Spot, name: impl FnOnce(Spot) -> Option<Frame>) -> Option<u32> {
        let near = &here.near[(spot[0] >> 4 ^ spot[1] >> 1) % NEAR];
        let (known, mut place) = near.get();
        if known != spot {
            place = self.look_up(spot, name)?;
            near.set((spot, place));
        }
        (place != NOWHERE).then_some(place)
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

    /// As [`Recorder::find`], for a place that has a name and nothing else.
    fn by_text(&self, frame: Frame) -> Option<u32> {
        use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
        let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((&frame.file, frame.line, &frame.function));
        self.look_up([hash as usize, usize::MAX], |_| Some(frame))
    }
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
        let Some(at) = self.log.take(1) else {
            self.ends_messages.store(true, Ordering::Relaxed);
            return 0;
        };
        let event = match message.event {
            TraceEvent::Sent => Event::Sent,
            TraceEvent::Matched => Event::Matched,
        };
        let Traced { call, other, ctx: context, tag, bytes, .. } = message;
        self.log.write(at, record::half(&Half { event, call, other: other.0, context, tag, bytes }));
        at
    }

    fn completed(&self, record: u32) {
        self.log.set(record, record::COMPLETED, self.call().into());
    }

    fn taken_back(&self, record: u32) {
        self.log.set(record, record::TAKEN_BACK, 1);
    }

    fn waited(&self, nanoseconds: u64) {
        let _ = HERE.try_with(|here| here.waited.set(here.waited.get() + nanoseconds));
    }
}
