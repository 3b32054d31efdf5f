"""The interactive cluster: our own tests, what users see, and ipyparallel's tests.

Its release is downloaded by pip, with a pinned hash, into ``build/cluster``; nothing of
it is in this repository, and nothing but its tests is used. They run unmodified through
the door: ``import ipyparallel`` is Phalanx, ``ipyparallel.tests`` is theirs.
"""

import re
import shlex
import shutil
import sysconfig
import tempfile
import venv
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .process import (
    PHALANX,
    PYTHON,
    ROOT,
    TESTS,
    Counts,
    Finished,
    count_with_second,
    run,
    run_unittests,
)

FOLDER = TESTS / "cluster"
SHOWN = TESTS / "shown"
REQUIREMENTS = TESTS / "requirements"
WORK = ROOT / "build" / "cluster"
SUITE = WORK / "ipyparallel" / "tests"
SECONDS = 400.0  # until a file of the suite counts as hung
TOGETHER = 4  # files of the suite at a time: they mostly wait
OWN_TOGETHER = 3  # files of our own

# The longest first.
FILES = (
    "test_magics",
    "test_view",
    "test_view_broadcast",
    "test_client",
    "test_asyncresult",
    "test_cluster",
    "test_mpi",
    "test_lbview",
    "test_apps",
    "test_label",
    "test_dependency",
    "test_executor",
    "test_joblib",
    "test_remotefunction",
)

INI = """\
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
"""


def excepted() -> dict[str, str]:
    """Cases that do not hold here, with the reasons."""
    lines = (FOLDER / "exceptions.txt").read_text().splitlines()
    pairs = [line.partition(" # ") for line in lines if not line.startswith("#")]
    return {case.strip(): reason for case, _, reason in pairs}


def prepare(counts: Counts) -> str | None:
    """A Python with what the suite imports, and our packages; None when it fails."""
    home = WORK / "venv"
    python = str(home / "bin" / "python")
    stamp = WORK / "built-for"
    asked = "".join(path.read_text() for path in REQUIREMENTS.glob("cluster*.txt"))
    if stamp.exists() and stamp.read_text() == PYTHON + asked:
        return python
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    venv.create(home, with_pip=True)
    pip = [python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    pinned = ["--require-hashes", "-r", str(REQUIREMENTS / "cluster.txt")]
    for command in (
        ["install", "-r", str(REQUIREMENTS / "cluster-env.txt")],
        ["download", "--no-deps", "-d", str(WORK), *pinned],
    ):
        done = run([*pip, *command], 600)
        if done.code != 0:
            counts.fail(f"pip {' '.join(command)}", done.output)
            return None
    with zipfile.ZipFile(next(WORK.glob("ipyparallel-*.whl"))) as release:
        tests = [name for name in release.namelist() if "/tests/" in name]
        release.extractall(WORK, tests)
    # So that pytest gives them the names by which they import each other.
    (SUITE.parent / "__init__.py").touch()
    # All that the environment of the other tests has, with what its .pth files do.
    packages = sysconfig.get_path("purelib")
    line = f"import site; site.addsitedir({packages!r})\n"
    theirs = next(home.glob("lib/python3*/site-packages"))
    (theirs / "phalanx_tests.pth").write_text(line)
    (WORK / "pytest.ini").write_text(INI)
    stamp.write_text(PYTHON + asked)
    return python


class File:
    """One file of the suite, in a process of its own."""

    def __init__(self, python: str, name: str) -> None:
        self.python, self.name = python, name

    def run(self) -> Finished:
        left_out = [
            f"--deselect=ipyparallel/tests/{case}"
            for case in excepted()
            if case.startswith(f"{self.name}.py::")
        ]
        return self.pytest(["--pyargs", f"ipyparallel.tests.{self.name}", *left_out])

    def pytest(self, arguments: list[str]) -> Finished:
        """Run pytest through the door, in a home directory of its own."""
        command = [
            *(self.python, "-m", "pytest", "-q", "-c", str(WORK / "pytest.ini")),
            *(f"--rootdir={WORK}", "-p", "no:cacheprovider"),
            *("-p", "no:phalanx", "--import-mode=importlib", *arguments),
        ]
        with tempfile.TemporaryDirectory(prefix="phx") as home:
            return run(
                [PHALANX, "shell", "--doors", "ipyparallel", "-c", shlex.join(command)],
                SECONDS,
                env={
                    "PYTHONPATH": str(FOLDER / "start"),
                    "PHALANX_TEST_SUITE": str(SUITE),
                    "PHALANX_LAUNCHER": PHALANX,
                    "IPYTHONDIR": home,
                    "HOME": home,
                },
                cwd=Path(home),
            )


ENDED = re.compile(r"^=*\s*(?:\d+ \w+, )*\d+ \w+.* in [\d.]+s", re.MULTILINE)
WRONG = re.compile(r"^(?:FAILED|ERROR) .*::(\w+)", re.MULTILINE)


def count_pytest(done: Finished, what: str) -> Counts:
    """Read the last line of a run of pytest's."""
    counts = Counts()
    lines = ENDED.findall(done.output)
    last = done.output.rstrip().rpartition("\n")[2] if lines else ""
    found = {kind: int(n) for n, kind in re.findall(r"(\d+) (\w+)", last)}
    counts.passed = found.get("passed", 0) + found.get("xpassed", 0)
    counts.skipped = found.get("skipped", 0) + found.get("xfailed", 0)
    wrong = found.get("failed", 0) + found.get("error", 0) + found.get("errors", 0)
    if done.code != 0 or wrong or not counts.passed:
        ending = "time-out" if done.code is None else f"status {done.code}"
        names = ", ".join(WRONG.findall(done.output))
        counts.fail(f"{what} ({ending}): {names}", done.output)
        counts.failed += max(wrong - 1, 0)
    return counts


def run_suite() -> Counts:
    """The files of ipyparallel's suite, some at a time."""
    counts = Counts()
    python = prepare(counts)
    if python is None:
        return counts
    reasons = excepted()
    counts.expect(len(reasons) <= 8, f"{len(reasons)} exceptions are too many")
    bare = [case for case, reason in reasons.items() if not reason.strip()]
    counts.expect(not bare, f"{bare} without a reason")
    files = [File(python, name) for name in FILES]
    with ThreadPoolExecutor(TOGETHER) as threads:
        ended = list(zip(files, threads.map(File.run, files), strict=True))
    for file, done in ended:
        # Some of its cases wait five seconds and no longer.
        here = count_with_second(file.name, done, file.run, count_pytest, WRONG)
        print(
            f"   {file.name}: {here.passed} passed, {here.failed} failed, "
            f"{here.skipped} skipped"
        )
        counts += here
    return counts


def run_own() -> Counts:
    """What we say about it ourselves."""
    counts = Counts()
    files = sorted(FOLDER.glob("test_*.py"))
    for path, here in run_unittests(
        PYTHON, files, 300, OWN_TOGETHER, first=("test_chaos",)
    ):
        print(f"   {path.name}: {here.passed} passed, {here.skipped} skipped")
        counts += here
    return counts


def run_shown() -> Counts:
    """Notebooks, prompts, screens and pages: with IPython, a terminal, a browser."""
    counts = Counts()
    python = prepare(counts)
    if python is None:
        return counts
    places = {"PHALANX_LAUNCHER": PHALANX, "PHALANX_TEST_PLAIN": PYTHON}
    for path, here in run_unittests(
        python, sorted(SHOWN.glob("test_*.py")), 300, 1, env=places
    ):
        print(f"   {path.name}: {here.passed} passed, {here.skipped} skipped")
        counts += here
    return counts
