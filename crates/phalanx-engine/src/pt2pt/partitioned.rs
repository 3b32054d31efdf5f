//! Partitioned communication (MPI 5.0 §4): one message whose parts are marked ready one by one.
//!
//! Each partition of the sender is a message of its own, sent when it is marked ready, so that it arrives while the others
//! are being computed. What these messages have in common is a *greeting*, sent once when the sender is made: how many
//! partitions and bytes there are, and the first of the tags that the partitions have, in order, in every round. Greetings
//! are matched by communicator, source and tag in the order in which both sides were made, as the standard wants it for the
//! pairs; the rest follows, since messages with one source and tag stay in order. Greetings and partitions have contexts of
//! their own beside those of the communicator: nothing else meets them.
//!
//! The receiver may divide the same bytes otherwise: a partition of its own has arrived when all those of the sender that
//! overlap it have. They land where they belong at once. Only where the sender's boundaries fall inside an element of a
//! receiver's type with gaps do they wait in between, to be unpacked.
//!
//! A round is a schedule, which is over when all its messages are. One that fails leaves messages of some partitions, which
//! would be taken for those of the next round: so all later ones fail, too. Locks are taken in the order channel, core.

mod receiving;
mod sending;
mod tags;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use phalanx_shm::ProcId;
use phalanx_waits::Kind;

use crate::comm::Comm;
use crate::datatype::Datatype;
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::{Core, Engine, Schedule, Step};
use crate::error::{Error, ErrorClass, Result, fail};
use crate::request::Request;
use crate::status::{PROC_NULL, Status};

use receiving::Receiving;
use sending::Sending;

pub(crate) use tags::Tags;

/// Bit of the contexts of partitioned communication. Contexts are drawn from 0 on.
pub(crate) const PARTITIONED: u32 = 1 << 30;

/// A partitioned send or receive: what marks partitions as ready, or tells whether they have arrived. Any thread may use it,
/// also while another waits for the request.
#[derive(Clone)]
pub struct Partitioned(Arc<Channel>);

/// One side of a partitioned message.
struct Channel {
    comm: Comm,
    /// Rank of the other side, or `PROC_NULL`.
    peer: i32,
    tag: i32,
    partitions: usize,
    end: End,
}

enum End {
    Send(Mutex<Sending>),
    Recv(Mutex<Receiving>),
}

impl Comm {
    /// A send in `partitions` parts of `buf.count` elements each, one behind the other (`MPI_Psend_init`): an inactive request.
    ///
    /// # Errors
    /// Wrong rank, tag, type, number of partitions.
    pub fn psend_init(
        &self,
        buf: SendBuf<'static, '_>,
        partitions: i32,
        dest: i32,
        tag: i32,
    ) -> Result<(Request, Partitioned)> {
        let init = || {
            let (count, to) = self.checked(partitions, (buf.count, buf.ty), buf.mem.as_ptr(), dest, tag)?;
            Ok((count, End::Send(Mutex::new(Sending::new(self, &buf, count, to, tag)?))))
        };
        let (partitions, end) = init().map_err(|e| self.partitioned_error("Psend_init", e))?;
        Ok(Channel { comm: self.clone(), peer: dest, tag, partitions, end }.into_request())
    }

    /// A receive in `partitions` parts of `buf.count` elements each, one behind the other (`MPI_Precv_init`): an inactive
    /// request. There are no wildcards.
    ///
    /// # Errors
    /// Wrong rank, tag, type, number of partitions.
    pub fn precv_init(
        &self,
        buf: RecvBuf<'static, '_>,
        partitions: i32,
        source: i32,
        tag: i32,
    ) -> Result<(Request, Partitioned)> {
        let init = || {
            let (count, from) = self.checked(partitions, (buf.count, buf.ty), buf.mem.as_ptr(), source, tag)?;
            Ok((count, End::Recv(Mutex::new(Receiving::new(self, &buf, count, from, tag)?))))
        };
        let (partitions, end) = init().map_err(|e| self.partitioned_error("Precv_init", e))?;
        Ok(Channel { comm: self.clone(), peer: source, tag, partitions, end }.into_request())
    }

