"""How futures end: told to those who wait, whatever their callbacks do."""

import contextlib
import logging
from concurrent.futures import BrokenExecutor, Future, InvalidStateError
from typing import Any

_LOGGER = logging.getLogger("concurrent.futures")


def begin(future: "Future[Any]") -> bool:
    """Note that a future runs; return whether it does, as it was not cancelled."""
    if future.cancelled():
        return False
    try:
        return future.set_running_or_notify_cancel()
    except InvalidStateError:
        return False  # Cancelled at this moment.


def cancel(future: "Future[Any]") -> None:
    """Cancel a future that nobody will begin."""
    if future.cancel():
        future.set_running_or_notify_cancel()


def tell_of_cancelling(future: "Future[Any]") -> None:
    """Let those who wait for a cancelled future know: a callback of it.

    For futures without an executor, which would do that when it comes to them.
    """
    if future.cancelled():
        with contextlib.suppress(InvalidStateError):
            future.set_running_or_notify_cancel()


def give(future: "Future[Any]", value: Any) -> None:
    """End a running future with a result."""
    try:
        future.set_result(value)
    except BaseException:
        _LOGGER.exception("exception calling callback for %r", future)


def fail(future: "Future[Any]", error: BaseException) -> None:
    """End a running future with an exception."""
    try:
        future.set_exception(error)
    except BaseException:
        _LOGGER.exception("exception calling callback for %r", future)


def again(error: BaseException) -> BaseException:
    """Make an exception that can be raised once more, with the same cause."""
    new = BrokenExecutor(*error.args)
    new.__cause__ = error.__cause__
    return new
