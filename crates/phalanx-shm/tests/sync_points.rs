//! Every `SYNC POINT label` in the sources has both of its sides.
#![cfg(not(loom))]

use std::collections::BTreeMap;
use std::path::Path;
use std::{fs, io};

fn labels(folder: &Path, found: &mut BTreeMap<String, Vec<String>>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            labels(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            for (n, line) in fs::read_to_string(&path)?.lines().enumerate() {
                for rest in line.split("SYNC POINT ").skip(1) {
                    let label: String = rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
                    // What comes after a blank would belong to no label.
                    assert!(!rest[label.len()..].starts_with(' '), "a label is one word: {rest}");
                    let place = format!("{}:{}", path.display(), n + 1);
                    found.entry(label).or_default().push(place);
                }
            }
        }
    }
    Ok(())
}

#[test]
fn every_label_has_two_sides() {
    let mut found = BTreeMap::new();
    labels(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found).unwrap();
    assert!(found.len() >= 8, "the labels have disappeared: {found:?}");
    let lonely: Vec<_> = found.iter().filter(|(_, places)| places.len() < 2).collect();
    assert!(lonely.is_empty(), "one side only: {lonely:?}");
    println!("{} labels, {} places", found.len(), found.values().map(Vec::len).sum::<usize>());
}
