"""Objects as bytes, for tasks: functions arrive in the namespace of the engine.

A function of the main module (a script's, a prompt's, a notebook's) runs on an engine
*with the engine's namespace as its globals*: ``view["a"] = 5`` is what a function that
reads ``a`` sees there. Its code travels, not its globals. What travels with it are the
names it needs and the engine may lack: modules (``np`` is imported there as numpy),
what was imported from modules, and functions and classes of the main module. They are
set on arrival where the engine has nothing of that name, so that what was pushed
there stands.

Functions that can be imported go by name; others of a module (lambdas, closures) by
their code, with that module's globals. Where pickle cannot, cloudpickle does: classes
of the main module, and whatever pickle gives up on.
"""

import importlib
import io
import marshal
import pickle
import sys
from collections.abc import Iterable, Iterator
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, ModuleType
from typing import Any

from ..._workers import place_of  # type: ignore[attr-defined,unused-ignore]

__all__ = ["dumps", "loads", "namespace", "set_mode", "set_namespace"]

_MAIN = ("__main__", "__mp_main__")

# The namespace that functions of the main module get here; None: that module's own.
_namespace: dict[str, Any] | None = None

# What came along with functions, by name. It is replaced by what comes later; what the
# user has set since is not.
_arrived: dict[str, Any] = {}

# "pickle" is what this module says; the others leave functions to these packages.
_mode = "pickle"


def namespace() -> dict[str, Any]:
    """The globals of functions of the main module in this process."""
    if _namespace is not None:
        return _namespace
    return sys.modules["__main__"].__dict__


def set_namespace(names: dict[str, Any] | None) -> dict[str, Any] | None:
    """Make another dict that namespace; give the one before back."""
    global _namespace
    before, _namespace = _namespace, names
    return before


def set_mode(mode: str) -> None:
    """Who pickles in this process: ``pickle``, ``cloudpickle`` or ``dill``.

    Raises ImportError if that package is not installed.
    """
    global _mode
    if mode not in ("pickle", "cloudpickle", "dill"):
        raise ValueError(f"no such way to pickle: {mode!r}")
    if mode != "pickle":
        __import__(mode)
    _mode = mode


def mode() -> str:
    """Who pickles in this process."""
    return _mode


# --- functions -----------------------------------------------------------------------


