"""Ranks that wait for each other: the proof, its words, and who is not accused.

What kinds of programs are told apart is the business of the tier `waiting`.
"""

import re
import sys
import unittest

from jobs import Job, JobCase

HEAD = """
    import os, signal, sys, threading, time
    import numpy as np
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    me, last = comm.rank, comm.size - 1
"""

WATCHED = {"PHALANX_ON_DEADLOCK": ""}


class Watched(JobCase):
    def launch(self, *arguments: str, **environment: str) -> Job:
        return super().launch(*arguments, **WATCHED, **environment)


RING = """
    comm.recv(source=(me + 1) % comm.size, tag=7)
"""


class TestDeadlock(Watched):
    def check(self, ranks: int, script: str, *says: str) -> None:
        ended = self.run_job(ranks, HEAD + script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "phalanx: deadlock:", *says)

    def test_a_ring_of_receives(self):
        for ranks in (2, 3, 8):
            with self.subTest(ranks=ranks):
                self.check(
                    ranks,
                    RING,
                    "Recv from rank 1, tag 7",
                    "script.py:8, in <module>",
                    "comm.recv(source=(me + 1) % comm.size, tag=7)",
                    "the cycle: 0 -> 1",
                    "hint:",
                )

    def test_large_sends_before_receives(self):
        script = """
    data = np.zeros(1 << 20)
    comm.Send(data, 1 - me)
    comm.Recv(data, source=1 - me)
"""
        self.check(2, script, "Send to rank 1", "8388608 bytes", "Sendrecv")

    def test_while_other_ranks_compute(self):
        script = """
    if me < 2:
        comm.recv(source=1 - me)
    while True:
        time.sleep(0.01)
"""
        self.check(4, script, "ranks 0, 1 wait for each other")

    def test_the_message_that_is_there_is_named(self):
        script = """
    if me == 0:
        comm.send("x", dest=1, tag=3)
        comm.recv(source=1)
    else:
        comm.recv(source=0, tag=4)
"""
        self.check(2, script, "from rank 0 with tag 3 is here", "compare")

    def test_a_collective_that_a_rank_does_not_reach(self):
        script = """
    comm.barrier() if me else comm.recv(source=1)
"""
        self.check(3, script, "Barrier on communicator", "for rank 0")

    def test_waits_for_all_and_for_any(self):
        script = """
    rooms = [bytearray(4), bytearray(4)]
    requests = [comm.Irecv(room, source=1 - me) for room in rooms]
    MPI.Request.Waitall(requests) if me else MPI.Request.Waitany(requests)
"""
        self.check(2, script, "Waitall from rank 0", "Waitany from rank 1")

    def test_threads_that_all_wait(self):
        script = """
    def wait(tag):
        comm.recv(source=1 - me, tag=tag)
    threads = [threading.Thread(target=wait, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""
        self.check(2, script, "tag 0", "tag 1")

    def test_spawned_ranks(self):
        child = "from mpi4py import MPI; MPI.Comm.Get_parent().recv(source=0)"
        script = f"""
    if me == 0:
        child = MPI.COMM_SELF.Spawn(sys.executable, ["-c", {child!r}])
        child.recv(source=0)
"""
        self.check(1, script, "of spawned world 1", "of the remote group")

    def test_a_rank_alone_without_a_launcher(self):
        script = "from phalanx import MPI; MPI.COMM_SELF.recv(source=0)"
        command = [sys.executable, "-c", script]
        ended = Job(self.folder, self.mark, command, **WATCHED).end()
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "rank 0 waits for itself and can never go on")

    def test_raised(self):
        script = """
    try:
        comm.recv(source=1 - me)
    except MPI.Exception as error:
        assert "wait for each other" in str(error), error
        comm.send("still works", dest=1 - me, tag=1)
        print(comm.recv(source=1 - me, tag=1), flush=True)
"""
        ended = self.run_job(2, HEAD + script, "--on-deadlock", "raise")
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.out.count("still works"), 2, ended.text)

    def test_reported_or_ignored(self):
        for what, times in (("report", 1), ("ignore", 0)):
            with self.subTest(what):
                flags = ("--on-deadlock", what, "--timeout", "2")
                ended = self.run_job(2, HEAD + RING, *flags)
                self.assertEqual(ended.status, 124, ended.text)
                before, _, after = ended.err.partition("timeout of")
                self.assertEqual(before.count("deadlock:"), times, ended.text)
                # What ends the job says what its ranks were doing.
                self.assertIn("deadlock: ranks 0, 1 wait for each other", after)
                self.assertIn("Recv from rank 1", after)

    def test_a_word_that_there_is_not(self):
        ended = self.run_job(1, "", "--on-deadlock", "panic")
        self.assertEqual(ended.status, 2, ended.text)
        self.assert_says(ended, "'panic' is not one of 'abort', 'raise'")


class TestNoDeadlock(Watched):
    """Ranks that look as if they waited for ever, and do not."""

    def check(self, ranks: int, script: str, *flags: str) -> None:
        ended = self.run_job(ranks, HEAD + script, *flags)
        self.assertEqual(ended.status, 0, ended.text)
        self.assertNotRegex(ended.text, re.compile("deadlock", re.IGNORECASE))

    def test_a_rank_that_sleeps(self):
        script = """
    if me == 0:
        time.sleep(2)
        comm.bcast(1)
    else:
        comm.bcast(None)
"""
        self.check(3, script)

    def test_another_thread(self):
        script = """
    def later():
        time.sleep(1.5)
        comm.send(1, dest=me)
    thread = threading.Thread(target=later)
    thread.start()
    comm.recv(source=me)
    thread.join()
"""
        self.check(1, script)

    def test_a_thread_that_waits_for_one_that_sleeps(self):
        script = """
    ready = threading.Event()
    def sends():
        ready.wait()
        comm.send(1, dest=me)
    threads = [threading.Thread(target=sends), threading.Timer(1.5, ready.set)]
    for thread in threads:
        thread.start()
    comm.recv(source=me)
    for thread in threads:
        thread.join()
"""
        self.check(2, script)

    def test_an_alarm(self):
        script = """
    def rings(number, frame):
        raise TimeoutError
    signal.signal(signal.SIGALRM, rings)
    signal.setitimer(signal.ITIMER_REAL, 1.5)
    try:
        comm.recv(source=me)
    except TimeoutError:
        pass
"""
        self.check(1, script)

    def test_a_stopped_rank(self):
        script = """
    if me == 0:
        if os.fork() == 0:
            time.sleep(2)
            os.kill(os.getppid(), signal.SIGCONT)
            os._exit(0)
        os.kill(os.getpid(), signal.SIGSTOP)
        comm.send(1, dest=1)
    else:
        comm.recv(source=0)
"""
        self.check(2, script)

    def test_a_loop_of_tests(self):
        script = """
    if me == 0:
        request = comm.irecv(source=1)
        while not request.test()[0]:
            time.sleep(0.3)
    else:
        time.sleep(1.5)
        comm.send(1, dest=0)
        comm.recv(source=0)
    if me == 0:
        comm.send(1, dest=1)
"""
        self.check(2, script)


if __name__ == "__main__":
    unittest.main()
