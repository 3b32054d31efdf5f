"""What ends a job whose second host is lost. The last test ends the host."""

import json
import os
import signal
import subprocess
import unittest

from hosts import ENVIRONMENT, NET, PHALANX, FailureTest


class Lost(FailureTest):
    def test_host_that_is_gone(self):
        job = self.waiting()
        os.kill(int((NET / "h2.pid").read_text()), signal.SIGKILL)
        self.ends(job, 1, "host h2 is lost", "rank 2 on h2 .*was lost with its host")
        # No job goes there any more, and the doctor says why.
        done = subprocess.run(
            [PHALANX, "doctor", "--hosts", "h1,h2", "--json"],
            env=ENVIRONMENT,
            capture_output=True,
            text=True,
            timeout=90,
        )
        found = [
            (f["verdict"], f["text"].split(":")[0]) for f in json.loads(done.stdout)
        ]
        self.assertEqual(found, [("ok", found[0][1]), ("ok", "h1"), ("wrong", "h2")])
        self.assertEqual(done.returncode, 1)

    def test_cable_that_is_cut(self):
        job = self.waiting()
        subprocess.run(["ip", "link", "set", "port2", "down"], check=True)
        self.addCleanup(subprocess.run, ["ip", "link", "set", "port2", "up"])
        self.ends(job, 1, "host h2 is lost: 3 heartbeats", "rank 2 on h2 .*is silent")


if __name__ == "__main__":
    unittest.main()
