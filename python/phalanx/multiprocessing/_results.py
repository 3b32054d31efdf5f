"""What the asynchronous methods of a pool return."""

from __future__ import annotations

import threading
from multiprocessing import TimeoutError
from multiprocessing import pool as _std

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    import phalanx._workers as _workers

    from ._progress import Display
    from .pool import Pool

__all__ = ["ApplyResult", "AsyncResult", "IMapIterator", "MapResult"]


class ApplyResult(_std.ApplyResult):  # type: ignore[type-arg]
    """The result of `Pool.apply_async`, which may not be there yet.

    With a callback, the result counts as ready when the callback has run.
    """

    _is_quick = False
    # Only with a callback: set when it has run.
    _called: threading.Event | None

    def __init__(
        self,
        pool: Pool,
        job: _workers.Job,
        callback: Callable[[Any], object] | None = None,
        error_callback: Callable[[BaseException], object] | None = None,
        display: Display | None = None,
    ) -> None:
        # A pool lives as long as somebody waits for its results.
        self._pool: Pool | None = pool
        self._job = job
        self._callback = callback
        self._error_callback = error_callback
        self._display = display
        self._called = threading.Event() if callback or error_callback else None

    def ready(self) -> bool:
        """Return whether the call has ended."""
        called = self._called
        return called.is_set() if called is not None else self._job.ready()

    def successful(self) -> bool:
        """Return whether the call ended without an exception.

        Raises `ValueError` if it has not ended yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._job.successful()

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call has ended, at most `timeout` seconds."""
        if self._called is not None:
            self._called.wait(timeout)
        elif self._job.wait(timeout):
            self._end()

    def get(self, timeout: float | None = None) -> Any:
        """Wait for the result and return it, or raise the exception of the call.

        Raises `multiprocessing.TimeoutError` if it has not ended within `timeout`
        seconds.
        """
        if self._called is not None:
            if not self._called.wait(timeout):
                raise TimeoutError
            timeout = None
        elif self._display is not None:
            self.wait(timeout)
        try:
            return self._job.get(timeout)
        finally:
            if self._pool is not None and self._job.ready():
                self._end()

    def _end(self) -> None:
        """Let go of what is needed only until the call has ended."""
        self._pool = None
        if self._display is not None:
            self._display.close()

    def _call_back(self) -> None:
        """Run the callback that is due; the job has ended."""
        try:
            try:
                value = self._job.get(0)
            except BaseException as error:
                if self._error_callback is not None:
                    self._error_callback(error)
            else:
                if self._callback is not None:
                    self._callback(value)
        finally:
            self._abandon()

    def _abandon(self) -> None:
        """Count as ready; no callback will run any more."""
        self._end()
        self._callback = self._error_callback = None
        if self._called is not None:
            self._called.set()


AsyncResult = ApplyResult


class MapResult(ApplyResult, _std.MapResult):  # type: ignore[type-arg]
    """The result of `Pool.map_async` and `Pool.starmap_async`."""

    @property
    def _number_left(self) -> int:
        done, total = self._job.progress()
        return (total or 0) - done


class IMapIterator(_std.IMapIterator):  # type: ignore[type-arg]
    """The results of `Pool.imap` or `Pool.imap_unordered`, as they come."""

    def __init__(
        self, pool: Pool, job: _workers.Job, display: Display | None = None
    ) -> None:
        self._pool: Pool | None = pool
        self._job = job
        self._display = display

    def __iter__(self) -> IMapIterator:
        return self

    def next(self, timeout: float | None = None) -> Any:
        """Wait for the next result and return it, or raise its exception.

        Raises `multiprocessing.TimeoutError` if it is not there within `timeout`
        seconds.
        """
        try:
            return self._job.next(timeout)
        except StopIteration:
            self._pool = None
            if self._display is not None:
                self._display.close()
            raise

    __next__ = next

    @property
    def _index(self) -> int:
        return self._job.progress()[0]

    @property
    def _length(self) -> int | None:
        return self._job.progress()[1]


class IMapUnorderedIterator(IMapIterator, _std.IMapUnorderedIterator):  # type: ignore[type-arg]
    """The results of `Pool.imap_unordered`."""
