"""Jobs that fail, are killed, or get bad input: plain unittest, no launcher.

They wait most of their time, so several files run beside each other.
"""

from .process import PYTHON, TESTS, Counts, run_unittests

TOGETHER = 3
# It is short, and waits for two minutes.
LONG = ("test_chaos",)


def run_all() -> Counts:
    counts = Counts()
    files = (TESTS / "failures").glob("test_*.py")
    for _, here in run_unittests(PYTHON, files, 400, TOGETHER, first=LONG):
        counts += here
    return counts
