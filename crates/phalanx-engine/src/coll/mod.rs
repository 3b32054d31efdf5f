//! Collective communication (MPI 5.0 §6).
//!
//! Every operation exists in three forms: blocking (`bcast`), nonblocking (`ibcast`, gives a
//! [`Request`]) and persistent (`bcast_init`, gives an inactive [`Request`] to be started any number of times).
//!
//! - [`args`]: buffer arguments, [`Arg::InPlace`], blocks per rank.
//! - `neighbours`: who is next to whom in a topology.
//! - `call`: a call with its arguments checked.
//! - `schedule`: the general form, a list of messages and local steps; `plan/` writes them, one file per family.
//! - `fast`: blocking operations on intracommunicators through shared memory.
//!
//! **Order of reduction.** All forms and all sizes combine the contributions in the order of the
//! ranks, from rank 0 upwards for commutative operations: `((a0 op a1) op a2) op ...`. The result has
//! the same bits in every run, on every rank, in the blocking and the nonblocking form, and for
//! predefined operations the bits of the loop that a serial program would run.
//!
//! **Lifetimes.** Nonblocking and persistent operations go on after the call, so they ask for buffers that live for
//! `'static` (see [`SendBuf`] and [`RecvBuf`]).

pub mod args;
mod call;
mod fast;
mod memory;
mod neighbours;
mod plan;
pub(crate) mod schedule;
mod state;

#[cfg(test)]
mod tests;

use std::marker::PhantomData;
use std::sync::Arc;

use phalanx_shm::Deed;

use crate::comm::Comm;
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::engine::{Driven, Engine, Schedule, Waiting};
use crate::error::{Error, Result};
use crate::op::Op;
use crate::request::Request;

pub use args::{Arg, RecvBlocks, SendBlocks};
use call::{Call, Kind, Mode};
use fast::Left;
pub use neighbours::Neighbours;
pub(crate) use plan::Team;
pub(crate) use schedule::Dst;
pub(crate) use state::CollState;

impl Comm {
    /// Puts the operation and the communicator before an error of a collective call.
    #[cold]
    fn collective_error(&self, kind: Kind, mode: Mode, error: Error) -> Error {
        let name = kind.name(mode);
        // What a plan says of its messages begins with the operation already.
        if error.is_interrupted() || error.callback_code().is_some() || error.message().starts_with(name) {
            return error;
        }
        error.context(format!("{name} on {} (rank {} of {})", self.title(), self.rank(), self.size()))
    }

    fn usable(&self) -> Result<()> {
        self.engine().serves()?;
        if self.is_unusable() { Err(self.unusable()) } else { Ok(()) }
    }

    /// Runs a plan to its end under `tag`.
    pub(crate) fn run_plan(&self, plan: schedule::Plan, name: &'static str, tag: i32) -> Result<()> {
        if plan.is_local() {
            return plan.run_local();
        }
        let waiting = Waiting::on(name, self.ctx() + 1);
        let mut run = plan.into_run(self, name, tag);
        let idle = &mut || fast::look_for_others(self);
        match self.engine().run_schedule(waiting, &mut run, fast::broken_word(self), idle)? {
            Driven::Done => Ok(()),
            Driven::GivenUp => Err(fast::why_broken(self)),
        }
    }

    /// Starts a plan of its own as a nonblocking operation.
    pub(crate) fn start_plan(&self, plan: schedule::Plan, name: &'static str) -> Result<Request> {
        let run = plan.into_run(self, name, self.coll().next_tag());
        self.engine().start_schedule(Box::new(run))
    }
}

/// A collective operation with its arguments looked at, to be carried out in one of its forms.
///
/// What is wrong with the arguments comes to light there, with the name of the form in the error.
#[must_use = "nothing is carried out before one of the forms is asked for"]
pub struct Collective<'c, 'b> {
    comm: &'c Comm,
    kind: Kind,
    call: Result<Call>,
    buffers: PhantomData<&'b mut [u8]>,
}

