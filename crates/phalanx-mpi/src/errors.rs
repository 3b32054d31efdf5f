//! Error codes, classes and strings, and error handlers (MPI 5.0 §9.3 to §9.5).
//!
//! An error code is `class | n << 14`. `n` numbers the errors of this process; the last thousand messages are kept, so
//! that `MPI_Error_string` tells what happened and not only of which kind it was. Codes that the
//! program makes itself begin at [`FIRST_USER_CODE`].

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use phalanx_engine::{Error, ErrorClass};
use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, ErrorObject, Failure, raise, wrong};
use crate::handle::{Kind, RawComm, RawErrhandler, RawSession};
use crate::numbers;
use crate::param::{Address, Out, Text, TextOut};
use crate::state;
use crate::table::Table;

/// Bits of a code that hold the class.
const CLASS_BITS: u32 = 14;
const CLASS_MASK: c_int = (1 << CLASS_BITS) - 1;
/// Messages that are kept.
const KEPT: usize = 1024;
/// Numbers of errors before they start again: codes stay below those of the user.
const NUMBERS: u32 = 1 << 16;
/// The first class or code that `MPI_Add_error_class` and `MPI_Add_error_code` give.
const FIRST_USER_CODE: c_int = 0x4000_0000;

/// The messages of recent errors.
struct Recent {
    next: u32,
    kept: Vec<Message>,
}

struct Message {
    code: c_int,
    text: String,
    interrupted: bool,
}

static RECENT: Mutex<Recent> = Mutex::new(Recent { next: 1, kept: Vec::new() });

fn recent() -> MutexGuard<'static, Recent> {
    RECENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes a code for an error of the function `name` and keeps its message.
#[cold]
pub(crate) fn remember(error: &Error, name: &str) -> c_int {
    if let Some(code) = error.callback_code() {
        return code;
    }
    let mut recent = recent();
    let number = recent.next;
    recent.next = if number + 1 == NUMBERS { 1 } else { number + 1 };
    let code = numbers::class_code(error.class()) | ((number as c_int) << CLASS_BITS);
    let text = told_by(name, error.message());
    let message = Message { code, text, interrupted: error.is_interrupted() };
    let at = number as usize % KEPT;
    if at < recent.kept.len() {
        recent.kept[at] = message;
    } else {
        while recent.kept.len() < at {
            recent.kept.push(Message { code: 0, text: String::new(), interrupted: false });
        }
        recent.kept.push(message);
    }
    code
}

/// Runs `f` with the message of a code, if it is still kept.
fn with_message<T>(code: c_int, f: impl FnOnce(&Message) -> T) -> Option<T> {
    if !(0..FIRST_USER_CODE).contains(&code) {
        return None;
    }
    let number = (code >> CLASS_BITS) as usize;
    let recent = recent();
    recent.kept.get(number % KEPT).filter(|m| m.code == code && number != 0).map(f)
}

/// Whether the code is that of a wait that the interrupt hook gave up.
pub(crate) fn is_interrupted(code: c_int) -> bool {
    with_message(code, |m| m.interrupted).unwrap_or(false)
}

// Classes, codes and strings of the program's own.

/// What the program has added: classes and codes by number, with their class and text.
struct Added {
    next: c_int,
    codes: BTreeMap<c_int, AddedCode>,
    /// Texts for codes that exist without having been added.
    texts: BTreeMap<c_int, String>,
    /// What is known of codes that callbacks gave and nobody added.
    foreign: BTreeMap<c_int, String>,
}

struct AddedCode {
    class: c_int,
    text: String,
}

static ADDED: Mutex<Added> = Mutex::new(Added {
    next: FIRST_USER_CODE,
    codes: BTreeMap::new(),
    texts: BTreeMap::new(),
    foreign: BTreeMap::new(),
});

fn added() -> MutexGuard<'static, Added> {
    ADDED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Remembers what a code of a program's callback is about, unless the code has a meaning already.
pub(crate) fn name_foreign(code: c_int, text: impl FnOnce() -> String) {
    if class_of(code).is_some() {
        return;
    }
    let mut added = added();
    if added.foreign.len() >= KEPT {
        added.foreign.pop_first();
    }
    added.foreign.insert(code, text());
}

/// The value of `MPI_LASTUSEDCODE`.
pub(crate) fn last_used_code() -> c_int {
    added().codes.keys().next_back().copied().unwrap_or(consts::ERR_LASTCODE)
}

