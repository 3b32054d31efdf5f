"""Compare Phalanx with mpi4py on MPICH and on Open MPI, in one run.

    make bench                        everything, a few minutes
    python bench/run.py --rounds 1 "Barrier, 0 B, 8 ranks"
    python bench/run.py --busy 4 "Send/Recv one way, 8 B, 4 ranks"
    python bench/run.py --beside OTHER/bin --no-peers "Send/Recv one way, 8 B, 2 ranks"

The engines take turns, round by round, so that a machine whose speed drifts
treats them alike. The figure of an engine is the median over all batches of
all rounds; a ratio is that of Phalanx over the better of the others.
`--busy` starts processes beside the ranks that do nothing but compute, and
`--beside` adds another Phalanx, an older one, say. A ping-pong of 4 ranks (in
no run that names no rows) has two that wait meanwhile.
Writes `build/bench/results.json`, and with `--chart` the picture in the docs.
"""

import argparse
import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engines import WORK, Engine, engines, phalanx
from report import Figures, machine, medians, time_text
from rows import MORE_ROWS, ROWS

HERE = Path(__file__).resolve().parent
START = "start and end of python, 4 ranks"
IDLE = "CPU seconds of 8 ranks blocked for 5 s"
IDLE_PROGRAM = """
import os, time
from mpi4py import MPI
c = MPI.COMM_WORLD
if c.rank == 0:
    time.sleep(5)
    for r in range(1, c.size): c.send(0, r)
else:
    t = os.times(); c.recv(source=0); u = os.times()
    used = u.user + u.system - t.user - t.system
used = c.gather(used if c.rank else 0.0)
if c.rank == 0: print(sum(used))
"""


@contextmanager
def busy(count: int) -> Iterator[None]:
    """`count` processes that compute."""
    endless = [sys.executable, "-c", "while True: pass"]
    neighbours = [subprocess.Popen(endless) for _ in range(count)]
    try:
        yield
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()


def start(engine: Engine, ranks: int, *program: str, seconds: float = 600) -> str:
    """Run ranks to their end and return what they printed."""
    done = subprocess.run(
        engine.command(ranks, *program),
        env=engine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=seconds,
        text=True,
    )
    if done.returncode != 0:
        raise SystemExit(f"{engine.name}: status {done.returncode} from {program}")
    return done.stdout


def measure_round(engine: Engine, wanted: list[str], figures: Figures) -> None:
    rows = [row for row in ROWS + MORE_ROWS if row.name in wanted] if wanted else ROWS
    for ranks in sorted({row.ranks for row in rows}):
        output = start(engine, ranks, str(HERE / "measure.py"), *wanted)
        for line in output.splitlines():
            if line.startswith('{"row"'):
                result = json.loads(line)
                figures[result["row"]][engine.name] += result["seconds"]
    if not wanted or START in wanted:
        for _ in range(3):
            begin = time.perf_counter()
            start(engine, 4, "-c", "from mpi4py import MPI")
            figures[START][engine.name].append(time.perf_counter() - begin)
    if not wanted or IDLE in wanted:
        figures[IDLE][engine.name].append(float(start(engine, 8, "-c", IDLE_PROGRAM)))


def show(table: dict[str, dict[str, float]], names: list[str]) -> None:
    width = max(len(row) for row in table)
    print(f"{'':{width}} " + "".join(f"{name:>10}" for name in names) + "     ratio")
    for row, figures in table.items():
        cells = "".join(f"{time_text(figures[name]):>10}" for name in names)
        peers = [figures[name] for name in names[1:]]
        ratio = figures[names[0]] / min(peers) if peers and min(peers) else float("inf")
        print(f"{row:{width}} {cells}{ratio:10.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", help="names of rows; default: all")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--busy",
        type=int,
        default=0,
        metavar="N",
        help="N processes that compute beside",
    )
    parser.add_argument(
        "--beside", action="append", default=[], metavar="BIN", help="another Phalanx"
    )
    parser.add_argument("--no-peers", action="store_true", help="Phalanx only")
    parser.add_argument("--chart", metavar="FILE", help="draw the ratios (SVG or PNG)")
    options = parser.parse_args()
    known = {row.name for row in ROWS + MORE_ROWS} | {START, IDLE}
    for name in options.rows:
        if name not in known:
            parser.error(f"no row {name!r}; there are: {'; '.join(sorted(known))}")

    field = [phalanx("Phalanx", Path(sys.executable).parent)]
    for number, folder in enumerate(options.beside, 1):
        field.append(phalanx(f"beside {number}", Path(folder)))
    field += [] if options.no_peers else engines()
    figures: Figures = defaultdict(lambda: defaultdict(list))
    for number in range(options.rounds):
        for engine in field:
            print(f"round {number + 1}: {engine.name}", file=sys.stderr, flush=True)
            with busy(options.busy):
                measure_round(engine, options.rows, figures)

    table = medians(figures)
    names = [engine.name for engine in field]
    beside = f", {options.busy} busy processes beside" if options.busy else ""
    print(f"{machine()}{beside}; medians of {options.rounds} rounds")
    print("ratio: Phalanx / the better of the others; below 1 is faster")
    print()
    show(table, names)
    WORK.mkdir(parents=True, exist_ok=True)
    results = {"machine": machine(), "seconds": table}
    (WORK / "results.json").write_text(json.dumps(results, indent=1) + "\n")
    if options.chart:
        from chart import draw

        draw(results, names, options.chart)


if __name__ == "__main__":
    main()
