"""The contexts: the standard library's, with what Phalanx does better replaced.

Each start method has its class here as in ``multiprocessing.context``, derived
from the class there. What is not replaced (``Process`` apart from what travels
with it, ``Pipe``, ``Manager``, ``Value``, ``Array``, ...) is inherited, so it is
that of whichever Python runs. One choice of the start method holds for both
modules: ``multiprocessing.set_start_method`` and the one of this module set
the same thing.

A process object that is pickled for a spawned child takes the family's arena
with it (see ``phalanx._workers``); a forked child inherits the arena.
"""

from __future__ import annotations

from multiprocessing import context as _std
from multiprocessing import process as _process
from multiprocessing import reduction
from multiprocessing.context import (
    AuthenticationError,
    BaseContext,
    BufferTooShort,
    ProcessError,
    TimeoutError,
    assert_spawning,
    get_spawning_popen,
    set_spawning_popen,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from . import pool, queues, synchronize

__all__ = [
    "AuthenticationError",
    "BaseContext",
    "BufferTooShort",
    "DefaultContext",
    "ForkContext",
    "ForkProcess",
    "ForkServerContext",
    "ForkServerProcess",
    "Process",
    "ProcessError",
    "SpawnContext",
    "SpawnProcess",
    "TimeoutError",
    "assert_spawning",
    "get_spawning_popen",
    "reduction",
    "set_spawning_popen",
]

# Processes


class _FamilyProcess(_process.BaseProcess):
    """What the process classes of all start methods share."""

    #: Whether this is a worker of a pool. Such a process gets its functions by
    #: value where it must, so it does without the main module when importing that
    #: would start the whole script again.
    _is_pool_worker = False

    #: What to do when the program itself ends this process by its object.
    _when_ended_by_hand: Callable[[], object] | None = None

    def terminate(self) -> None:
        """End the process by SIGTERM."""
        super().terminate()
        if self._when_ended_by_hand is not None:
            self._when_ended_by_hand()

    def kill(self) -> None:
        """End the process by SIGKILL."""
        super().kill()
        if self._when_ended_by_hand is not None:
            self._when_ended_by_hand()

    def __reduce_ex__(self, protocol: Any) -> Any:
        reduced = super().__reduce_ex__(protocol)
        if get_spawning_popen() is None or isinstance(reduced, str):
            return reduced
        from ._passage import Passage, arrive

        # The passage is unpickled before what follows it, which may need the arena.
        return (arrive, (Passage(), *reduced[:2]), *reduced[2:])

    def join(self, timeout: float | None = None) -> None:
        """Wait until the process ends, at most `timeout` seconds."""
        super().join(timeout)
        popen: Any = getattr(self, "_popen", None)
        if popen is not None and popen.returncode is not None:
            import phalanx._workers as _workers

            # Shared memory that only this process used is free from now on.
            _workers.family_sweep(popen.pid)


class Process(_FamilyProcess, _std.Process):
    """A process of the start method that is chosen when it starts."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        return _default_context.get_context().Process._Popen(process_obj)


class ForkProcess(_FamilyProcess, _std.ForkProcess):
    """A forked process."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        from ._passage import ForkPopen

        return ForkPopen(process_obj)


class SpawnProcess(_FamilyProcess, _std.SpawnProcess):
    """A process in a fresh interpreter."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        from ._popen import SpawnPopen

        return SpawnPopen(process_obj)


class ForkServerProcess(_FamilyProcess, _std.ForkServerProcess):
    """A process forked by the fork server."""

    @staticmethod
    def _Popen(process_obj: Any) -> Any:
        from ._popen_forkserver import ForkServerPopen

        return ForkServerPopen(process_obj)


# Contexts


class _Replacements(BaseContext):
    """The methods that are not the standard library's."""

    def Lock(self) -> synchronize.Lock:
        """Return a non-recursive lock that knows its owner."""
        from .synchronize import Lock

        return Lock(ctx=self.get_context())

    def RLock(self) -> synchronize.RLock:
        """Return a recursive lock that knows its owner."""
        from .synchronize import RLock

        return RLock(ctx=self.get_context())

    def Condition(self, lock: Any = None) -> synchronize.Condition:
        """Return a condition variable."""
        from .synchronize import Condition

        return Condition(lock, ctx=self.get_context())

    def Semaphore(self, value: int = 1) -> synchronize.Semaphore:
        """Return a semaphore."""
        from .synchronize import Semaphore

        return Semaphore(value, ctx=self.get_context())

    def BoundedSemaphore(self, value: int = 1) -> synchronize.BoundedSemaphore:
        """Return a semaphore that refuses to be released above its first value."""
        from .synchronize import BoundedSemaphore

        return BoundedSemaphore(value, ctx=self.get_context())

    def Event(self) -> synchronize.Event:
        """Return an event."""
        from .synchronize import Event

        return Event(ctx=self.get_context())

    def Barrier(
        self,
        parties: int,
        action: Callable[[], object] | None = None,
        timeout: float | None = None,
    ) -> synchronize.Barrier:
        """Return a barrier for a number of processes."""
        from .synchronize import Barrier

        return Barrier(parties, action, timeout, ctx=self.get_context())

    def Queue(self, maxsize: int = 0) -> queues.Queue[Any]:
        """Return a queue in shared memory."""
        from .queues import Queue

        return Queue(maxsize, ctx=self.get_context())

    def JoinableQueue(self, maxsize: int = 0) -> queues.JoinableQueue[Any]:
        """Return a queue that counts the items that were taken but not yet done."""
        from .queues import JoinableQueue

        return JoinableQueue(maxsize, ctx=self.get_context())

    def SimpleQueue(self) -> queues.SimpleQueue[Any]:
        """Return an unbounded queue with few methods."""
        from .queues import SimpleQueue

        return SimpleQueue(ctx=self.get_context())

    def Pool(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        *,
        retries: int | None = None,
        timeout: float | None = None,
        memory_limit: int | str | None = None,
        progress: bool | None = None,
        threads_per_worker: int | None = None,
        pin: bool | None = None,
    ) -> pool.Pool:
        """Return a pool of workers; see ``phalanx.multiprocessing.pool.Pool``."""
        from .pool import Pool

        return Pool(
            processes,
            initializer,
            initargs,
            maxtasksperchild,
            context=self.get_context(),
            retries=retries,
            timeout=timeout,
            memory_limit=memory_limit,
            progress=progress,
            threads_per_worker=threads_per_worker,
            pin=pin,
        )

    def get_context(self, method: str | None = None) -> Any:
        """Return the context of a start method, without one the context in use."""
        return _ours(super().get_context(method))


class ForkContext(_Replacements, _std.ForkContext):
    """The context of the start method ``fork``."""

    Process = ForkProcess


class SpawnContext(_Replacements, _std.SpawnContext):
    """The context of the start method ``spawn``."""

    Process = SpawnProcess


class ForkServerContext(_Replacements, _std.ForkServerContext):
    """The context of the start method ``forkserver``."""

    Process = ForkServerProcess


class DefaultContext(_Replacements, _std.DefaultContext):
    """The context that takes the start method when it is first needed.

    It has no choice of its own: what is chosen is kept by the default context of
    the standard library, where ``multiprocessing`` and a spawned child look.
    """

    Process = Process

    def __init__(self) -> None:
        pass

    @property
    def _default_context(self) -> Any:
        return _ours(_state._default_context)

    @property
    def _actual_context(self) -> Any:
        return _ours(_state._actual_context)

    @_actual_context.setter
    def _actual_context(self, context: Any) -> None:
        # The standard module goes on with its own contexts: its `Pool`, for one,
        # needs its own queues.
        if isinstance(context, _Replacements):
            context = _state.get_context(context.get_start_method())
        _state._actual_context = context


_state: Any = _std._default_context

_concrete_contexts: dict[str, Any] = {
    "fork": ForkContext(),
    "spawn": SpawnContext(),
    "forkserver": ForkServerContext(),
}
_default_context = DefaultContext()


def _ours(context: Any) -> Any:
    """Return the context of this module in place of one of the standard library."""
    if context is None or isinstance(context, _Replacements):
        return context
    return _concrete_contexts.get(getattr(context, "_name", ""), context)