/// The class of a code, if it is a code.
pub(crate) fn class_of(code: c_int) -> Option<c_int> {
    let added = added();
    if let Some(own) = added.codes.get(&code) {
        return Some(own.class);
    }
    if added.foreign.contains_key(&code) {
        return Some(consts::ERR_OTHER);
    }
    if !(0..FIRST_USER_CODE).contains(&code) {
        return None;
    }
    let class = code & CLASS_MASK;
    numbers::ERROR_CLASSES.iter().any(|(number, _)| *number == class).then_some(class)
}

/// What `MPI_Error_string` gives.
pub(crate) fn describe(code: c_int) -> Option<String> {
    {
        let added = added();
        if let Some(own) = added.codes.get(&code) {
            return Some(own.text.clone());
        }
        if let Some(text) = added.texts.get(&code).or_else(|| added.foreign.get(&code)) {
            return Some(text.clone());
        }
    }
    let class = class_of(code)?;
    let (_, name) = numbers::ERROR_CLASSES.iter().find(|(number, _)| *number == class)?;
    if let Some(text) = with_message(code, |m| format!("{name}: {}", m.text)) {
        return Some(text);
    }
    match numbers::class(class) {
        Some(known) => Some(format!("{name}: {}", known.description())),
        None => Some((*name).to_string()),
    }
}

/// Gives the class of an error code.
#[mpi_entry(MPI_Error_class, anytime)]
fn error_class(code: c_int, class: Out<c_int>) -> Done {
    class.set(class_of(code).ok_or_else(|| no_code(code))?);
    Ok(())
}

/// Gives the text of an error code or class.
#[mpi_entry(MPI_Error_string, anytime)]
fn error_string(code: c_int, string: TextOut, length: Out<c_int>) -> Done {
    let text = describe(code).ok_or_else(|| no_code(code))?;
    let n = string.set(&text, consts::MAX_ERROR_STRING as usize)?;
    length.set(n as c_int);
    Ok(())
}

/// As `MPI_Error_string`, with room for texts of any length: `size` bytes with the end mark.
#[mpi_entry(PHALANX_Error_text, anytime)]
fn error_text(code: c_int, string: TextOut, size: c_int, length: Out<c_int>) -> Done {
    let text = describe(code).ok_or_else(|| no_code(code))?;
    let n = string.set(&text, usize::try_from(size).unwrap_or(0))?;
    length.set(n as c_int);
    Ok(())
}

fn no_code(code: c_int) -> Failure {
    wrong(ErrorClass::Arg, format!("{code} is not an error code or class"))
}

/// Adds a class.
#[mpi_entry(MPI_Add_error_class, anytime)]
fn add_error_class(class: Out<c_int>) -> Done {
    class.set(add(None)?);
    Ok(())
}

/// Adds a code to a class.
#[mpi_entry(MPI_Add_error_code, anytime)]
fn add_error_code(class: c_int, code: Out<c_int>) -> Done {
    if !is_class(class) {
        return Err(wrong(ErrorClass::Arg, format!("{class} is not an error class")));
    }
    code.set(add(Some(class))?);
    Ok(())
}

fn is_class(class: c_int) -> bool {
    class_of(class) == Some(class)
}

fn add(class: Option<c_int>) -> Result<c_int, Failure> {
    let mut added = added();
    let number = added.next;
    added.next = number.checked_add(1).ok_or_else(|| wrong(ErrorClass::Other, "all error codes are in use"))?;
    added.codes.insert(number, AddedCode { class: class.unwrap_or(number), text: String::new() });
    Ok(number)
}

/// Sets the text of a class or code.
#[mpi_entry(MPI_Add_error_string, anytime)]
fn add_error_string(code: c_int, string: Text) -> Done {
    if code <= consts::ERR_LASTCODE {
        return Err(wrong(ErrorClass::Arg, format!("the text of the predefined code {code} cannot be changed")));
    }
    if string.0.len() >= consts::MAX_ERROR_STRING as usize {
        return Err(wrong(ErrorClass::Arg, "the text is longer than MPI_MAX_ERROR_STRING"));
    }
    let mut added = added();
    if let Some(own) = added.codes.get_mut(&code) {
        own.text = string.0;
        return Ok(());
    }
    drop(added);
    if class_of(code).is_none() {
        return Err(no_code(code));
    }
    self::added().texts.insert(code, string.0);
    Ok(())
}

