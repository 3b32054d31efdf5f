//! `cargo xtask fuzz`: the fuzz targets under libFuzzer, with a stable compiler.
//!
//! The driver (`fuzz/`) and the crates are built into a folder of their own, with the coverage that libFuzzer looks at, and with the
//! checks of a debug build. What is found out about a target, its corpus, stays in `target/fuzz` for the next time.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// How it is typed.
pub(crate) const USAGE: &str = "cargo xtask fuzz [--list | TARGET ...] [--minutes N] [--input FILE]";

/// Counts each edge of the program, and what is compared with what. (The compiler's own words for it need a nightly one.)
const COVERAGE: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                        -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Seconds of a case that hangs, megabytes of a process that takes too much, and bytes of an input.
const LIMITS: &[&str] = &["-timeout=20", "-rss_limit_mb=1024", "-max_len=8192", "-print_final_stats=1"];

struct Wanted<'a> {
    targets: Vec<&'a str>,
    minutes: f64,
    input: Option<&'a str>,
    list: bool,
}

fn parse<'a>(words: &[&'a str]) -> Option<Wanted<'a>> {
    let mut wanted = Wanted { targets: Vec::new(), minutes: 1.0, input: None, list: false };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "--list" => wanted.list = true,
            "--minutes" => wanted.minutes = words.next()?.parse().ok().filter(|minutes| *minutes > 0.0)?,
            "--input" => wanted.input = Some(words.next()?),
            flag if flag.starts_with('-') => return None,
            target => wanted.targets.push(target),
        }
    }
    (wanted.input.is_none() || wanted.targets.len() == 1).then_some(wanted)
}

/// Runs the named targets, or all, each for so many minutes; or one of them with one input.
pub(crate) fn run(root: &Path, words: &[&str]) -> ExitCode {
    let Some(wanted) = parse(words) else {
        eprintln!("usage: {USAGE}");
        return ExitCode::from(2);
    };
    match fuzz(root, &wanted) {
        Ok(failed) if failed.is_empty() => ExitCode::SUCCESS,
        Ok(failed) => {
            eprintln!(
                "found something: {}. Repeat it with --input; once it is mended, put the file into \
                 crates/phalanx-fuzz/regressions/TARGET/",
                failed.join(", ")
            );
            ExitCode::FAILURE
        }
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz(root: &Path, wanted: &Wanted<'_>) -> Result<Vec<String>, String> {
    let place = root.join("target").join("fuzz");
    let driver = build(root, &place)?;
    let list = Command::new(&driver).output().map_err(|e| format!("{}: {e}", driver.display()))?;
    let list = String::from_utf8_lossy(&list.stdout).into_owned();
    if wanted.list {
        print!("{list}");
        return Ok(Vec::new());
    }
    let known: Vec<&str> = list.lines().filter_map(|line| line.split_whitespace().next()).collect();
    if let Some(unknown) = wanted.targets.iter().find(|target| !known.contains(target)) {
        return Err(format!("there is no target '{unknown}'; there are: {}", known.join(", ")));
    }
    let targets = if wanted.targets.is_empty() { known } else { wanted.targets.clone() };
    let mut failed = Vec::new();
    for target in targets {
        eprintln!("== {target}");
        let (corpus, seeds, found) =
            (place.join("corpus").join(target), place.join("seeds").join(target), place.join("found"));
        for folder in [&corpus, &seeds, &found] {
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        let mut command = Command::new(&driver);
        command.env("PHALANX_FUZZ_TARGET", target).env("RUST_BACKTRACE", "1").args(LIMITS);
        command.arg(format!("-artifact_prefix={}/{target}-", found.display()));
        match wanted.input {
            Some(input) => command.arg(input),
            None => {
                command.env("PHALANX_FUZZ_SEEDS", &seeds);
                command.arg(format!("-max_total_time={}", (wanted.minutes * 60.0).ceil()));
                command.arg(&corpus).arg(&seeds)
            }
        };
        if !command.status().map_err(|e| format!("{}: {e}", driver.display()))?.success() {
            failed.push(target.to_owned());
        }
    }
    Ok(failed)
}

/// The driver, built as a fuzzer.
fn build(root: &Path, place: &Path) -> Result<PathBuf, String> {
    let version = Command::new("rustc").arg("-vV").output().map_err(|e| format!("rustc: {e}"))?;
    let version = String::from_utf8_lossy(&version.stdout).into_owned();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).ok_or("rustc does not name its host")?;
    let mut cargo = Command::new("cargo");
    // For a target by its name, so that build scripts and macros are built as always.
    cargo.current_dir(root).args(["build", "--release", "--package", "phalanx-fuzz-driver", "--target", host]);
    cargo.env("CARGO_TARGET_DIR", place).env("RUSTFLAGS", COVERAGE);
    for (name, value) in
        [("DEBUG_ASSERTIONS", "true"), ("OVERFLOW_CHECKS", "true"), ("LTO", "off"), ("CODEGEN_UNITS", "16")]
    {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{name}"), value);
    }
    match cargo.status() {
        Ok(status) if status.success() => Ok(place.join(host).join("release").join("phalanx-fuzz")),
        Ok(status) => Err(format!("cargo build: {status}")),
        Err(error) => Err(format!("cargo: {error}")),
    }
}
