//! Which functions have a body, and what the bodies take: read from the functions under `#[mpi_entry(..)]` in the C surface.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use syn::parse::Parser as _;
use syn::punctuated::Punctuated;
use syn::{Attribute, FnArg, Ident, Item, ItemFn, Token, Type};

/// A function of C that an attribute writes.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    /// The types of the body's parameters in Rust, references taken off.
    pub parameters: Vec<String>,
    /// Whether this is the large-count twin.
    pub large: bool,
    /// Whether the body is that of several forms, each of which adds parameters of its own.
    pub forms: bool,
}

/// The functions that have a body: those of the standard, and those beyond it.
#[derive(Debug, Default)]
pub struct Bodies {
    pub standard: BTreeMap<String, Entry>,
    pub beyond: BTreeSet<String>,
}

impl Bodies {
    /// All functions that some `#[mpi_entry(..)]` in `folder` writes.
    pub fn scan(folder: &Path) -> Result<Bodies, String> {
        let mut bodies = Bodies::default();
        bodies.visit(folder)?;
        Ok(bodies)
    }

    /// Whether the standard's function has a body.
    pub fn has(&self, name: &str) -> bool {
        self.standard.contains_key(name)
    }

    fn visit(&mut self, folder: &Path) -> Result<(), String> {
        let entries = std::fs::read_dir(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        for entry in entries {
            let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
            if path.is_dir() {
                self.visit(&path)?;
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
                self.read(&text).map_err(|e| format!("{}: {e}", path.display()))?;
            }
        }
        Ok(())
    }

    /// Takes the functions of one file's text.
    fn read(&mut self, text: &str) -> Result<(), String> {
        let file = syn::parse_file(text).map_err(|e| e.to_string())?;
        self.items(&file.items)
    }

    fn items(&mut self, items: &[Item]) -> Result<(), String> {
        for item in items {
            match item {
                Item::Fn(body) => {
                    for attribute in body.attrs.iter().filter(|a| a.path().is_ident("mpi_entry")) {
                        self.entry(attribute, body)?;
                    }
                }
                Item::Mod(inner) => self.items(inner.content.as_ref().map_or(&[][..], |(_, items)| items))?,
                _ => {}
            }
        }
        Ok(())
    }

    /// `#[mpi_entry(NAME)]`, with `NAME | NAME` for the forms of an operation, and `poly` after them for the `_c` twins as well.
    fn entry(&mut self, attribute: &Attribute, body: &ItemFn) -> Result<(), String> {
        let (names, words) = attribute.parse_args_with(arguments).map_err(|e| format!("{}: {e}", body.sig.ident))?;
        let parameters: Vec<String> = body.sig.inputs.iter().map(parameter).collect();
        let poly = words.iter().any(|word| word == "poly");
        for name in &names {
            let name = name.to_string();
            if !name.starts_with("MPI_") {
                self.beyond.insert(name);
                continue;
            }
            // What completes a split access has no count, and so no twin.
            let split_end = names.len() > 1 && name.ends_with("_end");
            let widths = if poly && !split_end { &[false, true][..] } else { &[false] };
            for &large in widths {
                let name = if large { format!("{name}_c") } else { name.clone() };
                let entry = Entry { parameters: parameters.clone(), large, forms: names.len() > 1 };
                if self.standard.insert(name.clone(), entry).is_some() {
                    return Err(format!("{name} has two bodies"));
                }
            }
        }
        Ok(())
    }
}

/// The names, and the words after them.
fn arguments(input: syn::parse::ParseStream<'_>) -> syn::Result<(Vec<Ident>, Vec<Ident>)> {
    let names = Punctuated::<Ident, Token![|]>::parse_separated_nonempty(input)?;
    let words = match input.parse::<Option<Token![,]>>()? {
        Some(_) => Punctuated::<Ident, Token![,]>::parse_terminated.parse2(input.parse()?)?,
        None => Punctuated::new(),
    };
    Ok((names.into_iter().collect(), words.into_iter().collect()))
}

fn parameter(argument: &FnArg) -> String {
    match argument {
        FnArg::Typed(typed) => spelled(&typed.ty),
        FnArg::Receiver(_) => String::from("self"),
    }
}

/// A type as the table of [`crate::signatures`] spells it: the last part of a path, no references, no spaces.
fn spelled(ty: &Type) -> String {
    match ty {
        Type::Reference(lent) => spelled(&lent.elem),
        Type::Ptr(pointer) => format!("*{}", spelled(&pointer.elem)),
        Type::Array(array) => format!("[{}]", spelled(&array.elem)),
        Type::Path(path) => path.path.segments.last().map_or_else(String::new, |last| match &last.arguments {
            syn::PathArguments::AngleBracketed(list) => {
                let inner = list.args.iter().filter_map(|argument| match argument {
                    syn::GenericArgument::Type(ty) => Some(spelled(ty)),
                    _ => None,
                });
                let inner: Vec<String> = inner.collect();
                if inner.is_empty() { last.ident.to_string() } else { format!("{}<{}>", last.ident, inner.join(",")) }
            }
            _ => last.ident.to_string(),
        }),
        _ => String::from("?"),
    }
}

#[cfg(test)]
mod tests {
    use super::Bodies;

    fn read(text: &str) -> Result<Bodies, String> {
        let mut bodies = Bodies::default();
        bodies.read(text).map(|()| bodies)
    }

    fn names(text: &str) -> Vec<String> {
        read(text).expect("Rust").standard.into_keys().collect()
    }

    #[test]
    fn poly_entries_count_twice() {
        let text = "#[mpi_entry(MPI_Send, poly)]\nfn send() {}\n#[mpi_entry(MPI_Barrier)]\nfn barrier() {}\n// #[mpi_entry(MPI_X)]\n";
        assert_eq!(names(text), ["MPI_Barrier", "MPI_Send", "MPI_Send_c"]);
    }

    #[test]
    fn every_form_of_an_operation_counts_also_over_several_lines() {
        let text = "#[mpi_entry(\n    MPI_Bcast\n        | MPI_Ibcast,\n    poly\n)]\nfn bcast(comm: &CommRef) {}";
        assert_eq!(names(text), ["MPI_Bcast", "MPI_Bcast_c", "MPI_Ibcast", "MPI_Ibcast_c"]);
    }

    #[test]
    fn what_is_beyond_the_standard_is_listed_apart() {
        let bodies = read("#[mpi_entry(PHALANX_Send)]\nfn send() {}").expect("Rust");
        assert!(bodies.standard.is_empty() && bodies.beyond.contains("PHALANX_Send"));
    }

    #[test]
    fn parameters_are_spelled_without_references_and_paths() {
        let text = "#[mpi_entry(MPI_X)]\nfn x(a: &crate::comm::CommRef, b: In<[c_int; 3]>, c: Out<*mut c_void>, d: In<'_, u8>) {}";
        let bodies = read(text).expect("Rust");
        assert_eq!(bodies.standard["MPI_X"].parameters, ["CommRef", "In<[c_int]>", "Out<*c_void>", "In<u8>"]);
    }

    #[test]
    fn two_bodies_and_broken_attributes_are_refused() {
        assert!(read("#[mpi_entry(MPI_X)]\nfn a() {}\n#[mpi_entry(MPI_X)]\nfn b() {}").is_err());
        assert!(read("#[mpi_entry(MPI_X |)]\nfn a() {}").is_err());
        assert!(read("#[mpi_entry(MPI_X poly)]\nfn a() {}").is_err());
    }
}
