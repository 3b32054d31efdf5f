"""Run scripts that may hang, and look at what they leave behind.

Two base classes for the tests in this folder:

- `ScriptCase`: the test is a script in a process of its own, in a fresh session,
  with its own TMPDIR. `run_script` runs it to its end, `start` lets it run while
  the test does something to it. A script that outlives its limit fails the test
  with the Python stacks of all its processes. At the end of each test nothing of
  it is left: no process, no temporary file, no name in /dev/shm.
- `HereCase`: the test uses pools and queues in its own process. A test that
  hangs ends the process with its stacks; after each test no child is left.
"""

import contextlib
import faulthandler
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60.0  # until a script counts as hung
MARK = "PHALANX_TEST_MARK"  # in the environment of every process of one test
STACKS = "PHALANX_TEST_STACKS"  # the file that stacks are written to
ASK = signal.SIGRTMAX - 3  # asks a process for its stacks
# What other programs may put into /dev/shm while the tests run ("sem.": the standard
# module; ours has no names there at all).
FOREIGN = (
    "Intel_MPI_",
    "mpich_shm_",
    "sem.",
    "sm_segment.",
    "ucx_shm_",
    "vader_segment.",
)
# Runs in every Python of a test (spawned ones too) before anything else. Lines leave
# whole: an unbuffered `print` writes its newline apart, and another process's line
# comes between.
SITE = f"""
import faulthandler, os, sys
sys.stdout.reconfigure(line_buffering=True, write_through=False)
if "{STACKS}" in os.environ:
    faulthandler.register({int(ASK)}, open(os.environ["{STACKS}"], "a"))
"""


@dataclass(frozen=True)
class Ended:
    """How a script ended: `status` is negative for a signal."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return f"status {self.status}\n--- out\n{self.out}\n--- err\n{self.err}"

    @property
    def lines(self) -> list[str]:
        return self.out.splitlines()


def state_of(pid: int) -> tuple[str, int, int]:
    """State letter, parent and session of a process; raises OSError when gone."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return fields[0], int(fields[1]), int(fields[3])


def live_processes(belongs: Callable[[int], bool]) -> list[int]:
    """Every process for which `belongs` holds and that is not a zombie."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                if state_of(int(name))[0] not in "ZX" and belongs(int(name)):
                    found.append(int(name))
            except OSError:
                continue
    return found


def describe(pid: int) -> str:
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        return f"{pid} {command.decode(errors='replace').strip()}"
    except OSError:
        return f"{pid} (ended)"


def is_marked(pid: int, mark: str) -> bool:
    environ = Path(f"/proc/{pid}/environ").read_bytes()
    return f"{MARK}={mark}".encode() in environ.split(b"\0")


def shared_names() -> set[str]:
    names = os.listdir("/dev/shm")
    return {name for name in names if not name.startswith(FOREIGN)}


def wait_until(holds: Callable[[], bool], seconds: float = SECONDS) -> bool:
    """Whether `holds()` became true within the limit."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


def memory_group(limit: int) -> Path | None:
    """Make a control group with a limit in bytes; None where that is not possible."""
    lines = Path("/proc/self/cgroup").read_text().splitlines()
    groups = [line.split(":", 2)[1:] for line in lines]
    for kinds, path in groups:
        if "memory" in kinds.split(","):
            parent = Path(f"/sys/fs/cgroup/memory{path}")
            names = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes")
        elif kinds == "":
            parent = Path(f"/sys/fs/cgroup{path}")
            names = ("memory.max", "memory.swap.max")
        else:
            continue
        group = parent / f"phalanx-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        try:
            (group / names[0]).write_text(str(limit))
        except OSError:
            group.rmdir()
            continue
        # Where there is no swap, its limit may be missing.
        with contextlib.suppress(OSError):
            (group / names[1]).write_text(str(0 if kinds == "" else limit))
        return group
    return None


