"""`phalanx run --report FILE`: the page says of a job what is so of it."""

import json
import re
import signal
import textwrap
import unittest
from html.parser import HTMLParser
from pathlib import Path

from jobs import Ended, JobCase

START = """
import os, signal, sys, time
from phalanx import MPI
comm = MPI.COMM_WORLD
me, n = comm.rank, comm.size
"""
TRIES = 3  # Runs of a good job: on a busy machine ranks are late for no reason.


class Page(HTMLParser):
    """A report: its advice, its texts, and what its script draws."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.open: list[tuple[str, dict]] = []
        self.texts: list[str] = []
        self.findings: list[str] = []
        self.advice = ""
        self.raw = ""
        self.feed(path.read_text())
        self.close()
        self.data = json.loads(self.raw)

    def handle_starttag(self, tag, attributes) -> None:
        if tag not in ("meta", "input"):
            self.open.append((tag, dict(attributes)))

    def handle_endtag(self, tag) -> None:
        name, _ = self.open.pop()
        assert name == tag, f"<{name}> is closed by </{tag}>"

    def handle_data(self, data) -> None:
        tags = [tag for tag, _ in self.open]
        if any(marks.get("id") == "data" for _, marks in self.open):
            self.raw += data
        elif "script" not in tags and "style" not in tags and data.strip():
            self.texts.append(data.strip())
            if any(marks.get("id") == "advice" for _, marks in self.open):
                self.advice += data
                if "strong" in tags:
                    self.findings.append(data)


class TestReport(JobCase):
    def report(self, ranks: int, body: str) -> tuple[Ended, Page]:
        path = Path(self.folder, "report.html")
        ended = self.run_job(
            ranks, START + textwrap.dedent(body), "--report", str(path)
        )
        return ended, Page(path)

    def line(self, text: str) -> str:
        """The script's line with this text, as a report names it."""
        lines = Path(self.folder, "script.py").read_text().splitlines()
        found = [i for i, line in enumerate(lines, 1) if text in line]
        self.assertEqual(len(found), 1, text)
        return f"script.py:{found[0]}"

    def assert_found(self, page: Page, pattern: str) -> None:
        found = any(re.search(pattern, finding) for finding in page.findings)
        self.assertTrue(found, f"{pattern} is not in {page.advice}")

    def test_a_rank_with_more_work_is_named(self) -> None:
        ended, page = self.report(
            3,
            """
            for step in range(20):
                time.sleep(0.03 if me == 2 else 0.002)
                comm.allreduce(step)
            """,
        )
        self.assertEqual(ended.status, 0, ended.text)
        line = re.escape(self.line("allreduce(step)"))
        self.assert_found(
            page,
            rf"^Rank 2 is last in .* 20 calls of \w+ in {line}, and each",
        )
        self.assertIn("It has more work", page.advice)
        self.assertIn("comm.allreduce(step)", page.texts)

    def test_a_good_job_gets_no_advice(self) -> None:
        for _ in range(TRIES):
            _, page = self.report(
                2,
                """
                start = comm.bcast(time.time())
                for step in range(10):
                    time.sleep(max(0, start + (step + 1) * 0.1 - time.time()))
                    comm.allreduce(step)
                """,
            )
            if "Nothing stands out." in page.advice:
                break
        self.assertIn("Nothing stands out.", page.advice)
        self.assertEqual(page.findings, [])

    def test_ranks_that_work_one_after_the_other_are_a_chain(self) -> None:
        _, page = self.report(
            4,
            """
            for step in range(3):
                if me > 0:
                    comm.recv(source=me - 1)
                time.sleep(0.05)
                if me < n - 1:
                    comm.send(step, me + 1)
                comm.Barrier()
            """,
        )
        self.assert_found(page, "^Ranks 0, 1, 2 and 3 wait for each other in a chain")

    def test_many_small_sends_should_be_one(self) -> None:
        _, page = self.report(
            2,
            """
            data = bytearray(8)
            for i in range(30000):
                if me == 0:
                    comm.Send(data, 1)
                else:
                    comm.Recv(data, 0)
            """,
        )
        line = re.escape(self.line("comm.Send(data, 1)"))
        self.assert_found(
            page, rf"^30,000 sends of 8 B from {line}, 30,000 to the same rank in a row"
        )

    def test_messages_are_counted_by_pair(self) -> None:
        _, page = self.report(
            3,
            """
            if me == 0:
                for size in (8, 100, 1000000):
                    comm.Send(bytearray(size), 1, tag=size % 7)
                comm.Send(bytearray(5), 2)
            elif me == 1:
                for size in (8, 100, 1000000):
                    comm.Recv(bytearray(size), 0)
            else:
                comm.Recv(bytearray(5), 0)
            """,
        )
        pairs = {
            (p["from"], p["to"]): (p["messages"], p["bytes"])
            for p in page.data["pairs"]
        }
        self.assertEqual(pairs, {(0, 1): (3, 1000108), (0, 2): (1, 5)})
        drawn = page.data["timeline"]["messages"]
        tags = sorted(drawn[at + 4] for at in range(0, len(drawn), 6))
        self.assertEqual(tags, sorted([8 % 7, 100 % 7, 1000000 % 7, 0]))

    def test_a_killed_rank_has_a_report(self) -> None:
        ended, page = self.report(
            2,
            """
            comm.Barrier()
            if me == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            comm.Barrier()
            """,
        )
        self.assertEqual(ended.status, 128 + signal.SIGKILL, ended.text)
        ends = [rank["end"] for rank in page.data["timeline"]["ranks"]]
        self.assertIn("SIGKILL", ends[1] or "")
        names = page.data["timeline"]["names"]
        self.assertIn("MPI_Barrier", names)

    def test_a_name_cannot_become_part_of_the_page(self) -> None:
        script = Path(self.folder, "a<img src=x>&\"'b.py")
        script.write_text(START + "comm.Barrier()\n")
        path = Path(self.folder, "report.html")
        ended = self.launch("-n", "2", "--report", str(path), str(script)).end()
        self.assertEqual(ended.status, 0, ended.text)
        self.assertNotIn("<img", path.read_text())
        page = Page(path)
        self.assertIn(script.name, page.texts)
        files = {place[0] for place in page.data["timeline"]["places"]}
        self.assertIn(script.name, {Path(file).name for file in files})


if __name__ == "__main__":
    unittest.main()
