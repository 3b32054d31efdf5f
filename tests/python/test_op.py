"""Operations: on objects, on buffers, any number of the user's own."""

import array
import unittest

from phalanx import MPI


class TestOp(unittest.TestCase):
    def test_predefined_operations_combine_objects(self):
        self.assertEqual(MPI.SUM([1], [2]), [1, 2])
        self.assertEqual(MPI.MAX(3, 7), 7)
        self.assertIs(MPI.LAND(1, 0), False)
        self.assertEqual(MPI.MINLOC((2, 5), (2, 3)), (2, 3))
        self.assertEqual(MPI.REPLACE("a", "b"), "b")
        self.assertEqual(MPI.NO_OP("a", "b"), "a")
        with self.assertRaises(ValueError):
            MPI.OP_NULL(1, 2)

    def test_more_operations_than_there_are_slots(self):
        def plus(a, b, datatype):
            if datatype is None:
                return a + b
            left, right = array.array("i", bytes(a)), array.array("i", bytes(b))
            b[:] = array.array("i", [x + y for x, y in zip(left, right, strict=True)])

        ops = [MPI.Op.Create(plus, commute=True) for _ in range(70)]
        for op in ops:
            total = array.array("i", [10, 20])
            op.Reduce_local(array.array("i", [1, 2]), total)
            self.assertEqual(total.tolist(), [11, 22])
            self.assertEqual(op(1, 2), 3)
            self.assertTrue(op.is_commutative)
            self.assertFalse(op.is_predefined)
        for op in ops:
            op.Free()
            self.assertFalse(op)

    def test_allreduce_with_a_function(self):
        comm = MPI.COMM_WORLD

        def join(a, b, datatype):
            return {**a, **b}

        op = MPI.Op.Create(join)
        result = comm.allreduce({comm.rank: "x"}, op=op)
        self.assertEqual(sorted(result), list(range(comm.size)))
        op.Free()


if __name__ == "__main__":
    unittest.main()
