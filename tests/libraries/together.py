"""What the programs here have in common: each is a suite that all ranks run."""

import sys
import unittest

from phalanx import MPI


def main() -> int:
    """Run the cases of the program; rank 0 tells. 0 where they passed on every rank."""
    comm = MPI.COMM_WORLD
    stream = sys.stderr if comm.rank == 0 else open("/dev/null", "w")
    suite = unittest.defaultTestLoader.loadTestsFromModule(sys.modules["__main__"])
    good = unittest.TextTestRunner(stream).run(suite).wasSuccessful()
    return 0 if comm.allreduce(good, op=MPI.LAND) else 1
