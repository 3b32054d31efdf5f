"""One task's future, and what the original's modules offer about futures."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ..error import Remote

if TYPE_CHECKING:
    from .records import Metadata

__all__ = [
    "MessageFuture",
    "future_add_done_callback",
    "future_set_exc_info",
    "future_set_result_unless_cancelled",
    "multi_future",
]

_EMPTY: Any = object()


class MessageFuture(Future[Any]):
    """The result of one task, from one engine.

    The value stays as it came until somebody asks for it; it is made in the thread that
    asks, once.
    """

    def __init__(
        self, msg_id: str, header: dict[str, Any] | None = None, *, track: bool = False
    ) -> None:
        super().__init__()
        self.msg_id = msg_id
        self.header = header or {}
        self.metadata: Metadata
        self.track = track
        self._load: Callable[[], Any] | None = None
        self._value: Any = _EMPTY
        self._loading = threading.Lock()
        # Called in the client's thread with what the task has printed and displayed.
        self.watchers: list[Callable[[MessageFuture, str, Any], None]] = []

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the task has ended, after at most `timeout` seconds (None: no
        limit)."""
        if self.done():
            return True
        ended = threading.Event()
        self.add_done_callback(lambda _: ended.set())
        return ended.wait(None if timeout is None or timeout < 0 else timeout)

    def deliver(self, load: Callable[[], Any]) -> None:
        """End with a value that is still to be made."""
        self._load = load
        if not self.done():
            super().set_result(None)

    def fail(self, error: Remote) -> None:
        """End with an error of the task."""
        if not self.done():
            super().set_exception(error)

    def outcome(self) -> Any:
        """The value, or the error as an object. The task has ended."""
        # (Not `self.exception()`, which takes a lock for every one of many tasks.)
        error = self._exception
        if error is not None:
            return error
        if self._value is _EMPTY:
            with self._loading:
                if self._value is _EMPTY:
                    try:
                        value = self._load() if self._load is not None else None
                    except Exception as problem:
                        value = _unreadable(problem)
                    self._value = value
                    self._load = None
        return self._value

    def result(self, timeout: float | None = None) -> Any:
        super().result(timeout)
        value = self.outcome()
        if isinstance(value, _Unreadable):
            raise value
        return value


class _Unreadable(Remote):
    """The result of a task cannot be made in this process."""


def _unreadable(problem: Exception) -> Remote:
    import traceback

    text = "".join(traceback.format_exception(problem))
    return _Unreadable(
        type(problem).__name__,
        f"the result has arrived, but cannot be unpickled here: {problem}",
        text,
    )


def multi_future(children: Iterable["Future[Any]"]) -> "Future[list[Any]]":
    """A future of the results of several, which ends when all have ended."""
    several = list(children)
    whole: Future[list[Any]] = Future()
    left = len(several)
    lock = threading.Lock()

    def finish() -> None:
        try:
            whole.set_result([one.result() for one in several])
        except BaseException as problem:
            whole.set_exception(problem)

    def count(_: "Future[Any]") -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            finish()

    if not several:
        finish()
    for one in several:
        one.add_done_callback(count)
    return whole


def future_set_result_unless_cancelled(future: "Future[Any]", value: Any) -> None:
    """Set a result, if nobody has cancelled the future."""
    if not future.cancelled():
        future.set_result(value)


def future_set_exc_info(future: "Future[Any]", exc_info: tuple[Any, ...]) -> None:
    """Set an exception as ``sys.exc_info()`` gives it."""
    if exc_info[1] is None:
        raise ValueError("there is no exception to set")
    future.set_exception(exc_info[1])


def future_add_done_callback(
    future: "Future[Any]", callback: Callable[["Future[Any]"], object]
) -> None:
    """Call back when the future ends, or now."""
    future.add_done_callback(callback)
