"""A rank that ends badly ends the job, which says which rank and why."""

import os
import re
import signal
import socket
import subprocess
import sys
import unittest
from pathlib import Path

from jobs import PHALANX, WATCHDOG, JobCase

OTHERS_WAIT = """
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    def wait_for_ever():
        comm.recv(source=comm.rank, tag=99)
"""


class TestUncaughtException(JobCase):
    def check(self, script: str, ranks: int, raised: str, rank: int) -> None:
        ended = self.run_job(ranks, OTHERS_WAIT + script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assertEqual(ended.err.count("Traceback (most recent"), 1, ended.text)
        self.assertEqual(ended.err.count(raised), 1, ended.text)
        self.assert_says(ended, f"rank {rank}")

    def test_before_any_message(self):
        script = """
    if comm.rank == comm.size - 1:
        raise RuntimeError("no such luck")
    wait_for_ever()
"""
        for ranks in (2, 3, 8):
            with self.subTest(ranks=ranks):
                self.check(script, ranks, "RuntimeError: no such luck", ranks - 1)

    def test_alone(self):
        ended = self.run_job(1, OTHERS_WAIT + "    raise KeyError('alone')\n")
        self.assertEqual(ended.status, 1, ended.text)
        self.assertEqual(ended.err.count("Traceback (most recent"), 1, ended.text)

    def test_object_that_does_not_pickle(self):
        script = """
    if comm.rank == 0:
        comm.send(lambda: 1, dest=1)
    wait_for_ever()
"""
        ended = self.run_job(2, OTHERS_WAIT + script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "Traceback", "lambda", "rank 0")

    def test_object_that_does_not_unpickle(self):
        script = """
    class Bomb:
        def __reduce__(self):
            return (explode, ())
    def explode():
        raise ValueError("does not unpickle")
    if comm.rank == 1:
        comm.recv(source=0)
    else:
        comm.send(Bomb(), dest=1)
    wait_for_ever()
"""
        self.check(script, 2, "ValueError: does not unpickle", 1)

    def test_in_a_collective_of_objects(self):
        script = """
    data = (lambda: 1) if comm.rank == 2 else 1
    comm.allgather(data)
    wait_for_ever()
"""
        ended = self.run_job(3, OTHERS_WAIT + script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "Traceback", "rank 2")

    def test_inside_a_user_operation(self):
        script = """
    def add(a, b, dt=None):
        raise ArithmeticError("cannot add")
    op = MPI.Op.Create(add)
    comm.allreduce(1, op=op)
    wait_for_ever()
"""
        ended = self.run_job(2, OTHERS_WAIT + script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "ArithmeticError: cannot add")


class TestExits(JobCase):
    def end_of(self, statement: str, ranks: int = 3):
        script = f"""
    import os, sys, signal
    if comm.rank == 1:
        {statement}
    wait_for_ever()
"""
        return self.run_job(ranks, OTHERS_WAIT + script)

    def test_exit_status_is_the_failing_ranks(self):
        ended = self.end_of("sys.exit(3)")
        self.assertEqual(ended.status, 3, ended.text)
        self.assert_says(ended, "rank 1")

    def test_exit_with_a_message(self):
        ended = self.end_of("sys.exit('the input is empty')")
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "the input is empty", "rank 1")

    def test_abort_signal(self):
        ended = self.end_of("os.abort()")
        self.assertEqual(ended.status, 128 + 6, ended.text)
        self.assert_says(ended, "rank 1", "SIGABRT")

    def test_segmentation_fault(self):
        ended = self.end_of("os.kill(os.getpid(), signal.SIGSEGV)")
        self.assertEqual(ended.status, 128 + 11, ended.text)
        self.assert_says(ended, "rank 1", "SIGSEGV")

    def test_kill_of_a_rank(self):
        ended = self.end_of("os.kill(os.getpid(), signal.SIGKILL)", ranks=8)
        self.assertEqual(ended.status, 128 + 9, ended.text)
        self.assert_says(ended, "rank 1", "SIGKILL")

    def test_leaving_without_finalize(self):
        ended = self.end_of("os._exit(0)")
        self.assertNotEqual(ended.status, 0, ended.text)
        self.assert_says(ended, "rank 1", "MPI_Finalize")

    def test_mpi_abort(self):
        ended = self.end_of("comm.Abort(7)")
        self.assertEqual(ended.status, 7, ended.text)
        self.assert_says(ended, "rank 1")

    def test_mpi_abort_says_its_line_in_one_piece(self):
        # A write to a socket of packets is one packet: lines of ranks that abort at
        # the same time do not mix.
        script = "from phalanx import MPI; MPI.COMM_WORLD.Abort(7)"
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, its:
            command = [sys.executable, "-c", script]
            process = subprocess.run(command, stderr=its, timeout=WATCHDOG)
            its.close()
            said = list(iter(lambda: ours.recv(1 << 16).decode(), ""))
        self.assertEqual(process.returncode, 7, said)
        lines = [packet for packet in said if "Abort" in packet]
        self.assertEqual(len(lines), 1, said)
        self.assertRegex(lines[0], r"(?s)^phalanx: .*MPI_Abort with code 7.*\n$")

    def test_success_after_all(self):
        ended = self.run_job(3, OTHERS_WAIT + "    print('fine', flush=True)\n")
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.out.count("fine"), 3, ended.text)
        self.assertEqual(ended.err, "", ended.text)

    def test_exit_zero_is_success(self):
        script = "    import sys\n    sys.exit(0)\n"
        ended = self.run_job(2, OTHERS_WAIT + script)
        self.assertEqual(ended.status, 0, ended.text)


