//! Events and their sources (MPI 5.0 §15.3.8): there are none, so that no number, name or handle is one's.
//!
//! What an event could tell here happens millions of times a second; a callback at each would be the larger part of what it
//! measures. The counts are performance variables.

use std::ffi::c_int;

use phalanx_mpi_macros::mpi_entry;

use crate::consts;
use crate::entry::Done;
use crate::info::InfoRef;
use crate::param::{Address, Out, OutArray, Text, TextOut};

use super::refuse;

/// Gives the number of sources of events.
#[mpi_entry(MPI_T_source_get_num, tool)]
fn source_get_num(number: Out<c_int>) -> Done {
    number.set(0);
    Ok(())
}

/// Describes a source.
#[mpi_entry(MPI_T_source_get_info, tool)]
fn source_get_info(
    _index: c_int,
    _name: TextOut,
    _name_len: OutArray<c_int>,
    _desc: TextOut,
    _desc_len: OutArray<c_int>,
    _ordering: Address,
    _ticks_per_second: OutArray<i64>,
    _max_ticks: OutArray<i64>,
    _info: Address,
) -> Done {
    refuse(consts::T_ERR_INVALID_INDEX)
}

/// Gives the time of a source.
#[mpi_entry(MPI_T_source_get_timestamp, tool)]
fn source_get_timestamp(_index: c_int, _timestamp: OutArray<i64>) -> Done {
    refuse(consts::T_ERR_INVALID_INDEX)
}

/// Gives the number of event types.
#[mpi_entry(MPI_T_event_get_num, tool)]
fn event_get_num(number: Out<c_int>) -> Done {
    number.set(0);
    Ok(())
}

/// Describes an event type.
#[mpi_entry(MPI_T_event_get_info, tool)]
fn event_get_info(
    _index: c_int,
    _name: TextOut,
    _name_len: OutArray<c_int>,
    _verbosity: OutArray<c_int>,
    _datatypes: Address,
    _displacements: Address,
    _elements: OutArray<c_int>,
    _enumeration: Address,
    _info: Address,
    _desc: TextOut,
    _desc_len: OutArray<c_int>,
    _bind: OutArray<c_int>,
) -> Done {
    refuse(consts::T_ERR_INVALID_INDEX)
}

/// Gives the number of the event type of a name.
#[mpi_entry(MPI_T_event_get_index, tool)]
fn event_get_index(_name: Text, _index: Out<c_int>) -> Done {
    refuse(consts::T_ERR_INVALID_NAME)
}

/// Makes a handle of an event type.
#[mpi_entry(MPI_T_event_handle_alloc, tool)]
fn event_handle_alloc(_index: c_int, _object: Address, _info: InfoRef, _registration: Address) -> Done {
    refuse(consts::T_ERR_INVALID_INDEX)
}

/// Changes the hints of a handle.
#[mpi_entry(MPI_T_event_handle_set_info, tool)]
fn event_handle_set_info(_registration: Address, _info: InfoRef) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}

/// Gives the hints of a handle.
#[mpi_entry(MPI_T_event_handle_get_info, tool)]
fn event_handle_get_info(_registration: Address, _info: Address) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}

/// Sets the function that is called at events.
#[mpi_entry(MPI_T_event_register_callback, tool)]
fn event_register_callback(
    _registration: Address,
    _safety: c_int,
    _info: InfoRef,
    _user_data: Address,
    _function: Address,
) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}

/// Changes the hints of a callback.
#[mpi_entry(MPI_T_event_callback_set_info, tool)]
fn event_callback_set_info(_registration: Address, _safety: c_int, _info: InfoRef) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}

/// Gives the hints of a callback.
#[mpi_entry(MPI_T_event_callback_get_info, tool)]
fn event_callback_get_info(_registration: Address, _safety: c_int, _info: Address) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}

/// Frees a handle.
#[mpi_entry(MPI_T_event_handle_free, tool)]
fn event_handle_free(_registration: Address, _user_data: Address, _function: Address) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}

/// Sets the function that is called when events were lost.
#[mpi_entry(MPI_T_event_set_dropped_handler, tool)]
fn event_set_dropped_handler(_registration: Address, _function: Address) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}

/// Reads an element of an event.
#[mpi_entry(MPI_T_event_read, tool)]
fn event_read(_instance: Address, _element: c_int, _buffer: Address) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}

/// Copies an event.
#[mpi_entry(MPI_T_event_copy, tool)]
fn event_copy(_instance: Address, _buffer: Address) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}

/// Gives the time of an event.
#[mpi_entry(MPI_T_event_get_timestamp, tool)]
fn event_get_timestamp(_instance: Address, _timestamp: OutArray<i64>) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}

/// Gives the source of an event.
#[mpi_entry(MPI_T_event_get_source, tool)]
fn event_get_source(_instance: Address, _source: OutArray<c_int>) -> Done {
    refuse(consts::T_ERR_INVALID_HANDLE)
}
