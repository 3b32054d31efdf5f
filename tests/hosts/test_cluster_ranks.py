"""An interactive cluster whose engines are the ranks of a job on several hosts."""

import contextlib
import io
import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import numpy as np
from hosts import ENVIRONMENT, NET, PHALANX, SECONDS, HostsTest, until
from phalanx import ipyparallel as ipp
from test_cluster import BUSY, SILENCE, ClusterTest, where

IMPORT = "from mpi4py import MPI; world = MPI.COMM_WORLD"
BIG = "some text" * 100_000
# What waits for rank 3, which does not come.
WAITS = (
    "world.recv(source=3)",
    "world.Recv(np.empty(4), source=3)",
    "world.Probe(source=3)",
    "world.mprobe(source=3)",
    "world.irecv(source=3, tag=9).wait()",
    "MPI.Request.waitall([world.irecv(source=3, tag=9)])",
    "MPI.Request.Waitany([world.Irecv(np.empty(4), 3, 9)])",
    "MPI.Request.Waitsome([world.Irecv(np.empty(4), 3, 9)])",
    f"world.send({BIG!r}, dest=3, tag=8)",
    f"world.ssend({BIG!r}, dest=3, tag=8)",
    f"world.sendrecv({BIG!r}, dest=3, sendtag=8, source=3)",
    "world.Sendrecv(np.ones(4), 0, 7, np.empty(4), 3)",
    "world.barrier()",
    "world.bcast(None, root=3)",
    "world.gather(1)",
    "world.allreduce(1)",
    "world.Bcast(np.empty(4), root=3)",
    "world.Allreduce(np.ones(4), np.empty(4))",
    "world.Reduce_scatter(np.ones(4), np.empty(1))",
    "world.Split(0)",
    "world.Dup()",
    "world.Create_cart([4])",
)


def meet(n):
    """Who is there, and a sum over all."""
    import socket

    import numpy as np
    from mpi4py import MPI

    world = MPI.COMM_WORLD
    whole = np.zeros(n)
    world.Allreduce(np.full(n, world.rank + 1.0), whole)
    return socket.gethostname(), world.rank, world.size, whole


def die_or_meet(rank):
    import os
    import signal

    from mpi4py import MPI

    world = MPI.COMM_WORLD
    world.barrier()
    if world.rank == rank:
        os.kill(os.getpid(), signal.SIGKILL)
    return world.allreduce(1)


def sleep_long(folder):
    import os
    import time

    open(f"{folder}/there-{os.environ['PMI_RANK']}", "w").close()
    time.sleep(1000)


def config_of(hosts) -> dict:
    shell = ENVIRONMENT["PHALANX_SSH"]
    return {"MPIEngineSetLauncher": {"hosts": hosts, "ssh_cmd": [shell]}}


class RanksTest(ClusterTest):
    hosts = {"h1": 2, "h2": 2}  # noqa: RUF012

    def make(self) -> ipp.Cluster:
        # A directory that other hosts do not have: they need no file of it.
        own = self.enterContext(tempfile.TemporaryDirectory(dir="/tmp"))
        return ipp.Cluster(
            engines="mpi",
            profile_dir=f"{own}/profile",
            config=config_of(self.hosts),
            shutdown_atexit=False,
            log_level=40,
        )

    def nothing_of_it_is_left(self) -> None:
        super().nothing_of_it_is_left()
        self.nothing_is_left()

    def ranks_work(self, n: int) -> None:
        found = self.client[:].apply_async(meet, 100_001).get(SECONDS)
        self.assertEqual(
            [(r, size) for _, r, size, _ in found], [(r, n) for r in range(n)]
        )
        for *_, whole in found:
            np.testing.assert_array_equal(whole, n * (n + 1) / 2)

    def has_begun(self, *engines: int) -> None:
        """Until their tasks have said so; and a moment, for the call after that."""
        for engine in engines:
            path = self.folder / f"there-{engine}"
            until(path.exists, f"engine {engine} is in its task")
        time.sleep(0.5)

    def tasks_on_h2(self):
        """The result of tasks there that last longer than the host."""
        self.ranks_work(4)
        result = self.client[[2, 3]].apply_async(sleep_long, str(self.folder))
        self.has_begun(2, 3)
        return result

    def are_lost(self, result, why: str) -> None:
        """Each of its tasks ends in an error that says why."""
        with self.assertRaises(ipp.CompositeError) as caught:
            result.get(SECONDS)
        for name, said, *_ in caught.exception.elist:
            self.assertEqual(name, "EngineError")
            self.assertIn(why, said)

    def ends_by_interrupts(self, result, *engines: int) -> None:
        """The first is told not to reach the task, and another ends the engine."""
        self.client.send_signal(signal.SIGINT, list(engines), block=True)
        said = "the interrupt does not reach engine"

        def have_said() -> bool:
            texts = result.stderr
            texts = [texts] if isinstance(texts, str) else texts
            return sum(said in text for text in texts) == len(engines)

        until(have_said, "engines say that they cannot be interrupted")
        self.assertFalse(result.ready())
        self.client.send_signal(signal.SIGINT, list(engines), block=True)
        with self.assertRaises(ipp.RemoteError) as caught:
            result.get(SECONDS)
        found = getattr(caught.exception, "elist", None)
        whys = [one[1] for one in found] if found else [caught.exception.evalue]
        names = {one[0] for one in found} if found else {caught.exception.ename}
        self.assertEqual(names, {"EngineError"})
        ended = [why for why in whys if "interrupted again" in why]
        self.assertEqual(len(ended), len(engines), whys)


