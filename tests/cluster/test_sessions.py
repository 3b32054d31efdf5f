"""Whole sessions: the lines of a course, and what happens when something is killed."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from pathlib import Path

import phalanx.ipyparallel as ipp
from phalanx.ipyparallel.cluster.commands import binary
from phalanx.ipyparallel.serialize import _calls
from phalanx.multiprocessing._placement import usable_cpus

SECONDS = 60  # until something counts as hung

COURSE = """
import ipyparallel as ipp
c = ipp.Client()
dview = c[:]
print(c.ids)
print(dview.map_sync(lambda x: x**2, range(8)))
dview['const1'] = 12.1
print(dview['const1'])
dview.push(dict(const2=3, name='n'))
print(dview.pull('const1').get(), dview.pull(['const2', 'name'], block=True)[0])
dview.scatter('part', list(range(10)))
print(dview['part'], dview.gather('part').get())
with dview.sync_imports():
    import numpy as np
def mean(n):
    return float(np.mean(np.arange(n)) + const1)
print(dview.apply_sync(mean, 5))
@ipp.require('math')
def root(x):
    return math.sqrt(x)
lview = c.load_balanced_view()
print(lview.map_sync(root, [1, 4, 9]))
ar = dview.execute('print("here")\\nconst1 * 2', silent=False)
print([r.strip() for r in (ar.wait(), ar.stdout)[1]])
print(ar.get()[0])
print(ipp.__name__, ipp.Client.__module__)
"""

EXPECTED = [
    "[0, 1, 2, 3]",
    "[0, 1, 4, 9, 16, 25, 36, 49]",
    "[12.1, 12.1, 12.1, 12.1]",
    "[12.1, 12.1, 12.1, 12.1] [3, 'n']",
    "[[0, 1, 2], [3, 4, 5], [6, 7], [8, 9]] [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]",
    "importing numpy as np on engine(s)",
    "[14.1, 14.1, 14.1, 14.1]",
    "[1.0, 2.0, 3.0]",
    "['here', 'here', 'here', 'here']",
    "<ExecuteReply[1]: 24.2>",
    "ipyparallel phalanx.ipyparallel.client.client",
]


class Home(unittest.TestCase):
    """A directory of its own for profiles, so that no cluster of the user's is met."""

    def setUp(self) -> None:
        self.home = tempfile.mkdtemp(prefix="phx")
        self.addCleanup(shutil.rmtree, self.home, True)
        before = os.environ.get("IPYTHONDIR")
        os.environ["IPYTHONDIR"] = self.home
        self.addCleanup(
            lambda: (
                os.environ.update(IPYTHONDIR=before)
                if before is not None
                else os.environ.pop("IPYTHONDIR")
            )
        )
        signal.alarm(SECONDS)
        self.addCleanup(signal.alarm, 0)

    def shell(self, text: str) -> str:
        """What a shell with the door open prints."""
        command = [binary(), "shell", "--doors", "ipyparallel", "-c", text]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, cwd=self.home
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return done.stdout


class Course(Home):
    def test_the_courses_lines(self) -> None:
        Path(self.home, "course.py").write_text(COURSE)
        output = self.shell(
            f"ipcluster start -n 4 >log 2>&1 & {sys.executable} course.py; s=$?; "
            "ipcluster stop >>log 2>&1; wait; [ $s = 0 ] || { cat log; exit $s; }"
        )
        self.assertEqual(output.splitlines(), EXPECTED)

    def test_at_a_prompt(self) -> None:
        lines = textwrap.dedent("""\
            import ipyparallel as ipp
            rc = ipp.Client()
            def twice(x):
                return x * factor

            rc[:]['factor'] = 2
            print(rc[:].map_sync(twice, [1, 2, 3]))
        """)
        Path(self.home, "lines").write_text(lines)
        output = self.shell(
            f"ipcluster start -n 2 >log 2>&1 & {sys.executable} -i <lines 2>err; "
            "ipcluster stop >>log 2>&1; wait"
        )
        self.assertIn("[2, 4, 6]", output)


