//! Numbers that the standard ABI does not have stand in the header for C programs, in the library and in the extension, which has
//! nothing of the library's at compile time: they are the same.

use std::collections::BTreeMap;
use std::path::Path;

fn text(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The error classes of the header: `#define PHALANX_ERR_NAME NUMBER`.
fn of_the_header() -> BTreeMap<String, u32> {
    let header = text("crates/phalanx-mpi/include/phalanx.h");
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        let name = words.next().filter(|word| *word == "#define").and(words.next())?.strip_prefix("PHALANX_")?;
        Some((name.to_owned(), words.next()?.parse().ok()?))
    };
    header.lines().filter_map(of_line).filter(|(name, _)| name.starts_with("ERR_")).collect()
}

/// The error classes of a Rust file that its own constants number: `const ERR_NAME: c_int = NUMBER;`.
fn of_rust(path: &str) -> BTreeMap<String, u32> {
    let source = text(path);
    let of_line = |line: &str| {
        let (_, rest) = line.split_once("const ")?;
        let (name, number) = rest.strip_suffix(';')?.split_once(": c_int = ")?;
        Some((name.to_owned(), number.replace('_', "").parse().ok()?))
    };
    source.lines().filter_map(of_line).filter(|(name, _)| name.starts_with("ERR_")).collect()
}

#[test]
fn error_classes_of_our_own_have_one_number_everywhere() {
    let classes = of_the_header();
    assert!(!classes.is_empty(), "the header has no error classes");
    for path in ["crates/phalanx-mpi/src/numbers.rs", "crates/phalanx-python/src/extras.rs"] {
        assert_eq!(of_rust(path), classes, "{path} and crates/phalanx-mpi/include/phalanx.h");
    }
}
