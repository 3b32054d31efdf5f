"""Mean and exact quantiles of many samples, scattered in blocks.

    phalanx run -n 4 examples/quantiles.py [SAMPLES]

Rank 0 makes the samples block by block and scatters every block, so that it
never holds more than one. Each rank sorts its share; a quantile is then found
by bisection: how many samples of all ranks lie below a candidate?
"""

import argparse
import time

import numpy as np
from arguments import at_least
from mpi4py import MPI

BLOCK = 1 << 20  # samples that one rank gets in one scatter
LEVELS = (0.01, 0.25, 0.50, 0.75, 0.99)


def scatter_samples(comm: MPI.Comm, samples: int) -> np.ndarray:
    """Return this rank's share of `samples` log-normal numbers."""
    share = np.empty(
        samples * (comm.rank + 1) // comm.size - samples * comm.rank // comm.size
    )
    shares = comm.allgather(len(share))
    generator = np.random.default_rng(2026) if comm.rank == 0 else None
    done = [0] * comm.size
    for _ in range(-(-max(shares) // BLOCK)):
        counts = [min(BLOCK, n - d) for n, d in zip(shares, done, strict=True)]
        block = generator.lognormal(0.0, 0.5, sum(counts)) if generator else None
        mine = share[done[comm.rank] : done[comm.rank] + counts[comm.rank]]
        comm.Scatterv([block, counts], mine, root=0)
        done = [d + c for d, c in zip(done, counts, strict=True)]
    return share


def as_keys(values: np.ndarray) -> np.ndarray:
    """Order-preserving integers of positive floats: their bit patterns."""
    return values.view(np.uint64)


def quantile(comm: MPI.Comm, ordered: np.ndarray, position: int) -> float:
    """The sample at `position` of all ranks' samples in ascending order."""
    keys = as_keys(ordered)
    low, high = 0, 1 << 63
    below = np.empty(1, dtype=np.int64)
    while low < high:
        middle = (low + high) // 2
        mine = np.searchsorted(keys, np.uint64(middle), side="right")
        comm.Allreduce(np.array([mine], dtype=np.int64), below, op=MPI.SUM)
        if below[0] > position:
            high = middle
        else:
            low = middle + 1
    return float(np.array([low], dtype=np.uint64).view(np.float64)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("samples", nargs="?", type=at_least(1), default=100_000_000)
    samples = parser.parse_args().samples

    comm = MPI.COMM_WORLD
    start = time.perf_counter()
    share = scatter_samples(comm, samples)
    scattered = time.perf_counter()

    total = comm.allreduce(float(share.sum()))
    spread = comm.allreduce(float(np.square(share - total / samples).sum()))
    share.sort()
    found = [quantile(comm, share, int(q * (samples - 1))) for q in LEVELS]
    end = time.perf_counter()

    if comm.rank == 0:
        print(f"{samples:,} samples on {comm.size} ranks")
        print(
            f"  mean {total / samples:.6f}, deviation {(spread / samples) ** 0.5:.6f}"
        )
        for level, value in zip(LEVELS, found, strict=True):
            print(f"  {level:4.0%} quantile {value:.6f}")
        print(
            f"making and scattering took {scattered - start:.2f} s, "
            f"the statistics {end - scattered:.2f} s"
        )


if __name__ == "__main__":
    main()
