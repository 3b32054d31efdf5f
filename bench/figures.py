"""Make what the README shows from the recorded runs; measures nothing.

    make figures

Writes `docs/bench.svg`, the parts of `README.md` between `<!-- bench: ... -->` and
`<!-- end -->`, and `bench/results/README.md`, which has every row. A time is that
of the newest run, a ratio that of the last three runs of each machine that have it.
"""

import re
import textwrap
from pathlib import Path

import record
from cluster.rows import TABLES as CLUSTERS
from pools.rows import TABLES
from record import BARE, OURS, Record, Spread
from report import geometric_mean, time_text
from tables import Column

ROOT = Path(__file__).resolve().parents[1]
LAST = 3  # runs of each machine that count for a row: older ones are of older builds
NAMED = 12  # rows that the README names; the rest is in bench/results/README.md
POOLS = {
    "tasks/s, fork": "no-op tasks per second, chunk size 1",
    "trip, fork": "one call and its result",
    "64 MiB, fork": "array of 64 MiB to a worker and back",
    "64 new, fork": "the same, a new array comes back",
    "start, fork": "pool of two started, used once, ended (fork)",
    "start, spawn": "the same (spawn)",
    "lost, fork": "killed worker noticed",
    "hop, Queue": "`Queue`: one hop",
    "ints/s, Queue": "`Queue`: numbers per second",
    "1 MiB, Queue": "`Queue`: array of 1 MiB",
    "Lock, locks": "`Lock`: acquired and released",
}
CLUSTER = {
    "start": "cluster made, first result, stopped",
    "call": "a call on both engines",
    "task": "one task, whichever engine takes it",
    "tasks/s": "no-op tasks per second, 5,000 in one map",
    "push": "array of 64 MiB to both",
    "pull": "array of 64 MiB from each of both",
    "gather": "two halves of 32 MiB joined",
    "memory": "memory of all its processes, idle, MiB",
}
START = {
    "import, no launcher": "`from phalanx import MPI`, without a launcher",
    "import, 1 rank": "`from mpi4py import MPI` on one rank",
    "barrier, 4 ranks": "four ranks, a barrier, and their end",
    "spawn of 2, ready": "two ranks spawned, until both have answered",
    "pool of 2, fork": "pool of two (fork), used once, ended; its import too",
    "pool of 2, forkserver": "the same (forkserver)",
    "pool of 2, spawn": "the same (spawn)",
}
COLUMNS = {
    column.name: column for table in (*TABLES, *CLUSTERS) for column in table.columns
}


def together(placements: list[str]) -> str:
    """The placements of some runs: of many alike, the least and the most."""
    kinds: dict[str, list[int]] = {}
    for text in placements:
        word, _, rest = text.partition(" (")
        kinds.setdefault(word, []).extend(int(n) for n in re.findall(r"\d+", rest))
    return ", ".join(
        f"{word} ({min(ns)} to {max(ns)} ns)" if ns else word
        for word, ns in kinds.items()
    )


def machines(records: list[Record]) -> str:
    """Each machine once, with the placements that were seen on it."""
    seen: dict[str, list[str]] = {}
    for run in records:
        name = f"{run.about['cpu']}, {run.about['cpus']} CPUs"
        seen.setdefault(name, []).append(run.placement)
    return "; ".join(
        f"{name}, {len(placements)} {'runs' if len(placements) > 1 else 'run'}: "
        + together(placements)
        for name, placements in seen.items()
    )


def wrapped(text: str) -> str:
    return textwrap.fill(text, 80)


def times(ratio: float) -> str:
    return f"{ratio:.0f}" if ratio >= 10 else f"{ratio:.2g}"


def newest(records: list[Record], row: str) -> Record:
    return [run for run in records if row in run.rows][-1]


def seen_on(records: list[Record]) -> str:
    return wrapped(f"Seen on: {machines(records)}.")


def best_other(records: list[Record], row: str) -> tuple[float, str, float]:
    """What ours took in the newest run that has a row; the best of the others, too."""
    figures = newest(records, row).rows[row]
    numbers = {n: f for n, f in figures.items() if isinstance(f, int | float)}
    others = (name for name in numbers if name not in (OURS, BARE))
    best = min(others, key=lambda name: numbers[name])
    return numbers[OURS], best, numbers[best]


