"""Many kinds of calls in loops: resident memory and descriptors stay as they are."""

import re

from .process import PHALANX, PYTHON, TESTS, Counts, run, timed

LOOPS = str(TESTS / "memory" / "loops.py")
DONE = re.compile(r"^(\d+) kinds stay as they are, (\d+) grow", re.MULTILINE)
SECONDS = 600.0


def run_all() -> Counts:
    counts = Counts()
    for name, command in (
        ("messages", [PHALANX, "run", "-n", "2", PYTHON]),
        ("pools", [PYTHON]),
    ):
        with timed(f"loops of {name}"):
            done = run([*command, LOOPS, name], SECONDS)
        found = DONE.search(done.output)
        counts.passed += int(found[1]) if found else 0
        if done.code != 0 or not found or int(found[2]) or "grows:" in done.output:
            counts.fail(f"{name} ({done.code})", done.output)
    return counts
