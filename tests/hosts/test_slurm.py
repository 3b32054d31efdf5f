"""`phalanx run` in an allocation of Slurm's."""

import os
import subprocess
import time
import unittest

from hosts import PHALANX, Ended, HostsTest

HELLO = """
import os, socket, sys
from mpi4py import MPI
comm = MPI.COMM_WORLD
total = comm.allreduce(comm.rank)
sys.stdout.write(f"{comm.rank} {comm.size} {socket.gethostname()} {total}\\n")
"""
LEAVES = """
import os, sys, time
from mpi4py import MPI
comm = MPI.COMM_WORLD
comm.Barrier()
if comm.rank == comm.size - 1:
    {how}
comm.Barrier()
"""
TWO = ["-N2", "-n4", "--ntasks-per-node=2"]


class Slurm(HostsTest):
    def allocated(self, flags: list[str], *words: str) -> Ended:
        """Run a command in an allocation, as `salloc` does."""
        env = {k: v for k, v in os.environ.items() if not k.startswith("PHALANX_")}
        began = time.monotonic()
        done = subprocess.run(
            ["salloc", "-Q", *flags, *words],
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=120,
        )
        took = time.monotonic() - began
        return Ended(done.returncode, done.stdout, done.stderr, took)

    def lines(self, ended: Ended) -> list[str]:
        self.assertEqual(ended.status, 0, ended)
        self.nothing_is_left()
        return sorted(ended.out.splitlines())

    def test_ranks_are_the_tasks(self):
        script = self.script(HELLO)
        ended = self.allocated(TWO, PHALANX, "run", script)
        expected = [f"{rank} 4 h{1 + rank // 2} 6" for rank in range(4)]
        self.assertEqual(self.lines(ended), expected)
        ended = self.allocated(["-N2", "-n3", "-m", "block"], PHALANX, "run", script)
        self.assertEqual([x.split()[1] for x in self.lines(ended)], ["3"] * 3)

    def test_intel_on_nodes_with_different_numbers_of_tasks(self):
        intel = os.environ.get("SRUN_INTEL", "")
        if not intel:
            self.skipTest("Intel MPI is not there")
        env = [f"PHALANX_MPI={intel}/lib/libmpi_abi.so.1", f"I_MPI_ROOT={intel}"]
        env += [
            f"{name}={intel}/lib" for name in ("LD_LIBRARY_PATH", "FI_PROVIDER_PATH")
        ]
        words = ["env", *env, PHALANX, "run", self.script(HELLO)]
        ended = self.allocated(["-N2", "-n4", "-m", "block"], *words)
        places = [line.split()[2] for line in self.lines(ended)]
        self.assertEqual(places, ["h1", "h1", "h1", "h2"])

    def test_fewer_ranks_than_tasks(self):
        ended = self.allocated(TWO, PHALANX, "run", "-n", "3", self.script(HELLO))
        expected = ["0 3 h1 3", "1 3 h1 3", "2 3 h2 3"]
        self.assertEqual(self.lines(ended), expected)

    def test_more_ranks_than_tasks_are_refused(self):
        ended = self.allocated(TWO, PHALANX, "run", "-n", "5", "true")
        self.assertEqual(ended.status, 2, ended)
        self.says(ended, "5 ranks, and the allocation has tasks for 4")

    def test_this_machine_alone(self):
        words = ["run", "--host", "localhost", "-n", "2", self.script(HELLO)]
        self.assertEqual(
            self.lines(self.allocated(TWO, PHALANX, *words)), ["0 2 h0 1", "1 2 h0 1"]
        )

    def test_a_batch_script(self):
        script = self.script(HELLO)
        out = self.folder / "out"
        batch = self.script(f"#!/bin/bash\n{PHALANX} run {script}\n", "job.sh")
        done = subprocess.run(
            ["sbatch", "-W", "-o", str(out), *TWO, batch],
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, (done, out.read_text()))
        expected = [f"{rank} 4 h{1 + rank // 2} 6" for rank in range(4)]
        self.assertEqual(sorted(out.read_text().splitlines()), expected)
        self.nothing_is_left()

    def test_one_node_is_the_embedded_engine(self):
        script = self.script(
            "from phalanx import MPI\nprint(MPI.Get_library_version().split()[0])\n"
        )
        out = self.folder / "out"
        batch = self.script(f"#!/bin/bash\n{PHALANX} run {script}\n", "job.sh")
        subprocess.run(
            ["sbatch", "-W", "-o", str(out), "-N1", "-n2", batch],
            capture_output=True,
            timeout=120,
        )
        self.assertEqual(out.read_text().lower().split(), ["phalanx"] * 2)

    def leaves(self, how: str, status: int, *says: str) -> None:
        script = self.script(LEAVES.format(how=how))
        ended = self.allocated(TWO, PHALANX, "run", script)
        self.assertEqual(ended.status, status, ended)
        self.says(ended, *says)
        self.nothing_is_left()
        print(f"{self.id().rsplit('.', 1)[-1]}: {ended.seconds:.1f} s, status {status}")

    def test_exception(self):
        self.leaves("raise ValueError('no')", 1, "rank 3 on h2 .*ValueError: no")

    def test_killed(self):
        self.leaves("os.kill(os.getpid(), 9)", 137, "rank 3 on h2 .*SIGKILL")

    def test_exit(self):
        self.leaves("sys.exit(3)", 3, "rank 3 on h2 .*exited with status 3")

    def test_exit_at_once(self):
        self.leaves("os._exit(3)", 3, "rank 3 on h2 .*exited with status 3")

    def test_timeout(self):
        script = self.script(LEAVES.format(how="time.sleep(1000)"))
        words = [PHALANX, "run", "--timeout", "3", "--grace", "1", script]
        ended = self.allocated(TWO, *words)
        self.assertEqual(ended.status, 124, ended)
        self.says(ended, "timeout of 3 s", "rank 3 on h2 .*sleeps")
        self.nothing_is_left()
        print(f"test_timeout: {ended.seconds:.1f} s, status {ended.status}")

    def test_cancelled(self):
        script = self.script(LEAVES.format(how="time.sleep(1000)"))
        batch = self.script(f"#!/bin/bash\nexec {PHALANX} run {script}\n", "job.sh")
        out = self.folder / "out"
        done = subprocess.run(
            ["sbatch", "--parsable", "-o", str(out), *TWO, batch],
            capture_output=True,
            text=True,
            timeout=60,
        )
        time.sleep(5)
        subprocess.run(["scancel", done.stdout.strip()], timeout=60, check=True)
        self.nothing_is_left(within=40)


if __name__ == "__main__":
    unittest.main()
