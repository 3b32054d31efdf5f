"""Engines as jobs of a batch system: Slurm, PBS, LSF, SGE, HTCondor, or another one.

A system is what its templates and commands say. The script of a job is written into
the working directory, so that one sees what was submitted, and may be replaced whole by
`batch_template` or `batch_template_file`. What a job prints comes into the folder `log`
of the profile. Machines share the home directory, by which engines find the connection
file, and reach the controller over the network.

Engines that are ranks are one job of as many slots: its script starts ``phalanx run``
on the hosts that the system has written into a file.

While engines are waited for, the system is asked seldom what it says of the job: a user
sees why it waits, and that it has ended.
"""

import contextlib
import re
import shlex
import subprocess
import time
from collections import Counter
from glob import escape
from logging import DEBUG, WARNING
from pathlib import Path
from typing import Any

from .launcher import JobEngineSetLauncher, LauncherError
from .ranks import ranks_command, ssh_args

__all__ = [
    "BatchEngineSetLauncher",
    "BatchSystemLauncher",
    "HTCondorEngineSetLauncher",
    "LSFEngineSetLauncher",
    "PBSEngineSetLauncher",
    "SGEEngineSetLauncher",
    "SlurmEngineSetLauncher",
]


# Seconds between two looks at a job: others ask the system as well.
_FIRST_LOOK, _LAST_PACE = 1.0, 30.0

_FIELD = re.compile(r"\{\{|\}\}|\{(\w+)(?::([^{}]*))?\}")


def _fill(template: str, context: dict[str, Any]) -> str:
    """Fill in what is known; other braces stay (those of a shell's variables)."""

    def fill(found: "re.Match[str]") -> str:
        name = found[1]
        if name is None:
            return found[0][0]
        return format(context[name], found[2] or "") if name in context else found[0]

    return _FIELD.sub(fill, template)


