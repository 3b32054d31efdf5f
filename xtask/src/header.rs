//! `mpi.h`: the whole standard ABI as a C header.

use crate::tables::{Abi, Constant};
use std::fmt::Write;

/// Handle types in the order in which the header declares them.
pub const HANDLES: [&str; 12] = [
    "MPI_Comm",
    "MPI_Datatype",
    "MPI_Errhandler",
    "MPI_File",
    "MPI_Group",
    "MPI_Info",
    "MPI_Message",
    "MPI_Op",
    "MPI_Request",
    "MPI_Session",
    "MPI_Win",
    "MPI_T_enum",
];

/// The opaque types of the tool interface that are not handles of the main interface.
const TOOL_HANDLES: [&str; 5] = [
    "MPI_T_cvar_handle",
    "MPI_T_pvar_handle",
    "MPI_T_pvar_session",
    "MPI_T_event_registration",
    "MPI_T_event_instance",
];

const TOP: &str = "\
/* The C interface of MPI 5.0, standard ABI. Generated from abi/ by `cargo xtask gen`: do not edit. */
#ifndef PHALANX_MPI_H
#define PHALANX_MPI_H

#include <stdint.h>

#ifdef __cplusplus
extern \"C\" {
#endif

#if defined(__GNUC__) && __GNUC__ >= 4
#define PHALANX_MPI_API __attribute__((visibility(\"default\")))
#else
#define PHALANX_MPI_API
#endif

/* Integers of the interface. */
typedef intptr_t MPI_Aint;
typedef int64_t MPI_Offset;
typedef int64_t MPI_Count;
typedef int MPI_Fint;

/* What a receive tells: 32 bytes, of which the last five words belong to the library. */
typedef struct {
    int MPI_SOURCE;
    int MPI_TAG;
    int MPI_ERROR;
    int MPI_internal[5];
} MPI_Status;
";

const FORTRAN_STATUS: &str = "
/* The layout of a status in Fortran. */
typedef struct {
    MPI_Fint MPI_SOURCE;
    MPI_Fint MPI_TAG;
    MPI_Fint MPI_ERROR;
    MPI_Fint MPI_internal[5];
} MPI_F08_status;
";

const BOTTOM: &str = "
#ifdef __cplusplus
}
#endif

#endif /* PHALANX_MPI_H */
";

/// The text of the header.
pub fn write(abi: &Abi) -> String {
    let mut out = String::from(TOP);
    out.push_str(FORTRAN_STATUS);
    out.push_str("\n/* Handles: pointers to types that are never complete. */\n");
    for handle in HANDLES.iter().chain(&TOOL_HANDLES) {
        let tag = handle.replacen("MPI_", "MPI_ABI_", 1);
        let _ = writeln!(out, "typedef struct {tag} *{handle};");
    }
    // Callback types use these two, so they come first.
    for kind in ["MPI_T_cb_safety", "MPI_T_source_order"] {
        let _ = writeln!(out, "\ntypedef enum {{");
        let prefix = if kind == "MPI_T_cb_safety" { "MPI_T_CB_" } else { "MPI_T_SOURCE_" };
        let members: Vec<&Constant> = abi.constants.iter().filter(|c| c.name.starts_with(prefix)).collect();
        for (i, c) in members.iter().enumerate() {
            let comma = if i + 1 == members.len() { "" } else { "," };
            let _ = writeln!(out, "    {} = {}{comma}", c.name, c.value);
        }
        let _ = writeln!(out, "}} {kind};");
    }
    out.push_str("\n/* Callbacks. */\n");
    for c in &abi.callbacks {
        let _ = writeln!(out, "typedef {} ({})({});", c.returns, c.name, c.parameters);
    }
    out.push_str("typedef MPI_Comm_errhandler_function MPI_Comm_errhandler_fn;\n");
    out.push_str("typedef MPI_File_errhandler_function MPI_File_errhandler_fn;\n");
    out.push_str("typedef MPI_Win_errhandler_function MPI_Win_errhandler_fn;\n");
    out.push_str("typedef MPI_Session_errhandler_function MPI_Session_errhandler_fn;\n");
    out.push_str("\n/* Constants. */\n");
    for c in abi.constants.iter().filter(|c| !is_enum_member(&c.name)) {
        let _ = writeln!(out, "#define {:<34} {}", c.name, literal(c));
    }
    for prefix in ["MPI_", "PMPI_"] {
        let _ = writeln!(
            out,
            "\n/* Functions{}. */",
            if prefix == "MPI_" { "" } else { ", as the profiling interface names them" }
        );
        for f in &abi.functions {
            let name = f.name.replacen("MPI_", prefix, 1);
            let space = if f.returns.ends_with('*') { "" } else { " " };
            let _ = writeln!(out, "PHALANX_MPI_API {}{space}{name}({});", f.returns, f.parameters);
        }
    }
    out.push_str(BOTTOM);
    out
}

fn is_enum_member(name: &str) -> bool {
    name.starts_with("MPI_T_CB_") || name.starts_with("MPI_T_SOURCE_")
}

/// A constant's replacement text.
fn literal(c: &Constant) -> String {
    match c.kind.as_str() {
        "int" if c.value < 0 => format!("({})", c.value),
        "int" => c.value.to_string(),
        "MPI_Offset" => format!("((MPI_Offset){})", c.value),
        kind if kind.ends_with('*') => {
            let (base, stars) = kind.split_at(kind.find('*').unwrap_or(kind.len()));
            format!("(({base} {stars}){})", c.value)
        }
        kind => format!("(({kind})0x{:03x})", c.value),
    }
}
