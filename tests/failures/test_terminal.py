"""Jobs in a terminal: prompts, typed input, Control-C, Control-Z."""

import os
import pty
import select
import signal
import time
import unittest

from jobs import MARK, PHALANX, WATCHDOG, JobCase


class Terminal:
    """A process on a pseudo-terminal of its own."""

    def __init__(self, mark: str, folder: str, command: list[str]) -> None:
        self.pid, self.descriptor = pty.fork()
        if self.pid == 0:
            os.chdir(folder)
            os.execve(command[0], command, {**os.environ, MARK: mark, "PS1": "$ "})
        self.text = ""
        self.seen = 0

    def read(self, seconds: float) -> bool:
        if not select.select([self.descriptor], [], [], seconds)[0]:
            return True
        try:
            data = os.read(self.descriptor, 65536)
        except OSError:
            return False
        self.text += data.decode(errors="replace").replace("\r", "")
        return bool(data)

    def wait_for(self, text: str) -> None:
        """Wait until `text` follows what was waited for before."""
        deadline = time.monotonic() + WATCHDOG
        while (at := self.text.find(text, self.seen)) < 0:
            alive = self.read(0.1)
            if not alive or time.monotonic() > deadline:
                self.end(0.0)
                raise AssertionError(f"never came: {text!r}\n{self.text}")
        self.seen = at + len(text)

    def type(self, text: str) -> None:
        os.write(self.descriptor, text.encode())

    def end(self, seconds: float = WATCHDOG) -> int:
        deadline = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                break
            if time.monotonic() > deadline:
                os.kill(self.pid, signal.SIGKILL)
                _, status = os.waitpid(self.pid, 0)
                break
            self.read(0.05)
        while self.read(0.0) and select.select([self.descriptor], [], [], 0)[0]:
            pass
        os.close(self.descriptor)
        return os.waitstatus_to_exitcode(status)


class TestTerminal(JobCase):
    def terminal(self, *command: str) -> Terminal:
        return Terminal(self.mark, self.folder, list(command))

    def test_a_prompt_is_shown_and_answered(self):
        script = (
            'if [ $PMI_RANK = 0 ]; then printf "Name: "; read x; echo "hello $x"; fi'
        )
        for ranks in ("1", "3"):
            with self.subTest(ranks=ranks):
                job = self.terminal(PHALANX, "run", "-n", ranks, "sh", "-c", script)
                job.wait_for("Name: ")
                job.type("Ada\n")
                job.wait_for("hello Ada")
                self.assertEqual(job.end(), 0, job.text)

    def test_the_end_of_input_reaches_rank_0(self):
        script = "echo ready; cat; echo end $PMI_RANK"
        job = self.terminal(PHALANX, "run", "-n", "2", "sh", "-c", script)
        job.wait_for("end 1")
        job.type("one line\n\x04")
        job.wait_for("end 0")
        self.assertEqual(job.end(), 0, job.text)
        self.assertEqual(job.text.count("one line"), 2, job.text)

    def test_control_c_interrupts_each_rank_once(self):
        script = "trap 'echo caught; exit 1' INT; echo ready; sleep 600 & wait $!"
        job = self.terminal(PHALANX, "run", "-n", "2", "bash", "-c", script)
        job.wait_for("ready")
        job.wait_for("ready")
        job.type("\x03")
        self.assertEqual(job.end(), 130, job.text)
        self.assertEqual(job.text.count("caught"), 2, job.text)

    def test_control_z_stops_the_ranks_until_fg(self):
        shell = self.terminal("/bin/bash", "--norc", "--noprofile", "-i")
        count = "echo go; for i in 1 2 3 4 5 6 7 8; do sleep 0.1; done; echo fi''ni"
        shell.wait_for("$ ")
        shell.type(f"{PHALANX} run -n 2 sh -c '{count}'\n")
        shell.wait_for("go\ngo\n")
        shell.type("\x1a")
        shell.wait_for("Stopped")
        time.sleep(1.5)
        self.assertNotIn("\nfini", shell.text)
        shell.type("fg\n")
        shell.wait_for("fini")
        shell.wait_for("fini")
        shell.wait_for("$ ")
        shell.type("exit\n")
        self.assertEqual(shell.end(), 0, shell.text)


if __name__ == "__main__":
    unittest.main()
