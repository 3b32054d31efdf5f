"""Messages of Python objects: point-to-point and collective."""

import array
import pickle
import unittest

from phalanx import MPI

try:
    import numpy
except ImportError:
    numpy = None

WORLD = MPI.COMM_WORLD


class Point:
    """An object of a class of the user's."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __eq__(self, other):
        return isinstance(other, Point) and (self.x, self.y) == (other.x, other.y)

    __hash__ = None


class Unpicklable:
    def __reduce__(self):
        raise pickle.PicklingError("this one does not pickle")


def objects():
    """Small and large objects, with and without out-of-band buffers."""
    yield from (None, True, 7, -(2**80), 2.5, "text", b"bytes", [1, [2]], {"a": 1})
    yield Point(1, 2)
    yield "long text " * 50_000
    yield list(range(20_000))
    yield array.array("d", range(50_000))
    yield pickle.PickleBuffer(bytearray(300_000)).raw().tobytes()
    if numpy is not None:
        yield numpy.arange(10.0)
        yield numpy.arange(100_000.0).reshape(100, 1000)
        yield numpy.asfortranarray(numpy.arange(60_000).reshape(200, 300))
        yield {"a": numpy.ones(50_000), "b": [numpy.zeros(70_000, "i4"), "z"]}
        yield numpy.arange(100_000)[::2]


def same(a, b):
    if numpy is not None and isinstance(a, numpy.ndarray):
        if not isinstance(b, numpy.ndarray) or a.dtype != b.dtype:
            return False
        return b.flags.writeable and numpy.array_equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


class TestPointToPoint(unittest.TestCase):
    def setUp(self):
        self.comm = WORLD
        self.next = (WORLD.rank + 1) % WORLD.size
        self.previous = (WORLD.rank - 1) % WORLD.size

    def test_objects_go_round_the_ring(self):
        for thing in objects():
            request = self.comm.isend(thing, self.next, tag=3)
            status = MPI.Status()
            got = self.comm.recv(source=self.previous, tag=3, status=status)
            request.wait()
            self.assertTrue(same(thing, got), type(thing))
            self.assertEqual(status.source, self.previous)
            self.assertEqual(status.tag, 3)

    def test_sendrecv(self):
        for thing in objects():
            got = self.comm.sendrecv(thing, self.next, source=self.previous)
            self.assertTrue(same(thing, got), type(thing))

    def test_blocking_modes(self):
        for send in (self.comm.send, self.comm.ssend):
            if self.comm.rank == 0 and self.comm.size > 1:
                send([1, 2], dest=1)
            elif self.comm.rank == 1:
                self.assertEqual(self.comm.recv(source=0), [1, 2])

    def test_nonblocking_receive(self):
        request = self.comm.irecv(source=self.previous, tag=5)
        self.comm.send({"n": self.comm.rank}, self.next, tag=5)
        self.assertEqual(request.wait(), {"n": self.previous})

    def test_nonblocking_receive_makes_room_for_any_size(self):
        for thing in objects():
            requests = [self.comm.irecv(source=self.previous) for _ in range(3)]
            sends = [self.comm.isend(thing, self.next) for _ in range(3)]
            for got in MPI.Request.waitall(requests):
                self.assertTrue(same(thing, got), type(thing))
            MPI.Request.waitall(sends)

    def test_waitall_returns_the_objects_in_order(self):
        receives = [self.comm.irecv(source=self.previous, tag=t) for t in range(5)]
        sends = [self.comm.isend(t * "x", self.next, tag=t) for t in range(5)]
        got = MPI.Request.waitall(receives)
        MPI.Request.waitall(sends)
        self.assertEqual(got, [t * "x" for t in range(5)])

    def test_matched_probe(self):
        request = self.comm.isend("matched", self.next, tag=8)
        message = self.comm.mprobe(self.previous, 8)
        self.assertEqual(message.recv(), "matched")
        self.assertEqual(message, MPI.MESSAGE_NULL)
        request.wait()

    def test_any_source_and_any_tag(self):
        if self.comm.rank == 0:
            got = sorted(self.comm.recv() for _ in range(self.comm.size - 1))
            self.assertEqual(got, list(range(1, self.comm.size)))
        else:
            self.comm.send(self.comm.rank, dest=0, tag=self.comm.rank)
        self.comm.barrier()

    def test_no_process(self):
        self.comm.send(Unpicklable(), MPI.PROC_NULL)
        self.assertIsNone(self.comm.recv(source=MPI.PROC_NULL))

    def test_object_that_does_not_pickle(self):
        with self.assertRaises(pickle.PicklingError):
            self.comm.send(Unpicklable(), dest=self.next)

    @unittest.skipIf(numpy is None, "needs NumPy")
    def test_received_arrays_are_independent_of_the_sent_ones(self):
        sent = numpy.zeros(100_000)
        got = self.comm.sendrecv(sent, self.next, source=self.previous)
        got += 1
        self.assertEqual(sent.sum(), 0)
        self.assertEqual(got.sum(), 100_000)

    @unittest.skipIf(numpy is None, "needs NumPy")
    def test_memory_of_a_freed_array_is_not_shared_with_a_live_one(self):
        arrays = [
            self.comm.sendrecv(numpy.full(100_000, n), self.next, source=self.previous)
            for n in range(5)
        ]
        del arrays[1], arrays[2]
        last = numpy.full(100_000, 9)
        more = self.comm.sendrecv(last, self.next, source=self.previous)
        self.assertEqual([a[0] for a in arrays], [0, 2, 4])
        self.assertTrue((more == 9).all())


class CollectiveCases:
    """The same cases on several communicators."""

    comm: MPI.Intracomm

    def test_bcast(self):
        for root in range(self.comm.size):
            for thing in objects():
                mine = thing if self.comm.rank == root else None
                self.assertTrue(same(thing, self.comm.bcast(mine, root)))

    def test_broadcasts_of_sizes_that_alternate(self):
        sizes = (0, 70, 80, 83, 84, 90, 300, 1000, 1011, 1012, 1020, 5000, 40_000)
        for before in sizes:
            for size in (*sizes, -1):
                for length in (before, size):
                    root = length % self.comm.size
                    thing = "x" * length if length >= 0 else Unpicklable()
                    if self.comm.rank == root and length < 0:
                        with self.assertRaises(pickle.PicklingError):
                            self.comm.bcast(thing, root)
                    elif length < 0:
                        with self.assertRaises(RuntimeError):
                            self.comm.bcast(None, root)
                    else:
                        self.assertEqual(self.comm.bcast(thing, root), "x" * length)

    def test_gather_and_allgather(self):
        for thing in objects():
            mine = (self.comm.rank, thing)
            everything = [(rank, thing) for rank in range(self.comm.size)]
            self.assertTrue(same(everything, self.comm.allgather(mine)))
            for root in range(self.comm.size):
                got = self.comm.gather(mine, root)
                if self.comm.rank == root:
                    self.assertTrue(same(everything, got))
                else:
                    self.assertIsNone(got)

    def test_sizes_that_differ_between_ranks(self):
        mine = "x" * (self.comm.rank * 40_000)
        expected = ["x" * (rank * 40_000) for rank in range(self.comm.size)]
        self.assertEqual(self.comm.allgather(mine), expected)
        self.assertEqual(self.comm.alltoall([mine] * self.comm.size), expected)

    def test_scatter(self):
        for root in range(self.comm.size):
            things = None
            if self.comm.rank == root:
                things = [rank * "x" for rank in range(self.comm.size)]
            self.assertEqual(self.comm.scatter(things, root), self.comm.rank * "x")

    def test_scatter_of_the_wrong_length_raises_everywhere(self):
        things = [0] * (self.comm.size + 1)
        with self.assertRaises((ValueError, RuntimeError)):
            self.comm.scatter(things, root=0)
        self.comm.barrier()

    def test_alltoall(self):
        rank, size = self.comm.rank, self.comm.size
        got = self.comm.alltoall([(rank, other) for other in range(size)])
        self.assertEqual(got, [(other, rank) for other in range(size)])

    def test_reductions_keep_the_order_of_ranks(self):
        size = self.comm.size
        text = "".join(map(str, range(size)))
        mine = str(self.comm.rank)
        self.assertEqual(self.comm.allreduce(mine), text)
        for root in range(size):
            got = self.comm.reduce(mine, root=root)
            self.assertEqual(got, text if self.comm.rank == root else None)
        self.assertEqual(self.comm.scan(mine), text[: self.comm.rank + 1])
        before = self.comm.exscan(mine)
        self.assertEqual(before, text[: self.comm.rank] or None)

    def test_reductions_of_large_objects(self):
        mine = [self.comm.rank] * 10_000
        got = self.comm.allreduce(mine)
        self.assertEqual(len(got), 10_000 * self.comm.size)
        self.assertEqual(got[::10_000], list(range(self.comm.size)))

    def test_operations(self):
        rank, size = self.comm.rank, self.comm.size
        self.assertEqual(self.comm.allreduce(rank, op=MPI.MAX), size - 1)
        self.assertEqual(self.comm.allreduce(rank + 1, op=MPI.MIN), 1)
        self.assertEqual(self.comm.allreduce((rank, rank), op=MPI.MAXLOC)[1], size - 1)
        longest = MPI.Op.Create(lambda a, b, _=None: max(a, b, key=len))
        got = self.comm.allreduce("x" * rank, op=longest)
        longest.Free()
        self.assertEqual(got, "x" * (size - 1))

    def test_object_that_does_not_pickle_raises_on_every_receiver(self):
        last = self.comm.size - 1
        thing = Unpicklable() if self.comm.rank == last else 1
        with self.assertRaises((pickle.PicklingError, RuntimeError)):
            self.comm.bcast(thing, root=last)
        with self.assertRaises((pickle.PicklingError, RuntimeError)):
            self.comm.allgather(thing)
        self.assertEqual(self.comm.allreduce(1), self.comm.size)


class TestSelf(CollectiveCases, unittest.TestCase):
    comm = MPI.COMM_SELF


class TestWorld(CollectiveCases, unittest.TestCase):
    comm = WORLD


class TestDup(CollectiveCases, unittest.TestCase):
    def setUp(self):
        self.comm = WORLD.Dup()

    def tearDown(self):
        self.comm.Free()


class TestPickle(unittest.TestCase):
    def tearDown(self):
        MPI.pickle.__init__()

    def test_bytes_of_a_message_load(self):
        for thing in objects():
            request = WORLD.isend(thing, WORLD.rank, tag=1)
            status = MPI.Status()
            WORLD.Probe(WORLD.rank, 1, status)
            raw = bytearray(status.Get_count(MPI.BYTE))
            WORLD.Recv([raw, MPI.BYTE], WORLD.rank, 1)
            request.wait()
            self.assertTrue(same(thing, MPI.pickle.loads(raw)), type(thing))

    def test_functions_of_the_users(self):
        MPI.pickle.__init__(lambda x: repr(x).encode(), lambda b: eval(bytes(b)))
        got = WORLD.sendrecv({"a": [1]}, WORLD.rank, source=WORLD.rank)
        self.assertEqual(got, {"a": [1]})

    def test_out_of_band(self):
        data, buffers = MPI.pickle.dumps_oob([1, 2])
        self.assertEqual(MPI.pickle.loads_oob(data, buffers), [1, 2])


if __name__ == "__main__":
    unittest.main()
