//! `docs/generated/coverage.md`: the functions of the standard by chapter: who tests them, whom they wait for, what they cost.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

use crate::tables::{Abi, Behaviour, Function};

/// Whom a call may wait for, with what that means.
const WAITS: [(&str, &str); 4] = [
    ("local", "returns without any other process having done anything"),
    ("starts", "local, too: what it begins, or begins when started, ends in a wait or a test"),
    ("peer", "may wait for another process: the one that a message or a lock needs, or those of the requests"),
    (
        "all",
        "collective: may wait for all other processes of the communicator, window or file (of a neighbourhood: for the neighbours)",
    ),
];

/// What a call costs, by class of function, with what that means.
const COSTS: [(&str, &str); 17] = [
    ("none", "nothing is sent or copied between processes"),
    (
        "message",
        "small: one record in the receiver's ring, copied in and out. Past the eager limit: an offer, then one copy by the kernel or \
      two that overlap, through a pipe; and an answer",
    ),
    ("buffered", "as a message, and one copy more into the attached buffer when the ring is full or the message large"),
    ("partitions", "a message for each partition of the sender, and a greeting for each new pair"),
    (
        "cells",
        "each rank writes a cell per step and reads those of others. Up to 96 bytes lie in the cell; more is copied into a \
      shared area and out of it by each who needs it; where the kernel copies faster, and on communicators of several jobs or two groups, by messages",
    ),
    (
        "rooted",
        "messages: one of each rank to the root or from it (barrier: both ways); small ones among many ranks by a tree or in rounds",
    ),
    ("every", "messages: one of each rank to each other; small equal ones to rank 0 and back"),
    ("chain", "messages: one of each rank to the next, per segment of the data"),
    ("neighbours", "messages: one to and from each neighbour"),
    ("requests", "what is left of the operations that it begins or completes: progress is made in calls"),
    ("agree", "some small collective steps of the group"),
    ("meet", "a conversation of the two roots over a socket, and some collective steps of each group"),
    ("start", "processes or memory are set up; MPI_Init meets the others where the launcher is of another MPI"),
    (
        "file",
        "system calls on the file; collective ones of many small pieces may be merged through shared memory before",
    ),
    (
        "window",
        "one copy between the process and the window's memory; nothing of the target's time, unless that waits: then it may copy a few bytes itself",
    ),
    (
        "combine",
        "the same and back, or one copy by a target that waits; under a lock of that window and target, which others hold for as long as they combine",
    ),
    ("word", "words in shared memory, one for each process concerned"),
];

/// Behaviours that are the system's: no data of other processes.
const SYSTEM: (&str, &str) = ("system", "system calls: sockets, small files, signals");

/// What the C programs of the tests call, and what the extension for Python does: names of functions to programs.
struct Uses {
    programs: BTreeMap<String, Vec<String>>,
    extension: String,
}

impl Uses {
    /// # Errors
    /// A folder or a file that cannot be read.
    fn read(root: &Path) -> Result<Uses, String> {
        let mut programs: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (program, text) in sources(&root.join("tests/c"), "c")? {
            for name in words(&text) {
                let of_name = programs.entry(name.to_owned()).or_default();
                if of_name.last() != Some(&program) {
                    of_name.push(program.clone());
                }
            }
        }
        let extension = sources(&root.join("crates/phalanx-python/src"), "rs")?;
        Ok(Uses { programs, extension: extension.into_iter().map(|(_, text)| text).collect() })
    }
}

/// The files with an extension below a folder: their names without it, and what they say, in order.
fn sources(folder: &Path, extension: &str) -> Result<Vec<(String, String)>, String> {
    let failed = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        if path.is_dir() {
            found.extend(sources(&path, extension)?);
        } else if path.extension().is_some_and(|e| e == extension) {
            let name = path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
            found.push((name, std::fs::read_to_string(&path).map_err(failed)?));
        }
    }
    found.sort();
    Ok(found)
}

/// The names of functions of the standard in a text.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|word| word.starts_with("MPI_"))
}

/// Whether a name fits a pattern.
fn fits(pattern: &str, name: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(name) = name.strip_prefix(head) else { return false };
    name.char_indices().map(|(at, _)| at).chain([name.len()]).any(|at| fits(rest, &name[at..]))
}

fn behaviour<'a>(abi: &'a Abi, name: &str) -> Result<&'a Behaviour, String> {
    let short = name.strip_prefix("MPI_").unwrap_or(name);
    let found = abi.behaviours.iter().find(|row| fits(&row.pattern, short));
    found.ok_or_else(|| format!("no row of abi/behaviour.tsv fits {name}"))
}

fn costs() -> impl Iterator<Item = &'static (&'static str, &'static str)> {
    COSTS.iter().chain([&SYSTEM])
}

