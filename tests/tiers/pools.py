"""Pools, queues and locks across processes: plain unittest, one process a file."""

from .process import PYTHON, TESTS, Counts, run_unittests

TOGETHER = 1  # Beside each other they have not been tried.


def run_all() -> Counts:
    return run_under(PYTHON)


def run_under(python: str) -> Counts:
    """Run every file under an interpreter that has the wheel."""
    counts = Counts()
    files = (TESTS / "pools").glob("test_*.py")
    for path, here in run_unittests(python, files, 400, TOGETHER):
        print(f"   {path.name}: {here.passed} passed, {here.skipped} skipped")
        counts += here
    return counts
