//! The variables that there are. Their numbers are their places here, and never change while a program runs.

use std::time::Duration;

use phalanx_engine::Engine;
use phalanx_engine::engine::{EAGER_LIMIT, Levels, Tally, single_copy_allowed};
use phalanx_shm::{cells, sleep};

use crate::consts;

use super::value::Type;

/// A control variable.
pub(super) struct Control {
    pub(super) name: &'static str,
    pub(super) category: &'static str,
    pub(super) text: &'static str,
    pub(super) verbosity: i32,
    pub(super) ty: Type,
    pub(super) scope: i32,
    pub(super) read: fn(&Engine) -> u64,
    /// How it is set; `None` for what never can be.
    pub(super) write: Option<Write>,
}

/// How a control variable is set.
pub(super) struct Write {
    /// Its value before there is an engine, if nobody sets it.
    pub(super) before: fn() -> u64,
    /// The largest value that may be set.
    pub(super) most: u64,
    /// Sets it now; false when the value cannot be.
    pub(super) now: fn(&Engine, u64) -> bool,
    /// Sets it in an engine that starts, as near as that allows.
    pub(super) at_start: fn(&Engine, u64),
}

/// A performance variable.
pub(super) struct Performance {
    pub(super) name: &'static str,
    pub(super) category: &'static str,
    pub(super) text: &'static str,
    pub(super) verbosity: i32,
    pub(super) class: i32,
    pub(super) ty: Type,
    pub(super) source: Source,
}

/// Where the value of a performance variable comes from.
pub(super) enum Source {
    /// It grows while a handle is started.
    Count(fn(&Tally) -> u64),
    /// It is what it is.
    Level(fn(&Levels) -> u64),
}

/// A set of variables, or of such sets.
pub(super) struct Category {
    pub(super) name: &'static str,
    pub(super) text: &'static str,
    pub(super) children: &'static [&'static str],
}

const BASIC: i32 = consts::T_VERBOSITY_USER_BASIC;
const DETAIL: i32 = consts::T_VERBOSITY_TUNER_DETAIL;

/// The longest that a wait may be told to poll, in nanoseconds.
const LONGEST: u64 = 1_000_000_000;

/// Bytes, where the engine has `usize::MAX` for "never".
fn bytes(n: usize) -> u64 {
    if n == usize::MAX { u64::MAX } else { n as u64 }
}

fn nanoseconds(time: Duration) -> u64 {
    time.as_nanos() as u64
}

/// A control variable that is found at the start and stays.
const fn constant(name: &'static str, category: &'static str, text: &'static str, read: fn(&Engine) -> u64) -> Control {
    Control {
        name,
        category,
        text,
        verbosity: DETAIL,
        ty: Type::Number,
        scope: consts::T_SCOPE_CONSTANT,
        read,
        write: None,
    }
}

