//! Clusters of several machines: where a controller is reached from others, and gateways, which reach one.

use std::ffi::OsString;
use std::io::{self, BufRead};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use phalanx_cluster::far::tls::Identity;
use phalanx_cluster::gateway::{self, Behind, Ended, Options};
use phalanx_cluster::server::{Far, Weight};
use phalanx_wire::cluster::PROTOCOL;

use super::engine::{FIRST, patience};
use super::files::{Place, Reach, hex, read_connection, understand};
use super::flags::Flags;
use super::start::{Engines, SIGNALS, environment, logger, python};
use super::usage;
use crate::error::LaunchError;
use crate::hosts::connect;
use crate::process::{self, Spawn, Stdin};
use crate::{install, sys};

/// So long engines wait for a controller that was there and is not reached.
const PATIENCE: Duration = Duration::from_secs(120);

/// Listens for other machines: with what, and under which addresses and certificate the connection files have that.
///
/// # Errors
/// When the address is not one of this machine, or the port is taken.
pub(super) fn listen(ip: &str, port: u16, location: &str) -> Result<(Far, (Vec<String>, String)), LaunchError> {
    let is_all = matches!(ip, "*" | "0.0.0.0" | "::");
    let place: Vec<SocketAddr> = if is_all {
        let ip = if ip == "::" { IpAddr::from([0u16; 8]) } else { Ipv4Addr::UNSPECIFIED.into() };
        vec![(ip, port).into()]
    } else {
        let found = (ip, port).to_socket_addrs();
        found.map_err(|error| usage(format!("--ip={ip}: this is no address, and no name of one: {error}")))?.collect()
    };
    let listener = TcpListener::bind(&place[..])
        .map_err(|error| LaunchError::system(format!("listening at {ip}, port {port} (--ip, --port)"), error))?;
    let port = listener.local_addr().map_err(|error| LaunchError::system("listening", error))?.port();
    let identity = Identity::new().map_err(|error| LaunchError::system("making the cluster's certificate", error))?;
    let mut names: Vec<String> = Vec::new();
    let mut add = |name: String| {
        let name = if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") };
        if !names.contains(&name) {
            names.push(name);
        }
    };
    if is_all {
        add(location.to_owned());
        own_addresses(location).into_iter().for_each(|ip| add(ip.to_string()));
    } else {
        add(ip.to_owned());
    }
    let reached = (names, hex(identity.certificate()));
    Ok((Far { listener, identity, beat: connect::heartbeat()? }, reached))
}

/// Addresses under which other machines may find this one.
fn own_addresses(name: &str) -> Vec<IpAddr> {
    let named = (name, 0).to_socket_addrs().into_iter().flatten().map(|address| address.ip());
    // The address that packets to others would have; none is sent.
    let outward = || -> io::Result<IpAddr> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9))?;
        Ok(socket.local_addr()?.ip())
    };
    named.chain(outward()).filter(|ip| !ip.is_loopback() && !ip.is_unspecified()).collect()
}

/// A connection file that is typed, or sent, to this process: JSON up to the end of a line that completes it.
///
/// # Errors
/// In words, when it is none.
pub(super) fn read_stdin() -> Result<Reach, String> {
    let mut text = String::new();
    let mut lines = io::stdin().lock();
    loop {
        match lines.read_line(&mut text) {
            Ok(0) | Err(_) => return Err("what came over standard input is no connection file".to_owned()),
            Ok(_) => {}
        }
        if let Ok(about) = serde_json::from_str(&text) {
            return understand(&about, Path::new("standard input"));
        }
    }
}

/// Engines of this machine for a controller on another one.
///
/// # Errors
/// When there is no Python, or the controller is not reached.
pub(super) fn engines(flags: &Flags, place: &Place, reach: gateway::Reach) -> Result<u8, LaunchError> {
    let count = flags.n.unwrap_or(1);
    // A rank of a job would like to have the number of its rank.
    let number = |name: &str| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
    let first = flags.first.or_else(|| number(FIRST));
    let rank = number("PMI_RANK").or_else(|| number("SLURM_PROCID")).filter(|_| count == 1);
    let first = first.map(|first| first + rank.unwrap_or(0)).or(rank);
    let launcher = Engines { python: python()?, args: flags.engine_args.clone(), env: environment(place) };
    let leash =
        flags.file.as_deref().filter(|path| path.as_os_str() == "-").map(|_| io::stdin().as_fd().try_clone_to_owned());
    let leash = leash.transpose().map_err(|error| LaunchError::system("reading standard input", error))?;
    if let Some(leash) = &leash {
        nonblocking(leash)?;
    }
    let behind = Behind::Engines { count, first, launcher: Box::new(launcher) };
    conclude(run(flags, reach, behind, leash)?)
}

