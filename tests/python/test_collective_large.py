"""Collectives of more data than one step of the shared area takes."""

import unittest

from phalanx import MPI

try:
    import numpy as np
except ModuleNotFoundError:
    raise unittest.SkipTest("NumPy is not installed") from None

COMM = MPI.COMM_WORLD
SIZE, RANK = COMM.size, COMM.rank
# Elements of int64: about the step's limits, and several steps.
LENGTHS = (16_384, 131_072, 131_073, 400_003)


def values(rank, length):
    return (np.arange(length, dtype="i8") * 7 + rank * 13) % 1000


def later(invec, inoutvec, datatype):
    """Not commutative: the product of the affine maps that pairs of numbers are."""
    first = np.frombuffer(invec, "i8").reshape(-1, 2)
    second = np.frombuffer(inoutvec, "i8").reshape(-1, 2)
    second[:, 1] = (first[:, 1] * second[:, 0] + second[:, 1]) % 101
    second[:, 0] = first[:, 0] * second[:, 0] % 101


def composed(parts):
    total = parts[0].reshape(-1, 2).copy()
    for part in parts[1:]:
        nxt = part.reshape(-1, 2)
        total[:, 1] = (total[:, 1] * nxt[:, 0] + nxt[:, 1]) % 101
        total[:, 0] = total[:, 0] * nxt[:, 0] % 101
    return total.reshape(-1)


class LargeReductions(unittest.TestCase):
    def test_scan_and_exscan(self):
        for length in LENGTHS:
            with self.subTest(length=length):
                each = [values(r, length) for r in range(SIZE)]
                target = np.zeros(length, "i8")
                COMM.Scan(values(RANK, length), target)
                np.testing.assert_array_equal(target, sum(each[: RANK + 1]))
                target = values(RANK, length)
                COMM.Scan(MPI.IN_PLACE, target)
                np.testing.assert_array_equal(target, sum(each[: RANK + 1]))
                target = values(RANK, length)
                COMM.Exscan(MPI.IN_PLACE, target)
                if RANK:
                    np.testing.assert_array_equal(target, sum(each[:RANK]))

    def test_reduce_scatter_of_equal_and_of_different_blocks(self):
        for length in LENGTHS:
            longer = [length // SIZE + (r * 37) % 11 for r in range(SIZE)]
            # One block has nearly all, one has nothing.
            uneven = [0] * SIZE
            uneven[SIZE // 2] = length
            uneven[0] += 5
            for counts in ([length] * SIZE, longer, uneven):
                with self.subTest(counts=counts):
                    total = sum(counts)
                    result = sum(values(r, total) for r in range(SIZE))
                    start = sum(counts[:RANK])
                    expected = result[start : start + counts[RANK]]
                    target = np.zeros(counts[RANK], "i8")
                    COMM.Reduce_scatter(values(RANK, total), target, counts)
                    np.testing.assert_array_equal(target, expected)
                    target = values(RANK, total)
                    COMM.Reduce_scatter(MPI.IN_PLACE, target, counts)
                    np.testing.assert_array_equal(target[: counts[RANK]], expected)
                    if counts == [length] * SIZE:
                        target = np.zeros(length, "i8")
                        COMM.Reduce_scatter_block(values(RANK, total), target)
                        np.testing.assert_array_equal(target, expected)

    def test_an_operation_that_does_not_commute(self):
        pair = MPI.INT64_T.Create_contiguous(2).Commit()
        op = MPI.Op.Create(later, commute=False)
        length = 150_000
        total = 2 * length * SIZE
        parts = [values(r, total) % 101 for r in range(SIZE)]
        target = np.zeros(2 * length, "i8")
        COMM.Reduce_scatter_block([parts[RANK], pair], [target, pair], op)
        block = slice(2 * length * RANK, 2 * length * (RANK + 1))
        expected = composed([part[block] for part in parts])
        np.testing.assert_array_equal(target, expected)
        target = np.zeros(total, "i8")
        COMM.Scan([parts[RANK], pair], [target, pair], op)
        np.testing.assert_array_equal(target, composed(parts[: RANK + 1]))
        COMM.Exscan([parts[RANK], pair], [target, pair], op)
        if RANK:
            np.testing.assert_array_equal(target, composed(parts[:RANK]))
        op.Free()
        pair.Free()

    def test_operations_that_divide_the_memory_differently_take_turns(self):
        # A broadcast takes one part of the memory in a step, most others take two.
        picks = np.random.default_rng(5)
        for turn in range(40):
            name = picks.choice(
                ["bcast", "allreduce", "allgather", "scan", "alltoall", "reduce"]
            )
            length = int(picks.integers(20_000, 300_000))
            root = int(picks.integers(SIZE))
            own = values(RANK + turn, length)
            with self.subTest(turn=turn, name=name, length=length):
                each = [values(r + turn, length) for r in range(SIZE)]
                if name == "bcast":
                    COMM.Bcast(own, root)
                    np.testing.assert_array_equal(own, each[root])
                elif name == "allreduce":
                    target = np.zeros(length, "i8")
                    COMM.Allreduce(own, target)
                    np.testing.assert_array_equal(target, sum(each))
                elif name == "allgather":
                    target = np.zeros((SIZE, length), "i8")
                    COMM.Allgather(own, target)
                    np.testing.assert_array_equal(target, each)
                elif name == "scan":
                    COMM.Scan(MPI.IN_PLACE, own)
                    np.testing.assert_array_equal(own, sum(each[: RANK + 1]))
                elif name == "alltoall":
                    block = length // SIZE // 4
                    target = np.zeros((SIZE, block), "i8")
                    COMM.Alltoall(own[: SIZE * block], target)
                    part = slice(RANK * block, (RANK + 1) * block)
                    np.testing.assert_array_equal(target, [e[part] for e in each])
                else:
                    COMM.Reduce(MPI.IN_PLACE if RANK == root else own, own, root=root)
                    if RANK == root:
                        np.testing.assert_array_equal(own, sum(each))


if __name__ == "__main__":
    unittest.main()
