//! `phalanx cc`: the C compiler with what a program needs to use our `mpi.h` and library.
//!
//! It answers the questions that builds ask of an `mpicc`: `-show` (MPICH) and `-showme` (Open MPI) in their forms.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use crate::error::LaunchError;
use crate::help;
use crate::install;
use crate::output;

/// The library that programs are linked to.
pub(crate) const LIBRARY: &str = "libmpi_abi.so.1";

/// What was asked for.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    /// Run the compiler.
    Compile,
    /// Print its command line.
    Show,
    /// Print the flags for compiling, for linking, or one kind of them.
    Flags(Kind),
    /// Print who this is.
    Version,
    Help,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Compile,
    Link,
    IncludeDirectories,
    LibraryDirectories,
    Libraries,
    Compiler,
}

/// Compiles, or answers a question about compiling. Compiling replaces this process.
///
/// # Errors
/// When the header or the library is not installed, or the compiler cannot be started.
pub fn command(args: &[OsString]) -> Result<u8, LaunchError> {
    let (request, compiler, rest) = read(args);
    match request {
        Request::Help => {
            output::print(help::CC);
            return Ok(0);
        }
        Request::Version => {
            output::print(&format!(
                "phalanx cc {}, for the MPI 5.0 standard ABI ({LIBRARY})\n",
                env!("CARGO_PKG_VERSION")
            ));
            return Ok(0);
        }
        _ => {}
    }
    let package = install::package()?;
    let (include, native) = (package.join("include"), package.join("_native"));
    for file in [include.join("mpi.h"), native.join(LIBRARY)] {
        if !file.is_file() {
            return Err(LaunchError::Install(format!(
                "{} is missing; install the wheel (pip install .), or set {} to an installed package",
                file.display(),
                install::HOME
            )));
        }
    }
    let line = command_line(&compiler, &rest, &include, &native);
    if let Request::Flags(kind) = request {
        output::print(&format!("{}\n", flags(kind, &compiler, &include, &native)));
        return Ok(0);
    }
    if request == Request::Show {
        let words: Vec<String> = line.iter().map(|word| quoted(word)).collect();
        output::print(&format!("{}\n", words.join(" ")));
        return Ok(0);
    }
    let Some((program, args)) = line.split_first() else {
        return Err(LaunchError::Usage { command: "cc", problem: "CC is empty".to_owned() });
    };
    let error = Command::new(program).args(args).exec();
    let doing = format!("starting the C compiler '{}' (set CC to name another)", program.to_string_lossy());
    Err(LaunchError::system(doing, error))
}

/// Splits off what is meant for us: the request and the compiler.
fn read(args: &[OsString]) -> (Request, Vec<OsString>, Vec<OsString>) {
    let mut request = Request::Compile;
    let mut compiler = words(std::env::var_os("CC").filter(|cc| !cc.is_empty()).as_deref().unwrap_or(OsStr::new("cc")));
    let mut rest = Vec::new();
    for arg in args {
        let text = arg.to_string_lossy();
        let name = text.strip_prefix('-').map_or("", |name| name.strip_prefix('-').unwrap_or(name));
        match name {
            "show" | "showme" => request = Request::Show,
            "compile_info" | "compile-info" | "showme:compile" => request = Request::Flags(Kind::Compile),
            "link_info" | "link-info" | "showme:link" => request = Request::Flags(Kind::Link),
            "showme:incdirs" => request = Request::Flags(Kind::IncludeDirectories),
            "showme:libdirs" => request = Request::Flags(Kind::LibraryDirectories),
            "showme:libs" => request = Request::Flags(Kind::Libraries),
            "showme:version" => request = Request::Version,
            "showme:command" => request = Request::Flags(Kind::Compiler),
            "help" if args.len() == 1 => request = Request::Help,
            _ => match text.strip_prefix("-cc=").or_else(|| text.strip_prefix("--cc=")) {
                Some(named) => compiler = words(OsStr::new(named)),
                None => rest.push(arg.clone()),
            },
        }
    }
    (request, compiler, rest)
}

fn words(text: &OsStr) -> Vec<OsString> {
    text.as_bytes()
        .split(u8::is_ascii_whitespace)
        .filter(|word| !word.is_empty())
        .map(|word| OsStr::from_bytes(word).to_owned())
        .collect()
}

/// The flags of one kind, as one line.
fn flags(kind: Kind, compiler: &[OsString], include: &Path, native: &Path) -> String {
    let line = |words: &[OsString]| words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ");
    match kind {
        Kind::Compile => quoted(&prefixed("-I", include)),
        Kind::Link => line(&link_flags(native)),
        Kind::IncludeDirectories => include.display().to_string(),
        Kind::LibraryDirectories => native.display().to_string(),
        Kind::Libraries => format!(":{LIBRARY}"),
        Kind::Compiler => line(compiler),
    }
}

fn prefixed(prefix: &str, path: &Path) -> OsString {
    let mut flag = OsString::from(prefix);
    flag.push(path);
    flag
}

fn link_flags(native: &Path) -> [OsString; 3] {
    [prefixed("-L", native), prefixed("-Wl,-rpath,", native), format!("-l:{LIBRARY}").into()]
}

/// The compiler's whole command line. Link flags are left out when nothing will be linked.
fn command_line(compiler: &[OsString], args: &[OsString], include: &Path, native: &Path) -> Vec<OsString> {
    let mut line = compiler.to_vec();
    line.push(prefixed("-I", include));
    line.extend_from_slice(args);
    let linking =
        !args.iter().any(|arg| ["-c", "-S", "-E", "-M", "-MM", "-fsyntax-only"].iter().any(|flag| arg == flag));
    if linking {
        line.extend(link_flags(native));
    }
    line
}

/// A word as a shell reads it.
fn quoted(word: &OsStr) -> String {
    let text = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=+:,@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.into_owned()
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<OsString> {
        line.split(' ').map(Into::into).collect()
    }

    #[test]
    fn linking_flags_come_last_and_only_for_links() {
        let (include, native) = (Path::new("/p/include"), Path::new("/p/_native"));
        let line = command_line(&args("gcc -m64"), &args("a.c -o a"), include, native);
        let text: Vec<String> = line.iter().map(|word| quoted(word)).collect();
        assert_eq!(
            text.join(" "),
            "gcc -m64 -I/p/include a.c -o a -L/p/_native -Wl,-rpath,/p/_native -l:libmpi_abi.so.1"
        );
        let line = command_line(&args("cc"), &args("-c a.c"), include, native);
        assert_eq!(line.last().unwrap(), "a.c");
    }

    #[test]
    fn questions_of_other_wrappers_are_understood() {
        for (line, expected) in [
            ("-show", Request::Show),
            ("a.c -show", Request::Show),
            ("--showme", Request::Show),
            ("-compile_info", Request::Flags(Kind::Compile)),
            ("--showme:link", Request::Flags(Kind::Link)),
            ("-showme:incdirs", Request::Flags(Kind::IncludeDirectories)),
            ("a.c", Request::Compile),
            ("--help", Request::Help),
        ] {
            assert_eq!(read(&args(line)).0, expected, "{line}");
        }
        let (_, compiler, rest) = read(&args("-cc=clang a.c"));
        assert_eq!((compiler, rest), (args("clang"), args("a.c")));
    }

    #[test]
    fn words_survive_a_shell() {
        assert_eq!(quoted(OsStr::new("-I/a b/it's")), "'-I/a b/it'\\''s'");
        assert_eq!(flags(Kind::Compile, &[], Path::new("/x y"), Path::new("/z")), "'-I/x y'");
    }
}
