"""Locks that know their owner, and what is built of them.

The classes derive from those of ``multiprocessing.synchronize`` and behave alike,
with these differences:

- When a process dies that holds a `Lock` or `RLock`, one of those that wait for it
  gets `OwnerDiedError`; the lock is free again. Nobody waits for a dead process.
- A process that is killed while it waits for a `Condition`, `Event` or `Barrier`
  disturbs nobody: it swallows no notification, and a barrier breaks.
- Objects may be pickled at any time: as arguments of processes and tasks, through
  queues and pipes, to any process that has the same ancestor.

They live in the family's shared memory and have no names, so nothing is left behind
and no resource tracker is needed.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from multiprocessing import synchronize as _std
from threading import BrokenBarrierError
from typing import Any

import phalanx._workers as _workers

__all__ = [
    "RECURSIVE_MUTEX",
    "SEMAPHORE",
    "SEM_VALUE_MAX",
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "RLock",
    "SemLock",
    "Semaphore",
]

RECURSIVE_MUTEX = 0
SEMAPHORE = 1
SEM_VALUE_MAX = 0x7FFF_FFFF


class SemLock(_std.SemLock):
    """The base of locks and semaphores."""

    _semlock: Any
    _is_fork_ctx = False

    def __init__(
        self,
        kind: int,
        value: int,
        maxvalue: int,
        *,
        ctx: Any = None,
        owned: bool = False,
    ) -> None:
        self._semlock = _workers.SemLock(kind, value, maxvalue, owned)
        self._make_methods()

    def _make_methods(self) -> None:
        self.acquire = self._semlock.acquire  # type: ignore[method-assign]
        self.release = self._semlock.release  # type: ignore[method-assign]

    def __enter__(self) -> bool:
        taken: bool = self.acquire()
        return taken

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self.release()

    def __getstate__(self) -> Any:
        return self._semlock

    def __setstate__(self, state: Any) -> None:
        self._semlock = state
        self._make_methods()


class Semaphore(SemLock, _std.Semaphore):
    """A counter that processes take units from and wait for them."""

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        SemLock.__init__(self, SEMAPHORE, value, SEM_VALUE_MAX, ctx=ctx)


class BoundedSemaphore(Semaphore, _std.BoundedSemaphore):
    """A semaphore that refuses to be released above its first value."""

    def __init__(self, value: int = 1, *, ctx: Any = None) -> None:
        SemLock.__init__(self, SEMAPHORE, value, value, ctx=ctx)


class Lock(SemLock, _std.Lock):
    """A lock that any process may release, and that outlives its owner."""

    def __init__(self, *, ctx: Any = None) -> None:
        SemLock.__init__(self, SEMAPHORE, 1, 1, ctx=ctx, owned=True)


class RLock(SemLock, _std.RLock):
    """A lock that its owning thread may take again, and that outlives its owner."""

    def __init__(self, *, ctx: Any = None) -> None:
        SemLock.__init__(self, RECURSIVE_MUTEX, 1, 1, ctx=ctx, owned=True)


class _Count:
    """A number of waiters, where the standard library has a semaphore."""

    def __init__(self, read: Callable[[], int]) -> None:
        self._get_value = self.get_value = read
        self._semlock = self


class Condition(_std.Condition):
    """A condition variable over a lock of this module."""

    _lock: Any
    _waiters: _workers.Waiters

    def __init__(self, lock: Any = None, *, ctx: Any = None) -> None:
        self._lock = lock or RLock(ctx=ctx)
        self._waiters = _workers.Waiters()
        self._make_methods()

    def _make_methods(self) -> None:
        self.acquire = self._lock.acquire  # type: ignore[method-assign]
        self.release = self._lock.release  # type: ignore[method-assign]

    def __getstate__(self) -> Any:
        return self._lock, self._waiters

    def __setstate__(self, state: Any) -> None:
        self._lock, self._waiters = state
        self._make_methods()

    @property
    def _sleeping_count(self) -> _Count:
        return _Count(lambda: self._waiters.counts()[0])

    @property
    def _woken_count(self) -> _Count:
        return _Count(lambda: 0)

    @property
    def _wait_semaphore(self) -> _Count:
        return _Count(lambda: self._waiters.counts()[1])

    def wait(self, timeout: float | None = None) -> bool:
        """Release the lock, wait to be notified, and take the lock again.

        Returns False when `timeout` seconds have passed before. The lock is held
        in any case, also when `OwnerDiedError` says that another process died
        with it meanwhile, or a signal handler has raised an exception. (Only one
        that raises a second time, while the lock is waited for, goes through.)
        """
        held = self._lock._semlock._is_mine()
        assert held, "must acquire() condition before using wait()"
        return self._waiters.wait(self._lock, timeout)

    def notify(self, n: int = 1) -> None:
        """Wake up to `n` waiting processes, those that wait longest."""
        assert self._lock._semlock._is_mine(), "lock is not owned"
        if n > 0:
            self._waiters.notify(min(n, sys.maxsize))

    def notify_all(self) -> None:
        """Wake all waiting processes."""
        self.notify(sys.maxsize)


class Event(_std.Event):
    """A flag that processes wait for."""

    _flag: Any

    def __init__(self, *, ctx: Any = None) -> None:
        self._flag = _workers.Flag()

    def is_set(self) -> bool:
        """Return whether the flag is set."""
        return bool(self._flag.is_set())

    def set(self) -> None:
        """Set the flag and wake everyone who waits for it."""
        self._flag.set()

    def clear(self) -> None:
        """Clear the flag."""
        self._flag.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until the flag is set; False when `timeout` seconds pass before."""
        return bool(self._flag.wait(timeout))


class Barrier(_std.Barrier):
    """A place where a number of processes wait for each other.

    It breaks, as by `abort`, when one of those that wait there dies. One that is
    called away from there by the exception of a signal handler is waited for again.
    """

    _parties: int
    _action: Callable[[], object] | None
    _timeout: float | None
    _gate: _workers.Gate

    def __init__(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
        *,
        ctx: Any = None,
    ) -> None:
        if parties < 1:
            raise ValueError(f"a barrier is for 1 process or more, not {parties}")
        self.__setstate__((parties, action, timeout, _workers.Gate(parties)))

    def __getstate__(self) -> Any:
        return self._parties, self._action, self._timeout, self._gate

    def __setstate__(self, state: Any) -> None:
        self._parties, self._action, self._timeout, self._gate = state

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the others; return the order of arrival, from 0.

        The last one runs the action before all go on. `BrokenBarrierError` when
        the barrier is broken, or breaks because the time is up or somebody dies.
        """
        seconds = self._timeout if timeout is None else timeout
        index = self._gate.wait(seconds, self._action)
        if index is None:
            raise BrokenBarrierError
        return index

    def reset(self) -> None:
        """Make the barrier as new; it breaks for those who wait there now."""
        self._gate.reset()

    def abort(self) -> None:
        """Break the barrier, until it is reset."""
        self._gate.abort()

    @property
    def n_waiting(self) -> int:
        """How many wait now."""
        return self._gate.n_waiting

    @property
    def broken(self) -> bool:
        """Whether the barrier is broken."""
        return self._gate.broken
