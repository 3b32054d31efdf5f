"""Run the unittest files beside this one on every rank, in step.

    phalanx run -n 3 tests/python/main.py [PATTERN ...]

Rank 0 prints the usual report; another rank prints its own only when one of
its cases failed. The exit status is that of the worst rank.
"""

import io
import sys
import unittest
from pathlib import Path

from phalanx import MPI

HERE = Path(__file__).resolve().parent


def load(patterns: list[str]) -> unittest.TestSuite:
    loader = unittest.TestLoader()
    sys.path.insert(0, str(HERE))
    suite = unittest.TestSuite()
    for path in sorted(HERE.glob("test_*.py")):
        if not patterns or any(pattern in path.name for pattern in patterns):
            suite.addTests(loader.loadTestsFromName(path.stem))
    return suite


def main() -> int:
    comm = MPI.COMM_WORLD
    stream = sys.stderr if comm.rank == 0 else io.StringIO()
    result = unittest.TextTestRunner(stream, verbosity=0).run(load(sys.argv[1:]))
    good = result.wasSuccessful() and result.testsRun > 0
    if not good and isinstance(stream, io.StringIO):
        print(f"rank {comm.rank}:\n{stream.getvalue()}", file=sys.stderr, flush=True)
    return 0 if comm.allreduce(good, op=MPI.LAND) else 1


if __name__ == "__main__":
    sys.exit(main())
