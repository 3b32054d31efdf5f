"""The door for scripts that import ``multiprocessing``: names, replaced after import.

The modules stay the standard library's own. What changes are the names through
which a program gets at what Phalanx does better:

- in ``multiprocessing``, everything that comes from the default context;
- the contexts behind ``get_context``, so that every route leads to the same ones;
- ``Pool`` in ``multiprocessing.pool``, ``SharedMemory`` and ``ShareableList`` in
  ``multiprocessing.shared_memory``, ``ProcessPoolExecutor`` in
  ``concurrent.futures``.

The classes in ``multiprocessing.queues`` and ``multiprocessing.synchronize`` stay:
other packages derive from them and rely on their insides. The classes here are
derived from them as well, so ``isinstance`` answers as before.
"""

import importlib
import multiprocessing
import sys
from multiprocessing import context as _std
from types import ModuleType
from typing import Any

from .._opening import AfterImport
from . import context

__all__ = ["install"]

#: Names to replace: the standard module, ours, and what they are.
_NAMES = (
    ("multiprocessing.pool", "phalanx.multiprocessing.pool", ("Pool",)),
    (
        "multiprocessing.shared_memory",
        "phalanx.multiprocessing.shared_memory",
        ("SharedMemory", "ShareableList"),
    ),
    ("concurrent.futures.process", "phalanx.futures", ("ProcessPoolExecutor",)),
)


class _Replaced:
    """An attribute of a module that another module has instead.

    It is looked up when it is asked for, so that nothing is imported without need,
    and only from outside: the module's own functions find their own names, as
    ``ThreadPool`` does, which calls ``Pool.__init__``. While the other module is
    being imported, and derives its class from this one's, it gets this one's.
    """

    def __init__(self, source: str, name: str) -> None:
        self.source, self.name = source, name
        self.given: list[Any] = []

    def __get__(self, module: ModuleType | None, kind: type | None = None) -> Any:
        if module is None:
            return self
        if self.given:
            return self.given[-1]
        try:
            source = importlib.import_module(self.source)
        except AttributeError as error:
            # It would look as if only this name were missing.
            raise ImportError(f"{self.source} cannot be imported: {error}") from error
        own = vars(module).get(self.name)
        return getattr(source, self.name, own)

    def __set__(self, module: ModuleType, value: Any) -> None:
        # Somebody replaces the name in turn, as tests do; or puts back what stood in
        # the module's dictionary, as `unittest.mock` does.
        if value is vars(module).get(self.name):
            self.given.clear()
        else:
            self.given.append(value)

    def __delete__(self, module: ModuleType) -> None:
        self.given.clear()


def install() -> None:
    """Replace the names, now or when their modules are imported; once per process."""
    if _std._concrete_contexts is context._concrete_contexts:  # type: ignore[attr-defined]
        return
    _contexts()
    hook = AfterImport()
    for module, source, names in _NAMES:
        changes = {name: _Replaced(source, name) for name in names}
        kind = type(ModuleType.__name__, (ModuleType,), {"__slots__": (), **changes})
        if module in sys.modules:
            # Also one whose import is under way, and led here (`concurrent.futures`
            # imports `multiprocessing`): its own names do not go through its class.
            _change(sys.modules[module], kind)
        else:
            hook.add(module, lambda module, kind=kind: _change(module, kind))  # type: ignore[misc]


def _change(module: ModuleType, kind: type[ModuleType]) -> None:
    module.__class__ = kind
    if module.__name__ == "concurrent.futures.process":
        # The package keeps what it was asked for before, and asks again without.
        vars(sys.modules["concurrent.futures"]).pop("ProcessPoolExecutor", None)


def _contexts() -> None:
    _std._concrete_contexts = context._concrete_contexts  # type: ignore[attr-defined]
    _std.Process = context.Process  # type: ignore[misc]
    default = context._default_context
    for name in multiprocessing.__all__:
        setattr(multiprocessing, name, getattr(default, name))
    # A default context that somebody took before leads to the same places.
    state = context._state
    state._default_context = context._ours(state._default_context)
    state._actual_context = context._ours(state._actual_context)
