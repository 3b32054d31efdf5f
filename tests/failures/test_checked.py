"""`--check` around the job, and places in C: what the tier `waiting` does not look at.

Which mistakes are found, and that right programs are not accused, is its business.
"""

import shutil
import subprocess
import sys
import unittest
from pathlib import Path

from jobs import PHALANX, Ended, Job, JobCase

LEAK = """
    from mpi4py import MPI

    def lose():
        MPI.COMM_WORLD.Dup()

    lose()
    print("to the end", flush=True)
"""
FORMS = """
    import sys
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    spare = comm.irecv(source=0, tag=5)
    sys.exit(int(sys.argv[1]) if comm.rank == 0 else 0)
"""
C_PROGRAM = """\
#include <mpi.h>
#include <stdlib.h>

void exchange(int rank, int bytes)
{
    char *out = calloc(bytes, 1), *in = malloc(bytes);
    MPI_Send(out, bytes, MPI_BYTE, 1 - rank, 0, MPI_COMM_WORLD);
    MPI_Recv(in, bytes, MPI_BYTE, 1 - rank, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
}

int main(int argc, char **argv)
{
    int rank;
    MPI_Comm lost;
    MPI_Datatype freed;
    MPI_Request open;
    static int room;
    MPI_Init(&argc, &argv);
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    if (argc > 1) {
        MPI_Comm_dup(MPI_COMM_WORLD, &lost);
        MPI_Type_contiguous(3, MPI_INT, &freed);
        MPI_Type_free(&freed);
        MPI_Irecv(&room, 1, MPI_INT, 1 - rank, 9, MPI_COMM_WORLD, &open);
    } else {
        exchange(rank, 1 << 20);
    }
    MPI_Finalize();
    return 0;
}
"""


class TestCheck(JobCase):
    def check(self, script: str, status: int, *flags: str, **environment: str) -> Ended:
        path = Path(self.folder, "script.py")
        path.write_text("\n".join(line[4:] for line in script.splitlines()) + "\n")
        launch = ["-n", "2", *flags, sys.executable, str(path)]
        ended = self.launch(*launch, **environment).end()
        self.assertEqual(ended.status, status, ended.text)
        return ended

    def test_a_mistake_is_status_1_and_told_once(self):
        ended = self.check(LEAK, 1, "--check")
        self.assertEqual(ended.err.count("[leaked-handle] ranks 0, 1:"), 1, ended.text)
        self.assert_says(ended, "--check: 1 mistake", "script.py:5, in lose")
        self.assertEqual(ended.out.count("to the end"), 2, ended.text)

    def test_reports_leave_the_status(self):
        self.assert_says(self.check(LEAK, 0, "--check=report"), "[leaked-handle]")

    def test_the_environment_says_the_same_and_the_flag_counts_more(self):
        self.check(LEAK, 1, PHALANX_CHECK="1")
        self.check(LEAK, 0, PHALANX_CHECK="report")
        for off in ("0", "off", ""):
            self.assertEqual(self.check(LEAK, 0, PHALANX_CHECK=off).err, "")
        self.check(LEAK, 0, "--check=off", PHALANX_CHECK="1")

    def test_without_a_launcher_the_process_tells(self):
        path = Path(self.folder, "script.py")
        script = LEAK.replace("mpi4py", "phalanx")
        path.write_text("\n".join(line[4:] for line in script.splitlines()) + "\n")
        command = [sys.executable, str(path)]
        ended = Job(self.folder, self.mark, command, PHALANX_CHECK="1").end()
        self.assert_says(ended, "[leaked-handle] rank 0:", "in lose")

    def test_a_failure_keeps_its_status_and_what_was_found_is_told(self):
        ended = self.check(FORMS.replace("sys.argv[1]", "'3'"), 3, "--check")
        self.assertNotIn("Traceback", ended.err)

    def test_what_cannot_be_meant_is_refused(self):
        ended = self.check(LEAK, 2, "--check=everything")
        self.assert_says(ended, "'fail', 'report' or 'off'")
        self.check(LEAK, 2, "--check", PHALANX_MPI="site")


@unittest.skipIf(shutil.which("cc") is None, "no C compiler")
class TestPlacesInC(JobCase):
    def build(self, *flags: str) -> str:
        source, program = Path(self.folder, "ring.c"), Path(self.folder, "ring")
        source.write_text(C_PROGRAM)
        command = [PHALANX, "cc", *flags, "-fno-inline", str(source), "-o"]
        subprocess.run([*command, str(program)], check=True, timeout=60)
        return str(program)

    def test_a_deadlock_is_told_with_lines_of_c(self):
        launch = ["-n", "2", self.build("-g")]
        ended = self.launch(*launch, PHALANX_ON_DEADLOCK="").end()
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(ended, "ring.c:7, in exchange", "MPI_Send(out, bytes,")

    def test_without_debug_information_with_functions(self):
        launch = ["-n", "2", self.build()]
        ended = self.launch(*launch, PHALANX_ON_DEADLOCK="").end()
        self.assert_says(ended, "ring, in exchange")

    def test_without_symbols_with_places_in_the_file(self):
        launch = ["-n", "2", self.build("-s", "-fvisibility=hidden")]
        ended = self.launch(*launch, PHALANX_ON_DEADLOCK="").end()
        self.assertRegex(ended.err, r"/ring\+0x[0-9a-f]+, in a function without a name")

    def test_what_is_left_in_c_is_told_with_its_line(self):
        launch = ["--check", "-n", "2", self.build("-g"), "leave"]
        ended = self.launch(*launch).end()
        self.assertEqual(ended.status, 1, ended.text)
        self.assert_says(
            ended,
            "--check: 2 mistakes",
            "[leaked-handle] ranks 0, 1: a communicator",
            "ring.c:21, in main",
            "[open-request] ranks 0, 1:",
            "ring.c:24, in main",
        )


if __name__ == "__main__":
    unittest.main()
