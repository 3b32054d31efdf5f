"""Processes, pools, queues and locks: ``multiprocessing`` that never hangs.

``import phalanx.multiprocessing as mp`` offers every name of the standard module.
``Pool``, the queues, the locks and ``shared_memory`` are Phalanx's; all the rest
is the standard library's own, with these in it.
"""

import multiprocessing as _std  # First: an open door acts on it, with our contexts.

from . import context, reduction
from . import process as process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_default = context._default_context

AuthenticationError = context.AuthenticationError
BufferTooShort = context.BufferTooShort
ProcessError = context.ProcessError
TimeoutError = context.TimeoutError

Process = context.Process
Array = _default.Array
Barrier = _default.Barrier
BoundedSemaphore = _default.BoundedSemaphore
Condition = _default.Condition
Event = _default.Event
JoinableQueue = _default.JoinableQueue
Lock = _default.Lock
Manager = _default.Manager
Pipe = _default.Pipe
Pool = _default.Pool
Queue = _default.Queue
RLock = _default.RLock
RawArray = _default.RawArray
RawValue = _default.RawValue
Semaphore = _default.Semaphore
SimpleQueue = _default.SimpleQueue
Value = _default.Value
active_children = _default.active_children
allow_connection_pickling = _default.allow_connection_pickling
cpu_count = _default.cpu_count
current_process = _default.current_process
freeze_support = _default.freeze_support
get_all_start_methods = _default.get_all_start_methods
get_context = _default.get_context
get_logger = _default.get_logger
get_start_method = _default.get_start_method
log_to_stderr = _default.log_to_stderr
parent_process = _default.parent_process
set_executable = _default.set_executable
set_forkserver_preload = _default.set_forkserver_preload
set_start_method = _default.set_start_method
reducer = reduction
SUBDEBUG = 5
SUBWARNING = 25

# What is named above, and what a later Python adds to its contexts.
__all__ = [name for name in dir(_default) if not name.startswith("_")]
for _name in __all__:
    if _name not in globals():
        globals()[_name] = getattr(_default, _name)
del _name, _std

_SUBMODULES = frozenset(
    "connection dummy errors forkserver heap managers pool queues resource_sharer "
    "resource_tracker shared_memory sharedctypes spawn synchronize util".split()
)


def __getattr__(name: str) -> "Any":
    if name in _SUBMODULES:
        import importlib

        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
