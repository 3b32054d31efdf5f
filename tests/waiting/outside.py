"""Ranks that wait for the world outside, or compute, while others wait for them.

Nothing is proved of a rank that is not in a call of MPI. What others prove of
themselves is proved while it goes on.
"""

from .program import Program, Right, Wrong

# Both ranks are in their handlers before one of them sends.
HANDLERS_MEET = """
import os
import signal
import tempfile
import time

place = comm.bcast(tempfile.mkdtemp() if rank == 0 else None)
what = {object}

def ring(*_):
    open(os.path.join(place, str(rank)), "w").close()
    while len(os.listdir(place)) < size:
        time.sleep(0.01)
    comm.send(what, dest=1 - rank)

signal.signal(signal.SIGALRM, ring)
signal.setitimer(signal.ITIMER_REAL, 1.5)
assert comm.recv(source=1 - rank) == what
comm.Barrier()
"""

PROGRAMS: tuple[Program, ...] = (
    Wrong(
        "two_are_stuck_while_two_compute",
        4,
        """
        import time

        if rank < 2:
            comm.recv(source=1 - rank)  # waits: 0 1
        else:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                sum(range(1000))  # moves:
            print("computed to the end", flush=True)
        """,
    ),
    Wrong(
        "two_are_stuck_while_two_sleep",
        4,
        """
        import time

        if rank >= 2:
            time.sleep(30)  # moves:
            print("slept to the end", flush=True)
        comm.recv(source=1 - rank)  # waits: 0 1
        """,
    ),
    Wrong(
        "two_are_stuck_while_one_polls",
        3,
        """
        import time

        if rank < 2:
            comm.ssend("x", dest=1 - rank)  # waits: 0 1
        else:
            end = time.monotonic() + 30
            while not comm.iprobe(source=0) and time.monotonic() < end:
                time.sleep(0.01)  # moves:
            print("polled to the end", flush=True)
        """,
    ),
    Wrong(
        "two_are_stuck_while_two_exchange_messages",
        4,
        """
        import time

        if rank < 2:
            comm.recv(source=1 - rank)  # waits: 0 1
        else:
            end = time.monotonic() + 30
            while time.monotonic() < end:
                comm.sendrecv("x", dest=5 - rank, source=5 - rank)  # moves:
            print("exchanged to the end", flush=True)
        """,
    ),
    Wrong(
        "stuck_after_the_others_were_slow",
        3,
        """
        import time

        if rank == 2:
            time.sleep(1)
            comm.recv(source=0)  # waits: 2
        else:
            comm.recv(source=rank + 1)  # waits: 0 1
        """,
    ),
    Right(
        "computes_while_the_others_wait",
        4,
        """
        import time

        if rank == 0:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                sum(range(1000))
            for other in range(1, size):
                comm.send("x", dest=other)
        else:
            comm.recv(source=rank - 1 if rank == 1 else 0)
        comm.Barrier()
        """,
    ),
    Right(
        "sleeps_while_the_others_wait",
        4,
        """
        import time

        if rank == 0:
            time.sleep(3)
        comm.Barrier()
        """,
    ),
    Right(
        "each_waits_for_the_next_and_the_last_one_sleeps",
        8,
        """
        import time

        if rank < size - 1:
            comm.recv(source=rank + 1)
        else:
            time.sleep(3)
        if rank > 0:
            comm.send("x", dest=rank - 1)
        """,
    ),
    Right(
        "file_that_a_background_process_makes",
        2,
        """
        import os
        import subprocess
        import tempfile
        import time

        if rank == 0:
            name = tempfile.mktemp()
            maker = subprocess.Popen(["sh", "-c", f"sleep 2; touch {name}"])
            while not os.path.exists(name):
                time.sleep(0.1)
            os.unlink(name)
            maker.wait()
            comm.send("made", dest=1)
        else:
            comm.recv(source=0)
        """,
    ),
    Right(
        "file_that_another_rank_makes",
        2,
        """
        import os
        import tempfile
        import time

        name = comm.bcast(tempfile.mktemp(), root=0)
        if rank == 0:
            while not os.path.exists(name):
                time.sleep(0.1)
            os.unlink(name)
            comm.send("seen", dest=1)
        else:
            time.sleep(1)
            open(name, "w").close()
            comm.recv(source=0)
        """,
    ),
    Right(
        "subprocess_that_takes_long",
        3,
        """
        import subprocess

        if rank == 0:
            text = subprocess.run(["sh", "-c", "sleep 2; echo ok"], capture_output=True)
            comm.bcast(text.stdout, root=0)
        else:
            assert comm.bcast(None, root=0) == b"ok\\n"
        """,
    ),
    Right(
        "socket_whose_other_end_is_slow",
        2,
        """
        import socket
        import subprocess
        import sys

        if rank == 0:
            server = socket.create_server(("127.0.0.1", 0))
            client = (
                "import socket, sys, time; time.sleep(1.5);"
                "socket.create_connection(('127.0.0.1', int(sys.argv[1]))).send(b'x')"
            )
            port = str(server.getsockname()[1])
            process = subprocess.Popen([sys.executable, "-c", client, port])
            connection, _ = server.accept()
            assert connection.recv(1) == b"x"
            process.wait()
        comm.Barrier()
        """,
    ),
    Right(
        "two_ranks_talk_over_a_socket",
        2,
        """
        import socket
        import time

        if rank == 0:
            server = socket.create_server(("127.0.0.1", 0))
            comm.send(server.getsockname()[1], dest=1)
            connection, _ = server.accept()
            assert connection.recv(10) == b"go on"
            comm.send("came by socket", dest=1)
        else:
            connection = socket.create_connection(("127.0.0.1", comm.recv(source=0)))
            time.sleep(2)
            connection.send(b"go on")
            comm.recv(source=0)
        """,
    ),
    Right(
        "pipe_between_two_ranks",
        2,
        """
        import os
        import tempfile
        import time

        name = tempfile.mktemp() if rank == 0 else None
        if rank == 0:
            os.mkfifo(name)
        name = comm.bcast(name, root=0)
        if rank == 0:
            with open(name) as pipe:  # until somebody opens it to write
                assert pipe.read() == "by pipe"
            comm.send("got it", dest=1)
            os.unlink(name)
        else:
            time.sleep(1.5)
            with open(name, "w") as pipe:
                pipe.write("by pipe")
            comm.recv(source=0)
        """,
    ),
    Right(
        "standard_input_that_comes_late",
        3,
        """
        import sys

        line = comm.bcast(sys.stdin.readline() if rank == 0 else None, root=0)
        assert line == "go\\n", line
        """,
        stdin=(2.0, "go\n"),
    ),
    Right(
        "file_lock_that_another_rank_holds",
        2,
        """
        import fcntl
        import tempfile
        import time

        name = comm.bcast(tempfile.mktemp(), root=0)
        file = open(name, "a")
        if rank == 1:
            fcntl.flock(file, fcntl.LOCK_EX)
        comm.Barrier()
        if rank == 0:
            fcntl.flock(file, fcntl.LOCK_EX)  # rank 1 has it
            comm.send("mine", dest=1)
        else:
            time.sleep(2)
            fcntl.flock(file, fcntl.LOCK_UN)
            comm.recv(source=0)
        """,
    ),
    Right(
        "alarm_that_breaks_a_receive",
        2,
        """
        import signal

        class TooLate(Exception):
            pass

        def ring(*_):
            raise TooLate

        if rank == 0:
            signal.signal(signal.SIGALRM, ring)
            signal.alarm(2)
            try:
                comm.recv(source=1)
                raise SystemExit("nobody sends")
            except TooLate:
                comm.send("gave up", dest=1)
        else:
            assert comm.recv(source=0) == "gave up"
        """,
    ),
    Right(
        "alarm_whose_handler_sends",
        2,
        """
        import signal

        def ring(*_):
            comm.send("from a handler", dest=1 - rank)

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 1.5)
        assert comm.recv(source=1 - rank) == "from a handler"
        comm.Barrier()
        """,
    ),
    Right(
        "alarms_whose_handlers_send_small_objects_at_once",
        2,
        HANDLERS_MEET.format(object="bytes(10)"),
    ),
    Right(
        "alarms_whose_handlers_send_large_objects_at_once",
        2,
        HANDLERS_MEET.format(object="bytes(300_000)"),
    ),
    Right(
        "alarm_whose_handler_sends_to_its_own_rank",
        1,
        """
        import signal

        wake_up = lambda *_: comm.send("wake up", dest=0)
        signal.signal(signal.SIGALRM, wake_up)
        signal.setitimer(signal.ITIMER_REAL, 1.5)
        assert comm.recv(source=0) == "wake up"
        """,
    ),
    Wrong(
        "alarms_whose_handlers_send_what_nobody_receives",
        2,
        """
        import signal

        def ring(*_):
            comm.ssend("another tag", dest=1 - rank, tag=2)  # waits: 0 1

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 1.5)
        comm.recv(source=1 - rank, tag=1)
        """,
    ),
    Right(
        "alarm_that_rings_during_the_first_calls",
        2,
        """
        import signal

        rung = 0

        def ring(*_):
            global rung
            rung += 1
            if rung == 300:
                signal.setitimer(signal.ITIMER_REAL, 0)
            comm.sendrecv([rung], dest=rank, sendtag=2, source=rank, recvtag=2)

        signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 1e-4, 1e-3)
        while rung < 300:
            comm.sendrecv({"rung": rung}, dest=rank, sendtag=1, source=rank, recvtag=1)
        comm.Barrier()
        """,
    ),
    Right(
        "signal_from_another_process_whose_handler_sends",
        2,
        """
        import os
        import signal
        import subprocess

        signal.signal(signal.SIGUSR1, lambda *_: comm.send("told to", dest=1 - rank))
        command = f"sleep 2; kill -USR1 {os.getpid()}"
        with subprocess.Popen(["sh", "-c", command]):
            assert comm.recv(source=1 - rank) == "told to"
        """,
    ),
    Right(
        "interrupt_that_breaks_a_receive",
        2,
        """
        import os
        import signal
        import time

        if rank == 0:
            comm.send(os.getpid(), dest=1)
            try:
                comm.recv(source=1)
                raise SystemExit("nobody sends")
            except KeyboardInterrupt:
                comm.send("interrupted", dest=1)
        else:
            pid = comm.recv(source=0)
            time.sleep(2)
            os.kill(pid, signal.SIGINT)
            comm.recv(source=0)
        """,
    ),
    Right(
        "faulthandler_that_watches",
        2,
        """
        import faulthandler
        import time

        faulthandler.dump_traceback_later(60)
        if rank == 0:
            time.sleep(2)
            comm.send("x", dest=1)
        else:
            comm.recv(source=0)
        faulthandler.cancel_dump_traceback_later()
        """,
    ),
    Right(
        "stopped_rank_that_goes_on",
        3,
        """
        import os
        import signal
        import subprocess

        if rank == 0:
            command = f"sleep 3; kill -CONT {os.getpid()}"
            waker = subprocess.Popen(["sh", "-c", command])
            os.kill(os.getpid(), signal.SIGSTOP)
            waker.wait()
            for other in (1, 2):
                comm.send("up again", dest=other)
        else:
            comm.recv(source=0)
        """,
    ),
    Right(
        "stopped_in_a_receive_and_the_message_is_there",
        2,
        """
        import os
        import subprocess
        import time

        if rank == 0:
            comm.send(os.getpid(), dest=1)
            assert comm.recv(source=1) == "sent while you were stopped"
            comm.send("thanks", dest=1)
        else:
            pid = comm.recv(source=0)
            time.sleep(0.5)  # rank 0 is in its receive by now, or soon
            subprocess.run(["kill", "-STOP", str(pid)])
            waker = subprocess.Popen(["sh", "-c", f"sleep 2; kill -CONT {pid}"])
            comm.send("sent while you were stopped", dest=0)
            assert comm.recv(source=0) == "thanks"
            waker.wait()
        """,
    ),
    Right(
        "rank_beside_processes_that_compute",
        4,
        """
        import subprocess
        import sys

        burn = [
            "import time",
            "end = time.monotonic() + 2",
            "while time.monotonic() < end: pass",
        ]
        if rank == 0:
            command = [sys.executable, "-c", "\\n".join(burn)]
            load = [subprocess.Popen(command) for _ in range(4)]
        left, right = (rank - 1) % size, (rank + 1) % size
        while True:
            value = comm.sendrecv(rank, dest=right, source=left)
            over = all(p.poll() is not None for p in load) if rank == 0 else None
            if comm.bcast(over, root=0):
                break
        """,
    ),
    Right(
        "pool_of_processes_in_one_rank",
        3,
        """
        import multiprocessing
        import time

        def task(x):
            time.sleep(0.5)
            return x + 1

        if rank == 0:
            with multiprocessing.get_context("fork").Pool(2) as pool:
                results = pool.map(task, range(4), chunksize=1)
            comm.bcast(results, root=0)
        else:
            assert comm.bcast(None, root=0) == [1, 2, 3, 4]
        """,
    ),
    Right(
        "executor_of_threads_in_one_rank",
        2,
        """
        import time
        from concurrent.futures import ThreadPoolExecutor

        if rank == 0:
            with ThreadPoolExecutor(4) as threads:
                list(threads.map(time.sleep, [0.5] * 12))
            comm.send("slept", dest=1)
        else:
            comm.recv(source=0)
        """,
    ),
    Right(
        "forked_child_that_computes",
        2,
        """
        import os
        import time

        if rank == 0:
            child = os.fork()
            if child == 0:
                end = time.monotonic() + 2
                while time.monotonic() < end:
                    sum(range(1000))
                os._exit(7)
            _, status = os.waitpid(child, 0)
            assert os.waitstatus_to_exitcode(status) == 7
            comm.send("child is done", dest=1)
        else:
            comm.recv(source=0)
        """,
    ),
    Right(
        "parent_receives_while_its_forked_child_lives",
        2,
        """
        import os
        import time

        if rank == 0:
            child = os.fork()
            if child == 0:
                time.sleep(3)
                os._exit(0)
            comm.recv(source=1)
            os.waitpid(child, 0)
        else:
            time.sleep(2)
            comm.send("x", dest=0)
        """,
    ),
    Right(
        "asyncio_loop_in_one_rank",
        2,
        """
        import asyncio

        async def main():
            await asyncio.sleep(1)
            await asyncio.gather(*(asyncio.sleep(1) for _ in range(5)))
            comm.send("x", dest=1)

        asyncio.run(main()) if rank == 0 else comm.recv(source=0)
        """,
    ),
    Right(
        "asyncio_loop_that_receives_in_a_thread",
        2,
        """
        import asyncio

        async def main():
            receive = asyncio.create_task(asyncio.to_thread(comm.recv, source=1 - rank))
            await asyncio.sleep(1.5)
            comm.send("x", dest=1 - rank)
            assert await receive == "x"

        asyncio.run(main())
        """,
    ),
    Right(
        "begins_with_mpi_late",
        3,
        """
        import os
        import time

        time.sleep(2 if os.environ["PMI_RANK"] == "1" else 0)
        from mpi4py import MPI

        MPI.COMM_WORLD.Barrier()
        """,
        head="",
    ),
    Right(
        "initializes_by_hand_and_late",
        2,
        """
        import os
        import time

        import mpi4py

        mpi4py.rc.initialize = False
        from mpi4py import MPI

        time.sleep(2 if os.environ["PMI_RANK"] == "0" else 0)
        MPI.Init()
        MPI.COMM_WORLD.sendrecv("x", 1 - MPI.COMM_WORLD.rank)
        MPI.Finalize()
        """,
        head="",
    ),
    Right(
        "operation_of_its_own_that_takes_long",
        3,
        """
        import time

        def add(a, b, _):
            time.sleep(1)
            b[0] += a[0]

        slow = MPI.Op.Create(add)
        total = bytearray(1)
        comm.Allreduce(bytearray([rank]), total, op=slow)
        assert total[0] == 3
        slow.Free()
        """,
    ),
    Right(
        "object_that_takes_long_to_pickle",
        3,
        """
        import time

        class Heavy:
            def __getstate__(self):
                time.sleep(2)
                return {}

        comm.gather(Heavy() if rank == 1 else None, root=0)
        comm.Barrier()
        """,
    ),
    Right(
        "object_that_takes_long_to_unpickle",
        2,
        """
        import time

        class Heavy:
            def __setstate__(self, state):
                time.sleep(2)

            def __getstate__(self):
                return {"weight": 1}

        if rank == 0:
            comm.ssend(Heavy(), dest=1)
            comm.recv(source=1)
        else:
            comm.recv(source=0)
            comm.send("unpacked", dest=0)
        """,
    ),
    Right(
        "attribute_whose_deletion_takes_long",
        2,
        """
        import time

        key = MPI.Comm.Create_keyval(delete_fn=lambda *_: time.sleep(2))
        copy = comm.Dup()
        if rank == 0:
            copy.Set_attr(key, "value")
        copy.Free()
        comm.Barrier()
        """,
    ),
    Right(
        "mutex_whose_holder_takes_long",
        3,
        """
        import time

        from mpi4py.util.sync import Mutex

        mutex = Mutex(comm=comm)
        with mutex:
            time.sleep(0.5)
        mutex.free()
        """,
    ),
    Right(
        "joins_over_a_socket_late",
        2,
        """
        import socket
        import time

        if rank == 0:
            server = socket.create_server(("127.0.0.1", 0))
            comm.send(server.getsockname()[1], dest=1)
            connection, _ = server.accept()
        else:
            connection = socket.create_connection(("127.0.0.1", comm.recv(source=0)))
            time.sleep(1.5)
        other = MPI.Comm.Join(connection.fileno())
        other.sendrecv("x", 0)
        other.Disconnect()
        """,
    ),
    Right(
        "long_import_in_one_rank",
        2,
        """
        import sys
        import tempfile

        if rank == 0:
            with tempfile.TemporaryDirectory() as folder:
                with open(folder + "/slow_module.py", "w") as file:
                    file.write("import time; time.sleep(2)")
                sys.path.append(folder)
                import slow_module
        comm.Barrier()
        """,
    ),
    Right(
        "finalizer_that_takes_long",
        3,
        """
        import atexit
        import time

        if rank == 0:
            atexit.register(time.sleep, 2)
        comm.Barrier()
        """,
    ),
    Right(
        "leaves_late_while_the_others_finalize",
        3,
        """
        import time

        time.sleep(rank)
        """,
    ),
    Right(
        "sends_late_to_one_that_receives_last",
        3,
        """
        import time

        if rank == 1:
            comm.send("early", dest=0)
        elif rank == 0:
            time.sleep(2)
            assert comm.recv(source=1) == "early"
        """,
    ),
    Right(
        "ends_one_after_the_other_with_keep_going",
        3,
        """
        import sys
        import time

        comm.Barrier()
        time.sleep(rank / 2)
        sys.exit(0)
        """,
        flags=("--keep-going",),
    ),
    Right(
        "waits_long_with_keep_going",
        3,
        """
        import time

        if rank == 2:
            time.sleep(2)
        comm.Barrier()
        """,
        flags=("--keep-going",),
    ),
    Right(
        "finalize_called_by_hand_in_any_order",
        3,
        """
        import time

        time.sleep((size - rank) / 2)
        MPI.Finalize()
        time.sleep(rank / 2)
        """,
    ),
)
