//! Windows: communication (MPI 5.0 section 12.3).
//!
//! The library may read or write the origin buffers until the epoch ends. The caller keeps them alive, as in C; operations
//! with a request keep them by the request.

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};

use super::Win;
use crate::comm::pending;
use crate::datatype::Datatype;
use crate::ffi::*;
use crate::gil;
use crate::handle::Handle as _;
use crate::op::Op;
use crate::request::Request;
use crate::spec::Message;

/// Where in the target's window, how many entries, of what.
struct Target {
    displacement: MPI_Aint,
    count: MPI_Count,
    datatype: MPI_Datatype,
}

impl Target {
    /// A displacement, or (displacement, count, datatype) with the last ones optional; else those of the origin.
    fn of(target: Option<&Bound<'_, PyAny>>, origin: &Message) -> PyResult<Target> {
        let mut result = Target { displacement: 0, count: origin.count, datatype: origin.datatype };
        let Some(target) = target else {
            return Ok(result);
        };
        if target.is_instance_of::<PyTuple>() || target.is_instance_of::<PyList>() {
            let items: Vec<Bound<'_, PyAny>> = target.try_iter()?.collect::<PyResult<_>>()?;
            if items.len() > 3 {
                return Err(PyValueError::new_err("target: expecting 3 items at most"));
            }
            if let Some(item) = items.first() {
                result.displacement = item.extract()?;
            }
            if let Some(item) = items.get(1) {
                result.count = item.extract()?;
            }
            if let Some(item) = items.get(2) {
                result.datatype = match item.extract::<String>() {
                    Ok(name) => MPI_Datatype(crate::buffer::format::of_string(&name)?.handle),
                    Err(_) => item.cast::<Datatype>()?.get().raw(),
                };
            }
            return Ok(result);
        }
        result.displacement =
            target.extract().map_err(|_| PyValueError::new_err("target: expecting integral or list/tuple"))?;
        Ok(result)
    }
}

/// The origin buffer; for `PROC_NULL` nothing but the datatype it may name.
fn origin(buffer: &Bound<'_, PyAny>, rank: c_int, write: bool) -> PyResult<Message> {
    let mut message = if write { Message::to_receive(buffer, rank)? } else { Message::to_send(buffer, rank)? };
    if rank == MPI_PROC_NULL
        && (buffer.is_instance_of::<PyTuple>() || buffer.is_instance_of::<PyList>())
        && let Ok(last) = buffer.get_item(buffer.len()?.saturating_sub(1))
        && let Ok(datatype) = last.cast::<Datatype>()
    {
        message.datatype = datatype.get().raw();
    }
    Ok(message)
}

/// The operation of an optional argument, `SUM` by default.
fn op_or_sum(op: Option<&Bound<'_, Op>>) -> MPI_Op {
    op.map_or(MPI_SUM, |op| op.get().raw())
}

/// Checks that a buffer of an atomic operation holds one element of the origin's type.
fn expect_one(message: &Message, origin: &Message, name: &str) -> PyResult<()> {
    if message.count != 1 {
        return Err(PyValueError::new_err(format!("{name}: expecting a single element, got {}", message.count)));
    }
    if message.datatype != origin.datatype {
        return Err(PyValueError::new_err(format!("mismatch in origin and {name} MPI datatypes")));
    }
    Ok(())
}

#[pymethods]
impl Win {
    /// Put(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None) -> None
    ///
    /// Write to the window of a rank. Does not block; complete when the epoch ends.
    #[pyo3(signature = (origin, target_rank, target=None))]
    fn Put(
        &self,
        py: Python<'_>,
        origin: &Bound<'_, PyAny>,
        target_rank: c_int,
        target: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let o = self::origin(origin, target_rank, false)?;
        let (t, raw) = (Target::of(target, &o)?, self.raw());
        // SAFETY: the message is held during the call, then by the caller.
        gil::brief(py, || unsafe {
            MPI_Put_c(o.address, o.count, o.datatype, target_rank, t.displacement, t.count, t.datatype, raw)
        })
    }