impl Collective<'_, '_> {
    /// The blocking form.
    ///
    /// # Errors
    /// Wrong arguments (class by argument), ranks that disagree about the operation (`Truncate`, `NotSame`), an error of a
    /// user's operation, interruption.
    pub fn run(self) -> Result<()> {
        let Collective { comm, kind, call, .. } = self;
        let run = || {
            comm.usable()?;
            let call = call?;
            comm.engine().count(Deed::Collective, || call.bytes(comm));
            let Left::Messages(messages) = fast::run(comm, &call)? else { return Ok(()) };
            let tag = comm.coll().next_tag();
            let plan = plan::plan(comm, &call)?.copied_alone(messages.alone);
            comm.run_plan(plan, kind.name(Mode::Blocking), tag)?;
            messages.ended(comm);
            Ok(())
        };
        run().map_err(|e| {
            fast::leave(comm, kind, &e);
            comm.collective_error(kind, Mode::Blocking, e)
        })
    }
}

impl Collective<'_, 'static> {
    /// The nonblocking form.
    ///
    /// # Errors
    /// Wrong arguments; what goes wrong later is the error of the request.
    pub fn start(self) -> Result<Request> {
        let Collective { comm, kind, call, .. } = self;
        let start = || {
            comm.usable()?;
            let call = call?;
            let plan = plan::plan(comm, &call)?;
            comm.engine().count(Deed::Collective, || call.bytes(comm));
            let tag = comm.coll().next_tag();
            let run = plan.into_run(comm, kind.name(Mode::Nonblocking), tag);
            comm.engine().start_schedule(Box::new(run))
        };
        start().map_err(|e| comm.collective_error(kind, Mode::Nonblocking, e))
    }

    /// The persistent form: an inactive request.
    ///
    /// # Errors
    /// Wrong arguments; what goes wrong later is the error of the request.
    pub fn init(self) -> Result<Request> {
        let Collective { comm, kind, call, .. } = self;
        let init = || {
            comm.usable()?;
            let call = call?;
            let tag = comm.coll().next_persistent_tag();
            let own = comm.clone();
            let make = move |engine: &Engine| -> Result<Box<dyn Schedule>> {
                let plan = plan::plan(&own, &call)?;
                engine.count(Deed::Collective, || call.bytes(&own));
                Ok(Box::new(plan.into_run(&own, kind.name(Mode::Persistent), tag)))
            };
            Ok(comm.engine().persistent_schedule(Box::new(make)))
        };
        init().map_err(|e| comm.collective_error(kind, Mode::Persistent, e))
    }
}

