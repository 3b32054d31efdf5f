//! The flags of the original's commands, with the same meaning where they have one here.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use super::usage;
use crate::error::LaunchError;

/// What was typed.
#[derive(Debug, Default, Clone)]
pub(super) struct Flags {
    pub(super) profile: Option<String>,
    pub(super) profile_dir: Option<PathBuf>,
    pub(super) ipython_dir: Option<PathBuf>,
    pub(super) cluster_id: Option<String>,
    /// The connection file (`ipengine --file`).
    pub(super) file: Option<PathBuf>,
    pub(super) n: Option<u32>,
    pub(super) work_dir: Option<PathBuf>,
    pub(super) daemonize: bool,
    pub(super) debug: bool,
    pub(super) quiet: bool,
    pub(super) log_to_file: bool,
    pub(super) restart: bool,
    pub(super) allow_mismatch: bool,
    pub(super) all: bool,
    pub(super) force: bool,
    pub(super) json: bool,
    /// `top`: one table and no more; seconds from one look to the next.
    pub(super) once: bool,
    pub(super) delay: Option<String>,
    pub(super) signal: Option<i32>,
    /// Seconds that `ipengine` waits for a controller.
    pub(super) timeout: Option<f64>,
    pub(super) location: Option<String>,
    /// Where other machines may connect to (`--ip`): `*`, an address, or a name of this machine.
    pub(super) ip: Option<String>,
    /// Where `--ip` and the dashboard listen.
    pub(super) port: Option<u16>,
    /// The number that the first engine would like to have.
    pub(super) first: Option<u32>,
    /// A gateway's: the number of its client's end of the connection.
    pub(super) fd: Option<i32>,
    pub(super) records: Option<usize>,
    /// For engines: what they are to run first, and options that mean something to them.
    pub(super) engine_args: Vec<OsString>,
    /// What starts the engines, if that is not the controller: `ssh`, `slurm`, or the name of a class.
    pub(super) by: Option<String>,
    /// Options of classes, as `--Class.option=value`: for what starts the engines.
    pub(super) options: Vec<String>,
    /// What was accepted and has no meaning here.
    pub(super) ignored: Vec<String>,
    pub(super) help: bool,
    pub(super) version: bool,
}

/// Names of flags that take a value and mean nothing here.
const IGNORED_VALUES: &[&str] = &[
    "config",
    "log-level",
    "log-url",
    "engines",
    "controller",
    "ports",
    "transport",
    "ssh",
    "enginessh",
    "sshkey",
    "ping",
    "scheme",
    "hwm",
    "url",
    "ident",
    "user",
    "keyfile",
    "mpi",
];
/// The same, of those without a value.
const IGNORED: &[&str] = &[
    "init",
    "show-config",
    "show-config-json",
    "reuse",
    "restore",
    "usethreads",
    "secure",
    "no-secure",
    "sqlitedb",
    "mongodb",
    "dictdb",
    "clean-logs",
    "reset",
];

fn is_true(value: Option<&str>) -> bool {
    !matches!(value, Some("False" | "false" | "0"))
}

