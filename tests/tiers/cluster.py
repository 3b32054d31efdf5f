"""The interactive cluster: its Python side by itself."""

from .process import PYTHON, TESTS, Counts, run_unittests

FOLDER = TESTS / "cluster"


def run_all() -> Counts:
    counts = Counts()
    files = sorted(FOLDER.glob("test_*.py"))
    for path, here in run_unittests(PYTHON, files, 300, 1):
        print(f"   {path.name}: {here.passed} passed, {here.skipped} skipped")
        counts += here
    return counts