class BatchSystemLauncher(JobEngineSetLauncher):
    """Engines as one job of a batch system, which the options describe."""

    OPTIONS = {  # noqa: RUF012
        "submit_command": [],
        "delete_command": [],
        "signal_command": [],
        "status_command": [],
        "status_regexp": "",
        "ended_regexp": "",
        "failed_regexp": "",
        "job_id_regexp": r"\d+",
        "job_id_regexp_group": 0,
        "batch_template": "",
        "batch_template_file": "",
        "batch_file_name": "batch_script",
        "queue": "",
        "output_file": "",
        "namespace": {},
    }

    default_template = ""
    # Lines that a template without them gets: what they look like, and the lines.
    added: tuple[tuple[str, str, str], ...] = ()
    # From so many tasks on, a job is an array.
    least = 1
    # How the names of the files for output end, and what of that the system replaces by
    # the numbers of the job and of the task.
    output_suffix = ".out"
    job_field = ""
    task_field = ""

    submit_command: list[str]
    delete_command: list[str]
    signal_command: list[str]
    # Prints a line for each task of the job, or some of them; {job} is its number.
    status_command: list[str]
    # What such a line looks like, with the task's state as its group.
    status_regexp: str
    # States of tasks that have ended, and what is said of a job that is not there.
    ended_regexp: str
    # States of tasks that stay as they are until somebody does something about it.
    failed_regexp: str
    job_id_regexp: Any
    job_id_regexp_group: int
    batch_template: str
    batch_template_file: str
    batch_file_name: str
    queue: str
    output_file: str
    namespace: dict[str, Any]
    job_id = ""
    # When the job is looked at again, and how long after that; what was seen last, and
    # how often nothing could come of it any more.
    _look_at = 0.0
    _pace = _FIRST_LOOK
    _seen = ""
    _misses = 0
    # The number of the first engine.
    _first = 0

    def needs_network(self) -> bool:
        return True

    def _engine_args(self, first: int) -> list[str]:
        return [*self.find_args(), "--first", str(first)]

    def _context(self, first: int) -> dict[str, Any]:
        command = self._engine_args(first)
        return {
            **{name: getattr(self, name, "") for _, name, _ in self.added},
            "n": self.n,
            "queue": self.queue,
            "profile_dir": self.profile_dir,
            "cluster_id": self.cluster_id,
            "program": shlex.quote(command[0]),
            "program_and_args": shlex.join(command),
            "arguments": shlex.join(command[1:]),
            "output_file": self.output_file or self._output_base() + self._suffix(),
            **self.namespace,
        }

    def _output_base(self) -> str:
        name = f"{self.batch_file_name}-{self.cluster_id}"
        return str(Path(self.profile_dir).absolute() / "log" / name)

    def _suffix(self) -> str:
        return self.output_suffix

    def _ranks_context(self, ranks: bool, hosts: str, shell: Any) -> dict[str, Any]:
        """How the script begins what it starts: in the template of a system that
        starts each engine itself, unless they are ranks on the hosts of a file."""
        if not ranks:
            return {"start": "", "array": self.n if self.n >= self.least else ""}
        command = shlex.join([*ranks_command(), *ssh_args(shell)])
        return {"start": f"{command} --hostfile {hosts} ", "slots": self.n}

    def _template(self) -> str:
        if self.batch_template_file:
            return Path(self.batch_template_file).expanduser().read_text()
        return self.batch_template or self.default_template

    def write_batch_script(self, n: int = 1, first: int = 0) -> str:
        """Write the script of a job of n engines into the working directory; its text.

        A template that does not say the queue, the number of tasks or where output
        goes gets the lines for it behind its first one.
        """
        self.n, self._first = n, first
        template = self._template()
        context = self._context(first)
        lines = [
            line
            for pattern, name, line in self.added
            if context.get(name) and not re.search(pattern, template)
        ]
        head, _, rest = template.partition("\n")
        if not head.startswith("#!"):
            head, rest = "", template
        whole = "\n".join([*([head] if head else []), *lines, rest])
        text = _fill(whole, context)
        path = Path(self.work_dir) / self.batch_file_name
        path.write_text(text)
        path.chmod(0o700)
        return text

    def parse_job_id(self, output: str) -> str:
        """The job's name in what the submitting command has printed."""
        found = re.search(self.job_id_regexp, output)
        if found is None:
            raise LauncherError(
                f"{shlex.join(self.submit_command)} did not say the job's number: "
                f"{output.strip() or 'it printed nothing'}"
            )
        return found.group(self.job_id_regexp_group)

    def _call(
        self, command: list[str], timeout: float
    ) -> "subprocess.CompletedProcess[str]":
        try:
            return subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=self.work_dir,
                env=self.get_env(),
                check=False,
                timeout=timeout,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise LauncherError(f"{shlex.join(command)}: {problem}") from None

    def _run(self, command: list[str]) -> str:
        done = self._call(command, 120)
        if done.returncode != 0:
            raise LauncherError(
                f"{shlex.join(command)} ended with status {done.returncode}: "
                f"{(done.stderr or done.stdout).strip()}"
            )
        return done.stdout

    def _start_jobs(self, first: int) -> None:
        if not self.submit_command:
            raise LauncherError(
                "BatchSystemLauncher.submit_command says by which command jobs are "
                "submitted; it is not set"
            )
        Path(self.profile_dir, "log").mkdir(parents=True, exist_ok=True)
        self.job_id = self.parse_job_id(self._submit(first))
        self._look_at = time.monotonic() + _FIRST_LOOK
        self.log.info("Submitted job %s", self.job_id)

    def _submit(self, first: int) -> str:
        """Give the system the job; what it says to that."""
        self.write_batch_script(self.n, first)
        return self._run([*self.submit_command, f"./{self.batch_file_name}"])

    def states(self) -> list[str] | None:
        """What the system says of the job's tasks that have not ended, in its own words
        (perhaps one for several). None when it cannot be asked. Blocks, 10 s at most.
        """
        if not self.job_id or not self.status_command:
            return None
        number = self.job_id.partition("[")[0]
        command = [word.replace("{job}", self.job_id) for word in self.status_command]
        try:
            done = self._call(command, 10)
        except LauncherError as problem:
            self.log.debug("%s", problem)
            return None
        wanted = self.status_regexp.replace("{job}", re.escape(number))
        ended = re.compile(self.ended_regexp or r"(?!)", re.IGNORECASE)
        found = re.findall(wanted, done.stdout, re.MULTILINE)
        if found and done.returncode == 0:
            return [state.strip() for state in found if not ended.search(state)]
        gone = done.returncode == 0 or ended.search(done.stdout + done.stderr)
        return [] if gone else None

    def _look(self) -> None:
        """See what has become of the job, if the time for it has come; tell news."""
        now = time.monotonic()
        if now < self._look_at:
            return
        states = self.states()
        self._pace = min(2 * self._pace, _LAST_PACE)
        if states is not None:
            seen = ", ".join(f"{n} {state}" for state, n in Counter(states).items())
            if seen and seen != self._seen:
                self.log.info("Job %s: %s", self.job_id, seen)
            self._seen = seen
            failed = re.compile(self.failed_regexp or r"(?!)")
            if all(failed.search(state) for state in states):
                # A system may be a moment late in knowing a new job.
                self._misses += 1
                self._pace = _FIRST_LOOK
            else:
                self._misses = 0
        self._look_at = time.monotonic() + self._pace

    def _missing(self) -> list[int]:
        known = self._control().registered
        return [number for number in self.ids if number not in known]

    def why_ended(self) -> str | None:
        if self.state != "running" or not self._missing():
            return None
        self._look()
        missing = self._missing()
        if self._misses < 2 or not missing:
            return None
        texts = sorted({text.strip() for text in self._printed().values()} - {""})
        said = "\n".join(text[-1000:] for text in texts[:4])
        became = f"will not start ({self._seen})" if self._seen else "has ended"
        return (
            f"job {self.job_id} {became}, and {len(missing)} of its {self.n} engines "
            f"never came; {f'it printed: {said}' if said else 'it printed nothing'}"
        )

    def waits_for(self) -> str:
        """What the system says of a job whose engines are waited for; may be empty."""
        if self.state != "running" or not self._missing():
            return ""
        self._look_at = 0.0
        self._look()
        return f"job {self.job_id}: {self._seen}" if self._seen else ""

    def _stop_jobs(self, asked: bool) -> None:
        """Take the job out of the queue, and the files into which nothing was printed.
        (One whose engines have left has ended, or is about to, which is no problem.)"""
        if self.job_id and self.delete_command:
            try:
                self._run([*self.delete_command, self.job_id])
            except LauncherError as problem:
                states = self.states()
                there = not asked if states is None else bool(states)
                self.log.log(WARNING if there else DEBUG, "%s", problem)
        if not self.output_file:
            for path, text in self._printed().items():
                if not text:
                    path.unlink(missing_ok=True)

    def signal(self, sig: int) -> None:
        if self._alive() or not self.signal_command:
            super().signal(sig)
        else:
            self._run([*self.signal_command, str(int(sig)), self.job_id])

    def get_output(self, remove: bool = False) -> str:
        printed = self._printed()
        text = super().get_output(remove) + "".join(printed.values())
        if remove:
            for path in printed:
                path.unlink(missing_ok=True)
        return text

    def _output_files(self) -> list[Path]:
        """Where the job has printed to, as far as that has come here."""
        if self.output_file:
            path = Path(self.work_dir, self.output_file).expanduser()
            return [path] if path.is_file() else []
        base, suffix = Path(self._output_base()), self._suffix()
        number = self.job_id.partition("[")[0]
        for field, value in ((self.job_field, number), (self.task_field, "*")):
            suffix = suffix.replace(field, value) if field else suffix
        # Torque adds the number of a task at the end.
        return sorted(base.parent.glob(f"{escape(base.name)}{suffix}*"))

    def _printed(self) -> dict[Path, str]:
        """What is in each of these files. (One may be gone meanwhile.)"""
        texts = {}
        for path in self._output_files():
            with contextlib.suppress(OSError):
                texts[path] = path.read_text(errors="replace")
        return texts

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "job_id": self.job_id}

    @classmethod
    def from_dict(
        cls, d: dict[str, Any], *, config: Any = None, parent: Any = None, **kwargs: Any
    ) -> Any:
        made = super().from_dict(d, config=config, parent=parent, **kwargs)
        made.job_id = str(d.get("job_id", ""))
        made._first = min(made.ids, default=0)
        return made


