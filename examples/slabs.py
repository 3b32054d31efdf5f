"""One array in one file, written by all ranks and read by NumPy.

    mpiexec -n 4 python examples/slabs.py [--size 200] [--out field.npy]

Each rank computes a block of columns of a field. Its view of the file is the place of
that block in the whole array, so that all ranks write at once and each byte has one
writer. The file is an ordinary `.npy` file: rank 0 reads it back with NumPy alone, and
every rank checks the block of another one.
"""

import argparse
import io
from pathlib import Path

import numpy as np
from arguments import at_least
from mpi4py import MPI


def field(rows: np.ndarray, columns: np.ndarray, size: int) -> np.ndarray:
    """The value at each row and column."""
    return np.sin(rows[:, None] / size * 6.0) * np.cos(columns / size * 4.0)


def header(size: int) -> bytes:
    """What stands before the data in a `.npy` file."""
    room = io.BytesIO()
    form = {"descr": "<f8", "fortran_order": False, "shape": (size, size)}
    np.lib.format.write_array_header_1_0(room, form)
    return room.getvalue()


def columns_of(rank: int, ranks: int, size: int) -> range:
    """The columns of a rank; none may be left for the last ones."""
    return range(size * rank // ranks, size * (rank + 1) // ranks)


def look_at(file: MPI.File, skip: int, size: int, mine: range) -> None:
    """Makes the columns of a rank what this process sees of the file."""
    if len(mine) == 0:
        file.Set_view(skip, MPI.DOUBLE)
        return
    block = MPI.DOUBLE.Create_subarray(
        [size, size], [size, len(mine)], [0, mine.start]
    ).Commit()
    file.Set_view(skip, MPI.DOUBLE, block)
    block.Free()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=at_least(1), default=200)
    parser.add_argument("--out", type=Path, default=Path("field.npy"))
    options = parser.parse_args()
    comm, size = MPI.COMM_WORLD, options.size

    mode = MPI.MODE_RDWR | MPI.MODE_CREATE
    file = MPI.File.Open(comm, options.out, mode)
    head = header(size)
    file.Set_size(len(head) + 8 * size * size)
    if comm.rank == 0:
        file.Write_at(0, head)

    mine = columns_of(comm.rank, comm.size, size)
    look_at(file, len(head), size, mine)
    file.Write_all(field(np.arange(size), np.array(mine), size))
    file.Sync()

    neighbour = columns_of((comm.rank + 1) % comm.size, comm.size, size)
    look_at(file, len(head), size, neighbour)
    theirs = np.empty((size, len(neighbour)))
    file.Read_all(theirs)
    good = np.array_equal(theirs, field(np.arange(size), np.array(neighbour), size))
    file.Close()

    if comm.allreduce(good, MPI.LAND) and comm.rank == 0:
        whole = np.load(options.out)
        expected = field(np.arange(size), np.arange(size), size)
        agrees = "agrees" if np.array_equal(whole, expected) else "DIFFERS"
        print(
            f"{whole.nbytes} bytes in {options.out.name} by {comm.size} ranks: {agrees}"
        )


if __name__ == "__main__":
    main()
