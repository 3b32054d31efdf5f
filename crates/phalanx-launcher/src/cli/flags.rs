//! The table of flags: what people type for Phalanx, for MPICH's and Intel's `mpiexec` and for Open MPI's `mpirun`.
//!
//! A flag of another launcher is taken where it has a meaning on one machine, accepted where it asks for nothing that is
//! not so anyway, and refused, with what to do instead, where leaving it out would change what the job does. The page
//! `docs/running.md` holds the same lists, and a test compares them.

/// What a flag means.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Id {
    Ranks,
    PerNode,
    OnePerNode,
    Map,
    Export,
    Env,
    GlobalEnv,
    EnvList,
    Wdir,
    GlobalWdir,
    Path,
    Tag,
    Timestamp,
    Output,
    Merge,
    OutputFiles,
    Stdin,
    Timeout,
    Grace,
    Bind,
    /// Binds as this value of `--bind-to` does.
    BindAs(&'static str),
    ReportBindings,
    DisplayMap,
    Display,
    NoOversubscribe,
    UniverseSize,
    Host,
    HostFile,
    Ssh,
    Verbose,
    KeepGoing,
    Pdb,
    OnDeadlock,
    Check,
    Record,
    Replay,
    Trace,
    Report,
    TraceSize,
    Doors,
    NoDoors,
    Module,
    /// A parameter of Open MPI: this many values, and a warning that it does nothing.
    Parameter(u8),
    /// Asks for nothing that is not so anyway; takes this many values.
    Nothing(u8),
    /// Would change what the job does; the text says what to do instead.
    Refused(&'static str),
    Version,
    Help,
}

use Id::*;

/// What a flag answers to, without dashes, and what it means. The first name is the one to show.
pub(super) const FLAGS: &[(&[&str], Id)] = &[
    (&["n", "np", "c"], Ranks),
    (&["N", "npernode"], PerNode),
    (&["pernode"], OnePerNode),
    (&["map-by"], Map),
    (&["x"], Export),
    (&["env"], Env),
    (&["genv"], GlobalEnv),
    (&["envlist", "genvlist"], EnvList),
    (&["wdir", "wd"], Wdir),
    (&["gwdir"], GlobalWdir),
    (&["path"], Path),
    (&["l", "tag-output", "prepend-rank"], Tag),
    (&["timestamp-output"], Timestamp),
    (&["output"], Output),
    (&["merge-stderr-to-stdout"], Merge),
    (&["output-filename"], OutputFiles),
    (&["stdin"], Stdin),
    (&["timeout"], Timeout),
    (&["grace"], Grace),
    (&["bind-to"], Bind),
    (&["bind-to-core"], BindAs("core")),
    (&["bind-to-socket"], BindAs("socket")),
    (&["bind-to-none"], BindAs("none")),
    (&["report-bindings"], ReportBindings),
    (&["display-map", "print-rank-map"], DisplayMap),
    (&["display"], Display),
    (&["nooversubscribe", "no-oversubscribe"], NoOversubscribe),
    (&["usize"], UniverseSize),
    (&["host", "hosts", "H"], Host),
    (&["hostfile", "machinefile", "machine", "f"], HostFile),
    (&["ssh"], Ssh),
    (&["v", "verbose"], Verbose),
    (&["keep-going", "enable-recovery", "disable-auto-cleanup"], KeepGoing),
    (&["on-deadlock"], OnDeadlock),
    (&["pdb"], Pdb),
    (&["check"], Check),
    (&["record"], Record),
    (&["replay"], Replay),
    (&["trace"], Trace),
    (&["report"], Report),
    (&["trace-size"], TraceSize),
    (&["doors"], Doors),
    (&["no-doors"], NoDoors),
    (&["m"], Module),
    (&["mca", "gmca", "pmca", "omca", "pmixmca", "prtemca"], Parameter(2)),
    (&["am", "tune"], Parameter(1)),
    (&["V", "version"], Version),
    (&["h", "help"], Help),
    // One machine, all variables inherited, a rank in every slot: so it is anyway.
    (&["oversubscribe", "allow-run-as-root", "use-hwthread-cpus"], Nothing(0)),
    (&["genvall", "envall"], Nothing(0)),
    (&["q", "quiet", "show-progress", "print-all-exitcodes", "ordered-output"], Nothing(0)),
    (&["bynode", "byslot", "bycore", "bysocket", "rr"], Nothing(0)),
    (&["novm", "noprefix", "noconf", "localonly", "disable-recovery"], Nothing(0)),
    (&["leave-session-attached", "report-state-on-timeout", "get-stack-traces"], Nothing(0)),
    (&["disable-hostname-propagation", "enable-x", "disable-x", "skip-launch-node"], Nothing(0)),
    (&["display-allocation", "display-topo", "cleanup"], Nothing(0)),
    (&["ppn", "perhost", "grr", "rank-by", "order-nodes"], Nothing(1)),
    (&["cpus-per-proc", "cpus-per-rank", "membind"], Nothing(1)),
    (&["launcher", "launcher-exec", "bootstrap", "bootstrap-exec", "launch-agent", "rmk"], Nothing(1)),
    (&["iface", "localhost", "pmi-port", "nameserver", "branch-count", "topolib", "demux"], Nothing(1)),
    (&["prefix", "tmpdir", "default-hostfile", "personality", "forward-signals", "stream-buffering"], Nothing(1)),
    (&["genvnone", "envnone"], Refused("start the program as 'env -u NAME PROGRAM' to take variables from ranks")),
    (&["configfile", "app"], Refused("write the sections of the file on the command line, with ':' between them")),
    (
        &["outfile-pattern", "errfile-pattern"],
        Refused("give --output-filename BASE for BASE.RANK.out and BASE.RANK.err"),
    ),
    (&["prepend-pattern"], Refused("give --tag-output for '[rank] ' before each line")),
    (&["s"], Refused("give --stdin none, or --stdin RANK")),
    (&["npersocket"], Refused("give the number of ranks with -n, and --bind-to socket")),
    (&["nolocal"], Refused("name the hosts that are to have ranks with --host")),
    (&["cpu-set", "cpu-list", "slot-list"], Refused("start the job as 'taskset -c LIST phalanx run ...'")),
    (
        &["rankfile", "rf"],
        Refused("give each program its CPUs as 'taskset -c LIST PROGRAM', with ':' between programs"),
    ),
    (&["gpus-per-proc"], Refused("have each rank choose by the variable MPI_LOCALRANKID")),
    (&["xterm"], Refused("start the program as 'xterm -e PROGRAM'")),
    (&["debug", "tv", "gdb"], Refused("start the program as 'xterm -e gdb --args PROGRAM'")),
    (&["do-not-launch"], Refused("give --display-map to see what is started")),
    (&["preload-binary", "preload-files"], Refused("leave it out: every rank sees the files of this machine")),
    (&["umask"], Refused("set it in the shell that starts the job")),
    (&["soft"], Refused("give one number of ranks with -n")),
];

/// What a flag's name, without dashes, means.
pub(super) fn find(name: &str) -> Option<Id> {
    FLAGS.iter().find(|(names, _)| names.contains(&name)).map(|(_, id)| *id)
}

/// The names to suggest for one that is not known.
pub(super) fn long_names() -> impl Iterator<Item = &'static str> {
    FLAGS.iter().flat_map(|(names, _)| names.iter().copied()).filter(|name| name.len() > 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(name: &str) -> String {
        if name.len() == 1 { format!("`-{name}`") } else { format!("`--{name}`") }
    }

    fn list(names: impl Iterator<Item = &'static str>) -> String {
        names.map(typed).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn a_name_stands_once() {
        let mut names: Vec<&str> = FLAGS.iter().flat_map(|(names, _)| names.iter().copied()).collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    /// The part of the page about flags without effect and refused ones is made from the table.
    #[test]
    fn the_page_tells_the_same() {
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/running.md");
        let page = std::fs::read_to_string(page).unwrap();
        for (names, id) in FLAGS {
            if matches!(id, Nothing(_) | Refused(_)) {
                continue;
            }
            for name in *names {
                let written = [format!("`-{name}"), format!("`--{name}")];
                assert!(written.iter().any(|text| page.contains(text)), "docs/running.md does not tell of -{name}");
            }
        }
        let mut expected = String::new();
        for values in [0, 1] {
            let of = FLAGS.iter().filter(|(_, id)| *id == Nothing(values)).flat_map(|(names, _)| names.iter().copied());
            let what = if values == 0 { "without a value" } else { "with a value" };
            expected.push_str(&format!("- {what}: {}\n", list(of)));
        }
        expected.push_str("\n| refused | instead |\n|---|---|\n");
        for (names, id) in FLAGS {
            if let Refused(instead) = id {
                expected.push_str(&format!("| {} | {instead} |\n", list(names.iter().copied())));
            }
        }
        assert!(page.contains(&expected), "docs/running.md lacks this part:\n{expected}");
    }
}
