"""Objects and calls as lists of buffers, for code that sends them by itself."""

import pickle
from collections.abc import Callable
from typing import Any

from . import _functions

__all__ = [
    "PrePickled",
    "deserialize_object",
    "pack_apply_message",
    "serialize_object",
    "unpack_apply_message",
]


class PrePickled:
    """An object that is pickled once, for being sent often."""

    def __init__(self, obj: Any) -> None:
        self.stream, buffers = _functions.dumps(obj)
        self.buffers = [buffer.raw() for buffer in buffers]

    def __reduce_ex__(self, protocol: Any) -> tuple[object, ...]:
        buffers: list[Any] = [pickle.PickleBuffer(buffer) for buffer in self.buffers]
        if protocol < 5:
            buffers = [bytes(buffer) for buffer in self.buffers]
        return _functions.loads, (self.stream, buffers)


def serialize_object(
    obj: Any, buffer_threshold: int = 1024, item_threshold: int = 64
) -> list[Any]:
    """The stream of an object, and after it its large buffers as memoryviews."""
    stream, buffers = _functions.dumps(obj)
    return [stream, *(buffer.raw() for buffer in buffers)]


def deserialize_object(
    buffers: list[Any], g: dict[str, Any] | None = None
) -> tuple[Any, list[Any]]:
    """The object that such a list begins with, and what is left of the list."""
    stream, *rest = buffers
    left = iter(rest)
    before = _functions.set_namespace(g) if g is not None else None
    try:
        value = _functions.loads(stream, left)
    finally:
        if g is not None:
            _functions.set_namespace(before)
    return value, list(left)


def pack_apply_message(
    f: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    buffer_threshold: int = 1024,
    item_threshold: int = 64,
) -> list[Any]:
    """A call as a list of buffers."""
    return serialize_object((f, args, kwargs))


def unpack_apply_message(
    bufs: list[Any], g: dict[str, Any] | None = None, copy: bool = True
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """The function, its arguments and keywords, of such a list."""
    (f, args, kwargs), _ = deserialize_object(bufs, g)
    return f, args, kwargs
