"""Engines as jobs of a batch system: Slurm, PBS, LSF, SGE, HTCondor, or another one.

A system is what its templates and commands say. The script of a job is written into
the working directory, so that one sees what was submitted, and may be replaced whole by
`batch_template` or `batch_template_file`. Machines share the home directory, by which
engines find the connection file, and reach the controller over the network.
"""

import re
import shlex
import subprocess
from pathlib import Path
from string import Formatter
from typing import Any

from .launcher import JobEngineSetLauncher, LauncherError
from .ranks import ranks_command

__all__ = [
    "BatchEngineSetLauncher",
    "BatchSystemLauncher",
    "HTCondorEngineSetLauncher",
    "LSFEngineSetLauncher",
    "PBSEngineSetLauncher",
    "SGEEngineSetLauncher",
    "SlurmEngineSetLauncher",
]


class _Lenient(Formatter):
    """Fills in what is known; other braces stay (those of a shell's variables)."""

    def get_value(self, key: Any, args: Any, kwargs: Any) -> Any:
        if isinstance(key, str):
            return kwargs.get(key, "{" + key + "}")
        return "{" + str(key) + "}"


class BatchSystemLauncher(JobEngineSetLauncher):
    """Engines as one job of a batch system, which the options describe."""

    OPTIONS = {  # noqa: RUF012
        "submit_command": [],
        "delete_command": [],
        "signal_command": [],
        "job_id_regexp": r"\d+",
        "job_id_regexp_group": 0,
        "batch_template": "",
        "batch_template_file": "",
        "batch_file_name": "batch_script",
        "queue": "",
        "output_file": "",
        "namespace": {},
    }

    # Its engines reach the controller over the network.
    needs_network = True

    default_template = ""
    # Lines that a template without them gets: what they look like, and the lines.
    added: tuple[tuple[str, str, str], ...] = ()

    submit_command: list[str]
    delete_command: list[str]
    signal_command: list[str]
    job_id_regexp: Any
    job_id_regexp_group: int
    batch_template: str
    batch_template_file: str
    batch_file_name: str
    queue: str
    output_file: str
    namespace: dict[str, Any]
    job_id = ""

    def _engine_args(self, first: int) -> list[str]:
        return [*self.find_args(), "--first", str(first)]

    def _context(self, first: int) -> dict[str, Any]:
        command = self._engine_args(first)
        log = Path(self.profile_dir) / "log"
        return {
            "n": self.n,
            "queue": self.queue,
            "profile_dir": self.profile_dir,
            "cluster_id": self.cluster_id,
            "program": shlex.quote(command[0]),
            "program_and_args": shlex.join(command),
            "arguments": shlex.join(command[1:]),
            "output_file": self.output_file or str(log / f"{self.batch_file_name}.out"),
            **{name: getattr(self, name, "") for _, name, _ in self.added},
            **self.namespace,
        }

    def _template(self) -> str:
        if self.batch_template_file:
            return Path(self.batch_template_file).expanduser().read_text()
        return self.batch_template or self.default_template

    def write_batch_script(self, n: int = 1, first: int = 0) -> str:
        """Write the script of a job of n engines into the working directory; its text.

        A template that does not say the queue, the number of tasks or where output
        goes gets the lines for it behind its first one.
        """
        self.n = n
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
        text = _Lenient().format(whole, **context)
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

    def _run(self, command: list[str]) -> str:
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                cwd=self.work_dir,
                env=self.get_env(),
                check=False,
                timeout=120,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise LauncherError(f"{shlex.join(command)}: {problem}") from None
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
        self.write_batch_script(self.n, first)
        said = self._run([*self.submit_command, f"./{self.batch_file_name}"])
        self.job_id = self.parse_job_id(said)
        self.log.info("Submitted job %s", self.job_id)

    def _stop_jobs(self, asked: bool) -> None:
        """Take the job out of the queue. (One whose engines have left has ended, or is
        about to, which is no problem.)"""
        if self.job_id and self.delete_command:
            try:
                self._run([*self.delete_command, self.job_id])
            except LauncherError as problem:
                self.log.debug("%s", problem)

    def signal(self, sig: int) -> None:
        if self._alive() or not self.signal_command:
            super().signal(sig)
        else:
            self._run([*self.signal_command, str(int(sig)), self.job_id])

    def get_output(self, remove: bool = False) -> str:
        path = Path(self._context(0)["output_file"])
        text = path.read_text(errors="replace") if path.is_file() else ""
        if remove:
            path.unlink(missing_ok=True)
        return super().get_output(remove) + text

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "job_id": self.job_id}

    @classmethod
    def from_dict(
        cls, d: dict[str, Any], *, config: Any = None, parent: Any = None, **kwargs: Any
    ) -> Any:
        made = super().from_dict(d, config=config, parent=parent, **kwargs)
        made.job_id = str(d.get("job_id", ""))
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
        "batch_file_name": "slurm_engine.sbatch",
        "account": "",
        "qos": "",
        "timelimit": "",
        "options": "",
        "ranks": False,
    }

    ranks: bool

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
    """Engines as a job array of PBS or Torque."""

    OPTIONS = {  # noqa: RUF012
        "submit_command": ["qsub"],
        "delete_command": ["qdel"],
        "signal_command": ["qsig", "-s"],
        "job_id_regexp": r"\d+(\[\])?",
        "batch_file_name": "pbs_engines",
    }

    default_template = """\
#!/bin/sh
#PBS -V
#PBS -N ipengine
{program_and_args}
"""
    added = (
        (r"#PBS\W+-[tJ]\W+", "n", "#PBS -t 1-{n}"),
        (r"#PBS\W+-q\W+", "queue", "#PBS -q {queue}"),
        (r"#PBS\W+-o\W+", "output_file", "#PBS -j oe\n#PBS -o {output_file}"),
    )


