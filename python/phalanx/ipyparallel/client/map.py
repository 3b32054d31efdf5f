"""How a sequence is divided among engines, and put together again."""

from collections.abc import Sequence
from itertools import chain, islice
from typing import Any

__all__ = ["Map", "RoundRobinMap", "dists", "is_array", "mappable"]


def is_array(obj: Any) -> bool:
    """Whether it is an array of NumPy's. (NumPy is not loaded for this.)"""
    kind = type(obj)
    if not kind.__module__.startswith("numpy") and not hasattr(
        obj, "__array_priority__"
    ):
        return False
    import numpy

    return isinstance(obj, numpy.ndarray)


def mappable(obj: Any) -> bool:
    """Whether it can be cut into parts: a list, a tuple, or an array."""
    return isinstance(obj, (tuple, list)) or is_array(obj)


class Map:
    """Consecutive parts, as even as they can be: the first ones have one item more."""

    def getPartition(self, seq: Any, p: int, q: int, n: int | None = None) -> Any:
        """Part `p` of `q` of a sequence whose first `n` items count."""
        n = len(seq) if n is None else n
        if not 0 <= p < q:
            raise ValueError(f"there is no part {p} of {q}")
        size, more = divmod(n, q)
        low = p * size + min(p, more)
        high = low + size + (p < more)
        try:
            return seq[low:high]
        except TypeError:
            return list(islice(seq, low, high))

    def joinPartitions(self, listOfPartitions: Sequence[Any]) -> Any:
        """The whole of all parts."""
        return self.concatenate(listOfPartitions)

    def concatenate(self, listOfPartitions: Sequence[Any]) -> Any:
        """Arrays as one array, sequences as one list, other things as a list of
        them."""
        parts = list(listOfPartitions)
        if not parts:
            return []
        if is_array(parts[0]):
            import numpy

            return numpy.concatenate(parts)
        if isinstance(parts[0], (str, bytes)):
            return parts[0][:0].join(parts)
        if isinstance(parts[0], (list, tuple)):
            return list(chain.from_iterable(parts))
        return parts


class RoundRobinMap(Map):
    """Every part has each q-th item."""

    def getPartition(self, seq: Any, p: int, q: int, n: int | None = None) -> Any:
        n = len(seq) if n is None else n
        return seq[p:n:q]

    def joinPartitions(self, listOfPartitions: Sequence[Any]) -> Any:
        parts = list(listOfPartitions)
        if not parts:
            return []
        if is_array(parts[0]):
            return self.flatten_array(parts)
        return self.flatten_list(parts)

    def flatten_array(self, listOfPartitions: Sequence[Any]) -> Any:
        """Parts that are arrays, as one array."""
        import numpy

        parts = list(listOfPartitions)
        whole = numpy.empty(
            (sum(len(part) for part in parts), *parts[0].shape[1:]), parts[0].dtype
        )
        for n, part in enumerate(parts):
            whole[n :: len(parts)] = part
        return whole

    def flatten_list(self, listOfPartitions: Sequence[Any]) -> list[Any]:
        """Parts that are sequences, as one list."""
        parts = list(listOfPartitions)
        whole: list[Any] = [None] * sum(len(part) for part in parts)
        for n, part in enumerate(parts):
            whole[n :: len(parts)] = part
        return whole


dists: dict[str, type[Map]] = {"b": Map, "r": RoundRobinMap}
