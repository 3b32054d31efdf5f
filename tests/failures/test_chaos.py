"""Jobs that lose a rank or their launcher, or are written over, at any moment.

Nothing hangs and nothing is left. `PHALANX_TEST_CHAOS=1000` runs that many jobs and
says on standard error how far it is; `PHALANX_TEST_SEED` repeats a run.
"""

import collections
import os
import random
import signal
import sys
import tempfile
import textwrap
import time
import unittest
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jobs import MARK, PHALANX, Job, marked_processes, shared_names
from test_wild import WILD

JOBS = int(os.environ.get("PHALANX_TEST_CHAOS", "40"))
SEED = int(os.environ.get("PHALANX_TEST_SEED") or random.SystemRandom().getrandbits(32))
AT_ONCE = 3
PATIENCE = 90.0  # seconds until a job counts as hung
EVERY = 50  # jobs, of a run of more than twice as many, between two lines about it

# Ranks talk for ever, in all ways, until something happens.
TALK = """
    import threading, time
    what, who, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    def event():
        time.sleep(seconds)
        if what == "scribble":
            run_wild(who, 30)
        elif what == "exit":
            os._exit(3)
        elif what == "leave":
            os._exit(0)
    if comm.rank == who and what in ("scribble", "exit", "leave"):
        threading.Thread(target=event, daemon=True).start()
    small, large = bytearray(200), bytearray(300_000)
    right, left = (comm.rank + 1) % comm.size, (comm.rank - 1) % comm.size
    window = MPI.Win.Allocate(4096, comm=comm)
    n, until = 0, time.monotonic() + seconds
    while True:
        n += 1
        comm.Sendrecv(small, right, n % 7, small[:], left, n % 7)
        comm.bcast({"turn": n}, root=n % comm.size)
        if n % 10 == 0:
            comm.Sendrecv(large, right, 9, large[:], left, 9)
            comm.allreduce(n)
            window.Lock(right)
            window.Put(bytearray(8), right)
            window.Unlock(right)
            comm.Barrier()
        if what == "raise" and comm.rank == who and time.monotonic() > until:
            raise RuntimeError("in the middle")
"""

# What happens, and what the job's exit status may then be; nothing: any.
INSIDE = {"raise": (1,), "exit": (3,), "leave": (1,), "scribble": ()}
TO_A_RANK = {
    "SIGKILL": (137,),
    "SIGSEGV": (139,),
    "SIGTERM": (143,),
    "SIGSTOP": (143,),  # and then the launcher is terminated
}
TO_THE_LAUNCHER = {
    "SIGKILL": (137,),
    "SIGTERM": (143,),
    "SIGHUP": (129,),
    "SIGINT": (130,),
    "SIGSTOP": (137,),  # and then it is killed
}


