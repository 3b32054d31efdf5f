//! How memory moves between processes here: what was measured, and what is chosen by it.

use phalanx_shm::Ways;
use phalanx_shm::ways::{Table, VARIABLE, kept, measure as ways, said, spelled};

use super::Finding;
use crate::error::LaunchError;
use crate::output;

/// What jobs do, and from where they know.
pub(super) fn finding() -> Finding {
    let name = "memory path";
    let known = kept::table(false).is_some();
    match (Ways::of_this_machine(false), said()) {
        (Err(wrong), _) => Finding::wrong(name, wrong, "correct it, or unset it"),
        (Ok(ways), Some(_)) => Finding::note(name, format!("{}, as {VARIABLE} says", in_words(&ways)), ""),
        (Ok(ways), None) if known => Finding::ok(name, format!("{}, as measured on this machine", in_words(&ways))),
        (Ok(ways), None) => {
            Finding::ok(name, format!("{} until a job with two ranks or more has measured", in_words(&ways)))
        }
    }
}

/// Measures, prints, and keeps.
///
/// # Errors
/// Where nothing can be measured.
pub(super) fn measure() -> Result<u8, LaunchError> {
    let Some(cpus) = ways::cpus() else {
        return Err(LaunchError::usage("--measure: one CPU may be used, and memory moves between two"));
    };
    let Some(table) = kept::measure_and_keep() else {
        return Err(LaunchError::usage("--measure: the CPUs are too busy to measure anything; try again later"));
    };
    output::print(&text(&table, cpus, kept::path().filter(|path| path.exists())));
    Ok(0)
}

/// The first line of a table: what it holds, and the sizes.
fn head(text: &mut String, what: &str, sizes: impl Iterator<Item = usize>) {
    text.push_str(&format!("{what:22}"));
    for bytes in sizes {
        text.push_str(&format!("{:>8}", spelled(bytes)));
    }
}

/// A rate under a size, marked if it is that of what is chosen; where there is none, what is said instead.
fn cell(rate: f64, none: &str, chosen: bool) -> String {
    match rate {
        0.0 => format!("{none:>7}{}", if chosen { '*' } else { ' ' }),
        rate => format!("{rate:7.1}{}", if chosen { '*' } else { ' ' }),
    }
}

/// In words that lines can be broken between.
fn in_words(ways: &Ways) -> String {
    ways.to_string().replace(',', ", ")
}

fn text(table: &Table, [first, second]: [usize; 2], kept: Option<std::path::PathBuf>) -> String {
    let ways = table.choose();
    let mut text =
        format!("memory between CPUs {first} and {second}, where a line of it takes {:.0} ns\n\n", table.ping);
    head(&mut text, "GB/s, used again:", table.cycles.iter().map(|cycle| cycle.bytes));
    for (name, take) in [("reader only reads", false), ("reader takes lines", true)] {
        text.push_str(&format!("\n{name:22}"));
        for cycle in &table.cycles {
            let rate = if take { cycle.take } else { cycle.read };
            text.push_str(&cell(rate, "", take == (cycle.bytes <= ways.take)));
        }
    }
    text.push_str("\n\n");
    head(&mut text, "GB/s, one message:", table.messages.iter().map(|message| message.bytes));
    for (pipe, bytes) in Table::PIPES.into_iter().enumerate() {
        text.push_str(&format!("\n{:22}", format!("through a pipe of {}", spelled(bytes))));
        for message in &table.messages {
            // Short messages go the same way through any pipe, and were measured through the first.
            let chosen = bytes == ways.pipe || pipe == 0 && message.bytes < Table::BY_PIPE;
            let measured = pipe == 0 || message.bytes >= Table::BY_PIPE;
            text.push_str(&cell(message.pipes[pipe], "", chosen && measured && !ways.is_for_one(message.bytes as u64)));
        }
    }
    text.push_str(&format!("\n{:22}", "the receiver alone"));
    for message in &table.messages {
        text.push_str(&cell(message.alone, "refused", ways.is_for_one(message.bytes as u64)));
    }
    text.push_str("\n\n");
    text.push_str(&format!("chosen (*), and where it is faster while a job runs, another way\n  {ways}\n"));
    let lines = if ways.pipe <= ways.take { ", lines are taken" } else { "" };
    let alone = match ways.alone {
        usize::MAX => String::new(),
        from => {
            let until = if ways.together == usize::MAX { "on" } else { &format!("to {}", spelled(ways.together)) };
            format!(", one copy from {} {until}", spelled(from))
        }
    };
    let exchange = match ways.exchange {
        usize::MAX => String::new(),
        from => format!("  both at once    one copy by the kernel from {} on\n", spelled(from)),
    };
    text.push_str(&format!("  collectives     lines are taken from areas of up to {}\n", spelled(ways.take)));
    let (pipe, stream) = (spelled(ways.pipe), spelled(ways.stream));
    text.push_str(&format!("  large messages  pipe of {pipe}{lines}{alone}\n"));
    text.push_str(&exchange);
    text.push_str(&format!("  larger ones     past the caches from {stream} on\n"));
    text.push_str(&match kept {
        Some(path) => format!("kept in {}\n", path.display()),
        None => "not kept: no directory for it can be written; jobs measure again\n".to_owned(),
    });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use phalanx_shm::ways::{Cycle, Message};

    #[test]
    fn the_longest_line_fits_eighty_columns() {
        let cycle = |bytes| Cycle { bytes, read: 2.0, take: 8.0 };
        let message = |bytes, pipe| Message { bytes, pipes: [pipe; 2], alone: 11.0 };
        let sizes = [32 << 10, 64 << 10, 128 << 10, 256 << 10, 512 << 10, 1 << 20, 8 << 20];
        let messages = sizes.map(|bytes| message(bytes, if bytes == 8 << 20 { 12.0 } else { 2.0 })).to_vec();
        let cycles = vec![cycle(128 << 10), cycle(256 << 10)];
        let table = Table { ping: 205.0, cycles, pipes: Vec::new(), messages, last_level: 260 << 20 };
        let text = text(&table, [0, 1], None);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        assert!(text.contains("large messages  pipe of 1M, one copy from 32K to 4M\n"), "{text}");
    }

    #[test]
    fn the_table_marks_what_is_chosen_and_fits_eighty_columns() {
        let cycle = |bytes, read, take| Cycle { bytes, read, take };
        let cycles = vec![cycle(128 << 10, 8.0, 25.0), cycle(256 << 10, 9.0, 26.0), cycle(512 << 10, 30.0, 20.0)];
        let messages = vec![
            Message { bytes: 64 << 10, pipes: [4.5, 0.0], alone: 3.5 },
            Message { bytes: 8 << 20, pipes: [9.5, 12.5], alone: 0.0 },
        ];
        let table = Table { ping: 55.4, cycles, pipes: Vec::new(), messages, last_level: 32 << 20 };
        let text = text(&table, [0, 1], None);
        assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
        for said in [
            "takes 55 ns",
            "25.0*   26.0*   20.0",
            "8.0     9.0    30.0*",
            "refused",
            "pipe of 256K    4.5*    9.5 ",
            "pipe of 1M             12.5*",
            "3.5 refused",
            "take=256K",
            "not kept",
        ] {
            assert!(text.contains(said), "{said} in\n{text}");
        }
    }
}
