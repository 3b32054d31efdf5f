"""The joblib backend."""

import os
import signal
import tempfile
import unittest

import numpy as np
from watch import HereCase, ScriptCase

try:
    import joblib  # type: ignore[import-untyped,unused-ignore]
except ImportError as error:
    raise unittest.SkipTest(str(error)) from None

import phalanx.futures  # noqa: F401
from phalanx.multiprocessing.errors import WorkerLostError


def square(x: int) -> int:
    return x * x


def pid_of(_: object) -> int:
    return os.getpid()


def fail_at_three(x: int) -> int:
    if x == 3:
        raise KeyError(x)
    return x


def kill_own_process(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def threads(_: int) -> str | None:
    return os.environ.get("OMP_NUM_THREADS")


def write(out: np.ndarray, at: int) -> None:
    out[at] = at + 1


def kind(*_: object, out: np.ndarray) -> str:
    return type(out).__name__


def nested(x: int) -> list[int]:
    return joblib.Parallel(n_jobs=2)(joblib.delayed(square)(y) for y in range(x))


class Backend(HereCase):
    def tearDown(self) -> None:
        from phalanx import _joblib

        _joblib.close()
        super().tearDown()

    def parallel(self, function: object, items: object, **options: object) -> object:
        with joblib.parallel_config(backend="phalanx", **options):
            return joblib.Parallel(n_jobs=2)(joblib.delayed(function)(x) for x in items)

    def test_calls(self) -> None:
        expected = [x * x for x in range(100)]
        self.assertEqual(self.parallel(square, range(100)), expected)
        self.assertEqual(self.parallel(square, []), [])
        self.assertEqual(self.parallel(lambda x: -x, range(3)), [0, -1, -2])

    def test_workers_are_processes_that_serve_again(self) -> None:
        first, second = (set(self.parallel(pid_of, range(100))) for _ in "12")
        self.assertNotIn(os.getpid(), first | second)
        self.assertLessEqual(len(first | second), 2)

    def test_an_exception_leaves_joblib_usable(self) -> None:
        for _ in range(2):
            with self.assertRaises(KeyError):
                self.parallel(fail_at_three, range(10))
        self.assertEqual(self.parallel(square, range(3)), [0, 1, 4])

    def test_generators(self) -> None:
        with joblib.parallel_config(backend="phalanx", n_jobs=2):
            for way in ("generator", "generator_unordered"):
                results = joblib.Parallel(return_as=way)(
                    joblib.delayed(square)(x) for x in range(20)
                )
                self.assertEqual(sorted(results), [x * x for x in range(20)])

    def test_inner_threads(self) -> None:
        self.assertEqual(self.parallel(threads, [1], inner_max_num_threads=3), ["3"])

    def test_options(self) -> None:
        self.assertEqual(self.parallel(square, [3], retries=1, pin=True), [9])
        with self.assertRaisesRegex(ValueError, "retries=-1"):
            self.parallel(square, [3], retries=-1)

    def test_options_that_cannot_be_compared(self) -> None:
        options = {"initializer": len, "initargs": ([1],)}
        self.assertEqual(self.parallel(square, [3, 4], **options), [9, 16])

    def test_a_lost_batch_names_what_it_calls(self) -> None:
        with self.assertRaisesRegex(WorkerLostError, "call of kill_own_process is"):
            self.parallel(kill_own_process, [1, 2])

    def test_workers_write_into_a_mapped_file(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            out = np.memmap(f"{folder}/out", dtype="f8", shape=(2, 4), mode="w+")
            row = out[1, ::2]
            with joblib.parallel_config(backend="phalanx"):
                run = joblib.Parallel(n_jobs=2)
                run(joblib.delayed(write)(out[0], at) for at in range(4))
                run(joblib.delayed(write)(row, at) for at in range(2))
                kinds = run([joblib.delayed(kind)(1, out=a) for a in (out, [])])
            self.assertEqual(out.tolist(), [[1, 2, 3, 4], [1, 0, 2, 0]])
            self.assertEqual(kinds, ["memmap", "list"])
            del out, row

    def test_calls_in_calls(self) -> None:
        self.assertEqual(self.parallel(nested, [3, 4]), [[0, 1, 4], [0, 1, 4, 9]])


class Scripts(ScriptCase):
    def test_registered_before_or_after_joblib(self) -> None:
        for first in (
            "import joblib, phalanx.futures",
            "import phalanx.futures, joblib",
        ):
            ended = self.run_script(
                f"""
                {first}
                def square(x): return x * x
                with joblib.parallel_config(backend="phalanx"):
                    print(joblib.Parallel(n_jobs=2)(
                        joblib.delayed(square)(x) for x in range(4)
                    ))
                """
            )
            self.assertEqual(ended.lines, ["[0, 1, 4, 9]"])
            self.assertEqual(ended.err, "")

    def test_joblib_is_not_imported(self) -> None:
        ended = self.run_script(
            "import sys, phalanx.futures; print('joblib' in sys.modules)"
        )
        self.assertEqual(ended.lines, ["False"])


if __name__ == "__main__":
    unittest.main()
