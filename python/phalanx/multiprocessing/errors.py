"""The exceptions of pools, queues and locks.

All are `multiprocessing.ProcessError`. Those that say that a pool lost something are
also `concurrent.futures.process.BrokenProcessPool`, so that code written for either
library catches them. `RemoteTraceback`, the cause of an exception that a worker raised,
and `MaybeEncodingError`, for a result that does not pickle, are the standard library's.
"""

import builtins
from multiprocessing import (
    AuthenticationError,
    BufferTooShort,
    ProcessError,
    TimeoutError,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from multiprocessing.pool import (  # type: ignore[attr-defined]
        MaybeEncodingError,
        RemoteTraceback,
    )

    from ._lost import InitializerError, WorkerLostError

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


def __getattr__(name: str) -> object:
    # What needs modules that a program without failures never imports.
    if name in ("InitializerError", "WorkerLostError"):
        from . import _lost

        value = getattr(_lost, name)
    elif name in ("MaybeEncodingError", "RemoteTraceback"):
        from multiprocessing import pool

        value = getattr(pool, name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value
