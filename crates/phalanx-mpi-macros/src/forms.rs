//! The forms in which one operation exists: told from its name, with the arguments that the form adds.

use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::parse::ParseStream;
use syn::{Ident, Token};

/// A form of an operation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// It is carried out before the call returns.
    Blocking,
    /// The call starts it and gives a request.
    Nonblocking,
    /// The call gives a request that can be started any number of times.
    Persistent,
}

/// One name of an operation, and the form that the name says.
pub(crate) struct Named {
    pub(crate) name: Ident,
    pub(crate) form: Form,
}

impl Named {
    /// `MPI_Ibcast` and `MPI_Rput` are nonblocking, `MPI_Bcast_init` is persistent; the first name of all is blocking.
    fn of(name: Ident, first: bool) -> syn::Result<Named> {
        let text = name.to_string();
        let bare = text.strip_prefix("MPI_").unwrap_or(&text);
        let form = match () {
            () if first => Form::Blocking,
            () if bare.ends_with("_init") => Form::Persistent,
            () if bare.starts_with(['I', 'R']) => Form::Nonblocking,
            () => return Err(syn::Error::new(name.span(), "the name says neither `I...`, `R...` nor `..._init`")),
        };
        Ok(Named { name, form })
    }
}

/// Reads `Bcast | Ibcast | Bcast_init`.
pub(crate) fn names(input: ParseStream<'_>) -> syn::Result<Vec<Named>> {
    let mut names = vec![Named::of(input.parse()?, true)?];
    while input.peek(Token![|]) {
        input.parse::<Token![|]>()?;
        names.push(Named::of(input.parse()?, false)?);
    }
    Ok(names)
}

impl Form {
    /// Types of the arguments that this form has after those of the operation, in the C surface.
    pub(crate) fn added(self) -> Vec<Tokens> {
        let request = quote!(crate::param::Out<crate::handle::RawRequest>);
        match self {
            Form::Blocking => vec![],
            Form::Nonblocking => vec![request],
            Form::Persistent => vec![quote!(crate::info::InfoRef), request],
        }
    }

    /// The function of the C surface that carries out, starts or keeps a prepared operation.
    pub(crate) fn carry_out(self) -> Tokens {
        match self {
            Form::Blocking => quote!(crate::forms::blocking),
            Form::Nonblocking => quote!(crate::forms::nonblocking),
            Form::Persistent => quote!(crate::forms::persistent),
        }
    }
}
