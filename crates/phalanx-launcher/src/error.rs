//! Everything that can stop the launcher before a job runs, each with the exit status a shell would give.

use std::path::PathBuf;

/// Why nothing was started. Its text is one line: what is wrong, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The first argument is no command of ours.
    #[error("phalanx: unknown command '{given}'{}", .hint.as_ref().map_or(" (see phalanx --help)".to_owned(), |h| format!("; did you mean '{h}'?")))]
    UnknownCommand {
        /// What was typed.
        given: String,
        /// The nearest command.
        hint: Option<String>,
    },
    /// A flag that `command` does not know.
    #[error("phalanx {command}: unknown flag '{given}'{}", .hint.as_ref().map_or(format!(" (see phalanx {command} --help)"), |h| format!("; did you mean '{h}'?")))]
    UnknownFlag {
        /// The command it was given to.
        command: &'static str,
        /// What was typed.
        given: String,
        /// The nearest flag.
        hint: Option<String>,
    },
    /// Arguments that do not make sense.
    #[error("phalanx {command}: {problem}")]
    Usage {
        /// The command they were given to.
        command: &'static str,
        /// What is wrong and how to write it.
        problem: String,
    },
    /// A script or program that is not there.
    #[error("phalanx run: {what} '{}' not found{}", .path.display(), .hint)]
    NotFound {
        /// "script", "program", ...
        what: &'static str,
        /// The path or name as typed.
        path: PathBuf,
        /// Where it was looked for and what to try, beginning with its own separator.
        hint: String,
    },
    /// A program that is there and cannot be executed.
    #[error("phalanx run: '{}' cannot be executed: {reason}", .path.display())]
    NotExecutable {
        /// The path as typed.
        path: PathBuf,
        /// Why, and what to do.
        reason: String,
    },
    /// The operating system refused something.
    #[error("phalanx: {doing}: {source}")]
    System {
        /// What the launcher was doing.
        doing: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The shared segment could not be made or used.
    #[error("phalanx: {doing}: {reason}")]
    Segment {
        /// What the launcher was doing.
        doing: &'static str,
        /// What went wrong, from the shared-memory layer.
        reason: String,
    },
    /// The installation is incomplete.
    #[error("phalanx: {0}")]
    Install(String),
    /// Another machine cannot be reached, or differs from this one.
    #[error("phalanx run: {0}")]
    Hosts(String),
}

impl LaunchError {
    /// The status to exit with: 2 for bad usage, 127 for not found, 126 for not executable, 1 otherwise.
    #[must_use]
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::UnknownCommand { .. } | Self::UnknownFlag { .. } | Self::Usage { .. } => 2,
            Self::NotFound { .. } => 127,
            Self::NotExecutable { .. } => 126,
            Self::System { .. } | Self::Segment { .. } | Self::Install(_) | Self::Hosts(_) => 1,
        }
    }

    /// The text without the command's name before it: for messages in which another call has failed.
    #[must_use]
    pub fn reason(&self) -> String {
        let text = self.to_string();
        text.split_once(": ").map_or(text.clone(), |(_, reason)| reason.to_owned())
    }

    /// Bad arguments of `phalanx run`.
    pub(crate) fn usage(problem: impl Into<String>) -> Self {
        Self::Usage { command: "run", problem: problem.into() }
    }

    /// A refusal of the operating system while `doing` something.
    pub(crate) fn system(doing: impl Into<String>, source: impl Into<std::io::Error>) -> Self {
        Self::System { doing: doing.into(), source: source.into() }
    }
}
