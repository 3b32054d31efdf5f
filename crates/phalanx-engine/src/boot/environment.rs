//! What the environment says about the job: who started this process, and as what.

use phalanx_pmi::launchers::{self, ALONE, Launcher};

use crate::error::{Error, ErrorClass, Result};

/// Descriptor number of the universe, set by the launcher.
pub const UNIVERSE: &str = "PHALANX_UNIVERSE";
/// Place in the world, set by the launcher: `first:size:rank:ctx:appnum:parent`.
pub const WORLD: &str = "PHALANX_WORLD";
/// `1` when a rank that fails does not end the job, else `0`; set by the launcher.
pub const KEEP_GOING: &str = "PHALANX_KEEP_GOING";
/// What is done about a deadlock: `abort`, `raise`, `report` or `ignore`. Launchers look at it as well.
pub const ON_DEADLOCK: &str = "PHALANX_ON_DEADLOCK";
/// Whether the program is checked: not, where it is empty, `0`, `off` or `no`. Launchers look at it as well.
pub const CHECK: &str = "PHALANX_CHECK";
/// The file in which the decisions of the job are recorded; none, where it is empty. Set by the launcher, for its ranks.
pub const RECORD: &str = "PHALANX_RECORD";
/// The file whose decisions are repeated; none, where it is empty. Set by the launcher, for its ranks.
pub const REPLAY: &str = "PHALANX_REPLAY";
/// Descriptor number of the PMI-1 socket.
pub const PMI_FD: &str = "PMI_FD";
/// Rank, beside `PMI_FD`.
pub const PMI_RANK: &str = "PMI_RANK";
/// World size, beside `PMI_FD`.
pub const PMI_SIZE: &str = "PMI_SIZE";

/// A rank's place, as `PHALANX_WORLD` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WorldSpec {
    pub(crate) first: u32,
    pub(crate) size: u32,
    pub(crate) rank: u32,
    pub(crate) ctx: u32,
    pub(crate) appnum: i32,
    pub(crate) parent: u64,
}

/// How this process was started.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// By `phalanx run` or a spawn: the universe's descriptor and the place in the world.
    Phalanx { fd: i32, world: WorldSpec, pmi_fd: Option<i32> },
    /// By a PMI-1 launcher that does not know Phalanx.
    Pmi { fd: i32, rank: u32, size: u32 },
    /// By hand.
    Alone,
}

fn malformed(name: &str, value: &str, expected: &str) -> Error {
    Error::new(
        ErrorClass::Other,
        format!(
            "environment variable {name}='{value}' is malformed: expected {expected}; unset it to run as a job of one"
        ),
    )
}

fn number(env: &impl Fn(&str) -> Option<String>, name: &str) -> Result<Option<u32>> {
    match env(name) {
        None => Ok(None),
        Some(v) => v.trim().parse().map(Some).map_err(|_| malformed(name, &v, "a number")),
    }
}

impl WorldSpec {
    fn parse(text: &str) -> Result<WorldSpec> {
        let bad = || malformed(WORLD, text, "first:size:rank:ctx:appnum:parent in decimal");
        let parts: Vec<&str> = text.split(':').collect();
        let [first, size, rank, ctx, appnum, parent] = parts[..] else {
            return Err(bad());
        };
        let n = |s: &str| s.parse::<u32>().map_err(|_| bad());
        let spec = WorldSpec {
            first: n(first)?,
            size: n(size)?,
            rank: n(rank)?,
            ctx: n(ctx)?,
            appnum: appnum.parse().map_err(|_| bad())?,
            parent: parent.parse().map_err(|_| bad())?,
        };
        if spec.rank < spec.size { Ok(spec) } else { Err(bad()) }
    }
}

/// Finds out how this process was started.
///
/// # Errors
/// When variables are malformed, or another launcher started several of us and there is no way to meet.
pub(crate) fn origin(env: impl Fn(&str) -> Option<String>) -> Result<Origin> {
    read(env)?.map_err(|launcher| cannot_meet(&launcher))
}

/// As [`origin`], without a word: inside, the launcher that started several of us, whom there is no way to meet.
///
/// # Errors
/// When variables are malformed.
pub(crate) fn read(env: impl Fn(&str) -> Option<String>) -> Result<std::result::Result<Origin, Launcher>> {
    let pmi_fd = number(&env, PMI_FD)?.and_then(|n| i32::try_from(n).ok());
    if let Some(fd) = number(&env, UNIVERSE)?.and_then(|n| i32::try_from(n).ok()) {
        if let Some(world) = env(WORLD) {
            return Ok(Ok(Origin::Phalanx { fd, world: WorldSpec::parse(&world)?, pmi_fd }));
        }
        return Err(malformed(UNIVERSE, &fd.to_string(), "PHALANX_WORLD beside it"));
    }
    if let Some(fd) = pmi_fd {
        let rank = number(&env, PMI_RANK)?.unwrap_or(0);
        let size = number(&env, PMI_SIZE)?.unwrap_or(1);
        return Ok(Ok(Origin::Pmi { fd, rank, size }));
    }
    Ok(launchers::of_several(env).map_or(Ok(Origin::Alone), Err))
}

