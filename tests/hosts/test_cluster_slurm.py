"""An interactive cluster whose engines are a job of Slurm's."""

import contextlib
import os
import subprocess
import time
import unittest
from pathlib import Path
from unittest import mock

from hosts import until
from phalanx import ipyparallel as ipp
from test_cluster import ClusterTest, where


class Slurm(ClusterTest):
    def make(self) -> ipp.Cluster:
        # Its script, and what its job prints, come into the working directory.
        self.enterContext(contextlib.chdir(self.folder))
        here = {"PYTHONPATH": str(Path(__file__).parent)}
        self.enterContext(mock.patch.dict(os.environ, here))
        config = {"SlurmEngineSetLauncher": {"options": "-N2 --ntasks-per-node=2"}}
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

    def test_engines_are_its_tasks(self):
        client = self.client
        self.assertEqual(client.ids, [0, 1, 2, 3])
        found = [host for host, _ in client[:].apply_sync(where)]
        self.assertEqual(found, ["h1", "h1", "h2", "h2"])
        self.assertEqual(self.jobs(), [self.cluster.engine_set.job_id])
        self.cluster.stop_engines_sync()
        until(lambda: not self.jobs(), "the job is out of the queue")

    def test_a_job_that_is_cancelled(self):
        client = self.client
        result = client[:].apply_async(time.sleep, 1000)
        until(lambda: client.queue_status(0)["tasks"], "the task has begun")
        subprocess.run(["scancel", self.jobs()[0]], check=True, timeout=60)
        with self.assertRaises(ipp.error.CompositeError):
            result.get(60)
        until(lambda: not client.ids, "the engines are gone")


if __name__ == "__main__":
    unittest.main()