/// Removes a class that the program added.
#[mpi_entry(MPI_Remove_error_class, anytime)]
fn remove_error_class(class: c_int) -> Done {
    let mut added = added();
    match added.codes.get(&class) {
        Some(own) if own.class == class => {}
        _ => {
            return Err(wrong(ErrorClass::Arg, format!("{class} is not an error class that was added")));
        }
    }
    if added.codes.iter().any(|(code, own)| *code != class && own.class == class) {
        return Err(wrong(ErrorClass::Other, format!("error class {class} still has error codes; remove them first")));
    }
    if added.codes.get(&class).is_some_and(|own| !own.text.is_empty()) {
        return Err(wrong(ErrorClass::Other, format!("error class {class} still has a text; remove it first")));
    }
    added.codes.remove(&class);
    Ok(())
}

/// Removes a code that the program added.
#[mpi_entry(MPI_Remove_error_code, anytime)]
fn remove_error_code(code: c_int) -> Done {
    let mut added = added();
    match added.codes.get(&code) {
        Some(own) if own.class != code && own.text.is_empty() => {}
        Some(own) if own.class != code => {
            return Err(wrong(ErrorClass::Other, format!("error code {code} still has a text; remove it first")));
        }
        _ => {
            return Err(wrong(ErrorClass::Arg, format!("{code} is not an error code that was added")));
        }
    }
    added.codes.remove(&code);
    Ok(())
}

/// Removes the text of a class or code that the program added.
#[mpi_entry(MPI_Remove_error_string, anytime)]
fn remove_error_string(code: c_int) -> Done {
    let mut added = added();
    match added.codes.get_mut(&code) {
        Some(own) => own.text.clear(),
        None => {
            if added.texts.remove(&code).is_none() {
                return Err(wrong(ErrorClass::Arg, format!("{code} has no text that was added")));
            }
        }
    }
    Ok(())
}

// Handlers.

/// What happens to an error.
#[derive(Clone)]
pub(crate) enum Handler {
    /// `MPI_ERRORS_ARE_FATAL`.
    Fatal,
    /// `MPI_ERRORS_ABORT`.
    Abort,
    /// `MPI_ERRORS_RETURN`.
    Return,
    /// A function of the program.
    User(Arc<UserHandler>),
}

/// A handler made by `MPI_Comm_create_errhandler` and its kin.
pub(crate) struct UserHandler {
    kind: Kind,
    function: usize,
    /// The handle, and how often the program has it.
    held: Mutex<(usize, usize)>,
}

static HANDLERS: Table<Arc<UserHandler>> = Table::new(Kind::Errhandler);

/// How many living handlers call a function.
static FUNCTIONS: LazyLock<Mutex<HashMap<usize, usize>>> = LazyLock::new(Mutex::default);

/// Whether a handler that some handle or object still has calls the function.
pub(crate) fn is_used(function: usize) -> bool {
    lock(&FUNCTIONS).contains_key(&function)
}

impl Drop for UserHandler {
    fn drop(&mut self) {
        if let Entry::Occupied(mut users) = lock(&FUNCTIONS).entry(self.function) {
            *users.get_mut() -= 1;
            if *users.get() == 0 {
                users.remove();
            }
        }
    }
}

impl UserHandler {
    /// Calls the function with the object and the code.
    pub(crate) fn call(&self, object: ErrorObject, code: c_int) {
        let mut raw = match object {
            ErrorObject::None => consts::COMM_SELF,
            ErrorObject::Comm(h) => h.0,
            ErrorObject::Win(h) => h.0,
            ErrorObject::File(h) => h.0,
            ErrorObject::Session(h) => h.0,
        };
        let mut code = code;
        // SAFETY: the program gave this address as a function of one of the error handler types, which differ only in
        // which handle (all are pointers) the first argument points to; they are variadic, and so is this type.
        let function: unsafe extern "C" fn(*mut usize, *mut c_int, ...) =
            unsafe { std::mem::transmute::<usize, _>(self.function) };
        // SAFETY: both pointers are valid for the call; no lock is held.
        unsafe { function(&raw mut raw, &raw mut code) };
    }

    /// The handle, counted once more.
    fn hold(self: &Arc<UserHandler>) -> Result<RawErrhandler, Failure> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if held.1 == 0 {
            held.0 = HANDLERS.insert(self.clone()).ok_or_else(too_many)?;
        }
        held.1 += 1;
        Ok(RawErrhandler(held.0))
    }
}

fn too_many() -> Failure {
    wrong(ErrorClass::Other, "too many error handlers exist; free some")
}

