"""One-sided rows: the origin acts, the target waits in a barrier or computes.

Every operation is followed by a flush, so that a figure is the time until the data
is there. Rank 0 is the origin, rank 1 the target.
"""

import mmap
import os
import tempfile
import time
from collections.abc import Callable

import numpy as np
from mpi4py import MPI
from parts import Operation, at_end, demand, fill
from rows import Row

Act = Callable[[], None]
LOOK_SECONDS = 1e-3  # a target that computes calls MPI once in a while, as programs do


class Window:
    """A window of one of two kinds, with the memory of each rank as numbers."""

    def __init__(self, comm, kind: str, nbytes: int) -> None:
        self.comm, self.target = comm, min(1, comm.size - 1)
        if kind == "allocated":
            self.win = MPI.Win.Allocate(nbytes, 1, comm=comm)
            self.memory = np.frombuffer(self.win.tomemory(), np.float64)
        else:
            self.memory = np.zeros(max(nbytes // 8, 1))
            self.win = MPI.Win.Create(self.memory, 1, comm=comm)
        self.memory[:] = fill(nbytes, 10 * comm.rank)
        comm.Barrier()
        self.win.Lock_all()
        at_end(self.end)

    def end(self) -> None:
        self.win.Unlock_all()
        del self.memory
        self.win.Free()

    def settle(self) -> None:
        """What was done there is seen here."""
        self.comm.Barrier()
        self.win.Sync()


def put(window: Window, row: Row) -> tuple[Act, Act]:
    mine, win, target = fill(row.nbytes, 7), window.win, window.target

    def act() -> None:
        win.Put(mine, target)
        win.Flush(target)

    def check() -> None:
        if window.comm.rank == target:
            demand(np.array_equal(window.memory, mine), row)

    return act, check


def get(window: Window, row: Row) -> tuple[Act, Act]:
    mine, win, target = fill(row.nbytes, 7), window.win, window.target

    def act() -> None:
        win.Get(mine, target)
        win.Flush(target)

    def check() -> None:
        if window.comm.rank == 0:
            demand(np.array_equal(mine, fill(row.nbytes, 10 * target)), row)

    return act, check


def accumulate(window: Window, row: Row) -> tuple[Act, Act]:
    mine, win, target = fill(row.nbytes, 1), window.win, window.target

    def act() -> None:
        win.Accumulate(mine, target, op=MPI.SUM)
        win.Flush(target)

    def check() -> None:
        if window.comm.rank == target:
            expected = fill(row.nbytes, 10 * target) + mine
            demand(np.array_equal(window.memory, expected), row)

    return act, check


def fetch_and_op(window: Window, row: Row) -> tuple[Act, Act]:
    one, old = np.ones(1, np.int64), np.zeros(1, np.int64)
    win, target = window.win, window.target

    def act() -> None:
        win.Fetch_and_op(one, old, target, 0, MPI.SUM)
        win.Flush(target)

    def check() -> None:
        if window.comm.rank == target:
            before = fill(row.nbytes, 10 * target).view(np.int64)
            demand(window.memory.view(np.int64)[0] == before[0] + 1, row)

    return act, check


def compare_and_swap(window: Window, row: Row) -> tuple[Act, Act]:
    new, old = np.full(1, 5, np.int64), np.zeros(1, np.int64)
    win, target = window.win, window.target
    wanted = fill(row.nbytes, 10 * target)[:1].view(np.int64)

    def act() -> None:
        win.Compare_and_swap(new, wanted, old, target, 0)
        win.Flush(target)

    def check() -> None:
        if window.comm.rank == target:
            demand(window.memory.view(np.int64)[0] == 5, row)

    return act, check


ACTS: dict[str, Callable[[Window, Row], tuple[Act, Act]]] = {
    "Put": put,
    "Get": get,
    "Accumulate": accumulate,
    "Fetch_and_op": fetch_and_op,
    "Compare_and_swap": compare_and_swap,
}


def nothing() -> None:
    pass


def one_sided(comm, row: Row) -> tuple[Operation, float]:
    """The origin acts; the target is in a barrier."""
    name, kind = row.operation.split(", ")
    window = Window(comm, kind, row.nbytes)
    act, check = ACTS[name](window, row)
    if comm.rank == 0:
        act()
    window.settle()
    check()
    return (act if comm.rank == 0 else nothing), 1.0


def beside_work(comm, row: Row) -> tuple[Operation, float]:
    """The origin acts; the target computes until the origin is done with that."""
    name, kind, _ = row.operation.split(", ")
    window = Window(comm, kind, row.nbytes)
    act, check = ACTS[name](window, row)
    done = shared_word(comm)

    def turn() -> None:
        act()
        done[0] += 1

    calls = 0

    def compute() -> None:
        nonlocal calls
        calls += 1
        look = time.perf_counter() + LOOK_SECONDS
        while done[0] < calls:
            if time.perf_counter() > look:
                comm.Iprobe()
                look += LOOK_SECONDS

    call = {0: turn, window.target: compute}.get(comm.rank, nothing)
    call()
    window.settle()
    check()
    return call, 1.0


def shared_word(comm) -> memoryview:
    """A word that two processes see, without MPI."""
    path = None
    if comm.rank == 0:
        number, path = tempfile.mkstemp()
        os.write(number, bytes(mmap.PAGESIZE))
        os.close(number)
    path = comm.bcast(path)
    with open(path, "r+b") as file:
        word = memoryview(mmap.mmap(file.fileno(), mmap.PAGESIZE)).cast("Q")
    comm.Barrier()
    if comm.rank == 0:
        os.remove(path)
    return word


def fence(comm, row: Row) -> tuple[Operation, float]:
    win = MPI.Win.Allocate(8, 1, comm=comm)
    win.Fence()
    at_end(win.Free)
    at_end(lambda: win.Fence(MPI.MODE_NOSUCCEED))
    return win.Fence, 1.0


def allocate_shared(comm, row: Row) -> tuple[Operation, float]:
    """A window over `nbytes` at rank 0, and its end; written or not in between."""
    nbytes = row.nbytes if comm.rank == 0 else 0
    written = "written" in row.operation

    def call() -> None:
        win = MPI.Win.Allocate_shared(nbytes, 1, comm=comm)
        if written and comm.rank == 0:
            np.frombuffer(win.tomemory(), np.uint8)[:] = 1
        win.Free()

    return call, 1.0


OPERATIONS = {
    **{
        f"{name}, {kind}": one_sided
        for name in ACTS
        for kind in ("allocated", "created")
    },
    **{
        f"{name}, {kind}, target computes": beside_work
        for name in ACTS
        for kind in ("allocated", "created")
    },
    "Fence": fence,
    "first Allocate_shared": allocate_shared,
    "Allocate_shared, Free": allocate_shared,
    "Allocate_shared, written, Free": allocate_shared,
}
