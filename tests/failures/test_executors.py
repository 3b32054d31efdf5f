"""Executors on MPI processes: ranks, spawned workers, and what they survive."""

import os
import random
import signal
import subprocess
import sys
import unittest
from pathlib import Path

from jobs import WATCHDOG, JobCase, marked_processes

HEAD = """
import os, signal, sys, time
import {package}
from {package} import *
from {package} import BrokenExecutor

def square(x):
    return x * x

def add(x, y):
    return x + y

def who():
    comm = get_comm_workers()
    comm.Barrier()
    return comm.allreduce(1)

def keep(array):
    return array * 2

class Point:
    def __init__(self, x):
        self.x = x

def killed(x):
    if x == 5:
        os.kill(os.getpid(), signal.SIGKILL)
    return x

def leaves_the_others():
    comm = get_comm_workers()
    if comm.rank == 0:
        os._exit(3)
    comm.Barrier()

def fails(*args):
    raise ValueError("told to")

def set_level(value):
    global level
    level = value

def get_level():
    return level
"""

WORKS = """
if __name__ == "__main__":
    with {executor} as executor:
      if executor is not None:
        n = executor.num_workers
        assert list(executor.map(square, range(50))) == [x * x for x in range(50)]
        assert sorted(executor.map(square, range(9), unordered=True)) == [
            x * x for x in range(9)
        ]
        pairs = [(x, 1) for x in range(20)]
        expected = [x + 1 for x in range(20)]
        for options in ({{}}, dict(chunksize=3), dict(buffersize=2, chunksize=4)):
            assert list(executor.starmap(add, pairs, **options)) == expected
        assert executor.submit(add, 1, y=2).result() == 3
        assert executor.submit(lambda x: x + n, 1).result() == 1 + n
        assert executor.submit(Point, 7).result().x == 7
        many = executor.submit(keep, __import__("array").array("d", range(4))).result()
        assert many.tolist() == [0, 1, 2, 3] * 2
        long = executor.submit(square, 10 ** 3000).result()
        assert long == 10 ** 6000
        text = executor.submit(keep, "x" * 300_000).result()
        assert text == "x" * 600_000
        assert [f.result() for f in [executor.submit(who) for _ in range(n)]] == [n] * n
        failed = executor.submit(fails)
        try:
            failed.result()
        except ValueError as error:
            assert "told to" in str(error)
        else:
            raise AssertionError("no exception")
        assert executor.submit(sys.exit, 3).exception().code == 3
        done, not_done = wait([executor.submit(square, x) for x in range(30)])
        assert len(done) == 30 and not not_done
        try:
            get_comm_workers()
        except RuntimeError:
            pass
        else:
            raise AssertionError("the master is not a worker")
        print("works with", n, flush=True)
"""

KILLED = """
if __name__ == "__main__":
    with MPIPoolExecutor({workers}) as executor:
        n = executor.num_workers
        futures = [executor.submit(killed, x) for x in range(30)]
        errors = [(x, f.exception()) for x, f in enumerate(futures) if f.exception()]
        assert [x for x, _ in errors] == [5], errors
        error = errors[0][1]
        assert isinstance(error, BrokenExecutor), error
        assert "killed" in str(error), error
        assert [f.result() for f in futures if f is not futures[5]] == [
            x for x in range(30) if x != 5
        ]
        assert executor.num_workers == n - 1
        assert list(executor.map(square, range(9))) == [x * x for x in range(9)]
        print("lost:", error, flush=True)
        for _ in range(n - 1):
            assert executor.submit(os._exit, 3).exception() is not None
        try:
            executor.submit(square, 1).result()
        except BrokenExecutor as error:
            print("broken:", error, flush=True)
        else:
            raise AssertionError("nobody was left")
    print("went on", flush=True)
"""


class Executors(JobCase):
    def script(self, body: str, package: str = "mpi4py.futures", **more) -> str:
        return (HEAD + body).format(package=package, **more)

    def of_ranks(self, ranks: int, script: str, *flags: str):
        path = Path(self.folder, "script.py")
        path.write_text(script)
        command = (sys.executable, "-m", "mpi4py.futures", str(path))
        return self.launch("-n", str(ranks), *flags, *command).end()

    def assert_good(self, ended, *texts: str) -> None:
        self.assertEqual(ended.status, 0, ended.text)
        for text in texts:
            self.assertIn(text, ended.out, ended.text)


