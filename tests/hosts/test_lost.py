"""What ends a job whose second host is lost. The last test ends the host."""

import os
import signal
import subprocess
import unittest

from hosts import NET, FailureTest


class Lost(FailureTest):
    def test_host_that_is_gone(self):
        job = self.waiting()
        os.kill(int((NET / "h2.pid").read_text()), signal.SIGKILL)
        self.ends(job, 1, "host h2 is lost", "rank 2 on h2 .*was lost with its host")

    def test_cable_that_is_cut(self):
        job = self.waiting()
        subprocess.run(["ip", "link", "set", "port2", "down"], check=True)
        self.addCleanup(subprocess.run, ["ip", "link", "set", "port2", "up"])
        self.ends(job, 1, "host h2 is lost: 3 heartbeats", "rank 2 on h2 .*is silent")


if __name__ == "__main__":
    unittest.main()
