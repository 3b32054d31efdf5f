"""Masters and workers: tasks, results, and the message that says stop."""

from .program import DEADLOCK, Program, Right, Wrong

PROGRAMS: tuple[Program, ...] = (
    Wrong(
        "stop_message_forgotten",
        3,
        """
        if rank == 0:
            for task in range(6):
                comm.send(task, dest=1 + task % 2)
            results = [comm.recv(source=MPI.ANY_SOURCE) for _ in range(6)]
        else:
            while True:
                task = comm.recv(source=0)  # waits:
                if task is None:
                    break
                comm.send(task * task, dest=0)
        comm.Barrier()  # waits: 0
        """,
        checked=DEADLOCK,
    ),
    Wrong(
        "stop_message_for_one_worker_only",
        3,
        """
        if rank == 0:
            for task in (1, 2, None):
                comm.send(task, dest=1)
            for task in (3, 4):
                comm.send(task, dest=2)
            results = [comm.recv() for _ in range(4)]
        else:
            while (task := comm.recv(source=0)) is not None:  # waits: 2
                comm.send(task, dest=0)
        comm.gather(None, root=0)  # waits: 0
        """,
        checked=DEADLOCK,
    ),
    Wrong(
        "stop_message_with_another_tag",
        3,
        """
        WORK, STOP, RESULT = 1, 2, 3
        if rank == 0:
            for worker in range(1, size):
                comm.send("task", dest=worker, tag=WORK)
                comm.recv(source=worker, tag=RESULT)
                comm.send(None, dest=worker, tag=STOP)
        else:
            while comm.recv(source=0, tag=WORK):  # waits: 1 2
                comm.send("result", dest=0, tag=RESULT)
        comm.Barrier()  # waits: 0
        """,
        checked=DEADLOCK,
    ),
    Wrong(
        "one_result_more_than_tasks",
        4,
        """
        tasks = list(range(10))
        if rank == 0:
            results = []
            for worker in range(1, size):
                comm.send(tasks.pop(), dest=worker)
            while len(results) < 11:
                status = MPI.Status()
                results.append(comm.recv(status=status))  # waits: 0
                if tasks:
                    comm.send(tasks.pop(), dest=status.source)
            for worker in range(1, size):
                comm.send(None, dest=worker)
        else:
            while (task := comm.recv(source=0)) is not None:  # waits: 1 2 3
                comm.send(task, dest=0)
        """,
    ),
    Wrong(
        "worker_asks_and_the_master_asks_back",
        2,
        """
        if rank == 0:
            while True:
                result = comm.recv(source=1, tag=2)  # waits: 0
                comm.send("task", dest=1, tag=1)
        else:
            while True:
                task = comm.recv(source=0, tag=1)  # waits: 1
                comm.send("result", dest=0, tag=2)
        """,
    ),
    Wrong(
        "worker_that_gives_up_without_a_word",
        3,
        """
        if rank == 0:
            for worker in range(1, size):
                comm.send(worker, dest=worker)
            results = [comm.recv(source=w) for w in range(1, size)]  # waits: 0
            comm.bcast(sum(results), root=0)
        else:
            task = comm.recv(source=0)
            try:
                comm.send(1 / (task - 2), dest=0)
            except ZeroDivisionError:
                pass  # no result
            comm.bcast(None, root=0)  # waits: 2
        """,
    ),
    Wrong(
        "probing_master_whose_workers_wait_for_work",
        3,
        """
        if rank == 0:
            status = MPI.Status()
            while True:
                comm.probe(source=MPI.ANY_SOURCE, status=status)  # waits: 0
                comm.recv(source=status.source)
        else:
            comm.send("ready", dest=0)
            comm.recv(source=0)  # waits: 1 2
        """,
    ),
    Wrong(
        "two_masters_give_the_same_worker_away",
        4,
        """
        # 0 and 1 are masters; each waits for the worker that serves the other.
        if rank == 0:
            comm.recv(source=3)  # waits: 0
            comm.send("stop", dest=2)
        elif rank == 1:
            comm.recv(source=2)  # waits: 1
            comm.send("stop", dest=3)
        elif rank == 2:
            comm.recv(source=0)  # waits: 2
            comm.send("bye", dest=1)
        else:
            comm.recv(source=1)  # waits: 3
            comm.send("bye", dest=0)
        """,
    ),
    Wrong(
        "pipeline_whose_last_stage_wants_one_more",
        4,
        """
        items = 20
        if rank == 0:
            for item in range(items):
                comm.send(item, dest=1)
        elif rank < size - 1:
            for _ in range(items):
                comm.send(comm.recv(source=rank - 1), dest=rank + 1)
        else:
            for _ in range(items + 1):
                comm.recv(source=rank - 1)  # waits: 3
        comm.Barrier()  # waits: 2
        """,
    ),
    Right(
        "pipeline_with_one_slow_stage",
        4,
        """
        import time

        if rank == 0:
            for item in range(20):
                comm.send(item, dest=1)
        elif rank < size - 1:
            for _ in range(20):
                time.sleep(0.1 if rank == 1 else 0)
                comm.send(comm.recv(source=rank - 1), dest=rank + 1)
        else:
            assert [comm.recv(source=rank - 1) for _ in range(20)] == list(range(20))
        """,
    ),
    Right(
        "farm_with_slow_workers",
        4,
        """
        import time

        tasks = list(range(9))
        if rank == 0:
            results = []
            idle = size - 1
            status = MPI.Status()
            while idle or len(results) < 9:
                result = comm.recv(source=MPI.ANY_SOURCE, status=status)
                if result is not None:
                    results.append(result)
                task = tasks.pop() if tasks else None
                idle -= task is None
                comm.send(task, dest=status.source)
                if not idle:
                    break
            assert sorted(results) == list(range(9))
        else:
            comm.send(None, dest=0)
            while (task := comm.recv(source=0)) is not None:
                time.sleep(0.2 * rank)
                comm.send(task, dest=0)
        """,
    ),
    Right(
        "farm_with_probes",
        4,
        """
        import time

        WORK, STOP = 1, 2
        status = MPI.Status()
        if rank == 0:
            for worker in range(1, size):
                comm.send(worker, dest=worker, tag=WORK)
            for _ in range(size - 1):
                comm.probe(source=MPI.ANY_SOURCE, tag=MPI.ANY_TAG, status=status)
                comm.recv(source=status.source, tag=status.tag)
                comm.send(None, dest=status.source, tag=STOP)
        else:
            while True:
                comm.probe(source=0, tag=MPI.ANY_TAG, status=status)
                task = comm.recv(source=0, tag=status.tag)
                if status.tag == STOP:
                    break
                time.sleep(task / 2)
                comm.send(task, dest=0)
        """,
    ),
    Right(
        "farm_whose_workers_poll_for_work",
        3,
        """
        import time

        if rank == 0:
            time.sleep(1.5)
            for worker in range(1, size):
                comm.send("task", dest=worker)
            for _ in range(1, size):
                assert comm.recv(source=MPI.ANY_SOURCE) == "result"
        else:
            while not comm.iprobe(source=0):
                time.sleep(0.05)
            assert comm.recv(source=0) == "task"
            comm.send("result", dest=0)
        """,
    ),
    Right(
        "master_that_computes_before_it_gives_work",
        4,
        """
        import time

        if rank == 0:
            end = time.monotonic() + 2
            while time.monotonic() < end:
                sum(range(1000))
            for worker in range(1, size):
                comm.send("task", dest=worker)
        else:
            comm.recv(source=MPI.ANY_SOURCE)
        """,
    ),
    Right(
        "pool_of_an_executor",
        3,
        """
        import time

        from mpi4py.futures import MPICommExecutor

        def square(x):
            time.sleep(0.5)
            return x * x

        with MPICommExecutor(comm, root=0) as executor:
            if executor is not None:
                assert list(executor.map(square, range(4))) == [0, 1, 4, 9]
        """,
    ),
    Right(
        "workers_that_leave_as_they_finish",
        4,
        """
        import time

        if rank == 0:
            for worker in (3, 2, 1):
                comm.recv(source=worker)
        else:
            time.sleep((size - rank) / 2)
            comm.send("result", dest=0)
        """,
    ),
)
