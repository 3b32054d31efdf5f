//! Makes, from the tables in `abi/`, what the extension needs to be an ordinary consumer of the standard ABI:
//!
//! - `ffi.rs`: the `extern "C"` declarations and the constants;
//! - a link-time stub `libmpi_abi.so` with the SONAME `libmpi_abi.so.1`, so that the extension gets a real
//!   `DT_NEEDED` entry without the real library being there yet.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use functions::Function;

#[path = "build/functions.rs"]
mod functions;

fn main() {
    let manifest = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets CARGO_MANIFEST_DIR"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let abi = manifest.join("../../abi");
    let functions = read_table(&abi.join("functions.tsv"));
    let constants = read_table(&abi.join("constants.tsv"));

    let mut text = String::new();
    declare_constants(&constants, &mut text);
    declare_functions(&functions, &mut text);
    declare_error_classes(&read_table(&abi.join("error_classes.tsv")), &mut text);
    fs::write(out.join("ffi.rs"), text).expect("OUT_DIR is writable");
    make_stub(&functions, &out);

    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=build/functions.rs");
    println!("cargo:rustc-link-search=native={}", out.display());
    println!("cargo:rustc-link-lib=dylib=mpi_abi");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-rpath,$ORIGIN/_native");
    // RPATH, not RUNPATH: a library that merely stands on LD_LIBRARY_PATH is not the one the user asked for.
    println!("cargo:rustc-cdylib-link-arg=-Wl,--disable-new-dtags");
    // A library of an older ABI revision may lack a late function: only the call of that one should fail.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,lazy");
}

/// The rows of a table, without comments and without the line of column names.
fn read_table(path: &Path) -> Vec<Vec<String>> {
    println!("cargo:rerun-if-changed={}", path.display());
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()));
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.trim().is_empty())
        .skip(1)
        .map(|line| line.split('\t').map(str::to_owned).collect())
        .collect()
}

const HANDLES: [&str; 11] = [
    "MPI_Comm",
    "MPI_Group",
    "MPI_Datatype",
    "MPI_Op",
    "MPI_Request",
    "MPI_Message",
    "MPI_Info",
    "MPI_Errhandler",
    "MPI_Session",
    "MPI_Win",
    "MPI_File",
];

fn declare_constants(rows: &[Vec<String>], text: &mut String) {
    let mut integers = String::new();
    let mut datatypes = String::new();
    let mut operations = String::new();
    for row in rows {
        let [name, kind, value] = &row[..] else { panic!("constants.tsv: three columns expected: {row:?}") };
        if name.starts_with("MPI_T_") {
            continue;
        }
        // Two older names for a datatype stand in the table as plain numbers.
        let kind = match name.as_str() {
            "MPI_LONG_LONG_INT" | "MPI_C_COMPLEX" => "MPI_Datatype",
            _ => kind,
        };
        if HANDLES.contains(&kind) {
            let _ = writeln!(text, "pub(crate) const {name}: {kind} = {kind}({value});");
            match kind {
                "MPI_Datatype" => drop(writeln!(datatypes, "    (\"{}\", {kind}({value})),", &name[4..])),
                "MPI_Op" => drop(writeln!(operations, "    (\"{}\", {kind}({value})),", &name[4..])),
                _ => {}
            }
        } else if kind == "int" || kind == "MPI_Offset" {
            let wide = match name.as_str() {
                "MPI_BOTTOM" | "MPI_IN_PLACE" | "MPI_BUFFER_AUTOMATIC" | "MPI_UNWEIGHTED" | "MPI_WEIGHTS_EMPTY" => {
                    "usize"
                }
                "MPI_ARGV_NULL" | "MPI_ARGVS_NULL" | "MPI_ERRCODES_IGNORE" => "usize",
                _ if kind == "int" => "c_int",
                _ => "MPI_Offset",
            };
            let _ = writeln!(text, "pub(crate) const {name}: {wide} = {value};");
            if wide != "usize" || name.ends_with("WEIGHTED") || name.ends_with("_EMPTY") {
                let _ = writeln!(integers, "    (\"{}\", {value}),", &name[4..]);
            }
        } else {
            let _ = writeln!(text, "pub(crate) const {name}: usize = {value};");
        }
    }
    let _ = writeln!(text, "/// Every integer constant: name without `MPI_`, value.");
    let _ = writeln!(text, "pub(crate) const INTEGERS: &[(&str, i64)] = &[\n{integers}];");
    let _ = writeln!(text, "/// Every predefined datatype: name without `MPI_`, handle.");
    let _ = writeln!(text, "pub(crate) const DATATYPES: &[(&str, MPI_Datatype)] = &[\n{datatypes}];");
    let _ = writeln!(text, "/// Every predefined operation: name without `MPI_`, handle.");
    let _ = writeln!(text, "pub(crate) const OPERATIONS: &[(&str, MPI_Op)] = &[\n{operations}];");
}

