//! `docs/environment.md` names every environment variable that the sources name.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The quoted names in `text` that begin as ours do, without those of error classes.
fn names(text: &str) -> impl Iterator<Item = String> + '_ {
    text.split('"')
        .filter(|part| {
            part.strip_prefix("PHALANX_")
                .filter(|rest| !rest.starts_with("ERR_"))
                .is_some_and(|rest| rest.len() > 1 && rest.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
        })
        .map(str::to_owned)
}

fn collect(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs" || e == "py") {
            found.extend(names(&fs::read_to_string(&path).unwrap()));
        }
    }
}

#[test]
fn every_variable_of_the_sources_is_on_the_page() {
    let root = root();
    let mut found = BTreeSet::new();
    for entry in fs::read_dir(root.join("crates")).unwrap() {
        collect(&entry.unwrap().path().join("src"), &mut found);
    }
    collect(&root.join("python"), &mut found);
    found.extend(names(&fs::read_to_string(root.join("setup.py")).unwrap()));
    assert!(found.len() > 15, "the search finds the variables at all: {found:?}");

    let page = fs::read_to_string(root.join("docs/environment.md")).unwrap();
    let missing: Vec<_> = found.iter().filter(|name| !page.contains(name.as_str())).collect();
    assert!(missing.is_empty(), "docs/environment.md does not name {missing:?}");
}
