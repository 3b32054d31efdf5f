"""What is said of ranks on other hosts while they run."""

import json
import os
import re
import signal
import subprocess
import time
import unittest

from hosts import ENVIRONMENT, PHALANX, FailureTest, until


def ask(*words: str) -> str:
    done = subprocess.run(
        [PHALANX, *words], env=ENVIRONMENT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done
    return done.stdout


class Looking(FailureTest):
    def settled(self):
        """A job whose ranks are where they stay: rank 2 at line 9, the others at 10."""
        job = self.waiting()
        self.addCleanup(job.process.kill)
        lines = ("/script.py:9,", "/script.py:10,")
        until(lambda: all(line in ask("why") for line in lines), "ranks settle")
        return job

    def ends_by_hand(self, job) -> str:
        job.process.kill()
        ended = job.ended()
        self.nothing_is_left()
        return ended.err

    def test_why(self):
        job = self.settled()
        said = ask("why")
        flat = re.sub(r"\s+", " ", said)
        self.assertRegex(flat, r"phalanx: .*rank 2 on h2 sleeps .*at script.py:9", said)
        self.assertRegex(flat, r"rank 2 on h2 \(pid \d+\): sleeps", said)
        self.assertRegex(flat, r"ranks 0, 1, 3 on h1, h2: ", said)
        self.assertRegex(flat, r"at \S*/script.py:10, in <module> comm.Barrier\(\)")
        seen = json.loads(ask("why", "--json"))
        hosts = [rank["host"] for rank in seen["ranks"]]
        self.assertEqual(hosts, ["h1", "h1", "h2", "h2"])
        [main] = [
            thread
            for thread in seen["ranks"][2]["process"]["threads"]
            if thread["thread"] == seen["ranks"][2]["process"]["pid"]
        ]
        self.assertEqual((main["doing"], main["stack"][0]["line"]), ("sleeps", 9))
        self.assertEqual(seen["ranks"][2]["mpi"], "running")
        self.ends_by_hand(job)

    def test_top(self):
        job = self.settled()
        lines = ask("top", "--once", "--delay", "0.5").splitlines()
        at = next(n for n, line in enumerate(lines) if "RANK" in line)
        self.assertEqual(lines[at].split()[:2], ["RANK*", "HOST"], lines)
        rows = [line.split() for line in lines[at + 1 :]]
        self.assertEqual([row[1] for row in rows], ["h1", "h1", "h2", "h2"], lines)
        cpu = [float(row[3]) for row in rows]
        self.assertLess(cpu[2], min(cpu[0], cpu[1], cpu[3]), lines)
        self.assertTrue(all(re.fullmatch(r"[\d.]+M", row[4]) for row in rows), lines)
        self.assertIn("script.py:9 <module>", lines[at + 3])
        self.ends_by_hand(job)

    def test_ps(self):
        job = self.settled()
        said = ask("ps")
        self.assertRegex(said, rf"\b{job.process.pid} +4 +\d+ s +running +\S*script.py")
        self.ends_by_hand(job)

    def test_asked_by_a_signal(self):
        job = self.settled()
        job.process.send_signal(signal.SIGQUIT)
        time.sleep(2)
        said = self.ends_by_hand(job)
        self.assertRegex(said, r"rank 2 on h2 \(pid \d+\): sleeps")
        self.assertIn("/script.py:9, in <module>", said)

    def test_a_host_that_does_not_answer(self):
        job = self.settled()
        os.kill(self.agent("h2"), signal.SIGSTOP)
        said = re.sub(r"\s+", " ", ask("why"))
        self.assertRegex(said, "ranks 2, 3 on h2: are doing what .* not told in time")
        self.assertIn("ranks 0, 1 on h1: ", said)
        # Its guard may be there first.
        self.ends(job, 1, "host h2 is lost: (3 heartbeats|its connection ended)")


if __name__ == "__main__":
    unittest.main()