    fn partitioned_error(&self, operation: &str, error: Error) -> Error {
        error.context(format!("{operation} on {} (rank {} of {})", self.title(), self.rank(), self.size()))
    }

    /// The number of partitions and the process of the other side (none for `PROC_NULL`), when the arguments can be right.
    fn checked(
        &self,
        partitions: i32,
        (count, ty): (usize, &Datatype),
        base: *const u8,
        peer: i32,
        tag: i32,
    ) -> Result<(usize, Option<ProcId>)> {
        if self.is_unusable() {
            return Err(self.unusable());
        }
        if partitions < 1 {
            fail!(Arg, "{partitions} partitions: there must be at least one");
        }
        if tag < 0 {
            fail!(Tag, "tag {tag} is not valid (valid: 0 to {}); partitioned communication has no wildcards", i32::MAX);
        }
        let process = match peer {
            PROC_NULL => None,
            crate::status::ANY_SOURCE => {
                fail!(Rank, "partitioned communication has no wildcards: name the rank of the source");
            }
            rank => Some(self.peer(rank)?),
        };
        let partitions = partitions as usize;
        let Some(all) = count.checked_mul(partitions) else {
            fail!(Count, "{partitions} partitions of {count} elements are more than an address space holds");
        };
        ty.check_elements(base, all)?;
        Ok((partitions, process))
    }

    fn greetings(&self) -> u32 {
        (self.ctx() | PARTITIONED) + 1
    }

    fn parts(&self) -> u32 {
        (self.ctx() | PARTITIONED) + 2
    }
}

impl Channel {
    fn into_request(self) -> (Request, Partitioned) {
        let channel = Arc::new(self);
        let own = channel.clone();
        let make = move |_: &Engine| -> Result<Box<dyn Schedule>> {
            match &own.end {
                End::Send(sending) => locked(sending).start(),
                End::Recv(receiving) => locked(receiving).start(),
            }
            Ok(Box::new(Round(own.clone())))
        };
        (channel.comm.engine().persistent_schedule(Box::new(make)), Partitioned(channel))
    }

    fn advance(&self, engine: &Engine) -> Result<Step> {
        let failed = match &self.end {
            End::Send(sending) => locked(sending).failed().cloned(),
            End::Recv(receiving) => locked(receiving).failed().cloned(),
        };
        if let Some(error) = failed {
            return Err(error);
        }
        let outcome = match &self.end {
            End::Send(sending) => locked(sending).advance(&mut engine.core()),
            End::Recv(receiving) => locked(receiving).advance(&mut engine.core()),
        };
        let done = match outcome {
            Ok(true) => match &self.end {
                End::Send(_) => Status::EMPTY,
                End::Recv(_) if self.peer == PROC_NULL => Status::PROC_NULL,
                End::Recv(receiving) => {
                    let bytes = locked(receiving).bytes();
                    Status { source: self.peer, tag: self.tag, bytes, cancelled: false }
                }
            },
            Ok(false) => return Ok(Step::Pending),
            Err(error) => {
                let error = self.placed(error);
                self.abandon(engine, &error);
                return Err(error);
            }
        };
        Ok(Step::Done(done))
    }

    /// What would complete a round, as long as nobody is at it.
    fn awaited(&self) -> Option<(Kind, String)> {
        let (peer, tag, title) = (self.peer, self.tag, self.comm.title());
        match &self.end {
            End::Send(sending) => Some(match (sending.try_lock().ok()?.missing(), self.partitions) {
                (None, _) => (Kind::Send, format!("of a partitioned send to rank {peer}, tag {tag}, on {title}")),
                (Some(first), all) => (
                    Kind::Own,
                    format!("until partition {first} of {all} is ready for rank {peer}, tag {tag}, on {title}"),
                ),
            }),
            End::Recv(_) => Some((Kind::Receive, format!("for partitions from rank {peer}, tag {tag}, on {title}"))),
        }
    }

    /// An error, with what it happened to.
    fn placed(&self, error: Error) -> Error {
        let operation = match &self.end {
            End::Send(_) => "partitioned send to",
            End::Recv(_) => "partitioned receive from",
        };
        error.context(format!("{operation} rank {} with tag {} on {}", self.peer, self.tag, self.comm.title()))
    }

