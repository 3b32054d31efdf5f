"""Looking into running jobs from outside: `phalanx ps` and `phalanx why`."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
import unittest
from pathlib import Path

from jobs import PHALANX, Job, JobCase

HEAD = """
import os, signal, sys, threading, time
from mpi4py import MPI
comm = MPI.COMM_WORLD
me = comm.rank
"""
# What runs under an interpreter of any version, without MPI.
COMPUTES = """
import threading
class Solver:
    def step(self):
        total = 0
        while True:
            total += 1  # the line
def other_thread_ö():
    threading.Event().wait()
threading.Thread(target=other_thread_ö, daemon=True).start()
print("ready", flush=True)
Solver().step()
"""
# A library that calls MPI, and Python that calls it.
HALO = """
#include <mpi.h>
int wait_for_it(MPI_Comm comm, int source) {
    int value;
    return MPI_Recv(&value, 1, MPI_INT, source, 5, comm, MPI_STATUS_IGNORE);
}
int exchange(MPI_Comm comm, int source) { return wait_for_it(comm, source) + 1; }
"""
CALLS_HALO = """
import ctypes
halo = ctypes.CDLL("./libhalo.so")
def step():
    halo.exchange(ctypes.c_void_p(MPI._handleof(comm)), 1 - me)
"""
PATIENCE = 60.0


class Asking(JobCase):
    """A test with a directory of jobs of its own."""

    def setUp(self) -> None:
        super().setUp()
        # The name of a socket has room for some hundred letters.
        holder = tempfile.TemporaryDirectory(dir="/tmp")
        self.addCleanup(holder.cleanup)
        self.doors = Path(holder.name, "doors")
        self.jobs: list[Job] = []

    def begin(
        self, ranks: int, script: str, *flags: str, program: tuple[str, ...] = ()
    ) -> Job:
        path = Path(self.folder, "script.py")
        path.write_text(textwrap.dedent(script))
        program = program or (sys.executable, str(path))
        job = self.launch(
            "-n", str(ranks), *flags, *program, PHALANX_RUNTIME_DIR=str(self.doors)
        )
        self.jobs.append(job)
        return job

    @staticmethod
    def finish(job: Job) -> None:
        if job.process.poll() is None:
            job.process.send_signal(signal.SIGCONT)
            job.process.send_signal(signal.SIGKILL)
            job.process.wait(PATIENCE)
        job.out.close()
        job.err.close()

    def tearDown(self) -> None:
        for job in self.jobs:
            self.finish(job)
        super().tearDown()

    def ask(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PHALANX, *words],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            stdin=subprocess.DEVNULL,
            env={
                **os.environ,
                "PHALANX_RUNTIME_DIR": str(self.doors),
                **environment,
            },
        )

    def ask_until(self, *texts: str, words: tuple[str, ...] = ("why",)) -> str:
        """Ask until all of these are in the answer (whatever way lines are broken)."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = self.ask(*words)
            flat = " ".join(answer.stdout.split())
            if answer.returncode == 0 and all(text in flat for text in texts):
                return answer.stdout
            if time.monotonic() > deadline:
                self.fail(f"never said {texts}: {answer.stdout}{answer.stderr}")
            time.sleep(0.1)

    def seen(self) -> dict:
        answer = self.ask("why", "--json")
        self.assertEqual(answer.returncode, 0, answer.stderr)
        return json.loads(answer.stdout)

    def pid_of(self, rank: int) -> int:
        return next(
            seen["pid"] for seen in self.seen()["ranks"] if seen["rank"] == rank
        )


