//! `libmpi.pxd`: the standard ABI for Cython code, by the names that `from mpi4py cimport libmpi` gives.

use crate::header::HANDLES;
use crate::tables::Abi;
use std::fmt::Write;

const TOP: &str = "\
# The C interface of MPI 5.0, standard ABI, for Cython.
# Generated from abi/ by `cargo xtask gen`: do not edit.

cdef extern from \"mpi.h\" nogil:

    ctypedef Py_ssize_t MPI_Aint
    ctypedef long long MPI_Offset
    ctypedef long long MPI_Count
    ctypedef int MPI_Fint

    ctypedef struct MPI_Status:
        int MPI_SOURCE
        int MPI_TAG
        int MPI_ERROR

    ctypedef struct MPI_F08_status:
        MPI_Fint MPI_SOURCE
        MPI_Fint MPI_TAG
        MPI_Fint MPI_ERROR

";

/// The text of the file. The tool interface is left out: few use it, and none of them from Cython.
pub fn write(abi: &Abi) -> String {
    let mut out = String::from(TOP);
    for handle in HANDLES.iter().filter(|name| !is_of_tools(name)) {
        let tag = handle.replacen("MPI_", "MPI_ABI_", 1);
        let _ = writeln!(out, "    struct {tag}:\n        pass\n    ctypedef {tag} *{handle}");
    }
    out.push('\n');
    for c in abi.callbacks.iter().filter(|c| !is_of_tools(&c.name)) {
        let _ = writeln!(out, "    ctypedef {} {}({})", c.returns, c.name, types(&c.parameters));
    }
    for kind in ["Comm", "File", "Win", "Session"] {
        let _ = writeln!(out, "    ctypedef MPI_{kind}_errhandler_function MPI_{kind}_errhandler_fn");
    }
    out.push('\n');
    for c in abi.constants.iter().filter(|c| !is_of_tools(&c.name)) {
        let _ = match c.kind.as_str() {
            "int" => writeln!(out, "    enum: {}", c.name),
            kind => writeln!(out, "    {kind} {}", c.name),
        };
    }
    out.push('\n');
    for f in abi.functions.iter().filter(|f| !is_of_tools(&f.name)) {
        let _ = writeln!(out, "    {} {}({})", f.returns, f.name, types(&f.parameters));
    }
    out
}

fn is_of_tools(name: &str) -> bool {
    name.starts_with("MPI_T_")
}

/// The parameters without their names, some of which are words of Python.
fn types(parameters: &str) -> String {
    if parameters.trim() == "void" {
        return String::new();
    }
    parameters.split(',').map(|parameter| type_of(parameter.trim())).collect::<Vec<_>>().join(", ")
}

fn type_of(parameter: &str) -> String {
    let (named, brackets) = parameter.split_at(parameter.find('[').unwrap_or(parameter.len()));
    let base = named.trim_end_matches(|c: char| c.is_alphanumeric() || c == '_').trim_end();
    // An ellipsis has no name to take off.
    let base = if base.is_empty() { named } else { base };
    match brackets {
        "" => base.to_owned(),
        "[]" => format!("{base} *"),
        more => format!("{base}{more}"),
    }
}
