"""A rank that is killed while the ranks write a file."""

import unittest

from jobs import JobCase

SCRIPT = """
import os, signal, sys, threading
import numpy as np
from mpi4py import MPI

comm = MPI.COMM_WORLD
me, last = comm.rank, comm.size - 1
mode = MPI.MODE_RDWR | MPI.MODE_CREATE
file = MPI.File.Open(comm, "data", mode)
file.Set_atomicity({atomic})
block = np.full(8 << 20, me + 1, np.uint8)
if me == last:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()
turn = 0
try:
    while True:
        file.{write}
        turn += 1
        if me != last and turn == 20 and {alone}:
            raise MPI.Exception(MPI.ERR_PROC_ABORTED)
except MPI.Exception as error:
    assert error.Get_error_class() == MPI.ERR_PROC_ABORTED, error
# Nobody holds anything: the file can be written, and what was written is whole.
place = (1 << 40) + (me << 23)  # where no other rank writes
file.Write_at(place, block)
found = np.empty_like(block)
file.Read_at(place, found)
assert (found == me + 1).all()
print("went on", flush=True)
os._exit(0)
"""


class TestARankThatIsKilledWhileItWrites(JobCase):
    def check(self, write: str, atomic: bool, alone: bool) -> None:
        for ranks in (2, 3):
            with self.subTest(ranks=ranks, write=write, atomic=atomic):
                script = SCRIPT.format(write=write, atomic=atomic, alone=alone)
                ended = self.run_job(ranks, script, "--keep-going")
                self.assertEqual(ended.out.count("went on"), ranks - 1, ended.text)
                self.assertNotIn("Traceback", ended.err, ended.text)

    def test_leaves_no_lock_in_atomic_mode(self):
        self.check("Write_at(me << 23, block)", atomic=True, alone=True)

    def test_leaves_the_shared_position_to_the_others(self):
        self.check("Write_shared(block[:4096])", atomic=False, alone=True)

    def test_is_told_to_those_who_write_in_order(self):
        self.check("Write_ordered(block[:4096])", atomic=False, alone=False)


if __name__ == "__main__":
    unittest.main()
