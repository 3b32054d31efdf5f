"""What the measuring programs share: buffers that show mix-ups, and verdicts."""

import time
from collections.abc import Callable

import numpy as np
from rows import Row

BATCHES = 7
BATCH_SECONDS = 0.03  # a batch is doubled until it lasts this long
ROW_SECONDS = 0.6  # after so long no other batch begins

Operation = Callable[[], None]
_ends: list[Callable[[], None]] = []


def at_end(end: Callable[[], None]) -> None:
    """Calls `end` when the row has been measured, on all ranks in the same order."""
    _ends.append(end)


def end_row() -> None:
    while _ends:
        _ends.pop()()


def fill(nbytes: int, seed: int) -> np.ndarray:
    """A buffer of float64 (or of bytes when it is shorter) that shows mix-ups."""
    return (np.arange(max(nbytes // 8, 1)) + seed).astype(np.float64)


def demand(good: bool, row: Row) -> None:
    if not good:
        raise AssertionError(f"{row.name}: wrong result")


def contribution(comm, row: Row) -> np.ndarray:
    return fill(row.nbytes, comm.rank)


def room(row: Row, blocks: int = 1) -> np.ndarray:
    """Zeros for so many blocks, one below the other."""
    return np.zeros((blocks, max(row.nbytes // 8, 1)))


def each_from_its_rank(blocks: np.ndarray, row: Row) -> bool:
    """Whether block n is what rank n contributes."""
    return all(
        np.array_equal(block, fill(row.nbytes, rank))
        for rank, block in enumerate(blocks)
    )


def time_batches(
    barrier: Operation, longest: Callable[[float], float], call: Operation
) -> list[float]:
    """Seconds per call in several batches of equal length, on every rank the same.

    `longest` gives the largest of all ranks' numbers.
    """
    calls, samples, total = 1, [], 0.0
    while not samples or (len(samples) < BATCHES and total < ROW_SECONDS):
        barrier()
        start = time.perf_counter()
        for _ in range(calls):
            call()
        elapsed = longest(time.perf_counter() - start)
        total += elapsed
        if elapsed < BATCH_SECONDS and not samples:
            calls *= 2
        else:
            samples.append(elapsed / calls)
    return samples
