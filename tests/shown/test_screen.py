"""`phalanx cluster top` at a terminal: its table, its keys, and its end."""

import os
import re
import signal
import unittest
from typing import Any

import pexpect
import phalanx.ipyparallel as ipp
from home import SECONDS, Home
from phalanx.ipyparallel.cluster.commands import binary

COLUMNS = 80
OTHER_SCREEN, MAIN_SCREEN = r"\x1b\[\?1049h", r"\x1b\[\?1049l"


def nap() -> None:
    import time

    time.sleep(300)


class Screen(Home):
    def start(self, n: int) -> ipp.Client:
        self.cluster = ipp.Cluster(n=n, log_level=40)
        self.addCleanup(self.cluster.stop_cluster_sync)
        return self.cluster.start_and_connect_sync()

    def show(self) -> Any:
        screen = pexpect.spawn(
            binary(),
            ["cluster", "top", "-d", "0.2", f"--cluster-id={self.cluster.cluster_id}"],
            encoding="utf-8",
            timeout=SECONDS,
            dimensions=(24, COLUMNS),
        )
        self.addCleanup(screen.close, True)
        screen.expect(OTHER_SCREEN)
        return screen

    def page(self, screen: Any, pattern: str) -> list[str]:
        """The lines of the first page in which a pattern is found."""
        while True:
            screen.expect(r"\x1b\[H(.*?)\x1b\[J")
            page = re.sub(r"\x1b\[[0-9;]*[mK]", "", screen.match[1])
            if re.search(pattern, page):
                return page.split("\r\n")

    def test_the_table_and_its_keys(self) -> None:
        rc = self.start(3)
        rc[1].apply_async(nap)
        with self.assertRaises(ipp.RemoteError):
            rc[2].apply_sync(int, "x")
        screen = self.show()
        lines = self.page(screen, "ValueError")
        self.assertTrue(all(len(line) <= COLUMNS for line in lines), lines)
        self.assertEqual(len(lines), 24)
        self.assertIn("ENGINE*", lines[2])
        self.assertEqual([line.split()[0] for line in lines[3:6]], ["0", "1", "2"])
        screen.send("t")
        lines = self.page(screen, r"FOR\*")
        self.assertEqual(lines[3].split()[0], "1")
        screen.send("w")
        lines = self.page(screen, "in nap")
        self.assertIn("q back", lines[-1])
        screen.send("q")
        self.page(screen, r"FOR\*")
        screen.send("q")
        screen.expect(MAIN_SCREEN)
        screen.expect(pexpect.EOF)
        screen.close()
        self.assertEqual(screen.exitstatus, 0)

    def test_control_c_ends_it(self) -> None:
        self.start(1)
        screen = self.show()
        self.page(screen, "idle")
        screen.sendcontrol("c")
        screen.expect(MAIN_SCREEN)
        screen.expect(pexpect.EOF)
        screen.close()
        self.assertEqual(screen.exitstatus, 0)

    def test_a_controller_that_is_stopped_and_goes_on(self) -> None:
        self.start(1)
        pid = self.cluster.controller.process.pid
        screen = self.show()
        self.page(screen, "idle")
        os.kill(pid, signal.SIGSTOP)
        self.page(screen, "does not answer: is it stopped")
        os.kill(pid, signal.SIGCONT)
        self.page(screen, "q quit")
        screen.send("q")
        screen.expect(pexpect.EOF)

    def test_the_end_of_the_cluster(self) -> None:
        self.start(1)
        screen = self.show()
        self.page(screen, "idle")
        self.cluster.stop_cluster_sync()
        screen.expect(MAIN_SCREEN)
        screen.expect("has ended; start one with: phalanx cluster start -n 4")
        screen.expect(pexpect.EOF)
        screen.close()
        self.assertEqual(screen.exitstatus, 0)


if __name__ == "__main__":
    unittest.main()
