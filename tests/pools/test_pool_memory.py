"""What pools keep: nothing that a call has left, and no more than is on its way."""

import functools
import gc
import os
import signal
import threading
import time
import unittest
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import phalanx.multiprocessing as mp
from phalanx import _workers
from phalanx.multiprocessing import errors
from watch import HereCase, ScriptCase, wait_until

MIB = 1 << 20
SOME = 40_000_000  # bytes of an array that a forked worker has from its parent
inherited = np.zeros(0, np.uint8)


def fail(_: object) -> None:
    raise ValueError("failed")


def ident(x: object) -> object:
    return x


def make(n: int) -> list[int]:
    return [n]


def first(array: np.ndarray, _: object = None) -> float:
    return float(array[0])


def first_after_a_while(array: np.ndarray) -> float:
    time.sleep(0.002)
    return float(array[0])


def overwrite(count: int) -> None:
    inherited[:count] = 2
    if count > len(inherited) // 2:
        time.sleep(1000)


def allocate(count: int) -> None:
    _ = np.ones(count, np.uint8)
    time.sleep(1000)


class Node:
    """Something that can be in a cycle and be referred to weakly."""

    def __init__(self) -> None:
        self.other: object = None


class Worker:
    """Has a pool, and is sent to it without."""

    def __init__(self) -> None:
        self.pool: Any = mp.Pool(1)

    def __getstate__(self) -> dict[str, object]:
        return {}

    def double(self, x: int) -> int:
        return 2 * x


class Leftovers(ScriptCase):
    def test_calls_that_fail_leave_nothing_even_without_the_collector(self) -> None:
        ended = self.run_script(
            """
            import gc, os, time, weakref
            import phalanx.multiprocessing as mp
            from phalanx import _workers

            class Big: pass
            alive = weakref.WeakSet()

            def fail(x): raise ValueError("x" * x)

            def call():
                local = Big()
                alive.add(local)
                with mp.Pool(1) as pool:
                    results = [pool.apply_async(fail, (n,)) for n in (1, 100_000)]
                    results.append(pool.map_async(fail, [1, 100_000]))
                    for result in results * 2:
                        try:
                            result.get()
                        except ValueError as error:
                            assert "x" in str(error) and error.__cause__
                        assert not result.successful()

            def left():
                # The threads of the last pool end after it.
                last = time.monotonic() + 30
                while _workers.family_used() and time.monotonic() < last:
                    time.sleep(0.01)
                return len(os.listdir("/proc/self/fd"))

            call()
            gc.collect()
            gc.disable()
            before = left()
            for _ in range(8):
                call()
            print(len(alive), left() - before, _workers.family_used())
            """
        )
        self.assertEqual(ended.lines, ["0 0 0"])


class Collected(HereCase):
    def gone(self, alive: weakref.ref) -> bool:
        """Whether the collector frees it, when the pool's threads have ended."""
        return wait_until(lambda: gc.collect() >= 0 and alive() is None, 10.0)

    def test_a_result_that_contains_itself(self) -> None:
        def call(pool: Any) -> weakref.ref:
            node = Node()
            results = [pool.apply_async(make, (1,)), pool.map_async(ident, [1])]
            for result in results:
                result.get().append((result, node))
            return weakref.ref(node)

        with mp.Pool(1) as pool:
            self.assertTrue(self.gone(call(pool)))

    def test_an_error_of_this_process_that_leads_to_its_result(self) -> None:
        def call(pool: Any) -> weakref.ref:
            node = Node()
            result = pool.apply_async(ident, (threading.Lock(),))
            node.other = result
            with self.assertRaises(Exception) as caught:
                result.get()
            caught.exception.node = node  # type: ignore[attr-defined]
            return weakref.ref(node)

        with mp.Pool(1) as pool:
            self.assertTrue(self.gone(call(pool)))

    def test_an_iterable_that_leads_to_its_iterator(self) -> None:
        def call(pool: Any) -> weakref.ref:
            node = Node()

            def items() -> Iterator[int]:
                while True:
                    yield 1 if node else 2

            node.other = iterator = pool.imap(ident, items())
            self.assertEqual(next(iterator), 1)
            return weakref.ref(node)

        with mp.Pool(1) as pool:
            alive = call(pool)
        self.assertTrue(self.gone(alive))

    def test_a_pool_whose_functions_lead_to_it(self) -> None:
        def call() -> weakref.ref:
            worker = Worker()
            self.assertEqual(worker.pool.map(worker.double, [1, 2]), [2, 4])
            worker.pool.terminate()
            worker.pool.join()
            return weakref.ref(worker)

        self.assertTrue(self.gone(call()))


