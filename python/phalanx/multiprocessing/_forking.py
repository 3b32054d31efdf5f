"""Forking a worker from a process that has other threads.

A lock that another thread holds at that moment stays locked in the worker for ever.
Python and the C library put their own locks right, except those inside of buffered
files: a worker that prints, or logs, could wait without end for the lock of a stream
that some thread of the parent was just writing to. So loggers are kept from writing
while a worker is forked, and the worker gets new buffers for its standard streams.
"""

from __future__ import annotations

# Not `signal`, which makes enumerations of all that these functions return: around a
# fork, where each page that is touched is copied first, that is a part of its cost.
import _signal as signal  # type: ignore[import-not-found]
import io
import os
import sys
import threading
import time
from contextlib import contextmanager

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

__all__ = ["renew_streams", "uninterrupted", "without_loggers"]

# How long to wait for a logger that is writing; it may be stuck in that.
PATIENCE = 0.5


@contextmanager
def without_loggers() -> Iterator[None]:
    """Keep the handlers of `logging` from writing."""
    logging = sys.modules.get("logging")
    held = []
    deadline = time.monotonic() + PATIENCE
    for reference in list(getattr(logging, "_handlerList", ())):
        handler = reference()
        lock = getattr(handler, "lock", None)
        if lock is not None and lock.acquire(
            timeout=max(0.0, deadline - time.monotonic())
        ):
            held.append(lock)
    try:
        yield
    finally:
        for lock in reversed(held):
            lock.release()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Put off interrupts, in this process and in one that is started meanwhile.

    Python runs the handler in the main thread, wherever that is: between the functions
    that run around a fork it would leave a lock taken. The new process inherits the
    signal mask.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    came: list[int] = []
    handler = None
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):
            signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        # What was put off comes here.
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        if callable(handler):
            signal.signal(signal.SIGINT, handler)
            if came:
                signal.raise_signal(signal.SIGINT)


# The old buffers: closing one would take its lock.
_kept: list[Any] = []


def renew_streams() -> None:
    """Give the standard streams of a forked process buffers of their own."""
    for stream in (sys.stdout, sys.stderr):
        if type(stream) is not io.TextIOWrapper:
            continue
        old = stream.buffer
        if type(old) is not io.BufferedWriter or type(old.raw) is not io.FileIO:
            continue
        try:
            descriptor = old.raw.fileno()
            os.fstat(descriptor)
        except (OSError, ValueError):
            continue
        _kept.append(old)
        # The stream stays the object that everybody refers to.
        stream.__init__(  # type: ignore[misc]
            open(descriptor, "wb", closefd=False),
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
