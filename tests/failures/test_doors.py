"""Unmodified scripts and commands are answered by Phalanx, and by nobody else."""

import subprocess
import sys
import unittest
from pathlib import Path

from jobs import PHALANX, WATCHDOG, JobCase

REPORT = """
from mpi4py import MPI
import mpi4py.MPI, phalanx.MPI
assert MPI is mpi4py.MPI is phalanx.MPI
print(MPI.Get_library_version().split()[0], MPI.COMM_WORLD.size, flush=True)
"""


class TestDoors(JobCase):
    def setUp(self) -> None:
        super().setUp()
        self.script = Path(self.folder, "script.py")
        self.script.write_text(REPORT)

    def check(self, *command: str, ranks: int) -> None:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WATCHDOG, cwd=self.folder
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertEqual(done.stdout.splitlines(), [f"Phalanx {ranks}"] * ranks)

    def test_scripts_under_run(self):
        self.check(PHALANX, "run", "-n", "2", "script.py", ranks=2)

    def test_launchers_in_a_shell(self):
        for name in ("mpiexec", "mpirun"):
            with self.subTest(name=name):
                command = f"{name} -n 2 python3 script.py"
                self.check(PHALANX, "shell", "-c", command, ranks=2)

    def test_no_launcher_in_a_shell(self):
        self.check(PHALANX, "shell", "-c", "python3 script.py", ranks=1)

    def test_a_python_that_phalanx_is_not_installed_for(self):
        other = str(Path(sys.base_prefix, "bin", "python3"))
        code = "import importlib.util as u; print(u.find_spec('phalanx'))"
        found = subprocess.run([other, "-c", code], capture_output=True, text=True)
        if found.stdout.strip() != "None":
            self.skipTest(f"Phalanx is installed for {other}")
        self.check(PHALANX, "run", "-n", "2", other, "script.py", ranks=2)

    def test_closed_doors_answer_nothing(self):
        ended = self.run_job(
            1,
            "import importlib.util as u, os\n"
            "found = u.find_spec('mpi4py')\n"
            "assert found is None or 'doors' not in str(found.origin), found\n"
            "assert 'doors' not in os.environ['PATH']\n",
            "--no-doors",
        )
        self.assertEqual(ended.status, 0, ended.text)

    def test_the_doctor_finds_nothing_wrong(self):
        done = subprocess.run(
            [PHALANX, "doctor"], capture_output=True, text=True, timeout=WATCHDOG
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("all is well", done.stdout)
        self.assertIn("embedded engine", done.stdout)


if __name__ == "__main__":
    unittest.main()
