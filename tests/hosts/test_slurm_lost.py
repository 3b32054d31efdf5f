"""What ends a job in an allocation of Slurm's whose second node, or launcher, is lost.

The last test ends the node.
"""

import os
import signal
import subprocess
import time
import unittest
from pathlib import Path

from hosts import BOUND, BUSY, NET, PHALANX, SECONDS, HostsTest, processes, until

WAITS = """
import time
from mpi4py import MPI
comm = MPI.COMM_WORLD
comm.Barrier()
open({folder!r} + f"/there-{{comm.rank}}", "w").close()
if comm.rank == 3:
    time.sleep(1000)
comm.Barrier()
"""


class Lost(HostsTest):
    def waiting(self) -> subprocess.Popen[str]:
        script = self.script(WAITS.format(folder=str(self.folder)))
        env = {k: v for k, v in os.environ.items() if not k.startswith("PHALANX_")}
        words = ["salloc", "-Q", "-N2", "-n4", "--ntasks-per-node=2", PHALANX, "run"]
        job = subprocess.Popen(
            [*words, script],
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.addCleanup(job.stdout.close)
        self.addCleanup(job.wait)
        self.addCleanup(job.kill)
        there = [self.folder / f"there-{rank}" for rank in range(4)]
        until(lambda: all(path.exists() for path in there), "the ranks start")
        return job

    def ends(self, job: subprocess.Popen[str], status: int, *says: str) -> None:
        began = time.monotonic()
        try:
            out, _ = job.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            raise AssertionError("it hangs") from None
        took = time.monotonic() - began
        self.assertEqual(job.returncode, status, out)
        for word in says:
            self.assertRegex(out, f"(?s){word}")
        self.assertLess(took, BOUND + BUSY, out)
        self.nothing_is_left(within=30)
        print(f"{self.id().rsplit('.', 1)[-1]}: {took:.1f} s, status {status}")

    def test_launcher_killed(self):
        job = self.waiting()
        # `salloc` has the same words, and others before them.
        wanted = f"{PHALANX} run {self.folder}"
        begins = [(pid, Path(f"/proc/{pid}/cmdline")) for pid in processes(wanted)]
        mine = [pid for pid, path in begins if path.read_text().startswith(PHALANX)]
        # Its guard is a child of it and has the same words.
        os.kill(min(mine), signal.SIGKILL)
        # The status is salloc's, which passes on no signal.
        self.ends(job, 0, "was killed; its ranks were killed, too")

    def test_cable_that_is_cut(self):
        job = self.waiting()
        subprocess.run(["ip", "link", "set", "port2", "down"], check=True)
        up = ["ip", "link", "set", "port2", "up"]
        self.addCleanup(subprocess.run, up)
        self.ends(job, 1, "host h2 is lost: 3 heartbeats", "rank 2 on h2 .*is silent")
        subprocess.run(up, check=True)
        idle = ["sinfo", "-h", "-t", "idle", "-o", "%D"]
        until(
            lambda: subprocess.check_output(idle, text=True).split() == ["2"],
            "the nodes are there again",
        )

    def test_node_that_is_gone(self):
        job = self.waiting()
        os.kill(int((NET / "h2.pid").read_text()), signal.SIGKILL)
        self.ends(job, 1, "host h2 is lost", "rank 2 on h2 .*was lost with its host")


if __name__ == "__main__":
    unittest.main()