impl Flags {
    /// Reads arguments.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn parse(args: &[OsString]) -> Result<Self, LaunchError> {
        let mut flags = Self::default();
        let mut rest = args.iter();
        while let Some(word) = rest.next() {
            let (name, inline) = match word.as_bytes().iter().position(|byte| *byte == b'=') {
                Some(at) => {
                    let (name, value) = word.as_bytes().split_at(at);
                    (OsStr::from_bytes(name), Some(OsString::from_vec(value[1..].to_vec())))
                }
                None => (word.as_os_str(), None),
            };
            let typed = name.to_string_lossy().into_owned();
            if !typed.starts_with('-') {
                return Err(usage(format!("unexpected argument '{}'", word.to_string_lossy())));
            }
            let text = inline.as_ref().map(|value| value.to_string_lossy().into_owned());
            let bare = typed.trim_start_matches('-');
            let mut value = || -> Result<OsString, LaunchError> {
                let given = inline.clone().or_else(|| rest.next().cloned());
                given.ok_or_else(|| usage(format!("flag '{typed}' needs a value after it")))
            };
            let mut word_of = || value().map(|value| value.to_string_lossy().into_owned());
            match bare {
                "h" | "help" | "help-all" => flags.help = true,
                "V" | "version" => flags.version = true,
                "profile" | "BaseParallelApplication.profile" => flags.profile = Some(word_of()?),
                "profile-dir" | "ProfileDir.location" => flags.profile_dir = Some(value()?.into()),
                "ipython-dir" | "BaseIPythonApplication.ipython_dir" => flags.ipython_dir = Some(value()?.into()),
                "cluster-id" | "BaseParallelApplication.cluster_id" => flags.cluster_id = Some(word_of()?),
                "file" | "IPEngine.url_file" => flags.file = Some(value()?.into()),
                "n" | "Cluster.n" | "IPClusterStart.n" | "IPClusterEngines.n" => {
                    let given = word_of()?;
                    let n = given.parse().ok().filter(|n| *n <= 4096);
                    flags.n = Some(n.ok_or_else(|| {
                        usage(format!("{typed}: '{given}' is not a number of engines from 0 to 4096"))
                    })?);
                }
                "work-dir" | "BaseParallelApplication.work_dir" => flags.work_dir = Some(value()?.into()),
                "daemonize" | "IPClusterStart.daemonize" => flags.daemonize = is_true(text.as_deref()),
                "debug" => flags.debug = true,
                "quiet" => flags.quiet = true,
                "log-to-file" | "BaseParallelApplication.log_to_file" => flags.log_to_file = is_true(text.as_deref()),
                "restart" => flags.restart = is_true(text.as_deref()),
                "allow-mismatch" => flags.allow_mismatch = true,
                "all" => flags.all = true,
                "force" => flags.force = true,
                "json" => flags.json = true,
                "once" => flags.once = true,
                // The original has it for the start of engines, which need none.
                // For the original's controller, it is where that listens.
                "d" | "delay" => flags.delay = Some(word_of()?),
                "o" | "output" | "IPClusterList.output_format" => flags.json = word_of()? == "json",
                "signal" | "IPClusterStop.signal" => {
                    let given = word_of()?;
                    let number =
                        given.parse().map_err(|_| usage(format!("{typed}: '{given}' is not a signal's number")));
                    flags.signal = Some(number?);
                }
                "timeout" => {
                    let given = word_of()?;
                    let seconds = given.parse().ok().filter(|seconds: &f64| seconds.is_finite() && *seconds >= 0.0);
                    flags.timeout =
                        Some(seconds.ok_or_else(|| usage(format!("{typed}: '{given}' is not a number of seconds")))?);
                }
                "location" | "IPController.location" => flags.location = Some(word_of()?),
                "ip" | "IPController.ip" | "HubFactory.ip" => {
                    // As by default, that is this machine alone: no port is open.
                    flags.ip = Some(word_of()?).filter(|ip| !matches!(ip.as_str(), "" | "127.0.0.1" | "localhost"));
                }
                "port" | "IPController.port" => {
                    let given = word_of()?;
                    let port = given
                        .parse()
                        .map_err(|_| usage(format!("{typed} takes a number from 0 to 65535, not '{given}'")));
                    flags.port = Some(port?);
                }
                "fd" => flags.fd = word_of()?.parse().ok(),
                "first" => flags.first = word_of()?.parse().ok(),
                "engines" | "Cluster.engine_launcher_class" | "IPClusterStart.engine_launcher_class" => {
                    let is_own =
                        |by: &String| by.eq_ignore_ascii_case("local") || by.ends_with("LocalEngineSetLauncher");
                    flags.by = Some(word_of()?).filter(|by| !is_own(by));
                }
                "nodb" => flags.records = Some(0),
                "DictDB.record_limit" => flags.records = word_of()?.parse().ok(),
                // Short flags of `ipengine`, for the engine.
                "c" | "s" => flags.engine_args.extend([word.clone(), value()?]),
                name if name.starts_with("IPEngine") => flags.engine_args.push(word.clone()),
                name if name.contains('.') => flags.options.push(word.to_string_lossy().into_owned()),
                name if IGNORED.contains(&name) => flags.ignored.push(word.to_string_lossy().into_owned()),
                name if IGNORED_VALUES.contains(&name) => {
                    let given = word_of()?;
                    let says_nothing = matches!(name, "log-level" | "ping" | "ident" | "user" | "keyfile")
                        || given.eq_ignore_ascii_case("local");
                    if !says_nothing {
                        flags.ignored.push(format!("{typed}={given}"));
                    }
                }
                _ => {
                    let known =
                        ["profile", "profile-dir", "cluster-id", "daemonize", "work-dir", "debug", "log-to-file"];
                    let near = crate::suggest::nearest(bare, known);
                    let hint = near.map_or("(see phalanx cluster --help)".to_owned(), |near| {
                        format!("; did you mean '--{near}'?")
                    });
                    return Err(usage(format!(
                        "unknown flag '{typed}'{}{hint}",
                        if near.is_some() { "" } else { " " }
                    )));
                }
            }
        }
        Ok(flags)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Result<Flags, String> {
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        Flags::parse(&words).map_err(|error| error.to_string())
    }

    #[test]
    fn flags_are_those_of_the_original() {
        let flags =
            parse(&["-n", "4", "--profile=x", "--cluster-id", "id", "--daemonize=True", "--ping=250", "--dictdb"]);
        let flags = flags.expect("they are known");
        assert_eq!((flags.n, flags.profile.as_deref(), flags.cluster_id.as_deref()), (Some(4), Some("x"), Some("id")));
        assert!(flags.daemonize && flags.ignored == ["--dictdb"] && flags.by.is_none());
        let flags =
            parse(&["-c", "a = 5", "--IPEngine.startup_script=x.py", "--HeartMonitor.period=5"]).expect("known");
        assert_eq!(flags.engine_args, ["-c", "a = 5", "--IPEngine.startup_script=x.py"]);
        let flags = parse(&["--engines=slurm", "--SlurmEngineSetLauncher.queue=short"]).expect("known");
        assert_eq!(
            (flags.by.as_deref(), &flags.options[..]),
            (Some("slurm"), &["--SlurmEngineSetLauncher.queue=short".to_owned()][..])
        );
        assert_eq!(parse(&["--engines", "local"]).expect("known").by, None);
    }

    #[test]
    fn mistakes_are_told() {
        for (words, says) in [
            (&["-n", "many"][..], "number of engines"),
            (&["-n"][..], "needs a value"),
            (&["--profil=x"][..], "did you mean '--profile'"),
            (&["start"][..], "unexpected argument"),
            (&["--signal=KILL"][..], "number"),
        ] {
            assert!(parse(words).is_err_and(|problem| problem.contains(says)), "{words:?}");
        }
    }
}
