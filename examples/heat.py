"""A 2-D heat equation with halo exchange, drawn as a PNG.

    phalanx run -n 4 examples/heat.py [--size 512] [--steps 2000] [--out heat.png]

The plate is cut into bands of rows, one per rank. In every step a rank
trades its outermost rows with its neighbours and updates its band.
"""

import argparse
import time

import numpy as np
from arguments import at_least, new_file
from mpi4py import MPI
from picture import write_png


def starting_plate(size: int) -> np.ndarray:
    """A cold plate with three hot discs; its rim stays at zero."""
    y, x = np.mgrid[0:size, 0:size] / (size - 1)
    plate = np.zeros((size, size))
    for cx, cy, radius in ((0.3, 0.3, 0.15), (0.7, 0.4, 0.1), (0.5, 0.75, 0.12)):
        plate[(x - cx) ** 2 + (y - cy) ** 2 < radius**2] = 1.0
    return plate


def exchange_halos(comm: MPI.Comm, band: np.ndarray) -> None:
    """Fill the first and last row of `band` from the neighbours' bands."""
    up = comm.rank - 1 if comm.rank > 0 else MPI.PROC_NULL
    down = comm.rank + 1 if comm.rank < comm.size - 1 else MPI.PROC_NULL
    comm.Sendrecv(band[1], dest=up, recvbuf=band[-1], source=down)
    comm.Sendrecv(band[-2], dest=down, recvbuf=band[0], source=up)


def step(band: np.ndarray, fresh: np.ndarray) -> None:
    """One explicit step of the five-point scheme, at its stability limit."""
    inner = band[1:-1, 1:-1]
    fresh[1:-1, 1:-1] = inner + 0.25 * (
        band[:-2, 1:-1] + band[2:, 1:-1] + band[1:-1, :-2] + band[1:-1, 2:] - 4 * inner
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--size", type=at_least(2), default=512, help="points along a side"
    )
    parser.add_argument("--steps", type=at_least(0), default=2000)
    parser.add_argument(
        "--out", type=new_file, default="heat.png", help="the picture to write"
    )
    options = parser.parse_args()

    comm = MPI.COMM_WORLD
    size = options.size
    if size < comm.size:
        parser.error(f"--size {size} is less than the number of ranks, {comm.size}")
    bounds = [size * rank // comm.size for rank in range(comm.size + 1)]
    rows = np.diff(bounds)

    plate = starting_plate(size) if comm.rank == 0 else None
    band = np.zeros((rows[comm.rank] + 2, size))  # one halo row on each side
    counts = rows * size
    comm.Scatterv([plate, counts], band[1:-1], root=0)
    # The outermost rows of the plate are its rim and are never updated.
    first = 1 if comm.rank == 0 else 0
    last = 1 if comm.rank == comm.size - 1 else 0

    comm.Barrier()
    start = time.perf_counter()
    fresh = band.copy()
    for _ in range(options.steps):
        exchange_halos(comm, band)
        step(band, fresh)
        if first:
            fresh[1] = band[1]
        if last:
            fresh[-2] = band[-2]
        band, fresh = fresh, band
    comm.Barrier()
    elapsed = time.perf_counter() - start

    heat = comm.reduce(float(band[1:-1].sum()), root=0)
    comm.Gatherv(band[1:-1], [plate, counts], root=0)
    if comm.rank == 0:
        write_png(options.out, plate)
        print(f"{size} x {size} points, {options.steps} steps, {comm.size} ranks")
        print(f"mean temperature {heat / size**2:.9f}, hottest {plate.max():.6f}")
        print(f"took {elapsed:.2f} s; the picture is in {options.out}")


if __name__ == "__main__":
    main()
