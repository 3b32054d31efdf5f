"""Run the test tiers and say how many cases each one ran, and what took how long.

    python tests/run.py [--list] [TIER ...]
    python tests/run.py --with TIER ...

Without names, every tier of `make test` runs; `--with` adds some of the long ones to
them, `--all` adds all.
Each tier is a function in `tests/tiers/`; it returns counts and never hangs:
every process it starts has a time limit. Tiers that mostly wait run beside the others,
which mostly compute; what they print follows when they have ended.
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
        self.waits_for = [tier.name for tier in tiers]
        self.ran: list[Ran] = []
        for tier in tiers:
            tier.prepare()
        print(f"== beside the others: {', '.join(self.waits_for)}", flush=True)
        self.printed, self.shown = tempfile.TemporaryFile(), 0
        fork = multiprocessing.get_context("fork")
        self.told, telling = fork.Pipe(duplex=False)
        self.process = fork.Process(
            target=self._run, args=(tiers, telling), daemon=True
        )
        self.process.start()
        telling.close()

    def _run(self, tiers: list[Tier], telling: Connection) -> None:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(self.printed.fileno(), stream.fileno())
        for tier in tiers:
            ran = run_tier(tier)
            sys.stdout.flush()
            telling.send((ran, os.lseek(self.printed.fileno(), 0, os.SEEK_CUR)))

    def look(self) -> None:
        """Print what those that have ended meanwhile have printed."""
        while self.waits_for and self.told.poll():
            self._next()

    def end(self) -> list[Ran]:
        """Wait for all of them."""
        while self.waits_for:
            self._next()
        self.process.join()
        return self.ran

    def _next(self) -> None:
        name = self.waits_for.pop(0)
        try:
            ran, printed = self.told.recv()
        except EOFError:
            counts = Counts()
            counts.fail(f"{name} ended without its counts")
            ran, printed = Ran(name, counts, 0.0, 0.0, []), None
            self.waits_for.clear()
        self.ran.append(ran)
        # At an offset: the process that writes shares the position in the file.
        length = (printed or os.fstat(self.printed.fileno()).st_size) - self.shown
        text = os.pread(self.printed.fileno(), length, self.shown)
        self.shown += length
        print(text.decode(errors="replace"), end="", flush=True)


def run_tiers(chosen: list[Tier]) -> list[Ran]:
    """Run them in their order, those that are apart beside the others."""
    apart = [tier for tier in chosen if tier.apart]
    others = [tier for tier in chosen if not tier.apart]
    if not apart or not others:
        return [run_tier(tier) for tier in chosen]
    beside = Beside(apart)
    ran: list[Ran] = []
    for tier in others:
        ran.append(run_tier(tier))
        beside.look()
    return ran + beside.end()


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
    parser.add_argument(
        "--with",
        dest="more",
        nargs="+",
        default=[],
        metavar="TIER",
        help="these as well as those of `make test`",
    )
    parser.add_argument("--list", action="store_true", help="name the tiers and stop")
    options = parser.parse_args()

    if options.list:
        for tier in TIERS.values():
            print(f"{tier.name:16} {tier.summary}{' (long)' if tier.long else ''}")
        return 0
    named = [*options.tiers, *options.more]
    unknown = [name for name in named if name not in TIERS]
    if unknown:
        parser.error(f"no tier {unknown[0]!r}; there are: {', '.join(TIERS)}")
    chosen = [
        tier
        for tier in TIERS.values()
        if tier.name in named or (not options.tiers and (options.all or not tier.long))
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
