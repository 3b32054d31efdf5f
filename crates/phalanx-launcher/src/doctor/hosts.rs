//! `phalanx doctor --hosts`: whether jobs can run on other machines, as `phalanx run` looks at it before it starts anything.

use std::ffi::OsString;

use super::Finding;
use crate::error::LaunchError;
use crate::hosts::connect::{self, Needs};
use crate::hosts::layout::Layout;
use crate::hosts::list::{self, Listed};
use crate::hosts::slurm::Allocation;
use crate::hosts::{library, look};
use crate::install;
use crate::job;

/// Looks at these machines, or at those of the allocation; `ssh` is another remote shell.
///
/// # Errors
/// No machines, a list that is none, and a remote shell that cannot be started.
pub(super) fn examine(named: Option<&str>, ssh: Option<&OsString>) -> Result<Vec<Finding>, LaunchError> {
    let (hosts, by_slurm) = match named {
        Some(named) => (list::of_flag("--hosts", named)?, false),
        None => match Allocation::find()? {
            Some(allocation) => (allocation.nodes, true),
            None => return Err(LaunchError::usage("--hosts: which ones? As in 'phalanx doctor --hosts h1,h2'")),
        },
    };
    let hosts = list::merged(&hosts).into_iter().map(|Listed { name, slots }| (name, slots.unwrap_or(1))).collect();
    let layout = Layout { hosts, by_slurm };
    let mut findings = Vec::new();
    let mut needs = Needs { python: install::python(), files: Vec::new() };
    match library::find(&[]) {
        Ok(library) => {
            let file = library.file.as_ref().map(|file| file.display().to_string());
            let text = file.unwrap_or_else(|| format!("{} of each machine", library.told.to_string_lossy()));
            findings.push(Finding::ok("library", text));
            needs.files.extend(library.file);
        }
        Err(error) => findings.push(Finding::wrong("library", error.to_string(), "")),
    }
    let shell = connect::shell(&layout, ssh)?;
    let is_here = layout.is_here();
    let mut connecting = connect::connect(layout, &shell, &job::new_mark(), &needs)?;
    for answer in connecting.answers() {
        let host = answer.host;
        match answer.found {
            Ok(found) => {
                let python = found.python.and_then(Result::ok).map(|version| format!(", Python {version}"));
                let own = if look::is_named(&found.node, &host) {
                    String::new()
                } else {
                    format!(", calls itself {}", found.node)
                };
                let cpus = if found.cpus == 1 { "1 CPU".to_owned() } else { format!("{} CPUs", found.cpus) };
                let (python, version) = (python.unwrap_or_default(), env!("CARGO_PKG_VERSION"));
                findings.push(Finding::ok("host", format!("{host}: {cpus}, Phalanx {version}{python}{own}")));
            }
            Err(problems) => findings
                .extend(problems.into_iter().map(|problem| Finding::wrong("host", format!("{host}: {problem}"), ""))),
        }
        answer.channel.kill();
        answer.channel.reap();
    }
    if is_here {
        let text = "all of them are this machine: jobs on it use the embedded engine, and need no agent";
        findings.push(Finding::note("hosts", text, ""));
    }
    Ok(findings)
}
