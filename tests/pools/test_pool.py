"""What a pool does when nothing goes wrong, and with exceptions of tasks."""

import gc
import itertools
import multiprocessing as std
import multiprocessing.pool as std_pool
import os
import pickle
import threading
import time
import unittest
import warnings
from collections.abc import Iterator
from unittest import mock

import phalanx.multiprocessing as mp
from phalanx.multiprocessing import errors
from watch import HereCase, ScriptCase, wait_until

METHODS = ("fork", "spawn", "forkserver")


def square(x: int) -> int:
    return x * x


def add(x: int, y: int = 0, *, z: int = 0) -> int:
    return x + y + z


def pid_of(_: object) -> int:
    return os.getpid()


def fail_at_three(x: int) -> int:
    if x == 3:
        raise KeyError(x)
    return x


def pause(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


class TwoArguments(Exception):
    """Pickles, and does not unpickle."""

    def __init__(self, one: object, two: object) -> None:
        super().__init__(f"{one} and {two}")


def raise_two_arguments(x: int) -> None:
    raise TwoArguments(x, x)


def return_lock(_: int) -> object:
    return threading.Lock()


def raise_lock(_: int) -> object:
    raise ValueError(threading.Lock())


_started: list[object] = []


def note(*values: object) -> None:
    _started.extend(values)


def noted(_: int) -> list[object]:
    return _started


def release(lock: "mp.synchronize.Lock") -> bool:
    with lock:
        return True


class EveryMethod(HereCase):
    """The calls, under each start method."""

    seconds = 120

    def test_calls(self) -> None:
        for method in METHODS:
            with self.subTest(method), mp.get_context(method).Pool(2) as pool:
                self.check(pool)
            pool.join()

    def check(self, pool: "mp.pool.Pool") -> None:
        self.assertIsInstance(pool, std_pool.Pool)
        expected = [x * x for x in range(100)]
        self.assertEqual(pool.map(square, range(100)), expected)
        self.assertEqual(pool.map(square, iter(range(100)), 7), expected)
        self.assertEqual(pool.map(square, []), [])
        self.assertEqual(pool.starmap(add, [(1, 2), (3, 4)]), [3, 7])
        self.assertEqual(pool.apply(add, (1,), {"z": 5}), 6)
        self.assertEqual(list(pool.imap(square, range(100))), expected)
        self.assertEqual(list(pool.imap(square, range(100), 9)), expected)
        self.assertEqual(pool.map(square, range(9), 10**30), [x * x for x in range(9)])
        many = pool.imap(square, range(9), buffersize=10**30)
        self.assertEqual(list(many), [x * x for x in range(9)])
        unordered = pool.imap_unordered(square, range(100), chunksize=3)
        self.assertEqual(sorted(unordered), expected)
        self.assertEqual(pool.map_async(square, range(100)).get(30), expected)
        self.assertEqual(pool.starmap_async(add, [(1, 2)]).get(30), [3])
        self.assertEqual(pool.apply_async(add, (2,), {"y": 2}).get(30), 4)
        with self.assertRaises(KeyError) as caught:
            pool.map(fail_at_three, range(6))
        self.assertIsInstance(caught.exception.__cause__, errors.RemoteTraceback)
        self.assertIn("fail_at_three", str(caught.exception.__cause__))
        double = 2  # A function that pickle cannot find.
        self.assertEqual(pool.map(lambda x: double * x, range(4)), [0, 2, 4, 6])

    def test_initializer(self) -> None:
        for method in METHODS:
            with (
                self.subTest(method),
                mp.get_context(method).Pool(1, note, (1, "two")) as pool,
            ):
                self.assertEqual(pool.apply(noted, (0,)), [1, "two"])

    def test_locks_and_queues_as_arguments(self) -> None:
        for method in METHODS:
            context = mp.get_context(method)
            with self.subTest(method), context.Pool(2) as pool:
                lock, queue = context.Lock(), context.Queue()
                self.assertEqual(pool.map(release, [lock] * 4), [True] * 4)
                pool.starmap(put, [(queue, x) for x in range(4)])
                self.assertEqual(
                    sorted(queue.get(timeout=30) for _ in "1234"), [*range(4)]
                )


def put(queue: "mp.queues.Queue[int]", x: int) -> None:
    queue.put(x)


class Results(HereCase):
    def setUp(self) -> None:
        super().setUp()
        self.pool = mp.Pool(2)

    def tearDown(self) -> None:
        self.pool.terminate()
        self.pool.join()
        super().tearDown()

    def test_classes(self) -> None:
        self.assertIsInstance(self.pool.apply_async(square, (1,)), std_pool.AsyncResult)
        self.assertIsInstance(self.pool.map_async(square, [1]), std_pool.MapResult)
        self.assertIsInstance(self.pool.imap(square, [1]), std_pool.IMapIterator)
        self.assertIsInstance(
            self.pool.imap_unordered(square, [1]), std_pool.IMapUnorderedIterator
        )

    def test_a_result_before_its_end(self) -> None:
        result = self.pool.apply_async(pause, (1.0,))
        self.assertFalse(result.ready())
        with self.assertRaisesRegex(ValueError, "not ready"):
            result.successful()
        result.wait(0.01)
        with self.assertRaises(std.TimeoutError):
            result.get(timeout=0.01)
        self.assertEqual(result.get(), 1.0)
        self.assertTrue(result.successful())

    def test_a_failed_result(self) -> None:
        result = self.pool.apply_async(fail_at_three, (3,))
        for _ in range(2):
            with self.assertRaises(KeyError):
                result.get(30)
        self.assertFalse(result.successful())

    def test_the_rest_of_a_map_is_done_when_one_fails(self) -> None:
        result = self.pool.map_async(fail_at_three, range(6), chunksize=1)
        result.wait(30)
        self.assertEqual(result._number_left, 0)
        with self.assertRaises(KeyError):
            result.get()

    def test_imap_goes_on_after_an_exception(self) -> None:
        iterator = self.pool.imap(fail_at_three, range(6))
        self.assertEqual([next(iterator) for _ in range(3)], [0, 1, 2])
        with self.assertRaises(KeyError):
            next(iterator)
        self.assertEqual(list(iterator), [4, 5])
        for _ in range(2):
            with self.assertRaises(StopIteration):
                next(iterator)

    def test_imap_next_with_timeout(self) -> None:
        iterator = self.pool.imap(pause, [0.5])
        with self.assertRaises(std.TimeoutError):
            iterator.next(0.01)
        self.assertEqual(iterator.next(30), 0.5)

    def test_imap_takes_what_fits_in_its_buffer(self) -> None:
        taken = []

        def items() -> Iterator[int]:
            for x in itertools.count():
                taken.append(x)
                yield x

        for method in (self.pool.imap, self.pool.imap_unordered):
            taken.clear()
            iterator = method(square, items(), buffersize=4)
            seen = sorted(next(iterator) for _ in range(20))
            if method == self.pool.imap:
                self.assertEqual(seen, [x * x for x in range(20)])
            self.assertLessEqual(len(taken), 20 + 4 + 1)

    def test_imap_reads_its_iterable_without_a_reader(self) -> None:
        seen = []

        def items() -> Iterator[int]:
            for x in range(50):
                seen.append(x)
                yield x

        iterator = self.pool.imap(square, items())
        self.pool.close()
        self.pool.join()
        self.assertEqual(len(seen), 50)
        self.assertEqual(list(iterator), [x * x for x in range(50)])

    def test_an_iterable_that_fails(self) -> None:
        def items() -> Iterator[int]:
            yield from range(3)
            raise LookupError("items")

        with self.assertRaisesRegex(LookupError, "items"):
            self.pool.map(square, items())
        iterator = self.pool.imap(square, items())
        self.assertEqual([next(iterator) for _ in range(3)], [0, 1, 4])
        with self.assertRaisesRegex(LookupError, "items"):
            next(iterator)
        self.assertEqual(self.pool.apply(square, (3,)), 9)

    def test_callbacks_have_run_when_the_result_is_ready(self) -> None:
        values: list[object] = []
        for x in range(20):
            self.pool.apply_async(square, (x,), callback=values.append).wait(30)
            self.assertEqual(len(values), x + 1)
        result = self.pool.map_async(
            fail_at_three,
            range(5),
            callback=values.append,
            error_callback=values.append,
        )
        with self.assertRaises(KeyError):
            result.get(30)
        self.assertIsInstance(values[-1], KeyError)
        self.assertEqual(len(values), 21)

    def test_all_callbacks_have_run_after_join(self) -> None:
        values: list[object] = []
        for x in range(200):
            self.pool.apply_async(square, (x,), callback=values.append)
        self.pool.close()
        self.pool.join()
        self.assertEqual(sorted(values), [x * x for x in range(200)])

    def test_an_exception_in_a_callback_is_reported_and_hurts_nobody(self) -> None:
        reported = []
        with mock.patch("threading.excepthook", reported.append):
            result = self.pool.apply_async(square, (3,), callback=lambda x: x / 0)
            self.assertEqual(result.get(30), 9)
        self.assertEqual(len(reported), 1)
        self.assertIs(reported[0].exc_type, ZeroDivisionError)
        self.assertEqual(self.pool.apply_async(square, (4,), callback=id).get(30), 16)

    def test_a_callback_may_wait_for_another_result(self) -> None:
        other = []
        result = self.pool.apply_async(
            square, (3,), callback=lambda x: other.append(self.pool.apply(square, (x,)))
        )
        self.assertEqual(result.get(30), 9)
        self.assertEqual(other, [81])

    def test_a_callback_may_terminate_the_pool(self) -> None:
        results = [
            self.pool.apply_async(pause, (s,), callback=lambda _: self.pool.terminate())
            for s in (0.0, 1000.0)
        ]
        self.assertEqual(results[0].get(30), 0.0)
        with self.assertRaises(std.ProcessError):
            results[1].get(30)

    def test_exceptions_that_do_not_unpickle(self) -> None:
        with self.assertRaisesRegex(Exception, "TwoArguments") as caught:
            self.pool.map(raise_two_arguments, [1])
        self.assertIn("raise_two_arguments", str(caught.exception.__cause__))
        self.assertEqual(self.pool.apply(square, (3,)), 9)

    def test_results_and_exceptions_that_do_not_pickle(self) -> None:
        with self.assertRaisesRegex(errors.MaybeEncodingError, "lock"):
            self.pool.apply(return_lock, (1,))
        with self.assertRaises(Exception) as caught:
            self.pool.apply(raise_lock, (1,))
        self.assertIn("lock", str(caught.exception))
        self.assertEqual(self.pool.apply(square, (3,)), 9)

    def test_arguments_that_do_not_pickle_fail_in_the_caller(self) -> None:
        for call in (
            lambda: self.pool.apply(square, (threading.Lock(),)),
            lambda: self.pool.map(square, [1, threading.Lock()]),
            lambda: list(self.pool.imap(square, [threading.Lock()])),
        ):
            with self.assertRaisesRegex(Exception, "lock"):
                call()
        self.assertEqual(self.pool.apply(square, (3,)), 9)

    def test_an_argument_that_does_not_unpickle(self) -> None:
        with self.assertRaisesRegex(Exception, "does not arrive"):
            self.pool.apply(square, (Unwilling(),))
        self.assertEqual(self.pool.apply(square, (3,)), 9)

    def test_system_exit_in_a_task(self) -> None:
        with self.assertRaisesRegex(errors.WorkerLostError, r"sys.exit\(5\)"):
            self.pool.map_async(exit_at_three, range(6), chunksize=1).get(30)
        self.assertEqual(self.pool.map(square, range(6)), [0, 1, 4, 9, 16, 25])

    def test_system_exit_with_a_long_text(self) -> None:
        with self.assertRaisesRegex(errors.WorkerLostError, r"exit\(long x+\.\.\.\)"):
            self.pool.apply_async(exit_with, ("long " + "x" * 100_000,)).get(30)
        stats = self.pool.stats()["workers"]
        self.assertEqual(sum(worker["starts"] for worker in stats), len(stats))

    def test_bad_chunk_and_buffer_sizes(self) -> None:
        for call in (self.pool.imap, self.pool.imap_unordered):
            with self.assertRaisesRegex(ValueError, r"Chunksize must be 1\+, not 0"):
                call(square, [1], 0)
            with self.assertRaisesRegex(ValueError, r"buffersize must be 1\+, not 0"):
                call(square, [1], buffersize=0)


class Unwilling:
    def __reduce__(self) -> object:
        return refuse, ()


def refuse() -> None:
    raise RuntimeError("does not arrive")


def exit_with(text: str) -> None:
    raise SystemExit(text)


def exit_at_three(x: int) -> int:
    if x == 3:
        raise SystemExit(5)
    return x


class Life(HereCase):
    def test_bad_arguments(self) -> None:
        for processes in (0, -1):
            with self.assertRaisesRegex(ValueError, "at least 1"):
                mp.Pool(processes)
        for tasks in (0, -1, 1.5, "2"):
            with self.assertRaisesRegex(ValueError, "maxtasksperchild"):
                mp.Pool(1, maxtasksperchild=tasks)
        with self.assertRaisesRegex(TypeError, "initializer must be a callable"):
            mp.Pool(1, initializer=5)

    def test_states(self) -> None:
        pool = mp.Pool(1)
        self.assertRegex(repr(pool), "state=RUN pool_size=1")
        with self.assertRaisesRegex(ValueError, "Pool is still running"):
            pool.join()
        with self.assertRaises(NotImplementedError):
            pickle.dumps(pool)
        pool.close()
        for call in (pool.map, pool.map_async, pool.imap, pool.imap_unordered):
            with self.assertRaisesRegex(ValueError, "Pool not running"):
                call(square, [1])
        with self.assertRaisesRegex(ValueError, "Pool not running"):
            pool.apply(square, (1,))
        with self.assertRaisesRegex(ValueError, "Pool not running"), pool:
            pass
        pool.join()
        pool.join()
        pool.terminate()
        self.assertRegex(repr(pool), "state=TERMINATE pool_size=[01]")

    def test_threads_are_gone_after_the_end(self) -> None:
        before = set(threading.enumerate())
        for end in ("close", "terminate"):
            pool = mp.Pool(2)
            values: list[object] = []
            pool.apply_async(square, (2,), callback=values.append).get(30)
            getattr(pool, end)()
            pool.join()
            self.assertLessEqual(set(threading.enumerate()), before)

    def test_close_waits_for_what_was_submitted(self) -> None:
        pool = mp.Pool(2)
        result = pool.map_async(pause, [0.05] * 10, chunksize=1)
        pool.close()
        pool.join()
        self.assertEqual(result.get(0), [0.05] * 10)

    def test_terminate_with_pending_results(self) -> None:
        pool = mp.Pool(2)
        results = [pool.apply_async(pause, (1000,)) for _ in range(6)]
        results.append(pool.map_async(pause, [1000] * 6))
        called = pool.apply_async(pause, (1000,), callback=id)
        iterator = pool.imap(pause, [1000] * 6)
        waiter = threading.Thread(target=results[0].wait)
        waiter.start()
        pool.terminate()
        pool.join()
        waiter.join()
        for result in [*results, called]:
            with self.assertRaises(std.ProcessError):
                result.get(30)
            self.assertTrue(result.ready())
        with self.assertRaises(std.ProcessError):
            next(iterator)

    def test_workers_are_replaced_after_so_many_tasks(self) -> None:
        with mp.Pool(2, maxtasksperchild=5) as pool:
            pids = pool.map(pid_of, range(60), chunksize=1)
            self.assertGreaterEqual(len(set(pids)), 60 // 5)
            self.assertTrue(wait_until(lambda: len(pool._pool) == 2))
            pool._repopulate_pool()
            self.assertEqual(len(pool._pool), 2)

    def test_a_pool_is_collected_with_a_warning(self) -> None:
        pool = mp.Pool(1)
        worker = pool._pool[0]
        with self.assertWarnsRegex(ResourceWarning, "unclosed running"):
            del pool
            gc.collect()
        worker.join(30)
        self.assertIsNotNone(worker.exitcode)

    def test_a_closed_pool_is_collected_without_a_warning(self) -> None:
        pool = mp.Pool(1)
        pool.close()
        pool.join()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            del pool
            gc.collect()

    def test_a_result_keeps_its_pool(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            result = mp.Pool(1).apply_async(pause, (0.2,))
            gc.collect()
            self.assertEqual(result.get(30), 0.2)
            self.assertEqual(list(mp.Pool(1).imap(square, range(3))), [0, 1, 4])

    def test_a_pool_in_a_forked_child(self) -> None:
        with mp.Pool(1) as pool:
            child = os.fork()
            if child == 0:
                try:
                    pool.map(square, [1])
                except RuntimeError as error:
                    os._exit(0 if "forked" in str(error) else 1)
                finally:
                    os._exit(2)
            self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
            self.assertEqual(pool.map(square, [3]), [9])

    def test_calls_from_many_threads(self) -> None:
        with mp.Pool(2) as pool:
            results: dict[int, list[int]] = {}

            def call(n: int) -> None:
                results[n] = pool.map(square, range(n * 100))

            threads = [threading.Thread(target=call, args=(n,)) for n in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            for n in range(8):
                self.assertEqual(results[n], [x * x for x in range(n * 100)])

    def test_many_pools_one_after_the_other(self) -> None:
        descriptors = len(os.listdir("/proc/self/fd"))
        for _ in range(20):
            with mp.Pool(2) as pool:
                self.assertEqual(pool.map(square, range(4)), [0, 1, 4, 9])
            pool.join()
        # Those of the last pools go with their threads.
        fewer = wait_until(lambda: len(os.listdir("/proc/self/fd")) < descriptors + 10)
        self.assertTrue(fewer, os.listdir("/proc/self/fd"))

    def test_processes_of_another_class(self) -> None:
        class NoDaemon(mp.context.ForkProcess):
            @property
            def daemon(self) -> bool:
                return False

            @daemon.setter
            def daemon(self, value: bool) -> None:
                pass

        class Context(type(mp.get_context("fork"))):
            Process = NoDaemon

        with mp.pool.Pool(2, context=Context()) as pool:
            self.assertIsInstance(pool._pool[0], NoDaemon)
            self.assertEqual(pool.map(pool_in_pool, [3, 4]), [[0, 1, 4], [0, 1, 4, 9]])

    def test_a_context_of_the_standard_library(self) -> None:
        with mp.pool.Pool(2, context=std.get_context("spawn")) as pool:
            self.assertEqual(pool.map(square, range(4)), [0, 1, 4, 9])

    def test_stats(self) -> None:
        with mp.Pool(2) as pool:
            pool.map(square, range(100))
            stats = pool.stats()
            self.assertEqual(stats["outstanding"], 0)
            self.assertEqual(sum(worker["tasks"] for worker in stats["workers"]), 100)
            pids = {process.pid for process in pool._pool}
            self.assertEqual({worker["pid"] for worker in stats["workers"]}, pids)

    def test_thread_pools_are_the_standard_library_s(self) -> None:
        self.assertIs(mp.pool.ThreadPool, std_pool.ThreadPool)
        with mp.pool.ThreadPool(2) as pool:
            self.assertEqual(pool.map(square, range(4)), [0, 1, 4, 9])


def pool_in_pool(n: int) -> list[int]:
    with mp.get_context("fork").Pool(2) as pool:
        return pool.map(square, range(n))


class Exits(ScriptCase):
    """How scripts end that do not end their pools."""

    def test_exit_without_close(self) -> None:
        for method in METHODS:
            with self.subTest(method):
                ended = self.run_script(
                    f"""
                    import phalanx.multiprocessing as mp, time
                    if __name__ == "__main__":
                        pool = mp.get_context({method!r}).Pool(2)
                        print(pool.map(abs, [-1, 2]))
                        pool.apply_async(time.sleep, (1000,))
                    """
                )
                self.assertEqual(ended.lines, ["[1, 2]"])

    def test_exit_by_exception_prints_one_traceback(self) -> None:
        ended = self.run_script(
            """
            import phalanx.multiprocessing as mp
            pool = mp.Pool(2)
            result = pool.map_async(abs, range(100), callback=print)
            pool.map(int, ["x"])
            """,
            status=1,
        )
        self.assertIn("ValueError: invalid literal", ended.err)
        self.assertNotIn("Exception ignored", ended.err)

    def test_spawn_without_a_main_guard(self) -> None:
        for method in ("spawn", "forkserver"):
            with self.subTest(method):
                ended = self.run_script(
                    f"""
                    import phalanx.multiprocessing as mp
                    print("once")
                    def start(value): global base; base = value
                    def shifted(x): return base + x
                    pool = mp.get_context({method!r}).Pool(2, start, (10,))
                    print(pool.map(shifted, range(3)))
                    print(pool.map(lambda x: -x, range(3)))
                    """
                )
                self.assertEqual(ended.lines, ["once", "[10, 11, 12]", "[0, -1, -2]"])

    def test_script_from_the_command_line(self) -> None:
        for method in METHODS:
            with self.subTest(method):
                ended = self.run_script(
                    f"""
                    import phalanx.multiprocessing as mp
                    def square(x): return x * x
                    with mp.get_context({method!r}).Pool(2) as pool:
                        print(pool.map(square, range(4)))
                    """,
                    way="-c",
                )
                self.assertEqual(ended.lines, ["[0, 1, 4, 9]"])


if __name__ == "__main__":
    unittest.main()
