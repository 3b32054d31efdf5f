"""Clusters on batch systems that cannot be had: something stands in for each."""

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path
from unittest import mock

from phalanx import ipyparallel as ipp
from phalanx.ipyparallel.cluster.launcher import LauncherError
from test_faults import (
    MARK,
    PHALANX,
    SECONDS,
    kill_myself,
    marked,
    sleep_long,
    until,
)

STAND_IN = Path(__file__).with_name("batch_stand_in.py")


class Systems:
    system: str
    engines: str
    commands: tuple[str, ...]

    def setUp(self) -> None:
        place = tempfile.TemporaryDirectory(prefix="batch-")
        self.addCleanup(place.cleanup)
        self.place = Path(place.name)
        self.work = self.place / "work"
        self.work.mkdir()
        self.enterContext(contextlib.chdir(self.work))
        for name in self.commands:
            path = self.place / name
            path.write_text(f"#!{sys.executable}\n{STAND_IN.read_text()}")
            path.chmod(0o700)
        self.mark = f"{os.getpid()}-{id(self)}"
        here = {
            "PATH": f"{self.place}:{os.environ['PATH']}",
            "STAND_IN": self.system,
            "IPYTHONDIR": str(self.place / "ipython"),
            "PYTHONPATH": str(Path(__file__).parent),
            MARK: self.mark,
        }
        self.enterContext(mock.patch.dict(os.environ, here))

    def cluster(self, n: int, **options) -> ipp.Cluster:
        made = ipp.Cluster(
            n=n,
            engines=self.engines,
            engine_timeout=60,
            log_level=40,
            config={"BatchSystemLauncher": options},
        )
        self.addCleanup(made.stop_cluster_sync)
        return made

    def ends(self) -> None:
        until(lambda: not marked(self.mark), f"left: {marked(self.mark)}")

    def test_engines_work_and_end(self):
        for n in (1, 3):
            with self.subTest(n=n):
                cluster = self.cluster(n)
                client = cluster.start_and_connect_sync()
                self.assertEqual(client.ids, list(range(n)))
                folders = client[:].apply_sync(os.getcwd)
                self.assertEqual(folders, [str(self.work)] * n)
                self.assertTrue(cluster.engine_set.states())
                cluster.stop_cluster_sync()
                self.ends()
        self.assertEqual(len(list(self.work.iterdir())), 1, "only the script")

    def test_engines_may_be_ranks(self):
        cluster = self.cluster(3, ranks=True)
        client = cluster.start_and_connect_sync()
        self.assertEqual(client.ids, [0, 1, 2])
        client[:].execute("from mpi4py import MPI; world = MPI.COMM_WORLD").get(60)
        client[:].execute("n = world.allgather(world.rank)").get(60)
        self.assertEqual(client[:]["n"], [[0, 1, 2]] * 3)
        self.assertEqual(len(cluster.engine_set.states()), 1, "one job")
        cluster.stop_cluster_sync()
        self.ends()
        self.assertEqual(len(list(self.work.iterdir())), 1, "only the script")

    def test_a_job_that_is_taken_away(self):
        cluster = self.cluster(2)
        client = cluster.start_and_connect_sync()
        killed = client[0].apply_async(kill_myself)
        # (It is no child of the controller's, which sees its end and not its cause.)
        with self.assertRaisesRegex(ipp.error.EngineError, r"engine 0 .* ended"):
            killed.get(60)
        waits = client[1].apply_async(sleep_long)
        engines = cluster.engine_set
        engines._run([*engines.delete_command, engines.job_id])
        with self.assertRaises(ipp.error.EngineError):
            waits.get(60)
        until(lambda: engines.states() == [], "the job has ended")

    def test_a_queue_that_is_not_there(self):
        with self.assertRaisesRegex(LauncherError, "Unknown queue"):
            self.cluster(2, queue="long").start_cluster_sync()
        self.ends()

    def test_a_job_that_ends_at_once(self):
        command = "echo what went wrong; exit 3"
        cluster = self.cluster(2, namespace={"program_and_args": command})
        says = r"job \d+(\[\])? has ended, and 2 of its 2 .*; it printed: what went wro"
        with self.assertRaisesRegex(ipp.error.EngineError, says):
            cluster.start_and_connect_sync()
        self.ends()


class OpenPBS(Systems, unittest.TestCase):
    system, engines, commands = "openpbs", "pbs", ("qsub", "qstat", "qdel")

    def test_ipcluster_says_what_became_of_the_job(self):
        words = {"program_and_args": "echo what went wrong"}
        line = [PHALANX, "ipcluster", "start", "-n", "2", "--engines=pbs"]
        line.append(f"--BatchSystemLauncher.namespace={words}")
        started = subprocess.Popen(
            line, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.addCleanup(started.stderr.close)
        watch = threading.Timer(SECONDS, started.kill)
        watch.start()
        self.addCleanup(watch.cancel)
        for said in started.stderr:
            if "has ended" in said:
                break
        self.assertRegex(said, "2 of its 2 engines never came; .* what went wrong")
        started.send_signal(signal.SIGINT)
        self.assertEqual(started.wait(SECONDS), 0)
        self.ends()


class Torque(Systems, unittest.TestCase):
    system, engines, commands = "torque", "pbs", ("qsub", "qstat", "qdel")


class LSF(Systems, unittest.TestCase):
    system, engines, commands = "lsf", "lsf", ("bsub", "bjobs", "bkill")


if __name__ == "__main__":
    unittest.main()