class Faults(Home):
    def start(self, n: int) -> tuple[ipp.Cluster, ipp.Client]:
        cluster = ipp.Cluster(n=n, log_level=40)
        client = cluster.start_and_connect_sync()
        self.addCleanup(cluster.stop_cluster_sync)
        return cluster, client

    def test_an_engine_is_killed(self) -> None:
        _, rc = self.start(2)
        running = rc[1].apply_async(time.sleep, 300)
        queued = rc[1].apply_async(int)
        os.kill(rc[0].apply_sync(os.getpid), 0)
        pids = rc.load_balanced_view().map_sync(lambda _: 0, range(4))
        self.assertEqual(pids, [0] * 4)
        victim = next(
            int(text.partition("(")[2].rstrip(")"))
            for number, text in rc._hosts.items()
            if number == 1
        )
        os.kill(victim, signal.SIGKILL)
        for result in (running, queued):
            with self.assertRaisesRegex(ipp.EngineError, "(?i)kill|signal 9"):
                result.get(SECONDS)
        self.assertEqual(rc[0].apply_sync(lambda: 5), 5)

    def test_retries_go_to_another_engine(self) -> None:
        _, rc = self.start(2)
        view = rc.load_balanced_view()
        marker = str(Path(self.home, "first"))

        def die_once(path: str) -> str:
            import os
            import signal

            try:
                os.close(os.open(path, os.O_CREAT | os.O_EXCL))
            except FileExistsError:
                return "second"
            os.kill(os.getpid(), signal.SIGKILL)
            return "never"

        with view.temp_flags(retries=1):
            result = view.apply_async(die_once, marker)
        self.assertEqual(result.get(SECONDS), "second")

    def test_short_tasks_do_not_wait_behind_a_long_one(self) -> None:
        _, rc = self.start(2)
        view = rc.load_balanced_view()

        def until(path: str) -> str:
            import os
            import time

            while not os.path.exists(path):
                time.sleep(0.001)
            return path

        # It is known that tasks are short, so that several go to an engine at a time.
        view.map_sync(abs, range(300))
        for number, milliseconds in enumerate((0, 0.3, 1, 3, 10, 60)):
            end = str(Path(self.home, f"end {number}"))
            long = view.apply_async(until, end)
            time.sleep(milliseconds / 1000)
            short = view.map_async(abs, range(20))
            self.assertEqual(short.get(SECONDS), list(range(20)))
            self.assertFalse(long.ready())
            Path(end).touch()
            self.assertEqual(long.get(SECONDS), end)

    def test_a_running_task_is_submitted_again(self) -> None:
        _, rc = self.start(2)
        view = rc.load_balanced_view()
        first = view.apply_async(time.sleep, 0.3)
        again = rc.resubmit(first.msg_ids)
        self.assertIsNone(first.get(SECONDS))
        self.assertEqual(again.get(SECONDS), [None])

    def test_what_is_submitted_again_has_the_same_arguments(self) -> None:
        import numpy as np

        def change(array):  # type: ignore[no-untyped-def]
            array += 1
            return float(array[0])

        _, rc = self.start(1)
        first = rc[0].apply_async(change, np.zeros(4000))
        self.assertEqual(first.get(SECONDS), 1.0)
        self.assertEqual(rc.resubmit(first.msg_ids).get(SECONDS), [1.0])

    def test_the_controller_is_killed(self) -> None:
        cluster, rc = self.start(2)
        results = [rc[:].apply_async(time.sleep, 300)]
        results.append(rc.load_balanced_view().map_async(time.sleep, [300] * 5))
        os.kill(cluster.controller.pid, signal.SIGKILL)
        for result in results:
            with self.assertRaises(ipp.RemoteError):
                result.get(SECONDS)
        with self.assertRaises((OSError, IndexError, ipp.EngineError)):
            rc[:].apply_sync(int)
        with self.assertRaises(OSError):
            rc.queue_status()

    def test_the_client_is_closed(self) -> None:
        _, rc = self.start(1)
        result = rc[0].apply_async(time.sleep, 300)
        rc.close()
        with self.assertRaisesRegex(ipp.EngineError, "closed"):
            result.get(SECONDS)
        with self.assertRaises(OSError):
            rc[0]

    def test_interrupts_and_aborts(self) -> None:
        _, rc = self.start(1)
        view = rc[0]
        running = view.apply_async(time.sleep, 300)
        waiting = view.apply_async(int)
        waiting.abort()
        with self.assertRaises(ipp.TaskAborted):
            waiting.get(SECONDS)
        time.sleep(0.5)  # (It has to have begun: an idle engine ignores interrupts.)
        rc.send_signal("SIGINT", targets=0, block=True)
        with self.assertRaises(ipp.RemoteError) as caught:
            running.get(SECONDS)
        self.assertEqual(caught.exception.ename, "KeyboardInterrupt")
        self.assertEqual(view.apply_sync(lambda: 5), 5)

    def test_a_start_that_fails_leaves_nothing(self) -> None:
        cluster = ipp.Cluster(n=1, log_level=50, engine_timeout=20)
        Path(self.home, "crash.py").write_text("import os; os._exit(3)")
        os.environ["PYTHONSTARTUP"] = str(Path(self.home, "crash.py"))
        try:
            with self.assertRaises((ipp.EngineError, OSError)):
                cluster.start_and_connect_sync()
        finally:
            del os.environ["PYTHONSTARTUP"]
        self.assertIsNone(cluster.controller)
        left = sorted(path.name for path in Path(self.home).rglob("*.json"))
        self.assertEqual(left, [])

    def test_without_a_cluster(self) -> None:
        with self.assertRaisesRegex(OSError, "ipcluster start"):
            ipp.Client(timeout=0.1)


