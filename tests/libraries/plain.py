"""On a library of MPI 3.1: what it lacks is an exception that says so.

PHALANX_MPI=... phalanx run -n 2 tests/libraries/plain.py
"""

import array
import sys
import unittest

from phalanx import MPI
from together import main

COMM = MPI.COMM_WORLD
LARGE = 2**31
# Elements without bytes, so that any number of them needs no memory.
NOTHING = MPI.BYTE.Create_contiguous(0).Commit()
MANY = [array.array("b", [0]), LARGE, NOTHING]


class Plain(unittest.TestCase):
    def refused(self, function, *args, says):
        with self.assertRaises(MPI.Exception) as caught:
            function(*args)
        text = str(caught.exception)
        for word in (says, "libmpi_abi.so.1"):
            self.assertIn(word, text)
        return caught.exception

    def test_large_counts(self):
        for function, says in (
            (COMM.Send, "MPI_Send: 2147483648"),
            (COMM.Recv, "MPI_Recv: 2147483648"),
            (COMM.Ssend, "MPI_Ssend: 2147483648"),
            (COMM.Isend, "MPI_Isend: 2147483648"),
            (COMM.Send_init, "MPI_Send_init: 2147483648"),
        ):
            error = self.refused(function, MANY, COMM.rank, says=says)
            self.assertEqual(error.Get_error_class(), MPI.ERR_COUNT)
            self.assertIn(f"{says.partition(':')[0]}_c", str(error))

    def test_large_counts_of_collectives(self):
        self.refused(COMM.Bcast, MANY, says="MPI_Bcast: 2147483648")
        self.refused(COMM.Ibcast, MANY, says="MPI_Ibcast: 2147483648")
        vector = [MANY[0], ([LARGE] * COMM.size, [0] * COMM.size), NOTHING]
        small = array.array("b", [1])
        for function in (COMM.Allgatherv, COMM.Iallgatherv):
            self.refused(function, small, vector, says="llgatherv: a count or")
        places = [MANY[0], ([0] * COMM.size, [LARGE] * COMM.size), NOTHING]
        self.refused(COMM.Alltoallv, places, places, says="MPI_Alltoallv: a count or")

    def test_large_datatypes(self):
        says = "MPI_Type_contiguous: 2147483648"
        self.refused(MPI.BYTE.Create_contiguous, LARGE, says=says)
        says = "MPI_Type_indexed: 2147483649"
        self.refused(MPI.BYTE.Create_indexed, [1, LARGE + 1], [0, 1], says=says)
        # Displacements in bytes are addresses in every edition.
        wide = MPI.BYTE.Create_hindexed([1, 1], [0, LARGE]).Commit()
        self.assertEqual(wide.Get_extent(), (0, LARGE + 1))
        self.assertEqual(wide.decode()[2]["displacements"], [0, LARGE])
        wide.Free()

    def test_absent_functions(self):
        data = array.array("d", range(4))
        for function, name, *args in (
            (COMM.Psend_init, "MPI_Psend_init", data, 2, MPI.PROC_NULL),
            (COMM.Isendrecv, "MPI_Isendrecv", data, MPI.PROC_NULL),
            (COMM.Barrier_init, "MPI_Barrier_init"),
            (MPI.Session.Init, "MPI_Session_init"),
        ):
            says = f"{name}: the MPI library"
            if name == "MPI_Isendrecv":
                args = [*args, 0, data]
            error = self.refused(function, *args, says=says)
            self.assertIsInstance(error, NotImplementedError)
            self.assertEqual(error.Get_error_class(), MPI.ERR_UNSUPPORTED_OPERATION)

    def test_vectors_that_are_under_way(self):
        size, rank = COMM.size, COMM.rank
        for _ in range(20):
            out = array.array("i", [rank] * size)
            into = array.array("i", [-1] * size)
            ones, places = [1] * size, list(range(size))
            what = (ones, places)
            request = COMM.Ialltoallv([out, what, MPI.INT], [into, what, MPI.INT])
            del ones, places, what
            _ = [list(range(1000)) for _ in range(10)]
            request.Wait()
            self.assertEqual(list(into), list(range(size)))

    def test_operations_of_the_program(self):
        def add(a, b, datatype):
            mine, theirs = memoryview(a).cast("i"), memoryview(b).cast("i")
            for i in range(len(theirs)):
                theirs[i] += mine[i]

        op = MPI.Op.Create(add, commute=True)
        values = array.array("i", range(100))
        result = array.array("i", [0] * 100)
        COMM.Allreduce(values, result, op=op)
        self.assertEqual(list(result), [i * COMM.size for i in range(100)])
        op.Free()

    def test_objects(self):
        for obj in (None, "x" * 100_000, list(range(1000)), array.array("d", range(9))):
            self.assertEqual(COMM.bcast(obj), obj)
            self.assertEqual(COMM.allgather(obj), [obj] * COMM.size)
            got = COMM.sendrecv(obj, COMM.rank, 3, source=COMM.rank, recvtag=3)
            self.assertEqual(got, obj)


if __name__ == "__main__":
    sys.exit(main())
