"""Collective operations that not every rank calls, or calls in its turn."""

from .program import ENDED, MISMATCH, TRUNCATED, Program, Right, Wrong

PROGRAMS: tuple[Program, ...] = (
    Wrong(
        "barrier_against_a_receive",
        2,
        """
        if rank == 0:
            comm.Barrier()  # waits: 0
            comm.send("x", dest=1)
        else:
            comm.recv(source=0)  # waits: 1
            comm.Barrier()
        """,
    ),
    Right(
        "barrier_with_one_that_comes_late",
        3,
        """
        import time

        for late in range(size):
            if rank == late:
                time.sleep(1)
            comm.Barrier()
        """,
    ),
    Wrong(
        "broadcast_against_synchronous_sends",
        3,
        """
        table = bytearray(100)
        if rank == 0:
            for other in range(1, size):
                comm.Ssend(table, dest=other)  # waits: 0
        else:
            comm.Bcast(table, root=0)  # waits: 1
        """,
    ),
    Right(
        "broadcast_from_each_root_in_turn",
        4,
        """
        for root in range(size):
            assert comm.bcast(rank, root=root) == root
        """,
    ),
    Wrong(
        "two_communicators_in_two_orders",
        2,
        """
        one, two = comm.Dup(), comm.Dup()
        if rank == 0:
            one.Barrier()  # waits: 0
            two.Barrier()
        else:
            two.Barrier()  # waits: 1
            one.Barrier()
        """,
    ),
    Right(
        "two_communicators_in_one_order",
        3,
        """
        one, two = comm.Dup(), comm.Dup()
        for _ in range(10):
            one.Barrier()
            two.allreduce(rank)
        one.Free()
        two.Free()
        """,
    ),
    Wrong(
        "three_communicators_in_a_cycle",
        3,
        """
        # Pairs 0-1, 1-2, 2-0; each rank begins with the pair to its right.
        pairs = []
        for a in range(3):
            members = a, (a + 1) % 3
            pairs.append(comm.Split(0 if rank in members else MPI.UNDEFINED))
        pairs[rank].Barrier()  # waits: 0 1 2
        pairs[(rank - 1) % 3].Barrier()
        """,
    ),
    Wrong(
        "one_skips_the_barrier_and_waits_elsewhere",
        3,
        """
        if rank == 2:
            comm.recv(source=0)  # waits: 2
        comm.Barrier()  # waits: 0
        comm.send("x", dest=2) if rank == 0 else None
        """,
    ),
    Wrong(
        "one_sends_where_the_others_gather",
        3,
        """
        if rank == 1:
            comm.ssend(rank, dest=0)  # waits: 1
        else:
            results = comm.gather(rank, root=0)  # waits: 0
        """,
    ),
    Right(
        "gather_with_one_that_comes_late",
        4,
        """
        import time

        time.sleep(2 if rank == 3 else 0)
        results = comm.gather(rank, root=0)
        assert rank > 0 or results == [0, 1, 2, 3]
        results = comm.allgather(rank)
        """,
    ),
    Wrong(
        "barrier_of_some_of_the_ranks",
        3,
        """
        if rank < 2:
            comm.Barrier()  # waits: 0
            comm.send("x", dest=2) if rank == 0 else None
        else:
            comm.recv(source=0)  # waits: 2
        """,
    ),
    Right(
        "barrier_of_a_communicator_of_some_of_the_ranks",
        3,
        """
        some = comm.Split(0 if rank < 2 else MPI.UNDEFINED)
        if rank < 2:
            some.Barrier()
            comm.send("x", dest=2) if rank == 0 else None
        else:
            comm.recv(source=0)
        """,
    ),
    Wrong(
        "barrier_of_a_row_whose_member_waits_for_a_column",
        4,
        """
        row, column = comm.Split(rank // 2), comm.Split(rank % 2)
        # 0 and 3 begin with their rows, 1 and 2 with their columns.
        if rank in (0, 3):
            row.Barrier()  # waits: 0 3
            column.Barrier()
        else:
            column.Barrier()  # waits: 1 2
            row.Barrier()
        """,
    ),
    Right(
        "rows_then_columns",
        4,
        """
        row, column = comm.Split(rank // 2), comm.Split(rank % 2)
        for _ in range(10):
            total = column.allreduce(row.allreduce(rank))
            assert total == 6
        """,
    ),
    Wrong(
        "split_that_one_does_not_call",
        3,
        """
        if rank == 0:
            comm.recv(source=1)  # waits: 0
        half = comm.Split(rank % 2)  # waits: 1
        half.Barrier()
        comm.send("x", dest=0) if rank == 1 else None
        """,
    ),
    Wrong(
        "dup_that_one_does_not_call",
        3,
        """
        if rank > 0:
            library = comm.Dup()  # waits: 1
            comm.send("ready", dest=0) if rank == 1 else None
        else:
            comm.recv(source=1)  # waits: 0
        """,
    ),
    Right(
        "group_communicator_that_only_its_members_make",
        3,
        """
        import time

        group = comm.Get_group().Incl([0, 2])
        if rank != 1:
            time.sleep(rank / 2)
            pair = comm.Create_group(group)
            assert pair.allreduce(1) == 2
        comm.Barrier()
        """,
    ),
    Wrong(
        "group_communicator_that_a_member_does_not_make",
        3,
        """
        group = comm.Get_group().Incl([0, 2])
        if rank == 2:
            pair = comm.Create_group(group)  # waits: 2
        comm.Barrier()  # waits: 0
        """,
    ),
    Wrong(
        "topology_that_one_does_not_make",
        4,
        """
        if rank == 3:
            comm.recv(source=0)  # waits: 3
        grid = comm.Create_cart([2, 2])  # waits: 0
        comm.send("x", dest=3) if rank == 0 else None
        """,
    ),
    Wrong(
        "neighbour_exchange_that_one_neighbour_leaves_out",
        3,
        """
        ring = comm.Create_cart([size], periods=[True])
        if rank == 0:
            ring.recv(source=1)  # waits: 0
        ring.neighbor_allgather(rank)  # waits: 1
        ring.send("x", dest=0) if rank == 1 else None
        """,
    ),
    Right(
        "neighbour_exchange_without_a_barrier",
        4,
        """
        import time

        line = comm.Create_cart([size], periods=[False])
        for step in range(5):
            time.sleep(0.2 if rank == step else 0)
            line.neighbor_alltoall([step] * 2)
        """,
    ),
    Wrong(
        "reduce_whose_member_waits_for_the_root",
        2,
        """
        if rank == 1:
            comm.recv(source=0)  # waits: 1
        total = comm.reduce(rank, root=0)  # waits: 0
        comm.send("x", dest=1) if rank == 0 else None
        """,
    ),
    Wrong(
        "one_broadcast_too_many",
        2,
        """
        for step in range(4 + rank):
            comm.bcast(step, root=0)  # waits: 1
        if rank == 0:
            comm.recv(source=1)  # waits: 0
        else:
            comm.send("x", dest=0)
        """,
    ),
    Wrong(
        "one_rank_converges_a_step_early",
        3,
        """
        for step in range(10):
            residual = 0.5**step * (1 + rank / 100)
            if residual < 0.0317:  # its own residual, and not the largest of all
                break
            worst = comm.allreduce(residual, op=MPI.MAX)  # differs:
        done = comm.Dup()  # differs:
        done.Barrier()
        """,
        named=MISMATCH,
    ),
    Right(
        "all_ranks_converge_together",
        3,
        """
        for step in range(10):
            residual = 0.5**step * (1 + rank / 100)
            worst = comm.allreduce(residual, op=MPI.MAX)
            if worst < 0.0317:
                break
        comm.Barrier()
        """,
    ),
    Wrong(
        "scatter_whose_root_is_in_a_receive",
        3,
        """
        if rank == 0:
            comm.recv(source=1)  # waits: 0
            comm.scatter([1, 2, 3], root=0)
        else:
            part = comm.scatter(None, root=0)  # waits: 1
            comm.send(part, dest=0) if rank == 1 else None
        """,
    ),
    Wrong(
        "file_that_one_rank_does_not_open",
        2,
        """
        import tempfile

        name = comm.bcast(tempfile.mktemp(), root=0)
        if rank == 1:
            comm.recv(source=0)  # waits: 1
        mode = MPI.MODE_CREATE | MPI.MODE_RDWR | MPI.MODE_DELETE_ON_CLOSE
        file = MPI.File.Open(comm, name, mode)  # waits: 0
        comm.send("opened", dest=1) if rank == 0 else None
        file.Close()
        """,
    ),
    Wrong(
        "collective_write_that_one_rank_leaves_out",
        2,
        """
        import tempfile

        name = comm.bcast(tempfile.mktemp(), root=0)
        mode = MPI.MODE_CREATE | MPI.MODE_RDWR | MPI.MODE_DELETE_ON_CLOSE
        file = MPI.File.Open(comm, name, mode)
        if rank == 1:
            comm.recv(source=0)  # waits: 1
        file.Write_at_all(8 * rank, bytearray(8))
        file.Close()  # waits: 0
        """,
    ),
    Right(
        "file_written_by_one_and_waited_for_by_all",
        3,
        """
        import os
        import tempfile

        name = comm.bcast(tempfile.mktemp(), root=0)
        mode = MPI.MODE_CREATE | MPI.MODE_RDWR
        file = MPI.File.Open(comm, name, mode)
        if rank == 1:
            file.Write_at(0, b"x" * 100)
        file.Close()
        comm.Barrier()
        assert os.path.getsize(name) == 100
        comm.Barrier()
        os.unlink(name) if rank == 0 else None
        """,
    ),
    Wrong(
        "barrier_with_one_that_has_left",
        3,
        """
        if rank != 1:
            comm.Barrier()  # fails:
        """,
        named=ENDED,
    ),
    # One communicator, one place in the order, different calls. A root may have left
    # its call, and hears of the others in its next one.
    Wrong(
        "barrier_against_broadcast",
        2,
        """
        if rank == 0:
            comm.Barrier()  # differs:
        else:
            comm.Bcast(bytearray(8), root=0)  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "gather_against_scatter",
        2,
        """
        if rank == 0:
            comm.gather(1, root=1)  # differs:
            comm.recv(source=1)
        else:
            comm.scatter([1, 2], root=1)  # differs:
            comm.gather(1, root=1)  # differs:
            comm.send("x", dest=0)
        """,
        named=MISMATCH,
    ),
    Wrong(
        "allgather_against_alltoall",
        2,
        """
        one, both = bytearray(8), bytearray(16)
        if rank == 0:
            comm.Allgather(one, both)  # differs:
        else:
            comm.Alltoall(bytearray(16), both)  # differs:
        comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "allreduce_against_reduce",
        3,
        """
        if rank == 0:
            comm.reduce(rank, root=0)  # differs:
        else:
            comm.allreduce(rank)  # differs:
        comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "allreduce_in_the_branch_of_one_rank",
        3,
        """
        if rank == 0:
            total = comm.allreduce(1)  # differs:
        comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "broadcast_with_two_roots",
        3,
        """
        data = comm.bcast("mine", root=0 if rank < 2 else 2)  # differs:
        comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "reduce_with_two_roots",
        2,
        """
        total = comm.reduce(rank, root=rank)  # differs:
        comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "allreduce_with_two_operations",
        2,
        """
        from array import array

        mine, all_of_us = array("d", [1.0]), array("d", [0.0])
        op = MPI.SUM if rank == 0 else MPI.MAX
        comm.Allreduce(mine, all_of_us, op=op)  # differs:
        comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "allreduce_with_two_counts",
        2,
        """
        from array import array

        mine = array("d", [1.0] * (10 + rank))
        comm.Allreduce(MPI.IN_PLACE, mine)  # differs:
        comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "allreduce_with_two_types",
        2,
        """
        from array import array

        mine = array("d" if rank == 0 else "q", [1] * 10)
        comm.Allreduce(MPI.IN_PLACE, mine)  # differs:
        comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "broadcast_of_an_object_against_a_buffer",
        2,
        """
        if rank == 0:
            comm.bcast([1, 2, 3], root=0)  # differs:
        else:
            comm.Bcast(bytearray(24), root=0)  # differs:
        comm.Barrier()  # differs:
        """,
        named=rf"{MISMATCH}|{TRUNCATED}",
    ),
    Wrong(
        "gather_of_an_object_against_a_buffer",
        2,
        """
        if rank == 0:
            comm.gather(1.0, root=0)  # differs:
        else:
            comm.Gather(bytearray(8), None, root=0)  # differs:
        comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "broadcast_into_a_smaller_buffer",
        2,
        """
        comm.Bcast(bytearray(100 - 50 * rank), root=0)  # differs:
        comm.Barrier()  # differs:
        """,
        named=rf"{MISMATCH}|{TRUNCATED}",
    ),
    Wrong(
        "nonblocking_barrier_against_a_blocking_one",
        2,
        """
        if rank == 0:
            comm.Ibarrier().Wait()  # differs:
        else:
            comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "scan_against_exclusive_scan",
        3,
        """
        if rank == 1:
            comm.exscan(rank)  # differs:
        else:
            comm.scan(rank)  # differs:
        comm.Barrier()  # differs:
        """,
        named=MISMATCH,
    ),
    Wrong(
        "operations_in_two_orders",
        2,
        """
        if rank == 0:
            total = comm.allreduce(1)  # differs:
            values = comm.allgather(rank)
        else:
            values = comm.allgather(rank)  # differs:
            total = comm.allreduce(1)
        """,
        named=MISMATCH,
    ),
    Wrong(
        "split_against_dup",
        2,
        """
        half = comm.Split(0) if rank == 0 else comm.Dup()  # differs:
        half.Barrier()
        """,
        named=MISMATCH,
    ),
    Wrong(
        "gather_with_two_lengths",
        2,
        """
        every = bytearray(16) if rank == 0 else None
        comm.Gather(bytearray(8 + 8 * rank), every, root=0)  # differs:
        comm.Barrier()  # differs:
        """,
        named=rf"{MISMATCH}|{TRUNCATED}",
    ),
    Wrong(
        "agreement_that_one_rank_does_not_call",
        3,
        """
        if rank == 2:
            comm.recv(source=0)  # waits: 2
        else:
            comm.Agree(1)  # waits: 0 1
        """,
        named=r"deadlock: ranks 0-2 .*agree.* for rank 2",
    ),
    Right(
        "agreement_to_which_one_rank_comes_late",
        3,
        """
        import time

        if rank == 2:
            time.sleep(2)
        assert comm.Agree(7 - rank) == 4
        """,
    ),
    Right(
        "gather_with_a_length_of_each",
        3,
        """
        counts = [1, 2, 3]
        every = [bytearray(6), counts, MPI.BYTE] if rank == 0 else None
        comm.Gatherv(bytearray(rank + 1), every, root=0)
        """,
    ),
    Right(
        "broadcast_with_another_type_of_the_same_signature",
        2,
        """
        data = bytearray(80)
        if rank == 0:
            comm.Bcast([data, 10, MPI.DOUBLE], root=0)
        else:
            pair = MPI.DOUBLE.Create_contiguous(2).Commit()
            comm.Bcast([data, 5, pair], root=0)
        """,
    ),
    Right(
        "each_rank_calls_from_a_line_of_its_own",
        3,
        """
        if rank == 0:
            config = comm.bcast({"steps": 3}, root=0)
        elif rank == 1:
            config = comm.bcast(None, root=0)
        else:
            config = comm.bcast(None)
        for _ in range(config["steps"]):
            if rank == 0:
                comm.Barrier()
            else:
                comm.Barrier()
        """,
    ),
)
