"""The interface of `multiprocessing.pool` on the executors of `mpi4py.futures`."""

import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError, Executor, Future
from typing import Any, Generic, Self, TypeVar

from phalanx._mpi_futures import (
    MPIPoolExecutor,
    ThreadPoolExecutor,
    collect,
    compose,
)

__all__ = ["ApplyResult", "AsyncResult", "MapResult", "Pool", "ThreadPool"]

S = TypeVar("S")
T = TypeVar("T")

# Tasks that a worker gets of a `map` without a chunk size, as in the standard module.
_CHUNKS_PER_WORKER = 4


class Pool:
    """Workers that are MPI processes.

    Parameters
    ----------
    processes : int, optional
        How many workers there are.
    initializer : callable, optional
        What each worker calls first, with `initargs`.
    kwargs
        Options of `mpi4py.futures.MPIPoolExecutor`.
    """

    Executor = MPIPoolExecutor

    def __init__(
        self,
        processes: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        for name in ("maxtasksperchild", "context"):
            if kwargs.pop(name, None) is not None:
                warnings.warn(
                    f"{name} has no effect: workers are MPI processes", stacklevel=2
                )
        self.executor: Executor = self.Executor(
            processes, initializer=initializer, initargs=tuple(initargs), **kwargs
        )

    def apply(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
    ) -> T:
        """Call a function in a worker; return its result."""
        return self.apply_async(func, args, kwds).get()

    def apply_async(
        self,
        func: Callable[..., T],
        args: Iterable[Any] = (),
        kwds: Mapping[str, Any] = {},
        callback: Callable[[T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> "ApplyResult[T]":
        """Have a worker call a function; return where its result will be."""
        future = self.executor.submit(func, *args, **kwds)
        return ApplyResult(future, callback, error_callback)

    def map(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = None,
    ) -> list[T]:
        """Call a function for each item; return the results in order."""
        return self.map_async(func, iterable, chunksize).get()

    def map_async(
        self,
        func: Callable[[S], T],
        iterable: Iterable[S],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> "MapResult[T]":
        """As `map`, without waiting for the results."""
        whole = self._begin(_map_chunk, func, iterable, chunksize)
        return MapResult(whole, callback, error_callback)

    def imap(
        self, func: Callable[[S], T], iterable: Iterable[S], chunksize: int = 1
    ) -> Iterator[T]:
        """As `map`; the results come one by one."""
        return self.executor.map(func, iterable, chunksize=chunksize)

    def imap_unordered(
        self, func: Callable[[S], T], iterable: Iterable[S], chunksize: int = 1
    ) -> Iterator[T]:
        """As `imap`; each result comes when it is there."""
        more: dict[str, Any] = {"unordered": True}
        return self.executor.map(func, iterable, chunksize=chunksize, **more)

    def starmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
    ) -> list[T]:
        """As `map`; each item is a tuple of arguments."""
        return self.starmap_async(func, iterable, chunksize).get()

    def starmap_async(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int | None = None,
        callback: Callable[[list[T]], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> "MapResult[T]":
        """As `map_async`; each item is a tuple of arguments."""
        whole = self._begin(_starmap_chunk, func, iterable, chunksize)
        return MapResult(whole, callback, error_callback)

    def istarmap(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int = 1,
    ) -> Iterator[T]:
        """As `imap`; each item is a tuple of arguments."""
        executor: Any = self.executor
        found: Iterator[T] = executor.starmap(func, iterable, chunksize=chunksize)
        return found

    def istarmap_unordered(
        self,
        func: Callable[..., T],
        iterable: Iterable[Iterable[Any]],
        chunksize: int = 1,
    ) -> Iterator[T]:
        """As `imap_unordered`; each item is a tuple of arguments."""
        executor: Any = self.executor
        found: Iterator[T] = executor.starmap(
            func, iterable, chunksize=chunksize, unordered=True
        )
        return found

    def close(self) -> None:
        """Take no more tasks; those that were given are done."""
        self.executor.shutdown(wait=False)

    def terminate(self) -> None:
        """Take no more tasks, and do none that has not begun."""
        self.executor.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait until the workers have ended."""
        self.executor.shutdown(wait=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def _begin(
        self,
        call: Callable[[Callable[..., T], list[Any]], list[T]],
        func: Callable[..., T],
        iterable: Iterable[Any],
        chunksize: int | None,
    ) -> "Future[list[T]]":
        """Submit the items in chunks; return a future of all results."""
        items = list(iterable)
        if chunksize is None:
            chunksize = self._chunksize(len(items))
        chunks = [items[n : n + chunksize] for n in range(0, len(items), chunksize)]
        asked = [self.executor.submit(call, func, chunk) for chunk in chunks]
        return compose(collect(asked), _joined)

    def _chunksize(self, items: int) -> int:
        if items == 0:
            return 1
        # Executors of the standard library have the number under the other name.
        known = (
            getattr(self.executor, name, None)
            for name in ("num_workers", "_max_workers")
        )
        workers = next((number for number in known if number), 1)
        return -(-items // (workers * _CHUNKS_PER_WORKER))


class ThreadPool(Pool):
    """Workers that are threads of this process."""

    Executor = ThreadPoolExecutor


class AsyncResult(Generic[T]):
    """Where the result of a task will be.

    Attributes
    ----------
    future : Future
        The future of the executor.
    """

    def __init__(
        self,
        future: "Future[T]",
        callback: Callable[[T], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
    ) -> None:
        self.future = future
        self._callback = callback
        self._error_callback = error_callback
        # Who waits finds that the callbacks have been called, unlike with a future.
        self._over = threading.Event()
        future.add_done_callback(self._done)

    def get(self, timeout: float | None = None) -> T:
        """Return the result when it is there, or raise what the task raised.

        Raises `TimeoutError` after `timeout` seconds, and for a task that was
        never done because the pool was terminated.
        """
        self.wait(timeout)
        if not self._over.is_set():
            raise TimeoutError
        try:
            return self.future.result()
        except CancelledError:
            raise TimeoutError("the pool was terminated before this task") from None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the task is done, at most `timeout` seconds."""
        self._over.wait(timeout)

    def ready(self) -> bool:
        """Return whether the task is done."""
        return self._over.is_set()

    def successful(self) -> bool:
        """Return whether the task has a result; `ValueError` if it is not done."""
        if not self.ready():
            raise ValueError(f"{self!r} is not ready")
        return not self.future.cancelled() and self.future.exception() is None

    def _done(self, future: "Future[T]") -> None:
        try:
            if future.cancelled():
                return
            error = future.exception()
            if error is None:
                if self._callback is not None:
                    self._callback(future.result())
            elif self._error_callback is not None:
                self._error_callback(error)
        finally:
            self._callback = self._error_callback = None
            self._over.set()


class ApplyResult(AsyncResult[T]):
    """Where the result of one call will be."""


class MapResult(AsyncResult[list[T]]):
    """Where the results of all items will be."""


def _joined(parts: list[list[T]]) -> list[T]:
    return [one for part in parts for one in part]


def _map_chunk(func: Callable[[Any], T], items: list[Any]) -> list[T]:
    return [func(item) for item in items]


def _starmap_chunk(func: Callable[..., T], items: list[Any]) -> list[T]:
    return [func(*item) for item in items]
