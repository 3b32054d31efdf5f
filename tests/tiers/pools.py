"""Pools, queues and locks across processes: plain unittest, one process a file."""

from .process import PYTHON, TESTS, Counts, count_unittest, run


def run_all() -> Counts:
    counts = Counts()
    for path in sorted((TESTS / "pools").glob("test_*.py")):
        done = run([PYTHON, "-m", "unittest", "-q", path.stem], 400, cwd=path.parent)
        here = count_unittest(done, path.name)
        print(f"   {path.name}: {here.passed} passed, {here.skipped} skipped")
        counts += here
    return counts
