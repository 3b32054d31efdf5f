//! The flags of `phalanx run`: those that people already type for other launchers, with the same meaning.
//!
//! A flag may be written with one dash or two, and its value may follow as the next argument or after `=`.
//! Flags end at the first argument that is not one: the program. `:` ends a program's arguments and begins the
//! next section (several programs in one job).

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::LaunchError;
use crate::install::Opened;
use crate::suggest;

/// Which CPUs each rank may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Binding {
    /// When there is a CPU for each rank, an equal share of the CPUs each: ranks that talk to each other must not be
    /// put on one CPU while another is free, which the kernel does with processes that wake each other. Else all.
    #[default]
    Auto,
    /// All CPUs.
    None,
    /// One CPU each, in turn.
    Core,
}

/// The whole command line of `phalanx run`.
#[derive(Debug, Default)]
pub struct RunOptions {
    /// The sections, in order; ranks are numbered through them.
    pub apps: Vec<App>,
    /// Environment for every rank (`-x`, `-genv`).
    pub env: Vec<(OsString, OsString)>,
    /// Whether each line of output begins with `[rank] `.
    pub tag_output: bool,
    /// Write output to `PREFIX.RANK.out` and `PREFIX.RANK.err` instead of ours.
    pub output_prefix: Option<PathBuf>,
    /// End the job after this time.
    pub timeout: Option<Duration>,
    /// Which CPUs each rank may use.
    pub binding: Binding,
    /// Say what is started, and how it ended.
    pub verbose: bool,
    /// A rank that fails does not end the job.
    pub keep_going: bool,
    /// The doors to open (`--doors`, `--no-doors`); `None` leaves it to the environment.
    pub doors: Option<Opened>,
    /// What was accepted without effect and deserves a word.
    pub warnings: Vec<String>,
    /// Only show the help text.
    pub help: bool,
    /// Only show the version.
    pub version: bool,
}

/// One section: so many ranks of one program.
#[derive(Debug, Default)]
pub struct App {
    /// How many ranks.
    pub ranks: u32,
    /// The directory they start in.
    pub wdir: Option<PathBuf>,
    /// Environment for these ranks only.
    pub env: Vec<(OsString, OsString)>,
    /// What they run.
    pub target: Target,
    /// Its arguments.
    pub args: Vec<OsString>,
}

/// What a section runs, as typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A script, an executable's path, or a name on `PATH`.
    Program(OsString),
    /// A Python module (`-m name`).
    Module(OsString),
}

