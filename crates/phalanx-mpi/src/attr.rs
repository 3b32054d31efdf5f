//! Attributes: values that programs and libraries hang on communicators and datatypes (MPI 5.0 §7.7).

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phalanx_engine::ErrorClass;
use phalanx_mpi_macros::mpi_entry;

use crate::comm::{CommObject, CommRef};
use crate::consts;
use crate::datatype::TypeRef;
use crate::entry::{Done, ErrorObject, Failure, wrong};
use crate::handle::Kind;
use crate::param::{Address, Out};
use crate::state;
use crate::win::WinRef;

/// A key: what happens to its values when their object is copied or freed.
pub(crate) struct Keyval {
    number: c_int,
    kind: Kind,
    copy: usize,
    delete: usize,
    extra: usize,
    /// Whether the program has given the key back. It stays usable as long as an attribute has it.
    freed: AtomicBool,
}

type CopyFn = unsafe extern "C" fn(usize, c_int, usize, usize, *mut usize, *mut c_int) -> c_int;
type DeleteFn = unsafe extern "C" fn(usize, c_int, usize, usize) -> c_int;

/// The first number of a dynamic key: above all predefined ones.
const FIRST_KEY: c_int = 0x1000;

struct Keys {
    next: c_int,
    live: BTreeMap<c_int, Arc<Keyval>>,
}

static KEYS: Mutex<Keys> = Mutex::new(Keys { next: FIRST_KEY, live: BTreeMap::new() });

fn keys() -> MutexGuard<'static, Keys> {
    KEYS.lock().unwrap_or_else(PoisonError::into_inner)
}

fn create(kind: Kind, copy: Address, delete: Address, extra: Address) -> Result<c_int, Failure> {
    let mut keys = keys();
    let number = keys.next;
    keys.next = number.checked_add(1).ok_or_else(|| wrong(ErrorClass::Other, "all attribute keys are in use"))?;
    let keyval = Keyval { number, kind, copy: copy.0, delete: delete.0, extra: extra.0, freed: AtomicBool::new(false) };
    keys.live.insert(number, Arc::new(keyval));
    Ok(number)
}

fn free(kind: Kind, number: &Out<c_int>) -> Done {
    let found = find(kind, number.get())?;
    if found.freed.swap(true, Ordering::Relaxed) {
        return Err(wrong(ErrorClass::Keyval, format!("key {} has been freed before", found.number)));
    }
    drop(found);
    // Those that no attribute has any more go.
    keys().live.retain(|_, keyval| is_alive(keyval));
    number.set(consts::KEYVAL_INVALID);
    Ok(())
}

/// Whether the program may use a key: it has not given it back, or an attribute has it.
fn is_alive(keyval: &Arc<Keyval>) -> bool {
    !keyval.freed.load(Ordering::Relaxed) || Arc::strong_count(keyval) > 1
}

fn find(kind: Kind, number: c_int) -> Result<Arc<Keyval>, Failure> {
    match keys().live.get(&number) {
        Some(keyval) if keyval.kind == kind && is_alive(keyval) => Ok(keyval.clone()),
        Some(keyval) if keyval.kind == kind => Err(wrong(
            ErrorClass::Keyval,
            format!("attribute key {number} was freed, and no attribute has it any more"),
        )),
        Some(_) => Err(wrong(ErrorClass::Keyval, format!("key {number} was made for another kind of object"))),
        None => Err(wrong(ErrorClass::Keyval, format!("{}{number} is not an attribute key", predefined_note(number)))),
    }
}

fn predefined_note(number: c_int) -> &'static str {
    if (consts::TAG_UB..=consts::UNIVERSE_SIZE).contains(&number)
        || (consts::WIN_BASE..=consts::WIN_MODEL).contains(&number)
    {
        "a predefined attribute cannot be changed: "
    } else {
        ""
    }
}

/// The attributes of one object, in the order in which they were set.
#[derive(Default)]
pub(crate) struct Attributes(Mutex<Vec<(Arc<Keyval>, usize)>>);

