//! The forms in which one operation exists: told from its name, with the arguments that the form adds.

use proc_macro2::TokenStream as Tokens;
use quote::quote;
use syn::parse::ParseStream;
use syn::{Ident, Token};

/// A form of an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// It is carried out before the call returns.
    Blocking,
    /// The call starts it and gives a request.
    Nonblocking,
    /// The call gives a request that can be started any number of times.
    Persistent,
    /// The call starts it, and the file remembers it.
    Begin,
    /// The call completes what the file remembers. It has arguments of its own: the file, the buffer and a status.
    End,
}

/// What an operation is about, which decides how its forms are called and what they add.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    Communicator,
    Window,
    File,
}

/// One name of an operation, and the form that the name says.
#[derive(Debug)]
pub(crate) struct Named {
    pub(crate) name: Ident,
    pub(crate) form: Form,
}

/// The operations of windows that have a form with a request. Nothing else in their names tells whose they are.
const ONE_SIDED: [&str; 4] = ["Put", "Get", "Accumulate", "Get_accumulate"];

/// What the name of an operation's plain form is made of: `MPI_` and `File_` in the C surface, and the rest.
struct Parts<'a> {
    prefix: &'a str,
    rest: &'a str,
}

impl Parts<'_> {
    fn of(first: &str) -> Parts<'_> {
        let prefix = ["MPI_File_", "MPI_"].into_iter().find(|prefix| first.starts_with(prefix)).unwrap_or("");
        Parts { prefix, rest: &first[prefix.len()..] }
    }

    fn subject(&self) -> Subject {
        match self.prefix {
            "MPI_File_" => Subject::File,
            _ if ONE_SIDED.contains(&self.rest) => Subject::Window,
            _ => Subject::Communicator,
        }
    }

    /// The names that follow from the first one: `Ibcast`, `Bcast_init`; `Rput`; `File_iread`, `File_read_begin`, `File_read_end`.
    fn others(&self) -> Vec<(String, Form)> {
        let Parts { prefix, rest } = self;
        let lower = match rest.split_at_checked(1) {
            Some((initial, tail)) => format!("{}{tail}", initial.to_ascii_lowercase()),
            None => String::new(),
        };
        let nonblocking = match self.subject() {
            Subject::Communicator => format!("{prefix}I{lower}"),
            Subject::Window => format!("{prefix}R{lower}"),
            Subject::File => format!("{prefix}i{rest}"),
        };
        let mut others = vec![(nonblocking, Form::Nonblocking)];
        // In Python a name does not tell a file's operation from a communicator's: the class has what exists.
        if self.subject() == Subject::Communicator {
            others.push((format!("{prefix}{rest}_init"), Form::Persistent));
        }
        if self.subject() == Subject::File || (prefix.is_empty() && self.subject() != Subject::Window) {
            others.push((format!("{prefix}{rest}_begin"), Form::Begin));
            others.push((format!("{prefix}{rest}_end"), Form::End));
        }
        others
    }
}

/// The subject of an operation, from the first of its names.
pub(crate) fn subject(names: &[Named]) -> Subject {
    names.first().map_or(Subject::Communicator, |first| Parts::of(&first.name.to_string()).subject())
}

/// Reads `Bcast | Ibcast | Bcast_init`. Every name after the first must be one that follows from it.
pub(crate) fn names(input: ParseStream<'_>) -> syn::Result<Vec<Named>> {
    let first: Ident = input.parse()?;
    let text = first.to_string();
    let others = Parts::of(&text).others();
    let mut names = vec![Named { name: first, form: Form::Blocking }];
    while input.peek(Token![|]) {
        input.parse::<Token![|]>()?;
        let name: Ident = input.parse()?;
        let Some((_, form)) = others.iter().find(|(other, _)| name == other) else {
            let known: Vec<&str> = others.iter().map(|(other, _)| other.as_str()).collect();
            let error = format!("no form of `{text}` has this name; its forms are `{}`", known.join("`, `"));
            return Err(syn::Error::new(name.span(), error));
        };
        if names.iter().any(|named| named.form == *form) {
            return Err(syn::Error::new(name.span(), "this form is there already"));
        }
        names.push(Named { name, form: *form });
    }
    Ok(names)
}

