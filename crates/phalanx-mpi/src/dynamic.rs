//! Processes that processes start, and groups that meet (MPI 5.0 §11.8, §11.9).

use std::ffi::c_int;
use std::time::Duration;

use phalanx_engine::dynamic::Program;
use phalanx_engine::{Comm, ErrorClass};
use phalanx_mpi_macros::mpi_entry;

use crate::comm::{self, CommRef};
use crate::consts;
use crate::entry::{Done, Failure, wrong};
use crate::handle::{RawComm, RawInfo};
use crate::info::{self, InfoRef};
use crate::param::{In, Out, OutArray, Text, TextList, TextOut};
use crate::state;

/// The intercommunicator to the processes that started this world, or the null handle.
#[mpi_entry(MPI_Comm_get_parent)]
fn comm_get_parent(parent: Out<RawComm>) -> Done {
    parent.set(*state::need_process()?.parent());
    Ok(())
}

fn spawn(
    comm: &CommRef,
    programs: Result<Vec<Program>, Failure>,
    root: c_int,
    intercomm: &Out<RawComm>,
    errcodes: &OutArray<c_int>,
) -> Done {
    intercomm.set(RawComm::NULL);
    let at_root = comm.comm.rank() == root;
    // What is wrong with the root's arguments must reach the others too: an empty list makes all of them fail.
    let (programs, failure) = match programs {
        Ok(programs) => (programs, None),
        Err(failure) => (Vec::new(), Some(failure)),
    };
    let wanted: usize = programs.iter().map(|p| usize::try_from(p.count).unwrap_or(0)).sum();
    let spawned = comm.comm.spawn(&programs, root);
    if at_root {
        let code = if spawned.is_ok() { consts::SUCCESS } else { consts::ERR_SPAWN };
        (0..wanted).for_each(|i| errcodes.set(i, code));
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    let new = spawned?;
    if !at_root {
        (0..usize::try_from(new.remote_size()).unwrap_or(0)).for_each(|i| errcodes.set(i, consts::SUCCESS));
    }
    intercomm.set(comm::adopt(new, Some(comm))?);
    Ok(())
}

/// Starts processes of one program. All processes of the communicator must call it; blocks until the new ones are up.
#[mpi_entry(MPI_Comm_spawn)]
fn comm_spawn(
    command: In<u8>,
    argv: TextList,
    maxprocs: c_int,
    info: RawInfo,
    root: c_int,
    comm: CommRef,
    intercomm: Out<RawComm>,
    errcodes: OutArray<c_int>,
) -> Done {
    // Only the root's command, arguments, number and info mean something.
    let programs = if comm.comm.rank() == root {
        one_program(command.address(), &argv, maxprocs, info).map(|p| vec![p])
    } else {
        Ok(Vec::new())
    };
    spawn(&comm, programs, root, &intercomm, &errcodes)
}

fn one_program(command: usize, argv: &TextList, count: c_int, raw: RawInfo) -> Result<Program, Failure> {
    // SAFETY: the root passes C strings, as the standard asks.
    let command = unsafe { text_at(command)? };
    Ok(Program { command, args: argv.read(None)?, count, info: info::entries_of(raw)? })
}

/// The C string at an address.
///
/// # Safety
/// The address is null or that of a C string.
unsafe fn text_at(address: usize) -> Result<String, Failure> {
    // SAFETY: the same contract.
    let Text(text) = unsafe { <Text as crate::param::Param<crate::param::Small>>::decode(address as *const _)? };
    Ok(text)
}

/// Starts processes of several programs, as one world. All processes of the communicator must call it; blocks.
#[mpi_entry(MPI_Comm_spawn_multiple)]
fn comm_spawn_multiple(
    count: c_int,
    commands: In<usize>,
    argvs: In<usize>,
    maxprocs: In<c_int>,
    infos: In<RawInfo>,
    root: c_int,
    comm: CommRef,
    intercomm: Out<RawComm>,
    errcodes: OutArray<c_int>,
) -> Done {
    let programs = if comm.comm.rank() == root {
        several_programs(count, &commands, &argvs, &maxprocs, &infos)
    } else {
        Ok(Vec::new())
    };
    spawn(&comm, programs, root, &intercomm, &errcodes)
}

fn several_programs(
    count: c_int,
    commands: &In<usize>,
    argvs: &In<usize>,
    maxprocs: &In<c_int>,
    infos: &In<RawInfo>,
) -> Result<Vec<Program>, Failure> {
    let n = usize::try_from(count)
        .ok()
        .filter(|n| *n > 0)
        .ok_or_else(|| wrong(ErrorClass::Arg, format!("the number of programs is {count}; it must be positive")))?;
    let commands = commands.read(n, "the array of commands")?;
    let counts = maxprocs.read(n, "the array of process counts")?;
    let infos = infos.read(n, "the array of info objects")?;
    let argvs = if argvs.is_null() { None } else { Some(argvs.read(n, "the array of argument lists")?) };
    (0..n)
        .map(|i| {
            let list = argvs.map_or(0, |lists| lists[i]);
            // SAFETY: null, or a list of C strings that ends with a null pointer.
            let argv = unsafe { TextList::at(list) };
            one_program(commands[i], &argv, counts[i], infos[i])
        })
        .collect()
}

/// Opens a port at which this process accepts others. Local. There is nothing about a port of one machine that a hint could
/// choose.
#[mpi_entry(MPI_Open_port)]
fn open_port(_info: InfoRef, port_name: TextOut) -> Done {
    let name = state::need_process()?.engine.open_port()?;
    let (whole, room) = (name.len(), consts::MAX_PORT_NAME as usize);
    if port_name.set(&name, room)? < whole {
        return Err(wrong(ErrorClass::Intern, format!("the name of the port has more than {room} bytes")));
    }
    Ok(())
}

/// Closes a port. Who waits to connect is refused. Local.
#[mpi_entry(MPI_Close_port)]
fn close_port(port_name: Text) -> Done {
    Ok(state::need_process()?.engine.close_port(&port_name.0)?)
}

/// The port's name, which means something at the root only.
fn port_at_root(comm: &CommRef, root: c_int, port_name: &In<u8>) -> String {
    if comm.comm.rank() != root {
        return String::new();
    }
    // SAFETY: the root passes a C string, as the standard asks.
    // A name that is none must not keep the root from telling the others: the empty one is no port either.
    unsafe { text_at(port_name.address()) }.unwrap_or_default()
}

/// What the info says about how long to wait, which means something at the root only.
fn timeout_at_root(comm: &CommRef, root: c_int, info: RawInfo) -> Result<Option<Duration>, Failure> {
    if comm.comm.rank() != root {
        return Ok(None);
    }
    let entries = info::entries_of(info)?;
    let Some((_, given)) = entries.iter().find(|(key, _)| key == "timeout") else { return Ok(None) };
    let seconds = given.trim().parse::<f64>().ok();
    let timeout = seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match timeout {
        Some(timeout) => Ok(Some(timeout)),
        None => Err(wrong(ErrorClass::InfoValue, format!("the timeout '{given}' is not a number of seconds"))),
    }
}

/// Meets another group at a port, and gives the intercommunicator with it.
fn at_port(
    (port_name, root, info): (In<u8>, c_int, RawInfo),
    comm: &CommRef,
    newcomm: Out<RawComm>,
    meet: fn(&Comm, &str, i32, Option<Duration>) -> Result<Comm, phalanx_engine::Error>,
) -> Done {
    newcomm.set(RawComm::NULL);
    // A hint that makes no sense must not keep the root from telling the others: no port has the empty name.
    let (port, timeout, failure) = match timeout_at_root(comm, root, info) {
        Ok(timeout) => (port_at_root(comm, root, &port_name), timeout, None),
        Err(failure) => (String::new(), None, Some(failure)),
    };
    let met = meet(&comm.comm, &port, root, timeout);
    if let Some(failure) = failure {
        return Err(failure);
    }
    let new = met?;
    newcomm.set(comm::adopt(new, Some(comm))?);
    Ok(())
}

/// Waits for a group that connects to a port, for as many seconds as the hint `timeout` says. All processes of the communicator must call it; blocks.
#[mpi_entry(MPI_Comm_accept)]
fn comm_accept(port_name: In<u8>, info: RawInfo, root: c_int, comm: CommRef, newcomm: Out<RawComm>) -> Done {
    at_port((port_name, root, info), &comm, newcomm, Comm::accept)
}

/// Connects to the group that accepts at a port, and waits for it as many seconds as the hint `timeout` says. All processes of the communicator must call it; blocks.
#[mpi_entry(MPI_Comm_connect)]
fn comm_connect(port_name: In<u8>, info: RawInfo, root: c_int, comm: CommRef, newcomm: Out<RawComm>) -> Done {
    at_port((port_name, root, info), &comm, newcomm, Comm::connect)
}

/// Joins with the process at the other end of a socket; the null handle when that is on another machine. Blocks.
#[mpi_entry(MPI_Comm_join)]
fn comm_join(fd: c_int, intercomm: Out<RawComm>) -> Done {
    intercomm.set(RawComm::NULL);
    if let Some(new) = state::need_process()?.engine.join(fd)? {
        intercomm.set(comm::adopt(new, None)?);
    }
    Ok(())
}

/// Publishes a port under a name, for all jobs of this user on this machine. Local.
#[mpi_entry(MPI_Publish_name)]
fn publish_name(service_name: Text, _info: InfoRef, port_name: Text) -> Done {
    Ok(state::need_process()?.engine.publish_name(&service_name.0, &port_name.0)?)
}

/// Takes a published name back. Local.
#[mpi_entry(MPI_Unpublish_name)]
fn unpublish_name(service_name: Text, _info: InfoRef, _port_name: Text) -> Done {
    Ok(state::need_process()?.engine.unpublish_name(&service_name.0)?)
}

/// Gives the port that is published under a name. Local.
#[mpi_entry(MPI_Lookup_name)]
fn lookup_name(service_name: Text, _info: InfoRef, port_name: TextOut) -> Done {
    let name = state::need_process()?.engine.lookup_name(&service_name.0)?;
    port_name.set(&name, consts::MAX_PORT_NAME as usize)?;
    Ok(())
}
