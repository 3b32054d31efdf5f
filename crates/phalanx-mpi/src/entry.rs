//! What happens around every body: the life-cycle check, panics, errors and their handlers.

use std::any::Any;
use std::ffi::c_int;
use std::panic::{AssertUnwindSafe, catch_unwind};

use phalanx_engine::{Error, ErrorClass};

use crate::consts;
use crate::errors::{self, Handler};
use crate::handle::{RawComm, RawFile, RawSession, RawWin};
use crate::state;
use crate::trace;

/// The object whose error handler learns of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ErrorObject {
    /// The call is about no such object: `MPI_COMM_SELF`'s handler is asked.
    None,
    Comm(RawComm),
    Win(RawWin),
    File(RawFile),
    Session(RawSession),
}

impl ErrorObject {
    /// This object, if the handle is of one. `MPI_COMM_SELF`'s handler, which is asked otherwise, must not be given a
    /// handle that no call takes: an error of its own calls would come to it again.
    fn existing(self) -> ErrorObject {
        let exists = match self {
            ErrorObject::Comm(raw) => crate::comm::find(raw).is_ok(),
            ErrorObject::Session(raw) => crate::session::find(raw).is_some(),
            ErrorObject::File(raw) if crate::io::find(raw).is_ok() => true,
            // Errors without a file are the business of MPI_FILE_NULL (MPI 5.0 §14.7).
            ErrorObject::File(_) => return ErrorObject::File(RawFile::NULL),
            ErrorObject::Win(raw) => crate::win::find(raw).is_some(),
            ErrorObject::None => false,
        };
        if exists { self } else { ErrorObject::None }
    }
}

/// How a body fails.
#[derive(Debug)]
pub(crate) enum Failure {
    /// With an error of the engine or of the argument checks, about the object among the arguments.
    Error(Error),
    /// With an error about another object (that of a request, say).
    On(ErrorObject, Error),
    /// With a code that exists already.
    Code(ErrorObject, c_int),
    /// With a code that its object's error handler has been told.
    Told(c_int),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Error(error)
    }
}

/// What a body gives.
pub(crate) type Done = Result<(), Failure>;

/// An error of the C surface's own checks.
#[cold]
pub(crate) fn wrong(class: ErrorClass, message: impl Into<String>) -> Failure {
    Failure::Error(Error::new(class, message))
}

/// The first object among the arguments.
pub(crate) fn first_object(objects: &[ErrorObject]) -> ErrorObject {
    objects.iter().copied().find(|o| *o != ErrorObject::None).unwrap_or(ErrorObject::None)
}

/// Runs a body and turns its outcome into an error code; `recorded` is the call in the trace, if it has a record there.
#[inline(always)]
pub(crate) fn run(
    name: &'static str,
    recorded: Option<trace::Call>,
    body: impl FnOnce() -> Done,
    object: impl FnOnce() -> ErrorObject,
) -> c_int {
    let code = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => consts::SUCCESS,
        Ok(Err(failure)) => fail(name, object(), failure),
        Err(panic) => panicked(name, object(), &*panic),
    };
    if let Some(recorded) = recorded {
        std::hint::cold_path();
        recorded.ends();
    }
    code
}

/// Runs a body of the tool interface, which has no error handlers: an error is the code and nothing else (MPI 5.0 §15.3.10).
/// What is wrong with an argument before the body sees it is `MPI_T_ERR_INVALID`.
pub(crate) fn run_tool(body: impl FnOnce() -> Done) -> c_int {
    if !crate::tool::is_initialized() {
        return consts::T_ERR_NOT_INITIALIZED;
    }
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => consts::SUCCESS,
        Ok(Err(Failure::Told(code))) => code,
        Ok(Err(_)) => consts::T_ERR_INVALID,
        Err(_) => consts::ERR_INTERN,
    }
}

/// What there is to do before a call in a program that is traced or checked: the record of the call, if it has one. `number` is its
/// function's in traces (0: not recorded). (Not marked as cold: it would be compiled to be short, and a traced program goes through
/// it at each call.)
#[inline(never)]
pub(crate) fn look_closely(
    name: &'static str,
    number: u16,
    arguments: impl FnOnce() -> trace::Arguments,
) -> Option<trace::Call> {
    if crate::check::is_on() {
        crate::check::look_at_call(name);
    }
    trace::begins(number, arguments)
}

/// The error code of a call that may be made between initialisation and finalisation only, while the library is not running.
#[cold]
#[inline(never)]
pub(crate) fn not_running(name: &'static str) -> c_int {
    let what = if state::was_finalized() { "was called after MPI_Finalize" } else { "was called before MPI_Init" };
    let code = errors::remember(&Error::new(ErrorClass::Other, what), name);
    errors::fatal(name, code)
}

#[cold]
#[inline(never)]
fn panicked(name: &'static str, object: ErrorObject, panic: &(dyn Any + Send)) -> c_int {
    let what = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("unknown");
    let text = format!("internal error in Phalanx, please report it: {what}");
    fail(name, object, Failure::Error(Error::new(ErrorClass::Intern, text)))
}

/// Hands an error to the handler of its object and gives the code for the caller.
#[cold]
#[inline(never)]
pub(crate) fn fail(name: &'static str, object: ErrorObject, failure: Failure) -> c_int {
    trace::settle();
    let (object, code) = match failure {
        Failure::Told(code) => return code,
        Failure::Code(ErrorObject::None, code) => (object, code),
        Failure::Code(other, code) => (other, code),
        Failure::Error(error) => (object, errors::remember(&error, name)),
        Failure::On(other, error) => (other, errors::remember(&error, name)),
    };
    raise(name, object, code)
}

/// Calls the error handler of `object` with `code`; gives `code` when the handler returns.
pub(crate) fn raise(name: &'static str, object: ErrorObject, code: c_int) -> c_int {
    let object = object.existing();
    match errors::handler_of(object) {
        Handler::Return => code,
        Handler::Fatal | Handler::Abort => errors::fatal(name, code),
        Handler::User(user) => {
            // A panic must not reach C, nor must user code run under any lock: none is held here.
            user.call(object, code);
            code
        }
    }
}
