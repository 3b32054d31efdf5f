//! Every `SYNC POINT label` in the sources has both of its sides.
//!
//! A place is of the side that the code below its comment is of: the memory ordering of the first atomic operation or
//! fence there. A read-modify-write may be of both (AcqRel, SeqCst); a SeqCst fence is of the side that its comment
//! names ("acquire side", "release side"), and of none when it names none.
#![cfg(not(loom))]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// Places of one label, by side.
#[derive(Debug, Default)]
struct Sides {
    acquire: Vec<String>,
    release: Vec<String>,
    /// No side to be found.
    other: Vec<String>,
}

/// Lines of code below a comment in which its operation is looked for.
const REACH: usize = 12;

/// Which sides the operation below line `at` is of.
fn sides(lines: &[&str], at: usize) -> (bool, bool) {
    let is_comment = |line: &str| line.trim_start().starts_with("//");
    let comment: String = lines[at..]
        .iter()
        .take_while(|line| is_comment(line))
        .map(|line| line.trim_start().trim_start_matches('/'))
        .collect();
    if let Some(named) = ["acquire side", "release side"].iter().find(|side| comment.contains(**side)) {
        return (*named == "acquire side", *named == "release side");
    }
    for line in lines[at..].iter().skip_while(|line| is_comment(line)).filter(|line| !is_comment(line)).take(REACH) {
        // The first ordering of a compare-and-swap is the one of its success.
        let found = ["AcqRel", "SeqCst", "Acquire", "Release"]
            .into_iter()
            .filter_map(|ordering| line.find(&format!("Ordering::{ordering}")).map(|column| (column, ordering)))
            .min();
        match found {
            Some((_, "Acquire")) => return (true, false),
            Some((_, "Release")) => return (false, true),
            Some(_) if line.contains("fence(") => return (false, false),
            Some(_) => return (!line.contains(".store("), !line.contains(".load(")),
            None => {}
        }
    }
    (false, false)
}

fn labels(folder: &Path, found: &mut BTreeMap<String, Sides>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            labels(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = fs::read_to_string(&path)?;
            let lines: Vec<&str> = text.lines().collect();
            for (n, line) in lines.iter().enumerate() {
                for rest in line.split("SYNC POINT ").skip(1) {
                    let label: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
                    // What comes after a blank would belong to no label.
                    assert!(!rest[label.len()..].starts_with(' '), "a label is one word: {rest}");
                    let place = format!("{}:{}", path.display(), n + 1);
                    // Documentation of modules and items tells of labels that are elsewhere.
                    let prose = ["///", "//!"].iter().any(|doc| line.trim_start().starts_with(doc));
                    if prose {
                        continue;
                    }
                    let (acquire, release) = sides(&lines, n);
                    let sides_of = found.entry(label).or_default();
                    if acquire {
                        sides_of.acquire.push(place.clone());
                    }
                    if release {
                        sides_of.release.push(place.clone());
                    }
                    if !acquire && !release {
                        sides_of.other.push(place);
                    }
                }
            }
        }
    }
    Ok(())
}

/// The sources of this crate and of the engine, which has protocols of its own in the memory that this crate gives it.
fn sources() -> [PathBuf; 2] {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    [here.join("src"), here.join("../phalanx-engine/src")]
}

#[test]
fn every_label_has_an_acquire_and_a_release_side() {
    let mut found = BTreeMap::new();
    for folder in sources() {
        labels(&folder, &mut found).unwrap();
    }
    assert!(found.len() >= 8, "the labels have disappeared: {found:?}");
    let unclear: Vec<_> = found.values().flat_map(|sides| &sides.other).collect();
    assert!(unclear.is_empty(), "of neither side: {unclear:#?}");
    let lonely: Vec<_> =
        found.iter().filter(|(_, sides)| sides.acquire.is_empty() || sides.release.is_empty()).collect();
    assert!(lonely.is_empty(), "one side only: {lonely:#?}");
    let places: usize = found.values().map(|sides| sides.acquire.len() + sides.release.len()).sum();
    println!("{} labels, {places} places", found.len());
}

#[test]
fn the_side_of_a_place_is_read_from_the_code_below_it() {
    let side = |text: &str| sides(&text.lines().collect::<Vec<_>>(), 0);
    let place = |code: &str| side(&format!("// SYNC POINT x: a reason that\n// goes on.\nlet a = 1;\n{code}"));
    assert_eq!(place("word.load(Ordering::Acquire)"), (true, false));
    assert_eq!(place("word.store(1, Ordering::Release)"), (false, true));
    assert_eq!(place("word.swap(1, Ordering::AcqRel)"), (true, true));
    assert_eq!(place("word.compare_exchange(0, 1, Ordering::Release, Ordering::Acquire)"), (false, true));
    assert_eq!(place("word.load(Ordering::SeqCst)"), (true, false));
    assert_eq!(place("fence(Ordering::SeqCst)"), (false, false));
    assert_eq!(place("word.load(Ordering::Relaxed)"), (false, false));
    assert_eq!(side("// SYNC POINT x: release side, of a fence.\nfence(Ordering::SeqCst);"), (false, true));
}
