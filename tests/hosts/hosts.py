"""What the tests on several hosts share: jobs, what may be done to hosts, what is left.

They run as a command of `up.sh`, on the host h0.
"""

import contextlib
import os
import re
import signal
import subprocess
import sysconfig
import tempfile
import time
import unittest
from dataclasses import dataclass
from pathlib import Path

PHALANX = str(Path(sysconfig.get_path("scripts")) / "phalanx")
NET = Path(os.environ.get("NET", "/nonexistent"))
HOSTS = os.environ.get("HOSTS", "").split(",")
SECONDS = 90.0
# Where scripts lie that all hosts see: /tmp is each host's own.
SHARED = Path(__file__).resolve().parents[2] / "build"

# Intel MPI in a folder of its own, in place of the MPICH beside this Python.
INTEL = os.environ.get("INTEL", "")
LIBRARY = {
    "PHALANX_MPI": f"{INTEL}/lib/libmpi_abi.so.1",
    "LD_LIBRARY_PATH": f"{INTEL}/lib",
    "FI_PROVIDER_PATH": f"{INTEL}/lib",
    "I_MPI_ROOT": INTEL,
}
ENVIRONMENT = {
    **os.environ,
    **(LIBRARY if INTEL else {}),
    "PHALANX_SSH": os.environ.get("RSH", "ssh"),
    "PYTHONDONTWRITEBYTECODE": "1",
}


@dataclass
class Ended:
    """How a job ended, and how long it took."""

    status: int
    out: str
    err: str
    seconds: float

    def __str__(self) -> str:
        return f"status {self.status} after {self.seconds:.1f} s\n{self.out}{self.err}"


class Job:
    """A running `phalanx run`."""

    def __init__(self, *words: str, stdin: str | None = None, **env: str):
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            [PHALANX, "run", *words],
            stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**ENVIRONMENT, **env},
            start_new_session=True,
        )
        self.stdin = stdin

    def ended(self) -> Ended:
        try:
            out, err = self.process.communicate(self.stdin, timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            out, err = self.process.communicate()
            raise AssertionError(f"it hangs:\n{out}\n{err}") from None
        return Ended(self.process.returncode, out, err, time.monotonic() - self.began)


def run(*words: str, stdin: str | None = None, **env: str) -> Ended:
    return Job(*words, stdin=stdin, **env).ended()


def processes(wanted: str) -> list[int]:
    """The processes of all hosts with this in their command line, by h0's numbers."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                if wanted in words and "unittest" not in words:
                    found.append(int(entry.name))
    return found


def host_of(pid: int) -> str:
    """The name of the host that a process runs on, by its network."""
    network = os.stat(f"/proc/{pid}/ns/net").st_ino
    for host in HOSTS:
        first = (NET / f"{host}.pid").read_text().strip()
        with contextlib.suppress(OSError):
            if os.stat(f"/proc/{first}/ns/net").st_ino == network:
                return host
    return "h0"


def memory() -> list[Path]:
    """What has a name in `/dev/shm` on any host, seen from h0."""
    folders = [Path("/dev/shm")]
    for host in HOSTS:
        # A host that is lost has none.
        with contextlib.suppress(OSError):
            first = (NET / f"{host}.pid").read_text().strip()
            folders.append(Path(f"/proc/{first}/root/dev/shm"))
    found = []
    for folder in folders:
        with contextlib.suppress(OSError):
            found += folder.iterdir()
    return found


def until(condition, what: str):
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if found := condition():
            return found
        time.sleep(0.02)
    raise AssertionError(f"in vain: {what}")


class HostsTest(unittest.TestCase):
    """A test with a folder that all hosts see; nothing may be left of its jobs."""

    def setUp(self) -> None:
        SHARED.mkdir(exist_ok=True)
        folder = tempfile.TemporaryDirectory(dir=SHARED, prefix="hosts-")
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def script(self, text: str, name: str = "script.py") -> str:
        path = self.folder / name
        path.write_text(text)
        return str(path)

    def nothing_is_left(self, within: float = 10.0) -> None:
        """No process from the folder, no agent, and no named memory, on any host."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            left = processes(str(self.folder)) + processes(f"{PHALANX} agent")
            if not left and not memory():
                return
            time.sleep(0.05)
        words = []
        for pid in left:
            with contextlib.suppress(OSError):
                words.append(Path(f"/proc/{pid}/cmdline").read_text())
        self.fail(f"left: {words} {memory()}")

    def good(self, ended: Ended) -> str:
        self.assertEqual(ended.status, 0, ended)
        self.nothing_is_left()
        return ended.out

    def says(self, ended: Ended, *words: str) -> None:
        for word in words:
            self.assertRegex(ended.err, re.compile(word, re.DOTALL), ended)


FOUR = ["--host", "h1:2,h2:2"]

# All ranks are there; then rank 2 does something, and the others wait for it.
WAITS = """
import os, sys, time
from mpi4py import MPI
comm = MPI.COMM_WORLD
comm.Barrier()
open({folder!r} + f"/there-{{comm.rank}}", "w").close()
if comm.rank == 2:
    time.sleep(0.2)
    {how}
comm.Barrier()
"""
# So much later than its cause a job has ended: the bound of docs/clusters.md and what a
# busy machine adds to it.
BOUND, BUSY = 7.0, 30.0


class FailureTest(HostsTest):
    """A test in which something happens to a rank on the second host, or to that."""

    def job(self, how: str, *words: str) -> Job:
        script = self.script(WAITS.format(how=how, folder=str(self.folder)))
        return Job(*FOUR, *words, script)

    def waiting(self, how: str = "time.sleep(1000)", *words: str) -> Job:
        job = self.job(how, *words)
        until(
            lambda: (
                all((self.folder / f"there-{n}").exists() for n in range(4))
                or job.process.poll() is not None
            ),
            "ranks start",
        )
        self.assertIsNone(job.process.poll(), job)
        return job

    def ends(self, job: Job, status: int, *words: str) -> None:
        began = time.monotonic()
        ended = job.ended()
        took = time.monotonic() - began
        self.assertEqual(ended.status, status, ended)
        self.says(ended, *words)
        self.assertLess(took, BOUND + BUSY, ended)
        self.nothing_is_left()
        print(f"{self.id().rsplit('.', 1)[-1]}: {took:.1f} s, status {ended.status}")

    def agent(self, host: str) -> int:
        agents = [pid for pid in processes("phalanx agent") if host_of(pid) == host]
        stats = [Path(f"/proc/{pid}/stat").read_text() for pid in agents]
        parents = {int(stat.split()[3]) for stat in stats}
        # Its guard is a child of it and has the same words.
        [agent] = [pid for pid in agents if pid in parents] or agents
        return agent
