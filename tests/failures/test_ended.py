"""A rank that has ended and is still waited for; sends under way at the end."""

import sys
import textwrap
import unittest
from pathlib import Path

from jobs import JobCase

HEAD = """
    import sys, time
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    last = comm.size - 1
"""


class TestWaitingForARankThatHasEnded(JobCase):
    def check(self, script: str, *says: str, ranks: tuple[int, ...] = (2, 3)) -> None:
        for n in ranks:
            with self.subTest(ranks=n):
                ended = self.run_job(n, HEAD + script)
                self.assertEqual(ended.status, 1, ended.text)
                self.assert_says(ended, f"rank {n - 1}", "has ended", *says)

    def test_barrier(self):
        self.check(
            "    sys.exit(0) if comm.rank == last else comm.barrier()\n",
            "MPI_Barrier",
            ranks=(2, 3, 8),
        )

    def test_receive(self):
        script = """
    if comm.rank == last:
        comm.send("the only one", dest=0)
    elif comm.rank == 0:
        time.sleep(0.3)
        assert comm.recv(source=last) == "the only one"
        comm.recv(source=last)
"""
        self.check(script)

    def test_receive_from_anybody(self):
        # This rank might send the message itself: it takes a proof that it will not.
        script = "    comm.Recv(bytearray(8)) if comm.rank == 0 else None\n"
        ended = self.run_job(2, HEAD + script, "--on-deadlock", "abort")
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "rank 0: Recv from any", "rank 1 could have helped")

    def test_send(self):
        self.check(
            "    comm.Ssend(bytearray(8), last) if comm.rank == 0 else None\n",
            "MPI_Ssend",
            "8 bytes",
        )

    def test_nonblocking_collective(self):
        self.check(
            "    comm.Ibarrier().Wait() if comm.rank != last else None\n",
            "Ibarrier",
            ranks=(2,),
        )

    def test_program_that_never_begins(self):
        script = """
    import os, sys
    if os.environ["PMI_RANK"] == "1":
        sys.exit(0)
    from mpi4py import MPI
    MPI.COMM_WORLD.barrier()
"""
        ended = self.run_job(2, script)
        self.assertNotEqual(ended.status, 0, ended.text)
        self.assert_says(ended, "rank 1")

    def test_a_killed_rank_of_a_job_that_goes_on(self):
        for call in (
            "comm.recv(source=last)",
            "comm.barrier()",
            "comm.Ssend(b'x', last)",
        ):
            script = f"""
    import os, signal
    if comm.rank == last:
        os.kill(os.getpid(), signal.SIGKILL)
    {call}
"""
            with self.subTest(call=call):
                ended = self.run_job(2, HEAD + script, "--keep-going")
                self.assertNotEqual(ended.status, 0, ended.text)
                self.assert_says(
                    ended, "SIGKILL", "rank 1, which has ended: it was killed"
                )

    def test_ranks_of_a_job_that_goes_on_are_lost_one_after_the_other(self):
        script = """
    import os, signal
    if comm.rank > 0:
        comm.recv(source=0)
        os.kill(os.getpid(), signal.SIGKILL)
    lost = []
    for victim in range(1, comm.size):
        comm.send("go", victim)
        for wait in (lambda: comm.recv(source=victim), comm.barrier):
            try:
                wait()
            except MPI.Exception as error:
                assert error.error_class == MPI.ERR_PROC_FAILED, error
                lost.append(victim)
    print("lost", lost, os.environ["PHALANX_KEEP_GOING"], flush=True)
"""
        for n in (2, 3, 8):
            with self.subTest(ranks=n):
                ended = self.run_job(n, HEAD + script, "--keep-going")
                self.assertEqual(ended.status, 128 + 9, ended.text)
                twice = [victim for victim in range(1, n) for _ in range(2)]
                self.assertIn(f"lost {twice} 1", ended.out, ended.text)

    def test_a_job_inside_one_that_goes_on_has_a_manner_of_its_own(self):
        script = """
    import os, subprocess
    show = "import os; print('inside', os.environ['PHALANX_KEEP_GOING'])"
    inner = ["mpiexec", "-n", "1", sys.executable, "-c", show]
    subprocess.run(inner, check=True)
"""
        ended = self.run_job(1, HEAD + script, "--keep-going")
        self.assertEqual(ended.status, 0, ended.text)
        self.assertIn("inside 0", ended.out, ended.text)

    def test_a_killed_rank_ends_other_jobs_without_a_word_of_the_others(self):
        script = """
    import os, signal
    signal.signal(signal.SIGTERM, lambda *_: None)
    if comm.rank == last:
        time.sleep(0.5)
        os.kill(os.getpid(), signal.SIGKILL)
    comm.recv(source=last)
"""
        ended = self.run_job(3, HEAD + script)
        self.assertEqual(ended.status, 128 + 9, ended.text)
        self.assertNotIn("has ended", ended.err, ended.text)

    def test_a_process_whose_shell_lives_on(self):
        path = Path(self.folder, "script.py")
        path.write_text(
            textwrap.dedent(
                HEAD
                + """
    import os
    if comm.rank == last:
        os._exit(0)
    comm.recv(source=last)
"""
            )
        )
        command = f"{sys.executable} {path}; sleep 100"
        ended = self.launch("-n", "2", "sh", "-c", command).end()
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "rank 1, which has ended")

    def test_a_slow_rank_is_waited_for(self):
        script = """
    if comm.rank == 1:
        time.sleep(3)
        comm.send("late", dest=0)
    elif comm.rank == 0:
        assert comm.recv() == "late"
"""
        ended = self.run_job(3, HEAD + script)
        self.assertEqual(ended.status, 0, ended.text)