class TestWorks(Executors):
    def test_on_spawned_workers(self):
        for workers in (1, 2, 3, 8):
            executor = f"MPIPoolExecutor({workers})"
            ended = self.run_job(1, self.script(WORKS, executor=executor))
            self.assert_good(ended, f"works with {workers}")

    def test_on_the_ranks_of_a_job(self):
        for ranks in (1, 2, 3, 8):
            script = self.script(WORKS, executor="MPIPoolExecutor()")
            self.assert_good(self.of_ranks(ranks, script), f"with {max(1, ranks - 1)}")

    def test_on_the_ranks_of_a_communicator(self):
        script = self.script(WORKS, executor="MPICommExecutor(root=0)")
        script += "\nprint('went on', flush=True)\n"
        for ranks in (1, 2, 3, 8):
            ended = self.run_job(ranks, script)
            self.assert_good(ended, f"works with {max(1, ranks - 1)}")
            # At the workers, too.
            self.assertEqual(ended.out.count("went on"), ranks, ended.text)

    def test_on_threads(self):
        script = self.script(WORKS, executor="ThreadPoolExecutor(1)")
        self.assert_good(self.run_job(1, script), "works with 1")

    def test_names_of_phalanx_are_those_of_mpi4py(self):
        script = """
            import sys
            import phalanx.futures
            assert "phalanx.MPI" not in sys.modules
            import mpi4py.futures, mpi4py.futures.server, mpi4py.futures.aplus
            assert "phalanx.MPI" not in sys.modules
            for name in ("MPIPoolExecutor", "MPICommExecutor", "collect", "compose"):
                ours = getattr(phalanx.futures, name)
                assert ours is getattr(mpi4py.futures, name), name
            missing = set(mpi4py.futures.__all__) - set(phalanx.futures.__all__)
            assert not missing, missing
        """
        self.assert_good(self.run_job(1, script))

    def test_initializer_is_done_first_in_every_worker(self):
        body = """
if __name__ == "__main__":
    with MPIPoolExecutor(3, initializer=set_level, initargs=(9,)) as executor:
        assert [executor.submit(get_level).result() for _ in range(9)] == [9] * 9
    with MPIPoolExecutor(2, initializer=fails) as executor:
        future = executor.submit(square, 1)
        assert "told to" in str(future.exception()), future.exception()
        assert isinstance(future.exception(), BrokenExecutor)
        try:
            executor.submit(square, 1)
        except BrokenExecutor:
            print("refused", flush=True)
        assert executor.num_workers == 0
"""
        self.assert_good(self.run_job(1, self.script(body)), "refused")
        self.assert_good(self.of_ranks(3, self.script(body)), "refused")

    def test_executors_share_the_ranks(self):
        body = """
if __name__ == "__main__":
    executors = [MPIPoolExecutor() for _ in range(4)]
    futures = [e.submit(square, x) for x in range(50) for e in executors]
    expected = [x * x for x in range(50) for _ in executors]
    assert [f.result() for f in futures] == expected
    executors[0].shutdown()
    assert executors[1].submit(square, 3).result() == 9
    print("shared", flush=True)
"""
        for ranks in (2, 3, 8):
            self.assert_good(self.of_ranks(ranks, self.script(body)), "shared")

    def test_a_job_whose_executors_do_nothing_ends(self):
        self.assert_good(self.of_ranks(3, "print('nothing')"), "nothing")
        body = "\nif __name__ == '__main__':\n    executor = MPIPoolExecutor(2)\n"
        for more in (
            "",
            "    executor.bootup()\n",
            "    executor.bootup(wait=False)\n",
        ):
            self.assert_good(self.run_job(1, self.script(body + more)))

    def test_options_of_the_workers(self):
        body = """
def find():
    return os.getcwd(), os.environ["LEVEL"], sys.path[-1], number, sys.flags.optimize

if __name__ == "__main__":
    with MPIPoolExecutor(1, wdir="/", env={{"LEVEL": "7"}}, path=["/somewhere"],
                         globals={{"number": 3}}, python_args=["-O"]) as executor:
        found = executor.submit(find).result()
    assert found == ("/", "7", "/somewhere", 3, 1), found
    os.environ["MPI4PY_FUTURES_MAX_WORKERS"] = "2"
    with MPIPoolExecutor() as executor:
        assert executor.num_workers == 2
    os.environ["MPI4PY_FUTURES_MAX_WORKERS"] = "many"
    try:
        MPIPoolExecutor().bootup()
    except ValueError as error:
        print(error, flush=True)
"""
        ended = self.run_job(1, self.script(body))
        self.assert_good(ended, "MPI4PY_FUTURES_MAX_WORKERS=many: expected a number")

    def test_a_main_script_without_guard_is_named(self):
        body = """
executor = MPIPoolExecutor(1)
error = executor.submit(square, 2).exception()
assert isinstance(error, BrokenExecutor), error
print("told:", error, flush=True)
"""
        ended = self.run_job(1, self.script(body))
        self.assert_good(ended, "told:", "__name__ == '__main__'")

    def test_ranks_of_a_communicator_need_no_guard(self):
        script = """
            from mpi4py.futures import MPICommExecutor

            with MPICommExecutor() as executor:
                if executor is not None:
                    found = set(executor.map(abs, [-42, 42]))
                    print("found", found, flush=True)
        """
        for ranks in (1, 2, 3, 8):
            self.assert_good(self.run_job(ranks, script), "found {42}")


