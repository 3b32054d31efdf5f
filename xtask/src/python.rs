//! The generators that must import the installed package, as scripts under `xtask/python`: a stub is made from
//! the docstrings of a built extension, the page of options from the table that the package itself reads.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The scripts, and what each writes.
const SCRIPTS: [(&str, &str); 2] =
    [("stub.py", "python/phalanx/MPI.pyi and _workers.pyi"), ("options.py", "docs/generated/options.md")];

/// Runs every script, with `--check` or without. What is stale, it names itself; true when nothing was.
pub fn run(root: &Path, check: bool) -> Result<bool, String> {
    let python = interpreter(root);
    let imports = Command::new(&python).args(["-c", "import phalanx.MPI, phalanx._workers"]).output();
    if !imports.is_ok_and(|done| done.status.success()) {
        let files: Vec<&str> = SCRIPTS.iter().map(|(_, files)| *files).collect();
        return Err(format!(
            "{} are made from the installed package, and {} does not find it: run `make install` first, or name an \
             interpreter that has it in the environment variable PYTHON",
            files.join(", "),
            python.display()
        ));
    }
    let mut fresh = true;
    for (script, _) in SCRIPTS {
        let mut command = Command::new(&python);
        command.arg(root.join("xtask/python").join(script)).args(check.then_some("--check"));
        let status = command.status().map_err(|e| format!("{}: {e}", python.display()))?;
        fresh &= status.success();
    }
    Ok(fresh)
}

/// The Python that `PYTHON` names, else that of the virtual environment of `make install`.
fn interpreter(root: &Path) -> PathBuf {
    std::env::var_os("PYTHON").map_or_else(|| root.join(".venv/bin/python"), PathBuf::from)
}
