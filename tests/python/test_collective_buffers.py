"""Collective operations on buffers: blocking, nonblocking and persistent."""

import array
import unittest

from phalanx import MPI

COMM = MPI.COMM_WORLD
SIZE, RANK = COMM.size, COMM.rank
RANKS = range(SIZE)
BLOCK = 3


def ints(values):
    return array.array("i", values)


def blank(length):
    return ints([-1] * length)


def block(rank, to=0):
    """What `rank` sends to rank `to`."""
    return [100 * rank + 10 * to + i for i in range(BLOCK)]


def flat(blocks):
    return [value for one in blocks for value in one]


def displacements(counts):
    return [sum(counts[:r]) for r in range(len(counts))]


class Styles:
    """Each operation runs in all its styles with the same expectations."""

    def run_all(self, name, make):
        """`make()` gives fresh arguments, keywords and a check."""
        arguments, keywords, check = make()
        getattr(COMM, name)(*arguments, **keywords)
        check("blocking")

        arguments, keywords, check = make()
        nonblocking = f"I{name[0].lower()}{name[1:]}"
        getattr(COMM, nonblocking)(*arguments, **keywords).Wait()
        check("nonblocking")

        arguments, keywords, check = make()
        try:
            request = getattr(COMM, f"{name}_init")(*arguments, **keywords)
        except NotImplementedError:
            return
        for _ in range(2):
            request.Start()
            request.Wait()
        request.Free()
        if MPI.IN_PLACE not in arguments:
            check("persistent")


class Movement(Styles, unittest.TestCase):
    def expect(self, target, expected):
        return lambda style: self.assertEqual(list(target), list(expected), style)

    def test_barrier(self):
        COMM.Barrier()
        COMM.Ibarrier().Wait()

    def test_bcast(self):
        for root in RANKS:

            def make(root=root):
                data = ints(block(root)) if RANK == root else blank(BLOCK)
                return (data, root), {}, self.expect(data, block(root))

            self.run_all("Bcast", make)

    def test_gather(self):
        for root in RANKS:

            def make(root=root):
                target = blank(BLOCK * SIZE) if RANK == root else None
                expected = flat(block(r) for r in RANKS) if RANK == root else []
                check = self.expect(target or [], expected)
                return (ints(block(RANK)), target, root), {}, check

            self.run_all("Gather", make)

    def test_gather_in_place(self):
        def make():
            if RANK != 0:
                return (ints(block(RANK)), None), {}, self.expect([], [])
            target = blank(BLOCK * SIZE)
            target[:BLOCK] = ints(block(0))
            expected = flat(block(r) for r in RANKS)
            return (MPI.IN_PLACE, target), {}, self.expect(target, expected)

        self.run_all("Gather", make)

    def test_gatherv_with_gaps(self):
        counts = [r + 1 for r in RANKS]
        places = [2 * d for d in displacements(counts)]

        def make():
            mine = ints([RANK] * counts[RANK])
            if RANK != 0:
                return (mine, None), {}, self.expect([], [])
            target = blank(2 * sum(counts))
            expected = [-1] * len(target)
            for r in RANKS:
                expected[places[r] : places[r] + counts[r]] = [r] * counts[r]
            message = [target, (counts, places), MPI.INT]
            return (mine, message), {}, self.expect(target, expected)

        self.run_all("Gatherv", make)

    def test_scatter(self):
        for root in RANKS:

            def make(root=root):
                source = ints(flat(block(root, r) for r in RANKS))
                target = blank(BLOCK)
                arguments = (source if RANK == root else None, target, root)
                return arguments, {}, self.expect(target, block(root, RANK))

            self.run_all("Scatter", make)

    def test_scatterv(self):
        counts = list(RANKS)

        def make():
            source = ints(flat([r] * r for r in RANKS))
            target = blank(RANK)
            message = [source, counts, MPI.INT] if RANK == 0 else None
            return (message, target), {}, self.expect(target, [RANK] * RANK)

        self.run_all("Scatterv", make)

    def test_allgather(self):
        def make():
            target = blank(BLOCK * SIZE)
            expected = flat(block(r) for r in RANKS)
            return (ints(block(RANK)), target), {}, self.expect(target, expected)

        self.run_all("Allgather", make)

    def test_allgatherv(self):
        counts = [r + 1 for r in RANKS]

        def make():
            target = blank(sum(counts))
            expected = flat([r] * counts[r] for r in RANKS)
            arguments = (ints([RANK] * counts[RANK]), [target, counts])
            return arguments, {}, self.expect(target, expected)

        self.run_all("Allgatherv", make)

    def test_alltoall(self):
        def make():
            source = ints(flat(block(RANK, r) for r in RANKS))
            target = blank(BLOCK * SIZE)
            expected = flat(block(r, RANK) for r in RANKS)
            return (source, target), {}, self.expect(target, expected)

        self.run_all("Alltoall", make)

    def test_alltoall_in_place(self):
        def make():
            target = ints(flat(block(RANK, r) for r in RANKS))
            expected = flat(block(r, RANK) for r in RANKS)
            return (MPI.IN_PLACE, target), {}, self.expect(target, expected)

        self.run_all("Alltoall", make)

    def test_alltoallv(self):
        send = [r + 1 for r in RANKS]
        receive = [RANK + 1] * SIZE

        def make():
            source = ints(flat([RANK] * n for n in send))
            target = blank(sum(receive))
            expected = flat([r] * (RANK + 1) for r in RANKS)
            arguments = ([source, send], [target, receive])
            return arguments, {}, self.expect(target, expected)

        self.run_all("Alltoallv", make)

    def test_alltoallw(self):
        size = MPI.INT.Get_size()
        places = [r * size for r in RANKS]

        def make():
            target = blank(SIZE)
            sides = [
                [data, ([1] * SIZE, places), [MPI.INT] * SIZE]
                for data in (ints([10 * RANK + r for r in RANKS]), target)
            ]
            expected = [10 * r + RANK for r in RANKS]
            return tuple(sides), {}, self.expect(target, expected)

        self.run_all("Alltoallw", make)