class TestEnds(Executors):
    """Every future ends, whatever its callbacks do and whenever it is cancelled."""

    BODY = """
import concurrent.futures, threading

def slow(x):
    time.sleep(0.2)
    if x == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return x

if __name__ == "__main__":
    with MPIPoolExecutor(2) as executor:
        asked = executor.submit(square, 3)
        asked.add_done_callback(lambda future: sys.exit(3))
        assert asked.result() == 9
        assert executor.submit(square, 4).result() == 16

        for combine in (compose, lambda future: collect([future])):
            never = concurrent.futures.Future()
            combined = combine(never)
            never.cancel()
            never.set_running_or_notify_cancel()
            assert concurrent.futures.wait([combined], 5).done

    executor = MPIPoolExecutor(2)
    futures = [executor.submit(slow, x) for x in range(40)]
    concurrent.futures.wait(futures[1:2])
    executor.shutdown(wait=True, cancel_futures=True)
    assert not concurrent.futures.wait(futures, 20).not_done
    try:
        executor.submit(square, 1)
    except RuntimeError as error:
        assert "after shutdown" in str(error), error
    else:
        raise AssertionError("taken after shutdown")
    print("all ended", flush=True)
"""

    def test_with_callbacks_that_exit_and_calls_that_are_cancelled(self):
        self.assert_good(self.run_job(1, self.script(self.BODY)), "all ended")


class TestKilled(Executors):
    def test_a_spawned_worker_costs_its_call(self):
        for workers in (2, 3, 8):
            ended = self.run_job(1, self.script(KILLED, workers=workers))
            self.assert_good(ended, "lost:", "broken:", "went on")
            self.assert_says(ended, "SIGKILL", "the others go on")

    def test_a_rank_costs_its_call_where_the_job_goes_on(self):
        for ranks in (3, 8):
            script = self.script(KILLED, workers="")
            ended = self.of_ranks(ranks, script, "--keep-going")
            for text in ("lost:", "broken:", "went on"):
                self.assertIn(text, ended.out, ended.text)
            self.assertEqual(ended.status, 128 + 9, ended.text)

    def test_a_rank_ends_the_job_elsewhere(self):
        ended = self.of_ranks(3, self.script(KILLED, workers=""))
        self.assertEqual(ended.status, 128 + 9, ended.text)
        self.assert_says(ended, "SIGKILL", "the job ended with it")

    def test_workers_that_need_one_that_is_gone_are_told(self):
        body = """
if __name__ == "__main__":
    with MPIPoolExecutor(3) as executor:
        futures = [executor.submit(leaves_the_others) for _ in range(3)]
        errors = [future.exception() for future in futures]
        assert all(error is not None for error in errors), errors
        assert executor.num_workers == 2
    print("went on", flush=True)
"""
        self.assert_good(self.run_job(1, self.script(body)), "went on")

    def test_an_exception_of_the_main_script_ends_the_job(self):
        body = """
if __name__ == "__main__":
    executor = MPIPoolExecutor(2)
    executor.bootup()
    executor.submit(time.sleep, 600 if {long} else 0)
    raise SystemExit(3) if {exits} else ValueError("told to")
"""
        for exits in (False, True):
            script = self.script(body, exits=exits, long=not exits)
            ended = self.of_ranks(3, script)
            self.assertEqual(ended.status, 3 if exits else 1, ended.text)
            if not exits:
                self.assert_says(ended, "ValueError: told to")


