//! Which functions have a body: read from the `#[mpi_entry(..)]` attributes of the C surface.

use std::collections::BTreeSet;
use std::path::Path;

/// The names of all functions that some `#[mpi_entry(..)]` in `folder` writes.
pub fn scan(folder: &Path) -> Result<BTreeSet<String>, String> {
    let mut found = BTreeSet::new();
    visit(folder, &mut found)?;
    Ok(found)
}

fn visit(folder: &Path, found: &mut BTreeSet<String>) -> Result<(), String> {
    let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        if path.is_dir() {
            visit(&path, found)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
            for name in entries_of(&text) {
                if !found.insert(name.clone()) {
                    return Err(format!("{}: {name} has two bodies", path.display()));
                }
            }
        }
    }
    Ok(())
}

/// The functions that the attributes in one file's text write: `#[mpi_entry(NAME)]`, with `NAME | NAME` for the forms of an
/// operation, and `poly` after them for the `_c` twins as well.
fn entries_of(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for line in text.lines().map(str::trim_start) {
        let Some(rest) = line.strip_prefix("#[mpi_entry(") else {
            continue;
        };
        let Some(arguments) = rest.split(')').next() else {
            continue;
        };
        let mut words = arguments.split(',').map(str::trim);
        let names = words.next().unwrap_or_default();
        let poly = words.any(|word| word == "poly");
        // Functions beyond the standard are exported too, but are not part of its tables.
        for name in names.split('|').map(str::trim).filter(|name| name.starts_with("MPI_")) {
            found.push(name.to_string());
            if poly {
                found.push(format!("{name}_c"));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::entries_of;

    #[test]
    fn poly_entries_count_twice() {
        let text =
            "#[mpi_entry(MPI_Send, poly)]\nfn send() {}\n    #[mpi_entry(MPI_Barrier)]\n// #[mpi_entry(MPI_X)]\n";
        assert_eq!(entries_of(text), ["MPI_Send", "MPI_Send_c", "MPI_Barrier"]);
    }

    #[test]
    fn every_form_of_an_operation_counts() {
        let names = ["MPI_Bcast", "MPI_Bcast_c", "MPI_Ibcast", "MPI_Ibcast_c"];
        assert_eq!(entries_of("#[mpi_entry(MPI_Bcast | MPI_Ibcast, poly)]"), names);
    }
}
