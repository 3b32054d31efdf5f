"""Start a job that is meant to fail, and look at what it leaves behind."""

import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import textwrap
import time
import unittest
import uuid
from dataclasses import dataclass
from pathlib import Path

PHALANX = str(Path(sysconfig.get_path("scripts")) / "phalanx")
WATCHDOG = 60.0  # seconds until a job counts as hung
# It is waited for in naps: a machine that stands still is no job that hangs.
NAP = 0.02
MARK = "PHALANX_TEST_MARK"
# What other libraries put into /dev/shm: not ours, whoever runs beside the tests.
FOREIGN = (
    "Intel_MPI_",
    "mpich_shm_",
    "psm_",
    "sem.",
    "sm_segment.",
    "ucx_shm_",
    "vader_segment.",
)


# The end of a script whose rank `last` was killed. The memory of rank 0 stays as long
# as others want it.
SURVIVORS_LEAVE = """
if me == 0:
    for rank in range(1, last):
        comm.recv(source=rank)
else:
    comm.send(None, 0)
print("went on", flush=True)
os._exit(0)
"""


@dataclass(frozen=True)
class Ended:
    """How a job ended: exit status (128 + signal as a shell says it), output."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return f"status {self.status}\n--- out\n{self.out}\n--- err\n{self.err}"


class Job:
    """A running job: `phalanx run -n RANKS script.py` with a script of our own."""

    def __init__(
        self, folder: str, mark: str, command: list[str], **environment: str
    ) -> None:
        self.out = Path(folder, "out").open("w+")
        self.err = Path(folder, "err").open("w+")
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=self.out,
            stderr=self.err,
            cwd=folder,
            env={
                **os.environ,
                MARK: mark,
                "TMPDIR": str(Path(folder, "tmp")),
                # Ranks that wait for each other keep the jobs of most tests alive.
                "PHALANX_ON_DEADLOCK": "ignore",
                **environment,
            },
            start_new_session=True,
        )

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until the job printed `text` (so many times)."""
        for _ in range(round(WATCHDOG / NAP)):
            # In this order: what it printed before its end is there after it.
            over = self.process.poll() is not None
            if self.read(self.out).count(text) >= times:
                return
            if over:
                break
            time.sleep(NAP)
        ended = self.end(0.0)
        raise AssertionError(f"the job never printed {text!r}: {ended.text}")

    @staticmethod
    def read(file) -> str:
        return Path(file.name).read_text(errors="replace")

    def end(self, seconds: float = WATCHDOG) -> Ended:
        """Wait for the end of the job; kill it when it outlives the watchdog."""
        code = self.process.poll()
        for _ in range(round(seconds / NAP)):
            try:
                code = self.process.wait(NAP)
                break
            except subprocess.TimeoutExpired:
                continue
        if code is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        out, err = self.read(self.out), self.read(self.err)
        self.out.close()
        self.err.close()
        if code is None:
            raise AssertionError(f"the job hung:\n--- out\n{out}\n--- err\n{err}")
        return Ended(code if code >= 0 else 128 - code, out, err)


def marked_processes(mark: str) -> list[str]:
    """Every live process that inherited the mark, as `pid command`."""
    needle = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if needle in (entry / "environ").read_bytes().split(b"\0"):
                state = (entry / "stat").read_text().rpartition(")")[2].split()[0]
                if state not in "ZX":
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    found.append(f"{entry.name} {command.decode(errors='replace')}")
        except OSError:
            continue
    return found


def shared_names() -> set[str]:
    names = os.listdir("/dev/shm")
    return {name for name in names if not name.startswith(FOREIGN)}


class JobCase(unittest.TestCase):
    """A test that starts jobs and, at its end, finds nothing of them left."""

    def setUp(self) -> None:
        self.mark = uuid.uuid4().hex
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = holder.name
        self.temporary = Path(self.folder, "tmp")
        self.temporary.mkdir()
        self.shared_before = shared_names()

    def start(self, ranks: int, script: str, *flags: str) -> Job:
        path = Path(self.folder, "script.py")
        path.write_text(textwrap.dedent(script))
        return self.launch("-n", str(ranks), *flags, sys.executable, str(path))

    def launch(self, *arguments: str, **environment: str) -> Job:
        command = [PHALANX, "run", *arguments]
        return Job(self.folder, self.mark, command, **environment)

    def run_job(self, ranks: int, script: str, *flags: str) -> Ended:
        return self.start(ranks, script, *flags).end()

    def assert_nothing_left(self) -> None:
        deadline = time.monotonic() + 10
        while left := marked_processes(self.mark):
            if time.monotonic() > deadline:
                for process in left:
                    os.kill(int(process.split()[0]), signal.SIGKILL)
                self.fail(f"processes left: {left}")
            time.sleep(0.02)
        self.assertEqual(list(self.temporary.iterdir()), [], "temporary files left")
        extra = shared_names() - self.shared_before
        self.assertEqual(extra, set(), "left in /dev/shm")

    def tearDown(self) -> None:
        self.assert_nothing_left()

    def assert_says(self, ended: Ended, *texts: str) -> None:
        """Every text stands somewhere in the job's error output."""
        for text in texts:
            self.assertIn(text, ended.err, ended.text)