impl Attributes {
    fn list(&self) -> MutexGuard<'_, Vec<(Arc<Keyval>, usize)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn get(&self, number: c_int) -> Option<usize> {
        self.list().iter().find(|(k, _)| k.number == number).map(|(_, value)| *value)
    }

    fn set(&self, object: usize, keyval: Arc<Keyval>, value: usize) -> Done {
        self.delete(object, keyval.number)?;
        self.list().push((keyval, value));
        Ok(())
    }

    /// Deletes the value of a key, if there is one.
    fn delete(&self, object: usize, number: c_int) -> Done {
        let found = self.list().iter().find(|(k, _)| k.number == number).cloned();
        if let Some((keyval, value)) = found {
            call_delete(&keyval, object, value)?;
            self.list().retain(|(k, _)| k.number != number);
        }
        Ok(())
    }

    /// Deletes everything, the last first, as when the object is freed.
    pub(crate) fn delete_all(&self, object: usize) -> Done {
        loop {
            let last = self.list().last().cloned();
            let Some((keyval, value)) = last else {
                return Ok(());
            };
            call_delete(&keyval, object, value)?;
            self.list().retain(|(k, _)| k.number != keyval.number);
        }
    }

    /// What a duplicate of `object` inherits.
    pub(crate) fn copy_from(&self, object: usize, old: &Attributes) -> Done {
        let entries = old.list().clone();
        for (keyval, value) in entries {
            if let Some(value) = call_copy(&keyval, object, value)? {
                self.list().push((keyval, value));
            }
        }
        Ok(())
    }
}

/// Calls a delete function. No lock is held.
fn call_delete(keyval: &Keyval, object: usize, value: usize) -> Done {
    if keyval.delete == 0 {
        return Ok(());
    }
    // SAFETY: the program gave this address as a delete function; those of all object types agree in the sizes of
    // their arguments (handles are pointers).
    let function = unsafe { std::mem::transmute::<usize, DeleteFn>(keyval.delete) };
    // SAFETY: the arguments are what the standard has the library pass.
    let code = unsafe { function(object, keyval.number, value, keyval.extra) };
    callback_outcome(code, "delete", keyval)
}

/// Calls a copy function; gives the value for the new object, if it is to have one. No lock is held.
fn call_copy(keyval: &Keyval, object: usize, value: usize) -> Result<Option<usize>, Failure> {
    match keyval.copy {
        0 => return Ok(None),
        1 => return Ok(Some(value)),
        _ => {}
    }
    // SAFETY: the program gave this address as a copy function; see `call_delete`.
    let function = unsafe { std::mem::transmute::<usize, CopyFn>(keyval.copy) };
    let mut copied = 0;
    let mut flag = 0;
    // SAFETY: the arguments are what the standard has the library pass; both results outlive the call.
    let code = unsafe { function(object, keyval.number, keyval.extra, value, &raw mut copied, &raw mut flag) };
    callback_outcome(code, "copy", keyval)?;
    Ok((flag != 0).then_some(copied))
}

fn callback_outcome(code: c_int, which: &str, keyval: &Keyval) -> Done {
    if code == consts::SUCCESS {
        return Ok(());
    }
    crate::errors::name_foreign(code, || {
        format!("error code {code} of the {which} function of attribute key {}", keyval.number)
    });
    Err(Failure::Code(ErrorObject::None, code))
}

// Communicators.

/// The predefined attributes: each is an `int` whose address the program gets.
struct Predefined {
    tag_ub: c_int,
    host: c_int,
    io: c_int,
    wtime_is_global: c_int,
    universe_size: c_int,
    appnum: c_int,
}

/// The address of a predefined attribute's value, if it has one.
fn predefined(number: c_int) -> Option<usize> {
    static VALUES: std::sync::OnceLock<Predefined> = std::sync::OnceLock::new();
    static LAST: std::sync::atomic::AtomicI32 = std::sync::atomic::AtomicI32::new(0);
    let process = state::process()?;
    let values = VALUES.get_or_init(|| Predefined {
        tag_ub: phalanx_engine::status::TAG_UB,
        host: consts::PROC_NULL,
        io: consts::ANY_SOURCE,
        wtime_is_global: 1,
        universe_size: universe_size(&process.engine),
        appnum: process.engine.appnum().unwrap_or(consts::UNDEFINED),
    });
    let value: *const c_int = match number {
        consts::TAG_UB => &values.tag_ub,
        consts::HOST => &values.host,
        consts::IO => &values.io,
        consts::WTIME_IS_GLOBAL => &values.wtime_is_global,
        consts::UNIVERSE_SIZE => &values.universe_size,
        consts::APPNUM if values.appnum != consts::UNDEFINED => &values.appnum,
        consts::LASTUSEDCODE => {
            LAST.store(crate::errors::last_used_code(), std::sync::atomic::Ordering::Relaxed);
            LAST.as_ptr()
        }
        _ => return None,
    };
    Some(value as usize)
}

