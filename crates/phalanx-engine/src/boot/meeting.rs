//! How the ranks that a PMI-1 launcher has started meet: rank 0 makes the universe and tells where it is, the others join, and
//! all learn whether all have.
//!
//! ```text
//! rank 0        makes the universe          joined?            verdict
//!                      | tells where           ^ each tells       | tells
//! barrier ------------------------- barrier ------------- barrier ------ all go on, or all end
//! the others           joins, or why not
//! ```
//!
//! Ranks that cannot join (another machine, another container, another user) would leave the others waiting in a barrier of
//! the launcher's, which ends no job by itself.

use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};

use phalanx_pmi::launchers::PRECEDENCE;
use phalanx_shm::{ProcId, Universe};

use super::{BootConfig, Pmi, broken, config, machine};
use crate::engine::Slots;
use crate::error::{Error, ErrorClass, Result};

/// Under which rank 0 tells where the universe is, or why there is none.
const PLACE: &str = "phalanx-universe";
/// Under which each rank tells whether it has joined; its rank follows.
const JOINED: &str = "phalanx-joined-";
/// Under which rank 0 tells whether all have.
const VERDICT: &str = "phalanx-verdict";
/// Stands before a reason, where there could be something good.
const NOT: char = '!';
/// Letters of a reason, so that launchers with short values take it.
const LETTERS: usize = 240;

/// Where rank 0 has put the universe.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    /// The machine, and this boot of it.
    machine: String,
    /// Its name, for messages.
    host: String,
    /// The [namespaces](Universe::home) in which the process has its number.
    home: u64,
    pid: u32,
    fd: u32,
    /// The universe's [key](Universe::key): that number and descriptor may be those of another process here.
    key: u64,
    /// The first slot.
    first: u32,
}

impl Place {
    fn of(universe: &Universe, first: ProcId) -> Result<Place> {
        Ok(Place {
            machine: machine(),
            host: host(),
            home: universe.home(),
            pid: std::process::id(),
            fd: u32::try_from(universe.fd().as_raw_fd()).unwrap_or(0),
            key: universe.key().map_err(|e| broken("look at the job's universe", &e))?,
            first: first.0,
        })
    }

    fn text(&self) -> String {
        let Place { machine, host, home, pid, fd, key, first } = self;
        format!("{machine}:{home:x}:{pid}:{fd}:{key:x}:{first}:{}", one_word(host))
    }

    fn parse(text: &str) -> Option<Place> {
        let mut fields = text.splitn(7, ':');
        let mut next = || fields.next();
        Some(Place {
            machine: next()?.to_owned(),
            home: u64::from_str_radix(next()?, 16).ok()?,
            pid: next()?.parse().ok()?,
            fd: next()?.parse().ok()?,
            key: u64::from_str_radix(next()?, 16).ok()?,
            first: next()?.parse().ok()?,
            host: words(next()?),
        })
    }
}

/// Text as a value of PMI: one word, and not too long.
fn one_word(text: &str) -> String {
    let tame = |c: char| if c.is_whitespace() || c == '=' { '_' } else { c };
    text.chars().take(LETTERS).map(tame).collect()
}

/// Text from a value of PMI.
fn words(word: &str) -> String {
    word.replace('_', " ")
}

/// What users call this machine.
fn host() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

/// Meets the other ranks of a PMI-1 launcher.
///
/// # Errors
/// When the launcher does not answer, the universe cannot be made, or some rank cannot join it: then all ranks have an error, and
/// that of rank 0 names who cannot, and why.
pub(super) fn meet(socket: OwnedFd, number: i32, rank: u32, size: u32) -> Result<BootConfig> {
    let mut pmi = Pmi::connect(socket)?;
    phalanx_shm::inherit::close_original(number, pmi.fd());
    let appnum = pmi.appnum()?;
    let mut made = None;
    if rank == 0 {
        let place = make(size);
        let value = match &place {
            Ok((_, place)) => place.text(),
            Err(why) => format!("{NOT}{}", one_word(why.message())),
        };
        made = Some(pmi.put(PLACE, &value).and(place));
    }
    // From here on all go through the same barriers, whatever goes wrong: who left would leave the others waiting.
    pmi.barrier()?;
    let joined = match made {
        Some(made) => made.map(|(universe, place)| (universe, ProcId(place.first))),
        None => {
            let joined = pmi.get(PLACE).and_then(|told| find(&told.unwrap_or_default()));
            let value = match &joined {
                Ok(_) => String::from("1"),
                Err(why) => format!("{NOT}{}", one_word(why.message())),
            };
            pmi.put(&format!("{JOINED}{rank}"), &value).and(joined)
        }
    };
    // Rank 0's descriptor stays open until all have it.
    pmi.barrier()?;
    let mut outcome = joined;
    if rank == 0 {
        outcome = outcome.and_then(|joined| all_joined(&mut pmi, size).map(|()| joined));
        let told = pmi.put(VERDICT, if outcome.is_ok() { "1" } else { "0" });
        outcome = outcome.and_then(|joined| told.map(|()| joined));
    }
    pmi.barrier()?;
    if rank > 0 && !matches!(pmi.get(VERDICT), Ok(Some(verdict)) if verdict == "1") {
        std::thread::sleep(PRECEDENCE);
        outcome = Err(Error::said_elsewhere());
    }
    let (universe, first) = outcome?;
    Ok(BootConfig { first, size, rank, appnum, pmi: Some(pmi), ..BootConfig::first_world(&universe, size, rank) })
}

