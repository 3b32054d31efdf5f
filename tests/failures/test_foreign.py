"""Ranks that another launcher has started: they meet, or end with one message."""

import os
import re
import socket
import subprocess
import sys
import tempfile
import threading
import unittest
from collections.abc import Callable
from pathlib import Path

from jobs import PHALANX

PYTHON = sys.executable
SECONDS = 60.0
PREFIXES = (
    "PHALANX_",
    "PMI",
    "SLURM_",
    "OMPI_",
    "MPI_LOCAL",
    "PRTE_",
    "FLUX_",
    "PALS_",
)
PLAIN = {k: v for k, v in os.environ.items() if not k.startswith(PREFIXES)}

STEP = {"SLURM_STEP_NUM_TASKS": "3", "SLURM_STEP_ID": "0", "SLURM_PROCID": "0"}

HELLO = """
import sys
from phalanx import MPI
comm = MPI.COMM_WORLD
assert comm.allreduce(1) == comm.size
sys.stdout.write(f"rank {comm.rank} of {comm.size}\\n")
"""

LEAVES = """
import os, sys, time
from phalanx import MPI
comm = MPI.COMM_WORLD
comm.Barrier()
if comm.rank == 1:
    time.sleep(0.1)
    {how}
comm.Barrier()
"""


class Launcher:
    """A PMI-1 launcher of its own: starts ranks, answers them, ends all on an abort."""

    def __init__(
        self,
        size: int,
        tell: Callable[[int, str, str], str] | None = None,
        refused: str = "",
    ):
        """`tell` changes what a rank gets; keys like `refused` are not taken."""
        self.size, self.tell = size, tell or (lambda rank, key, value: value)
        self.refused = refused
        self.lock, self.values = threading.Lock(), {}
        self.waiting: list[socket.socket] = []
        self.aborted: list[int] = []
        self.ranks: list[subprocess.Popen] = []

    def run(self, script: str) -> tuple[list[int], str]:
        """Run the script on all ranks: their statuses, and what they wrote."""
        with (
            tempfile.TemporaryDirectory() as folder,
            tempfile.TemporaryFile("w+") as out,
        ):
            path = Path(folder, "script.py")
            path.write_text(script)
            threads = []
            for rank in range(self.size):
                ours, theirs = socket.socketpair()
                env = {
                    **PLAIN,
                    "PMI_FD": str(theirs.fileno()),
                    "PMI_RANK": str(rank),
                    "PMI_SIZE": str(self.size),
                }
                with theirs:
                    process = subprocess.Popen(
                        [PYTHON, str(path)],
                        env=env,
                        stdout=out,
                        stderr=out,
                        pass_fds=[theirs.fileno()],
                    )
                self.ranks.append(process)
                thread = threading.Thread(target=self.serve, args=(rank, ours))
                thread.start()
                threads.append(thread)
            statuses = [process.wait(SECONDS) for process in self.ranks]
            for thread in threads:
                thread.join(SECONDS)
            out.seek(0)
            return statuses, out.read()

    def serve(self, rank: int, ours: socket.socket) -> None:
        with ours, ours.makefile("r") as lines:
            for line in lines:
                words = dict(word.partition("=")[::2] for word in line.split())
                answer = self.answer(rank, ours, words)
                if answer:
                    ours.sendall(f"{answer}\n".encode())

    def answer(self, rank: int, ours: socket.socket, words: dict[str, str]) -> str:
        command = words["cmd"]
        with self.lock:
            match command:
                case "init":
                    return "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0"
                case "get_appnum":
                    return "cmd=appnum appnum=0"
                case "get_my_kvsname":
                    return "cmd=my_kvsname kvsname=kvs"
                case "put":
                    if self.refused and re.search(self.refused, words["key"]):
                        return "cmd=put_result rc=-1 msg=value_too_long"
                    self.values[words["key"]] = words["value"]
                    return "cmd=put_result rc=0"
                case "get":
                    value = self.values.get(words["key"])
                    if value is None:
                        return "cmd=get_result rc=-1"
                    value = self.tell(rank, words["key"], value)
                    return f"cmd=get_result rc=0 value={value}"
                case "barrier_in":
                    self.waiting.append(ours)
                    if len(self.waiting) == self.size:
                        for one in self.waiting:
                            one.sendall(b"cmd=barrier_out\n")
                        self.waiting.clear()
                    return ""
                case "finalize":
                    return "cmd=finalize_ack"
                case "abort":
                    self.aborted.append(int(words["exitcode"]))
                    for other, process in enumerate(self.ranks):
                        if other != rank:
                            process.kill()
                    return ""
        raise AssertionError(f"unknown command {command}")