class TestJobs(Asking):
    def test_nobody_runs(self):
        answer = self.ask("ps")
        self.assertEqual(
            (answer.returncode, answer.stdout), (0, "no job of yours runs here\n")
        )
        self.assertEqual(json.loads(self.ask("ps", "--json").stdout), [])
        answer = self.ask("why")
        self.assertEqual(answer.returncode, 2)
        self.assertIn("no job of yours runs here", answer.stderr)

    def test_a_job_has_a_name_and_is_gone_after_it(self):
        job = self.begin(2, "input()", "--stdin", "none", program=("sleep", "600"))
        self.ask_until("sleep", words=("ps",))
        [listed] = json.loads(self.ask("ps", "--json").stdout)
        self.assertEqual(listed["launcher"], job.process.pid)
        self.assertEqual(
            (listed["program"], listed["ranks"], listed["state"]),
            ("sleep", 2, "running"),
        )
        self.assertEqual(self.doors.stat().st_mode & 0o777, 0o700)
        self.assertEqual([path.name for path in self.doors.iterdir()], [listed["job"]])
        job.process.terminate()
        job.end()
        self.assertEqual(list(self.doors.iterdir()), [])

    def test_a_killed_launcher_leaves_no_name(self):
        job = self.begin(1, "", program=("sleep", "600"))
        self.ask_until("sleep", words=("ps",))
        job.process.kill()
        job.process.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while list(self.doors.iterdir()):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def test_a_name_that_nobody_answers_to_is_removed(self):
        import socket

        self.doors.mkdir(mode=0o700)
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(self.doors / "left"))
        self.assertEqual(self.ask("ps").stdout, "no job of yours runs here\n")
        self.assertEqual(list(self.doors.iterdir()), [])

    def test_a_job_is_named_in_several_ways(self):
        first = self.begin(1, "", program=("sleep", "600"))
        self.ask_until("sleep", words=("ps",))
        name = json.loads(self.ask("ps", "--json").stdout)[0]["job"]
        rank = self.pid_of(0)
        second = Path(self.folder, "second")
        second.mkdir()
        other = Job(
            str(second),
            self.mark,
            [PHALANX, "run", "-n", "1", "sleep", "601"],
            PHALANX_RUNTIME_DIR=str(self.doors),
        )
        self.jobs.append(other)
        self.ask_until("sleep", str(other.process.pid), words=("ps",))
        for word in (name, str(first.process.pid), str(rank)):
            answer = self.ask("why", word)
            self.assertIn(f"job {name} (pid {first.process.pid})", answer.stdout)
        answer = self.ask("why")
        self.assertEqual(answer.returncode, 2)
        self.assertIn("several jobs of yours run here", answer.stderr)
        for word, said in (
            ("nosuch", "no job of yours is called 'nosuch'"),
            ("1", "process 1 is no launcher or rank of a job of yours"),
            (str(os.getpid()), "is no launcher or rank"),
            ("--frob", "unknown flag '--frob'"),
        ):
            answer = self.ask("why", word)
            self.assertEqual(answer.returncode, 2, answer.stderr)
            self.assertIn(said, answer.stderr)

    def test_a_directory_that_others_may_enter_is_not_used(self):
        self.doors.mkdir(mode=0o755)
        job = self.begin(1, "print('ran')", "-v")
        ended = job.end()
        self.assertEqual((ended.status, ended.out), (0, "ran\n"), ended.text)
        self.assertIn("is not a directory of this user alone", ended.err)
        self.assertEqual(list(self.doors.iterdir()), [])
        self.assertIn("of this user alone", self.ask("ps").stderr)

    @unittest.skipUnless(os.geteuid() == 0, "only root can be somebody else")
    def test_jobs_of_others_are_not_found(self):
        self.begin(1, "", program=("sleep", "600"))
        self.ask_until("sleep", words=("ps",))
        os.chmod(self.doors.parent, 0o755)
        answer = subprocess.run(
            [PHALANX, "ps"],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            user=65534,
            env={**os.environ, "PHALANX_RUNTIME_DIR": str(self.doors)},
        )
        self.assertNotIn("sleep", answer.stdout)
        # One who gets at the socket all the same is not heard.
        [door] = self.doors.iterdir()
        os.chmod(self.doors, 0o755)
        os.chmod(door, 0o777)
        script = (
            "import socket, sys; s = socket.socket(socket.AF_UNIX);"
            "s.settimeout(30); s.connect(sys.argv[1]);"
            "s.sendall(b'look\\n'); print(s.recv(100))"
        )
        python = shutil.which("python3", path="/usr/bin") or sys.executable
        heard = subprocess.run(
            [python, "-c", script, str(door)],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            user=65534,
        )
        self.assertNotIn("phalanx", heard.stdout)
        self.assertTrue(heard.returncode != 0 or heard.stdout == "b''\n", heard.stdout)

    def test_a_launcher_that_is_stopped(self):
        job = self.begin(1, "", program=("sleep", "600"))
        self.ask_until("sleep", words=("ps",))
        job.process.send_signal(signal.SIGSTOP)
        try:
            answer = self.ask("why")
            self.assertEqual(answer.returncode, 1)
            self.assertIn(f"kill -CONT {job.process.pid}", answer.stderr)
        finally:
            job.process.send_signal(signal.SIGCONT)
        self.ask_until("sleeps for a time")

    def test_callers_that_say_nonsense_or_nothing(self):
        import socket

        self.begin(1, "", program=("sleep", "600"))
        self.ask_until("sleep", words=("ps",))
        [door] = self.doors.iterdir()
        callers = []
        for said in (b"", b"x" * 1000, b"\n", b"what\n", b"\xff\xfe\n") * 8:
            caller = socket.socket(socket.AF_UNIX)
            caller.connect(str(door))
            caller.settimeout(PATIENCE)
            try:
                caller.sendall(said)
            except OSError:
                pass  # others have come since, and it was sent away
            callers.append(caller)
        self.ask_until("sleeps for a time")
        for caller in callers:
            caller.close()
        self.ask_until("sleeps for a time")