def engines_table(records: list[Record], what: dict[str, str], title: str) -> str:
    """A table of the README: ours, the best of the others, how many times faster."""
    lines = [
        f"| {title} | Phalanx | the best other one | times faster | worst run |",
        "|---|---|---|---|---|",
    ]
    by_row = {spread.row: spread for spread in record.spreads(records, last=LAST)}
    for row, words in what.items():
        if row not in by_row:
            continue
        mine, best, theirs = best_other(records, row)
        column = COLUMNS[row.partition(",")[0]]
        name = best.removesuffix(" Queue").removesuffix(" locks")
        name = name.replace("multipr.", "multiprocessing")
        spread = by_row[row]
        lines.append(
            f"| {words} | {cell(column, mine)} | {cell(column, theirs)} ({name}) "
            f"| {times(spread.median)} | {times(spread.worst)} |"
        )
    return "\n".join([*lines, "", seen_on(records)])


def start_table(records: list[Record]) -> str:
    """What starting takes, of which bare interpreters take their part."""
    lines = [
        "| from start to end | Phalanx | of it bare | the best other one "
        "| times faster | worst run |",
        "|---|---|---|---|---|---|",
    ]
    by_row = {spread.row: spread for spread in record.spreads(records, last=LAST)}
    bare = record.spreads(records, figure=Record.bare, last=LAST)
    parts = {spread.row: f"{spread.median:.0%}" for spread in bare}
    for row, words in START.items():
        if row not in by_row:
            continue
        mine, best, theirs = best_other(records, row)
        spread = by_row[row]
        lines.append(
            f"| {words} | {time_text(mine / 1e9)} | {parts.get(row, '')} "
            f"| {time_text(theirs / 1e9)} ({best}) "
            f"| {times(spread.median)} | {times(spread.worst)} |"
        )
    return "\n".join([*lines, "", seen_on(records)])


def cell(column: Column, figure: float) -> str:
    """A figure as it is recorded, for the README."""
    if column.unit != "s":
        return f"{figure:.3g}"
    return f"{1e9 / figure:,.0f}" if column.rate else time_text(figure / 1e9)


def mpi_text(records: list[Record]) -> str:
    """The README's account of the MPI rows: the picture, and where we are behind."""
    spreads = record.spreads(records, last=LAST)
    behind = sorted((s for s in spreads if s.behind), key=lambda s: s.median)
    mean = geometric_mean(s.median for s in spreads)
    count = len(spreads) - len(behind)
    lines = [
        wrapped(
            f"Of {len(spreads)} rows, Phalanx was ahead in {count} in every run; the "
            f"geometric mean of the medians is {mean:.2g} times faster than the "
            f"better of the two others. Seen on: {machines(records)}."
        ),
    ]
    bare = {s.row: s for s in record.spreads(records, figure=Record.bare, last=LAST)}
    if behind:
        lines += [
            "",
            "| behind in some run: times faster | worst | median | best | bare |",
            "|---|---|---|---|---|",
            *(f"{ratio_line(s)} {bare_cell(bare, s)} |" for s in behind[:NAMED]),
        ]
    if len(behind) > NAMED:
        rest = len(behind) - NAMED
        lines += ["", f"and {rest} more, in [bench/results/](bench/results/)."]
    return "\n".join(lines)


def bare_cell(bare: dict[str, Spread], spread: Spread) -> str:
    """Which part of our time the kernel's copies alone took, in the median."""
    return f"{bare[spread.row].median:.2f}" if spread.row in bare else ""


def ratio_line(spread: Spread) -> str:
    figures = (spread.worst, spread.median, spread.best)
    return f"| {spread.row} | " + " | ".join(f"{f:.2f}" for f in figures) + " |"


