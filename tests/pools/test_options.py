"""Options of pools: arguments, environment variables, errors, what they change."""

import inspect
import math
import os
import unittest
from fractions import Fraction
from unittest import mock

import numpy as np
import phalanx.multiprocessing as mp
from phalanx.futures import ProcessPoolExecutor
from phalanx.multiprocessing._options import OPTIONS, Settings
from phalanx.multiprocessing._placement import Placement, usable_cpus
from watch import HereCase, ScriptCase

GOOD = {
    "processes": [(3, "3", 3)],
    "retries": [(0, "0", 0), (2, "2", 2)],
    "timeout": [
        (1.5, "1.5", 1.5),
        (2, "2", 2.0),
        ("none", "none", None),
        (math.inf, "inf", None),
    ],
    "memory_limit": [
        (1000, "1000", 1000),
        ("500M", "500M", 500 << 20),
        ("2GiB", "2GiB", 2 << 30),
        ("1.5 gb", "1.5 gb", 3 << 29),
        (1e9, "1000000000", 10**9),
        (math.inf, "inf", None),
        ("none", "none", None),
    ],
    "progress": [(True, "1", True), (False, "0", False), (1, "yes", True)],
    "threads_per_worker": [(1, "1", 1)],
    "pin": [(True, "on", True), (False, "no", False)],
    "chunksize": [(10, "10", 10)],
    "buffersize": [(10, "10", 10)],
}

BAD = {
    "processes": [0, -1, "x", 1.5, True],
    "retries": [-1, "one", 0.5, 10**20],
    "timeout": [0, -3, "soon", math.nan, True],
    "memory_limit": [0, -1, "many", "5X", "5ib", "G", 2.5, "1e400"],
    "progress": ["maybe", "2"],
    "threads_per_worker": [0, "all"],
    "pin": ["cpu0"],
    "chunksize": [0, "big", 10**11],
    "buffersize": [0, "big", 10**30],
}


class Values(unittest.TestCase):
    def test_every_option_has_cases(self) -> None:
        self.assertEqual(set(GOOD), set(OPTIONS))
        self.assertEqual(set(BAD), set(OPTIONS))
        self.assertEqual(set(Settings.__slots__), set(OPTIONS))

    def test_the_page_says_what_takes_each_argument(self) -> None:
        pool = inspect.signature(mp.pool.Pool).parameters
        executor = inspect.signature(ProcessPoolExecutor).parameters
        for keyword, option in OPTIONS.items():
            with self.subTest(keyword):
                self.assertEqual("`Pool`" in option.where, keyword in pool)
                renamed = "max_workers" if keyword == "processes" else keyword
                named = "`ProcessPoolExecutor`" in option.where
                self.assertEqual(named, renamed in executor)

    def test_accepted_values(self) -> None:
        for keyword, cases in GOOD.items():
            for given, text, expected in cases:
                variable = OPTIONS[keyword].variable
                with self.subTest(keyword, given=given):
                    self.assertEqual(
                        getattr(Settings(**{keyword: given}), keyword), expected
                    )
                    with mock.patch.dict(os.environ, {variable: text}):
                        self.assertEqual(getattr(Settings(), keyword), expected)

    def test_a_bad_argument_is_named_with_what_is_expected(self) -> None:
        for keyword, values in BAD.items():
            for value in values:
                with self.subTest(keyword, value=value):
                    with self.assertRaises(ValueError) as caught:
                        Settings(**{keyword: value})
                    self.assertIn(f"{keyword}={value!r}", str(caught.exception))
                    self.assertIn(OPTIONS[keyword].accepts, str(caught.exception))

    def test_a_bad_variable_is_named_with_what_is_expected(self) -> None:
        for keyword, values in BAD.items():
            option = OPTIONS[keyword]
            for value in values:
                if value is True or (keyword == "memory_limit" and value == 2.5):
                    continue
                with (
                    self.subTest(keyword, value=value),
                    mock.patch.dict(os.environ, {option.variable: str(value)}),
                ):
                    with self.assertRaises(ValueError) as caught:
                        Settings()
                    self.assertIn(f"{option.variable}={value}", str(caught.exception))
                    self.assertIn(option.accepts, str(caught.exception))

    def test_numbers_of_other_types(self) -> None:
        settings = Settings(timeout=Fraction(3, 2), retries=np.int64(2))
        self.assertEqual((settings.timeout, settings.retries), (1.5, 2))

    def test_an_argument_comes_before_its_variable(self) -> None:
        with mock.patch.dict(os.environ, {"PHALANX_RETRIES": "7"}):
            self.assertEqual(Settings().retries, 7)
            self.assertEqual(Settings(retries=0).retries, 0)

    def test_an_empty_variable_counts_as_unset(self) -> None:
        with mock.patch.dict(os.environ, {"PHALANX_TASK_TIMEOUT": ""}):
            self.assertIsNone(Settings().timeout)

    def test_usable_cpus_follow_the_affinity(self) -> None:
        before = os.sched_getaffinity(0)
        self.addCleanup(os.sched_setaffinity, 0, before)
        os.sched_setaffinity(0, {min(before)})
        self.assertEqual(usable_cpus(), 1)

    def test_pinned_workers_take_turns(self) -> None:
        cpus = [placement.cpu for placement in Placement.choose(True, None)]
        self.assertEqual(cpus, sorted(os.sched_getaffinity(0)))


