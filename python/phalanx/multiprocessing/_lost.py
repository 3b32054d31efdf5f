"""Exceptions that derive from `concurrent.futures`, whose import takes time."""

from concurrent.futures.process import BrokenProcessPool

from .errors import ProcessError, _TaskError

__all__ = ["InitializerError", "WorkerLostError"]


class WorkerLostError(_TaskError, BrokenProcessPool):
    """A worker ended before its task did; the worker was replaced.

    It costs the one task that it was in. Every other task is done, by another
    worker if need be.

    Attributes
    ----------
    exitcode : int or None
        As in `Process.exitcode`: the exit status, or minus the signal.
    """

    __module__ = "phalanx.multiprocessing.errors"

    exitcode: int | None

    def __init__(
        self,
        message: str,
        *,
        index: int | None = None,
        function: str | None = None,
        pid: int | None = None,
        exitcode: int | None = None,
    ) -> None:
        super().__init__(message, index=index, function=function, pid=pid)
        self.exitcode = exitcode


class InitializerError(ProcessError, BrokenProcessPool):
    """The initializer of a pool failed, so that no worker can start."""

    __module__ = "phalanx.multiprocessing.errors"