# A rank with things that only the end of its interpreter finishes.
UNFINISHED = """
    import atexit, os, sys, tempfile, time
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    file = open(f"result-{comm.rank}", "w")
    file.write("written before")
    folder = tempfile.TemporaryDirectory()
    atexit.register(lambda: open(f"exit-{comm.rank}", "w").write("done"))
    comm.Barrier()
"""


class TestShutdown(JobCase):
    """A failing rank's interpreter ends as it does in any program."""

    def assert_finished(self, ended, *ranks: int) -> None:
        for rank in ranks:
            for name, text in (("result", "written before"), ("exit", "done")):
                path = Path(self.folder, f"{name}-{rank}")
                self.assertTrue(path.exists(), f"{path} {ended.text}")
                self.assertEqual(path.read_text(), text, ended.text)
        self.assertEqual(list(self.temporary.iterdir()), [], ended.text)

    def test_of_one_rank(self):
        script = """
    if comm.rank == 0:
        folder.cleanup()
        comm.recv(source=0)
    raise RuntimeError("no such luck")
"""
        ended = self.run_job(2, UNFINISHED + script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "RuntimeError: no such luck", "rank 1")
        self.assert_finished(ended, 1)

    def test_of_all_ranks_at_once(self):
        # The end of the first rank ends those that have no error of their own yet.
        script = """
    def end():
        while not all(os.path.exists(f"raised-{rank}") for rank in range(comm.size)):
            time.sleep(0.01)
        time.sleep(0.3 * (comm.rank + 1))
    atexit.register(end)
    open(f"raised-{comm.rank}", "w").close()
    raise RuntimeError("no such luck")
"""
        ended = self.run_job(3, UNFINISHED + script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assertEqual(ended.err.count("RuntimeError: no such luck"), 1, ended.text)
        self.assertRegex(ended.err, r"ranks \d, \d raised the same", ended.text)
        self.assert_finished(ended, 0, 1, 2)

    def test_of_the_rank_whose_error_the_others_only_tell_of(self):
        calls = {
            "bcast": "comm.bcast(data, root=1)",
            "scatter": "comm.scatter([data] * comm.size, root=1)",
            "allgather": "comm.allgather(data)",
            "alltoall": "comm.alltoall([data] * comm.size)",
        }
        for name, call in calls.items():
            with self.subTest(call=name):
                script = f"""
    data = (lambda: 1) if comm.rank == 1 else 1
    atexit.register(time.sleep, 0.5)
    {call}
    comm.recv(source=comm.rank)
"""
                ended = self.run_job(3, UNFINISHED + script)
                self.assertEqual(ended.status, 1, ended.text)
                first = ended.err.partition("phalanx: ")[2]
                self.assertTrue(first.startswith("rank 1 "), ended.text)
                self.assertIn("pickle", first, ended.text)
                self.assert_finished_but_for_folders(1, ended)
                for folder in self.temporary.iterdir():
                    folder.rmdir()

    def assert_finished_but_for_folders(self, rank: int, ended) -> None:
        for name in ("result", "exit"):
            path = Path(self.folder, f"{name}-{rank}")
            self.assertTrue(path.exists() and path.read_text(), ended.text)
            path.unlink()

    def test_of_interrupted_ranks(self):
        script = """
    print("ready", flush=True)
    comm.recv(source=comm.rank)
"""
        job = self.start(2, UNFINISHED + script)
        job.wait_for("ready", times=2)
        os.kill(job.process.pid, signal.SIGINT)
        ended = job.end()
        self.assertEqual(ended.status, 130, ended.text)
        self.assert_says(ended, "interrupted (KeyboardInterrupt)", "ranks 0, 1:")
        self.assert_says(ended, "comm.recv(source=comm.rank)")
        self.assert_finished(ended, 0, 1)

    def test_of_a_rank_that_finalizes_at_exit(self):
        script = """
    atexit.register(MPI.Finalize)
    if comm.rank == 0:
        folder.cleanup()
        comm.recv(source=0)
    raise RuntimeError("no such luck")
"""
        ended = self.run_job(2, UNFINISHED + script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_finished(ended, 1)

    def test_a_thread_that_never_ends_does_not_hang_the_job(self):
        script = """
    import threading
    if comm.rank == 0:
        comm.recv(source=0)
    threading.Thread(target=threading.Event().wait).start()
    raise RuntimeError("no such luck")
"""
        ended = self.run_job(2, OTHERS_WAIT + script, "--grace", "1")
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "RuntimeError: no such luck", "a thread")

    def test_of_ranks_that_save_something_when_terminated(self):
        script = """
    import signal
    def save(*_):
        time.sleep(3)
        sys.exit(0)
    signal.signal(signal.SIGTERM, save)
    print("ready", flush=True)
    comm.recv(source=comm.rank)
"""
        job = self.start(2, UNFINISHED + script)
        job.wait_for("ready", times=2)
        os.kill(job.process.pid, signal.SIGTERM)
        ended = job.end()
        self.assertEqual(ended.status, 143, ended.text)
        self.assert_says(ended, "SIGTERM received")
        self.assert_finished(ended, 0, 1)


class TestPlace(JobCase):
    def test_the_universe_is_as_large_as_the_machine(self):
        ask = "comm.Get_attr(MPI.UNIVERSE_SIZE)"
        script = f"    print({ask}, flush=True)\n"
        cpus = len(os.sched_getaffinity(0))
        for ranks, flags, size in (
            (1, (), cpus),
            (cpus + 1, (), cpus + 1),
            (1, ("-usize", "7"), 7),
        ):
            ended = self.run_job(ranks, OTHERS_WAIT + script, *flags)
            self.assertEqual(ended.out, f"{size}\n" * ranks, ended.text)
        alone = "from mpi4py import MPI\ncomm = MPI.COMM_WORLD\nprint({ask})\n"
        Path(self.folder, "alone.py").write_text(alone.replace("{ask}", ask))
        done = subprocess.run(
            [PHALANX, "shell", "-c", f"{sys.executable} alone.py"],
            capture_output=True,
            text=True,
            timeout=WATCHDOG,
            cwd=self.folder,
        )
        self.assertEqual(done.stdout, f"{cpus}\n", done.stderr)

    def test_spawned_ranks_know_theirs(self):
        child = """
import os
from mpi4py import MPI
parent = MPI.Comm.Get_parent()
names = "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID", "OMPI_COMM_WORLD_SIZE"
parent.gather((MPI.COMM_WORLD.rank, *(int(os.environ[name]) for name in names)), root=0)
"""
        Path(self.folder, "child.py").write_text(child)
        script = """
    import sys
    children = MPI.COMM_SELF.Spawn(sys.executable, ["child.py"], maxprocs=2)
    print(children.gather(None, root=MPI.ROOT), flush=True)
"""
        ended = self.run_job(1, OTHERS_WAIT + script)
        self.assertEqual(ended.out, "[(0, 0, 0, 2), (1, 1, 1, 2)]\n", ended.text)

    def test_programs_that_never_use_mpi_run_to_their_end(self):
        script = "import os, time\ntime.sleep(2 * int(os.environ['PMI_RANK']))\n"
        ended = self.run_job(2, script + "print('end', flush=True)\n")
        self.assertEqual((ended.status, ended.out), (0, "end\nend\n"), ended.text)


class TestThreadsThatWait(JobCase):
    """Threads that wait in calls when Python ends are no reason to crash."""

    def test_status_is_that_of_the_program(self):
        script = """
    import sys, threading, time
    from phalanx import MPI
    import array
    other, one = comm.Dup(), array.array("d", [0])
    waits = (
        lambda: comm.recv(source=1, tag=5),
        lambda: comm.Recv(one, 1, 6),
        lambda: comm.irecv(source=1, tag=7).wait(),
        lambda: MPI.Request.Waitany([comm.Irecv(one, 1, 8)]),
        lambda: comm.Probe(1, 9),
        lambda: comm.mprobe(1, 10),
        other.Barrier,
    )
    if comm.rank == 0:
        for wait in waits:
            threading.Thread(target=wait, daemon=True).start()
        time.sleep(0.3)
        {end}
    wait_for_ever()
"""
        for end, status in (("sys.exit(3)", 3), ("raise ValueError", 1)):
            ended = self.run_job(2, OTHERS_WAIT + script.replace("{end}", end))
            self.assertEqual(ended.status, status, ended.text)
            self.assertNotIn("FATAL", ended.text)


class TestChildOfARank(JobCase):
    def test_fork_may_compute_but_not_communicate(self):
        script = """
    import os, sys
    if comm.rank == 0:
        pid = os.fork()
        if pid == 0:
            try:
                comm.send(1, dest=1)
            except BaseException as error:
                print("child:", error, flush=True)
                os._exit(0)
            os._exit(5)
        _, status = os.waitpid(pid, 0)
        print("child status", os.waitstatus_to_exitcode(status), flush=True)
        comm.send("from the parent", dest=1)
    else:
        print(comm.recv(source=0), flush=True)
"""
        ended = self.run_job(2, OTHERS_WAIT + script)
        self.assertEqual(ended.status, 0, ended.text)
        self.assertIn("child status 0", ended.out, ended.text)
        self.assertIn("fork", ended.out, ended.text)
        self.assertIn("from the parent", ended.out, ended.text)

    def test_a_forked_child_changes_nothing_that_is_shared(self):
        script = """
    import os, sys
    from phalanx import MPI
    import array
    one, two = array.array("d", [1]), array.array("d", [0] * comm.size)
    win = MPI.Win.Allocate(8, comm=comm)
    win.Lock_all()
    calls = {
        "barrier": comm.Barrier,
        "bcast": lambda: comm.Bcast(one),
        "allreduce": lambda: comm.Allreduce(MPI.IN_PLACE, one),
        "allgather": lambda: comm.Allgather(one, two),
        "ibarrier": lambda: comm.Ibarrier().Wait(),
        "gather": lambda: comm.gather(1),
        "isend": lambda: comm.Isend(one, 0).Wait(),
        "put": lambda: win.Put(one, 0),
        "fetch": lambda: win.Fetch_and_op(one, one[:], 0),
        "flush": lambda: win.Flush(0),
        "unlock": win.Unlock_all,
        "dup": comm.Dup,
    }
    comm.Barrier()
    if comm.rank == 0:
        for name, call in calls.items():
            pid = os.fork()
            if pid == 0:
                try:
                    call()
                except MPI.Exception as error:
                    os._exit(0 if "forked child" in str(error) else 6)
                os._exit(5)
            _, status = os.waitpid(pid, 0)
            print(name, os.waitstatus_to_exitcode(status), flush=True)
    for call in list(calls.values())[:6]:
        call()
    win.Unlock_all()
    comm.Barrier()
    win.Free()
"""
        ended = self.run_job(2, OTHERS_WAIT + script)
        self.assertEqual(ended.status, 0, ended.text)
        answers = re.findall(r"^(\w+) (\d+)$", ended.out, re.MULTILINE)
        self.assertEqual(len(answers), 12, ended.text)
        self.assertEqual([name for name, status in answers if status != "0"], [])

    def test_subprocess_of_a_rank_is_its_own_job(self):
        script = """
    import subprocess, sys
    code = "from mpi4py import MPI; print('inner', MPI.COMM_WORLD.size)"
    subprocess.run([sys.executable, "-c", code], check=True)
    comm.Barrier()
"""
        ended = self.run_job(2, OTHERS_WAIT + script)
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.out.count("inner 1"), 2, ended.text)


if __name__ == "__main__":
    unittest.main()
