"""Interactive clusters whose engines are a job of the batch system `BATCH`."""

import contextlib
import os
import re
import subprocess
import time
import unittest
from dataclasses import dataclass, field
from pathlib import Path
from unittest import mock

from hosts import ENVIRONMENT, HostsTest, processes, until
from phalanx import ipyparallel as ipp
from phalanx.ipyparallel.cluster.launcher import LauncherError
from test_cluster import ClusterTest, where


@dataclass(frozen=True)
class System:
    """What the two hosts of a system have room for, and how it says things."""

    room: int
    remove: str
    waits: str  # of a task that waits
    refuses: str = ""  # a queue that is not there
    fails: str = ""  # a task whose output has no place
    options: dict[str, str] = field(default_factory=dict)
    ranks: dict[str, object] = field(default_factory=dict)  # where they are offered


NAME = os.environ.get("BATCH", "slurm")
SYSTEM = {
    "slurm": System(
        8,
        "scancel",
        r"PENDING \(\w+\)",
        "invalid partition specified: nowhere",
        options={"options": "-N2 --ntasks-per-node=2"},
    ),
    "sge": System(
        4,
        "qdel",
        r"\bqw\b",
        'unknown queue "nowhere"',
        "2 Eqw",
        ranks={"ranks": True, "parallel_environment": "round"},
    ),
    "htcondor": System(
        4,
        "condor_rm",
        "idle",
        fails="held: .*Failed to open",
        ranks={"ranks": True, "universe": "parallel"},
    ),
    "pbs": System(8, "qdel", r"\bQ\b", "invalid partition specified: nowhere"),
}[NAME]


ORDER = ["h1", "h1", "h2", "h2"]


class Batch(HostsTest):
    n = 4

    def enter(self) -> None:
        """Its script comes into the working directory."""
        self.work = self.folder / "work"
        self.work.mkdir()
        self.enterContext(contextlib.chdir(self.work))
        here = {"PYTHONPATH": str(Path(__file__).parent)}
        self.enterContext(mock.patch.dict(os.environ, here))

    def made(self, n: int, timeout: float = 60, **options) -> ipp.Cluster:
        return ipp.Cluster(
            engines=NAME,
            n=n,
            profile_dir=str(self.folder / "profile"),
            config={"BatchSystemLauncher": options},
            engine_timeout=timeout,
            shutdown_atexit=False,
            log_level=30,
        )

    def remove(self, job: str) -> None:
        line = [SYSTEM.remove, job]
        subprocess.run(line, check=True, capture_output=True, timeout=60)

    def only_the_script_is_left(self) -> None:
        # Where `qsub` is Slurm's, it says itself where output goes.
        if NAME != "pbs":
            self.assertEqual(len(list(self.work.iterdir())), 1)
        # (The controllers' logs stay; Slurm's own word of a job that ended as well.)
        log = self.folder / "profile" / "log"
        names = [path.name for path in log.iterdir() if not path.stat().st_size]
        self.assertEqual([n for n in names if not n.startswith("ipcontroller")], [])


class IsAJob:
    """Of several engines."""

    def is_out_of_the_queue(self, engines) -> None:
        until(lambda: engines.states() == [], "the job is out of the queue")

    def test_a_job_that_is_removed(self):
        client, engines = self.client, self.cluster.engine_set
        result = client[:].apply_async(time.sleep, 1000)
        last = self.n - 1
        until(lambda: client.queue_status(last)["tasks"], "the task has begun")
        self.remove(engines.job_id)
        with self.assertRaises(ipp.error.CompositeError):
            result.get(60)
        until(lambda: not client.ids, "the engines are gone")
        self.is_out_of_the_queue(engines)


class AtWork(IsAJob, Batch, ClusterTest):
    def make(self) -> ipp.Cluster:
        self.enter()
        return self.made(self.n, **SYSTEM.options)

    def test_engines_are_its_tasks(self):
        client, engines = self.client, self.cluster.engine_set
        self.assertEqual(client.ids, [0, 1, 2, 3])
        found = [host for host, _ in client[:].apply_sync(where)]
        if NAME != "pbs":
            self.assertEqual(sorted(found), ["h1", "h1", "h2", "h2"])
        self.assertEqual(client[:].apply_sync(os.getcwd), [str(self.work)] * 4)
        self.assertTrue(engines.states())
        killed = client[0].apply_async(os.kill, client[0].apply_sync(os.getpid), 9)
        with self.assertRaisesRegex(ipp.error.EngineError, "SIGKILL"):
            killed.get(60)
        self.assertEqual(client[:].apply_sync(abs, -1), [1] * 3)
        self.cluster.stop_engines_sync()
        self.is_out_of_the_queue(engines)
        self.only_the_script_is_left()


