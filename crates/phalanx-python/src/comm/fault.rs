//! Fault tolerance: mpi4py's methods for it, which the standard ABI has no functions for.

use pyo3::exceptions::PyNotImplementedError;
use pyo3::prelude::*;

use super::Comm;

fn missing<T>(method: &str) -> PyResult<T> {
    Err(PyNotImplementedError::new_err(format!("{method}: the MPI 5.0 ABI has no fault tolerance (ULFM)")))
}

/// Methods that take no part of the standard ABI.
macro_rules! missing_methods {
    ($($name:ident ($($argument:ident),*) $signature:literal)*) => {
        #[pymethods]
        impl Comm {$(
            #[doc = concat!(stringify!($name), $signature, "\n\nRaise `NotImplementedError`: not part of the standard ABI.")]
            #[pyo3(signature = ($($argument=None),*))]
            fn $name(&self, $($argument: Option<&Bound<'_, PyAny>>),*) -> PyResult<()> {
                $(let _ = $argument;)*
                missing(stringify!($name))
            }
        )*}
    };
}

missing_methods! {
    Revoke () "(self) -> None"
    Is_revoked () "(self) -> bool"
    Get_failed () "(self) -> Group"
    Ack_failed (num_to_ack) "(self, num_to_ack: int | None = None) -> int"
    Agree (flag) "(self, flag: int | None = None) -> int"
    Iagree (flag) "(self, flag: Buffer | None = None) -> Request"
    Shrink () "(self) -> Comm"
    Ishrink () "(self) -> tuple[Comm, Request]"
}
