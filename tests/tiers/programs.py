"""Random programs of messages, collectives, files and windows, against naive models.

The programs are in `tests/programs`; a failure names seed, ranks and step. The long
tier goes on with PHALANX_TEST_PROGRAMS other seeds (50).
"""

import os
from collections.abc import Iterable
from itertools import product

from .process import PHALANX, PYTHON, TESTS, Counts, run

PROGRAMS = ("program.py", "files.py", "windows.py")
RANKS = (1, 2, 3, 8)
STEPS = 100
SECONDS = 300.0  # until a program counts as hung


def run_seeds(seeds: Iterable[int]) -> Counts:
    counts = Counts()
    for seed, program, ranks in product(seeds, PROGRAMS, RANKS):
        path = str(TESTS / "programs" / program)
        command = [PHALANX, "run", "-n", str(ranks), PYTHON, path]
        done = run([*command, str(seed), str(STEPS)], SECONDS)
        good = done.code == 0 and f"{STEPS} steps on {ranks} ranks" in done.output
        name = f"{program}: seed {seed} at {ranks} ranks ({done.code})"
        counts.expect(good, name, done.output)
    return counts


def run_all() -> Counts:
    return run_seeds(range(1, 4))


def run_long() -> Counts:
    return run_seeds(range(100, 100 + int(os.environ.get("PHALANX_TEST_PROGRAMS", 50))))
