"""phalanx.futures: what concurrent.futures promises, and what it does not."""

import asyncio
import concurrent.futures
import gc
import os
import signal
import sys
import threading
import time
import unittest
import weakref
from collections.abc import Iterator
from concurrent.futures import process
from unittest import mock

import phalanx.multiprocessing as mp
from phalanx import futures
from phalanx.multiprocessing._maintenance import Crew
from watch import HereCase, ScriptCase, wait_until

METHODS = ("fork", "spawn", "forkserver")


def square(x: int) -> int:
    return x * x


def add(x: int, y: int, *, z: int = 0) -> int:
    return x + y + z


def fail_at_three(x: int) -> int:
    if x == 3:
        raise KeyError(x)
    return x


def pause(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def kill_at_three(x: int) -> int:
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x


def ignore_terminations() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(1000)


class Value:
    def __init__(self, number: int) -> None:
        self.number = number


def pid_of(_: object) -> int:
    return os.getpid()


_executor: futures.ProcessPoolExecutor | None = None


def use_own(name: str) -> str:
    """Call a method of the executor whose worker this is."""
    arguments = {"submit": (abs, 1), "map": (abs, [1])}
    try:
        getattr(_executor, name)(*arguments.get(name, ()))
    except RuntimeError as error:
        return str(error)
    return "done"


_value = 0


def set_value(value: int) -> None:
    global _value
    _value = value


def get_value() -> int:
    return _value


def refuse() -> None:
    raise OSError("no licence left")


class EveryMethod(HereCase):
    seconds = 120

    def test_calls(self) -> None:
        for method in METHODS:
            context = mp.get_context(method)
            with (
                self.subTest(method),
                futures.ProcessPoolExecutor(2, context, set_value, (5,)) as executor,
            ):
                self.assertIsInstance(executor, process.ProcessPoolExecutor)
                self.assertEqual(executor.submit(add, 1, 2, z=3).result(), 6)
                self.assertEqual(executor.submit(get_value).result(), 5)
                self.assertEqual([*executor.map(add, [1, 2], [3, 4, 5])], [4, 6])
                future = executor.submit(fail_at_three, 3)
                self.assertIsInstance(future.exception(), KeyError)
                cause = future.exception().__cause__
                self.assertIsInstance(cause, process._RemoteTraceback)
                self.assertIn("fail_at_three", str(cause))
                self.assertEqual(executor.submit(lambda: 7).result(), 7)

    def test_tasks_per_child(self) -> None:
        with futures.ProcessPoolExecutor(1, max_tasks_per_child=2) as executor:
            pids = [executor.submit(pid_of, x).result() for x in range(6)]
        self.assertEqual(len(set(pids)), 3)


class Futures(HereCase):
    def setUp(self) -> None:
        super().setUp()
        self.executor = futures.ProcessPoolExecutor(2, mp.get_context("fork"))

    def tearDown(self) -> None:
        self.executor.terminate_workers()
        super().tearDown()

    def test_states(self) -> None:
        running = [self.executor.submit(pause, 0.5) for _ in range(2)]
        pending = [self.executor.submit(pause, 0.0) for _ in range(20)]
        self.assertTrue(wait_until(lambda: all(f.running() for f in running)))
        self.assertFalse(running[0].cancel())
        self.assertFalse(running[0].done())
        last = pending[-1]
        self.assertFalse(last.running())
        self.assertTrue(last.cancel())
        self.assertTrue(last.cancel())
        self.assertTrue(last.cancelled())
        self.assertTrue(last.done())
        with self.assertRaises(futures.CancelledError):
            last.result()
        self.assertEqual([f.result() for f in running], [0.5, 0.5])
        self.assertFalse(running[0].cancel())
        self.assertFalse(running[0].running())
        self.assertEqual([f.result() for f in pending[:-1]], [0.0] * 19)

    def test_timeouts(self) -> None:
        future = self.executor.submit(pause, 1.0)
        for wait in (future.result, future.exception):
            with self.assertRaises(TimeoutError):
                wait(0.01)
        self.assertEqual(future.result(30), 1.0)
        self.assertIsNone(future.exception(0))

    def test_wait_and_as_completed(self) -> None:
        fs = [self.executor.submit(pause, s) for s in (0.3, 0.0, 0.1)]
        first = futures.wait(fs, return_when=futures.FIRST_COMPLETED)
        self.assertIn(fs[1], first.done)
        done, pending = futures.wait(fs, 30)
        self.assertEqual((len(done), len(pending)), (3, 0))
        fs = [self.executor.submit(square, x) for x in range(50)]
        results = sorted(f.result() for f in futures.as_completed(fs, 30))
        self.assertEqual(results, [x * x for x in range(50)])
        fs = [self.executor.submit(fail_at_three, 3), self.executor.submit(pause, 5)]
        done, pending = futures.wait(fs, 30, futures.FIRST_EXCEPTION)
        self.assertEqual(done, {fs[0]})
        with self.assertRaises(TimeoutError):
            [*futures.as_completed(fs, 0.01)]

    def test_a_cancelled_future_wakes_who_waits_for_it(self) -> None:
        blockers = [self.executor.submit(pause, 0.7) for _ in range(2)]
        fs = [self.executor.submit(pause, 1000.0) for _ in range(10)]
        caught: list[BaseException] = []

        def wait_for_result() -> None:
            try:
                fs[-1].result()
            except BaseException as error:
                caught.append(error)

        thread = threading.Thread(target=wait_for_result)
        thread.start()
        time.sleep(0.1)
        self.assertTrue(fs[-1].cancel())
        thread.join()
        self.assertIsInstance(caught[0], futures.CancelledError)
        self.assertTrue(fs[-1].cancelled())
        self.assertEqual(futures.wait([fs[-1]], 30).done, {fs[-1]})
        del blockers

    def test_done_callbacks(self) -> None:
        seen: list[object] = []
        future = self.executor.submit(square, 3)
        future.add_done_callback(lambda f: seen.append(f.result()))
        self.assertTrue(wait_until(lambda: seen == [9]))
        future.add_done_callback(lambda f: seen.append(f.result() + 1))
        self.assertEqual(seen, [9, 10])
        again = self.executor.submit(square, 4)
        again.add_done_callback(
            lambda f: seen.append(self.executor.submit(square, f.result()).result())
        )
        self.assertTrue(wait_until(lambda: seen[-1] == 256))

    def test_asyncio(self) -> None:
        async def main() -> list[int]:
            loop = asyncio.get_running_loop()
            calls = [loop.run_in_executor(self.executor, square, x) for x in range(20)]
            with self.assertRaises(KeyError):
                await loop.run_in_executor(self.executor, fail_at_three, 3)
            return await asyncio.gather(*calls)

        self.assertEqual(asyncio.run(main()), [x * x for x in range(20)])

    def test_map(self) -> None:
        ex = self.executor
        self.assertEqual([*ex.map(square, range(1000))], [x * x for x in range(1000)])
        self.assertEqual([*ex.map(square, range(10), chunksize=3)][-1], 81)
        self.assertEqual([*ex.map(square, [])], [])
        for bad in (0, -1):
            with self.assertRaisesRegex(ValueError, "chunksize must be >= 1"):
                ex.map(square, [1], chunksize=bad)
            with self.assertRaisesRegex(ValueError, "buffersize must be None or > 0"):
                ex.map(square, [1], buffersize=bad)
        with self.assertRaisesRegex(TypeError, "buffersize must be an integer"):
            ex.map(square, [1], buffersize="1")  # type: ignore[arg-type]

    def test_map_ends_with_the_first_exception(self) -> None:
        iterator = self.executor.map(fail_at_three, range(10))
        self.assertEqual([next(iterator) for _ in range(3)], [0, 1, 2])
        with self.assertRaises(KeyError) as caught:
            next(iterator)
        self.assertIsInstance(caught.exception.__cause__, process._RemoteTraceback)
        self.assertEqual([*iterator], [])

    def test_map_with_timeout(self) -> None:
        iterator = self.executor.map(pause, [0.0, 5.0], timeout=0.3)
        self.assertEqual(next(iterator), 0.0)
        with self.assertRaises(TimeoutError):
            next(iterator)

    def test_map_cancels_what_nobody_wants(self) -> None:
        iterator = self.executor.map(pause, [0.0] + [1.0] * 1000, chunksize=1)
        next(iterator)
        iterator.close()  # type: ignore[attr-defined]
        self.executor.shutdown()

    def test_map_with_a_buffer(self) -> None:
        taken: list[int] = []

        def items() -> Iterator[int]:
            for x in range(1000):
                taken.append(x)
                yield x

        iterator = self.executor.map(square, items(), buffersize=5)
        self.assertEqual(
            [next(iterator) for _ in range(10)], [x * x for x in range(10)]
        )
        self.assertLessEqual(len(taken), 16)

    def test_a_lost_worker_costs_its_future(self) -> None:
        fs = [self.executor.submit(kill_at_three, x) for x in range(20)]
        for x, future in enumerate(fs):
            if x == 3:
                with self.assertRaises(futures.WorkerLostError) as caught:
                    future.result(30)
                self.assertIsInstance(caught.exception, process.BrokenProcessPool)
            else:
                self.assertEqual(future.result(30), x)
        self.assertEqual(self.executor.submit(square, 3).result(), 9)

    def test_arguments_and_results_that_do_not_pickle(self) -> None:
        with self.assertRaisesRegex(Exception, "lock"):
            self.executor.submit(id, threading.Lock()).result()
        with self.assertRaisesRegex(Exception, "lock"):
            self.executor.submit(threading.Lock).result()
        self.assertEqual(self.executor.submit(square, 3).result(), 9)


class Life(HereCase):
    def test_bad_arguments(self) -> None:
        make = futures.ProcessPoolExecutor
        for workers in (0, -1):
            with self.assertRaisesRegex(ValueError, "max_workers must be greater"):
                make(workers)
        with self.assertRaisesRegex(TypeError, "initializer must be a callable"):
            make(1, initializer=3)  # type: ignore[arg-type]
        spawn = mp.get_context("spawn")
        with self.assertRaisesRegex(
            TypeError, "max_tasks_per_child must be an integer"
        ):
            make(1, spawn, max_tasks_per_child=1.5)  # type: ignore[arg-type]
        with self.assertRaisesRegex(ValueError, "max_tasks_per_child must be >= 1"):
            make(1, spawn, max_tasks_per_child=0)

    def test_shutdown(self) -> None:
        executor = futures.ProcessPoolExecutor(2)
        fs = [executor.submit(pause, 0.1) for _ in range(6)]
        executor.shutdown()
        self.assertEqual([f.result(0) for f in fs], [0.1] * 6)
        for call in (
            lambda: executor.submit(square, 1),
            lambda: executor.map(square, []),
        ):
            with self.assertRaisesRegex(RuntimeError, "after shutdown"):
                call()
        executor.shutdown()

    def test_all_callbacks_have_run_after_shutdown(self) -> None:
        for end in ("shutdown", "terminate_workers"):
            executor = futures.ProcessPoolExecutor(2)
            seen: list[object] = []
            fs = [executor.submit(pause, 0.01) for _ in range(50)]
            for future in fs:
                future.add_done_callback(seen.append)
            getattr(executor, end)()
            self.assertEqual(len(seen), 50)
            fs[0].add_done_callback(seen.append)
            self.assertEqual(len(seen), 51)

    def test_shutdown_of_an_unused_executor(self) -> None:
        before = threading.active_count()
        for wait in (True, False):
            futures.ProcessPoolExecutor(2).shutdown(wait)
        self.assertTrue(wait_until(lambda: threading.active_count() == before))

    def test_shutdown_without_waiting(self) -> None:
        executor = futures.ProcessPoolExecutor(2)
        fs = [executor.submit(pause, 0.2) for _ in range(4)]
        executor.shutdown(wait=False)
        self.assertEqual([f.result(30) for f in fs], [0.2] * 4)

    def test_shutdown_that_cancels(self) -> None:
        executor = futures.ProcessPoolExecutor(2)
        fs = [executor.submit(pause, 0.3) for _ in range(20)]
        wait_until(lambda: fs[0].running())
        executor.shutdown(cancel_futures=True)
        self.assertTrue(all(f.done() for f in fs))
        self.assertTrue(fs[-1].cancelled())
        self.assertEqual(fs[0].result(), 0.3)

    def test_a_forgotten_executor_finishes(self) -> None:
        executor = futures.ProcessPoolExecutor(1)
        future = executor.submit(pause, 0.3)
        del executor
        self.assertEqual(future.result(30), 0.3)

    def test_nothing_is_kept_of_a_function_or_a_result(self) -> None:
        class Model:
            def answer(self) -> int:
                return 42

        with futures.ProcessPoolExecutor(1) as executor:
            model = Model()
            gone = weakref.ref(model)
            self.assertEqual(executor.submit(model.answer).result(), 42)
            del model
            self.assertTrue(wait_until(lambda: gc.collect() >= 0 and gone() is None))
            for result in executor.map(Value, range(3)):
                gone = weakref.ref(result)
                del result
                self.assertIsNone(gone())

    def test_what_the_standard_executor_raises(self) -> None:
        with futures.ProcessPoolExecutor(1) as executor:
            for code in (None, 0, 3, "no licence"):
                caught = executor.submit(sys.exit, code).exception()
                self.assertIsInstance(caught, SystemExit)
                self.assertEqual(caught.code, code)
            caught = executor.submit(threading.Lock).exception()
            self.assertIs(type(caught), TypeError)
            self.assertEqual(executor.submit(square, 3).result(), 9)

    def test_descriptors_go_with_shutdown(self) -> None:
        executor = futures.ProcessPoolExecutor(4)
        before = len(os.listdir("/proc/self/fd"))
        executor.submit(square, 3).result()
        executor.shutdown()
        self.assertTrue(wait_until(lambda: len(os.listdir("/proc/self/fd")) < before))

    def test_terminate_workers(self) -> None:
        executor = futures.ProcessPoolExecutor(2)
        fs = [executor.submit(pause, 1000) for _ in range(6)]
        wait_until(lambda: fs[0].running())
        executor.terminate_workers()
        for future in fs:
            self.assertTrue(future.done())
            with self.assertRaises((futures.BrokenProcessPool, futures.CancelledError)):
                future.result()

    def test_kill_workers(self) -> None:
        executor = futures.ProcessPoolExecutor(1)
        future = executor.submit(ignore_terminations)
        self.assertTrue(wait_until(future.running))
        (worker,) = executor._processes.values()
        executor.kill_workers()
        self.assertIsInstance(future.exception(10), process.BrokenProcessPool)
        self.assertEqual(worker.exitcode, -signal.SIGKILL)

    def test_ending_a_worker_by_hand_ends_all(self) -> None:
        for name in ("kill", "terminate"):
            executor = futures.ProcessPoolExecutor(2)
            calls = [executor.submit(time.sleep, 1000) for _ in range(6)]
            self.assertTrue(wait_until(calls[0].running))
            for worker in list(executor._processes.values()):
                getattr(worker, name)()
            for call in calls:
                self.assertIsInstance(call.exception(10), process.BrokenProcessPool)
            with self.assertRaises(process.BrokenProcessPool):
                executor.submit(square, 1)
            executor.shutdown()

    def test_an_initializer_that_fails(self) -> None:
        with futures.ProcessPoolExecutor(2, initializer=refuse) as executor:
            with self.assertRaises(process.BrokenProcessPool) as caught:
                executor.submit(square, 1).result(30)
            self.assertIsInstance(caught.exception.__cause__, OSError)
            with self.assertRaises(process.BrokenProcessPool):
                executor.submit(square, 1).result(30)

    def test_spawned_workers_start_as_they_are_needed(self) -> None:
        with futures.ProcessPoolExecutor(4, mp.get_context("spawn")) as executor:
            executor.submit(square, 1).result()
            self.assertEqual(len(executor._processes), 1)
            [*executor.map(square, range(100))]
            self.assertEqual(len(executor._processes), 4)

    def test_a_lost_worker_is_replaced_by_one(self) -> None:
        with futures.ProcessPoolExecutor(4, mp.get_context("spawn")) as executor:
            executor.submit(kill_at_three, 3).exception()
            self.assertTrue(wait_until(lambda: len(executor._processes) == 1))
            executor.submit(square, 1).result()
            executor.submit(square, 1).result()
            self.assertEqual(len(executor._processes), 1)

    def test_a_call_that_is_refused_is_not_done(self) -> None:
        def refuse_to_start(self: object, slot: int) -> None:
            raise OSError("no room for a process")

        with futures.ProcessPoolExecutor(2, mp.get_context("spawn")) as executor:
            with mock.patch.object(Crew, "_start", refuse_to_start):
                for call in (executor.submit, executor.map):
                    with self.assertRaisesRegex(OSError, "no room"):
                        call(square, [1])
                self.assertEqual(executor.stats()["outstanding"], 0)
            self.assertEqual(executor.submit(square, 2).result(), 4)
            with mock.patch.object(Crew, "_start", refuse_to_start):
                # One is there, which does it all.
                first = executor.submit(pause, 0.05)
                self.assertEqual(executor.submit(square, 3).result(), 9)
                self.assertEqual(first.result(), 0.05)

    def test_a_worker_cannot_use_the_executor_it_belongs_to(self) -> None:
        global _executor
        with futures.ProcessPoolExecutor(1, mp.get_context("fork")) as executor:
            _executor = executor
            for name in ("submit", "map"):
                text = executor.submit(use_own, name).result(30)
                self.assertIn("make an executor here", text)
            for name in ("shutdown", "terminate_workers"):
                self.assertEqual(executor.submit(use_own, name).result(30), "done")
            self.assertEqual(executor.submit(square, 3).result(30), 9)

    def test_an_executor_in_a_forked_child(self) -> None:
        with futures.ProcessPoolExecutor(1) as executor:
            executor.submit(square, 1).result()
            child = os.fork()
            if child == 0:
                try:
                    executor.submit(square, 1)
                except RuntimeError as error:
                    os._exit(0 if "forked" in str(error) else 1)
                finally:
                    os._exit(2)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)

    def test_names(self) -> None:
        self.assertIs(futures.wait, concurrent.futures.wait)
        for name in futures.__all__:
            self.assertTrue(hasattr(futures, name), name)


