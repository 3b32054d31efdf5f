"""What our `mpi4py` offers is what the original offers, name by name.

``tests/parity/surface.py`` says it for one environment: every public name of the
package, the parameters and defaults of functions, the values of constants.
``parity.txt`` lists what differs, each with its reason; nothing else may.

Cython code for mpi4py (``tests/parity/compiled.pyx``) is compiled against ours, and
used.
"""

import json
import shutil
import sysconfig
from fnmatch import fnmatchcase
from pathlib import Path

from .process import PHALANX, PYTHON, TESTS, Counts, run

SURFACE = str(TESTS / "parity" / "surface.py")
LISTED = TESTS / "tiers" / "parity.txt"


def look(python: str, env: dict[str, str], counts: Counts) -> dict[str, str]:
    """The surface under one Python, or nothing when it cannot be had."""
    done = run([PHALANX, "run", "-n", "1", python, SURFACE], 60, env=env)
    try:
        found: dict[str, str] = json.loads(done.output)
    except ValueError:
        counts.fail(f"the surface of mpi4py under {python}", done.output)
        return {}
    return found


def compare(
    original: tuple[str, dict[str, str]], ours: tuple[str, dict[str, str]]
) -> Counts:
    """Compare the surfaces of two environments: Python and variables of each."""
    counts = Counts()
    theirs, own = look(*original, counts), look(*ours, counts)
    if not theirs or not own:
        return counts
    lines = [line for line in LISTED.read_text().splitlines() if line.strip()]
    patterns = {line.split()[0] for line in lines if not line.startswith("#")}
    used = set()
    for name in sorted(theirs.keys() | own.keys()):
        expected, found = theirs.get(name), own.get(name)
        if expected == found or (expected is None and name.endswith(".__init__")):
            # (A compiled class of the original has none to look at.)
            counts.passed += 1
            continue
        allowed = {pattern for pattern in patterns if fnmatchcase(name, pattern)}
        used |= allowed
        counts.expect(
            bool(allowed),
            f"{name}: the original has {expected}, Phalanx has {found}",
        )
    for pattern in sorted(patterns - used):
        counts.expect(False, f"{LISTED.name}: {pattern} does not differ any more")
    bare = [line for line in lines if line[:1] != "#" and " # " not in line]
    counts.expect(not bare, f"{bare} without a reason")
    return counts


def compile_and_use(cython: str, work: Path) -> Counts:
    """Compile ``compiled.pyx`` in a directory by a Python that has Cython; use it."""
    counts = Counts()
    python_headers = Path(sysconfig.get_path("include"))
    if not (python_headers / "Python.h").exists():
        print("   this Python has no headers: nothing is compiled against it")
        counts.skipped += 1
        return counts
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    for name in ("compiled.pyx", "use_compiled.py"):
        shutil.copy(TESTS / "parity" / name, work)
    tell = "import mpi4py; print(mpi4py.get_include())"
    headers = run([PHALANX, "run", "-n", "1", PYTHON, "-c", tell], 60).output.strip()
    doors = str(Path(headers).parents[1])
    includes = [f"-I{python_headers}", f"-I{headers}"]
    compiler = [PHALANX, "cc", "-shared", "-fPIC", "-w", *includes]
    for command in (
        [cython, "-m", "cython", "-I", doors, "compiled.pyx"],
        [*compiler, "compiled.c", "-o", "compiled.so"],
    ):
        done = run(command, 120, cwd=work)
        if done.code != 0:
            counts.fail(f"compiling Cython code for mpi4py: {command}", done.output)
            return counts
    for ranks in (1, 2, 3):
        command = [PHALANX, "run", "-n", str(ranks), PYTHON, "use_compiled.py"]
        done = run(command, 60, cwd=work)
        good = done.code == 0 and done.output.count("used") == ranks
        counts.expect(good, f"compiled Cython code at {ranks} ranks", done.output)
    return counts