@unittest.skipUnless(SYSTEM.ranks, "ranks are not offered, or tried elsewhere")
class Ranks(IsAJob, Batch, ClusterTest):
    def make(self) -> ipp.Cluster:
        self.enter()
        shell = {"ssh_cmd": [ENVIRONMENT["PHALANX_SSH"]]}
        return self.made(self.n, **SYSTEM.ranks, **shell)

    def test_engines_are_ranks_of_its_hosts(self):
        client, engines = self.client, self.cluster.engine_set
        self.assertEqual(client.ids, [0, 1, 2, 3])
        client[:].execute("from mpi4py import MPI; world = MPI.COMM_WORLD").get(60)
        names = "names = world.allgather(MPI.Get_processor_name())"
        client[:].execute(f"rank = world.rank; {names}").get(60)
        self.assertEqual(client[:]["rank"], [0, 1, 2, 3])
        # Host after host.
        self.assertIn(client[0]["names"], (ORDER, ORDER[::-1]))
        self.cluster.stop_engines_sync()
        self.is_out_of_the_queue(engines)


@unittest.skipUnless(NAME == "htcondor", "others give a job several machines")
class RanksOfOneMachine(IsAJob, Batch, ClusterTest):
    n = 2

    def make(self) -> ipp.Cluster:
        self.enter()
        return self.made(self.n, ranks=True)

    def test_a_deadlock_is_an_error(self):
        client, engines = self.client, self.cluster.engine_set
        self.assertEqual(client.ids, [0, 1])
        client[:].execute("from mpi4py import MPI; world = MPI.COMM_WORLD").get(60)
        names = "names = world.allgather(MPI.Get_processor_name())"
        client[:].execute(f"rank = world.rank; {names}").get(60)
        self.assertEqual(client[:]["rank"], [0, 1])
        self.assertEqual(len(set(client[0]["names"])), 1)
        result = client[:].execute("world.recv(source=1 - world.rank)")
        with self.assertRaisesRegex(ipp.CompositeError, "deadlock"):
            result.get(60)
        self.cluster.stop_engines_sync()
        self.is_out_of_the_queue(engines)


class NotAtWork(Batch):
    def setUp(self) -> None:
        super().setUp()
        self.enter()
        self.addCleanup(self.nothing_of_it_is_left)

    def nothing_of_it_is_left(self) -> None:
        wanted = "phalanx.ipyparallel.engine"
        until(lambda: not processes(wanted), "no engine is left")

    def started(self, cluster: ipp.Cluster) -> None:
        self.addCleanup(cluster.stop_cluster_sync)
        cluster.start_and_connect_sync()

    @unittest.skipUnless(SYSTEM.refuses, "it has no queues")
    def test_a_queue_that_is_not_there(self):
        with self.assertRaisesRegex(LauncherError, SYSTEM.refuses):
            self.started(self.made(2, queue="nowhere"))

    def test_a_job_that_waits(self):
        # A cluster that fills the hosts, so that the others' jobs wait.
        self.started(self.made(SYSTEM.room))
        with self.assertRaises(TimeoutError) as caught:
            self.started(self.made(2, timeout=3))
        said = str(caught.exception)
        self.assertRegex(
            said, rf"0 of 2 engines after 3 s; job \d+\S*: .*{SYSTEM.waits}"
        )
        self.assertIn("engine_timeout", said)
        other = self.made(2)
        self.addCleanup(other.stop_cluster_sync)
        other.start_cluster_sync()
        engines = other.engine_set
        until(lambda: engines.states(), "the job waits")
        self.assertRegex(" ".join(engines.states()), SYSTEM.waits)
        client = other.connect_client_sync()
        self.addCleanup(client.close)
        self.remove(engines.job_id)
        says = f"job {re.escape(engines.job_id)} has ended.*; it printed nothing"
        with self.assertRaisesRegex(ipp.error.EngineError, says):
            client.wait_for_engines(1, timeout=60)

    def test_a_job_that_ends_at_once(self):
        words = {
            "program_and_args": "echo what went wrong",
            "program": "/bin/echo",
            "arguments": "what went wrong",
        }
        with self.assertRaisesRegex(ipp.error.EngineError, "2 of its 2 engines never"):
            self.started(self.made(2, namespace=words))
        found = (self.folder / "profile" / "log").glob(f"{NAME}*")
        if NAME != "pbs":
            self.assertIn("what went wrong", "".join(p.read_text() for p in found))

    @unittest.skipUnless(SYSTEM.fails, "no such state")
    def test_a_job_that_the_system_cannot_start(self):
        says = rf"job \d+ will not start \(.*{SYSTEM.fails}.*2 of its 2 engines never"
        with self.assertRaisesRegex(ipp.error.EngineError, says):
            self.started(self.made(2, output_file="/nowhere/at/all"))


if __name__ == "__main__":
    unittest.main()