class AtWork(RanksTest):
    def test_cells_are_ranks(self):
        client = self.client
        self.assertEqual(client.ids, [0, 1, 2, 3])
        self.assertEqual((len(client), self.cluster.n), (4, 4))
        self.assertIn("4 engines", repr(client))
        hosts = [host for host, _ in client[:].apply_sync(where)]
        self.assertEqual(hosts, ["h1", "h1", "h2", "h2"])
        client[:].execute(IMPORT).get(SECONDS)
        client[:].execute("total = world.allreduce(world.rank)").get(SECONDS)
        self.assertEqual(client[:]["total"], [6, 6, 6, 6])
        client[:].execute("rank = world.rank").get(SECONDS)
        self.assertEqual(client[:]["rank"], client.ids)
        self.ranks_work(4)
        # Tasks that have nothing to do with each other, meanwhile.
        squares = client.load_balanced_view().map_sync(lambda x: x * x, range(40))
        self.assertEqual(squares, [x * x for x in range(40)])

    def test_an_interrupt_reaches_the_other_hosts(self):
        client = self.client
        result = client[:].apply_async(sleep_long, str(self.folder))
        self.has_begun(0, 1, 2, 3)
        client.send_signal("SIGINT", block=True)
        with self.assertRaises(ipp.CompositeError) as caught:
            result.get(SECONDS)
        names = [name for name, *_ in caught.exception.elist]
        self.assertEqual(names, ["KeyboardInterrupt"] * 4)
        self.ranks_work(4)

    def test_waits_are_interrupted(self):
        """Three of four wait for the fourth, are interrupted, and work with it."""
        client, three = self.client, self.client[[0, 1, 2]]
        client[:].execute(f"{IMPORT}; import numpy as np").get(SECONDS)
        for place, wait in enumerate(WAITS):
            with self.subTest(wait):
                told = f"{self.folder}/{place}-"
                begin = f"open({told!r} + str(world.rank), 'w').close()"
                result = three.execute(f"{begin}\n{wait}")
                for rank in range(3):
                    until(Path(f"{told}{rank}").exists, f"rank {rank} is there")
                self.assertFalse(result.wait(0.1))
                client.send_signal("SIGINT", [0, 1, 2], block=True)
                with self.assertRaises(ipp.CompositeError) as caught:
                    result.get(SECONDS)
                names = [name for name, *_ in caught.exception.elist]
                self.assertEqual(names, ["KeyboardInterrupt"] * 3, caught.exception)
                client[:].execute("total = world.allreduce(world.rank)").get(SECONDS)
                self.assertEqual(client[:]["total"], [6, 6, 6, 6])
        # What was on its way arrives, while those that sent it are in MPI.
        sent = 3 * sum("dest=3" in wait for wait in WAITS)
        receive = f"[world.recv(source=k % 3, tag=8) for k in range({sent})]"
        later = f"arrived = {receive} if world.rank == 3 else []; world.barrier()"
        client[:].execute(later).get(SECONDS)
        self.assertEqual(client[3]["arrived"], [BIG] * sent)

    def test_an_engine_that_is_killed_in_a_collective(self):
        client = self.client
        result = client[:].apply_async(die_or_meet, 2)
        with contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertFalse(result.wait(8))
        self.assertRegex(said.getvalue(), "engine 2 .*SIGKILL.*3 others run on")
        self.assertEqual(client.ids, [0, 1, 3])
        client.send_signal("SIGINT", block=True)
        with self.assertRaises(ipp.CompositeError) as caught:
            result.get(SECONDS)
        names = sorted(name for name, *_ in caught.exception.elist)
        self.assertEqual(names, ["EngineError", *["KeyboardInterrupt"] * 3])
        self.assertEqual(client.ids, [0, 1, 3], "the others stay")
        # Those who need it not still have each other.
        pair = "found = world.sendrecv(world.rank, dest=1 - world.rank)"
        client[[0, 1]].execute(f"{IMPORT}; {pair}").get(SECONDS)
        self.assertEqual(client[[0, 1]]["found"], [1, 0])
        # New ones are a job of their own.
        self.cluster.restart_engines_sync()
        client.wait_for_engines(4, timeout=SECONDS)
        self.assertEqual(client.ids, [4, 5, 6, 7])
        self.ranks_work(4)

    def test_an_engine_that_is_killed_before_the_others_begin_mpi(self):
        client = self.client
        with self.assertRaisesRegex(ipp.EngineError, "SIGKILL"):
            client[3].apply_async(lambda: os.kill(os.getpid(), 9)).get(SECONDS)
        until(lambda: client.ids == [0, 1, 2], "it is gone")
        told = f"{self.folder}/there-0"
        result = client[0].execute(f"open({told!r}, 'w').close()\n{IMPORT}")
        self.has_begun(0)
        self.ends_by_interrupts(result, 0)
        self.assertEqual(client[[1, 2]].apply_sync(abs, -1), [1, 1])

    def test_one_is_shut_down(self):
        client = self.client
        client[:].execute(IMPORT).get(SECONDS)
        client.shutdown(1, block=True)
        until(lambda: client.ids == [0, 2, 3], "it is gone")
        self.assertEqual(client[:].apply_sync(abs, -1), [1, 1, 1])


