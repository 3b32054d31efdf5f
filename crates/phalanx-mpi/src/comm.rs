//! Communicators: handles, construction, information (MPI 5.0 §7).

use std::ffi::c_int;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use phalanx_engine::coll::Neighbours;
use phalanx_engine::group::Group;
use phalanx_engine::info::Info;
use phalanx_engine::{Comm, ErrorClass};
use phalanx_mpi_macros::mpi_entry;

use crate::attr::Attributes;
use crate::consts;
use crate::entry::{Done, ErrorObject, Failure, wrong};
use crate::errors::Handler;
use crate::group::GroupRef;
use crate::handle::{Kind, RawComm, RawErrhandler, RawGroup, RawInfo, RawRequest};
use crate::info::InfoRef;
use crate::numbers;
use crate::param::{InOutHandle, Out, Param, Text, TextOut};
use crate::request;
use crate::state;
use crate::table::Table;
use crate::topo::Topology;

/// What a communicator handle refers to.
pub(crate) struct CommObject {
    /// The engine's communicator.
    pub(crate) comm: Comm,
    raw: usize,
    handler: Mutex<Handler>,
    info: Mutex<Info>,
    topology: OnceLock<Topology>,
    /// Who is next to this process in the topology: made by the first neighbourhood collective.
    pub(crate) around: OnceLock<Arc<Neighbours>>,
    /// The attributes.
    pub(crate) attrs: Attributes,
}

static COMMS: Table<Arc<CommObject>> = Table::new(Kind::Comm);

impl CommObject {
    fn new(comm: Comm, raw: usize, handler: Handler, info: Info) -> CommObject {
        CommObject {
            comm,
            raw,
            handler: Mutex::new(handler),
            info: Mutex::new(info),
            topology: OnceLock::new(),
            around: OnceLock::new(),
            attrs: Attributes::default(),
        }
    }

    /// `MPI_COMM_WORLD` or `MPI_COMM_SELF`.
    pub(crate) fn predefined(comm: Comm, raw: usize) -> CommObject {
        CommObject::new(comm, raw, Handler::Fatal, Info::default())
    }

    /// The handle.
    pub(crate) fn raw(&self) -> usize {
        self.raw
    }

    /// The object that errors about this communicator name.
    pub(crate) fn error_object(&self) -> ErrorObject {
        ErrorObject::Comm(RawComm(self.raw))
    }

