//! The help texts, within 80 columns.

/// `phalanx --help`.
pub const OVERVIEW: &str = "\
phalanx: parallel Python on one machine, and on clusters through an MPI library

usage: phalanx COMMAND [ARGUMENTS]

  run       start a parallel job: phalanx run -n 4 script.py
  ps        the jobs that run here
  why       what each rank of a running job is doing, and why it does not go on
  top       the same as a table that is kept up to date
  cluster   interactive clusters: phalanx cluster start -n 4 (also ipcluster)
  shell     a shell in which mpi4py, mpiexec and mpirun are answered by Phalanx
  doctor    say which engine, library and module answer, and what is wrong
  cc        compile a C program against Phalanx's mpi.h

  -h, --help       this text; phalanx COMMAND --help for one command
  -V, --version    the version
";

/// `phalanx run --help`.
pub const RUN: &str = "\
usage: phalanx run [FLAGS] PROGRAM [ARGUMENTS] [: [FLAGS] PROGRAM ...]

Starts N ranks of a program, here or on other machines, and waits for them. A
PROGRAM that ends in .py runs under the Python that Phalanx is installed in.
Flags end at the program; ':' begins another program of the same job.

  -n, -np, -c N           number of ranks of this program (default 1)
  -N, --npernode N        the same of each machine, where there are several
  -m MODULE               run a Python module instead of a program
  --wdir DIR              start this program's ranks in DIR
  -x NAME[=VALUE]         set a variable for all ranks (they inherit all others)
  -genv NAME VALUE        the same, as written for MPICH
  -env NAME VALUE         set a variable for this program's ranks only
  -l, --tag-output        begin each line of output with [rank]
  --timestamp-output      begin each line of output with the time (UTC)
  --merge-stderr-to-stdout  a rank's errors go where its output goes
  --output-filename BASE  write to BASE.RANK.out and BASE.RANK.err instead
  --stdin none|RANK       who reads standard input (default 0)
  --timeout SECONDS       end the job after that time, with status 124
  --grace SECONDS         how long ranks may take to end when the job is
                          terminated or interrupted (default 10)
  --bind-to WHAT          auto (default): an equal share of the CPUs for each
                          rank if there are enough; none; core: one CPU each;
                          socket, numa, l3cache: those of one part each
  --report-bindings       say which CPUs each rank may use
  --display-map           say what each rank is
  --nooversubscribe       refuse to start more ranks than there are CPUs
  -usize N                the attribute MPI_UNIVERSE_SIZE
  --keep-going            a rank that fails does not end the job: the others go
                          on. What waits for the failed rank fails, and says so
  --on-deadlock WHAT      when ranks wait for each other and can never go on:
                          abort (default): say who waits for whom and where,
                          and end the job; raise: fail the calls that wait;
                          report: say it; ignore: nothing
  --pdb                   the first rank that raises what nobody catches stops
                          in a debugger before the job ends; needs a terminal
  --check, --check=report look for mistakes while the program runs, which makes
                          it slower: sends that nobody receives, buffers that
                          are changed too early, handles that are left. Told
                          at the end, with status 1, or with its own status
  --record FILE           record what timing decides: which message a receive
                          from any rank takes, what tests and probes find
  --replay FILE           decide it as it was recorded, so that the same comes
                          of it: same program, ranks, arguments and input
  --trace FILE            record what each rank calls, sends and waits for, and
                          write a timeline for ui.perfetto.dev
  --report FILE           make a page (HTML) of it: what the time went into
  --trace-size SIZE       room for what one rank records (default 32M)
  --doors multiprocessing
                          answer 'import multiprocessing' (and the pools of
                          concurrent.futures) in ranks as well; 'ipyparallel':
                          that module, and its commands
  --no-doors              do not answer 'import mpi4py' and 'mpiexec' in ranks
  -v, --verbose           say what is started and how it ended
  --host H1:N,H2:N        the machines for the ranks, and how many each; inside
                          an allocation of Slurm's: its nodes and tasks
  --hostfile FILE         the same, in lines like 'h1:2', 'h1 slots=2' or 'h1'
  --ssh COMMAND           the remote shell for them (default: ssh, asking
                          nothing)
  --mca NAME VALUE        accepted, ignored with a warning
  More flags of other launchers are accepted, or refused with what to do
  instead: docs/running.md lists them.

