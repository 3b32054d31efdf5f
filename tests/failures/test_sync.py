"""Ranks that are killed, and calls that are interrupted, in `phalanx.util.sync`."""

import unittest

from jobs import SURVIVORS_LEAVE, JobCase

SCRIPT = """
import os, signal, threading, time
from mpi4py import MPI
from mpi4py.util import sync

comm = MPI.COMM_WORLD
me, last = comm.rank, comm.size - 1
{script}
"""

HOLDER = """
mutex = sync.Mutex(comm=comm)
if me == last:
    mutex.acquire()
comm.Barrier()
if me == last:
    time.sleep(0.1)
    os.kill(os.getpid(), signal.SIGKILL)
for again in range(2):
    try:
        mutex.acquire()
    except RuntimeError as error:
        assert "broken" in str(error), error
    else:
        raise AssertionError("no error")
    assert not mutex.locked()
"""

INTERRUPTED = """
import os, signal, threading, time
from mpi4py import MPI
from mpi4py.util import sync

comm = MPI.COMM_WORLD
me = comm.rank
condition = sync.Condition(comm=comm)
mutex = sync.Mutex(comm=comm)
if me == 0:
    mutex.acquire()
comm.Barrier()
if me == 1:
    def interrupted(call):
        threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
        try:
            call()
        except KeyboardInterrupt:
            return
        raise AssertionError("no interrupt")

    interrupted(mutex.acquire)
    with condition:
        interrupted(condition.wait)
        assert condition.locked()
comm.Barrier()
if me == 0:
    with condition:
        assert condition.notify() == 0
    mutex.release()
elif me == 1:
    mutex.acquire()
    mutex.release()
mutex.free()
condition.free()
print("went on", flush=True)
"""


class TestARankThatIsKilled(JobCase):
    def test_a_mutex_whose_holder_is_killed_is_an_error_for_all_that_want_it(self):
        for ranks in (2, 3, 8):
            with self.subTest(ranks=ranks):
                whole = SCRIPT.format(script=HOLDER) + SURVIVORS_LEAVE
                ended = self.run_job(ranks, whole, "--keep-going")
                self.assertEqual(ended.out.count("went on"), ranks - 1, ended.text)
                self.assertNotIn("Traceback", ended.err, ended.text)


class TestAnInterrupt(JobCase):
    def test_the_place_in_the_queue_stays_and_a_waiter_is_withdrawn(self):
        for ranks in (2, 3):
            with self.subTest(ranks=ranks):
                ended = self.run_job(ranks, INTERRUPTED)
                self.assertEqual(ended.out.count("went on"), ranks, ended.text)


if __name__ == "__main__":
    unittest.main()
