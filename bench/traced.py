"""What a message costs more with `--trace`: a ping-pong with it and without, in turn.

    python traced.py [--jobs 30] [--bytes 8192] [--only arrays] [--beside PYTHON]

Each job is two ranks that send a message back and forth; its figure is the median of
its batches, one way. Where the two CPUs are changes from job to job, so a job that is
traced is compared with the one before it. `--beside` measures another installation
of Phalanx, by its interpreter, in the same turns.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

BATCHES, ROUNDS, WARM = 40, 500, 2000
SECONDS = 60  # until a job counts as hung

PROGRAM = f"""
import statistics, sys, time
import numpy as np
from mpi4py import MPI
comm = MPI.COMM_WORLD
kind, size, peer = sys.argv[1], int(sys.argv[2]), 1 - comm.rank
if kind == "arrays":
    out, back = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
    def send(): comm.Send(out, peer)
    def receive(): comm.Recv(back, peer)
else:
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
batches = []
for _ in range({BATCHES}):
    began = time.perf_counter()
    rounds({ROUNDS})
    batches.append((time.perf_counter() - began) / {ROUNDS} / 2 * 1e9)
if comm.rank == 0:
    print(statistics.median(batches))
"""


def job(python: str, kind: str, size: int, trace: str | None) -> float:
    """Nanoseconds of one message."""
    phalanx = str(Path(python).with_name("phalanx"))
    flags = ["--trace", trace] if trace else []
    command = [
        phalanx,
        "run",
        "-n",
        "2",
        *flags,
        python,
        "-c",
        PROGRAM,
        kind,
        str(size),
    ]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=SECONDS
    )
    return float(done.stdout.split()[0])


def told(values: list[float], shape: str) -> str:
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle:{shape}} ({low:{shape}} to {high:{shape}})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=30, help="of each, at least 2")
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
        trace = str(Path(folder, "trace"))
        for _ in range(options.jobs):
            for kind in kinds:
                for name, python in pythons.items():
                    off = job(python, kind, options.bytes, None)
                    on = job(python, kind, options.bytes, trace)
                    found.setdefault((kind, name), []).append((off, on))
    print(f"{options.bytes} bytes one way, {options.jobs} jobs: median (quartiles)")
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
