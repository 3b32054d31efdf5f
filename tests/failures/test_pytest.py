"""The plugin for pytest: tests on ranks that pass, fail, wait in vain and die."""

import os
import sys
import textwrap
import unittest
import unittest.mock
from pathlib import Path

from jobs import Ended, Job, JobCase

HEAD = """
import os
import pytest
"""


class TestPlugin(JobCase):
    def pytest(self, tests: str, *arguments: str) -> Ended:
        path = Path(self.folder, "test_here.py")
        path.write_text(HEAD + textwrap.dedent(tests))
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]
        return Job(self.folder, self.mark, [*command, str(path)]).end()

    def outcome(self, ended: Ended, summary: str) -> None:
        self.assertIn(f" {summary} in ", ended.out.splitlines()[-1], ended.text)

    def test_tests_pass_on_ranks(self):
        ended = self.pytest(
            """
            @pytest.fixture(scope="module")
            def number():
                yield os.getpid()

            @pytest.mark.ranks(3)
            @pytest.mark.parametrize("n", [1, 2])
            def test_sum(comm, number, n):
                assert len(set(comm.allgather(number))) == 3
                assert comm.allreduce(n) == 3 * n

            @pytest.mark.ranks
            def test_as_many_as_the_option_says(comm):
                assert comm.size == 4

            def test_here():
                assert "PMI_RANK" not in os.environ

            @pytest.mark.ranks
            @pytest.mark.skip
            def test_skipped(comm):
                pass

            @pytest.mark.ranks
            @pytest.mark.xfail
            def test_expected(comm):
                assert comm.rank
            """,
            "--ranks=4",
        )
        self.assertEqual(ended.status, 0, ended.text)
        self.outcome(ended, "4 passed, 1 skipped, 1 xfailed")

    def test_failures_name_their_ranks_once(self):
        ended = self.pytest(
            """
            @pytest.mark.ranks(3)
            def test_one(comm):
                print("this is rank", comm.rank)
                assert comm.rank != 1

            @pytest.mark.ranks(3)
            def test_all(comm):
                assert comm.size == 2

            @pytest.mark.ranks(3)
            def test_after():
                pass
            """
        )
        self.assertEqual(ended.status, 1, ended.text)
        self.outcome(ended, "2 failed, 1 passed")
        for text in ("on rank 1: assert 1 != 1", "this is rank 1", "on all 3 ranks: "):
            self.assertIn(text, ended.out, ended.text)
        self.assertEqual(ended.out.count("E       assert 3 == 2"), 1, ended.text)

    def test_a_summary_has_a_line_for_each_failure_also_on_a_ci_server(self):
        test = "@pytest.mark.ranks(2)\ndef test_it(comm):\n    assert comm.size == 3\n"
        for ci in ("", "true"):
            with self.subTest(CI=ci), unittest.mock.patch.dict(os.environ, CI=ci):
                ended = self.pytest(test, f"--junit-xml={self.folder}/results.xml")
            summary = ended.out.partition("short test summary info")[2].splitlines()
            self.assertEqual(len(summary), 3, ended.text)
            self.assertIn("on all 2 ranks: assert 2 == 3", summary[1])
            results = Path(self.folder, "results.xml").read_text()
            self.assertEqual(results.count("E       assert 2 == 3"), 1, results)

    def test_a_deadlock_fails_its_test_and_the_rest_goes_on(self):
        ended = self.pytest(
            """
            @pytest.mark.ranks(2)
            def test_waits(comm):
                comm.recv(source=1 - comm.rank)

            @pytest.mark.ranks(2)
            def test_waits_for_one_that_failed(comm):
                assert comm.rank == 0, "not here"
                comm.barrier()

            @pytest.mark.ranks(2)
            def test_after(comm):
                comm.barrier()
            """
        )
        self.assertEqual(ended.status, 1, ended.text)
        self.outcome(ended, "2 failed, 1 passed")
        for text in ("ranks 0, 1 wait for each other", "not here"):
            self.assertIn(text, ended.out, ended.text)

    def test_a_rank_that_dies_costs_one_test(self):
        ended = self.pytest(
            """
            @pytest.mark.ranks(3)
            def test_dies(comm):
                if comm.rank == 2:
                    os._exit(7)
                comm.barrier()

            @pytest.mark.ranks(3)
            def test_after(comm):
                comm.barrier()
            """
        )
        self.outcome(ended, "1 failed, 1 passed")
        for text in ("the job of 3 ranks ended (7)", "rank 2", "exited with status 7"):
            self.assertIn(text, ended.out, ended.text)

    def test_wrong_marks_and_options_are_told(self):
        for mark, option, text in (
            ("(0)", "", "ranks(0) is not understood"),
            ("(1, 2)", "", "takes one number"),
            ("('two')", "", "ranks('two') is not understood"),
            ("", "--ranks=0", "a job has one rank at least"),
        ):
            with self.subTest(mark=mark, option=option):
                test = f"@pytest.mark.ranks{mark}\ndef test_it(comm):\n    pass\n"
                ended = self.pytest(test, *filter(None, [option]))
                self.assertEqual(ended.status, 4, ended.text)
                self.assertIn(text, ended.text)


if __name__ == "__main__":
    unittest.main()
