"""File rows: each rank writes or reads `nbytes` of one file in memory.

In pieces, the ranks' pieces take turns in the file. Independent accesses are
`Write_at` and `Read_at`, collective ones those with `_all`.
"""

import os
import re
import tempfile

import numpy as np
from mpi4py import MPI
from parts import Operation, at_end, demand
from rows import Row

MEMORY = "/dev/shm"  # where a file system keeps files in memory, on Linux
UNITS = {"B": 1, "KiB": 1 << 10}


def opened(comm) -> MPI.File:
    folder = MEMORY if os.path.isdir(MEMORY) else None
    path = None
    if comm.rank == 0:
        number, path = tempfile.mkstemp(dir=folder)
        os.close(number)
    mode = MPI.MODE_RDWR | MPI.MODE_DELETE_ON_CLOSE
    return MPI.File.Open(comm, comm.bcast(path), mode)


def piece_bytes(row: Row) -> int:
    """Bytes of a piece; all that a rank has, when the row names no pieces."""
    found = re.search(r"pieces of (\d+) (\w+)", row.operation)
    return int(found[1]) * UNITS[found[2]] if found else row.nbytes


def access(comm, row: Row) -> tuple[Operation, float]:
    size, rank = comm.size, comm.rank
    piece = piece_bytes(row)
    file = opened(comm)
    at_end(file.Close)
    tile = MPI.BYTE.Create_vector(1, piece, piece).Create_resized(0, size * piece)
    file.Set_view(rank * piece, MPI.BYTE, tile.Commit())
    name = row.operation.partition(",")[0]
    mine = ((np.arange(row.nbytes) // piece + 100 * rank) % 251).astype(np.uint8)
    file.Write_at(0, mine)
    file.Sync()
    comm.Barrier()
    back = np.zeros_like(mine)
    buffer = mine if name.startswith("Write") else back
    method = getattr(file, name)

    def call() -> None:
        method(0, buffer)

    call()
    file.Sync()
    comm.Barrier()
    file.Read_at(0, back)
    demand(np.array_equal(back, mine), row)
    file.Set_view(0, MPI.BYTE, MPI.BYTE)
    everything = np.zeros(size * row.nbytes, np.uint8)
    file.Read_at(0, everything)
    parts = everything.reshape(-1, size, piece)
    demand(np.array_equal(parts[:, rank].reshape(-1), mine), row)
    file.Set_view(rank * piece, MPI.BYTE, tile)
    return call, 1.0


FORMS = ("Write_at", "Write_at_all", "Read_at", "Read_at_all")
PIECES = ("pieces of 4 KiB", "pieces of 64 B")
NAMES = [*FORMS, *(f"{form}, {pieces}" for form in FORMS for pieces in PIECES)]
OPERATIONS = dict.fromkeys(NAMES, access)
