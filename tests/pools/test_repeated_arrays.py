"""One array in many items of a call: it is copied once, and is each task's own."""

import time
import unittest

import phalanx.multiprocessing as mp
from phalanx import _workers
from watch import HereCase

try:
    import numpy as np
except ImportError as error:  # The wheel is tested without NumPy, too.
    raise unittest.SkipTest("needs NumPy") from error

MIB = 1 << 20


def change(array: "np.ndarray", value: float) -> "tuple[float, float, float]":
    """What an element was, what it is after a change, and the sum of all."""
    before = float(array[0])
    array[0] = value
    return before, float(array[0]), float(array.sum())


def first(array: "np.ndarray") -> float:
    before = float(array[0])
    array[:] = -1.0
    return before


def first_later(array: "np.ndarray", seconds: float) -> float:
    time.sleep(seconds)
    return float(array[0])


class Repeated(HereCase):
    def setUp(self) -> None:
        super().setUp()
        self.pool = mp.get_context("fork").Pool(2)

    def tearDown(self) -> None:
        self.pool.terminate()
        self.pool.join()
        super().tearDown()

    def test_no_task_sees_what_another_writes(self) -> None:
        array = np.ones(MIB // 8)
        items = [(array, float(i)) for i in range(30)]
        for chunk in (1, 7, None):
            with self.subTest(chunksize=chunk):
                results = self.pool.starmap(change, items, chunksize=chunk)
                rest = array.size - 1.0
                self.assertEqual(results, [(1.0, i, i + rest) for i in range(30)])
        self.assertEqual(array[0], 1.0)

    def test_the_item_itself_repeats(self) -> None:
        array = np.full(MIB // 8, 5.0)
        self.assertEqual(self.pool.map(first, [array] * 12), [5.0] * 12)

    def test_others_beside_it_are_their_own(self) -> None:
        array = np.ones(MIB // 8)
        items = [(np.full(MIB // 8, float(i)), array) for i in range(8)]
        both = self.pool.starmap(add_first, items, chunksize=1)
        self.assertEqual(both, [i + 1.0 for i in range(8)])

    def test_memory_is_that_of_one_array(self) -> None:
        array = np.ones(4 * MIB // 8)
        before = _workers.family_used()
        items = [(array, 0.05)] * 16
        job = self.pool.starmap_async(first_later, items, chunksize=1)
        held = _workers.family_used() - before
        self.assertEqual(job.get(30), [1.0] * 16)
        self.assertLess(held, 3 * 4 * MIB, "16 tasks, one array of 4 MiB")
        self.assertGreaterEqual(held, 4 * MIB)

    def test_a_changed_array_is_sent_again_by_the_next_call(self) -> None:
        array = np.ones(MIB // 8)
        for value in (1.0, 2.0, 3.0):
            array[0] = value
            self.assertEqual(self.pool.map(first, [array] * 3), [value] * 3)


def add_first(own: "np.ndarray", common: "np.ndarray") -> float:
    total = float(own[0] + common[0])
    own[0] = common[0] = 99.0
    return total


if __name__ == "__main__":
    unittest.main()
