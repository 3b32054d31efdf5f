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

    def test_many_structures_with_gaps_are_broadcast(self):
        count, extent, gap = 1 << 18, 64, 0xAA
        pair = MPI.Datatype.Create_struct([1, 1], [0, 8], [MPI.INT, MPI.DOUBLE])
        spaced = pair.Create_resized(0, extent).Commit()
        comm = MPI.COMM_WORLD
        for root in {0, comm.size - 1}:
            data = bytearray([gap]) * (count * extent)
            if comm.rank == root:
                numbers = array.array("i", range(count)).tobytes()
                for byte in range(4):
                    data[byte::extent] = numbers[byte::4]
                doubles = array.array("d", (n / 2 for n in range(count))).tobytes()
                for byte in range(8):
                    data[8 + byte :: extent] = doubles[byte::8]
            comm.Bcast([data, count, spaced], root)
            self.assertEqual(
                self.column(data, 0, 4, "i"), array.array("i", range(count))
            )
            halves = array.array("d", (n / 2 for n in range(count)))
            self.assertEqual(self.column(data, 8, 8, "d"), halves)
            for at in (4, 7, 16, extent - 1):
                self.assertEqual(data[at::extent].count(gap), count, at)
        spaced.Free()
        pair.Free()

    @staticmethod
    def column(data, at, size, code):
        """What lies at `at` of each structure of 64 bytes."""
        numbers = bytearray(len(data) // 64 * size)
        for byte in range(size):
            numbers[byte::size] = data[at + byte :: 64]
        return array.array(code, bytes(numbers))

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