def ranks_of(mark: str) -> list[int]:
    """The processes of the job that are ranks."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        is_rank = any(word.startswith(b"PMI_RANK=") for word in words)
        if is_rank and f"{MARK}={mark}".encode() in words:
            found.append(int(entry.name))
    return sorted(found)


class Chaos:
    """One job and what happens to it."""

    def __init__(self, seed: int) -> None:
        draw = random.Random(seed)
        self.seed = seed
        self.ranks = draw.randint(2, 5)
        self.where, what = draw.choice(
            [("inside", what) for what in INSIDE]
            + [("rank", what) for what in TO_A_RANK]
            + [("launcher", what) for what in TO_THE_LAUNCHER]
        )
        self.what = what
        self.who = draw.randrange(self.ranks)
        self.seconds = draw.choice((draw.uniform(0, 0.2), draw.uniform(0.2, 1.5)))

    def __str__(self) -> str:
        return (
            f"PHALANX_TEST_SEED={self.seed}, job 0: {self.what} ({self.where}) of rank "
            f"{self.who} of {self.ranks} after {self.seconds:.3f} s"
        )

    def happen(self, job: Job, mark: str) -> None:
        if self.where == "inside":
            return
        time.sleep(self.seconds)
        number = signal.Signals[self.what]
        launcher = job.process.pid
        if self.where == "launcher":
            os.kill(launcher, number)
            if number == signal.SIGSTOP:
                time.sleep(0.2)
                os.kill(launcher, signal.SIGKILL)
            return
        # Before there is a rank, there is no way to hit one.
        deadline = time.monotonic() + PATIENCE
        while len(ranks := ranks_of(mark)) <= self.who:
            if job.process.poll() is not None or time.monotonic() > deadline:
                return
            time.sleep(0.01)
        os.kill(ranks[self.who], number)
        if number == signal.SIGSTOP:
            time.sleep(0.3)
            os.kill(launcher, signal.SIGTERM)

    def statuses(self) -> tuple[int, ...]:
        kinds = {"inside": INSIDE, "rank": TO_A_RANK, "launcher": TO_THE_LAUNCHER}
        return kinds[self.where][self.what]

    def run(self) -> str | None:
        """Run it; return what is wrong."""
        mark = uuid.uuid4().hex
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "tmp").mkdir()
            path = Path(folder, "script.py")
            path.write_text(textwrap.dedent(WILD + TALK))
            script = [sys.executable, str(path), self.what, str(self.who)]
            flags = ["-n", str(self.ranks), "--timeout", "45", "--grace", "2"]
            command = [PHALANX, "run", *flags, *script, f"{self.seconds:.3f}"]
            job = Job(folder, mark, command)
            try:
                self.happen(job, mark)
                ended = job.end(PATIENCE)
            except (AssertionError, OSError) as error:
                return f"{self}: {error}"
            expected = self.statuses()
            if expected and ended.status not in expected:
                return f"{self}: {ended.text}"
            if "panicked" in ended.err:
                return f"{self}: {ended.text}"
            deadline = time.monotonic() + 10
            while left := marked_processes(mark):
                if time.monotonic() > deadline:
                    for process in left:
                        os.kill(int(process.split()[0]), signal.SIGKILL)
                    return f"{self}: processes left: {left}"
                time.sleep(0.02)
            if files := os.listdir(Path(folder, "tmp")):
                return f"{self}: temporary files left: {files}"
        return None


def run_jobs(jobs: list[Chaos]) -> list[str]:
    """Run some at a time; return what is wrong. A long run tells how far it is."""
    problems: list[str] = []
    is_long = len(jobs) > 2 * EVERY
    start = time.monotonic()

    def tell(text: str) -> None:
        if is_long:
            print(f"chaos: {text}", file=sys.stderr, flush=True)

    tell(f"{len(jobs)} jobs from seed {SEED}")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for done, problem in enumerate(pool.map(Chaos.run, jobs), start=1):
            if problem:
                problems.append(problem)
                tell(problem)
            if done % EVERY == 0:
                seconds = time.monotonic() - start
                tell(f"{done} jobs in {seconds:.0f} s, {len(problems)} of them wrong")
    return problems


def setUpModule() -> None:
    # A long run in the background (nohup, &) has these ignored, and so would its jobs.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)


class TestChaos(unittest.TestCase):
    def test_whatever_happens_nothing_hangs_and_nothing_is_left(self):
        before = shared_names()
        jobs = [Chaos(SEED + number) for number in range(JOBS)]
        start = time.monotonic()
        problems = run_jobs(jobs)
        kinds = collections.Counter(job.where for job in jobs)
        told = ", ".join(f"{number} {where}" for where, number in sorted(kinds.items()))
        seconds = time.monotonic() - start
        print(f"chaos: {JOBS} jobs from seed {SEED} in {seconds:.0f} s ({told})")
        self.assertEqual(problems, [], "\n".join(problems))
        self.assertEqual(shared_names() - before, set(), "left in /dev/shm")


if __name__ == "__main__":
    unittest.main()
