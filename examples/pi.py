"""Pi by the midpoint rule, the first program of many a course.

phalanx run -n 4 examples/pi.py [INTERVALS]
"""

import argparse
import math
import time

import numpy as np
from arguments import at_least
from mpi4py import MPI

CHUNK = 1 << 16  # intervals handled at once: small enough for the caches


def quarter_circle(first: int, last: int, intervals: int) -> float:
    """Integrate 4 / (1 + x^2) over the intervals first to last - 1."""
    width, total = 1.0 / intervals, 0.0
    for start in range(first, last, CHUNK):
        x = (np.arange(start, min(start + CHUNK, last)) + 0.5) * width
        total += float(np.sum(4.0 / (1.0 + x * x)))
    return total * width


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("intervals", nargs="?", type=at_least(1), default=50_000_000)
    intervals = parser.parse_args().intervals

    comm = MPI.COMM_WORLD
    comm.Barrier()
    start = time.perf_counter()

    first = intervals * comm.rank // comm.size
    last = intervals * (comm.rank + 1) // comm.size
    part = np.array(quarter_circle(first, last, intervals))
    pi = np.empty_like(part)
    comm.Reduce(part, pi, op=MPI.SUM, root=0)

    if comm.rank == 0:
        elapsed = time.perf_counter() - start
        print(f"pi is about {pi:.15f}, off by {abs(pi - math.pi):.1e}")
        print(f"{intervals:,} intervals on {comm.size} ranks took {elapsed:.2f} s")


if __name__ == "__main__":
    main()
