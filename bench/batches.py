"""Timing of one operation, in batches that last long enough to be measured."""

import time
from collections.abc import Callable

BATCHES = 3
BATCH_SECONDS = 0.1  # a batch is doubled until it lasts this long


def demand(good: object, what: str) -> None:
    if not good:
        raise AssertionError(f"{what}: wrong result")


def batches(run: Callable[[int], None], first: int = 1) -> list[float]:
    """Seconds per operation; `run(n)` does n of them."""
    run(first)
    count, samples = first, []
    while len(samples) < BATCHES:
        start = time.perf_counter()
        run(count)
        elapsed = time.perf_counter() - start
        if elapsed < BATCH_SECONDS and not samples:
            count *= 2
        else:
            samples.append(elapsed / count)
    return samples
