"""`phalanx.util`: objects beside the stream, taking turns, dtypes."""

import array
import pickle
import threading
import unittest

from phalanx import MPI
from phalanx.util import pkl5, pool, sync

try:
    import numpy
    from phalanx.util import dtlib
except ImportError:
    numpy = None

WORLD = MPI.COMM_WORLD
RANK, SIZE = WORLD.rank, WORLD.size


class TestPkl5(unittest.TestCase):
    def setUp(self):
        self.comm = pkl5.Intracomm(WORLD)
        self.right, self.left = (RANK + 1) % SIZE, (RANK - 1) % SIZE

    def test_a_communicator_talks_with_a_plain_one(self):
        data = array.array("d", range(100_000))
        request = self.comm.isend(data, self.right)
        self.assertEqual(WORLD.recv(source=self.left), data)
        request.wait()
        request = WORLD.isend(data, self.right)
        self.assertEqual(self.comm.recv(None, self.left), data)
        request.wait()

    def test_a_pickler_of_the_users_pickles_everything(self):
        made = []

        def dumps(obj, *protocol, buffer_callback=None):
            made.append(obj)
            return b"#" + pickle.dumps(obj)

        def loads(data, buffers=()):
            data = bytes(data)
            self.assertEqual(data[:1], b"#")
            return pickle.loads(data[1:])

        before = pkl5.pickle
        pkl5.pickle = pkl5.Pickle(dumps, loads)
        try:
            mine = {"rank": RANK}
            request = self.comm.isend(mine, self.right)
            self.assertEqual(self.comm.recv(None, self.left), {"rank": self.left})
            request.wait()
            self.assertEqual(made, [mine])
            everyone = [{"rank": rank} for rank in range(SIZE)]
            self.assertEqual(self.comm.allgather(mine), everyone)
            self.assertEqual(self.comm.alltoall([mine] * SIZE), everyone)
            self.assertEqual(self.comm.bcast(mine, SIZE - 1), everyone[-1])
            self.assertEqual(self.comm.scatter(everyone, 0), mine)
            found = self.comm.gather(mine, 0)
            self.assertEqual(found, everyone if RANK == 0 else None)
        finally:
            pkl5.pickle = before

    def test_a_request_of_several_has_one_object(self):
        sends = [self.comm.isend(n, self.right, n) for n in range(3)]
        parts = [WORLD.mprobe(self.left, n).irecv() for n in range(3)]
        one, two = pkl5.Request(parts[:1]), pkl5.Request(parts[1:])
        statuses = []
        self.assertEqual(pkl5.Request.waitall([one, two], statuses), [0, 1])
        self.assertEqual([status.tag for status in statuses], [0, 1])
        pkl5.Request.waitall(sends)

    @unittest.skipIf(numpy is None, "needs NumPy")
    def test_arrays_arrive_writable(self):
        request = self.comm.isend(numpy.full(1 << 20, RANK), self.right)
        found = self.comm.recv(None, self.left)
        found += 1
        self.assertTrue((found == self.left + 1).all())
        request.wait()


