"""Measure rows under whichever MPI this is started on; print JSON lines.

Every rank runs it. Rank 0 prints one line per row: the row's name and the
seconds per operation of several batches. Results are verified: a wrong one
ends the program with an error.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from rows import MORE_ROWS, ROWS, Row

BATCHES = 7
BATCH_SECONDS = 0.03  # a batch is doubled until it lasts this long
WINDOW = 64  # messages in flight in the rate test

Operation = Callable[[], None]


def fill(nbytes: int, seed: int) -> np.ndarray:
    """A buffer of float64 (or of bytes when it is shorter) that shows mix-ups."""
    return (np.arange(max(nbytes // 8, 1)) + seed).astype(np.float64)


def demand(good: bool, row: Row) -> None:
    if not good:
        raise AssertionError(f"{row.name}: wrong result")


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


def object_ping_pong(comm, row: Row) -> tuple[Operation, float]:
    if row.nbytes:
        thing = fill(row.nbytes, 7)
    else:
        thing = {"name": "step", "number": 7, "values": [1.5, 2.5, 3.5]}
    peer = 1 - comm.rank

    def turn():
        if comm.rank == 0:
            comm.send(thing, peer)
            return comm.recv(source=peer)
        answer = comm.recv(source=peer)
        comm.send(thing, peer)
        return answer

    answer = turn()
    same = np.array_equal(answer, thing) if row.nbytes else answer == thing
    demand(same, row)
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


def barrier(comm, row: Row) -> tuple[Operation, float]:
    return comm.Barrier, 1.0


def bcast(comm, row: Row) -> tuple[Operation, float]:
    buffer = fill(row.nbytes, comm.rank)

    def call() -> None:
        comm.Bcast(buffer, root=0)

    call()
    demand(np.array_equal(buffer, fill(row.nbytes, 0)), row)
    return call, 1.0


def allreduce(comm, row: Row) -> tuple[Operation, float]:
    mine, total = fill(row.nbytes, comm.rank), np.zeros(max(row.nbytes // 8, 1))

    def call() -> None:
        comm.Allreduce(mine, total)

    call()
    expected = sum(fill(row.nbytes, rank) for rank in range(comm.size))
    demand(np.array_equal(total, expected), row)
    return call, 1.0


def allgather(comm, row: Row) -> tuple[Operation, float]:
    mine = fill(row.nbytes, comm.rank)
    everything = np.zeros((comm.size, len(mine)))

    def call() -> None:
        comm.Allgather(mine, everything)

    call()
    rows = [fill(row.nbytes, rank) for rank in range(comm.size)]
    demand(np.array_equal(everything, rows), row)
    return call, 1.0


def alltoall(comm, row: Row) -> tuple[Operation, float]:
    length = max(row.nbytes // 8, 1)
    out = np.zeros((comm.size, length)) + np.arange(comm.size)[:, None]
    out += 100 * comm.rank
    back = np.zeros_like(out)

    def call() -> None:
        comm.Alltoall(out, back)

    call()
    expected = 100 * np.arange(comm.size) + comm.rank
    demand(np.array_equal(back[:, 0], expected), row)
    return call, 1.0


def gather(comm, row: Row) -> tuple[Operation, float]:
    mine = fill(row.nbytes, comm.rank)
    everything = np.zeros((comm.size, len(mine))) if comm.rank == 0 else None

    def call() -> None:
        comm.Gather(mine, everything, root=0)

    call()
    if comm.rank == 0:
        rows = [fill(row.nbytes, rank) for rank in range(comm.size)]
        demand(np.array_equal(everything, rows), row)
    return call, 1.0


def bcast_object(comm, row: Row) -> tuple[Operation, float]:
    thing = {"name": "step", "number": 7, "values": [1.5, 2.5, 3.5]}

    def call():
        return comm.bcast(thing if comm.rank == 0 else None, root=0)

    demand(call() == thing, row)
    return call, 1.0


OPERATIONS = {
    "Send/Recv one way": ping_pong,
    "send/recv of an array, one way": object_ping_pong,
    "send/recv of a dict, one way": object_ping_pong,
    "Isend rate, per message": isend_rate,
    "Barrier": barrier,
    "Bcast": bcast,
    "Allreduce": allreduce,
    "Allgather": allgather,
    "Alltoall": alltoall,
    "Gather": gather,
    "bcast of a dict": bcast_object,
}


def time_batches(comm, call: Operation) -> list[float]:
    """Seconds per call in several batches of equal length."""
    calls, samples = 1, []
    while len(samples) < BATCHES:
        comm.Barrier()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        elapsed = comm.bcast(time.perf_counter() - start, root=0)
        if elapsed < BATCH_SECONDS and not samples:
            calls *= 2
        else:
            samples.append(elapsed / calls)
    return samples


def main() -> None:
    comm = MPI.COMM_WORLD
    wanted = sys.argv[1:]
    for row in ROWS + (MORE_ROWS if wanted else []):
        if row.ranks != comm.size or (wanted and row.name not in wanted):
            continue
        call, operations = OPERATIONS[row.operation](comm, row)
        seconds = [s / operations for s in time_batches(comm, call)]
        if comm.rank == 0:
            print(json.dumps({"row": row.name, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    main()
