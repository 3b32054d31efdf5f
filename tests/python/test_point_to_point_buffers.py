"""Sends, receives, probes and requests of buffers, round a ring."""

import array
import threading
import time
import unittest

from phalanx import MPI

COMM = MPI.COMM_WORLD
SIZE, RANK = COMM.size, COMM.rank
NEXT, BEFORE = (RANK + 1) % SIZE, (RANK - 1) % SIZE
LENGTHS = (0, 1, 5, 1000, 100_000)


def data(rank, length):
    return array.array("i", [rank] * length)


class Ring(unittest.TestCase):
    def check(self, target):
        self.assertEqual(target, data(BEFORE, len(target)))

    def test_every_kind_of_send(self):
        for length in LENGTHS:
            for send in (COMM.Send, COMM.Ssend):
                target = data(-1, length)
                request = COMM.Irecv(target, BEFORE, 1)
                send(data(RANK, length), NEXT, 1)
                request.Wait()
                self.check(target)
            for send in (COMM.Isend, COMM.Issend):
                target = data(-1, length)
                request = send(data(RANK, length), NEXT, 2)
                COMM.Recv(target, BEFORE, 2)
                request.Wait()
                self.check(target)

    def test_ready_send_to_a_posted_receive(self):
        target = data(-1, 10)
        request = COMM.Irecv(target, BEFORE, 3)
        COMM.Barrier()
        COMM.Rsend(data(RANK, 10), NEXT, 3)
        request.Wait()
        self.check(target)

    def test_sendrecv(self):
        for length in LENGTHS:
            target = data(-1, length)
            COMM.Sendrecv(data(RANK, length), NEXT, 4, target, BEFORE, 4)
            self.check(target)
            both = data(RANK, length)
            COMM.Sendrecv_replace(both, NEXT, 5, BEFORE, 5)
            self.check(both)

    def test_nonblocking_sendrecv(self):
        try:
            target = data(-1, 10)
            COMM.Isendrecv(data(RANK, 10), NEXT, 6, target, BEFORE, 6).Wait()
            self.check(target)
            both = data(RANK, 10)
            COMM.Isendrecv_replace(both, NEXT, 7, BEFORE, 7).Wait()
            self.check(both)
        except NotImplementedError:
            self.skipTest("the library has no nonblocking sendrecv")

    def test_persistent(self):
        source, target = data(RANK, 10), data(-1, 10)
        requests = [COMM.Recv_init(target, BEFORE, 8), COMM.Send_init(source, NEXT, 8)]
        for turn in range(3):
            source[0] = turn
            MPI.Prequest.Startall(requests)
            MPI.Request.Waitall(requests)
            self.assertEqual(target[0], turn)
            self.assertEqual(target[1], BEFORE)
        for request in requests:
            request.Free()

    def test_status(self):
        status = MPI.Status()
        request = COMM.Isend(data(RANK, 3), NEXT, 9)
        COMM.Recv(data(-1, 8), MPI.ANY_SOURCE, MPI.ANY_TAG, status)
        request.Wait()
        self.assertEqual((status.source, status.tag), (BEFORE, 9))
        self.assertEqual(status.Get_count(MPI.INT), 3)

    def test_probes(self):
        request = COMM.Isend(data(RANK, 4), NEXT, 10)
        status = MPI.Status()
        self.assertIs(COMM.Probe(BEFORE, 10, status), True)
        self.assertEqual(status.Get_count(MPI.INT), 4)
        self.assertTrue(COMM.Iprobe(BEFORE, 10))
        self.assertFalse(COMM.Iprobe(BEFORE, 11))
        message = COMM.Mprobe(BEFORE, 10)
        target = data(-1, 4)
        message.Recv(target)
        self.check(target)
        self.assertEqual(message, MPI.MESSAGE_NULL)
        self.assertIsNone(COMM.Improbe(BEFORE, 10))
        request.Wait()

    def test_a_message_too_long(self):
        request = COMM.Isend(data(RANK, 8), NEXT, 12)
        with self.assertRaises(MPI.Exception) as caught:
            COMM.Recv(data(-1, 2), BEFORE, 12)
        self.assertEqual(caught.exception.Get_error_class(), MPI.ERR_TRUNCATE)
        request.Wait()

    def test_a_buffer_in_use_stays(self):
        """Requests alone keep the buffers of their operations."""
        target = data(-1, 1000)
        receive = COMM.Irecv(target, BEFORE, 13)
        send = COMM.Isend(data(RANK, 1000), NEXT, 13)
        for _ in range(50):
            bytearray(4000)
        MPI.Request.Waitall([receive, send])
        self.check(target)

    def test_exporters_are_released(self):
        """After the call the buffer may be resized: nobody holds it."""
        source, target = bytearray(b"abc"), bytearray(3)
        COMM.Sendrecv(source, NEXT, 14, target, BEFORE, 14)
        target.append(0)
        request = COMM.Irecv(target, BEFORE, 15)
        with self.assertRaises(BufferError):
            target.append(0)
        COMM.Send(source, NEXT, 15)
        request.Wait()
        target.append(0)
        source.append(0)

    def test_order_of_messages(self):
        requests = [COMM.Isend(data(turn, 1), NEXT, 16) for turn in range(100)]
        target = data(-1, 1)
        for turn in range(100):
            COMM.Recv(target, BEFORE, 16)
            self.assertEqual(target[0], turn)
        MPI.Request.Waitall(requests)


@unittest.skipIf(MPI.Query_thread() < MPI.THREAD_MULTIPLE, "threads may not call MPI")
class Threads(unittest.TestCase):
    def beside(self, waits, answers):
        """Calls `waits`, which cannot end before another thread calls `answers`."""
        failed = []

        def answer():
            try:
                time.sleep(0.02)
                answers()
            except Exception as error:
                failed.append(error)

        other = threading.Thread(target=answer)
        other.start()
        waits()
        other.join()
        self.assertEqual(failed, [])

    def test_other_threads_run_while_a_receive_waits(self):
        for length in LENGTHS:
            target = data(-1, length)
            self.beside(
                lambda target=target: COMM.Recv(target, BEFORE, 30),
                lambda length=length: COMM.Send(data(RANK, length), NEXT, 30),
            )
            self.assertEqual(target, data(BEFORE, length))
            self.beside(
                lambda length=length: self.assertEqual(
                    COMM.recv(None, BEFORE, 31), data(BEFORE, length)
                ),
                lambda length=length: COMM.send(data(RANK, length), NEXT, 31),
            )

    def test_other_threads_run_while_a_send_waits(self):
        target = data(-1, 1_000_000)
        self.beside(
            lambda: COMM.Send(data(RANK, len(target)), NEXT, 32),
            lambda: COMM.Recv(target, BEFORE, 32),
        )
        self.assertEqual(target, data(BEFORE, len(target)))
        self.beside(
            lambda: COMM.send(data(RANK, len(target)), NEXT, 33),
            lambda: self.assertEqual(COMM.recv(None, BEFORE, 33), target),
        )


if __name__ == "__main__":
    unittest.main()