#[cold]
fn cannot_meet(launcher: &Launcher) -> Error {
    if launcher.let_another_say_it() {
        return Error::said_elsewhere();
    }
    let remedy = match launcher.is_slurm() {
        true => {
            "start the program with 'srun --mpi=pmi2' on one node, or with 'PHALANX_MPI=site srun ...' for the site's MPI library, on any number; \
             on one machine 'phalanx run -n N' does it, too"
        }
        false => {
            "start the program with 'phalanx run -n N' on one machine, or select the site's MPI library with PHALANX_MPI=site"
        }
    };
    Error::new(
        ErrorClass::Other,
        format!(
            "this process was started by {}, and Phalanx's embedded engine cannot meet the others through it; {remedy}; for jobs of one each, \
             set {ALONE}=1",
            launcher.described()
        ),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(vars: &'static [(&'static str, &'static str)]) -> Result<Origin> {
        origin(|name| vars.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned()))
    }

    #[test]
    fn nothing_set_means_alone() {
        assert_eq!(with(&[]).expect("fine"), Origin::Alone);
    }

    #[test]
    fn our_launcher_wins_over_pmi() {
        let got =
            with(&[("PHALANX_UNIVERSE", "5"), ("PHALANX_WORLD", "2:4:1:8:0:0"), ("PMI_FD", "7"), ("PMI_RANK", "1")]);
        let world = WorldSpec { first: 2, size: 4, rank: 1, ctx: 8, appnum: 0, parent: 0 };
        assert_eq!(got.expect("fine"), Origin::Phalanx { fd: 5, world, pmi_fd: Some(7) });
    }

    #[test]
    fn hydra_is_recognised() {
        let got = with(&[("PMI_FD", "6"), ("PMI_RANK", "2"), ("PMI_SIZE", "3")]);
        assert_eq!(got.expect("fine"), Origin::Pmi { fd: 6, rank: 2, size: 3 });
    }

    #[test]
    fn foreign_launchers_of_several_are_errors_that_name_them() {
        let error = with(&[("OMPI_COMM_WORLD_SIZE", "4"), ("OMPI_COMM_WORLD_RANK", "0")]).expect_err("cannot meet");
        assert!(error.to_string().contains("Open MPI") && error.to_string().contains("phalanx run"), "{error}");
        assert!(with(&[("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_PROCID", "0"), ("SLURM_STEP_ID", "0")]).is_err());
    }

    #[test]
    fn one_of_several_says_what_is_wrong() {
        let slurm = |rank| {
            let me = std::process::id().to_string();
            let step = [("SLURM_STEP_NUM_TASKS", "2"), ("SLURM_PROCID", rank), ("SLURM_STEP_ID", "0")];
            let vars = [&step[..], &[("SLURM_TASK_PID", &me)]].concat();
            origin(|name| vars.iter().find(|(k, _)| *k == name).map(|(_, v)| (*v).to_owned())).expect_err("cannot meet")
        };
        let first = slurm("0");
        assert!(!first.is_said_elsewhere() && first.to_string().contains("--mpi=pmi2"), "{first}");
        assert!(slurm("1").is_said_elsewhere());
    }

    #[test]
    fn jobs_of_one_can_be_asked_for() {
        let alone = with(&[("OMPI_COMM_WORLD_SIZE", "4"), ("PHALANX_ALONE", "1")]);
        assert_eq!(alone.expect("fine"), Origin::Alone);
        assert!(with(&[("OMPI_COMM_WORLD_SIZE", "4"), ("PHALANX_ALONE", "0")]).is_err());
    }

    #[test]
    fn a_job_of_one_elsewhere_is_a_job_of_one_here() {
        assert_eq!(with(&[("OMPI_COMM_WORLD_SIZE", "1")]).expect("fine"), Origin::Alone);
        assert_eq!(with(&[("SLURM_NTASKS", "8"), ("SLURM_JOB_ID", "3")]).expect("fine"), Origin::Alone);
    }

    #[test]
    fn malformed_places_are_named() {
        for world in ["", "1:2", "0:2:2:8:0:0", "a:2:1:8:0:0"] {
            let vars: Vec<(String, String)> =
                vec![("PHALANX_UNIVERSE".into(), "5".into()), ("PHALANX_WORLD".into(), world.into())];
            let error = origin(|n| vars.iter().find(|(k, _)| k == n).map(|(_, v)| v.clone())).expect_err("malformed");
            assert!(error.to_string().contains("PHALANX_WORLD"), "{error}");
        }
    }
}
