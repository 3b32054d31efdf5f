"""Measure rows under whichever MPI this is started on; print JSON lines.

    mpiexec -n 2 python bench/measure.py "Barrier, 2 ranks" "Bcast, 8 B, 2 ranks"

Every rank runs it. Rank 0 prints one line per row: the row's name and the
seconds per operation of several batches, each the time of the rank that was
done last. Results are verified: a wrong one ends the program with an error.
"""

import json
import operator
import sys
import time
from collections.abc import Callable

import files
import neighbours
import numpy as np
import windows
from mpi4py import MPI
from parts import (
    Operation,
    contribution,
    demand,
    each_from_its_rank,
    end_row,
    fill,
    room,
    time_batches,
)
from rows import BY_NAME, Row

WINDOW = 64  # messages in flight in the rate test


def ping_pong(comm, row: Row) -> tuple[Operation, float]:
    """Buffers: one round trip counts as two operations."""
    out, back = fill(row.nbytes, comm.rank), np.zeros(max(row.nbytes // 8, 1))
    if comm.rank > 1:
        return (lambda: None), 2.0
    peer = 1 - comm.rank

    def turn() -> None:
        if comm.rank == 0:
            comm.Send(out, peer)
            comm.Recv(back, peer)
        else:
            comm.Recv(back, peer)
            comm.Send(out, peer)

    turn()
    demand(np.array_equal(back, fill(row.nbytes, peer)), row)
    return turn, 2.0


DICT = {"name": "step", "number": 7, "values": [1.5, 2.5, 3.5]}


THINGS: dict[str, Callable[[Row], object]] = {
    "send/recv of an int, one way": lambda row: 7,
    "send/recv of bytes, one way": lambda row: bytes(
        n % 251 for n in range(row.nbytes)
    ),
    "send/recv of a dict, one way": lambda row: DICT,
    "send/recv of a dict of 100 strings, one way": lambda row: {
        f"key {n}": f"value {n}" for n in range(100)
    },
    "send/recv of an array, one way": lambda row: fill(row.nbytes, 7),
}


def object_ping_pong(comm, row: Row) -> tuple[Operation, float]:
    thing, peer = THINGS[row.operation](row), 1 - comm.rank

    def turn():
        if comm.rank == 0:
            comm.send(thing, peer)
            return comm.recv(source=peer)
        answer = comm.recv(source=peer)
        comm.send(thing, peer)
        return answer

    answer = turn()
    same = np.array_equal if isinstance(thing, np.ndarray) else operator.eq
    demand(type(answer) is type(thing) and same(answer, thing), row)
    return turn, 2.0


def isend_rate(comm, row: Row) -> tuple[Operation, float]:
    out = [fill(row.nbytes, i) for i in range(WINDOW)]
    back = [np.zeros_like(buffer) for buffer in out]
    token = np.zeros(1)

    def window() -> None:
        if comm.rank == 0:
            MPI.Request.Waitall([comm.Isend(buffer, 1) for buffer in out])
            comm.Recv(token, 1)
        else:
            MPI.Request.Waitall([comm.Irecv(buffer, 0) for buffer in back])
            comm.Send(token, 0)

    window()
    demand(comm.rank == 0 or all(map(np.array_equal, out, back)), row)
    return window, float(WINDOW)


def object_isend_rate(comm, row: Row) -> tuple[Operation, float]:
    def window() -> None:
        if comm.rank == 0:
            MPI.Request.waitall([comm.isend(number, 1) for number in range(WINDOW)])
            comm.recv(source=1)
        else:
            numbers = [comm.recv(source=0) for _ in range(WINDOW)]
            demand(numbers[-1] == WINDOW - 1, row)
            comm.send(None, 0)

    window()
    return window, float(WINDOW)


def barrier(comm, row: Row) -> tuple[Operation, float]:
    return comm.Barrier, 1.0


def sum_of(row: Row, ranks: int) -> np.ndarray:
    """The sum of the contributions of the first ranks."""
    return fill(row.nbytes, 0) * ranks + ranks * (ranks - 1) / 2


def bcast(comm, row: Row) -> tuple[Operation, float]:
    buffer = contribution(comm, row)

    def call() -> None:
        comm.Bcast(buffer, root=0)

    call()
    demand(np.array_equal(buffer, fill(row.nbytes, 0)), row)
    return call, 1.0


def reduce(comm, row: Row) -> tuple[Operation, float]:
    mine = contribution(comm, row)
    total = room(row) if comm.rank == 0 else None

    def call() -> None:
        comm.Reduce(mine, total, root=0)

    call()
    demand(total is None or np.array_equal(total[0], sum_of(row, comm.size)), row)
    return call, 1.0


def allreduce(comm, row: Row) -> tuple[Operation, float]:
    mine, total = contribution(comm, row), room(row)

    def call() -> None:
        comm.Allreduce(mine, total)

    call()
    demand(np.array_equal(total[0], sum_of(row, comm.size)), row)
    return call, 1.0


def scan(comm, row: Row) -> tuple[Operation, float]:
    mine, total = contribution(comm, row), room(row)

    def call() -> None:
        comm.Scan(mine, total)

    call()
    demand(np.array_equal(total[0], sum_of(row, comm.rank + 1)), row)
    return call, 1.0


def reduce_scatter(comm, row: Row) -> tuple[Operation, float]:
    """Block n of every rank's contribution is summed at rank n."""
    mine, total = room(row, comm.size), room(row)
    mine += contribution(comm, row)
    mine += np.arange(comm.size)[:, None]
    counts = [total.size] * comm.size

    def call() -> None:
        comm.Reduce_scatter(mine, total, counts)

    call()
    expected = sum_of(row, comm.size) + comm.size * comm.rank
    demand(np.array_equal(total[0], expected), row)
    return call, 1.0


def allgather(comm, row: Row) -> tuple[Operation, float]:
    mine, everything = contribution(comm, row), room(row, comm.size)

    def call() -> None:
        comm.Allgather(mine, everything)

    call()
    demand(each_from_its_rank(everything, row), row)
    return call, 1.0


def gather(comm, row: Row) -> tuple[Operation, float]:
    mine = contribution(comm, row)
    everything = room(row, comm.size) if comm.rank == 0 else None

    def call() -> None:
        comm.Gather(mine, everything, root=0)

    call()
    demand(everything is None or each_from_its_rank(everything, row), row)
    return call, 1.0


def scatter(comm, row: Row) -> tuple[Operation, float]:
    everything, mine = None, room(row)
    if comm.rank == 0:
        everything = room(row, comm.size)
        for rank, block in enumerate(everything):
            block[:] = fill(row.nbytes, rank)

    def call() -> None:
        comm.Scatter(everything, mine, root=0)

    call()
    demand(np.array_equal(mine[0], contribution(comm, row)), row)
    return call, 1.0


def alltoall(comm, row: Row) -> tuple[Operation, float]:
    """Block n goes to rank n; a block says from where to where it goes."""
    out, back = room(row, comm.size), room(row, comm.size)
    out += 100 * comm.rank + np.arange(comm.size)[:, None]

    def call() -> None:
        comm.Alltoall(out, back)

    call()
    expected = 100 * np.arange(comm.size) + comm.rank
    demand(bool((back == expected[:, None]).all()), row)
    return call, 1.0


def bcast_object(comm, row: Row) -> tuple[Operation, float]:
    def call():
        return comm.bcast(DICT if comm.rank == 0 else None, root=0)

    demand(call() == DICT, row)
    return call, 1.0


def allgather_object(comm, row: Row) -> tuple[Operation, float]:
    mine = {**DICT, "number": comm.rank}

    def call():
        return comm.allgather(mine)

    demand(call() == [{**DICT, "number": n} for n in range(comm.size)], row)
    return call, 1.0


OPERATIONS = {
    "Send/Recv one way": ping_pong,
    **dict.fromkeys(THINGS, object_ping_pong),
    "Isend rate, per message": isend_rate,
    "isend rate of an int, per message": object_isend_rate,
    "Barrier": barrier,
    "Bcast": bcast,
    "Reduce": reduce,
    "Allreduce": allreduce,
    "Allgather": allgather,
    "Alltoall": alltoall,
    "Scatter": scatter,
    "Gather": gather,
    "Reduce_scatter": reduce_scatter,
    "Scan": scan,
    "bcast of a dict": bcast_object,
    "allgather of a dict": allgather_object,
    **windows.OPERATIONS,
    **files.OPERATIONS,
    **neighbours.OPERATIONS,
}


def time_once(comm, call: Operation) -> list[float]:
    """Seconds of the first call of this process."""
    comm.Barrier()
    start = time.perf_counter()
    call()
    return [comm.allreduce(time.perf_counter() - start, MPI.MAX)]


def main() -> None:
    comm = MPI.COMM_WORLD
    for name in sys.argv[1:]:
        row = BY_NAME[name]
        call, operations = OPERATIONS[row.operation](comm, row)
        if row.operation.startswith("first"):
            timed = time_once(comm, call)
        else:
            timed = time_batches(
                comm.Barrier, lambda mine: comm.allreduce(mine, MPI.MAX), call
            )
        seconds = [s / operations for s in timed]
        del call  # and its buffers, before the next row makes its own
        end_row()
        if comm.rank == 0:
            print(json.dumps({"row": row.name, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
