"""Pickling functions and classes by value, for where they cannot be imported.

This is cloudpickle. One thing is different: in a worker that does without the main
module (see `_popen.imports_main`), what comes from there shares the globals of the
worker's own main module. So a function finds what the pool's initializer has set, as it
would if the worker had imported the script.
"""

import sys
from collections.abc import Callable
from multiprocessing.reduction import ForkingPickler
from types import FunctionType
from typing import Any

import cloudpickle  # type: ignore[import-untyped,unused-ignore]

from ._placement import is_without_main

__all__ = ["Pickler", "dumps"]


class _Globals:
    """Globals of the main module, on their way to a worker."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def __reduce__(self) -> tuple[object, ...]:
        return _find_globals, (self.values,)


def _find_globals(values: dict[str, Any]) -> dict[str, Any]:
    return sys.modules["__main__"].__dict__ if is_without_main() else values


# What came with functions into the main module's globals of such a worker.
_arrived: dict[str, Any] = {}


def _set_state(
    function: FunctionType, state: Any, set_state: Callable[[FunctionType, Any], None]
) -> None:
    """Complete a function that was just made; keep the globals that are the worker's.

    These are what its initializer has set, say. What only came with an earlier
    function may have changed in the program since.
    """
    known = function.__globals__
    if is_without_main() and known is sys.modules["__main__"].__dict__:
        fresh = {
            name: value
            for name, value in state[1]["__globals__"].items()
            if name not in known or known[name] is _arrived.get(name, known)
        }
        _arrived.update(fresh)
        state[1]["__globals__"] = fresh
    set_state(function, state)


class _SetState:
    """Calls `_set_state` with cloudpickle's own function."""

    def __init__(self, set_state: Callable[[FunctionType, Any], None]) -> None:
        self.set_state = set_state

    def __call__(self, function: FunctionType, state: Any) -> None:
        _set_state(function, state, self.set_state)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc,unused-ignore]
    """cloudpickle's, with the globals of the main module as said above."""

    def _dynamic_function_reduce(self, function: FunctionType) -> Any:
        reduced = super()._dynamic_function_reduce(function)
        if function.__globals__ is not sys.modules["__main__"].__dict__:
            return reduced
        make, (code, values, *rest), state, items, pairs, set_state = reduced
        # One for all functions, so that they share their globals in any worker.
        shared: dict[int, _Globals] = self.__dict__.setdefault("_main_globals", {})
        place = shared.setdefault(id(values), _Globals(values))
        return make, (code, place, *rest), state, items, pairs, _SetState(set_state)


def dumps(value: object) -> bytes:
    """Pickle by value, with the reducers of multiprocessing."""
    import io

    stream = io.BytesIO()
    pickler = Pickler(stream)
    extra = ForkingPickler._extra_reducers  # type: ignore[attr-defined]
    pickler.dispatch_table = pickler.dispatch_table.new_child(dict(extra))
    pickler.dump(value)
    return stream.getvalue()