    /// Get(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None) -> None
    ///
    /// Read from the window of a rank. Does not block; complete when the epoch ends.
    #[pyo3(signature = (origin, target_rank, target=None))]
    fn Get(
        &self,
        py: Python<'_>,
        origin: &Bound<'_, PyAny>,
        target_rank: c_int,
        target: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let o = self::origin(origin, target_rank, true)?;
        let (t, raw) = (Target::of(target, &o)?, self.raw());
        // SAFETY: the message is held during the call, then by the caller.
        gil::brief(py, || unsafe {
            MPI_Get_c(o.address, o.count, o.datatype, target_rank, t.displacement, t.count, t.datatype, raw)
        })
    }

    /// Accumulate(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None, op: Op = SUM) -> None
    ///
    /// Combine a buffer into the window of a rank. Does not block; complete when the epoch ends.
    #[pyo3(signature = (origin, target_rank, target=None, op=None))]
    fn Accumulate(
        &self,
        py: Python<'_>,
        origin: &Bound<'_, PyAny>,
        target_rank: c_int,
        target: Option<&Bound<'_, PyAny>>,
        op: Option<&Bound<'_, Op>>,
    ) -> PyResult<()> {
        let o = self::origin(origin, target_rank, false)?;
        let (t, op, raw) = (Target::of(target, &o)?, op_or_sum(op), self.raw());
        // SAFETY: the message is held during the call, then by the caller.
        gil::brief(py, || unsafe {
            MPI_Accumulate_c(o.address, o.count, o.datatype, target_rank, t.displacement, t.count, t.datatype, op, raw)
        })
    }

    /// Get_accumulate(self, origin, result, target_rank: int, target: TargetSpec | None = None, op: Op = SUM) -> None
    ///
    /// Combine a buffer into the window of a rank and read what was there. Does not block; complete when the epoch ends.
    #[pyo3(signature = (origin, result, target_rank, target=None, op=None))]
    fn Get_accumulate(
        &self,
        py: Python<'_>,
        origin: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        target_rank: c_int,
        target: Option<&Bound<'_, PyAny>>,
        op: Option<&Bound<'_, Op>>,
    ) -> PyResult<()> {
        let o = self::origin(origin, target_rank, false)?;
        let r = Message::to_receive(result, target_rank)?;
        let (t, op, raw) = (Target::of(target, &o)?, op_or_sum(op), self.raw());
        // SAFETY: the messages are held during the call, then by the caller.
        gil::brief(py, || unsafe {
            MPI_Get_accumulate_c(
                o.address,
                o.count,
                o.datatype,
                r.address,
                r.count,
                r.datatype,
                target_rank,
                t.displacement,
                t.count,
                t.datatype,
                op,
                raw,
            )
        })
    }

    /// Fetch_and_op(self, origin, result, target_rank: int, target_disp: int = 0, op: Op = SUM) -> None
    ///
    /// Combine one element into the window of a rank and read what was there. Does not block.
    #[pyo3(signature = (origin, result, target_rank, target_disp=0, op=None))]
    fn Fetch_and_op(
        &self,
        py: Python<'_>,
        origin: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        target_rank: c_int,
        target_disp: MPI_Aint,
        op: Option<&Bound<'_, Op>>,
    ) -> PyResult<()> {
        let o = self::origin(origin, target_rank, false)?;
        let r = Message::to_receive(result, target_rank)?;
        if target_rank != MPI_PROC_NULL {
            expect_one(&o, &o, "origin")?;
            expect_one(&r, &o, "result")?;
        }
        let (op, raw) = (op_or_sum(op), self.raw());
        // SAFETY: the messages are held during the call, then by the caller.
        gil::brief(py, || unsafe {
            MPI_Fetch_and_op(o.address, r.address, o.datatype, target_rank, target_disp, op, raw)
        })
    }

    /// Compare_and_swap(self, origin, compare, result, target_rank: int, target_disp: int = 0) -> None
    ///
    /// Replace one element in the window of a rank if it equals `compare`, and read what was there. Does not block.
    #[pyo3(signature = (origin, compare, result, target_rank, target_disp=0))]
    fn Compare_and_swap(
        &self,
        py: Python<'_>,
        origin: &Bound<'_, PyAny>,
        compare: &Bound<'_, PyAny>,
        result: &Bound<'_, PyAny>,
        target_rank: c_int,
        target_disp: MPI_Aint,
    ) -> PyResult<()> {
        let o = self::origin(origin, target_rank, false)?;
        let c = Message::to_send(compare, target_rank)?;
        let r = Message::to_receive(result, target_rank)?;
        if target_rank != MPI_PROC_NULL {
            expect_one(&o, &o, "origin")?;
            expect_one(&c, &o, "compare")?;
            expect_one(&r, &o, "result")?;
        }
        let raw = self.raw();
        // SAFETY: the messages are held during the call, then by the caller.
        gil::brief(py, || unsafe {
            MPI_Compare_and_swap(o.address, c.address, r.address, o.datatype, target_rank, target_disp, raw)
        })
    }