pub(super) const CONTROLS: &[Control] = &[
    Control {
        name: "eager_limit",
        category: "messages",
        text: "Bytes up to which a message of this process is sent at once, in one record of a ring; longer ones are offered \
               to the receiver, which fetches them. At most record_limit.",
        verbosity: consts::T_VERBOSITY_TUNER_BASIC,
        ty: Type::Number,
        scope: consts::T_SCOPE_LOCAL,
        read: |engine| engine.eager_limit() as u64,
        write: Some(Write {
            before: || EAGER_LIMIT as u64,
            most: i32::MAX as u64,
            now: |engine, bytes| engine.set_eager_limit(bytes as usize).is_ok(),
            at_start: |engine, bytes| {
                // Cannot fail: no more than a record holds.
                let _ = engine.set_eager_limit((bytes as usize).min(engine.universe().max_payload()));
            },
        }),
    },
    constant("record_limit", "messages", "Bytes of data that one record of a ring holds at most.", |engine| {
        engine.universe().max_payload() as u64
    }),
    constant(
        "ring_bytes",
        "messages",
        "Bytes of shared memory that the ring from one process to another takes.",
        |engine| engine.universe().ring_footprint() as u64,
    ),
    Control {
        name: "single_copy",
        category: "copies",
        text: "Whether this process may copy large messages straight out of the sender's memory (PHALANX_SINGLE_COPY at the \
               start). Where the kernel forbids it, it stays without effect.",
        verbosity: consts::T_VERBOSITY_TUNER_BASIC,
        ty: Type::Switch,
        scope: consts::T_SCOPE_LOCAL,
        read: |engine| engine.single_copy().into(),
        write: Some(Write {
            before: || single_copy_allowed().into(),
            most: 1,
            now: |engine, on| {
                engine.set_single_copy(on != 0);
                true
            },
            at_start: |engine, on| engine.set_single_copy(on != 0),
        }),
    },
    constant(
        "take_limit",
        "copies",
        "Bytes of memory that goes back and forth between two processes up to which the reader takes the cache lines over, \
         until another way has been faster in the job (take in PHALANX_WAYS).",
        |engine| bytes(engine.universe().ways().take),
    ),
    constant(
        "pipe_bytes",
        "copies",
        "Bytes of the block of a pipe for large messages (pipe in PHALANX_WAYS).",
        |engine| bytes(engine.universe().ways().pipe),
    ),
    constant(
        "alone_from",
        "copies",
        "Bytes of a message from which its receiver copies it alone although the sender waits, until another way has \
         been faster in the job; the largest number: never (alone in PHALANX_WAYS).",
        |engine| bytes(engine.universe().ways().alone),
    ),
    constant(
        "together_from",
        "copies",
        "Bytes of a message from which both sides copy it again although the receiver copies shorter ones alone; the largest \
         number: never (together in PHALANX_WAYS).",
        |engine| bytes(engine.universe().ways().together),
    ),
    constant(
        "alone_in_exchange_from",
        "copies",
        "The same for a receiver that has a large message of its own under way, or receives its first one in a collective \
         (exchange in PHALANX_WAYS).",
        |engine| bytes(engine.universe().ways().exchange),
    ),
    constant(
        "stream_from",
        "copies",
        "Bytes of a message from which copies out of a pipe go past the caches; the largest number: never (stream in \
         PHALANX_WAYS).",
        |engine| bytes(engine.universe().ways().stream),
    ),
    Control {
        name: "spin_limit",
        category: "waiting",
        text: "Nanoseconds that one wait of this process polls at most before it sleeps, up to a second. 0: it sleeps after the \
               first looks.",
        verbosity: consts::T_VERBOSITY_TUNER_BASIC,
        ty: Type::Number,
        scope: consts::T_SCOPE_LOCAL,
        read: |engine| nanoseconds(engine.manners().limit()),
        write: Some(Write {
            before: || nanoseconds(sleep::pace::MOST),
            most: LONGEST,
            now: |engine, most| {
                engine.manners().set_limit(Duration::from_nanos(most));
                true
            },
            at_start: |engine, most| engine.manners().set_limit(Duration::from_nanos(most)),
        }),
    },
    Control {
        name: "spin_budget",
        category: "waiting",
        text: "Nanoseconds that a wait polls at present: it follows from how long waits were.",
        verbosity: DETAIL,
        ty: Type::Number,
        scope: consts::T_SCOPE_READONLY,
        read: |engine| nanoseconds(engine.manners().patience()),
        write: None,
    },
    Control {
        name: "own_cpu",
        category: "waiting",
        text: "Whether every process of the job has a CPU of its own, as counted at the start; if not, waits give way first.",
        verbosity: DETAIL,
        ty: Type::Switch,
        scope: consts::T_SCOPE_CONSTANT,
        read: |engine| engine.manners().roomy().into(),
        write: None,
    },
    Control {
        name: "keep_going",
        category: "job",
        text: "Whether the launcher lets the others go on when a rank has failed (--keep-going, PHALANX_KEEP_GOING).",
        verbosity: BASIC,
        ty: Type::Switch,
        scope: consts::T_SCOPE_CONSTANT,
        read: |engine| engine.keeps_going().into(),
        write: None,
    },
    constant(
        "process_slots",
        "job",
        "Processes that the job may have on this machine, spawned ones included.",
        |engine| engine.universe().capacity().into(),
    ),
    constant(
        "shared_range",
        "job",
        "Bytes of the address range for the job's shared memory; pages count when they are used.",
        |engine| engine.universe().heap_len(),
    ),
    constant(
        "collective_inline_bytes",
        "job",
        "Bytes of each rank that travel inside the notice of a blocking collective operation.",
        |_| cells::INLINE as u64,
    ),
];

