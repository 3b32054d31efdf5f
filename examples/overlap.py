"""Overlap computation with a nonblocking gather.

    phalanx run -n 4 examples/overlap.py [--frames 40] [--points 400000]

Every rank simulates its share of a swarm of particles. Each frame is gathered
on rank 0 while the ranks already compute the next one, and once more, for
comparison, with a blocking gather.
"""

import argparse
import time

import numpy as np
from arguments import at_least
from mpi4py import MPI


def advance(positions: np.ndarray, velocities: np.ndarray) -> None:
    """Move the particles in a spring's field for a few small steps."""
    for _ in range(4):
        velocities -= 0.01 * positions
        positions += 0.01 * velocities


def simulate(comm, frames: int, points: int, overlap: bool) -> tuple[float, list]:
    """Return the seconds it took and, on rank 0, the swarm's spread per frame."""
    generator = np.random.default_rng(comm.rank)
    positions = generator.standard_normal(points)
    velocities = generator.standard_normal(points)
    # Two frames are in flight: one is sent while the other is filled.
    outgoing = [np.empty(points), np.empty(points)]
    incoming: list = [None, None]
    if comm.rank == 0:
        incoming = [np.empty((comm.size, points)) for _ in range(2)]
    request, spread = MPI.REQUEST_NULL, []

    def finish(frame: int) -> None:
        request.Wait()
        if comm.rank == 0 and frame >= 0:
            spread.append(float(incoming[frame % 2].std()))

    comm.Barrier()
    start = time.perf_counter()
    for frame in range(frames):
        advance(positions, velocities)
        finish(frame - 1)
        outgoing[frame % 2][:] = positions
        request = comm.Igather(outgoing[frame % 2], incoming[frame % 2], root=0)
        if not overlap:
            request.Wait()
    finish(frames - 1)
    comm.Barrier()
    return time.perf_counter() - start, spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--frames", type=at_least(1), default=40)
    parser.add_argument("--points", type=at_least(1), default=400_000, help="per rank")
    options = parser.parse_args()

    comm = MPI.COMM_WORLD
    blocking, expected = simulate(comm, options.frames, options.points, False)
    overlapped, spread = simulate(comm, options.frames, options.points, True)
    if comm.rank == 0:
        if spread != expected:
            raise SystemExit("the two ways disagree")
        size = options.frames * options.points * 8 * comm.size / 1e6
        print(
            f"gathered {options.frames} frames, {size:.0f} MB, from {comm.size} ranks"
        )
        print(f"spread of the swarm: {spread[0]:.4f} first, {spread[-1]:.4f} last")
        print(f"blocking {blocking:.2f} s, overlapped {overlapped:.2f} s")


if __name__ == "__main__":
    main()
