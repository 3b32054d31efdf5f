"""Ctrl-C at awkward moments: it is neither lost nor taken for the fate of a task."""

import os
import signal
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import phalanx.multiprocessing as mp
from phalanx.futures import ProcessPoolExecutor
from watch import HereCase, ScriptCase, wait_until

PARENT = os.getpid()


class Slow:
    """Takes its time on the way there (`there`) or back."""

    def __init__(self, there: bool) -> None:
        self.there = there

    def __getstate__(self) -> dict[str, bool]:
        if self.there and os.getpid() == PARENT:
            time.sleep(0.02)
        return {"there": self.there}

    def __setstate__(self, state: dict[str, bool]) -> None:
        self.there = state["there"]
        if not self.there and os.getpid() == PARENT:
            time.sleep(0.02)


class Interrupting:
    """Interrupts whoever makes a text of it."""

    def __str__(self) -> str:
        os.kill(PARENT, signal.SIGINT)
        return "a name"


class Named:
    """A callable that says what it is called when it is asked."""

    def __call__(self, x: int) -> int:
        return x

    def __getattr__(self, name: str) -> Any:
        if name == "__qualname__":
            return Interrupting()
        raise AttributeError(name)


class Odd(BaseException):
    pass


class RaisesOdd:
    def __reduce__(self) -> Any:
        raise Odd


class Added:
    def __init__(self, number: int) -> None:
        self.number = number

    def __call__(self, x: int) -> int:
        return x + self.number


class Asking:
    """Asks for its own result while it is made from its pickle."""

    result: Any = None

    def __setstate__(self, _: object) -> None:
        if os.getpid() == PARENT:
            self.result.get()

    def __getstate__(self) -> object:
        return 1


def slow_back(_: int) -> Slow:
    return Slow(False)


def take(_: object) -> int:
    return 1


def double(x: int) -> int:
    return 2 * x


class CtrlC(HereCase):
    @contextmanager
    def interrupted(self, after: float) -> Iterator[None]:
        """An interrupt comes, and is raised before all 400 items can be done."""
        timer = threading.Timer(after, os.kill, (PARENT, signal.SIGINT))
        start = time.monotonic()
        timer.start()
        try:
            with self.assertRaises(KeyboardInterrupt):
                yield
        finally:
            timer.join()
        self.took = time.monotonic() - start

    def check(self, call: Callable[[Any], object]) -> None:
        with mp.Pool(2) as pool:
            with self.interrupted(0.3):
                call(pool)
            # Unhurried: what remained of 400 items would have taken 8 seconds.
            self.assertEqual(pool.map(double, range(9)), [2 * x for x in range(9)])
            self.assertLess(pool.stats()["outstanding"], 400)
            pool.close()
            pool.join()

    def test_while_items_are_pickled(self) -> None:
        items = [Slow(True) for _ in range(400)]
        taken: list[int] = []

        def counted() -> Iterator[Slow]:
            for number, item in enumerate(items):
                taken.append(number)
                yield item

        self.check(lambda pool: pool.map(take, counted()))
        self.assertLess(len(taken), 400)

    def test_while_results_are_unpickled(self) -> None:
        self.check(lambda pool: pool.map(slow_back, range(400)))

    def test_while_an_iterator_pickles_items(self) -> None:
        with mp.Pool(2) as pool:
            results = pool.imap(take, (Slow(True) for _ in range(100)), buffersize=20)
            with self.interrupted(0.1):
                for _ in results:
                    pass
            # No item was lost, nor done twice.
            left = sum(results)
            self.assertGreater(left, 0)
            self.assertEqual(results._index, 100)

    def test_while_a_call_is_pickled(self) -> None:
        class Endless:
            def __reduce__(self) -> Any:
                time.sleep(10)
                return int, ()

        with mp.Pool(1) as pool:
            with self.interrupted(0.2):
                pool.apply_async(take, (Endless(),))
            self.assertTrue(pool._supervisor.is_idle())

    def test_in_the_text_of_a_name(self) -> None:
        with mp.Pool(1) as pool, self.assertRaises(KeyboardInterrupt):
            pool.map(Named(), [1])
            time.sleep(5)

    def test_an_exit_in_the_text_of_a_name(self) -> None:
        def leave(*_: object) -> None:
            raise SystemExit(7)

        self.addCleanup(signal.signal, signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGINT, leave)
        with mp.Pool(1) as pool, self.assertRaises(SystemExit) as caught:
            pool.map(Named(), [1])
            time.sleep(5)
        self.assertEqual(caught.exception.code, 7)

    def test_a_handler_that_asks_for_the_result_it_interrupts(self) -> None:
        with mp.Pool(2) as pool:
            result = pool.map_async(abs, range(500_000))
            self.assertTrue(wait_until(result.ready))
            lengths: list[int] = []
            self.addCleanup(signal.signal, signal.SIGALRM, signal.SIG_DFL)
            signal.signal(signal.SIGALRM, lambda *_: lengths.append(len(result.get(0))))
            signal.setitimer(signal.ITIMER_REAL, 0.001)
            lengths.append(len(result.get()))
            self.assertTrue(wait_until(lambda: len(lengths) == 2))
            self.assertEqual(lengths, [500_000] * 2)

    def test_an_object_that_asks_for_the_result_it_is_part_of(self) -> None:
        with mp.Pool(1) as pool:
            Asking.result = pool.apply_async(Asking)
            with self.assertRaisesRegex(RuntimeError, "just being unpickled"):
                Asking.result.get()


