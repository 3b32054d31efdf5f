"""Arguments that would have MPI read or write outside of what was given."""

import unittest

from phalanx import MPI

COMM = MPI.COMM_SELF


class Refusals(unittest.TestCase):
    def test_graphs_with_fewer_edges_than_the_index_says(self):
        for index, edges in (
            ([2**31 - 1], [0]),
            ([2], []),
            ([428457073], [-1, 2, 1]),
            ([0, 5, 2], [0, 0]),
        ):
            for call in (COMM.Create_graph, COMM.Graph_map):
                with self.assertRaises((ValueError, MPI.Exception)):
                    call(index, edges)
        graph = COMM.Create_graph([1], [0])
        self.assertEqual(graph.edges, [0])
        graph.Free()

    def test_grids_of_too_many_dimensions(self):
        with self.assertRaises((ValueError, MPI.Exception)):
            MPI.Compute_dims(1, 2**31 - 1)
        self.assertEqual(MPI.Compute_dims(6, 2), [3, 2])

    def test_blocks_that_leave_their_buffer(self):
        target = bytearray(16)
        pair = MPI.INT.Create_vector(2, 1, 5).Commit()
        backwards = MPI.INT.Create_resized(0, -4).Commit()
        fine = [target, [4], [0], [MPI.INT]]
        for count, displacement, datatype in (
            (5, 0, MPI.INT),
            (1, 13, MPI.INT),
            (1, -4, MPI.INT),
            (1, 2**40, MPI.INT),
            (1, -(2**62), MPI.INT),
            (1, 0, pair),
            (2, 0, backwards),
        ):
            wrong = [target, [count], [displacement], [datatype]]
            for call in (COMM.Alltoallw, COMM.Ialltoallw, COMM.Alltoallw_init):
                with self.assertRaises(ValueError):
                    call(wrong, fine)
                with self.assertRaises(ValueError):
                    call(fine, wrong)
        source = bytearray(range(16))
        COMM.Alltoallw([source, [4], [0], [MPI.INT]], fine)
        self.assertEqual(target, source)
        COMM.Alltoallw([source, [0], [99], [MPI.INT]], [target, [0], [-99], [MPI.INT]])
        source, target = bytearray(b"abcdefgh"), bytearray(8)
        COMM.Alltoallw([source, [2], [4], [backwards]], [target, [2], [0], [MPI.INT]])
        self.assertEqual(target, bytearray(b"efghabcd"))
        pair.Free()
        backwards.Free()


if __name__ == "__main__":
    unittest.main()
