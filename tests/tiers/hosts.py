"""Jobs on several hosts: namespaces of this machine, and a Slurm of its own on them."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from . import libraries
from .process import PYTHON, TESTS, Counts, Finished, count_with_second, run, timed

FOLDER = TESTS / "hosts"
UP = str(FOLDER / "up.sh")
SLURM = str(FOLDER / "slurm.sh")
SECONDS = 900.0  # until a file counts as hung
TOGETHER = 3
LIBRARY = Path(PYTHON).parent.parent / "lib/libmpi_abi.so.1"


def missing(env: dict[str, str] | None = None) -> str:
    """Why no hosts can be made here, with these variables; nothing if they can."""
    if os.geteuid() != 0:
        return "hosts are made of namespaces, which needs root"
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            return f"hosts are made of namespaces, and there is no {tool}"
    tried = run([UP, "1", "true"], 60, env=env)
    if tried.code != 0:
        last = tried.output.strip().splitlines()[-1:] or ["no reason given"]
        return f"namespaces are forbidden here: {last[0]}"
    return ""


def library() -> str:
    """Have PyPI's MPICH beside this Python; why not, if it cannot be had."""
    if LIBRARY.is_file():
        return ""
    listed = TESTS / "requirements" / "hosts.txt"
    pip = [PYTHON, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    done = run([*pip, "install", "--no-deps", "-r", str(listed)], 300)
    return "" if done.code == 0 else f"no MPI library: {done.output.strip()[-200:]}"


def _intel(counts: Counts) -> str:
    """Where Intel MPI is; nothing, and a failure, if it cannot be installed."""
    (intel,) = [one for one in libraries.LIBRARIES if one.name == "intel"]
    return str(intel.home) if libraries.install(intel, counts) else ""


def prepare() -> None:
    """Install what hosts have in common with other tiers, if hosts can be made."""
    if not missing():
        library()
        _intel(Counts())


@dataclass(frozen=True)
class HostsFile:
    """A file of cases, and hosts with a network of their own on which it runs."""

    name: str
    hosts: int
    wrapper: tuple[str, ...] = ()
    env: dict[str, str] = field(default_factory=dict)
    library: str = "MPICH"

    @property
    def what(self) -> str:
        return f"{self.name} on {self.hosts} hosts, {self.library}"

    def run(self) -> Finished:
        command = [UP, str(self.hosts), *self.wrapper]
        command += [PYTHON, "-m", "unittest", "-q", self.name]
        with timed(self.what):
            env = {"PYTHON": PYTHON, **self.env}
            return run(command, SECONDS, cwd=FOLDER, env=env)


def run_files(files: list[HostsFile], together: int = TOGETHER) -> Counts:
    """Several at once: most of the time they wait, for heartbeats that do not come.

    Other tiers run beside them, so one that fails runs once more.
    """
    counts = Counts()
    with ThreadPoolExecutor(together) as threads:
        ended = zip(files, threads.map(HostsFile.run, files), strict=True)
        for file, done in ended:
            here = count_with_second(file.what, done, file.run)
            print(f"    {file.what}: {here.passed} passed, {here.failed} failed")
            for line in done.output.splitlines():
                if line.startswith("test_"):
                    print(f"    {line}")
            counts += here
    return counts


def skipped(why: str) -> Counts:
    print(f"skipped: {why}")
    return Counts(skipped=1)


def run_all() -> Counts:
    why = missing() or library()
    if why:
        return skipped(why)
    counts = Counts()
    lost = ["test_failures", "test_lost"]  # of hosts and ranks, on each library
    files = [HostsFile("test_running", 4)]
    files += [HostsFile(name, 2) for name in (*lost, "test_looking")]
    if intel := _intel(counts):
        env = {"INTEL": intel}
        files += [HostsFile(name, 2, env=env, library="Intel MPI") for name in lost]
    counts += run_files(files)
    # A cable that is cut for two seconds leaves one more for the system's next try to
    # send, before the machine counts as lost.
    clusters = ("test_cluster", "test_cluster_ranks")
    counts += run_files([HostsFile(name, 2) for name in clusters], together=1)
    return counts


def no_slurm() -> str:
    """Why Slurm cannot be run here; nothing if it can."""
    for tool in ("slurmctld", "slurmd", "srun", "munged"):
        if shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") is None:
            return f"there is no {tool} (Debian: slurmctld slurmd slurm-client munge)"
    return ""


def run_slurm() -> Counts:
    """No system package is installed for it."""
    why = missing() or library() or no_slurm()
    if why:
        return skipped(why)
    counts = Counts()
    env = {"SRUN_INTEL": _intel(counts), "BATCH": "slurm"}
    names = ["test_slurm", "test_srun", "test_slurm_lost"]
    names += ["test_cluster_slurm", "test_cluster_batch"]
    counts += run_files([HostsFile(name, 2, (SLURM,), env) for name in names])
    return counts
