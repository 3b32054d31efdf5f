"""Neighbourhood rows: on a ring, each rank has two neighbours."""

import numpy as np
from parts import Operation, at_end, contribution, demand, fill, room
from rows import Row


def ring(comm):
    around = comm.Create_cart([comm.size], periods=[True], reorder=False)
    at_end(around.Free)
    before, after = around.Shift(0, 1)
    return around, before, after


def allgather(comm, row: Row) -> tuple[Operation, float]:
    around, before, after = ring(comm)
    mine, theirs = contribution(comm, row), room(row, 2)

    def call() -> None:
        around.Neighbor_allgather(mine, theirs)

    call()
    for got, rank in zip(theirs, (before, after), strict=True):
        demand(np.array_equal(got, fill(row.nbytes, rank)), row)
    return call, 1.0


def alltoall(comm, row: Row) -> tuple[Operation, float]:
    """A block says from where it is, and in which direction it goes."""
    around, before, after = ring(comm)
    mine, theirs = room(row, 2), room(row, 2)
    mine[0], mine[1] = 10 * comm.rank, 10 * comm.rank + 1

    def call() -> None:
        around.Neighbor_alltoall(mine, theirs)

    call()
    demand(bool((theirs[0] == 10 * before + 1).all()), row)
    demand(bool((theirs[1] == 10 * after).all()), row)
    return call, 1.0


OPERATIONS = {"Neighbor_allgather": allgather, "Neighbor_alltoall": alltoall}
