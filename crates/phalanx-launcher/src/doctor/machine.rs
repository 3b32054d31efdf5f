//! The machine: CPUs, memory, copies between processes, other launchers around us.

use std::path::Path;
use std::process::{Command, Stdio};

use phalanx_shm::single_copy::{self, ProbeWord};
use phalanx_shm::{ProcessTag, Universe, UniverseConfig};
use rustix::process::{Resource, getrlimit};

use super::{Finding, ways};
use crate::install;
use crate::job;

/// The hidden first argument by which the doctor starts itself as a peer.
pub(super) const PROBE: &str = "--probe-peer";

pub(super) fn examine() -> Vec<Finding> {
    let mut findings = vec![cpus(), memory(), descriptors(), single_copy_finding(), ways::finding(), orphans()];
    findings.extend(surroundings());
    findings
}

fn cpus() -> Finding {
    let usable = job::usable_cpus().len();
    let online = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_default();
    let online = online.trim();
    match quota() {
        Some(quota) if quota < usable as f64 => Finding::note(
            "cpus",
            format!("{usable} usable, but the cgroup's quota is {quota:.2} CPUs (online: {online})"),
            "more ranks than the quota work, and take turns",
        ),
        _ => Finding::ok("cpus", format!("{usable} usable (online: {online})")),
    }
}

/// The CPU quota of the cgroup, in CPUs.
fn quota() -> Option<f64> {
    let path = cgroup()?.join("cpu.max");
    let text = std::fs::read_to_string(path).ok()?;
    let (quota, period) = text.trim().split_once(' ')?;
    Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
}

/// Our directory in the unified cgroup hierarchy.
fn cgroup() -> Option<std::path::PathBuf> {
    let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = text.lines().find_map(|line| line.strip_prefix("0::"))?;
    let directory = Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'));
    directory.is_dir().then_some(directory)
}

fn memory() -> Finding {
    let mut limits = Vec::new();
    if let Some(bytes) = getrlimit(Resource::As).current {
        limits.push(format!("address space {}", mebibytes(bytes)));
    }
    if let Some(bytes) = getrlimit(Resource::Fsize).current {
        limits.push(format!("file size {}", mebibytes(bytes)));
    }
    let group = cgroup().and_then(|dir| std::fs::read_to_string(dir.join("memory.max")).ok());
    if let Some(bytes) = group.and_then(|text| text.trim().parse::<u64>().ok()) {
        limits.push(format!("cgroup {}", mebibytes(bytes)));
    }
    let limits = if limits.is_empty() { "no limits".to_owned() } else { format!("limits: {}", limits.join(", ")) };
    let ranks = u32::try_from(job::usable_cpus().len().max(2)).unwrap_or(2);
    let trial = Universe::create(UniverseConfig::for_ranks(ranks)).and_then(|universe| {
        universe.claim_slots(ranks)?;
        universe.alloc(1 << 20)
    });
    match trial {
        Ok(_) => Finding::ok("memory", format!("a shared segment for {ranks} ranks can be made; {limits}")),
        Err(error) => {
            Finding::wrong("memory", format!("a shared segment cannot be made: {error}; {limits}"), "raise that limit")
        }
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

fn descriptors() -> Finding {
    match getrlimit(Resource::Nofile).maximum {
        // A rank takes three descriptors of the launcher.
        Some(most) if most < 256 => Finding::note(
            "descriptors",
            format!("at most {most} open files: about {} ranks", most.saturating_sub(16) / 4),
            "raise it with ulimit -n",
        ),
        Some(most) => Finding::ok("descriptors", format!("up to {most} open files")),
        None => Finding::ok("descriptors", "no limit"),
    }
}

/// The word that a peer tries to read.
static WORD: ProbeWord = ProbeWord::new(WORD_VALUE);
const WORD_VALUE: u64 = 0x7068_616c_616e_7831;

/// Starts this binary as a peer that copies from us, as ranks do with each other.
fn single_copy_finding() -> Finding {
    let yama = std::fs::read_to_string("/proc/sys/kernel/yama/ptrace_scope").unwrap_or_default();
    let yama = match yama.trim() {
        "" => String::new(),
        scope => format!(" (Yama ptrace_scope {scope})"),
    };
    // As the engine does: Yama lets a process say who may reach its memory.
    let _ = rustix::process::set_ptracer(rustix::process::PTracer::Any);
    let status = install::executable().and_then(|exe| {
        Command::new(exe)
            .args(["doctor", PROBE, &std::process::id().to_string(), &WORD.addr().to_string(), &WORD_VALUE.to_string()])
            .stdin(Stdio::null())
            .status()
            .ok()
    });
    let _ = rustix::process::set_ptracer(rustix::process::PTracer::None);
    match status.and_then(|status| status.code()) {
        Some(0) => Finding::ok("single copy", format!("large messages may be copied once, process to process{yama}")),
        _ => Finding::note(
            "single copy",
            format!("process_vm_readv between processes is refused{yama}"),
            "large messages go through shared memory with two copies; allow it with --cap-add SYS_PTRACE in a container",
        ),
    }
}

/// The peer's part: 0 when it can read our memory, 4 when not.
pub(super) fn probe_peer(pid: &str, address: &str, value: &str) -> u8 {
    let (Ok(pid), Ok(address), Ok(value)) = (pid.parse(), address.parse(), value.parse()) else {
        return 4;
    };
    if single_copy::probe(ProcessTag::of(pid), address, value) { 0 } else { 4 }
}

fn orphans() -> Finding {
    let this = std::process::id();
    if Path::new(&format!("/proc/{this}/task/{this}/children")).exists() {
        Finding::ok("processes", "descendants of ranks can be found, and are ended with the job")
    } else {
        Finding::note(
            "processes",
            "this kernel does not list children in /proc: what ranks leave behind is found by its parent's number",
            "",
        )
    }
}

/// Other launchers whose jobs we may stand in.
fn surroundings() -> Vec<Finding> {
    let known = [
        ("SLURM_JOB_ID", "a Slurm allocation"),
        ("OMPI_COMM_WORLD_SIZE", "an Open MPI job"),
        ("PMIX_RANK", "a PMIx job"),
        ("PMI_RANK", "a PMI job"),
        ("PBS_JOBID", "a PBS job"),
    ];
    let inside: Vec<&str> =
        known.iter().filter(|(name, _)| std::env::var_os(name).is_some()).map(|(_, what)| *what).collect();
    if inside.is_empty() {
        return Vec::new();
    }
    let text = format!("inside {}", inside.join(", "));
    let advice = format!(
        "'phalanx run' uses this machine only; across machines, start scripts with the site's launcher and {}=site",
        crate::run::LIBRARY
    );
    vec![Finding::note("launcher", text, advice)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn this_machine_can_run_jobs() {
        assert_eq!(memory().verdict, Verdict::Ok, "{:?}", memory());
        assert_ne!(cpus().verdict, Verdict::Wrong);
        assert_ne!(descriptors().verdict, Verdict::Wrong);
    }

    #[test]
    fn a_process_may_copy_from_itself() {
        let (pid, address) = (std::process::id().to_string(), WORD.addr().to_string());
        assert_eq!(probe_peer(&pid, &address, &WORD_VALUE.to_string()), 0);
        assert_eq!(probe_peer(&pid, &address, "1"), 4);
        assert_eq!(probe_peer("x", &address, "1"), 4);
    }
}
