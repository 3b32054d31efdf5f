//! Which ranks run on which host.

use super::list;
use super::slurm::Allocation;
use crate::cli::RunOptions;
use crate::error::LaunchError;

/// The hosts of a job, and the number of its ranks on each: ranks are numbered host by host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Those that have ranks: name and number.
    pub(crate) hosts: Vec<(String, u32)>,
    /// Slurm starts what runs there.
    pub(crate) by_slurm: bool,
}

impl Layout {
    /// Whether all ranks are on this machine.
    pub(crate) fn is_here(&self) -> bool {
        self.hosts.iter().all(|(name, _)| list::is_here(name))
    }
}

/// The value of `PMI_process_mapping`, by the host of each rank: blocks of hosts with equally many ranks each.
pub(crate) fn mapping(places: &[usize]) -> String {
    // (first host, hosts, ranks on each)
    let mut blocks: Vec<(usize, usize, usize)> = Vec::new();
    let mut rest = places;
    while let Some(first) = rest.first() {
        let count = rest.iter().take_while(|host| *host == first).count();
        match blocks.last_mut() {
            Some((start, hosts, each)) if *start + *hosts == *first && *each == count => *hosts += 1,
            _ => blocks.push((*first, 1, count)),
        }
        rest = &rest[count..];
    }
    let blocks: Vec<String> = blocks.iter().map(|(first, hosts, each)| format!("({first},{hosts},{each})")).collect();
    format!("(vector,{})", blocks.join(","))
}

/// Where the ranks of this command line run, and how many they are, as far as hosts or an allocation decide it: sets the
/// number of ranks of its only program, if it says none. `None`: on this machine, as many as are asked for.
///
/// # Errors
/// More ranks than there is room for, and lists that cannot be.
pub(crate) fn decide(options: &mut RunOptions, allocation: Option<Allocation>) -> Result<Option<Layout>, LaunchError> {
    let by_slurm = options.hosts.is_empty() && allocation.is_some();
    let listed = match allocation {
        Some(allocation) if options.hosts.is_empty() => allocation.nodes,
        _ => list::merged(&options.hosts),
    };
    let limit = options.apps.iter().filter_map(|app| app.per_node).min();
    if listed.is_empty() {
        return one_machine(options).map(|()| None);
    }
    let is_counted = listed.iter().any(|host| host.slots.is_some());
    let room: Vec<u32> = listed.iter().map(|host| limit.or(host.slots).unwrap_or(1)).collect();
    let total = room.iter().try_fold(0u32, |sum, room| sum.checked_add(*room));
    let total = total.ok_or_else(|| LaunchError::usage("more ranks than can be numbered"))?;
    if let [app] = &mut options.apps[..]
        && !app.counted
    {
        app.ranks = total;
    }
    let wanted = options.apps.iter().try_fold(0u32, |sum, app| sum.checked_add(app.ranks));
    let wanted = wanted.ok_or_else(|| LaunchError::usage("more ranks than can be numbered"))?;
    let counts = if wanted > total && (by_slurm || limit.is_some() || options.no_oversubscribe) {
        let what = if by_slurm { "the allocation has tasks for" } else { "the hosts have room for" };
        let hint = match (by_slurm, limit) {
            (_, Some(limit)) => format!("at most {limit} on each of {} hosts were asked for", listed.len()),
            (true, _) => "ask Slurm for more with -n, or start fewer".to_owned(),
            _ => "give them more with HOST:N, or start fewer".to_owned(),
        };
        return Err(LaunchError::usage(format!("{wanted} ranks, and {what} {total}; {hint}")));
    } else if wanted > total && !is_counted {
        // Nobody has said how many go where: equally many everywhere.
        let hosts = u32::try_from(room.len()).unwrap_or(u32::MAX);
        (0..hosts).map(|host| wanted / hosts + u32::from(host < wanted % hosts)).collect()
    } else {
        fill(&room, wanted)
    };
    let hosts = listed.into_iter().zip(counts).filter(|(_, count)| *count > 0);
    let layout = Layout { hosts: hosts.map(|(host, count)| (host.name, count)).collect(), by_slurm };
    Ok((!layout.is_here()).then_some(layout))
}