/// `phalanx cluster gateway`: what a client on another machine starts.
///
/// # Errors
/// When it was not started by one.
pub(super) fn client(flags: Flags) -> Result<u8, LaunchError> {
    let (Some(fd), Some(path)) = (flags.fd, &flags.file) else {
        return Err(usage("gateway: this is for clients, which start it with --fd and --file"));
    };
    let reach = if path.as_os_str() == "-" { read_stdin() } else { read_connection(path) };
    let reach = reach.map_err(LaunchError::Install)?;
    let Some(reach) = reach.far else {
        return Err(LaunchError::Install(format!(
            "{}: its controller is reached on its own machine only: start it with --ip='*'",
            path.display()
        )));
    };
    let socket = phalanx_shm::inherit::duplicate(fd)
        .map_err(|error| LaunchError::system(format!("--fd {fd}"), io::Error::other(error.to_string())))?;
    phalanx_shm::inherit::close_original(fd, socket.as_fd());
    let behind = Behind::Client(UnixStream::from(socket));
    // Its words go to the client.
    run(&Flags { quiet: true, ..flags }, reach, behind, None)?;
    Ok(0)
}

/// A connection to a controller on another machine, through a gateway, which is a child of this process and ends with the
/// connection. Whether the controller is there is heard over it; the gateway looks for it for so long.
///
/// # Errors
/// In words, when the gateway cannot be started.
pub(super) fn join(reach: &gateway::Reach, within: Duration) -> Result<UnixStream, String> {
    let failed = |error: io::Error| format!("starting a gateway to its machine: {error}");
    let (ours, theirs) = UnixStream::pair().map_err(failed)?;
    let exe = install::executable().ok_or_else(|| failed(io::Error::other("this binary cannot find itself")))?;
    let (fd, seconds) = (theirs.as_raw_fd().to_string(), within.as_secs().to_string());
    let args = ["cluster", "gateway", "--fd", &fd, "--file", "-", "--timeout", &seconds];
    let started = process::start(Spawn {
        program: &exe,
        args: args.map(OsString::from).to_vec(),
        stdin: Stdin::Pipe,
        keep: vec![theirs.as_fd()],
        ..Spawn::default()
    });
    let input = started.map_err(failed)?.stdin.ok_or_else(|| failed(io::Error::other("it has no input")))?;
    let about = serde_json::json!({
        "phalanx": PROTOCOL,
        "token": reach.token,
        "addresses": reach.addresses,
        "certificate": hex(&reach.certificate),
        "pid": std::process::id(),
    });
    // A pipe holds it.
    rustix::io::write(&input, format!("{about}\n").as_bytes()).map_err(|error| failed(error.into()))?;
    Ok(ours)
}

fn run(flags: &Flags, reach: gateway::Reach, behind: Behind, leash: Option<OwnedFd>) -> Result<Ended, LaunchError> {
    let signals = sys::signal_descriptor(SIGNALS).map_err(|error| LaunchError::system("watching signals", error))?;
    let mut log = logger(None, flags.debug, flags.quiet);
    let options = Options {
        reach,
        behind,
        timeout: patience(flags),
        patience: PATIENCE,
        signals,
        leash,
        log: Box::new(move |weight: Weight, line: &str| log(weight, line)),
        version: env!("CARGO_PKG_VERSION"),
    };
    gateway::run(options).map_err(|error| LaunchError::system("the gateway to the cluster", error))
}

fn conclude(ended: Ended) -> Result<u8, LaunchError> {
    match ended {
        Ended::Well(_) => Ok(0),
        Ended::Badly(problem) => Err(LaunchError::Install(problem)),
    }
}

fn nonblocking(descriptor: &OwnedFd) -> Result<(), LaunchError> {
    let set = || -> rustix::io::Result<()> {
        let flags = rustix::fs::fcntl_getfl(descriptor)?;
        rustix::fs::fcntl_setfl(descriptor, flags | rustix::fs::OFlags::NONBLOCK)
    };
    set().map_err(|error| LaunchError::system("reading standard input", error))
}
