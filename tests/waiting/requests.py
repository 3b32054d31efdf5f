"""Requests: nonblocking, persistent and partitioned operations, and their waits."""

from .program import ENDED, Program, Right, Wrong

PROGRAMS: tuple[Program, ...] = (
    Wrong(
        "waitall_one_of_which_never_comes",
        3,
        """
        if rank == 0:
            buffers = [bytearray(8) for _ in range(3)]
            requests = [
                comm.Irecv(buffers[0], source=1),
                comm.Irecv(buffers[1], source=2),
                comm.Irecv(buffers[2], source=2),
            ]
            MPI.Request.Waitall(requests)  # waits: 0
        else:
            comm.Send(bytearray(8), dest=0)
        comm.Barrier()  # waits: 2
        """,
    ),
    Right(
        "waitall_all_of_which_come",
        3,
        """
        import time

        if rank == 0:
            requests = [comm.irecv(source=1 + i % 2) for i in range(4)]
            results = MPI.Request.waitall(requests)
            assert results == [1, 2, 1, 2]
        else:
            for _ in range(2):
                time.sleep(rank / 2)
                comm.send(rank, dest=0)
        comm.Barrier()
        """,
    ),
    Wrong(
        "waitany_of_which_none_can_come",
        3,
        """
        if rank == 0:
            requests = [comm.irecv(source=1), comm.irecv(source=2)]
            MPI.Request.waitany(requests)  # waits: 0
        comm.Barrier()  # waits: 1 2
        """,
    ),
    Right(
        "waitany_with_one_late_sender",
        3,
        """
        import time

        if rank == 0:
            requests = [comm.irecv(source=1), comm.irecv(source=2)]
            index, message = MPI.Request.waitany(requests)
            assert (index, message) == (1, "late")
            comm.send("now you", dest=1)
            assert requests[0].wait() == "last"
        elif rank == 1:
            assert comm.recv(source=0) == "now you"
            comm.send("last", dest=0)
        else:
            time.sleep(2)
            comm.send("late", dest=0)
        comm.Barrier()
        """,
    ),
    Wrong(
        "waitsome_of_which_none_can_come",
        2,
        """
        requests = [comm.Irecv(bytearray(8), source=1 - rank, tag=t) for t in range(3)]
        done = MPI.Request.Waitsome(requests)  # waits: 0 1
        for tag in range(3):
            comm.Send(bytearray(8), dest=1 - rank, tag=tag)
        """,
    ),
    Right(
        "waitsome_until_all_are_done",
        3,
        """
        import time

        if rank == 0:
            requests = [comm.Irecv(bytearray(8), source=s) for s in (1, 2)]
            left = 2
            while left:
                left -= len(MPI.Request.Waitsome(requests))
        else:
            time.sleep(rank)
            comm.Send(bytearray(8), dest=0)
        """,
    ),
    Wrong(
        "object_receives_waited_for_before_the_sends",
        2,
        """
        request = comm.irecv(source=1 - rank)
        data = request.wait()  # waits: 0 1
        comm.isend(rank, dest=1 - rank).wait()
        """,
    ),
    Right(
        "receives_posted_before_the_sends",
        2,
        """
        request = comm.irecv(source=1 - rank)
        comm.isend(rank, dest=1 - rank).wait()
        assert request.wait() == 1 - rank
        """,
    ),
    Wrong(
        "waitall_with_one_wrong_tag",
        2,
        """
        edges = [bytearray(100), bytearray(100)]
        requests = [
            comm.Irecv(edges[0], source=1 - rank, tag=0),
            comm.Irecv(edges[1], source=1 - rank, tag=1),
            comm.Isend(bytearray(100), dest=1 - rank, tag=0),
            comm.Isend(bytearray(100), dest=1 - rank, tag=2),
        ]
        MPI.Request.Waitall(requests)  # waits: 0 1
        """,
    ),
    Right(
        "waitall_of_a_halo_exchange",
        4,
        """
        left, right = (rank - 1) % size, (rank + 1) % size
        for _ in range(20):
            requests = [
                comm.Irecv(bytearray(5000), source=left, tag=0),
                comm.Irecv(bytearray(5000), source=right, tag=1),
                comm.Isend(bytearray(5000), dest=right, tag=0),
                comm.Isend(bytearray(5000), dest=left, tag=1),
            ]
            MPI.Request.Waitall(requests)
        """,
    ),
    Wrong(
        "waitall_of_sends_nobody_receives",
        2,
        """
        if rank == 0:
            sends = [comm.Issend(bytearray(8), dest=1, tag=t) for t in range(3)]
            MPI.Request.Waitall(sends)  # waits: 0
        comm.Barrier()  # waits: 1
        """,
    ),
    Wrong(
        "persistent_receive_that_nobody_starts_to_send",
        2,
        """
        data = bytearray(8)
        if rank == 0:
            request = comm.Send_init(data, dest=1)
        else:
            request = comm.Recv_init(data, source=0)
            request.Start()
            request.Wait()  # waits: 1
        comm.Barrier()  # waits: 0
        request.Free()
        """,
    ),
    Right(
        "persistent_request_waited_for_without_a_start",
        2,
        """
        data = bytearray(8)
        request = comm.Recv_init(data, source=1 - rank)
        request.Wait()  # of an inactive request: returns at once
        request.Free()
        """,
    ),
    Wrong(
        "persistent_receives_one_round_too_many",
        2,
        """
        data = bytearray(8)
        if rank == 0:
            request = comm.Ssend_init(data, dest=1)
            rounds = 10
        else:
            request = comm.Recv_init(data, source=0)
            rounds = 11
        for _ in range(rounds):
            request.Start()
            request.Wait()  # waits: 1
        comm.Barrier()  # waits: 0
        """,
    ),
    Right(
        "persistent_ring",
        4,
        """
        out, into = bytearray(1000), bytearray(1000)
        requests = [
            comm.Recv_init(into, source=(rank - 1) % size),
            comm.Send_init(out, dest=(rank + 1) % size),
        ]
        for _ in range(20):
            MPI.Prequest.Startall(requests)
            MPI.Request.Waitall(requests)
        for request in requests:
            request.Free()
        """,
    ),
    Wrong(
        "partition_that_is_never_ready",
        2,
        """
        data = bytearray(4000)
        if rank == 0:
            request = comm.Psend_init(data, 4, dest=1)
            request.Start()
            request.Pready_range(0, 2)  # the last of four is missing
            request.Wait()  # waits: 0
        else:
            request = comm.Precv_init(data, 4, source=0, tag=0)
            request.Start()
            request.Wait()
        request.Free()
        """,
        named="deadlock.*Wait until partition 3 of 4 is ready for rank 1, tag 0",
    ),
    Wrong(
        "receive_of_a_partition_that_is_never_ready",
        2,
        """
        data = bytearray(4000)
        if rank == 0:
            request = comm.Psend_init(data, 4, dest=1)
            request.Start()
            request.Pready_range(0, 2)  # the last of four is missing
        else:
            request = comm.Precv_init(data, 4, source=0, tag=0)
            request.Start()
            request.Wait()  # waits: 1
        comm.Barrier()  # waits: 0
        """,
    ),
    Wrong(
        "partitioned_receive_without_a_send",
        2,
        """
        if rank == 1:
            request = comm.Precv_init(bytearray(4000), 4, source=0, tag=0)
            request.Start()
            request.Wait()  # waits: 1
        comm.Barrier()  # waits: 0
        """,
    ),
    Right(
        "partitioned_ring_whose_partitions_come_late",
        3,
        """
        import time

        out, into = bytearray(3000), bytearray(3000)
        send = comm.Psend_init(out, 3, dest=(rank + 1) % size)
        receive = comm.Precv_init(into, 3, source=(rank - 1) % size, tag=0)
        for _ in range(2):
            receive.Start()
            send.Start()
            for partition in (2, 0, 1):
                time.sleep(rank / 4)
                send.Pready(partition)
            send.Wait()
            receive.Wait()
        send.Free()
        receive.Free()
        """,
    ),
    Wrong(
        "collective_request_that_one_rank_does_not_make",
        3,
        """
        if rank == 2:
            comm.recv(source=0)  # waits: 2
        request = comm.Ibarrier()
        request.Wait()  # waits: 0
        """,
    ),
    Wrong(
        "allreduce_request_that_one_rank_does_not_make",
        3,
        """
        total = bytearray(8)
        if rank == 2:
            comm.Ssend(total, dest=0)  # waits: 2
        request = comm.Iallreduce([bytearray(8), MPI.DOUBLE], [total, MPI.DOUBLE])
        request.Wait()  # waits: 0
        """,
    ),
    Wrong(
        "broadcast_request_whose_root_waits_elsewhere",
        2,
        """
        if rank == 0:
            comm.recv(source=1)  # waits: 0
            comm.Ibcast(bytearray(8), root=0).Wait()
        else:
            comm.Ibcast(bytearray(8), root=0).Wait()  # waits: 1
            comm.send("got it", dest=0)
        """,
    ),
    Right(
        "collective_requests_over_a_long_computation",
        3,
        """
        import time

        total = bytearray(8)
        request = comm.Iallreduce([bytearray(8), MPI.DOUBLE], [total, MPI.DOUBLE])
        end = time.monotonic() + rank
        while time.monotonic() < end:
            sum(range(1000))
        request.Wait()
        requests = [comm.Ibarrier(), comm.Ibcast(total, root=1), comm.Ibarrier()]
        time.sleep(1 if rank == 1 else 0)
        MPI.Request.Waitall(requests)
        """,
    ),
    Right(
        "collective_requests_waited_for_out_of_order",
        3,
        """
        first, second = comm.Ibarrier(), comm.Iallgather(
            [bytearray(8), MPI.BYTE], [bytearray(8 * size), MPI.BYTE]
        )
        second.Wait() if rank == 0 else first.Wait()
        first.Wait() if rank == 0 else second.Wait()
        """,
    ),
    Right(
        "receive_that_is_cancelled",
        2,
        """
        request = comm.Irecv(bytearray(8), source=1 - rank, tag=5)
        comm.Barrier()
        request.Cancel()
        status = MPI.Status()
        request.Wait(status)
        assert status.Is_cancelled()
        """,
    ),
    Right(
        "tests_in_a_loop_with_sleeps",
        3,
        """
        import time

        if rank == 0:
            requests = [comm.irecv(source=s) for s in (1, 2)]
            while not all(request.Get_status() for request in requests):
                time.sleep(0.1)
            assert MPI.Request.waitall(requests) == [1, 2]
        else:
            time.sleep(rank)
            comm.send(rank, dest=0)
        comm.Barrier()
        """,
    ),
    Right(
        "probes_in_a_loop_with_sleeps",
        3,
        """
        import time

        if rank == 0:
            while not comm.iprobe(source=2):
                time.sleep(0.05)
            comm.recv(source=2)
            comm.send("go", dest=1)
        elif rank == 1:
            comm.recv(source=0)
        else:
            time.sleep(2)
            comm.send("x", dest=0)
        """,
    ),
    Right(
        "two_that_test_for_each_other",
        2,
        """
        import time

        request = comm.irecv(source=1 - rank)
        tries = 0
        while not request.test()[0]:
            tries += 1
            if tries == 20 + 10 * rank:
                comm.send("patience is over", dest=1 - rank)
            time.sleep(0.05)
        if tries < 20 + 10 * rank:
            comm.send("late", dest=1 - rank)
        comm.Barrier()
        """,
    ),
    Right(
        "generalized_request_that_a_thread_completes",
        2,
        """
        import threading
        import time

        request = MPI.Grequest.Start()

        def work():
            time.sleep(2)
            request.Complete()

        thread = threading.Thread(target=work)
        thread.start()
        MPI.Request.Wait(request) if rank == 0 else None
        comm.Barrier()
        thread.join()
        if rank == 1:
            MPI.Request.Wait(request)
        """,
    ),
    Wrong(
        "loses_one_of_its_receives",
        2,
        """
        if rank == 0:
            for _ in range(3):
                request = comm.irecv(source=1)  # the same name for each
            print(request.wait())  # waits: 0
        else:
            comm.send("a", dest=0)
            comm.send("b", dest=0)
        comm.Barrier()  # waits: 1
        """,
    ),
    Wrong(
        "waits_for_a_request_of_one_that_has_left",
        2,
        """
        if rank == 0:
            requests = [comm.irecv(source=1), comm.irecv(source=1)]
            MPI.Request.waitall(requests)  # fails: 0
        else:
            comm.send("one of two", dest=0)
        """,
        named=ENDED,
    ),
)