def _names_in(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names_in(constant)


def _needed(function: FunctionType) -> dict[str, Any]:
    """Globals that travel with a function of the main module."""
    needed: dict[str, Any] = {}
    there = function.__globals__
    for name in _names_in(function.__code__):
        if name in needed or name not in there:
            continue
        value = there[name]
        if isinstance(value, ModuleType):
            if value.__name__ not in _MAIN:
                needed[name] = _Module(value.__name__)
        elif isinstance(value, (FunctionType, BuiltinFunctionType, type)):
            place = place_of(value)
            if place is not None:
                needed[name] = _Imported(*place)
            elif getattr(value, "__module__", None) in _MAIN:
                needed[name] = value
        elif type(value).__name__ == "ufunc" and type(value).__module__ == "numpy":
            needed[name] = value
    return needed


class _Module:
    """A module that is imported on arrival, if it can be."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __reduce__(self) -> tuple[object, ...]:
        return _module, (self.name,)


def _module(name: str) -> Any:
    try:
        __import__(name)
    except ImportError:
        return _MISSING
    return sys.modules[name]


class _Imported:
    """What is imported from a module on arrival, if it can be."""

    def __init__(self, module: str, name: str) -> None:
        self.module, self.name = module, name

    def __reduce__(self) -> tuple[object, ...]:
        return _imported, (self.module, self.name)


def _imported(module: str, name: str) -> Any:
    found = _module(module)
    for part in name.split("."):
        found = getattr(found, part, _MISSING)
    return found


class _Missing:
    """Stands for what could not be imported here; the function then says so itself."""

    def __reduce__(self) -> str:
        return "_MISSING"


_MISSING = _Missing()


def _new_function(code: bytes, module: str, closure: int, alone: bool) -> FunctionType:
    """A function whose defaults, cells and attributes come after it."""
    if module in _MAIN:
        place = namespace()
    elif alone:
        place = {"__name__": module}
    else:
        __import__(module)
        place = sys.modules[module].__dict__
    place.setdefault("__builtins__", __builtins__)
    cells = tuple(CellType() for _ in range(closure)) if closure else None
    return FunctionType(marshal.loads(code), place, closure=cells)


def _fill_function(function: FunctionType, state: dict[str, Any]) -> None:
    function.__name__ = state["name"]
    function.__qualname__ = state["qualname"]
    function.__module__ = state["module"]
    function.__doc__ = state["doc"]
    function.__defaults__ = state["defaults"]
    function.__kwdefaults__ = state["kwdefaults"]
    function.__annotations__ = state["annotations"]
    function.__dict__.update(state["dict"])
    for cell, value in zip(function.__closure__ or (), state["cells"], strict=True):
        if value is not _MISSING:
            cell.cell_contents = value
    arrive(state["needed"], function.__globals__)


def arrive(values: dict[str, Any], place: dict[str, Any]) -> None:
    """Set what came along, except over what is there for another reason."""
    for name, value in values.items():
        if value is _MISSING:
            continue
        if name in place and place[name] is not _arrived.get(name, _MISSING):
            continue
        place[name] = _arrived[name] = value


def forget_arrived() -> None:
    """Forget what came with functions, when the namespace is cleared."""
    _arrived.clear()


# What a function may reach its globals by without naming them.
_REFLECTIVE = {"globals", "eval", "exec", "vars", "locals", "__import__"}


def _is_alone(function: FunctionType) -> bool:
    """Whether a function uses nothing of its module, which then need not be there."""
    names = set(_names_in(function.__code__))
    return names.isdisjoint(function.__globals__) and names.isdisjoint(_REFLECTIVE)


def _cell(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _MISSING


def _plain_annotations(function: FunctionType) -> dict[str, Any]:
    """Annotations, if all of them are strings or can be imported."""
    notes = function.__annotations__
    good = all(isinstance(n, str) or place_of(n) or n is None for n in notes.values())
    return dict(notes) if good else {}


def _reduce_function(function: FunctionType) -> Any:
    """How a function travels by its code; NotImplemented: by name."""
    if function.__module__ in sys.modules and place_of(function) is not None:
        return NotImplemented
    closure = function.__closure__ or ()
    module = function.__module__
    if module not in sys.modules:
        # Of a module that is no more, or of none (code that was executed).
        module = "__main__"
    state = {
        "name": function.__name__,
        "qualname": function.__qualname__,
        "module": module,
        "doc": function.__doc__,
        "defaults": function.__defaults__,
        "kwdefaults": function.__kwdefaults__,
        "annotations": _plain_annotations(function),
        "dict": function.__dict__,
        "cells": [_cell(cell) for cell in closure],
        "needed": _needed(function) if module in _MAIN else {},
    }
    code = marshal.dumps(function.__code__)
    arguments = (code, module, len(closure), _is_alone(function))
    return _new_function, arguments, state, None, None, _fill_function


# --- picklers ------------------------------------------------------------------------


class _ByValue(Exception):
    """Pickle would name something that only this process has."""


def _has_main_type(thing: type) -> bool:
    return thing.__module__ in _MAIN


class _Pickler(pickle.Pickler):
    """Pickle's own, but for functions and modules."""

    def reducer_override(self, thing: Any) -> Any:
        kind = type(thing)
        if kind is FunctionType:
            return _reduce_function(thing)
        if kind is ModuleType:
            return importlib.import_module, (thing.__name__,)
        if kind.__module__ in _MAIN:
            # Its class has to travel.
            raise _ByValue
        if isinstance(thing, type) and _has_main_type(thing):
            raise _ByValue
        return NotImplemented


_by_value_class: type | None = None


def _by_value_pickler() -> Any:
    """cloudpickle's, but for functions of the main module. (Loaded when needed.)"""
    global _by_value_class
    if _by_value_class is None:
        import cloudpickle  # type: ignore[import-untyped,unused-ignore]

        class Pickler(cloudpickle.Pickler):  # type: ignore[misc,unused-ignore]
            def reducer_override(self, thing: Any) -> Any:
                if type(thing) is FunctionType and thing.__module__ in _MAIN:
                    return _reduce_function(thing)
                return super().reducer_override(thing)

        _by_value_class = Pickler
    return _by_value_class


def dumps(value: Any) -> tuple[bytes, list[pickle.PickleBuffer]]:
    """An object as a stream and the large buffers beside it."""
    buffers: list[pickle.PickleBuffer] = []

    def beside(buffer: pickle.PickleBuffer) -> bool:
        with buffer.raw() as raw:
            if raw.nbytes < _BESIDE:
                return True
        buffers.append(buffer)
        return False

    if _mode == "dill":
        import dill  # type: ignore[import-not-found,unused-ignore]

        return dill.dumps(value, recurse=True), []
    stream = io.BytesIO()
    if _mode == "cloudpickle":
        import cloudpickle

        cloudpickle.Pickler(stream, 5, buffer_callback=beside).dump(value)
        return stream.getvalue(), buffers
    try:
        _Pickler(stream, 5, buffer_callback=beside).dump(value)
    except Exception:
        # Pickle gives up with errors of many kinds. If cloudpickle gives up as well,
        # its error is the one to tell.
        buffers.clear()
        stream = io.BytesIO()
        _by_value_pickler()(stream, 5, buffer_callback=beside).dump(value)
    return stream.getvalue(), buffers


# Smaller buffers stay in the stream.
_BESIDE = 1024


def loads(stream: Any, buffers: Iterable[Any] = ()) -> Any:
    """The object again. Functions of the main module are in `namespace()`."""
    return pickle.loads(stream, buffers=buffers)