fn declare_functions(rows: &[Vec<String>], text: &mut String) {
    let functions: Vec<Function> = rows.iter().map(|row| Function::of(row)).filter(|f| !f.is_of_tools()).collect();
    let all: HashMap<&str, &Function> = functions.iter().map(|function| (&*function.name, function)).collect();
    text.push_str("unsafe extern \"C\" {\n");
    for function in functions.iter().filter(|function| !function.is_looked_up()) {
        text.push_str(&function.declaration());
    }
    text.push_str("}\n");
    for function in functions.iter().filter(|function| function.is_looked_up()) {
        text.push_str(&function.looked_up(&all));
    }
}

fn declare_error_classes(rows: &[Vec<String>], text: &mut String) {
    text.push_str("/// Every error class of the standard: number, name, what it means.\n");
    text.push_str("pub(crate) const ERROR_CLASSES: &[(c_int, &str, &str)] = &[\n");
    for row in rows {
        let [name, sentence] = &row[..] else { panic!("error_classes.tsv: two columns expected: {row:?}") };
        let _ = writeln!(text, "    ({name}, {name:?}, {sentence:?}),");
    }
    text.push_str("];\n");
}

/// The Rust type of one C parameter, and its name.
fn parameter_type(parameter: &str) -> (String, String) {
    let array = parameter.find('[');
    let (declarator, dims) = parameter.split_at(array.unwrap_or(parameter.len()));
    let end = declarator.trim_end();
    let start = end.rfind(|c: char| !(c.is_alphanumeric() || c == '_')).map_or(0, |i| i + 1);
    let ident = end[start..].to_lowercase();
    let mut rest = end[..start].trim();
    let mut stars = 0;
    while let Some(shorter) = rest.strip_suffix('*') {
        stars += 1;
        rest = shorter.trim_end();
    }
    let (constant, base) = match rest.strip_prefix("const ") {
        Some(base) => (true, base.trim()),
        None => (false, rest),
    };
    let mut kind = base_type(base);
    match dims {
        "" => {}
        "[]" => stars += 1,
        "[][3]" => {
            kind = format!("[{kind}; 3]");
            stars += 1;
        }
        other => panic!("array form not known: {other} in {parameter}"),
    }
    for level in 0..stars {
        let qualifier = if constant && level == 0 { "const" } else { "mut" };
        kind = format!("*{qualifier} {kind}");
    }
    (kind, ident)
}

fn base_type(base: &str) -> String {
    match base {
        "int" => "c_int".into(),
        "char" => "c_char".into(),
        "void" => "c_void".into(),
        "double" => "f64".into(),
        // Callbacks pass through as addresses: their reserved values (0 and 1) are no Rust function pointers.
        _ if base.ends_with("_function") || base.ends_with("_function_c") => "c_void".into(),
        _ => base.into(),
    }
}

fn make_stub(rows: &[Vec<String>], out: &Path) {
    let mut source = String::new();
    for row in rows {
        let _ = writeln!(source, "void {0}(void) {{}}\nvoid P{0}(void) {{}}", row[1]);
    }
    let file = out.join("mpi_abi_stub.c");
    fs::write(&file, source).expect("OUT_DIR is writable");
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let status = Command::new(&compiler)
        .args(["-shared", "-fPIC", "-nostdlib", "-w", "-Wl,-soname,libmpi_abi.so.1", "-o"])
        .arg(out.join("libmpi_abi.so"))
        .arg(&file)
        .status()
        .unwrap_or_else(|e| panic!("cannot run the C compiler `{compiler}` (set CC to another one): {e}"));
    assert!(status.success(), "`{compiler}` could not make the link-time stub of libmpi_abi.so.1");
}
