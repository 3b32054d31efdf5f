//! Names under which ports are published (MPI 5.0 §11.9.4): for all jobs of a user on a machine.
//!
//! Each published name is a small file in a directory that only the user can enter. It says which process has published it, so
//! that what a killed one leaves counts for nothing and is removed by the next who looks. A name is taken within one job;
//! several jobs may publish the same one, for a program that runs several times: who looks it up gets the port of its own job,
//! else the one that was published last.
//!
//! Changes are made under a lock on a file, which ends with its holder. A file appears whole, by renaming.
//!
//! Launchers of others keep names too. Where such a launcher is there, it is asked first: it may know those of other
//! machines' jobs.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use phalanx_shm::ProcessTag;
use rustix::fs::FlockOperation;

use crate::boot::{self, Answer, Pmi};
use crate::engine::Engine;
use crate::error::{Error, ErrorClass, Result, fail};

/// The longest name of a service or a port, in bytes.
const LONGEST: usize = 1024;

/// How long the lock may be held by others; they hold it for some system calls.
const LOCKED: Duration = Duration::from_secs(10);

/// The ending of the files of names.
const ENTRY: &str = "name";

impl Engine {
    /// Publishes a port under a name (`MPI_Publish_name`).
    ///
    /// # Errors
    /// Class `Service` when the job has the name already or it cannot be one; class `Port` for what is no name of a port;
    /// class `Other` when the directory of names cannot be used.
    pub fn publish_name(&self, service: &str, port: &str) -> Result<()> {
        let (service_word, port_word) = (word(service, ErrorClass::Service)?, word(port, ErrorClass::Port)?);
        let taken =
            |why: &str| Error::new(ErrorClass::Service, format!("the service '{service}' cannot be published: {why}"));
        if let Some(answer) =
            self.ask_launcher(&format!("cmd=publish_name service={service_word} port={port_word}\n"), "publish_result")?
            && !answer.line().is_ok()
        {
            return Err(taken(&reason(&answer)));
        }
        let registry = Registry::open(self)?;
        if registry.entries().iter().any(|entry| entry.service == service && entry.job == registry.job) {
            return Err(taken("this job has published that name already"));
        }
        self.ports().published.store(true, Ordering::Relaxed);
        registry.enter(&service_word, &port_word)
    }

    /// Takes a name back (`MPI_Unpublish_name`).
    ///
    /// # Errors
    /// Class `Service` when this job has not published it; class `Other` as above.
    pub fn unpublish_name(&self, service: &str) -> Result<()> {
        let line = format!("cmd=unpublish_name service={}\n", word(service, ErrorClass::Service)?);
        let _ = self.ask_launcher(&line, "unpublish_result")?;
        let registry = Registry::open(self)?;
        let own = registry.entries().into_iter().find(|e| e.service == service && e.job == registry.job);
        let Some(own) = own else {
            fail!(Service, "the service '{service}' cannot be taken back: this job has not published it");
        };
        std::fs::remove_file(&own.path).map_err(|e| unusable(&own.path, &e))
    }

    /// The port that is published under a name (`MPI_Lookup_name`).
    ///
    /// # Errors
    /// Class `Name` when there is none; class `Other` as above.
    pub fn lookup_name(&self, service: &str) -> Result<String> {
        let line = format!("cmd=lookup_name service={}\n", word(service, ErrorClass::Service)?);
        if let Some(answer) = self.ask_launcher(&line, "lookup_result")?
            && answer.line().is_ok()
            && let Some(port) = answer.line().get("port").map(text)
        {
            return Ok(port);
        }
        let registry = Registry::open(self)?;
        let found = registry.entries().into_iter().filter(|entry| entry.service == service);
        match found.max_by_key(|entry| (entry.job == registry.job, entry.since)) {
            Some(entry) => Ok(entry.port),
            None => fail!(
                Name,
                "no port is published under the service name '{service}' by a running job of this user on this machine"
            ),
        }
    }

