"""What a worker's process runs, and how it gets its initializer."""

from __future__ import annotations

# See `_forking` for why not `signal`.
import _signal as signal  # type: ignore[import-not-found]
import pickle
from multiprocessing.reduction import ForkingPickler

import phalanx._workers as _workers

from ._forking import renew_streams
from ._placement import Placement

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

__all__ = ["Initializer", "work"]


class Initializer:
    """A pool's initializer and its arguments, on their way to a worker.

    They are pickled like any argument of a process. A worker that does without the
    main module (see `_popen.imports_main`) gets what is defined there by value.
    """

    __slots__ = ("args", "function", "logs")

    def __init__(
        self,
        function: Callable[..., object] | None,
        args: Iterable[Any],
        logs: bool = False,
    ) -> None:
        self.function = function
        self.args = tuple(args)
        #: Whether what it raises is logged, as `concurrent.futures` does.
        self.logs = logs

    def run(self, *args: Any) -> None:
        """Call the initializer."""
        assert self.function is not None
        try:
            self.function(*args)
        except Exception:
            if self.logs:
                from concurrent.futures._base import LOGGER

                LOGGER.critical("Exception in initializer:", exc_info=True)
            raise

    def __reduce__(self) -> tuple[object, ...]:
        if self.function is None:
            return Initializer, (None, self.args, self.logs)
        from ._popen import imports_main

        if imports_main():
            try:
                ForkingPickler.dumps(self.function)
            except (pickle.PicklingError, AttributeError, TypeError):
                pass  # A lambda or a local function.
            else:
                return Initializer, (self.function, self.args, self.logs)
        from ._by_value import dumps

        return _from_bytes, (dumps((self.function, self.args, self.logs)),)


def _from_bytes(data: bytes) -> Initializer:
    return Initializer(*pickle.loads(data))


def work(
    placement: Placement, ticket: _workers.Ticket, initializer: Initializer
) -> None:
    """Be a worker until the pool ends, or this worker's time is over."""
    if placement.forked:
        renew_streams()
    placement.apply()
    # A forked process has its parent's handlers: an event loop's would wake the
    # parent's loop, and others could keep `terminate` from ending this process.
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # The crew blocked it: an interrupt is for tasks, not for what is around them.
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT,))
        run = None if initializer.function is None else initializer.run
        _workers.run_worker(ticket, run, initializer.args)
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT,))
    except KeyboardInterrupt:
        pass
