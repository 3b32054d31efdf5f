"""Blocking receives and probes: who could still send what they wait for?"""

from .program import DEADLOCK, ENDED, Found, Program, Right, Wrong

PROGRAMS: tuple[Program, ...] = (
    Wrong(
        "both_receive_first",
        2,
        """
        other = 1 - rank
        data = comm.recv(source=other)  # waits: 0 1
        comm.send(rank, dest=other)
        """,
    ),
    Right(
        "one_sends_first",
        2,
        """
        other = 1 - rank
        if rank == 0:
            comm.send(rank, dest=other)
        data = comm.recv(source=other)
        if rank == 1:
            comm.send(rank, dest=other)
        assert data == other
        """,
    ),
    Wrong(
        "ring_of_three_receives",
        3,
        """
        left, right = (rank - 1) % size, (rank + 1) % size
        token = comm.recv(source=left)  # waits: 0 1 2
        comm.send(token, dest=right)
        """,
    ),
    Right(
        "ring_that_rank_0_begins",
        3,
        """
        left, right = (rank - 1) % size, (rank + 1) % size
        if rank == 0:
            comm.send([0], dest=right)
            assert comm.recv(source=left) == [0, 1, 2]
        else:
            token = comm.recv(source=left)
            comm.send([*token, rank], dest=right)
        """,
    ),
    Wrong(
        "ring_of_eight_receives",
        8,
        """
        token = bytearray(8)
        comm.Recv(token, source=(rank - 1) % size)  # waits: 0 1 2 3 4 5 6 7
        comm.Send(token, dest=(rank + 1) % size)
        """,
    ),
    Right(
        "ring_of_eight_that_turns_often",
        8,
        """
        token = bytearray(8)
        for turn in range(50):
            if rank == 0:
                comm.Send(token, dest=1)
            comm.Recv(token, source=(rank - 1) % size)
            if rank > 0:
                comm.Send(token, dest=(rank + 1) % size)
        """,
    ),
    Wrong(
        "two_pairs_each_stuck",
        4,
        """
        comm.recv(source=rank ^ 1)  # waits:
        """,
    ),
    Wrong(
        "wrong_tag",
        2,
        """
        if rank == 0:
            comm.send("work", dest=1, tag=7)
        else:
            comm.recv(source=0, tag=8)  # waits: 1
        comm.barrier()  # waits: 0
        """,
        checked=DEADLOCK,
    ),
    Found(
        "tags_taken_out_of_order",
        2,
        """
        if rank == 0:
            for tag in range(20):
                comm.send(tag, dest=1, tag=tag)  # found: 0
        else:
            for tag in reversed(range(20)):
                assert comm.recv(source=0, tag=tag) == tag
        comm.barrier()
        """,
    ),
    Wrong(
        "wrong_source",
        3,
        """
        if rank == 2:
            comm.send("result", dest=0)
        if rank == 0:
            comm.recv(source=1)  # waits: 0
        comm.barrier()  # waits: 1
        """,
    ),
    Wrong(
        "message_on_another_communicator",
        2,
        """
        halo = comm.Dup()
        if rank == 0:
            comm.send("edge", dest=1)
        else:
            halo.recv(source=0)  # waits: 1
        halo.barrier()  # waits: 0
        """,
        checked=DEADLOCK,
    ),
    Found(
        "same_tag_on_two_communicators",
        2,
        """
        halo = comm.Dup()
        if rank == 0:
            comm.send("world", dest=1)  # found: 0
            halo.send("halo", dest=1)
        else:
            assert halo.recv(source=0) == "halo"
            assert comm.recv(source=0) == "world"
        halo.barrier()
        """,
    ),
    Wrong(
        "any_source_with_everybody_in_a_barrier",
        4,
        """
        if rank == 0:
            comm.recv(source=MPI.ANY_SOURCE)  # waits: 0
        comm.barrier()  # waits: 1 2 3
        """,
    ),
    Wrong(
        "everybody_receives_from_anybody",
        3,
        """
        message = bytearray(100)
        comm.Recv(message)  # waits: 0 1 2
        """,
    ),
    Wrong(
        "any_source_of_another_tag",
        3,
        """
        if rank == 0:
            for _ in range(size - 1):
                comm.recv(source=MPI.ANY_SOURCE, tag=2)  # waits: 0
        else:
            comm.send(rank, dest=0, tag=1)
        comm.barrier()  # waits: 1 2
        """,
        checked=DEADLOCK,
    ),
    Right(
        "any_source_with_one_late_sender",
        4,
        """
        import time

        if rank == 0:
            ranks = {comm.recv(source=MPI.ANY_SOURCE) for _ in range(size - 1)}
            assert ranks == {1, 2, 3}
        else:
            time.sleep(2 if rank == 3 else 0)
            comm.send(rank, dest=0)
        comm.barrier()
        """,
    ),
    Wrong(
        "one_message_too_few",
        4,
        """
        if rank == 0:
            results = []
            for _ in range(size):
                results.append(comm.recv(source=MPI.ANY_SOURCE))  # waits: 0
        else:
            comm.send(rank, dest=0)
        results = comm.bcast(None, root=0)  # waits: 1 2 3
        """,
    ),
    Right(
        "as_many_messages_as_received",
        4,
        """
        results = []
        if rank == 0:
            for _ in range(size - 1):
                results.append(comm.recv(source=MPI.ANY_SOURCE))
        else:
            comm.send(rank, dest=0)
        results = comm.bcast(results, root=0)
        assert sorted(results) == [1, 2, 3]
        """,
    ),
    Wrong(
        "alone_and_receives_from_itself",
        1,
        """
        comm.recv(source=0)  # waits: 0
        comm.send("x", dest=0)
        """,
    ),
    Wrong(
        "alone_and_receives_from_anybody",
        1,
        """
        comm.recv()  # waits: 0
        """,
    ),
    Wrong(
        "master_is_a_worker_too",
        3,
        """
        if rank == 0:
            for worker in range(size):
                data = comm.recv(source=worker)  # waits: 0
        else:
            comm.send(rank, dest=0)
        comm.barrier()
        """,
    ),
    Found(
        "message_to_itself",
        1,
        """
        comm.send("note", dest=rank)  # found: 0
        assert comm.recv(source=rank) == "note"
        request = comm.isend("again", dest=rank)
        assert comm.recv(source=MPI.ANY_SOURCE) == "again"
        request.wait()
        """,
    ),
    Wrong(
        "ping_without_the_last_pong",
        2,
        """
        if rank == 0:
            for i in range(100):
                comm.send(i, dest=1)
                comm.recv(source=1)  # waits: 0
        else:
            for i in range(99):
                comm.recv(source=0)
                comm.send(i, dest=0)
        comm.barrier()  # waits: 1
        """,
        checked=DEADLOCK,
    ),
    Right(
        "ping_pong",
        2,
        """
        ball = bytearray(1000)
        for i in range(300):
            if rank == 0:
                comm.Send(ball, dest=1)
                comm.Recv(ball, source=1)
            else:
                comm.Recv(ball, source=0)
                comm.Send(ball, dest=0)
        """,
    ),
    Wrong(
        "answer_to_the_wrong_rank",
        3,
        """
        if rank == 0:
            comm.send("question", dest=1)
            comm.recv(source=1)  # waits: 0
        elif rank == 1:
            comm.recv(source=0)
            comm.send("answer", dest=2)
            comm.recv(source=0)  # waits: 1
        else:
            comm.recv(source=0)
        """,
        checked=DEADLOCK,
    ),
    Wrong(
        "sendrecv_chain_with_a_hole",
        4,
        """
        left, right = (rank - 1) % size, (rank + 1) % size
        if rank < size - 1:
            comm.sendrecv(rank, dest=right, source=left)  # waits: 0
        else:
            comm.recv(source=left)
            comm.recv(source=right)  # waits: 3
        comm.barrier()
        """,
    ),
    Right(
        "sendrecv_ring",
        4,
        """
        left, right = (rank - 1) % size, (rank + 1) % size
        value = rank
        for _ in range(size):
            value = comm.sendrecv(value, dest=right, source=left)
        assert value == rank
        """,
    ),
    Right(
        "sendrecv_line_with_proc_null_at_its_ends",
        4,
        """
        left = rank - 1 if rank > 0 else MPI.PROC_NULL
        right = rank + 1 if rank < size - 1 else MPI.PROC_NULL
        for _ in range(10):
            comm.sendrecv(rank, dest=right, source=left)
            comm.sendrecv(rank, dest=left, source=right)
        comm.recv(source=MPI.PROC_NULL)
        """,
    ),
    Wrong(
        "odd_rank_without_a_partner",
        3,
        """
        partner = (rank + 1) % size if rank % 2 == 0 else rank - 1
        comm.sendrecv("edge", dest=partner, source=partner)  # waits: 2
        comm.barrier()  # waits: 0
        """,
    ),
    Wrong(
        "probe_of_a_tag_nobody_sends",
        2,
        """
        if rank == 0:
            comm.send("x", dest=1, tag=1)
        else:
            status = MPI.Status()
            comm.Probe(source=0, tag=2, status=status)  # waits: 1
            comm.recv(source=0, tag=2)
        comm.barrier()  # waits: 0
        """,
        checked=DEADLOCK,
    ),
    Wrong(
        "both_probe_first",
        2,
        """
        other = 1 - rank
        comm.probe(source=other)  # waits: 0 1
        comm.send(rank, dest=other)
        comm.recv(source=other)
        """,
    ),
    Wrong(
        "matched_probe_of_a_message_already_taken",
        2,
        """
        if rank == 0:
            comm.send("only", dest=1)
        else:
            assert comm.mprobe(source=0).recv() == "only"
            message = comm.mprobe(source=MPI.ANY_SOURCE)  # waits: 1
        comm.barrier()  # waits: 0
        """,
    ),
    Right(
        "probe_then_receive_of_that_size",
        2,
        """
        import time

        if rank == 0:
            time.sleep(1)
            comm.Send(bytearray(12345), dest=1, tag=3)
        else:
            status = MPI.Status()
            comm.Probe(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG, status=status)
            data = bytearray(status.Get_count(MPI.BYTE))
            comm.Recv(data, source=status.source, tag=status.tag)
            assert len(data) == 12345
        """,
    ),
    Right(
        "matched_probe_held_for_long",
        2,
        """
        import time

        if rank == 0:
            comm.Ssend(bytearray(1 << 20), dest=1)
        else:
            message = comm.Mprobe(source=0)
            time.sleep(2)
            message.Recv(bytearray(1 << 20))
        comm.barrier()
        """,
    ),
    Wrong(
        "sum_along_a_tree_with_a_wrong_parent",
        4,
        """
        total = rank
        if rank == 0:
            for child in (1, 2):
                total += comm.recv(source=child)  # waits: 0
        elif rank == 1:
            total += comm.recv(source=3)  # waits: 1
            comm.send(total, dest=0)
        elif rank == 2:
            comm.send(total, dest=0)
        else:
            comm.send(total, dest=2)  # its parent is rank 1
        total = comm.bcast(total, root=0)  # waits: 3
        """,
        checked=DEADLOCK,
    ),
    Right(
        "sum_along_a_tree",
        4,
        """
        total = rank
        if rank == 0:
            for child in (1, 2):
                total += comm.recv(source=child)
        elif rank == 1:
            total += comm.recv(source=3)
            comm.send(total, dest=0)
        else:
            comm.send(total, dest=0 if rank == 2 else 1)
        assert comm.bcast(total, root=0) == 6
        """,
    ),
    Wrong(
        "deep_inside_functions",
        2,
        """
        class Solver:
            def step(self):
                self.exchange()

            def exchange(self):
                return [self.edge(side) for side in (0,)]

            def edge(self, side):
                return comm.recv(source=1 - rank, tag=side)  # waits: 0 1


        Solver().step()
        """,
    ),
    Wrong(
        "after_a_computation",
        2,
        """
        total = 0
        for step in range(200):
            total += sum(range(2000))
            comm.sendrecv(total, dest=1 - rank, source=1 - rank)
        comm.recv(source=1 - rank)  # waits: 0 1
        """,
    ),
    Wrong(
        "receives_from_one_that_has_left",
        2,
        """
        if rank == 0:
            comm.recv(source=1)  # fails: 0
        """,
        named=ENDED,
    ),
    Wrong(
        "receives_from_anybody_when_all_have_left",
        3,
        """
        if rank == 0:
            for _ in range(3):
                comm.recv(source=MPI.ANY_SOURCE)  # waits: 0
        else:
            comm.send(rank, dest=0)
        """,
        named=r"deadlock: rank 0 .*ranks 1, 2 could have helped, but have ended",
    ),
    Wrong(
        "array_from_anybody_when_all_have_left",
        3,
        """
        if rank == 0:
            comm.Recv(bytearray(8), source=MPI.ANY_SOURCE, tag=5)  # waits: 0
        """,
    ),
    Wrong(
        "receives_from_anybody_when_one_has_left_and_one_waits",
        3,
        """
        if rank == 0:
            comm.recv(source=MPI.ANY_SOURCE)  # waits: 0
        elif rank == 2:
            comm.recv(source=0)  # waits: 2
        """,
        named=r"deadlock: ranks 0, 2 .*: 0 -> 2 -> 0 rank 1 could have helped, but has",
    ),
    Wrong(
        "waits_for_any_receive_from_anybody_when_all_have_left",
        2,
        """
        if rank == 0:
            rooms = bytearray(8), bytearray(8)
            wanted = [comm.Irecv(room, source=MPI.ANY_SOURCE) for room in rooms]
            MPI.Request.Waitany(wanted)  # waits: 0
        """,
    ),
    Wrong(
        "receives_from_anybody_beside_idle_threads_when_all_have_left",
        2,
        """
        from concurrent.futures import ThreadPoolExecutor

        if rank == 0:
            pool = ThreadPoolExecutor(2)
            assert list(pool.map(abs, [-1, -2])) == [1, 2]
            comm.recv(source=MPI.ANY_SOURCE)  # waits: 0
        """,
    ),
    Wrong(
        "two_threads_receive_from_anybody_when_all_have_left",
        2,
        """
        import threading

        if rank == 0:
            def listen():
                comm.recv(source=MPI.ANY_SOURCE, tag=1)  # waits: 0

            threading.Thread(target=listen, daemon=True).start()
            comm.recv(source=MPI.ANY_SOURCE, tag=2)  # waits: 0
        """,
    ),
    Wrong(
        "leaves_with_a_large_send_that_does_not_fit",
        2,
        """
        if rank == 0:
            comm.recv(source=1, tag=2)  # waits: 0
        else:
            comm.Isend(bytearray(16 << 20), dest=0, tag=1)
        """,
        named=r"ranks 0, 1 .*with tag 1 is here.*Finalize with a send to rank 0",
    ),
    Right(
        "sends_to_itself_in_a_thread_when_all_have_left",
        2,
        """
        import threading
        import time

        def late():
            time.sleep(6)
            comm.send("late", dest=0)

        if rank == 0:
            threading.Thread(target=late).start()
            assert comm.recv(source=MPI.ANY_SOURCE) == "late"
        """,
    ),
    Right(
        "sends_to_itself_in_an_alarm_when_all_have_left",
        2,
        """
        import signal

        if rank == 0:
            signal.signal(signal.SIGALRM, lambda *_: comm.send("late", dest=0))
            signal.alarm(2)
            room = bytearray(100)
            comm.Recv(room, source=MPI.ANY_SOURCE)
            assert b"late" in room
        """,
    ),
    Right(
        "sends_to_itself_later_when_all_of_a_communicator_have_left",
        3,
        """
        import time

        pair = comm.Split(rank // 2)
        if rank == 0:
            request = pair.irecv(source=MPI.ANY_SOURCE)
            assert comm.recv(source=2) == "late"
            pair.send("own", dest=0)
            assert request.wait() == "own"
        elif rank == 2:
            time.sleep(2)
            comm.send("late", dest=0)
        """,
    ),
    Right(
        "sends_to_itself_after_many_tests_when_all_have_left",
        2,
        """
        import time

        if rank == 0:
            request = comm.irecv(source=MPI.ANY_SOURCE)
            until = time.monotonic() + 2
            while time.monotonic() < until:
                assert not request.test()[0]
            comm.send("own", dest=0)
            assert request.wait() == "own"
        """,
    ),
)
