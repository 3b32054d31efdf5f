"""Run the test tiers and say how many cases each one ran.

    python tests/run.py [--list] [TIER ...]

Without names, every tier of `make test` runs; `--all` adds the long ones.
Each tier is a function in `tests/tiers/`; it returns counts and never hangs:
every process it starts has a time limit.
"""

import argparse
import signal
import sys
import time

from tiers import TIERS, Counts


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

    results: list[tuple[str, Counts, float]] = []
    for tier in chosen:
        print(f"== {tier.name}: {tier.summary}", flush=True)
        start = time.monotonic()
        counts = tier.run()
        results.append((tier.name, counts, time.monotonic() - start))

    print()
    print(f"{'tier':10} {'passed':>7} {'failed':>7} {'skipped':>8} {'seconds':>8}")
    total = Counts()
    for name, counts, seconds in results:
        total += counts
        print(
            f"{name:10} {counts.passed:7} {counts.failed:7} "
            f"{counts.skipped:8} {seconds:8.1f}"
        )
        # A tier that says why it skips everything has looked.
        if counts.passed + counts.failed + counts.skipped == 0:
            print(f"{name}: ran no test, which counts as a failure")
            total.failed += 1
    for name, counts, _ in results:
        for failure in counts.failures:
            print(f"FAILED {name}: {failure}")
    print(f"{total.passed} passed, {total.failed} failed, {total.skipped} skipped")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
