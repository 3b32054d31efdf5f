"""Large arrays of engines as one: each engine writes its part where it belongs.

A part that is sent is copied on the engine and once more as the parts are joined, into
memory that nobody has touched yet. Here the client asks for the shapes first, and the
engines write into one piece of the cluster's memory, all at the same time.
"""

import os
from collections.abc import Callable
from math import prod
from typing import TYPE_CHECKING, Any

from ..serialize import _calls
from .map import Map

if TYPE_CHECKING:
    from .submit import Ledger

__all__ = ["Gathered"]


class Gathered(Map):
    """Joins what `_calls.part` gave on each of some engines.

    `again` gathers in the usual way, for parts that do not fit together or have
    changed meanwhile.
    """

    def __init__(
        self,
        ledger: "Ledger",
        name: str,
        engines: list[int],
        fill: Callable[[list[Any]], list[bool]],
        again: Callable[[], Any],
    ) -> None:
        self.ledger = ledger
        self.name = name
        self.engines = engines
        self.fill = fill
        self.again = again

    def joinPartitions(self, listOfPartitions: Any) -> Any:
        parts = list(listOfPartitions)
        large = [one for one in parts if isinstance(one, _calls.LargePart)]
        if not large:
            return super().joinPartitions(parts)
        first = large[0]
        if len(large) < len(parts) or any(
            one.dtype != first.dtype or one.shape[1:] != first.shape[1:]
            for one in large
        ):
            return self.again()
        import numpy

        size = first.dtype.itemsize * prod(first.shape[1:])
        rows = sum(one.shape[0] for one in large)
        end, token = rows * size, os.urandom(16)
        try:
            number, memory = self.ledger.link.new_block(end + len(token))
        except MemoryError:
            return self.again()
        memory[end : end + len(token)] = token
        calls: list[Any] = []
        before = 0
        for one in large:
            place = (self.name, number, end, token, before * size)
            calls.append(((*place, one.dtype, one.shape), {}))
            before += one.shape[0]
        if not all(self.fill(calls)):
            return self.again()
        whole = numpy.frombuffer(memory, first.dtype, rows * prod(first.shape[1:]))
        return whole.reshape(rows, *first.shape[1:])
