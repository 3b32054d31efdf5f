"""Right programs that wait all the time, each time only for a moment.

Whoever looks at such a job finds nearly every rank in a wait, and has to notice that
the waits are other ones each time.
"""

from .program import Program, Right

PROGRAMS: tuple[Program, ...] = (
    Right(
        "token_that_each_rank_keeps_for_a_moment",
        6,
        """
        import time

        left, right = (rank - 1) % size, (rank + 1) % size
        for turn in range(150):
            if rank == 0:
                time.sleep(0.001)
                comm.send(turn, dest=right)
            assert comm.recv(source=left) == turn
            if rank > 0:
                time.sleep(0.001)
                comm.send(turn, dest=right)
        """,
    ),
    Right(
        "token_by_synchronous_sends",
        4,
        """
        import time

        token = bytearray(1000)
        left, right = (rank - 1) % size, (rank + 1) % size
        for turn in range(300):
            if rank > 0:
                comm.Recv(token, source=left)
            time.sleep(0.001 if turn % 4 == rank else 0)
            comm.Ssend(token, dest=right)
            if rank == 0:
                comm.Recv(token, source=left)
        """,
    ),
    Right(
        "barriers_each_with_another_late_rank",
        5,
        """
        import time

        for turn in range(500):
            if turn % size == rank:
                time.sleep(0.002)
            comm.Barrier()
        """,
    ),
    Right(
        "collectives_of_many_kinds_on_two_communicators",
        4,
        """
        import time

        other = comm.Split(0, -rank)
        for turn in range(150):
            time.sleep(0.001 if turn % size == rank else 0)
            value = comm.bcast(turn, root=turn % size)
            assert other.allreduce(value) == size * turn
            comm.gather(value, root=turn % size)
            other.Barrier()
            comm.scatter([turn] * size, root=0)
            other.scan(turn)
        """,
    ),
    Right(
        "nonblocking_collectives_one_after_the_other",
        4,
        """
        import time

        for turn in range(300):
            requests = [comm.Ibarrier(), comm.Ibcast(bytearray(100), root=turn % size)]
            time.sleep(0.001 if turn % size == rank else 0)
            MPI.Request.Waitall(requests)
        """,
    ),
    Right(
        "large_messages_both_ways",
        2,
        """
        out, into = bytearray(4 << 20), bytearray(4 << 20)
        for _ in range(100):
            comm.Sendrecv(out, 1 - rank, 0, into, 1 - rank, 0)
        """,
    ),
    Right(
        "farm_of_many_short_tasks",
        5,
        """
        import time

        if rank == 0:
            status = MPI.Status()
            for task in range(800):
                comm.recv(source=MPI.ANY_SOURCE, status=status)
                comm.send(task, dest=status.source)
            for _ in range(1, size):
                comm.recv(source=MPI.ANY_SOURCE, status=status)
                comm.send(None, dest=status.source)
        else:
            comm.send("ready", dest=0)
            while (task := comm.recv(source=0)) is not None:
                time.sleep(0.002 if task % 3 == 0 else 0)
                comm.send("done", dest=0)
        """,
    ),
    Right(
        "waitany_over_many_senders",
        5,
        """
        import time

        if rank == 0:
            requests = [comm.irecv(source=s) for s in range(1, size)]
            for _ in range(400):
                index, _ = MPI.Request.waitany(requests)
                comm.send("more", dest=index + 1)
                requests[index] = comm.irecv(source=index + 1)
            for request, source in zip(requests, range(1, size), strict=True):
                request.wait()
                comm.send("stop", dest=source)
        else:
            answer = "more"
            while answer == "more":
                time.sleep(rank / 2000)
                answer = comm.sendrecv("x", dest=0, source=0)
        """,
    ),
    Right(
        "locks_taken_in_turn",
        4,
        """
        import time

        window = MPI.Win.Allocate(8, comm=comm)
        for turn in range(200):
            window.Lock(turn % size)
            time.sleep(0.001 if turn % 8 == rank else 0)
            window.Unlock(turn % size)
        window.Free()
        """,
    ),
    Right(
        "epochs_between_neighbours",
        4,
        """
        import time

        window = MPI.Win.Allocate(64, comm=comm)
        left = comm.Get_group().Incl([(rank - 1) % size])
        right = comm.Get_group().Incl([(rank + 1) % size])
        for turn in range(200):
            time.sleep(0.001 if turn % size == rank else 0)
            window.Post(left)
            window.Start(right)
            window.Put(bytearray(8), (rank + 1) % size)
            window.Complete()
            window.Wait()
        window.Free()
        """,
    ),
    Right(
        "fences_one_after_the_other",
        4,
        """
        import time

        window = MPI.Win.Allocate(64, comm=comm)
        for turn in range(300):
            time.sleep(0.001 if turn % size == rank else 0)
            window.Fence()
        window.Free()
        """,
    ),
    Right(
        "threads_of_two_ranks_talk_in_pairs",
        2,
        """
        import threading
        import time

        def talk(tag):
            for turn in range(100):
                if (turn + rank) % 2 == 0:
                    time.sleep(0.001)
                    comm.send(turn, dest=1 - rank, tag=tag)
                else:
                    assert comm.recv(source=1 - rank, tag=tag) == turn

        threads = [threading.Thread(target=talk, args=[tag]) for tag in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        """,
    ),
    Right(
        "probes_and_matched_receives",
        3,
        """
        import time

        for turn in range(200):
            if turn % size == rank:
                time.sleep(0.002)
                for other in range(size):
                    if other != rank:
                        comm.send(turn, dest=other, tag=turn)
            else:
                message = comm.mprobe(source=turn % size, tag=turn)
                assert message.recv() == turn
        """,
    ),
    Right(
        "partitions_of_many_rounds",
        2,
        """
        import time

        data = bytearray(4000)
        if rank == 0:
            request = comm.Psend_init(data, 4, dest=1, tag=0)
        else:
            request = comm.Precv_init(data, 4, source=0, tag=0)
        for turn in range(150):
            request.Start()
            if rank == 0:
                for partition in range(4):
                    time.sleep(0.001)
                    request.Pready(partition)
            request.Wait()
        request.Free()
        """,
    ),
    Right(
        "communicators_made_and_freed",
        4,
        """
        import time

        for turn in range(60):
            time.sleep(0.002 if turn % size == rank else 0)
            part = comm.Split((rank + turn) % 2)
            part.Barrier()
            copy = part.Dup()
            copy.allreduce(rank)
            copy.Free()
            part.Free()
        """,
    ),
    Right(
        "worlds_spawned_one_after_the_other",
        1,
        """
        import sys

        parent = MPI.Comm.Get_parent()
        if parent == MPI.COMM_NULL:
            for turn in range(5):
                child = comm.Spawn(sys.executable, [__file__], maxprocs=1)
                child.send(turn, dest=0)
                assert child.recv(source=0) == turn
                child.Disconnect()
        else:
            parent.send(parent.recv(source=0), dest=0)
            parent.Disconnect()
        """,
    ),
    Right(
        "files_written_together",
        3,
        """
        import tempfile

        name = comm.bcast(tempfile.mktemp(), root=0)
        mode = MPI.MODE_CREATE | MPI.MODE_RDWR | MPI.MODE_DELETE_ON_CLOSE
        file = MPI.File.Open(comm, name, mode)
        for turn in range(100):
            file.Write_at_all((turn * size + rank) * 100, bytearray(100))
            file.Write_ordered(bytearray(10))
            file.Iwrite_shared(bytearray(10)).Wait()
        file.Close()
        """,
    ),
)