class BatchEngineSetLauncher(BatchSystemLauncher):
    """A batch system of which everything is configured."""


class SlurmEngineSetLauncher(BatchSystemLauncher):
    """Engines as the tasks of one job of Slurm; with `ranks`, as the ranks of one MPI
    job on its nodes, which ``phalanx run`` starts there."""

    OPTIONS = {  # noqa: RUF012
        "submit_command": ["sbatch"],
        "delete_command": ["scancel"],
        "signal_command": ["scancel", "-s"],
        "status_command": ["squeue", "-h", "-j", "{job}", "-o", "%T (%r)"],
        "status_regexp": r"^(\S.*)$",
        "ended_regexp": r"^COMPLET|Invalid job id",
        "batch_file_name": "slurm_engine.sbatch",
        "account": "",
        "qos": "",
        "timelimit": "",
        "options": "",
        "ranks": False,
    }

    ranks: bool

    output_suffix = "-%j.out"
    job_field = "%j"
    default_template = """\
#!/bin/sh
#SBATCH --job-name=ipengine
{start} {program_and_args}
"""
    added = (
        (r"#SBATCH\W+(?:--ntasks|-n)\W+", "n", "#SBATCH --ntasks={n}"),
        (r"#SBATCH\W+(?:--partition|-p)\W+", "queue", "#SBATCH --partition={queue}"),
        (r"#SBATCH\W+(?:--account|-A)\W+", "account", "#SBATCH --account={account}"),
        (r"#SBATCH\W+--qos\W+", "qos", "#SBATCH --qos={qos}"),
        (r"#SBATCH\W+(?:--time|-t)\W+", "timelimit", "#SBATCH --time={timelimit}"),
        (r"#SBATCH\W+(?:--output|-o)\W+", "output_file", "#SBATCH -o {output_file}"),
        (r"^\0", "options", "#SBATCH {options}"),
    )

    def _context(self, first: int) -> dict[str, Any]:
        start = shlex.join(ranks_command()) if self.ranks else "srun"
        return {"start": start, **super()._context(first)}


