"""`breakpoint()`, `input()` and `--pdb` in any rank of a job in a terminal."""

import os
import re
import signal
import subprocess
import sys
import termios
import textwrap
import time
import unittest
from pathlib import Path

from jobs import MARK, PHALANX, WATCHDOG, JobCase
from test_terminal import Terminal

HEAD = """
    import os, sys, time
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    me = comm.rank
"""

# From 3.13 on a debugger stops at breakpoint() itself, before that at what comes next.
STOPS_AT_THE_CALL = sys.version_info >= (3, 13)


class PromptCase(JobCase):
    def terminal(self, ranks: int, script: str, *flags: str) -> Terminal:
        path = Path(self.folder, "script.py")
        path.write_text(textwrap.dedent(HEAD + script))
        command = [PHALANX, "run", "-n", str(ranks), *flags, sys.executable, str(path)]
        job = Terminal(self.mark, self.folder, command)
        self.modes = termios.tcgetattr(job.descriptor)
        return job

    def assert_ends(self, job: Terminal, status: int) -> None:
        self.assertEqual(job.end(), status, job.text)

    def assert_modes(self, job: Terminal) -> None:
        """The terminal is as it was before the job."""
        self.assertEqual(termios.tcgetattr(job.descriptor), self.modes, job.text)

    def why(self, job: Terminal) -> str:
        """What is said of the job, in one line."""
        command = [PHALANX, "why", str(job.pid)]
        asked = subprocess.run(
            command, capture_output=True, text=True, timeout=WATCHDOG
        )
        return " ".join((asked.stdout + asked.stderr).split())

    def end_keeping(self, job: Terminal) -> int:
        """Wait for the end of the job; its terminal stays for a look."""
        deadline = time.monotonic() + WATCHDOG
        while True:
            pid, status = os.waitpid(job.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            self.assertLess(time.monotonic(), deadline, job.text)
            job.read(0.05)


class TestBreakpoint(PromptCase):
    def test_in_one_rank_while_the_others_wait(self):
        job = self.terminal(
            3,
            """
    x = 41 + me
    if me == 1:
        breakpoint()
        comm.bcast(x, root=1)
    else:
        print("got", comm.bcast(None, root=1), flush=True)
""",
        )
        job.wait_for("script.py(")
        where = "breakpoint()" if STOPS_AT_THE_CALL else "comm.bcast(x, root=1)"
        job.wait_for(f"-> {where}")
        job.wait_for("[rank 1] (Pdb) ")
        job.type("p x\n")
        job.wait_for("42")
        job.wait_for("[rank 1] (Pdb) ")
        # The others wait in a call for far longer than a proof takes.
        time.sleep(1)
        self.assertRegex(self.why(job), r"is at a prompt of pdb at\s+script.py:")
        job.type("x = 7\n")
        job.wait_for("[rank 1] (Pdb) ")
        job.type("c\n")
        job.wait_for("got 7")
        job.wait_for("got 7")
        self.assert_ends(job, 0)
        self.assertNotIn("deadlock", job.text)

    def test_lines_are_edited(self):
        job = self.terminal(
            2, "    if me == 1:\n        x = 6 * 7\n        breakpoint()\n"
        )
        job.wait_for("[rank 1] (Pdb) ")
        # Control-A goes to the beginning of the line, if it is readline's.
        job.type("x\x01p \n")
        job.wait_for("42")
        job.wait_for("[rank 1] (Pdb) ")
        job.type("c\n")
        self.assert_ends(job, 0)

    def test_two_ranks_take_turns(self):
        job = self.terminal(
            3,
            """
    x = 10 + me
    if me != 1:
        breakpoint()
    comm.Barrier()
    print("after", me, flush=True)
""",
        )
        job.wait_for("[rank ")
        while len(job.text) == job.seen:
            job.read(0.05)
        first = int(job.text[job.seen])
        second = 2 - first
        job.wait_for("(Pdb) ")
        job.type("p x\n")
        job.wait_for(str(10 + first))
        job.wait_for(f"[rank {first}] (Pdb) ")
        self.assertNotIn(f"[rank {second}]", job.text)
        job.type("c\n")
        job.wait_for(f"[rank {second}] (Pdb) ")
        job.type("p x\n")
        job.wait_for(str(10 + second))
        job.wait_for(f"[rank {second}] (Pdb) ")
        job.type("c\n")
        for _ in range(3):
            job.wait_for("after")
        self.assert_ends(job, 0)

    def test_steps_wait_for_other_ranks_and_keep_the_turn(self):
        job = self.terminal(
            2,
            """
    if me == 1:
        breakpoint()
        y = comm.recv(source=0)
        z = y + 1
    else:
        time.sleep(1)
        comm.send(5, dest=1)
""",
        )
        steps = ["n"] * (3 if STOPS_AT_THE_CALL else 2)
        for words in (*steps, "p z * 7", "c"):
            job.wait_for("[rank 1] (Pdb) ")
            job.type(words + "\n")
        self.assertIn("\n42\n", job.text)
        self.assert_ends(job, 0)

    def test_what_others_print_waits_for_the_end_of_the_prompt(self):
        job = self.terminal(
            2,
            """
    if me == 1:
        open("stopped", "w").close()
        breakpoint()
    else:
        while not os.path.exists("stopped"):
            time.sleep(0.01)
        time.sleep(1)
        print("rank 0 says this", flush=True)
        open("said", "w").close()
""",
        )
        job.wait_for("[rank 1] (Pdb) ")
        deadline = time.monotonic() + WATCHDOG
        while not Path(self.folder, "said").exists():
            self.assertLess(time.monotonic(), deadline, job.text)
            job.read(0.05)
        job.read(0.3)
        self.assertNotIn("rank 0 says this", job.text)
        job.type("c\n")
        job.wait_for("rank 0 says this")
        self.assert_ends(job, 0)

    def test_control_d_quits_as_in_any_program(self):
        job = self.terminal(2, "    breakpoint() if me == 1 else comm.recv(source=1)\n")
        job.wait_for("[rank 1] (Pdb) ")
        job.type("\x04")
        job.wait_for("raised bdb.BdbQuit; the job ended with it")
        status = self.end_keeping(job)
        self.assertEqual(status, 1, job.text)
        self.assert_modes(job)
        os.close(job.descriptor)

    def test_control_c_is_for_the_rank_that_has_the_terminal(self):
        job = self.terminal(
            2,
            """
    if me == 1:
        breakpoint()
        comm.send("still here", dest=0)
    else:
        print(comm.recv(source=1), flush=True)
""",
        )
        job.wait_for("[rank 1] (Pdb) ")
        job.type("\x03")
        job.wait_for("--KeyboardInterrupt--")
        job.wait_for("[rank 1] (Pdb) ")
        job.type("c\n")
        job.wait_for("still here")
        self.assert_ends(job, 0)

    def test_pdb_set_trace_and_a_debugger_of_the_user_s(self):
        Path(self.folder, "other.py").write_text(
            "import code, sys\n"
            "def stop():\n"
            "    frame = sys._getframe(1)\n"
            "    code.interact('a prompt of its own', local=frame.f_locals)\n"
        )
        job = self.terminal(
            2,
            """
    import pdb
    x = 30 + me
    if me == 1:
        pdb.set_trace()
        os.environ["PYTHONBREAKPOINT"] = "other.stop"
        breakpoint()
    comm.Barrier()
""",
        )
        job.wait_for("[rank 1] (Pdb) ")
        job.type("p x\n")
        job.wait_for("31")
        job.wait_for("[rank 1] (Pdb) ")
        job.type("c\n")
        job.wait_for("a prompt of its own")
        job.wait_for("[rank 1] >>> ")
        job.type("x + 5\n")
        job.wait_for("36")
        job.wait_for("[rank 1] >>> ")
        job.type("\x04")
        self.assert_ends(job, 0)

    def test_a_debugger_that_does_not_ask_by_input(self):
        Path(self.folder, "other.py").write_text(
            "import pdb, sys\n"
            "class Other(pdb.Pdb):\n"
            "    def cmdloop(self, intro=None):\n"
            "        stop = None\n"
            "        while not stop:\n"
            "            print('own> ', end='', flush=True)\n"
            "            stop = self.onecmd(sys.stdin.readline())\n"
            "def stop():\n"
            "    Other().set_trace(sys._getframe(1))\n"
        )
        job = self.terminal(
            2,
            """
    x = 30 + me
    os.environ["PYTHONBREAKPOINT"] = "other.stop"
    if me == 1:
        breakpoint()
    comm.Barrier()
""",
        )
        job.wait_for("[rank 1]\n")
        job.wait_for("own> ")
        job.type("p x + 11\n")
        job.wait_for("42")
        job.wait_for("own> ")
        job.type("c\n")
        self.assert_ends(job, 0)

    def test_a_job_in_the_background_waits_for_the_foreground(self):
        path = Path(self.folder, "script.py")
        path.write_text(textwrap.dedent(HEAD + "    breakpoint() if me == 1 else 0\n"))
        shell = Terminal(
            self.mark, self.folder, ["/bin/bash", "--norc", "--noprofile", "-i"]
        )
        shell.wait_for("$ ")
        shell.type(f"{PHALANX} run -n 2 {sys.executable} script.py &\n")
        shell.wait_for("waits for the terminal: the job is in the background")
        shell.type("echo still the sh''ell\n")
        shell.wait_for("still the shell")
        shell.type("fg\n")
        shell.wait_for("[rank 1] (Pdb) ")
        shell.type("p 6 * 7\n")
        shell.wait_for("42")
        shell.wait_for("[rank 1] (Pdb) ")
        shell.type("c\n")
        shell.wait_for("$ ")
        shell.type("exit\n")
        self.assertEqual(shell.end(), 0, shell.text)

    def test_before_mpi_is_imported(self):
        Path(self.folder, "plain.py").write_text(
            "import os\nx = 'of rank ' + os.environ['PMI_RANK']\n"
            "if x[-1] == '1':\n    breakpoint()\n"
        )
        command = [PHALANX, "run", "-n", "2", sys.executable, "plain.py"]
        job = Terminal(self.mark, self.folder, command)
        job.wait_for("[rank 1] (Pdb) ")
        job.type("p x\n")
        job.wait_for("'of rank 1'")
        job.wait_for("[rank 1] (Pdb) ")
        job.type("c\n")
        self.assert_ends(job, 0)


class TestInput(PromptCase):
    def test_in_each_rank_one_after_the_other(self):
        job = self.terminal(
            3,
            """
    for rank in range(comm.size):
        if rank == me:
            print("read", input("Name: ") * 2, flush=True)
        comm.Barrier()
""",
        )
        for rank, name in enumerate(("Ada", "Bob", "Eve")):
            # Rank 0 asks as any program does.
            job.wait_for(f"[rank {rank}] Name: " if rank else "Name: ")
            job.type(name + "\n")
            job.wait_for(f"read {name}{name}")
        self.assert_ends(job, 0)

    def test_what_was_typed_before_is_read_by_rank_0(self):
        job = self.terminal(
            2,
            """
    print("go", flush=True)
    if me == 0:
        time.sleep(1)
        print([input("first "), input("second ")], flush=True)
    comm.Barrier()
""",
        )
        job.wait_for("go")
        job.type("one\ntwo\n")
        job.wait_for("['one', 'two']")
        self.assert_ends(job, 0)

    def test_control_d_is_the_end_of_this_input_only(self):
        job = self.terminal(
            2,
            """
    if me == 1:
        for _ in range(2):
            try:
                print("read", input("? "), flush=True)
            except EOFError:
                print("nothing", flush=True)
    comm.Barrier()
""",
        )
        job.wait_for("[rank 1] ? ")
        job.type("\x04")
        job.wait_for("nothing")
        job.wait_for("[rank 1] ? ")
        job.type("more\n")
        job.wait_for("read more")
        self.assert_ends(job, 0)

    def test_a_pipe_is_rank_0_s_and_the_others_are_told(self):
        script = """
    if me == 0:
        print([input() for _ in range(3)], flush=True)
    else:
        try:
            input("? ")
        except EOFError as error:
            print("told:", error, flush=True)
"""
        Path(self.folder, "script.py").write_text(textwrap.dedent(HEAD + script))
        done = subprocess.run(
            [PHALANX, "run", "-n", "2", "script.py"],
            input="a\nb\nc\n",
            capture_output=True,
            text=True,
            timeout=WATCHDOG,
            cwd=self.folder,
            env={**os.environ, MARK: self.mark},
            start_new_session=True,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("['a', 'b', 'c']", done.stdout)
        self.assertIn("input() in rank 1 has nothing to read", done.stdout)

    def test_debuggers_without_a_terminal(self):
        script = "    x = 5 + me\n    breakpoint()\n    print('end', me)\n"
        Path(self.folder, "script.py").write_text(textwrap.dedent(HEAD + script))
        for ranks, status in ((1, 0), (2, 1)):
            done = subprocess.run(
                [PHALANX, "run", "-n", str(ranks), "script.py"],
                input="p x\nc\n",
                capture_output=True,
                text=True,
                timeout=WATCHDOG,
                cwd=self.folder,
                env={**os.environ, MARK: self.mark},
                start_new_session=True,
            )
            self.assertEqual(done.returncode, status, done.stdout + done.stderr)
            if ranks == 1:
                self.assertIn("(Pdb) 5", done.stdout)
            else:
                self.assertIn("bdb.BdbQuit", done.stderr)


class TestPostMortem(PromptCase):
    SCRIPT = """
    def work(k):
        wanted = k * 3
        raise ValueError("not this one")
    if me == 2:
        time.sleep(1)
        work(7)
    comm.recv(source=2)
"""

    def test_the_rank_that_raises_stops(self):
        job = self.terminal(3, self.SCRIPT, "--pdb")
        job.wait_for("raised ValueError; a debugger looks at it (--pdb)")
        job.wait_for("ValueError: not this one")
        job.wait_for("[rank 2] (Pdb) ")
        job.type("p wanted\n")
        job.wait_for("21")
        job.wait_for("[rank 2] (Pdb) ")
        self.assertIn("is at a prompt of pdb after an exception", self.why(job))
        job.type("q\n")
        job.wait_for("raised ValueError; the job ended with it")
        job.wait_for("ranks 0, 1: Recv from rank 2")
        self.assert_ends(job, 1)
        self.assertEqual(job.text.count("Traceback"), 1, job.text)

    def test_if_several_raise_the_first_stops_and_the_others_are_told(self):
        job = self.terminal(4, "    raise KeyError('everywhere')\n", "--pdb")
        job.wait_for("raised KeyError; a debugger looks at it (--pdb)")
        job.wait_for("(Pdb) ")
        # Some of them before the prompt, some behind it.
        deadline = time.monotonic() + WATCHDOG
        while job.text.count("failed, too") < 3:
            self.assertLess(time.monotonic(), deadline, job.text)
            job.read(0.1)
        job.type("p 6 * 7\n")
        job.wait_for("42")
        job.type("q\n")
        self.assert_ends(job, 1)
        self.assertEqual(len(set(re.findall(r"\[rank \d\]", job.text))), 1, job.text)

    def test_one_rank_alone(self):
        job = self.terminal(1, "    x = 5\n    x / 0\n", "--pdb")
        job.wait_for("ZeroDivisionError")
        job.wait_for("(Pdb) ")
        job.type("p x + 1\n")
        job.wait_for("6")
        job.type("q\n")
        self.assert_ends(job, 1)

    def test_without_a_terminal_the_job_ends(self):
        ended = self.run_job(3, HEAD + self.SCRIPT, "--pdb", "--stdin", "none")
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "ValueError: not this one", "there is no terminal")


class TestEndAtAPrompt(PromptCase):
    SCRIPT = """
    if me == 1:
        breakpoint()
    else:
        print("waits", flush=True)
        comm.recv(source=1)
"""

    def at_prompt(self, *flags: str) -> Terminal:
        job = self.terminal(2, self.SCRIPT, *flags)
        job.wait_for("[rank 1] (Pdb) ")
        self.assertNotEqual(termios.tcgetattr(job.descriptor), self.modes)
        return job

    def rank(self, number: int) -> int:
        for entry in Path("/proc").iterdir():
            try:
                words = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            mark = f"{MARK}={self.mark}".encode()
            if mark in words and f"PMI_RANK={number}".encode() in words:
                return int(entry.name)
        raise AssertionError(f"no rank {number}")

    def check(self, job: Terminal, status: int, *told: str) -> None:
        self.assertEqual(self.end_keeping(job), status, job.text)
        while job.read(0.2) and not all(text in job.text for text in told):
            if time.monotonic() > self.deadline:
                break
        self.assert_modes(job)
        for text in told:
            self.assertIn(text, job.text)
        os.close(job.descriptor)

    def setUp(self) -> None:
        super().setUp()
        self.deadline = time.monotonic() + WATCHDOG

    def test_the_launcher_is_terminated(self):
        job = self.at_prompt()
        os.kill(job.pid, signal.SIGTERM)
        self.check(job, 143, "SIGTERM received")

    def test_the_launcher_is_killed(self):
        # The end of the first process of a terminal is the end of the terminal.
        run = f"{PHALANX} run -n 2 {sys.executable} script.py; echo over; read x"
        Path(self.folder, "script.py").write_text(textwrap.dedent(HEAD + self.SCRIPT))
        job = Terminal(self.mark, self.folder, ["/bin/sh", "-c", run])
        self.modes = termios.tcgetattr(job.descriptor)
        job.wait_for("[rank 1] (Pdb) ")
        self.assertNotEqual(termios.tcgetattr(job.descriptor), self.modes)
        children = Path(f"/proc/{job.pid}/task/{job.pid}/children").read_text()
        os.kill(int(children.split()[0]), signal.SIGKILL)
        job.wait_for("the launcher of this job (pid")
        self.assert_modes(job)
        job.type("\n")
        self.assert_ends(job, 0)

    def test_the_time_is_up(self):
        job = self.at_prompt("--timeout", "3")
        self.check(job, 124, "timeout of 3 s reached")

    def test_the_rank_is_killed(self):
        job = self.at_prompt()
        os.kill(self.rank(1), signal.SIGKILL)
        self.check(job, 137, "was killed by SIGKILL")

    def test_another_rank_is_killed(self):
        job = self.at_prompt()
        os.kill(self.rank(0), signal.SIGKILL)
        self.check(job, 137, "was killed by SIGKILL")

    def test_the_job_is_stopped_and_goes_on(self):
        shell = Terminal(
            self.mark, self.folder, ["/bin/bash", "--norc", "--noprofile", "-i"]
        )
        path = Path(self.folder, "script.py")
        path.write_text(textwrap.dedent(HEAD + "    x = 3\n" + self.SCRIPT))
        shell.wait_for("$ ")
        shell.type(f"{PHALANX} run -n 2 {sys.executable} script.py\n")
        shell.wait_for("[rank 1] (Pdb) ")
        shell.type("\x1a")
        shell.wait_for("Stopped")
        shell.wait_for("$ ")
        shell.type("echo in the sh''ell\n")
        shell.wait_for("in the shell")
        shell.wait_for("$ ")
        shell.type("fg\n")
        shell.wait_for("script.py")
        time.sleep(0.3)
        shell.type("p x + 39\n")
        shell.wait_for("42")
        shell.type("q\n")
        shell.wait_for("BdbQuit; the job ended")
        shell.wait_for("$ ")
        shell.type("exit\n")
        shell.end()


if __name__ == "__main__":
    unittest.main()