    /// The error handler.
    pub(crate) fn handler(&self) -> Handler {
        self.handler.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sets the error handler.
    pub(crate) fn set_handler(&self, handler: Handler) {
        *self.handler.lock().unwrap_or_else(PoisonError::into_inner) = handler;
    }

    /// The topology, if there is one.
    pub(crate) fn topology(&self) -> Option<&Topology> {
        self.topology.get()
    }

    /// Gives a new communicator its topology.
    pub(crate) fn set_topology(&self, topology: Topology) {
        let _ = self.topology.set(topology);
    }

    fn info(&self) -> MutexGuard<'_, Info> {
        self.info.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A communicator argument. The predefined ones cost no count.
pub(crate) enum CommRef {
    /// `MPI_COMM_WORLD` or `MPI_COMM_SELF`.
    Static(&'static CommObject),
    /// Any other.
    Counted(Arc<CommObject>),
}

impl Deref for CommRef {
    type Target = CommObject;
    #[inline]
    fn deref(&self) -> &CommObject {
        match self {
            CommRef::Static(object) => object,
            CommRef::Counted(object) => object,
        }
    }
}

impl<W> Param<W> for CommRef {
    type Raw = RawComm;
    #[inline]
    unsafe fn decode(raw: RawComm) -> Result<CommRef, Failure> {
        find(raw)
    }
    fn object(raw: RawComm) -> ErrorObject {
        ErrorObject::Comm(raw)
    }
}

/// The communicator behind a handle.
#[inline]
pub(crate) fn find(raw: RawComm) -> Result<CommRef, Failure> {
    match (raw.0, state::process()) {
        (consts::COMM_WORLD, Some(process)) => Ok(CommRef::Static(&process.world)),
        (consts::COMM_SELF, Some(process)) => Ok(CommRef::Static(&process.self_comm)),
        _ => match COMMS.get(raw.0) {
            Some(object) => Ok(CommRef::Counted(object)),
            None => Err(bad_comm(raw)),
        },
    }
}

#[cold]
fn bad_comm(raw: RawComm) -> Failure {
    let text = if raw == RawComm::NULL {
        "the communicator is MPI_COMM_NULL".to_string()
    } else {
        format!("the communicator handle 0x{:x} is not valid: it was freed, or never was a communicator", raw.0)
    };
    wrong(ErrorClass::Comm, text)
}

/// Gives a new communicator a handle. It takes over the error handler of the one it was made from.
pub(crate) fn adopt(comm: Comm, parent: Option<&CommObject>) -> Result<RawComm, Failure> {
    let handler = parent.map_or(Handler::Fatal, CommObject::handler);
    adopt_with(comm, handler, Info::default())
}

/// Gives a new communicator a handle, with an error handler and hints.
pub(crate) fn adopt_with(comm: Comm, handler: Handler, info: Info) -> Result<RawComm, Failure> {
    crate::trace::renamed();
    let raw = COMMS.insert_with(|raw| Arc::new(CommObject::new(comm, raw, handler, info)));
    raw.map(RawComm).ok_or_else(|| wrong(ErrorClass::Other, "too many communicators exist; free some"))
}

/// A communicator or, for processes that are not in it, the null handle.
fn adopt_some(comm: Option<Comm>, parent: &CommObject) -> Result<RawComm, Failure> {
    match comm {
        Some(comm) => adopt(comm, Some(parent)),
        None => Ok(RawComm::NULL),
    }
}

/// Removes a handle after its attributes have been deleted.
fn release(comm: &InOutHandle<RawComm>) -> Result<Arc<CommObject>, Failure> {
    let raw = comm.get();
    if raw.0 == consts::COMM_WORLD || raw.0 == consts::COMM_SELF {
        return Err(wrong(ErrorClass::Comm, "MPI_COMM_WORLD and MPI_COMM_SELF cannot be freed"));
    }
    let object = COMMS.get(raw.0).ok_or_else(|| bad_comm(raw))?;
    object.attrs.delete_all(raw.0)?;
    COMMS.remove(raw.0);
    if let Some(process) = state::process() {
        let mut parent = process.parent();
        if *parent == raw {
            *parent = RawComm::NULL;
        }
    }
    comm.set(RawComm::NULL);
    Ok(object)
}

/// Number of the calling process.
#[mpi_entry(MPI_Comm_rank)]
fn comm_rank(comm: CommRef, rank: Out<c_int>) -> Done {
    rank.set(comm.comm.rank());
    Ok(())
}

/// Number of processes.
#[mpi_entry(MPI_Comm_size)]
fn comm_size(comm: CommRef, size: Out<c_int>) -> Done {
    size.set(comm.comm.size());
    Ok(())
}

/// Number of processes of the other side.
#[mpi_entry(MPI_Comm_remote_size)]
fn comm_remote_size(comm: CommRef, size: Out<c_int>) -> Done {
    need_inter(&comm)?;
    size.set(comm.comm.remote_size());
    Ok(())
}

fn need_inter(comm: &CommObject) -> Done {
    if comm.comm.is_inter() {
        return Ok(());
    }
    Err(wrong(ErrorClass::Comm, format!("{} is not an intercommunicator", comm.comm.title())))
}

/// Whether it is an intercommunicator.
#[mpi_entry(MPI_Comm_test_inter)]
fn comm_test_inter(comm: CommRef, flag: Out<c_int>) -> Done {
    flag.set(comm.comm.is_inter().into());
    Ok(())
}

/// Compares two communicators.
#[mpi_entry(MPI_Comm_compare)]
fn comm_compare(comm1: CommRef, comm2: CommRef, result: Out<c_int>) -> Done {
    result.set(numbers::comparison(comm1.comm.compare(&comm2.comm)));
    Ok(())
}

/// The group of the calling process's side.
#[mpi_entry(MPI_Comm_group)]
fn comm_group(comm: CommRef, group: Out<RawGroup>) -> Done {
    group.set(crate::group::adopt(comm.comm.group().clone())?);
    Ok(())
}

/// The group of the other side.
#[mpi_entry(MPI_Comm_remote_group)]
fn comm_remote_group(comm: CommRef, group: Out<RawGroup>) -> Done {
    need_inter(&comm)?;
    if let Some(remote) = comm.comm.remote_group() {
        group.set(crate::group::adopt(remote.clone())?);
    }
    Ok(())
}

/// The name.
#[mpi_entry(MPI_Comm_get_name)]
fn comm_get_name(comm: RawComm, name: TextOut, length: Out<c_int>) -> Done {
    let text = if comm == RawComm::NULL { "MPI_COMM_NULL".to_string() } else { find(comm)?.comm.name() };
    let n = name.set(&text, consts::MAX_OBJECT_NAME as usize)?;
    length.set(n as c_int);
    Ok(())
}

/// Sets the name.
#[mpi_entry(MPI_Comm_set_name)]
fn comm_set_name(comm: CommRef, name: Text) -> Done {
    comm.comm.set_name(crate::param::cut(&name.0, consts::MAX_OBJECT_NAME as usize - 1));
    crate::trace::renamed();
    Ok(())
}

/// The hints in use.
#[mpi_entry(MPI_Comm_get_info)]
fn comm_get_info(comm: CommRef, info: Out<RawInfo>) -> Done {
    let hints = crate::info::copy(&comm.info())?;
    info.set(crate::info::adopt(hints)?);
    Ok(())
}

/// Sets hints.
#[mpi_entry(MPI_Comm_set_info)]
fn comm_set_info(comm: CommRef, info: InfoRef) -> Done {
    let hints = info.hints()?;
    *comm.info() = hints;
    Ok(())
}

/// Copies what the standard has a duplicate inherit: the topology, and attributes by their copy functions.
fn inherit(new: RawComm, old: &CommObject) -> Result<RawComm, Failure> {
    let object = find(new)?;
    if let Some(topology) = old.topology() {
        object.set_topology(topology.clone());
    }
    if let Err(failure) = object.attrs.copy_from(old.raw, &old.attrs) {
        COMMS.remove(new.0);
        return Err(match failure {
            Failure::Code(ErrorObject::None, code) => Failure::Code(old.error_object(), code),
            other => other,
        });
    }
    Ok(new)
}

/// Duplicates a communicator, attributes and hints included. All its processes must call it; blocks.
#[mpi_entry(MPI_Comm_dup)]
fn comm_dup(comm: CommRef, newcomm: Out<RawComm>) -> Done {
    newcomm.set(RawComm::NULL);
    let hints = crate::info::copy(&comm.info())?;
    let new = adopt_with(comm.comm.dup()?, comm.handler(), hints)?;
    newcomm.set(inherit(new, &comm)?);
    Ok(())
}

/// Duplicates a communicator with other hints. All its processes must call it; blocks.
#[mpi_entry(MPI_Comm_dup_with_info)]
fn comm_dup_with_info(comm: CommRef, info: InfoRef, newcomm: Out<RawComm>) -> Done {
    newcomm.set(RawComm::NULL);
    let hints = info.hints()?;
    let new = adopt_with(comm.comm.dup()?, comm.handler(), hints)?;
    newcomm.set(inherit(new, &comm)?);
    Ok(())
}

fn idup(comm: &CommObject, hints: Info, newcomm: &Out<RawComm>, request: &Out<RawRequest>) -> Done {
    newcomm.set(RawComm::NULL);
    let (new, under_way) = comm.comm.idup()?;
    let new = inherit(adopt_with(new, comm.handler(), hints)?, comm)?;
    request.set(request::adopt(under_way, comm.error_object())?);
    newcomm.set(new);
    Ok(())
}

/// Starts duplicating a communicator; the new one may be used when the request is complete.
#[mpi_entry(MPI_Comm_idup)]
fn comm_idup(comm: CommRef, newcomm: Out<RawComm>, request: Out<RawRequest>) -> Done {
    let hints = crate::info::copy(&comm.info())?;
    idup(&comm, hints, &newcomm, &request)
}

/// Starts duplicating a communicator with other hints.
#[mpi_entry(MPI_Comm_idup_with_info)]
fn comm_idup_with_info(comm: CommRef, info: InfoRef, newcomm: Out<RawComm>, request: Out<RawRequest>) -> Done {
    let hints = info.hints()?;
    idup(&comm, hints, &newcomm, &request)
}

/// Makes a communicator for a subset of the processes. All processes must call it; blocks.
#[mpi_entry(MPI_Comm_create, composed)]
fn comm_create(comm: CommRef, group: GroupRef, newcomm: Out<RawComm>) -> Done {
    newcomm.set(RawComm::NULL);
    newcomm.set(adopt_some(comm.comm.create(&group)?, &comm)?);
    Ok(())
}

/// Makes a communicator for a subset of the processes, which alone call it; blocks.
#[mpi_entry(MPI_Comm_create_group, composed)]
fn comm_create_group(comm: CommRef, group: GroupRef, tag: c_int, newcomm: Out<RawComm>) -> Done {
    newcomm.set(RawComm::NULL);
    newcomm.set(adopt_some(comm.comm.create_group(&group, tag)?, &comm)?);
    Ok(())
}

/// Divides the processes by color. All processes must call it; blocks.
#[mpi_entry(MPI_Comm_split)]
fn comm_split(comm: CommRef, color: c_int, key: c_int, newcomm: Out<RawComm>) -> Done {
    newcomm.set(RawComm::NULL);
    newcomm.set(adopt_some(comm.comm.split(color, key)?, &comm)?);
    Ok(())
}

/// Divides the processes by what they share. All processes must call it; blocks.
#[mpi_entry(MPI_Comm_split_type, composed)]
fn comm_split_type(comm: CommRef, kind: c_int, key: c_int, info: InfoRef, newcomm: Out<RawComm>) -> Done {
    newcomm.set(RawComm::NULL);
    let resource = info.hints()?.get("mpi_hw_resource_type")?;
    let split = numbers::split_type(kind);
    if kind != consts::UNDEFINED && split.is_none() {
        return Err(wrong(ErrorClass::Arg, format!("{kind} is not a split type")));
    }
    newcomm.set(adopt_some(comm.comm.split_type(split, key, resource.as_deref())?, &comm)?);
    Ok(())
}

/// Frees a communicator. What is under way on it goes on to its end.
#[mpi_entry(MPI_Comm_free)]
fn comm_free(comm: InOutHandle<RawComm>) -> Done {
    let object = release(&comm)?;
    object.comm.mark_freed();
    let engine = object.comm.engine().clone();
    drop(object);
    engine.end_visits();
    Ok(())
}

/// Frees a communicator after what is under way on it has ended. Blocks.
#[mpi_entry(MPI_Comm_disconnect, composed)]
fn comm_disconnect(comm: InOutHandle<RawComm>) -> Done {
    let object = release(&comm)?;
    let engine = object.comm.engine().clone();
    let left = object.comm.clone().disconnect();
    drop(object);
    // Of another job nothing is kept that no communicator needs.
    engine.end_visits();
    Ok(left?)
}

/// Makes an intercommunicator of two groups whose leaders can talk to each other. Both groups must call it; blocks.
#[mpi_entry(MPI_Intercomm_create, composed)]
fn intercomm_create(
    local: CommRef,
    local_leader: c_int,
    peer: RawComm,
    remote_leader: c_int,
    tag: c_int,
    newcomm: Out<RawComm>,
) -> Done {
    newcomm.set(RawComm::NULL);
    // The peer communicator means something to the leader only.
    let peer = if local.comm.rank() == local_leader { Some(find(peer)?) } else { None };
    let peer_comm = peer.as_ref().map(|p| &p.comm);
    let new = local.comm.intercomm_create(local_leader, peer_comm, remote_leader, tag)?;
    newcomm.set(adopt(new, Some(&local))?);
    Ok(())
}

/// Makes one communicator of both sides of an intercommunicator. All processes must call it; blocks.
#[mpi_entry(MPI_Intercomm_merge, composed)]
fn intercomm_merge(inter: CommRef, high: c_int, newcomm: Out<RawComm>) -> Done {
    newcomm.set(RawComm::NULL);
    newcomm.set(adopt(inter.comm.intercomm_merge(high != 0)?, Some(&inter))?);
    Ok(())
}

/// Makes an intercommunicator of two groups, without a communicator to start from. All processes of both must call it;
/// blocks.
#[mpi_entry(MPI_Intercomm_create_from_groups, composed)]
fn intercomm_create_from_groups(
    local_group: GroupRef,
    local_leader: c_int,
    remote_group: GroupRef,
    remote_leader: c_int,
    stringtag: Text,
    info: InfoRef,
    errhandler: RawErrhandler,
    newcomm: Out<RawComm>,
) -> Done {
    newcomm.set(RawComm::NULL);
    let handler = crate::errors::handler(errhandler, Kind::Comm)?;
    let hints = info.hints()?;
    let engine = &state::need_process()?.engine;
    let leader = |group: &GroupRef, rank: c_int| {
        usize::try_from(rank).ok().and_then(|r| group.get(r)).ok_or_else(|| {
            wrong(ErrorClass::Rank, format!("leader {rank} does not exist in a group of {} processes", group.size()))
        })
    };
    let (mine, theirs) = (leader(&local_group, local_leader)?, leader(&remote_group, remote_leader)?);
    if local_group.members().iter().any(|p| remote_group.contains(*p)) {
        return Err(wrong(ErrorClass::Group, "the two groups of an intercommunicator must not share a process"));
    }
    // The sides have no names of their own: the leaders' numbers tell them apart.
    let local = Comm::from_group(engine, &local_group, &format!("{}/{}", stringtag.0, mine.0))?;
    let leaders = if engine.me() == mine {
        let (low, high) = if mine.0 < theirs.0 { (mine, theirs) } else { (theirs, mine) };
        let both = Group::new(vec![low, high]);
        Some(Comm::from_group(engine, &both, &format!("{}/leaders", stringtag.0))?)
    } else {
        None
    };
    let remote_rank = c_int::from(theirs.0 > mine.0);
    let new = local.intercomm_create(local_leader, leaders.as_ref(), remote_rank, 0);
    local.free();
    if let Some(leaders) = leaders {
        leaders.free();
    }
    newcomm.set(adopt_with(new?, handler, hints)?);
    Ok(())
}

/// Makes a communicator of a group, without one to start from. All processes of the group must call it; blocks.
#[mpi_entry(MPI_Comm_create_from_group, composed)]
fn comm_create_from_group(
    group: GroupRef,
    stringtag: Text,
    info: InfoRef,
    errhandler: RawErrhandler,
    newcomm: Out<RawComm>,
) -> Done {
    newcomm.set(RawComm::NULL);
    let handler = crate::errors::handler(errhandler, Kind::Comm)?;
    let hints = info.hints()?;
    let new = Comm::from_group(&state::need_process()?.engine, &group, &stringtag.0)?;
    newcomm.set(adopt_with(new, handler, hints)?);
    Ok(())
}
