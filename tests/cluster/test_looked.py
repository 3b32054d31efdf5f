"""`phalanx cluster top` and `why`: what engines do, seen from outside."""

import json
import os
import re
import signal
import subprocess
import time
import unittest
from typing import Any

import phalanx.ipyparallel as ipp
from phalanx.ipyparallel.cluster.commands import binary
from test_sessions import SECONDS, Home


def busy() -> None:
    while True:
        sum(range(1000))


def fail() -> None:
    raise ValueError("not\nthis")


class Looked(Home):
    def start(self, n: int, **options: Any) -> ipp.Client:
        self.cluster = ipp.Cluster(n=n, log_level=40, **options)
        self.addCleanup(self.cluster.stop_cluster_sync)
        return self.cluster.start_and_connect_sync()

    def command(self, *words: str, status: int = 0) -> str:
        """What a command about the cluster prints."""
        done = subprocess.run(
            [binary(), "cluster", *words, f"--cluster-id={self.cluster.cluster_id}"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout + done.stderr

    def until(self, pattern: str, *words: str) -> str:
        """The first output of a command in which a pattern is found."""
        end = time.monotonic() + SECONDS / 2
        while True:
            text = self.command(*words)
            if re.search(pattern, text, re.DOTALL):
                return text
            self.assertLess(time.monotonic(), end, f"never said {pattern!r}: {text}")

    def test_top(self) -> None:
        rc = self.start(3)
        rc[0].apply_async(busy)
        with self.assertRaises(ipp.RemoteError):
            rc[1].apply_sync(fail)
        rc[0].apply_async(int)
        rc[1].map_sync(abs, range(10))
        text = self.until(r"\n +0 +\d+ +[1-9]\d", "top", "--once", "--delay=0.2")
        lines = text.splitlines()
        self.assertTrue(all(len(line) <= 80 for line in lines), text)
        self.assertRegex(lines[0], r"^cluster \S+ of profile default .*: 3 engines")
        self.assertRegex(lines[1], r"^tasks/s \d+; queued 1, .* failed 1;")
        rows = {line.split()[0]: line.split() for line in lines[3:6]}
        self.assertEqual(rows["0"][4:8], ["runs", "0", "0", "1"])
        self.assertEqual(rows["1"][4:8], ["idle", "2", "1", "0"])
        self.assertEqual(rows["2"][4:8], ["idle", "0", "0", "0"])
        self.assertRegex(lines[6], r"ago engine 1: ValueError: not$")

    def test_top_for_programs(self) -> None:
        rc = self.start(2)
        view = rc.load_balanced_view()
        view.label = "a study"
        view.apply_async(busy)
        seen = json.loads(self.command("top", "--json", "--delay=0.3"))
        engines = {one["state"]: one for one in seen["engines"]}
        self.assertEqual(set(engines), {"idle", "runs"})
        self.assertEqual(engines["runs"]["task"]["label"], "a study")
        self.assertGreater(engines["runs"]["process"]["resident"], 1 << 20)
        self.assertEqual((seen["queued"], seen["mishaps"]), (0, []))

    def test_lost_engines_are_mishaps(self) -> None:
        rc = self.start(2)
        with self.assertRaises(ipp.EngineError):
            rc[1].apply_sync(os.kill, os.getpid() * 0, signal.SIGKILL)
        seen = json.loads(self.command("top", "--json", "--delay=0.1"))
        said = [(one["ename"], one["engine_id"]) for one in seen["mishaps"]]
        self.assertIn(("EngineError", 1), said)
        self.assertIn("SIGKILL", seen["mishaps"][-1]["evalue"])

    def test_why(self) -> None:
        rc = self.start(3)
        rc[0].apply_async(busy)
        rc[1].execute("import time\n\ntime.sleep(300)  # here\n")
        line = busy.__code__.co_firstlineno + 2
        text = self.until(rf"test_looked\.py:{line}, in busy.*:3, in <module>", "why")
        self.assertRegex(text, r"(?s)engine 0 .*: runs apply .*it computes\n")
        self.assertIn("sum(range(1000))", text)
        self.assertRegex(
            text, r"(?s)engine 1 .*sleeps for a time\n +at <cell 1 on engine 1>:3, in"
        )
        self.assertIn("engine 2: has nothing to do, 0 done", text)
        self.assertTrue(all(len(line) <= 80 for line in text.splitlines()), text)
        seen = json.loads(self.command("why", "--json"))
        self.assertEqual(seen["engines"][0]["process"]["stack"][0]["function"], "busy")

    def test_why_of_ranks(self) -> None:
        rc = self.start(2, engines="mpi")
        rc[:].execute("from mpi4py import MPI; comm = MPI.COMM_WORLD", block=True)
        rc[1].execute("comm.recv(source=0, tag=5)")
        text = " ".join(self.until("waits in", "why").split())
        self.assertRegex(text, "it waits in Recv from rank 0, tag 5, .*as rank 1, for")
        self.assertIn("at <cell 1 on engine 1>:1, in <module>", text)

    def test_without_a_cluster(self) -> None:
        for command in ("top", "why", "dashboard"):
            done = subprocess.run(
                [binary(), "cluster", command],
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
            self.assertEqual(done.returncode, 1)
            self.assertIn("no cluster of profile default is running", done.stderr)

    def test_a_controller_that_is_stopped_is_silent(self) -> None:
        self.start(1)
        pid = self.cluster.controller.process.pid
        os.kill(pid, signal.SIGSTOP)
        self.addCleanup(os.kill, pid, signal.SIGCONT)
        for command in ("top", "why"):
            text = self.command(command, status=1)
            self.assertIn("does not answer: is it stopped?", text)

    def test_wrong_arguments(self) -> None:
        self.start(0)
        self.assertIn(
            "--delay takes seconds",
            self.command("top", "--delay=never", status=2),
        )
        self.assertIn(
            "--port takes a number",
            self.command("dashboard", "--port=http", status=2),
        )


if __name__ == "__main__":
    unittest.main()
