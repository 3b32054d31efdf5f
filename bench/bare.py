"""Measure what the kernel's copies alone take for rows: a limit of the machine.

    python bench/bare.py -n 2 "Bcast, 1 MiB, 2 ranks" "Read_at, 16 MiB, 2 ranks"

As many processes as the row has ranks bring the same data to the same places, each
block by one copy (`process_vm_readv`, `pread`, or a plain one in shared memory) that
its receiver makes, and meet once in each operation. They look for nobody, match no
message and handle no failure, and they have their memory at the beginning of pages.
What an engine takes less than that it owes to copies that stay in the caches.

Prints lines like those of `measure.py`.
"""

import argparse
import ctypes
import json
import mmap
import os
import sys
from collections.abc import Callable
from multiprocessing import Process, connection

import numpy as np
from parts import Operation, at_end, demand, end_row, fill, time_batches
from rows import BY_NAME, MIB, Row

LEAST = MIB  # a call from Python and a meeting take microseconds
LARGE = 4 * MIB  # from which NumPy's arrays ask for large pages
SET_PTRACER, ANYBODY = 0x59616D61, ctypes.c_ulong(-1)
held: list[np.ndarray] = []
libc = ctypes.CDLL(None, use_errno=True)
libc.process_vm_readv.restype = libc.process_vm_writev.restype = ctypes.c_ssize_t


class Piece(ctypes.Structure):
    """The kernel's `struct iovec`."""

    _fields_ = (("address", ctypes.c_void_p), ("length", ctypes.c_size_t))


class Processes:
    """One of `size` processes that share a few numbers."""

    def __init__(self, size: int) -> None:
        self.size, self.rank, self.meetings = size, 0, 0
        numbers = memoryview(mmap.mmap(-1, mmap.PAGESIZE * size)).cast("q")
        each = len(numbers) // size
        self.told = [numbers[each * rank : each * (rank + 1)] for rank in range(size)]
        self.crowded = size > len(os.sched_getaffinity(0))

    def meet(self) -> None:
        """Wait until all have come here."""
        self.meetings += 1
        self.told[self.rank][0] = self.meetings
        for other in self.told:
            self.wait(other, self.meetings)

    def wait(self, other: memoryview, meeting: int) -> None:
        while other[0] < meeting:
            if self.crowded:
                os.sched_yield()

    def tell(self, *numbers: int) -> list[list[int]]:
        """Exchange a few numbers: those of each process."""
        for place, number in enumerate(numbers, 1):
            self.told[self.rank][place] = number
        self.meet()
        told = [list(other[1 : len(numbers) + 1]) for other in self.told]
        self.meet()
        return told

    def longest(self, seconds: float) -> float:
        return max(ns for (ns,) in self.tell(int(seconds * 1e9))) / 1e9


