"""Futures that can be chained, as promises of JavaScript are."""

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from ._ends import begin, tell_of_cancelling

__all__ = ["ThenableFuture", "catch", "then"]

_Hook = Callable[[Any], Any] | None


class ThenableFuture(Future[Any]):
    """A future with the methods `then` and `catch`."""

    def then(self, on_success: _Hook = None, on_failure: _Hook = None) -> "Future[Any]":
        """Return a future that ends with what a hook makes of the end of this one.

        A hook may return another future, whose end is then awaited. What `on_failure`
        returns is the new exception if it is one, else the new result; what a hook
        raises is the new exception. Without a hook the end is passed on. Cancelling
        this future cancels the new one.
        """
        return then(self, on_success, on_failure)

    def catch(self, on_failure: _Hook = None) -> "Future[Any]":
        """Return a future like `then`; without `on_failure`, exceptions become None."""
        return catch(self, on_failure)


def then(
    future: "Future[Any]", on_success: _Hook = None, on_failure: _Hook = None
) -> "Future[Any]":
    """Do what the method `ThenableFuture.then` does, for a future of any class."""
    new: Future[Any] = type(future)()

    def ended(old: "Future[Any]") -> None:
        if old.cancelled():
            new.cancel()
            return
        if not begin(new):
            return
        try:
            error = old.exception()
            if error is not None:
                _fail(new, error if on_failure is None else on_failure(error))
                return
            value = old.result()
            _fulfil(new, value if on_success is None else on_success(value), [new])
        except BaseException as problem:
            new.set_exception(problem)

    new.add_done_callback(tell_of_cancelling)
    future.add_done_callback(ended)
    return new


def catch(future: "Future[Any]", on_failure: _Hook = None) -> "Future[Any]":
    """Do what the method `ThenableFuture.catch` does, for a future of any class."""
    return then(future, None, on_failure or (lambda _: None))


def _fail(new: "Future[Any]", outcome: Any) -> None:
    """End `new` as the hook for failures says."""
    if isinstance(outcome, BaseException):
        new.set_exception(outcome)
    else:
        _fulfil(new, outcome, [new])


def _fulfil(new: "Future[Any]", value: Any, chain: "list[Future[Any]]") -> None:
    """End `new` with a value, or as the future that the value is ends."""
    if not isinstance(value, Future):
        new.set_result(value)
        return
    if any(value is earlier for earlier in chain):
        raise RuntimeError(
            f"chain cycle detected: a future waits for itself, {len(chain)} futures on"
        )
    chain.append(value)

    def ended(old: "Future[Any]") -> None:
        try:
            if old.cancelled():
                raise old.exception(0) or RuntimeError("cancelled")
            error = old.exception()
            if error is not None:
                new.set_exception(error)
            else:
                _fulfil(new, old.result(), chain)
        except BaseException as problem:
            new.set_exception(problem)

    value.add_done_callback(ended)
