"""Signals to the launcher, to the group, and the death of the launcher."""

import os
import signal
import time
import unittest
from pathlib import Path

from jobs import WATCHDOG, JobCase, marked_processes

BLOCKED = """
    import os, sys, time
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    print("ready", flush=True)
    try:
        comm.{call}
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        sys.exit(130)
"""

RECEIVES = (
    "recv(source=comm.rank, tag=5)",
    "Recv(bytearray(8), source=(comm.rank + 1) % comm.size, tag=5)",
    "Probe(source=MPI.ANY_SOURCE)",
    "irecv(source=0, tag=9).wait()",
)


class TestInterrupt(JobCase):
    def check_interrupt(self, call: str, send) -> None:
        job = self.start(2, BLOCKED.format(call=call))
        job.wait_for("ready", times=2)
        send(job.process.pid)
        ended = job.end()
        self.assertEqual(ended.status, 130, ended.text)
        self.assertEqual(ended.out.count("interrupted"), 2, ended.text)

    def test_keyboard_interrupt_reaches_blocked_calls(self):
        for call in RECEIVES:
            with self.subTest(call=call):
                self.check_interrupt(call, lambda pid: os.kill(pid, signal.SIGINT))

    def test_control_c_in_a_terminal_goes_to_the_whole_group(self):
        self.check_interrupt(
            "recv(source=comm.rank, tag=5)",
            lambda pid: os.killpg(pid, signal.SIGINT),
        )

    def test_in_a_collective(self):
        script = """
            import sys, time
            from mpi4py import MPI
            comm = MPI.COMM_WORLD
            print("ready", flush=True)
            try:
                if comm.rank == 0:
                    time.sleep(1000)
                comm.Barrier()
            except KeyboardInterrupt:
                print("interrupted", flush=True)
                sys.exit(130)
        """
        job = self.start(3, script)
        job.wait_for("ready", times=3)
        os.kill(job.process.pid, signal.SIGINT)
        ended = job.end()
        self.assertEqual(ended.status, 130, ended.text)
        self.assertEqual(ended.out.count("interrupted"), 3, ended.text)

    def test_the_second_one_kills(self):
        script = """
            import signal, time
            from mpi4py import MPI
            signal.signal(signal.SIGINT, lambda *_: print("no", flush=True))
            print("ready", flush=True)
            while True:
                time.sleep(1)
        """
        job = self.start(2, script)
        job.wait_for("ready", times=2)
        os.kill(job.process.pid, signal.SIGINT)
        job.wait_for("no", times=2)
        os.kill(job.process.pid, signal.SIGINT)
        ended = job.end()
        self.assertEqual(ended.status, 130, ended.text)


class TestStop(JobCase):
    def test_control_z_stops_the_ranks_and_they_go_on(self):
        script = """
            import os
            from mpi4py import MPI
            comm = MPI.COMM_WORLD
            print(f"pid {os.getpid()} ready", flush=True)
            comm.recv(source=comm.rank)
        """
        for ranks in (1, 2 * (os.cpu_count() or 1)):
            with self.subTest(ranks=ranks):
                job = self.start(ranks, script)
                job.wait_for("ready", times=ranks)
                lines = job.read(job.out).splitlines()
                pids = [int(line.split()[1]) for line in lines]
                os.kill(job.process.pid, signal.SIGTSTP)
                self.wait_for_states([job.process.pid, *pids], stopped=True)
                os.kill(job.process.pid, signal.SIGCONT)
                self.wait_for_states([job.process.pid, *pids], stopped=False)
                os.kill(job.process.pid, signal.SIGTERM)
                self.assertEqual(job.end().status, 143)

    def wait_for_states(self, pids: list[int], stopped: bool) -> None:
        """Wait until all of these processes are stopped, or none is."""
        deadline = time.monotonic() + WATCHDOG
        while any((self.state_of(pid) == "T") != stopped for pid in pids):
            if time.monotonic() > deadline:
                self.fail(f"{[(pid, self.state_of(pid)) for pid in pids]}")
            time.sleep(0.01)

    @staticmethod
    def state_of(pid: int) -> str:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


class TestTermination(JobCase):
    def test_terminate(self):
        job = self.start(3, BLOCKED.format(call=RECEIVES[0]))
        job.wait_for("ready", times=3)
        os.kill(job.process.pid, signal.SIGTERM)
        self.assertEqual(job.end().status, 143)

    def test_the_launcher_says_which_signal_ends_the_job(self):
        # A launcher that was killed has the same status: the words tell the two apart.
        for ranks in (1, 3):
            for name, status in (("SIGTERM", 143), ("SIGHUP", 129)):
                with self.subTest(ranks=ranks, signal=name):
                    job = self.start(ranks, BLOCKED.format(call=RECEIVES[0]))
                    job.wait_for("ready", times=ranks)
                    os.kill(job.process.pid, getattr(signal, name))
                    ended = job.end()
                    self.assertEqual(ended.status, status, ended.text)
                    self.assert_says(ended, f"{name} received")

    def test_terminate_ranks_that_refuse(self):
        script = """
            import signal, time
            from mpi4py import MPI
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            print("ready", flush=True)
            while True:
                time.sleep(1)
        """
        job = self.start(2, script)
        job.wait_for("ready", times=2)
        os.kill(job.process.pid, signal.SIGTERM)
        self.assertEqual(job.end().status, 143)

    def test_kill_of_the_launcher_leaves_no_rank(self):
        for call in ("recv(source=comm.rank, tag=5)", "Barrier(); time.sleep(1000)"):
            with self.subTest(call=call):
                job = self.start(3, BLOCKED.format(call=call))
                job.wait_for("ready", times=3)
                self.assertGreaterEqual(len(marked_processes(self.mark)), 4)
                os.kill(job.process.pid, signal.SIGKILL)
                self.assertEqual(job.end().status, 137)
                self.assert_nothing_left()

    def test_kill_of_the_launcher_while_ranks_compute(self):
        script = """
            from mpi4py import MPI
            print("ready", flush=True)
            while True:
                pass
        """
        job = self.start(2, script)
        job.wait_for("ready", times=2)
        os.kill(job.process.pid, signal.SIGKILL)
        self.assertEqual(job.end().status, 137)

    def test_kill_of_a_rank_from_outside(self):
        script = """
            import os
            from mpi4py import MPI
            comm = MPI.COMM_WORLD
            print(f"pid {comm.rank} {os.getpid()} ready", flush=True)
            comm.recv(source=comm.rank)
        """
        job = self.start(3, script)
        job.wait_for("ready", times=3)
        lines = [line.split() for line in job.read(job.out).splitlines()]
        pids = {int(words[1]): int(words[2]) for words in lines}
        os.kill(pids[2], signal.SIGKILL)
        ended = job.end()
        self.assertEqual(ended.status, 137, ended.text)
        self.assert_says(ended, "rank 2", "SIGKILL")

    def test_stopped_rank_does_not_keep_the_job_alive(self):
        script = """
            import os, signal
            from mpi4py import MPI
            comm = MPI.COMM_WORLD
            print("ready", flush=True)
            if comm.rank == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            comm.recv(source=comm.rank)
        """
        job = self.start(2, script)
        job.wait_for("ready", times=2)
        os.kill(job.process.pid, signal.SIGTERM)
        self.assertEqual(job.end().status, 143)

    def test_timeout(self):
        ended = self.run_job(2, BLOCKED.format(call=RECEIVES[0]), "--timeout", "1")
        self.assertEqual(ended.status, 124, ended.text)
        self.assert_says(ended, "timeout")


if __name__ == "__main__":
    unittest.main()
