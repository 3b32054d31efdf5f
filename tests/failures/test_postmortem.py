"""What a job says that ends badly: one block, for 4 ranks as for 64."""

import os
import re
import signal
import subprocess
import sys
import unittest
from pathlib import Path

from jobs import PHALANX, WATCHDOG, Ended, JobCase

HEAD = """
    import os, signal, sys, time
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    me, last = comm.rank, comm.size - 1
    def wait_for_ever():
        comm.recv(source=comm.rank, tag=99)
    def compute():
        until = time.monotonic() + 60
        while time.monotonic() < until:
            pass
"""


class BlockCase(JobCase):
    def block(self, ranks: int, script: str, *flags: str) -> tuple[Ended, str]:
        """Run a job; return how it ended and what the launcher said of it."""
        ended = self.run_job(ranks, HEAD + script, *flags)
        at = ended.err.find("phalanx: rank")
        self.assertGreaterEqual(at, 0, ended.text)
        return ended, ended.err[at:]

    def assert_fits(self, block: str, lines: int = 24) -> None:
        self.assertLessEqual(len(block.splitlines()), lines, block)
        for line in block.splitlines():
            # Names of files and lines of Python's own may be longer.
            if "/" not in line:
                self.assertLessEqual(len(line), 80, line)


class TestBlock(BlockCase):
    def test_an_exception_and_what_the_others_did(self):
        script = """
    if me == 0:
        comm.recv(source=2, tag=7)
    elif me == 1:
        compute()
    elif me == 3:
        sys.exit(0)
    else:
        time.sleep(1)
        raise ValueError("negative step")
"""
        ended, block = self.block(4, script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assertRegex(
            block,
            r"^phalanx: rank 2 \(pid \d+, .*script.py\)\s+raised ValueError; the job",
        )
        self.assertEqual(block.count("ValueError: negative step"), 1, block)
        self.assertIn('raise ValueError("negative step")', block)
        self.assertIn("what the others were doing then:", block)
        self.assertIn("  rank 0: Recv from rank 2, tag 7", block)
        self.assertRegex(block, r"at .*script.py:\d+, in <module>")
        self.assertIn("comm.recv(source=2, tag=7)", block)
        self.assertIn("  rank 1: computes\n", block)
        self.assertRegex(block, r"at .*script.py:\d+, in compute\n")
        self.assertRegex(block, "rank 3: had (ended|called MPI_Finalize)")
        self.assertNotIn("MPI_Abort", ended.err, ended.text)
        self.assert_fits(block)

    def test_the_same_exception_in_64_ranks_is_told_once(self):
        # So many interpreters take their time to end where CPUs are scarce.
        script = '    raise KeyError("no such option")\n'
        ended, block = self.block(64, script, "--grace", "30")
        self.assertEqual(ended.status, 1, ended.text)
        self.assertEqual(ended.err.count("Traceback (most recent"), 1, ended.text)
        self.assertEqual(ended.err.count("KeyError: 'no such option'"), 1, ended.text)
        self.assert_fits(block)

    def test_other_words_in_the_same_line(self):
        script = """
    comm.Barrier()
    time.sleep(0.1 * me)
    try:
        raise OSError(f"cannot read part {me}")
    finally:
        while not all(os.path.exists(f"raised-{r}") for r in range(1, me)):
            time.sleep(0.01)
        import atexit
        open(f"raised-{me}", "w").close()
        atexit.register(time.sleep, 1)
"""
        _, block = self.block(3, script, "--grace", "20")
        self.assertEqual(block.count("Traceback"), 1, block)
        self.assertRegex(block, r"raised the same there, in other words: cannot read")

    def test_an_exception_that_follows_from_the_first_is_not_told(self):
        script = """
    comm.Barrier()
    if me == 1:
        time.sleep(1)  # a wait is noted when it has lasted a tenth of that
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        comm.recv(source=1)
    finally:
        time.sleep(0.2)
"""
        ended, block = self.block(4, script)
        self.assertEqual(ended.status, 137, ended.text)
        self.assertNotIn("Traceback", ended.err, ended.text)
        self.assertIn("rank 1 (pid", block)
        self.assertIn("ranks 0, 2, 3: Recv from rank 1", block)
        self.assert_fits(block)

    def test_an_exception_that_tells_of_a_rank_that_left_is_the_first(self):
        ended, block = self.block(2, "    if me == 0:\n        comm.recv(source=1)\n")
        self.assertEqual(ended.status, 1, ended.text)
        self.assertTrue(block.startswith("phalanx: rank 0 "), block)
        self.assertIn("comm.recv(source=1)", block)
        self.assertIn("Traceback", block)

    def test_one_that_tells_of_a_rank_that_left_is_told_of_a_rank_that_ends_late(self):
        script = """
    if me == 0:
        import threading
        threading.Thread(target=time.sleep, args=(2,)).start()
        comm.recv(source=1, tag=7)
"""
        ended, block = self.block(2, script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assertRegex(block, r"^phalanx: rank 0 .*\s+raised phalanx.MPI.Exception")
        self.assertIn("comm.recv(source=1, tag=7)", block)

    def test_signals_statuses_and_codes(self):
        cases = {
            "os.kill(os.getpid(), signal.SIGSEGV)": r"was killed by SIGSEGV \(segm",
            "os.abort()": r"was killed by SIGABRT \(aborted\)",
            "os.kill(os.getpid(), signal.SIGKILL)": "was killed by SIGKILL; the",
            "sys.exit(3)": "exited with status 3; the job ended with it",
            "os._exit(0)": r"left without MPI_Finalize \(exit status 0\)",
            "comm.Abort(7)": "called MPI_Abort with code 7; the job ended with it",
        }
        for statement, told in cases.items():
            with self.subTest(statement):
                script = f"""
    if me == 1:
        time.sleep(0.6)
        print("its last words", file=sys.stderr, flush=True)
        {statement}
    comm.recv(source=1)
"""
                ended, block = self.block(3, script)
                block = ended.err[ended.err.index("phalanx: rank 1 (") :]
                self.assertRegex(block, told)
                self.assertIn("ranks 0, 2: Recv from rank", block.replace("\n", " "))
                if "Abort" not in statement:
                    self.assertIn("on stderr: its last words", block)
                self.assert_fits(block)

    def test_sixty_four_ranks_in_many_places_fit_on_a_screen(self):
        script = """
    if me == 17:
        time.sleep(4)
        raise RuntimeError("enough")
    comm.recv(source=17, tag=me)
"""
        ended, block = self.block(64, script, "--grace", "30")
        self.assertEqual(ended.status, 1, ended.text)
        self.assertRegex(
            block, r"ranks 0-.*: Recv from rank 17, tag \d+[^:]*more\s+like it"
        )
        self.assert_fits(block)

    def test_ranks_that_raise_in_many_places_fit_on_a_screen(self):
        lines = "".join(
            f"    if me % 16 == {line}:\n        raise IndexError({line})\n"
            for line in range(16)
        )
        script = f"    if me % 3 == 0:\n        wait_for_ever()\n{lines}"
        ended, block = self.block(48, script, "--grace", "30")
        self.assertEqual(ended.status, 1, ended.text)
        self.assertEqual(block.count("Traceback"), 1, block)
        self.assert_fits(block)

    def test_a_hook_of_the_program_shows_it_and_the_block_says_where(self):
        script = """
    sys.excepthook = lambda *args: print("my own hook:", args[1], file=sys.stderr)
    from phalanx import MPI
    if me == 1:
        time.sleep(0.3)
        raise ValueError("shown by the hook")
    wait_for_ever()
"""
        ended = self.run_job(2, HEAD + script)
        # A hook that was set after ours stands alone.
        self.assert_says(ended, "my own hook: shown by the hook", "rank 1 (pid")

    def test_errors_in_files_are_whole(self):
        script = """
    if me == 1:
        raise ValueError("to the file")
    wait_for_ever()
"""
        ended, block = self.block(2, script, "--output-filename", "log")
        own = Path(self.folder, "log.1.err").read_text()
        self.assertIn("Traceback (most recent call last)", own)
        self.assertNotIn("Traceback", ended.err, ended.text)
        self.assertIn("ValueError: to the file", block)
        self.assertRegex(block, r"at .*script.py:\d+, in <module>")

    def test_a_long_traceback_is_cut_in_the_middle(self):
        script = """
    def fall(n):
        exec("x = n\\n" * 3 + f"fall(n + 1)", {"n": n, "fall": fall})
    sys.setrecursionlimit(400)
    if me == 1:
        fall(0)
    wait_for_ever()
"""
        _, block = self.block(2, script)
        self.assertIn("RecursionError", block)
        self.assertLess(len(block.splitlines()), 125, block)

    def test_wild_words_do_not_disturb(self):
        script = r"""
    class Odd(Exception):
        def __str__(self):
            raise KeyError("no text")
    if me == 1:
        raise Odd("\0\x1b[2J\udcff" * 3)
    wait_for_ever()
"""
        ended, block = self.block(2, script)
        self.assertEqual(ended.status, 1, ended.text)
        self.assertIn("raised Odd", block)

    def test_a_program_that_writes_to_the_desk_itself(self):
        script = """
    import _socket, re
    number = int(os.environ["PHALANX_DESK"].partition(":")[0])
    desk = _socket.socket(fileno=os.dup(number))
    words = [b"", b"raised", b"raised\\0", b"raised\\x0099999\\0\\0a", b"\\xff" * 50000]
    for word in words * 20:
        desk.send(word)
    comm.Barrier()
    print("fine", flush=True)
"""
        ended = self.run_job(2, HEAD + script)
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.err, "", ended.text)

    def test_another_program_s_descriptor_is_left_alone(self):
        # A program of a rank has the variable, and something else under the number.
        inner = """
import os, socket, sys
number = int(os.environ["PHALANX_DESK"].partition(":")[0])
ours, theirs = socket.socketpair()
os.dup2(theirs.fileno(), number)
from phalanx import _failure
told = _failure.tell(ValueError, ValueError("x"), None, False)
ours.setblocking(False)
try:
    print("told", told, ours.recv(10))
except BlockingIOError:
    print("told", told, "and nothing written")
"""
        Path(self.folder, "inner.py").write_text(inner)
        script = """
    import subprocess
    subprocess.run([sys.executable, "inner.py"], check=True)
"""
        ended = self.run_job(1, HEAD + script)
        self.assertEqual(ended.out, "told False and nothing written\n", ended.text)


class TestEndOfTheLauncher(BlockCase):
    BLOCKED = "    print('ready', flush=True)\n    wait_for_ever()\n"

    def ended_by(self, number: int, *flags: str) -> Ended:
        job = self.start(3, HEAD + self.BLOCKED, *flags)
        job.wait_for("ready", times=3)
        os.kill(job.process.pid, number)
        return job.end()

    def test_a_signal_is_named_with_its_sender_and_what_ranks_did(self):
        for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGHUP, "SIGHUP")):
            with self.subTest(name):
                ended = self.ended_by(number)
                self.assertEqual(ended.status, 128 + number, ended.text)
                self.assert_says(
                    ended,
                    f"phalanx: {name} received from pid {os.getpid()} (",
                    "ranks 0-2 still running, killed in 10 s or by a second signal",
                )

    def test_a_killed_launcher_is_told_once(self):
        ended = self.ended_by(signal.SIGKILL)
        self.assertEqual(ended.status, 137, ended.text)
        self.assert_nothing_left()
        said = Path(self.folder, "err").read_text()
        line = r"^phalanx: the launcher of this job \(pid \d+\) was killed.*; its ranks"
        self.assertEqual(len(re.findall(line, said, re.MULTILINE)), 1, said)

    def test_a_launcher_that_cannot_start_a_job_says_only_why(self):
        command = [sys.executable, "-c", "pass"]
        wrong = self.launch("-n", "3", "--wdir", "/no/such/place", *command).end()
        self.assertNotEqual(wrong.status, 0, wrong.text)
        self.assert_nothing_left()
        self.assertNotIn("was killed", Path(self.folder, "err").read_text())

    def test_an_interrupt_says_where_the_ranks_were(self):
        ended = self.ended_by(signal.SIGINT)
        self.assertEqual(ended.status, 130, ended.text)
        self.assert_says(
            ended,
            "phalanx: interrupted (KeyboardInterrupt); where the ranks were:",
            "  ranks 0-2:",
            "comm.recv(source=comm.rank, tag=99)",
        )
        self.assertNotIn("Traceback", ended.err, ended.text)


class TestPlainPrograms(BlockCase):
    def test_an_exception_before_mpi_names_its_last_line(self):
        path = Path(self.folder, "plain.py")
        path.write_text("import no_such_module\n")
        ended = self.launch("-n", "4", sys.executable, str(path)).end()
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "exited with status 1; the job ended with it")
        words = " ".join(ended.err.partition("last words on stderr:")[2].split())
        self.assertIn("No module named 'no_such_module'", words, ended.text)

    def test_one_rank_says_its_error_once(self):
        done = subprocess.run(
            [PHALANX, "run", sys.executable, "-c", "1/0"],
            capture_output=True,
            text=True,
            timeout=WATCHDOG,
        )
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertEqual(done.stderr.count("ZeroDivisionError"), 1, done.stderr)


if __name__ == "__main__":
    unittest.main()