class Ranks(Home):
    """Engines that are the ranks of one job."""

    def test_engines_talk_to_each_other(self) -> None:
        def reduced() -> tuple[int, int, int]:
            from mpi4py import MPI

            world = MPI.COMM_WORLD
            return world.rank, world.size, world.allreduce(world.rank)

        with ipp.Cluster(n=3, engines="mpi", log_level=40) as rc:
            view = rc[:]
            whole = [(rank, 3, 3) for rank in range(3)]
            self.assertEqual(rc.ids, [0, 1, 2])
            self.assertEqual(view.apply_async(reduced).get(SECONDS), whole)
            # Somebody may still send: an interrupt ends it, and the engine can go on.
            view.execute("from mpi4py import MPI", block=True)
            waiting = rc[0].execute("MPI.COMM_WORLD.recv()")
            end = time.monotonic() + SECONDS
            while not waiting.ready() and time.monotonic() < end:
                rc.send_signal(signal.SIGINT, targets=0)
                waiting.wait(0.2)
            with self.assertRaisesRegex(ipp.RemoteError, "KeyboardInterrupt"):
                waiting.get(0)
            self.assertEqual(view.apply_async(reduced).get(SECONDS), whole)
            # One that is killed is an error of those who need it, and of nobody else.
            with self.assertRaises(ipp.RemoteError):
                rc[2].apply_async(os._exit, 3).get(SECONDS)
            with self.assertRaisesRegex(ipp.CompositeError, "PROC_ABORTED"):
                rc[:].apply_async(reduced).get(SECONDS)
            self.assertEqual(rc[:].apply_async(lambda: 1).get(SECONDS), [1, 1])

    def test_a_deadlock_is_an_error_of_those_who_are_in_it(self) -> None:
        with ipp.Cluster(n=3, engines="mpi", log_level=40) as rc:
            view = rc[:]
            view.execute("from mpi4py import MPI; world = MPI.COMM_WORLD", block=True)
            # Each time anew, in whichever way, and beside what has been proved before.
            for line, said in (
                ("world.recv(source=(world.rank + 1) % 3)", "0 -> 1 -> 2 -> 0"),
                ("world.recv(source=(world.rank + 1) % 3)", "0 -> 1 -> 2 -> 0"),
                ("world.recv()", "from any rank"),
                ("world.barrier() if world.rank else world.recv(source=2)", "Barrier"),
            ):
                with self.assertRaises(ipp.CompositeError) as raised:
                    view.execute(line).get(SECONDS)
                for ename, evalue, *_ in raised.exception.elist:
                    self.assertEqual(ename, "Exception")
                    self.assertIn("deadlock", evalue)
                    self.assertIn(said, evalue)
                self.assertEqual(len(raised.exception.elist), 3)
            # A communicator of its own, since a barrier was left in the middle.
            view.execute("other = world.Create_group(world.group)", block=True)
            view.execute("total = other.allreduce(1)", block=True)
            self.assertEqual(view["total"], [3, 3, 3])
            # With one that has ended, the others are still seen to wait for each other.
            with self.assertRaises(ipp.RemoteError):
                rc[2].apply_async(os._exit, 3).get(SECONDS)
            with self.assertRaises(ipp.CompositeError) as raised:
                rc[:].execute("world.recv(source=1 - world.rank)").get(SECONDS)
            for _, evalue, *_ in raised.exception.elist:
                self.assertIn("deadlock", evalue)

    def test_who_may_still_be_sent_something_is_in_no_deadlock(self) -> None:
        with ipp.Cluster(n=3, engines="mpi", log_level=40) as rc:
            rc[:].execute("from mpi4py import MPI; world = MPI.COMM_WORLD", block=True)
            ring = rc[:2].execute("found = world.recv(source=(world.rank + 1) % 3)")
            time.sleep(1)
            self.assertFalse(ring.ready())
            rc[2].execute("world.send('it came', dest=1)", block=True)
            end = time.monotonic() + SECONDS
            while not ring.ready() and time.monotonic() < end:
                rc.send_signal(signal.SIGINT, targets=0)
                ring.wait(0.2)
            with self.assertRaises(ipp.CompositeError):
                ring.get(0)
            self.assertEqual(rc[1]["found"], "it came")

    def test_a_job_that_cannot_start_is_told(self) -> None:
        cluster = ipp.Cluster(n=2, engines="mpi", log_level=40)
        cluster.engine_launcher_class.mpi_args = ["--no-such-flag"]  # type: ignore[attr-defined]
        self.addCleanup(delattr, cluster.engine_launcher_class, "mpi_args")
        with self.assertRaisesRegex(Exception, "no-such-flag"):
            cluster.start_and_connect_sync()


