"""What ends a job on several hosts, in which way: the failure table.

What happens, happens to the second host, and to rank 2 of four.
"""

import os
import signal
import sys
import time
import unittest

from hosts import FOUR, INTEL, WAITS, FailureTest, Job


class Failures(FailureTest):
    def test_exception(self):
        job = self.job("raise ValueError('too small')")
        self.ends(
            job, 1, r"rank 2 on h2 \(pid \d+, .*script.py\)", "ValueError: too small"
        )

    def test_killed(self):
        job = self.job("os.kill(os.getpid(), 9)")
        self.ends(job, 137, "rank 2 on h2 .*killed by SIGKILL", "others were doing")

    def test_killed_on_one_machine(self):
        script = self.script(
            WAITS.format(how="os.kill(os.getpid(), 9)", folder=str(self.folder))
        )
        mpich = os.path.join(sys.prefix, "lib", "libmpi_abi.so.1")
        library = {} if INTEL else {"PHALANX_MPI": mpich}
        job = Job("-n", "3", "--oversubscribe", script, **library)
        self.ends(job, 137, r"rank 2 \(.*killed by SIGKILL")

    def test_crash(self):
        job = self.job("os.kill(os.getpid(), 11)")
        self.ends(job, 139, "rank 2 on h2 .*SIGSEGV")

    def test_exit(self):
        self.ends(self.job("sys.exit(3)"), 3, "rank 2 on h2 .*exited with status 3")

    def test_exit_at_once(self):
        self.ends(self.job("os._exit(3)"), 3, "rank 2 on h2 .*exited with status 3")

    def test_left_without_finalize(self):
        self.ends(self.job("os._exit(0)"), 1, "rank 2 on h2 .*without MPI_Finalize")

    def test_abort(self):
        self.ends(self.job("comm.Abort(5)"), 5, "rank 2 on h2 .*MPI_Abort with code 5")

    def test_never_comes(self):
        script = self.script(
            "import sys, os\n"
            "if os.environ['PMI_RANK'] == '2': sys.exit()\n"
            "from mpi4py import MPI\nMPI.COMM_WORLD.Barrier()\n"
        )
        self.ends(Job(*FOUR, script), 1, "rank 2 in MPI_Init", "rank 2 on h2")

    def test_timeout(self):
        job = self.job("time.sleep(1000)", "--timeout", "2", "--grace", "1")
        self.ends(job, 124, "timeout of 2 s", "rank 2 on h2 .*sleeps")

    def test_interrupted(self):
        job = self.waiting("time.sleep(1000)")
        job.process.send_signal(signal.SIGINT)
        time.sleep(1.5)
        job.process.send_signal(signal.SIGINT)
        self.ends(job, 130, "rank")

    def test_terminated(self):
        job = self.waiting("time.sleep(1000)", "--grace", "1")
        job.process.terminate()
        self.ends(job, 143, "SIGTERM received")

    def test_launcher_killed(self):
        job = self.waiting()
        job.process.kill()
        self.ends(job, -9, "was killed; its ranks were killed, too")

    def test_agent_killed(self):
        job = self.waiting()
        os.kill(self.agent("h2"), signal.SIGKILL)
        self.ends(job, 1, "host h2 is lost", "rank 2 on h2 .*was lost with its host")

    def test_agent_stopped(self):
        job = self.waiting()
        os.kill(self.agent("h2"), signal.SIGSTOP)
        # Its guard may be there first.
        lost = "host h2 is lost: (3 heartbeats|its connection ended)"
        self.ends(job, 1, lost, "rank 2 on h2 .*was lost")


if __name__ == "__main__":
    unittest.main()