class PBSEngineSetLauncher(BatchSystemLauncher):
    """Engines as a job array of OpenPBS, PBS Professional or Torque.

    Of one engine, it is an ordinary job, and so are `ranks`: one MPI job in as many
    slots, started by `ssh_cmd` on hosts other than the first. The first two say ``-J``
    for an array and ``select`` for slots, Torque ``-t`` and ``nodes``: those are tried
    when `qsub` does not know the others.
    """

    OPTIONS = {  # noqa: RUF012
        "submit_command": ["qsub"],
        "delete_command": ["qdel"],
        "signal_command": ["qsig", "-s"],
        "status_command": ["qstat", "{job}"],
        "status_regexp": r"^{job}\b.*\s(\w)\s+\S+\s*$",
        "ended_regexp": r"^[CFX]$|Unknown Job|has finished",
        "job_id_regexp": r"\d+(\[\])?",
        "batch_file_name": "pbs_engines",
        "ranks": False,
        "ssh_cmd": [],
    }

    ranks: bool
    ssh_cmd: Any

    default_template = """\
#!/bin/sh
#PBS -V
#PBS -N ipengine
cd "${PBS_O_WORKDIR:-.}"
{start}{program_and_args}
"""
    added = (
        (r"#PBS\W+-[tJ]\W+", "array", "#PBS {array_option} 1-{n}"),
        (r"#PBS\W+-l\W+(?:select|nodes)=", "slots", "#PBS -l {slots_name}={slots}"),
        (r"#PBS\W+-q\W+", "queue", "#PBS -q {queue}"),
        (r"#PBS\W+-o\W+", "output_file", "#PBS -j oe\n#PBS -o {output_file}"),
    )
    task_field = "^array_index^"
    least = 2
    _is_torque = False

    def _context(self, first: int) -> dict[str, Any]:
        return {
            **super()._context(first),
            **self._ranks_context(self.ranks, '"$PBS_NODEFILE"', self.ssh_cmd),
            "array_option": "-t" if self._is_torque else "-J",
            "slots_name": "nodes" if self._is_torque else "select",
            **self.namespace,
        }

    def _suffix(self) -> str:
        is_array = self.n >= self.least and not self.ranks
        return f"-{self._first}{f'-{self.task_field}' if is_array else ''}.out"

    def _submit(self, first: int) -> str:
        try:
            return super()._submit(first)
        except LauncherError as problem:
            differs = re.search("invalid option|unknown resource", str(problem), re.I)
            if self._is_torque or not differs:
                raise
            self._is_torque = True
            return super()._submit(first)