/// Writes the constructor of each operation, and the methods of [`Comm`] for its three forms.
macro_rules! collectives {
    ($b:lifetime; $(
        $(#[$doc:meta])*
        $name:ident $iname:ident $init:ident <$($a:lifetime)?> $kind:ident
        ($($arg:ident: $ty:ty),*) = |$comm:ident| $call:expr;
    )*) => {
        impl<'c, $b> Collective<'c, $b> {
            $(
                $(#[$doc])*
                #[inline]
                pub fn $name<$($a)?>($comm: &'c Comm, $($arg: $ty),*) -> Self {
                    Collective { comm: $comm, kind: Kind::$kind, call: $call, buffers: PhantomData }
                }
            )*
        }

        #[allow(clippy::extra_unused_lifetimes, reason = "the barrier has no buffers")]
        impl Comm {
            $(
                $(#[$doc])*
                ///
                /// # Errors
                /// As [`Collective::run`].
                pub fn $name<$b $(, $a)?>(&self, $($arg: $ty),*) -> Result<()> {
                    Collective::$name(self, $($arg),*).run()
                }

                #[doc = concat!("Nonblocking form of [`Comm::", stringify!($name), "`].")]
                ///
                /// # Errors
                /// As [`Collective::start`].
                pub fn $iname<$b: 'static $(, $a)?>(&self, $($arg: $ty),*) -> Result<Request> {
                    Collective::$name(self, $($arg),*).start()
                }

                #[doc = concat!("Persistent form of [`Comm::", stringify!($name), "`]: an inactive request.")]
                ///
                /// # Errors
                /// As [`Collective::init`].
                pub fn $init<$b: 'static $(, $a)?>(&self, $($arg: $ty),*) -> Result<Request> {
                    Collective::$name(self, $($arg),*).init()
                }
            )*
        }
    };
}

collectives! {
    'b;

    /// Returns when all ranks have called it (`MPI_Barrier`).
    barrier ibarrier barrier_init <> Barrier
    () = |c| Call::barrier(c);

    /// Copies the root's buffer to all ranks (`MPI_Bcast`).
    bcast ibcast bcast_init <'a> Bcast
    (buf: RecvBuf<'b, 'a>, root: i32) = |c| Call::bcast(c, buf, root);

    /// Collects equal blocks at the root (`MPI_Gather`). `recv` is for the root.
    gather igather gather_init <'a> Gather
    (send: Arg<SendBuf<'b, 'a>>, recv: Option<RecvBlocks<'b, 'a>>, root: i32)
        = |c| Call::gather(c, Kind::Gather, send, recv, root);

    /// Collects blocks of different sizes at the root (`MPI_Gatherv`). `recv` is for the root.
    gatherv igatherv gatherv_init <'a> Gatherv
    (send: Arg<SendBuf<'b, 'a>>, recv: Option<RecvBlocks<'b, 'a>>, root: i32)
        = |c| Call::gather(c, Kind::Gatherv, send, recv, root);

    /// Hands out equal blocks from the root (`MPI_Scatter`). `send` is for the root.
    scatter iscatter scatter_init <'a> Scatter
    (send: Option<SendBlocks<'b, 'a>>, recv: Arg<RecvBuf<'b, 'a>>, root: i32)
        = |c| Call::scatter(c, Kind::Scatter, send, recv, root);

    /// Hands out blocks of different sizes from the root (`MPI_Scatterv`). `send` is for the root.
    scatterv iscatterv scatterv_init <'a> Scatterv
    (send: Option<SendBlocks<'b, 'a>>, recv: Arg<RecvBuf<'b, 'a>>, root: i32)
        = |c| Call::scatter(c, Kind::Scatterv, send, recv, root);

    /// Collects equal blocks at all ranks (`MPI_Allgather`).
    allgather iallgather allgather_init <'a> Allgather
    (send: Arg<SendBuf<'b, 'a>>, recv: RecvBlocks<'b, 'a>)
        = |c| Call::allgather(c, Kind::Allgather, send, recv);

    /// Collects blocks of different sizes at all ranks (`MPI_Allgatherv`).
    allgatherv iallgatherv allgatherv_init <'a> Allgatherv
    (send: Arg<SendBuf<'b, 'a>>, recv: RecvBlocks<'b, 'a>)
        = |c| Call::allgather(c, Kind::Allgatherv, send, recv);

    /// Sends an equal block from each rank to each rank (`MPI_Alltoall`).
    alltoall ialltoall alltoall_init <'a> Alltoall
    (send: Arg<SendBlocks<'b, 'a>>, recv: RecvBlocks<'b, 'a>)
        = |c| Call::alltoall(c, Kind::Alltoall, send, recv);

    /// Sends a block from each rank to each rank, of different sizes (`MPI_Alltoallv`).
    alltoallv ialltoallv alltoallv_init <'a> Alltoallv
    (send: Arg<SendBlocks<'b, 'a>>, recv: RecvBlocks<'b, 'a>)
        = |c| Call::alltoall(c, Kind::Alltoallv, send, recv);

    /// Sends a block from each rank to each rank, of different sizes and types (`MPI_Alltoallw`).
    alltoallw ialltoallw alltoallw_init <'a> Alltoallw
    (send: Arg<SendBlocks<'b, 'a>>, recv: RecvBlocks<'b, 'a>)
        = |c| Call::alltoall(c, Kind::Alltoallw, send, recv);

    /// Combines the ranks' elements at the root (`MPI_Reduce`). `recv` is for the root.
    reduce ireduce reduce_init <'a> Reduce
    (send: Arg<SendBuf<'b, 'a>>, recv: Option<RecvBuf<'b, 'a>>, op: &Op, root: i32)
        = |c| Call::reduce(c, send, recv, op, root);

    /// Combines the ranks' elements at all ranks (`MPI_Allreduce`).
    allreduce iallreduce allreduce_init <'a> Allreduce
    (send: Arg<SendBuf<'b, 'a>>, recv: RecvBuf<'b, 'a>, op: &Op)
        = |c| Call::allreduce(c, send, recv, op);

    /// Combines the ranks' elements and hands out the result in blocks of `counts` (`MPI_Reduce_scatter`).
    /// In place, `recv` holds all the elements and afterwards begins with this rank's block.
    reduce_scatter ireduce_scatter reduce_scatter_init <'a> ReduceScatter
    (send: Arg<SendBuf<'b, 'a>>, recv: RecvBuf<'b, 'a>, counts: &[i64], op: &Op)
        = |c| Call::reduce_scatter(c, send, recv, counts, op);

    /// Combines the ranks' elements and hands out the result in equal blocks of `recv`'s count
    /// (`MPI_Reduce_scatter_block`). In place, `recv` (and its count) is that of all the elements.
    reduce_scatter_block ireduce_scatter_block reduce_scatter_block_init <'a> ReduceScatterBlock
    (send: Arg<SendBuf<'b, 'a>>, recv: RecvBuf<'b, 'a>, op: &Op)
        = |c| Call::reduce_scatter_block(c, send, recv, op);

    /// Combines the elements of the ranks up to this one (`MPI_Scan`).
    scan iscan scan_init <'a> Scan
    (send: Arg<SendBuf<'b, 'a>>, recv: RecvBuf<'b, 'a>, op: &Op)
        = |c| Call::scan(c, send, recv, op, false);

    /// Combines the elements of the ranks before this one (`MPI_Exscan`). On rank 0 `recv` is left alone.
    exscan iexscan exscan_init <'a> Exscan
    (send: Arg<SendBuf<'b, 'a>>, recv: RecvBuf<'b, 'a>, op: &Op)
        = |c| Call::scan(c, send, recv, op, true);

    /// Sends the same to every neighbour and collects theirs (`MPI_Neighbor_allgather`).
    neighbor_allgather ineighbor_allgather neighbor_allgather_init <'a> NeighborAllgather
    (around: &Arc<Neighbours>, send: SendBuf<'b, 'a>, recv: RecvBlocks<'b, 'a>)
        = |c| Call::neighbor_allgather(c, Kind::NeighborAllgather, around, send, recv);

    /// Sends the same to every neighbour and collects blocks of different sizes (`MPI_Neighbor_allgatherv`).
    neighbor_allgatherv ineighbor_allgatherv neighbor_allgatherv_init <'a> NeighborAllgatherv
    (around: &Arc<Neighbours>, send: SendBuf<'b, 'a>, recv: RecvBlocks<'b, 'a>)
        = |c| Call::neighbor_allgather(c, Kind::NeighborAllgatherv, around, send, recv);

    /// Sends an equal block to every neighbour (`MPI_Neighbor_alltoall`).
    neighbor_alltoall ineighbor_alltoall neighbor_alltoall_init <'a> NeighborAlltoall
    (around: &Arc<Neighbours>, send: SendBlocks<'b, 'a>, recv: RecvBlocks<'b, 'a>)
        = |c| Call::neighbor_alltoall(c, Kind::NeighborAlltoall, around, send, recv);

    /// Sends a block to every neighbour, of different sizes (`MPI_Neighbor_alltoallv`).
    neighbor_alltoallv ineighbor_alltoallv neighbor_alltoallv_init <'a> NeighborAlltoallv
    (around: &Arc<Neighbours>, send: SendBlocks<'b, 'a>, recv: RecvBlocks<'b, 'a>)
        = |c| Call::neighbor_alltoall(c, Kind::NeighborAlltoallv, around, send, recv);

    /// Sends a block to every neighbour, of different sizes and types (`MPI_Neighbor_alltoallw`).
    neighbor_alltoallw ineighbor_alltoallw neighbor_alltoallw_init <'a> NeighborAlltoallw
    (around: &Arc<Neighbours>, send: SendBlocks<'b, 'a>, recv: RecvBlocks<'b, 'a>)
        = |c| Call::neighbor_alltoall(c, Kind::NeighborAlltoallw, around, send, recv);
}