/// How many processes there are to be at most, by choice: what the launcher says, else the CPUs that this process may use.
/// (There is room for more in the segment; a program that starts as many as it is told should not start a thousand.)
fn universe_size(engine: &phalanx_engine::Engine) -> c_int {
    let told = engine.pmi().as_mut().and_then(|pmi| pmi.universe_size().ok().flatten());
    let cpus = || std::thread::available_parallelism().ok().and_then(|n| u32::try_from(n.get()).ok());
    let size = told.or_else(cpus).unwrap_or(1).max(1);
    c_int::try_from(size).unwrap_or(c_int::MAX)
}

fn get_comm_attr(comm: &CommObject, number: c_int, value: &Out<usize>, flag: &Out<c_int>) -> Done {
    let is_predefined = (consts::TAG_UB..=consts::UNIVERSE_SIZE).contains(&number);
    let found = if is_predefined {
        predefined(number)
    } else {
        match comm.attrs.get(number) {
            Some(found) => Some(found),
            None => {
                find(Kind::Comm, number)?;
                None
            }
        }
    };
    flag.set(found.is_some().into());
    if let Some(found) = found {
        value.set(found);
    }
    Ok(())
}

/// Makes a key for communicators.
#[mpi_entry(MPI_Comm_create_keyval, anytime)]
fn comm_create_keyval(copy: Address, delete: Address, keyval: Out<c_int>, extra: Address) -> Done {
    keyval.set(create(Kind::Comm, copy, delete, extra)?);
    Ok(())
}

/// Makes a key for communicators (the name of MPI-1).
#[mpi_entry(MPI_Keyval_create, anytime)]
fn keyval_create(copy: Address, delete: Address, keyval: Out<c_int>, extra: Address) -> Done {
    comm_create_keyval(copy, delete, keyval, extra)
}

/// Gives a key for communicators back; values that exist keep it alive.
#[mpi_entry(MPI_Comm_free_keyval, anytime)]
fn comm_free_keyval(keyval: Out<c_int>) -> Done {
    free(Kind::Comm, &keyval)
}

/// Gives a key for communicators back (the name of MPI-1).
#[mpi_entry(MPI_Keyval_free, anytime)]
fn keyval_free(keyval: Out<c_int>) -> Done {
    free(Kind::Comm, &keyval)
}

/// Sets a communicator's value of a key.
#[mpi_entry(MPI_Comm_set_attr)]
fn comm_set_attr(comm: CommRef, keyval: c_int, value: Address) -> Done {
    comm.attrs.set(comm.raw(), find(Kind::Comm, keyval)?, value.0).map_err(|e| about(e, &comm))
}

/// Sets a communicator's value of a key (the name of MPI-1).
#[mpi_entry(MPI_Attr_put)]
fn attr_put(comm: CommRef, keyval: c_int, value: Address) -> Done {
    comm_set_attr(comm, keyval, value)
}

/// Gives a communicator's value of a key.
#[mpi_entry(MPI_Comm_get_attr)]
fn comm_get_attr(comm: CommRef, keyval: c_int, value: Out<usize>, flag: Out<c_int>) -> Done {
    get_comm_attr(&comm, keyval, &value, &flag)
}

/// Gives a communicator's value of a key (the name of MPI-1).
#[mpi_entry(MPI_Attr_get)]
fn attr_get(comm: CommRef, keyval: c_int, value: Out<usize>, flag: Out<c_int>) -> Done {
    get_comm_attr(&comm, keyval, &value, &flag)
}

