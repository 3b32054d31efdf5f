//! The attribute that writes `MPI_X`, `PMPI_X` and their `_c` twins around one typed body.
//!
//! ```ignore
//! #[mpi_entry(MPI_Send, poly)]
//! fn send(buf: SendPtr, count: Count, ty: TypeRef, dest: i32, tag: i32, comm: CommRef) -> Done {
//!     Ok(comm.send(buf.typed(count, &ty)?, dest, tag)?)
//! }
//! ```
//!
//! Every parameter's type implements the C surface's `Param` trait, once for each width in which
//! the function exists: `Param<Small>` says what `MPI_Send` takes in that place, `Param<Large>` what
//! `MPI_Send_c` takes. The written functions decode each argument, run the body, and turn an error
//! or a panic into an error code through the error handler of the object the call is about.
//!
//! Words after the name:
//!
//! - `poly`: the function has a large-count twin;
//! - `anytime`: it may be called before initialisation and after finalisation;
//! - `value`: it returns a value instead of an error code: parameters and result are passed through.

use proc_macro::TokenStream;
use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{FnArg, Ident, ItemFn, ReturnType, Token, Type, parse_macro_input};

/// What stands between the attribute's parentheses.
struct Entry {
    name: Ident,
    poly: bool,
    anytime: bool,
    value: bool,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Entry> {
        let name: Ident = input.parse()?;
        let mut entry = Entry { name, poly: false, anytime: false, value: false };
        if input.is_empty() {
            return Ok(entry);
        }
        input.parse::<Token![,]>()?;
        for word in Punctuated::<Ident, Token![,]>::parse_terminated(input)? {
            match word.to_string().as_str() {
                "poly" => entry.poly = true,
                "anytime" => entry.anytime = true,
                "value" => entry.value = true,
                _ => {
                    return Err(syn::Error::new(word.span(), "expected `poly`, `anytime` or `value`"));
                }
            }
        }
        Ok(entry)
    }
}

/// Writes the C functions around a typed body; see the crate documentation.
#[proc_macro_attribute]
pub fn mpi_entry(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let entry = parse_macro_input!(arguments as Entry);
    let body = parse_macro_input!(item as ItemFn);
    match expand(&entry, &body) {
        Ok(tokens) => tokens.into(),
        Err(error) => error.to_compile_error().into(),
    }
}

fn expand(entry: &Entry, body: &ItemFn) -> syn::Result<Tokens> {
    let mut exports = Tokens::new();
    if entry.value {
        exports.extend(pass_through(entry, body)?);
    } else {
        exports.extend(coded(entry, body, &entry.name, &format_ident!("Small"))?);
        if entry.poly {
            let name = format_ident!("{}_c", entry.name);
            exports.extend(coded(entry, body, &name, &format_ident!("Large"))?);
        }
    }
    Ok(quote! {
        #body
        const _: () = { #exports };
    })
}

/// The types of the body's parameters.
fn parameter_types(body: &ItemFn) -> syn::Result<Vec<&Type>> {
    body.sig
        .inputs
        .iter()
        .map(|input| match input {
            FnArg::Typed(typed) => Ok(&*typed.ty),
            FnArg::Receiver(this) => Err(syn::Error::new_spanned(this, "an MPI function has no receiver")),
        })
        .collect()
}

/// `MPI_X` and `PMPI_X` for one width of a function that returns an error code.
fn coded(entry: &Entry, body: &ItemFn, name: &Ident, width: &Ident) -> syn::Result<Tokens> {
    let types = parameter_types(body)?;
    let call = &body.sig.ident;
    let text = name.to_string();
    let shown = shown(&text);
    let raw: Vec<Ident> = (0..types.len()).map(|i| format_ident!("raw{i}")).collect();
    let when = if entry.anytime { quote!(AnyTime) } else { quote!(WhileRunning) };
    let signature = quote! { #(#raw: <#types as crate::param::Param<crate::param::#width>>::Raw),* };
    let profiled = profiled(name).map(|profiled_text| {
        quote! {
            const _: () = {
                #[unsafe(export_name = #profiled_text)]
                #[allow(clippy::too_many_arguments, reason = "some functions of the standard have many")]
                unsafe extern "C" fn profiled(#signature) -> ::core::ffi::c_int {
                    // SAFETY: the same contract.
                    unsafe { #name(#(#raw),*) }
                }
            };
        }
    });
    Ok(quote! {
        #[inline]
        #[allow(
            non_snake_case,
            clippy::too_many_arguments,
            unused_unsafe,
            reason = "the standard's names and arity; some functions have no argument to decode"
        )]
        unsafe fn #name(#signature) -> ::core::ffi::c_int {
            crate::entry::run(
                #shown,
                crate::entry::When::#when,
                || {
                    #call(#(
                        // SAFETY: the caller of an MPI function promises that its arguments are what the
                        // standard asks for; `decode` documents which part of that it relies on.
                        unsafe { <#types as crate::param::Param<crate::param::#width>>::decode(#raw)? }
                    ),*)
                },
                || crate::entry::first_object(&[
                    #(<#types as crate::param::Param<crate::param::#width>>::object(#raw)),*
                ]),
            )
        }
        const _: () = {
            #[unsafe(export_name = #text)]
            #[allow(clippy::too_many_arguments, reason = "some functions of the standard have many")]
            unsafe extern "C" fn plain(#signature) -> ::core::ffi::c_int {
                // SAFETY: the same contract.
                unsafe { #name(#(#raw),*) }
            }
        };
        #profiled
    })
}

/// `MPI_X` and `PMPI_X` for a function that returns a value.
fn pass_through(entry: &Entry, body: &ItemFn) -> syn::Result<Tokens> {
    let types = parameter_types(body)?;
    let call = &body.sig.ident;
    let plain = &entry.name;
    let raw: Vec<Ident> = (0..types.len()).map(|i| format_ident!("raw{i}")).collect();
    let result = match &body.sig.output {
        ReturnType::Type(_, result) => result,
        ReturnType::Default => {
            return Err(syn::Error::new_spanned(call, "`value` needs a return type"));
        }
    };
    let profiled = profiled(plain).map(|text| {
        quote! {
            const _: () = {
                #[unsafe(export_name = #text)]
                extern "C" fn profiled(#(#raw: #types),*) -> #result {
                    #call(#(#raw),*)
                }
            };
        }
    });
    Ok(quote! {
        #[unsafe(no_mangle)]
        #[allow(non_snake_case, reason = "the standard's name")]
        extern "C" fn #plain(#(#raw: #types),*) -> #result {
            #call(#(#raw),*)
        }
        #profiled
    })
}

/// The name that error messages give a function: the one people know, without the width of its counts.
fn shown(name: &str) -> &str {
    match name {
        "PHALANX_Try_send" => "MPI_Send",
        "PHALANX_Try_recv" => "MPI_Recv",
        name => name.strip_suffix("_c").unwrap_or(name),
    }
}

/// The name of a function's profiling twin; functions beyond the standard have none.
fn profiled(name: &Ident) -> Option<String> {
    let name = name.to_string();
    name.starts_with("MPI_").then(|| format!("P{name}"))
}
