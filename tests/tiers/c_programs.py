"""C programs against our `mpi.h`: one per chapter, built by `phalanx cc`.

A program says in a comment at how many ranks it runs: `ranks: 1 2 3 8`. It
prints one line `N checks` on rank 0 and exits with a status other than 0 when
a check fails.
"""

import re
import tempfile
from pathlib import Path

from .process import PHALANX, TESTS, Counts, run

RANKS = re.compile(r"ranks:\s*((?:\d+[ ,]*)+)")
CHECKS = re.compile(r"(\d+) checks")


def run_program(source: Path, folder: Path) -> Counts:
    counts = Counts()
    binary = folder / source.stem
    built = run(
        [
            PHALANX,
            "cc",
            "-Wall",
            "-Wextra",
            "-O1",
            "-g",
            str(source),
            "-o",
            str(binary),
        ],
        60,
    )
    if built.code != 0:
        counts.fail(f"{source.name} does not build", built.output)
        return counts
    ranks = RANKS.search(source.read_text())
    for count in ranks[1].replace(",", " ").split() if ranks else ["1", "2"]:
        done = run([PHALANX, "run", "-n", count, str(binary)], 60)
        checks = CHECKS.search(done.output)
        if done.code == 0 and checks:
            counts.passed += int(checks[1])
        else:
            counts.fail(f"{source.name} at {count} ranks ({done.code})", done.output)
    return counts


def run_all() -> Counts:
    counts = Counts()
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted((TESTS / "c").glob("*.c")):
            counts += run_program(source, Path(folder))
    return counts
