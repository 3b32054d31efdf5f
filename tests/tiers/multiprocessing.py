"""CPython's own tests of multiprocessing and concurrent.futures, with the door open.

Every case runs with Phalanx's pools, queues and locks. What does not pass runs with
the standard library's as well, under the same Python on the same machine: a case
that fails there too is no fault of ours. What only the standard library passes has
to be in `tests/multiprocessing/exceptions.txt`, with its reason, and runs with ours
alone.
"""

import atexit
import fnmatch
import json
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from .process import PYTHON, TESTS, Counts, run
from .python import other_pythons

FOLDER = TESTS / "multiprocessing"
METHODS = ("fork", "spawn", "forkserver")
FUTURES = ("as_completed", "deadlock", "init", "process_pool", "shutdown", "wait")
SHARDS = 4  # runs per start method
TOGETHER = 4  # processes at a time, of which each waits most of the time
LIMIT = 60.0  # seconds in one case, until it counts as hung

_say = threading.Lock()


@dataclass(frozen=True)
class Outcome:
    """How a case ended: passed, failed, skipped, hung, died or not run."""

    kind: str
    text: str = ""
    seconds: float = 0.0

    @property
    def good(self) -> bool:
        return self.kind in ("passed", "skipped")


@dataclass(frozen=True)
class Side:
    """Whose multiprocessing runs: an interpreter, and what is in its environment."""

    name: str
    python: str
    env: dict[str, str]


def sides(python: str) -> tuple[Side, Side]:
    """Phalanx's and the standard library's, under one Python."""
    code = "import cloudpickle, phalanx; print(cloudpickle.__file__, phalanx.__file__)"
    pickle, package = (
        Path(p).parent for p in run([PYTHON, "-c", code], 60).output.split()
    )
    path = [package / "doors" / "start"]
    if python != PYTHON:
        # The extension serves every Python; the environment's other packages do not.
        link = Path(tempfile.mkdtemp(prefix="phalanx-"))
        atexit.register(shutil.rmtree, link, ignore_errors=True)
        for part in (pickle, package):
            (link / part.name).symlink_to(part)
        path.append(link)
    elif "PYTHONPATH" in os.environ:
        path.append(Path(os.environ["PYTHONPATH"]))
    ours = {
        "PYTHONPATH": os.pathsep.join(map(str, path)),
        "PHALANX_DOORS": "mpi4py,multiprocessing",
    }
    return Side("phalanx", python, ours), Side(
        "standard", python, {"PHALANX_DOORS": "off"}
    )


def listed(side: Side, module: str) -> list[str]:
    """The cases of a module; none if this Python comes without them."""
    done = run(
        [side.python, str(FOLDER / "suite.py"), "--list", module], 120, env=side.env
    )
    try:
        found = json.loads(done.output.splitlines()[-1])
    except (IndexError, ValueError):
        return []
    return [name for name in found if "unittest.loader._FailedTest" not in name]