class LSFEngineSetLauncher(BatchSystemLauncher):
    """Engines as a job array of LSF."""

    OPTIONS = {  # noqa: RUF012
        "submit_command": ["bsub"],
        "delete_command": ["bkill"],
        "signal_command": ["bkill", "-s"],
        "batch_file_name": "lsf_engines",
    }

    default_template = """\
#!/bin/sh
{program_and_args}
"""
    added = (
        (r"#BSUB\s+-J", "n", "#BSUB -J ipengine[1-{n}]"),
        (r"#BSUB\s+-q\s+", "queue", "#BSUB -q {queue}"),
        (r"#BSUB\s+-oo?\s+", "output_file", "#BSUB -o {output_file}"),
    )

    def _run(self, command: list[str]) -> str:
        # It reads the script, and takes no name of one.
        if command[: len(self.submit_command)] == self.submit_command:
            line = f"{shlex.join(command[:-1])} < {shlex.quote(command[-1])}"
            command = ["/bin/sh", "-c", line]
        return super()._run(command)


class SGEEngineSetLauncher(BatchSystemLauncher):
    """Engines as a job array of Grid Engine."""

    OPTIONS = {  # noqa: RUF012
        "submit_command": ["qsub"],
        "delete_command": ["qdel"],
        "batch_file_name": "sge_engines",
    }

    default_template = """\
#!/bin/sh
#$ -V
#$ -S /bin/sh
#$ -N ipengine
#$ -cwd
{program_and_args}
"""
    added = (
        (r"#\$\W+-t", "n", "#$ -t 1-{n}"),
        (r"#\$\W+-q\W+", "queue", "#$ -q {queue}"),
        (r"#\$\W+-o\W+", "output_file", "#$ -j y\n#$ -o {output_file}"),
    )


class HTCondorEngineSetLauncher(BatchSystemLauncher):
    """Engines as one cluster of jobs of HTCondor."""

    OPTIONS = {  # noqa: RUF012
        "submit_command": ["condor_submit"],
        "delete_command": ["condor_rm"],
        "job_id_regexp": r"(\d+)\.$",
        "job_id_regexp_group": 1,
        "batch_file_name": "htcondor_engines",
    }

    default_template = """\
universe = vanilla
executable = {program}
transfer_executable = False
arguments = "{arguments}"
getenv = True
output = {output_file}
error = {output_file}
queue {n}
"""
