"""A lost worker's error comes at once, before its replacement and before all else.

What comes before what is made certain by holding up what has to come later, until the
error is there.
"""

import os
import signal
import threading
import unittest
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import phalanx.multiprocessing as mp
from phalanx import futures
from phalanx.multiprocessing import errors
from phalanx.multiprocessing._maintenance import Crew
from watch import SECONDS, HereCase, ScriptCase

METHODS = ("fork", "spawn", "forkserver")


def square(x: int) -> int:
    return x * x


def end(signal_number: int) -> None:
    os.kill(os.getpid(), signal_number)


def announce_and_wait(pids: Any, go_on: Any, number: int) -> int:
    """Say which process does this, and go on when told."""
    pids.put((number, os.getpid()))
    go_on.wait()
    return number


class Replacements:
    """The replacements of lost workers, which wait until they are allowed."""

    def __init__(self) -> None:
        self.allowed = threading.Event()
        self.waited: list[bool] = []


@contextmanager
def held_up() -> Iterator[Replacements]:
    """Hold up replacements that begin in this context."""
    replacements = Replacements()
    start = Crew._start

    def start_later(crew: Crew, new: Any) -> None:
        replacements.waited.append(replacements.allowed.wait(SECONDS / 2))
        start(crew, new)

    with mock.patch.object(Crew, "_start", start_later):
        try:
            yield replacements
        finally:
            replacements.allowed.set()


class Prompt(HereCase):
    def lose_one(self, later: Any, go_on: Any, pids: Any) -> errors.WorkerLostError:
        """Lose one worker while another one is busy, and none can be replaced."""
        busy = later(announce_and_wait, pids, go_on, 7)
        pids.get()
        with held_up() as replacements:
            lost = later(end, signal.SIGKILL)
            with self.assertRaises(errors.WorkerLostError) as caught:
                lost(SECONDS)
            replacements.allowed.set()
            go_on.set()
            self.assertEqual(busy(SECONDS), 7)
            self.assertEqual(later(square, 3)(SECONDS), 9)
        # Once, if at all by now: never because the error was waited for.
        self.assertNotIn(False, replacements.waited)
        return caught.exception

    def test_a_pool_tells_before_it_replaces(self) -> None:
        for method in METHODS:
            with self.subTest(method):
                context = mp.get_context(method)
                with context.Pool(2) as pool:

                    def later(f: Any, *args: Any, pool: Any = pool) -> Any:
                        return pool.apply_async(f, args).get

                    error = self.lose_one(later, context.Event(), context.Queue())
                self.assertEqual(error.exitcode, -signal.SIGKILL)
                self.assertEqual(error.function, "end")
                self.assertIn("signal 9 (SIGKILL)", str(error))

    def test_an_executor_tells_before_it_replaces(self) -> None:
        for method in METHODS:
            with self.subTest(method):
                context = mp.get_context(method)
                with futures.ProcessPoolExecutor(2, context) as executor:
                    # Both are there before one is lost.
                    self.assertEqual([*executor.map(square, range(9))][8], 64)

                    def later(f: Any, *args: Any, executor: Any = executor) -> Any:
                        return executor.submit(f, *args).result

                    error = self.lose_one(later, context.Event(), context.Queue())
                self.assertEqual(error.exitcode, -signal.SIGKILL)

    def test_all_of_several_are_told_before_one_is_replaced(self) -> None:
        for method in METHODS:
            with self.subTest(method):
                context = mp.get_context(method)
                pids, go_on = context.Queue(), context.Event()
                with context.Pool(4) as pool:
                    results = [
                        pool.apply_async(announce_and_wait, (pids, go_on, number))
                        for number in range(4)
                    ]
                    at = dict(pids.get() for _ in results)
                    self.assertEqual(len(set(at.values())), 4)
                    with held_up() as replacements:
                        for number in (0, 1, 3):
                            os.kill(at[number], signal.SIGKILL)
                        for number in (3, 0, 1):
                            with self.assertRaises(errors.WorkerLostError) as caught:
                                results[number].get(SECONDS)
                            self.assertEqual(caught.exception.pid, at[number])
                        replacements.allowed.set()
                    go_on.set()
                    self.assertEqual(results[2].get(SECONDS), 2)
                    self.assertEqual(pool.map(square, range(5)), [0, 1, 4, 9, 16])
                self.assertNotIn(False, replacements.waited)


class BeforeTheFirstCall(ScriptCase):
    def test_a_worker_that_ends_before_the_first_call_is_replaced(self) -> None:
        ended = self.run_script(
            """
            import os, signal
            import phalanx.multiprocessing as mp

            with mp.get_context("fork").Pool(1) as pool:
                first = pool._pool[0].pid
                os.kill(first, signal.SIGKILL)
                os.waitid(os.P_PID, first, os.WEXITED | os.WNOWAIT)
                print(pool.apply(os.getpid) not in (first, os.getpid()))
            """
        )
        self.assertEqual(ended.lines, ["True"], ended.text)


class WithoutFutures(ScriptCase):
    def test_the_error_brings_no_concurrent_futures(self) -> None:
        ended = self.run_script(
            """
            import os, signal, sys
            import phalanx.multiprocessing as mp

            def die(): os.kill(os.getpid(), signal.SIGKILL)

            with mp.get_context("fork").Pool(1) as pool:
                try:
                    pool.apply(die)
                except Exception as error:
                    print(type(error).__name__, isinstance(error, RuntimeError))
                    there = {"logging", "concurrent.futures"} & set(sys.modules)
                    print("loaded", there or "nothing")
                    lost = error
            # Who imports it afterwards finds that the error is one of its exceptions.
            import concurrent.futures
            print(isinstance(lost, concurrent.futures.BrokenExecutor))
            from concurrent.futures.process import BrokenProcessPool
            try:
                raise lost
            except BrokenProcessPool as error:
                print(error.exitcode, error.function)
            print(issubclass(mp.errors.InitializerError, BrokenProcessPool))
            try:
                with mp.get_context("fork").Pool(1) as pool:
                    pool.apply(die)
            except BrokenProcessPool as error:
                print("again", error.exitcode)
            """
        )
        self.assertEqual(
            ended.lines,
            [
                "WorkerLostError True",
                "loaded nothing",
                "True",
                "-9 die",
                "True",
                "again -9",
            ],
            ended.text,
        )

    def test_concurrent_futures_was_there_first(self) -> None:
        for first in ("concurrent.futures", "concurrent.futures.process"):
            ended = self.run_script(
                f"""
                import {first}
                from phalanx.multiprocessing import errors
                from concurrent.futures.process import BrokenProcessPool
                for kind in errors.WorkerLostError, errors.InitializerError:
                    print(issubclass(kind, BrokenProcessPool), kind.__mro__[-6:-3])
                """
            )
            self.assertEqual(len(ended.lines), 2, ended.text)
            for line in ended.lines:
                self.assertRegex(line, "^True .*BrokenProcessPool.*BrokenExecutor")


if __name__ == "__main__":
    unittest.main()
