"""Inter-communicators, spawned worlds, ports, threads: waits across borders."""

from .program import ENDED, Program, Right, Wrong

PROGRAMS: tuple[Program, ...] = (
    Wrong(
        "both_groups_of_an_intercommunicator_receive",
        4,
        """
        half = comm.Split(rank // 2)
        other = half.Create_intercomm(0, comm, 2 if rank < 2 else 0)
        other.recv(source=half.rank)  # waits:
        other.send("x", dest=half.rank)
        """,
    ),
    Right(
        "one_group_of_an_intercommunicator_sends_first",
        4,
        """
        import time

        half = comm.Split(rank // 2)
        other = half.Create_intercomm(0, comm, 2 if rank < 2 else 0)
        if rank < 2:
            time.sleep(1)
            other.send(rank, dest=half.rank)
        else:
            assert other.recv(source=half.rank) == rank - 2
        other.Barrier()
        """,
    ),
    Wrong(
        "barrier_of_one_group_of_an_intercommunicator",
        4,
        """
        half = comm.Split(rank // 2)
        other = half.Create_intercomm(0, comm, 2 if rank < 2 else 0)
        if rank < 2:
            other.Barrier()  # waits: 0 1
            other.send("x", dest=half.rank)
        else:
            other.recv(source=half.rank)  # waits: 2
        """,
    ),
    Wrong(
        "intercommunicator_that_only_one_group_makes",
        4,
        """
        half = comm.Split(rank // 2)
        if rank < 2:
            other = half.Create_intercomm(0, comm, 2)  # waits: 0
        else:
            comm.recv(source=rank - 2)  # waits: 2
        """,
    ),
    Wrong(
        "merge_that_only_one_group_calls",
        4,
        """
        half = comm.Split(rank // 2)
        other = half.Create_intercomm(0, comm, 2 if rank < 2 else 0)
        if rank < 2:
            whole = other.Merge()  # waits: 0 1
        else:
            other.recv(source=half.rank)  # waits: 2 3
        """,
    ),
    Right(
        "merge_with_one_group_that_comes_late",
        4,
        """
        import time

        half = comm.Split(rank // 2)
        other = half.Create_intercomm(0, comm, 2 if rank < 2 else 0)
        time.sleep(1.5 if rank < 2 else 0)
        whole = other.Merge()
        assert whole.allreduce(1) == 4
        """,
    ),
    Wrong(
        "parent_and_child_wait_for_each_other",
        1,
        """
        import sys

        parent = MPI.Comm.Get_parent()
        if parent == MPI.COMM_NULL:
            child = comm.Spawn(sys.executable, [__file__], maxprocs=1)
            child.recv(source=0)  # waits:
        else:
            parent.recv(source=0)  # waits:
        """,
    ),
    Right(
        "child_that_answers_after_three_seconds",
        1,
        """
        import sys
        import time

        parent = MPI.Comm.Get_parent()
        if parent == MPI.COMM_NULL:
            child = comm.Spawn(sys.executable, [__file__], maxprocs=1)
            child.send("question", dest=0)
            assert child.recv(source=0) == "answer"
            child.Disconnect()
        else:
            assert parent.recv(source=0) == "question"
            time.sleep(3)
            parent.send("answer", dest=0)
            parent.Disconnect()
        """,
    ),
    Wrong(
        "child_waits_for_a_sibling_that_waits_for_the_parent",
        1,
        """
        import sys

        parent = MPI.Comm.Get_parent()
        if parent == MPI.COMM_NULL:
            children = comm.Spawn(sys.executable, [__file__], maxprocs=2)
            children.recv(source=0)  # waits:
        elif rank == 0:
            comm.Barrier()  # waits:
            parent.send("done", dest=0)
        else:
            parent.recv(source=0)  # waits:
            comm.Barrier()
        """,
    ),
    Wrong(
        "parent_disconnects_before_it_sends",
        1,
        """
        import sys

        parent = MPI.Comm.Get_parent()
        if parent == MPI.COMM_NULL:
            child = comm.Spawn(sys.executable, [__file__], maxprocs=1)
            child.Disconnect()  # waits:
        else:
            parent.recv(source=0)  # waits:
            parent.Disconnect()
        """,
    ),
    Wrong(
        "spawn_that_one_rank_does_not_call",
        2,
        """
        import sys

        if rank == 1:
            comm.recv(source=0)  # waits: 1
        child = comm.Spawn(sys.executable, ["-c", "from mpi4py import MPI"])
        comm.Barrier()  # waits: 0
        """,
    ),
    Right(
        "children_that_work_while_the_parents_wait",
        2,
        """
        import sys
        import time

        parent = MPI.Comm.Get_parent()
        if parent == MPI.COMM_NULL:
            children = comm.Spawn(sys.executable, [__file__], maxprocs=2)
            total = children.reduce(None, root=MPI.ROOT if rank == 0 else MPI.PROC_NULL)
            assert rank > 0 or total == 1
            children.Disconnect()
        else:
            time.sleep(2 * rank)
            parent.reduce(rank, root=0)
            parent.Disconnect()
        """,
    ),
    Wrong(
        "connect_that_nobody_accepts",
        2,
        """
        if rank == 0:
            port = MPI.Open_port()
            comm.send(port, dest=1)
            comm.recv(source=1)  # waits: 0
        else:
            port = comm.recv(source=0)
            server = MPI.COMM_SELF.Connect(port)  # waits: 1
            comm.send("connected", dest=0)
        """,
    ),
    Wrong(
        "two_that_connect_to_each_other",
        2,
        """
        port = MPI.Open_port()
        other = comm.sendrecv(port, dest=1 - rank, source=1 - rank)
        MPI.COMM_SELF.Connect(other)  # waits:
        """,
    ),
    Wrong(
        "child_that_connects_while_its_parent_receives",
        1,
        """
        import sys

        parent = MPI.Comm.Get_parent()
        if parent == MPI.COMM_NULL:
            child = comm.Spawn(sys.executable, [__file__], maxprocs=1)
            child.send(MPI.Open_port(), dest=0)
            child.recv(source=0)  # waits:
        else:
            port = parent.recv(source=0)
            MPI.COMM_SELF.Connect(port)  # waits:
            parent.send("connected", dest=0)
        """,
    ),
    Right(
        "connect_to_a_port_that_is_closed_late",
        2,
        """
        import time

        if rank == 0:
            port = MPI.Open_port()
            comm.send(port, dest=1)
            time.sleep(2)
            MPI.Close_port(port)
            assert comm.recv(source=1) == "refused"
        else:
            port = comm.recv(source=0)
            try:
                MPI.COMM_SELF.Connect(port)
            except MPI.Exception:
                comm.send("refused", dest=0)
        """,
    ),
    Right(
        "connect_while_the_server_waits_for_one_that_works",
        3,
        """
        import time

        if rank == 0:
            port = MPI.Open_port()
            comm.send(port, dest=1)
            comm.recv(source=2)
            MPI.COMM_SELF.Accept(port).Disconnect()
        elif rank == 1:
            MPI.COMM_SELF.Connect(comm.recv(source=0)).Disconnect()
        else:
            time.sleep(2)
            comm.send("go on", dest=0)
        """,
    ),
    Right(
        "connect_while_a_thread_of_the_server_accepts_late",
        2,
        """
        import time
        from threading import Thread

        def accept(port):
            time.sleep(2)
            MPI.COMM_SELF.Accept(port).Disconnect()

        if rank == 0:
            port = MPI.Open_port()
            comm.send(port, dest=1)
            thread = Thread(target=accept, args=[port])
            thread.start()
            assert comm.recv(source=1) == "connected"
            thread.join()
        else:
            MPI.COMM_SELF.Connect(comm.recv(source=0)).Disconnect()
            comm.send("connected", dest=0)
        """,
    ),
    Right(
        "accept_with_a_client_that_comes_late",
        2,
        """
        import time

        if rank == 0:
            port = MPI.Open_port()
            comm.send(port, dest=1)
            client = MPI.COMM_SELF.Accept(port)
            assert client.recv(source=0) == "hello"
            client.Disconnect()
            MPI.Close_port(port)
        else:
            port = comm.recv(source=0)
            time.sleep(2)
            server = MPI.COMM_SELF.Connect(port)
            server.send("hello", dest=0)
            server.Disconnect()
        """,
    ),
    Right(
        "connect_to_a_server_that_accepts_late",
        2,
        """
        import time

        if rank == 0:
            port = MPI.Open_port()
            comm.send(port, dest=1)
            time.sleep(2)
            client = MPI.COMM_SELF.Accept(port)
            client.Disconnect()
        else:
            server = MPI.COMM_SELF.Connect(comm.recv(source=0))
            server.Disconnect()
        """,
    ),
    Wrong(
        "child_that_has_left",
        1,
        """
        import sys

        parent = MPI.Comm.Get_parent()
        if parent == MPI.COMM_NULL:
            child = comm.Spawn(sys.executable, [__file__], maxprocs=1)
            child.recv(source=0)  # fails:
        """,
        named=ENDED,
    ),
    Wrong(
        "two_threads_of_a_rank_both_wait",
        2,
        """
        import threading

        if rank == 0:

            def listen():
                comm.recv(source=1, tag=1)  # waits: 0

            thread = threading.Thread(target=listen)
            thread.start()
            comm.recv(source=1, tag=2)  # waits: 0
            thread.join()
        else:
            comm.recv(source=0)  # waits: 1
        """,
    ),
    Wrong(
        "thread_waits_and_the_main_thread_joins_it",
        2,
        """
        import threading

        def listen():
            comm.recv(source=1 - rank)  # waits: 0 1

        thread = threading.Thread(target=listen)
        thread.start()
        thread.join()
        """,
    ),
    Right(
        "thread_that_sends_after_two_seconds",
        2,
        """
        import threading
        import time

        def send_later():
            time.sleep(2)
            comm.send("from a thread", dest=1 - rank)

        thread = threading.Thread(target=send_later)
        thread.start()
        assert comm.recv(source=1 - rank) == "from a thread"
        thread.join()
        """,
    ),
    Right(
        "one_thread_waits_and_the_other_answers",
        2,
        """
        import threading

        def serve():
            for _ in range(50):
                comm.send(comm.recv(source=1 - rank, tag=1), dest=1 - rank, tag=2)

        thread = threading.Thread(target=serve)
        thread.start()
        for i in range(50):
            assert comm.sendrecv(i, 1 - rank, 1, source=1 - rank, recvtag=2) == i
        thread.join()
        """,
    ),
    Right(
        "message_to_itself_from_another_thread",
        1,
        """
        import threading
        import time

        def send_later():
            time.sleep(2)
            comm.ssend("note", dest=0)

        thread = threading.Thread(target=send_later)
        thread.start()
        assert comm.recv(source=0) == "note"
        thread.join()
        """,
    ),
    Right(
        "executor_threads_that_wait_while_one_works",
        2,
        """
        import time
        from concurrent.futures import ThreadPoolExecutor

        def task(tag):
            if tag == 0:
                time.sleep(1.5)
                for other in (1, 2):
                    comm.send(tag, dest=1 - rank, tag=other)
            else:
                return comm.recv(source=1 - rank, tag=tag)

        with ThreadPoolExecutor(3) as threads:
            assert list(threads.map(task, range(3))) == [None, 0, 0]
        """,
    ),
    Right(
        "thread_that_polls_while_the_main_thread_waits",
        2,
        """
        import threading
        import time

        stop = threading.Event()

        def relay():
            while not stop.is_set():
                if comm.iprobe(source=rank, tag=9):
                    comm.recv(source=rank, tag=9)
                    comm.send("relayed", dest=1 - rank, tag=1)
                    return
                time.sleep(0.02)

        thread = threading.Thread(target=relay)
        thread.start()
        time.sleep(rank)
        comm.send("please", dest=rank, tag=9)
        assert comm.recv(source=1 - rank, tag=1) == "relayed"
        thread.join()
        """,
    ),
    Right(
        "foreign_thread_that_calls_back_after_two_seconds",
        2,
        """
        import ctypes
        import time

        libc = ctypes.CDLL(None)
        started = ctypes.c_ulong()

        @ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)
        def body(_):
            time.sleep(2)
            comm.send("from a thread that Python did not start", dest=1 - rank)

        # The main thread is in the receive, and threading knows of no other.
        assert libc.pthread_create(ctypes.byref(started), None, body, None) == 0
        comm.recv(source=1 - rank)
        libc.pthread_join(started, None)
        """,
    ),
    Right(
        "foreign_thread_in_a_barrier",
        2,
        """
        import ctypes
        import time

        libc = ctypes.CDLL(None)
        started = ctypes.c_ulong()
        side = comm.Dup()
        if rank == 0:
            # pthread_create(&started, NULL, MPI_Barrier, side): no Python in it.
            mpi = ctypes.CDLL("libmpi_abi.so.1")
            handle = ctypes.c_void_p.from_address(MPI._addressof(side))
            barrier = ctypes.cast(mpi.MPI_Barrier, ctypes.c_void_p)
            arguments = ctypes.byref(started), None, barrier, handle
            assert libc.pthread_create(*arguments) == 0
            assert comm.recv(source=1) == "after the barrier"
            libc.pthread_join(started, None)
        else:
            time.sleep(2)
            side.Barrier()
            comm.send("after the barrier", dest=0)
        """,
    ),
    Right(
        "queue_that_another_thread_fills",
        2,
        """
        import queue
        import threading
        import time

        if rank == 0:
            results = queue.Queue()
            fill = lambda: (time.sleep(2), results.put("result"))
            threading.Thread(target=fill).start()
            comm.send(results.get(), dest=1)
        else:
            comm.recv(source=0)
        """,
    ),
    Right(
        "lock_that_another_thread_gives_back",
        2,
        """
        import threading

        if rank == 0:
            lock = threading.Lock()
            lock.acquire()
            threading.Timer(2, lock.release).start()
            with lock:
                comm.send("x", dest=1)
        else:
            comm.recv(source=0)
        comm.Barrier()
        """,
    ),
)