class LSFEngineSetLauncher(BatchSystemLauncher):
    """Engines as a job array of LSF; with `ranks`, as the ranks of one MPI job in as
    many slots, started by `ssh_cmd` (LSF's own is ``blaunch``) on other hosts."""

    OPTIONS = {  # noqa: RUF012
        "submit_command": ["bsub"],
        "delete_command": ["bkill"],
        "signal_command": ["bkill", "-s"],
        "status_command": ["bjobs", "{job}"],
        "status_regexp": r"^{job}\s+\S+\s+(\S+)",
        "ended_regexp": r"^(?:DONE|EXIT)$|is not found",
        "batch_file_name": "lsf_engines",
        "ranks": False,
        "ssh_cmd": [],
    }

    ranks: bool
    ssh_cmd: Any

    output_suffix = "-%J.%I.out"
    job_field, task_field = "%J", "%I"
    default_template = """\
#!/bin/sh
{start}{program_and_args}
"""
    added = (
        (r"#BSUB\s+-J", "array", '#BSUB -J "ipengine[1-{n}]"'),
        (r"#BSUB\s+-J", "slots", "#BSUB -J ipengine"),
        (r"#BSUB\s+-n\s", "slots", "#BSUB -n {slots}"),
        (r"#BSUB\s+-q\s+", "queue", "#BSUB -q {queue}"),
        (r"#BSUB\s+-oo?\s+", "output_file", "#BSUB -o {output_file}"),
    )

    def _context(self, first: int) -> dict[str, Any]:
        return {
            **super()._context(first),
            **self._ranks_context(self.ranks, '"$LSB_DJOB_HOSTFILE"', self.ssh_cmd),
            **self.namespace,
        }

    def _run(self, command: list[str]) -> str:
        # It reads the script, and takes no name of one.
        if command[: len(self.submit_command)] == self.submit_command:
            line = f"{shlex.join(command[:-1])} < {shlex.quote(command[-1])}"
            command = ["/bin/sh", "-c", line]
        return super()._run(command)


class SGEEngineSetLauncher(BatchSystemLauncher):
    """Engines as a job array of Grid Engine; with `ranks`, as the ranks of one MPI job
    in the slots of a parallel environment (``qconf -spl`` lists them), started by
    `ssh_cmd` (Grid Engine's own is ``qrsh -inherit``) on other hosts."""

    OPTIONS = {  # noqa: RUF012
        "submit_command": ["qsub"],
        "delete_command": ["qdel"],
        # (With the number of a job, it says everything but its state.)
        "status_command": ["qstat", "-g", "d"],
        "status_regexp": r"^\s*{job}\s+\S+\s+\S+\s+\S+\s+(\w+)\s",
        "failed_regexp": r"^E",
        "batch_file_name": "sge_engines",
        "ranks": False,
        "parallel_environment": "",
        "ssh_cmd": [],
    }

    ranks: bool
    parallel_environment: str
    ssh_cmd: Any

    output_suffix = "-$JOB_ID.$TASK_ID.out"
    job_field, task_field = "$JOB_ID", "$TASK_ID"
    default_template = """\
#!/bin/sh
#$ -V
#$ -S /bin/sh
#$ -N ipengine
#$ -cwd
{start}{program_and_args}
"""
    added = (
        (r"#\$\W+-t", "array", "#$ -t 1-{n}"),
        (r"#\$\W+-pe\W", "slots", "#$ -pe {parallel_environment} {slots}"),
        (r"#\$\W+-q\W+", "queue", "#$ -q {queue}"),
        (r"#\$\W+-o\W+", "output_file", "#$ -j y\n#$ -o {output_file}"),
    )

    def _context(self, first: int) -> dict[str, Any]:
        named = self.parallel_environment or re.search(r"#\$\W+-pe\W", self._template())
        if self.ranks and not named:
            raise LauncherError(
                "SGEEngineSetLauncher.parallel_environment names the parallel "
                "environment whose slots ranks are to have ('qconf -spl' lists them); "
                "it is not set"
            )
        return {
            **super()._context(first),
            **self._ranks_context(self.ranks, '"$PE_HOSTFILE"', self.ssh_cmd),
            "parallel_environment": self.parallel_environment,
            **self.namespace,
        }