class Reductions(Styles, unittest.TestCase):
    def expect(self, target, expected):
        return lambda style: self.assertEqual(list(target), list(expected), style)

    def total(self, ranks, function=sum):
        return [function([block(r)[i] for r in ranks]) for i in range(BLOCK)]

    def test_reduce(self):
        for root in RANKS:

            def make(root=root):
                target = blank(BLOCK) if RANK == root else None
                expected = self.total(RANKS) if RANK == root else []
                arguments = (ints(block(RANK)), target, MPI.SUM, root)
                return arguments, {}, self.expect(target or [], expected)

            self.run_all("Reduce", make)

    def test_allreduce(self):
        for op, function in ((MPI.SUM, sum), (MPI.MAX, max), (MPI.MIN, min)):

            def make(op=op, function=function):
                target = blank(BLOCK)
                check = self.expect(target, self.total(RANKS, function))
                return (ints(block(RANK)), target), {"op": op}, check

            self.run_all("Allreduce", make)

    def test_allreduce_in_place(self):
        def make():
            target = ints(block(RANK))
            return (MPI.IN_PLACE, target), {}, self.expect(target, self.total(RANKS))

        self.run_all("Allreduce", make)

    def test_reduce_scatter_block(self):
        def make():
            source = ints(flat(block(RANK, r) for r in RANKS))
            target = blank(BLOCK)
            expected = [sum(block(r, RANK)[i] for r in RANKS) for i in range(BLOCK)]
            return (source, target), {}, self.expect(target, expected)

        self.run_all("Reduce_scatter_block", make)

    def test_reduce_scatter(self):
        counts = [r + 1 for r in RANKS]
        expected = [SIZE * RANK] * counts[RANK]

        def make(given=True):
            source = ints(flat([r] * n for r, n in enumerate(counts)))
            target = blank(counts[RANK])
            arguments = (source, target, counts if given else None)
            return arguments, {}, self.expect(target, expected)

        self.run_all("Reduce_scatter", make)
        arguments, _, check = make(given=False)
        COMM.Reduce_scatter(*arguments)
        check("counts left out")

    def test_scan_and_exscan(self):
        def make():
            target = blank(BLOCK)
            expected = self.total(range(RANK + 1))
            return (ints(block(RANK)), target), {}, self.expect(target, expected)

        self.run_all("Scan", make)

        def make_exclusive():
            target = blank(BLOCK)
            expected = self.total(range(RANK)) if RANK else None
            check = self.expect(target, expected) if RANK else lambda style: None
            return (ints(block(RANK)), target), {}, check

        self.run_all("Exscan", make_exclusive)

    def test_local(self):
        target = ints([10, 20])
        MPI.PROD.Reduce_local(ints([2, 3]), target)
        self.assertEqual(target.tolist(), [20, 60])

    def test_buffers_of_a_request_stay(self):
        """The request alone keeps what it works on."""
        target = blank(1000)
        request = COMM.Iallreduce(ints([1] * 1000), target)
        for _ in range(50):
            bytearray(8000)
        request.Wait()
        self.assertEqual(target.tolist(), [SIZE] * 1000)


if __name__ == "__main__":
    unittest.main()
