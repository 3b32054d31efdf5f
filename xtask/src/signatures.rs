//! Compares what each body takes, in both widths, with the standard's table.
//!
//! The C functions are written from the types of a body's parameters, so a wrong type there is a wrong function: it compiles,
//! and reads an array of `MPI_Aint` as one of `int`.

use crate::implemented::{Bodies, Entry};
use crate::tables::Abi;

/// 64-bit integers, which the ABI makes equal.
const WIDE: &[&str] = &["MPI_Count", "MPI_Offset", "MPI_Aint"];

/// Fails for the first body whose parameters are not those of its function.
pub fn check(abi: &Abi, bodies: &Bodies) -> Result<(), String> {
    for (name, entry) in &bodies.standard {
        let Some(function) = abi.functions.iter().find(|f| f.name == *name) else {
            return Err(format!("#[mpi_entry({name})] names a function that abi/functions.tsv does not have"));
        };
        compare(name, entry, &c_types(&function.parameters))?;
    }
    Ok(())
}

fn compare(name: &str, entry: &Entry, expected: &[String]) -> Result<(), String> {
    // The end of a split operation has arguments of its own: the file, the buffer and the status.
    if entry.forms && name.ends_with("_end") {
        let own = expected.iter().map(String::as_str).eq(["MPI_File", "void*", "MPI_Status*"]);
        return if own { Ok(()) } else { Err(format!("{name} does not end a split operation: {expected:?}")) };
    }
    let taken = entry.parameters.len();
    if taken > expected.len() {
        return Err(format!("{name} takes {} arguments, but its body {taken}", expected.len()));
    }
    for (number, (rust, c)) in entry.parameters.iter().zip(expected).enumerate() {
        if !fits(rust, c, entry.large)? {
            let place = number + 1;
            return Err(format!("argument {place} of {name} is `{c}`, but its body takes `{rust}`"));
        }
    }
    let added: Vec<&str> = expected[taken..].iter().map(String::as_str).collect();
    let form = match added[..] {
        [] => true,
        ["MPI_Request*"] | ["MPI_Info", "MPI_Request*"] | ["MPI_Status*"] => entry.forms,
        _ => false,
    };
    if form { Ok(()) } else { Err(format!("{name} also takes {added:?}, which neither its body nor its form does")) }
}

/// Whether a parameter of a Rust type is passed as a C type says.
fn fits(rust: &str, c: &str, large: bool) -> Result<bool, String> {
    if let Some(inner) = rust.strip_suffix('>') {
        let (outer, inner) = inner.split_once('<').unwrap_or((inner, ""));
        if !["In", "Out", "OutArray", "InOutHandle"].contains(&outer) {
            return Err(unknown(rust));
        }
        if outer == "In" && inner == "[c_int]" {
            return Ok(c == "int*[3]");
        }
        // An address that is given back, or an array of addresses.
        if ["usize", "*c_void"].contains(&inner) {
            return Ok(c == "void*" || c.ends_with("**"));
        }
        return match c.strip_suffix('*') {
            Some(pointed) => fits(inner, pointed, large),
            None => Ok(false),
        };
    }
    let number = if large { "MPI_Count" } else { "int" };
    Ok(match rust {
        "c_int" => ["int", "MPI_T_cb_safety"].contains(&c),
        "u8" => c == "char",
        "i64" | "isize" => WIDE.contains(&c),
        "Count" => c == number,
        // Displacements and their units are `MPI_Aint` in the large functions.
        "Number" => c == number || (large && c == "MPI_Aint"),
        "CountOut" => c.strip_suffix('*').is_some_and(|c| c == number || (large && c == "MPI_Aint")),
        "Numbers" => c.strip_suffix('*').is_some_and(|c| c == number || (large && c == "MPI_Aint")),
        "Bytes" => c == if large { "MPI_Count" } else { "MPI_Aint" },
        // A parameter of a function type is an address, too.
        "Address" => c.ends_with('*') || c.starts_with("MPI_T_event_"),
        "SendPtr" | "RecvPtr" => c == "void*",
        "FileName" | "Text" | "TextOut" => c == "char*",
        "TextList" => c == "char**",
        "StatusIn" | "StatusOut" | "StatusesOut" => c == "MPI_Status*",
        "NewType" => c == "MPI_Datatype*",
        "Handles" => c == "MPI_Request*",
        "TypeRef" | "PeerType" | "RawType" => c == "MPI_Datatype",
        "CommRef" | "OpeningComm" | "RawComm" => c == "MPI_Comm",
        "GroupRef" | "RawGroup" => c == "MPI_Group",
        "InfoRef" | "RealInfo" | "RawInfo" => c == "MPI_Info",
        "OpRef" | "RawOp" => c == "MPI_Op",
        "WinRef" | "RawWin" => c == "MPI_Win",
        "FileRef" | "RawFile" => c == "MPI_File",
        "RawErrhandler" => c == "MPI_Errhandler",
        "RawMessage" => c == "MPI_Message",
        "RawRequest" => c == "MPI_Request",
        "RawSession" => c == "MPI_Session",
        "RawEnum" => c == "MPI_T_enum",
        "RawControl" => c == "MPI_T_cvar_handle",
        "RawPerformanceSession" => c == "MPI_T_pvar_session",
        "RawPerformance" => c == "MPI_T_pvar_handle",
        _ => return Err(unknown(rust)),
    })
}

