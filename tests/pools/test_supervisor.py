"""The supervisor itself: what pools and executors are built on."""

import itertools
import os
import signal
import sys
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from typing import Any

import phalanx.multiprocessing as mp
from phalanx import _workers
from phalanx.multiprocessing import errors
from watch import HereCase, ScriptCase, wait_until

SECONDS = 30.0


class Workers:
    """The least that a supervisor needs: processes, and a thread that restarts them."""

    def __init__(
        self,
        count: int,
        method: str = "fork",
        initializer: Callable[..., object] | None = None,
        **options: Any,
    ) -> None:
        self.context = mp.get_context(method)
        self.initializer = initializer
        self.supervisor = _workers.Supervisor(count, **options)
        self.processes: list[Any] = [None] * count
        self.called: list[Any] = []
        self.ended: list[int] = []
        for slot in range(count):
            self._start(slot)
        self.thread = threading.Thread(target=self._watch, daemon=True)
        self.thread.start()

    def _start(self, slot: int) -> None:
        arguments = (self.supervisor.ticket(slot), self.initializer, ())
        process = self.context.Process(
            target=_workers.run_worker, args=arguments, daemon=True
        )
        process._is_pool_worker = True
        process.start()
        self.supervisor.started(slot, process.pid)
        self.processes[slot] = process

    def _watch(self) -> None:
        while (event := self.supervisor.next_event()) is not None:
            if event[0] == "call":
                self.called.append(event[1])
                continue
            _, slot, pid = event
            self.processes[slot].join()
            self.supervisor.reaped(slot, pid, self.processes[slot].exitcode)
            self.ended.append(pid)
            if self.supervisor.wants_workers():
                self._start(slot)

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        self.supervisor.terminate()
        self.thread.join(SECONDS)
        for process in self.processes:
            process.terminate()
        for process in self.processes:
            process.join()

    def apply(self, func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        return self.supervisor.apply(func, args, {}, **options).get(SECONDS)

    def map(self, func: Callable[..., Any], items: Any, **options: Any) -> Any:
        return self.supervisor.map(func, items, **options).get(SECONDS)


def results(job: Any) -> Iterator[Any]:
    """The results of an iterating job, exceptions among them."""
    while True:
        try:
            yield job.next(SECONDS)
        except StopIteration:
            return
        except Exception as error:
            yield error


def square(x: int) -> int:
    return x * x


def pause(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def kill_at_seven(x: int) -> int:
    if x == 7:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def leave_at_seven(x: int) -> int:
    if x == 7:
        os._exit(5)
    return x


def exit_at_seven(x: int) -> int:
    if x == 7:
        sys.exit("enough")
    return x


def die_once(path: str) -> str:
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return "again"
    os.kill(os.getpid(), signal.SIGSEGV)
    return "never"


def interrupt(_: object) -> None:
    raise KeyboardInterrupt


def fill(megabytes: int) -> int:
    data = bytearray(megabytes << 20)
    time.sleep(SECONDS)
    return len(data)


def refuse() -> None:
    raise LookupError("refused")


class Jobs(HereCase):
    def setUp(self) -> None:
        super().setUp()
        self.workers = Workers(2)
        self.supervisor = self.workers.supervisor

    def tearDown(self) -> None:
        self.workers.__exit__()
        super().tearDown()

    def test_apply_and_map(self) -> None:
        self.assertEqual(self.workers.apply(square, 3), 9)
        for chunksize in (None, 1, 7, 1000):
            got = self.workers.map(square, range(500), chunksize=chunksize)
            self.assertEqual(got, [x * x for x in range(500)])
        pairs = [(1, 2), [3, 4], iter((5, 6))]
        self.assertEqual(self.workers.map(max, pairs, star=True), [2, 4, 6])
        self.assertEqual(self.workers.map(square, []), [])
        job = self.supervisor.apply(int, ("20",), {"base": 16})
        self.assertEqual(job.get(SECONDS), 32)

    def test_a_list_is_the_same_list_each_time(self) -> None:
        job = self.supervisor.map(square, range(5))
        self.assertIs(job.get(SECONDS), job.get(SECONDS))
        self.assertTrue(job.ready() and job.successful())
        self.assertEqual(job.progress(), (5, 5))

    def test_iterators(self) -> None:
        job = self.supervisor.map(square, range(300), mode="ordered", chunksize=4)
        self.assertEqual(list(results(job)), [x * x for x in range(300)])
        job = self.supervisor.map(square, range(300), mode="unordered")
        self.assertEqual(sorted(results(job)), [x * x for x in range(300)])

    def test_items_are_taken_as_results_are(self) -> None:
        taken = []

        def items() -> Iterator[int]:
            for x in itertools.count():
                taken.append(x)
                yield x

        job = self.supervisor.map(square, items(), mode="ordered", buffersize=5)
        self.assertEqual(
            [job.next(SECONDS) for _ in range(10)], [x * x for x in range(10)]
        )
        self.assertLessEqual(len(taken), 16)
        del job
        # Nobody wants the rest of the endless iterable.
        self.supervisor.close()
        self.assertTrue(self.supervisor.wait_idle(SECONDS))

    def test_an_iterator_that_nobody_wants_is_run_to_its_end(self) -> None:
        taken = []

        def items() -> Iterator[int]:
            for x in range(200):
                taken.append(x)
                yield x

        self.supervisor.map(square, items(), mode="unordered", chunksize=1)
        self.supervisor.close()
        self.workers.thread.join(SECONDS)
        self.assertEqual(len(taken), 200)
        done = sum(worker["tasks"] for worker in self.supervisor.stats()["workers"])
        self.assertEqual(done, 200)

    def test_an_iterable_that_raises(self) -> None:
        def items() -> Iterator[int]:
            yield 1
            raise LookupError("items")

        with self.assertRaisesRegex(LookupError, "items"):
            self.supervisor.map(square, items())
        got = list(results(self.supervisor.map(square, items(), mode="ordered")))
        self.assertEqual(got[0], 1)
        self.assertIsInstance(got[1], LookupError)

    def test_callbacks(self) -> None:
        jobs = [self.supervisor.apply(square, (x,), callbacks=True) for x in range(9)]
        self.assertTrue(wait_until(lambda: len(self.workers.called) == 9))
        self.assertEqual(
            {id(job) for job in jobs}, {id(job) for job in self.workers.called}
        )

    def test_timeouts_of_the_waiting_side(self) -> None:
        job = self.supervisor.apply(pause, (0.3,))
        with self.assertRaises(mp.TimeoutError):
            job.get(0.01)
        self.assertFalse(job.wait(0.01))
        self.assertEqual(job.get(SECONDS), 0.3)

    def test_cancel(self) -> None:
        busy = [self.supervisor.apply(pause, (0.3,)) for _ in range(2)]
        self.assertTrue(wait_until(lambda: all(job.running() for job in busy)))
        waiting = self.supervisor.apply(square, (1,))
        self.assertTrue(waiting.cancel())
        self.assertFalse(busy[0].cancel())
        with self.assertRaises(Exception) as caught:
            waiting.get(SECONDS)
        self.assertEqual(type(caught.exception).__name__, "CancelledError")
        self.assertEqual([job.get(SECONDS) for job in busy], [0.3] * 2)

    def test_functions_that_are_defined_later(self) -> None:
        scope: dict[str, Any] = {"__name__": "__main__"}
        exec("def later(x): return x + base\nbase = 10", scope)
        main = sys.modules["__main__"]
        main.later = scope["later"]  # type: ignore[attr-defined]
        self.addCleanup(lambda: delattr(main, "later"))
        self.assertEqual(self.workers.map(scope["later"], range(3)), [10, 11, 12])
        self.assertEqual(self.workers.map(lambda x: x + 1, range(3)), [1, 2, 3])

    def test_a_function_that_is_defined_again(self) -> None:
        main: Any = sys.modules["__main__"]
        for step in (1, 2):
            scope: dict[str, Any] = {"__name__": "__main__"}
            exec(f"def again(x): return x + {step}", scope)
            main.again = scope["again"]
            self.assertEqual(self.workers.map(main.again, [0]), [step])
        del main.again

    def test_a_closure_is_sent_as_it_is_now(self) -> None:
        value = 1

        def add(x: int) -> int:
            return x + value

        self.assertEqual(self.workers.map(add, [1]), [2])
        value = 5
        self.assertEqual(self.workers.map(add, [1]), [6])

    def test_an_argument_that_does_not_pickle_costs_its_item(self) -> None:
        got = list(
            results(self.supervisor.map(str, [1, threading.Lock(), 3], mode="ordered"))
        )
        self.assertEqual(got[::2], ["1", "3"])
        self.assertIsInstance(got[1], TypeError)

    def test_many_threads(self) -> None:
        failed = []

        def call(n: int) -> None:
            for x in range(50):
                if self.workers.apply(square, x) != x * x:
                    failed.append((n, x))

        threads = [threading.Thread(target=call, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(failed, [])

    def test_in_a_forked_child_nothing_happens(self) -> None:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                self.supervisor.apply(square, (1,))
            except RuntimeError:
                self.supervisor.terminate()
                status = 0
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(pid, 0)[1], 0)
        self.assertEqual(self.workers.apply(square, 4), 16)

    def test_after_the_end(self) -> None:
        busy = self.supervisor.apply(pause, (1000,))
        late = self.supervisor.map(square, itertools.count(), mode="ordered")
        self.supervisor.terminate()
        with self.assertRaises(mp.ProcessError):
            busy.get(SECONDS)
        list(itertools.islice(results(late), 1000))
        for call in (self.supervisor.apply, self.supervisor.map):
            with self.assertRaisesRegex(ValueError, "Pool not running"):
                call(square, [1])


class Losses(HereCase):
    def test_a_death_costs_its_item(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method), Workers(2, method) as workers:
                for function, exitcode in ((kill_at_seven, -9), (leave_at_seven, 5)):
                    job = workers.supervisor.map(
                        function, range(20), mode="ordered", chunksize=5
                    )
                    got = list(results(job))
                    error = got.pop(7)
                    self.assertEqual(got, [x for x in range(20) if x != 7])
                    self.assertIsInstance(error, errors.WorkerLostError)
                    self.assertEqual(error.index, 7)
                    self.assertEqual(error.exitcode, exitcode)
                    self.assertIn(function.__name__, str(error))

    def test_exit_and_interrupt_in_a_task(self) -> None:
        with Workers(2) as workers:
            job = workers.supervisor.map(exit_at_seven, range(20), mode="ordered")
            error = list(results(job))[7]
            self.assertIsInstance(error, errors.WorkerLostError)
            self.assertIn("sys.exit(enough)", str(error))
            with self.assertRaisesRegex(errors.WorkerLostError, "KeyboardInterrupt"):
                workers.apply(interrupt, 1)
            self.assertEqual(workers.apply(square, 2), 4)

    def test_retries(self) -> None:
        path = f"/tmp/phalanx-test-{os.getpid()}-{time.monotonic_ns()}"
        self.addCleanup(os.unlink, path)
        with Workers(2) as workers:
            self.assertEqual(workers.apply(die_once, path, retries=1), "again")

    def test_time_limits(self) -> None:
        with Workers(2, timeout=0.2) as workers:
            job = workers.supervisor.map(
                pause, [0.0, SECONDS, 0.01], mode="ordered", chunksize=3
            )
            first, second, third = results(job)
            self.assertEqual((first, third), (0.0, 0.01))
            self.assertIsInstance(second, errors.TaskTimeoutError)
            self.assertEqual(second.index, 1)

    def test_memory_limits(self) -> None:
        with Workers(1, memory_limit=200 << 20) as workers:
            with self.assertRaises(errors.TaskMemoryError):
                workers.apply(fill, 400)
            self.assertEqual(workers.apply(square, 2), 4)

    def test_chunks_until_a_worker_is_replaced(self) -> None:
        with Workers(2, maxtasksperchild=5) as workers:
            pids = workers.map(lambda _: os.getpid(), range(50), chunksize=1)
            self.assertTrue(all(pids.count(pid) <= 5 for pid in set(pids)))

    def test_an_initializer_that_fails(self) -> None:
        with Workers(2, initializer=refuse) as workers:
            with self.assertRaises(errors.InitializerError) as caught:
                workers.map(square, range(3))
            self.assertIsInstance(caught.exception.__cause__, LookupError)
            self.assertFalse(workers.supervisor.wants_workers())

    def test_an_idle_worker_is_replaced(self) -> None:
        with Workers(2) as workers:
            pid = workers.processes[0].pid
            os.kill(pid, signal.SIGKILL)
            self.assertTrue(wait_until(lambda: workers.processes[0].pid != pid))
            self.assertEqual(workers.map(square, range(9)), [x * x for x in range(9)])


class Ends(ScriptCase):
    def test_workers_end_with_a_killed_parent(self) -> None:
        for starter in ("main", "thread"):
            script = self.start(
                f"""
                import threading, time
                import phalanx.multiprocessing as mp
                from phalanx import _workers
                supervisor = _workers.Supervisor(2)
                def start():
                    for slot in range(2):
                        target = _workers.run_worker
                        arguments = (supervisor.ticket(slot),)
                        process = mp.Process(target=target, args=arguments)
                        process.start()
                        supervisor.started(slot, process.pid)
                    print(supervisor.apply(abs, (-3,)).get(), flush=True)
                    supervisor.apply(time.sleep, (1000,))
                    time.sleep(1000)
                if {starter!r} == "main": start()
                # From 3.12 on, nothing forks while the main thread is at its end.
                thread = threading.Thread(target=start)
                thread.start()
                thread.join()
                """
            )
            script.wait_for("3")
            script.kill()
            script.end(10)
        self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
