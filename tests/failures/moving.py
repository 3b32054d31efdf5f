"""Jobs whose ranks move large data in every way there is, and look at all of it.

What is drawn at random comes from PHALANX_TEST_SEED, which is printed;
PHALANX_TEST_MOVES=10 draws ten times as many cases.
"""

import os
import random
import sys
import textwrap
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jobs import PHALANX, Job, JobCase

# How memory moves: PHALANX_WAYS, and whether the kernel's single copy is allowed.
WAYS = (
    ("take=never", True),
    ("take=8M", True),
    ("take=8M,pipe=1M,stream=1M", True),
    ("take=never,stream=64K", False),
    ("alone=32K", True),
    ("exchange=32K", True),
    ("take=8M", False),
)

# The operations: each is called by all ranks with the number of the turn, which says
# what data moves and, where there is a root, who that is.
MOVES = """
import os, random, signal, sys, threading, time
from mpi4py import MPI

comm = MPI.COMM_WORLD
me, n = comm.rank, comm.size
last = n - 1
SIZE = (1 << 20) + 4096 * 3 + 77
PATTERN = bytes(range(251)) * (SIZE // 251 + 2)

def data(seed, size=SIZE):
    return bytearray(PATTERN[seed % 251 :][:size])

def demand(got, expected, what):
    assert got == expected, f"rank {me}: wrong data in {what}"

def every(k, ranks):
    return b"".join(data(k + rank) for rank in ranks)

def xored(k, ranks):
    total = 0
    for rank in ranks:
        total ^= int.from_bytes(data(k + rank), "little")
    return total.to_bytes(SIZE, "little")

def send(k):
    if me == last:
        comm.Send(data(k), 0)
    elif me == 0:
        room = bytearray(SIZE)
        comm.Recv(room, last)
        demand(room, data(k), "send")

def recv(k):
    if me == 0:
        comm.Send(data(k), last)
    elif me == last:
        room = bytearray(SIZE)
        comm.Recv(room, 0)
        demand(room, data(k), "recv")

def vector(k):
    blocks = SIZE // 9
    pieces = MPI.BYTE.Create_vector(blocks, 5, 9).Commit()
    if me == last:
        comm.Send([data(k), 1, pieces], 0)
    elif me == 0:
        room = bytearray(SIZE)
        comm.Recv([room, 1, pieces], last)
        for at in range(9):
            want = data(k)[at : 9 * blocks : 9] if at < 5 else bytes(blocks)
            demand(room[at : 9 * blocks : 9], want, "vector")
    pieces.Free()

def around(k):
    room = bytearray(SIZE)
    comm.Sendrecv(data(me + k), (me + 1) % n, recvbuf=room, source=(me - 1) % n)
    demand(room, data((me - 1) % n + k), "around")

def parts(k):
    whole = SIZE // 12 * 12
    if me == last:
        request = comm.Psend_init(data(k, whole), 6, 0)
        request.Start()
        for part in random.sample(range(6), 6):
            request.Pready(part)
        request.Wait()
        request.Free()
    elif me == 0:
        room = bytearray(whole)
        request = comm.Precv_init(room, 4, last, 0)
        request.Start()
        request.Parrived(k % 4)
        request.Wait()
        request.Free()
        demand(room, data(k, whole), "parts")

def bcast(k):
    room = data(k) if me == k % n else bytearray(SIZE)
    comm.Bcast(room, k % n)
    demand(room, data(k), "bcast")

def scatter(k):
    room = bytearray(SIZE)
    comm.Scatter(every(k, range(n)) if me == k % n else None, room, k % n)
    demand(room, data(k + me), "scatter")

def gather(k):
    room = bytearray(SIZE * n) if me == k % n else None
    comm.Gather(data(k + me), room, k % n)
    if room is not None:
        demand(room, every(k, range(n)), "gather")

def allgather(k):
    room = bytearray(SIZE * n)
    comm.Allgather(data(k + me), room)
    demand(room, every(k, range(n)), "allgather")

def alltoall(k):
    room = bytearray(SIZE * n)
    comm.Alltoall(every(k + me, range(0, 3 * n, 3)), room)
    demand(room, every(k + 3 * me, range(n)), "alltoall")

def alltoallv(k):
    room, counts = bytearray(SIZE * n), [SIZE] * n
    comm.Alltoallv([every(k + me, range(0, 3 * n, 3)), counts], [room, counts])
    demand(room, every(k + 3 * me, range(n)), "alltoallv")

def allreduce(k):
    room = bytearray(SIZE)
    comm.Allreduce(data(k + me), room, MPI.BXOR)
    demand(room, xored(k, range(n)), "allreduce")

def reduce(k):
    room = bytearray(SIZE)
    comm.Reduce(data(k + me), room, MPI.BXOR, k % n)
    if me == k % n:
        demand(room, xored(k, range(n)), "reduce")

def scan(k):
    room = bytearray(SIZE)
    comm.Scan(data(k + me), room, MPI.BXOR)
    demand(room, xored(k, range(me + 1)), "scan")

def reduce_scatter(k):
    share = SIZE // n
    counts = [share] * last + [SIZE - share * last]
    room = bytearray(counts[me])
    comm.Reduce_scatter(data(k + me), room, counts, MPI.BXOR)
    want = xored(k, range(n))[share * me :][: counts[me]]
    demand(room, want, "reduce_scatter")

PAIRS = (send, recv, vector, around)
COLLECTIVES = (
    bcast, scatter, gather, allgather, alltoall, alltoallv,
    allreduce, reduce, scan, reduce_scatter,
)
"""

PAIRS = ("send", "recv", "vector", "around")
COLLECTIVES = (
    "bcast",
    "scatter",
    "gather",
    "allgather",
    "alltoall",
    "alltoallv",
    "allreduce",
    "reduce",
    "scan",
    "reduce_scatter",
)

SEED = int(os.environ.get("PHALANX_TEST_SEED", random.SystemRandom().getrandbits(24)))


class MovesCase(JobCase):
    """A test that starts jobs with `MOVES`, each in a folder of its own."""

    def moving(
        self, ranks: int, script: str, ways: tuple[str, bool], *flags: str
    ) -> Job:
        """Starts `MOVES` and the script behind it in one of `WAYS`."""
        folder = Path(self.folder, uuid.uuid4().hex)
        Path(folder, "tmp").mkdir(parents=True)
        path = Path(folder, "script.py")
        path.write_text(MOVES + textwrap.dedent(script))
        command = [PHALANX, "run", "-n", str(ranks), "--oversubscribe", *flags]
        spelled, single_copy = ways
        return Job(
            str(folder),
            self.mark,
            [*command, sys.executable, str(path)],
            PHALANX_WAYS=spelled,
            PHALANX_SINGLE_COPY=str(int(single_copy)),
        )

    def at_once(self, number: int, check, cases: list) -> None:
        """Calls `check` with each case, some of them at the same time."""
        with ThreadPoolExecutor(number) as pool:
            done = [(case, pool.submit(check, *case)) for case in cases]
            for case, outcome in done:
                with self.subTest(case=case, seed=SEED):
                    outcome.result()
        print(f"{self.id()}: {len(cases)} cases, PHALANX_TEST_SEED={SEED}")


def times(few: int) -> int:
    """How often a case is drawn: more where PHALANX_TEST_MOVES says so."""
    return few * int(os.environ.get("PHALANX_TEST_MOVES", "1"))