    /// Ends a round that has failed, and the rounds to come: nothing of it touches memory any more.
    fn abandon(&self, engine: &Engine, error: &Error) {
        match &self.end {
            End::Send(sending) => locked(sending).abandon(&mut engine.core(), error),
            End::Recv(receiving) => locked(receiving).abandon(&mut engine.core(), error),
        }
    }

    fn check_partition(&self, partition: i32) -> Result<usize> {
        match usize::try_from(partition) {
            Ok(at) if at < self.partitions => Ok(at),
            _ => fail!(
                Arg,
                "partition {partition} does not exist: there are {} (0 to {})",
                self.partitions,
                self.partitions - 1
            ),
        }
    }
}

impl Partitioned {
    /// Marks partitions of a send as ready, all or (on an error) none (`MPI_Pready` and its kin). Their memory belongs to the
    /// operation from then on.
    ///
    /// # Errors
    /// Class `Request` for a receive, or a send that has not been started; class `Arg` for a partition that does not exist or
    /// has been marked before; the error of a round that has failed.
    pub fn ready(&self, partitions: impl Iterator<Item = i32> + Clone) -> Result<()> {
        let channel = &*self.0;
        let End::Send(sending) = &channel.end else {
            fail!(Request, "the request is a partitioned receive; only partitions of a send are marked ready");
        };
        let engine = channel.comm.engine();
        let mut sending = locked(sending);
        // Before the claim: without an engine that goes on nothing is marked.
        let mut core = engine.enter()?;
        sending.claim(partitions.clone().map(|partition| channel.check_partition(partition)))?;
        let sent = partitions.clone().try_for_each(|partition| sending.send(&mut core, partition as usize));
        let sent = sent.map_err(|error| channel.placed(error));
        if let Err(error) = &sent {
            sending.abandon(&mut core, error);
        }
        // A waiting thread may have nothing but this to wait for.
        core.completed_by_hand();
        sent
    }

    /// As [`Partitioned::ready`] for all partitions from `low` to `high`, both included (`MPI_Pready_range`).
    ///
    /// # Errors
    /// As [`Partitioned::ready`]; class `Arg` when `high` is less than `low`.
    pub fn ready_range(&self, low: i32, high: i32) -> Result<()> {
        if high < low {
            fail!(Arg, "partitions {low} to {high}: the first must not be behind the last");
        }
        // The ends first: a range that reaches far outside is not walked through.
        self.0.check_partition(low).and(self.0.check_partition(high))?;
        self.ready(low..=high)
    }

    /// Whether a partition of a receive has arrived; makes progress if not. True when the request is inactive, unless a round
    /// has failed (`MPI_Parrived`).
    ///
    /// # Errors
    /// Class `Request` for a send; class `Arg` for a partition that does not exist; the error of a round that has failed.
    pub fn arrived(&self, partition: i32) -> Result<bool> {
        let channel = &*self.0;
        let End::Recv(receiving) = &channel.end else {
            fail!(Request, "the request is a partitioned send; only partitions of a receive arrive");
        };
        let partition = channel.check_partition(partition)?;
        let engine = channel.comm.engine();
        let look = || locked(receiving).arrived(&mut *engine.enter()?, partition, channel.partitions);
        if look()? {
            return Ok(true);
        }
        engine.progress()?;
        let arrived = look()?;
        if !arrived {
            engine.after_failed_test();
        }
        Ok(arrived)
    }
}

/// One round of a channel, from a start to its completion.
struct Round(Arc<Channel>);

impl Schedule for Round {
    fn advance(&mut self, engine: &Engine) -> Result<Step> {
        self.0.advance(engine)
    }

    fn name(&self) -> &'static str {
        match self.0.end {
            End::Send(_) => "Psend",
            End::Recv(_) => "Precv",
        }
    }

    fn awaited(&self) -> Option<(Kind, String)> {
        self.0.awaited()
    }

    fn abandon(&mut self, engine: &Engine) {
        self.0.abandon(engine, &Error::new(ErrorClass::Other, "the partitioned operation was given up"));
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Core {
    /// Lets schedules and waiting threads look again, though no operation has completed.
    fn completed_by_hand(&mut self) {
        self.ops.completed += 1;
        self.ops.completed_raw += 1;
        self.settle();
    }
}
