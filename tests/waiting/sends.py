"""Sends that wait for their receives, and sends that need not."""

from .program import ENDED, Found, Program, Right, Wrong

PROGRAMS: tuple[Program, ...] = (
    Wrong(
        "large_sends_head_to_head",
        2,
        """
        field, edge = bytearray(16 << 20), bytearray(16 << 20)
        comm.Send(field, dest=1 - rank)  # waits: 0 1
        comm.Recv(edge, source=1 - rank)
        """,
    ),
    Found(
        "small_sends_head_to_head",
        2,
        """
        edge = bytearray(64)
        for _ in range(10):
            comm.Send(bytearray(64), dest=1 - rank)  # found: 0 1
            comm.Recv(edge, source=1 - rank)
        """,
    ),
    Wrong(
        "large_objects_head_to_head",
        2,
        """
        table = {"rows": bytes(16 << 20)}
        comm.send(table, dest=1 - rank)  # waits: 0 1
        comm.recv(source=1 - rank)
        """,
    ),
    Right(
        "large_objects_one_after_the_other",
        2,
        """
        table = {"rows": bytes(16 << 20)}
        if rank == 0:
            comm.send(table, dest=1)
            assert comm.recv(source=1) == table
        else:
            assert comm.recv(source=0) == table
            comm.send(table, dest=0)
        """,
    ),
    Wrong(
        "ring_of_synchronous_sends",
        3,
        """
        comm.Ssend(bytearray(8), dest=(rank + 1) % size)  # waits: 0 1 2
        comm.Recv(bytearray(8), source=(rank - 1) % size)
        """,
    ),
    Right(
        "ring_of_synchronous_sends_by_parity",
        4,
        """
        data = bytearray(8)
        left, right = (rank - 1) % size, (rank + 1) % size
        for _ in range(20):
            if rank % 2 == 0:
                comm.Ssend(data, dest=right)
                comm.Recv(data, source=left)
            else:
                comm.Recv(data, source=left)
                comm.Ssend(data, dest=right)
        """,
    ),
    Wrong(
        "ring_of_large_sends",
        4,
        """
        halo = bytearray(8 << 20)
        comm.Send(halo, dest=(rank + 1) % size)  # waits: 0 1 2 3
        comm.Recv(halo, source=(rank - 1) % size)
        """,
    ),
    Right(
        "ring_of_large_sends_that_one_receives_first",
        4,
        """
        halo, new = bytearray(8 << 20), bytearray(8 << 20)
        left, right = (rank - 1) % size, (rank + 1) % size
        if rank == 0:
            comm.Recv(new, source=left)
            comm.Send(halo, dest=right)
        else:
            comm.Send(halo, dest=right)
            comm.Recv(new, source=left)
        """,
    ),
    Wrong(
        "all_to_all_of_sends_that_grow",
        4,
        """
        length = 64
        while length <= 64 << 20:
            for other in range(size):
                if other != rank:
                    comm.Send(bytearray(length), dest=other)  # waits: 0 1
            for other in range(size):
                if other != rank:
                    comm.Recv(bytearray(length), source=other)
            length *= 8
        """,
    ),
    Right(
        "all_to_all_of_nonblocking_sends_that_grow",
        4,
        """
        length = 64
        while length <= 2 << 20:
            others = [other for other in range(size) if other != rank]
            sends = [comm.Isend(bytearray(length), dest=other) for other in others]
            for other in others:
                comm.Recv(bytearray(length), source=other)
            MPI.Request.Waitall(sends)
            length *= 8
        """,
    ),
    Wrong(
        "barrier_before_the_receive_of_a_large_message",
        2,
        """
        image = bytearray(16 << 20)
        if rank == 0:
            comm.Send(image, dest=1)  # waits: 0
        comm.Barrier()  # waits: 1
        if rank == 1:
            comm.Recv(image, source=0)
        """,
    ),
    Found(
        "barrier_before_the_receive_of_a_small_message",
        2,
        """
        image = bytearray(100)
        if rank == 0:
            comm.Send(image, dest=1)  # found: 0
        comm.Barrier()
        if rank == 1:
            comm.Recv(image, source=0)
        """,
    ),
    Wrong(
        "synchronous_send_to_itself",
        1,
        """
        comm.Ssend(bytearray(8), dest=0)  # waits: 0
        comm.Recv(bytearray(8), source=0)
        """,
    ),
    Wrong(
        "large_send_to_itself",
        2,
        """
        block = bytearray(32 << 20)
        for other in range(size):
            comm.Send(block, dest=other)  # waits: 0
        for other in range(size):
            comm.Recv(block, source=other)
        """,
    ),
    Right(
        "large_send_to_itself_with_the_receive_posted",
        2,
        """
        block, copy = bytearray(32 << 20), bytearray(32 << 20)
        request = comm.Irecv(copy, source=rank)
        comm.Ssend(block, dest=rank)
        request.Wait()
        """,
    ),
    Wrong(
        "synchronous_sends_taken_in_the_other_order",
        2,
        """
        if rank == 0:
            comm.ssend("first", dest=1, tag=1)  # waits: 0
            comm.ssend("second", dest=1, tag=2)
        else:
            comm.recv(source=0, tag=2)  # waits: 1
            comm.recv(source=0, tag=1)
        """,
    ),
    Right(
        "synchronous_sends_taken_in_order",
        2,
        """
        for tag in range(20):
            if rank == 0:
                comm.ssend(tag, dest=1, tag=tag)
            else:
                assert comm.recv(source=0, tag=MPI.ANY_TAG) == tag
        """,
    ),
    Wrong(
        "synchronous_send_on_another_communicator",
        2,
        """
        control = comm.Dup()
        if rank == 0:
            control.ssend("stop", dest=1)  # waits: 0
        else:
            comm.recv(source=0)  # waits: 1
        """,
    ),
    Wrong(
        "large_nonblocking_sends_waited_for_first",
        2,
        """
        request = comm.Isend(bytearray(16 << 20), dest=1 - rank)
        request.Wait()  # waits: 0 1
        comm.Recv(bytearray(16 << 20), source=1 - rank)
        """,
    ),
    Right(
        "large_nonblocking_sends_waited_for_last",
        2,
        """
        request = comm.Isend(bytearray(16 << 20), dest=1 - rank)
        comm.Recv(bytearray(16 << 20), source=1 - rank)
        request.Wait()
        """,
    ),
    Wrong(
        "synchronous_nonblocking_send_waited_for_first",
        3,
        """
        request = comm.issend("token", dest=(rank + 1) % size)
        request.wait()  # waits: 0 1 2
        comm.recv(source=(rank - 1) % size)
        """,
    ),
    Right(
        "synchronous_nonblocking_sends_waited_for_last",
        3,
        """
        request = comm.issend("token", dest=(rank + 1) % size)
        comm.recv(source=(rank - 1) % size)
        request.wait()
        """,
    ),
    Wrong(
        "chain_of_synchronous_sends_that_closes",
        4,
        """
        # 3 receives from 0, which is only reached after 3 was served by 2.
        if rank == 3:
            comm.recv(source=0)  # waits: 3
            comm.recv(source=2)
        elif rank == 0:
            comm.recv(source=1)  # waits: 0
            comm.ssend(rank, dest=3)
        elif rank == 1:
            comm.recv(source=2)  # waits: 1
            comm.ssend(rank, dest=0)
        else:
            comm.ssend(rank, dest=3)  # waits: 2
            comm.ssend(rank, dest=1)
        """,
    ),
    Right(
        "buffered_sends_head_to_head",
        2,
        """
        length = 4 << 20
        MPI.Attach_buffer(bytearray(length + MPI.BSEND_OVERHEAD))
        comm.Bsend(bytearray(length), dest=1 - rank)
        comm.Recv(bytearray(length), source=1 - rank)
        MPI.Detach_buffer()
        """,
    ),
    Wrong(
        "flushes_its_buffered_sends_before_it_receives",
        2,
        """
        length = 16 << 20
        MPI.Attach_buffer(bytearray(length + MPI.BSEND_OVERHEAD))
        comm.Bsend(bytearray(length), dest=1 - rank)
        MPI.Detach_buffer()  # waits: 0 1
        comm.Recv(bytearray(length), source=1 - rank)
        """,
    ),
    Right(
        "large_message_to_a_rank_that_computes_between",
        2,
        """
        import time

        if rank == 0:
            for _ in range(4):
                comm.Send(bytearray(8 << 20), dest=1)
        else:
            for _ in range(4):
                end = time.monotonic() + 0.4
                while time.monotonic() < end:
                    sum(range(1000))
                comm.Recv(bytearray(8 << 20), source=0)
        """,
    ),
    Right(
        "messages_in_flight_for_long",
        2,
        """
        import time

        if rank == 0:
            sends = [comm.isend(i, dest=1) for i in range(100)]
            sends.append(comm.Issend(bytearray(1 << 20), dest=1, tag=1))
            MPI.Request.Waitall(sends)
        else:
            time.sleep(2)
            for i in range(100):
                assert comm.recv(source=0, tag=0) == i
            comm.Recv(bytearray(1 << 20), source=0, tag=1)
        """,
    ),
    Right(
        "many_small_messages_to_a_rank_that_sleeps",
        3,
        """
        import time

        if rank == 0:
            time.sleep(2)
            for _ in range((size - 1) * 3000):
                comm.recv(source=MPI.ANY_SOURCE)
        else:
            for i in range(3000):
                comm.send(bytes(200), dest=0)
        """,
    ),
    Found(
        "many_small_messages_head_to_head",
        2,
        """
        for i in range(10_000):
            comm.Send(bytearray(1000), dest=1 - rank)  # found: 0 1
        for i in range(10_000):
            comm.Recv(bytearray(1000), source=1 - rank)
        """,
    ),
    Right(
        "ready_sends_to_posted_receives",
        2,
        """
        data = bytearray(1 << 20)
        if rank == 1:
            request = comm.Irecv(data, source=0)
        comm.Barrier()
        if rank == 0:
            comm.Rsend(data, dest=1)
        else:
            request.Wait()
        """,
    ),
    Wrong(
        "synchronous_send_to_one_that_has_left",
        2,
        """
        if rank == 0:
            comm.ssend("too late", dest=1)  # fails: 0
        """,
        named=ENDED,
    ),
    Wrong(
        "gives_work_to_all_and_waits_for_one_at_a_time",
        3,
        """
        # The workers give their results before they take their work.
        if rank == 0:
            for worker in range(1, size):
                comm.ssend("work", dest=worker)  # waits: 0
            for worker in range(1, size):
                comm.recv(source=worker)
        else:
            comm.ssend("ready", dest=0)  # waits: 1
            comm.recv(source=0)
        """,
    ),
    Wrong(
        "exchange_of_matrix_columns",
        2,
        """
        rows, row = 4096, 4096
        matrix = bytearray(rows * row)
        column = MPI.BYTE.Create_vector(rows, 1024, row).Commit()
        comm.Send([matrix, 1, column], dest=1 - rank)  # waits: 0 1
        comm.Recv([matrix, 1, column], source=1 - rank)
        """,
    ),
    Right(
        "exchange_of_matrix_columns_by_sendrecv_replace",
        2,
        """
        rows, row = 1024, 1024
        matrix = bytearray(rows * row)
        column = MPI.BYTE.Create_vector(rows, 256, row).Commit()
        comm.Sendrecv_replace([matrix, 1, column], dest=1 - rank, source=1 - rank)
        column.Free()
        """,
    ),
)
