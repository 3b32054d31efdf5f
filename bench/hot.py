"""The hot paths whose instructions are counted, as a program.

    python hot.py mpi NAME ...            as each of two ranks
    python hot.py pool PACKAGE PYTHON     with a pool whose worker runs under PYTHON

`bench/instructions.py` starts it. The process that is looked at runs under
callgrind, which writes what it has counted whenever the process calls
`getpriority`, which nothing else does: that is a mark. Between the marks each path
runs a few or many times; the difference is what it takes. The other process runs
as it is, some fifty times faster, and is where it has to be before it is waited for.
"""

import os
import resource
import sys
from collections.abc import Callable

FEW, MANY = 15, 45
SEGMENTS = 48  # half of them of FEW
DICT = {"name": "step", "number": 7, "values": [1.5, 2.5, 3.5]}

Path = Callable[[int], None]  # runs so many times


def mark() -> None:
    os.getpriority(os.PRIO_PROCESS, 0)


def ping_pong(comm, send: Callable, receive: Callable) -> Path:
    """Two messages are under way, so that the one to be received has come."""

    def run(times: int) -> None:
        if comm.rank == 1:
            send()
            for _ in range(times):
                send()
                receive()
            receive()
        else:
            for _ in range(times):
                receive()
                send()
            receive()
            send()

    return run


def buffers(comm) -> Path:
    import numpy as np

    out, back, peer = np.zeros(1), np.zeros(1), 1 - comm.rank
    return ping_pong(comm, lambda: comm.Send(out, peer), lambda: comm.Recv(back, peer))


def objects(comm, thing: object) -> Path:
    peer = 1 - comm.rank
    return ping_pong(
        comm, lambda: comm.send(thing, peer), lambda: comm.recv(source=peer)
    )


def isend(comm) -> Path:
    import numpy as np

    out = np.zeros(1)

    def run(times: int) -> None:
        for _ in range(times):
            if comm.rank == 0:
                comm.Isend(out, 1).Wait()
            else:
                comm.Recv(out, 0)

    return run


def isend_int(comm) -> Path:
    def run(times: int) -> None:
        for _ in range(times):
            if comm.rank == 0:
                comm.isend(7, 1).wait()
            else:
                comm.recv(source=0)

    return run


def again(call: Callable[[], object]) -> Path:
    def run(times: int) -> None:
        for _ in range(times):
            call()

    return run


def bcast(comm, root: int) -> Path:
    import numpy as np

    buffer = np.zeros(1)
    return again(lambda: comm.Bcast(buffer, root))


def allreduce(comm) -> Path:
    import numpy as np

    mine, total = np.zeros(1), np.zeros(1)
    return again(lambda: comm.Allreduce(mine, total))


def put(comm) -> Path:
    import numpy as np

    out = np.zeros(1)
    from mpi4py import MPI

    win = MPI.Win.Allocate(8, comm=comm)
    win.Lock_all()
    peer = 1 - comm.rank

    def run(times: int) -> None:
        for _ in range(times):
            win.Put(out, peer)
            win.Flush(peer)
        comm.Barrier()  # the peer stays

    return run


MPI_PATHS: dict[str, Callable[..., Path]] = {
    "Send and Recv, 8 B": buffers,
    "Isend and Wait, 8 B": isend,
    "send and recv of an int": lambda comm: objects(comm, 7),
    "send and recv of a dict": lambda comm: objects(comm, DICT),
    "isend and wait of an int": isend_int,
    "Barrier, 2 ranks": lambda comm: again(comm.Barrier),
    "Bcast, 8 B, 2 ranks, at the root": lambda comm: bcast(comm, 0),
    "Bcast, 8 B, 2 ranks, at the other": lambda comm: bcast(comm, 1),
    "Allreduce, 8 B, 2 ranks": allreduce,
    "Put and Flush, 8 B": put,
    "bcast of a dict, 2 ranks, at the root": lambda comm: again(
        lambda: comm.bcast(DICT, 0)
    ),
}


POOL_PATH = "a task of Pool.map, in the worker"


def same(value):
    return value


def mark_as_a_task(_: object) -> None:
    mark()


def count(run: Path, mark: Callable[[], object]) -> None:
    """Run the path between marks; what comes before the first is warming up."""
    run(MANY)
    mark()
    for _ in range(SEGMENTS // 2):
        run(FEW)
        mark()
        run(MANY)
        mark()


def count_pool(package: str, python: str) -> None:
    if package == "phalanx":
        import phalanx.multiprocessing as multiprocessing
    else:
        import multiprocessing
    # Valgrind has few addresses to give; an arena asks for what files may have.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4 << 30, resource.RLIM_INFINITY))
    context = multiprocessing.get_context("spawn")
    context.set_executable(python)
    with context.Pool(1) as pool:
        count(
            lambda times: pool.map(same, range(times), 1),
            lambda: pool.map(mark_as_a_task, [0]),
        )
        pool.close()
        pool.join()


def main() -> None:
    kind, *rest = sys.argv[1:]
    if kind == "pool":
        count_pool(*rest)
    else:
        from mpi4py import MPI

        for name in rest:
            count(MPI_PATHS[name](MPI.COMM_WORLD), mark)


if __name__ == "__main__":
    main()
