//! Blocking operations on intracommunicators through shared memory.
//!
//! Each communicator has an area in the universe's heap, made at the first operation: cells in which the ranks say what
//! they do (see `steps` for the protocol), a few bytes of data with it, and one memory for small and one for large data,
//! each made at the first operation that needs it. Data goes in and out by copies: small data in one step, large data in
//! chunks that stay in the cache. A rank waits as in every blocking call, making progress for its peers.
//!
//! Whether an operation goes this way depends only on what all ranks know alike: the kind of the
//! operation, the bytes of a block, for reductions whether the type is dense, and what rank 0 has told of how fast such an operation was (see
//! `tried`). An operation whose blocks are too large
//! takes one step all the same, before its messages: so ranks whose sizes differ find out. So does one whose blocks differ
//! in size: which operation it is, and with which root, is what ranks can disagree about, too.

mod area;
mod leaving;
mod moving;
mod reducing;
mod steps;
mod tried;

use std::sync::atomic::Ordering;
use std::sync::{MutexGuard, TryLockError};

use phalanx_shm::SleepWord;
use phalanx_shm::cells::INLINE;

use crate::comm::Comm;
use crate::datatype::Datatype;
use crate::engine::Waiting;
use crate::engine::buffer::RecvBuf;
use crate::error::{Error, ErrorClass, Result, fail};
use crate::op::Op;

use super::call::{Body, Call, Kind, Mode, Root};
use super::plan;
use super::state::CollState;
use area::{Area, Layout, Place, Tier};
pub(super) use leaving::{broken_word, leave, look_for_others, why_broken};
use steps::{Counters, Identity, Steps};
use tried::{Course, Path};

/// This process's view of a communicator's area.
#[derive(Default)]
pub(crate) struct Local {
    state: State,
    counters: Counters,
}

#[derive(Default)]
enum State {
    /// No operation has asked for it yet.
    #[default]
    Unmade,
    /// There was no room for it.
    Absent,
    Ready(Area),
    /// An operation ended in the middle: the ranks may no longer be in step.
    Closed(Closed),
}

/// Why a communicator is closed for blocking collectives.
#[derive(Clone, Copy)]
enum Closed {
    Interrupted,
    Disagreed,
    /// A rank has ended.
    Ended,
}

/// Which ways there are for an operation.
#[derive(Default)]
struct Choice {
    /// Through the area, if its blocks may go there.
    here: Option<Place>,
    /// By messages, after one step that says what it is, unless something else is found out.
    beside: bool,
    /// Both ways are the same to who calls it, so that the faster one may be found out.
    is_open: bool,
    /// All ranks have blocks for all others, of a size that takes more steps through the area than they are worth where each is a turn
    /// of all ranks.
    is_long_exchange: bool,
}

impl Choice {
    /// Through the area in any case.
    fn only(place: Place) -> Choice {
        Choice { here: Some(place), ..Choice::default() }
    }

    /// By messages in any case.
    fn beside() -> Choice {
        Choice { beside: true, ..Choice::default() }
    }

    fn usual(&self) -> Path {
        if self.beside { Path::Messages } else { Path::Here }
    }

    /// The same where ranks share CPUs. Pieces of a message that two ranks copy together take turns of all ranks as well.
    fn usual_of_crowd(&self) -> Path {
        if self.is_long_exchange { Path::Alone } else { self.usual() }
    }
}

/// What is left to do of an operation.
pub(super) enum Left {
    Nothing,
    /// Its messages.
    Messages(Messages),
}

/// How the messages of an operation go.
#[derive(Clone, Copy, Default)]
pub(super) struct Messages {
    /// Each is copied by its receiver alone.
    pub(super) alone: bool,
    course: Option<Course>,
}

impl Messages {
    /// All of them have arrived.
    #[inline]
    pub(super) fn ended(self, comm: &Comm) {
        if let Some(course) = self.course.filter(Course::is_tried)
            && let Some(mut local) = try_lock(comm.coll())
        {
            local.counters.tried.went(course);
        }
    }
}

/// Carries out the call as far as that goes through shared memory.
///
/// # Errors
/// Those of the operation.
pub(super) fn run(comm: &Comm, call: &Call) -> Result<Left> {
    if comm.is_inter() || comm.size() < 2 || comm.is_mixed() {
        return Ok(Left::Messages(Messages::default()));
    }
    let Some((id, choice)) = eligible(comm, call) else { return Ok(Left::Messages(Messages::default())) };
    comm.engine().manners().begin(id.bytes >= MUCH);
    let waiting = Waiting::on(call.kind.name(Mode::Blocking), comm.ctx() + 1);
    let turn = Turn::take(comm, waiting)?;
    go(comm, call, &id, &choice, waiting, turn)
}