fn unknown(rust: &str) -> String {
    format!("`{rust}` is not in the table of xtask/src/signatures.rs: say there what C passes for it")
}

/// The types of a C parameter list, without names, `const` and spaces; an array is a pointer.
fn c_types(parameters: &str) -> Vec<String> {
    let parameters = parameters.trim();
    if parameters.is_empty() || parameters == "void" {
        return Vec::new();
    }
    // What is variable has no type to compare.
    parameters.split(',').filter(|p| p.trim() != "...").map(c_type).collect()
}

fn c_type(parameter: &str) -> String {
    let (declared, dimensions) = parameter.split_once('[').map_or((parameter, 0), |(before, after)| {
        let more = after.matches('[').count();
        (before, 1 + more)
    });
    let declared = declared.trim();
    let name = declared.rfind(|c: char| !c.is_ascii_alphanumeric() && c != '_').map_or(0, |at| at + 1);
    // A parameter without a name has its type last: `void *`.
    let ty = if declared[..name].trim().is_empty() { declared } else { &declared[..name] };
    let words = ty.split_whitespace().filter(|word| *word != "const");
    let stars = if dimensions > 0 { "*" } else { "" };
    // The only arrays of arrays are those of ranges.
    let inner = if dimensions > 1 { "[3]" } else { "" };
    format!("{}{stars}{inner}", words.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::{c_types, compare};
    use crate::implemented::Entry;

    fn taking(parameters: &[&str], large: bool, forms: bool) -> Entry {
        Entry { parameters: parameters.iter().map(|p| (*p).to_string()).collect(), large, forms }
    }

    #[test]
    fn c_lists_come_to_types() {
        let list = "const void *buf, int count, const int displs[], int ranges[][3], char ***argv, MPI_Comm comm";
        assert_eq!(c_types(list), ["void*", "int", "int*", "int*[3]", "char***", "MPI_Comm"]);
        assert!(c_types("void").is_empty());
    }

    #[test]
    fn an_array_of_another_width_is_refused() {
        // The displacements of MPI_Neighbor_alltoallw are addresses in the plain function already, those of MPI_Alltoallw are not.
        let displacements = c_types("const MPI_Aint sdispls[]");
        assert!(compare("MPI_X", &taking(&["Numbers"], false, false), &displacements).is_err());
        assert!(compare("MPI_X_c", &taking(&["Numbers"], true, false), &displacements).is_ok());
        assert!(compare("MPI_X", &taking(&["In<isize>"], false, false), &displacements).is_ok());
    }

    #[test]
    fn a_form_adds_its_own_arguments_and_no_others() {
        let list = c_types("void *buffer, int count, MPI_Info info, MPI_Request *request");
        assert!(compare("MPI_X_init", &taking(&["RecvPtr", "Number"], false, true), &list).is_ok());
        assert!(compare("MPI_X_init", &taking(&["RecvPtr", "Number"], false, false), &list).is_err());
        assert!(compare("MPI_X_init", &taking(&["RecvPtr"], false, true), &list).is_err());
        assert!(compare("MPI_X", &taking(&["RecvPtr", "Number"], false, false), &list[..1]).is_err());
    }

    #[test]
    fn a_type_that_nobody_described_is_an_error() {
        assert!(compare("MPI_X", &taking(&["Novel"], false, false), &c_types("int n")).is_err());
        assert!(compare("MPI_X", &taking(&["Novel<c_int>"], false, false), &c_types("int *n")).is_err());
    }
}
