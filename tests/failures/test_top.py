"""`phalanx top`: its table, its keys, and the terminal that it gives back."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
import unittest

from jobs import MARK, PHALANX
from test_why import HEAD, PATIENCE, Asking

SENDS = """
data = bytearray(1000)
large = bytearray(1000000)
request = comm.Irecv(data, source=1 - me, tag=9)
print("ready", flush=True)
while True:
    if me == 0:
        comm.Send(data, 1)
        comm.Send(large, 1)
        time.sleep(0.002)
    else:
        comm.Recv(data, 0)
        comm.Recv(large, 0)
"""
EVERYTHING = """
import os
mine = bytearray(4096)
window = MPI.Win.Allocate(4096, comm=comm)
file = MPI.File.Open(comm, os.devnull, MPI.MODE_WRONLY)
print("ready", flush=True)
while True:
    comm.Allreduce(bytes(800), bytearray(800), op=MPI.BOR)
    window.Lock(1 - me)
    window.Put(mine, 1 - me)
    window.Unlock(1 - me)
    if me == 0:
        file.Write_at(0, mine)
    time.sleep(0.01)
"""
WAITS = """
def busy():
    total = 0
    while True:
        total += 1
print("ready", flush=True)
if me == 1:
    busy()
comm.barrier()
"""
MAIN_SCREEN, OTHER_SCREEN = "\x1b[?1049l", "\x1b[?1049h"


class Shown:
    """`phalanx top` on a pseudo-terminal of 100 columns and 24 lines."""

    def __init__(self, mark: str, doors: str, *words: str) -> None:
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
        # What it was, and what it has to be afterwards.
        self.slave = slave
        self.before = termios.tcgetattr(slave)
        self.process = subprocess.Popen(
            [PHALANX, "top", "--delay", "0.2", *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, MARK: mark, "PHALANX_RUNTIME_DIR": doors},
        )
        self.text = ""

    def read(self, seconds: float) -> None:
        if select.select([self.master], [], [], seconds)[0]:
            self.text += os.read(self.master, 65536).decode(errors="replace")

    def wait_for(self, *patterns: str) -> str:
        """Wait for a page with all of these; gives it."""
        deadline = time.monotonic() + PATIENCE
        begin = len(self.text)
        while True:
            self.read(0.1)
            # A page begins with the cursor at home, and ends with a cleared rest.
            for page in re.findall(r"\x1b\[H(.*?)\x1b\[J", self.text[begin:], re.S):
                if all(re.search(pattern, page) for pattern in patterns):
                    return page
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise AssertionError(f"never showed {patterns}: {self.text[-4000:]!r}")

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def end(self) -> int:
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            self.read(0.05)
            if time.monotonic() > deadline:
                self.process.kill()
                raise AssertionError(f"it did not end: {self.text[-4000:]!r}")
        while select.select([self.master], [], [], 0)[0]:
            self.read(0)
        return self.process.returncode

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


class TestTop(Asking):
    def show(self, *words: str) -> Shown:
        shown = Shown(self.mark, str(self.doors), *words)
        self.addCleanup(shown.close)
        return shown

    def assert_restored(self, shown: Shown) -> None:
        self.assertEqual(termios.tcgetattr(shown.slave), shown.before)
        self.assertEqual(shown.text.count(OTHER_SCREEN), shown.text.count(MAIN_SCREEN))
        self.assertGreater(
            shown.text.rfind(MAIN_SCREEN), shown.text.rfind(OTHER_SCREEN)
        )
        self.assertGreater(shown.text.rfind("\x1b[?25h"), shown.text.rfind("\x1b[?25l"))

    def rows(self, text: str) -> dict[str, list[str]]:
        lines = [line.split() for line in text.splitlines()]
        at = next(n for n, line in enumerate(lines) if "PID" in line)
        return {line[0]: line for line in lines[at + 1 :] if line}

    def test_one_table_without_a_terminal(self):
        job = self.begin(3, HEAD + WAITS)
        job.wait_for("ready", times=3)
        self.ask_until("wait for rank 1")
        for words in (("top",), ("top", "--once", "-d", "0.5")):
            answer = self.ask(*words)
            self.assertEqual(answer.returncode, 0, answer.stderr)
            self.assertNotIn("\x1b", answer.stdout)
            rows = self.rows(answer.stdout)
            self.assertEqual(sorted(rows), ["0", "1", "2"], answer.stdout)
            self.assertIn("Barrier on communicator", answer.stdout)
            self.assertRegex(answer.stdout, r"script\.py:\d+ busy  computes")
            self.assertGreater(float(rows["1"][2]), 1.0, answer.stdout)

    def test_messages_are_counted_while_somebody_looks(self):
        job = self.begin(2, HEAD + SENDS)
        job.wait_for("ready", times=2)
        shown = self.show()
        # Rank 0 sends two messages each time, one of 1 kB and one of 1 MB.
        page = shown.wait_for(r"\n *0 +\d+ +\S+ +\S+ +[1-9]\S* +\d\S*M ")
        self.assertRegex(page, r"\n *1 +\d+ +\S+ +\S+ +0 +0 ")
        shown.type("q")
        self.assertEqual(shown.end(), 0)
        # Nobody asks any more, and the job goes on.
        self.assertEqual(self.ask("why").returncode, 0)
        self.assertIsNone(job.process.poll())

    def test_collectives_windows_and_files_are_counted(self):
        job = self.begin(2, HEAD + EVERYTHING)
        job.wait_for("ready", times=2)
        shown = self.show()
        some, kilo = r"[1-9]\S*", r"[1-9]\S*k"
        # Calls and bytes of all ranks, each kind with both.
        sums = rf"{some} coll \({kilo}\), {some} RMA \({kilo}\), {some} file \({kilo}\)"
        shown.wait_for(sums, r"SENT/s +BYTES/s")
        rates = r"\n *{} +\d+ +\S+ +\S+ +{} +{} "
        for title in ("COLL/s", "RMA/s"):
            shown.type("n")
            rows = [rates.format(rank, r"[1-9]\S*", kilo) for rank in (0, 1)]
            shown.wait_for(title + r" +BYTES/s", *rows)
        shown.type("n")
        one, other = rates.format(0, r"[1-9]\S*", kilo), rates.format(1, 0, 0)
        shown.wait_for(r"FILE/s +BYTES/s", one, other)
        shown.type("n")
        shown.wait_for("SENT/s")
        shown.type("q")
        self.assertEqual(shown.end(), 0)
        # All of it, for a script.
        table = self.ask("top", "--once").stdout
        self.assertRegex(
            table, r"SENT/s +BYTES/s +COLL/s +BYTES/s +RMA/s +BYTES/s +FILE/s +BYTES/s"
        )
        row = self.rows(table)["1"]
        self.assertTrue(row[7].endswith("k"), table)
        self.assertEqual(row[10:12], ["0", "0"], table)
        self.assertIsNone(job.process.poll())

    def test_keys(self):
        job = self.begin(3, HEAD + WAITS)
        job.wait_for("ready", times=3)
        shown = self.show()
        shown.wait_for(r"RANK\*", r"busy", r"q quit")
        shown.type("c")
        # Once there are rates, the one that computes comes first.
        shown.wait_for(r"CPU%\*[^\n]*\n *1 +\d+ +\d+\.\d ", "busy")
        for key, column in (("m", "MEM"), ("s", "SENT/s"), ("b", "BYTES/s")):
            shown.type(key)
            shown.wait_for(re.escape(column) + r"\*")
        shown.type("t")
        shown.wait_for(r"BLOCKED\*")
        shown.type("r")
        shown.wait_for(r"RANK\*")
        shown.type("\x1b[B\x1b[A\x1b[1;5C")
        shown.type("w")
        shown.wait_for(r"wait for rank 1, which computes", r"q back")
        shown.type("q")
        shown.wait_for(r"q quit")
        shown.type("q")
        self.assertEqual(shown.end(), 0)
        self.assert_restored(shown)

    def test_the_terminal_is_restored_whatever_ends_it(self):
        job = self.begin(1, HEAD + "print('ready', flush=True); time.sleep(600)")
        job.wait_for("ready")
        for what in ("\x03", signal.SIGTERM, signal.SIGHUP, signal.SIGINT, "\x1b"):
            with self.subTest(what):
                shown = self.show()
                shown.wait_for("q quit")
                if isinstance(what, str):
                    shown.type(what)
                else:
                    shown.process.send_signal(what)
                self.assertEqual(shown.end(), 0)
                self.assert_restored(shown)

    def test_control_z_gives_the_terminal_back_for_a_while(self):
        job = self.begin(1, HEAD + "print('ready', flush=True); time.sleep(600)")
        job.wait_for("ready")
        shown = self.show()
        shown.wait_for("q quit")
        shown.type("\x1a")
        _pid, status = os.waitpid(shown.process.pid, os.WUNTRACED)
        self.assertTrue(os.WIFSTOPPED(status))
        shown.read(1)
        self.assert_restored(shown)
        shown.process.send_signal(signal.SIGCONT)
        shown.wait_for("q quit")
        shown.type("q")
        self.assertEqual(shown.end(), 0)
        self.assertEqual(termios.tcgetattr(shown.slave), shown.before)

    def test_another_size(self):
        job = self.begin(30, HEAD + "print('ready', flush=True); time.sleep(600)")
        job.wait_for("ready", times=30)
        shown = self.show()
        page = shown.wait_for("q quit")
        self.assertEqual(len(page.split("\r\n")), 24)
        fcntl.ioctl(shown.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
        shown.process.send_signal(signal.SIGWINCH)
        shown.text = ""
        deadline = time.monotonic() + PATIENCE
        while True:
            page = shown.wait_for("q quit")
            lines = re.sub(r"\x1b\[\d*[mK]", "", page).split("\r\n")
            if len(lines) == 10 and max(map(len, lines)) <= 60:
                break
            self.assertLess(time.monotonic(), deadline, lines)
        shown.type("q")
        self.assertEqual(shown.end(), 0)

    def test_the_end_of_the_job_is_said(self):
        job = self.begin(1, HEAD + "print('ready', flush=True); time.sleep(600)")
        job.wait_for("ready")
        shown = self.show()
        shown.wait_for("q quit")
        job.process.terminate()
        self.assertEqual(shown.end(), 0)
        self.assert_restored(shown)
        self.assertIn("has ended", shown.text)

    def test_wrong_arguments(self):
        for words, said in (
            (("top",), "no job of yours runs here"),
            (("top", "--delay", "x"), "--delay takes seconds"),
            (("top", "--onec"), "did you mean '--once'"),
            (("top", "a", "b"), "one job at a time"),
        ):
            answer = self.ask(*words)
            self.assertEqual(answer.returncode, 2, answer.stderr)
            self.assertIn(said, answer.stderr)


if __name__ == "__main__":
    unittest.main()
