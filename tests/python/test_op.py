"""Operations: on objects, on buffers, any number of the user's own."""

import array
import unittest

from phalanx import MPI

try:
    import numpy
except ImportError:
    numpy = None

ARITHMETIC = {
    "SUM": lambda a, b: a + b,
    "PROD": lambda a, b: a * b,
}
ORDER = {
    "MIN": lambda a, b: numpy.minimum(a, b),
    "MAX": lambda a, b: numpy.maximum(a, b),
}
LOGIC = {
    "LAND": lambda a, b: numpy.logical_and(a, b),
    "LOR": lambda a, b: numpy.logical_or(a, b),
    "LXOR": lambda a, b: numpy.logical_xor(a, b),
}
BITS = {
    "BAND": lambda a, b: a & b,
    "BOR": lambda a, b: a | b,
    "BXOR": lambda a, b: a ^ b,
}
NEVER = dict.fromkeys(["REPLACE", "NO_OP", "MINLOC", "MAXLOC"])


class Interface:
    """An object that shows memory through one protocol only."""

    def __init__(self, memory, protocol):
        self.memory = memory
        self.protocol = protocol

    def __getattr__(self, name):
        if name == "__cuda_array_interface__" == self.protocol:
            return {**self.memory.__array_interface__, "version": 3}
        if (
            name in ("__dlpack__", "__dlpack_device__")
            and self.protocol == "__dlpack__"
        ):
            return getattr(self.memory, name)
        raise AttributeError(name)


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

    def test_more_error_handlers_than_there_are_slots(self):
        comm, heard = MPI.COMM_WORLD.Dup(), []

        def hear(number):
            return lambda comm, code: heard.append((number, code))

        handlers = [MPI.Comm.Create_errhandler(hear(n)) for n in range(70)]
        for handler in handlers:
            comm.Set_errhandler(handler)
            comm.Call_errhandler(MPI.ERR_OTHER)
            handler.Free()
        self.assertEqual(heard, [(n, MPI.ERR_OTHER) for n in range(70)])
        comm.Free()

    def test_a_freed_operation_keeps_its_function_while_something_uses_it(self):
        def plus(a, b, datatype):
            left, right = array.array("i", bytes(a)), array.array("i", bytes(b))
            b[:] = array.array("i", [x + y for x, y in zip(left, right, strict=True)])

        def wrong(a, b, datatype):
            b[:] = array.array("i", [-1] * (len(bytes(b)) // 4))

        comm = MPI.COMM_WORLD.Dup()
        mine, starts = (
            array.array("i", [comm.rank, 1]),
            (
                lambda into, op: comm.Iallreduce(mine, into, op),
                lambda into, op: comm.Iscan(mine, into, op),
                lambda into, op: self.started(comm.Allreduce_init(mine, into, op)),
            ),
        )
        for start in starts:
            for late in range(comm.size):
                # Nobody can be done before the late rank has begun.
                if comm.rank == late:
                    MPI.COMM_WORLD.Barrier()
                op, into = MPI.Op.Create(plus, commute=True), array.array("i", [0, 0])
                request = start(into, op)
                op.Free()
                others = [MPI.Op.Create(wrong, commute=True) for _ in range(70)]
                if comm.rank != late:
                    MPI.COMM_WORLD.Barrier()
                request.Wait()
                ranks = comm.rank + 1 if start is starts[1] else comm.size
                self.assertEqual(into.tolist(), [sum(range(ranks)), ranks])
                for other in others:
                    other.Free()
        comm.Free()

    @staticmethod
    def started(request):
        request.Start()
        return request

    def test_allreduce_with_a_function(self):
        comm = MPI.COMM_WORLD

        def join(a, b, datatype):
            return {**a, **b}

        op = MPI.Op.Create(join)
        result = comm.allreduce({comm.rank: "x"}, op=op)
        self.assertEqual(sorted(result), list(range(comm.size)))
        op.Free()


@unittest.skipIf(numpy is None, "numpy is not installed")
class TestEveryTypeAndOperation(unittest.TestCase):
    def check(self, code, name, combine):
        """The sum of one contribution per rank, or an error of class ERR_OP."""
        comm = MPI.COMM_WORLD
        parts = [numpy.array([rank, 0, 1, 3]).astype(code) for rank in range(comm.size)]
        result = numpy.zeros(4, code)
        op = getattr(MPI, name)
        if combine is None:
            with self.assertRaises(MPI.Exception, msg=(code, name)) as caught:
                comm.Allreduce(parts[comm.rank], result, op)
            self.assertEqual(
                caught.exception.Get_error_class(), MPI.ERR_OP, (code, name)
            )
            return
        expected = parts[0]
        for part in parts[1:]:
            expected = combine(expected, part).astype(code)
        comm.Allreduce(parts[comm.rank], result, op)
        if comm.size > 1:
            self.assertEqual(result.tolist(), expected.tolist(), (code, name))

    def test_as_numpy_or_refused(self):
        kinds = {
            "bBhHiIlLqQ": [ARITHMETIC, ORDER, LOGIC, BITS],
            "efdg": [ARITHMETIC, ORDER],
            "FDG": [ARITHMETIC],
            "?": [LOGIC],
        }
        everything = {**ARITHMETIC, **ORDER, **LOGIC, **BITS, **NEVER}
        cases = 0
        for codes, allowed in kinds.items():
            known = {name: f for group in allowed for name, f in group.items()}
            for code in codes:
                for name in everything:
                    self.check(code, name, known.get(name))
                    cases += 1
        self.assertEqual(cases, 18 * 14)

    def test_bytes_of_every_exporter_are_numbers(self):
        comm = MPI.COMM_WORLD
        makers = {
            "bytearray": bytearray,
            "memoryview": lambda data: memoryview(bytearray(data)),
            "array": lambda data: array.array("B", data),
            "dlpack": lambda data: Interface(numpy.array(data, "u1"), "__dlpack__"),
            "interface": lambda data: Interface(
                numpy.array(data, "u1"), "__cuda_array_interface__"
            ),
            "char": lambda data: [bytearray(data), MPI.CHAR],
        }
        for kind, make in makers.items():
            part, result = make([1, 2, comm.rank]), make([0, 0, 0])
            comm.Allreduce(part, result, MPI.SUM)
            memory = result[0] if isinstance(result, list) else result
            memory = memory.memory if isinstance(memory, Interface) else memory
            total = [comm.size, 2 * comm.size, sum(range(comm.size))]
            self.assertEqual(list(memory), total, kind)

    def test_bytes_without_a_format_are_not_numbers(self):
        target = bytearray(4)
        with self.assertRaises(MPI.Exception) as caught:
            MPI.COMM_WORLD.Allreduce(
                [bytearray(4), MPI.BYTE], [target, MPI.BYTE], MPI.SUM
            )
        self.assertEqual(caught.exception.Get_error_class(), MPI.ERR_OP)


if __name__ == "__main__":
    unittest.main()
