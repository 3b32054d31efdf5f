//! `operations`: the Python methods of the forms of an operation.

use proc_macro2::{Delimiter, TokenStream as Tokens, TokenTree};
use quote::{format_ident, quote};
use syn::parse::{Parse, ParseStream};
use syn::spanned::Spanned as _;
use syn::{Attribute, Block, Expr, ExprCall, Ident, Local, Meta, Stmt, Token, braced, parenthesized};

use crate::forms::{self, Form, Named};

/// Columns of a docstring's paragraph, so that it is as wide as what is written by hand.
const WIDTH: usize = 112;

/// `impl Comm { operation* }`
pub(crate) struct Operations {
    class: Ident,
    operations: Vec<Operation>,
}

/// One operation, in all of its forms.
struct Operation {
    /// Paragraphs of its documentation: what it does, and what only the forms that give a request do.
    text: Vec<String>,
    names: Vec<Named>,
    parameters: Vec<Parameter>,
    /// What turns the arguments into messages.
    messages: Option<Local>,
    /// The C call of the blocking form.
    call: ExprCall,
}

/// `root: int = 0`
struct Parameter {
    name: Ident,
    annotation: Vec<TokenTree>,
    default: Option<TokenTree>,
}

impl Parse for Operations {
    fn parse(input: ParseStream<'_>) -> syn::Result<Operations> {
        input.parse::<Token![impl]>()?;
        let class = input.parse()?;
        let body;
        braced!(body in input);
        let mut operations = Vec::new();
        while !body.is_empty() {
            operations.push(body.parse()?);
        }
        Ok(Operations { class, operations })
    }
}

impl Parse for Operation {
    fn parse(input: ParseStream<'_>) -> syn::Result<Operation> {
        let text = paragraphs(&input.call(Attribute::parse_outer)?)?;
        let names = forms::names(input)?;
        let list;
        parenthesized!(list in input);
        let parameters = list.parse_terminated(Parameter::parse, Token![,])?.into_iter().collect();
        let body: Block = input.parse()?;
        let (messages, call) = match &body.stmts[..] {
            [Stmt::Expr(Expr::Call(call), None)] => (None, call),
            [Stmt::Local(messages), Stmt::Expr(Expr::Call(call), None)] => (Some(messages.clone()), call),
            _ => return Err(syn::Error::new(body.span(), "expected `let messages = ...;` and the C call")),
        };
        Ok(Operation { text, names, parameters, messages, call: call.clone() })
    }
}

impl Parse for Parameter {
    fn parse(input: ParseStream<'_>) -> syn::Result<Parameter> {
        let name = input.parse()?;
        input.parse::<Token![:]>()?;
        let mut annotation = Vec::new();
        while !input.is_empty() && !input.peek(Token![,]) && !input.peek(Token![=]) {
            annotation.push(input.parse()?);
        }
        let default = match input.parse::<Option<Token![=]>>()? {
            Some(_) => Some(input.parse()?),
            None => None,
        };
        Ok(Parameter { name, annotation, default })
    }
}

