//! Where clusters say how they are reached: names, places and modes are those of IPython's profiles.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use phalanx_cluster::gateway;
use phalanx_wire::cluster::PROTOCOL;
use serde_json::{Value, json};

use super::flags::Flags;
use super::usage;
use crate::error::LaunchError;

/// A cluster of a profile.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) profile: PathBuf,
    pub(super) id: String,
}

/// Where profiles are.
pub(super) fn ipython(flags: &Flags) -> PathBuf {
    let named = std::env::var_os("IPYTHONDIR").filter(|named| !named.is_empty()).map(PathBuf::from);
    let home = || std::env::var_os("HOME").map_or_else(|| PathBuf::from("/"), PathBuf::from).join(".ipython");
    let chosen = flags.ipython_dir.clone().or(named).unwrap_or_else(home);
    match chosen.strip_prefix("~") {
        Ok(rest) => std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default().join(rest),
        Err(_) => chosen,
    }
}

impl Place {
    /// The cluster that flags name.
    pub(super) fn of(flags: &Flags) -> Self {
        let given = std::env::var_os("IPP_PROFILE_DIR").filter(|named| !named.is_empty()).map(PathBuf::from);
        let given = flags.profile_dir.clone().or_else(|| given.filter(|_| flags.profile.is_none()));
        let named = || ipython(flags).join(format!("profile_{}", flags.profile.as_deref().unwrap_or("default")));
        let profile = given.unwrap_or_else(named);
        let profile = std::path::absolute(&profile).unwrap_or(profile);
        let of_environment = || std::env::var("IPP_CLUSTER_ID").ok();
        Self { profile, id: flags.cluster_id.clone().or_else(of_environment).unwrap_or_default() }
    }

    fn named(&self, before: &str, after: &str) -> String {
        if self.id.is_empty() { format!("{before}{after}") } else { format!("{before}-{}{after}", self.id) }
    }

    /// The connection file for clients or engines.
    pub(super) fn connection(&self, kind: &str) -> PathBuf {
        self.profile.join("security").join(self.named("ipcontroller", &format!("-{kind}.json")))
    }

    /// The file by which the cluster is found.
    pub(super) fn cluster(&self) -> PathBuf {
        self.profile.join("security").join(self.named("cluster", ".json"))
    }

    pub(super) fn pid_file(&self) -> PathBuf {
        self.profile.join("pid").join(self.named("ipcontroller", ".pid"))
    }

    pub(super) fn log_file(&self) -> PathBuf {
        let name = self.named("ipcontroller", &format!("-{}.log", std::process::id()));
        self.profile.join("log").join(name)
    }

    /// How it is called in messages.
    pub(super) fn words(&self) -> String {
        let name = profile_name(&self.profile);
        if self.id.is_empty() { format!("of profile {name}") } else { format!("{} of profile {name}", self.id) }
    }

    /// Makes the directories of the profile.
    ///
    /// # Errors
    /// What the system says, and when an id is no part of a file's name.
    pub(super) fn make(&self) -> Result<(), LaunchError> {
        if self.id.contains('/') || self.id.len() > 200 {
            return Err(usage(format!("--cluster-id: '{}' cannot be part of the name of a file", self.id)));
        }
        for name in ["security", "pid", "log"] {
            let path = self.profile.join(name);
            let made = DirBuilder::new().recursive(true).mode(0o700).create(&path);
            made.map_err(|error| LaunchError::system(format!("making {}", path.display()), error))?;
        }
        Ok(())
    }

    /// Writes the connection files. Without a socket they say that there will be one.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write_connections(
        &self,
        reach: Option<(&Path, &str)>,
        far: Option<&(Vec<String>, String)>,
        location: &str,
    ) -> Result<(), LaunchError> {
        for kind in ["client", "engine"] {
            let mut about = json!({
                "phalanx": PROTOCOL,
                "state": if reach.is_some() { "running" } else { "starting" },
                "cluster_id": self.id,
                "location": location,
                "pid": std::process::id(),
            });
            if let Some((socket, token)) = reach {
                about["socket"] = json!(socket.to_string_lossy());
                about["token"] = json!(token);
            }
            if let (Some(_), Some((addresses, certificate))) = (reach, far) {
                about["addresses"] = json!(addresses);
                about["certificate"] = json!(certificate);
            }
            write(&self.connection(kind), &about)?;
        }
        Ok(())
    }

    /// Writes the file by which the cluster is found.
    ///
    /// # Errors
    /// What the system says.
    pub(super) fn write_cluster(&self, engines: u32, log: &Path) -> Result<(), LaunchError> {
        let profile = self.profile.to_string_lossy();
        let launched = |pid: i64| {
            json!({
                "cluster_id": self.id, "profile_dir": profile, "state": "running", "pid": pid,
                "output_file": log.to_string_lossy(),
            })
        };
        let mut set = launched(-1);
        set["n"] = json!(engines);
        set["engines"] =
            (0..engines).map(|id| (id.to_string(), json!({"n": 1}))).collect::<serde_json::Map<_, _>>().into();
        let about = json!({
            "phalanx": PROTOCOL,
            "pid": std::process::id(),
            "cluster": {
                "class": "ipyparallel.cluster.cluster.Cluster",
                "cluster_id": self.id,
                "profile_dir": profile,
                "n": engines,
            },
            "controller": {"class": "local", "state": launched(i64::from(std::process::id()))},
            "engines": {"class": "local", "sets": {"0": set}},
        });
        write(&self.cluster(), &about)
    }

    /// What a connection file says, and why it cannot be used.
    ///
    /// # Errors
    /// When there is none, or it is another program's.
    pub(super) fn read(&self, kind: &str) -> Result<Reach, LaunchError> {
        read_connection(&self.connection(kind))
            .map_err(|problem| LaunchError::Install(format!("no cluster {} is running: {problem}", self.words())))
    }

    /// Removes the files of a cluster that has ended, as far as they are of this process, or of nobody who lives.
    pub(super) fn remove(&self, pid: u32) {
        for path in [self.connection("client"), self.connection("engine"), self.cluster()] {
            let owner = read_json(&path).ok().and_then(|about| owner(&about));
            if owner.is_none_or(|owner| owner == pid) {
                let _ = fs::remove_file(path);
            }
        }
        let _ = fs::remove_file(self.pid_file());
    }
}

