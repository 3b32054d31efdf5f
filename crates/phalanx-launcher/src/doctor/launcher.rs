//! The launcher that has started this process, which PMI it offers, and whether the MPI library speaks it.

use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use phalanx_pmi::Line;
use phalanx_pmi::launchers::{self, ALONE};

use super::Finding;

/// What a launcher offers, or a library speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pmi {
    /// PMI-1 over a descriptor that the launcher has opened.
    Descriptor,
    /// PMI-1 over a connection to a port.
    Port,
    /// PMI-2, over the same descriptor.
    Two,
    /// PMIx.
    X,
}

impl Pmi {
    fn name(self) -> &'static str {
        match self {
            Pmi::Descriptor => "PMI-1 (PMI_FD)",
            Pmi::Port => "PMI-1 (PMI_PORT)",
            Pmi::Two => "PMI-2",
            Pmi::X => "PMIx",
        }
    }
}

fn listed(all: &[Pmi]) -> String {
    match all {
        [] => "no PMI".to_owned(),
        all => all.iter().map(|one| one.name()).collect::<Vec<_>>().join(", "),
    }
}

/// Where this process stands among those that a launcher has started.
pub(super) struct Start {
    /// In a sentence.
    described: String,
    /// How many there are, where it is known.
    size: Option<u32>,
    /// Which this one is, where it is known.
    rank: Option<u32>,
    offers: Vec<Pmi>,
    is_slurm: bool,
    /// Whether it is `phalanx run`.
    is_ours: bool,
}

/// The launcher of this process; none where it was started by hand, or by a rank.
pub(super) fn find(env: impl Fn(&str) -> Option<String>, is_connection: impl Fn(&str) -> bool) -> Option<Start> {
    if env(ALONE).is_some_and(|value| !matches!(value.as_str(), "" | "0")) {
        return None;
    }
    let descriptor = env("PMI_FD");
    let is_rank = descriptor.as_deref().is_some_and(&is_connection);
    if descriptor.is_some() && !is_rank {
        // What a rank has started has its variables, but not its connection.
        return None;
    }
    let number = |name: &str| env(name)?.trim().parse::<u32>().ok();
    let is_ours = is_rank && env("PHALANX_UNIVERSE").is_some();
    let found = if is_ours { None } else { launchers::of_several(&env) };
    let is_slurm =
        found.as_ref().is_some_and(launchers::Launcher::is_slurm) || is_rank && env("SLURM_STEP_ID").is_some();
    let mut offers = Vec::new();
    if is_rank {
        offers.push(Pmi::Descriptor);
        if is_slurm {
            offers.push(Pmi::Two);
        }
    }
    if env("PMI_PORT").is_some() {
        offers.push(Pmi::Port);
    }
    if env("PMIX_NAMESPACE").is_some() {
        offers.push(Pmi::X);
    }
    let (size, rank) = match &found {
        Some(launcher) => (launcher.size, launcher.rank),
        None if is_rank => (number("PMI_SIZE"), number("PMI_RANK")),
        None => return None,
    };
    let described = match (&found, size) {
        (Some(launcher), _) => launcher.described(),
        (None, Some(size)) if is_ours => format!("phalanx run with {size} processes"),
        (None, Some(size)) => format!("an MPI launcher with PMI and {size} processes"),
        (None, None) => "an MPI launcher with PMI".to_owned(),
    };
    Some(Start { described, size, rank, offers, is_slurm, is_ours })
}

/// As [`find`], of this process.
pub(super) fn of_this_process() -> Option<Start> {
    find(|name| std::env::var(name).ok(), launchers::is_connection)
}

impl Start {
    /// Whether another process of the same start reports.
    pub(super) fn leaves_it_to_another(&self) -> bool {
        self.rank.is_some_and(|rank| rank > 0)
    }

    /// What is to be said of the launcher, and of the library that `loaded` is the file of; `embedded`: it is ours.
    pub(super) fn examine(&self, loaded: Option<&Path>, embedded: bool) -> Vec<Finding> {
        let answered = match self.offers.contains(&Pmi::Descriptor) && !self.is_ours {
            true => match greet() {
                Some(version) => format!("; it answers as PMI {version}"),
                None => "; it gives no answer at PMI_FD".to_owned(),
            },
            false => String::new(),
        };
        let text = format!("{}; it offers {}{answered}", self.described, listed(&self.offers));
        let launcher = Finding::ok("started by", text);
        let speaks = match (embedded, loaded) {
            (true, _) => vec![Pmi::Descriptor],
            (false, Some(path)) => spoken(path),
            (false, None) => Vec::new(),
        };
        vec![launcher, self.verdict(&speaks, embedded)]
    }

    fn verdict(&self, speaks: &[Pmi], embedded: bool) -> Finding {
        const NAME: &str = "pmi";
        let whose = if embedded { "the embedded engine" } else { "the MPI library" };
        let common: Vec<Pmi> = self.offers.iter().copied().filter(|one| speaks.contains(one)).collect();
        let text = format!("{whose} speaks {}", listed(speaks));
        if let Some(common) = common.first() {
            let machines =
                if embedded && !self.is_ours { ": ranks meet, if all are on one machine" } else { ": ranks meet" };
            return Finding::ok(NAME, format!("{text}; the launcher offers {}{machines}", common.name()));
        }
        let text = format!("{text}, and the launcher offers {}: they do not match", listed(&self.offers));
        if self.size == Some(1) {
            return Finding::note(NAME, format!("{text}; a job of one needs no PMI"), "");
        }
        let advice = match (self.is_slurm, embedded) {
            (true, true) => {
                "srun --mpi=pmi2 on one node; on more, PHALANX_MPI=site or 'phalanx run' with an MPI library"
            }
            (true, false) => "srun --mpi=pmi2 or --mpi=pmix, whatever 'srun --mpi=list' has and the library speaks",
            (false, true) => "'phalanx run -n N' on one machine, or PHALANX_MPI=site for the launcher's own library",
            (false, false) => "the mpiexec that belongs to the library, or 'phalanx run -n N'",
        };
        Finding::wrong(NAME, text, advice)
    }
}

