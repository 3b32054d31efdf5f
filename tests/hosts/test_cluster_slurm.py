"""Interactive clusters whose engines are ranks in allocations of Slurm's."""

import contextlib
import os
import subprocess
import sys
import time
import unittest
from pathlib import Path
from unittest import mock

from hosts import SECONDS, HostsTest, until
from phalanx import ipyparallel as ipp
from test_cluster import ClusterTest


class Ranks(ClusterTest):
    def make(self) -> ipp.Cluster:
        # Its script comes into the working directory.
        self.enterContext(contextlib.chdir(self.folder))
        here = {"PYTHONPATH": str(Path(__file__).parent)}
        self.enterContext(mock.patch.dict(os.environ, here))
        options = {"options": "-N2 --ntasks-per-node=2", "ranks": True}
        config = {"SlurmEngineSetLauncher": options}
        return ipp.Cluster(
            engines="slurm",
            n=4,
            profile_dir=str(self.folder / "profile"),
            config=config,
            shutdown_atexit=False,
        )

    def jobs(self) -> list[str]:
        listed = ["squeue", "-h", "-o", "%i"]
        done = subprocess.run(
            listed, capture_output=True, text=True, check=True, timeout=60
        )
        return done.stdout.split()

    def nothing_of_it_is_left(self) -> None:
        super().nothing_of_it_is_left()
        self.nothing_is_left()

    def test_engines_are_ranks_of_its_nodes(self):
        client = self.client
        self.assertEqual(client.ids, [0, 1, 2, 3])
        client[:].execute("from mpi4py import MPI; world = MPI.COMM_WORLD").get(SECONDS)
        names = "names = world.allgather(MPI.Get_processor_name())"
        client[:].execute(f"rank = world.rank; {names}").get(SECONDS)
        self.assertEqual(client[:]["rank"], [0, 1, 2, 3])
        self.assertEqual(client[:]["names"], [["h1", "h1", "h2", "h2"]] * 4)
        self.cluster.stop_engines_sync()
        until(lambda: not self.jobs(), "the job is out of the queue")

    def test_a_job_that_is_cancelled(self):
        client = self.client
        result = client[:].apply_async(time.sleep, 1000)
        until(lambda: client.queue_status(3)["tasks"], "the task has begun")
        subprocess.run(["scancel", self.jobs()[0]], check=True, timeout=60)
        with self.assertRaises(ipp.error.CompositeError):
            result.get(60)
        until(lambda: not client.ids, "the engines are gone")


IN_AN_ALLOCATION = """
import sys
from phalanx import ipyparallel as ipp

with ipp.Cluster(engines="mpi", profile_dir=sys.argv[1], log_level=40) as rc:
    rc[:].execute("from mpi4py import MPI; world = MPI.COMM_WORLD", block=True)
    rc[:].execute("n = world.allgather(MPI.Get_processor_name())", block=True)
    print(rc.ids, rc[3]["n"])
"""


class Allocation(HostsTest):
    def test_ranks_are_on_its_nodes(self):
        script = self.script(IN_AN_ALLOCATION)
        command = ["salloc", "-Q", "-N2", "-n4", "--ntasks-per-node=2", sys.executable]
        command += [script, str(self.folder / "profile")]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, check=False
        )
        wanted = "[0, 1, 2, 3] ['h1', 'h1', 'h2', 'h2']\n"
        self.assertEqual((done.returncode, done.stdout), (0, wanted), done.stderr)
        self.nothing_is_left()


if __name__ == "__main__":
    unittest.main()
