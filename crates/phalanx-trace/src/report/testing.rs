//! Small traces made by hand.

use crate::{Call, Class, End, Message, Place, Rank, Trace};

/// A trace of `n` ranks that did nothing.
pub(crate) fn ranks(n: u32) -> Trace {
    let rank = |r| Rank { name: format!("rank {r}"), pid: 100 + r, calls: Vec::new(), lost: 0, end: End::Well };
    Trace { command: vec!["job.py".to_owned()], ranks: (0..n).map(rank).collect(), ..Trace::default() }
}

/// Gives the trace these lines, as `file:line`.
pub(crate) fn places(trace: &mut Trace, names: &[&str]) {
    for name in names {
        let (file, line) = name.rsplit_once(':').expect("a colon");
        let line = line.parse().expect("a number");
        trace.places.push(Place { file: file.to_owned(), line, function: "main".to_owned() });
    }
}

pub(crate) fn call(name: &'static str, class: Class, began_ns: u64, ended_ns: u64, waited_ns: u64) -> Call {
    Call {
        thread: 0,
        name,
        class,
        began_ns,
        ended_ns,
        waited_ns,
        returned: true,
        place: None,
        object: None,
        context: None,
        peer: None,
        tag: None,
        bytes: None,
    }
}

pub(crate) fn message(from: u32, to: u32, bytes: u64, sent_ns: u64, received_ns: u64) -> Message {
    Message { from, to, tag: 0, bytes, sent_ns, received_ns, send_call: None, receive_call: None }
}
