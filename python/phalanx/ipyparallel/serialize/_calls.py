"""What engines run for the views, and calls of functions that both sides can import.

Such a call names its function and is not pickled, if its arguments are plain.
(Engines import this module; nothing of the client comes with it.)
"""

import sys
from collections.abc import Callable
from types import BuiltinFunctionType, FunctionType
from typing import Any

from ..._workers import place_of  # type: ignore[attr-defined,unused-ignore]
from ._functions import namespace, set_mode

__all__ = [
    "LargePart",
    "MapPart",
    "by_name",
    "fill",
    "import_names",
    "made",
    "part",
    "pull",
    "push",
    "push_part",
    "use",
]


def push(names: dict[str, Any]) -> None:
    place = namespace()
    for name, value in names.items():
        if "." in name:
            holder, _, attribute = name.rpartition(".")
            setattr(eval(holder, place), attribute, value)
        else:
            place[name] = value


def pull(names: "str | list[str]") -> Any:
    place = namespace()
    if isinstance(names, str):
        return eval(names, place)
    return [eval(name, place) for name in names]


def push_part(name: str, part: Any, flatten: bool) -> None:
    if flatten and len(part) == 1:
        part = part[0]
    push({name: part})


class MapPart:
    """One engine's part of a map: calls a function for each item."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f

    def __call__(self, *parts: Any) -> list[Any]:
        return list(map(self.f, *parts))


def import_names(name: str, fromlist: tuple[str, ...], level: int, places: Any) -> None:
    """Run the same import here: `places` are the names that it gives, and to what."""
    place = namespace()
    __import__(name)
    if not fromlist:
        for asname, what in places.items():
            place[asname] = sys.modules[what]
        return
    module = __import__(name, fromlist=list(fromlist))
    if fromlist == ("*",):
        names = getattr(module, "__all__", None)
        if names is None:
            names = [one for one in vars(module) if not one.startswith("_")]
        place.update({one: getattr(module, one) for one in names})
        return
    for asname, what in places.items():
        place[asname] = getattr(module, what)


def use(mode: str) -> None:
    set_mode(mode)


# --- large arrays, joined -------------------------------------------------------------


# From so many bytes on, parts of an array are written straight into the whole of it.
_LARGE = 1 << 20


class LargePart:
    """Stands for an engine's part of an array that is better not sent."""

    def __init__(self, dtype: Any, shape: tuple[int, ...]) -> None:
        self.dtype = dtype
        self.shape = shape


def part(name: str) -> Any:
    """The value of a name, or what kind of large array it is."""
    value = pull(name)
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray or value.nbytes < _LARGE:
        return value
    if value.ndim == 0 or value.dtype.hasobject:
        return value
    return LargePart(value.dtype, value.shape)


def fill(
    name: str,
    number: int,
    end: int,
    token: bytes,
    offset: int,
    dtype: Any,
    shape: tuple[int, ...],
) -> bool:
    """Write an array into a piece of memory that a client has; whether it was that.

    (The token is what the client has written behind the `end`: an engine of another
    machine has other memory, in which the number may mean something else.)
    """
    import numpy

    from ..engine import current

    value, engine = pull(name), current()
    if engine is None or type(value) is not numpy.ndarray:
        return False
    if value.dtype != dtype or value.shape != shape:
        return False
    try:
        memory = engine.link.open_block(number)
    except (OSError, ValueError):
        return False
    if bytes(memory[end : end + len(token)]) != token:
        return False
    flat = numpy.frombuffer(memory, dtype, value.size, offset)
    numpy.copyto(flat.reshape(shape), value)
    return True


# --- by name --------------------------------------------------------------------------


def by_name(what: Any) -> tuple[Any, ...] | None:
    """A function of a map without the function itself; None if that has to travel.

    ``(module, name)`` for a function, ``(module, name, True)`` for a `MapPart` of one.
    (``(module, name, args, kwargs)`` is a call: the link's `encode_call`.)
    """
    if type(what) is MapPart:
        place = _place(what.f)
        return None if place is None else (*place, True)
    return _place(what)


def _place(function: Any) -> tuple[str, str] | None:
    if type(function) is not FunctionType and type(function) is not BuiltinFunctionType:
        return None
    return place_of(function)


def _named(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    if found is None:
        __import__(module)
        found = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part)
    return found


def made(payloads: list[Any]) -> tuple[Callable[..., Any], Any, Any]:
    """What a task is to call, with which arguments: its payloads unpacked."""
    call = payloads[0].loads()
    if type(call) is tuple:
        if type(call[0]) is not str:
            function, args, kwargs = call
            return function, args, kwargs
        function = _named(call[0], call[1])
        if len(call) == 4:
            return function, call[2], call[3] or {}
        call = MapPart(function) if len(call) == 3 else function
    args, kwargs = payloads[1].loads()
    return call, args, kwargs or {}