/// Refuses rows that no function needs, and values that the page does not explain.
fn check(abi: &Abi) -> Result<(), String> {
    for row in &abi.behaviours {
        if !WAITS.iter().any(|(word, _)| *word == row.waits) || !costs().any(|(word, _)| *word == row.cost) {
            return Err(format!("abi/behaviour.tsv: {}: '{}' or '{}' means nothing", row.pattern, row.waits, row.cost));
        }
        let mut used = abi.functions.iter().filter_map(|f| behaviour(abi, &f.name).ok());
        if !used.any(|other| std::ptr::eq(other, row)) {
            return Err(format!("abi/behaviour.tsv: the row {} is of no function", row.pattern));
        }
    }
    Ok(())
}

/// The text of the page.
///
/// # Errors
/// A row of the table of behaviours that cannot be, or is missing; tests that cannot be read.
pub fn write(abi: &Abi, root: &Path) -> Result<String, String> {
    check(abi)?;
    let uses = Uses::read(root)?;
    let bound: BTreeSet<&str> = words(&uses.extension).map(|word| word.strip_suffix("_c").unwrap_or(word)).collect();
    let mut chapters: Vec<&str> = abi.functions.iter().map(|f| f.chapter.as_str()).collect();
    chapters.dedup();
    let mut out = format!(
        "# Coverage of the C interface\n\n\
         Generated by `cargo xtask gen` from `abi/functions.tsv`, `abi/behaviour.tsv` and the tests: do not edit.\n\
         All {} functions of the MPI 5.0 ABI are built: the generator fails if one has no `#[mpi_entry]`, and the test tier `c`\n\
         if no program calls it. Each is exported under its `MPI_` and its `PMPI_` name.\n\n\
         - **twin**: there is a twin with large counts (`_c`), which behaves alike.\n\
         - **C tests**: the programs of `tests/c` that name it; of none are those whose names a macro of a program puts together.\n\
         - **Python**: the extension calls it, so the tests of `tests/python` and mpi4py's suite reach it.\n\
         - **waits** and **cost**: on the embedded engine, by class of function, for `n` processes of one job on one machine:\n\n\
         | waits | meaning |\n|---|---|\n",
        abi.functions.len()
    );
    for (word, meaning) in WAITS {
        let _ = writeln!(out, "| {word} | {meaning} |");
    }
    out.push_str("\n| cost | meaning |\n|---|---|\n");
    for (word, meaning) in costs() {
        let _ = writeln!(out, "| {word} | {meaning} |");
    }
    for chapter in &chapters {
        let all: Vec<_> = abi.functions.iter().filter(|f| f.chapter == *chapter).collect();
        let head = "| function | twin | C tests | Python | waits | cost |\n|---|---|---|---|---|---|";
        let _ = writeln!(out, "\n## {chapter}: {}\n\n{head}", all.len());
        for f in all.iter().filter(|f| !is_twin(abi, &f.name)) {
            let twin = if abi.has_function(&format!("{}_c", f.name)) { "yes" } else { "" };
            let tests = uses.programs.get(&f.name).map_or_else(String::new, |programs| programs.join(", "));
            let python = if bound.contains(of_row(f).as_str()) { "yes" } else { "" };
            let Behaviour { waits, cost, .. } = behaviour(abi, &f.name)?;
            let _ = writeln!(out, "| `{}` | {twin} | {tests} | {python} | {waits} | {cost} |", f.name);
        }
    }
    Ok(out)
}

/// The function by which the extension names it: the forms of a collective are those of one row there.
fn of_row(f: &Function) -> String {
    let short = f.name.strip_prefix("MPI_").unwrap_or(&f.name);
    let short = if f.chapter == "coll" { short.strip_suffix("_init").unwrap_or(short) } else { short };
    let mut letters = short.chars();
    match (letters.next(), letters.next()) {
        (Some('I'), Some(second)) if f.chapter == "coll" => {
            format!("MPI_{}{}", second.to_ascii_uppercase(), letters.as_str())
        }
        _ => format!("MPI_{short}"),
    }
}

fn is_twin(abi: &Abi, name: &str) -> bool {
    name.strip_suffix("_c").is_some_and(|base| abi.has_function(base))
}

#[cfg(test)]
mod tests {
    use super::{fits, words};

    #[test]
    fn a_star_is_anything() {
        for (pattern, name) in
            [("*", ""), ("*", "Send"), ("I*_init", "Isend_init"), ("Comm_dup*", "Comm_dup"), ("a*b*c", "abbc")]
        {
            assert!(fits(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("Send", "Send_init"), ("I*_init", "Isend"), ("*_end", "end"), ("a*b*c", "acb")] {
            assert!(!fits(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn names_in_a_text_are_whole() {
        let found: Vec<&str> = words("OK(MPI_Send(b, MPI_INT)); xMPI_Recv(); PMPI_Wait").collect();
        assert_eq!(found, ["MPI_Send", "MPI_INT"]);
    }
}
