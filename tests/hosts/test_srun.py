"""What ends a job that `srun --mpi=pmi2` has started, and in which way.

On two nodes the messages go through MPICH or Intel MPI, on one through the embedded
engine. What happens, happens to the last rank of four; the others wait for it.
"""

import os
import signal
import subprocess
import sys
import time
import unittest

from hosts import BOUND, BUSY, ENVIRONMENT, SECONDS, HostsTest, until

PMI2 = "/usr/lib/x86_64-linux-gnu/libpmi2.so.0"
MPICH = os.path.join(sys.prefix, "lib", "libmpi_abi.so.1")
LEAVES = """
import os, sys, time
from phalanx import MPI
comm = MPI.COMM_WORLD
comm.Barrier()
open({folder!r} + f"/there-{{comm.rank}}", "w").close()
if comm.rank == comm.size - 1:
    {how}
comm.Barrier()
"""
# What a launcher of Slurm's does about a task that has ended badly, if it is asked to.
KILLS = "--kill-on-bad-exit=1"


class Step(HostsTest):
    """One step of four tasks."""

    where = ("-N2", "-n4", "--ntasks-per-node=2")

    def setUp(self) -> None:
        super().setUp()
        self.library = {"PHALANX_MPI": MPICH}

    def begin(
        self, how: str, *flags: str, by: tuple[str, ...] = ()
    ) -> subprocess.Popen[str]:
        script = self.script(LEAVES.format(how=how, folder=str(self.folder)))
        env = {k: v for k, v in ENVIRONMENT.items() if not k.startswith("PHALANX_")}
        words = ["srun", "--mpi=pmi2", *self.where, *flags, sys.executable]
        step = subprocess.Popen(
            [*words, *by, script],
            env={**env, **self.library},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(step.stdout.close)
        self.addCleanup(step.wait)
        self.addCleanup(step.kill)
        there = [self.folder / f"there-{rank}" for rank in range(4)]
        until(
            lambda: all(x.exists() for x in there) or step.poll() is not None,
            "the ranks start",
        )
        return step

    def ends(self, step: subprocess.Popen[str], *says: str) -> None:
        began = time.monotonic()
        try:
            out, _ = step.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError("it hangs") from None
        took = time.monotonic() - began
        self.assertNotEqual(step.returncode, 0, out)
        for word in says:
            self.assertRegex(out, f"(?s){word}")
        self.assertLess(took, BOUND + BUSY)
        self.nothing_is_left(within=20)
        print(f"{self.id().split('.', 1)[-1]}: {took:.1f} s, status {step.returncode}")

    def test_exception(self):
        self.ends(self.begin("raise ValueError('no')"), "ValueError: no")

    def test_exit(self):
        self.ends(self.begin("sys.exit(3)"), "exits with status 3: the job ends")

    def test_exit_under_our_own_runner(self):
        self.ends(self.begin("sys.exit(3)", by=("-m", "phalanx.run")))

    def test_killed(self):
        step = self.begin("os.kill(os.getpid(), 9)", KILLS)
        self.ends(step, "Killed|SIGKILL|signal 9")

    def test_exit_at_once(self):
        self.ends(self.begin("os._exit(3)", KILLS), "[Ee]xit.*3|status 3")

    def test_cancelled(self):
        step = self.begin("time.sleep(1000)")
        job = subprocess.run(
            ["squeue", "-h", "-o", "%A"], capture_output=True, text=True, timeout=60
        ).stdout.split()
        subprocess.run(["scancel", *job], timeout=60, check=True)
        self.ends(step, "CANCELLED|Terminated|error")

    def test_launcher_killed(self):
        step = self.begin("time.sleep(1000)")
        # A second SIGINT within a second is what srun takes for an end.
        for _ in range(2):
            step.send_signal(signal.SIGINT)
            time.sleep(0.2)
        self.ends(step)


class Intel(Step):
    """The same on Intel MPI."""

    def setUp(self) -> None:
        super().setUp()
        intel = os.environ.get("SRUN_INTEL", "")
        if not intel or not os.path.exists(PMI2):
            self.skipTest("Intel MPI, and Debian's libpmi2-0, are not there")
        self.library = {
            "PHALANX_MPI": f"{intel}/lib/libmpi_abi.so.1",
            "LD_LIBRARY_PATH": f"{intel}/lib",
            "FI_PROVIDER_PATH": f"{intel}/lib",
            "I_MPI_ROOT": intel,
            "I_MPI_PMI_LIBRARY": PMI2,
        }


class Embedded(Step):
    """The same on one node, where ranks look at the lives of their peers."""

    where = ("-N1", "-n4")

    def setUp(self) -> None:
        super().setUp()
        self.library = {}

    def test_exit(self):
        self.ends(self.begin("sys.exit(3)"), "exits with status 3: the job ends")

    def test_killed(self):
        self.ends(self.begin("os.kill(os.getpid(), 9)"), "SIGKILL|[Kk]illed")

    def test_exit_at_once(self):
        self.ends(self.begin("os._exit(3)"), "3")


del HostsTest

if __name__ == "__main__":
    unittest.main()
