//! The flags of `phalanx run`: those that people already type for other launchers, with the same meaning.
//!
//! A flag may be written with one dash or two, and its value may follow as the next argument or after `=`.
//! Flags end at the first argument that is not one: the program. `:` ends a program's arguments and begins the
//! next section (several programs in one job).

mod flags;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::LaunchError;
use crate::hosts::list::{self, Listed};
use crate::install::Opened;
use crate::suggest;
use flags::Id;

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
    /// The CPUs of one part of the machine each, in turn.
    Domain(Domain),
}

/// A part of the machine whose CPUs share something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Domain {
    /// A processor package.
    Socket,
    /// The memory that is near.
    Numa,
    /// A cache of this level.
    Cache(u8),
}

/// Who reads standard input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// Nobody.
    Nobody,
    /// This rank.
    Rank(u32),
}

impl Default for Reader {
    fn default() -> Self {
        Self::Rank(0)
    }
}

/// What is done when ranks wait for each other and can never go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDeadlock {
    /// It is said, and the job ends.
    #[default]
    Abort,
    /// The calls that wait fail.
    Raise,
    /// It is said.
    Report,
    /// Nothing: nobody looks.
    Ignore,
}

impl OnDeadlock {
    /// What may be typed, for messages.
    pub const NAMES: &str = "'abort', 'raise', 'report' or 'ignore'";

    /// What was typed.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn parse(typed: &str, value: &OsStr) -> Result<Self, LaunchError> {
        let known = [Self::Abort, Self::Raise, Self::Report, Self::Ignore];
        known.into_iter().find(|one| value == one.name()).ok_or_else(|| {
            LaunchError::usage(format!("{typed}: '{}' is not one of {}", value.to_string_lossy(), Self::NAMES))
        })
    }

    /// As it is typed.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Abort => "abort",
            Self::Raise => "raise",
            Self::Report => "report",
            Self::Ignore => "ignore",
        }
    }
}

/// Whether the program is checked while it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// No.
    #[default]
    Off,
    /// Yes, and a mistake is a failure of the job.
    Fail,
    /// Yes, and what is found is told.
    Report,
}

impl Check {
    /// What was typed; nothing is as good as a yes.
    ///
    /// # Errors
    /// When it is nothing that is known.
    pub fn parse(typed: &str, value: &OsStr) -> Result<Self, LaunchError> {
        match value.to_str() {
            Some("0" | "off" | "no") => Ok(Self::Off),
            Some("" | "1" | "on" | "yes" | "fail") => Ok(Self::Fail),
            Some("report") => Ok(Self::Report),
            _ => Err(LaunchError::usage(format!(
                "{typed}: '{}' is not one of 'fail', 'report' or 'off'",
                value.to_string_lossy()
            ))),
        }
    }

    /// As ranks see it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "0",
            Self::Fail => "fail",
            Self::Report => "report",
        }
    }
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
    /// How long ranks may take to end when they are asked to.
    pub grace: Option<Duration>,
    /// Which CPUs each rank may use.
    pub binding: Binding,
    /// Say which CPUs each rank got.
    pub report_bindings: bool,
    /// Say what each rank is.
    pub display_map: bool,
    /// More ranks than CPUs are an error.
    pub no_oversubscribe: bool,
    /// The attribute `MPI_UNIVERSE_SIZE`.
    pub universe_size: Option<u32>,
    /// Whether each line of output begins with the time.
    pub timestamps: bool,
    /// A rank's standard error goes where its standard output goes.
    pub merge: bool,
    /// Who reads standard input.
    pub stdin: Reader,
    /// Where ranks start whose program is given no directory.
    pub wdir: Option<PathBuf>,
    /// Say what is started, and how it ended.
    pub verbose: bool,
    /// A rank that fails does not end the job.
    pub keep_going: bool,
    /// A debugger looks at the first exception that nobody caught.
    pub pdb: bool,
    /// What is done when ranks can never go on; `None`: as the environment says.
    pub on_deadlock: Option<OnDeadlock>,
    /// Whether the program is checked; `None`: as the environment says.
    pub check: Option<Check>,
    /// The file in which what timing decides is recorded.
    pub record: Option<PathBuf>,
    /// The file whose decisions are repeated.
    pub replay: Option<PathBuf>,
    /// The file for a timeline of the job.
    pub trace: Option<PathBuf>,
    /// The file for a report of what the job's time went into.
    pub report: Option<PathBuf>,
    /// How many bytes each rank may record; `None`: as the environment says.
    pub trace_size: Option<usize>,
    /// The hosts that ranks run on (`--host`, `--hostfile`); none: this machine, or an allocation's.
    pub hosts: Vec<Listed>,
    /// The command of the remote shell; `None`: as the environment says.
    pub ssh: Option<OsString>,
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
    /// The number was given.
    pub(crate) counted: bool,
    /// How many ranks there may be on a machine, and are if no number is given.
    pub(crate) per_node: Option<u32>,
    /// Directories to look for the program in before those of `PATH`.
    pub path: Option<OsString>,
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

