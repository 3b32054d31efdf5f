//! Control variables (MPI 5.0 §15.3.6).

use std::ffi::c_int;

use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::{Done, Failure};
use crate::handle::{Kind, RawControl, RawEnum, RawType};
use crate::param::{Address, Out, OutArray, Text, TextOut};
use crate::state;
use crate::table::Table;

use super::variables::{CONTROLS, Control};
use super::{at, give, refuse, tool};

/// The numbers of the variables behind handles.
static HANDLES: Table<usize> = Table::new(Kind::ControlHandle);

/// Ends all handles.
pub(super) fn end() {
    HANDLES.remove_all(|_| true);
}

/// Gives the number of control variables.
#[mpi_entry(MPI_T_cvar_get_num, tool)]
fn cvar_get_num(number: Out<c_int>) -> Done {
    number.set(CONTROLS.len() as c_int);
    Ok(())
}

/// Describes a control variable.
#[mpi_entry(MPI_T_cvar_get_info, tool)]
fn cvar_get_info(
    index: c_int,
    name: TextOut,
    name_len: OutArray<c_int>,
    verbosity: OutArray<c_int>,
    datatype: OutArray<RawType>,
    enumeration: OutArray<RawEnum>,
    desc: TextOut,
    desc_len: OutArray<c_int>,
    bind: OutArray<c_int>,
    scope: OutArray<c_int>,
) -> Done {
    let control = at(CONTROLS, index)?;
    give(control.name, &name, &name_len)?;
    give(control.text, &desc, &desc_len)?;
    verbosity.set(0, control.verbosity);
    datatype.set(0, RawType(control.ty.datatype()));
    enumeration.set(0, control.ty.enumeration());
    bind.set(0, consts::T_BIND_NO_OBJECT);
    scope.set(0, control.scope);
    Ok(())
}

/// Gives the number of the control variable of a name.
#[mpi_entry(MPI_T_cvar_get_index, tool)]
fn cvar_get_index(name: Text, index: Out<c_int>) -> Done {
    match CONTROLS.iter().position(|control| control.name == name.0) {
        Some(found) => index.set(found as c_int),
        None => return refuse(consts::T_ERR_INVALID_NAME),
    }
    Ok(())
}

/// Makes a handle of a control variable. None is bound to an object, so that the object is not looked at.
#[mpi_entry(MPI_T_cvar_handle_alloc, tool)]
fn cvar_handle_alloc(index: c_int, _object: Address, handle: Out<RawControl>, count: Out<c_int>) -> Done {
    at(CONTROLS, index)?;
    let Some(raw) = HANDLES.insert(index as usize) else { return refuse(consts::T_ERR_OUT_OF_HANDLES) };
    handle.set(RawControl(raw));
    count.set(1);
    Ok(())
}

/// Frees a handle.
#[mpi_entry(MPI_T_cvar_handle_free, tool)]
fn cvar_handle_free(handle: Out<RawControl>) -> Done {
    if HANDLES.remove(handle.get().0).is_none() {
        return refuse(consts::T_ERR_INVALID_HANDLE);
    }
    handle.set(RawControl::NULL);
    Ok(())
}

fn find(handle: RawControl) -> Result<(usize, &'static Control), Failure> {
    match HANDLES.get(handle.0).and_then(|index| CONTROLS.get(index).map(|control| (index, control))) {
        Some(found) => Ok(found),
        None => refuse(consts::T_ERR_INVALID_HANDLE),
    }
}

/// Reads a control variable. What the engine finds out when it starts cannot be read before.
#[mpi_entry(MPI_T_cvar_read, tool)]
fn cvar_read(handle: RawControl, buffer: Address) -> Done {
    let (index, control) = find(handle)?;
    let tool = tool();
    let value = match (state::process(), &control.write) {
        (Some(process), _) => (control.read)(&process.engine),
        (None, Some(write)) => tool.wanted[index].unwrap_or_else(write.before),
        (None, None) => return refuse(consts::T_ERR_NOT_ACCESSIBLE),
    };
    control.ty.store(buffer, value)
}

/// Writes a control variable: from now on, or from the start of the engine on.
#[mpi_entry(MPI_T_cvar_write, tool)]
fn cvar_write(handle: RawControl, buffer: Address) -> Done {
    let (index, control) = find(handle)?;
    let Some(write) = &control.write else { return refuse(consts::T_ERR_CVAR_SET_NEVER) };
    let value = control.ty.load(buffer)?;
    if value > write.most {
        return refuse(consts::T_ERR_INVALID);
    }
    let mut tool = tool();
    match state::process() {
        None => tool.wanted[index] = Some(value),
        Some(_) if !state::is_running() => return refuse(consts::T_ERR_CVAR_SET_NOT_NOW),
        Some(process) if !(write.now)(&process.engine, value) => return refuse(consts::T_ERR_INVALID),
        Some(_) => {}
    }
    Ok(())
}