class CableCut(RanksTest):
    def test_a_host_that_is_cut_off_is_lost_with_its_ranks(self):
        client = self.client
        result = self.tasks_on_h2()
        self.cable("h2", "down")
        try:
            self.are_lost(result, "h2: has not been heard from")
            there = int((NET / "h2.pid").read_text())
            children = f"/proc/{there}/task/{there}/children"

            def have_ended() -> bool:
                with open(children) as file:
                    return not any(is_alive(pid) for pid in file.read().split())

            until(have_ended, "its ranks end there, without being told")
        finally:
            self.cable("h2", "up")
        self.assertEqual(client.ids, [0, 1])
        pair = "found = world.sendrecv(world.rank, dest=1 - world.rank)"
        client[:].execute(f"{IMPORT}; {pair}").get(SECONDS)
        self.assertEqual(client[:]["found"], [1, 0])


def is_alive(pid: str) -> bool:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] not in ("Z", "X")
    return False


class FromOutside(HostsTest):
    def test_the_command_and_a_configuration_file(self):
        profile = self.folder / "profile"
        profile.mkdir()
        said = "c.MPIEngineSetLauncher.hosts = ['h1:1', 'h2:2']\n"
        (profile / "ipcluster_config.py").write_text(said)
        os.environ["IPYTHONDIR"] = str(self.folder / "ipython")
        flags = [f"--profile-dir={profile}", "--cluster-id=ranks"]
        start = [PHALANX, "ipcluster", "start", "--engines=mpi", "--daemonize", *flags]
        done = subprocess.run(
            start, capture_output=True, text=True, timeout=SECONDS, env=ENVIRONMENT
        )
        self.assertEqual((done.returncode, done.stdout + done.stderr), (0, ""))
        client = ipp.Client(profile_dir=str(profile), cluster_id="ranks", timeout=20)
        self.addCleanup(client.close)
        client.wait_for_engines(3, timeout=SECONDS)
        client[:].execute(f"{IMPORT}; all = world.allgather(world.rank)").get(SECONDS)
        self.assertEqual(client[:]["all"], [[0, 1, 2]] * 3)
        line = f"open('{self.folder}/there-2', 'w').close(); import time"
        client[2].execute(f"{line}\ntime.sleep(1000)")
        until((self.folder / "there-2").exists, "engine 2 is in its task")
        client.close()

        # Other machines than the controller's look at it, and end it.
        def there(command: str, *more: str) -> str:
            line = " ".join([PHALANX, "cluster", command, *more])
            done = subprocess.run(
                [ENVIRONMENT["PHALANX_SSH"], "h2", line],
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
            self.assertEqual(done.stderr, "")
            return done.stdout

        file = profile / "security" / "ipcontroller-ranks-client.json"
        self.assertRegex(there("top", "--once", *flags), "2 h2 .* runs .* execute")
        self.assertIn("engine 2 ", there("why", "--file", str(file)))
        self.assertEqual(there("clean", *flags), "")
        self.assertEqual(there("stop", *flags), "")
        self.nothing_is_left()
        left = [path.name for path in (profile / "security").iterdir()]
        self.assertEqual(left, [])

    def test_hosts_that_are_wrong(self):
        for hosts, says in (
            ({"h1": 1, "h9": 1}, "h9"),
            ("h1:many", "'h1:many': the number of ranks"),
            (4, "says where the ranks are"),
        ):
            cluster = ipp.Cluster(
                engines="mpi",
                profile_dir=str(self.folder / "profile"),
                config=config_of(hosts),
                log_level=40,
            )
            with self.subTest(hosts=hosts), self.assertRaisesRegex(Exception, says):
                cluster.start_and_connect_sync()
            self.assertIsNone(cluster.controller)
            self.nothing_is_left()


class HostLost(RanksTest):
    """The last of this file: it ends the host."""

    def test_host_that_is_gone(self):
        client = self.client
        result = self.tasks_on_h2()
        began = time.monotonic()
        os.kill(int((NET / "h2.pid").read_text()), signal.SIGKILL)
        self.are_lost(result, "h2: ")
        self.assertLess(time.monotonic() - began, SILENCE + BUSY)
        self.assertEqual(client.ids, [0, 1])
        self.assertEqual(client[:].apply_sync(abs, -1), [1, 1])
        pair = "found = world.sendrecv(world.rank, dest=1 - world.rank)"
        client[:].execute(f"{IMPORT}; {pair}").get(SECONDS)
        self.assertEqual(client[:]["found"], [1, 0])


if __name__ == "__main__":
    unittest.main()
