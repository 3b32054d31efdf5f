"""Jobs that cannot start say so in a line, with an exit status of their own."""

import subprocess
import sys
import unittest
from pathlib import Path

from jobs import PHALANX, WATCHDOG, JobCase

HELLO = "from mpi4py import MPI\nprint(MPI.COMM_WORLD.size, flush=True)\n"


class TestCommandLine(JobCase):
    def check(self, *arguments: str, status: tuple[int, ...] = (2,), says: str) -> None:
        ended = self.launch(*arguments).end()
        self.assertIn(ended.status, status, ended.text)
        self.assert_says(ended, says)
        self.assertNotIn("panicked", ended.err)
        self.assertLessEqual(len(ended.err.splitlines()), 6, ended.text)

    def test_script_that_does_not_exist(self):
        self.check("-n", "2", "nowhere.py", status=(2, 127), says="nowhere.py")

    def test_program_that_does_not_exist(self):
        self.check(
            "-n", "2", "./no-such-program", status=(127,), says="no-such-program"
        )

    def test_program_that_is_not_executable(self):
        Path(self.folder, "data.txt").write_text("not a program")
        self.check("-n", "1", "./data.txt", status=(126,), says="data.txt")

    def test_rank_count_zero(self):
        self.check("-n", "0", "x.py", says="-n 0")

    def test_rank_count_negative(self):
        self.check("-n", "-3", "x.py", says="-3")

    def test_rank_count_not_a_number(self):
        self.check("-n", "four", "x.py", says="four")

    def test_more_ranks_than_the_segment_holds(self):
        Path(self.folder, "x.py").write_text(HELLO)
        self.check("-n", "1000000", "x.py", says="1000000")

    def test_no_program(self):
        self.check("-n", "2", says="program")

    def test_unknown_flag(self):
        self.check("--tag-outputs", "-n", "2", "x.py", says="--tag-output")

    def test_other_host(self):
        self.check("-n", "1", "--host", "-faraway", "x.py", says="-faraway")


class TestImport(JobCase):
    """What every rank pays for before its program begins."""

    def loaded(self, *command: str) -> set[str]:
        code = command[-1] + "\nimport sys; print(*sorted(sys.modules))"
        done = subprocess.run(
            [*command[:-1], code], capture_output=True, text=True, timeout=WATCHDOG
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        return set(done.stdout.split())

    def test_the_import_loads_nothing_that_the_program_did_not_ask_for(self):
        bare = (sys.executable, "-I", "-c")
        before = self.loaded(*bare, "")
        after = self.loaded(*bare, "from phalanx import MPI")
        foreign = {name for name in after - before if not name.startswith("phalanx")}
        self.assertEqual(foreign, set())

    def test_nor_do_the_doors(self):
        before = self.loaded(sys.executable, "-I", "-c", "")
        ours = ("phalanx", "mpi4py", "_phalanx_doors")
        for doors, program in (
            ("mpi4py", "from mpi4py import MPI"),
            ("multiprocessing", ""),
        ):
            with self.subTest(doors=doors):
                rank = (PHALANX, "run", "--doors", doors, "-n", "1")
                after = self.loaded(*rank, sys.executable, "-I", "-c", program)
                new = after - before
                foreign = {name for name in new if not name.startswith(ours)}
                self.assertEqual(foreign, set())


DESCRIPTORS = """
import os
from mpi4py import MPI

def names():
    for number in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink("/proc/self/fd/" + number)
        except OSError:
            pass  # the listing's own

found = list(names())
if MPI.COMM_WORLD.rank == 0:
    print("segments", sum("phalanx-universe" in name for name in found))
    print("sockets", sum(name.startswith("socket:") for name in found))
"""


class TestDescriptors(JobCase):
    def test_a_rank_keeps_one_of_the_segment_and_two_of_the_launcher(self):
        Path(self.folder, "x.py").write_text(DESCRIPTORS)
        ended = self.launch("-n", "2", "x.py").end()
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.out.split(), ["segments", "1", "sockets", "2"])


CHILD = """
import os, subprocess, sys
from mpi4py import MPI

def ours(name):
    return name.startswith(("PHALANX_", "PMI_"))

program = "from phalanx import MPI; print(MPI.COMM_WORLD.size, flush=True)"
plain = {name: value for name, value in os.environ.items() if not ours(name)}
subprocess.run([sys.executable, "-c", program], env=plain, check=True)
MPI.COMM_WORLD.Barrier()
"""


class TestChildren(JobCase):
    def test_a_child_without_what_makes_it_a_rank_is_a_job_of_one(self):
        Path(self.folder, "x.py").write_text(CHILD)
        ended = self.launch("-n", "3", "x.py").end()
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.out.split(), ["1"] * 3)


class TestMemoryLimit(JobCase):
    def test_address_space_too_small_for_the_segment(self):
        Path(self.folder, "x.py").write_text(HELLO)
        limits = (40_000, 100_000, 150_000)
        for kilobytes in limits:
            with self.subTest(kilobytes=kilobytes):
                command = f"ulimit -v {kilobytes}; exec {PHALANX} run -n 8 x.py"
                done = subprocess.run(
                    ["bash", "-c", command],
                    cwd=self.folder,
                    capture_output=True,
                    text=True,
                    timeout=60,
                )
                self.assertNotIn("SIGBUS", done.stderr)
                self.assertNotIn("SIGSEGV", done.stderr)
                self.assertNotIn("panicked", done.stderr)
                if done.returncode == 0:
                    self.assertEqual(done.stdout.split(), ["8"] * 8)
                else:
                    self.assertRegex(done.stderr, "(?i)memory", done.stderr)


class TestOutput(JobCase):
    def test_lines_are_never_torn(self):
        script = """
            import sys
            from mpi4py import MPI
            rank = MPI.COMM_WORLD.rank
            for i in range(2000):
                sys.stdout.write(f"<{rank}:{i}:" + "x" * 100 + ">\\n")
                if i % 7 == 0:
                    sys.stdout.flush()
        """
        ended = self.run_job(8, script)
        self.assertEqual(ended.status, 0, ended.text[-2000:])
        lines = ended.out.splitlines()
        self.assertEqual(len(lines), 16000)
        torn = [x for x in lines if not (x.startswith("<") and x.endswith("x>"))]
        self.assertEqual(torn, [])
        for rank in range(8):
            mine = [x for x in lines if x.startswith(f"<{rank}:")]
            numbers = [int(x.split(":")[1]) for x in mine]
            self.assertEqual(numbers, list(range(2000)))

    def test_tags(self):
        script = "from mpi4py import MPI\nprint('hello', flush=True)\n"
        ended = self.run_job(3, script, "--tag-output")
        self.assertEqual(ended.status, 0, ended.text)
        for rank in range(3):
            self.assertRegex(ended.out, rf"(?m)^\[.*{rank}.*\].*hello$")

    def test_standard_input_goes_to_rank_0(self):
        script = """
            import sys
            from mpi4py import MPI
            text = sys.stdin.read()
            print(MPI.COMM_WORLD.rank, len(text), flush=True)
        """
        path = Path(self.folder, "script.py")
        path.write_text("\n".join(x.strip() for x in script.splitlines()))
        done = subprocess.run(
            [PHALANX, "run", "-n", "3", sys.executable, str(path)],
            input="y" * 300_000,
            capture_output=True,
            text=True,
            timeout=60,
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(done.stdout.splitlines()), ["0 300000", "1 0", "2 0"])


if __name__ == "__main__":
    unittest.main()
