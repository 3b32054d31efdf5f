//! Writes the Rust side of the functions that a library may lack: looked up when they are first called.
//!
//! A library of MPI 3.1 behind a translator of the ABI has neither the functions with large counts (`_c`) nor what came later.
//! The binding calls the `_c` form everywhere. What is written here decides what that means:
//!
//! - on the embedded engine, the function itself, by one indirect call;
//! - on other libraries the plain form where the numbers fit an `int`, else the `_c` form, and an error where there is none.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::{base_type, parameter_type};

/// One row of `functions.tsv`.
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    chapter: String,
    /// Its result in Rust; nothing for `void`.
    returns: String,
    parameters: Vec<Parameter>,
}

struct Parameter {
    /// As the table has it, without the name: `const MPI_Count []`.
    c: String,
    /// Its type in Rust.
    rust: String,
    /// Its name in Rust, and in messages without the `_` at its end.
    ident: String,
}

/// Written by hand in `large.rs`: they have more arguments than their plain forms, or functions among them.
const BY_HAND: [&str; 4] =
    ["MPI_Type_get_envelope_c", "MPI_Type_get_contents_c", "MPI_Op_create_c", "MPI_Register_datarep_c"];

/// Called in the `_c` form wherever there is one: what they give cannot be asked for a second time, or is wrong when it does not
/// fit.
const LARGE_FIRST: [&str; 7] = [
    "MPI_Type_get_envelope_c",
    "MPI_Type_get_contents_c",
    "MPI_Op_create_c",
    "MPI_Register_datarep_c",
    "MPI_Buffer_detach_c",
    "MPI_Comm_detach_buffer_c",
    "MPI_Session_detach_buffer_c",
];

/// Families of functions that are newer than MPI 3.1, by what begins their names.
const NEWER: [&str; 28] = [
    "MPI_Abi_",
    "MPI_Buffer_flush",
    "MPI_Buffer_iflush",
    "MPI_Comm_attach_buffer",
    "MPI_Comm_create_from_group",
    "MPI_Comm_detach_buffer",
    "MPI_Comm_flush_buffer",
    "MPI_Comm_idup_with_info",
    "MPI_Comm_iflush_buffer",
    "MPI_Get_hw_resource_info",
    "MPI_Group_from_session_pset",
    "MPI_Info_create_env",
    "MPI_Info_get_string",
    "MPI_Intercomm_create_from_groups",
    "MPI_Isendrecv",
    "MPI_Parrived",
    "MPI_Pready",
    "MPI_Precv_init",
    "MPI_Psend_init",
    "MPI_Remove_error_",
    "MPI_Request_get_status_a",
    "MPI_Request_get_status_s",
    "MPI_Session_",
    "MPI_Status_get_",
    "MPI_Status_set_error",
    "MPI_Status_set_source",
    "MPI_Status_set_tag",
    "MPI_Type_get_value_index",
];

impl Parameter {
    fn of(text: &str) -> Parameter {
        if text == "..." {
            return Parameter { c: text.to_owned(), rust: text.to_owned(), ident: String::new() };
        }
        let (rust, name) = parameter_type(text);
        let array = if text.contains('[') { " []" } else { "" };
        let declarator = &text[..text.find('[').unwrap_or(text.len())].trim_end();
        let c = format!("{}{array}", declarator[..declarator.len() - name.len()].trim_end());
        Parameter { c, rust, ident: format!("{name}_") }
    }

    fn declared(&self) -> String {
        if self.c == "..." { self.c.clone() } else { format!("{}: {}", self.ident, self.rust) }
    }
}

