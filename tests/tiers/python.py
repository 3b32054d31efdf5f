"""The Python API, by class: unittest files that every rank runs in step."""

import glob
import os
from pathlib import Path

from . import pools
from .process import (
    PHALANX,
    PYTHON,
    ROOT,
    TESTS,
    Counts,
    count_unittest,
    run,
    timed,
)

RANKS = (1, 2, 3, 4, 8)
SUITE = str(TESTS / "python" / "main.py")


def run_suite(phalanx: str, python: str, ranks: int) -> Counts:
    with timed(f"tests/python at {ranks} ranks"):
        done = run([phalanx, "run", "-n", str(ranks), python, SUITE], 400)
    return count_unittest(done, f"tests/python at {ranks} ranks under {python}")


def run_all() -> Counts:
    counts = Counts()
    for ranks in RANKS:
        here = run_suite(PHALANX, PYTHON, ranks)
        print(f"   {ranks} ranks: {here.passed} passed, {here.skipped} skipped")
        counts += here
    return counts


def other_pythons() -> list[str]:
    """Every CPython from 3.11 on that this machine has, one of each version."""
    places = [*os.get_exec_path(), *glob.glob(f"{Path.home()}/.pyenv/versions/*/bin")]
    found: dict[str, str] = {}
    probe = (
        "import sys; v = sys.version_info; "
        "good = v >= (3, 11) and sys.implementation.name == 'cpython'; "
        "print('%d.%d' % v[:2] if good else '')"
    )
    for place in places:
        for path in sorted(glob.glob(f"{place}/python3.[0-9]*")):
            if not path.rpartition("python3.")[2].isdigit():
                continue
            done = run([path, "-c", probe], 20)
            version = done.output.strip()
            if done.code == 0 and version:
                found.setdefault(version, path)
    done = run([PYTHON, "-c", probe], 20)
    found.pop(done.output.strip(), None)
    return [found[version] for version in sorted(found)]


def run_others() -> Counts:
    """Install the wheel, which was built once, under the other CPythons."""
    counts = Counts()
    wheels = sorted((ROOT / "build" / "wheel").glob("phalanx-*.whl"))
    if len(wheels) != 1:
        counts.fail(f"expected one wheel in build/wheel, found {len(wheels)}")
        return counts
    others = other_pythons()
    if not others:
        print("   this machine has no other CPython")
        counts.skipped += 1
        return counts
    for python in others:
        home = ROOT / "build" / "pythons" / Path(python).name
        done = run([python, "-m", "venv", "--clear", str(home)], 120)
        bin_ = home / "bin"
        pip = [str(bin_ / "python"), "-m", "pip", "--quiet", "install"]
        if done.code == 0:
            needs = str(TESTS / "requirements" / "test.txt")
            done = run([*pip, str(wheels[0]), "-r", needs], 300)
        if done.code != 0:
            counts.fail(f"installing under {python}", done.output)
            continue
        for ranks in (1, 3):
            here = run_suite(str(bin_ / "phalanx"), str(bin_ / "python"), ranks)
            print(f"   {python}, {ranks} ranks: {here.passed} passed")
            counts += here
        counts += pools.run_under(str(bin_ / "python"))
    return counts
