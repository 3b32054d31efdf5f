"""Jobs that fail, are killed, or get bad input: plain unittest, no launcher."""

from .process import PYTHON, TESTS, Counts, count_unittest, run


def run_all() -> Counts:
    counts = Counts()
    for path in sorted((TESTS / "failures").glob("test_*.py")):
        done = run([PYTHON, "-m", "unittest", "-q", path.stem], 300, cwd=path.parent)
        counts += count_unittest(done, path.name)
    return counts
