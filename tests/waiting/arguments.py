"""Arguments that cannot be right, and messages that do not fit: errors with a name."""

from .program import TRUNCATED, Program, Right, Wrong

PROGRAMS: tuple[Program, ...] = (
    Wrong(
        "rank_out_of_range",
        3,
        """
        comm.send("x", dest=rank + 1)  # fails: 2
        comm.recv(source=MPI.ANY_SOURCE)
        """,
        named=r"MPI_ERR_RANK.*rank 3",
    ),
    Wrong(
        "source_out_of_range",
        2,
        """
        if rank == 1:
            comm.Recv(bytearray(8), source=2)  # fails: 1
        comm.Barrier()
        """,
        named=r"MPI_ERR_RANK.*rank 2",
    ),
    Wrong(
        "negative_tag",
        2,
        """
        if rank == 0:
            comm.send("x", dest=1, tag=-5)  # fails: 0
        comm.Barrier()
        """,
        named=r"MPI_ERR_TAG.*-5",
    ),
    Wrong(
        "tag_too_large",
        2,
        """
        if rank == 0:
            comm.send("x", dest=1, tag=comm.Get_attr(MPI.TAG_UB) + 1)  # fails: 0
        comm.Barrier()
        """,
        named=r"MPI_ERR_TAG|OverflowError",
    ),
    Wrong(
        "freed_communicator",
        2,
        """
        part = comm.Split(0)
        part.Free()
        if rank == 0:
            part.send("x", dest=1)  # fails: 0
        comm.recv(source=1 - rank)
        """,
        named=r"MPI_ERR_COMM",
    ),
    Wrong(
        "communicator_of_others",
        3,
        """
        some = comm.Split(0 if rank < 2 else MPI.UNDEFINED)
        if rank == 2:
            some.Barrier()  # fails: 2
        comm.Barrier()
        """,
        named=r"MPI_ERR_COMM",
    ),
    Wrong(
        "receive_buffer_too_small",
        2,
        """
        if rank == 0:
            comm.Send(bytearray(100), dest=1)
        else:
            comm.Recv(bytearray(50), source=0)  # fails: 1
        comm.Barrier()
        """,
        named=TRUNCATED,
    ),
    Wrong(
        "receive_buffer_too_small_for_a_large_message",
        2,
        """
        if rank == 0:
            comm.Send(bytearray(32 << 20), dest=1)
        else:
            comm.Recv(bytearray(16 << 20), source=0)  # fails: 1
        comm.Barrier()
        """,
        named=TRUNCATED,
    ),
    Wrong(
        "doubles_into_a_buffer_of_floats",
        2,
        """
        from array import array

        if rank == 0:
            comm.Send(array("d", [0.0] * 10), dest=1)
        else:
            comm.Recv(array("f", [0.0] * 10), source=0)  # fails: 1
        comm.Barrier()
        """,
        named=TRUNCATED,
    ),
    Wrong(
        "posted_buffer_too_small",
        2,
        """
        request = comm.Irecv(bytearray(4), source=1 - rank)
        comm.Send(bytearray(8), dest=1 - rank)
        request.Wait()  # fails:
        """,
        named=TRUNCATED,
    ),
    Wrong(
        "buffer_where_an_object_was_sent",
        2,
        """
        if rank == 0:
            comm.send(list(range(1000)), dest=1)
        else:
            comm.Recv(bytearray(8), source=0)  # fails: 1
        comm.Barrier()
        """,
        named=TRUNCATED,
    ),
    Wrong(
        "object_where_a_buffer_was_sent",
        2,
        """
        if rank == 0:
            comm.Send(b"\\x01\\x02\\x03\\x04", dest=1)
        else:
            comm.recv(source=0)  # fails: 1
        comm.Barrier()
        """,
        named=r"Unpickling|pickle|object",
    ),
    Wrong(
        "object_into_a_small_irecv_buffer",
        2,
        """
        if rank == 0:
            comm.send(bytes(1 << 20), dest=1)
        else:
            comm.irecv(bytearray(100), source=0).wait()  # fails: 1
        comm.Barrier()
        """,
        named=TRUNCATED,
    ),
    Wrong(
        "root_out_of_range",
        2,
        """
        comm.bcast("x", root=2)  # fails:
        """,
        named=r"MPI_ERR_ROOT.*2",
    ),
    Wrong(
        "negative_root",
        2,
        """
        comm.gather("x", root=-1)  # fails:
        """,
        named=r"MPI_ERR_ROOT",
    ),
    Wrong(
        "count_larger_than_the_buffer",
        2,
        """
        if rank == 0:
            comm.Send([bytearray(10), 20, MPI.BYTE], dest=1)  # fails: 0
        comm.Barrier()
        """,
        named=r"ValueError|MPI_ERR_(COUNT|BUFFER)",
    ),
    Wrong(
        "negative_count",
        2,
        """
        if rank == 0:
            comm.Send([bytearray(10), -1, MPI.BYTE], dest=1)  # fails: 0
        comm.Barrier()
        """,
        named=r"ValueError|MPI_ERR_COUNT",
    ),
    Wrong(
        "read_only_receive_buffer",
        2,
        """
        if rank == 0:
            comm.Recv(b"12345678", source=1)  # fails: 0
        comm.Barrier()
        """,
        named=r"BufferError|read-only|writable",
    ),
    Wrong(
        "list_where_a_buffer_is_needed",
        2,
        """
        if rank == 0:
            comm.Send([1.0, 2.0, 3.0], dest=1)  # fails: 0
        comm.Barrier()
        """,
        named=r"TypeError|ValueError",
    ),
    Wrong(
        "type_that_was_not_committed",
        2,
        """
        pair = MPI.DOUBLE.Create_contiguous(2)
        if rank == 0:
            comm.Send([bytearray(16), 1, pair], dest=1)  # fails: 0
        comm.Barrier()
        """,
        named=r"MPI_ERR_TYPE",
    ),
    Wrong(
        "type_that_was_freed",
        2,
        """
        pair = MPI.DOUBLE.Create_contiguous(2).Commit()
        pair.Free()
        if rank == 0:
            comm.Send([bytearray(16), 1, pair], dest=1)  # fails: 0
        comm.Barrier()
        """,
        named=r"MPI_ERR_TYPE",
    ),
    Wrong(
        "operation_on_a_type_it_does_not_take",
        2,
        """
        from array import array

        mine, all_of_us = array("d", [1.0]), array("d", [0.0])
        comm.Allreduce(mine, all_of_us, op=MPI.BAND)  # fails:
        """,
        named=r"MPI_ERR_OP.*",
    ),
    Wrong(
        "scatter_of_too_few_parts",
        3,
        """
        parts = [1, 2] if rank == 0 else None
        comm.scatter(parts, root=0)  # fails: 0
        """,
        named=r"ValueError|expected",
    ),
    Wrong(
        "object_that_cannot_be_pickled",
        2,
        """
        if rank == 0:
            comm.send((x for x in range(3)), dest=1)  # fails: 0
        else:
            comm.recv(source=0)
        """,
        named=r"pickle",
    ),
    Wrong(
        "put_past_the_end_of_the_window",
        2,
        """
        window = MPI.Win.Allocate(16, comm=comm)
        window.Fence()
        if rank == 0:
            window.Put(bytearray(32), 1)  # fails: 0
        window.Fence()
        """,
        named=r"MPI_ERR_RMA_RANGE",
    ),
    Wrong(
        "put_without_an_epoch",
        2,
        """
        window = MPI.Win.Allocate(16, comm=comm)
        if rank == 0:
            window.Put(bytearray(8), 1)  # fails: 0
        comm.Barrier()
        """,
        named=r"MPI_ERR_RMA_SYNC",
    ),
    Wrong(
        "unlock_without_a_lock",
        2,
        """
        window = MPI.Win.Allocate(16, comm=comm)
        if rank == 0:
            window.Unlock(1)  # fails: 0
        comm.Barrier()
        """,
        named=r"MPI_ERR_RMA_SYNC",
    ),
    Wrong(
        "locked_twice_by_the_same_rank",
        2,
        """
        window = MPI.Win.Allocate(16, comm=comm)
        if rank == 0:
            window.Lock(1)
            window.Lock(1)  # fails: 0
        comm.Barrier()
        """,
        named=r"MPI_ERR_RMA_SYNC",
    ),
    Wrong(
        "grid_larger_than_the_communicator",
        4,
        """
        comm.Create_cart([3, 2])  # fails:
        """,
        named=r"MPI_ERR_(TOPOLOGY|DIMS|ARG|SIZE)",
    ),
    Wrong(
        "negative_color",
        2,
        """
        comm.Split(-3)  # fails:
        """,
        named=r"MPI_ERR_ARG",
    ),
    Wrong(
        "group_of_ranks_that_are_not_there",
        2,
        """
        comm.Get_group().Incl([0, 2])  # fails:
        """,
        named=r"MPI_ERR_RANK",
    ),
    Wrong(
        "file_that_is_not_there",
        2,
        """
        MPI.File.Open(comm, "/no/such/file", MPI.MODE_RDONLY)  # fails:
        """,
        named=r"MPI_ERR_NO_SUCH_FILE",
    ),
    Wrong(
        "persistent_request_started_twice",
        2,
        """
        if rank == 0:
            request = comm.Recv_init(bytearray(8), source=1)
            request.Start()
            request.Start()  # fails: 0
        comm.Barrier()
        """,
        named=r"MPI_ERR_REQUEST",
    ),
    Wrong(
        "partition_marked_ready_twice",
        2,
        """
        if rank == 0:
            request = comm.Psend_init(bytearray(8), 2, dest=1)
            request.Start()
            request.Pready(0)
            request.Pready(0)  # fails: 0
        else:
            request = comm.Precv_init(bytearray(8), 2, source=0, tag=0)
            request.Start()
            request.Wait()
        """,
        named=r"MPI_ERR_(ARG|REQUEST|OTHER)",
    ),
    Wrong(
        "buffered_send_without_a_buffer",
        2,
        """
        if rank == 0:
            comm.Bsend(bytearray(1 << 20), dest=1)  # fails: 0
        comm.Barrier()
        """,
        named=r"MPI_ERR_BUFFER",
    ),
    Wrong(
        "gatherv_whose_counts_are_too_small",
        2,
        """
        every = [bytearray(8), [4, 4], MPI.BYTE] if rank == 0 else None
        comm.Gatherv(bytearray(6), every, root=0)  # fails:
        """,
        named=TRUNCATED,
    ),
    Wrong(
        "inverse_of_a_rank_in_another_group",
        3,
        """
        half = comm.Split(rank % 2)
        half.send("x", dest=2) if rank == 0 else None  # fails: 0
        comm.Barrier()
        """,
        named=r"MPI_ERR_RANK.*rank 2",
    ),
    Wrong(
        "method_that_does_not_exist",
        2,
        """
        if rank == 0:
            comm.broadcast("x")  # fails: 0
        comm.Barrier()
        """,
        named=r"AttributeError.*broadcast",
    ),
    Right(
        "receive_buffer_larger_than_the_message",
        2,
        """
        if rank == 0:
            comm.Send(bytearray(50), dest=1)
        else:
            status = MPI.Status()
            comm.Recv(bytearray(100), source=0, status=status)
            assert status.Get_count() == 50
        """,
    ),
    Right(
        "empty_messages",
        2,
        """
        for _ in range(10):
            comm.Sendrecv(bytearray(0), 1 - rank, 0, bytearray(0), 1 - rank, 0)
        comm.sendrecv(None, 1 - rank, source=1 - rank)
        """,
    ),
    Right(
        "bytes_received_as_another_type_of_that_size",
        2,
        """
        from array import array

        if rank == 0:
            comm.Send([array("d", [1.5, 2.5]), 16, MPI.BYTE], dest=1)
        else:
            into = array("d", [0.0, 0.0])
            comm.Recv([into, 16, MPI.BYTE], source=0)
            assert list(into) == [1.5, 2.5]
        """,
    ),
    Right(
        "tags_up_to_the_largest",
        2,
        """
        largest = comm.Get_attr(MPI.TAG_UB)
        for tag in (0, 1, 32767, largest):
            comm.sendrecv(tag, 1 - rank, tag, source=1 - rank, recvtag=tag)
        """,
    ),
    Right(
        "columns_received_as_rows",
        2,
        """
        from array import array

        matrix = array("d", range(16))
        column = MPI.DOUBLE.Create_vector(4, 1, 4).Commit()
        if rank == 0:
            comm.Send([matrix, 1, column], dest=1)
        else:
            row = array("d", [0.0] * 4)
            comm.Recv(row, source=0)
            assert list(row) == [0.0, 4.0, 8.0, 12.0]
        """,
    ),
)