/// As [`run`], for an eligible call whose turn it is.
fn go(comm: &Comm, call: &Call, id: &Identity, choice: &Choice, waiting: Waiting, mut turn: Turn<'_>) -> Result<Left> {
    let Local { state, counters } = &mut *turn.local;
    if matches!(state, State::Unmade) {
        *state = make(comm, waiting.operation)?;
    }
    let area = match state {
        State::Ready(area) => area,
        State::Closed(why) => return Err(closed(*why)),
        State::Unmade | State::Absent => return Ok(Left::Messages(Messages::default())),
    };
    let done = through(comm, call, id, choice, waiting, area, counters);
    if done.as_ref().is_err_and(|e| e.class() == ErrorClass::NotSame) {
        *state = State::Closed(Closed::Disagreed);
    }
    done
}

/// As [`run`], through this area.
#[inline]
fn through(
    comm: &Comm,
    call: &Call,
    id: &Identity,
    choice: &Choice,
    waiting: Waiting,
    area: &mut Area,
    counters: &mut Counters,
) -> Result<Left> {
    let path = tried::path(comm, area, counters, id, choice)?;
    let messages = Messages { alone: path.path() == Path::Alone, course: Some(path) };
    let place = choice.here.filter(|_| path.path() == Path::Here);
    if let Some(Place::Parts(layout)) = place
        && !area.provide(comm, layout.tier, waiting)?
    {
        return Ok(Left::Messages(messages));
    }
    counters.beside = place.is_none();
    let cells = area.cells()?;
    let first = place.unwrap_or(Place::Cells);
    let read = counters.tried.lines(comm, first, id, path);
    let mut steps = Steps::begin(comm, area, cells, first, counters, id, read.lines());
    let lasts = Op::is_users(id.op) || matches!(place, Some(Place::Parts(Layout { tier: Tier::Large, .. })));
    let done = match lasts {
        true => comm.engine().in_around(|| take(&mut steps, call, true)),
        false => take(&mut steps, call, place.is_some()),
    };
    done?;
    if place.is_none() {
        return Ok(Left::Messages(messages));
    }
    counters.tried.read(read);
    counters.tried.went(path);
    Ok(Left::Nothing)
}

/// Takes the steps of the call; or the one that says what it is, and leaves the rest to messages.
#[inline]
fn take(steps: &mut Steps<'_>, call: &Call, here: bool) -> Result<()> {
    steps.open()?;
    if here {
        perform(steps, call)?;
        return steps.verdict();
    }
    let at = steps.enter()?;
    steps.arrive(at);
    Ok(())
}

#[cold]
fn closed(why: Closed) -> Error {
    let (class, why) = match why {
        Closed::Interrupted => (ErrorClass::Other, "was interrupted"),
        Closed::Disagreed => (ErrorClass::Other, "failed because the ranks disagreed about it"),
        Closed::Ended => (ErrorClass::ProcAborted, "failed because a rank has ended"),
    };
    Error::new(
        class,
        format!(
            "an earlier collective on this communicator {why}, so the ranks are no longer in step; use another communicator"
        ),
    )
}

/// The right of one thread to be in a blocking collective on a communicator: others wait for their turn.
struct Turn<'a> {
    local: MutexGuard<'a, Local>,
    /// After `local`, so that the lock is free when it wakes those who wait.
    _end: TurnEnd<'a>,
}

/// Wakes the threads that wait for their turn.
struct TurnEnd<'a> {
    comm: &'a Comm,
}