/// The paragraphs of the `///` lines.
fn paragraphs(attributes: &[Attribute]) -> syn::Result<Vec<String>> {
    let mut paragraphs = vec![String::new()];
    for attribute in attributes {
        let Meta::NameValue(doc) = &attribute.meta else {
            return Err(syn::Error::new(attribute.span(), "expected documentation"));
        };
        let value = &doc.value;
        let line: syn::LitStr = syn::parse2(quote!(#value))?;
        let (line, last) = (line.value(), paragraphs.len() - 1);
        match line.trim() {
            "" => paragraphs.push(String::new()),
            words if paragraphs[last].is_empty() => paragraphs[last] = words.to_string(),
            words => paragraphs[last] = format!("{} {words}", paragraphs[last]),
        }
    }
    Ok(paragraphs)
}

impl Parameter {
    /// `info: Info = INFO_NULL`
    fn info() -> syn::Result<Parameter> {
        syn::parse_str("info: Info = INFO_NULL")
    }

    /// As Python writes it.
    fn shown(&self) -> String {
        let Parameter { name, annotation, default } = self;
        let kind = spelled(annotation);
        match default {
            Some(default) => format!("{name}: {kind} = {default}"),
            None => format!("{name}: {kind}"),
        }
    }

    /// What the annotation says, without what follows its first word.
    fn kind(&self) -> String {
        self.annotation.first().map(ToString::to_string).unwrap_or_default()
    }

    /// The type of the argument in Rust.
    fn ty(&self) -> Tokens {
        match (self.kind().as_str(), &self.default) {
            ("int", _) => quote!(c_int),
            ("Op", _) => quote!(Option<&Bound<'py, Op>>),
            ("Info", _) => quote!(Option<&Bound<'py, Info>>),
            (_, Some(_)) => quote!(Option<&Bound<'py, PyAny>>),
            (_, None) => quote!(&Bound<'py, PyAny>),
        }
    }

    /// The entry of PyO3's signature: objects that are left out are `None` in Rust.
    fn signature(&self) -> Tokens {
        let name = &self.name;
        match &self.default {
            Some(TokenTree::Literal(number)) => quote!(#name = #number),
            Some(_) => quote!(#name = None),
            None => quote!(#name),
        }
    }

    /// From an object to its handle.
    fn unwrapped(&self) -> Option<Tokens> {
        let name = &self.name;
        match self.kind().as_str() {
            "Op" => Some(quote! { let #name = #name.map_or(MPI_SUM, |op| op.get().raw()); }),
            "Info" => Some(quote! { let #name = handle::raw_or_null(#name); }),
            _ => None,
        }
    }
}

/// Tokens of a Python annotation: `Sequence[int] | None`.
fn spelled(annotation: &[TokenTree]) -> String {
    let mut text = String::new();
    for token in annotation {
        match token {
            TokenTree::Punct(mark) => text.push_str(&format!(" {mark} ")),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Bracket => {
                text.push_str(&format!("[{}]", spelled(&group.stream().into_iter().collect::<Vec<_>>())));
            }
            other => text.push_str(&other.to_string()),
        }
    }
    text
}

/// Lines of at most [`WIDTH`] columns.
fn wrapped(text: &str) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.len() + 1 + word.len() <= WIDTH => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_string()),
        }
    }
    lines
}

impl Operation {
    /// The docstring of a form, line by line.
    fn documentation(&self, Named { name, form }: &Named, parameters: &[Parameter]) -> Vec<String> {
        let shown: String = parameters.iter().map(|p| format!(", {}", p.shown())).collect();
        let plain = &self.names[0].name.to_string();
        let article = if plain.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
        let does = self.text.first().map_or("", String::as_str);
        let more = self.text.get(1).map(|more| format!(" {more}")).unwrap_or_default();
        let moves = self.messages.is_some();
        let rooted = parameters.iter().any(|p| p.name == "root");
        let (result, first, second) = match form {
            Form::Blocking if moves => {
                let root = if rooted { "root or " } else { "" };
                let second = format!(
                    "Waits until this rank's part is done. Raises Exception for a wrong {root}argument, ValueError, \
                     TypeError or BufferError for a buffer that does not fit."
                );
                ("None", does.to_string(), second)
            }
            Form::Blocking => ("None", does.to_string(), String::new()),
            Form::Nonblocking => {
                let second = if moves {
                    format!("{does} Does not wait; leave the buffers alone until the request is complete.{more}")
                } else {
                    String::from("The request completes once every rank has called this. Does not wait.")
                };
                ("Request", format!("Begin {article} {plain}."), second)
            }
            Form::Persistent => {
                let second = if moves {
                    format!("{does} Waits for all ranks; the buffers belong to the request until it is freed.{more}")
                } else {
                    String::from("Waits for all ranks.")
                };
                ("Prequest", format!("Prepare {article} {plain}, to be started any number of times."), second)
            }
            // `method` has refused them.
            Form::Begin | Form::End => ("None", String::new(), String::new()),
        };
        let mut lines = vec![format!("{name}(self{shown}) -> {result}"), String::new(), first];
        if !second.is_empty() {
            lines.push(String::new());
            lines.extend(wrapped(&second));
        }
        lines
    }

    /// The method of a form.
    fn method(&self, named: &Named) -> syn::Result<Tokens> {
        if matches!(named.form, Form::Begin | Form::End) {
            return Err(syn::Error::new(named.name.span(), "a row has no split forms: `file/access.rs` writes them"));
        }
        let mut all = Vec::new();
        for Parameter { name, annotation, default } in &self.parameters {
            all.push(Parameter { name: name.clone(), annotation: annotation.clone(), default: default.clone() });
        }
        if named.form == Form::Persistent {
            all.push(Parameter::info()?);
        }
        let docs = self.documentation(named, &all).into_iter().map(|line| match line.as_str() {
            "" => line,
            line => format!(" {line}"),
        });
        let method = &named.name;
        let (names, types): (Vec<_>, Vec<_>) = all.iter().map(|p| (&p.name, p.ty())).unzip();
        let signature = all.iter().map(Parameter::signature);
        let unwrapped = all.iter().filter_map(Parameter::unwrapped);
        let messages = &self.messages;
        let parts = match messages {
            Some(local) => {
                let parts = &local.pat;
                quote!(#parts)
            }
            None => quote!(()),
        };
        let function = self.c_function(named)?;
        // An operation's function stays as long as something under way may call it.
        let op = all.iter().find(|p| p.kind() == "Op").map(|p| &p.name);
        let in_use = op.map(|op| match named.form {
            Form::Blocking => quote! { let _in_use = #op.and_then(|op| op.get().in_use(py)); },
            _ => quote! { let in_use = #op.and_then(|op| op.get().in_use(py)); },
        });
        let (held, holding) = match op {
            Some(_) => (quote!((#parts, in_use)), quote!((#parts, _))),
            None => (parts.clone(), parts),
        };
        let arguments: Vec<&Expr> = self.call.args.iter().collect();
        let (result, carry_out) = match named.form {
            // SAFETY: the messages keep their memory until after the call; MPI checks what else it is passed.
            Form::Blocking => (
                quote!(()),
                quote! {
                    gil::brief(py, || crate::patience::met(handle, || unsafe { #function(#(#arguments),*) }))
                },
            ),
            // SAFETY: the request holds the messages, and with them the memory, until the operation is over.
            Form::Nonblocking => (
                quote!(Bound<'py, Request>),
                quote! { start(py, #held, |#holding, request| unsafe { #function(#(#arguments,)* request) }) },
            ),
            // SAFETY: the request holds the messages, and with them the memory, until it is freed.
            Form::Persistent => (
                quote!(Bound<'py, Prequest>),
                quote! { prepare(py, #held, |#holding, request| unsafe { #function(#(#arguments,)* info, request) }) },
            ),
            Form::Begin | Form::End => (quote!(()), quote!()),
        };
        Ok(quote! {
            #(#[doc = #docs])*
            #[pyo3(signature = (#(#signature),*))]
            #[allow(clippy::too_many_arguments, reason = "the arguments of the standard's function")]
            fn #method<'py>(
                slf: &Bound<'py, Self>,
                py: Python<'py>,
                #(#names: #types),*
            ) -> PyResult<#result> {
                let this = Operand::operand(slf);
                let handle = this.raw();
                #in_use
                #(#unwrapped)*
                #messages
                #carry_out
            }
        })
    }

    /// The C function of a form, from that of the blocking form: `MPI_Bcast_c` gives `MPI_Ibcast_c`.
    fn c_function(&self, named: &Named) -> syn::Result<Ident> {
        let Expr::Path(path) = &*self.call.func else {
            return Err(syn::Error::new(self.call.span(), "expected the name of a C function"));
        };
        let blocking = path.path.require_ident()?;
        let width = if blocking.to_string().ends_with("_c") { "_c" } else { "" };
        if blocking != &format!("MPI_{}{width}", self.names[0].name) {
            return Err(syn::Error::new(blocking.span(), "the C function has another name than the method"));
        }
        Ok(format_ident!("MPI_{}{width}", named.name))
    }
}

/// The block of methods.
pub(crate) fn expand(operations: &Operations) -> syn::Result<Tokens> {
    let class = &operations.class;
    let mut methods = Tokens::new();
    for operation in &operations.operations {
        for named in &operation.names {
            methods.extend(operation.method(named)?);
        }
    }
    Ok(quote! {
        #[pymethods]
        impl #class { #methods }
    })
}
