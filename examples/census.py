"""What stands in a folder of Python sources; ranks draw the next file from a counter.

    phalanx run -n 4 examples/census.py [FOLDER] [--most 500] [--check]

Files take very different times, so nobody deals them out beforehand: the number of the
next one is a word in the memory of rank 0, which a rank draws with one `Fetch_and_op`
while rank 0 is at work itself. The counts are added up there in the same way. Without
FOLDER the sources are those of Python's standard library.
"""

import argparse
import ast
import sysconfig
import time
from pathlib import Path

import numpy as np
from arguments import at_least, folder
from mpi4py import MPI

KINDS = ("functions", "classes", "loops", "lines")
NEXT = len(KINDS)  # the place of the counter, after the counts


def census(path: Path) -> np.ndarray:
    """How many of each kind are in a file; none in one that is not Python."""
    counts = np.zeros(len(KINDS), np.int64)
    try:
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return counts
    for node in ast.walk(tree):
        counts[0] += isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        counts[1] += isinstance(node, ast.ClassDef)
        counts[2] += isinstance(node, ast.For | ast.While | ast.AsyncFor)
    counts[3] = text.count("\n")
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = sysconfig.get_path("stdlib")
    parser.add_argument("folder", nargs="?", type=folder, default=default)
    parser.add_argument("--most", type=at_least(1), default=500, help="files to read")
    parser.add_argument(
        "--check", action="store_true", help="count again on one rank and compare"
    )
    options = parser.parse_args()
    comm = MPI.COMM_WORLD
    paths = None
    if comm.rank == 0:
        paths = sorted(Path(options.folder).rglob("*.py"))[: options.most]
        if not paths:
            raise SystemExit(f"no files end in .py in {options.folder}")
    paths = comm.bcast(paths)

    words = NEXT + 1 if comm.rank == 0 else 0
    win = MPI.Win.Allocate(8 * words, 8, comm=comm)
    memory = np.frombuffer(win.tomemory(), np.int64)
    memory[:] = 0
    start = time.perf_counter()
    comm.Barrier()  # nobody draws before the counter is there
    win.Lock_all()
    one, drawn = np.ones(1, np.int64), np.zeros(1, np.int64)
    files = 0
    while True:
        win.Fetch_and_op(one, drawn, 0, NEXT, MPI.SUM)
        win.Flush(0)
        if drawn[0] >= len(paths):
            break
        win.Accumulate(census(paths[drawn[0]]), 0, 0, MPI.SUM)
        files += 1
    win.Unlock_all()
    shares = comm.gather(files, root=0)
    elapsed = time.perf_counter() - start

    if comm.rank == 0:
        counts = memory[:NEXT].copy()
        found = ", ".join(
            f"{n:,} {kind}" for n, kind in zip(counts, KINDS, strict=True)
        )
        print(f"{len(paths):,} files in {options.folder}: {found}")
        print(f"files of each rank: {shares}, {sum(shares)} in all; {elapsed:.2f} s")
        if options.check:
            serial = sum(census(path) for path in paths)
            if sum(shares) != len(paths) or not np.array_equal(serial, counts):
                raise SystemExit(f"a serial count gives {serial}")
            print("a serial count agrees")
    del memory
    win.Free()


if __name__ == "__main__":
    main()