# A job's state as a word, and why it is held.
_CONDOR_STATE = (
    'strcat({"unexpanded", "idle", "running", "removed", "completed", "held", '
    '"transferring output", "suspended"}[JobStatus], '
    'JobStatus == 5 ? strcat(": ", HoldReason) : "")'
)


# What a job of HTCondor's parallel universe does on each machine: its description has
# the slots of all of them. The first starts the ranks, the others keep their slots.
_CONDOR_NODES = "; ".join(
    (
        '[ "$_CONDOR_PROCNO" = 0 ] || exec sleep infinity',
        'slots=$(grep "^RemoteHosts = " "$_CONDOR_JOB_AD" | cut -d \'"\' -f 2)',
        'hosts="$_CONDOR_SCRATCH_DIR/hosts"',
        'for slot in $(echo "$slots" | tr , " "); do echo "${slot#*@}"; done >"$hosts"',
        'exec {start} --hostfile "$hosts" {program_and_args}',
    )
)


def _condor_line(words: list[str]) -> str:
    """Arguments in HTCondor's own quotes, of which those in a word are doubled."""
    quoted = ["'" + word.replace("'", "''") + "'" for word in words]
    return " ".join(quoted).replace('"', '""').replace("$", "$(DOLLAR)")


class HTCondorEngineSetLauncher(BatchSystemLauncher):
    """Engines as one cluster of jobs of HTCondor.

    With `ranks`, they are one job of as many CPUs, and the ranks of one MPI job on the
    machine that gives it these; with ``universe="parallel"`` as well, on the machines
    of a dedicated scheduler, started by `ssh_cmd` on others than the first.
    """

    OPTIONS = {  # noqa: RUF012
        "submit_command": ["condor_submit"],
        "delete_command": ["condor_rm"],
        "status_command": ["condor_q", "{job}", "-af", _CONDOR_STATE],
        "status_regexp": r"^(\S.*)$",
        "ended_regexp": r"^(?:removed|completed)$",
        # (Unless its user has held it.)
        "failed_regexp": r"^held(?!: via condor_hold)",
        "job_id_regexp": r"submitted to cluster (\d+)",
        "job_id_regexp_group": 1,
        "batch_file_name": "htcondor_engines",
        "ranks": False,
        "universe": "vanilla",
        "ssh_cmd": [],
    }

    ranks: bool
    universe: str
    ssh_cmd: Any

    output_suffix = "-$(Cluster).$(Process).out"
    job_field, task_field = "$(Cluster)", "$(Process)"
    default_template = """\
universe = {universe}
executable = {program}
transfer_executable = False
arguments = "{arguments}"
getenv = True
output = {output_file}
error = {output_file}
{slots}
queue {jobs}
"""

    def _context(self, first: int) -> dict[str, Any]:
        known = super()._context(first)
        command, slots, jobs = self._engine_args(first), "", self.n
        if self.ranks:
            start, jobs = ranks_command(), 1
            if self.universe == "parallel":
                start += ssh_args(self.ssh_cmd)
                script = _fill(_CONDOR_NODES, {**known, "start": shlex.join(start)})
                command = ["/bin/sh", "-c", script]
                slots = f"machine_count = {self.n}"
            else:
                command = [*start, "-n", str(self.n), *command]
                slots = f"request_cpus = {self.n}"
        program, *arguments = command
        known |= {
            "universe": self.universe,
            "program": program,
            "arguments": _condor_line(arguments),
            "slots": slots,
            "jobs": jobs,
        }
        return {**known, **self.namespace}

    def _submit(self, first: int) -> str:
        if self.queue:
            self.log.warning(
                "HTCondor has no queues: %r says nothing to it", self.queue
            )
        return super()._submit(first)
