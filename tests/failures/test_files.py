"""Files that cannot be had or written; ranks killed or interrupted; two jobs."""

import fcntl
import os
import signal
import sys
import unittest
from pathlib import Path

from jobs import PHALANX, Job, JobCase

SCRIPT = """
import os, signal, sys, threading
import numpy as np
from mpi4py import MPI

comm = MPI.COMM_WORLD
me, last = comm.rank, comm.size - 1
mode = MPI.MODE_RDWR | MPI.MODE_CREATE
file = MPI.File.Open(comm, "data", mode)
file.Set_atomicity({atomic})
{view}
block = np.full(8 << 20, me + 1, np.uint8)
if me == last:
    threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGKILL)).start()
turn = 0
try:
    while True:
        {write}
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

# Each write is the first through its view. Later ones go as was faster, which may be
# each rank for itself.
PIECES = """
tile = MPI.BYTE.Create_vector(1, 64, 64).Create_resized(0, comm.size << 6).Commit()
def write_together():
    file.Set_view(me << 6, MPI.BYTE, tile)
    file.Write_at_all(0, block)
"""


class TestARankThatIsKilledWhileItWrites(JobCase):
    def check(self, write: str, atomic: bool, alone: bool, view: str = "") -> None:
        for ranks in (2, 3):
            with self.subTest(ranks=ranks, write=write, atomic=atomic):
                script = SCRIPT.format(
                    write=write, atomic=atomic, alone=alone, view=view
                )
                ended = self.run_job(ranks, script, "--keep-going")
                self.assertEqual(ended.out.count("went on"), ranks - 1, ended.text)
                self.assertNotIn("Traceback", ended.err, ended.text)

    def test_leaves_no_lock_in_atomic_mode(self):
        self.check("file.Write_at(me << 23, block)", atomic=True, alone=True)

    def test_leaves_the_shared_position_to_the_others(self):
        self.check("file.Write_shared(block[:4096])", atomic=False, alone=True)

    def test_is_told_to_those_who_write_in_order(self):
        self.check("file.Write_ordered(block[:4096])", atomic=False, alone=False)

    def test_is_told_to_those_who_write_small_pieces_together(self):
        self.check("write_together()", atomic=False, alone=False, view=PIECES)


REFUSED = """
import resource, sys
import numpy as np
from mpi4py import MPI

comm = MPI.COMM_WORLD
mode = MPI.MODE_WRONLY
block = np.zeros(1 << 16, np.uint8)

def refused(error_class, text, call):
    try:
        call()
    except MPI.Exception as error:
        assert error.Get_error_class() == error_class, error
        assert text in str(error), error
        return
    raise AssertionError("no error")

{script}
print("told", flush=True)
"""

FULL = """
file = MPI.File.Open(comm, "/dev/full", mode)
for write in (file.Write_at, file.Write_at_all, file.Iwrite_at):
    refused(MPI.ERR_NO_SPACE, "/dev/full", lambda: write(0, block))
file.Close()
"""

LIMITED = """
resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
file = MPI.File.Open(comm, "limited", mode | MPI.MODE_CREATE)
file.Write_at(0, block)
for place in ((1 << 20) - 100, 1 << 30):
    refused(MPI.ERR_NO_SPACE, "ulimit -f", lambda: file.Write_at(place, block))
tile = MPI.BYTE.Create_vector(1, 64, 64).Create_resized(0, 192).Commit()
file.Set_view((1 << 20) - 5000, MPI.BYTE, tile)
refused(MPI.ERR_NO_SPACE, "ulimit -f", lambda: file.Write_at(0, block))
file.Set_view(0, MPI.BYTE, MPI.BYTE)
refused(MPI.ERR_NO_SPACE, "ulimit -f", lambda: file.Set_size(1 << 30))
refused(MPI.ERR_NO_SPACE, "ulimit -f", lambda: file.Preallocate(1 << 30))
file.Write_at(0, block)
file.Close()
"""

FORBIDDEN = """
for wanted in (mode, MPI.MODE_RDONLY, MPI.MODE_RDWR):
    refused(MPI.ERR_ACCESS, "permissions", lambda: MPI.File.Open(comm, "mine", wanted))
into = mode | MPI.MODE_CREATE
refused(MPI.ERR_ACCESS, "permissions", lambda: MPI.File.Open(comm, "closed/x", into))
refused(MPI.ERR_ACCESS, "permissions", lambda: MPI.File.Delete("closed/there"))
"""

# Who may do everything gives that up before the files are opened.
LESS = """
import os
if os.geteuid() == 0:
    comm.Barrier()
    os.setresuid(65534, 65534, 65534)
