//! The CPUs of the machine, and which of them each rank may use.

use super::Job;
use crate::cli::{Binding, Domain};
use crate::failure;

/// The CPUs for a rank, the `rank`th of `size` of its world on this machine and the `slot`th of all; none means all.
pub(crate) fn share(binding: Binding, rank: usize, size: usize, spawned: bool, slot: usize) -> Vec<usize> {
    let usable = usable_cpus();
    match binding {
        Binding::Core => usable.get(slot % usable.len().max(1)).copied().into_iter().collect(),
        Binding::Domain(domain) => {
            let mut parts = parts(&usable, |cpu| neighbours(cpu, domain));
            if parts.is_empty() { Vec::new() } else { parts.swap_remove(slot % parts.len()) }
        }
        Binding::Auto if !spawned && size > 1 && size <= usable.len() => {
            let at = |rank: usize| rank * usable.len() / size;
            usable[at(rank)..at(rank + 1)].to_vec()
        }
        Binding::Auto | Binding::None => Vec::new(),
    }
}

impl Job {
    /// Says which CPUs a rank got.
    pub(super) fn report_binding(&mut self, index: usize, cpus: &[usize]) {
        let usable = usable_cpus();
        let numbers = |cpus: &[usize]| cpus.iter().filter_map(|cpu| u32::try_from(*cpu).ok()).collect::<Vec<_>>();
        let told = if cpus.is_empty() || cpus == usable {
            format!("all CPUs ({})", failure::ranges(&numbers(&usable)))
        } else {
            format!("CPUs {}", failure::ranges(&numbers(cpus)))
        };
        let line = format!("phalanx: {} may use {told}", self.name_of(index));
        self.say(&line);
    }
}

/// The CPUs this process may run on.
pub(crate) fn usable_cpus() -> Vec<usize> {
    rustix::thread::sched_getaffinity(None)
        .map(|set| (0..rustix::thread::CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect())
        .unwrap_or_default()
}

/// The usable CPUs by part of the machine, given which CPUs are in a part with one of them.
fn parts(usable: &[usize], neighbours: impl Fn(usize) -> Option<Vec<usize>>) -> Vec<Vec<usize>> {
    let mut parts: Vec<Vec<usize>> = Vec::new();
    for cpu in usable {
        if parts.iter().any(|part| part.contains(cpu)) {
            continue;
        }
        // A machine that does not tell is taken for one part.
        let near = neighbours(*cpu).unwrap_or_else(|| usable.to_vec());
        parts.push(usable.iter().copied().filter(|other| other == cpu || near.contains(other)).collect());
    }
    parts
}

/// The CPUs that share something with this one, as the system tells it.
fn neighbours(cpu: usize, domain: Domain) -> Option<Vec<usize>> {
    let home = format!("/sys/devices/system/cpu/cpu{cpu}");
    let read = |path: String| std::fs::read_to_string(path).ok().map(|text| numbers(&text));
    match domain {
        Domain::Socket => read(format!("{home}/topology/package_cpus_list"))
            .or_else(|| read(format!("{home}/topology/core_siblings_list"))),
        Domain::Cache(level) => (0..8).find_map(|index| {
            let cache = format!("{home}/cache/index{index}");
            let found = std::fs::read_to_string(format!("{cache}/level")).ok()?.trim().parse() == Ok(level);
            found.then(|| read(format!("{cache}/shared_cpu_list"))).flatten()
        }),
        Domain::Numa => {
            let nodes = std::fs::read_dir("/sys/devices/system/node").ok()?.flatten();
            let lists = nodes.filter_map(|node| std::fs::read_to_string(node.path().join("cpulist")).ok());
            lists.map(|text| numbers(&text)).find(|cpus| cpus.contains(&cpu))
        }
    }
}

/// Reads a list such as `0-3,8`.
fn numbers(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for part in text.trim().split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        if let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) {
            found.extend(first..=last.min(rustix::thread::CpuSet::MAX_CPU));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(numbers("0-3,8\n"), [0, 1, 2, 3, 8]);
        assert_eq!(numbers(""), [0usize; 0]);
        assert!(numbers("0-99999999999").len() <= rustix::thread::CpuSet::MAX_CPU + 1);
    }

    #[test]
    fn parts_hold_usable_cpus_and_each_once() {
        let even_and_odd = |cpu: usize| Some((0..8).filter(|other| other % 2 == cpu % 2).collect());
        assert_eq!(parts(&[0, 1, 2, 5], even_and_odd), [vec![0, 2], vec![1, 5]]);
        assert_eq!(parts(&[3, 4], |_| None), [vec![3, 4]]);
    }

    #[test]
    fn every_usable_cpu_of_this_machine_is_in_a_part() {
        for domain in [Domain::Socket, Domain::Numa, Domain::Cache(3)] {
            let usable = usable_cpus();
            let mut all: Vec<usize> = parts(&usable, |cpu| neighbours(cpu, domain)).concat();
            all.sort_unstable();
            assert_eq!(all, usable, "{domain:?}");
        }
    }
}
