"""The names of mpi4py.futures: executors whose workers are MPI processes.

``import mpi4py.futures`` is answered by this package, and ``phalanx.futures`` takes
from it what concerns MPI. It loads nothing of ``phalanx.futures``, which every worker
would pay for, and MPI with the first executor that needs it.
"""

from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    InvalidStateError,
    TimeoutError,
    as_completed,
    wait,
)
from typing import TYPE_CHECKING, Any

from ._executor import (
    MPICommExecutor,
    MPIPoolExecutor,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
)
from .util import collect, compose

if TYPE_CHECKING:
    from ._executor import get_comm_workers

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "CancelledError",
    "Executor",
    "Future",
    "InvalidStateError",
    "MPICommExecutor",
    "MPIPoolExecutor",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
    "TimeoutError",
    "as_completed",
    "collect",
    "compose",
    "get_comm_workers",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name == "get_comm_workers":
        from . import _core, _executor

        # A program that asks for it needs workers that MPI started.
        _core.wants_comm = True
        globals()[name] = _executor.get_comm_workers
        return _executor.get_comm_workers
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
