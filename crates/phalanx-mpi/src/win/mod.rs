//! Windows (MPI 5.0 §12): handles, names, hints, attributes, error handlers.
//!
//! - `make`: creation and freeing.
//! - `rma`: communication.
//! - `sync`: synchronization.

mod make;
mod rma;
mod sync;

use std::ffi::c_int;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phalanx_engine::ErrorClass;
use phalanx_engine::info::Info;
use phalanx_engine::win::{Flavor, Window};
use phalanx_mpi_macros::mpi_entry;
use phalanx_shm::ProcId;

use crate::attr::Attributes;
use crate::consts;
use crate::entry::{Done, ErrorObject, Failure, raise, wrong};
use crate::errors::{self, Handler};
use crate::handle::{Kind, RawErrhandler, RawGroup, RawInfo, RawWin};
use crate::info::InfoRef;
use crate::param::{Address, Out, Param, Text, TextOut};
use crate::table::Table;

/// What a window handle refers to.
pub(crate) struct WinObject {
    win: Window,
    raw: usize,
    handler: Mutex<Handler>,
    info: Mutex<Info>,
    /// The attributes.
    pub(crate) attrs: Attributes,
    values: Values,
}

/// The values of predefined attributes, to which programs get pointers.
struct Values {
    size: isize,
    unit: c_int,
    flavor: c_int,
    model: c_int,
}

static WINS: Table<Arc<WinObject>> = Table::new(Kind::Win);

impl WinObject {
    fn new(win: Window, raw: usize, info: Info) -> WinObject {
        let flavor = match win.flavor() {
            Flavor::Create => consts::WIN_FLAVOR_CREATE,
            Flavor::Allocate => consts::WIN_FLAVOR_ALLOCATE,
            Flavor::Shared => consts::WIN_FLAVOR_SHARED,
            Flavor::Dynamic => consts::WIN_FLAVOR_DYNAMIC,
        };
        let values = Values {
            size: win.memory().len() as isize,
            unit: c_int::try_from(win.unit()).unwrap_or(c_int::MAX),
            flavor,
            // What one process writes is seen by all: there is one copy of the memory.
            model: consts::WIN_UNIFIED,
        };
        WinObject {
            win,
            raw,
            handler: Mutex::new(Handler::Fatal),
            info: Mutex::new(info),
            attrs: Attributes::default(),
            values,
        }
    }

    /// The handle.
    pub(crate) fn raw(&self) -> usize {
        self.raw
    }

    /// The object that errors about this window name.
    pub(crate) fn error_object(&self) -> ErrorObject {
        ErrorObject::Win(RawWin(self.raw))
    }

    /// How texts call it.
    pub(crate) fn title(&self) -> String {
        match self.win.name() {
            name if name.is_empty() => format!("unnamed window 0x{:x}", self.raw),
            name => name,
        }
    }

    /// The process of a rank in its group.
    pub(crate) fn member(&self, rank: usize) -> Option<ProcId> {
        self.win.group().get(rank)
    }

    /// The error handler.
    pub(crate) fn handler(&self) -> Handler {
        self.handler.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn info(&self) -> MutexGuard<'_, Info> {
        self.info.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a predefined attribute: the address of the window's memory, or that of a number.
    pub(crate) fn predefined(&self, keyval: c_int) -> Option<usize> {
        let address = match keyval {
            consts::WIN_BASE => self.win.memory().as_ptr() as usize,
            consts::WIN_SIZE => &raw const self.values.size as usize,
            consts::WIN_DISP_UNIT => &raw const self.values.unit as usize,
            consts::WIN_CREATE_FLAVOR => &raw const self.values.flavor as usize,
            consts::WIN_MODEL => &raw const self.values.model as usize,
            _ => return None,
        };
        Some(address)
    }
}

/// A window argument.
pub(crate) struct WinRef(Arc<WinObject>);

impl Deref for WinRef {
    type Target = WinObject;
    #[inline]
    fn deref(&self) -> &WinObject {
        &self.0
    }
}

impl<W> Param<W> for WinRef {
    type Raw = RawWin;
    #[inline]
    unsafe fn decode(raw: RawWin) -> Result<WinRef, Failure> {
        find(raw).map(WinRef).ok_or_else(|| no_window(raw))
    }
    fn object(raw: RawWin) -> ErrorObject {
        ErrorObject::Win(raw)
    }
}

/// The window behind a handle.
#[inline]
pub(crate) fn find(raw: RawWin) -> Option<Arc<WinObject>> {
    WINS.get(raw.0)
}

#[cold]
fn no_window(raw: RawWin) -> Failure {
    let text = if raw == RawWin::NULL {
        "the window is MPI_WIN_NULL".to_string()
    } else {
        format!("the window handle 0x{:x} is not valid: it was freed, or never was a window", raw.0)
    };
    wrong(ErrorClass::Win, text)
}

/// Makes an error handler for windows.
#[mpi_entry(MPI_Win_create_errhandler, anytime)]
fn win_create_errhandler(function: Address, errhandler: Out<RawErrhandler>) -> Done {
    errhandler.set(errors::create(Kind::Win, function)?);
    Ok(())
}

/// Sets a window's error handler.
#[mpi_entry(MPI_Win_set_errhandler)]
fn win_set_errhandler(win: WinRef, errhandler: RawErrhandler) -> Done {
    let handler = errors::handler(errhandler, Kind::Win)?;
    *win.handler.lock().unwrap_or_else(PoisonError::into_inner) = handler;
    Ok(())
}

/// Gives a window's error handler.
#[mpi_entry(MPI_Win_get_errhandler)]
fn win_get_errhandler(win: WinRef, errhandler: Out<RawErrhandler>) -> Done {
    errhandler.set(errors::handle_of(&win.handler())?);
    Ok(())
}

/// Calls a window's error handler.
#[mpi_entry(MPI_Win_call_errhandler)]
fn win_call_errhandler(win: WinRef, code: c_int) -> Done {
    raise("MPI_Win_call_errhandler", win.error_object(), code);
    Ok(())
}

/// The name of a window.
#[mpi_entry(MPI_Win_get_name)]
fn win_get_name(win: RawWin, name: TextOut, length: Out<c_int>) -> Done {
    let text = match win {
        RawWin::NULL => "MPI_WIN_NULL".to_string(),
        win => find(win).ok_or_else(|| no_window(win))?.win.name(),
    };
    length.set(name.set(&text, consts::MAX_OBJECT_NAME as usize)? as c_int);
    Ok(())
}

/// Sets the name of a window.
#[mpi_entry(MPI_Win_set_name)]
fn win_set_name(win: WinRef, name: Text) -> Done {
    win.win.set_name(crate::param::cut(&name.0, consts::MAX_OBJECT_NAME as usize - 1));
    crate::trace::renamed();
    Ok(())
}

/// The hints in use.
#[mpi_entry(MPI_Win_get_info)]
fn win_get_info(win: WinRef, info: Out<RawInfo>) -> Done {
    let hints = crate::info::copy(&win.info())?;
    info.set(crate::info::adopt(hints)?);
    Ok(())
}

/// Sets hints.
#[mpi_entry(MPI_Win_set_info)]
fn win_set_info(win: WinRef, info: InfoRef) -> Done {
    let hints = info.hints()?;
    *win.info() = hints;
    Ok(())
}

/// The group of a window's processes.
#[mpi_entry(MPI_Win_get_group)]
fn win_get_group(win: WinRef, group: Out<RawGroup>) -> Done {
    group.set(crate::group::adopt(win.win.group().clone())?);
    Ok(())
}