/// A performance variable that counts while it is started.
const fn counter(
    name: &'static str,
    category: &'static str,
    text: &'static str,
    verbosity: i32,
    count: fn(&Tally) -> u64,
) -> Performance {
    let class = consts::T_PVAR_CLASS_COUNTER;
    Performance { name, category, text, verbosity, class, ty: Type::Number, source: Source::Count(count) }
}

/// A performance variable that is what it is at each moment.
const fn level(
    name: &'static str,
    category: &'static str,
    text: &'static str,
    verbosity: i32,
    look: fn(&Levels) -> u64,
) -> Performance {
    let class = consts::T_PVAR_CLASS_LEVEL;
    Performance { name, category, text, verbosity, class, ty: Type::Number, source: Source::Level(look) }
}

pub(super) const PERFORMANCES: &[Performance] = &[
    counter("sent_eager_messages", "messages", "Messages sent in one record of a ring.", BASIC, |t| {
        t.sent_eager.messages
    }),
    counter("sent_eager_bytes", "messages", "Bytes of the messages sent in one record of a ring.", BASIC, |t| {
        t.sent_eager.bytes
    }),
    counter(
        "sent_late_messages",
        "messages",
        "Messages in one record that had to wait for room in the ring: their receiver was behind.",
        DETAIL,
        |t| t.sent_late,
    ),
    counter("sent_offered_messages", "messages", "Large messages, which the receiver fetches.", BASIC, |t| {
        t.sent_offered.messages
    }),
    counter("sent_offered_bytes", "messages", "Bytes of the large messages, which the receiver fetches.", BASIC, |t| {
        t.sent_offered.bytes
    }),
    counter("sent_to_self_messages", "messages", "Messages of this process to itself.", DETAIL, |t| {
        t.sent_to_self.messages
    }),
    counter("sent_to_self_bytes", "messages", "Bytes of the messages of this process to itself.", DETAIL, |t| {
        t.sent_to_self.bytes
    }),
    level(
        "unexpected_messages",
        "messages",
        "Messages that have arrived and that no receive has asked for yet.",
        BASIC,
        |l| l.unexpected.messages,
    ),
    level(
        "unexpected_bytes",
        "messages",
        "Bytes of the messages that no receive has asked for yet; those of large ones are still at the sender.",
        BASIC,
        |l| l.unexpected.bytes,
    ),
    level("posted_receives", "messages", "Receives that no message has come for yet.", BASIC, |l| l.posted),
    counter(
        "received_by_pipe_messages",
        "copies",
        "Large messages that this process has received through a pipe, which both sides copy.",
        BASIC,
        |t| t.received_by_pipe.messages,
    ),
    counter("received_by_pipe_bytes", "copies", "Bytes of the large messages that came through a pipe.", BASIC, |t| {
        t.received_by_pipe.bytes
    }),
    counter(
        "received_by_single_copy_messages",
        "copies",
        "Large messages that this process has copied alone out of the sender's memory.",
        BASIC,
        |t| t.received_by_single_copy.messages,
    ),
    counter(
        "received_by_single_copy_bytes",
        "copies",
        "Bytes of the large messages that were copied alone out of the sender's memory.",
        BASIC,
        |t| t.received_by_single_copy.bytes,
    ),
    counter(
        "received_by_ring_messages",
        "copies",
        "Large messages that this process has received in pieces through the ring: there was no memory for a pipe.",
        DETAIL,
        |t| t.received_by_ring.messages,
    ),
    counter(
        "received_by_ring_bytes",
        "copies",
        "Bytes of the large messages that came in pieces through the ring.",
        DETAIL,
        |t| t.received_by_ring.bytes,
    ),
    Performance {
        name: "blocked_time",
        category: "waiting",
        text: "Time that threads of this process have spent in waits of blocking calls, after the first looks.",
        verbosity: BASIC,
        class: consts::T_PVAR_CLASS_TIMER,
        ty: Type::Seconds,
        source: Source::Count(|t| t.blocked.as_nanos() as u64),
    },
    counter("sleeps", "waiting", "Times that a thread of this process has gone to sleep in a wait.", BASIC, |t| {
        t.sleeps
    }),
    level("operations", "waiting", "Sends and receives of this process that are not complete.", DETAIL, |l| {
        l.operations
    }),
    level(
        "schedules",
        "waiting",
        "Nonblocking collective and partitioned operations of this process that are not complete.",
        DETAIL,
        |l| l.schedules,
    ),
    level("shared_bytes", "job", "Bytes of the job's shared memory that its processes use.", BASIC, |l| l.shared),
];