impl Default for Target {
    fn default() -> Self {
        Self::Program(OsString::new())
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Id {
    Ranks,
    Export,
    Env,
    GlobalEnv,
    EnvList,
    Wdir,
    Tag,
    OutputFiles,
    Timeout,
    Bind,
    Host,
    HostFile,
    Verbose,
    KeepGoing,
    Doors,
    NoDoors,
    Module,
    Mca,
    /// Accepted because it asks for nothing this launcher has to do; takes this many values.
    Nothing(u8),
    Version,
    Help,
}

/// Every name a flag answers to, without dashes, and what it means.
const FLAGS: &[(&str, Id)] = &[
    ("n", Id::Ranks),
    ("np", Id::Ranks),
    ("c", Id::Ranks),
    ("x", Id::Export),
    ("env", Id::Env),
    ("genv", Id::GlobalEnv),
    ("envlist", Id::EnvList),
    ("genvlist", Id::EnvList),
    ("wdir", Id::Wdir),
    ("wd", Id::Wdir),
    ("l", Id::Tag),
    ("tag-output", Id::Tag),
    ("prepend-rank", Id::Tag),
    ("output-filename", Id::OutputFiles),
    ("timeout", Id::Timeout),
    ("bind-to", Id::Bind),
    ("host", Id::Host),
    ("hosts", Id::Host),
    ("H", Id::Host),
    ("hostfile", Id::HostFile),
    ("machinefile", Id::HostFile),
    ("f", Id::HostFile),
    ("v", Id::Verbose),
    ("verbose", Id::Verbose),
    ("keep-going", Id::KeepGoing),
    ("doors", Id::Doors),
    ("no-doors", Id::NoDoors),
    ("m", Id::Module),
    ("mca", Id::Mca),
    ("gmca", Id::Mca),
    ("pmca", Id::Mca),
    ("oversubscribe", Id::Nothing(0)),
    ("allow-run-as-root", Id::Nothing(0)),
    ("genvall", Id::Nothing(0)),
    ("envall", Id::Nothing(0)),
    ("q", Id::Nothing(0)),
    ("quiet", Id::Nothing(0)),
    ("map-by", Id::Nothing(1)),
    ("rank-by", Id::Nothing(1)),
    ("ppn", Id::Nothing(1)),
    ("V", Id::Version),
    ("version", Id::Version),
    ("h", Id::Help),
    ("help", Id::Help),
];

/// The arguments left to read, in one section.
struct Reader<'a> {
    args: &'a [OsString],
    at: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a OsString> {
        let arg = self.args.get(self.at)?;
        self.at += 1;
        Some(arg)
    }

    fn value(&mut self, flag: &str, inline: Option<&OsStr>, what: &str) -> Result<OsString, LaunchError> {
        match inline {
            Some(value) => Ok(value.to_owned()),
            None => {
                self.next().cloned().ok_or_else(|| LaunchError::usage(format!("flag '{flag}' needs {what} after it")))
            }
        }
    }
}

/// Reads the command line of `phalanx run`.
///
/// # Errors
/// [`LaunchError::UnknownFlag`] and [`LaunchError::Usage`], with the flag as typed.
pub fn parse(args: &[OsString]) -> Result<RunOptions, LaunchError> {
    let mut options = RunOptions::default();
    for section in args.split(|arg| arg == ":") {
        let app = parse_section(section, &mut options)?;
        if options.help || options.version {
            return Ok(options);
        }
        options.apps.push(app);
    }
    Ok(options)
}

fn parse_section(args: &[OsString], options: &mut RunOptions) -> Result<App, LaunchError> {
    let mut app = App { ranks: 1, ..App::default() };
    let mut reader = Reader { args, at: 0 };
    let mut module = None;
    while module.is_none() {
        let Some(arg) = reader.args.get(reader.at) else {
            break;
        };
        if arg == "--" {
            reader.at += 1;
            break;
        }
        if !arg.as_bytes().starts_with(b"-") || arg == "-" {
            break;
        }
        reader.at += 1;
        module = flag(arg, &mut reader, options, &mut app)?;
        if options.help || options.version {
            return Ok(app);
        }
    }
    app.target = match module {
        Some(name) => Target::Module(name),
        None => Target::Program(
            reader
                .next()
                .cloned()
                .ok_or_else(|| LaunchError::usage("no program given; for example: phalanx run -n 4 script.py"))?,
        ),
    };
    app.args = args[reader.at..].to_vec();
    Ok(app)
}

/// Reads one flag; gives the module's name when the flag was `-m`.
fn flag(
    arg: &OsStr,
    reader: &mut Reader<'_>,
    options: &mut RunOptions,
    app: &mut App,
) -> Result<Option<OsString>, LaunchError> {
    let (typed, inline) = split_once(arg, b'=');
    let typed = typed.to_string_lossy();
    let name = typed.trim_start_matches('-');
    let Some(&(_, id)) = FLAGS.iter().find(|(known, _)| *known == name) else {
        return Err(unknown(&typed, name));
    };
    match id {
        Id::Ranks => app.ranks = ranks(&typed, &reader.value(&typed, inline, "a number of ranks")?)?,
        Id::Export => {
            let given = match inline {
                // `-x=NAME=VALUE` is not something anybody writes; `-x NAME=VALUE` is.
                Some(value) => value.to_owned(),
                None => reader.value(&typed, None, "NAME or NAME=VALUE")?,
            };
            export(&given, options)?;
        }
        Id::Env | Id::GlobalEnv => {
            let key = reader.value(&typed, inline, "NAME VALUE")?;
            variable_name(&key)?;
            let value = reader.value(&typed, None, "NAME VALUE")?;
            let list = if id == Id::Env { &mut app.env } else { &mut options.env };
            list.push((key, value));
        }
        Id::EnvList => {
            let names = reader.value(&typed, inline, "NAME,NAME,...")?;
            for key in names.as_bytes().split(|b| *b == b',').filter(|n| !n.is_empty()) {
                export(OsStr::from_bytes(key), options)?;
            }
        }
        Id::Wdir => app.wdir = Some(reader.value(&typed, inline, "a directory")?.into()),
        Id::Tag => options.tag_output = true,
        Id::OutputFiles => {
            options.output_prefix = Some(reader.value(&typed, inline, "the beginning of a file name")?.into());
        }
        Id::Timeout => options.timeout = Some(timeout(&reader.value(&typed, inline, "a number of seconds")?)?),
        Id::Bind => bind(&reader.value(&typed, inline, "'auto', 'none' or 'core'")?, options)?,
        Id::Host => hosts(&reader.value(&typed, inline, "host names")?)?,
        Id::HostFile => host_file(Path::new(&reader.value(&typed, inline, "a file of host names")?))?,
        Id::Verbose => options.verbose = true,
        Id::KeepGoing => options.keep_going = true,
        Id::Doors => {
            let list = reader.value(&typed, inline, Opened::NAMES)?;
            options.doors = Some(Opened::parse(&list, &typed).map_err(LaunchError::usage)?);
        }
        Id::NoDoors => options.doors = Some(Opened::None),
        Id::Module => {
            return Ok(Some(reader.value(&typed, inline, "the name of a Python module")?));
        }
        Id::Mca => {
            let key = reader.value(&typed, inline, "NAME VALUE")?;
            reader.value(&typed, None, "NAME VALUE")?;
            if !options.warnings.iter().any(|w| w.contains("--mca")) {
                options.warnings.push(format!(
                    "--mca {} ignored: it sets a parameter of Open MPI, which is not what runs here",
                    key.to_string_lossy()
                ));
            }
        }
        Id::Nothing(values) => {
            for n in 0..values {
                reader.value(&typed, if n == 0 { inline } else { None }, "a value")?;
            }
        }
        Id::Version => options.version = true,
        Id::Help => options.help = true,
    }
    Ok(None)
}

fn unknown(typed: &str, name: &str) -> LaunchError {
    let hint = suggest::nearest(name, FLAGS.iter().map(|(known, _)| *known).filter(|known| known.len() > 1));
    LaunchError::UnknownFlag { command: "run", given: typed.to_owned(), hint: hint.map(|known| format!("--{known}")) }
}

fn split_once(text: &OsStr, at: u8) -> (&OsStr, Option<&OsStr>) {
    let bytes = text.as_bytes();
    match bytes.iter().position(|b| *b == at) {
        Some(i) => (OsStr::from_bytes(&bytes[..i]), Some(OsStr::from_bytes(&bytes[i + 1..]))),
        None => (text, None),
    }
}

fn ranks(flag: &str, value: &OsStr) -> Result<u32, LaunchError> {
    let text = value.to_string_lossy();
    match text.parse::<i64>() {
        Ok(n) if n > 0 && n <= i64::from(u32::MAX) => Ok(n as u32),
        Ok(n) if n > 0 => Err(LaunchError::usage(format!("{flag} {n}: more ranks than can be numbered"))),
        Ok(n) => Err(LaunchError::usage(format!("{flag} {n}: the number of ranks must be at least 1"))),
        Err(_) => Err(LaunchError::usage(format!("{flag} {text}: the number of ranks must be a whole number"))),
    }
}

fn variable_name(name: &OsStr) -> Result<(), LaunchError> {
    if name.is_empty() || name.as_bytes().contains(&b'=') {
        return Err(LaunchError::usage(format!("'{}' is not the name of a variable", name.to_string_lossy())));
    }
    Ok(())
}

fn export(given: &OsStr, options: &mut RunOptions) -> Result<(), LaunchError> {
    let (name, value) = split_once(given, b'=');
    variable_name(name)?;
    match value {
        Some(value) => options.env.push((name.to_owned(), value.to_owned())),
        // Ranks inherit our environment, so that a set variable is already on its way.
        None if std::env::var_os(name).is_none() => {
            options.warnings.push(format!("-x {}: that variable is not set here", name.to_string_lossy()));
        }
        None => {}
    }
    Ok(())
}

fn timeout(value: &OsStr) -> Result<Duration, LaunchError> {
    let text = value.to_string_lossy();
    text.parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| LaunchError::usage(format!("--timeout {text}: give a number of seconds above 0")))
}

