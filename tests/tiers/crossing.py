"""mpi4py's own tests across the ABI seam, three ways.

====================  ==================  =============================
crossing              Python side         library
====================  ==================  =============================
mpi4py on Phalanx     the original        our ``libmpi_abi.so.1``
Phalanx on Phalanx    our binding         our ``libmpi_abi.so.1``
Phalanx on MPICH      our binding         MPICH's ``libmpi_abi.so.1``
====================  ==================  =============================

The source release of mpi4py and the MPICH library are downloaded by pip, with
pinned hashes, into ``build/crossing``; nothing of them is in this repository.
"""

import re
import shutil
import tarfile
import time
import venv
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from . import parity
from .process import (
    PHALANX,
    PYTHON,
    ROOT,
    TESTS,
    Counts,
    Finished,
    count_unittest,
    count_with_second,
    run,
    timed,
)

WORK = ROOT / "build" / "crossing"
RELEASE = WORK / "mpi4py-4.1.2"
SUITE = RELEASE / "test" / "main.py"
REQUIREMENTS = TESTS / "requirements"
RANKS = (1, 2, 3, 4, 5)
FEW = RANKS[:3]
# Of the pairs other than our binding on our library, what `make test` runs: two ranks
# find what is between a binding and a library; the rest runs from `.ci/run`.
ONE_OF_OTHERS = (2,)
SECONDS = 600.0  # until a job counts as hung


def lines_of(name: str) -> list[str]:
    """The lines of one of the lists beside this module."""
    lines = (TESTS / "tiers" / name).read_text().splitlines()
    return [line for line in lines if not line.startswith("#")]


def listed(name: str) -> tuple[str, ...]:
    """The files of the suite in a list that has one in each line."""
    return tuple(line.split()[0] for line in lines_of(name))


# Files that take no time: all of them in one job.
QUICK = listed("quick.txt")

# Files that take seconds, by job.
GROUPS = {
    name: tuple(files.split())
    for name, _, files in (line.partition(":") for line in lines_of("groups.txt"))
}
GROUPED = [name for group in GROUPS.values() for name in group]

# Of these, what no other rank takes part in: each does the same as one rank does, so
# `make test` runs it at one.
LOCAL = ("local",)

# What takes minutes with many ranks: at more than a few, our binding on our library
# only, but in the long tier.
OURS_IF_MANY = (*LOCAL, "memory")

# Files that our binding cannot run, those that MPICH cannot, and those that nobody can
# here, each with its reason.
ORIGINAL = listed("original.txt")
NOT_MPICH = listed("not_mpich.txt")
LEFT_OUT = listed("left_out.txt")

# Cases that do not hold for our binding, each with its reason.
EXCEPTED = listed("excepted.txt")

# Cases of `util_dtlib` go through every triple of element types, the same on every
# rank. One rank does so; several take the few types that the suite has for short runs,
# but in the long tier.
SHORT = {"COVERAGE_RUN": "true"}


# The suite's cases for `mpi4py.futures`, which stand among its examples.
FUTURES = Path("demo", "futures", "test_futures.py")
FUTURES_MODULE = ("-m", "mpi4py.futures")


@dataclass(frozen=True)
class Crossing:
    """One pair of Python side and library."""

    name: str
    python: str
    env: dict[str, str]
    original: bool = False

    @property
    def own_library(self) -> bool:
        return "PHALANX_MPI" not in self.env

    @property
    def ours(self) -> bool:
        return self.own_library and not self.original


