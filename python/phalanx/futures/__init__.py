"""`concurrent.futures.ProcessPoolExecutor` on the workers of Phalanx.

A worker that is lost costs its own future, which ends with `WorkerLostError` (a
`BrokenProcessPool`); the executor and every other future go on. Importing this module
also gives joblib the backend ``"phalanx"``.
"""

import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
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
    process,
    wait,
)
from concurrent.futures.process import BrokenProcessPool
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .. import _joblib, _workers
from .. import multiprocessing as mp
from ..multiprocessing._maintenance import CLOSE, RUN, TERMINATE, Crew, our_context
from ..multiprocessing._options import MOST, Settings
from ..multiprocessing._placement import Placement, usable_cpus
from ..multiprocessing._worker import Initializer
from ..multiprocessing.errors import (
    InitializerError,
    MaybeEncodingError,
    RemoteTraceback,
    WorkerLostError,
)

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

    from .._mpi_futures import (
        MPICommExecutor,
        MPIPoolExecutor,
        collect,
        compose,
        get_comm_workers,
    )

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "BrokenExecutor",
    "BrokenProcessPool",
    "CancelledError",
    "Executor",
    "Future",
    "InitializerError",
    "InvalidStateError",
    "MPICommExecutor",
    "MPIPoolExecutor",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
    "TimeoutError",
    "WorkerLostError",
    "as_completed",
    "collect",
    "compose",
    "get_comm_workers",
    "wait",
]

_WAITING = ("PENDING", "RUNNING")
# Loaded when they are asked for; MPI itself, with the first executor that needs it.
_OF_MPI = (
    "MPICommExecutor",
    "MPIPoolExecutor",
    "collect",
    "compose",
    "get_comm_workers",
)


