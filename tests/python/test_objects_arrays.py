"""Arrays of NumPy arrive as pickle would have brought them, whatever way they take."""

import copyreg
import pickle
import unittest

from phalanx import MPI

try:
    import numpy as np
except ImportError as error:
    raise unittest.SkipTest("needs NumPy") from error

SELF, WORLD = MPI.COMM_SELF, MPI.COMM_WORLD


class Own(np.ndarray):
    pass


def travel(value):
    return SELF.sendrecv(value, 0, source=0)


class Arrays(unittest.TestCase):
    def check(self, array):
        got, expected = travel(array), pickle.loads(pickle.dumps(array, 5))
        self.assertIs(type(got), type(expected))
        self.assertEqual(got.dtype, expected.dtype)
        self.assertEqual(got.shape, expected.shape)
        for flag in ("writeable", "c_contiguous", "f_contiguous", "aligned"):
            self.assertEqual(getattr(got.flags, flag), getattr(expected.flags, flag))
        self.assertEqual(got.tobytes(), expected.tobytes())
        return got

    def test_every_type_of_number(self):
        for letter in np.typecodes["All"].replace("O", ""):
            data = np.zeros(64, "B")
            data[:] = range(64)
            kind = np.dtype(letter if letter not in "SUV" else letter + "4")
            self.check(
                data[: 64 // kind.itemsize * kind.itemsize].view("b").astype(kind)
            )
        for kind in (
            ">f8",
            ">i4",
            "<u2",
            [("a", "i4"), ("b", "f8")],
            "M8[s]",
            "m8[ms]",
        ):
            self.check(np.zeros(5, kind))
        self.check(np.array(["text", None, 3], object)[:0])

    def test_every_shape_and_order(self):
        for shape in ((), (0,), (1,), (7,), (3, 4), (2, 0, 3), (2, 3, 4, 5), (1,) * 20):
            array = np.arange(np.prod(shape, dtype=int), dtype="f").reshape(shape)
            self.check(array)
            self.check(np.asfortranarray(array))
            self.check(array.T)
        self.check(np.arange(20)[::2])
        self.check(np.arange(20)[::-1])
        self.check(np.arange(24).reshape(4, 6)[:, 1:3])

    def test_every_size(self):
        edges = (4076, 4077, 4096, 16_364, 16_365, 16_384, 32700, 32768, 33000)
        for count in (100, *edges, 200_000):
            array = np.arange(count, dtype="u4").astype("B")
            self.check(array)
            for received in WORLD.allgather(array):
                self.assertEqual(received.tobytes(), array.tobytes())
            root = array if WORLD.rank == 0 else None
            self.assertEqual(WORLD.bcast(root).tobytes(), array.tobytes())

    def test_what_is_more_than_elements_and_a_shape_is_pickled(self):
        fixed = np.arange(5)
        fixed.flags.writeable = False
        self.check(fixed)
        self.check(np.arange(5).view(Own))
        self.check(np.ma.array([1, 2], mask=[0, 1]).data)
        self.assertEqual(travel(np.float64(1.5)), 1.5)
        self.assertIs(type(travel(np.float64(1.5))), np.float64)

    def test_a_reducer_of_the_users_is_asked(self):
        copyreg.pickle(np.ndarray, lambda array: (sum, (array.tolist(),)))
        try:
            self.assertEqual(travel(np.arange(4)), 6)
        finally:
            del copyreg.dispatch_table[np.ndarray]
        self.check(np.arange(4))

    def test_what_arrives_is_a_copy_that_can_be_written(self):
        sent = np.arange(10.0)
        got = travel(sent)
        got += 1
        self.assertEqual(sent[3], 3)
        self.assertEqual(got[3], 4)
        self.assertTrue(got.flags.writeable)


if __name__ == "__main__":
    unittest.main()