/// How an argument of the `_c` form becomes one of the plain form.
enum Step {
    Same,
    /// A value that has to fit.
    Value,
    /// A value or an address of a type of the same size.
    Cast(&'static str),
    /// A place for a result, which may hold a number before.
    Place(&'static str),
    /// As many numbers as the first argument of this name says.
    Array,
}

impl Step {
    fn between(large: &str, plain: &str) -> Step {
        match (large, plain) {
            _ if large == plain => Step::Same,
            ("MPI_Count" | "MPI_Aint", "int") => Step::Value,
            ("MPI_Count", "MPI_Aint") => Step::Cast("as MPI_Aint"),
            ("MPI_Count *", "MPI_Aint *") | ("const MPI_Count []", "const MPI_Aint []") => Step::Cast(".cast()"),
            ("MPI_Count *", "int *") => Step::Place("MPI_Count"),
            ("MPI_Aint *", "int *") => Step::Place("MPI_Aint"),
            ("const MPI_Count []" | "const MPI_Aint []", "const int []") => Step::Array,
            _ => panic!("no rule from {large} to {plain}"),
        }
    }
}

impl Function {
    /// A row of the table.
    pub(crate) fn of(row: &[String]) -> Function {
        let [chapter, name, returns, parameters] = row else { panic!("functions.tsv: four columns expected: {row:?}") };
        let parameters = parameters.split(',').map(str::trim).filter(|p| !p.is_empty() && *p != "void");
        Function {
            name: name.clone(),
            chapter: chapter.clone(),
            returns: if returns == "void" { String::new() } else { base_type(returns) },
            parameters: parameters.map(Parameter::of).collect(),
        }
    }

    /// Whether it is one of the tool interface, which the binding does not use.
    pub(crate) fn is_of_tools(&self) -> bool {
        self.chapter == "tool"
    }

    /// The declaration of a function that is linked to.
    pub(crate) fn declaration(&self) -> String {
        let result = if self.returns.is_empty() { String::new() } else { format!(" -> {}", self.returns) };
        format!("    pub(crate) fn {}({}){result};\n", self.name, self.list())
    }

    /// Whether it is looked up rather than linked to.
    pub(crate) fn is_looked_up(&self) -> bool {
        let persistent = self.chapter == "coll" && self.name.ends_with("_init");
        let newer = persistent || NEWER.iter().any(|family| self.name.starts_with(family));
        self.returns == "c_int" && (self.is_large() || newer && !self.name.ends_with("int"))
    }

    fn is_large(&self) -> bool {
        self.name.ends_with("_c")
    }

    /// Whether an argument is an array with a number for each process.
    fn is_vector(&self, parameter: &Parameter) -> bool {
        let arrays = ["const MPI_Count []", "const MPI_Aint []"];
        self.is_large() && self.chapter == "coll" && arrays.contains(&parameter.c.as_str())
    }

    fn has_vectors(&self) -> bool {
        self.parameters.iter().any(|p| self.is_vector(p))
    }

    /// Parameters as a function declares them.
    fn list(&self) -> String {
        self.parameters.iter().map(Parameter::declared).collect::<Vec<_>>().join(", ")
    }

    /// Its type.
    fn pointer(&self) -> String {
        let types: Vec<&str> = self.parameters.iter().map(|p| &*p.rust).collect();
        format!("unsafe extern \"C\" fn({}) -> c_int", types.join(", "))
    }

    /// The function that the binding calls, and what finds the library's when it is first called.
    pub(crate) fn looked_up(&self, all: &HashMap<&str, &Function>) -> String {
        let (name, list, pointer) = (&self.name, self.list(), self.pointer());
        let slot = name.to_uppercase();
        let arguments = self.parameters.iter().map(|p| &*p.ident).collect::<Vec<_>>().join(", ");
        let mut text = match self.has_vectors() {
            true => self.called_with_vectors(all, &slot),
            false => format!(
                "#[inline]
pub(crate) unsafe extern \"C\" fn {name}({list}) -> c_int {{
    // SAFETY: the slot holds a function of this type; the rest is as the caller promises.
    unsafe {{ std::mem::transmute::<*mut c_void, {pointer}>({slot}.get())({arguments}) }}
}}
"
            ),
        };
        let instead = if self.is_large() && !self.has_vectors() { "plain" } else { "absent" };
        let of = if BY_HAND.contains(&&**name) { "large::" } else { "" };
        let find = match () {
            () if !self.is_large() || self.has_vectors() || LARGE_FIRST.contains(&&**name) => "find",
            () => "find_embedded",
        };
        let _ = write!(
            text,
            "static {slot}: Slot = Slot::new(first_{name} as *mut c_void);
#[cold]
unsafe extern \"C\" fn first_{name}({list}) -> c_int {{
    let found = large::{find}(c\"{name}\").unwrap_or({of}{instead}_{name} as *mut c_void);
    {slot}.set(found);
    // SAFETY: both have this type; the rest is as the caller promises.
    unsafe {{ std::mem::transmute::<*mut c_void, {pointer}>(found)({arguments}) }}
}}
"
        );
        if instead == "absent" {
            let ignored: Vec<String> = self.parameters.iter().map(|p| format!("_: {}", p.rust)).collect();
            let says = if self.is_large() { "vectors_too_large" } else { "absent" };
            let _ = write!(
                text,
                "#[cold]
unsafe extern \"C\" fn absent_{name}({}) -> c_int {{
    large::{says}(\"{name}\")
}}
",
                ignored.join(", ")
            );
        } else if of.is_empty() {
            text.push_str(&self.plain(all, &arguments));
        }
        text
    }

    fn plain_form<'a>(&self, all: &HashMap<&str, &'a Function>) -> &'a Function {
        let name = self.name.strip_suffix("_c").unwrap_or(&self.name);
        let plain = all.get(name).unwrap_or_else(|| panic!("{} has no plain form", self.name));
        assert_eq!(plain.parameters.len(), self.parameters.len(), "{} and its plain form", self.name);
        plain
    }

    /// A collective operation whose arrays know whether they fit.
    fn called_with_vectors(&self, all: &HashMap<&str, &Function>, slot: &str) -> String {
        let plain = self.plain_form(all);
        let (mut list, mut large, mut small, mut fit) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut values = String::new();
        for (parameter, other) in self.parameters.iter().zip(&plain.parameters) {
            let ident = &parameter.ident;
            if self.is_vector(parameter) {
                let number = if parameter.c.contains("Count") { "MPI_Count" } else { "MPI_Aint" };
                list.push(format!("{ident}: Array<{number}>"));
                large.push(format!("{ident}.large"));
                match Step::between(&parameter.c, &other.c) {
                    Step::Array => {
                        fit.push(format!("{ident}.fits"));
                        small.push(format!("{ident}.plain"));
                    }
                    _ => small.push(format!("{ident}.large")),
                }
                continue;
            }
            list.push(parameter.declared());
            large.push(ident.clone());
            match Step::between(&parameter.c, &other.c) {
                Step::Value => {
                    let _ = write!(values, " && let Ok({ident}) = c_int::try_from({ident})");
                    small.push(ident.clone());
                }
                _ => small.push(ident.clone()),
            }
        }
        format!(
            "#[inline(always)]
pub(crate) unsafe fn {}({}) -> c_int {{
    if {}{values} {{
        // SAFETY: as the caller promises.
        return unsafe {{ {}({}) }};
    }}
    // SAFETY: the slot holds a function of this type; the rest is as the caller promises.
    unsafe {{ std::mem::transmute::<*mut c_void, {}>({slot}.get())({}) }}
}}
",
            self.name,
            list.join(", "),
            fit.join(" && "),
            plain.name,
            small.join(", "),
            self.pointer(),
            large.join(", ")
        )
    }

    /// What calls the plain form with numbers that fit it, and the `_c` form, or nothing, with others.
    fn plain(&self, all: &HashMap<&str, &Function>, arguments: &str) -> String {
        let (name, plain) = (&self.name, self.plain_form(all));
        let length = self.parameters.iter().map(|p| &*p.ident).find(|i| ["count_", "ndims_"].contains(i));
        let (mut before, mut after, mut given) = (String::new(), String::new(), Vec::new());
        let (mut too_large, mut unknown) = (Vec::new(), Vec::new());
        let large = format!(
            "return match large::find(c\"{name}\") {{
            // SAFETY: the function has this type; the rest is as the caller promises.
            Some(found) => unsafe {{ std::mem::transmute::<*mut c_void, {}>(found)({arguments}) }},",
            self.pointer()
        );
        for (parameter, other) in self.parameters.iter().zip(&plain.parameters) {
            let ident = &parameter.ident;
            match Step::between(&parameter.c, &other.c) {
                Step::Same => given.push(ident.clone()),
                Step::Cast(how) if how.starts_with('.') => given.push(format!("{ident}{how}")),
                Step::Cast(how) => given.push(format!("{ident} {how}")),
                Step::Value => {
                    too_large.push(format!("large::beyond({ident} as i64)"));
                    given.push(format!("{ident} as c_int"));
                }
                Step::Place(kind) => {
                    let what = format!("plain_{ident}");
                    if ident == "position_" {
                        let _ = writeln!(before, "    // SAFETY: the caller's place holds a number.");
                        let _ = writeln!(before, "    let held_{ident} = unsafe {{ {ident}.read() }};");
                        let _ = writeln!(before, "    let mut {what} = held_{ident} as c_int;");
                        too_large.push(format!("large::beyond(held_{ident} as i64)"));
                    } else {
                        unknown.push(format!("{what} == MPI_UNDEFINED"));
                        let _ = writeln!(before, "    let mut {what}: c_int = 0;");
                    }
                    given.push(format!("&mut {what}"));
                    let _ = writeln!(after, "    // SAFETY: the caller's place is valid for the write.");
                    let _ = writeln!(after, "    unsafe {{ {ident}.write({what} as {kind}) }};");
                }
                Step::Array => {
                    let length = length.unwrap_or_else(|| panic!("{name}: how long is {ident}?"));
                    let _ = writeln!(before, "    // SAFETY: the caller's array is as long as it says.");
                    let _ = writeln!(
                        before,
                        "    let plain_{ident} = unsafe {{ large::narrowed({ident}, {length} as i64) }};"
                    );
                    too_large.push(format!("plain_{ident}.as_ref().err().copied()"));
                    given.push(format!("plain_{ident}.as_ref().map_or(std::ptr::null(), |all| all.as_ptr())"));
                }
            }
        }
        let mut text = format!("unsafe extern \"C\" fn plain_{name}({}) -> c_int {{\n", self.list());
        // Arrays are made before it is known whether they fit.
        text.push_str(&before);
        if !too_large.is_empty() {
            let _ = write!(
                text,
                "    // SAFETY: as the caller promises.
    if let Some(number) = None{} {{
        {large}
            None => large::too_large(\"{name}\", number),
        }};
    }}
",
                too_large.iter().map(|one| format!(".or_else(|| {one})")).collect::<String>()
            );
        }
        let _ = writeln!(text, "    // SAFETY: as the caller promises; what is added lives until after the call.");
        let _ = writeln!(text, "    let code = unsafe {{ {}({}) }};", plain.name, given.join(", "));
        if !unknown.is_empty() {
            let _ = write!(
                text,
                "    if code == MPI_SUCCESS && ({}) {{
        {large}
            None => code_of_unknown_{name}({arguments}),
        }};
    }}
",
                unknown.join(" || ")
            );
            text = text.replace(&format!("code_of_unknown_{name}({arguments})"), &unknown_result(&after));
        }
        text.push_str(&after);
        text.push_str("    code\n}\n");
        text
    }
}

/// What happens where the library has no other way to say how many there are: it is unknown.
fn unknown_result(after: &str) -> String {
    format!("{{\n{after}    code\n}}")
}
