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
from collections.abc import Callable
from multiprocessing import context as _std
from types import ModuleType

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

_hook = AfterImport()


def install() -> None:
    """Replace the names, now or when their modules are imported; once per process."""
    if _std._concrete_contexts is context._concrete_contexts:  # type: ignore[attr-defined]
        return
    _contexts()
    for std, ours, names in _NAMES:
        replace = _replacer(std, ours, names)
        # Either may be imported first, and ours imports the other one.
        _hook.add(std, replace)
        if ours not in sys.modules:
            _hook.add(ours, replace)


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


def _replacer(
    std: str, ours: str, names: tuple[str, ...]
) -> Callable[[ModuleType], None]:
    def replace(_module: ModuleType) -> None:
        target = sys.modules.get(std)
        if target is None:
            return
        source = sys.modules.get(ours)
        if source is None:
            source = importlib.import_module(ours)
        if not all(hasattr(source, name) for name in names):
            # It is being imported, and is the one that imports the other.
            return
        for name in names:
            setattr(target, name, getattr(source, name))
        if std.startswith("concurrent."):
            package = sys.modules["concurrent.futures"]
            for name in names:
                if name in vars(package):
                    setattr(package, name, getattr(source, name))

    return replace