class Meeting(unittest.TestCase):
    def test_all_join(self):
        for size in (1, 2, 3, 8):
            statuses, said = Launcher(size).run(HELLO)
            self.assertEqual(statuses, [0] * size, said)
            expected = [f"rank {rank} of {size}" for rank in range(size)]
            self.assertEqual(sorted(said.splitlines()), expected)

    def refused(self, tell: Callable[[int, str, str], str], *words: str) -> None:
        statuses, said = Launcher(4, tell).run(HELLO)
        self.assertEqual(statuses, [16] * 4, said)
        self.assertEqual(len(said.splitlines()), 1, said)
        for word in (*words, "PHALANX_MPI=site", "one machine"):
            self.assertIn(word, said)

    def test_another_machine(self):
        def tell(rank, key, value):
            return f"x{value}" if rank > 1 and key == "phalanx-universe" else value

        self.refused(
            tell,
            "2 of 4 ranks cannot join",
            "ranks 2, 3: it runs on",
            "another machine",
        )

    def test_another_container(self):
        def tell(rank, key, value):
            return (
                re.sub(r":\d+:(\d+):", r":999999999:\1:", value) if rank == 3 else value
            )

        self.refused(
            tell, "1 of 4 ranks cannot join", "rank 3: it cannot open", "container"
        )

    def test_another_universe_under_the_same_number(self):
        def tell(rank, key, value):
            parts = value.split(":")
            if rank == 1 and len(parts) == 7:
                parts[4] = "1"
            return ":".join(parts)

        self.refused(tell, "rank 1: it cannot open", "another one")

    def test_a_launcher_that_refuses_a_value(self):
        for refused in ("universe", "joined-2", "joined", "verdict"):
            statuses, said = Launcher(4, refused=refused).run(HELLO)
            self.assertEqual(statuses, [16] * 4, said)
            self.assertEqual(len(said.splitlines()), 1, said)

    def test_nonsense(self):
        for nonsense in ("", "!no_memory", ":::::::", "a:b:c:d:e:f:g", "x" * 900):

            def tell(rank, key, value, nonsense=nonsense):
                return nonsense if rank == 1 and key == "phalanx-universe" else value

            self.refused(tell, "1 of 4 ranks cannot join")


class Leaving(unittest.TestCase):
    """A rank that fails ends the job, though the launcher waits for the others."""

    def leaves(self, how: str, status: int, *words: str) -> None:
        launcher = Launcher(3)
        statuses, said = launcher.run(LEAVES.format(how=how))
        self.assertEqual(launcher.aborted, [status], said)
        self.assertEqual(statuses, [-9, status, -9], said)
        for word in words:
            self.assertIn(word, said)
        self.assertNotIn("panicked", said)

    def test_exit_status(self):
        self.leaves("sys.exit(3)", 3, "rank 1", "exits with status 3: the job ends")
        self.leaves("sys.exit('bad input')", 1, "bad input", "exits with status 1")
        self.leaves("raise SystemExit(7)", 7, "exits with status 7")

    def test_exception(self):
        self.leaves("raise ValueError('wrong')", 1, "ValueError: wrong", "rank 1 of 3")

    def test_abort(self):
        self.leaves("comm.Abort(5)", 5, "MPI_Abort with code 5")

    def test_caught_exit_is_none(self):
        how = "\n    try:\n        sys.exit(3)\n    except SystemExit:\n        pass"
        launcher = Launcher(3)
        statuses, said = launcher.run(LEAVES.format(how=how))
        self.assertEqual((statuses, launcher.aborted), ([0] * 3, []), said)

    def test_after_finalize_a_status_is_that_of_one_rank(self):
        launcher = Launcher(3)
        script = LEAVES.format(how="pass") + "MPI.Finalize()\nsys.exit(4)\n"
        statuses, said = launcher.run(script)
        self.assertEqual((statuses, launcher.aborted), ([4] * 3, []), said)

    def test_killed_and_gone(self):
        for how in ("os.kill(os.getpid(), 9)", "os._exit(3)"):
            launcher = Launcher(3)
            statuses, said = launcher.run(LEAVES.format(how=how))
            self.assertEqual(launcher.aborted[0], 1, said)
            # Which rank calls MPI_Abort is a race: one that waits for rank 1, or one
            # that waits for those who have left the barrier for its sake.
            self.assertRegex(said, "rank 1, which has ended|because rank 1 has ended")
            self.assertNotIn(0, statuses)


