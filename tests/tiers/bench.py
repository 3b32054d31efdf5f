"""The benchmarks' arithmetic and their record; they measure nothing here."""

from .process import PYTHON, TESTS, Counts, count_unittest, run


def run_all() -> Counts:
    test = [PYTHON, "-m", "unittest", "-q", "test_record", "test_bare"]
    return count_unittest(run(test, 60, cwd=TESTS / "bench"), "test_record, test_bare")
