"""However memory moves between ranks, the data is right; a wrong setting is told."""

import os
import unittest

from jobs import Ended, JobCase

WAYS = (
    "take=never",
    "take=8M",
    "take=8M,pipe=1M,stream=1M",
    "take=never,stream=64K",
    "alone=32K",
    "alone=32K,together=128K",
    "exchange=32K",
)

EXCHANGES = """
import random
import numpy as np
from mpi4py import MPI

comm = MPI.COMM_WORLD
me, n = comm.rank, comm.size
random.seed(7)

# Made once: what takes time are to be the messages.
PERIOD = 251
ALL = np.tile((np.arange(PERIOD) * 31 % PERIOD).astype("u1"), (5 << 20) // PERIOD)

def data(seed, size):
    start = seed * 7 % PERIOD
    return ALL[start : start + size].copy()

def demand(got, expected, what):
    assert np.array_equal(got, expected), f"rank {me}: {what}"

sizes = [1, 4096, 16385, 65536, 262143, 262144 + 256, 1 << 20, (3 << 20) + 77]
sizes += [random.randrange(1 << 21) for _ in range(8)]
for size in sizes:
    skip = random.randrange(64)
    right, left = (me + 1) % n, (me - 1) % n
    room = np.zeros(size + skip, "u1")[skip:]
    # To and fro, then twice one way, then both at once.
    if n > 1:
        for turn in range(2):
            for a, b in ((0, 1), (1, 0)):
                if me == a:
                    comm.Send(data(turn, size), b)
                elif me == b:
                    comm.Recv(room, a)
                    demand(room, data(turn, size), f"{size} bytes to and fro")
        for turn in range(3):
            if me == 0:
                comm.Send(data(turn, size), 1)
            elif me == 1:
                comm.Recv(room, 0)
                demand(room, data(turn, size), f"{size} bytes one way")
    comm.Sendrecv(data(me, size), right, recvbuf=room, source=left)
    demand(room, data(left, size), f"{size} bytes around")
    pieces = MPI.BYTE.Create_vector(max(size // 64, 1), 5, 9).Commit()
    whole, gaps = data(me, 64 * 9 + size), np.zeros(64 * 9 + size, "u1")
    comm.Sendrecv([whole, 1, pieces], right, recvbuf=[gaps, 1, pieces], source=left)
    inside = np.arange(9 * max(size // 64, 1)) % 9 < 5
    theirs = data(left, 64 * 9 + size)[: len(inside)]
    demand(gaps[: len(inside)], theirs * inside, f"{size} bytes in pieces")
    pieces.Free()
    few = min(size, 1 << 20)
    every = np.array([data(rank, few) for rank in range(n)])
    root = size % n
    for again in range(3):
        mine = data(root, few) if me == root else np.zeros(few, "u1")
        comm.Bcast(mine, root)
        demand(mine, data(root, few), f"bcast of {few}")
        got = np.zeros_like(every)
        comm.Gather(data(me, few), got if me == root else None, root)
        demand(got, every if me == root else got * 0, f"gather of {few}")
        comm.Scatter(every if me == root else None, mine, root)
        demand(mine, every[me], f"scatter of {few}")
        comm.Allgather(data(me, few), got)
        demand(got, every, f"allgather of {few}")
        comm.Alltoall(every, got)
        demand(got, np.array([every[me]] * n), f"alltoall of {few}")
        comm.Allreduce(data(me, few), mine, MPI.BXOR)
        demand(mine, np.bitwise_xor.reduce(every), f"allreduce of {few}")
print("right", flush=True)
"""


class TestWays(JobCase):
    def run_with(self, ways: str, ranks: int) -> Ended:
        os.environ["PHALANX_WAYS"] = ways
        self.addCleanup(os.environ.pop, "PHALANX_WAYS", None)
        return self.run_job(ranks, EXCHANGES)

    def test_data_is_right_whatever_the_way(self):
        for ways in WAYS:
            for ranks in (2, 3):
                with self.subTest(ways=ways, ranks=ranks):
                    done = self.run_with(ways, ranks)
                    self.assertEqual(done.status, 0, done.text)
                    self.assertEqual(done.out.count("right"), ranks, done.text)

    def test_a_setting_that_is_wrong_is_told(self):
        for ways, said in (
            ("take=300K", "write a power of two with K or M behind it"),
            ("speed=1M", "the names are take, pipe, alone, together,"),
            ("pipe=1K", "a pipe has 256K to 8M"),
        ):
            with self.subTest(ways=ways):
                done = self.run_with(ways, 2)
                self.assertEqual(done.status, 2, done.text)
                self.assertIn(f"PHALANX_WAYS={ways}: ", done.err)
                self.assertIn(said, done.err)


if __name__ == "__main__":
    unittest.main()