fn make(size: u32) -> Result<(Universe, Place)> {
    let universe = Universe::create(config(size)?).map_err(|e| broken("make the job's universe", &e))?;
    let first = universe.claim_slots(size).map_err(|e| broken("make the job's universe", &e))?;
    let place = Place::of(&universe, first)?;
    Ok((universe, place))
}

/// Joins the universe that rank 0 has told of.
fn find(told: &str) -> Result<(Universe, ProcId)> {
    let fail = |why: String| Error::new(ErrorClass::Other, why);
    if told.starts_with(NOT) {
        return Err(fail(String::from("rank 0 has no shared memory")));
    }
    let place = Place::parse(told).ok_or_else(|| fail(String::from("it has another version of this library")))?;
    if place.machine != machine() {
        return Err(fail(format!("it runs on {}, another machine", host())));
    }
    let path = format!("/proc/{}/fd/{}", place.pid, place.fd);
    let universe = (|| {
        let file = File::options().read(true).write(true).open(&path).map_err(|e| e.to_string())?;
        let universe = Universe::attach(OwnedFd::from(file)).map_err(|e| e.to_string())?;
        match universe.key() {
            Ok(key) if key == place.key => Ok(universe),
            _ => Err(String::from("it is another one")),
        }
    })();
    match universe {
        Ok(universe) if universe.is_at_home() => Ok((universe, ProcId(place.first))),
        Ok(_) => Err(fail(format!("it runs in another container than rank 0 ({})", host()))),
        // Nothing else tells a container whose processes have numbers of their own from another user's.
        Err(why) => Err(fail(format!(
            "it cannot open rank 0's shared memory ({why}): it runs in another container of this machine, or as another user"
        ))),
    }
}

/// That all ranks have joined, by what they have told rank 0.
///
/// # Errors
/// Which have not, and what to do about it.
fn all_joined(pmi: &mut Pmi, size: u32) -> Result<()> {
    let mut reasons: Vec<(u32, String)> = Vec::new();
    for rank in 1..size {
        match pmi.get(&format!("{JOINED}{rank}"))? {
            Some(told) if told == "1" => {}
            Some(told) => reasons.push((rank, words(told.trim_start_matches(NOT)))),
            None => reasons.push((rank, String::from("it has said nothing"))),
        }
    }
    if reasons.is_empty() {
        return Ok(());
    }
    Err(Error::new(ErrorClass::Other, cannot_join(&reasons, size, &host())))
}

/// The message for the user.
fn cannot_join(reasons: &[(u32, String)], size: u32, host: &str) -> String {
    let ranks =
        |reason: &str| -> Vec<u32> { reasons.iter().filter(|(_, r)| r == reason).map(|(rank, _)| *rank).collect() };
    let mut told: Vec<&str> = Vec::new();
    let mut parts = Vec::new();
    for (_, reason) in reasons {
        if !told.contains(&reason.as_str()) {
            told.push(reason);
            let who = phalanx_waits::ranks(&ranks(reason), &Slots);
            parts.push(format!("{who}: {reason}"));
        }
    }
    format!(
        "{} of {size} ranks cannot join rank 0 on {host} ({}); the embedded engine runs on one machine, as one user: start all ranks \
         there ('phalanx run -n {size}', 'srun -N1 --mpi=pmi2'), or, for several machines, select the site's MPI library with PHALANX_MPI=site",
        reasons.len(),
        parts.join("; ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_survives_its_text() {
        let place = Place {
            machine: String::from("b52-1"),
            host: String::from("node 7"),
            home: 0xfeed_0000_0001,
            pid: 17,
            fd: 5,
            key: 99,
            first: 0,
        };
        assert_eq!(Place::parse(&place.text()), Some(place));
        for text in ["", "!no_room", "a:b", "b52:1:x:5:63:0:h", "b52:1:17:5:63:0"] {
            assert_eq!(Place::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ranks_with_one_reason_are_named_together() {
        let elsewhere = String::from("it runs on h2, another machine");
        let reasons = [(2, elsewhere.clone()), (3, elsewhere), (5, String::from("it has said nothing"))];
        let text = cannot_join(&reasons, 6, "h1");
        assert!(text.starts_with("3 of 6 ranks cannot join rank 0 on h1 (ranks 2, 3: it runs on h2"), "{text}");
        assert!(text.contains("rank 5: it has said nothing") && text.contains("PHALANX_MPI=site"), "{text}");
    }

    #[test]
    fn what_is_not_there_cannot_be_joined() {
        let here =
            Place { machine: machine(), host: host(), home: 1, pid: std::process::id(), fd: 0, key: 1, first: 0 };
        let why = find(&here.text()).expect_err("standard input is no universe");
        assert!(why.to_string().contains("cannot open rank 0's shared memory"), "{why}");
        let why = find(&Place { machine: String::from("elsewhere"), ..here }.text()).expect_err("another machine");
        assert!(why.to_string().contains("another machine"), "{why}");
        assert!(find("?").is_err() && find("!no_room").is_err());
    }
}
