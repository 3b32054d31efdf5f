"""Processes with a time limit, counts of test cases, and what took how long."""

import os
import re
import signal
import subprocess
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TESTS = ROOT / "tests"
PYTHON = sys.executable
PHALANX = str(Path(sysconfig.get_path("scripts")) / "phalanx")


# What unittest says first of a case that failed, behind the rank if there are several.
UNITTEST_WRONG = re.compile(r"^(?:\[?\d*\]?\s*)(?:FAIL|ERROR): (\w+)", re.MULTILINE)
SHOWN = 60  # lines of a failure where it happens
REPEATED = 20  # lines of it after the tables, where somebody looks first


@dataclass(frozen=True)
class Failure:
    """What failed, and the lines of its output that tell most."""

    what: str
    lines: list[str]

    @classmethod
    def of(cls, what: str, output: str) -> "Failure":
        """From the first case that unittest names on; else the end of the output."""
        case = UNITTEST_WRONG.search(output)
        if case:
            return cls(what, output[case.start() :].splitlines()[:SHOWN])
        return cls(what, output.splitlines()[-SHOWN:])


@dataclass
class Counts:
    """How many cases passed, failed and were skipped, and which failed.

    `again` names what failed once and passed when it ran a second time.
    """

    passed: int = 0
    failed: int = 0
    skipped: int = 0
    failures: list[Failure] = field(default_factory=list)
    again: list[str] = field(default_factory=list)

    def __iadd__(self, other: "Counts") -> "Counts":
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped
        self.failures += other.failures
        self.again += other.again
        return self

    def fail(self, what: str, output: str = "") -> None:
        """Count one failure and show what the process printed of it."""
        self.failed += 1
        failure = Failure.of(what, output)
        self.failures.append(failure)
        print(f"FAILED {what}")
        for line in failure.lines:
            print(f"    {line}")
        sys.stdout.flush()

    def expect(self, good: bool, what: str, output: str = "") -> None:
        """Count one case."""
        if good:
            self.passed += 1
        else:
            self.fail(what, output)


@dataclass(frozen=True)
class Part:
    """A file, program or job of a tier, or a compilation, and its seconds."""

    what: str
    seconds: float
    compiling: bool


# Of the tier that runs.
PARTS: list[Part] = []


@contextmanager
def timed(what: str, compiling: bool = False) -> Iterator[None]:
    """Note how long something takes."""
    begun = time.monotonic()
    yield
    PARTS.append(Part(what, time.monotonic() - begun, compiling))


@dataclass(frozen=True)
class Finished:
    """How a process ended. `code` is negative for a signal, None for a time-out."""

    code: int | None
    output: str


def run(
    command: list[str],
    seconds: float,
    *,
    env: dict[str, str] | None = None,
    cwd: Path | None = None,
    stdin: str = "",
) -> Finished:
    """Run a command with its output captured; kill its session at the limit."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, **(env or {})},
        cwd=cwd or ROOT,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(stdin, timeout=seconds)
        return Finished(process.returncode, output)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return Finished(None, f"{output}\n(killed after {seconds:.0f} s)")


UNITTEST_RAN = re.compile(r"^(?:\[?\d*\]?\s*)Ran (\d+) tests? in", re.MULTILINE)
UNITTEST_END = re.compile(
    r"^(?:\[?\d*\]?\s*)(OK|FAILED)(?: \((.*)\))?\s*$", re.MULTILINE
)


def count_unittest(finished: Finished, what: str) -> Counts:
    """Read the closing lines of one unittest run (of one rank)."""
    counts = Counts()
    ran = UNITTEST_RAN.search(finished.output)
    end = UNITTEST_END.search(finished.output)
    details = dict(re.findall(r"(\w+)=(\d+)", (end and end[2]) or ""))
    cases = int(ran[1]) if ran else 0
    counts.skipped = int(details.get("skipped", 0))
    wrong = int(details.get("failures", 0)) + int(details.get("errors", 0))
    counts.passed = max(cases - counts.skipped - wrong, 0)
    if finished.code != 0 or not ran or not end or end[1] != "OK":
        ending = "time-out" if finished.code is None else f"status {finished.code}"
        counts.fail(f"{what} ({ending})", finished.output)
        counts.failed += max(wrong - 1, 0)
    return counts


def count_with_second(
    what: str,
    first: Finished,
    start: Callable[[], Finished],
    count: Callable[[Finished, str], Counts] = count_unittest,
    names: re.Pattern[str] = UNITTEST_WRONG,
) -> Counts:
    """Count one run of cases, of which one may fail once for reasons of time.

    Unless something hung or crashed, it starts once more: what the first run printed is
    shown, the second counts, and `Counts.again` names the cases, since a fault that
    shows seldom looks the same. `names` finds the cases that failed.
    """
    hung = first.code is None or "hung" in first.output
    wrong = dict.fromkeys(names.findall(first.output))
    if first.code == 0 or hung or not wrong:
        return count(first, what)
    print(f"   {what} runs once more; the first time:")
    for line in Failure.of(what, first.output).lines:
        print(f"    {line}")
    counts = count(start(), what)
    if not counts.failed:
        counts.again.append(f"{what} ({', '.join(wrong)})")
    return counts


def run_unittests(
    python: str,
    files: Iterable[Path],
    seconds: float,
    together: int,
    env: dict[str, str] | None = None,
    first: tuple[str, ...] = (),
) -> Iterator[tuple[Path, Counts]]:
    """Run files of unittest cases, an interpreter each, some at a time; count each.

    One that fails beside others runs once more when the others of the tier have ended.
    Those named `first` take longer than they look.
    """

    def start(path: Path) -> Finished:
        command = [python, "-m", "unittest", "-q", path.stem]
        with timed(path.name):
            return run(command, seconds, cwd=path.parent, env=env)

    # The long ones first, so that none of them is left alone at the end.
    ordered = sorted(
        files, key=lambda path: (path.stem not in first, -path.stat().st_size)
    )
    with ThreadPoolExecutor(together) as threads:
        ended = list(zip(ordered, threads.map(start, ordered), strict=True))
    for path, done in ended:
        yield path, count_with_second(path.name, done, partial(start, path))
