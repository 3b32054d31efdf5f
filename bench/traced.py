"""What a message costs more with `--trace`: a ping-pong with it and without, in turn.

    python traced.py [--pairs 20] [--bytes 8192] [--only arrays] [--beside PYTHON]

A job is two ranks that send a message back and forth. One that is traced and one that
is not run at the same time and take turns of milliseconds: while one of them
measures, the ranks of the other sleep. Where the two CPUs are, and what else the
machine does, changes more slowly than that, and is the same for both. The figure of a
job is the median of its turns, one way; that of a pair is the ratio of these two.
`--beside` lets another installation of Phalanx, by its interpreter, take turns with
them.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

TURNS, ROUNDS, WARM = 100, 500, 2000
SECONDS = 60  # until a job counts as hung

PROGRAM = f"""
import random, sys, time
import numpy as np
from mpi4py import MPI
comm = MPI.COMM_WORLD
kind, size, peer = sys.argv[1], int(sys.argv[2]), 1 - comm.rank
if kind == "arrays":
    # Where in a page the memory lies, which is chance, makes a tenth of a message.
    def memory():
        more = np.zeros(size + 8192, np.uint8)
        return more[-more.ctypes.data % 4096 :][:size]
    out, back = memory(), memory()
    def send(): comm.Send(out, peer)
    def receive(): comm.Recv(back, peer)
else:
    # Of objects nobody can choose it: so it is another one in each job.
    moves = [bytes(random.randrange(4096)) for _ in range(64)]
    thing = bytes(size)
    def send(): comm.send(thing, peer)
    def receive(): comm.recv(source=peer)
def rounds(times):
    if comm.rank == 0:
        for _ in range(times):
            send(); receive()
    else:
        for _ in range(times):
            receive(); send()
rounds({WARM})
for _ in range({TURNS}):
    if comm.rank == 0:
        print("ready", flush=True)
        sys.stdin.readline()
    # Awake, and the caches its own again.
    rounds({ROUNDS} // 10)
    began = time.perf_counter()
    rounds({ROUNDS})
    if comm.rank == 0:
        print((time.perf_counter() - began) / {ROUNDS} / 2 * 1e9, flush=True)
"""


class Job:
    """A ping-pong that measures when it is told to."""

    def __init__(self, python: str, kind: str, size: int, trace: str | None) -> None:
        phalanx = str(Path(python).with_name("phalanx"))
        flags = ["--trace", trace] if trace else []
        command = [phalanx, "run", "-n", "2", "--timeout", str(SECONDS), *flags]
        self.process = subprocess.Popen(
            [*command, python, "-c", PROGRAM, kind, str(size)],
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.turns: list[float] = []

    def line(self) -> str:
        line = self.stdout.readline()
        if not line:
            sys.exit(f"a job has ended early, with status {self.process.wait()}")
        return line

    def turn(self) -> None:
        self.line()
        self.stdin.write("\n")
        self.stdin.flush()
        self.turns.append(float(self.line()))

    def end(self) -> float:
        """Nanoseconds of one message."""
        self.stdin.close()
        if self.process.wait(SECONDS):
            sys.exit(f"a job has failed, with status {self.process.returncode}")
        return statistics.median(self.turns)


def told(values: list[float], shape: str) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:{shape}} ({low:{shape}} to {high:{shape}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=20, help="of jobs, at least 2")
    parser.add_argument("--bytes", type=int, default=8192)
    parser.add_argument("--only", choices=("arrays", "objects"))
    parser.add_argument("--beside", metavar="PYTHON", help="another installation's")
    options = parser.parse_args()
    pythons = {"this": sys.executable} | (
        {"other": options.beside} if options.beside else {}
    )
    kinds = [options.only] if options.only else ["arrays", "objects"]
    found: dict[tuple[str, str], list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(options.pairs):
            for kind in kinds:
                jobs = {
                    (name, on): Job(
                        python,
                        kind,
                        options.bytes,
                        str(Path(folder, f"{name}.pftrace")) if on else None,
                    )
                    for name, python in pythons.items()
                    for on in (False, True)
                }
                for _ in range(TURNS):
                    for job in jobs.values():
                        job.turn()
                ends = {which: job.end() for which, job in jobs.items()}
                for name in pythons:
                    pair = ends[name, False], ends[name, True]
                    found.setdefault((kind, name), []).append(pair)
    print(f"{options.bytes} bytes one way, {options.pairs} pairs: median (quartiles)")
    for (kind, name), pairs in found.items():
        label = f"{kind}, {name}" if options.beside else kind
        off, on = ([pair[side] for pair in pairs] for side in (0, 1))
        more = [(traced / plain - 1) * 100 for plain, traced in pairs]
        print(
            f"  {label:16} off {told(off, '.0f')} ns, on {told(on, '.0f')} ns; "
            f"of each pair {told(more, '+.1f')} %"
        )


if __name__ == "__main__":
    main()