class Starting(ScriptCase):
    def test_an_interrupt_while_a_pool_starts(self) -> None:
        for imported in ("phalanx.multiprocessing", "phalanx.futures"):
            for thread in (1, 2):
                ended = self.run_script(
                    f"""
                    import threading, {imported}, phalanx.multiprocessing as mp
                    start, started = threading.Thread.start, []
                    def interrupt(self):
                        start(self)
                        started.append(self)
                        if len(started) == {thread}:
                            raise KeyboardInterrupt
                    threading.Thread.start = interrupt
                    pool = mp.Pool(4)
                    pool.map_async(abs, [1], callback=print)
                    """,
                    status=None,
                )
                self.assertIn("KeyboardInterrupt", ended.err)
                self.assertEqual(ended.err.count("Traceback"), 1, ended.text)


class OddExceptions(HereCase):
    """Exceptions that are none, for most code: they mean an item, not a thread."""

    def test_an_item_raises_one_when_it_is_pickled(self) -> None:
        with mp.Pool(1) as pool:
            with self.assertRaises(Odd):
                pool.map(take, [1, RaisesOdd()])
            self.assertEqual(pool.map(double, [4]), [8])

    def test_of_an_iterator_that_nobody_takes_results_from(self) -> None:
        with mp.Pool(1) as pool:
            results = pool.imap(
                take, (RaisesOdd() if n == 40 else n for n in range(60))
            )
            del results
            self.assertTrue(wait_until(pool._supervisor.is_idle))
            # A lost worker is replaced, and callbacks run: the pool's thread lives.
            with self.assertRaises(mp.errors.WorkerLostError):
                pool.apply(os._exit, (3,))
            called: list[int] = []
            pool.apply_async(double, (1,), callback=called.append).wait()
            self.assertEqual(called, [2])
            pool.close()
            pool.join()

    def test_a_name_raises_one(self) -> None:
        class Nameless(Named):
            def __getattr__(self, name: str) -> Any:
                raise Odd if name == "__qualname__" else AttributeError(name)

        with mp.Pool(1) as pool:
            self.assertEqual(pool.map(Nameless(), [1, 2]), [1, 2])


class Many(HereCase):
    def test_a_function_is_not_forgotten_before_its_first_task(self) -> None:
        inside, go_on = threading.Event(), threading.Event()

        class Hesitates:
            asked = 0

            def __call__(self, x: int) -> int:
                return x

            def __reduce__(self) -> Any:
                return Added, (0,)

            def __getattr__(self, name: str) -> Any:
                if name != "__qualname__":
                    raise AttributeError(name)
                Hesitates.asked += 1
                if Hesitates.asked == 2:
                    inside.set()
                    go_on.wait(30)
                return "hesitates"

        results: list[list[int]] = []
        with mp.Pool(1) as pool:
            thread = threading.Thread(
                target=lambda: results.append(pool.map(Hesitates(), [1, 2]))
            )
            thread.start()
            self.assertTrue(inside.wait(30))
            for number in range(1, 700):
                self.assertEqual(pool.apply(Added(number), (1,)), number + 1)
            go_on.set()
            thread.join(30)
        self.assertEqual(results, [[1, 2]])


class Closing(HereCase):
    def test_a_pool_closed_while_an_item_is_pickled(self) -> None:
        inside, go_on = threading.Event(), threading.Event()

        class Waits:
            def __reduce__(self) -> Any:
                inside.set()
                go_on.wait(30)
                return int, ()

        for make in (mp.Pool, ProcessPoolExecutor):
            with self.subTest(make.__name__):
                inside.clear()
                go_on.clear()
                pool: Any = make(1)
                caught: list[BaseException] = []

                def ask(pool: Any = pool, caught: Any = caught) -> None:
                    try:
                        if isinstance(pool, ProcessPoolExecutor):
                            pool.submit(double, Waits()).result(30)
                        else:
                            pool.apply_async(double, (Waits(),)).get(30)
                    except BaseException as error:
                        caught.append(error)

                thread = threading.Thread(target=ask)
                thread.start()
                inside.wait(30)
                if isinstance(pool, ProcessPoolExecutor):
                    pool.shutdown(wait=False)
                else:
                    pool.close()
                go_on.set()
                thread.join(40)
                self.assertFalse(thread.is_alive())
                self.assertIn(type(caught[0]), (ValueError, RuntimeError))
                if not isinstance(pool, ProcessPoolExecutor):
                    pool.join()

    def test_items_that_use_the_executor_themselves(self) -> None:
        with ProcessPoolExecutor(2) as executor:
            items = (executor.submit(double, x).result() for x in range(5))
            results = executor.map(double, items, buffersize=2)
            self.assertEqual(list(results), [4 * x for x in range(5)])


if __name__ == "__main__":
    unittest.main()
