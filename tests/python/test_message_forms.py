"""How buffers may be written, and what a wrong one answers."""

import array
import ctypes
import mmap
import sys
import unittest

from phalanx import MPI

try:
    import numpy
except ImportError:
    numpy = None

SELF = MPI.COMM_SELF


def exchange(send, receive):
    SELF.Sendrecv(send, 0, 7, receive, 0, 7)


def ints(*values):
    return array.array("i", values)


class SimpleForms(unittest.TestCase):
    """One run of entries: buffer, count, displacement, datatype."""

    def check(self, send, receive, target, expected):
        exchange(send, receive)
        self.assertEqual(list(target), list(expected))

    def test_bare_buffers(self):
        for make in (
            lambda: (ints(1, 2, 3), ints(0, 0, 0)),
            lambda: (b"abc", bytearray(3)),
            lambda: (memoryview(b"abc"), memoryview(bytearray(3))),
            lambda: ((ctypes.c_double * 2)(1.5, 2.5), (ctypes.c_double * 2)()),
            lambda: (MPI.buffer(b"abc"), MPI.buffer.allocate(3)),
        ):
            send, receive = make()
            with self.subTest(type(send)):
                self.check(send, receive, receive, send)

    def test_bytes_of_a_mapping(self):
        with mmap.mmap(-1, 4096) as source:
            source[:5] = b"hello"
            target = bytearray(4096)
            exchange(source, target)
            self.assertEqual(target[:5], b"hello")

    def test_every_spelling_of_the_same_part(self):
        forms = [
            lambda b: [b, MPI.INT],
            lambda b: [b, "i"],
            lambda b: [b, 3],
            lambda b: [b, (3, 0)],
            lambda b: [b, [3, 0]],
            lambda b: [b, (3, None)],
            lambda b: [b, (None, 0)],
            lambda b: [b, 3, MPI.INT],
            lambda b: [b, None, MPI.INT],
            lambda b: [b, (3, 0), "i"],
            lambda b: [b, 3, 0, MPI.INT],
            lambda b: [b, None, None, "i4"],
            lambda b: (b, 3, 0, "i"),
        ]
        for number, form in enumerate(forms):
            with self.subTest(number):
                target = ints(0, 0, 0)
                self.check(form(ints(1, 2, 3)), form(target), target, [1, 2, 3])

    def test_displacement_counts_entries(self):
        source, target = ints(1, 2, 3, 4), ints(0, 0, 0, 0)
        exchange([source, (2, 1), MPI.INT], [target, (2, 2), MPI.INT])
        self.assertEqual(target.tolist(), [0, 0, 2, 3])
        exchange([source, (None, 2), MPI.INT], [target, 2])
        self.assertEqual(target.tolist(), [3, 4, 2, 3])

    def test_derived_datatype(self):
        column = MPI.INT.Create_vector(2, 1, 2).Commit()
        target = ints(0, 0)
        exchange([ints(1, 2, 3, 4), 1, column], target)
        self.assertEqual(target.tolist(), [1, 3])
        column.Free()

    def test_nothing_at_all(self):
        for nothing in ([None, "B"], [None, 0, "B"], [MPI.BOTTOM, 0, MPI.INT], b""):
            receive = bytearray() if nothing == b"" else nothing
            exchange(nothing, receive)

    def test_bottom_with_absolute_addresses(self):
        source, target = bytearray(b"xyz"), bytearray(3)
        kinds = [
            MPI.Datatype.Create_struct(
                [3], [MPI.Get_address(memory)], [MPI.BYTE]
            ).Commit()
            for memory in (source, target)
        ]
        exchange([MPI.BOTTOM, 1, kinds[0]], [MPI.BOTTOM, 1, kinds[1]])
        self.assertEqual(target, b"xyz")
        for kind in kinds:
            kind.Free()

    def test_proc_null_looks_at_nothing(self):
        SELF.Send(None, MPI.PROC_NULL)
        SELF.Recv(None, MPI.PROC_NULL)
        SELF.Sendrecv(None, MPI.PROC_NULL, 0, None, MPI.PROC_NULL, 0)

    def test_anything_with_an_index_is_a_count(self):
        class Three:
            def __index__(self):
                return 3

        target = bytearray(3)
        exchange([b"abc", Three(), "B"], target)
        self.assertEqual(target, b"abc")

    def test_strings_of_characters(self):
        target = array.array("u", "....")
        self.check(array.array("u", "äöü€"), target, target, "äöü€")

    def test_array_interface(self):
        class Device:
            """Host memory under the interface of device arrays."""

            def __init__(self, memory, address=None):
                self.memory = memory
                place, length = memory.buffer_info()
                self.__cuda_array_interface__ = {
                    "data": (address or place, False),
                    "typestr": f"<i{memory.itemsize}",
                    "shape": (length,),
                    "version": 3,
                }

        source, target = ints(1, 2), ints(0, 0)
        exchange(Device(source), [Device(target), MPI.INT])
        self.assertEqual(target, source)
        if MPI.Get_library_version().startswith("Phalanx"):
            with self.assertRaisesRegex(BufferError, "copy it to the host"):
                exchange(Device(source, address=64), target)