fn bind(value: &OsStr, options: &mut RunOptions) -> Result<(), LaunchError> {
    match value.to_string_lossy().as_ref() {
        "auto" => options.binding = Binding::Auto,
        "none" => options.binding = Binding::None,
        "core" | "hwthread" | "cpu" => options.binding = Binding::Core,
        other => {
            return Err(LaunchError::usage(format!("--bind-to {other}: only 'auto', 'none' and 'core' are offered")));
        }
    }
    Ok(())
}

/// Checks a list `host[:slots],host[:slots]`: all of them must be this machine.
fn hosts(list: &OsStr) -> Result<(), LaunchError> {
    let here = rustix::system::uname();
    let here = here.nodename().to_string_lossy().into_owned();
    for host in list.to_string_lossy().split(',').map(str::trim).filter(|h| !h.is_empty()) {
        let name = match host.rsplit_once(':') {
            Some((name, slots)) if slots.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => host,
        };
        let short = |s: &str| s.split('.').next().unwrap_or(s).to_owned();
        let local = ["localhost", "127.0.0.1", "::1"].contains(&name) || short(name) == short(&here);
        if !local {
            return Err(LaunchError::usage(format!(
                "host '{name}' is not this machine: the embedded engine runs on one machine; for several, start \
                 the same script with the site's srun or mpiexec and PHALANX_MPI=site"
            )));
        }
    }
    Ok(())
}