def __getattr__(name: str) -> Any:
    # Not wanted by most programs, and another import.
    if name == "ThreadPoolExecutor":
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor
    if name in _OF_MPI:
        from .. import _mpi_futures

        return getattr(_mpi_futures, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class PoolFuture(Future[Any]):
    """A call that a worker does, or did."""

    _is_quick = True

    def __init__(self, job: "_workers.Job", crew: Crew) -> None:
        super().__init__()
        self._job = job
        self._crew: Crew | None = crew
        self._cancelling = False

    def running(self) -> bool:
        """Return whether a worker is doing the call now."""
        self._look()
        return super().running()

    def cancel(self) -> bool:
        """Cancel the call; return whether it was possible.

        It is until a worker has taken it.
        """
        if self.cancelled():
            return True
        if self.done():
            return False
        # Another thread may see the end of the job before this one does.
        self._cancelling = True
        if not self._job.cancel():
            self._cancelling = False
            return False
        self._take_back()
        return True

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the result and return it, or raise the exception of the call."""
        timeout = self._await(timeout)
        return super().result(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait for the end of the call and return its exception, or `None`."""
        timeout = self._await(timeout)
        return super().exception(timeout)

    def _await(self, timeout: float | None) -> float | None:
        """Wait for the job in this thread, which spares the way through another."""
        if self._state not in _WAITING:
            return timeout
        if not self._job.wait(timeout):
            return 0
        self._settle()
        return timeout

    def _look(self) -> None:
        """Note that the call runs, if it does."""
        if self._state == "PENDING" and self._job.running():
            with self._condition:
                if self._state == "PENDING":
                    self._state = "RUNNING"

    def _take_back(self) -> None:
        super().cancel()
        with self._condition:
            if self._state == "CANCELLED":
                self.set_running_or_notify_cancel()

    def _settle(self) -> None:
        """Take over how the job ended."""
        try:
            try:
                value = self._job.get(0)
            except KeyboardInterrupt:
                raise  # For this thread: one in a worker is not called so.
            except BaseException as error:
                if self._cancelling and isinstance(error, CancelledError):
                    self._take_back()
                else:
                    self.set_exception(_as_futures_do(error))
            else:
                self.set_result(value)
        except InvalidStateError:
            pass  # Cancelled, or settled by another thread.

    def _invoke_callbacks(self) -> None:
        # Not in the thread that settled it, which may be the one that replaces workers.
        crew, self._crew = self._crew, None
        if self._done_callbacks and crew is not None:  # type: ignore[attr-defined]
            crew.call_later(super()._invoke_callbacks)  # type: ignore[misc]

    # What a crew calls when the job has ended, and when it never will.

    _call_back = _settle

    def _abandon(self) -> None:
        if self._job.ready():
            self._settle()
        elif not self.cancel():
            try:
                self.set_exception(
                    BrokenProcessPool("the executor was terminated during this call")
                )
            except InvalidStateError:
                pass


def _as_futures_do(error: BaseException) -> BaseException:
    """Give an exception of a worker the cause that `concurrent.futures` gives it."""
    cause = error.__cause__
    said = getattr(error, "_exit", None)
    if isinstance(error, WorkerLostError) and said is not None:
        return SystemExit(int(said) if said.lstrip("-").isdecimal() else said or None)
    if isinstance(error, MaybeEncodingError):
        error = getattr(error, "_problem", error)
    if type(error) is mp.ProcessError and cause is None:
        return BrokenProcessPool(str(error))  # The workers were terminated.
    if isinstance(cause, RemoteTraceback):
        error.__cause__ = process._RemoteTraceback(cause.tb)
    return error.with_traceback(None)


class ProcessPoolExecutor(process.ProcessPoolExecutor):
    """An executor on worker processes.

    Parameters
    ----------
    max_workers : int, optional
        The number of workers; by default one per CPU that this process may use.
    mp_context : optional
        Starts the processes; by default the context in use.
    initializer, initargs
        Called in each worker when it starts.
    max_tasks_per_child : int, optional
        Replace a worker after so many calls.
    retries, timeout, memory_limit, threads_per_worker, pin
        As in `phalanx.multiprocessing.pool.Pool`.

    Forked workers start with the first call, all at once; others, which take longer,
    when there are more calls than workers.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        mp_context: Any = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        *,
        max_tasks_per_child: int | None = None,
        retries: int | None = None,
        timeout: float | None = None,
        memory_limit: int | str | None = None,
        threads_per_worker: int | None = None,
        pin: bool | None = None,
    ) -> None:
        if max_workers is not None and max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        if mp_context is None:
            method = None if max_tasks_per_child is None else "spawn"
            mp_context = mp.get_context(method)
        self._mp_context: Any = our_context(mp_context)
        forks = self._mp_context.get_start_method() == "fork"
        if max_tasks_per_child is not None:
            if not isinstance(max_tasks_per_child, int):
                raise TypeError("max_tasks_per_child must be an integer")
            if max_tasks_per_child <= 0:
                raise ValueError("max_tasks_per_child must be >= 1")
            if forks:
                raise ValueError(
                    "max_tasks_per_child is incompatible with the 'fork' "
                    "multiprocessing start method; supply a different mp_context."
                )
        settings = Settings(
            processes=max_workers,
            retries=retries,
            timeout=timeout,
            memory_limit=memory_limit,
            threads_per_worker=threads_per_worker,
            pin=pin,
        )
        self._max_workers = settings.processes or usable_cpus()
        self._settings = settings
        self._at_once = forks
        self._pid = os.getpid()
        self._shutdown_lock = threading.Lock()
        self._shutdown_thread = False
        self._supervisor = _workers.Supervisor(
            self._max_workers,
            timeout=settings.timeout,
            retries=settings.retries,
            memory_limit=settings.memory_limit,
            maxtasksperchild=max_tasks_per_child,
        )
        crew = Crew(
            self._supervisor,
            self._mp_context.Process,
            self._max_workers,
            Initializer(initializer, initargs, logs=True),
            Placement.choose(settings.pin, settings.threads_per_worker),
            daemon=False,
            ends_by_hand=True,
        )
        self._crew = crew
        _crews[crew] = None
        # A forgotten executor finishes what it has to do, then its workers end.
        weakref.finalize(self, _close, crew).atexit = False

    @property
    def _broken(self) -> bool:  # type: ignore[override]
        return self._supervisor.is_broken() or (
            self._crew.state == TERMINATE and not self._shutdown_thread
        )

    @property
    def _processes(self) -> dict[int, Any]:  # type: ignore[override]
        return {process.pid: process for process in list(self._crew.workers)}

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Have a worker do `fn(*args, **kwargs)`; return the future of the result."""
        self._prepare(1)
        job = self._ask(
            lambda: self._supervisor.apply(fn, args, kwargs, callbacks=True)
        )
        future = PoolFuture(job, self._crew)
        self._crew.expect(job, future)
        return future

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int | None = None,
        buffersize: int | None = None,
    ) -> Iterator[Any]:
        """Return an iterator over `fn(*items)`, like the built-in `map`.

        The calls start at once. `chunksize` is how many items a worker takes at once;
        without it, it follows from the time that the calls take. `buffersize` is how
        many calls there may be whose results were not taken yet; without it, the
        iterables are read to their end first.

        Raises `TimeoutError` when a result is taken later than `timeout` seconds from
        this call.
        """
        if chunksize is not None and chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if buffersize is not None and not isinstance(buffersize, int):
            raise TypeError("buffersize must be an integer or None")
        if buffersize is not None and buffersize < 1:
            raise ValueError("buffersize must be None or > 0")
        chunksize = min(chunksize or self._settings.chunksize or 0, MOST) or None
        buffersize = min(buffersize or 0, MOST) or None
        end = None if timeout is None else time.monotonic() + timeout
        items: Iterable[tuple[Any, ...]] = zip(*iterables, strict=False)
        if buffersize is None:
            items = list(items)
        self._prepare(len(items) if isinstance(items, list) else self._max_workers)
        job = self._ask(
            lambda: self._supervisor.map(
                fn,
                items,
                star=True,
                chunksize=chunksize,
                mode="ordered",
                callbacks=False,
                buffersize=buffersize,
            )
        )
        return self._results(job, end)

    def _results(self, job: "_workers.Job", end: float | None) -> Iterator[Any]:
        try:
            while True:
                left = None if end is None else max(0.0, end - time.monotonic())
                try:
                    # In a list: while the caller has it, nothing is kept of it here.
                    values = [job.next(left)]
                except StopIteration:
                    return
                except mp.TimeoutError:
                    if end is not None and time.monotonic() >= end:
                        raise TimeoutError from None
                    raise
                except BaseException as error:
                    raise _as_futures_do(error) from error.__cause__
                yield values.pop()
        finally:
            job.cancel()

    def _prepare(self, calls: int) -> None:
        """Be sure that calls are taken, and that there are workers for so many more."""
        # Before the lock is taken: another thread may have had it during the fork.
        if self._pid != os.getpid():
            raise RuntimeError(
                f"this executor belongs to process {self._pid}, and this is process "
                f"{os.getpid()}, forked from it; make an executor here"
            )

        with self._shutdown_lock:
            self._check_open()
            self._start_workers(calls)

    def _ask(self, ask: "Callable[[], _workers.Job]") -> "_workers.Job":
        """Ask the supervisor for something; without a lock, as it runs user code.

        That is pickling, and the iterables of `map`, which may use this executor.
        """
        try:
            return ask()
        except ValueError:
            self._check_open()  # It was shut down meanwhile.
            raise

    def _check_open(self) -> None:
        if self._shutdown_thread:
            raise RuntimeError("cannot schedule new futures after shutdown")
        if _exiting:
            raise RuntimeError("cannot schedule new futures after interpreter shutdown")
        if self._supervisor.is_broken():
            raise InitializerError(
                "the executor has given up: its initializer failed in every worker"
            )
        if self._crew.state == TERMINATE:
            raise BrokenProcessPool(
                "the program has ended a worker of this executor, which ended all"
            )

    def _start_workers(self, calls: int) -> None:
        """Start workers for so many more calls, before these can be refused."""
        crew = self._crew
        if len(crew.workers) >= self._max_workers:
            return
        wanted = self._max_workers
        if not self._at_once:
            # Calls that have ended may still be waiting to be noted as such.
            before = 0 if self._supervisor.is_idle() else crew.pending()
            wanted = min(wanted, before + calls)
        try:
            crew.fill(wanted)
        except OSError:
            # The system has no room for more: those that are there do it all.
            if not crew.workers:
                raise
        crew.watch()

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; the workers end when all are done.

        With `wait`, return when they have ended; with `cancel_futures`, cancel the
        calls that no worker has taken yet.
        """
        if self._pid != os.getpid():
            return
        with self._shutdown_lock:
            self._shutdown_thread = True
        if cancel_futures:
            for future in self._crew.expected():
                if isinstance(future, PoolFuture):
                    future.cancel()
        _close(self._crew)
        if wait:
            self._crew.join()
            self._crew.forget_workers()

    def terminate_workers(self) -> None:
        """End the workers now; what is not done is cancelled or fails.

        They get SIGTERM, and SIGKILL when they have not ended within a second.
        """
        self._end_workers(kill=False)

    def kill_workers(self) -> None:
        """End the workers by SIGKILL; what is not done is cancelled or fails."""
        self._end_workers(kill=True)

    def _end_workers(self, *, kill: bool) -> None:
        if self._pid != os.getpid():
            return
        with self._shutdown_lock:
            self._shutdown_thread = True
        self._crew.terminate(kill=kill)

    def is_usable(self) -> bool:
        """Return whether calls can be submitted."""
        return not (self._shutdown_thread or _exiting) and self._pid == os.getpid()

    def stats(self) -> dict[str, Any]:
        """Return what the executor has done so far; see ``docs/pools.md``."""
        return self._supervisor.stats()

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        if exc_type is not None and issubclass(exc_type, KeyboardInterrupt):
            self.terminate_workers()
            return None
        return super().__exit__(exc_type, exc_val, exc_tb)


# The end of the interpreter

_crews: "weakref.WeakKeyDictionary[Crew, None]" = weakref.WeakKeyDictionary()
_exiting = False


def _close(crew: Crew) -> None:
    if crew.pid == os.getpid():
        crew.close()
        if crew.thread.ident is None:
            crew.supervisor.terminate()  # Never used.


def _finish() -> None:
    """Finish all calls before the interpreter ends, as `concurrent.futures` does."""
    global _exiting
    _exiting = True
    mine = [crew for crew in list(_crews) if crew.pid == os.getpid()]
    # In an interactive session it may be long ago.
    interactive = hasattr(sys, "ps1")
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for crew in mine:
        if interrupted and not interactive:
            crew.terminate()
        elif crew.state in (RUN, CLOSE):
            _close(crew)
    for crew in mine:
        crew.join()


threading._register_atexit(_finish)  # type: ignore[attr-defined]
_joblib.register_when_imported()