    /// Removes the names of this process.
    #[cold]
    pub(super) fn forget_names(&self) {
        // Who looks later removes what is left here.
        let Ok(registry) = Registry::open(self) else { return };
        let own = registry.entries().into_iter().filter(|entry| entry.owner == ProcessTag::me());
        for entry in own {
            let _ = std::fs::remove_file(&entry.path);
        }
    }

    /// The answer of the launcher, if there is one.
    fn ask_launcher(&self, line: &str, answer: &str) -> Result<Option<Answer>> {
        match self.pmi().as_mut() {
            Some(pmi) => Pmi::ask(pmi, line, answer).map(Some),
            None => Ok(None),
        }
    }
}

/// The names of a user on this machine, while the lock is held.
struct Registry {
    directory: PathBuf,
    /// What tells this job from others.
    job: String,
    _lock: File,
}

/// A published name.
pub(super) struct Entry {
    path: PathBuf,
    pub(super) job: String,
    service: String,
    pub(super) port: String,
    pub(super) since: u128,
    pub(super) owner: ProcessTag,
}

#[cold]
fn unusable(path: &Path, why: &dyn std::fmt::Display) -> Error {
    Error::new(
        ErrorClass::Other,
        format!("'{}', where published names are kept, cannot be used: {why}", path.display()),
    )
}

impl Registry {
    /// # Errors
    /// Class `Other` when the directory is not the user's own; interruption.
    fn open(engine: &Engine) -> Result<Registry> {
        let key = engine.universe().key().map_err(|e| Error::new(ErrorClass::Other, e.to_string()))?;
        let job = format!("{}-{:x}-{key:x}", boot::machine(), engine.universe().home());
        Registry::at(engine, private_directory()?, job)
    }

    fn at(engine: &Engine, directory: PathBuf, job: String) -> Result<Registry> {
        let path = directory.join("lock");
        let lock = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
        let lock = lock.map_err(|e| unusable(&path, &e))?;
        let until = Instant::now() + LOCKED;
        loop {
            match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => return Ok(Registry { directory, job, _lock: lock }),
                Err(rustix::io::Errno::WOULDBLOCK | rustix::io::Errno::INTR) if Instant::now() < until => {
                    engine.check_interrupt()?;
                    engine.progress()?;
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(e) => return Err(unusable(&path, &e)),
            }
        }
    }

    /// The names of processes that run; what others have left is removed.
    fn entries(&self) -> Vec<Entry> {
        let files = std::fs::read_dir(&self.directory).into_iter().flatten().flatten();
        let mut found = Vec::new();
        for path in files.map(|file| file.path()).filter(|path| path.extension().is_some_and(|e| e == ENTRY)) {
            let Some(entry) = std::fs::read_to_string(&path).ok().and_then(|t| Entry::read(path.clone(), &t)) else {
                continue;
            };
            // What was published in another container, or before this machine started, says nothing here.
            let (theirs, ours) = (entry.job.rsplit_once('-'), self.job.rsplit_once('-'));
            if theirs.map(|job| job.0) != ours.map(|job| job.0) {
                let (theirs, ours) = (entry.job.get(..36), self.job.get(..36));
                if theirs != ours {
                    let _ = std::fs::remove_file(&path);
                }
                continue;
            }
            if entry.owner.is_dead() {
                let _ = std::fs::remove_file(&path);
                continue;
            }
            found.push(entry);
        }
        found
    }

    /// Enters a name for this process.
    fn enter(&self, service: &str, port: &str) -> Result<()> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_nanos());
        let owner = ProcessTag::me().bits();
        let path = self.directory.join(format!("{owner:x}-{since:x}.{ENTRY}"));
        let new = path.with_extension("new");
        let text = format!("phalanx-name 1 {} {owner:x} {since} {service} {port}\n", self.job);
        let written = (|| {
            OpenOptions::new().create_new(true).write(true).mode(0o600).open(&new)?.write_all(text.as_bytes())?;
            std::fs::rename(&new, &path)
        })();
        written.map_err(|e| {
            let _ = std::fs::remove_file(&new);
            unusable(&path, &e)
        })
    }
}

