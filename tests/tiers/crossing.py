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
import venv
from dataclasses import dataclass
from pathlib import Path

from . import parity
from .process import PHALANX, PYTHON, ROOT, TESTS, Counts, count_unittest, run

WORK = ROOT / "build" / "crossing"
REQUIREMENTS = TESTS / "requirements"
FEW = (1, 2, 3)
RANKS = (*FEW, 4, 5)
SECONDS = 300.0  # until a job counts as hung


def listed(name: str) -> tuple[str, ...]:
    """The files of the suite in one of the lists beside this module."""
    lines = (TESTS / "tiers" / name).read_text().splitlines()
    return tuple(line.split()[0] for line in lines if not line.startswith("#"))


# The files that the seam must pass whole.
CORE = ("p2p_buf", "p2p_obj", "cco_buf", "cco_obj")

# Of these, the files that take seconds at any number of ranks.
OBJECTS = ("p2p_obj", "cco_obj")

# Files that take no time: all of them in one job.
QUICK = listed("quick.txt")

# Files of which the original cannot run any: they open a parallel file, and skip what
# our binding says is not built.
BINDING = listed("binding.txt")

# Cases that do not hold for our binding, which has no limit on error handlers and on
# operations, and not one compiled module for each library.
NOT_OURS = (
    *("-x", "*TestErrhandler*.testCreate"),
    *("-x", "*TestOp.testCreateMany"),
    *("-x", "*TestMPIABI*"),
    *("-x", "*testImportMPIABI"),
)

# Further files of the suite whose subjects are built.
WIDER = listed("wider.txt")

# Files that only the first crossing runs.
ORIGINAL = listed("original.txt")

# Files that only our binding on our library runs, each with its reason.
OURS = listed("ours.txt")

# Files that do not run, each with its reason.
LEFT_OUT = listed("left_out.txt")


# The suite's cases for `mpi4py.futures`, which stand among its examples. Left out are
# those that ask threads and queues of the original whether they have ended.
FUTURES = Path("demo", "futures", "test_futures.py")
INSIDES = (
    "test_context_manager_shutdown",
    "test_del_shutdown",
    "test_mpi_serialized_support",
)
FUTURES_MODULE = ("-m", "mpi4py.futures")


@dataclass(frozen=True)
class Crossing:
    """One pair of Python side and library."""

    name: str
    python: str
    env: dict[str, str]
    original: bool = False


def prepare(counts: Counts) -> list[Crossing] | None:
    """Build the original mpi4py on our library, once; None when that fails."""
    home = WORK / "venv"
    python = str(home / "bin" / "python")
    suite = WORK / "mpi4py-4.1.2" / "test"
    stamp = WORK / "built-from"
    library = (Path(PHALANX).stat().st_mtime_ns, PYTHON)
    if not (stamp.exists() and stamp.read_text() == repr(library)):
        shutil.rmtree(WORK, ignore_errors=True)
        WORK.mkdir(parents=True)
        venv.create(home, with_pip=True)
        pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
        from_source = ["--no-deps", "--no-build-isolation", "--no-binary", "mpi4py"]
        pinned = ["--require-hashes", "-r", str(REQUIREMENTS / "crossing.txt")]
        compiler = {"MPI4PY_BUILD_MPICC": f"{PHALANX} cc"}
        for command, env in (
            (["install", "-r", str(REQUIREMENTS / "build.txt")], {}),
            (["install", "-r", str(REQUIREMENTS / "test.txt")], {}),
            (["download", *from_source, "-d", str(WORK), *pinned], {}),
            (["install", *from_source, "--no-cache-dir", *pinned], compiler),
        ):
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
    every = [*CORE, *QUICK, *BINDING, *WIDER, *ORIGINAL, *OURS, *LEFT_OUT]
    counts.expect(
        there == set(every), f"{sorted(there ^ set(every))} in lists or suite"
    )
    twice = sorted({name for name in every if every.count(name) > 1})
    counts.expect(not twice, f"{twice} in two lists")
    lists = (TESTS / "tiers" / name for name in ("left_out.txt", "ours.txt"))
    lines = [line for path in lists for line in path.read_text().splitlines()]
    bare = [line for line in lines if not re.match(r"#|\w+ +# \w", line)]
    counts.expect(not bare, f"{bare} without a reason")
    return counts


def run_job(
    crossing: Crossing, names: tuple[str, ...], ranks: int, seconds: float
) -> Counts:
    """Run files of the suite in one job; the count is that of rank 0."""
    suite = WORK / "mpi4py-4.1.2" / "test" / "main.py"
    command = [PHALANX, "run", "-n", str(ranks), crossing.python, str(suite)]
    if not crossing.original:
        command += NOT_OURS
    done = run(
        [*command, "--no-builddir", "-q", "-i", rf"\btest_({'|'.join(names)})\.py"],
        seconds,
        env=crossing.env,
        cwd=WORK,
    )
    what = f"test_{names[0]}.py" if len(names) == 1 else "the quick files"
    return count_unittest(done, f"{crossing.name}: {what} at {ranks} ranks")


def ranks_of(crossing: Crossing, names: tuple[str, ...]) -> tuple[int, ...]:
    """At how many ranks a job runs: at all numbers with our binding on our library,
    and elsewhere what takes seconds.
    """
    light = len(names) > 1 or names[0] in OBJECTS
    ours = not crossing.original and not crossing.env
    return RANKS if light or ours else FEW


def run_files(files: tuple[str, ...], together: tuple[str, ...] = ()) -> Counts:
    counts = Counts()
    for crossing in prepare(counts) or ():
        here = Counts()
        more = ORIGINAL if files is WIDER and crossing.original else ()
        jobs: list[tuple[str, ...]] = [(name,) for name in (*files, *more)]
        if together:
            jobs.append(together if crossing.original else (*together, *BINDING))
            if not crossing.original and not crossing.env:
                jobs += [(name,) for name in OURS]
        for names in jobs:
            for ranks in ranks_of(crossing, names):
                here += run_job(crossing, names, ranks, SECONDS)
        print(f"   {crossing.name}: {here.passed} passed, {here.failed} failed")
        counts += here
    return counts


def run_futures() -> Counts:
    """Executors: on spawned workers, and on the ranks of a job."""
    counts = Counts()
    for crossing in prepare(counts) or ():
        if crossing.original:
            continue
        here = Counts()
        suite = WORK / "mpi4py-4.1.2" / FUTURES
        cases = sorted(set(re.findall(r"def (test_\w+)", suite.read_text())))
        chosen = [f"-k=*.{case}" for case in cases if case not in INSIDES]
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


def run_all() -> Counts:
    counts = run_files(CORE, QUICK)
    counts += run_futures()
    counts += check_lists(WORK / "mpi4py-4.1.2" / "test")
    ready = prepare(counts)
    if ready is not None:
        original = next(one for one in ready if one.original)
        ours = next(one for one in ready if not one.original)
        here = parity.compare((original.python, original.env), (ours.python, ours.env))
        print(f"   names: {here.passed} passed, {here.failed} failed")
        here += parity.compile_and_use(original.python, WORK / "compiled")
        counts += here
    return counts


def run_wider() -> Counts:
    return run_files(WIDER)
