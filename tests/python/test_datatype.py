"""Datatypes: layout, contents, pickling, type strings."""

import array
import pickle
import unittest

from phalanx import MPI


class TestDatatype(unittest.TestCase):
    def test_layout(self):
        vector = MPI.INT.Create_vector(3, 2, 4)
        self.assertEqual(vector.size, 24)
        self.assertEqual(vector.extent, 40)
        self.assertEqual((vector.lb, vector.ub), (0, 40))
        wide = vector.Create_resized(-4, 64)
        self.assertEqual(wide.Get_extent(), (-4, 64))
        self.assertEqual(wide.Get_true_extent(), (0, 40))
        wide.Free()
        vector.Free()

    def test_decode_tells_the_arguments(self):
        made = {
            "CONTIGUOUS": MPI.INT.Create_contiguous(3),
            "VECTOR": MPI.INT.Create_vector(3, 2, 4),
            "HVECTOR": MPI.INT.Create_hvector(3, 2, 32),
            "INDEXED": MPI.INT.Create_indexed([1, 2], [0, 4]),
            "HINDEXED": MPI.INT.Create_hindexed([1, 2], [0, 32]),
            "INDEXED_BLOCK": MPI.INT.Create_indexed_block(2, [0, 4]),
            "HINDEXED_BLOCK": MPI.INT.Create_hindexed_block(2, [0, 32]),
            "STRUCT": MPI.Datatype.Create_struct([1, 2], [0, 8], [MPI.INT, MPI.DOUBLE]),
            "SUBARRAY": MPI.INT.Create_subarray([4, 6], [2, 3], [1, 2]),
            "RESIZED": MPI.INT.Create_resized(0, 16),
            "DUP": MPI.INT.Dup(),
        }
        for name, datatype in made.items():
            base, combiner, params = datatype.decode()
            self.assertEqual(combiner, name)
            if name == "STRUCT":
                twin = MPI.Datatype.Create_struct(**params)
            elif name == "DUP":
                twin = base.Dup()
            else:
                twin = getattr(base, f"Create_{name.lower()}")(**params)
            self.assertEqual(twin.Get_envelope(), datatype.Get_envelope())
            self.assertEqual(twin.Get_contents()[:3], datatype.Get_contents()[:3])
            twin.Free()
            datatype.Free()

    def test_derived_types_pickle_by_what_they_are_made_of(self):
        inner = MPI.DOUBLE.Create_contiguous(2)
        outer = inner.Create_vector(2, 1, 3)
        copy = pickle.loads(pickle.dumps(outer))
        self.assertNotEqual(copy, outer)
        self.assertEqual(copy.Get_extent(), outer.Get_extent())
        self.assertEqual(copy.size, outer.size)
        for datatype in (copy, outer, inner):
            datatype.Free()

    def test_type_strings(self):
        for code in "bhilBHILfd":
            size = array.array(code).itemsize
            datatype = MPI.Datatype.fromcode(code)
            self.assertEqual(datatype.size, size)
            self.assertEqual(datatype.typechar, code)
        self.assertEqual(MPI.INT16_T.typestr, "i2")
        self.assertEqual(MPI.DOUBLE.tocode(), "d")
        with self.assertRaises(ValueError):
            MPI.Datatype.fromcode("no such code")
        with self.assertRaises(ValueError):
            MPI.INT_INT.tocode()

    def test_lengths_that_differ_are_a_value_error(self):
        with self.assertRaises(ValueError):
            MPI.INT.Create_indexed([1, 2], [0])


if __name__ == "__main__":
    unittest.main()
