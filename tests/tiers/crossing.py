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

import shutil
import tarfile
import venv
from dataclasses import dataclass
from pathlib import Path

from .process import PHALANX, PYTHON, ROOT, TESTS, Counts, count_unittest, run

WORK = ROOT / "build" / "crossing"
REQUIREMENTS = TESTS / "requirements"
RANKS = (1, 2, 3)

# The files that the seam must pass whole.
CORE = ("p2p_buf", "p2p_obj", "cco_buf", "cco_obj")

# Further files of the suite whose subjects are built.
WIDER = tuple((TESTS / "tiers" / "wider.txt").read_text().split())

# Files that only the first crossing runs: the C surface has more than the binding.
ORIGINAL = tuple((TESTS / "tiers" / "original.txt").read_text().split())


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


def run_file(crossing: Crossing, name: str, ranks: int, seconds: float) -> Counts:
    """Run one file of the suite; the count is that of rank 0."""
    suite = WORK / "mpi4py-4.1.2" / "test" / "main.py"
    command = [PHALANX, "run", "-n", str(ranks), crossing.python, str(suite)]
    done = run(
        [*command, "--no-builddir", "-q", "-i", rf"\btest_{name}\.py"],
        seconds,
        env=crossing.env,
        cwd=WORK,
    )
    return count_unittest(done, f"{crossing.name}: test_{name}.py at {ranks} ranks")


def run_files(files: tuple[str, ...], seconds: float) -> Counts:
    counts = Counts()
    for crossing in prepare(counts) or ():
        here = Counts()
        more = ORIGINAL if files is WIDER and crossing.original else ()
        for name in (*files, *more):
            for ranks in RANKS:
                here += run_file(crossing, name, ranks, seconds)
        print(f"   {crossing.name}: {here.passed} passed, {here.failed} failed")
        counts += here
    return counts


def run_all() -> Counts:
    return run_files(CORE, 300)


def run_wider() -> Counts:
    return run_files(WIDER, 300)
