"""Workers that are threads of this process.

`concurrent.futures.ThreadPoolExecutor` would do, but for two things: when an
initializer fails there after a call was cancelled, the other calls are never done; and
who waits for calls that `shutdown` has cancelled waits for ever.
"""

import threading
import weakref
from collections import deque
from concurrent.futures import BrokenExecutor, Future
from typing import Any

from . import _worker
from ._ends import again, cancel, fail, give
from ._options import Options

_Call = tuple["Future[Any]", Any, Any, Any]


class Threads:
    """The threads of one executor."""

    def __init__(self, options: Options, number: int) -> None:
        self.size = number
        self.broken: BrokenExecutor | None = None
        self.event = threading.Event()
        self._options = options
        self._calls: deque[_Call] = deque()
        self._closed = False
        self._change = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name="MPIPoolExecutor", daemon=True)
            for _ in range(number)
        ]
        for thread in self._threads:
            thread.start()
        _all.add(self)

    @property
    def thread(self) -> threading.Thread:
        """The first thread."""
        return self._threads[0]

    def submit(self, fn: Any, args: Any, kwargs: Any) -> "Future[Any]":
        """Have a thread do a call; return its future."""
        future: Future[Any] = Future()
        with self._change:
            if self.broken is not None:
                raise again(self.broken)
            if self._closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._calls.append((future, fn, args, kwargs))
            self._change.notify()
        return future

    def wait(self) -> None:
        """Wait until a thread is ready, or will not be."""
        self.event.wait()

    def close(self) -> None:
        """Take no more calls."""
        with self._change:
            self._closed = True
            self._change.notify_all()

    def cancel(self) -> None:
        """Cancel the calls that no thread has."""
        for future, *_ in self._take_all():
            cancel(future)

    def join(self) -> None:
        """Wait until all calls are done."""
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _take_all(self) -> list[_Call]:
        with self._change:
            calls = list(self._calls)
            self._calls.clear()
        return calls

    def _work(self) -> None:
        from phalanx import MPI

        _worker.state.comm = MPI.COMM_SELF
        options = self._options
        try:
            if options.initializer is not None:
                options.initializer(*options.initargs)
        except BaseException as error:
            self._break(error)
        self.event.set()
        while self._do_one():
            pass

    def _break(self, error: BaseException) -> None:
        name = type(error).__name__
        broken = BrokenExecutor(f"the initializer failed: {name}: {error}")
        broken.__cause__ = error
        with self._change:
            self.broken = broken
            self.size = 0
            self._change.notify_all()
        for future, *_ in self._take_all():
            if future.set_running_or_notify_cancel():
                fail(future, again(broken))

    def _do_one(self) -> bool:
        with self._change:
            while not self._calls:
                if self._closed or self.broken is not None:
                    return False
                self._change.wait()
            future, fn, args, kwargs = self._calls.popleft()
        if future.set_running_or_notify_cancel():
            try:
                value = fn(*args, **kwargs)
            except BaseException as error:
                fail(future, error)
            else:
                give(future, value)
        return True


_all: "weakref.WeakSet[Threads]" = weakref.WeakSet()


def _finish() -> None:
    """Finish all calls before the interpreter ends, as `concurrent.futures` does."""
    every = list(_all)
    for threads in every:
        threads.close()
    for threads in every:
        threads.join()


threading._register_atexit(_finish)  # type: ignore[attr-defined]