def every_row() -> str:
    """`bench/results/README.md`."""
    parts = [
        "# Recorded runs",
        "Made by `make figures` from the files beside it. A figure says how many times",
        "faster Phalanx was than the best of the others, in the worst, the median and",
        f"the best of the last {LAST} runs of each machine that have the row.",
        "[bench/README.md](../README.md) says what the rows are.",
    ]
    for kind in ("mpi", "pools", "cluster", "start"):
        records = quiet(kind)
        if records:
            parts += ["", f"## {kind}", ""]
            parts += [
                f"- {run.name}, commit `{run.about['commit']}`" for run in records
            ]
            parts += [
                "",
                "| times faster | worst | median | best |",
                "|---|---|---|---|",
            ]
            spreads = record.spreads(records, last=LAST)
            parts += [ratio_line(spread) for spread in spreads]
            if bare := record.spreads(records, figure=Record.bare, last=LAST):
                what = "interpreters" if kind == "start" else "copies"
                parts += [
                    "",
                    f"| part of our time that bare {what} take "
                    "| worst | median | best |",
                    "|---|---|---|---|",
                    *(ratio_line(spread) for spread in bare),
                ]
    if beside := with_neighbours("mpi"):
        parts += ["", "## mpi, beside processes that compute", ""]
        parts += [
            f"- {run.name}, commit `{run.about['commit']}`, beside {run.about['busy']}"
            for run in beside
        ]
        parts += ["", *busy_table(beside)]
    counts = record.read("instructions")
    if counts:
        last = counts[-1]
        parts += ["", "## instructions", "", f"The newest count: {last.name}", ""]
        engines = list(dict.fromkeys(e for row in last.rows.values() for e in row))
        parts += [
            f"| instructions of one rank | {' | '.join(engines)} |",
            "|---" * (len(engines) + 1) + "|",
        ]
        for row, by_engine in last.rows.items():
            cells = (by_engine.get(engine, "") for engine in engines)
            texts = (f"{c:,}" if isinstance(c, int | float) else c for c in cells)
            parts.append(f"| {row} | {' | '.join(texts)} |")
    return "\n".join(parts) + "\n"


def busy_table(records: list[Record]) -> list[str]:
    """The worst ratio of each row, by how many processes computed beside the ranks."""
    by_count: dict[int, list[Record]] = {}
    for run in records:
        by_count.setdefault(int(str(run.about.get("busy"))), []).append(run)
    columns = {
        count: {s.row: s.worst for s in record.spreads(runs)}
        for count, runs in sorted(by_count.items())
    }
    rows = dict.fromkeys(row for column in columns.values() for row in column)
    return [
        f"| worst run: times faster, beside | {' | '.join(map(str, columns))} |",
        "|---" * (len(columns) + 1) + "|",
        *(
            f"| {row} | "
            + " | ".join(f"{c[row]:.2f}" if row in c else "" for c in columns.values())
            + " |"
            for row in rows
        ),
    ]


def busy_text(records: list[Record]) -> str:
    """The README's sentence on machines that compute something else meanwhile."""
    spreads = record.spreads(records)
    behind = sorted((s for s in spreads if s.median < 1), key=lambda s: s.median)
    counts = sorted({int(str(run.about.get("busy"))) for run in records})
    mean = geometric_mean(s.median for s in spreads)
    return "\n".join(
        [
            wrapped(
                f"Beside {', '.join(map(str, counts))} processes that do nothing but "
                f"compute, on as many CPUs as above, Phalanx was ahead in "
                f"{len(spreads) - len(behind)} of {len(spreads)} rows in the median of "
                f"the runs; the geometric mean is {mean:.2g}. Seen on: "
                f"{machines(records)}."
            ),
            "",
            "| behind, beside others: times faster | worst | median | best |",
            "|---|---|---|---|",
            *(ratio_line(s) for s in behind),
        ]
    )


def with_neighbours(kind: str) -> list[Record]:
    """The runs beside which processes were started that compute."""
    return [run for run in record.read(kind) if run.about.get("busy")]


def quiet(kind: str) -> list[Record]:
    """The runs beside which nothing was started on purpose."""
    return [run for run in record.read(kind) if not run.about.get("busy")]


def put(text: str, name: str, content: str) -> str:
    """Replace what is between the marks of that name."""
    marks = re.compile(rf"(<!-- bench: {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
    changed, count = marks.subn(lambda m: m[1] + content + m[2], text)
    if count != 1:
        raise SystemExit(f"README.md has {count} places named {name!r}, not one")
    return changed


def main() -> None:
    readme = ROOT / "README.md"
    text = readme.read_text()
    if mpi := quiet("mpi"):
        from chart import draw

        draw(mpi, str(ROOT / "docs" / "bench.svg"))
        text = put(text, "mpi", mpi_text(mpi))
    if beside := with_neighbours("mpi"):
        text = put(text, "busy", busy_text(beside))
    if pools := quiet("pools"):
        text = put(text, "pools", engines_table(pools, POOLS, "two workers"))
    if clusters := quiet("cluster"):
        table = engines_table(clusters, CLUSTER, "two engines")
        text = put(text, "cluster", table)
    if starts := quiet("start"):
        text = put(text, "start", start_table(starts))
    readme.write_text(text)
    record.RESULTS.mkdir(exist_ok=True)
    (record.RESULTS / "README.md").write_text(every_row())


if __name__ == "__main__":
    main()
