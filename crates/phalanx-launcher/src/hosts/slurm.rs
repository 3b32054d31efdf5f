//! What Slurm has allocated to the shell or script that starts a job.

use std::process::{Command, Stdio};

use phalanx_pmi::launchers;

use super::list::Listed;
use crate::error::LaunchError;
use crate::process;

/// The nodes of an allocation, with the number of tasks on each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Allocation {
    pub(crate) nodes: Vec<Listed>,
}

impl Allocation {
    /// The allocation that this process was started in, unless it is a task itself, or part of a job of Phalanx's.
    ///
    /// # Errors
    /// When Slurm does not say what it has allocated.
    pub(crate) fn find() -> Result<Option<Self>, LaunchError> {
        let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let Some(job) = variable("SLURM_JOB_ID") else { return Ok(None) };
        if variable(process::JOB).is_some() || launchers::is_task_of_slurm(&variable) {
            return Ok(None);
        }
        let problem = |what: String| {
            LaunchError::usage(format!(
                "inside Slurm's job {job}, whose nodes are not known: {what}; name hosts with --host ('--host localhost' for this \
                 machine)"
            ))
        };
        let list = variable("SLURM_JOB_NODELIST").or_else(|| variable("SLURM_NODELIST"));
        let list = list.ok_or_else(|| problem("SLURM_JOB_NODELIST is not set".to_owned()))?;
        let tasks =
            variable("SLURM_TASKS_PER_NODE").ok_or_else(|| problem("SLURM_TASKS_PER_NODE is not set".to_owned()))?;
        let names = expanded(&list).map_err(problem)?;
        let counts = counts(&tasks).ok_or_else(|| problem(format!("SLURM_TASKS_PER_NODE={tasks}")))?;
        if names.len() != counts.len() {
            return Err(problem(format!("{} nodes ({list}), and tasks for {} ({tasks})", names.len(), counts.len())));
        }
        let nodes = names.into_iter().zip(counts).map(|(name, slots)| Listed { name, slots: Some(slots) });
        Ok(Some(Self { nodes: nodes.collect() }))
    }
}

/// The names of a list like `h[1-3,7]`, from Slurm itself where it needs to be taken apart.
fn expanded(list: &str) -> Result<Vec<String>, String> {
    if !list.contains('[') {
        return Ok(list.split(',').map(str::to_owned).collect());
    }
    let output = Command::new("scontrol").args(["show", "hostnames", list]).stdin(Stdio::null()).output();
    let output = output.map_err(|error| format!("'scontrol show hostnames {list}': {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("'scontrol show hostnames {list}': {}", said.lines().next().unwrap_or("it failed")));
    }
    Ok(String::from_utf8_lossy(&output.stdout).split_whitespace().map(str::to_owned).collect())
}

/// The numbers of a list like `2(x3),1`.
fn counts(text: &str) -> Option<Vec<u32>> {
    let mut counts = Vec::new();
    for part in text.split(',') {
        let (number, times) = match part.split_once("(x") {
            Some((number, times)) => (number, times.strip_suffix(')')?.parse::<usize>().ok()?),
            None => (part, 1),
        };
        let number = number.parse::<u32>().ok().filter(|number| *number > 0)?;
        if counts.len() + times > 1 << 20 {
            return None;
        }
        counts.extend(std::iter::repeat_n(number, times));
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_tasks_are_read() {
        assert_eq!(counts("2(x3),1"), Some(vec![2, 2, 2, 1]));
        assert_eq!(counts("4"), Some(vec![4]));
        for nonsense in ["", "x", "2(x", "2(x3", "0", "2(x99999999999)", "1,,2"] {
            assert_eq!(counts(nonsense), None, "{nonsense}");
        }
        assert_eq!(expanded("h1,h2").unwrap(), ["h1", "h2"]);
    }
}