class Shard:
    """Some cases of one module, run in as few processes as they allow."""

    def __init__(self, side: Side, module: str, names: Iterable[str]) -> None:
        self.side, self.module = side, module
        self.left = list(names)
        self.outcomes: dict[str, Outcome] = {}

    def run(self) -> dict[str, Outcome]:
        while self.left:
            before = len(self.left)
            output = self.run_process()
            if len(self.left) == before:
                for name in self.left:
                    self.outcomes[name] = Outcome("not run", output)
                break
        return self.outcomes

    def run_process(self) -> str:
        """One process: until all is done, or a case hangs, or one takes it down.

        Gives the end of what it printed.
        """
        folder = Path(tempfile.mkdtemp(prefix="phx"))
        events = folder / "events"
        events.touch()
        command = [self.side.python, str(FOLDER / "suite.py"), "--events", str(events)]
        with (folder / "output").open("w") as output:
            process = subprocess.Popen(
                [*command, self.module],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                text=True,
                env={**os.environ, **self.side.env, "TMPDIR": str(folder)},
                start_new_session=True,
            )
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(self.left))
            process.stdin.close()
            ending = self.watch(process, events)
        finally:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            process.wait()
        printed = (folder / "output").read_text(errors="replace")[-4000:]
        current = self.read(events)
        if current is not None:
            self.outcomes[current] = Outcome(ending, printed, LIMIT)
        self.left = [name for name in self.left if name not in self.outcomes]
        shutil.rmtree(folder, ignore_errors=True)
        return printed

    def watch(self, process: "subprocess.Popen[str]", events: Path) -> str:
        """Wait for the end, or for a case that takes too long."""
        size, since = 0, time.monotonic()
        while process.poll() is None:
            time.sleep(0.05)
            now = events.stat().st_size
            if now != size:
                size, since = now, time.monotonic()
            elif time.monotonic() - since > LIMIT:
                return "hung"
        return "died"

    def read(self, events: Path) -> str | None:
        """Take over what was reported; give the case that never ended."""
        current = None
        for line in events.read_text().splitlines():
            event = json.loads(line)
            current = event.get("start")
            if current is None:
                self.outcomes[event["end"]] = Outcome(
                    event["outcome"], event["text"], event["seconds"]
                )
        return current


def by_class(names: Iterable[str]) -> dict[str, list[str]]:
    classes: dict[str, list[str]] = {}
    for name in names:
        classes.setdefault(name.rpartition(".")[0], []).append(name)
    return classes


def run_cases(
    side: Side, cases: dict[str, list[str]], together: int = TOGETHER
) -> dict[str, Outcome]:
    """Run the cases of several modules, some processes at a time."""
    shards = []
    for module, names in cases.items():
        parts: list[list[str]] = [[] for _ in range(SHARDS)]
        for n, group in enumerate(by_class(names).values()):
            parts[n % SHARDS] += group
        shards += [Shard(side, module, part) for part in parts if part]
    outcomes: dict[str, Outcome] = {}
    with ThreadPoolExecutor(together) as threads:
        for part in threads.map(Shard.run, shards):
            outcomes.update(part)
    return outcomes


def exceptions() -> list[tuple[str, str]]:
    """Patterns of cases, each with the reason why it cannot pass."""
    lines = (FOLDER / "exceptions.txt").read_text().splitlines()
    pairs = (line.split(None, 1) for line in lines if line and line[0] != "#")
    return [(pattern, reason) for pattern, reason in pairs]


def reason_for(name: str, known: list[tuple[str, str]]) -> str | None:
    for pattern, reason in known:
        if fnmatch.fnmatchcase(short(name), pattern):
            return reason
    return None


def modules(side: Side) -> dict[str, list[str]]:
    """The cases this Python brings: by start method, then those of the executor."""
    found = {f"cases_{m}": listed(side, f"cases_{m}") for m in METHODS}
    package = "test.test_concurrent_futures"
    for part in (f"{package}.test_{part}" for part in FUTURES):
        found[part] = [name for name in listed(side, part) if "ProcessPool" in name]
    if not any(found[f"{package}.test_{part}"] for part in FUTURES):
        found[package] = [n for n in listed(side, package) if "ProcessPool" in n]
    return {module: names for module, names in found.items() if names}


def title(module: str) -> str:
    return "futures" if module.startswith("test.") else module.removeprefix("cases_")


