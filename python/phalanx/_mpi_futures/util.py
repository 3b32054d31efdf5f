"""Futures made of other futures."""

import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Any

from ._ends import begin, tell_of_cancelling

__all__ = ["collect", "compose"]


def collect(fs: Collection["Future[Any]"]) -> "Future[list[Any]]":
    """Return a future whose result is the list of the results of others.

    When one of them fails, so does the new future, with the same exception, and those
    that have not begun are cancelled; when one is cancelled, so are all. Cancelling the
    new future cancels the others.
    """
    fs = list(fs)
    kind = type(fs[0]) if fs else Future
    result: Future[list[Any]] = kind()
    if not fs:
        result.set_result([])
        return result
    lock = threading.Lock()
    left = len(fs)
    over = False

    def cancel_all() -> None:
        for future in fs:
            future.cancel()

    def one_done(future: "Future[Any]") -> None:
        nonlocal left, over
        failed = future.cancelled() or future.exception() is not None
        with lock:
            left -= 1
            if over or not (failed or left == 0):
                return
            over = True
        if future.cancelled():
            result.cancel()
            cancel_all()
        elif begin(result):
            if failed:
                cancel_all()
                result.set_exception(future.exception())
            else:
                result.set_result([future.result() for future in fs])

    def new_done(new: "Future[Any]") -> None:
        nonlocal over
        if new.cancelled():
            with lock:
                over = True
            tell_of_cancelling(new)
            cancel_all()

    result.add_done_callback(new_done)
    for future in fs:
        future.add_done_callback(one_done)
    return result


def compose(
    future: "Future[Any]",
    resulthook: Callable[[Any], Any] | None = None,
    excepthook: Callable[[BaseException], Any] | None = None,
) -> "Future[Any]":
    """Return a future that ends as another one does, after a hook.

    The result of `resulthook` is the new result. What `excepthook` returns is the new
    exception if it is one, else the new result. What a hook raises is the exception of
    the new future. Cancelling either future cancels the other.
    """
    result: Future[Any] = type(future)()

    def new_done(new: "Future[Any]") -> None:
        if new.cancelled():
            tell_of_cancelling(new)
            future.cancel()

    def old_done(old: "Future[Any]") -> None:
        if old.cancelled():
            result.cancel()
            return
        if not begin(result):
            return
        try:
            error = old.exception()
            if error is None:
                value = old.result()
                value = value if resulthook is None else resulthook(value)
            else:
                value = error if excepthook is None else excepthook(error)
        except BaseException as problem:
            result.set_exception(problem)
            return
        if error is not None and isinstance(value, BaseException):
            result.set_exception(value)
        else:
            result.set_result(value)

    result.add_done_callback(new_done)
    future.add_done_callback(old_done)
    return result