class TestWaitingForOtherWorlds(JobCase):
    """Ports and the worlds that were spawned: whoever could come has left."""

    def check(self, ranks: int, script: str, *says: str) -> None:
        ended = self.run_job(ranks, HEAD + script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "ended", *says)

    def test_accept_alone(self):
        script = """
    if comm.rank == 0:
        MPI.COMM_SELF.Accept(MPI.Open_port(), MPI.Info.Create({"timeout": "3"}))
"""
        self.check(3, script, "MPI_Comm_accept", "(rank 1, rank 2)", "within 3 s")

    def test_accept_together(self):
        script = """
    both = comm.Split(comm.rank < 2)
    if comm.rank < 2:
        port = MPI.Open_port() if both.rank == 1 else ""
        both.Accept(port, MPI.Info.Create({"timeout": "3"}), root=1)
"""
        self.check(3, script, "MPI_Comm_accept", "(rank 2)", "within 3 s")

    def test_accept_that_goes_on_is_told_once(self):
        script = """
    import threading
    if comm.rank == 0:
        port = MPI.Open_port()
        def connect():
            time.sleep(3)
            code = (
                "from mpi4py import MPI; "
                f"MPI.COMM_SELF.Connect({port!r}).Disconnect(); "
                "MPI.Comm.Get_parent().Disconnect()"
            )
            MPI.COMM_SELF.Spawn(sys.executable, ["-c", code]).Disconnect()
        thread = threading.Thread(target=connect)
        thread.start()
        MPI.COMM_SELF.Accept(port).Disconnect()
        thread.join()
"""
        ended = self.run_job(2, HEAD + script)
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.err.count("it goes on waiting"), 1, ended.text)
        self.assert_says(ended, "rank 0", "MPI_Comm_accept", "(rank 1)")

    def test_connect(self):
        script = """
    port = comm.bcast(MPI.Open_port() if comm.rank == 0 else None)
    if comm.rank == 1:
        MPI.COMM_SELF.Connect(port)
"""
        self.check(2, script, "MPI_Comm_connect")

    def test_children_that_end_early(self):
        for child in ("pass", "from mpi4py import MPI"):
            for call in (
                "recv(source=0)",
                "bcast(1, root=MPI.ROOT)",
                "Barrier()",
                "Merge()",
                "Ssend(bytearray(8), 0)",
            ):
                script = f"""
    children = MPI.COMM_SELF.Spawn(sys.executable, ["-c", {child!r}])
    children.{call}
    children.recv(source=0)
"""
                with self.subTest(child=child, call=call):
                    self.check(1, script, "rank 0, which has ended")

    def test_children_whose_parents_end_early(self):
        code = "from mpi4py import MPI; MPI.Comm.Get_parent().recv(source=0)"
        script = f"    MPI.COMM_SELF.Spawn(sys.executable, ['-c', {code!r}])\n"
        self.check(1, script, "rank 0, which has ended", "MPI_Recv")


class TestOperationsUnderWayAtTheEnd(JobCase):
    def test_a_send_on_the_last_line_is_delivered(self):
        script = """
    import array
    if comm.rank == 0:
        request = comm.isend(array.array("d", [1.5]) * 30000, dest=1)
        comm.Isend(array.array("d", [2.5]) * 30000, 1).Free()
        comm.Isend(array.array("d", [3.5]) * 30000, 1)
    elif comm.rank == 1:
        time.sleep(1.5)
        assert comm.recv(source=0) == array.array("d", [1.5]) * 30000
        for value in (2.5, 3.5):
            target = array.array("d", [0.0]) * 30000
            comm.Recv(target, 0)
            assert target == array.array("d", [value]) * 30000
        print("all there")
"""
        ended = self.run_job(3, HEAD + script)
        self.assertEqual(ended.status, 0, ended.text)
        self.assertIn("all there", ended.out)

    def test_a_send_that_nobody_receives_is_named(self):
        script = """
    request = comm.Isend(bytearray(300_000), last) if comm.rank == 0 else None
"""
        ended = self.run_job(2, HEAD + script)
        self.assertEqual(ended.status, 0, ended.text)
        self.assert_says(ended, "a message was not delivered", "300000 bytes", "rank 1")

    def test_ranks_that_only_send_to_each_other_end(self):
        script = """
    request = comm.Isend(bytearray(300_000), (comm.rank + 1) % comm.size)
"""
        ended = self.run_job(3, HEAD + script)
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.err.count("a message was not delivered"), 3, ended.text)

    def test_receives_that_nothing_comes_for_do_not_matter(self):
        ended = self.run_job(
            2, HEAD + "    request = comm.Irecv(bytearray(8), comm.rank ^ 1)\n"
        )
        self.assertEqual((ended.status, ended.err), (0, ""), ended.text)


if __name__ == "__main__":
    unittest.main()
