//! The MPI library of a job on several machines.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use crate::error::LaunchError;
use crate::install;
use crate::run::LIBRARY;

/// What the standard ABI calls its library.
const SONAME: &str = "libmpi_abi.so.1";

/// A library that can reach other machines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Library {
    /// What ranks are told (`PHALANX_MPI`).
    pub(crate) told: OsString,
    /// The file, where its place is known.
    pub(crate) file: Option<PathBuf>,
}

/// The library that the environment names; else PyPI's `mpich` beside this Python; else what the loader finds by the
/// variable that it goes by.
///
/// # Errors
/// The embedded engine was chosen; and, with what to do about it, that there is none.
pub(crate) fn find(env: &[(OsString, OsString)]) -> Result<Library, LaunchError> {
    let variable = |name: &str| {
        let set = env.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        set.or_else(|| std::env::var_os(name)).filter(|value| !value.is_empty())
    };
    let paths = variable("LD_LIBRARY_PATH").unwrap_or_default();
    let on_path = || std::env::split_paths(&paths).map(|folder| folder.join(SONAME)).find(|file| file.is_file());
    match variable(LIBRARY) {
        Some(chosen) if chosen == "embedded" => Err(LaunchError::usage(format!(
            "{LIBRARY}=embedded: the embedded engine runs on one machine, and these are several; unset it, or name a library"
        ))),
        Some(chosen) if chosen == "site" => Ok(Library { told: chosen, file: on_path() }),
        Some(chosen) => {
            let file = absolute(&chosen);
            if !file.is_file() {
                return Err(LaunchError::usage(format!(
                    "{LIBRARY}={}: there is no such file",
                    chosen.to_string_lossy()
                )));
            }
            Ok(Library { told: file.clone().into(), file: Some(file) })
        }
        None => {
            let prefixes = [install::executable(), install::python()].into_iter().flatten();
            let beside = prefixes.filter_map(|file| Some(file.parent()?.parent()?.join("lib").join(SONAME)));
            let file = beside.into_iter().find(|file| file.is_file()).or_else(on_path);
            let file = file.ok_or_else(|| {
                LaunchError::usage(format!(
                    "several machines need an MPI library with the MPI 5.0 standard ABI, and none is found; for PyPI's: pip install \
                     'phalanx[mpich]'; for one of this site: {LIBRARY}=site, or {LIBRARY}=/path/to/{SONAME}"
                ))
            })?;
            Ok(Library { told: file.clone().into(), file: Some(file) })
        }
    }
}

fn absolute(path: &OsStr) -> PathBuf {
    std::path::absolute(Path::new(path)).unwrap_or_else(|_| path.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(value: &str, paths: &str) -> Result<Library, LaunchError> {
        find(&[(LIBRARY.into(), value.into()), ("LD_LIBRARY_PATH".into(), paths.into())])
    }

    #[test]
    fn the_environment_chooses() {
        assert!(found("embedded", "").unwrap_err().to_string().contains("several"));
        assert!(found("/nonexistent/libmpi.so", "").unwrap_err().to_string().contains("no such file"));
        assert_eq!(found("site", "/nonexistent").unwrap(), Library { told: "site".into(), file: None });
        let library = found("/proc/self/exe", "").unwrap();
        assert_eq!(library.file.as_deref(), Some(Path::new("/proc/self/exe")));
    }
}
