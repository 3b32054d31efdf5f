"""A rank that is killed while it has a part in one-sided communication."""

import os
import signal
import time
import unittest

from jobs import SURVIVORS_LEAVE, JobCase

SCRIPT = """
import os, signal, sys, threading, time
import numpy as np
from mpi4py import MPI

comm = MPI.COMM_WORLD
me, last = comm.rank, comm.size - 1
own = np.zeros(1 << 16, "i8")
if {created}:
    win = MPI.Win.Create(own, 8, comm=comm)
else:
    win = MPI.Win.Allocate(own.nbytes, 8, comm=comm)
    own = np.frombuffer(win.tomemory(), "i8")
    own[:] = 0
comm.Barrier()

def killed():
    os.kill(os.getpid(), signal.SIGKILL)

def fails(call):
    try:
        call()
    except MPI.Exception as error:
        assert error.Get_error_class() == MPI.ERR_PROC_ABORTED, error
        assert f"rank {{last}}" in str(error), error
        return
    raise AssertionError("no error")

{script}
"""

HOLDER = """
if me == last:
    win.Lock(0, MPI.LOCK_EXCLUSIVE)
    comm.Barrier()
    time.sleep(0.1)
    killed()
comm.Barrier()
win.Lock(0, MPI.LOCK_EXCLUSIVE)
win.Put(np.full(4, 7), 0)
win.Unlock(0)
"""

COMBINES = """
ones = np.ones(1 << 14, "i8")
if me == last:
    threading.Timer(0.1, killed).start()
end = time.monotonic() + 0.3
while me == last or time.monotonic() < end:
    win.Lock(0, MPI.LOCK_SHARED)
    win.Accumulate(ones, 0)
    win.Unlock(0)
old = np.zeros(1, "i8")
win.Lock(0)
win.Fetch_and_op(ones[:1], old, 0, 1 << 15)
win.Unlock(0)
"""

FENCE = """
win.Fence()
if me == last:
    killed()
fails(win.Fence)
"""

POSTS = """
group = win.Get_group()
if me == last:
    killed()
def epoch():
    win.Post(group)
    win.Start(group)
    win.Complete()
    win.Wait()
fails(epoch)
"""


LOST = """
win.Lock_all()
comm.Barrier()
if me == last:
    killed()
def until_told():
    while True:
        win.Flush_all()
        time.sleep(0.01)
fails(until_told)
fails(win.Unlock_all)
win.Lock(0)
win.Put(np.ones(1, "i8"), 0, me)
win.Unlock(0)
"""

STOPPED = """
ones = np.ones(1 << 16, "i8")
if me == last:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGSTOP)).start()
    while True:
        win.Lock(0, MPI.LOCK_SHARED)
        win.Accumulate(ones, 0)
        win.Unlock(0)
win.Lock(0, MPI.LOCK_SHARED)
print("ready", flush=True)
try:
    while True:
        win.Accumulate(ones, 0)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    os._exit(0)
"""


class TestARankThatIsKilledInAWindow(JobCase):
    def check(self, script: str) -> None:
        for ranks in (2, 3, 8):
            for created in (False, True):
                with self.subTest(ranks=ranks, created=created):
                    whole = SCRIPT.format(script=script, created=created)
                    whole += SURVIVORS_LEAVE
                    ended = self.run_job(ranks, whole, "--keep-going")
                    self.assertEqual(ended.out.count("went on"), ranks - 1, ended.text)
                    self.assertNotIn("Traceback", ended.err, ended.text)

    def test_gives_back_the_lock_that_it_held(self):
        self.check(HOLDER)

    def test_leaves_no_lock_of_accumulates(self):
        self.check(COMBINES)

    def test_is_named_to_those_at_a_fence(self):
        self.check(FENCE)

    def test_is_named_to_those_who_start_and_post(self):
        self.check(POSTS)

    def test_is_named_to_those_who_flush(self):
        self.check(LOST)


class TestARankThatIsStoppedInAWindow(JobCase):
    def test_makes_nobody_deaf_to_interrupts(self):
        for created in (False, True):
            with self.subTest(created=created):
                job = self.start(3, SCRIPT.format(script=STOPPED, created=created))
                job.wait_for("ready", times=2)
                time.sleep(0.5)
                os.kill(job.process.pid, signal.SIGINT)
                job.wait_for("interrupted", times=2)
                os.kill(job.process.pid, signal.SIGTERM)
                job.end()


if __name__ == "__main__":
    unittest.main()
