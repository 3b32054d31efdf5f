//! The page as a whole: whatever the trace, it is one valid page that loads nothing.

use std::fs;

use phalanx_trace::{Call, Class, End, Message, Place, PlaceId, Rank, Trace, report};
use proptest::collection::vec;
use proptest::option::of;
use proptest::prelude::*;

const CLASSES: [Class; 6] =
    [Class::PointToPoint, Class::Completion, Class::Collective, Class::OneSided, Class::File, Class::Management];
const NAMES: [&str; 12] = [
    "MPI_Send",
    "MPI_Isend",
    "MPI_Recv",
    "MPI_Waitall",
    "MPI_Allreduce",
    "MPI_Bcast",
    "MPI_Barrier",
    "MPI_Iprobe",
    "MPI_Comm_split",
    "MPI_File_write_at",
    "MPI_Finalize",
    "",
];

/// Times that are close to each other, and some that cannot be.
fn time() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..2_000_000_000u64, 1 => Just(u64::MAX), 1 => any::<u64>()]
}

fn small_or_any() -> impl Strategy<Value = u32> {
    prop_oneof![8 => 0..6u32, 1 => any::<u32>()]
}

fn call() -> impl Strategy<Value = Call> {
    let when = (0..3u32, time(), time(), time());
    let what = (0..NAMES.len(), 0..CLASSES.len(), any::<bool>(), of(small_or_any()), of(".{0,8}"), of(0..3u64));
    let with = (of(small_or_any()), of(any::<i32>()), of(prop_oneof![0..100u64, any::<u64>()]));
    (when, what, with).prop_map(|((thread, began_ns, ended_ns, waited_ns), what, (peer, tag, bytes))| {
        let (name, class, returned, place, object, context) = what;
        Call {
            thread,
            name: NAMES[name],
            class: CLASSES[class],
            began_ns,
            ended_ns,
            waited_ns,
            returned,
            place: place.map(PlaceId),
            object,
            context,
            peer,
            tag,
            bytes,
        }
    })
}

fn rank() -> impl Strategy<Value = Rank> {
    let end = of(".{0,12}").prop_map(|how| how.map_or(End::Well, End::Badly));
    (".{0,12}", any::<u32>(), vec(call(), 0..30), prop_oneof![Just(0), any::<u64>()], end)
        .prop_map(|(name, pid, calls, lost, end)| Rank { name, pid, calls, lost, end })
}

fn message() -> impl Strategy<Value = Message> {
    let ends = (small_or_any(), small_or_any(), of(small_or_any()), of(small_or_any()));
    (ends, any::<i32>(), any::<u64>(), time(), time()).prop_map(|(ends, tag, bytes, sent_ns, received_ns)| {
        let (from, to, send_call, receive_call) = ends;
        Message { from, to, tag, bytes, sent_ns, received_ns, send_call, receive_call }
    })
}

fn trace() -> impl Strategy<Value = Trace> {
    let place = (".{0,12}", small_or_any(), ".{0,8}").prop_map(|(file, line, function)| Place { file, line, function });
    let head = (vec(".{0,8}", 0..3), ".{0,8}", 0..4u32, any::<u64>(), time());
    (head, vec(rank(), 0..5), vec(message(), 0..30), vec(place, 0..4)).prop_map(|(head, ranks, messages, places)| {
        let (command, host, cpus, began_unix_ns, lasted_ns) = head;
        Trace { command, host, cpus, began_unix_ns, lasted_ns, ranks, messages, places }
    })
}

/// A job like many: a loop of messages and reductions on two ranks.
fn ordinary() -> Trace {
    let mut trace = Trace {
        command: vec!["python3".to_owned(), "solver.py".to_owned()],
        host: "node".to_owned(),
        cpus: 2,
        began_unix_ns: 1_795_964_645_000_000_000,
        lasted_ns: 100_000_000,
        places: vec![Place { file: "solver.py".to_owned(), line: 3, function: "step".to_owned() }],
        ..Trace::default()
    };
    for r in 0..2 {
        let calls = (0..10u64).map(|i| Call {
            thread: 0,
            name: "MPI_Allreduce",
            class: Class::Collective,
            began_ns: i * 1_000_000,
            ended_ns: i * 1_000_000 + 5_000,
            waited_ns: 100,
            returned: true,
            place: Some(PlaceId(0)),
            object: Some("MPI_COMM_WORLD".to_owned()),
            context: Some(1),
            peer: None,
            tag: None,
            bytes: Some(8),
        });
        trace.ranks.push(Rank { name: format!("rank {r}"), calls: calls.collect(), ..Rank::default() });
    }
    trace.messages.push(Message {
        from: 0,
        to: 1,
        tag: 3,
        bytes: 800,
        sent_ns: 10,
        received_ns: 50,
        send_call: None,
        receive_call: None,
    });
    trace
}

/// What the page's script is given.
fn data(page: &str) -> serde_json::Value {
    let begin = "<script type=\"application/json\" id=\"data\">";
    let from = page.find(begin).expect("data") + begin.len();
    let to = from + page[from..].find("</script>").expect("an end of the data");
    serde_json::from_str(&page[from..to]).expect("JSON")
}

