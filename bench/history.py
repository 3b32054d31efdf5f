"""What the recorded runs say of each row: the worst, the median, the best.

    python bench/history.py                     the MPI rows
    python bench/history.py "Bcast, *" "Barrier*"
    python bench/history.py --kind pools
    python bench/history.py --kind start
    python bench/history.py --kind instructions
    python bench/history.py --machine "amd-25-*"

A ratio says how many times faster Phalanx was than the best of the others in
one run; "worst" is the lowest of all runs, with where it was seen. Rows that
were below 1 somewhere are named at the end. Of starts, the part of
the time that bare interpreters take is shown as well; of instructions, which are
not compared with others, the first and the last count.
"""

import argparse
import fnmatch
import sys
from collections.abc import Callable

import record
from record import Record, Spread
from report import geometric_mean


def show_runs(records: list[Record]) -> None:
    print(f"{len(records)} runs:")
    for run in records:
        busy = run.about.get("busy_cpus")
        print(f"  {run.name}, commit {run.about.get('commit')}, busy CPUs {busy}")
    print()


def show_ratios(spreads: list[Spread]) -> None:
    width = max(len(spread.row) for spread in spreads)
    print(
        f"{'times faster':{width}} {'worst':>8} {'median':>8} {'best':>8}  worst where"
    )
    for spread in spreads:
        figures = (spread.worst, spread.median, spread.best)
        cells = "".join(f"{figure:9.2f}" for figure in figures)
        print(f"{spread.row:{width}}{cells}  {spread.where.name}")
    print()
    mean = geometric_mean(spread.median for spread in spreads)
    print(f"{len(spreads)} rows, geometric mean of the medians {mean:.2f}")
    for text, below in (
        ("in the median", [s for s in spreads if s.median < 1]),
        ("in the worst run only", [s for s in spreads if s.behind and s.median >= 1]),
    ):
        print(f"below 1 {text}: {len(below)}")
        for spread in below:
            print(f"  {spread.row}: {spread.worst:.2f} to {spread.best:.2f}")


def show_bare(spreads: list[Spread]) -> None:
    width = max(len(spread.row) for spread in spreads)
    print(f"\n{'part of bare ones':{width}} {'worst':>8} {'median':>8} {'best':>8}")
    for spread in spreads:
        figures = (spread.worst, spread.median, spread.best)
        print(f"{spread.row:{width}}" + "".join(f"{figure:9.2f}" for figure in figures))


def show_counts(records: list[Record], wanted: Callable[[str], bool]) -> None:
    rows = list(dict.fromkeys(row for run in records for row in run.rows))
    width = max(len(row) for row in rows)
    print(f"{'instructions':{width}} {'first':>10} {'last':>10}  change")
    for row in filter(wanted, rows):
        counts = [run.rows[row].get(record.OURS) for run in records if row in run.rows]
        numbers = [count for count in counts if isinstance(count, int | float)]
        if numbers:
            first, last = numbers[0], numbers[-1]
            change = f"{100 * (last - first) / first:+.0f} %" if first else ""
            print(f"{row:{width}} {first:10,.0f} {last:10,.0f}  {change}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", nargs="*", help="names of rows, or patterns (*, ?)")
    parser.add_argument(
        "--kind", choices=("mpi", "pools", "start", "instructions"), default="mpi"
    )
    parser.add_argument(
        "--busy", type=int, default=0, help="runs with so many busy processes beside"
    )
    parser.add_argument("--machine", default="*", help="a pattern of folder names")
    options = parser.parse_args()

    def wanted(row: str) -> bool:
        patterns = options.rows or ["*"]
        return any(fnmatch.fnmatchcase(row, pattern) for pattern in patterns)

    records = [
        run
        for run in record.read(options.kind)
        if fnmatch.fnmatchcase(run.key, options.machine)
        and run.about.get("busy", 0) == options.busy
    ]
    if not records:
        print("no such run is recorded")
        return 1
    show_runs(records)
    if options.kind == "instructions":
        show_counts(records, wanted)
        return 0
    spreads = record.spreads(records, wanted)
    if not spreads:
        print("no such row is recorded")
        return 1
    show_ratios(spreads)
    if bare := record.spreads(records, wanted, Record.bare):
        show_bare(bare)
    return 0


if __name__ == "__main__":
    sys.exit(main())
