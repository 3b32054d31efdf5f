"""Ranks that end, fail or give the job up while others wait for them."""

from .program import ENDED, Program, Right, Wrong

PROGRAMS: tuple[Program, ...] = (
    Wrong(
        "leaves_with_status_0_before_a_barrier",
        3,
        """
        import sys

        if rank == 2:
            sys.exit(0)
        comm.Barrier()  # fails:
        """,
        named=ENDED,
    ),
    Wrong(
        "leaves_before_a_broadcast_reaches_it_and_answers",
        2,
        """
        import sys

        if rank == 1:
            sys.exit(0)
        comm.bcast("hello", root=0)
        comm.recv(source=1)  # fails: 0
        """,
        named=ENDED,
    ),
    Wrong(
        "leaves_before_it_receives_a_large_message",
        2,
        """
        if rank == 0:
            comm.Send(bytearray(16 << 20), dest=1)  # fails: 0
        """,
        named=ENDED,
    ),
    Wrong(
        "leaves_with_status_3_before_a_barrier",
        3,
        """
        import sys

        if rank == 1:
            sys.exit(3)
        comm.Barrier()
        """,
        named=r"rank 1 .*3",
        status=3,
    ),
    Wrong(
        "raises_while_the_others_wait",
        3,
        """
        if rank == 1:
            raise ValueError("the mesh has no cells")  # fails: 1
        comm.Barrier()
        """,
        named=r"ValueError: the mesh has no cells",
    ),
    Wrong(
        "asserts_while_the_others_receive",
        3,
        """
        if rank == 0:
            total = 1
            assert total == 2, "totals differ"  # fails: 0
        comm.recv(source=0)
        """,
        named=r"AssertionError: totals differ",
    ),
    Wrong(
        "raises_in_a_function_of_a_worker",
        3,
        """
        def work(task):
            return 1 / task  # fails: 2

        if rank == 0:
            for worker in (1, 2):
                comm.send(2 - worker, dest=worker)
            for worker in (1, 2):
                comm.recv(source=worker)
        else:
            comm.send(work(comm.recv(source=0)), dest=0)
            comm.recv(source=0)
        """,
        named=r"ZeroDivisionError",
    ),
    Wrong(
        "aborts_with_code_7",
        3,
        """
        if rank == 1:
            comm.Abort(7)
        comm.Barrier()
        """,
        named=r"rank 1.*MPI_Abort with code 7",
        status=7,
    ),
    Wrong(
        "killed_while_the_others_wait",
        2,
        """
        import os
        import signal

        if rank == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        comm.recv(source=1)
        """,
        named=r"rank 1.*SIGKILL",
        status=128 + 9,
    ),
    Wrong(
        "crashes_while_the_others_wait",
        2,
        """
        import os

        if rank == 1:
            os.abort()
        comm.Barrier()
        """,
        named=r"rank 1.*SIGABRT",
        status=128 + 6,
    ),
    Wrong(
        "leaves_without_finalize",
        2,
        """
        import os

        if rank == 1:
            os._exit(0)
        comm.Barrier()
        """,
        named=r"rank 1.*without .*Finalize",
    ),
    Wrong(
        "error_in_one_rank_that_all_others_gather_from",
        4,
        """
        samples = [1, 2, 3]
        part = samples[rank]  # fails: 3
        comm.gather(part, root=0)
        """,
        named=r"IndexError",
    ),
    Wrong(
        "error_in_a_thread_that_should_have_sent",
        2,
        """
        import threading

        def talk():
            try:
                comm.send(undefined, dest=1)
            except NameError:
                pass

        if rank == 0:
            thread = threading.Thread(target=talk)
            thread.start()
            thread.join()
            comm.recv(source=1)  # waits: 0
        else:
            comm.recv(source=0)  # waits: 1
        """,
    ),
    Wrong(
        "error_that_one_rank_swallows",
        2,
        """
        try:
            if rank == 0:
                open("/no/such/file")
            table = comm.bcast("table" if rank == 0 else None, root=0)  # waits: 1
        except OSError:
            table = None
        comm.sendrecv(rank, 1 - rank, source=1 - rank)  # waits: 0
        """,
    ),
    Wrong(
        "chain_of_ranks_that_have_left",
        4,
        """
        if rank < 3:
            comm.recv(source=rank + 1)  # fails: 2
        """,
        named=ENDED,
    ),
    Right(
        "error_of_one_rank_that_all_hear_of",
        3,
        """
        try:
            problem = None
            if rank == 0:
                open("/no/such/file")
        except OSError as error:
            problem = str(error)
        problem = comm.bcast(problem, root=0)
        assert "No such file" in problem
        """,
    ),
    Right(
        "error_that_is_caught_and_told",
        2,
        """
        if rank == 0:
            try:
                comm.send("x", dest=99)
            except MPI.Exception as error:
                assert error.error_class == MPI.ERR_RANK
            comm.send("better", dest=1)
        else:
            assert comm.recv(source=0) == "better"
        """,
    ),
    Right(
        "leaves_after_its_last_message",
        3,
        """
        import sys
        import time

        if rank > 0:
            comm.send(rank, dest=0)
            sys.exit(0)
        time.sleep(1)
        assert comm.recv(source=1) == 1
        assert comm.recv(source=2) == 2
        """,
    ),
    Right(
        "leaves_while_its_large_send_is_taken",
        2,
        """
        import time

        if rank == 0:
            comm.Isend(bytearray(16 << 20), dest=1).Wait()
        else:
            time.sleep(1)
            comm.Recv(bytearray(16 << 20), source=0)
        """,
    ),
    Right(
        "waits_for_one_that_has_left_and_catches_it",
        2,
        """
        if rank == 0:
            try:
                comm.recv(source=1)
                raise SystemExit("nobody sent")
            except MPI.Exception as error:
                assert error.error_class == MPI.ERR_PROC_ABORTED, error
        """,
    ),
)