class PoolCase(HereCase):
    pool: Any

    def tearDown(self) -> None:
        self.pool.terminate()
        self.pool.join()
        super().tearDown()


class Held(PoolCase):
    """How much shared memory is in use meanwhile."""

    def setUp(self) -> None:
        super().setUp()
        self.pool = mp.Pool(2)
        self.before = _workers.family_used()

    def held(self) -> int:
        return (_workers.family_used() - self.before) // MIB

    def test_functions_that_carry_arrays_go_with_their_calls(self) -> None:
        for n in range(20):
            array = np.full(MIB, n, np.uint8)
            self.assertEqual(
                self.pool.map(functools.partial(first, array), range(4)), [n] * 4
            )
            self.assertEqual(self.pool.apply(lambda array=array: array[1]), n)
        # Each worker keeps two of them.
        self.assertLess(self.held(), 8)

    def test_functions_that_carry_shared_objects_are_remembered(self) -> None:
        call = Counting(mp.Lock())
        self.assertGreater(max(self.pool.apply(call) for _ in range(3)), 1)

    def test_items_of_imap_go_when_they_are_done(self) -> None:
        items = (np.full(MIB, n % 200, np.uint8) for n in range(200))
        most = 0
        results = self.pool.imap(first_after_a_while, items, 1, buffersize=4)
        for n, value in enumerate(results):
            self.assertEqual(value, n % 200)
            most = max(most, self.held())
        self.assertLess(most, 30)

    def test_items_of_map_go_when_they_are_done(self) -> None:
        items = [np.zeros(MIB, np.uint8)] * 3 + [np.ones(MIB, np.uint8)] * 3
        event = mp.Event()

        def wait_at_one(array: np.ndarray) -> int:
            return int(array[0]) and event.wait(50)

        result = self.pool.map_async(wait_at_one, [array + 0 for array in items], 1)
        fewer = wait_until(lambda: not result.ready() and self.held() <= 3, 10.0)
        event.set()
        self.assertTrue(fewer)
        result.get(30)

    def test_a_message_of_many_shared_objects(self) -> None:
        locks = [mp.Lock() for _ in range(3000)]
        before = _workers.family_used()
        for count in (255, 256, 257, 3000):
            self.assertEqual(self.pool.apply(len, (locks[:count],)), count)
        many = self.pool.apply_async(list, (map(ident, [locks]),))
        self.assertTrue(many.get(30)[0][-1].acquire(False))
        self.assertFalse(locks[-1].acquire(False))
        for _ in range(3):
            unread = self.pool.apply_async(list, ([locks],))
            unread.wait(30)
        queue: Any = mp.Queue()
        queue.put(locks)
        self.assertEqual(len(queue.get()), len(locks))
        queue.put(locks)
        del queue, many, unread
        self.assertTrue(wait_until(lambda: _workers.family_used() <= before, 10.0))


class Interrupted(Exception):
    pass


