"""Memory of messages that are gone: what stays is little beside what was sent."""

import resource
import unittest
from pathlib import Path

from phalanx import MPI

try:
    import numpy
except ImportError:
    numpy = None

WORLD = MPI.COMM_WORLD
MIB = 1 << 20


def resident():
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def most_resident():
    lines = Path("/proc/self/status").read_text().splitlines()
    line = next(line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class Stays(unittest.TestCase):
    def setUp(self):
        self.next = (WORLD.rank + 1) % WORLD.size
        self.previous = (WORLD.rank - 1) % WORLD.size

    def check(self, sizes, receive):
        """After messages of these sizes, no more stays than some of the largest."""
        data = bytes(max(sizes))
        sent, before = 0, resident()
        for size in sizes:
            request = WORLD.isend(data[:size], self.next)
            self.assertEqual(len(receive()), size)
            request.wait()
            sent += size
        stayed = resident() - before
        self.assertLess(stayed, 40 * MIB)
        self.assertLess(stayed, sent // 4)

    def test_of_nonblocking_receives(self):
        sizes = [800_000] * 250
        self.check(sizes, lambda: WORLD.irecv(source=self.previous).wait())

    def test_of_many_sizes(self):
        sizes = [260_000 + n * 7919 % 97 * 12_000 for n in range(250)]
        self.check(sizes, lambda: WORLD.recv(source=self.previous))

    @unittest.skipIf(numpy is None, "needs NumPy")
    def test_of_arrays_that_were_held_together(self):
        before = resident()
        for _ in range(3):
            held = []
            for n in range(40):
                array = numpy.full(100_000 + 10_000 * n, n, "u1").repeat(4)
                request = WORLD.isend(array, self.next)
                held.append(WORLD.irecv(source=self.previous).wait())
                request.wait()
                self.assertEqual(held[-1][-1], n)
            held.clear()
        for _ in range(120):
            WORLD.sendrecv(bytes(300_000), self.next, source=self.previous)
        self.assertLess(resident() - before, 40 * MIB)

    def test_of_receives_that_are_cancelled(self):
        before = resident()
        for _ in range(200):
            request = WORLD.irecv(source=self.previous, tag=77)
            request.Cancel()
            request.Wait()
        self.assertLess(resident() - before, 16 * MIB)


class Reductions(unittest.TestCase):
    @unittest.skipIf(numpy is None, "needs NumPy")
    def test_a_large_object_is_not_on_every_rank_many_times(self):
        mine = numpy.ones(2 * MIB)
        WORLD.Barrier()
        before = most_resident()
        whole = WORLD.allreduce(mine)
        self.assertEqual(whole[0], WORLD.size)
        self.assertLess(most_resident() - before, 5 * mine.nbytes)

    def test_the_grouping_does_not_depend_on_the_size(self):
        def grouped(left, right):
            return ("(" + left[0] + right[0] + ")", left[1])

        small = WORLD.allreduce((str(WORLD.rank), ""), op=grouped)
        large = WORLD.allreduce((str(WORLD.rank), "x" * MIB), op=grouped)
        self.assertEqual(small[0], large[0])


if __name__ == "__main__":
    unittest.main()
