"""Functions whose calls run on engines."""

from collections.abc import Callable
from itertools import islice
from typing import TYPE_CHECKING, Any

from ..serialize._calls import MapPart
from . import map as maps
from .asyncresult import AsyncMapResult
from .futures import Submitted
from .submit import Call

if TYPE_CHECKING:
    from .view import View

__all__ = ["ParallelFunction", "RemoteFunction", "getname", "parallel", "remote"]


_FEW = 32
_PLAIN = (list, tuple, range)


def getname(f: Any) -> str:
    """The name of a function, or of whatever is called."""
    for attribute in ("__name__", "func_name", "name"):
        name = getattr(f, attribute, None)
        if isinstance(name, str):
            return name
    inner = getattr(f, "func", None)
    return getname(inner) if inner is not None else str(f)


def remote(
    view: "View", block: bool | None = None, **flags: Any
) -> Callable[[Callable[..., Any]], "RemoteFunction"]:
    """A decorator: calls of the function run on the engines of a view."""
    return lambda f: RemoteFunction(view, f, block=block, **flags)


def parallel(
    view: "View",
    dist: str = "b",
    block: bool | None = None,
    ordered: bool = True,
    **flags: Any,
) -> Callable[[Callable[..., Any]], "ParallelFunction"]:
    """A decorator: a call of the function divides its sequences among the engines."""
    return lambda f: ParallelFunction(
        view, f, dist=dist, block=block, ordered=ordered, **flags
    )


class RemoteFunction:
    """A function that runs on the engines of a view when it is called."""

    view: "View"
    func: Callable[..., Any]
    block: bool | None
    flags: dict[str, Any]

    def __init__(
        self,
        view: "View",
        f: Callable[..., Any],
        block: bool | None = None,
        **flags: Any,
    ) -> None:
        self.view = view
        self.func = f
        self.block = block
        self.flags = flags
        self.__name__ = getname(f)
        kind = type(self).__name__
        own = f"{kind} wrapping:\n\n{self.__name__}"
        doc = getattr(f, "__doc__", None)
        self.__doc__ = f"{own}\n\n{doc}" if doc else own

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.__name__} on {self.view!r}>"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        block = self.view.block if self.block is None else self.block
        with self.view.temp_flags(block=block, **self.flags):
            return self.view.apply(self.func, *args, **kwargs)


class ParallelFunction(RemoteFunction):
    """A function that gets parts of sequences on the engines, when it is called.

    `map` calls it for each item instead.
    """

    chunksize: int | None
    ordered: bool
    mapObject: maps.Map

    def __init__(
        self,
        view: "View",
        f: Callable[..., Any],
        dist: str = "b",
        block: bool | None = None,
        chunksize: int | None = None,
        ordered: bool = True,
        return_exceptions: bool = False,
        **flags: Any,
    ) -> None:
        super().__init__(view, f, block=block, **flags)
        if dist not in maps.dists:
            raise ValueError(f"dist is 'b' or 'r', not {dist!r}")
        if chunksize is not None and chunksize < 1:
            raise ValueError(f"chunksize is 1 or more, not {chunksize}")
        self.chunksize = chunksize
        self.ordered = ordered
        self.return_exceptions = return_exceptions
        self.mapObject = maps.dists[dist]()

    def __call__(self, *sequences: Any, **kwargs: Any) -> Any:
        if kwargs:
            raise TypeError("a parallel function takes sequences, and no keywords")
        return self._divide(False, sequences)

    def map(self, *sequences: Any) -> Any:
        """Call the function for each item: as many as the shortest sequence has."""
        return self._divide(True, sequences)

    def _divide(self, each: bool, sequences: tuple[Any, ...]) -> Any:
        if not sequences:
            raise TypeError("a parallel function needs a sequence")
        sized = [
            one
            if hasattr(one, "__len__") and hasattr(one, "__getitem__")
            else list(one)
            for one in sequences
        ]
        length = min(len(one) for one in sized)
        if not each and any(len(one) != length for one in sized):
            raise ValueError("the sequences of a parallel function have one length")
        from .view import LoadBalancedView

        view = self.view
        function = MapPart(self.func) if each else self.func
        block = view.block if self.block is None else self.block
        with view.temp_flags(**self.flags):
            if isinstance(view, LoadBalancedView):
                futures, sizes = self._balanced(view, function, sized, length, each)
            else:
                futures, sizes = self._direct(view, function, sized, length)
        result = AsyncMapResult(
            view.client,
            futures,
            self.mapObject,
            fname=self.__name__,
            ordered=self.ordered,
            return_exceptions=self.return_exceptions,
            chunk_sizes=_larger(futures, sizes),
        )
        if not block:
            return result
        try:
            return result.get()
        except KeyboardInterrupt:
            # Nobody will ask for what has not begun.
            if not result.done():
                result.abort()
            raise

    def _direct(
        self, view: Any, function: Any, sized: Any, length: int
    ) -> tuple[Any, list[int]]:
        _, numbers, uuids = view._where(None)
        count = len(numbers)
        # (The round-robin distribution gives every n-th item.)
        sizes = [
            len(self.mapObject.getPartition(range(length), n, count))
            for n in range(count)
        ]
        used = [n for n in range(count) if sizes[n]]
        calls: list[Any] = [
            (
                tuple(
                    self.mapObject.getPartition(one, n, count, length) for one in sized
                ),
                {},
            )
            for n in used
        ]
        if not calls:
            return [], []
        futures = view.client._ledger.submit(
            Call("apply", "apply", function, len(calls) > 1),
            view._fields(),
            calls,
            [numbers[n] for n in used],
            uuids,
        )
        view.history.extend(futures.ids)
        return futures, [sizes[n] for n in used]

    def _balanced(
        self, view: Any, function: Any, sized: Any, length: int, each: bool
    ) -> tuple[Any, list[int]]:
        size = self.chunksize or 1
        sizes: list[int] = []
        calls: list[Any] = []
        if each and size == 1 and all(type(one) in _PLAIN for one in sized):
            # (Tuples of one: plain values where items are.)
            items = zip(*sized, strict=False)
            calls = [(tuple([(one,) for one in item]), {}) for item in items]
            sizes = [1] * length
            return (
                view._call_many(function, self.__name__, calls) if calls else []
            ), sizes
        for low in range(0, length, size):
            high = min(low + size, length)
            sizes.append(high - low)
            calls.append((tuple(_slice(one, low, high) for one in sized), {}))
        if not calls:
            return [], []
        return view._call_many(function, self.__name__, calls), sizes


def _larger(futures: Any, sizes: list[int]) -> dict[str, int]:
    """How many items tasks have that have not one, by their ids."""
    if all(size == 1 for size in sizes):
        return {}
    ids = futures.ids if isinstance(futures, Submitted) else []
    return dict(zip(ids, sizes, strict=True))


def _slice(sequence: Any, low: int, high: int) -> Any:
    if type(sequence) is range and high - low <= _FEW:
        # (A plain value; a range has to be pickled.)
        return tuple(sequence[low:high])
    try:
        return sequence[low:high]
    except TypeError:
        return list(islice(sequence, low, high))