Standard input goes to rank 0; input() and breakpoint() get the terminal in any
rank, one after the other. Lines of output are never torn between ranks.
A rank that exits with a status other than 0, is killed, or leaves between
MPI_Init and MPI_Finalize ends the job. Exit status: that of the first rank that
failed (128 + N for signal N), 124 after --timeout, 130 after Ctrl-C, 0 if all
is well, 2 for a bad command line, 127 if the program is not found.
Ctrl-C reaches every rank as SIGINT; a second one kills the job.
Ctrl-\\ (SIGQUIT) says what each rank is doing, as phalanx why does.

A SIGTERM or SIGHUP is passed on, and a second one kills.

Environment: PHALANX_MPI=embedded|site|PATH chooses the MPI library of Python
ranks; PHALANX_DOORS=multiprocessing is --doors multiprocessing, and
PHALANX_DOORS=off is --no-doors; PHALANX_GRACE is --grace,
PHALANX_ON_DEADLOCK is --on-deadlock, PHALANX_CHECK is --check,
PHALANX_TRACE_SIZE is --trace-size, MPIEXEC_TIMEOUT is --timeout, PHALANX_SSH is
--ssh. Several machines need an MPI library: PHALANX_MPI, or PyPI's mpich where
it is installed ('phalanx[mpich]').
";

/// `phalanx ps --help`.
pub const PS: &str = "\
usage: phalanx ps [--json]

Lists the jobs of this user on this machine that phalanx run has started: the
name, the process of the launcher, how many ranks, since when, and how it fares:

  running    some rank is not known to wait
  waiting    all ranks wait in calls of MPI
  deadlock   some ranks wait for each other and can never go on
  ending     the job is being ended
  ended      all ranks have ended, and their output is still on its way

  --json     the same for programs
";

/// `phalanx why --help`.
pub const WHY: &str = "\
usage: phalanx why [FLAGS] [JOB]

Says what each rank of a running job is doing, without stopping it: the call it
waits in and for whom, where its program is, what else it waits for, and what
that means for the job. Ranks that do the same are told once.

JOB is a name that phalanx ps shows, or the number of a process: the launcher, a
rank, or anything that a rank has started. With one job there is no need for it.

  -v, --verbose   all frames of each stack, and all kinds of ranks
  --json          everything that was seen, for programs

SIGQUIT to the launcher (Ctrl-\\ in its terminal) has it said where the job
writes its errors.
";

/// `phalanx top --help`.
pub const TOP: &str = "\
usage: phalanx top [FLAGS] [JOB]

Shows the ranks of a running job, once a second: CPU, memory, the calls that
they make and their bytes, how long they have been blocked, and what they are
doing where. JOB is as for phalanx why. Without a terminal it prints one table,
and ends.

  --once              print one table, and end
  -d, --delay SECONDS from one look to the next (default 1)

Keys: q quits; n shows the next kind of calls; r, c, m, s, b, t sort by rank,
CPU, memory, calls, bytes, time blocked; w shows what phalanx why says; arrows
and space move.

While somebody looks, ranks count: messages that they send (SENT), collective
operations with the bytes that they give to them (COLL), one-sided operations
(RMA), reads and writes of files (FILE). The second line has the sums of all
ranks; a screen of 130 columns or more shows all kinds of each rank.
";

/// `phalanx shell --help`.
pub const SHELL: &str = "\
usage: phalanx shell [--doors LIST] [-c COMMAND [NAME ARGUMENTS...]]

Starts a shell in which scripts written for mpi4py run on Phalanx unchanged:
'import mpi4py' (also python -m mpi4py), mpiexec, mpirun and mpicc are answered
by Phalanx, and python3 is the Python that Phalanx is installed in.

  --doors LIST  with 'multiprocessing': pools, queues and locks of that module
                are Phalanx's, too; with 'ipyparallel': that module, and
                ipcluster, ipcontroller and ipengine (PHALANX_DOORS says the
                same)
  -c COMMAND    run one command, by $SHELL if it is a POSIX shell, else /bin/sh
";

/// `phalanx cluster --help`.
pub const CLUSTER: &str = "\
usage: phalanx cluster COMMAND [FLAGS]        (ipcluster COMMAND [FLAGS])

