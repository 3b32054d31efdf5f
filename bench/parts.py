"""What the measuring programs share: buffers that show mix-ups, and verdicts."""

from collections.abc import Callable

import numpy as np
from rows import Row

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