/// The arguments left to read, in one section.
struct Arguments<'a> {
    args: &'a [OsString],
    at: usize,
}

impl<'a> Arguments<'a> {
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
    let mut reader = Arguments { args, at: 0 };
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
    if let Some(limit) = app.per_node.filter(|_| !app.counted) {
        app.ranks = limit;
    }
    Ok(app)
}

/// Reads one flag; gives the module's name when the flag was `-m`.
fn flag(
    arg: &OsStr,
    reader: &mut Arguments<'_>,
    options: &mut RunOptions,
    app: &mut App,
) -> Result<Option<OsString>, LaunchError> {
    let (typed, inline) = split_once(arg, b'=');
    let typed = typed.to_string_lossy();
    let name = typed.trim_start_matches('-');
    let Some(id) = flags::find(name) else {
        return Err(unknown(&typed, name));
    };
    match id {
        Id::Ranks => {
            app.ranks = ranks(&typed, &reader.value(&typed, inline, "a number of ranks")?)?;
            app.counted = true;
        }
        Id::PerNode => app.per_node = Some(ranks(&typed, &reader.value(&typed, inline, "a number of ranks")?)?),
        Id::OnePerNode => app.per_node = Some(1),
        Id::Map => map_by(&typed, &reader.value(&typed, inline, "what to map by")?, app)?,
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
        Id::GlobalWdir => options.wdir = Some(reader.value(&typed, inline, "a directory")?.into()),
        Id::Path => app.path = Some(reader.value(&typed, inline, "a list of directories")?),
        Id::Tag => options.tag_output = true,
        Id::Timestamp => options.timestamps = true,
        Id::Merge => options.merge = true,
        Id::Output => output(&reader.value(&typed, inline, "'tag', 'timestamp', 'merge' or 'file=BASE'")?, options)?,
        Id::Stdin => options.stdin = stdin(&reader.value(&typed, inline, "'none' or a rank")?)?,
        Id::OutputFiles => {
            options.output_prefix = Some(reader.value(&typed, inline, "the beginning of a file name")?.into());
        }
        Id::Timeout => {
            options.timeout = Some(seconds(&typed, &reader.value(&typed, inline, "a number of seconds")?)?);
        }
        Id::Grace => options.grace = Some(seconds(&typed, &reader.value(&typed, inline, "a number of seconds")?)?),
        Id::Bind => bind(&reader.value(&typed, inline, BINDINGS)?.to_string_lossy(), options)?,
        Id::BindAs(value) => bind(value, options)?,
        Id::ReportBindings => options.report_bindings = true,
        Id::DisplayMap => options.display_map = true,
        Id::Display => display(&reader.value(&typed, inline, "'map' or 'bind'")?, options),
        Id::NoOversubscribe => options.no_oversubscribe = true,
        Id::UniverseSize => {
            options.universe_size = universe_size(&typed, &reader.value(&typed, inline, "a number of processes")?)?;
        }
        Id::Host => {
            let names = reader.value(&typed, inline, "host names")?;
            options.hosts.extend(list::of_flag(&typed, &names.to_string_lossy())?);
        }
        Id::HostFile => {
            let file = reader.value(&typed, inline, "a file of host names")?;
            options.hosts.extend(list::of_file(Path::new(&file))?);
        }
        Id::Ssh => options.ssh = Some(reader.value(&typed, inline, "a command, as 'ssh -p 2222'")?),
        Id::Verbose => options.verbose = true,
        Id::KeepGoing => options.keep_going = true,
        Id::Pdb => options.pdb = true,
        Id::OnDeadlock => {
            options.on_deadlock = Some(OnDeadlock::parse(&typed, &reader.value(&typed, inline, OnDeadlock::NAMES)?)?);
        }
        Id::Check => options.check = Some(Check::parse(&typed, inline.unwrap_or_default())?),
        Id::Record => options.record = Some(reader.value(&typed, inline, "the name of a file")?.into()),
        Id::Replay => options.replay = Some(reader.value(&typed, inline, "the name of a file")?.into()),
        Id::Trace => options.trace = Some(reader.value(&typed, inline, "a file for the timeline")?.into()),
        Id::Report => options.report = Some(reader.value(&typed, inline, "a file for the report")?.into()),
        Id::TraceSize => {
            let value = reader.value(&typed, inline, "a size, as in 128M")?;
            options.trace_size = Some(crate::job::trace::bytes(&typed, &value)?);
        }
        Id::Doors => {
            let list = reader.value(&typed, inline, Opened::NAMES)?;
            options.doors = Some(Opened::parse(&list, &typed).map_err(LaunchError::usage)?);
        }
        Id::NoDoors => options.doors = Some(Opened::None),
        Id::Module => {
            return Ok(Some(reader.value(&typed, inline, "the name of a Python module")?));
        }
        Id::Parameter(values) => {
            let what = if values == 1 { "a value" } else { "NAME VALUE" };
            let key = reader.value(&typed, inline, what)?;
            if values > 1 {
                reader.value(&typed, None, what)?;
            }
            if !options.warnings.iter().any(|w| w.contains("a parameter of Open MPI")) {
                options.warnings.push(format!(
                    "{typed} {} ignored: it sets a parameter of Open MPI, which is not what runs here",
                    key.to_string_lossy()
                ));
            }
        }
        Id::Refused(instead) => return Err(LaunchError::usage(format!("{typed} is not taken; {instead}"))),
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
    let hint = suggest::nearest(name, flags::long_names());
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

/// A number of seconds above 0, given by `source` (a flag or a variable).
pub(crate) fn seconds(source: &str, value: &OsStr) -> Result<Duration, LaunchError> {
    let text = value.to_string_lossy();
    text.trim()
        .parse::<f64>()
        .ok()
        .filter(|seconds| *seconds > 0.0)
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| LaunchError::usage(format!("{source} {text}: give a number of seconds above 0")))
}

/// The values of `--bind-to`.
const BINDINGS: &str = "'auto', 'none', 'core', 'socket', 'numa' or 'l3cache'";

impl Binding {
    /// What was typed, if it is known.
    pub(crate) fn parse(value: &str) -> Option<Self> {
        Some(match value {
            "auto" | "default" => Self::Auto,
            "none" | "board" | "machine" => Self::None,
            "core" | "hwthread" | "cpu" | "l1cache" => Self::Core,
            "socket" | "package" => Self::Domain(Domain::Socket),
            "numa" => Self::Domain(Domain::Numa),
            "l2cache" => Self::Domain(Domain::Cache(2)),
            "l3cache" => Self::Domain(Domain::Cache(3)),
            _ => return None,
        })
    }

    /// As it is typed.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::None => "none",
            Self::Core => "core",
            Self::Domain(Domain::Socket) => "socket",
            Self::Domain(Domain::Numa) => "numa",
            Self::Domain(Domain::Cache(2)) => "l2cache",
            Self::Domain(Domain::Cache(_)) => "l3cache",
        }
    }
}