def compare(python: str, kinds: Iterable[str]) -> Counts:
    """Run the cases with ours under one Python; with the standard's where needed."""
    counts = Counts()
    ours, std = sides(python)
    wanted = {m: c for m, c in modules(std).items() if title(m) in kinds}
    if not wanted:
        print(f"   {python} comes without these tests of CPython's")
        counts.skipped += 1
        return counts
    known = exceptions()
    start = time.monotonic()
    with_ours = run_cases(ours, wanted)
    between = time.monotonic()
    with_std = run_cases(std, not_explained(with_ours, wanted, known))
    seconds = time.monotonic() - between
    # The suite measures time, and other programs may have had the machine.
    again = {
        m: [n for n in c if needs_more(with_ours[n], with_std.get(n), n, known)]
        for m, c in wanted.items()
    }
    second = run_cases(ours, again, 1)
    for name in second:
        print(f"   {short(name)} runs once more, alone; the first time:")
        for line in with_ours[name].text.splitlines()[-60:]:
            print(f"    {line}")
    with_ours |= second
    for kind in dict.fromkeys(title(m) for m in wanted):
        names = [n for m, c in wanted.items() if title(m) == kind for n in c]
        counts += judge(kind, names, with_ours, with_std, known)
    # What classes and modules set up and take down.
    for name in sorted(set(with_ours) - {n for c in wanted.values() for n in c}):
        if name not in with_std:
            counts.expect(with_ours[name].good, name, with_ours[name].text)
    for pattern, _ in known:
        hits = [
            o for n, o in with_ours.items() if fnmatch.fnmatchcase(short(n), pattern)
        ]
        if hits and all(outcome.kind == "passed" for outcome in hits):
            print(f"   {pattern} passes; the exception can go")
    late = [short(n) for n, outcome in second.items() if outcome.good]
    counts.again += late
    print(f"   {between - start:.0f} s ours, {seconds:.0f} s with the standard module")
    return counts


def not_explained(
    outcomes: dict[str, Outcome],
    cases: dict[str, list[str]],
    known: list[tuple[str, str]],
) -> dict[str, list[str]]:
    """The cases that the standard module has to show: what went wrong with ours.

    All of them, if what went wrong belongs to no case.
    """
    listed = {name for names in cases.values() for name in names}
    wrong = {name for name, outcome in outcomes.items() if not outcome.good}
    if wrong - listed:
        return cases
    wrong = {name for name in wrong if reason_for(name, known) is None}
    return {m: [n for n in c if n in wrong] for m, c in cases.items()}


def needs_more(
    ours: Outcome, std: Outcome | None, name: str, known: list[tuple[str, str]]
) -> bool:
    """Whether a case has to run again: it should have passed, and did not."""
    passes = std is not None and std.good
    return not ours.good and passes and reason_for(name, known) is None


def short(name: str) -> str:
    return ".".join(name.split(".")[-2:])


def judge(
    kind: str,
    names: list[str],
    ours: dict[str, Outcome],
    std: dict[str, Outcome],
    known: list[tuple[str, str]],
) -> Counts:
    """Count the cases of one kind, and say how they ended."""
    counts = Counts()
    tally: Counter[str] = Counter()
    for name in names:
        outcome, other = ours[name], std.get(name)
        if outcome.kind == "passed":
            counts.passed += 1
            tally["ours"] += 1
        elif outcome.kind == "skipped":
            counts.skipped += 1
            tally["skipped"] += 1
        elif other is not None and not other.good:
            counts.skipped += 1
            tally["both"] += 1
        elif reason_for(name, known):
            counts.skipped += 1
            tally["excepted"] += 1
        else:
            what = f"{kind} {short(name)} ({outcome.kind})"
            counts.fail(what, outcome.text)
    print(
        f"   {kind}: {len(names)} cases; {tally['ours']} pass; "
        f"{tally['skipped']} skipped by the suite, "
        f"{tally['both']} fail with the standard module too, "
        f"{tally['excepted']} excepted"
    )
    return counts


def run_all() -> Counts:
    """All start methods."""
    return compare(PYTHON, METHODS)


def run_futures() -> Counts:
    """The executor, under the first Python that has its tests."""
    counts = Counts()
    for python in (PYTHON, *other_pythons()):
        if any(m.startswith("test.") for m in modules(sides(python)[1])):
            print(f"   concurrent.futures under {python}")
            counts += compare(python, ("futures",))
            break
    else:
        print("   no Python here comes with test_concurrent_futures")
        counts.skipped += 1
    return counts


def run_others() -> Counts:
    """Every case under every other Python."""
    counts = Counts()
    for python in other_pythons():
        print(f"   {python}")
        counts += compare(python, (*METHODS, "futures"))
    return counts
