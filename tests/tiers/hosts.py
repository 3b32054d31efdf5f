"""Jobs on several hosts: namespaces of this machine, and a Slurm of its own on them."""

import os
import shutil
from pathlib import Path

from . import libraries
from .process import PYTHON, TESTS, Counts, count_unittest, run, timed

FOLDER = TESTS / "hosts"
UP = str(FOLDER / "up.sh")
LIBRARY = Path(PYTHON).parent.parent / "lib/libmpi_abi.so.1"


def _missing() -> str:
    """Why no hosts can be made here; nothing if they can."""
    if os.geteuid() != 0:
        return "hosts are made of namespaces, which needs root"
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool) is None:
            return f"hosts are made of namespaces, and there is no {tool}"
    tried = run([UP, "1", "true"], 60)
    if tried.code != 0:
        last = tried.output.strip().splitlines()[-1:] or ["no reason given"]
        return f"namespaces are forbidden here: {last[0]}"
    return ""


def _library() -> str:
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


def _run(
    files: list[str], hosts: int, seconds: float, *wrapper: str, **more: str
) -> Counts:
    counts = Counts()
    for name in files:
        command = [UP, str(hosts), *wrapper, PYTHON, "-m", "unittest", "-q", name]
        env = {"PYTHON": PYTHON, **more}
        with timed(f"{name} on {hosts} hosts"):
            done = run(command, seconds, cwd=FOLDER, env=env)
        counts += count_unittest(done, f"{name} on {hosts} hosts")
        for line in done.output.splitlines():
            if line.startswith("test_"):
                print(f"    {line}")
    return counts


def _skipped(why: str) -> Counts:
    print(f"skipped: {why}")
    return Counts(skipped=1)


def run_all() -> Counts:
    why = _missing() or _library()
    if why:
        return _skipped(why)
    counts = _run(["test_running"], 4, 600)
    counts += _run(["test_looking", "test_failures", "test_lost"], 2, 900)
    counts += _run(["test_cluster"], 2, 900)
    if intel := _intel(counts):
        print("    on Intel MPI:")
        counts += _run(["test_failures", "test_lost"], 2, 900, INTEL=intel)
    return counts


def run_slurm() -> Counts:
    """No system package is installed for it."""
    why = _missing() or _library()
    for tool in ("slurmctld", "slurmd", "srun", "munged"):
        if (
            not why
            and shutil.which(tool, path=f"{os.environ['PATH']}:/usr/sbin") is None
        ):
            why = f"there is no {tool} (Debian: slurmctld slurmd slurm-client munge)"
    if why:
        return _skipped(why)
    counts = Counts()
    more = {"SRUN_INTEL": _intel(counts)}
    files = ["test_slurm", "test_srun", "test_cluster_slurm", "test_slurm_lost"]
    counts += _run(files, 2, 900, str(FOLDER / "slurm.sh"), **more)
    return counts
