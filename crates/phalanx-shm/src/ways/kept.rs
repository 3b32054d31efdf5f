//! The table of this machine, kept with the user's files until the machine is another one.
//!
//! One small file, in the directory that the user has for files of this boot (`XDG_RUNTIME_DIR`), or for caches
//! (`XDG_CACHE_HOME`, `~/.cache`). Its first line says for what it holds: boot, kernel, CPU model, the CPUs between which
//! was measured. Two virtual CPUs may be moved apart or together without a word, so the way of a cache line between them
//! is measured again each time that the file is used, which costs a fraction of a millisecond.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use super::{Table, measure};

/// The first word of a file, with the version of its form.
const FORM: &str = "phalanx-ways-1";

/// How much longer or shorter the way of a cache line may have become.
const SAME: f64 = 1.5;

/// What is kept and still holds. Otherwise what is measured now, if `measure` says so.
pub fn table(measure: bool) -> Option<Table> {
    let machine = machine()?;
    let kept = path().and_then(|path| fs::read_to_string(path).ok()).and_then(|text| of_text(&text, &machine));
    if !measure {
        return kept;
    }
    match kept {
        Some(table) if holds(&table, measure::ping()) => Some(table),
        _ => measure_and_keep(),
    }
}

/// Measures, and keeps what was measured; `None` when that is not possible here and now.
pub fn measure_and_keep() -> Option<Table> {
    let table = measure::table()?;
    // Where nothing can be kept, the next job measures again.
    if let (Some(machine), Some(path)) = (machine(), path()) {
        let _ = keep(&path, &format!("{FORM} {machine}\n{}", table.to_text()));
    }
    Some(table)
}

/// Where the table is kept.
pub fn path() -> Option<PathBuf> {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let place =
        of("XDG_RUNTIME_DIR").or_else(|| of("XDG_CACHE_HOME")).or_else(|| of("HOME").map(|home| home.join(".cache")));
    place.filter(|place| place.is_absolute()).map(|place| place.join("phalanx").join("ways"))
}

/// Whether lines still go the same way. A busy machine does not say.
fn holds(table: &Table, ping: Option<f64>) -> bool {
    ping.is_none_or(|ping| (table.ping / SAME..=table.ping * SAME).contains(&ping))
}

/// All at once, since other jobs start as well.
fn keep(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    fs::create_dir_all(path.parent().unwrap_or(path))?;
    let new = path.with_extension(format!("new-{}", std::process::id()));
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn of_text(text: &str, machine: &str) -> Option<Table> {
    let (first, rest) = text.split_once('\n')?;
    (first.strip_prefix(FORM)?.strip_prefix(' ')? == machine).then(|| Table::from_text(rest))?
}

/// What the kernel says about the first CPU. Not about all: on large machines that takes longer than all the rest.
fn first_cpu() -> Option<String> {
    let mut start = [0; 4096];
    let read = fs::File::open("/proc/cpuinfo").and_then(|mut file| file.read(&mut start)).ok()?;
    Some(String::from_utf8_lossy(&start[..read]).into_owned())
}

/// For what a table holds, in one line; `None` where there is nothing to measure.
fn machine() -> Option<String> {
    let [first, second] = measure::cpus()?;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let kernel = rustix::system::uname();
    let cpu = first_cpu()?;
    let model: Vec<_> = ["vendor_id", "cpu family", "model", "model name", "CPU part"]
        .into_iter()
        .filter_map(|key| cpu.lines().find(|line| line.split('\t').next() == Some(key))?.split_once(": "))
        .map(|(_, value)| value)
        .collect();
    Some(format!(
        "{} {} {} CPUs {first} and {second}",
        boot.trim(),
        kernel.release().to_string_lossy(),
        model.join(" ")
    ))
}