"""


class TestAFileThatCannotBeHad(JobCase):
    def check(self, script: str) -> None:
        for ranks in (1, 2, 3):
            with self.subTest(ranks=ranks):
                ended = self.run_job(ranks, REFUSED.format(script=script))
                self.assertEqual(ended.out.count("told"), ranks, ended.text)
                self.assertEqual(ended.status, 0, ended.text)

    def test_a_full_disk_is_named(self):
        self.check(FULL)

    def test_a_file_that_may_not_grow_is_named(self):
        self.check(LIMITED)

    def test_permissions_are_named(self):
        mine, closed = Path(self.folder, "mine"), Path(self.folder, "closed")
        closed.mkdir()
        Path(closed, "there").touch()
        mine.touch()
        mine.chmod(0)
        closed.chmod(0)
        try:
            self.check(LESS + FORBIDDEN)
        finally:
            closed.chmod(0o700)


WAITS = """
import numpy as np
from mpi4py import MPI

file = MPI.File.Open(MPI.COMM_WORLD, "locked", MPI.MODE_RDWR)
file.Set_atomicity(True)
print("ready", flush=True)
try:
    file.Write_at(MPI.COMM_WORLD.rank, np.ones(1, np.uint8))
except KeyboardInterrupt:
    print("interrupted", flush=True)
    raise
"""

MEETS = """
import sys
import numpy as np
from mpi4py import MPI

comm, mark = MPI.COMM_WORLD, {mark}
file = MPI.File.Open(comm, "../both", MPI.MODE_RDWR)
file.Set_atomicity(True)
found = np.zeros(1 << 18, np.uint8)
block = np.full(1 << 18, 1 + mark + comm.rank, np.uint8)
for _ in range(50):
    file.Write_at(0, block)
    file.Read_at(0, found)
    assert (found == found[0]).all() and found[0] > 0, "a write that was not whole"
file.Close()
print("whole", flush=True)
"""


TURNS = """
import numpy as np
from mpi4py import MPI

comm, first = MPI.COMM_WORLD, {mark}
file = MPI.File.Open(comm, "../both", MPI.MODE_RDWR)
who = first + comm.rank
for number, piece in enumerate((8, 64, 200, 1000)):
    tile = MPI.BYTE.Create_vector(1, piece, piece).Create_resized(0, 4 * piece)
    file.Set_view((number << 24) + who * piece, MPI.BYTE, tile.Commit())
    for turn in range(8):
        mine = (np.arange(1 << 19) % (50 + turn) + 50 * who).astype(np.uint8)
        back = np.empty_like(mine)
        step = 100000 - who * 777
        for at in range(0, mine.size, step):
            file.Write_at(at, mine[at : at + step])
        file.Read_at(0, back)
        assert (back == mine).all(), (piece, turn)
file.Close()
print("all there", flush=True)
"""


class TestTwoJobs(JobCase):
    def both(self, script: str, said: str) -> None:
        jobs = []
        for mark in (0, 2):
            folder = Path(self.folder, str(mark))
            Path(folder, "tmp").mkdir(parents=True)
            program = Path(folder, "script.py")
            program.write_text(script.format(mark=mark))
            command = [PHALANX, "run", "-n", "2", sys.executable, str(program)]
            jobs.append(Job(str(folder), self.mark, command))
        for job in jobs:
            ended = job.end()
            self.assertEqual(ended.out.count(said), 2, ended.text)
            self.assertEqual(ended.status, 0, ended.text)

    def test_are_kept_apart_by_the_lock_of_a_file(self):
        Path(self.folder, "both").write_bytes(bytes(1 << 18))
        self.both(MEETS, "whole")

    def test_that_take_turns_in_small_pieces_lose_none(self):
        Path(self.folder, "both").touch()
        self.both(TURNS, "all there")


class TestTheLockOfAFile(JobCase):
    def test_is_waited_for_by_ranks_that_hear_interrupts(self):
        with Path(self.folder, "locked").open("w+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            job = self.start(2, WAITS)
            job.wait_for("ready", times=2)
            os.kill(job.process.pid, signal.SIGINT)
            job.wait_for("interrupted", times=2)
            ended = job.end()
        self.assertNotEqual(ended.status, 0, ended.text)


if __name__ == "__main__":
    unittest.main()
