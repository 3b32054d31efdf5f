//! Other launchers: which of them started this process, as which of how many, by the variables that they set.

use std::os::unix::fs::FileTypeExt as _;

/// What the environment says of a launcher that is not Phalanx's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Launcher {
    /// Its name in a sentence.
    pub name: &'static str,
    /// The variable that tells of it.
    pub variable: &'static str,
    /// How many processes it has started; `None` where it does not say it.
    pub size: Option<u32>,
    /// Which of them this one is; `None` where it does not say it.
    pub rank: Option<u32>,
    /// The process that it has started, where it says that: this one, or one that has started this one.
    pub task: Option<u32>,
}

/// (launcher, the number of processes, the number of this one). What starts many jobs of MPI comes first.
const KNOWN: &[(&str, &str, &str)] = &[
    ("an MPI launcher with PMI", "PMI_SIZE", "PMI_RANK"),
    ("Open MPI's mpiexec", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("PRRTE's prterun", "PRTE_JOB_SIZE", "PMIX_RANK"),
    ("an MPI launcher", "MPI_LOCALNRANKS", "MPI_LOCALRANKID"),
    ("PALS", "PALS_LOCAL_SIZE", "PALS_RANKID"),
    ("Flux", "FLUX_JOB_SIZE", "FLUX_TASK_RANK"),
];

/// `1` in the environment: what launchers say of the number of processes counts for nothing.
pub const ALONE: &str = "PHALANX_ALONE";

/// How long the first process has to say what is wrong with all, before others end: launchers end a job with its first process.
pub const PRECEDENCE: std::time::Duration = std::time::Duration::from_secs(1);

/// Slurm marks the batch script with its number of tasks, too: only a task of a step has a step, a number of its own in it, and
/// does not carry the name of a shell that `salloc` or `srun --pty` has opened.
const SLURM: (&str, &str, &str) = ("Slurm's srun", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID");

/// Scripts choose a device or a file by the variables of two launchers, which Phalanx sets for its ranks. No other launcher sets
/// both, so a process that has both and is no rank was started by a rank.
const SET_FOR_RANKS: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "MPI_LOCALNRANKS"];

/// The launcher that has started this process together with others, or that does not say whether it has; none where [`ALONE`] is set.
/// `env` looks up a variable.
///
/// ```
/// let env = |name: &str| match name {
///     "OMPI_COMM_WORLD_SIZE" => Some("4".to_owned()),
///     "OMPI_COMM_WORLD_RANK" => Some("1".to_owned()),
///     _ => None,
/// };
/// let launcher = phalanx_pmi::launchers::of_several(env).expect("one of four");
/// assert_eq!((launcher.name, launcher.size, launcher.rank), ("Open MPI's mpiexec", Some(4), Some(1)));
/// ```
#[must_use]
pub fn of_several(env: impl Fn(&str) -> Option<String>) -> Option<Launcher> {
    if env(ALONE).is_some_and(|value| !matches!(value.as_str(), "" | "0")) {
        return None;
    }
    let number = |name: &str| env(name)?.trim().parse::<u32>().ok();
    let is_child_of_a_rank = SET_FOR_RANKS.iter().all(|name| env(name).is_some());
    let mut told = false;
    for &(name, size, rank) in KNOWN.iter().chain(&[SLURM]) {
        if is_child_of_a_rank && (SET_FOR_RANKS.contains(&size) || size == "PMI_SIZE") {
            continue;
        }
        if size == SLURM.1 && !is_task_of_slurm(&env) {
            continue;
        }
        let Some(found) = number(size) else { continue };
        if found > 1 {
            let task = if size == SLURM.1 { number("SLURM_TASK_PID") } else { None };
            return Some(Launcher { name, variable: size, size: Some(found), rank: number(rank), task });
        }
        told = true;
    }
    // PMIx has its own ways to tell how many they are.
    let is_pmix = !told && env("PMIX_NAMESPACE").is_some();
    let rank = env("PMIX_RANK").filter(|_| is_pmix)?.trim().parse().ok();
    Some(Launcher { name: "a PMIx launcher", variable: "PMIX_RANK", size: None, rank, task: None })
}

/// Whether a number from the environment is that of an open socket of this process: a rank has its connection to the launcher,
/// and what a rank has started has only the variables.
#[must_use]
pub fn is_connection(fd: &str) -> bool {
    std::fs::metadata(format!("/proc/self/fd/{}", fd.trim())).is_ok_and(|file| file.file_type().is_socket())
}

/// As [`of_several`], of this process, and none where it was started by one of several and has inherited the variables.
#[must_use]
pub fn of_this_process() -> Option<Launcher> {
    let variable = |name: &str| std::env::var(name).ok();
    let found = of_several(variable)?;
    let is_left = found.variable == "PMI_SIZE" && variable("PMI_FD").is_some_and(|fd| !is_connection(&fd));
    (!is_left).then_some(found)
}

/// As [`of_this_process`], for a program that does not use MPI: `phalanx run` has started it, too, and a task of Slurm is what
/// was started, or a child of that (a shell script).
#[must_use]
pub fn of_these_programs() -> Option<Launcher> {
    let variable = |name: &str| std::env::var(name).ok();
    if let Some(world) = variable("PHALANX_WORLD") {
        let numbers: Vec<&str> = world.split(':').collect();
        let number = |place: usize| numbers.get(place)?.parse::<u32>().ok();
        let is_wanted = variable(ALONE).is_some_and(|value| !matches!(value.as_str(), "" | "0"));
        let is_rank = variable("PMI_FD").is_some_and(|fd| is_connection(&fd)) && !is_wanted;
        let (size, rank) = (number(1).filter(|size| *size > 1 && is_rank)?, number(2));
        return Some(Launcher { name: "phalanx run", variable: "PHALANX_WORLD", size: Some(size), rank, task: None });
    }
    let found = of_this_process().filter(|launcher| launcher.size.is_some())?;
    let near = [std::process::id(), std::os::unix::process::parent_id()];
    found.task.is_none_or(|task| near.contains(&task)).then_some(found)
}

/// Whether this process is a task of a step of Slurm's: started by `srun`, and no shell that somebody works in.
#[must_use]
pub fn is_task_of_slurm(env: &impl Fn(&str) -> Option<String>) -> bool {
    // A shell that somebody works in (`srun --pty`).
    let is_shell = ["SLURM_PTY_PORT", "SLURM_PTY_WIN_COL"].iter().any(|name| env(name).is_some());
    !is_shell
        && env("SLURM_PROCID").is_some()
        && env("SLURM_STEP_ID").is_some()
        && env("SLURM_JOB_NAME").as_deref() != Some("bash")
}

impl Launcher {
    /// Lets another process of the same start say what is wrong with all of them: whether it does.
    ///
    /// The first one says it at once. Another one may have been started by one of them, alone: where that cannot be excluded it
    /// blocks for [`PRECEDENCE`], and then says it, too.
    #[must_use]
    pub fn let_another_say_it(&self) -> bool {
        if self.rank.is_none_or(|rank| rank == 0) {
            return false;
        }
        if self.task == Some(std::process::id()) {
            return true;
        }
        std::thread::sleep(PRECEDENCE);
        false
    }

    /// Whether it is Slurm's `srun`.
    #[must_use]
    pub fn is_slurm(&self) -> bool {
        self.variable == SLURM.1
    }

    /// "Slurm's srun with 4 processes (`SLURM_STEP_NUM_TASKS` is set)".
    #[must_use]
    pub fn described(&self) -> String {
        let many = self.size.map(|size| format!(" with {size} processes")).unwrap_or_default();
        format!("{}{many} ({} is set)", self.name, self.variable)
    }
}

#[cfg(test)]
mod tests {
    use super::of_several;

    fn with(vars: &[(&str, &str)]) -> Option<(&'static str, Option<u32>, Option<u32>)> {
        let env = |name: &str| vars.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned());
        of_several(env).map(|l| (l.variable, l.size, l.rank))
    }

    const STEP: [(&str, &str); 3] = [("SLURM_STEP_NUM_TASKS", "3"), ("SLURM_PROCID", "2"), ("SLURM_STEP_ID", "0")];

    #[test]
    fn several_are_found() {
        assert_eq!(with(&STEP), Some(("SLURM_STEP_NUM_TASKS", Some(3), Some(2))));
        assert_eq!(with(&[("PMI_SIZE", "2"), ("PMI_RANK", "0")]), Some(("PMI_SIZE", Some(2), Some(0))));
        assert_eq!(with(&[("PALS_LOCAL_SIZE", " 5 ")]), Some(("PALS_LOCAL_SIZE", Some(5), None)));
    }

    #[test]
    fn one_is_alone() {
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[("OMPI_COMM_WORLD_SIZE", "1"), ("PMIX_RANK", "0"), ("PMIX_NAMESPACE", "a")]), None);
        assert_eq!(with(&[("SLURM_NTASKS", "8"), ("SLURM_JOB_ID", "3")]), None);
        let one = [("SLURM_STEP_NUM_TASKS", "1"), ("SLURM_PROCID", "0"), ("SLURM_STEP_ID", "0")];
        assert_eq!(with(&[&one[..], &[("PMIX_RANK", "0"), ("PMIX_NAMESPACE", "a")]].concat()), None);
        assert_eq!(with(&[&STEP[..], &[("SLURM_JOB_NAME", "bash")]].concat()), None);
    }

    #[test]
    fn pmix_does_not_say_how_many() {
        assert_eq!(with(&[("PMIX_RANK", "1"), ("PMIX_NAMESPACE", "a")]), Some(("PMIX_RANK", None, Some(1))));
        assert_eq!(with(&[("PMIX_RANK", "1")]), None);
    }

    #[test]
    fn a_child_of_a_rank_of_ours_is_alone() {
        let ours = [("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "1"), ("MPI_LOCALNRANKS", "4")];
        assert_eq!(with(&ours), None);
        assert_eq!(with(&[&ours[..], &[("PMI_SIZE", "4"), ("PMI_RANK", "1")]].concat()), None);
        assert!(with(&[&ours[..], &[("FLUX_JOB_SIZE", "2")]].concat()).is_some());
        assert!(with(&[("MPI_LOCALNRANKS", "4")]).is_some());
    }
}