/// Turns a handle into what it stands for; `kind` is that of the object it is meant for.
pub(crate) fn handler(raw: RawErrhandler, kind: Kind) -> Result<Handler, Failure> {
    match raw.0 {
        consts::ERRORS_ARE_FATAL => return Ok(Handler::Fatal),
        consts::ERRORS_ABORT => return Ok(Handler::Abort),
        consts::ERRORS_RETURN => return Ok(Handler::Return),
        _ => {}
    }
    match HANDLERS.get(raw.0) {
        Some(user) if user.kind == kind => Ok(Handler::User(user)),
        Some(_) => Err(wrong(ErrorClass::Errhandler, "the error handler was made for another kind of object")),
        None => Err(bad_handler(raw)),
    }
}

fn bad_handler(raw: RawErrhandler) -> Failure {
    let what = if raw == RawErrhandler::NULL { "is MPI_ERRHANDLER_NULL" } else { "is not valid or was freed" };
    wrong(ErrorClass::Errhandler, format!("the error handler {what}"))
}

/// The handle that the program gets for a handler: it must free it.
pub(crate) fn handle_of(handler: &Handler) -> Result<RawErrhandler, Failure> {
    Ok(match handler {
        Handler::Fatal => RawErrhandler(consts::ERRORS_ARE_FATAL),
        Handler::Abort => RawErrhandler(consts::ERRORS_ABORT),
        Handler::Return => RawErrhandler(consts::ERRORS_RETURN),
        Handler::User(user) => user.hold()?,
    })
}

/// Makes a handler of a function, for objects of one kind.
pub(crate) fn create(kind: Kind, function: Address) -> Result<RawErrhandler, Failure> {
    if function.0 == 0 {
        return Err(wrong(ErrorClass::Arg, "the error handler function is a null pointer"));
    }
    *lock(&FUNCTIONS).entry(function.0).or_default() += 1;
    Arc::new(UserHandler { kind, function: function.0, held: Mutex::new((0, 0)) }).hold()
}

/// The handler for errors on an object; a communicator that is not valid leaves it to `MPI_COMM_SELF`'s.
pub(crate) fn handler_of(object: ErrorObject) -> Handler {
    let own = match object {
        ErrorObject::Comm(raw) => crate::comm::find(raw).ok().map(|c| c.handler()),
        ErrorObject::Session(raw) => crate::session::find(raw).map(|s| s.handler()),
        ErrorObject::File(raw) => Some(crate::io::handler(raw)),
        ErrorObject::Win(raw) => crate::win::find(raw).map(|w| w.handler()),
        ErrorObject::None => None,
    };
    own.or_else(|| state::process().map(|p| p.self_comm.handler())).unwrap_or(Handler::Fatal)
}

/// Writes a line to stderr, by one call, so that the lines of several ranks do not mix.
pub(crate) fn say(text: &str) {
    // Nobody is left to whom a failure could be told.
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("phalanx: {text}\n").as_bytes());
}

/// The text of an error of the function `name`, which it names once: the engine's messages often begin with the
/// operation.
fn told_by(name: &str, message: &str) -> String {
    let operation = name.strip_prefix("MPI_").unwrap_or(name);
    match message.strip_prefix(operation) {
        Some(rest) if rest.starts_with(" on ") || rest.starts_with(": ") => format!("{name}{rest}"),
        _ => format!("{name}: {message}"),
    }
}

/// Whether an error that ends this process is told by another one.
static IS_TOLD: AtomicBool = AtomicBool::new(false);

/// An error that ends this process before it has joined its job is not to be told.
pub(crate) fn end_quietly() {
    IS_TOLD.store(true, Ordering::Relaxed);
}

