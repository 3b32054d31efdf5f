"""Calls that begin with the interpreter lock give it up when they wait."""

import array
import threading
import time
import unittest

from phalanx import MPI

COMM = MPI.COMM_WORLD
SIZE, RANK = COMM.size, COMM.rank
SELF = MPI.COMM_SELF


def numbers(length):
    return array.array("d", [RANK] * length)


class OthersRun(unittest.TestCase):
    """Rank 0 waits in a call for ranks that wait for a message of its other thread."""

    @classmethod
    def setUpClass(cls):
        cls.comm = COMM.Dup()

    @classmethod
    def tearDownClass(cls):
        cls.comm.Free()

    def waits_at_zero(self, call, others=None):
        """`call` is made by all ranks, or `others` by those that are not rank 0."""
        if SIZE == 1:
            self.skipTest("rank 0 waits for nobody")
        failed = []

        def answer():
            try:
                time.sleep(0.02)
                for rank in range(1, SIZE):
                    COMM.send(None, rank, 40)
            except Exception as error:
                failed.append(error)

        if RANK == 0:
            other = threading.Thread(target=answer)
            other.start()
            call()
            other.join()
        else:
            COMM.recv(None, 0, 40)
            (others or call)()
        self.assertEqual(failed, [])

    def test_collectives_of_buffers(self):
        comm = self.comm
        for length in (1, 1_000, 300_000):
            one, all_ = numbers(length), numbers(length * SIZE)
            calls = (
                lambda: comm.Barrier(),
                lambda one=one: comm.Bcast(one, SIZE - 1),
                lambda one=one: comm.Allreduce(MPI.IN_PLACE, one),
                lambda one=one, all_=all_: comm.Allgather(one, all_),
                lambda one=one, all_=all_: comm.Gather(one, all_),
                lambda one=one, all_=all_: comm.Alltoall(MPI.IN_PLACE, all_),
                lambda one=one, all_=all_: comm.Allgatherv(
                    one, [all_, [len(one)] * SIZE]
                ),
            )
            for call in calls:
                self.waits_at_zero(call)

    def test_collectives_of_objects(self):
        comm = self.comm
        for value in (RANK, "x" * 50_000):
            calls = (
                lambda value=value: comm.bcast(value, SIZE - 1),
                lambda value=value: comm.allgather(value),
                lambda value=value: comm.gather(value),
                lambda value=value: comm.allreduce(RANK),
                lambda value=value: comm.alltoall([value] * SIZE),
                lambda: comm.barrier(),
            )
            for call in calls:
                self.waits_at_zero(call)

    def test_requests(self):
        comm = self.comm

        def receive(wait):
            wait([comm.Irecv(numbers(1), rank, 41) for rank in range(1, SIZE)])

        def wait_some(requests):
            while MPI.Request.Waitsome(requests) is not None:
                pass

        waits = (
            lambda requests: [request.Wait() for request in requests],
            MPI.Request.Waitall,
            lambda requests: [MPI.Request.Waitany(requests) for _ in requests],
            wait_some,
            lambda requests: [request.wait() for request in requests],
        )
        for wait in waits:
            self.waits_at_zero(
                lambda wait=wait: receive(wait), lambda: comm.Send(numbers(1), 0, 41)
            )

    def test_probes_and_exchanges(self):
        comm = self.comm

        def probe():
            comm.Probe(MPI.ANY_SOURCE, 42)
            for rank in range(1, SIZE):
                comm.Recv(numbers(1), rank, 42)

        self.waits_at_zero(probe, lambda: comm.Send(numbers(1), 0, 42))

        def exchange():
            for rank in range(1, SIZE):
                comm.Sendrecv(numbers(1), rank, 43, numbers(1), rank, 43)

        self.waits_at_zero(
            exchange, lambda: comm.Sendrecv(numbers(1), 0, 43, numbers(1), 0, 43)
        )

        def synchronous():
            for rank in range(1, SIZE):
                comm.Ssend(numbers(1), rank, 44)

        self.waits_at_zero(synchronous, lambda: comm.Recv(numbers(1), 0, 44))

    def test_windows(self):
        win = MPI.Win.Allocate(8, comm=self.comm)
        group = self.comm.group
        me, others = group.Incl([0]), group.Excl([0])
        win.Fence()
        self.waits_at_zero(lambda: win.Fence(), lambda: win.Fence())
        win.Fence(MPI.MODE_NOSUCCEED)

        def zero():
            win.Start(others)
            win.Complete()
            win.Post(others)
            win.Wait()

        def other():
            win.Post(me)
            win.Wait()
            win.Start(me)
            win.Complete()

        self.waits_at_zero(zero, other)
        win.Free()

    def test_threads_that_accumulate(self):
        """Who waits for the interpreter lock does not hold that of a window."""
        length, times = 12_000, 20
        win = MPI.Win.Allocate(8 * length, 8, comm=self.comm)
        memory = win.tomemory().cast("d")
        memory[:] = array.array("d", bytes(8 * length))
        self.comm.Barrier()
        win.Lock_all()

        def add(length):
            one = array.array("d", [1] * length)
            for _ in range(times):
                win.Accumulate(one, 0)

        threads = [threading.Thread(target=add, args=(n,)) for n in (1, length, 100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        win.Unlock_all()
        self.comm.Barrier()
        if RANK == 0:
            for at, threads in ((0, 3), (99, 2), (length - 1, 1)):
                self.assertEqual(memory[at], threads * times * SIZE)
        self.comm.Barrier()
        win.Free()

    def test_a_loop_of_tests(self):
        def loop():
            request = self.comm.Irecv(numbers(1), 1, 45)
            while not request.Test():
                pass

        def send():
            if RANK == 1:
                self.comm.Send(numbers(1), 0, 45)

        self.waits_at_zero(loop, send)


class PythonInside(unittest.TestCase):
    """Python functions that calls run may do everything, waiting included."""

    def everything(self):
        SELF.Barrier()
        time.sleep(0.001)
        request = SELF.Isend(numbers(1), 0, 46)
        SELF.Recv(numbers(1), 0, 46)
        request.Wait()
        SELF.bcast(list(range(1000)))
        held = threading.Thread(target=SELF.Dup().Free)
        held.start()
        held.join()
        self.ran += 1

    def test_an_operation(self):
        self.ran = 0

        def add(a, b, datatype):
            self.everything()
            mine, other = memoryview(b).cast("d"), memoryview(a).cast("d")
            for i, value in enumerate(other):
                mine[i] += value

        op = MPI.Op.Create(add, commute=True)
        for length in (1, 20_000):
            total = numbers(length)
            COMM.Allreduce(MPI.IN_PLACE, total, op)
            self.assertEqual(total, array.array("d", [sum(range(SIZE))] * length))
        op.Free()
        self.assertEqual(self.ran > 0, SIZE > 1)

    def test_an_error_handler(self):
        self.ran = 0
        comm = COMM.Dup()
        comm.Set_errhandler(
            MPI.Comm.Create_errhandler(lambda comm, code: self.everything())
        )
        with self.assertRaises(MPI.Exception):
            comm.Bcast(numbers(1), SIZE)
        self.assertEqual(self.ran, 1)
        comm.Barrier()
        comm.Free()


if __name__ == "__main__":
    unittest.main()