fn host_file(path: &Path) -> Result<(), LaunchError> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| LaunchError::usage(format!("--hostfile {}: cannot be read: {e}", path.display())))?;
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or("");
        if let Some(host) = line.split_whitespace().next() {
            hosts(&OsString::from_vec(host.as_bytes().to_vec()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse_words(line: &str) -> Result<RunOptions, LaunchError> {
        let args: Vec<OsString> = line.split_whitespace().map(Into::into).collect();
        parse(&args)
    }

    #[test]
    fn counts_may_be_written_in_every_known_way() {
        for line in ["-n 4 a", "-np 4 a", "--np 4 a", "-c 4 a", "-n=4 a", "--np=4 a"] {
            let options = parse_words(line).unwrap();
            assert_eq!(options.apps[0].ranks, 4, "{line}");
            assert_eq!(options.apps[0].target, Target::Program("a".into()), "{line}");
        }
        assert_eq!(parse_words("a").unwrap().apps[0].ranks, 1);
    }

    #[test]
    fn flags_end_at_the_program() {
        let options = parse_words("-n 2 python -c x -n 9 --timeout").unwrap();
        assert_eq!(options.apps[0].ranks, 2);
        assert_eq!(options.apps[0].args, ["-c", "x", "-n", "9", "--timeout"]);
        let options = parse_words("-n 2 -m mpi4py.bench helloworld -q").unwrap();
        assert_eq!(options.apps[0].target, Target::Module("mpi4py.bench".into()));
        assert_eq!(options.apps[0].args, ["helloworld", "-q"]);
        let options = parse_words("-n 2 -- -odd-name").unwrap();
        assert_eq!(options.apps[0].target, Target::Program("-odd-name".into()));
    }

    #[test]
    fn colons_separate_programs() {
        let options = parse_words("-l -n 1 --wdir /tmp a 1 : -n 3 -env K V b 2").unwrap();
        assert!(options.tag_output);
        assert_eq!(options.apps.len(), 2);
        assert_eq!((options.apps[0].ranks, options.apps[1].ranks), (1, 3));
        assert_eq!(options.apps[0].wdir.as_deref(), Some(Path::new("/tmp")));
        assert_eq!(options.apps[1].env, [("K".into(), "V".into())]);
        assert_eq!(options.apps[1].args, ["2"]);
    }

    #[test]
    fn bad_values_name_the_flag_and_the_fix() {
        let cases = [
            ("-n 0 a", "at least 1"),
            ("-n -3 a", "at least 1"),
            ("-n four a", "whole number"),
            ("-n", "needs a number"),
            ("-n 2", "no program"),
            ("", "no program"),
            ("-n 1 a :", "no program"),
            ("--timeout soon a", "seconds"),
            ("--timeout -1 a", "seconds"),
            ("--bind-to socket a", "'core'"),
            ("--host node7 a", "PHALANX_MPI=site"),
            ("--hostfile /nonexistent/hosts a", "cannot be read"),
            ("-x =3 a", "name of a variable"),
            ("--tag-ouptut a", "--tag-output"),
        ];
        for (line, expected) in cases {
            let error = parse_words(line).unwrap_err();
            assert_eq!(error.exit_status(), 2, "{line}");
            assert!(error.to_string().contains(expected), "{line}: {error}");
        }
    }

    #[test]
    fn what_other_launchers_accept_is_accepted() {
        let options = parse_words(
            "--oversubscribe --allow-run-as-root --mca btl self --mca pml ob1 --map-by core --host localhost:4 \
             --bind-to none -genvall -n 2 a",
        )
        .unwrap();
        assert_eq!(options.apps[0].ranks, 2);
        assert_eq!(options.warnings.len(), 1, "one warning for all of --mca");
    }
}
