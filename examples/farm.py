"""A task farm: workers ask for work and the boss answers whoever comes first.

    phalanx run -n 4 examples/farm.py [--width 900] [--out mandelbrot.png]

The tasks are rows of the Mandelbrot set, some of which take far longer than
others. Rank 0 receives from ANY_SOURCE and hands out the next block of rows.
With one rank the boss does the work itself.
"""

import argparse
import time

import numpy as np
from arguments import at_least, new_file
from mpi4py import MPI
from picture import write_png

ROWS = 8  # rows in one task
READY, RESULT, TASK, STOP = range(4)  # message tags


def mandelbrot(first: int, last: int, width: int, height: int) -> np.ndarray:
    """Escape times of some rows, scaled to values from 0 to 1."""
    limit = 200
    x = np.linspace(-2.2, 0.8, width)
    y = np.linspace(-1.0, 1.0, height)[first:last]
    c = x[None, :] + 1j * y[:, None]
    z = np.zeros_like(c)
    escape = np.full(c.shape, limit, dtype=float)
    for turn in range(limit):
        active = escape == limit
        z[active] = z[active] ** 2 + c[active]
        escape[active & (z.real**2 + z.imag**2 > 4.0)] = turn
    return np.where(escape < limit, (escape / limit) ** 0.4, 0.0)


def boss(comm: MPI.Comm, width: int, height: int) -> tuple[np.ndarray, list[int]]:
    """Hand out tasks until none is left; return the picture and who did what."""
    picture = np.zeros((height, width))
    done = [0] * comm.size
    tasks = iter(range(0, height, ROWS))
    workers = comm.size - 1
    if workers == 0:
        for first in tasks:
            last = min(first + ROWS, height)
            picture[first:last] = mandelbrot(first, last, width, height)
            done[0] += 1
    status = MPI.Status()
    while workers:
        answer = comm.recv(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG, status=status)
        worker = status.Get_source()
        if status.Get_tag() == RESULT:
            first, rows = answer
            picture[first : first + len(rows)] = rows
            done[worker] += 1
        task = next(tasks, None)
        if task is None:
            comm.send(None, dest=worker, tag=STOP)
            workers -= 1
        else:
            comm.send((task, min(task + ROWS, height)), dest=worker, tag=TASK)
    return picture, done


def worker(comm: MPI.Comm, width: int, height: int) -> None:
    status = MPI.Status()
    comm.send(None, dest=0, tag=READY)
    while True:
        task = comm.recv(source=0, tag=MPI.ANY_TAG, status=status)
        if status.Get_tag() == STOP:
            return
        comm.send((task[0], mandelbrot(*task, width, height)), dest=0, tag=RESULT)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--width", type=at_least(2), default=900, help="pixels")
    parser.add_argument(
        "--out", type=new_file, default="mandelbrot.png", help="the picture to write"
    )
    options = parser.parse_args()
    width, height = options.width, options.width * 2 // 3

    comm = MPI.COMM_WORLD
    start = time.perf_counter()
    if comm.rank == 0:
        picture, done = boss(comm, width, height)
        write_png(options.out, picture)
        elapsed = time.perf_counter() - start
        print(f"{width} x {height} pixels; in the set: {np.mean(picture == 0):.2%}")
        for rank, tasks in enumerate(done):
            if tasks or comm.size == 1:
                print(f"  rank {rank} did {tasks:3} of {sum(done)} tasks")
        print(f"took {elapsed:.2f} s; the picture is in {options.out}")
    else:
        worker(comm, width, height)


if __name__ == "__main__":
    main()