class TestSync(unittest.TestCase):
    def test_ranks_take_turns_in_order(self):
        counter = sync.Counter(comm=WORLD)
        with sync.Sequential(WORLD):
            self.assertEqual(next(counter), RANK)
        counter.free()

    def test_a_mutex_excludes(self):
        mutex = sync.Mutex(comm=WORLD)
        win = MPI.Win.Allocate(8 if RANK == 0 else 0, 8, comm=WORLD)
        word = array.array("q", [0])
        if RANK == 0:
            win.Lock(0)
            win.Put(word, 0)
            win.Unlock(0)
        WORLD.Barrier()
        for _ in range(50):
            with mutex:
                win.Lock(0, MPI.LOCK_SHARED)
                win.Get(word, 0)
                win.Flush(0)
                word[0] += 1
                win.Put(word, 0)
                win.Unlock(0)
        WORLD.Barrier()
        win.Lock(0, MPI.LOCK_SHARED)
        win.Get(word, 0)
        win.Unlock(0)
        self.assertEqual(word[0], 50 * SIZE)
        win.Free()
        mutex.free()

    def test_a_semaphore_is_passed_round(self):
        semaphore = sync.Semaphore(2, comm=WORLD)
        for _ in range(20):
            with semaphore:
                pass
        WORLD.Barrier()
        with self.assertRaisesRegex(ValueError, "more than were acquired"):
            semaphore.release()
        semaphore.free()

    def test_a_condition_wakes_in_the_order_of_waiting(self):
        condition = sync.Condition(comm=WORLD)
        if RANK == 0:
            for rank in range(1, SIZE):
                WORLD.send(None, rank)  # That one waits now,
                WORLD.recv(source=rank)
            woken = 0
            while woken < SIZE - 1:
                with condition:
                    woken += condition.notify()
        else:
            WORLD.recv(source=0)
            with condition:
                WORLD.send(None, 0)  # or does before anybody has the mutex.
                condition.wait()
        WORLD.Barrier()
        condition.free()

    def test_what_is_not_held_is_refused(self):
        condition = sync.Condition(comm=WORLD)
        for call in (condition.wait, condition.notify, condition.release):
            with self.assertRaisesRegex(RuntimeError, "does not hold"):
                call()
        condition.free()
        with self.assertRaisesRegex(RuntimeError, "freed"):
            condition.acquire()

    def test_other_threads_run_while_a_rank_waits(self):
        mutex = sync.Mutex(comm=WORLD)
        beats = []
        if RANK == 0:
            mutex.acquire()
        WORLD.Barrier()
        if RANK == 0:
            for rank in range(1, SIZE):
                WORLD.recv(source=rank)
            mutex.release()
        else:

            def beat():
                beats.append(1)
                WORLD.send(None, 0)

            thread = threading.Timer(0.05, beat)
            thread.start()
            with mutex:
                self.assertEqual(beats, [1])
            thread.join()
        mutex.free()


def refuse(item):
    if item >= 3:
        raise ValueError(item)
    return item


class TestPool(unittest.TestCase):
    def test_callbacks_have_been_called_when_a_result_is_there(self):
        seen = []
        with pool.ThreadPool(2) as threads:
            for n in range(200):
                result = threads.map_async(abs, [-n, n], callback=seen.append)
                self.assertEqual(result.get(), [n, n])
                self.assertEqual(seen[-1], [n, n])
            errors = []
            result = threads.map_async(
                refuse, range(9), 2, error_callback=errors.append
            )
            result.wait()
            self.assertFalse(result.successful())
            self.assertEqual([type(error) for error in errors], [ValueError])
            with self.assertRaisesRegex(ValueError, "3"):
                threads.starmap(refuse, [(1,), (3,)])
        threads.join()

    def test_what_a_terminated_pool_has_not_begun_is_never_there(self):
        begun, end = threading.Event(), threading.Event()

        def task(item):
            begun.set()
            end.wait()

        threads = pool.ThreadPool(1)
        result = threads.map_async(task, range(50), chunksize=1)
        begun.wait()
        threads.terminate()
        end.set()
        threads.join()
        with self.assertRaisesRegex(TimeoutError, "terminated"):
            result.get()
        self.assertFalse(result.successful())


@unittest.skipIf(numpy is None, "needs NumPy")
class TestDtlib(unittest.TestCase):
    def test_a_record_goes_there_and_back(self):
        dtype = numpy.dtype([("a", "i2"), ("b", "f8", (2, 3)), ("c", "?")], align=True)
        datatype = dtlib.from_numpy_dtype(dtype)
        self.assertEqual(datatype.extent, dtype.itemsize)
        again = dtlib.to_numpy_dtype(datatype)
        self.assertEqual(again.itemsize, dtype.itemsize)
        fields = [again.fields[name][:2] for name in again.names]
        self.assertEqual(fields, [dtype.fields[name][:2] for name in dtype.names])
        datatype.Free()

    def test_a_structure_in_a_structure_keeps_its_size(self):
        parts = [MPI.INT, MPI.DOUBLE]
        inner = MPI.Datatype.Create_struct([1, 2], [1, 27], parts)
        outer = MPI.Datatype.Create_struct([1], [0], [inner])
        self.assertEqual(dtlib.to_numpy_dtype(outer).itemsize, outer.extent)
        outer.Free()
        inner.Free()

    def test_what_has_no_datatype_is_named(self):
        for bad in ("O", "V8", numpy.dtype("i4").newbyteorder()):
            with self.assertRaisesRegex(ValueError, "expected|no datatype"):
                dtlib.from_numpy_dtype(bad)


if __name__ == "__main__":
    unittest.main()