class Exits(ScriptCase):
    def test_calls_are_finished_at_exit(self) -> None:
        for method in METHODS:
            with self.subTest(method):
                ended = self.run_script(
                    f"""
                    import time
                    import phalanx.multiprocessing as mp
                    from phalanx.futures import ProcessPoolExecutor
                    def work(x):
                        time.sleep(0.3)
                        print("worked", flush=True)
                    if __name__ == "__main__":
                        executor = ProcessPoolExecutor(2, mp.get_context({method!r}))
                        for x in range(3): executor.submit(work, x)
                        print("left", flush=True)
                    """
                )
                self.assertEqual(ended.lines, ["left", "worked", "worked", "worked"])

    def test_ctrl_c(self) -> None:
        for way in ("with", "without"):
            for call in (
                "[*executor.map(work, range(8))]",
                "executor.submit(work, 1).result()",
            ):
                with self.subTest(way, call=call):
                    use = "with executor:" if way == "with" else "if True:"
                    script = self.start(
                        f"""
                        import time
                        from phalanx.futures import ProcessPoolExecutor
                        def work(x):
                            print("working", flush=True)
                            time.sleep(1000)
                        executor = ProcessPoolExecutor(2)
                        {use}
                            {call}
                        """
                    )
                    script.wait_for("working")
                    script.interrupt()
                    ended = script.end(20)
                    self.assertEqual(ended.status, -signal.SIGINT, ended.text)
                    self.assertEqual(ended.err.count("Traceback"), 1, ended.text)


if __name__ == "__main__":
    unittest.main()