def memory(nbytes: int) -> np.ndarray:
    """Numbers at the beginning of a page, in large pages where NumPy has them."""
    pages = mmap.mmap(-1, nbytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if nbytes >= LARGE:
        pages.madvise(mmap.MADV_HUGEPAGE)
    return numbers_in(pages)


def numbers_in(pages: mmap.mmap) -> np.ndarray:
    """They stay until the row has been measured: who copies has addresses only."""
    held.append(np.frombuffer(pages, np.float64))
    at_end(held.clear)
    return held[-1]


def contribution(row: Row, rank: int, blocks: int = 1) -> np.ndarray:
    data = memory(row.nbytes * blocks)
    for block, part in enumerate(data.reshape(blocks, -1)):
        part[:] = fill(row.nbytes, 100 * rank + block)
    return data


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def copier(pid: int, there: int, here: int, nbytes: int) -> Operation:
    """Copies from another process."""
    mine, theirs = Piece(here, nbytes), Piece(there, nbytes)
    pointers = ctypes.byref(mine), ctypes.byref(theirs)

    def copy() -> None:
        if libc.process_vm_readv(pid, pointers[0], 1, pointers[1], 1, 0) != nbytes:
            raise OSError(ctypes.get_errno(), "process_vm_readv")

    return copy


def messages(group: Processes, row: Row) -> tuple[Operation, float]:
    """A meeting says that the data is there, and that it was copied before."""
    out, back = contribution(row, group.rank), memory(row.nbytes)
    peer = 1 - group.rank
    pid, there = group.tell(os.getpid(), address(out))[peer]
    copy = copier(pid, there, address(back), row.nbytes)
    waits = group.told[peer]

    def turn() -> None:
        group.meetings += 1
        if group.rank == 0:
            group.told[0][0] = group.meetings
            group.wait(waits, group.meetings)
            copy()
        else:
            group.wait(waits, group.meetings)
            copy()
            group.told[1][0] = group.meetings

    turn()
    demand(np.array_equal(back, fill(row.nbytes, 100 * peer)), row)
    return turn, 2.0


# Which blocks a rank gets: from whom, which of theirs, and to which place of its own.
Route = Callable[[int, int], list[tuple[int, int, int]]]


def others(rank: int, size: int) -> list[int]:
    """Beginning after the rank, so that not all turn to the same one first."""
    return [(rank + step) % size for step in range(1, size)]


ROUTES: dict[str, tuple[Route, bool]] = {  # and whether each rank has many blocks
    "Bcast": (lambda rank, size: [(0, 0, 0)] if rank else [], False),
    "Scatter": (lambda rank, size: [(0, rank, 0)] if rank else [], True),
    "Allgather": (lambda rank, size: [(r, 0, r) for r in others(rank, size)], False),
    "Alltoall": (lambda rank, size: [(r, rank, r) for r in others(rank, size)], True),
    "Gather": (
        lambda rank, size: [] if rank else [(r, 0, r) for r in others(0, size)],
        False,
    ),
    "Neighbor_allgather": (
        lambda rank, size: [((rank - 1) % size, 0, 0), ((rank + 1) % size, 0, 1)],
        False,
    ),
    "Neighbor_alltoall": (
        lambda rank, size: [((rank - 1) % size, 1, 0), ((rank + 1) % size, 0, 1)],
        True,
    ),
}


def collective(group: Processes, row: Row) -> tuple[Operation, float]:
    route, many = ROUTES[row.operation]
    blocks = route(group.rank, group.size)
    # As many blocks as an engine's program has: how large the pages are goes by that.
    most = 2 if row.operation.startswith("Neighbor") else group.size
    out = contribution(row, group.rank, most if many else 1)
    several = row.operation not in ("Bcast", "Scatter")
    back = memory(row.nbytes * (most if several else 1))
    told = group.tell(os.getpid(), address(out))
    copies = [
        copier(
            told[rank][0],
            told[rank][1] + block * row.nbytes,
            address(back) + place * row.nbytes,
            row.nbytes,
        )
        for rank, block, place in blocks
    ]
    # What a rank keeps of its own: all but in a broadcast and among neighbours.
    keeps = row.operation in ("Allgather", "Alltoall") or (
        group.rank == 0 and row.operation in ("Gather", "Scatter")
    )
    own = address(back) + group.rank * row.nbytes
    kept = address(out) + (group.rank * row.nbytes if many else 0)

    def call() -> None:
        group.meet()
        if keeps:
            ctypes.memmove(own, kept, row.nbytes)
        for copy in copies:
            copy()

    call()
    group.meet()
    got = back.reshape(-1, row.nbytes // 8)
    for rank, block, place in blocks:
        expected = fill(row.nbytes, 100 * rank + block)
        demand(np.array_equal(got[place], expected), row)
    return call, 1.0


def shared_file(group: Processes, nbytes: int) -> int:
    """The number of a file in memory that all have open."""
    number = -1
    if group.rank == 0:
        number = os.memfd_create("bare")
        os.truncate(number, nbytes)
    pid, theirs = group.tell(os.getpid(), number)[0]
    if group.rank != 0:
        number = os.open(f"/proc/{pid}/fd/{theirs}", os.O_RDWR)
    group.meet()
    at_end(lambda: os.close(number))
    return number


KINDS = ("allocated", "created")


def window(group: Processes, row: Row) -> tuple[Operation, float]:
    """Rank 0 copies to or from memory that both share, or that of rank 1."""
    name, kind = row.operation.split(", ")
    mine, theirs = contribution(row, 0), contribution(row, 1)
    pid, there = group.tell(os.getpid(), address(theirs))[1]
    if kind == "allocated":
        area = numbers_in(mmap.mmap(shared_file(group, row.nbytes), row.nbytes))
        area[:] = theirs
        to, start = (area, mine) if name == "Put" else (mine, area)
        ends = address(to), address(start)

        def act() -> None:
            ctypes.memmove(*ends, row.nbytes)

    else:
        pieces = Piece(address(mine), row.nbytes), Piece(there, row.nbytes)
        here, away = (ctypes.byref(piece) for piece in pieces)
        move = libc.process_vm_writev if name == "Put" else libc.process_vm_readv

        def act() -> None:
            if move(pid, here, 1, away, 1, 0) != row.nbytes:
                raise OSError(ctypes.get_errno(), name)

    return (act if group.rank == 0 else lambda: None), 1.0


def access(group: Processes, row: Row) -> tuple[Operation, float]:
    """Each rank has its part of a file in memory."""
    file = shared_file(group, group.size * row.nbytes)
    data, start = contribution(row, group.rank), group.rank * row.nbytes
    back = memory(row.nbytes)

    def write() -> None:
        os.pwrite(file, data, start)

    def read() -> None:
        os.preadv(file, [back], start)

    write()
    read()
    demand(np.array_equal(back, data), row)
    return (write if row.operation.startswith("Write") else read), 1.0


OPERATIONS = {
    "Send/Recv one way": messages,
    **dict.fromkeys(ROUTES, collective),
    **dict.fromkeys(
        (f"{name}, {kind}" for name in ("Put", "Get") for kind in KINDS), window
    ),
    **dict.fromkeys(("Write_at", "Write_at_all", "Read_at", "Read_at_all"), access),
}


def has(row: Row) -> bool:
    """Whether there is such a limit for a row."""
    return row.nbytes >= LEAST and row.operation in OPERATIONS


def run(group: Processes, rank: int, names: list[str]) -> None:
    group.rank = rank
    # Where a process may be traced by its parent only.
    libc.prctl(SET_PTRACER, ANYBODY, 0, 0, 0)
    for name in names:
        row = BY_NAME[name]
        call, operations = OPERATIONS[row.operation](group, row)
        seconds = time_batches(group.meet, group.longest, call)
        end_row()
        if rank == 0:
            seconds = [s / operations for s in seconds]
            print(json.dumps({"row": name, "seconds": seconds}), flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("-n", type=int, required=True, dest="ranks", metavar="RANKS")
    parser.add_argument("rows", nargs="+")
    options = parser.parse_args()
    for name in options.rows:
        if name not in BY_NAME or not has(BY_NAME[name]):
            parser.error(f"there is no limit for {name!r}")
    group = Processes(options.ranks)
    processes = [
        Process(target=run, args=(group, rank, options.rows), name=f"rank {rank}")
        for rank in range(options.ranks)
    ]
    for process in processes:
        process.start()
    waiting = {process.sentinel: process for process in processes}
    failed = False
    while waiting:
        for sentinel in connection.wait(list(waiting)):
            ended = waiting.pop(sentinel)
            ended.join()
            if ended.exitcode and not failed:
                print(f"{ended.name}: status {ended.exitcode}", file=sys.stderr)
            failed |= ended.exitcode != 0
        # The others would wait for it.
        for process in waiting.values() if failed else ():
            process.kill()
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