class Shares(Home):
    def test_threads_of_libraries_share_the_cpus(self) -> None:
        named = [name for name in os.environ if name.endswith("_NUM_THREADS")]
        kept = {name: os.environ.pop(name) for name in named}
        self.addCleanup(os.environ.update, kept)
        share = str(max(1, usable_cpus() // 3))
        script = "import os; told = os.environ.get('OMP_NUM_THREADS')"
        for said, expected in ((None, share), ("5", "5")):
            if said is not None:
                os.environ["OMP_NUM_THREADS"] = said
                self.addCleanup(os.environ.pop, "OMP_NUM_THREADS")
            with self.subTest(said=said), ipp.Cluster(n=3, log_level=40) as client:
                client[:].execute(script).get(SECONDS)
                self.assertEqual(client[:].pull("told").get(SECONDS), [expected] * 3)


class Large(Home):
    def test_arrays(self) -> None:
        import numpy as np

        with ipp.Cluster(n=2, log_level=40) as rc:
            view = rc[:]
            array = np.arange(1 << 20, dtype=float)
            view["a"] = array
            back = view["a"]
            for one in back:
                np.testing.assert_array_equal(one, array)
            view.execute("a += 1", block=True)
            self.assertEqual([one[0] for one in view["a"]], [1.0, 1.0])
            self.assertEqual(array[0], 0.0)
            view.scatter("part", array, block=True)
            np.testing.assert_array_equal(view.gather("part", block=True), array)

    def test_large_arrays_are_gathered_into_one(self) -> None:
        import numpy as np

        with ipp.Cluster(n=3, log_level=40) as rc:
            view = rc[:]
            link = rc._ledger.link
            plain = np.arange(600_000.0)
            table = np.arange(900_000).reshape(-1, 3)
            for array in (plain, table, plain.astype("f4")[::2], plain > 7, plain[:9]):
                view.scatter("part", array, block=True)
                whole = view.gather("part", block=True)
                np.testing.assert_array_equal(whole, array)
                self.assertEqual(whole.dtype, array.dtype)
                whole[0] = whole[1]  # it is the caller's
                np.testing.assert_array_equal(view.gather("part").get(), array)
            # Parts of several kinds, with gaps, of one engine that has none.
            code = "import numpy as np; part = np.ones((200_000, 2), {})[:, ::2]"
            rc[0].execute(code.format("'f4'"), block=True)
            rc[1:].execute(code.format("'f8'"), block=True)
            whole = view.gather("part", block=True)
            self.assertEqual((whole.dtype, whole.shape), (np.float64, (600_000, 1)))
            view.execute(code.format("'f8'"), block=True)
            self.assertEqual(view.gather("part", block=True).sum(), 600_000)
            rc[2].execute("del part", block=True)
            with self.assertRaises(ipp.CompositeError):
                view.gather("part", block=True)
            with self.assertRaisesRegex(ValueError, "nobody has"):
                link.open_block(1 << 40)
            # An engine of another machine has other memory under that number.
            number, memory = link.new_block(4096)
            place = ("part", number, 4000, b"another's token", 0, "f8", (10,))
            view.execute("part = np.ones(10)", block=True)
            before = bytes(memory)
            self.assertEqual(view.apply_sync(_calls.fill, *place), [False] * 3)
            self.assertEqual(bytes(memory), before)

    def test_nothing_is_kept_of_what_nobody_has_any_more(self) -> None:
        """Blocks go back when a result is dropped, not when garbage is collected."""
        import gc

        import numpy as np

        with ipp.Cluster(n=2, log_level=40) as rc:
            view = rc[:]
            link = rc._ledger.link

            def settled(limit: int) -> bool:
                # What ends hold is let go of with what is said next.
                view.apply_sync(len, "")
                return bool(link.used <= limit)

            view.apply_sync(len, "")
            before = link.used
            array = np.zeros(1 << 20)
            gc.disable()
            try:
                for _ in range(5):
                    view.push({"a": array}, block=True)
                    self.assertEqual(len(view.pull("a", block=True)), 2)
                    for result in view.apply_async(lambda x: x, array):
                        self.assertEqual(len(result), 1 << 20)
                del result
                # The engines have the array that was pushed last, which is one block.
                end = time.monotonic() + 30
                while not settled(before + (10 << 20)):
                    self.assertLess(time.monotonic(), end, f"{link.used} bytes")
                    time.sleep(0.05)
            finally:
                gc.enable()


if __name__ == "__main__":
    unittest.main()
