"""Boss and workers through Spawn: find primes with ranks started on demand.

    phalanx run -n 1 examples/spawn.py [WORKERS] [LIMIT]
    phalanx shell -c 'python examples/spawn.py [WORKERS] [LIMIT]'

The same file is both programs: a process that has a parent is a worker.
"""

import argparse
import sys
import time

from arguments import at_least
from mpi4py import MPI


def count_primes(first: int, last: int) -> int:
    """Count the primes p with first <= p < last, by a segmented sieve."""
    if last <= 2:
        return 0
    first = max(first, 2)
    root = int(last**0.5) + 1
    small = bytearray([1]) * (root + 1)
    segment = bytearray([1]) * (last - first)
    for p in range(2, root + 1):
        if small[p]:
            small[p * p :: p] = bytes(len(range(p * p, root + 1, p)))
            start = max(p * p, -(-first // p) * p)
            segment[start - first :: p] = bytes(len(range(start, last, p)))
    return sum(segment)


def work(parent: MPI.Intercomm) -> None:
    limit = parent.bcast(None, root=0)
    rank, size = parent.Get_rank(), parent.Get_size()
    found = count_primes(limit * rank // size, limit * (rank + 1) // size)
    parent.gather((MPI.Get_processor_name(), found), root=0)
    parent.Disconnect()


def direct(workers: int, limit: int) -> None:
    start = time.perf_counter()
    team = MPI.COMM_SELF.Spawn(sys.executable, args=[__file__], maxprocs=workers)
    started = time.perf_counter()
    team.bcast(limit, root=MPI.ROOT)
    answers = team.gather(None, root=MPI.ROOT)
    team.Disconnect()
    end = time.perf_counter()
    for rank, (host, found) in enumerate(answers):
        print(f"  worker {rank} on {host} found {found:,} primes")
    total = sum(found for _, found in answers)
    print(f"{total:,} primes below {limit:,}")
    print(
        f"starting {workers} workers took {started - start:.2f} s, "
        f"the work {end - started:.2f} s"
    )


def main() -> None:
    parent = MPI.Comm.Get_parent()
    if parent != MPI.COMM_NULL:
        work(parent)
    elif MPI.COMM_WORLD.Get_rank() == 0:
        parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
        parser.add_argument("workers", nargs="?", type=at_least(1), default=2)
        parser.add_argument("limit", nargs="?", type=at_least(1), default=20_000_000)
        options = parser.parse_args()
        direct(options.workers, options.limit)


if __name__ == "__main__":
    main()
