"""Pools of worker processes that lose no task and never wait for a dead worker.

``Pool`` is a subclass of ``multiprocessing.pool.Pool`` with its methods and with more
options (see ``docs/pools.md``). ``ThreadPool`` is the standard library's.
"""

from __future__ import annotations

import os
import warnings
from multiprocessing import pool as _std
from multiprocessing import util
from multiprocessing.pool import CLOSE, INIT, RUN, TERMINATE, ThreadPool

import phalanx._workers as _workers

from . import get_context
from ._insides import TaskQueue, is_about_insides
from ._maintenance import Crew, our_context
from ._options import MOST, Settings
from ._placement import Placement, usable_cpus
from ._results import (
    ApplyResult,
    AsyncResult,
    IMapIterator,
    IMapUnorderedIterator,
    MapResult,
)
from ._worker import Initializer
from .context import TimeoutError
from .errors import MaybeEncodingError, RemoteTraceback

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any

    from ._progress import Display, Meter

    Callback = Callable[[Any], object]
    ErrorCallback = Callable[[BaseException], object]

__all__ = [
    "CLOSE",
    "INIT",
    "RUN",
    "TERMINATE",
    "ApplyResult",
    "AsyncResult",
    "IMapIterator",
    "IMapUnorderedIterator",
    "MapResult",
    "MaybeEncodingError",
    "Pool",
    "RemoteTraceback",
    "ThreadPool",
    "TimeoutError",
]