/// Which PMI a library speaks, by what its file names.
fn spoken(path: &Path) -> Vec<Pmi> {
    let Ok(bytes) = std::fs::read(path) else { return Vec::new() };
    let names = |word: &str| contains(&bytes, word.as_bytes());
    [(Pmi::Descriptor, "PMI_FD"), (Pmi::Port, "PMI_PORT"), (Pmi::Two, "cmd=fullinit"), (Pmi::X, "PMIX_SERVER_URI")]
        .into_iter()
        .filter(|(pmi, word)| {
            names(word)
                || *pmi == Pmi::X && names("libpmix.so")
                || *pmi == Pmi::Two && (names("fullinit") || names("I_MPI_PMI_LIBRARY"))
        })
        .map(|(pmi, _)| pmi)
        .collect()
}

/// Whether `word` is in `bytes`.
fn contains(bytes: &[u8], word: &[u8]) -> bool {
    let Some((first, rest)) = word.split_first() else { return true };
    let mut at = 0;
    while let Some(next) = bytes[at..].iter().position(|byte| byte == first) {
        at += next + 1;
        if bytes[at..].starts_with(rest) {
            return true;
        }
    }
    false
}

/// How long the launcher may take for an answer.
const PATIENCE: Duration = Duration::from_secs(2);

/// Says what a rank says first and last, so that the launcher does not wait for more: the version that it answers with.
#[expect(unsafe_code, reason = "the launcher tells of the connection by its number")]
fn greet() -> Option<String> {
    let fd = std::env::var("PMI_FD").ok()?.trim().parse().ok()?;
    // SAFETY: `find` has seen that it is an open socket; it is borrowed, and nothing else of this process uses it.
    let mut connection = ManuallyDrop::new(unsafe { UnixStream::from_raw_fd(fd) });
    connection.set_read_timeout(Some(PATIENCE)).ok()?;
    connection.set_write_timeout(Some(PATIENCE)).ok()?;
    let answer = ask(&mut connection, "cmd=init pmi_version=1 pmi_subversion=1\n")?;
    let line = Line::parse(&answer);
    let version = (line.number("pmi_version")?, line.number("pmi_subversion")?);
    let _ = ask(&mut connection, "cmd=finalize\n");
    Some(format!("{}.{}", version.0, version.1))
}

fn ask(connection: &mut UnixStream, request: &str) -> Option<String> {
    connection.write_all(request.as_bytes()).ok()?;
    let (mut answer, mut byte) = (Vec::new(), [0]);
    while answer.len() < 4096 && connection.read(&mut byte).ok()? == 1 && byte != *b"\n" {
        answer.push(byte[0]);
    }
    String::from_utf8(answer).ok()
}

#[cfg(test)]
mod tests {
    use super::{Pmi, Start, find};
    use crate::doctor::Verdict;

    fn with(vars: &[(&str, &str)], connected: bool) -> Option<Start> {
        let env = |name: &str| vars.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        find(env, |_| connected)
    }

    const STEP: [(&str, &str); 3] = [("SLURM_STEP_NUM_TASKS", "3"), ("SLURM_PROCID", "2"), ("SLURM_STEP_ID", "0")];
    const PMI: [(&str, &str); 3] = [("PMI_FD", "9"), ("PMI_SIZE", "2"), ("PMI_RANK", "0")];

    #[test]
    fn what_is_offered_is_seen() {
        assert!(with(&[], false).is_none());
        let none = with(&STEP, false).expect("Slurm");
        assert!(none.offers.is_empty() && none.leaves_it_to_another());
        let hydra = with(&PMI, true).expect("hydra");
        assert_eq!((hydra.offers.as_slice(), hydra.leaves_it_to_another()), ([Pmi::Descriptor].as_slice(), false));
        let pmi2 = with(&[&STEP[..], &PMI[..]].concat(), true).expect("Slurm");
        assert_eq!(pmi2.offers, [Pmi::Descriptor, Pmi::Two]);
        assert!(pmi2.is_slurm);
        let pmix = with(&[&STEP[..], &[("PMIX_NAMESPACE", "a")]].concat(), false).expect("Slurm");
        assert_eq!(pmix.offers, [Pmi::X]);
    }

    #[test]
    fn a_child_of_a_rank_was_started_by_nobody() {
        assert!(with(&PMI, false).is_none());
        assert!(with(&[&STEP[..], &[("PHALANX_ALONE", "1")]].concat(), false).is_none());
    }

    #[test]
    fn what_does_not_match_is_wrong() {
        let none = with(&STEP, false).expect("Slurm");
        let verdict = none.verdict(&[Pmi::Descriptor], true);
        assert_eq!(verdict.verdict, Verdict::Wrong);
        assert!(verdict.advice.contains("--mpi=pmi2"), "{verdict:?}");
        let pmi2 = with(&[&STEP[..], &PMI[..]].concat(), true).expect("Slurm");
        assert_eq!(pmi2.verdict(&[Pmi::Descriptor], true).verdict, Verdict::Ok);
        assert_eq!(pmi2.verdict(&[Pmi::Port], false).verdict, Verdict::Wrong);
        let one = with(&[("PMI_FD", "9"), ("PMI_SIZE", "1"), ("PMI_RANK", "0")], true).expect("a launcher");
        assert_eq!(one.verdict(&[], false).verdict, Verdict::Note);
    }
}