/// Deletes a communicator's value of a key.
#[mpi_entry(MPI_Comm_delete_attr)]
fn comm_delete_attr(comm: CommRef, keyval: c_int) -> Done {
    find(Kind::Comm, keyval)?;
    comm.attrs.delete(comm.raw(), keyval).map_err(|e| about(e, &comm))
}

/// Deletes a communicator's value of a key (the name of MPI-1).
#[mpi_entry(MPI_Attr_delete)]
fn attr_delete(comm: CommRef, keyval: c_int) -> Done {
    comm_delete_attr(comm, keyval)
}

/// Says that a callback's code is about this communicator.
fn about(failure: Failure, comm: &CommObject) -> Failure {
    on(failure, comm.error_object())
}

/// Says that a callback's code is about this object.
pub(crate) fn on(failure: Failure, object: ErrorObject) -> Failure {
    match failure {
        Failure::Code(ErrorObject::None, code) => Failure::Code(object, code),
        other => other,
    }
}

// Datatypes.

/// Makes a key for datatypes.
#[mpi_entry(MPI_Type_create_keyval, anytime)]
fn type_create_keyval(copy: Address, delete: Address, keyval: Out<c_int>, extra: Address) -> Done {
    keyval.set(create(Kind::Datatype, copy, delete, extra)?);
    Ok(())
}

/// Gives a key for datatypes back; values that exist keep it alive.
#[mpi_entry(MPI_Type_free_keyval, anytime)]
fn type_free_keyval(keyval: Out<c_int>) -> Done {
    free(Kind::Datatype, &keyval)
}

/// Sets a datatype's value of a key.
#[mpi_entry(MPI_Type_set_attr)]
fn type_set_attr(ty: TypeRef, keyval: c_int, value: Address) -> Done {
    ty.attrs().set(ty.raw(), find(Kind::Datatype, keyval)?, value.0)
}

/// Gives a datatype's value of a key.
#[mpi_entry(MPI_Type_get_attr)]
fn type_get_attr(ty: TypeRef, keyval: c_int, value: Out<usize>, flag: Out<c_int>) -> Done {
    let found = ty.attrs().get(keyval);
    if found.is_none() {
        find(Kind::Datatype, keyval)?;
    }
    flag.set(found.is_some().into());
    if let Some(found) = found {
        value.set(found);
    }
    Ok(())
}

/// Deletes a datatype's value of a key.
#[mpi_entry(MPI_Type_delete_attr)]
fn type_delete_attr(ty: TypeRef, keyval: c_int) -> Done {
    find(Kind::Datatype, keyval)?;
    ty.attrs().delete(ty.raw(), keyval)
}

// Windows.

/// Makes a key for windows.
#[mpi_entry(MPI_Win_create_keyval, anytime)]
fn win_create_keyval(copy: Address, delete: Address, keyval: Out<c_int>, extra: Address) -> Done {
    keyval.set(create(Kind::Win, copy, delete, extra)?);
    Ok(())
}

/// Gives a key for windows back.
#[mpi_entry(MPI_Win_free_keyval, anytime)]
fn win_free_keyval(keyval: Out<c_int>) -> Done {
    free(Kind::Win, &keyval)
}

/// Sets a window's value of a key.
#[mpi_entry(MPI_Win_set_attr)]
fn win_set_attr(win: WinRef, keyval: c_int, value: Address) -> Done {
    win.attrs.set(win.raw(), find(Kind::Win, keyval)?, value.0).map_err(|e| on(e, win.error_object()))
}

/// Gives a window's value of a key.
#[mpi_entry(MPI_Win_get_attr)]
fn win_get_attr(win: WinRef, keyval: c_int, value: Out<usize>, flag: Out<c_int>) -> Done {
    let found = win.predefined(keyval).or_else(|| win.attrs.get(keyval));
    if found.is_none() {
        find(Kind::Win, keyval)?;
    }
    flag.set(found.is_some().into());
    if let Some(found) = found {
        value.set(found);
    }
    Ok(())
}

/// Deletes a window's value of a key.
#[mpi_entry(MPI_Win_delete_attr)]
fn win_delete_attr(win: WinRef, keyval: c_int) -> Done {
    find(Kind::Win, keyval)?;
    win.attrs.delete(win.raw(), keyval).map_err(|e| on(e, win.error_object()))
}
