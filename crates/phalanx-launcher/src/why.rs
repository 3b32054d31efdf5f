//! `phalanx ps` and `phalanx why`: which jobs run here, and what each rank of one is doing.

use std::ffi::OsString;

use crate::error::LaunchError;
use crate::help;
use crate::jobs::{self, Silence};
use crate::look::{self, About};
use crate::output;
use crate::suggest;

/// Lists the jobs of this user.
///
/// # Errors
/// Bad arguments, and a directory of jobs that is not this user's.
pub fn ps(args: &[OsString]) -> Result<u8, LaunchError> {
    let mut json = false;
    for arg in args {
        match arg.to_string_lossy().as_ref() {
            "--json" => json = true,
            "-h" | "--help" => {
                output::print(help::PS);
                return Ok(0);
            }
            other => return Err(unknown("ps", other, &["--json", "--help"])),
        }
    }
    let mut known: Vec<About> = Vec::new();
    let mut silent = Vec::new();
    for job in jobs::all()? {
        match job.about() {
            Ok(about) => known.push(about),
            Err(Silence::Gone) => {}
            Err(silence) => silent.push(jobs::silent(&job, silence).to_string()),
        }
    }
    if json {
        output::print(&look::jobs_as_json(&known));
    } else if known.is_empty() && silent.is_empty() {
        output::print("no job of yours runs here\n");
    } else if !known.is_empty() {
        output::print(&look::tame(table(&known)));
    }
    for line in &silent {
        output::say(line);
    }
    Ok(u8::from(!silent.is_empty()))
}

fn table(jobs: &[About]) -> String {
    let mut text = format!("{:<5} {:>8} {:>6} {:>12}  {:<9} PROGRAM\n", "JOB", "LAUNCHER", "RANKS", "SINCE", "STATE");
    for job in jobs {
        text.push_str(&format!(
            "{:<5} {:>8} {:>6} {:>12}  {:<9} {}\n",
            job.id,
            job.launcher,
            job.ranks,
            look::age(job.age),
            job.state(),
            job.program
        ));
    }
    text
}

/// Says what each rank of a job is doing.
///
/// # Errors
/// Bad arguments, no such job, a launcher that does not answer.
pub fn why(args: &[OsString]) -> Result<u8, LaunchError> {
    let (mut json, mut whole, mut job) = (false, false, None);
    for arg in args {
        match arg.to_string_lossy().as_ref() {
            "--json" => json = true,
            "-v" | "--verbose" => whole = true,
            "-h" | "--help" => {
                output::print(help::WHY);
                return Ok(0);
            }
            flag if flag.starts_with('-') => return Err(unknown("why", flag, &["--json", "--verbose", "--help"])),
            word if job.is_none() => job = Some(word.to_owned()),
            word => {
                let problem = format!("one job at a time, and '{word}' is a second one");
                return Err(LaunchError::Usage { command: "why", problem });
            }
        }
    }
    let job = jobs::named(job.as_deref(), "why")?;
    let seen = job.look().map_err(|silence| jobs::silent(&job, silence))?;
    if json {
        output::print(&look::as_json(&seen));
    } else {
        output::print(&look::tame(format!("{}\n", look::heading(&seen.about))));
        output::print(&look::report(&seen, whole));
    }
    Ok(0)
}

pub(crate) fn unknown(command: &'static str, given: &str, known: &[&'static str]) -> LaunchError {
    let hint = suggest::nearest(given, known.iter().copied()).map(str::to_owned);
    LaunchError::UnknownFlag { command, given: given.to_owned(), hint }
}
