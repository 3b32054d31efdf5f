//! What the controller sees of its engines' processes, by the same means by which a launcher looks at its ranks.
//!
//! The controller looks, since it is the parent of the engines: where only ancestors may read a process's memory
//! (`kernel.yama.ptrace_scope` 1), nobody else could.

use phalanx_waits::Frame;
use phalanx_wire::overview::{Place, Seen};

use crate::look;

/// A process, and where its Python is if that is wanted.
pub(super) fn of(pid: u32, stacks: bool) -> Seen {
    if !stacks {
        let (cpu, resident) = look::used(pid).unwrap_or_default();
        return Seen { pid, cpu, resident, ..Seen::default() };
    }
    let Some(process) = look::look_at(pid) else { return Seen { pid, ..Seen::default() } };
    let (doing, frames) = look::doing_of(&process);
    let stack = frames.iter().map(place).collect();
    Seen { pid, cpu: process.cpu, resident: process.resident, doing, unreadable: process.unreadable, stack }
}

fn place(frame: &Frame) -> Place {
    Place { file: frame.file.clone(), line: frame.line, function: frame.function.clone() }
}

/// The same as the report of a job has it.
pub(super) fn frame(place: &Place) -> Frame {
    Frame { file: place.file.clone(), line: place.line, function: place.function.clone() }
}