    /// Rput(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None) -> Request
    ///
    /// Begin to write to the window of a rank. Does not block.
    #[pyo3(signature = (origin, target_rank, target=None))]
    fn Rput<'py>(
        &self,
        py: Python<'py>,
        origin: &Bound<'py, PyAny>,
        target_rank: c_int,
        target: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Request>> {
        let o = self::origin(origin, target_rank, false)?;
        let (t, raw) = (Target::of(target, &o)?, self.raw());
        // SAFETY: the request holds the message until the operation is over.
        pending::start(py, o, |o, request| unsafe {
            MPI_Rput_c(o.address, o.count, o.datatype, target_rank, t.displacement, t.count, t.datatype, raw, request)
        })
    }

    /// Rget(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None) -> Request
    ///
    /// Begin to read from the window of a rank. Does not block.
    #[pyo3(signature = (origin, target_rank, target=None))]
    fn Rget<'py>(
        &self,
        py: Python<'py>,
        origin: &Bound<'py, PyAny>,
        target_rank: c_int,
        target: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, Request>> {
        let o = self::origin(origin, target_rank, true)?;
        let (t, raw) = (Target::of(target, &o)?, self.raw());
        // SAFETY: the request holds the message until the operation is over.
        pending::start(py, o, |o, request| unsafe {
            MPI_Rget_c(o.address, o.count, o.datatype, target_rank, t.displacement, t.count, t.datatype, raw, request)
        })
    }

    /// Raccumulate(self, origin: BufSpec, target_rank: int, target: TargetSpec | None = None, op: Op = SUM) -> Request
    ///
    /// Begin to combine a buffer into the window of a rank. Does not block.
    #[pyo3(signature = (origin, target_rank, target=None, op=None))]
    fn Raccumulate<'py>(
        &self,
        py: Python<'py>,
        origin: &Bound<'py, PyAny>,
        target_rank: c_int,
        target: Option<&Bound<'py, PyAny>>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<Bound<'py, Request>> {
        let o = self::origin(origin, target_rank, false)?;
        let (t, op, raw) = (Target::of(target, &o)?, op_or_sum(op), self.raw());
        // SAFETY: the request holds the message until the operation is over.
        pending::start(py, o, |o, request| unsafe {
            let (at, n, what) = (t.displacement, t.count, t.datatype);
            MPI_Raccumulate_c(o.address, o.count, o.datatype, target_rank, at, n, what, op, raw, request)
        })
    }

    /// Rget_accumulate(self, origin, result, target_rank: int, target: TargetSpec | None = None, op: Op = SUM) -> Request
    ///
    /// Begin to combine a buffer into the window of a rank and to read what was there. Does not block.
    #[pyo3(signature = (origin, result, target_rank, target=None, op=None))]
    fn Rget_accumulate<'py>(
        &self,
        py: Python<'py>,
        origin: &Bound<'py, PyAny>,
        result: &Bound<'py, PyAny>,
        target_rank: c_int,
        target: Option<&Bound<'py, PyAny>>,
        op: Option<&Bound<'py, Op>>,
    ) -> PyResult<Bound<'py, Request>> {
        let o = self::origin(origin, target_rank, false)?;
        let r = Message::to_receive(result, target_rank)?;
        let (t, op, raw) = (Target::of(target, &o)?, op_or_sum(op), self.raw());
        // SAFETY: the request holds the messages until the operation is over.
        pending::start(py, (o, r), |(o, r), request| unsafe {
            MPI_Rget_accumulate_c(
                o.address,
                o.count,
                o.datatype,
                r.address,
                r.count,
                r.datatype,
                target_rank,
                t.displacement,
                t.count,
                t.datatype,
                op,
                raw,
                request,
            )
        })
    }
}
