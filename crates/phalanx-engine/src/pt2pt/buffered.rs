//! Buffered sends and their attached buffers (MPI 5.0 §3.6).
//!
//! The engine copies the data of a buffered send into memory of its own, and uses the attached buffer as the
//! budget the standard makes it: a send that exceeds what is attached, and not taken by earlier ones, is an error. A send
//! that finds room in the ring takes its part of the budget for a moment only. The user's memory itself is never written.
//!
//! A send takes the buffer of its communicator, else that of the session the communicator comes from, else that of the
//! process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::comm::Comm;
use crate::engine::{Core, Data, Engine, Outgoing, Owner, RawOp, Schedule, Step, Told, Waiting};
use crate::error::{Error, ErrorClass, Result};
use crate::request::Request;
use crate::status::Status;

/// Bytes each buffered send takes besides its data (`MPI_BSEND_OVERHEAD` must not be less).
pub const OVERHEAD: usize = 512;

/// A buffer for buffered sends, as the user gives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// Its address, which is only kept for the user.
    pub address: usize,
    /// Bytes of it.
    pub size: usize,
    /// It has no limit, whatever its size (`MPI_BUFFER_AUTOMATIC`).
    pub unlimited: bool,
}

/// The buffer attached to a process, a communicator or a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct Attached {
    buffer: Option<Buffer>,
}

/// The buffer of a session, which its groups and communicators know.
#[derive(Clone, Debug, Default)]
pub struct SessionBuffer(Arc<Mutex<Attached>>);

impl SessionBuffer {
    /// Attaches a buffer for buffered sends on the session's communicators (`MPI_Session_attach_buffer`).
    ///
    /// # Errors
    /// Class `Buffer` when one is attached already.
    pub fn attach(&self, buffer: Buffer) -> Result<()> {
        attach(&self.0, buffer, "the session")
    }

    /// Waits for buffered sends and gives the buffer back (`MPI_Session_detach_buffer`).
    ///
    /// # Errors
    /// Class `Buffer` when none is attached; interruption.
    pub fn detach(&self, engine: &Engine) -> Result<Buffer> {
        detach(engine, &self.0, "the session")
    }
}

fn locked(attached: &Mutex<Attached>) -> MutexGuard<'_, Attached> {
    attached.lock().unwrap_or_else(PoisonError::into_inner)
}

fn attach(to: &Mutex<Attached>, buffer: Buffer, owner: &str) -> Result<()> {
    let mut attached = locked(to);
    if attached.buffer.is_some() {
        return Err(Error::new(ErrorClass::Buffer, format!("{owner} already has an attached buffer; detach it first")));
    }
    attached.buffer = Some(buffer);
    Ok(())
}

fn detach(engine: &Engine, from: &Mutex<Attached>, owner: &str) -> Result<Buffer> {
    let none = || Error::new(ErrorClass::Buffer, format!("{owner} has no attached buffer to detach"));
    locked(from).buffer.ok_or_else(none)?;
    flush(engine, "Buffer_detach")?;
    locked(from).buffer.take().ok_or_else(none)
}

fn flush(engine: &Engine, operation: &'static str) -> Result<()> {
    let tell = |core: &mut Core, told: &mut Told| told.sends(core, |send| send.reserved > 0);
    engine.block_until(Waiting::on(operation, 0).for_what(&tell), |core| (core.buffered == 0).then_some(Ok(())))
}

/// Waits for the buffered sends that are under way.
struct Flush;

impl Schedule for Flush {
    fn advance(&mut self, engine: &Engine) -> Result<Step> {
        // Buffered sends have no owner whose completion schedules would hear of: look at every pass.
        Ok(if engine.core().buffered == 0 { Step::Done(Status::EMPTY) } else { Step::Poll })
    }

    fn name(&self) -> &'static str {
        "Buffer_iflush"
    }

    fn abandon(&mut self, _engine: &Engine) {}
}