class VectorForms(unittest.TestCase):
    """A count and a displacement for each rank."""

    def test_every_spelling(self):
        forms = [
            lambda b: b,
            lambda b: [b, MPI.INT],
            lambda b: [b, 3],
            lambda b: [b, [3]],
            lambda b: [b, ([3], [0])],
            lambda b: [b, (3, 0)],
            lambda b: [b, ([3], None), "i"],
            lambda b: [b, [3], MPI.INT],
            lambda b: [b, [3], [0], MPI.INT],
            lambda b: [b, array.array("q", [3]), array.array("q", [0]), "i"],
        ]
        for number, form in enumerate(forms):
            with self.subTest(number):
                target = ints(0, 0, 0)
                SELF.Alltoallv(form(ints(1, 2, 3)), form(target))
                self.assertEqual(target.tolist(), [1, 2, 3])

    def test_counts_left_out_are_spread_over_the_ranks(self):
        comm = MPI.COMM_WORLD
        size, rank = comm.size, comm.rank
        total = 2 * size + 1
        share = [2 + (r < 1) for r in range(size)]
        mine = ints(*[rank] * share[rank])
        everybody = ints(*[-1] * total)
        comm.Allgatherv(mine, everybody)
        expected = [r for r in range(size) for _ in range(share[r])]
        self.assertEqual(everybody.tolist(), expected)

    def test_a_datatype_for_each_rank(self):
        target = bytearray(3)
        receive = [target, ([3], [0]), [MPI.CHAR]]
        SELF.Alltoallw([b"abc", [3], [0], [MPI.CHAR]], receive)
        self.assertEqual(target, b"abc")


@unittest.skipIf(numpy is None, "numpy is not installed")
class Arrays(unittest.TestCase):
    """NumPy arrays, which the binding itself never imports."""

    def test_every_plain_dtype(self):
        for char in "?bhilqBHILQfdgFDG":
            with self.subTest(char):
                source = numpy.ones((2, 3), char)
                target = numpy.zeros((2, 3), char)
                exchange(source, target)
                self.assertTrue((source == target).all())

    def test_both_orders_are_contiguous(self):
        source = numpy.arange(6.0).reshape(2, 3)
        target = numpy.zeros((3, 2)).T
        exchange(numpy.asfortranarray(source), target)
        self.assertTrue((source == target).all())

    def test_arrays_are_what_the_buffer_protocol_says_of_them(self):
        # A view of memory goes through the protocol; types that differ are an error.
        class Subclass(numpy.ndarray):
            pass

        unaligned = numpy.zeros(33, "u1")[1:].view("f8")
        for source in (
            *(numpy.ones(4, char) for char in "?bBhHiIlLqQefdgFDG"),
            numpy.ones((2, 2), order="F"),
            numpy.ones((2, 2, 1)),
            numpy.array(1.0),
            numpy.ones(4)[1:3],
            numpy.ones(4).view(Subclass),
            unaligned,
        ):
            with self.subTest(source.dtype, shape=source.shape):
                target = numpy.zeros_like(source)
                before = sys.getrefcount(source), sys.getrefcount(target)
                exchange(source, memoryview(target))
                self.assertEqual(target.tobytes(), source.tobytes())
                target[...] = 0
                exchange(memoryview(source), target)
                self.assertEqual(target.tobytes(), source.tobytes())
                after = sys.getrefcount(source), sys.getrefcount(target)
                self.assertEqual(after, before)

    def test_an_array_under_way_is_not_resized(self):
        target = numpy.zeros(3)
        request = SELF.Irecv(target, 0, 8)
        with self.assertRaisesRegex(ValueError, "cannot resize"):
            target.resize(6)
        SELF.Send(numpy.ones(3), 0, 8)
        request.Wait()
        self.assertEqual(list(target), [1, 1, 1])

    def test_numpy_integers_are_counts(self):
        source, target = numpy.arange(3), numpy.zeros(3, int)
        exchange([source, numpy.int64(2)], [target, numpy.array(2)])
        self.assertEqual(target.tolist(), [0, 1, 0])

    def test_scalars_and_empty_arrays(self):
        target = numpy.array(0.0)
        exchange(numpy.float64(2.5), target)
        self.assertEqual(target, 2.5)
        exchange(numpy.empty(0), numpy.empty((3, 0)))

    def test_refused(self):
        good = numpy.zeros(3)
        frozen = numpy.zeros(3)
        frozen.flags.writeable = False
        swapped = numpy.zeros(3, numpy.dtype("i4").newbyteorder())
        table = [
            (numpy.zeros((3, 2))[:, 0], good, BufferError, "contiguous"),
            (good, numpy.zeros(6)[::2], BufferError, "contiguous"),
            (good, frozen, BufferError, "read-only"),
            (swapped, good, BufferError, "byte order"),
            (numpy.array([None]), good, KeyError, "lower-case"),
            (numpy.zeros(2, "i4,f8"), good, KeyError, "datatype explicitly"),
            (numpy.zeros(2, "M8[s]"), good, BufferError, "a.view('i8')"),
        ]
        for send, receive, kind, text in table:
            with self.subTest(text), self.assertRaises(kind) as caught:
                exchange(send, receive)
            self.assertIn(text, str(caught.exception))