# Calls of every kind at random, workers killed from outside at random moments.
RANDOM = """
import random, threading

def work(number, seconds, size):
    time.sleep(seconds)
    return os.getpid(), bytes([number % 251]) * size

if __name__ == "__main__":
    draw = random.Random({seed})
    with MPIPoolExecutor(4) as executor:
        pids = {{executor.submit(os.getpid).result() for _ in range(40)}}
        executor.bootup()
        victims = draw.sample(sorted(pids), min({kills}, len(pids)))
        for victim in victims:
            at = draw.uniform(0, 0.3)
            threading.Timer(at, os.kill, (victim, signal.SIGKILL)).start()
        calls = []
        for number in range(400):
            size = draw.choice((0, 1, 100, 1023, 1024, 5000, 300_000))
            seconds = draw.choice((0, 0, 0, 0, 0.001, 0.004))
            calls.append((executor.submit(work, number, seconds, size), number, size))
            if draw.random() < 0.05:
                calls[draw.randrange(len(calls))][0].cancel()
        wait([future for future, *_ in calls])
        lost = 0
        for future, number, size in calls:
            if future.cancelled():
                continue
            error = future.exception()
            if error is not None:
                assert isinstance(error, BrokenExecutor), error
                lost += 1
                continue
            pid, data = future.result()
            assert data == bytes([number % 251]) * size, number
        assert lost <= len(victims), (lost, victims)
        time.sleep(0.5)
        assert executor.submit(square, 3).result() == 9
    print("each call ended once;", lost, "were lost", flush=True)
"""


class TestRandom(Executors):
    def test_kills_cost_at_most_a_call_each(self):
        first = int(os.environ.get("SEED", random.randrange(10**6)))
        for seed in range(first, first + 6):
            with self.subTest(f"SEED={seed}"):
                script = self.script(RANDOM, seed=seed, kills=seed % 4)
                self.assert_good(self.run_job(1, script), "each call ended once")


class TestInterrupted(Executors):
    """Control-C, which reaches the launcher and through it every process."""

    BODY = """
def wait_long(x):
    time.sleep(600)

if __name__ == "__main__":
    executor = MPIPoolExecutor(2)
    futures = [executor.submit(wait_long, x) for x in range(9)]
    while not futures[0].running() or not futures[1].running():
        time.sleep(0.01)
    time.sleep(0.2)
    print("ready", flush=True)
    {rest}
"""
    INSIDE = "with executor: futures[0].result()"
    OUTSIDE = "futures[0].result()"

    def test_ends_what_runs_and_begins_nothing_more(self):
        for rest in (self.INSIDE, self.OUTSIDE):
            path = Path(self.folder, "script.py")
            path.write_text(self.script(self.BODY, rest=rest))
            for start in (("1",), ("3", sys.executable, "-m", "mpi4py.futures")):
                command = start if len(start) > 1 else (*start, sys.executable)
                job = self.launch("-n", *command, str(path))
                job.wait_for("ready")
                job.process.send_signal(signal.SIGINT)
                ended = job.end()
                self.assertEqual(ended.status, 130, ended.text)
                self.assert_says(ended, "KeyboardInterrupt")


class TestWithoutLauncher(Executors):
    """`python script.py`."""

    def run_alone(self, script: str) -> "subprocess.CompletedProcess[str]":
        path = Path(self.folder, "script.py")
        path.write_text(script)
        # No launcher's, as these tests may run in a job themselves.
        env = {k: v for k, v in os.environ.items() if not k.startswith("PMI")}
        done = subprocess.run(
            [sys.executable, str(path)],
            capture_output=True,
            text=True,
            timeout=WATCHDOG,
            cwd=self.folder,
            env={**env, "PHALANX_TEST_MARK": self.mark, "TMPDIR": str(self.temporary)},
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(marked_processes(self.mark), [])
        return done

    def test_works_on_the_pool_without_mpi(self):
        body = """
def load():
    return "phalanx.MPI" in sys.modules

if __name__ == "__main__":
    with MPIPoolExecutor(2) as executor:
        assert executor.num_workers == 2
        assert list(executor.map(square, range(20))) == [x * x for x in range(20)]
        futures = [executor.submit(killed, x) for x in range(9)]
        assert [x for x, f in enumerate(futures) if f.exception()] == [5]
        assert not executor.submit(load).result()
    assert "phalanx.MPI" not in sys.modules
"""
        # A star would ask for the communicator of workers.
        script = HEAD.replace("from {package} import *\n", "")
        script = script.replace("import BrokenExecutor", "import MPIPoolExecutor")
        self.run_alone(script.format(package="phalanx.futures") + body)

    def test_spawns_where_the_program_asks_for_communicators(self):
        script = self.script(WORKS, "phalanx.futures", executor="MPIPoolExecutor(2)")
        self.assertIn("works with 2", self.run_alone(script).stdout)


if __name__ == "__main__":
    unittest.main()