def affinity(_: int) -> set[int]:
    return os.sched_getaffinity(0)


def thread_variables(_: int) -> list[str | None]:
    return [os.environ.get("OMP_NUM_THREADS"), os.environ.get("OPENBLAS_NUM_THREADS")]


class Effects(HereCase):
    def test_pin(self) -> None:
        with mp.Pool(2, pin=True) as pool:
            for cpus in pool.map(affinity, range(8), chunksize=1):
                self.assertEqual(len(cpus), 1)
                self.assertLessEqual(cpus, os.sched_getaffinity(0))

    def test_threads_per_worker(self) -> None:
        for method in ("fork", "spawn"):
            with (
                self.subTest(method),
                mp.get_context(method).Pool(1, threads_per_worker=3) as pool,
            ):
                self.assertEqual(pool.apply(thread_variables, (0,)), ["3", "3"])
        self.assertNotEqual(os.environ.get("OMP_NUM_THREADS"), "3")

    def test_bad_option_of_a_pool(self) -> None:
        with self.assertRaisesRegex(ValueError, "retries=-1: expected"):
            mp.Pool(1, retries=-1)

    def test_bad_variable_of_a_pool(self) -> None:
        with (
            mock.patch.dict(os.environ, {"PHALANX_PIN": "perhaps"}),
            self.assertRaisesRegex(ValueError, "PHALANX_PIN=perhaps: expected 1 or 0"),
        ):
            mp.Pool(1)


class LoadedLibraries(ScriptCase):
    def test_threads_of_a_library_that_was_loaded_before_the_fork(self) -> None:
        try:
            import numpy  # noqa: F401
        except ImportError as error:
            self.skipTest(str(error))
        ended = self.run_script("""
            import ctypes
            import numpy
            import phalanx.multiprocessing as mp

            NAMES = [
                f"{prefix}openblas_get_num_threads{suffix}"
                for prefix in ("", "scipy_") for suffix in ("", "64_")
            ]

            def threads(_):
                with open("/proc/self/maps") as maps:
                    lines = [line for line in maps if "openblas" in line]
                library = ctypes.CDLL(lines[0].split()[-1]) if lines else None
                calls = [getattr(library, name, None) for name in NAMES]
                return [call() for call in calls if call is not None]

            if threads(0):
                with mp.get_context("fork").Pool(1, threads_per_worker=1) as pool:
                    print("workers", pool.apply(threads, (0,)))
            else:
                print("numpy has another library")
            """)
        if ended.lines != ["numpy has another library"]:
            self.assertEqual(ended.lines, ["workers [1]"])

    def test_options_of_a_script_come_from_the_environment(self) -> None:
        ended = self.run_script(
            """
            import os, signal
            import phalanx.multiprocessing as mp

            def once(path):
                try:
                    os.close(os.open(path, os.O_CREAT | os.O_EXCL))
                except FileExistsError:
                    return "done"
                os.kill(os.getpid(), signal.SIGKILL)

            with mp.Pool() as pool:
                print(len(pool._pool), pool.apply(once, ("flag",)))
            """,
            env={"PHALANX_WORKERS": "1", "PHALANX_RETRIES": "1"},
        )
        self.assertEqual(ended.lines, ["1 done"])


if __name__ == "__main__":
    unittest.main()