impl Entry {
    /// The name that a file tells of.
    pub(super) fn read(path: PathBuf, content: &str) -> Option<Entry> {
        let words: Vec<&str> = content.trim_end().split(' ').collect();
        let ["phalanx-name", "1", job, owner, since, service, port] = words[..] else { return None };
        let owner = ProcessTag::from_bits(u64::from_str_radix(owner, 16).ok()?);
        let since = since.parse().ok()?;
        Some(Entry { path, job: job.to_owned(), service: text(service), port: text(port), since, owner })
    }
}

/// The directory of this user's names: in the one that the session has for such things, else in the one for temporary files.
fn private_directory() -> Result<PathBuf> {
    let user = rustix::process::geteuid().as_raw();
    let own = |path: &Path| {
        path.symlink_metadata().is_ok_and(|found| found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0)
    };
    let session = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute() && own(path));
    let directory =
        session.map_or_else(|| PathBuf::from(format!("/tmp/phalanx-names-{user}")), |path| path.join("phalanx-names"));
    match DirBuilder::new().mode(0o700).create(&directory) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(unusable(&directory, &e)),
        _ if !own(&directory) => Err(unusable(
            &directory,
            &"it must be a directory that belongs to this user and that nobody else can enter",
        )),
        _ => Ok(directory),
    }
}

fn reason(answer: &Answer) -> String {
    phalanx_pmi::reason(&answer.line()).unwrap_or_else(|| "the launcher gave no reason".to_owned())
}

/// A text as one word of a line: everything but printable ASCII is written as `%` and two digits.
///
/// # Errors
/// Of that class, when it is empty or longer than a name can be.
pub(super) fn word(text: &str, class: ErrorClass) -> Result<String> {
    if text.is_empty() || text.len() > LONGEST {
        return Err(Error::new(class, format!("a name has 1 to {LONGEST} bytes; this one has {}", text.len())));
    }
    let plain = |byte: u8| byte.is_ascii_graphic() && byte != b'%';
    Ok(text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02x}") }).collect())
}

/// The text that was written as a word.
pub(super) fn text(word: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = word.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits =
            tail.get(..2).and_then(|d| std::str::from_utf8(d).ok()).and_then(|d| u8::from_str_radix(d, 16).ok());
        match digits {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_as_words() {
        for name in ["plain", "two words", "a=b", "100%", "%20", "line\nbreak", "größe", "%"] {
            let line = word(name, ErrorClass::Service).expect("short");
            assert!(line.bytes().all(|b| b.is_ascii_graphic()), "{line}");
            assert_eq!(text(&line), name);
        }
        assert!(word("", ErrorClass::Service).is_err());
        assert!(word(&"x".repeat(LONGEST + 1), ErrorClass::Service).is_err());
    }

    #[test]
    fn names_of_ended_processes_and_nonsense_count_for_nothing() {
        crate::testing::run(1, |comm| {
            let place = std::env::temp_dir().join(format!("phalanx-names-{}", std::process::id()));
            std::fs::create_dir_all(&place).expect("made");
            let engine = comm.engine();
            let machine = boot::machine();
            let registry = Registry::at(engine, place.clone(), format!("{machine}-1-a")).expect("a registry");
            registry.enter("service", "port").expect("entered");
            let mut child = std::process::Command::new("true").spawn().expect("started");
            let tag = ProcessTag::of(child.id()).bits();
            child.wait().expect("ended");
            std::fs::write(place.join("dead.name"), format!("phalanx-name 1 {machine}-1-b {tag:x} 9 service old\n"))
                .expect("written");
            std::fs::write(place.join("wild.name"), "nonsense").expect("written");
            let own = ProcessTag::me().bits();
            std::fs::write(place.join("far.name"), format!("phalanx-name 1 {machine}-2-c {own:x} 9 service far\n"))
                .expect("written");
            let found = registry.entries();
            assert_eq!(found.iter().map(|e| e.port.as_str()).collect::<Vec<_>>(), ["port"]);
            assert!(!place.join("dead.name").exists() && place.join("far.name").exists());
            drop(registry);
            std::fs::remove_dir_all(&place).expect("removed");
        });
    }
}
