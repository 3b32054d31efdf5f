"""Engines that take turns at the columns of tables, each in a process of its own.

A process is `python -m PROGRAM ENGINE COLUMN ...`; it prints which column begins, and
its seconds per operation in several batches, or a word instead.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import marked
import record
from engines import make_environment
from machine import Conditions, this_machine
from report import Figures, medians, time_text
from tables import Column, Engine, Table

BENCH = Path(__file__).resolve().parent
Words = dict[str, dict[str, str]]  # column -> engine -> word instead of a figure


def run(command: list[str], *, seconds: float) -> tuple[int | None, str, str]:
    """Status (None for a time-out), output and errors; nothing stays behind."""
    mark = f"{os.getpid()}-{time.monotonic_ns()}"
    settings = {"PYTHONPATH": path_of(command), marked.MARK: mark}
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen(
            command,
            cwd=BENCH,
            env={**os.environ, **settings},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        try:
            status: int | None = process.wait(seconds)
        except subprocess.TimeoutExpired:
            status = None
        process.kill()
        process.wait()
        marked.kill(mark)
        out.seek(0)
        err.seek(0)
        return status, out.read(), err.read()


def path_of(command: list[str]) -> str:
    """The peers see nothing of ours but the benchmark."""
    given = os.environ.get("PYTHONPATH")
    return f"{BENCH}:{given}" if given and command[0] == sys.executable else str(BENCH)


class Bench:
    """The figures so far."""

    def __init__(self, places: dict[str, Path], columns: list[str]) -> None:
        self.places = places
        self.columns = columns  # the only ones; none: all
        self.figures: Figures = defaultdict(lambda: defaultdict(list))
        self.words: Words = defaultdict(dict)
        self.failures: list[str] = []

    def measure(self, table: Table, engine: Engine, columns: list[str]) -> None:
        """One process; what it could not finish becomes a word."""
        program = ("-m", table.program, engine.name, *columns)
        start = time.perf_counter()
        command = engine.command(self.places, *program)
        status, out, err = run(command, seconds=table.limit)
        elapsed = time.perf_counter() - start
        current = ""
        for line in out.splitlines():
            if line.startswith('{"begin"'):
                current = json.loads(line)["begin"]
            elif line.startswith('{"column"'):
                current, result = "", json.loads(line)
                if isinstance(result["figure"], str):
                    self.words[result["column"]][engine.shown] = result["figure"]
                else:
                    self.figures[result["column"]][engine.shown] += result["figure"]
        if columns == ["script"] and status == 0:
            self.figures["script"][engine.shown].append(elapsed)
        elif status != 0:
            expected = engine.launched and current == "lost"
            word = "hangs" if status is None else "ends" if expected else "fails"
            for name in [current] if current else columns:
                self.words[name][engine.shown] = word
            if not expected:
                self.failures.append(f"{engine.shown}, {current or columns}: {word}")
                print(err[-2000:], file=sys.stderr)

    def columns_of(self, table: Table) -> list[str]:
        return [c.name for c in table.columns if c.name in (self.columns or [c.name])]

    def round(self, table: Table, engine: Engine) -> None:
        names = self.columns_of(table)
        alone = [column.name for column in table.columns if column.alone]
        together = [name for name in names if name not in alone]
        if together:
            self.measure(table, engine, together)
        for name in names:
            if name in alone and engine.shown not in self.words[name]:
                self.measure(table, engine, [name])


def show(table: Table, engines: list[Engine], bench: Bench) -> None:
    """Engines down, columns across, then how much faster ours are."""
    figures = medians(bench.figures)

    def cell(column: Column, engine: Engine) -> str:
        word = bench.words.get(column.name, {}).get(engine.shown)
        seconds = figures.get(column.name, {}).get(engine.shown)
        if word or seconds is None:
            return word or "-"
        if column.rate:
            rate = 1 / seconds
            return f"{rate / 1e6:.3g}M" if rate >= 1e6 else f"{rate / 1e3:.3g}k"
        if column.unit != "s":
            return f"{seconds:.3g}{column.unit}"
        return time_text(seconds, "")

    def faster(column: Column, ours: Engine) -> str:
        by_engine = figures.get(column.name, {})
        names = [name for name in table.peers_of(ours) if name in by_engine]
        peers = [by_engine[name] for name in names]
        mine = by_engine.get(ours.shown)
        return f"{min(peers) / mine:.3g}" if peers and mine else "-"

    wanted = bench.columns_of(table)
    columns = [column for column in table.columns if column.name in wanted]
    if not columns:
        return
    print(f"{table.title}\n")
    lines = [("", [column.name for column in columns])]
    lines += [(e.shown, [cell(c, e) for c in columns]) for e in engines]
    lines += [
        (f"{engine.shown}: x", [faster(column, engine) for column in columns])
        for engine in engines
        if engine.ours
    ]
    if any(column.aim for column in columns):
        aims = [f"{column.aim:g}" if column.aim else "" for column in columns]
        lines.append(("aimed at: x", aims))
    widths = [max(7, len(column.name) + 1) for column in columns]
    for name, cells in lines:
        padded = (f"{text:>{width}}" for text, width in zip(cells, widths, strict=True))
        print(f"{name:25}" + "".join(padded).rstrip())
    print()
    for column in columns:
        print(f"  {column.name:10} {column.what}")
    print()


def rows_to_keep(chosen: list[tuple[Table, list[Engine]]], bench: Bench) -> record.Rows:
    """A row per column and engine of ours, with what it is compared with."""
    seconds = medians(bench.figures)
    rows: record.Rows = {}
    for table, engines in chosen:
        for column in table.columns:
            by_engine = {
                name: record.three_digits(figure * (1e9 if column.unit == "s" else 1))
                for name, figure in seconds.get(column.name, {}).items()
            } | bench.words.get(column.name, {})
            for engine in engines:
                if engine.ours and not engine.beside and engine.name in by_engine:
                    names = [n for n in table.peers_of(engine) if n in by_engine]
                    rows[column.row_of(engine)] = {
                        record.OURS: by_engine[engine.name],
                        **{name: by_engine[name] for name in names},
                    }
    return rows


def main(kind: str, tables: tuple[Table, ...], about: str) -> int:
    """The command line of a benchmark of these tables; its exit status."""
    known = [engine.name for table in tables for engine in table.engines]
    parser = argparse.ArgumentParser(description=about.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", metavar="ENGINE", choices=known, help="; ".join(known)
    )
    columns = [column.name for table in tables for column in table.columns]
    parser.add_argument(
        "--columns", nargs="+", metavar="COLUMN", choices=columns, help=str(columns)
    )
    parser.add_argument(
        "--beside",
        action="append",
        default=[],
        type=Path,
        metavar="BIN",
        help="another Phalanx, in turns with this one",
    )
    parser.add_argument("--record", action="store_true", help="keep this run")
    options = parser.parse_args()
    chosen = []
    for table in tables:
        engines = []
        for engine in table.engines:
            if not options.only or engine.name in options.only:
                engines.append(engine)
                if engine.ours:
                    older = enumerate(options.beside, 1)
                    engines += [engine.older(number, place) for number, place in older]
        chosen.append((table, engines))

    needed = {e.environment for _, engines in chosen for e in engines if not e.ours}
    bench = Bench(
        {name: make_environment(name) for name in sorted(needed)},
        options.columns or [],
    )
    conditions = Conditions()
    conditions.look()
    for number in range(options.rounds):
        for table, engines in chosen:
            for engine in engines * table.turns:
                where = f"round {number + 1}: {engine.shown}"
                print(where, file=sys.stderr, flush=True)
                bench.round(table, engine)
        conditions.look()

    print(f"{this_machine().text()}; medians of {options.rounds} rounds")
    print(f"{conditions.text()}\n")
    for table, engines in chosen:
        if engines:
            show(table, engines, bench)
    for failure in bench.failures:
        print(f"FAILED {failure}")
    if options.record:
        rows, settings = rows_to_keep(chosen, bench), {"rounds": options.rounds}
        versions = record.versions(*sorted(needed))
        path = record.write(kind, rows, conditions, versions, settings)
        print(f"kept as {path.relative_to(record.BENCH.parent)}")
    ours = {engine.name for table in tables for engine in table.engines if engine.ours}
    return int(any(failure.partition(",")[0] in ours for failure in bench.failures))
