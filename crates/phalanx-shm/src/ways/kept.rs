//! The table of this machine, kept with the user's files until the machine is another one.
//!
//! One small file, in the directory that the user has for files of this boot (`XDG_RUNTIME_DIR`), or for caches
//! (`XDG_CACHE_HOME`, `~/.cache`). Its first line says for what it holds: boot, kernel, CPU model, the CPUs between which
//! was measured. Two virtual CPUs may be moved apart or together without a word, so the way of a cache line between them
//! is measured again each time that the file is used, which costs a fraction of a millisecond; a table is kept for each
//! length of that way that was met.

use std::fs;
use std::io::Read;
use std::path::PathBuf;

use super::{Table, measure};

/// The first word of a file, with the version of its form.
pub(crate) const FORM: &str = "phalanx-ways-5";

/// Tables that are kept at most: virtual CPUs were seen as threads of one core, on one cache, and on two.
const PLACES: usize = 4;

/// How much longer or shorter the way of a cache line may have become.
const SAME: f64 = 1.5;

/// What is kept and holds as the CPUs are now. Otherwise what is measured now, if `measure` says so; if it does not, what
/// was measured last.
pub fn table(measure: bool) -> Option<Table> {
    let mut kept = tables(&machine()?);
    if !measure {
        return kept.into_iter().next();
    }
    let ping = measure::ping();
    match kept.iter().position(|table| holds(table, ping)) {
        Some(at) => Some(kept.swap_remove(at)),
        None => measure_and_keep(),
    }
}

/// Measures, and keeps what was measured; `None` when that is not possible here and now.
pub fn measure_and_keep() -> Option<Table> {
    let table = measure::table()?;
    // Where nothing can be kept, the next job measures again.
    if let (Some(machine), Some(path)) = (machine(), path()) {
        let others = tables(&machine);
        let others = others.iter().filter(|other| !holds(other, Some(table.ping))).take(PLACES - 1);
        let texts: Vec<_> = std::iter::once(&table).chain(others).map(Table::to_text).collect();
        let _ = keep(&path, &format!("{FORM} {machine}\n{}", texts.join("\n")));
    }
    Some(table)
}

/// What is kept for a machine, the newest first.
fn tables(machine: &str) -> Vec<Table> {
    let text = path().and_then(|path| fs::read_to_string(path).ok());
    text.and_then(|text| of_text(&text, machine)).unwrap_or_default()
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

/// The tables in a file, if it is about this machine and all of them are whole.
pub(crate) fn of_text(text: &str, machine: &str) -> Option<Vec<Table>> {
    let (first, rest) = text.split_once('\n')?;
    (first.strip_prefix(FORM)?.strip_prefix(' ')? == machine)
        .then(|| rest.split("\n\n").map(Table::from_text).collect())?
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

#[cfg(test)]
mod tests {
    use super::super::table::{CYCLES, MESSAGES};
    use super::super::{Cycle, Message};
    use super::*;

    fn of_ping(ping: f64) -> Table {
        let cycles = CYCLES.map(|bytes| Cycle { bytes, read: ping, take: 10.0 });
        let messages = MESSAGES.map(|bytes| Message { bytes, pipes: [10.0, 11.0], alone: 8.0 });
        Table { ping, cycles: cycles.to_vec(), pipes: Vec::new(), messages: messages.to_vec(), last_level: 32 << 20 }
    }

    #[test]
    fn a_file_has_a_table_for_each_place_of_the_cpus() {
        let (near, far) = (of_ping(50.0), of_ping(200.0));
        let file = |machine: &str| format!("{FORM} {machine}\n{}\n{}", near.to_text(), far.to_text());
        assert_eq!(of_text(&file("this"), "this"), Some(vec![near.clone(), far.clone()]));
        assert_eq!(of_text(&file("another"), "this"), None);
        assert_eq!(of_text(&file("this").replace("last-level", "last"), "this"), None);
        assert_eq!(of_text(&format!("{FORM} this\n{}", far.to_text()), "this"), Some(vec![far.clone()]));
    }

    #[test]
    fn a_table_holds_while_lines_go_about_as_long_as_when_it_was_measured() {
        for (ping, near, far) in [(50.0, true, false), (70.0, true, false), (100.0, false, false), (150.0, false, true)]
        {
            assert_eq!(holds(&of_ping(50.0), Some(ping)), near, "{ping}");
            assert_eq!(holds(&of_ping(200.0), Some(ping)), far, "{ping}");
        }
        assert!(holds(&of_ping(50.0), None), "a machine that is too busy to tell");
    }
}
