"""The exceptions of pools, queues and locks.

All are `multiprocessing.ProcessError`. Those that say that a pool lost something are
also `concurrent.futures.process.BrokenProcessPool`, so that code written for either
library catches them. `RemoteTraceback`, the cause of an exception that a worker raised,
and `MaybeEncodingError`, for a result that does not pickle, are the standard library's.
"""

import builtins
import sys
from multiprocessing import (
    AuthenticationError,
    BufferTooShort,
    ProcessError,
    TimeoutError,
)

from .._opening import AfterImport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from concurrent.futures.process import BrokenProcessPool
    from multiprocessing.pool import (  # type: ignore[attr-defined]
        MaybeEncodingError,
        RemoteTraceback,
    )
    from types import ModuleType
    from typing import Any
else:
    # Until its module is imported: see `_derive`.
    BrokenProcessPool = RuntimeError

__all__ = [
    "AuthenticationError",
    "BufferTooShort",
    "InitializerError",
    "MaybeEncodingError",
    "OwnerDiedError",
    "ProcessError",
    "RemoteTraceback",
    "TaskMemoryError",
    "TaskTimeoutError",
    "TimeoutError",
    "WorkerLostError",
]


class OwnerDiedError(ProcessError, RuntimeError):
    """A process died while it held the lock that this process waits for.

    Raised once, in one of the waiting processes; the lock is free again. What it
    protects may be half changed.
    """


class _TaskError(ProcessError):
    """An exception that names a task.

    Attributes
    ----------
    index : int or None
        Which item of the call, from 0; `None` when the call has only one.
    function : str or None
        The name of the function.
    pid : int or None
        The worker.
    """

    index: int | None
    function: str | None
    pid: int | None

    def __init__(
        self,
        message: str,
        *,
        index: int | None = None,
        function: str | None = None,
        pid: int | None = None,
    ) -> None:
        super().__init__(message)
        self.index = index
        self.function = function
        self.pid = pid


class TaskTimeoutError(_TaskError, builtins.TimeoutError):
    """A task ran longer than its `timeout`; its worker was stopped and replaced."""


class TaskMemoryError(_TaskError, MemoryError):
    """A worker used more than `memory_limit` during a task; it was replaced."""


class WorkerLostError(_TaskError, BrokenProcessPool):
    """A worker ended before its task did; the worker was replaced.

    It costs the one task that it was in. Every other task is done, by another
    worker if need be.

    Attributes
    ----------
    exitcode : int or None
        As in `Process.exitcode`: the exit status, or minus the signal.
    """

    exitcode: int | None

    def __init__(
        self, message: str, *, exitcode: int | None = None, **task: "Any"
    ) -> None:
        super().__init__(message, **task)
        self.exitcode = exitcode


class InitializerError(ProcessError, BrokenProcessPool):
    """The initializer of a pool failed, so that no worker can start."""


# `concurrent.futures` brings `logging`, whose import takes longer than all that is
# between a worker's end and the error that says so. Who has not imported it has no name
# by which to catch its exceptions: the classes derive from those that are there, and
# from the others as soon as somebody imports them. Each module imports the one before.
_BASES = {
    "concurrent.futures._base": "BrokenExecutor",
    "concurrent.futures.process": "BrokenProcessPool",
}


def _derive(module: "ModuleType") -> None:
    """Make what says that a pool lost something an exception of this module."""
    base = getattr(module, _BASES[module.__name__])
    for kind in (WorkerLostError, InitializerError):
        if not issubclass(kind, base):
            kind.__bases__ = (kind.__bases__[0], base)


def _derive_when_imported() -> None:
    hook = AfterImport()
    for name in _BASES:
        if name in sys.modules:
            __import__(name)  # Another thread may be at it: wait for that.
        hook.add(name, _derive)


_derive_when_imported()


def __getattr__(name: str) -> object:
    # What needs a module that a program without such failures never imports.
    if name not in ("MaybeEncodingError", "RemoteTraceback"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from multiprocessing import pool

    value: object = getattr(pool, name)
    globals()[name] = value
    return value