pub(super) const CATEGORIES: &[Category] = &[
    Category {
        name: "phalanx",
        text: "Everything about the embedded engine.",
        children: &["messages", "copies", "waiting", "job"],
    },
    Category { name: "messages", text: "Point-to-point messages, and the queues they meet in.", children: &[] },
    Category { name: "copies", text: "How large messages move from one process to another.", children: &[] },
    Category { name: "waiting", text: "How calls wait, and for how much.", children: &[] },
    Category { name: "job", text: "What the processes of a job share.", children: &[] },
];

/// The only enumeration: its name, and its items by value.
pub(super) const SWITCH: (&str, [&str; 2]) = ("switch", ["off", "on"]);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fmt::Write as _;

    use super::*;

    /// The tables of docs/tool.md.
    fn page() -> String {
        let name = |ty: Type| match ty {
            Type::Number => "unsigned long long",
            Type::Switch => "int (off, on)",
            Type::Seconds => "double",
        };
        let mut out =
            String::from("| control variable | category | type | may be set | meaning |\n|---|---|---|---|---|\n");
        for c in CONTROLS {
            let set = if c.write.is_some() { "yes" } else { "no" };
            let _ = writeln!(out, "| `{}` | {} | {} | {set} | {} |", c.name, c.category, name(c.ty), c.text);
        }
        out.push_str("\n| performance variable | category | class | type | meaning |\n|---|---|---|---|---|\n");
        for p in PERFORMANCES {
            let class = match p.class {
                consts::T_PVAR_CLASS_TIMER => "timer",
                consts::T_PVAR_CLASS_LEVEL => "level",
                _ => "counter",
            };
            let _ = writeln!(out, "| `{}` | {} | {class} | {} | {} |", p.name, p.category, name(p.ty), p.text);
        }
        out.push_str("\n| category | in it | meaning |\n|---|---|---|\n");
        for c in CATEGORIES {
            let _ = writeln!(out, "| `{}` | {} | {} |", c.name, c.children.join(", "), c.text);
        }
        out
    }

    #[test]
    fn the_page_of_the_tool_interface_lists_the_variables_of_the_sources() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/tool.md");
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let tables = page();
        assert!(text.contains(&tables), "{path} has other tables than the sources; these belong into it:\n\n{tables}");
    }

    #[test]
    fn names_are_unique_and_every_variable_is_in_a_category_that_exists() {
        let categories: BTreeSet<&str> = CATEGORIES.iter().map(|c| c.name).collect();
        let controls: BTreeSet<&str> = CONTROLS.iter().map(|c| c.name).collect();
        let performances: BTreeSet<&str> = PERFORMANCES.iter().map(|p| p.name).collect();
        assert_eq!((categories.len(), controls.len()), (CATEGORIES.len(), CONTROLS.len()));
        assert_eq!(performances.len(), PERFORMANCES.len());
        let used = CONTROLS.iter().map(|c| c.category).chain(PERFORMANCES.iter().map(|p| p.category));
        let children = CATEGORIES.iter().flat_map(|c| c.children.iter().copied());
        assert!(used.chain(children).all(|name| categories.contains(name)));
    }
}
