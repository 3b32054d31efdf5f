//! `mpi_entry`: the C functions around a typed body.

use proc_macro2::TokenStream as Tokens;
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{FnArg, Ident, ItemFn, Pat, ReturnType, Token, Type};

use crate::forms::{self, Form, Named};

/// What stands between the attribute's parentheses.
pub(crate) struct Entry {
    names: Vec<Named>,
    poly: bool,
    anytime: bool,
    tool: bool,
    value: bool,
    composed: bool,
}

impl Parse for Entry {
    fn parse(input: ParseStream<'_>) -> syn::Result<Entry> {
        let names = forms::names(input)?;
        let mut entry = Entry { names, poly: false, anytime: false, tool: false, value: false, composed: false };
        if input.is_empty() {
            return Ok(entry);
        }
        input.parse::<Token![,]>()?;
        for word in Punctuated::<Ident, Token![,]>::parse_terminated(input)? {
            match word.to_string().as_str() {
                "poly" => entry.poly = true,
                "anytime" => entry.anytime = true,
                "tool" => entry.tool = true,
                "value" => entry.value = true,
                "composed" => entry.composed = true,
                _ => {
                    let words = "expected `poly`, `anytime`, `tool`, `value` or `composed`";
                    return Err(syn::Error::new(word.span(), words));
                }
            }
        }
        Ok(entry)
    }
}