class Signals(PoolCase):
    """Handlers of signals run while many plain items and results are dealt with."""

    def setUp(self) -> None:
        super().setUp()
        self.pool = mp.get_context("fork").Pool(2)

        def interrupt(*_: object) -> None:
            raise Interrupted

        self.addCleanup(signal.signal, signal.SIGALRM, signal.SIG_DFL)
        signal.signal(signal.SIGALRM, interrupt)
        self.addCleanup(signal.setitimer, signal.ITIMER_REAL, 0)

    def test_in_map(self) -> None:
        count = 3_000_000
        calls: list[Callable[..., object]] = [self.pool.map, self.pool.map_async]
        for call in calls:
            before = self.given()
            with self.assertRaises(Interrupted):
                signal.setitimer(signal.ITIMER_REAL, 0.02)
                call(ident, range(count))
            # Before all were taken; what has not begun by then is not done.
            self.assertLess(self.given() - before, count)
        self.assertEqual(self.pool.apply(ident, (3,)), 3)
        self.pool.close()
        self.pool.join()

    def given(self) -> int:
        stats = self.pool.stats()
        done = sum(worker["tasks"] for worker in stats["workers"])
        return int(done + stats["outstanding"])

    def test_in_imap(self) -> None:
        count = 300_000
        results = None
        while results is None:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.01)
                results = self.pool.imap(ident, range(count), buffersize=count)
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                if results is None:
                    count = max(1, count // 2)
        self.assertEqual(list(results), list(range(count)))
        self.pool.close()
        self.pool.join()

    def test_in_get_no_result_is_lost(self) -> None:
        result = self.pool.map_async(ident, range(400_000))
        self.assertTrue(wait_until(result.ready))
        times, values = 0, None
        while values is None:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.001)
                values = result.get()
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                times += 1
        self.assertEqual(values, list(range(400_000)))
        self.assertGreater(times, 0)

    def test_in_get_handlers_run_meanwhile(self) -> None:
        result = self.pool.map_async(ident, range(1_000_000))
        self.assertTrue(wait_until(result.ready))
        calls: list[object] = []
        signal.signal(signal.SIGALRM, lambda *args: calls.append(args))
        signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
        self.assertEqual(len(result.get()), 1_000_000)
        signal.setitimer(signal.ITIMER_REAL, 0)
        # Before the first of them was decoded, and after the last.
        self.assertGreater(len(calls), 2)


class Inherited(PoolCase):
    """A forked worker is not charged for what its parent has."""

    def setUp(self) -> None:
        super().setUp()
        global inherited
        inherited = np.ones(4 * SOME, np.uint8)
        self.pool = mp.get_context("fork").Pool(2, memory_limit=3 * SOME)

    def tearDown(self) -> None:
        global inherited
        inherited = np.zeros(0, np.uint8)
        super().tearDown()

    def test_reading_is_free(self) -> None:
        pids = set(self.pool.map(ident, [os.getpid()] * 100))
        self.assertEqual(pids, {os.getpid()})
        self.assertEqual(self.pool.stats()["workers"][0]["starts"], 1)

    def test_what_is_written_to_counts(self) -> None:
        self.pool.apply(overwrite, (SOME,))
        with self.assertRaises(errors.TaskMemoryError):
            self.pool.apply(overwrite, (4 * SOME,))
        self.assertEqual(self.pool.apply(ident, (1,)), 1)

    def test_what_is_allocated_counts(self) -> None:
        with self.assertRaises(errors.TaskMemoryError):
            self.pool.apply(allocate, (4 * SOME,))
        self.assertEqual(self.pool.apply(ident, (1,)), 1)


class Locks(HereCase):
    def test_a_function_whose_attributes_let_other_threads_run(self) -> None:
        looked = threading.Event()

        def others() -> None:
            looked.wait(30)
            for _ in range(2):
                pool.apply_async(ident, (1,)).get(30)

        class Slow:
            def __call__(self, x: int) -> int:
                return x

            def __reduce__(self) -> object:
                return make_ident, ()

            def __getattr__(self, name: str) -> object:
                if name == "__qualname__":
                    looked.set()
                    time.sleep(0.2)
                raise AttributeError(name)

        with mp.get_context("fork").Pool(1) as pool:
            thread = threading.Thread(target=others)
            thread.start()
            self.assertEqual(pool.map(Slow(), [1, 2, 3]), [1, 2, 3])
            thread.join()


class Counting:
    """Counts its calls, in each process."""

    def __init__(self, lock: Any) -> None:
        self.lock = lock
        self.calls = 0

    def __call__(self) -> int:
        with self.lock:
            self.calls += 1
        return self.calls


def make_ident() -> Callable[[object], object]:
    return ident


if __name__ == "__main__":
    unittest.main()
