//! Requests that hold the messages of their operation.

use std::sync::Arc;

use pyo3::prelude::*;

use crate::ffi::*;
use crate::prequest::Prequest;
use crate::request::{Held, Keep, Request};

/// Messages of an operation under way.
struct Messages<T>(T);

impl<T: Send + Sync> Held for Messages<T> {}

/// Begins a nonblocking operation on `messages`, which the request holds until the operation is over.
pub(crate) fn start<'py, T: Send + Sync + 'static>(
    py: Python<'py>,
    messages: T,
    call: impl FnOnce(&T, *mut MPI_Request) -> c_int,
) -> PyResult<Bound<'py, Request>> {
    let held = Arc::new(Messages(messages));
    Request::start(py, Keep::Held(held.clone()), move |request| call(&held.0, request))
}

/// Prepares a persistent operation on `messages`, which the request holds until it is freed.
pub(crate) fn prepare<'py, T: Send + Sync + 'static>(
    py: Python<'py>,
    messages: T,
    call: impl FnOnce(&T, *mut MPI_Request) -> c_int,
) -> PyResult<Bound<'py, Prequest>> {
    let held = Arc::new(Messages(messages));
    Prequest::init(py, Keep::Held(held.clone()), move |request| call(&held.0, request))
}
