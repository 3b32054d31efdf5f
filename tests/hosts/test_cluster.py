"""An interactive cluster on several hosts: controller on h0, engines on h1 and h2."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import unittest

import numpy as np
from hosts import ENVIRONMENT, NET, PHALANX, SECONDS, HostsTest, processes, until
from phalanx import ipyparallel as ipp

# From the moment at which a host falls silent until what waits for it has ended: four
# heartbeats, and what this machine is busy with.
SILENCE = 4.0
BUSY = 8.0


def where():
    import os
    import socket

    return socket.gethostname(), os.getpid()


def sleep_for(seconds):
    import time

    time.sleep(seconds)
    return "slept"


class ClusterTest(HostsTest):
    hosts: dict[str, int] = {"h1": 1, "h2": 1}  # noqa: RUF012

    def setUp(self) -> None:
        super().setUp()
        os.environ["IPYTHONDIR"] = str(self.folder / "ipython")
        self.cluster = self.make()
        self.addCleanup(self.nothing_of_it_is_left)
        self.addCleanup(self.cluster.stop_cluster_sync)
        self.client = self.cluster.start_and_connect_sync()
        self.addCleanup(self.client.close)

    def make(self) -> ipp.Cluster:
        config = {
            "SSHEngineSetLauncher": {
                "engines": self.hosts,
                "ssh_cmd": [ENVIRONMENT["PHALANX_SSH"]],
                "ssh_args": [],
            }
        }
        return ipp.Cluster(
            engines="ssh",
            n=sum(self.hosts.values()),
            profile_dir=str(self.folder / "profile"),
            config=config,
            shutdown_atexit=False,
        )

    def nothing_of_it_is_left(self) -> None:
        def left() -> list[int]:
            return processes(str(self.folder)) + processes("phalanx.ipyparallel.engine")

        until(lambda: not left(), f"processes are left: {left()}")

    def said(self, began: float) -> None:
        print(f"{self.id().split('.', 1)[-1]}: {time.monotonic() - began:.1f} s")

    def cable(self, host: str, state: str) -> None:
        subprocess.run(
            ["ip", "link", "set", f"port{host[1:]}", state], check=True, timeout=30
        )

    def fails(self, result, says: str, within: float) -> None:
        began = time.monotonic()
        with self.assertRaisesRegex(ipp.error.EngineError, says):
            result.get(SECONDS)
        self.said(began)
        self.assertLess(time.monotonic() - began, within)


class AtWork(ClusterTest):
    hosts = {"h1": 2, "h2": 1}  # noqa: RUF012

    def test_calls_arrays_and_another_machine(self):
        client = self.client
        self.assertEqual(client.ids, [0, 1, 2])
        found = [host for host, _ in client[:].apply_sync(where)]
        self.assertEqual(found, ["h1", "h1", "h2"])
        array = np.random.default_rng(2).random(3_000_001)
        client[:].push({"array": array}, block=True)
        for got in client[:].pull("array", block=True):
            np.testing.assert_array_equal(got, array)
        client[:].scatter("part", array, block=True)
        np.testing.assert_array_equal(client[:].gather("part", block=True), array)
        squares = client.load_balanced_view().map_sync(lambda x: x * x, range(300))
        self.assertEqual(squares, [x * x for x in range(300)])
        # A client on h2, which finds the cluster by its file.
        code = (
            "import sys, socket; from phalanx import ipyparallel as ipp\n"
            "rc = ipp.Client(sys.argv[1], timeout=20)\n"
            "print(socket.gethostname(), rc.ids, rc[:].apply_sync(abs, -2))"
        )
        script = self.script(code, "client.py")
        rsh = ENVIRONMENT["PHALANX_SSH"]
        file = self.cluster.controller.connection_files["client"]
        done = subprocess.run(
            [rsh, "h2", f"{sys.executable} {script} {file}"],
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )
        self.assertEqual(done.stdout, "h2 [0, 1, 2] [2, 2, 2]\n", done.stderr)
        # One more engine, by hand.
        file = self.cluster.controller.connection_files["engine"]
        hand = subprocess.Popen(
            [rsh, "h1", f"{PHALANX} ipengine --file {file} 2>/dev/null"],
            stdin=subprocess.DEVNULL,
        )
        self.addCleanup(hand.wait, SECONDS)
        self.addCleanup(hand.kill)
        client.wait_for_engines(4, timeout=SECONDS)
        self.assertEqual(client[3].apply_sync(socket.gethostname), "h1")
        client.shutdown(3, block=True)
        self.assertEqual(hand.wait(SECONDS), 0)

    def test_a_host_that_cannot_be_reached(self):
        config = {
            "SSHEngineSetLauncher": {
                "engines": {"h9": 1},
                "ssh_cmd": [ENVIRONMENT["PHALANX_SSH"]],
                "ssh_args": [],
            }
        }
        other = ipp.Cluster(
            engines="ssh",
            cluster_id="other",
            profile_dir=str(self.folder / "profile"),
            config=config,
        )
        self.addCleanup(other.stop_cluster_sync)
        with self.assertRaisesRegex(Exception, "what brings engines has ended"):
            other.start_and_connect_sync().wait_for_engines(1, timeout=SECONDS)


class Faults(ClusterTest):
    def test_a_cable_that_is_cut_for_two_seconds(self):
        client = self.client
        client[1]["kept"] = 1
        pid = client[1].apply_sync(where)[1]
        result = client[1].apply_async(sleep_for, 1)
        until(lambda: client.queue_status(1)["tasks"], "the task has begun")
        self.cable("h2", "down")
        threading.Timer(2.0, self.cable, ("h2", "up")).start()
        self.assertEqual(result.get(SECONDS), "slept")
        self.assertEqual(client[1].apply_sync(where)[1], pid)
        self.assertEqual(client[1]["kept"], 1)

    def test_a_cable_that_is_cut_for_longer(self):
        client = self.client
        client[1]["kept"] = 1
        pid = client[1].apply_sync(where)[1]
        result = client[1].apply_async(sleep_for, 1)
        other = client[0].apply_async(sleep_for, 6)
        until(lambda: client.queue_status(1)["tasks"], "the task has begun")
        self.cable("h2", "down")
        try:
            self.fails(result, "h2: has not been heard from", SILENCE + BUSY)
            self.assertEqual(client.ids, [0])
            cut = float(os.environ.get("PHALANX_TEST_CABLE_CUT", "3"))
            time.sleep(cut)
        finally:
            self.cable("h2", "up")
        until(lambda: client.ids == [0, 1], "the engine is back")
        self.assertEqual(client[1]["kept"], 1)
        self.assertEqual(client[1].apply_sync(where)[1], pid)
        self.assertEqual(other.get(SECONDS), "slept")

    def test_a_remote_shell_that_is_killed(self):
        client = self.client
        result = client[1].apply_async(sleep_for, 1000)
        until(lambda: client.queue_status(1)["tasks"], "the task has begun")
        (job,) = [job for job in self.cluster.engine_set.jobs if "h2" in job.name]
        job.signal(signal.SIGKILL)
        with self.assertRaises(ipp.error.EngineError):
            result.get(SECONDS)
        until(lambda: client.ids == [0], "the engine is gone")

    def test_a_controller_that_is_killed(self):
        client = self.client
        result = client[:].apply_async(sleep_for, 1000)
        until(lambda: client.queue_status(1)["tasks"], "the task has begun")
        self.cluster.controller.signal(signal.SIGKILL)
        with self.assertRaisesRegex(ipp.error.CompositeError, "controller has ended"):
            result.get(SECONDS)
        until(lambda: not processes("phalanx.ipyparallel.engine"), "engines have ended")
        with contextlib.suppress(Exception):
            self.cluster.stop_cluster_sync()


class HostLost(ClusterTest):
    """The last of this file: it ends the host."""

    def test_host_that_is_gone(self):
        client = self.client
        result = client[1].apply_async(sleep_for, 1000)
        until(lambda: client.queue_status(1)["tasks"], "the task has begun")
        view = client.load_balanced_view(retries=2)
        many = view.map_async(sleep_for, [0.3] * 20)
        os.kill(int((NET / "h2.pid").read_text()), signal.SIGKILL)
        self.fails(result, "h2: ", SILENCE + BUSY)
        self.assertEqual(list(many.get(SECONDS)), ["slept"] * 20)
        self.assertEqual(client.ids, [0])


if __name__ == "__main__":
    unittest.main()
