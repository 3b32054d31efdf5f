"""Pools, queues and locks across processes: plain unittest, one process a file."""

from .process import PYTHON, TESTS, Counts, count_unittest, run


def run_all() -> Counts:
    return run_under(PYTHON)


def run_under(python: str) -> Counts:
    """Run every file under an interpreter that has the wheel."""
    counts = Counts()
    for path in sorted((TESTS / "pools").glob("test_*.py")):
        done = run([python, "-m", "unittest", "-q", path.stem], 400, cwd=path.parent)
        here = count_unittest(done, path.name)
        print(f"   {path.name}: {here.passed} passed, {here.skipped} skipped")
        counts += here
    return counts