class Script:
    """A running script, its processes, and what it has printed so far."""

    def __init__(
        self, folder: Path, command: list[str], env: dict[str, str], given: str
    ) -> None:
        self.folder, self.mark = folder, env[MARK]
        with (
            open(given) as stdin,
            (folder / "out").open("w") as out,
            (folder / "err").open("w") as err,
        ):
            self.process = subprocess.Popen(
                command,
                stdin=stdin,
                stdout=out,
                stderr=err,
                cwd=folder,
                env={**os.environ, **env},
                start_new_session=True,
            )
        self.pid = self.process.pid

    @property
    def out(self) -> str:
        return (self.folder / "out").read_text(errors="replace")

    @property
    def err(self) -> str:
        return (self.folder / "err").read_text(errors="replace")

    def processes(self) -> list[int]:
        """Every live process of the script, the script's own among them."""
        return live_processes(
            lambda pid: state_of(pid)[2] == self.pid or is_marked(pid, self.mark)
        )

    def stacks(self) -> str:
        """The Python stacks of all its processes, as far as they answer."""
        path = self.folder / "stacks"
        for pid in self.processes():
            with path.open("a") as file:
                file.write(f"\nprocess {describe(pid)}\n")
            size = path.stat().st_size
            try:
                os.kill(pid, ASK)
            except ProcessLookupError:
                continue
            wait_until(lambda size=size: path.stat().st_size > size, 1.0)
            time.sleep(0.05)
        return path.read_text(errors="replace")

    def wait_for(self, text: str, times: int = 1, seconds: float = SECONDS) -> None:
        """Wait until it has printed `text` (so many times)."""
        deadline = time.monotonic() + seconds
        while self.out.count(text) < times:
            if time.monotonic() > deadline:
                self.give_up(f"never printed {text!r} in {seconds:.0f} s")
            if self.process.poll() is not None and self.out.count(text) < times:
                ended = Ended(self.process.returncode, self.out, self.err)
                raise AssertionError(f"ended before {text!r}: {ended.text}")
            time.sleep(0.005)

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the script's own process only."""
        os.kill(self.pid, number)

    def interrupt(self) -> None:
        """What Ctrl-C does in a terminal: SIGINT to the whole group."""
        os.killpg(self.pid, signal.SIGINT)

    def end(self, seconds: float = SECONDS) -> Ended:
        """Wait for the end of the script's own process."""
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.give_up(f"still running after {seconds:.0f} s")
        return Ended(status, self.out, self.err)

    def give_up(self, why: str) -> None:
        """Collect the stacks, kill every process, fail."""
        stacks = self.stacks()
        self.kill_all()
        raise AssertionError(
            f"{why}\n--- out\n{self.out}\n--- err\n{self.err}\n--- stacks{stacks}"
        )

    def kill_all(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        if self.process.returncode is None:
            self.process.wait()


class ScriptCase(unittest.TestCase):
    """Tests that are scripts, of which nothing is left at the end."""

    def setUp(self) -> None:
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = Path(holder.name)
        (self.folder / "site").mkdir()
        (self.folder / "site" / "sitecustomize.py").write_text(SITE)
        self.scripts: list[Script] = []
        self.shared_before = shared_names()

    def start(
        self,
        text: str,
        *arguments: str,
        env: dict[str, str] | None = None,
        way: str = "file",
    ) -> Script:
        """Start a script.

        `way` is "file", "-c", "-m" (as `python -m script`) or "-" (standard input).
        """
        text = textwrap.dedent(text)
        folder = self.folder / f"run{len(self.scripts)}"
        (folder / "tmp").mkdir(parents=True)
        (folder / "stacks").touch()
        (folder / "script.py").write_text(text)
        given = {
            MARK: uuid.uuid4().hex,
            STACKS: str(folder / "stacks"),
            "TMPDIR": str(folder / "tmp"),
            "PYTHONDONTWRITEBYTECODE": "1",
            **(env or {}),
        }
        before = given.get("PYTHONPATH", os.environ.get("PYTHONPATH"))
        site = str(self.folder / "site")
        given["PYTHONPATH"] = f"{site}{os.pathsep}{before}" if before else site
        program = {
            "file": ["script.py"],
            "-c": ["-c", text],
            "-m": ["-m", "script"],
            "-": ["-"],
        }
        command = [sys.executable, *program[way], *arguments]
        stdin = str(folder / "script.py") if way == "-" else os.devnull
        script = Script(folder, command, given, stdin)
        self.scripts.append(script)
        return script

    def run_script(
        self,
        text: str,
        seconds: float = SECONDS,
        env: dict[str, str] | None = None,
        *arguments: str,
        way: str = "file",
        status: int | None = 0,
    ) -> Ended:
        """Run a script to its end and check its status (None: any will do)."""
        ended = self.start(text, *arguments, env=env, way=way).end(seconds)
        if status is not None:
            self.assertEqual(ended.status, status, ended.text)
        return ended

    def assert_nothing_left(self, seconds: float = 10.0) -> None:
        """No process, temporary file or shared name of any script so far."""
        for script in self.scripts:
            if not wait_until(lambda script=script: not script.processes(), seconds):
                left = [describe(pid) for pid in script.processes()]
                script.give_up(f"processes left: {left}")
            files = [str(path) for path in (script.folder / "tmp").iterdir()]
            self.assertEqual(files, [], "temporary files left")
        # Names that other programs make and remove meanwhile go away.
        wait_until(lambda: shared_names() <= self.shared_before, seconds)
        self.assertEqual(shared_names() - self.shared_before, set(), "in /dev/shm")

    def tearDown(self) -> None:
        try:
            self.assert_nothing_left()
        finally:
            for script in self.scripts:
                script.kill_all()


def own_children() -> list[int]:
    """Children of this process, without multiprocessing's two helpers."""
    from multiprocessing import forkserver, resource_tracker

    helpers = {
        getattr(forkserver._forkserver, "_forkserver_pid", None),
        getattr(resource_tracker._resource_tracker, "_pid", None),
    }
    me = os.getpid()
    found = live_processes(lambda pid: state_of(pid)[1] == me)
    return [pid for pid in found if pid not in helpers]


class HereCase(unittest.TestCase):
    """Tests in this process: it ends with its stacks when one of them hangs."""

    seconds = SECONDS

    def setUp(self) -> None:
        faulthandler.dump_traceback_later(self.seconds, exit=True)
        self.children_before = set(own_children())
        self.addCleanup(faulthandler.cancel_dump_traceback_later)

    def tearDown(self) -> None:
        gone = wait_until(lambda: set(own_children()) <= self.children_before, 10.0)
        left = set(own_children()) - self.children_before
        for pid in left:
            os.kill(pid, signal.SIGKILL)
        self.assertTrue(gone, f"processes left: {left}")
