"""Data representations of the program: what Python functions store in files."""

import tempfile
import unittest

import numpy as np
from phalanx import MPI

COMM = MPI.COMM_WORLD
COUNT = 300_000  # more than is converted at a time


def doubled(datatype: MPI.Datatype) -> int:
    return 2 * datatype.Get_size()


def ints(memory: MPI.buffer, datatype: MPI.Datatype) -> np.ndarray:
    """The integers of the user, which may lie apart."""
    return np.frombuffer(memory, np.int32)[:: datatype.Get_extent()[1] // 4]


def write(memory, datatype, count, in_file, position) -> None:
    stored = np.frombuffer(in_file, ">i8")
    assert len(stored) == count, "the file's side ends where the library says"
    stored[position:] = ints(memory, datatype)[position:]


def read(memory, datatype, count, in_file, position) -> None:
    stored = np.frombuffer(in_file, ">i8")
    ints(memory, datatype)[position:] = stored[position : position + count]


def broken(*arguments) -> None:
    raise ValueError("the function fails")


# They belong to the process, so each is registered once.
MPI.Register_datarep("wide", read, write, doubled)
MPI.Register_datarep("broken", broken, broken, doubled)
MPI.Register_datarep("as it is", None, None, MPI.Datatype.Get_size)


class Representations(unittest.TestCase):
    def setUp(self) -> None:
        name = tempfile.mktemp() if COMM.rank == 0 else None
        self.path = COMM.bcast(name)
        mode = MPI.MODE_RDWR | MPI.MODE_CREATE | MPI.MODE_DELETE_ON_CLOSE
        self.file = MPI.File.Open(COMM, self.path, mode)

    def tearDown(self) -> None:
        self.file.Close()

    def refused(self, error_class: int, call) -> str:
        with self.assertRaises(MPI.Exception) as caught:
            call()
        self.assertEqual(caught.exception.Get_error_class(), error_class)
        return str(caught.exception)

    def test_elements_are_stored_as_the_functions_say(self) -> None:
        self.file.Set_view(0, MPI.INT, MPI.INT, "wide")
        self.assertEqual(self.file.Get_view()[3], "wide")
        self.assertEqual(self.file.Get_type_extent(MPI.INT), 8)
        mine = np.arange(COUNT, dtype=np.int32) + COMM.rank
        self.file.Write_at_all(COMM.rank * COUNT, mine)
        self.file.Sync()
        stored = np.fromfile(self.path, ">i8").reshape(COMM.size, COUNT)
        self.assertTrue((stored[COMM.rank] == mine).all())
        last, status = np.zeros(COUNT + 5, np.int32), MPI.Status()
        self.file.Read_at((COMM.size - 1) * COUNT, last, status)
        self.assertEqual(status.Get_count(MPI.INT), COUNT)
        self.assertTrue((last[:COUNT] == np.arange(COUNT) + COMM.size - 1).all())
        apart = MPI.INT.Create_resized(0, 8).Commit()
        spread = np.zeros(2000, np.int32)
        self.file.Read_at(0, [spread, 1000, apart])
        self.assertTrue((spread[::2] == np.arange(1000)).all())
        self.assertFalse(spread[1::2].any())

    def test_a_function_that_raises_is_an_error_of_the_access(self) -> None:
        self.file.Set_view(0, MPI.INT, MPI.INT, "broken")
        four = np.zeros(4, np.int32)
        text = self.refused(MPI.ERR_CONVERSION, lambda: self.file.Write_at(0, four))
        self.assertIn("'broken'", text)

    def test_without_functions_bytes_are_moved_as_they_are(self) -> None:
        self.file.Set_view(0, MPI.INT, MPI.INT, "as it is")
        self.file.Write_at_all(4 * COMM.rank, np.full(4, COMM.rank, np.int32))
        self.file.Sync()
        expected = np.repeat(np.arange(COMM.size), 4)
        self.assertTrue((np.fromfile(self.path, np.int32) == expected).all())

    def test_wrong_arguments_are_refused(self) -> None:
        register = MPI.Register_datarep
        for name in ("wide", "native"):
            self.refused(
                MPI.ERR_DUP_DATAREP,
                lambda name=name: register(name, read, write, doubled),
            )
        self.refused(MPI.ERR_ARG, lambda: register("x" * 200, read, write, doubled))
        self.assertRaises(TypeError, register, "other", 3, write, doubled)
        self.assertRaises(TypeError, register, "other", read, write, None)
