//! What a section's program means: a script under this Python, a module, or an executable.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::cli::Target;
use crate::error::LaunchError;
use crate::install;

/// A program ready to be executed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// Arguments that come before the user's (the script, for a Python script).
    pub before: Vec<OsString>,
    /// What to call it in messages.
    pub name: String,
}

/// Finds the executable for `target`, as a rank in `wdir` with `search` as its `PATH` would.
///
/// # Errors
/// [`LaunchError::NotFound`] and [`LaunchError::NotExecutable`], with what to do about it.
pub fn resolve(target: &Target, wdir: Option<&Path>, search: &OsStr) -> Result<Program, LaunchError> {
    if let Some(directory) = wdir
        && !directory.is_dir()
    {
        return Err(LaunchError::usage(format!("--wdir {}: there is no such directory", directory.display())));
    }
    match target {
        Target::Module(name) => Ok(Program {
            path: this_python()?,
            before: vec!["-m".into(), name.clone()],
            name: format!("python -m {}", name.to_string_lossy()),
        }),
        Target::Program(name) => program(name, wdir, search),
    }
}

fn this_python() -> Result<PathBuf, LaunchError> {
    install::python().ok_or_else(|| LaunchError::NotFound {
        what: "program",
        path: "python3".into(),
        hint: ": it is not beside this binary, in $VIRTUAL_ENV or on PATH".to_owned(),
    })
}

fn program(name: &OsStr, wdir: Option<&Path>, search: &OsStr) -> Result<Program, LaunchError> {
    let typed = Path::new(name);
    let seen = wdir.unwrap_or_else(|| Path::new(".")).join(typed);
    if typed.extension().is_some_and(|e| e == "py") {
        return script(typed, &seen, wdir);
    }
    if name.as_bytes().contains(&b'/') {
        return if !seen.exists() {
            Err(not_found("program", typed, wdir))
        } else if seen.is_dir() {
            Err(LaunchError::NotExecutable { path: typed.into(), reason: "it is a directory".to_owned() })
        } else if !install::is_executable(&seen) {
            let reason = format!("no execute permission (chmod +x {})", typed.display());
            Err(LaunchError::NotExecutable { path: typed.into(), reason })
        } else {
            let path = std::path::absolute(&seen).unwrap_or(seen);
            Ok(Program { path, before: Vec::new(), name: typed.display().to_string() })
        };
    }
    if let Some(path) = install::find_on_path(name, search) {
        let path = std::path::absolute(&path).unwrap_or(path);
        return Ok(Program { path, before: Vec::new(), name: typed.display().to_string() });
    }
    if (name == "python" || name == "python3")
        && let Some(path) = install::python()
    {
        // Many systems have only one of the two names.
        return Ok(Program { path, before: Vec::new(), name: typed.display().to_string() });
    }
    if seen.is_file() {
        return Err(LaunchError::NotFound {
            what: "program",
            path: typed.into(),
            hint: format!(" on PATH; for the file in this directory write ./{}", typed.display()),
        });
    }
    Err(LaunchError::NotFound { what: "program", path: typed.into(), hint: " on PATH".to_owned() })
}

fn script(typed: &Path, seen: &Path, wdir: Option<&Path>) -> Result<Program, LaunchError> {
    if !seen.exists() {
        return Err(not_found("script", typed, wdir));
    }
    if seen.is_dir() && !seen.join("__main__.py").is_file() {
        let reason = "it is a directory without a __main__.py".to_owned();
        return Err(LaunchError::NotExecutable { path: typed.into(), reason });
    }
    if rustix::fs::access(seen, rustix::fs::Access::READ_OK).is_err() {
        let reason = format!("no read permission (chmod +r {})", typed.display());
        return Err(LaunchError::NotExecutable { path: typed.into(), reason });
    }
    Ok(Program { path: this_python()?, before: vec![typed.into()], name: typed.display().to_string() })
}

fn not_found(what: &'static str, typed: &Path, wdir: Option<&Path>) -> LaunchError {
    let hint = if typed.is_absolute() {
        String::new()
    } else {
        let from = wdir.map(Path::to_path_buf).or_else(|| std::env::current_dir().ok()).unwrap_or_default();
        format!(" (looked from {})", from.display())
    };
    LaunchError::NotFound { what, path: typed.into(), hint }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target::Program(name.into())
    }

    #[test]
    fn names_are_searched_and_paths_are_not() {
        let found = resolve(&target("sh"), None, OsStr::new("/bin:/usr/bin")).unwrap();
        assert!(found.path.is_absolute() && found.before.is_empty());
        let error = resolve(&target("./no-such-thing"), None, OsStr::new("/bin")).unwrap_err();
        assert_eq!(error.exit_status(), 127);
    }

    #[test]
    fn what_cannot_run_says_why() {
        let error = resolve(&target("/etc/passwd"), None, OsStr::new("")).unwrap_err();
        assert_eq!(error.exit_status(), 126);
        assert!(error.to_string().contains("chmod"), "{error}");
        let error = resolve(&target("/etc/"), None, OsStr::new("")).unwrap_err();
        assert!(error.to_string().contains("directory"), "{error}");
        let error = resolve(&target("missing.py"), None, OsStr::new("")).unwrap_err();
        assert_eq!(error.exit_status(), 127);
        assert!(error.to_string().contains("looked from"), "{error}");
        let error = resolve(&target("sh"), Some(Path::new("/nonexistent")), OsStr::new("/bin")).unwrap_err();
        assert_eq!(error.exit_status(), 2);
    }
}
