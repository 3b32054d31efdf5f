"""Run the test tiers and say how many cases each one ran, and what took how long.

    python tests/run.py [--list] [TIER ...]

Without names, every tier of `make test` runs; `--all` adds the long ones.
Each tier is a function in `tests/tiers/`; it returns counts and never hangs:
every process it starts has a time limit. Tiers in places of their own, which mostly
wait, run beside the others; what they print follows when they have ended.
"""

import argparse
import multiprocessing
import os
import resource
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection

from tiers import TIERS, Counts, Tier
from tiers.process import PARTS, REPEATED, Part

LONGEST = 15  # files and jobs that are named with their seconds
# Of a whole run, what may fail at first and pass when it runs alone. A crowded machine
# makes one or two of some hundred files do so; more of them are no chance.
MOST_AGAIN = 3


@dataclass(frozen=True)
class Ran:
    """What came of a tier."""

    name: str
    counts: Counts
    seconds: float
    cpu: float
    parts: list[Part]

    @property
    def compiling(self) -> float:
        return sum(part.seconds for part in self.parts if part.compiling)


def cpu_of_children() -> float:
    """CPU seconds of all processes that were waited for."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def run_tier(tier: Tier) -> Ran:
    print(f"== {tier.name}: {tier.summary}", flush=True)
    PARTS.clear()
    start, before = time.monotonic(), cpu_of_children()
    counts = tier.run()
    seconds, cpu = time.monotonic() - start, cpu_of_children() - before
    if counts.passed + counts.failed + counts.skipped == 0:
        # A tier that says why it skips everything has looked.
        counts.fail("ran no test")
    return Ran(tier.name, counts, seconds, cpu, list(PARTS))


class Beside:
    """Tiers that run in a process of their own, one after the other."""

    def __init__(self, tiers: list[Tier]) -> None:
        self.tiers = tiers
        for tier in tiers:
            tier.prepare()
        print(f"== beside the next: {', '.join(tier.name for tier in tiers)}")
        sys.stdout.flush()
        self.printed = tempfile.TemporaryFile("w+", errors="replace")
        fork = multiprocessing.get_context("fork")
        self.ran, ended = fork.Pipe(duplex=False)
        self.process = fork.Process(target=self._run, args=(ended,), daemon=True)
        self.process.start()
        ended.close()

    def _run(self, ended: Connection) -> None:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(self.printed.fileno(), stream.fileno())
        for tier in self.tiers:
            ended.send(run_tier(tier))

    def end(self) -> list[Ran]:
        """Wait for them, and print what they have printed."""
        ran: list[Ran] = []
        try:
            while len(ran) < len(self.tiers):
                ran.append(self.ran.recv())
        except EOFError:
            counts = Counts()
            counts.fail(f"{self.tiers[len(ran)].name} ended without its counts")
            ran.append(Ran(self.tiers[len(ran)].name, counts, 0.0, 0.0, []))
        self.process.join()
        self.printed.seek(0)
        print(self.printed.read(), end="", flush=True)
        return ran


def run_tiers(chosen: list[Tier]) -> list[Ran]:
    """Run them in their order, those that are apart beside those that come later."""
    last = max((at for at, tier in enumerate(chosen) if not tier.apart), default=0)
    apart = [tier for tier in chosen[:last] if tier.apart]
    ran: list[Ran] = []
    beside: Beside | None = None
    for tier in chosen:
        if tier not in apart:
            ran.append(run_tier(tier))
        elif beside is None:
            beside = Beside(apart)
    return ran + (beside.end() if beside else [])


def print_tables(ran: list[Ran], wall: float) -> None:
    print(
        f"\n{'tier':15} {'passed':>7} {'failed':>7} {'skipped':>8} "
        f"{'seconds':>8} {'compiling':>10} {'CPU':>7}"
    )
    for one in ran:
        print(
            f"{one.name:15} {one.counts.passed:7} {one.counts.failed:7} "
            f"{one.counts.skipped:8} {one.seconds:8.1f} {one.compiling:10.1f} "
            f"{one.cpu:7.1f}"
        )
    print(
        f"{'':15} {'':7} {'':7} {'':8} {sum(one.seconds for one in ran):8.1f} "
        f"{sum(one.compiling for one in ran):10.1f} {sum(one.cpu for one in ran):7.1f}"
    )
    print(f"{'from start to end':40} {wall:8.1f}")
    parts = [(part.seconds, one.name, part.what) for one in ran for part in one.parts]
    if parts:
        print("\nthe longest of them")
    for seconds, name, what in sorted(parts, reverse=True)[:LONGEST]:
        print(f"{seconds:8.1f} {name}: {what}")


def judge_again(ran: list[Ran]) -> list[str]:
    """Say what passed only at the second attempt; return what is wrong with that."""
    again = [(one.name, what) for one in ran for what in one.counts.again]
    for name, what in again:
        print(f"!!!!!! PASSED ONLY AT THE SECOND ATTEMPT {name}: {what}")
    wrong = []
    if len(again) > MOST_AGAIN:
        wrong.append(
            f"{len(again)} passed only at the second attempt, at most {MOST_AGAIN} may"
        )
    tiers: dict[str, set[str]] = {}
    for name, what in again:
        tiers.setdefault(what.partition(" ")[0], set()).add(name)
    wrong += [
        f"{what} passed only at the second attempt in {' and '.join(sorted(names))}"
        for what, names in tiers.items()
        if len(names) > 1
    ]
    return wrong


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("tiers", nargs="*", metavar="TIER")
    parser.add_argument("--all", action="store_true", help="the long tiers as well")
    parser.add_argument("--list", action="store_true", help="name the tiers and stop")
    options = parser.parse_args()

    if options.list:
        for tier in TIERS.values():
            print(f"{tier.name:16} {tier.summary}{' (long)' if tier.long else ''}")
        return 0
    unknown = [name for name in options.tiers if name not in TIERS]
    if unknown:
        parser.error(f"no tier {unknown[0]!r}; there are: {', '.join(TIERS)}")
    chosen = [
        tier
        for tier in TIERS.values()
        if (
            tier.name in options.tiers
            if options.tiers
            else options.all or not tier.long
        )
    ]

    # A shell that runs this in the background ignores interrupts, and the jobs of
    # the tests, which are interrupted on purpose, would inherit that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)
    # The same for hang-ups, in a run that outlives its terminal (nohup).
    signal.signal(signal.SIGHUP, signal.SIG_DFL)

    begun = time.monotonic()
    ran = run_tiers(chosen)
    print_tables(ran, time.monotonic() - begun)
    total = Counts()
    for one in ran:
        total += one.counts
    for wrong in judge_again(ran):
        total.failed += 1
        print(f"FAILED {wrong}")
    for one in ran:
        for failure in one.counts.failures:
            print(f"FAILED {one.name}: {failure.what}")
            for line in failure.lines[:REPEATED]:
                print(f"    {line}")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