/// Ranks that are asked for on one machine.
fn one_machine(options: &RunOptions) -> Result<(), LaunchError> {
    for app in &options.apps {
        if let Some(limit) = app.per_node.filter(|limit| app.ranks > *limit) {
            return Err(LaunchError::usage(format!(
                "{} ranks with at most {limit} on a machine need several machines: name them with --host, or give one of the \
                 two numbers",
                app.ranks
            )));
        }
    }
    Ok(())
}

/// Fills hosts one after the other, and again from the first when all are full.
pub(crate) fn fill(room: &[u32], wanted: u32) -> Vec<u32> {
    let mut counts = vec![0; room.len()];
    let mut left = wanted;
    while left > 0 {
        for (count, room) in counts.iter_mut().zip(room) {
            let taken = left.min(*room);
            *count += taken;
            left -= taken;
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(line: &str, allocation: Option<Allocation>) -> Result<(u32, Option<Layout>), LaunchError> {
        let args: Vec<std::ffi::OsString> = line.split_whitespace().map(Into::into).collect();
        let mut options = crate::cli::parse(&args)?;
        let layout = decide(&mut options, allocation)?;
        Ok((options.apps.iter().map(|app| app.ranks).sum(), layout))
    }

    fn counts(line: &str) -> Vec<u32> {
        let (size, layout) = decided(line, None).unwrap();
        let layout = layout.unwrap();
        let counts: Vec<u32> = layout.hosts.iter().map(|(_, count)| *count).collect();
        assert_eq!(counts.iter().sum::<u32>(), size);
        counts
    }

    #[test]
    fn hosts_are_filled_one_after_the_other() {
        assert_eq!(counts("--host a:2,b:2 x"), [2, 2]);
        assert_eq!(counts("--host a,b x"), [1, 1]);
        assert_eq!(counts("-n 3 --host a:2,b:2 x"), [2, 1]);
        assert_eq!(counts("-n 2 --host a:2,b:2 x"), [2]);
        assert_eq!(counts("-n 7 --host a:2,b:3 x"), [4, 3]);
        assert_eq!(counts("-n 5 --host a,b x"), [3, 2]);
        assert_eq!(counts("-N 3 --host a,b x"), [3, 3]);
        assert_eq!(counts("-n 4 -N 3 --host a,b x"), [3, 1]);
        assert_eq!(counts("-n 1 --host a:2,b:2 x : -n 2 y"), [2, 1]);
    }

    #[test]
    fn more_than_there_is_room_for_is_refused_where_room_was_told() {
        assert!(decided("-n 7 -N 3 --host a,b x", None).unwrap_err().to_string().contains("at most 3"));
        assert!(decided("-n 3 --nooversubscribe --host a,b x", None).is_err());
        assert!(decided("-n 4 -N 2 x", None).unwrap_err().to_string().contains("several machines"));
        let allocation = || Allocation { nodes: list::of_flag("", "a:2,b:1").unwrap() };
        assert_eq!(decided("x", Some(allocation())).unwrap().0, 3);
        assert!(decided("-n 4 x", Some(allocation())).unwrap_err().to_string().contains("tasks for 3"));
        let (size, layout) = decided("-n 2 --host localhost x", Some(allocation())).unwrap();
        assert_eq!((size, layout), (2, None), "what is said wins");
    }

    #[test]
    fn this_machine_needs_no_agent() {
        assert_eq!(decided("-n 4 x", None).unwrap(), (4, None));
        assert_eq!(decided("--host localhost:4 x", None).unwrap(), (4, None));
        assert_eq!(decided("-n 2 --host localhost:2,b:2 x", None).unwrap(), (2, None));
    }

    #[test]
    fn the_mapping_is_in_blocks() {
        assert_eq!(mapping(&[0, 0, 1, 1]), "(vector,(0,2,2))");
        assert_eq!(mapping(&[0, 0, 1]), "(vector,(0,1,2),(1,1,1))");
        assert_eq!(mapping(&[1, 0, 1]), "(vector,(1,1,1),(0,2,1))");
    }
}