fn bind(value: &str, options: &mut RunOptions) -> Result<(), LaunchError> {
    let binding = Binding::parse(value);
    options.binding = binding.ok_or_else(|| LaunchError::usage(format!("--bind-to {value}: give {BINDINGS}")))?;
    Ok(())
}

/// Ranks are numbered in order and on one machine, whatever is asked; only `ppr:N:node` says how many there are.
fn map_by(flag: &str, value: &OsStr, app: &mut App) -> Result<(), LaunchError> {
    let text = value.to_string_lossy();
    if let Some(rest) = text.strip_prefix("ppr:") {
        let (number, object) = rest.split_once(':').unwrap_or((rest, "node"));
        if object.split([':', ',']).next() != Some("node") {
            return Err(LaunchError::usage(format!("{flag} {text}: give the number of ranks with -n")));
        }
        app.per_node = Some(ranks(flag, OsStr::new(number))?);
    }
    Ok(())
}

/// Open MPI's list of what to do with output.
fn output(list: &OsStr, options: &mut RunOptions) -> Result<(), LaunchError> {
    for word in list.to_string_lossy().split([',', ':']).filter(|word| !word.is_empty()) {
        match word.split_once('=') {
            None if word == "tag" || word == "rank" => options.tag_output = true,
            None if word == "timestamp" => options.timestamps = true,
            None if word == "merge" || word == "merge-stderr-to-stdout" => options.merge = true,
            Some(("file", base)) => options.output_prefix = Some(base.into()),
            _ => {
                let offered = "only 'tag', 'timestamp', 'merge' and 'file=BASE' are offered";
                return Err(LaunchError::usage(format!("--output {word}: {offered}")));
            }
        }
    }
    Ok(())
}

