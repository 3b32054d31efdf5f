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

    def refused(self, error_class, call, *arguments):
        with self.assertRaises(MPI.Exception) as caught:
            call(*arguments)
        self.assertEqual(caught.exception.Get_error_class(), error_class)

    def test_more_elements_than_an_address_space_holds(self):
        target = bytearray(16)
        double = MPI.DOUBLE.Create_contiguous(1).Commit()
        for count in (2**60, 2**61, 2**63 - 1):
            many = [target, count, double]
            for call in (COMM.Send, COMM.Recv, COMM.Irecv, COMM.Send_init):
                self.refused(MPI.ERR_COUNT, call, many, 0)
            for call in (COMM.Bcast, COMM.Ibcast, COMM.Bcast_init):
                self.refused(MPI.ERR_COUNT, call, many)
            self.refused(MPI.ERR_COUNT, COMM.Allgather, many, many)
            blocks = [target, ([count], [0]), double]
            for call in (COMM.Alltoallv, COMM.Ialltoallv, COMM.Alltoallv_init):
                self.refused(MPI.ERR_COUNT, call, blocks, blocks)
            self.refused(MPI.ERR_COUNT, COMM.Allgatherv, [target, 1, double], blocks)
            self.refused(MPI.ERR_OP, MPI.SUM.Reduce_local, many, many)
            self.refused(MPI.ERR_COUNT, double.Pack_size, count, COMM)
        far = [target, ([1], [2**61]), double]
        self.refused(MPI.ERR_ARG, COMM.Alltoallv, far, far)
        double.Free()

    def test_null_places(self):
        double = MPI.DOUBLE.Create_contiguous(2).Commit()
        for datatype in (MPI.DOUBLE, double, MPI.INT.Create_vector(2, 1, 5).Commit()):
            nowhere = [MPI.BOTTOM, 2, datatype]
            for call in (COMM.Send, COMM.Recv, COMM.Isend):
                self.refused(MPI.ERR_BUFFER, call, nowhere, 0)
            self.refused(MPI.ERR_BUFFER, COMM.Bcast, nowhere)
            self.refused(MPI.ERR_BUFFER, COMM.Allgather, nowhere, nowhere)
            blocks = [MPI.BOTTOM, ([1], [0]), datatype]
            self.refused(MPI.ERR_BUFFER, COMM.Alltoallv, blocks, blocks)
            blocks = [MPI.BOTTOM, [1], [8], [datatype]]
            self.refused(MPI.ERR_BUFFER, COMM.Alltoallw, blocks, blocks)
        nowhere = [MPI.BOTTOM, 2, MPI.DOUBLE]
        self.refused(MPI.ERR_BUFFER, MPI.SUM.Reduce_local, nowhere, nowhere)
        # Displacements from a null base may be addresses.
        source, target = bytearray(b"abcdefgh"), bytearray(8)
        places = [MPI.Get_address(memory) for memory in (source, target)]
        out, into = ([MPI.BOTTOM, [1], [place], [MPI.INT64_T]] for place in places)
        COMM.Alltoallw(out, into)
        self.assertEqual(target, source)
        here = MPI.BYTE.Create_hindexed([3], [places[0]]).Commit()
        COMM.Sendrecv([MPI.BOTTOM, 1, here], 0, 0, target, 0, 0)
        self.assertEqual(target, b"abcdefgh")


if __name__ == "__main__":
    unittest.main()