class Pool(_std.Pool):
    """A pool of worker processes.

    Parameters
    ----------
    processes : int, optional
        The number of workers; by default one per CPU that this process may use.
    initializer, initargs
        Called in each worker when it starts.
    maxtasksperchild : int, optional
        Replace a worker after so many tasks.
    context : optional
        Starts the processes; by default the context in use.
    retries : int, optional
        How many times a task is run again after its worker was lost or stopped (0).
    timeout : float, optional
        Seconds that one task may take; then its worker is replaced.
    memory_limit : int or str, optional
        Bytes that one worker may use, ``"2GiB"`` for example.
    progress : bool, optional
        Show how far each `map`, `starmap`, `imap` and `imap_unordered` is.
    threads_per_worker : int, optional
        Threads that numerical libraries use in each worker.
    pin : bool, optional
        Keep each worker on one CPU.

    Options that are not given are taken from environment variables, which
    ``docs/generated/options.md`` lists.
    """

    _state = INIT  # Also when an argument is refused.

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if is_about_insides(vars(cls)):
            # Through the door it got this class for the standard one. Not by the
            # module's attribute, which the door replaces.
            standard = vars(_std)["Pool"]
            bases = (standard if base is Pool else base for base in cls.__bases__)
            cls.__bases__ = tuple(bases)

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        maxtasksperchild: int | None = None,
        context: Any = None,
        *,
        retries: int | None = None,
        timeout: float | None = None,
        memory_limit: int | str | None = None,
        progress: bool | None = None,
        threads_per_worker: int | None = None,
        pin: bool | None = None,
    ) -> None:
        self._pool: list[Any] = []
        self._state = INIT
        self._ctx = our_context(context) if context else get_context()
        if processes is not None and processes < 1:
            raise ValueError("Number of processes must be at least 1")
        if maxtasksperchild is not None and (
            not isinstance(maxtasksperchild, int) or maxtasksperchild <= 0
        ):
            raise ValueError("maxtasksperchild must be a positive int or None")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        settings = Settings(
            processes=processes,
            retries=retries,
            timeout=timeout,
            memory_limit=memory_limit,
            progress=progress,
            threads_per_worker=threads_per_worker,
            pin=pin,
        )
        self._maxtasksperchild = maxtasksperchild
        self._initializer = initializer
        self._initargs = initargs
        self._processes: int = settings.processes or usable_cpus()
        self._settings = settings
        self._meter: Meter | None = None
        self._pid = os.getpid()
        self._cache: dict[int, Any] = {}

        self._supervisor = _workers.Supervisor(
            self._processes,
            timeout=settings.timeout,
            retries=settings.retries,
            memory_limit=settings.memory_limit,
            maxtasksperchild=maxtasksperchild,
        )
        # `Process` may be replaced in a subclass, as a static method or a plain one.
        make, context = self.Process, self._ctx
        self._crew = Crew(
            self._supervisor,
            lambda **options: make(context, **options),
            self._processes,
            Initializer(initializer, initargs),
            Placement.choose(settings.pin, settings.threads_per_worker),
            daemon=True,
        )
        self._pool = self._crew.workers
        # Before anything runs: an interrupt may come at any time.
        self._terminate = util.Finalize(self, self._crew.terminate, exitpriority=15)
        self._crew.start()
        self._worker_handler = self._crew.thread
        self._state = RUN

    def __del__(
        self,
        _warn: Callable[..., None] = warnings.warn,
        RUN: str = RUN,
        _getpid: Callable[[], int] = os.getpid,
    ) -> None:
        if self._state == RUN and self._pid == _getpid():
            _warn(
                f"unclosed running multiprocessing pool {self!r}",
                ResourceWarning,
                source=self,
            )

    # Calls

    def apply(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
    ) -> Any:
        """Return `func(*args, **kwds)`, done by a worker."""
        self._check_running()
        return self._supervisor.apply(func, args, kwds, callbacks=False).get(None)

    def apply_async(
        self,
        func: Callable[..., Any],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callback | None = None,
        error_callback: ErrorCallback | None = None,
    ) -> ApplyResult:
        """Have a worker do `func(*args, **kwds)`; return an `ApplyResult`.

        `callback` is called with the result, or `error_callback` with the exception,
        in a thread of this process.
        """
        self._check_running()
        calls = callback is not None or error_callback is not None
        job = self._supervisor.apply(func, args, kwds, callbacks=calls)
        result = ApplyResult(self, job, callback, error_callback)
        if calls:
            self._crew.expect(job, result)
        return result

    def map(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
    ) -> list[Any]:
        """Return the list of `func(item)` for each item.

        `chunksize` is how many items a worker takes at once; without it, it follows
        from the time that the items take.
        """
        return self._map(func, iterable, False, chunksize, None, None).get()  # type: ignore[no-any-return]

    def map_async(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: ErrorCallback | None = None,
    ) -> MapResult:
        """Like `map`, but return a `MapResult` at once."""
        return self._map(func, iterable, False, chunksize, callback, error_callback)

    def starmap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[Any]:
        """Return the list of `func(*item)` for each item."""
        return self._map(func, iterable, True, chunksize, None, None).get()  # type: ignore[no-any-return]

    def starmap_async(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callback | None = None,
        error_callback: ErrorCallback | None = None,
    ) -> MapResult:
        """Like `starmap`, but return a `MapResult` at once."""
        return self._map(func, iterable, True, chunksize, callback, error_callback)

    def imap(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
    ) -> IMapIterator:
        """Return an iterator over `func(item)` for each item, in order.

        At most `buffersize` items are taken from `iterable` before their results are
        taken from the iterator; without it, so many as keep the workers busy (four
        chunks for each). So `iterable` may be endless, and what is slow to use
        results does not pile them up.
        """
        job = self._imap(func, iterable, "ordered", chunksize, buffersize)
        return IMapIterator(self, job, self._display(job, func))

    def imap_unordered(
        self,
        func: Callable[[Any], Any],
        iterable: Iterable[Any],
        chunksize: int | None = None,
        *,
        buffersize: int | None = None,
    ) -> IMapUnorderedIterator:
        """Like `imap`, but each result as soon as it is there."""
        job = self._imap(func, iterable, "unordered", chunksize, buffersize)
        return IMapUnorderedIterator(self, job, self._display(job, func))

    def _map(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        star: bool,
        chunksize: int | None,
        callback: Callback | None,
        error_callback: ErrorCallback | None,
    ) -> MapResult:
        self._check_running()
        calls = callback is not None or error_callback is not None
        job = self._supervisor.map(
            func,
            iterable,
            star=star,
            chunksize=self._chunksize(chunksize),
            mode="list",
            callbacks=calls,
        )
        display = self._display(job, func)
        result = MapResult(self, job, callback, error_callback, display)
        if calls:
            self._crew.expect(job, result)
        return result

    def _imap(
        self,
        func: Callable[..., Any],
        iterable: Iterable[Any],
        mode: str,
        chunksize: int | None,
        buffersize: int | None,
    ) -> _workers.Job:
        self._check_running()
        if buffersize is None:
            buffersize = self._settings.buffersize
        elif buffersize < 1:
            raise ValueError(f"buffersize must be 1+, not {buffersize:n}")
        else:
            buffersize = min(buffersize, MOST)
        return self._supervisor.map(
            func,
            iterable,
            star=False,
            chunksize=self._chunksize(chunksize),
            mode=mode,
            callbacks=False,
            buffersize=buffersize,
        )

    def _chunksize(self, chunksize: int | None) -> int | None:
        if chunksize is None:
            return self._settings.chunksize
        if chunksize < 1:
            raise ValueError(f"Chunksize must be 1+, not {chunksize:n}")
        return min(chunksize, MOST)

    def _display(self, job: _workers.Job, func: object) -> Display | None:
        if not self._settings.progress:
            return None
        if self._meter is None:
            from ._progress import Meter

            self._meter = Meter()
        return self._meter.follow(job, func)

    # The pool itself

    def stats(self) -> dict[str, Any]:
        """Return what the pool has done so far.

        That is the number of tasks, and for each worker its busy and idle time; see
        ``docs/pools.md``.
        """
        return self._supervisor.stats()

    def close(self) -> None:
        """Take no more tasks; the workers end when all are done."""
        util.debug("closing pool")
        if self._state == RUN:
            self._state = CLOSE
            self._crew.close()

    def terminate(self) -> None:
        """End the workers now; calls that wait for results raise."""
        util.debug("terminating pool")
        self._state = TERMINATE
        self._terminate()
        if self._meter is not None:
            self._meter.stop()

    def join(self) -> None:
        """Wait until all workers have ended, after `close` or `terminate`."""
        util.debug("joining pool")
        if self._state == RUN:
            raise ValueError("Pool is still running")
        if self._state not in (CLOSE, TERMINATE):
            raise ValueError("In unknown state")
        self._crew.join()
        if self._meter is not None:
            self._meter.stop()

    @property
    def _taskqueue(self) -> TaskQueue:
        return TaskQueue(self)

    def _check_running(self) -> None:
        if self._state != RUN:
            raise ValueError("Pool not running")
        if self._pid != os.getpid():
            raise RuntimeError(
                f"this pool belongs to process {self._pid}, and this is process "
                f"{os.getpid()}, forked from it; make a pool here, or pass work to "
                "the parent through a queue"
            )

    def _repopulate_pool(self) -> None:
        """Start workers in place of those that are missing."""
        self._crew.fill()
