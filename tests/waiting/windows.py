"""One-sided epochs: exposures, accesses and locks that wait for the other side."""

from .program import Program, Right, Wrong

PROGRAMS: tuple[Program, ...] = (
    Wrong(
        "start_without_a_post",
        2,
        """
        window = MPI.Win.Allocate(64, comm=comm)
        other = comm.Get_group().Incl([1 - rank])
        if rank == 0:
            window.Start(other)
            window.Put(bytearray(8), 1)
            window.Complete()
            comm.send("written", dest=1)
        else:
            comm.recv(source=0)  # waits: 1
        window.Free()
        """,
    ),
    Wrong(
        "post_without_a_complete",
        2,
        """
        window = MPI.Win.Allocate(64, comm=comm)
        other = comm.Get_group().Incl([1 - rank])
        if rank == 0:
            window.Post(other)
            window.Wait()  # waits: 0
        else:
            window.Start(other)
            window.Put(bytearray(8), 0)
            comm.recv(source=0)  # waits: 1
            window.Complete()
        """,
    ),
    Wrong(
        "both_wait_for_their_exposure_to_end",
        2,
        """
        window = MPI.Win.Allocate(64, comm=comm)
        other = comm.Get_group().Incl([1 - rank])
        window.Post(other)
        window.Wait()  # waits: 0 1
        window.Start(other)
        window.Complete()
        """,
    ),
    Right(
        "post_start_complete_wait",
        2,
        """
        import time

        window = MPI.Win.Allocate(64, comm=comm)
        other = comm.Get_group().Incl([1 - rank])
        window.Post(other)
        window.Start(other)
        window.Put(bytearray(8), 1 - rank)
        time.sleep(rank)
        window.Complete()
        window.Wait()
        window.Free()
        """,
    ),
    Right(
        "exposure_tested_for_in_a_loop",
        2,
        """
        import time

        window = MPI.Win.Allocate(64, comm=comm)
        other = comm.Get_group().Incl([1 - rank])
        if rank == 0:
            window.Post(other)
            while not window.Test():
                time.sleep(0.1)
            comm.send("seen", dest=1)
        else:
            window.Start(other)
            time.sleep(1)
            window.Complete()
            comm.recv(source=0)
        window.Free()
        """,
    ),
    Wrong(
        "fence_of_one_rank",
        2,
        """
        window = MPI.Win.Allocate(64, comm=comm)
        if rank == 0:
            window.Fence()  # waits: 0
            comm.send("x", dest=1)
        else:
            comm.recv(source=0)  # waits: 1
            window.Fence()
        """,
    ),
    Right(
        "fence_with_one_that_comes_late",
        3,
        """
        import time

        window = MPI.Win.Allocate(64, comm=comm)
        window.Fence()
        window.Put(bytearray(8), (rank + 1) % size)
        time.sleep(rank / 2)
        window.Fence()
        window.Free()
        """,
    ),
    Wrong(
        "locks_of_two_windows_in_two_orders",
        2,
        """
        one, two = MPI.Win.Allocate(8, comm=comm), MPI.Win.Allocate(8, comm=comm)
        first, second = (one, two) if rank == 0 else (two, one)
        first.Lock(0)
        comm.Barrier()  # each has its first one
        second.Lock(0)  # waits: 0 1
        second.Unlock(0)
        first.Unlock(0)
        """,
    ),
    Right(
        "locks_of_two_windows_in_one_order",
        3,
        """
        import time

        one, two = MPI.Win.Allocate(8, comm=comm), MPI.Win.Allocate(8, comm=comm)
        for _ in range(2):
            one.Lock(0)
            two.Lock(0)
            time.sleep(0.2)
            two.Unlock(0)
            one.Unlock(0)
        one.Free()
        two.Free()
        """,
    ),
    Wrong(
        "lock_holder_that_waits_for_one_that_wants_the_lock",
        2,
        """
        window = MPI.Win.Allocate(8, comm=comm)
        if rank == 0:
            window.Lock(1)
            comm.send("your turn", dest=1)
            comm.recv(source=1)  # waits: 0
            window.Unlock(1)
        else:
            comm.recv(source=0)
            window.Lock(1)  # waits: 1
            window.Unlock(1)
            comm.send("done", dest=0)
        """,
    ),
    Right(
        "lock_holder_that_computes",
        3,
        """
        import time

        window = MPI.Win.Allocate(8, comm=comm)
        window.Lock(0)
        end = time.monotonic() + 0.7
        while time.monotonic() < end:
            sum(range(1000))
        window.Unlock(0)
        window.Free()
        """,
    ),
    Right(
        "lock_holder_that_another_thread_lets_go_on",
        2,
        """
        import threading

        window = MPI.Win.Allocate(8, comm=comm)
        if rank == 0:
            go_on = threading.Event()
            window.Lock(1)
            comm.send("your turn", dest=1)
            threading.Timer(2, go_on.set).start()
            go_on.wait()
            window.Unlock(1)
        else:
            comm.recv(source=0)
            window.Lock(1)
            window.Unlock(1)
        window.Free()
        """,
    ),
    Wrong(
        "shared_lock_kept_by_one_that_waits",
        3,
        """
        window = MPI.Win.Allocate(8, comm=comm)
        if rank < 2:
            window.Lock(2, MPI.LOCK_SHARED)
            comm.send("read", dest=2)
            comm.recv(source=2)  # waits: 0
            window.Unlock(2)
        else:
            comm.recv(source=0)
            comm.recv(source=1)
            window.Lock(2, MPI.LOCK_EXCLUSIVE)  # waits: 2
            window.Unlock(2)
            for reader in (0, 1):
                comm.send("written", dest=reader)
        """,
    ),
    Right(
        "readers_and_a_writer",
        3,
        """
        import time

        window = MPI.Win.Allocate(8, comm=comm)
        for _ in range(3):
            window.Lock(0, MPI.LOCK_EXCLUSIVE if rank == 0 else MPI.LOCK_SHARED)
            time.sleep(0.1)
            window.Unlock(0)
        window.Free()
        """,
    ),
    Wrong(
        "window_freed_by_one_rank",
        2,
        """
        window = MPI.Win.Allocate(64, comm=comm)
        if rank == 0:
            window.Free()  # waits: 0
        else:
            comm.recv(source=0)  # waits: 1
        """,
        named=r"deadlock.*rank 0: Win_free \(Barrier\) on a window over communicator",
    ),
    Wrong(
        "window_made_by_some_of_the_ranks",
        3,
        """
        if rank < 2:
            window = MPI.Win.Allocate(64, comm=comm)  # waits: 0
            comm.send("made", dest=2)
        else:
            comm.recv(source=0)  # waits: 2
        """,
    ),
    Wrong(
        "fences_of_two_windows_in_two_orders",
        2,
        """
        one, two = MPI.Win.Allocate(8, comm=comm), MPI.Win.Allocate(8, comm=comm)
        if rank == 0:
            one.Fence()  # waits: 0
            two.Fence()
        else:
            two.Fence()  # waits: 1
            one.Fence()
        """,
    ),
    Right(
        "target_that_computes",
        2,
        """
        import time

        window = MPI.Win.Allocate(1 << 20, comm=comm)
        if rank == 0:
            for _ in range(100):
                window.Lock(1)
                window.Put(bytearray(1 << 20), 1)
                window.Unlock(1)
            comm.send("written", dest=1)
        else:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                sum(range(1000))
            comm.recv(source=0)
        window.Free()
        """,
    ),
    Right(
        "one_polls_shared_memory_while_the_others_wait",
        3,
        """
        import time

        window = MPI.Win.Allocate_shared(8 if rank == 0 else 0, comm=comm)
        flag = window.Shared_query(0)[0]
        window.Lock_all()
        if rank == 0:
            while flag[0] == 0:
                window.Sync()
                time.sleep(0.01)
            for other in (1, 2):
                comm.send("seen", dest=other)
        elif rank == 1:
            time.sleep(2)
            flag[0] = 1
            window.Sync()
            comm.recv(source=0)
        else:
            comm.recv(source=0)
        window.Unlock_all()
        window.Free()
        """,
    ),
    Right(
        "ticket_counter_with_fetch_and_op",
        4,
        """
        from array import array

        window = MPI.Win.Allocate(8, comm=comm)
        mine = array("q", [0])
        for _ in range(50):
            window.Lock(0)
            window.Fetch_and_op(array("q", [1]), mine, 0)
            window.Unlock(0)
        comm.Barrier()
        window.Free()
        """,
    ),
)