/// Follows the tags of a page as a parser does that is less forgiving than browsers: every element that is opened is
/// closed, in order; attributes are quoted. Gives how many elements there were.
fn elements(page: &str) -> usize {
    const VOID: [&str; 4] = ["meta", "input", "br", "link"];
    let mut open: Vec<&str> = Vec::new();
    let mut count = 0;
    let mut rest = page;
    while let Some(at) = rest.find('<') {
        assert!(!rest[..at].contains('>') || matches!(open.last(), Some(&("style" | "script"))), "a stray '>'");
        rest = &rest[at + 1..];
        if rest.starts_with("!doctype") {
            rest = &rest[rest.find('>').expect("an end of the doctype") + 1..];
            continue;
        }
        if let Some(closing) = rest.strip_prefix('/') {
            let end = closing.find('>').expect("an end of the tag");
            assert_eq!(open.pop(), Some(&closing[..end]), "closed in order");
            rest = &closing[end + 1..];
            continue;
        }
        let name_end = rest.find(|c: char| !c.is_ascii_alphanumeric()).expect("an end of the name");
        let name = &rest[..name_end];
        assert!(!name.is_empty(), "a '<' that begins no tag: {}", &rest[..rest.len().min(40)]);
        count += 1;
        // To the end of the tag, past quoted values.
        let mut quoted = false;
        let end = rest.find(|c| {
            quoted ^= c == '"';
            c == '>' && !quoted
        });
        let end = end.expect("an end of the tag");
        let closed = rest[..end].ends_with('/');
        rest = &rest[end + 1..];
        if name == "style" || name == "script" {
            let close = format!("</{name}>");
            let end = rest.find(&close).expect("an end of the raw text");
            rest = &rest[end + close.len()..];
        } else if !closed && !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert_eq!(open, [""; 0], "elements that are not closed");
    count
}

#[test]
fn the_page_loads_nothing() {
    let page = report::page(&ordinary()).expect("a page");
    for way in
        ["http:", "https:", "src=", "href=", "url(", "@import", "fetch(", "XMLHttpRequest", "import(", "WebSocket"]
    {
        assert!(!page.contains(way), "the page has '{way}'");
    }
    let head = page.split_once("</head>").expect("a head").0;
    assert!(head.contains("default-src 'none'"), "and is forbidden to");
    assert_eq!(page.matches("<meta http-equiv").count(), 1);
}

#[test]
fn the_page_is_html_with_the_job_in_it() {
    let page = report::page(&ordinary()).expect("a page");
    assert!(page.starts_with("<!doctype html>") && elements(&page) > 50);
    for text in ["<h1>solver.py</h1>", "Nothing stands out.", "rank 1", "2026-11-29 15:04:05 UTC", "solver.py:3"] {
        assert!(page.contains(text), "no '{text}'");
    }
    assert_eq!(data(&page)["pairs"][0]["bytes"], 800);
}

#[test]
fn names_cannot_become_part_of_the_page() {
    let wild = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> \" ' & \u{2028}";
    let mut trace = ordinary();
    let plain = report::page(&trace).expect("a page");
    trace.command = vec![wild.to_owned()];
    trace.host = wild.to_owned();
    trace.ranks[0].name = wild.to_owned();
    trace.ranks[1].end = End::Badly(wild.to_owned());
    trace.places[0] = Place { file: wild.to_owned(), line: 3, function: wild.to_owned() };
    trace.ranks.iter_mut().flat_map(|r| &mut r.calls).for_each(|c| c.object = Some(wild.to_owned()));
    let page = report::page(&trace).expect("a page");
    let count = |page: &str, text| page.matches(text).count();
    assert_eq!(count(&page, "<script"), count(&plain, "<script"));
    assert_eq!(count(&page, "</script"), count(&plain, "</script"));
    assert_eq!(count(&page, "<img"), 0);
    assert_eq!(count(&page, "<!--"), 0);
    elements(&page);
    let data = data(&page);
    assert_eq!(data["timeline"]["ranks"][0]["name"], wild);
    assert_eq!(data["timeline"]["places"][0][0], wild);
    assert_eq!(data["timeline"]["objects"][0], wild);
}

#[test]
fn large_traces_make_pages_of_a_few_megabytes_that_say_what_is_missing() {
    let mut trace = ordinary();
    let (call, message) = (trace.ranks[0].calls[0].clone(), trace.messages[0].clone());
    for rank in &mut trace.ranks {
        let at =
            |i: u64| Call { began_ns: i * 9_973, ended_ns: i * 9_973 + 5_000, tag: Some(i as i32), ..call.clone() };
        rank.calls = (0..150_000).map(at).collect();
    }
    let at = |i: u64| Message { sent_ns: i * 9_973, received_ns: i * 9_973 + 5_000, bytes: i, ..message.clone() };
    trace.messages = (0..150_000).map(at).collect();
    let page = report::page(&trace).expect("a page");
    assert!(page.len() < 6 << 20, "{} bytes", page.len());
    assert!(page.contains("The timeline draws calls shorter than") && page.contains("The timeline leaves out"));
    assert!(page.contains("<dd>300,000</dd>"), "all calls are counted");
}

#[test]
fn a_page_is_written_and_what_cannot_be_written_is_told() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let path = folder.join("report.html");
    report::write(&ordinary(), &path).expect("written");
    assert_eq!(fs::read_to_string(&path).expect("read"), report::page(&ordinary()).expect("a page"));
    let path = folder.join("there is no such folder/report.html");
    let error = report::write(&ordinary(), &path).expect_err("no folder").to_string();
    assert!(error.contains("cannot write the report to") && error.contains("No such file"), "{error}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_trace_makes_a_valid_page(trace in trace()) {
        let page = report::page(&trace).expect("a page");
        elements(&page);
        let data = data(&page);
        prop_assert_eq!(data["timeline"]["ranks"].as_array().map(Vec::len), Some(trace.ranks.len()));
    }
}