impl Form {
    /// Types of the arguments that this form has after those of the operation (for `_end`, after the file), in the C surface.
    pub(crate) fn added(self, subject: Subject) -> Vec<Tokens> {
        let request = quote!(crate::param::Out<crate::handle::RawRequest>);
        let status = quote!(crate::status::StatusOut);
        match self {
            Form::Blocking if subject == Subject::File => vec![status],
            Form::Blocking | Form::Begin => vec![],
            Form::Nonblocking => vec![request],
            Form::Persistent => vec![quote!(crate::info::InfoRef), request],
            Form::End => vec![quote!(crate::param::Address), status],
        }
    }

    /// The function of the C surface that carries out, starts or keeps a prepared operation.
    pub(crate) fn carry_out(self, subject: Subject) -> Tokens {
        match self {
            Form::Blocking if subject == Subject::File => quote!(crate::forms::with_status),
            Form::Blocking => quote!(crate::forms::blocking),
            Form::Nonblocking => quote!(crate::forms::nonblocking),
            Form::Persistent => quote!(crate::forms::persistent),
            Form::Begin => quote!(crate::forms::begin),
            Form::End => quote!(crate::forms::end),
        }
    }
}

#[cfg(test)]
mod tests {
    use syn::parse::Parser as _;

    use super::{Form, Named, Subject, names, subject};

    fn read(text: &str) -> Result<Vec<Named>, String> {
        names.parse_str(text).map_err(|error| error.to_string())
    }

    fn forms(text: &str) -> Vec<Form> {
        read(text).expect("names of one operation").iter().map(|named| named.form).collect()
    }

    #[test]
    fn a_name_says_its_form() {
        use Form::{Begin, Blocking, End, Nonblocking, Persistent};
        assert_eq!(forms("MPI_Bcast | MPI_Ibcast | MPI_Bcast_init"), [Blocking, Nonblocking, Persistent]);
        assert_eq!(forms("MPI_Neighbor_alltoallw | MPI_Ineighbor_alltoallw"), [Blocking, Nonblocking]);
        assert_eq!(forms("Bcast | Bcast_init"), [Blocking, Persistent]);
        assert_eq!(forms("MPI_Get_accumulate | MPI_Rget_accumulate"), [Blocking, Nonblocking]);
        assert_eq!(forms("Put | Rput"), [Blocking, Nonblocking]);
        assert_eq!(forms("MPI_File_read_at | MPI_File_iread_at"), [Blocking, Nonblocking]);
        let split = "MPI_File_read_all | MPI_File_iread_all | MPI_File_read_all_begin | MPI_File_read_all_end";
        assert_eq!(forms(split), [Blocking, Nonblocking, Begin, End]);
        assert_eq!(forms("MPI_File_write_ordered | MPI_File_write_ordered_begin"), [Blocking, Begin]);
    }

    #[test]
    fn a_name_of_another_operation_is_refused_where_it_stands() {
        for wrong in [
            "MPI_Bcast | MPI_Igather",
            "MPI_Bcast | MPI_Rbcast",
            "MPI_Bcast | MPI_IBcast",
            "MPI_Bcast | MPI_Ibcast_init",
            "MPI_Bcast | MPI_Bcast_begin",
            "MPI_Put | MPI_Iput",
            "MPI_Put | MPI_Put_init",
            "MPI_File_read | MPI_File_Iread",
            "MPI_File_read_all | MPI_File_read_at_all_begin",
            "MPI_File_read_all | MPI_File_read_all_init",
        ] {
            let error = read(wrong).expect_err(wrong);
            let first = wrong.split(' ').next().unwrap_or_default();
            assert!(error.starts_with(&format!("no form of `{first}` has this name")), "{wrong}: {error}");
        }
        assert_eq!(read("MPI_Bcast | MPI_Ibcast | MPI_Ibcast").unwrap_err(), "this form is there already");
    }

    #[test]
    fn the_first_name_says_what_the_operation_is_about() {
        for (text, expected) in [
            ("MPI_Get", Subject::Window),
            ("MPI_Get_count", Subject::Communicator),
            ("MPI_File_read", Subject::File),
            ("MPI_Gather", Subject::Communicator),
        ] {
            assert_eq!(subject(&read(text).expect("a name")), expected, "{text}");
        }
    }
}
