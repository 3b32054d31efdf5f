"""Objects that travel, one at a time: `can` gives something plain that `uncan` undoes.

The views do this with whole messages (see `_functions`); these functions are for code
that does it by itself.
"""

from collections.abc import Callable
from types import FunctionType
from typing import Any, TypeVar

from . import _functions

__all__ = [
    "CannedObject",
    "Reference",
    "can",
    "can_class",
    "can_dict",
    "can_map",
    "can_sequence",
    "interactive",
    "istype",
    "uncan",
    "uncan_dict",
    "uncan_map",
    "uncan_sequence",
    "use_cloudpickle",
    "use_dill",
    "use_pickle",
]

F = TypeVar("F", bound=Callable[..., Any])


class Reference:
    """The value of an expression on the engine, as an argument.

    ``view.apply(f, Reference("a.b"))`` calls `f` with what ``a.b`` is there.
    """

    def __init__(self, name: str) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a reference is a name or an expression, not {name!r}")
        self.name = name

    def __repr__(self) -> str:
        return f"<Reference: {self.name!r}>"

    def get_object(self, g: dict[str, Any] | None = None) -> Any:
        """What it is in the namespace `g`, or in that of the tasks of this process."""
        return eval(self.name, _functions.namespace() if g is None else g)

    def __reduce__(self) -> tuple[object, ...]:
        return _resolve, (self.name,)


def _resolve(name: str) -> Any:
    return Reference(name).get_object()


class CannedObject:
    """An object on its way. `get_object` gives it back."""

    def __init__(
        self,
        obj: Any,
        keys: list[str] = [],  # noqa: B006
        hook: Any = None,
    ) -> None:
        self.stream, self.buffers = _functions.dumps(obj)

    def __reduce__(self) -> tuple[object, ...]:
        return _canned, (self.stream, self.buffers)

    def get_object(self, g: dict[str, Any] | None = None) -> Any:
        """The object; its functions have `g` as their globals, if it is given."""
        before = _functions.set_namespace(g) if g is not None else None
        try:
            return _functions.loads(self.stream, self.buffers)
        finally:
            if g is not None:
                _functions.set_namespace(before)


def _canned(stream: bytes, buffers: list[Any]) -> CannedObject:
    canned = CannedObject.__new__(CannedObject)
    canned.stream, canned.buffers = stream, buffers
    return canned


def istype(obj: Any, check: Any) -> bool:
    """Whether an object is of exactly this type, or of one of these."""
    return type(obj) in check if isinstance(check, tuple) else type(obj) is check


def can(obj: Any) -> Any:
    """Something plain for an object that pickle cannot take, or that is to be looked
    up."""
    if isinstance(obj, (str, bytes, int, float, complex, bool, type(None))):
        return obj
    if istype(obj, dict):
        return can_dict(obj)
    if istype(obj, (list, tuple)):
        return can_sequence(obj)
    return CannedObject(obj)


def uncan(obj: Any, g: dict[str, Any] | None = None) -> Any:
    """What was given to `can`; its functions have `g` as their globals."""
    if isinstance(obj, (CannedObject, Reference)):
        return obj.get_object(g)
    if istype(obj, dict):
        return uncan_dict(obj, g)
    if istype(obj, (list, tuple)):
        return uncan_sequence(obj, g)
    return obj


def can_class(obj: Any) -> Any:
    """The same for classes."""
    return CannedObject(obj) if isinstance(obj, type) else obj


def can_dict(obj: Any) -> Any:
    """The same for each value of a dict."""
    return {key: can(value) for key, value in obj.items()} if istype(obj, dict) else obj


def can_sequence(obj: Any) -> Any:
    """The same for each item of a list or a tuple."""
    if istype(obj, (list, tuple)):
        return type(obj)([can(item) for item in obj])
    return obj


def uncan_dict(obj: Any, g: dict[str, Any] | None = None) -> Any:
    """Undo `can_dict`."""
    if not istype(obj, dict):
        return obj
    return {key: uncan(value, g) for key, value in obj.items()}


def uncan_sequence(obj: Any, g: dict[str, Any] | None = None) -> Any:
    """Undo `can_sequence`."""
    if istype(obj, (list, tuple)):
        return type(obj)([uncan(item, g) for item in obj])
    return obj


# Which types are canned how: every type goes the same way here, so both are empty. They
# stay for code that adds types of its own.
can_map: dict[Any, Any] = {}
uncan_map: dict[Any, Any] = {}


def interactive(f: F) -> F:
    """Make a function one of the main module: it finds the engine's names there.

    (A function that was typed at a prompt is one already.)
    """
    if isinstance(f, FunctionType):
        import sys

        made = FunctionType(
            f.__code__,
            sys.modules["__main__"].__dict__,
            f.__name__,
            f.__defaults__,
            f.__closure__,
        )
        made.__kwdefaults__ = f.__kwdefaults__
        made.__annotations__ = f.__annotations__
        made.__doc__ = f.__doc__
        made.__dict__.update(f.__dict__)
        f = made  # type: ignore[assignment]
    f.__module__ = "__main__"
    return f


def use_pickle() -> None:
    """Send functions as this package does by itself."""
    _functions.set_mode("pickle")


def use_cloudpickle() -> None:
    """Send functions as cloudpickle does: with the sender's globals."""
    _functions.set_mode("cloudpickle")


def use_dill() -> None:
    """Send everything as dill does. Raises ImportError where it is not installed."""
    _functions.set_mode("dill")