Interactive clusters: a controller and engines, for ipyparallel's scripts and
notebooks (import phalanx.ipyparallel as ipp; ipp.Client()).

  start       a controller and engines, until stop or Ctrl-C
  stop        end them
  engines     start more engines
  list        the clusters that run
  top         a table of engines, tasks and errors that is kept up to date
  why         what each engine is doing, in which line, and what waits
  dashboard   the same as a page in a browser: prints its address
  clean       remove files that clusters have left, and their logs
  controller  a controller without engines (ipcontroller)
  engine      one engine for a controller that runs (ipengine)

  -n N                how many engines (default: as many as CPUs)
  --engines WHAT      start: engines by 'ssh', 'slurm', 'pbs', 'lsf', 'sge',
                      'htcondor', 'batch', or as ranks of one job: 'mpi';
                      --Class.option=VALUE configures it
  --daemonize         start in the background
  --restart           engines that die are started again
  --profile NAME      the profile (default: 'default'), --profile-dir DIR its
                      directory, --ipython-dir DIR where profiles are
  --cluster-id NAME   one of several clusters of a profile
  --work-dir DIR      the directory of the engines
  --allow-mismatch    clients may have another Python than engines
  --debug, --quiet, --log-to-file
                      say all that happens, nothing, or in a file
  --all               stop, clean: all clusters; of all profiles
  --force             clean: also what running clusters need
  -o json, --json     list, top, why: for programs
  --port N            dashboard: the port of 127.0.0.1 (default: any)
  --once, -d SECONDS  top: one table; how often it is renewed (default: 1)
  --signal N          stop: send this signal to the controller instead
  --file FILE, --timeout SECONDS, -c CODE, -s SCRIPT
                      engine: its connection file, how long it waits for that,
                      what it runs first; with -n so many of them, for a
                      controller on another machine. --file is also the file
                      for clients of stop, top, why, engines and dashboard
  --ip ADDRESS        other machines may connect, at this address of this one
                      ('*': all of them); --port N, --location NAME

The connection files lie in the directory 'security' of the profile, which is
~/.ipython/profile_default if nothing else is said (IPYTHONDIR). No port is
opened without --ip: the controller listens at a socket that only this user can
reach. Over a network everything is encrypted (TLS 1.3), and whoever connects
needs the secret of the connection file. (The dashboard has a port as long as
its command runs, and a secret in its address.)
PHALANX_CLUSTER_PYTHON is the Python that runs engines. Other flags of the
original are accepted, and said to be ignored.
";

/// `phalanx cc --help`.
pub const CC: &str = "\
usage: phalanx cc [FLAGS AND FILES OF THE C COMPILER]

Runs the C compiler with what programs need to use MPI: the directory of mpi.h
and the library libmpi_abi.so.1 (MPI 5.0 standard ABI). Serves other packages'
builds as their mpicc.

  -show, -showme          print the command instead of running it
  -compile_info, -showme:compile   print the flags for compiling
  -link_info, -showme:link         print the flags for linking
  -showme:incdirs, -showme:libdirs, -showme:libs, -showme:command
                          print that part
  -cc=COMPILER            use this compiler (default $CC, else cc)
";

/// `phalanx doctor --help`.
pub const DOCTOR: &str = "\
usage: phalanx doctor [--json]
       phalanx doctor --hosts [LIST] [--ssh COMMAND] [--json]
       phalanx doctor --measure

Says which binary, Python, module, engine and library answer here, whether pools
can work, what the machine allows, and what is wrong with any of them. Exit
status: 1 if something is wrong, else 0.

  --json      the findings as JSON
  --hosts     look at these machines (h1,h2; without LIST those of Slurm's
              allocation) as 'phalanx run --host' does before it starts anything
  --ssh       the remote shell for it (default: ssh, or PHALANX_SSH)
  --measure   measure how memory moves between two CPUs here, print the table
              and what is chosen by it, and keep it for the jobs to come
";

#[cfg(test)]
mod tests {
    #[test]
    fn texts_fit_eighty_columns() {
        for text in [
            super::OVERVIEW,
            super::RUN,
            super::PS,
            super::WHY,
            super::TOP,
            super::SHELL,
            super::CC,
            super::DOCTOR,
            super::CLUSTER,
        ] {
            for line in text.lines() {
                assert!(line.chars().count() <= 80, "{line}");
            }
        }
    }
}