impl<'a> Turn<'a> {
    /// Waits until no other thread is in a blocking collective on the communicator.
    ///
    /// # Errors
    /// Class `Other` when this very thread is in one (a user's operation, or a signal handler, that calls another);
    /// interruption.
    fn take(comm: &'a Comm, waiting: Waiting) -> Result<Turn<'a>> {
        let coll = comm.coll();
        let mut local = try_lock(coll);
        if local.is_none() {
            if coll.holder.load(Ordering::Relaxed) == this_thread() {
                fail!(
                    Other,
                    "this thread is in a blocking collective on this communicator already: an operation or signal handler \
                     that runs inside it cannot call another one there"
                );
            }
            // SYNC POINT area-turn: the count before the last look at the lock; the holder looks at the count after its unlock.
            coll.queue.fetch_add(1, Ordering::SeqCst);
            let look = || {
                local = try_lock(coll);
                local.is_some()
            };
            let waited = comm.engine().wait_flag(waiting, look, || None);
            coll.queue.fetch_sub(1, Ordering::SeqCst);
            waited?;
        }
        match local {
            Some(local) => {
                coll.holder.store(this_thread(), Ordering::Relaxed);
                Ok(Turn { local, _end: TurnEnd { comm } })
            }
            None => fail!(Intern, "a wait for another thread's collective ended without its lock"),
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self._end.comm.coll().holder.store(0, Ordering::Relaxed);
    }
}

impl Drop for TurnEnd<'_> {
    fn drop(&mut self) {
        // SYNC POINT area-turn: release side, orders the unlock, which is a read-modify-write, before the look at the count.
        SleepWord::published_by_atomic();
        if self.comm.coll().queue.load(Ordering::Relaxed) > 0 {
            self.comm.engine().notify(self.comm.engine().me());
        }
    }
}

fn try_lock(coll: &CollState) -> Option<MutexGuard<'_, Local>> {
    match coll.fast.try_lock() {
        Ok(local) => Some(local),
        Err(TryLockError::Poisoned(local)) => Some(local.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}

/// A number that no other living thread has, and that is not 0.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

/// Rank 0 makes the area and tells the others where it is.
fn make(comm: &Comm, name: &'static str) -> Result<State> {
    let made = if comm.rank() == 0 { Area::make(comm) } else { None };
    let mut at = [made.as_ref().map_or(0, |area| area.position().get())];
    let call = Call::bcast(comm, RecvBuf::of(&mut at), 0)?;
    comm.run_plan(plan::plan(comm, &call)?, name, comm.coll().next_tag())?;
    Ok(match made {
        Some(made) => State::Ready(made),
        None if at[0] == 0 => State::Absent,
        None => State::Ready(Area::join(comm, at[0])?),
    })
}

/// What the ranks must agree on, and where the data goes; `None` when calls of the kind do not go through shared memory.
fn eligible(comm: &Comm, call: &Call) -> Option<(Identity, Choice)> {
    let rank_of = |root: &Root| match root {
        Root::Rank(r) => *r,
        Root::Here | Root::Elsewhere => comm.rank() as usize,
    };
    let moved = |root: usize, bytes: usize, ty: &Datatype| Identity {
        kind: call.kind,
        root,
        bytes,
        element: 0,
        op: 0,
        ty: ty.signature(),
    };
    let reduced = |root: usize, count: usize, ty: &Datatype, op: &Op| {
        let (bytes, element) = reducing::dense(ty, count)?;
        Some(Identity { element, op: op.code(), ..moved(root, bytes, ty) })
    };
    let different = |root: usize| Identity { kind: call.kind, root, bytes: 0, element: 0, op: 0, ty: 0 };
    let id = match &call.body {
        Body::Barrier => different(0),
        Body::Bcast { buf, root } => moved(rank_of(root), buf.bytes(), &buf.ty),
        Body::Gather { send, recv, root } if call.kind == Kind::Gather => {
            let of_send = || send.as_ref().map(|s| moved(rank_of(root), s.bytes(), &s.ty));
            let block = recv.as_ref().map(|r| r.block(0));
            block.map(|b| moved(rank_of(root), b.bytes(), &b.ty)).or_else(of_send)?
        }
        Body::Scatter { send, recv, root } if call.kind == Kind::Scatter => {
            let of_recv = || recv.as_ref().map(|r| moved(rank_of(root), r.bytes(), &r.ty));
            let block = send.as_ref().map(|s| s.block(0));
            block.map(|b| moved(rank_of(root), b.bytes(), &b.ty)).or_else(of_recv)?
        }
        Body::Allgather { recv, .. } if call.kind == Kind::Allgather => {
            let block = recv.block(0);
            moved(0, block.bytes(), &block.ty)
        }
        Body::Alltoall { recv, .. } if call.kind == Kind::Alltoall => {
            let block = recv.block(0);
            moved(0, block.bytes(), &block.ty)
        }
        Body::Reduce { send, recv, root, op } => match (send, recv) {
            (Some(send), _) => reduced(rank_of(root), send.count, &send.ty, op)?,
            (None, Some(recv)) => reduced(rank_of(root), recv.count, &recv.ty, op)?,
            (None, None) => return None,
        },
        Body::Allreduce { recv, op, .. } | Body::Scan { recv, op, .. } => reduced(0, recv.count, &recv.ty, op)?,
        Body::ReduceScatter { recv, counts, op, .. } => reduced(0, counts.iter().sum(), &recv.ty, op)?,
        // Only neighbours have to be there.
        Body::Neighbours { .. } => return None,
        // Blocks of different sizes go by messages; which operation it is, and its root, can be told all the same.
        Body::Gather { root, .. } | Body::Scatter { root, .. } => {
            return Some((different(rank_of(root)), Choice::beside()));
        }
        Body::Allgather { .. } | Body::Alltoall { .. } => return Some((different(0), Choice::beside())),
    };
    let Identity { bytes, element, .. } = id;
    let n = comm.size() as usize;
    // What one rank leaves for the others in a step.
    let left = match call.kind {
        Kind::Scatter | Kind::Alltoall => bytes.saturating_mul(n),
        _ => bytes,
    };
    let choice = if left <= INLINE { Choice::only(Place::Cells) } else { by_size(call.kind, bytes, element, comm)? };
    Some((id, choice))
}

/// Bytes of a block from which ranks copy for longer than they wait for each other.
const MUCH: usize = 64 << 10;

/// Least bytes for each pair of ranks in a part for which an operation is divided among pairs: less would be more steps than
/// messages.
const PIECE: usize = 4096;

/// Bytes of a block from which the second copy of a scatter takes the root longer than its messages.
const SCATTERED: usize = 128 << 10;

/// Where data goes that does not fit into cells.
fn by_size(kind: Kind, bytes: usize, element: usize, comm: &Comm) -> Option<Choice> {
    let n = comm.size() as usize;
    // Where the kernel copies faster than both copies through the area.
    let exchanged = comm.engine().universe().ways().exchange.saturating_sub(1);
    // Ranks that only leave their block get ahead of the root, or it of them: as many steps as there are parts to fill.
    let ahead = matches!(kind, Kind::Gather | Kind::Scatter) && bytes <= Layout::of_one(Tier::Large, n).share();
    let one_after_the_other =
        ahead || matches!(kind, Kind::Bcast | Kind::Scan | Kind::Exscan) || reducing::in_stream(kind, n);
    let layout = if one_after_the_other { Layout::of_one } else { Layout::of_all };
    let (small, large) = (layout(Tier::Small, n), layout(Tier::Large, n));
    if element > large.share() {
        return None;
    }
    // Bytes that fit into the small memory, and into the large one; and of those how many are faster there than as messages, as far as
    // that is known before the job.
    let (few, most, faster) = match kind {
        Kind::Bcast => (small.step(), usize::MAX, usize::MAX),
        Kind::Allgather => (small.share(), usize::MAX, exchanged),
        Kind::Reduce | Kind::Allreduce => (small.share(), usize::MAX, usize::MAX),
        Kind::Scan | Kind::Exscan if n <= reducing::SCAN_RANKS => (small.share(), usize::MAX, usize::MAX),
        Kind::ReduceScatter | Kind::ReduceScatterBlock if large.pair_share() >= PIECE.max(element) => {
            (small.share(), usize::MAX, usize::MAX)
        }
        // The root has to copy all blocks into the area before anybody reads, or none into messages.
        Kind::Scatter => (small.share(), large.share(), exchanged.max(SCATTERED)),
        Kind::Alltoall if large.pair_share() > 0 => {
            (small.pair_share(), usize::MAX, moving::alltoall_limit(large).min(exchanged))
        }
        _ => (small.share(), large.share(), usize::MAX),
    };
    if bytes <= few {
        return Some(Choice::only(Place::Parts(small)));
    }
    let is_open = matches!(kind, Kind::Bcast | Kind::Allgather | Kind::Alltoall | Kind::Gather | Kind::Scatter);
    let here = Some(Place::Parts(large)).filter(|_| bytes <= most);
    let beside = bytes > most.min(faster);
    let is_long_exchange = match kind {
        Kind::Allgather => bytes > large.share(),
        Kind::Alltoall => beside,
        _ => false,
    };
    Some(Choice { here, beside, is_open, is_long_exchange })
}

fn perform(steps: &mut Steps<'_>, call: &Call) -> Result<()> {
    let me = steps.comm.rank() as usize;
    let rank_of = |root: &Root| match root {
        Root::Rank(r) => *r,
        Root::Here | Root::Elsewhere => me,
    };
    match &call.body {
        Body::Barrier => {
            let at = steps.enter()?;
            steps.arrive(at);
            steps.full(at)
        }
        Body::Bcast { buf, root } => moving::bcast(steps, buf, rank_of(root)),
        Body::Gather { send, recv, root } => moving::gather(steps, send.as_ref(), recv.as_ref(), rank_of(root)),
        Body::Scatter { send, recv, root } => moving::scatter(steps, send.as_ref(), recv.as_ref(), rank_of(root)),
        Body::Allgather { send, recv } => moving::allgather(steps, send.as_ref(), recv),
        Body::Alltoall { send, recv } => moving::alltoall(steps, send.as_ref(), recv),
        Body::Reduce { send, recv, op, root } => {
            reducing::reduce(steps, send.as_ref(), recv.as_ref(), op, rank_of(root))
        }
        Body::Allreduce { send, recv, op } => reducing::allreduce(steps, send.as_ref(), recv, op),
        Body::Scan { send, recv, op, exclusive } => reducing::scan(steps, send.as_ref(), recv, op, *exclusive),
        Body::ReduceScatter { send, recv, counts, op } => {
            reducing::reduce_scatter(steps, send.as_ref(), recv, counts, op)
        }
        Body::Neighbours { .. } => {
            Err(Error::new(ErrorClass::Intern, "messages of neighbours do not go through shared memory"))
        }
    }
}
