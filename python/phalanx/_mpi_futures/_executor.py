"""The executors."""

import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, as_completed
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any

from . import _core
from ._options import Options
from ._worker import comm_of_workers

if TYPE_CHECKING:
    from phalanx import MPI

__all__ = [
    "MPICommExecutor",
    "MPIPoolExecutor",
    "ProcessPoolExecutor",
    "ThreadPoolExecutor",
    "get_comm_workers",
]


class MPIPoolExecutor(Executor):
    """An executor on MPI processes, or on other ones where MPI has started nothing.

    Parameters
    ----------
    max_workers : int, optional
        How many workers are started; by default `MPI4PY_FUTURES_MAX_WORKERS`, the size
        of the universe less this process, or 1. Ranks of this job are there already.
    initializer, initargs
        Called in each worker before its first call. When it raises an exception, all
        calls fail with `BrokenExecutor`.
    python_exe, python_args, mpi_info
        The interpreter that is spawned, further options for it, and hints for MPI.
    globals, main
        Names to begin the main module of workers with; ``main=False`` does not run the
        main script there.
    path, wdir, env
        What workers append to `sys.path`, their directory, and environment variables.
    use_pkl5
        Accepted; large buffers always travel beside the pickle.
    backoff : float, optional
        The longest sleep of a wait where the MPI library only waits busily (0.001).
    service : str or (host, port), optional
        Work with the ranks of ``python -m mpi4py.futures.server``.

    Under ``python -m mpi4py.futures`` the workers are the other ranks of the job; in a
    program that MPI started, or that has imported it, they are spawned; else they are
    those of `phalanx.futures.ProcessPoolExecutor`.
    """

    def __init__(
        self,
        max_workers: int | None = None,
        initializer: Callable[..., object] | None = None,
        initargs: Iterable[Any] = (),
        **kwargs: Any,
    ) -> None:
        self._options = Options(max_workers, initializer, initargs, kwargs)
        self._lock = threading.Lock()
        self._shutdown = False
        self._pool: _core.Workers | None = None

    def _hire(self) -> "_core.Workers":
        return _core.hire(self._options)

    def _start_pool(self, what: str) -> "_core.Workers":
        """Return the workers; hire them before the first call."""
        with self._lock:
            if self._shutdown:
                raise RuntimeError(f"cannot {what} after shutdown")
            pool = self._pool
            if pool is None:
                pool = self._pool = self._hire()
                weakref.finalize(self, pool.close).atexit = False
        return pool

    @property
    def num_workers(self) -> int:
        """How many workers there are; waits until they have started."""
        if self._shutdown:
            return 0
        pool = self._start_pool("count workers")
        pool.wait()
        return pool.size

    @property
    def _max_workers(self) -> int:
        return self.num_workers

    def bootup(self, wait: bool = True) -> "MPIPoolExecutor":
        """Start the workers now; with `wait`, return when they are ready."""
        pool = self._start_pool("bootup")
        if wait:
            pool.wait()
        return self

    def submit(
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> "Future[Any]":
        """Have a worker do `fn(*args, **kwargs)`; return the future of the result."""
        pool = self._pool
        if pool is None or self._shutdown:
            pool = self._start_pool("schedule new futures")
        return pool.submit(fn, args, kwargs)

    def map(
        self,
        fn: Callable[..., Any],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        unordered: bool = False,
    ) -> Iterator[Any]:
        """Return an iterator over `fn(*items)`, like the built-in `map`.

        Parameters
        ----------
        timeout : float, optional
            Seconds from this call after which a result that is asked for raises
            `TimeoutError`.
        chunksize : int
            How many items are one task of a worker.
        buffersize : int, optional
            How many tasks there may be whose results were not taken yet; without it the
            iterables are read to their end first.
        unordered : bool
            Give results as they come.
        """
        items = zip(*iterables, strict=False)
        return self.starmap(fn, items, timeout, chunksize, buffersize, unordered)

    def starmap(
        self,
        fn: Callable[..., Any],
        iterable: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        buffersize: int | None = None,
        unordered: bool = False,
    ) -> Iterator[Any]:
        """Return an iterator over `fn(*items)` for the tuples of an iterable.

        The parameters are those of `map`.
        """
        if chunksize < 1:
            raise ValueError(f"chunksize must be >= 1, got {chunksize}")
        if buffersize is not None:
            if not isinstance(buffersize, int):
                raise TypeError(
                    f"buffersize must be an integer or None, got {buffersize!r}"
                )
            if buffersize < 1:
                raise ValueError(f"buffersize must be None or >= 1, got {buffersize}")
            if unordered:
                raise ValueError("buffersize cannot be used with unordered=True")
        end = None if timeout is None else time.monotonic() + timeout
        items = iter(iterable)
        if chunksize == 1:
            asked = (self.submit(fn, *args) for args in items)
        else:
            chunks = iter(lambda: list(islice(items, chunksize)), [])
            chunk = _Chunk(fn)
            asked = (self.submit(chunk, part) for part in chunks)
        begun = deque(islice(asked, buffersize))
        results = _unordered(begun, end) if unordered else _ordered(begun, asked, end)
        if chunksize == 1:
            return results
        return (value for part in results for value in part)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls; the workers end when all are done.

        With `wait`, return when they have ended; with `cancel_futures`, cancel the
        calls that no worker has taken yet.
        """
        with self._lock:
            self._shutdown = True
            pool = self._pool
        if pool is None:
            return
        if cancel_futures:
            pool.cancel()
        pool.close()
        if wait:
            pool.join()
            self._pool = None

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> bool | None:
        """Wait until all calls are done; after an interrupt, those that run."""
        # Control-C has reached the workers, too, and ended what they were in.
        is_interrupt = exc_type is not None and issubclass(exc_type, KeyboardInterrupt)
        self.shutdown(wait=True, cancel_futures=is_interrupt)
        return None


class ThreadPoolExecutor(MPIPoolExecutor):
    """An `MPIPoolExecutor` whose workers are threads of this process."""

    def _hire(self) -> "_core.Workers":
        return _core.threads(self._options, self._options.number() or 1)


class ProcessPoolExecutor(MPIPoolExecutor):
    """An `MPIPoolExecutor` whose workers are always processes of its own."""

    def _hire(self) -> "_core.Workers":
        return _core.hire(self._options, own=True)


class _Chunk:
    """A function, for several items at once."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self.fn = fn

    def __call__(self, items: list[tuple[Any, ...]]) -> list[Any]:
        fn = self.fn
        return [fn(*args) for args in items]


def _result(future: "Future[Any]", end: float | None) -> Any:
    left = None if end is None else max(0.0, end - time.monotonic())
    return future.result(left)


def _ordered(
    begun: "deque[Future[Any]]", more: "Iterator[Future[Any]]", end: float | None
) -> Iterator[Any]:
    try:
        while begun:
            # In a list: while the caller has it, nothing is kept of it here.
            values = [_result(begun[0], end)]
            begun.popleft()
            begun.extend(islice(more, 1))
            yield values.pop()
    finally:
        for future in begun:
            future.cancel()


def _unordered(begun: "deque[Future[Any]]", end: float | None) -> Iterator[Any]:
    futures = set(begun)
    begun.clear()
    try:
        left = None if end is None else max(0.0, end - time.monotonic())
        for future in as_completed(futures, left):
            futures.discard(future)
            values = [future.result()]
            del future  # While the caller has the value, nothing is kept of it here.
            yield values.pop()
    finally:
        for future in futures:
            future.cancel()


class MPICommExecutor:
    """Parts the ranks of a communicator into a master and its workers.

    Parameters
    ----------
    comm : Intracomm, optional
        By default `COMM_WORLD`.
    root : int
        The rank that gets the executor.
    **kwargs
        As for `MPIPoolExecutor`, except for what says how processes are started.

    All ranks enter the context. Its target is an `MPIPoolExecutor` at the root; at the
    others it is `None`, after they have done what was asked of them. A communicator of
    one rank works in a thread.
    """

    def __init__(
        self, comm: "MPI.Intracomm | None" = None, root: int = 0, **kwargs: Any
    ) -> None:
        from phalanx import MPI

        if comm is None:
            comm = MPI.COMM_WORLD
        if comm.Is_inter():
            raise ValueError("MPICommExecutor: expected an intracommunicator")
        if not 0 <= root < comm.Get_size():
            size = comm.Get_size()
            raise ValueError(
                f"MPICommExecutor: root is {root}, expected 0 to {size - 1}"
            )
        # Checked by all ranks, before any of them waits for another one.
        Options(None, kwargs.get("initializer"), kwargs.get("initargs", ()), {})
        self._comm = comm
        self._root = root
        self._options = kwargs
        self._executor: MPIPoolExecutor | None = None
        self._entered = False

    def __enter__(self) -> MPIPoolExecutor | None:
        """Part the ranks; workers return when the root has left the context."""
        if self._entered:
            raise RuntimeError("this MPICommExecutor has been entered already")
        _core.refuse_while_importing("MPICommExecutor")
        self._entered = True
        try:
            return self._enter()
        except BaseException:
            self._entered = False
            raise

    def _enter(self) -> MPIPoolExecutor | None:
        comm, root = self._comm, self._root
        if comm.Get_size() == 1:
            self._executor = ThreadPoolExecutor(**{**self._options, "max_workers": 1})
        elif _core.SharedPool is not None:
            # The other ranks work for every executor of this one already.
            self._executor = MPIPoolExecutor(**self._options)
        elif comm.Get_rank() == root:
            self._executor = _OfRanks(comm, root, self._options)
        else:
            _core.work(comm, root)
        return self._executor

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_val: BaseException | None,
        exc_tb: TracebackType | None,
    ) -> None:
        """Wait until all calls are done."""
        executor, self._executor = self._executor, None
        self._entered = False
        if executor is None:
            return
        executor.__exit__(exc_type, exc_val, exc_tb)
        if isinstance(executor, _OfRanks):
            executor.crew.dismiss()


class _OfRanks(MPIPoolExecutor):
    """The executor of an `MPICommExecutor`."""

    def __init__(
        self, comm: "MPI.Intracomm", root: int, options: dict[str, Any]
    ) -> None:
        # Every rank runs the main script itself.
        super().__init__(**{**options, "main": False})
        self.crew = _core.ranks(comm, root, self._options)

    def _hire(self) -> "_core.Workers":
        return _core.client(self.crew, self._options)


def get_comm_workers() -> "MPI.Intracomm":
    """Return the communicator of the workers, inside of a call that one of them does.

    A call that uses it needs as many others as there are workers, one in each.

    Raises
    ------
    RuntimeError
        This process is not a worker that MPI started.
    """
    return comm_of_workers()
