"""What all handle classes share: comparison, truth, copies, pickling, freeing."""

import copy
import pickle
import unittest

from phalanx import MPI

CONSTANTS = (
    "COMM_WORLD",
    "COMM_SELF",
    "COMM_NULL",
    "GROUP_EMPTY",
    "INT",
    "DATATYPE_NULL",
    "SUM",
    "INFO_ENV",
    "ERRORS_RETURN",
    "REQUEST_NULL",
    "MESSAGE_NO_PROC",
    "WIN_NULL",
    "FILE_NULL",
    "SESSION_NULL",
)


class TestHandles(unittest.TestCase):
    def test_copies_are_equal_and_distinct(self):
        for name in CONSTANTS:
            constant = getattr(MPI, name)
            twin = type(constant)(constant)
            self.assertEqual(twin, constant)
            self.assertIsNot(twin, constant)
            self.assertFalse(twin != constant)
            self.assertEqual(twin.handle, constant.handle)

    def test_null_handles_are_false(self):
        self.assertFalse(MPI.COMM_NULL)
        self.assertFalse(MPI.Datatype())
        self.assertTrue(MPI.COMM_SELF)

    def test_handles_have_no_hash_and_no_order(self):
        with self.assertRaises(TypeError):
            hash(MPI.COMM_SELF)
        with self.assertRaises(TypeError):
            MPI.INT < MPI.FLOAT  # noqa: B015
        self.assertFalse(MPI.INT == "INT")

    def test_constants_pickle_by_name(self):
        for name in CONSTANTS:
            constant = getattr(MPI, name)
            self.assertIs(pickle.loads(pickle.dumps(constant)), constant)
            self.assertIs(copy.deepcopy(constant), constant)

    def test_integer_conversions_come_back(self):
        for name in CONSTANTS:
            constant = getattr(MPI, name)
            kind = type(constant)
            self.assertEqual(kind.fromhandle(constant.handle), constant)
            self.assertEqual(kind.fromint(constant.toint()), constant)
            self.assertEqual(kind.f2py(constant.py2f()), constant)

    def test_free_of_a_constant_does_nothing(self):
        for name in ("INT", "SUM", "COMM_WORLD", "GROUP_EMPTY", "INFO_ENV"):
            constant = getattr(MPI, name)
            constant.free()
            self.assertTrue(constant)

    def test_wrong_class_is_a_type_error(self):
        with self.assertRaises(TypeError):
            MPI.Comm(MPI.INT)
        with self.assertRaises(TypeError):
            MPI.Intercomm(MPI.COMM_SELF)

    def test_handle_in_memory_is_the_handle(self):
        import ctypes

        group = MPI.COMM_SELF.Get_group()
        place = ctypes.c_size_t.from_address(MPI._addressof(group))
        self.assertEqual(place.value, group.handle)
        self.assertEqual(MPI._sizeof(MPI.Group), ctypes.sizeof(ctypes.c_void_p))
        group.Free()
        self.assertEqual(place.value, MPI.GROUP_NULL.handle)


class TestSubclass(unittest.TestCase):
    def test_methods_return_the_subclass(self):
        class Mine(MPI.Intracomm):
            pass

        mine = Mine(MPI.COMM_SELF)
        twin = mine.Dup()
        self.assertIs(type(twin), Mine)
        self.assertEqual(twin.Compare(MPI.COMM_SELF), MPI.CONGRUENT)
        twin.Free()
        self.assertFalse(twin)


if __name__ == "__main__":
    unittest.main()
