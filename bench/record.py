"""The record: one small file per run, kept per machine in `bench/results/`.

A claim of speed is worth the machines on which it was seen, the worst of them
included. So each recorded run stays, with what ran and the state of the machine:

    bench/results/MACHINE/DATE-KIND.json     (or DATE-KIND-2.json, of the same minute)

`kind` is `mpi`, `pools`, `cluster`, `start` or `instructions`. `rows` has a line per
row: for each engine the median time of one operation in nanoseconds (or what else it
takes: instructions, MiB, sockets), or a word such as "fails". "Phalanx" is ours, all
others of a row are what it is compared with, but for "bare": that are interpreters
alone or the kernel's copies alone, a measure of the machine.
"""

import datetime
import json
import statistics
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from machine import Conditions, placement, this_machine
from report import times_faster

BENCH = Path(__file__).resolve().parent
RESULTS = BENCH / "results"
OURS = "Phalanx"
BARE = "bare"

Rows = dict[str, dict[str, float | str]]  # row -> engine -> figure or word


@dataclass(frozen=True)
class Record:
    """One run of one benchmark on one machine."""

    kind: str
    date: str  # in UTC: 2026-11-28T15:40
    key: str  # of the machine
    about: dict[str, object]  # what else is known of the run, as it is in the file
    rows: Rows

    @property
    def placement(self) -> str:
        return placement(
            list(self.about.get("nearest_ns", [])),  # type: ignore[call-overload]
            list(self.about.get("farthest_ns", [])),  # type: ignore[call-overload]
        )

    @property
    def name(self) -> str:
        return f"{self.key} {self.placement}, {self.date}"

    def ratio(self, row: str) -> float | None:
        """How many times faster ours was than the best of the others."""
        figures = self.rows.get(row, {})
        numbers = {n: f for n, f in figures.items() if isinstance(f, int | float)}
        others = [name for name in numbers if name not in (OURS, BARE)]
        return times_faster(numbers, OURS, others)

    def bare(self, row: str) -> float | None:
        """Which part of our time what is bare takes: 1 is the best there can be."""
        figures = self.rows.get(row, {})
        numbers = {n: f for n, f in figures.items() if isinstance(f, int | float)}
        return times_faster(numbers, OURS, [BARE])


def three_digits(figure: float) -> float:
    rounded = float(f"{figure:.3g}")
    return int(rounded) if rounded >= 100 else rounded


def nanoseconds(
    table: dict[str, dict[str, float]],
    names: Iterable[str],
    tried: Callable[[str, str], bool] = lambda _row, _name: True,
) -> Rows:
    """What is kept of a table of seconds: "fails" where one that was tried has none."""
    return {
        row: {
            name: three_digits(figures[name] * 1e9) if name in figures else "fails"
            for name in names
            if name in figures or tried(row, name)
        }
        for row, figures in table.items()
    }


def commit() -> str:
    """What was measured: the commit, with a `+` when files differ from it."""
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
            cwd=BENCH,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()


def versions(*environments: str) -> list[str]:
    """The packages that the others come from, as `bench/NAME.txt` pins them."""
    lines = [(BENCH / f"{name}.txt").read_text().split() for name in environments]
    return list(dict.fromkeys(package for packages in lines for package in packages))


def write(
    kind: str,
    rows: Rows,
    conditions: Conditions,
    others: list[str],
    settings: dict[str, object],
    folder: Path = RESULTS,
) -> Path:
    """Keep one run; returns the file."""
    machine = this_machine()
    date = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M")
    about = {
        "kind": kind,
        "date": date,
        "cpu": machine.cpu,
        "cpus": machine.cpus,
        "nearest_ns": conditions.nearest_ns,
        "farthest_ns": conditions.farthest_ns,
        "busy_cpus": conditions.busy_cpus,
        "stolen": conditions.stolen(),
        "kernel": machine.kernel,
        "python": machine.python,
        "commit": commit(),
        "others": others,
        **settings,
    }
    path = unused(folder / machine.key / f"{date.replace(':', '')}-{kind}.json")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text_of(about, rows))
    return path


def unused(path: Path) -> Path:
    """The path, or with a number after it: short runs end within the same minute."""
    numbered, number = path, 1
    while numbered.exists():
        number += 1
        numbered = path.with_stem(f"{path.stem}-{number}")
    return numbered


def text_of(about: dict[str, object], rows: Rows) -> str:
    """JSON with one line per key and per row, so that a difference is readable."""
    head = [f" {json.dumps(key)}: {json.dumps(about[key])}" for key in about]
    body = [f"  {json.dumps(row)}: {json.dumps(rows[row])}" for row in rows]
    return "{\n" + ",\n".join(head) + ',\n "rows": {\n' + ",\n".join(body) + "\n }\n}\n"


def read_one(path: Path) -> Record:
    about = json.loads(path.read_text())
    rows = about.pop("rows")
    return Record(about["kind"], about["date"], path.parent.name, about, rows)


def read(kind: str, folder: Path = RESULTS) -> list[Record]:
    """The records of one kind, the oldest first."""
    files = [*folder.glob(f"*/*-{kind}.json"), *folder.glob(f"*/*-{kind}-*.json")]
    records = [read_one(path) for path in sorted(files)]
    return sorted(records, key=lambda record: (record.date, record.key))


@dataclass(frozen=True)
class Spread:
    """The ratios of one row over some records: the worst, the median, the best."""

    row: str
    worst: float
    median: float
    best: float
    where: Record  # the worst was seen

    @property
    def behind(self) -> bool:
        return self.worst < 1


def spreads(
    records: Iterable[Record],
    wanted: Callable[[str], bool] = lambda row: True,
    figure: Callable[[Record, str], float | None] = Record.ratio,
    last: int | None = None,
) -> list[Spread]:
    """For each row that has such a figure, in the order of the records.

    `last`: of each machine, only so many of the newest runs that have the row.
    """
    by_row: dict[str, dict[str, list[tuple[float, Record]]]] = {}
    for record in records:
        for row in record.rows:
            ratio = figure(record, row)
            if wanted(row) and ratio is not None:
                by_machine = by_row.setdefault(row, {})
                by_machine.setdefault(record.key, []).append((ratio, record))
    found = []
    for row, by_machine in by_row.items():
        seen = [one for runs in by_machine.values() for one in runs[-(last or 0) :]]
        ratios = [ratio for ratio, _ in seen]
        worst, where = min(seen, key=lambda one: one[0])
        middle = statistics.median(ratios)
        found.append(Spread(row, worst, middle, max(ratios), where))
    return found