/// How a controller is reached.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    pub(super) socket: PathBuf,
    pub(super) token: String,
    pub(super) pid: u32,
    /// How it is reached from other machines, if it is.
    pub(super) far: Option<gateway::Reach>,
    /// The machine that it says it is on.
    pub(super) location: String,
}

impl Reach {
    /// Whether it runs on this machine: its socket is here, and somebody listens.
    pub(super) fn is_here(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }

    /// Whether it may run: its process lives, or is on another machine, where it can be reached.
    pub(super) fn may_run(&self) -> bool {
        lives(self.pid) || self.is_elsewhere()
    }

    /// Whether it is on another machine, where it can be reached.
    pub(super) fn is_elsewhere(&self) -> bool {
        self.far.is_some() && self.location != host()
    }
}

/// What this machine is called.
pub(super) fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// What a connection file says.
///
/// # Errors
/// In words, when it is not one.
pub(super) fn read_connection(path: &Path) -> Result<Reach, String> {
    let about = read_json(path).map_err(|error| format!("{}: {error}", path.display()))?;
    understand(&about, path)
}

/// What a connection file says, once it has been read.
///
/// # Errors
/// As [`read_connection`].
pub(super) fn understand(about: &Value, path: &Path) -> Result<Reach, String> {
    let text = |name: &str| about.get(name).and_then(Value::as_str).map(str::to_owned);
    if about.get("phalanx").is_none() {
        return Err(format!("{} was written by a controller of another ipyparallel", path.display()));
    }
    let addresses = about.get("addresses").and_then(Value::as_array).into_iter().flatten();
    let addresses: Vec<String> = addresses.filter_map(Value::as_str).map(str::to_owned).collect();
    let certificate = text("certificate").and_then(|digits| unhex(&digits));
    let certificate = certificate.filter(|_| !addresses.is_empty());
    match (text("socket"), text("token"), owner(about)) {
        (socket, Some(token), Some(pid)) if socket.is_some() || certificate.is_some() => {
            let far = certificate.map(|certificate| gateway::Reach { addresses, certificate, token: token.clone() });
            let location = text("location").unwrap_or_default();
            Ok(Reach { socket: socket.unwrap_or_default().into(), token, pid, far, location })
        }
        _ => Err(format!("{}: the controller is only starting", path.display())),
    }
}

/// Bytes as digits.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

/// The process that wrote a file.
pub(super) fn owner(about: &Value) -> Option<u32> {
    let of_controller = || about.get("controller")?.get("state")?.get("pid");
    let pid = about.get("pid").or_else(of_controller)?.as_u64()?;
    u32::try_from(pid).ok()
}

/// A file as JSON.
///
/// # Errors
/// What the system says, and when it is none.
pub(super) fn read_json(path: &Path) -> io::Result<Value> {
    serde_json::from_slice(&fs::read(path)?).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
}

/// Writes a file of the user's alone, whole or not at all.
fn write(path: &Path, about: &Value) -> Result<(), LaunchError> {
    let hidden = path.with_extension(format!("{}.tmp", std::process::id()));
    let written = || -> io::Result<()> {
        let _from_before = fs::remove_file(&hidden);
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&hidden)?;
        file.write_all(format!("{about:#}\n").as_bytes())?;
        fs::rename(&hidden, path)
    };
    written().map_err(|error| {
        let _ = fs::remove_file(&hidden);
        LaunchError::system(format!("writing {}", path.display()), error)
    })
}

/// `default` for `.../profile_default`.
pub(super) fn profile_name(profile: &Path) -> String {
    let name = profile.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    match name.strip_prefix("profile_") {
        Some(name) => name.to_owned(),
        None => profile.display().to_string(),
    }
}

/// The profiles that flags name, or all.
pub(super) fn profiles(flags: &Flags, all: bool) -> Vec<PathBuf> {
    if !all || flags.profile.is_some() || flags.profile_dir.is_some() {
        return vec![Place::of(flags).profile];
    }
    let mut found: Vec<PathBuf> = fs::read_dir(ipython(flags))
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("profile_"))
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// The files of a directory whose names begin and end like this.
pub(super) fn named(directory: &Path, before: &str, after: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            name.starts_with(before) && name.ends_with(after)
        })
        .map(|entry| entry.path())
        .collect();
    found.sort();
    found
}

/// Whether a process of that number lives. One that has ended, and that its parent has not asked after, does not.
pub(super) fn lives(pid: u32) -> bool {
    let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}
