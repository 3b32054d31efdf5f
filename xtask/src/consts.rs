//! `consts.rs`: the constants of the C surface, as Rust.

use crate::tables::Abi;
use std::fmt::Write;

/// The text of `consts.rs`.
pub fn write(abi: &Abi) -> String {
    let mut out = String::from(
        "//! The constants of the standard ABI. Generated from `abi/constants.tsv` by `cargo xtask gen`: do not edit.\n\
         //!\n//! Handles and addresses are given as integers of the size of a pointer.\n\
         #![expect(dead_code, reason = \"the table is complete, whatever the chapters use\")]\n\n",
    );
    for c in &abi.constants {
        let short = c.name.strip_prefix("MPI_").unwrap_or(&c.name);
        let short =
            if short.starts_with(|ch: char| ch.is_ascii_digit()) { format!("TYPE_{short}") } else { short.to_string() };
        let kind = match c.kind.as_str() {
            "int" => "i32",
            "MPI_Offset" => "i64",
            _ => "usize",
        };
        let _ = writeln!(out, "/// `{}`.\npub(crate) const {short}: {kind} = {};", c.name, c.value);
    }
    // What is looked up by name or searched.
    out.push_str(
        "\n/// Error classes by number, with their names.\npub(crate) const ERROR_CLASSES: &[(i32, &str)] = &[\n",
    );
    for c in abi.constants.iter().filter(|c| is_class(&c.name)) {
        let _ = writeln!(out, "    ({}, \"{}\"),", c.value, c.name);
    }
    out.push_str("];\n");
    for (table, kind, what) in [("DATATYPES", "MPI_Datatype", "Datatypes"), ("OPERATIONS", "MPI_Op", "Operations")] {
        let _ = writeln!(
            out,
            "\n/// {what} by handle, with their names; some have two.\npub(crate) const {table}: &[(usize, &str)] = &["
        );
        for c in abi.constants.iter().filter(|c| c.kind == kind && !c.name.ends_with("_NULL")) {
            let _ = writeln!(out, "    ({}, \"{}\"),", c.value, c.name);
        }
        out.push_str("];\n");
    }
    out
}

fn is_class(name: &str) -> bool {
    name == "MPI_SUCCESS"
        || ((name.starts_with("MPI_ERR_") || name.starts_with("MPI_T_ERR_")) && name != "MPI_ERR_LASTCODE")
}