def prepare(counts: Counts) -> list[Crossing] | None:
    """Build the original mpi4py on our library, once; None when that fails."""
    home = WORK / "venv"
    python = str(home / "bin" / "python")
    suite = SUITE.parent
    stamp = WORK / "built-from"
    library = (Path(PHALANX).stat().st_mtime_ns, PYTHON)
    if not (stamp.exists() and stamp.read_text() == repr(library)):
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)
        venv.create(home, with_pip=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        from_source = ["--no-deps", "--no-build-isolation", "--no-binary", "mpi4py"]
        pinned = ["--require-hashes", "-r", str(REQUIREMENTS / "crossing.txt")]
        # Optimising its one file of a million lines takes longer than it gains.
        compiler = {"MPI4PY_BUILD_MPICC": f"{PHALANX} cc", "CFLAGS": "-O0 -g0"}
        for command, env in (
            (["install", "-r", str(REQUIREMENTS / "build.txt")], {}),
            (["install", "-r", str(REQUIREMENTS / "test.txt")], {}),
            (["download", *from_source, "-d", str(WORK), *pinned], {}),
            (["install", *from_source, "--no-cache-dir", *pinned], compiler),
        ):
            with timed(f"pip {command[0]}", compiling=env is compiler):
                done = run([*pip, *command], 900, env=env)
            if done.code != 0:
                counts.fail(f"pip {' '.join(command)}", done.output)
                return None
        with tarfile.open(next(WORK.glob("mpi4py-*.tar.gz"))) as release:
            release.extractall(WORK, filter="data")
        stamp.write_text(repr(library))
    if not suite.is_dir():
        counts.fail(f"no test suite in {suite}")
        return None
    return [
        Crossing("mpi4py on Phalanx", python, {"PHALANX_DOORS": "off"}, True),
        Crossing("Phalanx on Phalanx", PYTHON, {}),
        Crossing(
            "Phalanx on MPICH",
            PYTHON,
            {"PHALANX_MPI": str(home / "lib" / "libmpi_abi.so.1")},
        ),
    ]


def check_lists(suite: Path) -> Counts:
    """Every file of the suite is in one list, and what is listed is there."""
    counts = Counts()
    there = {path.stem.removeprefix("test_") for path in suite.glob("test_*.py")}
    every = [*QUICK, *GROUPED, *ORIGINAL, *NOT_MPICH, *LEFT_OUT]
    counts.expect(
        there == set(every), f"{sorted(there ^ set(every))} in lists or suite"
    )
    twice = sorted({name for name in every if every.count(name) > 1})
    counts.expect(not twice, f"{twice} in two lists")
    reasoned = ("original.txt", "not_mpich.txt", "left_out.txt", "excepted.txt")
    lines = [line for name in reasoned for line in lines_of(name)]
    bare = [line for line in lines if not re.match(r"\S+ +# \w", line)]
    counts.expect(not bare, f"{bare} without a reason")
    return counts


@dataclass(frozen=True)
class Job:
    """Files of the suite that run in one job."""

    crossing: Crossing
    title: str
    names: tuple[str, ...]
    ranks: int
    whole: bool

    def run(self) -> Counts:
        """Count as rank 0 does."""
        launcher = [PHALANX, "run", "-n", str(self.ranks)]
        files = rf"\btest_({'|'.join(self.names)})\.py"
        left_out = () if self.crossing.original else EXCEPTED
        command = [*launcher, self.crossing.python, str(SUITE)]
        command += [f"-x={pattern}" for pattern in left_out]
        command += ["--no-builddir", "-q", "-i", files]
        env = {**self.crossing.env, **({} if self.whole else SHORT)}
        what = f"{self.crossing.name}: {self.title} files at {self.ranks} ranks"

        def start() -> Finished:
            with timed(what):
                return run(command, SECONDS, env=env, cwd=WORK)

        if self.crossing.ours:
            return count_unittest(start(), what)
        # Some cases race by themselves: threads of the original's pool, without any
        # MPI, went on with a task that was cancelled, twice in 800 times.
        return count_with_second(what, start(), start)


class Extent(Enum):
    """How much of the suite runs."""

    FIRST = "what finds most in the least time"
    REST = "all the other numbers of ranks"
    WHOLE = "all of it, with every type in every job"


def jobs_of(crossing: Crossing, extent: Extent) -> list[Job]:
    """Every file of the suite that a crossing runs, at the numbers of ranks."""
    ours = crossing.ours
    groups = {"quick": (*QUICK, *(ORIGINAL if crossing.original else ())), **GROUPS}
    if crossing.own_library:
        groups |= {name: (name,) for name in NOT_MPICH}

    def is_first(title: str, ranks: int) -> bool:
        if ours:
            return ranks == 1 or (ranks in FEW and title not in LOCAL)
        return ranks in ONE_OF_OTHERS and title not in LOCAL

    def is_in(title: str, ranks: int) -> bool:
        many = ranks not in FEW and title in OURS_IF_MANY and not ours
        match extent:
            case Extent.FIRST:
                return is_first(title, ranks)
            case Extent.REST:
                return not is_first(title, ranks) and not many
            case Extent.WHOLE:
                return True

    return [
        Job(crossing, title, names, n, extent is Extent.WHOLE or n == 1)
        for n in RANKS
        for title, names in groups.items()
        if is_in(title, n)
    ]


def run_suite(extent: Extent) -> Counts:
    """Jobs of one rank run two at a time, others alone."""
    counts = Counts()
    for crossing in prepare(counts) or ():
        jobs = jobs_of(crossing, extent)
        start = time.monotonic()
        with ThreadPoolExecutor(2) as threads:
            parts = list(threads.map(Job.run, [job for job in jobs if job.ranks == 1]))
        parts += [job.run() for job in jobs if job.ranks > 1]
        here = Counts()
        for part in parts:
            here += part
        seconds = time.monotonic() - start
        print(
            f"   {crossing.name}: {here.passed} passed, {here.failed} failed, "
            f"{seconds:.0f} s"
        )
        counts += here
    return counts


def run_futures() -> Counts:
    """Executors: on spawned workers, and on the ranks of a job."""
    counts = Counts()
    for crossing in prepare(counts) or ():
        if crossing.original:
            continue
        here = Counts()
        suite = RELEASE / FUTURES
        cases = sorted(set(re.findall(r"def (test_\w+)", suite.read_text())))
        excepted = {pattern.rpartition(".")[2] for pattern in EXCEPTED}
        chosen = [f"-k=*.{case}" for case in cases if case not in excepted]
        ranks = FEW[-1:] if crossing.env else FEW
        starts = [((), 1), *((FUTURES_MODULE, n) for n in ranks)]
        for module, n in starts:
            command = [PHALANX, "run", "--oversubscribe", "-n", str(n), PYTHON]
            command += [*module, str(suite), *chosen]
            done = run(command, SECONDS, env=crossing.env, cwd=WORK)
            what = f"{' '.join(module)} {FUTURES.name} at {n} ranks"
            here += count_unittest(done, f"{crossing.name}: {what}")
        print(
            f"   {crossing.name}: futures: {here.passed} passed, {here.failed} failed"
        )
        counts += here
    return counts


def check_excepted() -> Counts:
    """What is excepted would fail: an exception that is not needed has to go."""
    counts = Counts()
    for pattern in EXCEPTED:
        futures = pattern.startswith("test_futures.")
        script = (*FUTURES_MODULE, str(RELEASE / FUTURES)) if futures else (str(SUITE),)
        command = [PHALANX, "run", "--oversubscribe", "-n", "2" if futures else "1"]
        case = pattern.removeprefix("test_futures.")
        done = run([*command, PYTHON, *script, f"-k={case}"], SECONDS, cwd=WORK)
        ran = re.search(r"^Ran [1-9]", done.output, re.MULTILINE)
        fails = done.code not in (0, None) and ran is not None
        counts.expect(fails, f"{pattern} is excepted and does not fail", done.output)
    return counts


def run_all() -> Counts:
    counts = run_suite(Extent.FIRST)
    counts += run_futures()
    counts += check_excepted()
    counts += check_lists(SUITE.parent)
    ready = prepare(counts)
    if ready is not None:
        original = next(one for one in ready if one.original)
        ours = next(one for one in ready if not one.original)
        here = parity.compare((original.python, original.env), (ours.python, ours.env))
        print(f"   names: {here.passed} passed, {here.failed} failed")
        here += parity.compile_and_use(original.python, WORK / "compiled")
        counts += here
    return counts


def run_rest() -> Counts:
    return run_suite(Extent.REST)


def run_whole() -> Counts:
    return run_suite(Extent.WHOLE)