/// Open MPI's list of what to show; what is not told here is left out.
fn display(list: &OsStr, options: &mut RunOptions) {
    for word in list.to_string_lossy().split([',', ':']) {
        options.display_map |= word.starts_with("map");
        options.report_bindings |= word.starts_with("bind");
    }
}

fn stdin(value: &OsStr) -> Result<Reader, LaunchError> {
    let text = value.to_string_lossy();
    match (text.as_ref(), text.parse()) {
        ("none", _) => Ok(Reader::Nobody),
        (_, Ok(rank)) => Ok(Reader::Rank(rank)),
        _ => Err(LaunchError::usage(format!(
            "--stdin {text}: one rank can read it, or none; have that rank pass on what the others need, or give the \
             program a file"
        ))),
    }
}

/// `SYSTEM` is what is found out anyway, `INFINITE` no limit that anybody will meet.
fn universe_size(flag: &str, value: &OsStr) -> Result<Option<u32>, LaunchError> {
    match value.to_string_lossy().to_uppercase().as_str() {
        "SYSTEM" => Ok(None),
        "INFINITE" => Ok(Some(i32::MAX.unsigned_abs())),
        _ => ranks(flag, value).map(Some),
    }
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
            ("--bind-to chair a", "'core'"),
            ("--nooversubscibe a", "--nooversubscribe"),
            ("--stdin all a", "one rank"),
            ("--configfile f a", "':'"),
            ("--map-by ppr:2:socket a", "-n"),
            ("--grace never a", "seconds"),
            ("--host node7:0 a", "at least 1"),
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
             --bind-to none -genvall --use-hwthread-cpus -ppn 2 -perhost 2 -bootstrap ssh -launcher fork -iface eth0 \
             --prefix /opt/mpi -rmk user -n 2 a",
        )
        .unwrap();
        assert_eq!(options.apps[0].ranks, 2);
        assert_eq!(options.warnings.len(), 1, "one warning for all of --mca");
    }

    #[test]
    fn what_has_a_meaning_is_taken() {
        let ranks = |line: &str| parse_words(line).unwrap().apps[0].ranks;
        for line in ["-N 3 a", "--npernode 3 a", "--map-by ppr:3:node a", "-n 3 -N 4 a", "-N 4 -n 3 a"] {
            assert_eq!(ranks(line), 3, "{line}");
        }
        let options = parse_words("--host h1:2,h2 -H h3 --ssh=rsh a").unwrap();
        assert_eq!((options.hosts.len(), options.hosts[0].slots), (3, Some(2)));
        assert_eq!(options.ssh.as_deref(), Some(OsStr::new("rsh")));
        assert_eq!(ranks("--pernode a"), 1);
        let binding = |line: &str| parse_words(line).unwrap().binding;
        assert_eq!(binding("--bind-to socket a"), Binding::Domain(Domain::Socket));
        assert_eq!(binding("-bind-to numa a"), Binding::Domain(Domain::Numa));
        assert_eq!(binding("--bind-to-core a"), Binding::Core);
        let options = parse_words(
            "--report-bindings --display-map -usize 8 --stdin 1 --timestamp-output --nooversubscribe --grace 3.5 \
             --merge-stderr-to-stdout -path /opt/bin -gwdir /tmp a",
        )
        .unwrap();
        assert!(options.report_bindings && options.display_map && options.timestamps && options.merge);
        assert!(options.no_oversubscribe);
        assert_eq!((options.universe_size, options.stdin), (Some(8), Reader::Rank(1)));
        assert_eq!(options.grace, Some(Duration::from_millis(3500)));
        assert_eq!(options.apps[0].path.as_deref(), Some(OsStr::new("/opt/bin")));
        assert_eq!(options.wdir.as_deref(), Some(Path::new("/tmp")));
        let options =
            parse_words("--output tag,timestamp,file=log --display map,bind --stdin none -usize SYSTEM a").unwrap();
        assert!(options.tag_output && options.timestamps && options.display_map && options.report_bindings);
        assert_eq!(options.output_prefix.as_deref(), Some(Path::new("log")));
        assert_eq!((options.universe_size, options.stdin), (None, Reader::Nobody));
    }
}
