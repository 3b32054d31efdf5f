"""MPI.buffer: memory as bytes."""

import array
import gc
import unittest

from phalanx import MPI

try:
    import numpy
except ImportError:
    numpy = None


class Buffers(unittest.TestCase):
    def test_an_alias(self):
        self.assertIs(MPI.memory, MPI.buffer)

    def test_empty(self):
        empty = MPI.buffer()
        self.assertEqual((len(empty), empty.address, empty.obj), (0, 0, None))
        self.assertEqual(bytes(empty), b"")

    def test_looks_into_the_object(self):
        target = array.array("i", [1, 2])
        view = MPI.buffer(target)
        self.assertEqual(view.nbytes, 8)
        self.assertIs(view.obj, target)
        view[4] = 9
        self.assertEqual(target[1], 9)
        self.assertEqual(view.cast("i").tolist(), [1, 9])

    def test_indices_and_slices(self):
        view = MPI.buffer(bytearray(b"abcdef"))
        self.assertEqual((view[0], view[-1]), (ord("a"), ord("f")))
        self.assertEqual(view[2:4].tobytes(), b"cd")
        self.assertEqual(view[4:2].tobytes(), b"")
        view[1:3] = b"XY"
        view[3:] = 0x2E
        self.assertEqual(view.tobytes(), b"aXY...")
        for bad, kind in (
            (6, IndexError),
            (-7, IndexError),
            (slice(0, 4, 2), IndexError),
            ("a", TypeError),
            (1.0, TypeError),
        ):
            with self.subTest(bad), self.assertRaises(kind):
                view[bad]
            with self.subTest(bad), self.assertRaises(kind):
                view[bad] = 0
        with self.assertRaises(OverflowError):
            view[0] = 256
        with self.assertRaisesRegex(ValueError, "2 bytes to fill, 3 given"):
            view[0:2] = b"abc"

    def test_overlapping_assignment(self):
        view = MPI.buffer(bytearray(b"abcdef"))
        view[2:] = view[:4]
        self.assertEqual(view.tobytes(), b"ababcd")

    def test_a_slice_keeps_the_memory(self):
        part = MPI.buffer.allocate(64, clear=True)[8:16]
        gc.collect()
        part[0] = 1
        self.assertEqual(part.tobytes(), b"\1" + bytes(7))

    def test_read_only(self):
        view = MPI.buffer(b"abc")
        self.assertTrue(view.readonly)
        with self.assertRaises(TypeError):
            view[0] = 0
        with self.assertRaises(BufferError):
            MPI.buffer.frombuffer(b"abc")
        with self.assertRaises(BufferError):
            MPI.COMM_SELF.Recv(view, MPI.ANY_SOURCE)
        writable = MPI.buffer(bytearray(3))
        frozen = writable.toreadonly()
        self.assertEqual(frozen.address, writable.address)
        self.assertTrue(memoryview(frozen).readonly)

    def test_release(self):
        target = bytearray(b"abc")
        view = MPI.buffer(target)
        with self.assertRaises(BufferError):
            target.append(1)
        look = memoryview(view)
        view.release()
        self.assertEqual(len(view), 0)
        self.assertEqual(bytes(look), b"abc")
        with self.assertRaises(BufferError):
            target.append(1)
        look.release()
        target.append(1)

    def test_addresses(self):
        target = bytearray(b"abc")
        whole = MPI.buffer(target)
        part = MPI.buffer.fromaddress(whole.address + 1, 2)
        part[0] = ord("X")
        self.assertEqual(target, b"aXc")
        self.assertEqual(MPI.Get_address(target), whole.address)
        self.assertEqual(MPI.Aint_diff(part.address, whole.address), 1)
        self.assertEqual(MPI.Aint_add(whole.address, 1), part.address)
        with self.assertRaises(ValueError):
            MPI.buffer.fromaddress(0, 1)
        with self.assertRaises(ValueError):
            MPI.buffer.fromaddress(whole.address, -1)

    def test_no_memory(self):
        for bad in (None, 1, [1], "text", object()):
            with self.subTest(bad), self.assertRaises(TypeError):
                MPI.buffer(bad)

    def test_allocated_by_mpi(self):
        memory = MPI.Alloc_mem(32)
        memory[:] = 7
        self.assertEqual(bytes(memory), b"\7" * 32)
        MPI.Free_mem(memory)
        self.assertEqual((memory.address, len(memory)), (0, 0))

    @unittest.skipIf(numpy is None, "numpy is not installed")
    def test_numpy_looks_into_it(self):
        memory = MPI.buffer.allocate(32, clear=True)
        numpy.frombuffer(memory, "d")[1] = 2.0
        self.assertEqual(memory.cast("d").tolist(), [0, 2, 0, 0])


class Buffered(unittest.TestCase):
    """The memory of buffered sends."""

    def test_send_then_receive(self):
        memory = MPI.buffer.allocate(1024 + MPI.BSEND_OVERHEAD)
        MPI.Attach_buffer(memory)
        try:
            MPI.COMM_SELF.Bsend(b"hello", 0, 3)
            request = MPI.COMM_SELF.Ibsend(b"again", 0, 4)
            target, again = bytearray(5), bytearray(5)
            MPI.COMM_SELF.Recv(target, 0, 3)
            MPI.COMM_SELF.Recv(again, 0, 4)
            request.Wait()
            self.assertEqual((target, again), (b"hello", b"again"))
        finally:
            back = MPI.Detach_buffer()
        self.assertEqual(MPI.buffer(back).address, memory.address)

    def test_no_room(self):
        with self.assertRaises(MPI.Exception) as caught:
            MPI.COMM_SELF.Bsend(bytes(1 << 25), 0)
        self.assertEqual(caught.exception.Get_error_class(), MPI.ERR_BUFFER)

    def test_refused(self):
        with self.assertRaises(BufferError):
            MPI.Attach_buffer(b"read-only")
        with self.assertRaises(TypeError):
            MPI.Attach_buffer(12)


if __name__ == "__main__":
    unittest.main()