/// Says what happened and ends the job.
pub(crate) fn fatal(name: &str, code: c_int) -> ! {
    let mut text = describe(code).unwrap_or_else(|| format!("error code {code}"));
    // The text of a recent error begins with the function: say it once.
    if !text.contains(name) {
        text = format!("{name}: {text}");
    }
    let class = class_of(code).unwrap_or(consts::ERR_OTHER);
    match state::process() {
        Some(process) => {
            let rank = process.world.comm.rank();
            say(&format!("rank {rank}: {text}"));
            process.engine.abort(class.clamp(1, 255))
        }
        None => {
            if !IS_TOLD.load(Ordering::Relaxed) {
                say(&text);
            }
            std::process::exit(class.clamp(1, 255))
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes an error handler for communicators.
#[mpi_entry(MPI_Comm_create_errhandler, anytime)]
fn comm_create_errhandler(function: Address, errhandler: Out<RawErrhandler>) -> Done {
    errhandler.set(create(Kind::Comm, function)?);
    Ok(())
}

/// Makes an error handler for sessions.
#[mpi_entry(MPI_Session_create_errhandler, anytime)]
fn session_create_errhandler(function: Address, errhandler: Out<RawErrhandler>) -> Done {
    errhandler.set(create(Kind::Session, function)?);
    Ok(())
}

/// Gives an error handler back; it lives on in the objects that use it.
#[mpi_entry(MPI_Errhandler_free, anytime)]
fn errhandler_free(errhandler: Out<RawErrhandler>) -> Done {
    let raw = errhandler.get();
    match raw.0 {
        consts::ERRORS_ARE_FATAL | consts::ERRORS_ABORT | consts::ERRORS_RETURN => {}
        _ => {
            let user = HANDLERS.get(raw.0).ok_or_else(|| bad_handler(raw))?;
            let mut held = lock(&user.held);
            held.1 -= held.1.min(1);
            if held.1 == 0 {
                HANDLERS.remove(raw.0);
            }
        }
    }
    errhandler.set(RawErrhandler::NULL);
    Ok(())
}

/// Sets a communicator's error handler.
#[mpi_entry(MPI_Comm_set_errhandler)]
fn comm_set_errhandler(comm: crate::comm::CommRef, errhandler: RawErrhandler) -> Done {
    comm.set_handler(handler(errhandler, Kind::Comm)?);
    Ok(())
}

/// Gives a communicator's error handler.
#[mpi_entry(MPI_Comm_get_errhandler)]
fn comm_get_errhandler(comm: crate::comm::CommRef, errhandler: Out<RawErrhandler>) -> Done {
    errhandler.set(handle_of(&comm.handler())?);
    Ok(())
}

/// Calls a communicator's error handler.
#[mpi_entry(MPI_Comm_call_errhandler)]
fn comm_call_errhandler(comm: crate::comm::CommRef, code: c_int) -> Done {
    raise("MPI_Comm_call_errhandler", ErrorObject::Comm(RawComm(comm.raw())), code);
    Ok(())
}

/// Sets a session's error handler.
#[mpi_entry(MPI_Session_set_errhandler, anytime)]
fn session_set_errhandler(session: RawSession, errhandler: RawErrhandler) -> Done {
    crate::session::need(session)?.set_handler(handler(errhandler, Kind::Session)?);
    Ok(())
}

/// Gives a session's error handler.
#[mpi_entry(MPI_Session_get_errhandler, anytime)]
fn session_get_errhandler(session: RawSession, errhandler: Out<RawErrhandler>) -> Done {
    errhandler.set(handle_of(&crate::session::need(session)?.handler())?);
    Ok(())
}

/// Calls a session's error handler.
#[mpi_entry(MPI_Session_call_errhandler, anytime)]
fn session_call_errhandler(session: RawSession, code: c_int) -> Done {
    crate::session::need(session)?;
    raise("MPI_Session_call_errhandler", ErrorObject::Session(session), code);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_tells_its_class_and_its_message() {
        let error = Error::new(ErrorClass::Rank, "rank 9 of 4");
        let code = remember(&error, "MPI_Send");
        assert_eq!(class_of(code), Some(consts::ERR_RANK));
        assert_eq!(describe(code).as_deref(), Some("MPI_ERR_RANK: MPI_Send: rank 9 of 4"));
        let error = Error::new(ErrorClass::NotSame, "Allreduce on communicator 'X' (rank 0 of 2): the ranks disagree");
        let text = "MPI_ERR_NOT_SAME: MPI_Allreduce on communicator 'X' (rank 0 of 2): the ranks disagree";
        assert_eq!(describe(remember(&error, "MPI_Allreduce")).as_deref(), Some(text));
        assert!(!is_interrupted(code));
        assert!(is_interrupted(remember(&Error::interrupted(), "MPI_Recv")));
    }

    #[test]
    fn an_old_code_keeps_its_class_and_loses_its_message() {
        let old = remember(&Error::new(ErrorClass::Tag, "long ago"), "MPI_Recv");
        for _ in 0..KEPT {
            remember(&Error::new(ErrorClass::Count, "since then"), "MPI_Send");
        }
        assert_eq!(class_of(old), Some(consts::ERR_TAG));
        assert_eq!(describe(old).as_deref(), Some("MPI_ERR_TAG: invalid tag"));
    }

    #[test]
    fn a_callback_code_goes_on_unchanged() {
        assert_eq!(remember(&Error::from_callback(77, ErrorClass::Other, "copy function"), "MPI_Comm_dup"), 77);
    }

    #[test]
    fn numbers_that_are_no_codes_have_no_class() {
        for code in [-1, consts::ERR_LASTCODE, 500, FIRST_USER_CODE + 12345] {
            assert_eq!(class_of(code), None, "{code}");
            assert_eq!(describe(code), None, "{code}");
        }
    }
}