impl Engine {
    /// Attaches a buffer for buffered sends of this process (`MPI_Buffer_attach`). Only its size matters here:
    /// its memory is not written.
    ///
    /// # Errors
    /// Class `Buffer` when one is attached already.
    pub fn attach_buffer(&self, buffer: Buffer) -> Result<()> {
        attach(&self.0.attached, buffer, "this process")
    }

    /// Waits for buffered sends and gives the buffer back (`MPI_Buffer_detach`).
    ///
    /// # Errors
    /// Class `Buffer` when none is attached; interruption.
    pub fn detach_buffer(&self) -> Result<Buffer> {
        detach(self, &self.0.attached, "this process")
    }

    /// Waits until all buffered sends have left the buffer (`MPI_Buffer_flush`).
    ///
    /// # Errors
    /// Interruption.
    pub fn flush_buffer(&self) -> Result<()> {
        flush(self, "Buffer_flush")
    }

    /// Starts waiting until all buffered sends have left the buffer (`MPI_Buffer_iflush`).
    ///
    /// # Errors
    /// When the engine cannot go on.
    pub fn iflush_buffer(&self) -> Result<Request> {
        self.start_schedule(Box::new(Flush))
    }
}

impl Comm {
    /// Attaches a buffer for buffered sends on this communicator (`MPI_Comm_attach_buffer`).
    ///
    /// # Errors
    /// Class `Buffer` when one is attached already.
    pub fn attach_buffer(&self, buffer: Buffer) -> Result<()> {
        attach(&self.0.attached, buffer, "the communicator")
    }

    /// Waits for buffered sends and gives the buffer back (`MPI_Comm_detach_buffer`).
    ///
    /// # Errors
    /// Class `Buffer` when none is attached; interruption.
    pub fn detach_buffer(&self) -> Result<Buffer> {
        detach(self.engine(), &self.0.attached, "the communicator")
    }

    /// Waits until all buffered sends have left the buffer (`MPI_Comm_flush_buffer`).
    ///
    /// # Errors
    /// Interruption.
    pub fn flush_buffer(&self) -> Result<()> {
        flush(self.engine(), "Comm_flush_buffer")
    }

    /// Starts a buffered send: complete when this returns, as far as the user sees.
    pub(crate) fn start_buffered(&self, core: &mut Core, m: &Outgoing<'_>) -> Result<RawOp> {
        let own = locked(&self.0.attached).buffer;
        let of_session = || self.group().session().and_then(|session| locked(&session.0).buffer);
        let buffer = own.or_else(of_session).or_else(|| locked(&self.engine().0.attached).buffer);
        let reserved = m.bytes() + OVERHEAD;
        match buffer {
            Some(Buffer { unlimited: true, .. }) => {}
            Some(Buffer { size, .. }) if core.buffered + reserved <= size => {}
            Some(Buffer { size, .. }) => {
                return Err(Error::new(
                    ErrorClass::Buffer,
                    format!(
                        "a buffered send of {} bytes (and {OVERHEAD} overhead) does not fit: {} of the attached {size} bytes are in use; attach a larger buffer",
                        m.bytes(),
                        core.buffered
                    ),
                ));
            }
            None => {
                return Err(Error::new(
                    ErrorClass::Buffer,
                    format!("a buffered send of {} bytes needs an attached buffer, and none is attached", m.bytes()),
                ));
            }
        }
        if core.send_now(m)? {
            return Ok(RawOp::DONE);
        }
        let mut packed = vec![0; m.bytes()];
        m.ty.pack(m.count, &m.mem, 0, &mut packed);
        if m.dest == core.me {
            core.store_owned(m, packed);
            core.settle();
            return Ok(RawOp::DONE);
        }
        core.buffered += reserved;
        match core.send_queued(m, Data::Owned(packed), reserved, Owner::Nobody) {
            Ok(_) => Ok(RawOp::DONE),
            Err(error) => {
                core.buffered -= reserved;
                Err(error)
            }
        }
    }
}