/// The body, and the functions around it.
pub(crate) fn expand(entry: &Entry, body: &ItemFn) -> syn::Result<Tokens> {
    let mut exports = Tokens::new();
    for Named { name, form } in &entry.names {
        if entry.value {
            exports.extend(pass_through(name, body)?);
            continue;
        }
        exports.extend(coded(entry, body, *form, name, &format_ident!("Small"))?);
        // What completes a split operation has no count, and so no twin.
        if entry.poly && *form != Form::End {
            let name = format_ident!("{name}_c");
            exports.extend(coded(entry, body, *form, &name, &format_ident!("Large"))?);
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
fn coded(entry: &Entry, body: &ItemFn, form: Form, name: &Ident, width: &Ident) -> syn::Result<Tokens> {
    let mut own = parameter_types(body)?;
    if form == Form::End {
        own.truncate(1);
    }
    let call = &body.sig.ident;
    let subject = forms::subject(&entry.names);
    // A body borrows what its result refers to: `comm: &CommRef`.
    let lent = own.iter().map(|ty| if let Type::Reference(_) = ty { quote!(&) } else { quote!() });
    let passed = lent.enumerate().map(|(i, lent)| {
        let argument = format_ident!("argument{i}");
        quote!(#lent #argument)
    });
    let passed: Vec<Tokens> = passed.collect();
    let added = form.added(subject);
    let carry_out = form.carry_out(subject);
    let extra = (0..added.len()).map(|i| format_ident!("argument{}", own.len() + i));
    let split = shown(&entry.names[0].name.to_string()).to_string();
    let outcome = match form {
        _ if entry.names.len() == 1 => quote! { #call(#(#passed),*) },
        Form::End => quote! { #carry_out(#(#passed,)* #split #(, #extra)*) },
        Form::Begin => quote! { #carry_out(#call(#(#passed),*)?, #split) },
        Form::Blocking | Form::Nonblocking | Form::Persistent => {
            quote! { #carry_out(#call(#(#passed),*)? #(, #extra)*) }
        }
    };
    let decoded = own.iter().map(|ty| match ty {
        Type::Reference(lent) => {
            let ty = &lent.elem;
            quote!(#ty)
        }
        ty => quote!(#ty),
    });
    let types: Vec<Tokens> = decoded.chain(added).collect();
    let argument: Vec<Ident> = (0..types.len()).map(|i| format_ident!("argument{i}")).collect();
    let text = name.to_string();
    let shown = shown(&text);
    let arguments = traced(&own, body);
    let plain = format_ident!("{name}_plain");
    let raw: Vec<Ident> = (0..types.len()).map(|i| format_ident!("raw{i}")).collect();
    let signature = quote! { #(#raw: <#types as crate::param::Param<crate::param::#width>>::Raw),* };
    let object = quote! {
        crate::entry::first_object(&[
            #(<#types as crate::param::Param<crate::param::#width>>::object(#raw)),*
        ])
    };
    let decoded_body = quote! {
        || {
            #(
                // SAFETY: the caller of an MPI function promises that its arguments are what the
                // standard asks for; `decode` documents which part of that it relies on.
                let #argument = unsafe { <#types as crate::param::Param<crate::param::#width>>::decode(#raw)? };
            )*
            #outcome
        }
    };
    // What is recorded of a call is made only where it is: made before, it would lie in memory in every call.
    let recorded = if entry.anytime {
        quote! { ::core::option::Option::None }
    } else {
        quote! {
            if crate::state::is_plain() {
                ::core::option::Option::None
            } else {
                ::core::hint::cold_path();
                if !crate::state::is_running() {
                    return crate::entry::not_running(#shown);
                }
                let arguments = move || crate::trace::Arguments { object: #object, #arguments };
                let number = const { ::phalanx_trace::number(#shown) };
                crate::entry::look_closely(#shown, number, arguments)
            }
        }
    };
    // The tool interface has error codes and no error handlers.
    let run = if entry.tool {
        quote! { crate::entry::run_tool(#decoded_body) }
    } else {
        let within = entry.composed.then(|| {
            let operation = shown.strip_prefix("MPI_").unwrap_or(shown);
            quote! { let _within = ::phalanx_engine::engine::within(#operation); }
        });
        quote! {
            #within
            let recorded = #recorded;
            crate::entry::run(#shown, recorded, #decoded_body, || #object)
        }
    };
    // Each of the two names that a program knows goes on to the one function that does it: a tool may have put
    // another in the place of the first, and the second is not to run that.
    let exported = |function: &Ident, symbol: &str| {
        quote! {
            #[unsafe(export_name = #symbol)]
            #[allow(non_snake_case, clippy::too_many_arguments, reason = "some functions of the standard have many")]
            unsafe extern "C" fn #function(#signature) -> ::core::ffi::c_int {
                // SAFETY: the same contract.
                unsafe { #name(#(#raw),*) }
            }
        }
    };
    let named = exported(&plain, &text);
    let profiled = profiled(name).map(|symbol| exported(&format_ident!("{name}_profiled"), &symbol));
    Ok(quote! {
        #[inline(never)]
        #[allow(
            non_snake_case,
            clippy::too_many_arguments,
            unused_unsafe,
            reason = "the standard's names and arity; some functions have no argument to decode"
        )]
        unsafe extern "C" fn #name(#signature) -> ::core::ffi::c_int {
            #run
        }
        #named
        #profiled
    })
}

/// What a trace tells of a call: the fields of `Arguments` but its object.
fn traced(own: &[&Type], body: &ItemFn) -> Tokens {
    let name = |input: &FnArg| match input {
        FnArg::Typed(typed) => match &*typed.pat {
            Pat::Ident(name) => name.ident.to_string(),
            _ => String::new(),
        },
        FnArg::Receiver(_) => String::new(),
    };
    let kind = |ty: &Type| match ty {
        Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default(),
        Type::Reference(lent) => match &*lent.elem {
            Type::Path(path) => path.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default(),
            _ => String::new(),
        },
        _ => String::new(),
    };
    let all: Vec<(String, String)> = body.sig.inputs.iter().map(name).zip(own.iter().map(|ty| kind(ty))).collect();
    let has_window = all.iter().any(|(_, kind)| kind == "WinRef");
    let find = |names: &[&str], kinds: &[&str]| {
        let is_it = |(name, kind): &(String, String)| names.contains(&name.as_str()) && kinds.contains(&kind.as_str());
        all.iter().position(is_it).map(|at| format_ident!("raw{at}"))
    };
    let some = |found: Option<Ident>| match found {
        Some(raw) => quote!(::core::option::Option::Some(#raw)),
        None => quote!(::core::option::Option::None),
    };
    let peers: &[&str] = if has_window { &["rank"] } else { &["dest", "source", "root"] };
    let (peer, tag) = (some(find(peers, &["c_int"])), some(find(&["tag", "sendtag"], &["c_int"])));
    let types = ["TypeRef", "PeerType", "RawType"];
    let counts = ["Count", "Number", "i64"];
    let pairs = [
        (["count", "elements"].as_slice(), ["ty", "datatype"].as_slice()),
        (&["sendcount"], &["sendtype"]),
        (&["recvcount"], &["recvtype"]),
        (&["origin_count"], &["origin_type"]),
    ];
    let pair = pairs.iter().find_map(|(count, ty)| Some((find(count, &counts)?, Some(find(ty, &types)?))));
    let (count, ty) = match pair.or_else(|| Some((find(&["bytes", "room"], &["i64"])?, None))) {
        Some((count, ty)) => (quote!(::core::option::Option::Some(i64::from(#count))), some(ty)),
        None => (quote!(::core::option::Option::None), quote!(::core::option::Option::None)),
    };
    quote! { peer: #peer, tag: #tag, count: #count, ty: #ty }
}

/// `MPI_X` and `PMPI_X` for a function that returns a value.
fn pass_through(plain: &Ident, body: &ItemFn) -> syn::Result<Tokens> {
    let types = parameter_types(body)?;
    let call = &body.sig.ident;
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
        "PHALANX_Send_now" => "MPI_Send",
        "PHALANX_Isend" => "MPI_Isend",
        "PHALANX_Irecv" => "MPI_Irecv",
        "PHALANX_Recv_or_mprobe" => "MPI_Recv",
        "PHALANX_Comm_revoke" => "MPI_Comm_revoke",
        "PHALANX_Comm_shrink" => "MPI_Comm_shrink",
        "PHALANX_Comm_ishrink" => "MPI_Comm_ishrink",
        "PHALANX_Comm_agree" => "MPI_Comm_agree",
        "PHALANX_Comm_iagree" => "MPI_Comm_iagree",
        name => name.strip_suffix("_c").unwrap_or(name),
    }
}

/// The name of a function's profiling twin; functions beyond the standard have none.
fn profiled(name: &Ident) -> Option<String> {
    let name = name.to_string();
    name.starts_with("MPI_").then(|| format!("P{name}"))
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::{Entry, expand};

    /// What `#[mpi_entry(attribute)]` writes around a body whose first parameter is lent, without spaces.
    fn written(attribute: &str) -> String {
        let entry: Entry = syn::parse_str(attribute).expect("an attribute");
        let body = parse_quote! { fn body(object: &Object, count: Number) -> Prepared<'_> { prepare(object, count) } };
        let tokens = expand(&entry, &body).expect("functions").to_string();
        tokens.chars().filter(|c| !c.is_whitespace()).collect()
    }

    /// How often a symbol is exported.
    fn exports(written: &str, symbol: &str) -> usize {
        written.matches(&format!("export_name=\"{symbol}\"")).count()
    }

    #[test]
    fn every_form_is_exported_in_both_widths_and_under_both_names() {
        let text =
            written("MPI_File_read_all | MPI_File_iread_all | MPI_File_read_all_begin | MPI_File_read_all_end, poly");
        for form in ["read_all", "iread_all", "read_all_begin", "read_all_end"] {
            for prefix in ["", "P"] {
                assert_eq!(exports(&text, &format!("{prefix}MPI_File_{form}")), 1, "{prefix}{form}");
                let twins = usize::from(form != "read_all_end");
                assert_eq!(exports(&text, &format!("{prefix}MPI_File_{form}_c")), twins, "{prefix}{form}_c");
            }
        }
    }

    #[test]
    fn a_form_gets_what_the_body_prepares_and_its_own_arguments() {
        let prepared = "body(&argument0,argument1)?";
        let collective = written("MPI_Bcast | MPI_Ibcast | MPI_Bcast_init");
        assert!(collective.contains(&format!("crate::forms::blocking({prepared})")), "{collective}");
        assert!(collective.contains(&format!("crate::forms::nonblocking({prepared},argument2)")));
        assert!(collective.contains(&format!("crate::forms::persistent({prepared},argument2,argument3)")));
        let window = written("MPI_Put | MPI_Rput");
        assert!(window.contains(&format!("crate::forms::blocking({prepared})")), "{window}");
        assert!(window.contains(&format!("crate::forms::nonblocking({prepared},argument2)")));
        let file = written("MPI_File_read_all | MPI_File_iread_all | MPI_File_read_all_begin | MPI_File_read_all_end");
        assert!(file.contains(&format!("crate::forms::with_status({prepared},argument2)")), "{file}");
        assert!(file.contains(&format!("crate::forms::nonblocking({prepared},argument2)")));
        assert!(file.contains(&format!("crate::forms::begin({prepared},\"MPI_File_read_all\")")));
        // The end has the file and arguments of its own; the body is not run.
        assert!(file.contains("crate::forms::end(&argument0,\"MPI_File_read_all\",argument1,argument2)"));
    }

    #[test]
    fn an_operation_with_one_name_is_its_body() {
        let text = written("MPI_Win_fence");
        assert!(text.contains("body(&argument0,argument1)"), "{text}");
        assert!(!text.contains("crate::forms::"), "{text}");
    }
}
