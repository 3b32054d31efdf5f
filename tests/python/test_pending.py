"""Operations whose request object is dropped, copied or freed before they are over."""

import array
import gc
import unittest

from phalanx import MPI

COMM = MPI.COMM_WORLD
SIZE, RANK = COMM.size, COMM.rank
NEXT, BEFORE = (RANK + 1) % SIZE, (RANK - 1) % SIZE


def data(value, length):
    return array.array("d", [value]) * length


class Dropped(unittest.TestCase):
    """Buffers belong to the operation, whatever happens to the request."""

    def setUp(self):
        self.comm = COMM.Dup()
        self.addCleanup(self.comm.Free)

    def scribble(self):
        """Uses the memory that was given back, if it was."""
        gc.collect()
        return [
            data(-1.0, length) for length in (200, 20_000, 200_000) for _ in range(20)
        ]

    def receive(self, length, value, tag):
        target = data(-2.0, length)
        self.comm.Recv(target, BEFORE, tag)
        self.assertEqual(target, data(value, length))

    def test_requests_of_sends_are_dropped(self):
        for length in (200, 20_000, 200_000):
            for send in (self.comm.Isend, self.comm.Issend):
                for value in range(10):
                    send(data(value, length), NEXT, value)
                scribbled = self.scribble()
                for value in range(10):
                    self.receive(length, value, value)
                self.comm.Barrier()
                del scribbled

    def test_requests_of_sends_are_freed(self):
        for length in (200, 20_000, 200_000):
            self.comm.Isend(data(3.0, length), NEXT, 1).Free()
            scribbled = self.scribble()
            self.receive(length, 3.0, 1)
            self.comm.Barrier()
            del scribbled

    def test_objects(self):
        for _ in range(3):
            self.comm.isend(data(5.0, 100_000), NEXT, 1)
            self.comm.issend({"a": data(6.0, 100_000)}, NEXT, 2)
            scribbled = self.scribble()
            self.assertEqual(self.comm.recv(source=BEFORE, tag=1), data(5.0, 100_000))
            self.assertEqual(
                self.comm.recv(source=BEFORE, tag=2)["a"], data(6.0, 100_000)
            )
            self.comm.Barrier()
            del scribbled

    def test_requests_of_receives_are_dropped(self):
        for length in (1000, 100_000):
            self.comm.Irecv(data(0.0, length), BEFORE, 1)
            self.comm.Irecv(data(0.0, length), BEFORE, 2).Free()
            mine = [data(7.0, length) for _ in range(50)]
            self.comm.Barrier()
            for tag in (1, 2):
                self.comm.Send(data(8.0, length), NEXT, tag)
            self.comm.Barrier()
            self.comm.Isend(data(9.0, 10), NEXT, 3)
            self.receive(10, 9.0, 3)
            for one in mine:
                self.assertEqual(one, data(7.0, length))

    def test_requests_of_collectives_are_dropped(self):
        for length in (200, 100_000):
            targets = [data(0.0, length) for _ in range(3)]
            for value, target in enumerate(targets):
                self.comm.Iallreduce(data(value, length), target)
            scribbled = self.scribble()
            self.comm.Ibarrier().Wait()
            last = data(0.0, length)
            self.comm.Iallreduce(data(1.0, length), last).Wait()
            self.assertEqual(last, data(float(SIZE), length))
            self.comm.Barrier()
            del scribbled

    def test_persistent_requests_are_dropped_while_they_are_active(self):
        for length in (200, 100_000):
            for value in range(3):
                request = self.comm.Send_init(data(value, length), NEXT, value)
                request.Start()
                if value == 1:
                    request.Free()
                del request
            scribbled = self.scribble()
            for value in range(3):
                self.receive(length, value, value)
            self.comm.Barrier()
            del scribbled

    def test_copies_of_a_request_share_the_operation(self):
        for length in (200, 100_000):
            request = self.comm.Isend(data(4.0, length), NEXT, 1)
            copy = MPI.Request(request)
            del request
            scribbled = self.scribble()
            self.receive(length, 4.0, 1)
            copy.Wait()
            target = data(0.0, length)
            first = self.comm.Irecv(target, BEFORE, 2)
            second = MPI.Request(first)
            self.comm.Send(data(2.0, length), NEXT, 2)
            first.Wait()
            del first, second
            self.assertEqual(target, data(2.0, length))
            self.comm.Barrier()
            del scribbled

    def test_many_dropped_requests_keep_nothing_once_they_are_over(self):
        freed = []

        class Watched(bytearray):
            def __del__(self):
                freed.append(len(self))

        for _ in range(100):
            self.comm.Isend(Watched(100_000), NEXT, 1)
            target = bytearray(100_000)
            self.comm.Recv(target, BEFORE, 1)
        self.comm.Barrier()
        for _ in range(20):
            self.comm.Isend(b"", NEXT, 2)
            self.comm.Recv(bytearray(1), BEFORE, 2)
        gc.collect()
        self.assertGreater(len(freed), 90)


class Disagreement(unittest.TestCase):
    """Ranks that disagree learn it, and only that communicator is closed."""

    def test_sizes_far_apart(self):
        if SIZE < 2:
            self.skipTest("needs two ranks")
        doomed, other = COMM.Dup(), COMM.Dup()
        length = 100_000 if RANK == 1 else 10
        target = data(0.0, length)
        with self.assertRaises(MPI.Exception) as caught:
            doomed.Allreduce(data(1.0, length), target)
        self.assertEqual(caught.exception.Get_error_class(), MPI.ERR_NOT_SAME)
        self.assertIn("80 bytes", str(caught.exception))
        self.assertIn("800000 bytes", str(caught.exception))
        for length in (10, 100_000):
            target = data(0.0, length)
            other.Allreduce(data(1.0, length), target)
            self.assertEqual(target, data(float(SIZE), length))
            other.Barrier()
        COMM.Barrier()
        doomed.Free()
        other.Free()

    def test_the_operation_before_is_named(self):
        if SIZE < 2:
            self.skipTest("needs two ranks")
        doomed = COMM.Dup()
        doomed.Barrier()
        with self.assertRaises(MPI.Exception) as caught:
            doomed.Bcast(bytearray(160 if RANK == 0 else 80))
            doomed.Barrier()
        self.assertIn("Bcast of 160 bytes", str(caught.exception))
        self.assertIn("Bcast of 80 bytes", str(caught.exception))
        self.assertNotIn("calls Barrier", str(caught.exception))
        COMM.Barrier()
        doomed.Free()


if __name__ == "__main__":
    unittest.main()
