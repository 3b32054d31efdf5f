"""Bare copies bring the data where it belongs, which the program itself checks."""

import json
import subprocess
import sys
import unittest
from pathlib import Path

BARE = Path(__file__).resolve().parents[2] / "bench" / "bare.py"
FORBIDDEN = "Operation not permitted"
LIMIT = 60.0  # seconds


def bare(ranks: int, *rows: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BARE), "-n", str(ranks), *rows]
    return subprocess.run(command, capture_output=True, text=True, timeout=LIMIT)


class TestBare(unittest.TestCase):
    def measured(self, ranks: int, *operations: str) -> None:
        rows = [f"{name}, 1 MiB, {ranks} ranks" for name in operations]
        done = bare(ranks, *rows)
        if FORBIDDEN in done.stderr:
            self.skipTest("process_vm_readv is forbidden here")
        self.assertEqual(done.returncode, 0, done.stderr)
        lines = [json.loads(line) for line in done.stdout.splitlines()]
        self.assertEqual([line["row"] for line in lines], rows)
        self.assertTrue(all(min(line["seconds"]) > 0 for line in lines))

    def test_messages_windows_and_files_of_two_processes(self):
        self.measured(
            2,
            "Send/Recv one way",
            "Put, allocated",
            "Get, created",
            "Write_at",
            "Read_at_all",
        )

    def test_collectives_of_four_processes(self):
        self.measured(4, "Scatter", "Gather", "Allgather", "Alltoall")
        self.measured(4, "Neighbor_allgather", "Neighbor_alltoall")

    def test_a_row_without_a_limit_is_told(self):
        done = bare(2, "Barrier, 2 ranks")
        self.assertEqual(done.returncode, 2)
        self.assertIn("no limit for 'Barrier, 2 ranks'", done.stderr)


if __name__ == "__main__":
    unittest.main()
