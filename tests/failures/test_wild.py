"""A rank that writes over the shared memory ends the job, and crashes no other."""

import os
import random
import re
import unittest

from jobs import JobCase

# What the wild rank does: random words at random places of the segment's pages.
WILD = """
    import ctypes, os, random, sys
    from mpi4py import MPI
    comm = MPI.COMM_WORLD

    def segment():
        for line in open("/proc/self/maps"):
            if "memfd:phalanx-universe" in line:
                start, end = (int(at, 16) for at in line.split()[0].split("-"))
                break
        for fd in os.listdir("/proc/self/fd"):
            try:
                if "memfd:phalanx-universe" in os.readlink(f"/proc/self/fd/{fd}"):
                    return start, end - start, int(fd)
            except OSError:
                continue

    def used(fd, size):
        at, found = 0, []
        while at < size:
            try:
                begin = os.lseek(fd, at, os.SEEK_DATA)
            except OSError:
                break
            at = os.lseek(fd, begin, os.SEEK_HOLE)
            found.append((begin, at))
        return found

    def run_wild(seed, words):
        draw = random.Random(seed)
        start, size, fd = segment()
        places = [at for begin, end in used(fd, size) for at in range(begin, end, 8)]
        for at in draw.sample(places, min(words, len(places))):
            wild = [draw.getrandbits(64), draw.getrandbits(16), 2**64 - 1, 0]
            ctypes.c_uint64.from_address(start + at).value = draw.choice(wild)
"""

TALK = """
    def talk(rounds):
        small, large = bytearray(200), bytearray(300_000)
        right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
        for n in range(rounds):
            comm.Sendrecv(small, right, n % 7, small[:], left, n % 7)
            if n % 10 == 0:
                comm.Sendrecv(large, right, 9, large[:], left, 9)
                comm.allreduce(n)
                comm.Barrier()
    talk(30)
"""

SEED = random.SystemRandom().getrandbits(32)


class TestWildRank(JobCase):
    def check(self, ranks: int, script: str, *says: str) -> None:
        ended = self.run_job(ranks, WILD + TALK + script)
        if says:
            self.assertNotEqual(ended.status, 0, ended.text)
        for other in range(ranks):
            if other != 1:
                crashed = re.search(
                    rf"rank {other}\b[^\n]*(signal|SIGSEGV|SIGBUS|SIGABRT|killed by)",
                    ended.err,
                )
                self.assertIsNone(crashed, ended.text)
        self.assertNotIn("panicked", ended.err, ended.text)
        self.assert_says(ended, *says)

    def test_random_words_over_the_segment(self):
        runs = int(os.environ.get("PHALANX_TEST_WILD_RUNS", "6"))
        for run in range(runs):
            seed, words, ranks = SEED + run, (3000, 300, 20000)[run % 3], 2 + run % 2
            print(f"wild rank: seed {seed}, {words} words, {ranks} ranks", flush=True)
            script = f"""
    if comm.rank == 1:
        run_wild({seed}, {words})
    # Words that nobody uses do no harm, and the job may end well.
    talk(300)
"""
            with self.subTest(seed=seed, words=words, ranks=ranks):
                self.check(ranks, script)

    def test_a_waiting_rank_notices(self):
        script = f"""
    if comm.rank == 1:
        run_wild({SEED}, 3000)
        import time
        time.sleep(100)
    comm.recv(source=1, tag=3)
"""
        self.check(2, script, "shared memory is corrupt")

    def test_every_word_of_the_header(self):
        script = """
    if comm.rank == 1:
        start, size, fd = segment()
        ctypes.memset(start, 0xff, 4096)
        import time
        time.sleep(100)
    comm.recv(source=1, tag=3)
"""
        self.check(2, script, "shared memory is corrupt", "header")

    def test_all_rings(self):
        script = """
    if comm.rank == 1:
        start, size, fd = segment()
        for begin, end in used(fd, size):
            if begin > 1 << 20:
                ctypes.memset(start + begin, 0xff, end - begin)
        import time
        time.sleep(100)
    comm.recv(source=1, tag=3)
"""
        self.check(2, script, "shared memory is corrupt")


if __name__ == "__main__":
    unittest.main()