class Alone(unittest.TestCase):
    """A process whose environment says that a launcher has started it."""

    def start(
        self, command: list[str], env: dict[str, str]
    ) -> subprocess.CompletedProcess:
        return subprocess.run(
            command,
            env={**PLAIN, **env},
            capture_output=True,
            text=True,
            timeout=SECONDS,
        )


class JobsOfOne(Alone):
    """Launchers through which ranks cannot meet: no job of one is made of each."""

    def test_the_first_one_says_it(self):
        hello = [PYTHON, "-c", HELLO]
        first = self.start(hello, STEP)
        self.assertEqual(first.returncode, 16, first.stderr)
        self.assertEqual(len(first.stderr.splitlines()), 1, first.stderr)
        for word in ("Slurm's srun with 3 processes", "--mpi=pmi2", "PHALANX_ALONE=1"):
            self.assertIn(word, first.stderr)
        other = self.start(hello, {**STEP, "SLURM_PROCID": "2"})
        self.assertEqual((other.returncode, other.stderr), (16, first.stderr))
        task = 'export SLURM_TASK_PID=$$; exec "$0" -c "$1"'
        quiet = self.start(
            ["sh", "-c", task, PYTHON, HELLO], {**STEP, "SLURM_PROCID": "2"}
        )
        self.assertEqual((quiet.returncode, quiet.stderr), (16, ""))

    def test_a_shell_on_a_node_is_alone(self):
        shell = {**STEP, "SLURM_JOB_NAME": "zsh", "SLURM_PTY_WIN_COL": "80"}
        alone = self.start([PYTHON, "-c", HELLO], shell)
        self.assertEqual(
            (alone.returncode, alone.stdout), (0, "rank 0 of 1\n"), alone.stderr
        )

    def test_jobs_of_one_that_are_wanted(self):
        alone = self.start([PYTHON, "-c", HELLO], {**STEP, "PHALANX_ALONE": "1"})
        self.assertEqual(
            (alone.returncode, alone.stdout), (0, "rank 0 of 1\n"), alone.stderr
        )

    def test_a_job_of_one_by_pmix(self):
        env = {**STEP, "SLURM_STEP_NUM_TASKS": "1", "PMIX_RANK": "0"}
        alone = self.start(
            [PYTHON, "-c", HELLO], {**env, "PMIX_NAMESPACE": "slurm.pmix.1.0"}
        )
        self.assertEqual(
            (alone.returncode, alone.stdout), (0, "rank 0 of 1\n"), alone.stderr
        )

    def test_a_launcher_started_several_times(self):
        command = [PHALANX, "run", "-n", "2", PYTHON, "-c", "pass"]
        first = self.start(command, STEP)
        self.assertEqual(first.returncode, 2, first.stderr)
        self.assertIn("each of them would start a job of its own", first.stderr)
        task = 'export SLURM_TASK_PID=$$; exec "$@"'
        other = self.start(
            ["sh", "-c", task, "sh", *command], {**STEP, "SLURM_PROCID": "1"}
        )
        self.assertEqual((other.returncode, other.stderr), (2, ""))
        left = {"PMI_SIZE": "4", "PMI_RANK": "1", "PMI_FD": "63"}
        child_of_a_rank = self.start(command, left)
        self.assertEqual(child_of_a_rank.returncode, 0, child_of_a_rank.stderr)
        wanted = self.start(command, {**STEP, "PHALANX_ALONE": "1"})
        self.assertEqual(wanted.returncode, 0, wanted.stderr)


