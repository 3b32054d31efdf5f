"""Conway's game of life on a torus, rows of which the ranks share as memory.

    phalanx run -n 4 examples/life.py [PATTERN.rle] [--size 640] [--generations 1103]

Each rank computes some rows. They lie in a shared window, so the edge rows of its
neighbours are plain memory to it, without a message or a copy; a fence ends each
generation. Without a pattern (in the run length form that collections have) it is the
five cells called R-pentomino, which are known to be 116 cells after 1103 generations.
"""

import argparse
import re
import time
from pathlib import Path

import numpy as np
from arguments import at_least
from mpi4py import MPI

R_PENTOMINO = "x = 3, y = 3\nb2o$2o$bo!"


def cells_of(text: str) -> list[tuple[int, int]]:
    """Row and column of the living cells of a pattern in run length form."""
    lines = [line for line in text.splitlines() if not line.startswith(("#", "x"))]
    cells, row, column = [], 0, 0
    for count, what in re.findall(r"(\d*)([bo$!])", "".join(lines)):
        if what == "!":
            break
        run = int(count or 1)
        if what == "$":
            row, column = row + run, 0
            continue
        if what == "o":
            cells += [(row, column + n) for n in range(run)]
        column += run
    return cells


def rows_of(rank: int, ranks: int, size: int) -> range:
    """The rows of a rank."""
    return range(size * rank // ranks, size * (rank + 1) // ranks)


def boards(win: MPI.Win, rank: int, size: int) -> np.ndarray:
    """This generation and the next one of a rank's rows, as this process sees them."""
    memory, _ = win.Shared_query(rank)
    return np.frombuffer(memory, np.uint8).reshape(2, -1, size)


def next_generation(rows: np.ndarray) -> np.ndarray:
    """Whether the cells live, of all rows but the first and the last one."""
    wide = np.concatenate([rows[:, -1:], rows, rows[:, :1]], axis=1)
    three = wide[:-2] + wide[1:-1] + wide[2:]
    near = three[:, :-2] + three[:, 1:-1] + three[:, 2:]
    return (near == 3) | ((near == 4) & (rows[1:-1] == 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("pattern", nargs="?", type=Path, help="a file in .rle form")
    parser.add_argument("--size", type=at_least(3), default=640)
    parser.add_argument("--generations", type=at_least(0), default=1103)
    options = parser.parse_args()
    comm, size = MPI.COMM_WORLD, options.size
    if size < comm.size:
        raise SystemExit(f"{comm.size} ranks need a --size of {comm.size} or more")
    try:
        text = options.pattern.read_text() if options.pattern else R_PENTOMINO
    except (OSError, UnicodeDecodeError) as error:
        raise SystemExit(f"the pattern cannot be read: {error}") from None

    mine = rows_of(comm.rank, comm.size, size)
    win = MPI.Win.Allocate_shared(2 * len(mine) * size, comm=comm)
    own = boards(win, comm.rank, size)
    above = boards(win, (comm.rank - 1) % comm.size, size)
    below = boards(win, (comm.rank + 1) % comm.size, size)
    own[:] = 0
    for row, column in cells_of(text):
        row, column = (row + size // 2) % size, (column + size // 2) % size
        if row in mine:
            own[0, row - mine.start, column] = 1

    start = time.perf_counter()
    now = 0
    win.Fence()
    for _ in range(options.generations):
        rows = np.concatenate([above[now, -1:], own[now], below[now, :1]])
        own[1 - now] = next_generation(rows)
        now = 1 - now
        win.Fence()
    elapsed = time.perf_counter() - start
    living = comm.reduce(int(own[now].sum()), root=0)
    win.Fence(MPI.MODE_NOSUCCEED)
    del own, above, below
    win.Free()
    if comm.rank == 0:
        print(
            f"{living} cells after {options.generations} generations on a torus of "
            f"{size} x {size}, {comm.size} ranks, {elapsed:.2f} s"
        )


if __name__ == "__main__":
    main()