class TestWhy(Asking):
    def test_a_rank_that_computes_while_others_wait(self):
        script = """
def work():
    total = 0
    while True:
        total += 1
if me == 1:
    work()
comm.barrier()
"""
        self.begin(4, HEAD + script)
        answer = self.ask_until(
            "ranks 0, 2, 3 wait for rank 1, which computes at script.py:",
            "in work",
            "Barrier on communicator 'MPI_COMM_WORLD', for rank 1",
            "comm.barrier()",
        )
        for line in answer.splitlines():
            self.assertLessEqual(len(line) if " at /" not in line else 0, 80, line)
        seen = self.seen()
        self.assertIn("which computes", seen["verdict"])
        doing = {rank["rank"]: rank["doing"] for rank in seen["ranks"]}
        self.assertEqual(doing, {0: "waits", 1: "computes", 2: "waits", 3: "waits"})
        stack = seen["ranks"][1]["process"]["threads"][0]["stack"]
        self.assertEqual([frame["function"] for frame in stack], ["work", "<module>"])

    def test_a_deadlock(self):
        self.begin(3, HEAD + "comm.recv(source=(me + 1) % 3)")
        self.ask_until(
            "deadlock: ranks 0-2 wait for each other and can never go on",
            "the cycle: 0 -> 1 -> 2 -> 0",
            "Recv from rank 1",
            "comm.recv(source=(me + 1) % 3)",
        )
        self.ask_until("deadlock", words=("ps",))

    def test_sixty_four_ranks_fit_a_screen(self):
        self.begin(64, HEAD + "comm.recv(source=(me + 1) % 64)")
        answer = self.ask_until("deadlock: ranks 0-63", "another rank each")
        self.assertLess(len(answer.splitlines()), 24, answer)

    def test_standard_input(self):
        script = """
if me == 0:
    sys.stdin.read()
comm.barrier()
"""
        path = Path(self.folder, "script.py")
        path.write_text(HEAD + script)
        process = subprocess.Popen(
            [PHALANX, "run", "-n", "2", sys.executable, str(path)],
            stdin=subprocess.PIPE,
            env={**os.environ, "PHALANX_RUNTIME_DIR": str(self.doors)},
        )
        try:
            self.ask_until(
                "rank 1 waits for rank 0, which waits for standard input (a pipe)"
            )
        finally:
            process.communicate(b"", PATIENCE)
        self.assertEqual(process.returncode, 0)

    def test_a_stopped_rank(self):
        script = """
if me == 1:
    os.kill(os.getpid(), signal.SIGSTOP)
comm.barrier()
"""
        job = self.begin(3, HEAD + script)
        self.ask_until("is stopped by a signal")
        pid = self.pid_of(1)
        self.ask_until(
            "ranks 0, 2 wait for rank 1, which is stopped by a signal "
            f"(kill -CONT {pid} lets it go on)"
        )
        os.kill(pid, signal.SIGCONT)
        self.assertEqual(job.end().status, 0)

    def test_pdb(self):
        script = """
import pdb
def checks():
    if me == 1:
        pdb.set_trace()
    comm.barrier()
checks()
"""
        path = Path(self.folder, "script.py")
        path.write_text(HEAD + script)
        process = subprocess.Popen(
            [PHALANX, "run", "-n", "2", "--stdin", "1", sys.executable, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env={**os.environ, "PHALANX_RUNTIME_DIR": str(self.doors)},
        )
        try:
            self.ask_until("rank 0 waits for rank 1, which is at a prompt of pdb")
        finally:
            process.communicate(b"c\n", PATIENCE)
        self.assertEqual(process.returncode, 0)

    @unittest.skipUnless(shutil.which("gdb"), "gdb is not installed")
    def test_gdb(self):
        script = """
if me == 0:
    while True:
        time.sleep(0.1)
comm.barrier()
"""
        self.begin(2, HEAD + script)
        self.ask_until("rank 1 waits for rank 0")
        ask = f"shell {PHALANX} why"
        held = subprocess.run(
            ["gdb", "-q", "-p", str(self.pid_of(0)), "-batch", "-ex", ask],
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            env={**os.environ, "PHALANX_RUNTIME_DIR": str(self.doors)},
        )
        if "ptrace: " in held.stderr:
            self.skipTest("gdb may not attach here")
        said = " ".join(held.stdout.split())
        self.assertIn("rank 0, which is held by a debugger (gdb, pid", said)
        self.assertIn("at script.py:", said)

    def test_what_else_ranks_wait_for(self):
        script = """
import socket, subprocess
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
def lock_twice():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()
[
    lambda: server.accept(),
    lambda: subprocess.run(["sleep", "600"]),
    lambda: time.sleep(600),
    lambda: os.read(os.pipe()[0], 1),
    lock_twice,
][me]()
"""
        self.begin(5, HEAD + script)
        self.ask_until(
            "waits for a connection at the TCP port 127.0.0.1:",
            "to end (sleep 600)",
            "sleeps for a time",
            "waits to read from a pipe",
            "waits for another thread or a lock",
            "in lock_twice",
        )

    def test_a_pool_inside_a_rank(self):
        script = """
import phalanx.multiprocessing as mp
def task(n):
    while True:
        n += 1
if __name__ == "__main__":
    from mpi4py import MPI
    comm = MPI.COMM_WORLD
    if comm.rank == 0:
        with mp.Pool(2) as pool:
            pool.map(task, range(2))
    comm.barrier()
"""
        self.begin(2, script)
        self.ask_until(
            "rank 1 waits for rank 0",
            "2 processes that it has started compute at script.py",
            "in task",
            "pool.map(task, range(2))",
        )

    def test_a_rank_without_mpi_and_one_that_has_ended(self):
        script = """
import os, sys, time
if os.environ["PMI_RANK"] == "2":
    sys.exit()
if os.environ["PMI_RANK"] == "1":
    time.sleep(600)
from mpi4py import MPI
"""
        self.begin(3, script)
        self.ask_until(
            "ranks 0, 2: have ended with status 0",
            "rank 1 sleeps for a time",
            "it has not called MPI_Init",
        )

    def test_a_rank_behind_a_shell(self):
        command = f"{sys.executable} {Path(self.folder, 'script.py')}; true"
        script = HEAD + "time.sleep(600) if me == 0 else comm.barrier()"
        self.begin(2, script, program=("sh", "-c", command))
        self.ask_until(
            "rank 1 waits for rank 0, which sleeps for a time at script.py:",
            "comm.barrier()",
        )

    def test_other_interpreters(self):
        found = 0
        for version in ("3.11", "3.12", "3.13", "3.14"):
            python = self.of_pyenv(version) or shutil.which(f"python{version}")
            if python is None:
                continue
            with self.subTest(version):
                path = Path(self.folder, f"dïr {version}")
                path.mkdir()
                script = path / "compute.py"
                script.write_text(COMPUTES)
                job = self.begin(1, "", program=(python, str(script)))
                job.wait_for("ready")
                self.ask_until(
                    "rank 0 computes at compute.py:", f"at {path}", "in Solver.step"
                )
                threads = self.seen()["ranks"][0]["process"]["threads"]
                functions = [t["stack"][-1]["function"] for t in threads if t["stack"]]
                self.assertEqual(len(functions), 2, threads)
                names = [f["function"] for t in threads for f in t["stack"]]
                self.assertIn("other_thread_ö", names)
                self.finish(job)
                found += 1
        self.assertGreater(found, 0)

    @staticmethod
    def of_pyenv(version: str) -> str | None:
        folder = Path("~/.pyenv/versions").expanduser()
        for python in sorted(folder.glob(f"{version}.*/bin/python3")):
            return str(python)
        return None

    def test_another_mpi_library(self):
        # Any library will do that is not the embedded one: the file itself is.
        import phalanx

        library = Path(phalanx.__file__).parent / "_native" / "libmpi_abi.so.1"
        copy = Path(self.folder, "lib", library.name)
        copy.parent.mkdir()
        shutil.copy(library, copy)
        libraries = [copy]
        # A true other one, where the package `mpich` is installed.
        other = Path(os.environ.get("PHALANX_TEST_MPICH", sys.prefix), "lib", copy.name)
        libraries += [other] if other.exists() else []
        for library in libraries:
            with self.subTest(library):
                self.check_library(library)

    def check_library(self, library: Path) -> None:
        script = HEAD + "comm.barrier() if me else time.sleep(600)"
        path = Path(self.folder, "script.py")
        path.write_text(script)
        job = self.launch(
            "-n",
            "2",
            sys.executable,
            str(path),
            PHALANX_RUNTIME_DIR=str(self.doors),
            PHALANX_MPI=str(library),
        )
        self.jobs.append(job)
        self.ask_until(
            "what ranks wait for is not known on another MPI library",
            "rank 0 sleeps for a time",
            "comm.barrier()",
        )
        self.finish(job)

    def test_a_rank_that_writes_all_over_the_segment(self):
        script = """
if me == 0:
    time.sleep(1)  # the others are in their call
    with open("/proc/self/maps") as maps:
        shared = [line.split()[0] for line in maps if "memfd:phalanx" in line]
    with open("/proc/self/mem", "r+b", buffering=0) as memory:
        print("scribbles", shared, flush=True)  # who waits may find it at once
        for seed in range(1, 1000):
            block = bytes((seed * n) & 255 for n in range(4096))
            for part in shared:
                begin, end = (int(address, 16) for address in part.split("-"))
                for at in range(begin, min(end, begin + (16 << 20)), 4096):
                    os.pwrite(memory.fileno(), block, at)
else:
    comm.barrier()
"""
        job = self.begin(2, HEAD + script, "--on-deadlock", "ignore")
        job.wait_for("scribbles")
        for _ in range(20):
            answer = self.ask("why")
            if job.process.poll() is not None:
                break  # who waited has found it, and ended the job
            self.assertIn("job ", answer.stdout + answer.stderr)
        self.assertGreaterEqual(job.process.poll() or 0, 0)


@unittest.skipIf(shutil.which("cc") is None, "no C compiler")
class TestNative(Asking):
    """MPI called from C that Python has called."""

    def build(self, *flags: str) -> None:
        source, library = Path(self.folder, "halo.c"), Path(self.folder, "libhalo.so")
        source.write_text(HALO)
        command = [PHALANX, "cc", *flags, "-shared", "-fPIC", "-fno-inline"]
        command += ["-fno-optimize-sibling-calls", str(source), "-o", str(library)]
        subprocess.run(command, check=True, timeout=60)

    def test_why_says_the_line_of_python_and_the_function_of_c(self):
        self.build()
        script = "step() if me == 0 else time.sleep(600)"
        self.begin(2, HEAD + CALLS_HALO + script)
        self.ask_until(
            "rank 0 waits for rank 1, which sleeps for a time",
            "script.py:10, in step",
            "which is in " + str(Path(self.folder, "libhalo.so")) + ", in wait_for_it",
            "called from " + str(Path(self.folder, "script.py")) + ":11, in <module>",
        )
        stack = self.seen()["ranks"][0]["process"]["threads"][0]["stack"]
        functions = [frame["function"] for frame in stack]
        self.assertEqual(functions, ["wait_for_it", "exchange", "step", "<module>"])
        whole = self.ask("why", "--verbose").stdout
        self.assertIn("libhalo.so, in exchange", " ".join(whole.split()))

    def test_a_deadlock_is_told_with_both(self):
        self.build("-g")
        job = self.begin(2, HEAD + CALLS_HALO + "step()", "--on-deadlock", "abort")
        ended = job.end()
        self.assertEqual(ended.status, 1, ended.text)
        said = " ".join(ended.err.split())
        self.assertIn("script.py:10, in step", said)
        self.assertRegex(said, r"which is in \S+halo\.c:5, in wait_for_it")
        self.assertIn("return MPI_Recv(&value", said)

    def test_python_alone_is_told_as_before(self):
        self.begin(2, HEAD + "comm.recv(source=1) if me == 0 else time.sleep(600)")
        answer = self.ask_until("rank 0 waits for rank 1, which sleeps for a time")
        self.assertNotIn("which is in", answer)


class TestTold(Asking):
    def test_sigquit_says_it_and_the_job_goes_on(self):
        script = """
if me == 0:
    time.sleep(3)
comm.barrier()
print("went on", flush=True)
"""
        job = self.begin(2, HEAD + script)
        self.ask_until("rank 1 waits for rank 0, which sleeps for a time")
        job.process.send_signal(signal.SIGQUIT)
        ended = job.end()
        self.assertEqual(ended.status, 0, ended.text)
        self.assertEqual(ended.out.count("went on"), 2)
        self.assert_says(
            ended, "phalanx: rank 1 waits for rank 0, which sleeps for a time at"
        )

    def test_a_time_out_says_it(self):
        script = HEAD + "time.sleep(600) if me == 2 else comm.recv(source=2, tag=3)"
        ended = self.begin(3, script, "--timeout", "12").end()
        self.assertEqual(ended.status, 124, ended.text)
        said = " ".join(ended.err.split())
        self.assertIn("timeout of 12 s reached", said)
        self.assertIn(
            "ranks 0, 1 wait for rank 2, which sleeps for a time at script.py", said
        )
        self.assertIn("Recv from rank 2, tag 3", said)


if __name__ == "__main__":
    unittest.main()