POOL = """
{first}
import phalanx.multiprocessing as mp
from phalanx.futures import ProcessPoolExecutor
if __name__ == "__main__":
    with mp.Pool(1) as pool:
        assert pool.map(abs, [-1]) == [1]
    with ProcessPoolExecutor(1) as executor:
        assert executor.submit(abs, -2).result() == 2
    print("done", flush=True)
"""


class Pools(Alone):
    """A program with a pool that a launcher has started several times."""

    def pool(
        self, env: dict[str, str], first: str = "", command: tuple[str, ...] = ()
    ) -> list[str]:
        """Run it, and return what it says on standard error."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "pool.py")
            path.write_text(POOL.format(first=first))
            done = self.start([*command, PYTHON, str(path)], env)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("done", done.stdout)
        return done.stderr.splitlines()

    def test_it_is_said_once(self):
        said = self.pool(STEP)
        self.assertEqual(len(said), 1, said)
        for word in ("Slurm's srun", "3 times", "MPIPoolExecutor", "PHALANX_ALONE=1"):
            self.assertIn(word, said[0])
        self.assertEqual(self.pool({**STEP, "SLURM_PROCID": "1"}), [])
        said = self.pool({}, command=(PHALANX, "run", "-n", "2"))
        self.assertEqual(len(said), 1, said)
        self.assertIn("phalanx run has started this program 2 times", said[0])

    def test_it_is_not_said_where_it_is_meant(self):
        run = (PHALANX, "run", "-n", "2")
        self.assertEqual(self.pool({**STEP, "PHALANX_ALONE": "1"}), [])
        self.assertEqual(self.pool({}, "from phalanx import MPI", run), [])
        self.assertEqual(self.pool({}), [])
        # What a rank or a task has started has its variables.
        self.assertEqual(self.pool({**STEP, "SLURM_TASK_PID": "1"}), [])
        left = {"PMI_SIZE": "4", "PMI_RANK": "0", "PMI_FD": "63"}
        self.assertEqual(self.pool(left), [])


class Doctor(Alone):
    """What `phalanx doctor` says where a launcher has started it."""

    def test_one_of_them_reports(self):
        script = f"import os\nos.execv({PHALANX!r}, ['phalanx', 'doctor'])"
        statuses, said = Launcher(3).run(script)
        self.assertEqual(statuses[1:], [0, 0], said)
        lines = [" ".join(line.split()) for line in said.splitlines()]
        found = [line for line in lines if line.startswith("ok started by")]
        self.assertEqual(len(found), 1, said)
        text = " ".join(lines)
        for words in (
            "started by an MPI launcher with PMI with 3 processes (PMI_SIZE is set); "
            "it offers PMI-1 (PMI_FD); it answers as PMI 1.1",
            "ok pmi the embedded engine speaks PMI-1 (PMI_FD); the launcher offers",
        ):
            self.assertIn(words, text)

    def test_without_a_pmi(self):
        first = self.start([PHALANX, "doctor"], STEP)
        self.assertEqual(first.returncode, 1, first.stdout)
        text = " ".join(first.stdout.split())
        self.assertIn("Slurm's srun with 3 processes", text)
        self.assertIn("WRONG pmi", text)
        self.assertIn("and the launcher offers no PMI: they do not match", text)
        self.assertIn("-> srun --mpi=pmi2 on one node", text)
        other = self.start([PHALANX, "doctor"], {**STEP, "SLURM_PROCID": "1"})
        self.assertEqual((other.returncode, other.stdout, other.stderr), (0, "", ""))

    def test_without_a_launcher(self):
        alone = self.start([PHALANX, "doctor"], {})
        self.assertNotIn("started by", alone.stdout)
        # What a rank has started has its variables, but not its connection.
        left = {"PMI_SIZE": "4", "PMI_RANK": "1", "PMI_FD": "63"}
        child = self.start([PHALANX, "doctor"], left)
        self.assertIn("python", child.stdout)
        self.assertNotIn("started by", child.stdout)

    def test_under_phalanx_run(self):
        done = self.start([PHALANX, "run", "-n", "2", PHALANX, "doctor"], {})
        self.assertEqual(done.stdout.count("ok    python "), 1, done.stdout)
        self.assertIn("phalanx run with 2 processes", " ".join(done.stdout.split()))


if __name__ == "__main__":
    unittest.main()