class Refused(unittest.TestCase):
    """Bad input answers with an error that says what to do, and sends nothing."""

    def test_errors(self):
        i3 = ints(1, 2, 3)
        empty = [None, 0, "B"]
        table = [
            ({"a": 1}, TypeError, "lower-case"),
            (object(), TypeError, "'object'"),
            (3.5, TypeError, "expecting buffer"),
            ("text", TypeError, "'str'"),
            ([1, 2, 3], TypeError, "'int'"),
            ([[1, 2], 2, "i"], TypeError, "'list'"),
            ([i3], ValueError, "2 to 4 items"),
            ([i3, 1, 0, "i", None], ValueError, "got 5"),
            ([i3, 1.5, "i"], TypeError, "count must be an integer"),
            ([i3, -1, "i"], ValueError, "negative count -1"),
            ([i3, (1, -1), "i"], ValueError, "negative displacement -1"),
            ([i3, (1, 4), "i"], ValueError, "out of bounds"),
            ([i3, 4, "i"], ValueError, "need 16 bytes, but the buffer has 12"),
            ([i3, (3, 1), "i"], ValueError, "need 12 bytes, but the buffer has 8"),
            ([i3, "no such type"], KeyError, "no such type"),
            ([i3, 3, float], TypeError, "type string"),
            ([i3, 3, MPI.DATATYPE_NULL, None], TypeError, "integer"),
            ([i3, None, MPI.DATATYPE_NULL], ValueError, "datatype is null"),
            ([bytearray(5), None, "i"], ValueError, "not a multiple"),
            ([None, 1, "i"], ValueError, "buffer is None but count is 1"),
            ([None, 0], KeyError, "MPI.INT"),
            ([MPI.BOTTOM, 0], KeyError, "MPI.BOTTOM"),
        ]
        for message, kind, text in table:
            with self.subTest(message=message), self.assertRaises(kind) as caught:
                exchange(message, empty)
            self.assertIn(text, str(caught.exception))

    def test_a_read_only_target(self):
        for target in (b"abc", memoryview(b"abc"), [b"abc", "B"]):
            with self.subTest(target), self.assertRaises(BufferError) as caught:
                exchange(b"xyz", target)
            self.assertIn("read-only", str(caught.exception))

    def test_vectors(self):
        i4 = ints(1, 2, 3, 4)
        good = [ints(0, 0, 0, 0), [4], "i"]
        table = [
            ([i4, [1, 2], "i"], ValueError, "expecting 1 items, got 2"),
            ([i4, [1.0], "i"], TypeError, "integer"),
            ([i4, ([2], [3]), "i"], ValueError, "need 20 bytes"),
            ([i4, object(), "i"], TypeError, "counts must be a sequence"),
            ([i4, ([1],), "i"], ValueError, "pair"),
        ]
        for message, kind, text in table:
            with self.subTest(message=message), self.assertRaises(kind) as caught:
                SELF.Alltoallv(message, good)
            self.assertIn(text, str(caught.exception))

    def test_reductions_name_both_sides(self):
        with self.assertRaisesRegex(ValueError, "MPI_INT.*MPI_DOUBLE"):
            SELF.Allreduce(ints(1), array.array("d", [0]))
        with self.assertRaisesRegex(ValueError, "send count 2 and receive count 1"):
            SELF.Allreduce(ints(1, 2), ints(0))

    def test_arguments(self):
        i1 = ints(1)
        with self.assertRaises(TypeError):
            SELF.Send(i1, "0")
        with self.assertRaises(TypeError):
            SELF.Send(i1, 0.0)
        with self.assertRaises(OverflowError):
            SELF.Send(i1, 2**40)
        with self.assertRaises(TypeError):
            SELF.Recv(i1, 0, 0, object())
        with self.assertRaises(TypeError):
            SELF.Send()

    def test_wrong_rank_tag_and_root(self):
        i1 = ints(1)
        calls = [
            (lambda: SELF.Send(i1, 1), MPI.ERR_RANK),
            (lambda: SELF.Send(i1, -7), MPI.ERR_RANK),
            (lambda: SELF.Send(i1, 0, -7), MPI.ERR_TAG),
            (lambda: SELF.Bcast(i1, 5), MPI.ERR_ROOT),
            (lambda: MPI.COMM_NULL.Send(i1, 0), MPI.ERR_COMM),
            (lambda: MPI.COMM_NULL.Bcast(i1, 0), MPI.ERR_COMM),
        ]
        for number, (call, expected) in enumerate(calls):
            with self.subTest(number), self.assertRaises(MPI.Exception) as caught:
                call()
            self.assertEqual(caught.exception.Get_error_class(), expected)


if __name__ == "__main__":
    unittest.main()
