//! Generated files: `cargo xtask gen` writes them, `cargo xtask gen --check` compares. `cargo xtask fuzz` runs the fuzz targets
//! (`fuzz.rs`).
//!
//! The standard's ABI is data (`abi/*.tsv`). From it come the C header, its twin for Cython, the
//! constants of the C surface, and the coverage page. The bodies are read from the `#[mpi_entry(..)]` attributes of
//! `crates/phalanx-mpi/src`: each function of the standard must have one. The stubs of
//! the extensions and the page of options are made by [`python`] from the installed package.

mod consts;
mod coverage;
mod cython;
mod fuzz;
mod header;
mod implemented;
mod python;
mod signatures;
mod tables;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = args.iter().map(String::as_str).collect();
    let check = match words.as_slice() {
        ["gen"] => false,
        ["gen", "--check"] => true,
        ["fuzz", rest @ ..] => return fuzz::run(&root(), rest),
        _ => {
            eprintln!("usage: cargo xtask gen [--check]\n       {}", fuzz::USAGE);
            return ExitCode::from(2);
        }
    };
    // What is made from the tables first: the package that the scripts import is built from it.
    let done = generate(&root(), check).and_then(|stale| {
        for file in &stale {
            eprintln!("out of date: {} (run `cargo xtask gen`)", file.display());
        }
        Ok(python::run(&root(), check)? && stale.is_empty())
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's directory: the parent of this package.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Writes every file that is made from the tables, or with `check` lists those that differ from what would be written.
fn generate(root: &Path, check: bool) -> Result<Vec<PathBuf>, String> {
    let abi = tables::Abi::read(&root.join("abi"))?;
    let done = implemented::Bodies::scan(&root.join("crates/phalanx-mpi/src"))?;
    signatures::check(&abi, &done)?;
    let missing: Vec<&str> = abi.functions.iter().map(|f| f.name.as_str()).filter(|name| !done.has(name)).collect();
    if !missing.is_empty() {
        return Err(format!("no `#[mpi_entry(..)]` in crates/phalanx-mpi/src is for {}", missing.join(", ")));
    }
    let files = [
        ("crates/phalanx-mpi/include/mpi.h", header::write(&abi)),
        ("crates/phalanx-mpi/src/generated/consts.rs", consts::write(&abi)),
        ("python/phalanx/doors/mpi4py/libmpi.pxd", cython::write(&abi)),
        ("docs/generated/coverage.md", coverage::write(&abi, root)?),
    ];
    let mut stale = Vec::new();
    for (name, text) in files {
        let path = root.join(name);
        let old = std::fs::read_to_string(&path).unwrap_or_default();
        if old == text {
            continue;
        }
        if !check {
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
            }
            std::fs::write(&path, text).map_err(|e| format!("{}: {e}", path.display()))?;
        } else {
            stale.push(PathBuf::from(name));
        }
    }
    Ok(stale)
}
