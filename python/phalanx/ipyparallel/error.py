"""What goes wrong on a cluster, as exceptions.

An error of a task arrives as a :class:`RemoteError` with the name, the text and the
traceback of what was raised on the engine; those of several engines as one
:class:`CompositeError`. What the cluster itself has to say about a task (its engine was
killed, it waited too long, its dependencies cannot be met) is a `RemoteError` as well,
and at the same time an instance of the class here that names it, so that
``except EngineError`` works.
"""

import builtins
import functools
import sys
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "AlreadyDisplayedError",
    "CompositeError",
    "DependencyTimeout",
    "EngineError",
    "IPythonError",
    "ImpossibleDependency",
    "InvalidDependency",
    "KernelError",
    "NoEnginesRegistered",
    "RemoteError",
    "TaskAborted",
    "TaskRejectError",
    "TaskTimeout",
    "TimeoutError",
    "UnmetDependency",
    "collect_exceptions",
    "unwrap_exception",
    "wrap_exception",
]

TimeoutError = builtins.TimeoutError


class IPythonError(Exception):
    """Base of all errors here."""


class KernelError(IPythonError):
    """Something about engines or tasks."""


class EngineError(KernelError):
    """The engine of a task is gone: killed, ended, or out of memory."""


class NoEnginesRegistered(KernelError):
    """There is no engine to give a task to."""


class TaskAborted(KernelError):
    """The task was taken out of the queue before it began."""


class TaskTimeout(KernelError):
    """The task ran, or waited, for longer than it was allowed to."""


class TaskRejectError(KernelError):
    """The engine cannot run the task; another one may."""


class UnmetDependency(KernelError):
    """The engine does not meet what the task needs."""


class ImpossibleDependency(UnmetDependency):
    """No engine can meet what the task needs."""


class DependencyTimeout(ImpossibleDependency):
    """What the task depends on did not end in time."""


class InvalidDependency(ImpossibleDependency):
    """The task depends on one that does not exist."""


class RemoteError(KernelError):
    """An exception that was raised by a task on an engine.

    `ename` and `evalue` are its class and its text, `traceback` is the engine's, and
    `engine_info` says which engine it was and what it did.
    """

    def __init__(
        self,
        ename: str,
        evalue: str,
        traceback: "str | list[str] | None",
        engine_info: dict[str, Any] | None = None,
    ) -> None:
        self.ename = ename
        self.evalue = evalue
        self.traceback = (
            "\n".join(traceback) if isinstance(traceback, list) else traceback
        )
        self.engine_info = engine_info or {}
        self.args = (ename, evalue)

    def __reduce__(self) -> tuple[object, ...]:
        return _remake, (
            type(self).__name__,
            self.ename,
            self.evalue,
            self.traceback,
            self.engine_info,
        )

    def __repr__(self) -> str:
        engine = self.engine_info.get("engine_id", "?")
        return f"<{type(self).__name__}[{engine}]:{self.ename}({self.evalue})>"

    def __str__(self) -> str:
        return f"{self._label()} {self.ename}: {self.evalue}".lstrip()

    def _label(self) -> str:
        return _label(self.engine_info)

    def render_traceback(self) -> list[str]:
        """The engine's traceback as lines, under a line that names the engine."""
        label = self._label()
        return [*([label] if label else []), *(self.traceback or "").splitlines()]

    # IPython asks an exception for this when it shows it.
    def _render_traceback_(self) -> list[str]:
        return self.render_traceback()

    def print_traceback(self, excid: int | None = None) -> None:
        """Print the engine's traceback."""
        print("\n".join(self.render_traceback()))


# The class itself, for this package: programs replace the name to have more in texts.
Remote = RemoteError


def _label(info: Mapping[str, Any] | None) -> str:
    """``[ENGINE:METHOD]``, or nothing where the engine is not known."""
    if not info or info.get("engine_id") is None:
        return ""
    method = info.get("method")
    return f"[{info['engine_id']}:{method}]" if method else f"[{info['engine_id']}]"


class CompositeError(RemoteError):
    """The errors of several tasks.

    `elist` has ``(ename, evalue, traceback, engine_info)`` of each; four are shown.
    """

    tb_limit = 4

    def __init__(self, message: str, elist: Iterable[tuple[Any, ...]]) -> None:
        self.msg = message
        self.elist = [tuple(one) for one in elist]
        self.ename = self.evalue = ""
        self.traceback = None
        self.engine_info = {}
        self.args = tuple(one[0] for one in self.elist)
        if self.elist:
            self.ename, self.evalue = self.elist[0][:2]

    def __reduce__(self) -> tuple[object, ...]:
        return CompositeError, (self.msg, self.elist)

    def _more(self) -> int:
        return max(len(self.elist) - self.tb_limit, 0)

    def __str__(self) -> str:
        lines = [
            f"{_label(info)}{ename}: {evalue}"
            for ename, evalue, _, info in self.elist[: self.tb_limit]
        ]
        if self._more():
            lines.append(f".... {self._more()} more exceptions ...")
        return "\n".join([self.msg, *lines])

    def __repr__(self) -> str:
        return f"CompositeError({len(self.elist)})"

    def render_traceback(self, excid: int | None = None) -> list[str]:
        """The tracebacks as lines: of the first four, or of the one numbered
        `excid`."""
        if excid is None:
            chosen = self.elist[: self.tb_limit]
        else:
            chosen = [self._one(excid)]
        lines: list[str] = []
        for ename, evalue, traceback, info in chosen:
            label = _label(info)
            lines.append(f"{label}:" if label else f"{ename}:")
            lines += (traceback or f"{ename}: {evalue}").splitlines()
            lines.append("")
        if excid is None and self._more():
            lines.append(f"... {self._more()} more exceptions ...")
        return lines

    def print_traceback(self, excid: int | None = None) -> None:
        """Print what `render_traceback` gives."""
        print("\n".join(self.render_traceback(excid)))

    def _one(self, excid: int) -> tuple[Any, ...]:
        try:
            return self.elist[excid]
        except IndexError:
            raise IndexError(
                f"no exception {excid}: there are {len(self.elist)}, from 0 on"
            ) from None

    def raise_exception(self, excid: int = 0) -> None:
        """Raise one of them as a `RemoteError`."""
        ename, evalue, traceback, info = self._one(excid)
        raise make(ename, evalue, traceback, info)


class AlreadyDisplayedError(RemoteError):
    """An error whose traceback the user has seen already, as the cell's output."""

    def __init__(self, original_error: RemoteError) -> None:
        self.original_error = original_error
        self.ename = original_error.ename
        self.evalue = original_error.evalue
        self.traceback = original_error.traceback
        self.engine_info = original_error.engine_info
        self.args = (original_error,)

    def __reduce__(self) -> tuple[object, ...]:
        return AlreadyDisplayedError, (self.original_error,)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {self}>"

    def __str__(self) -> str:
        if isinstance(self.original_error, CompositeError):
            return f"{len(self.original_error.elist)} errors"
        return f"{self.ename}: {self.evalue}"

    def render_traceback(self) -> list[str]:
        return [str(self)]


# The errors of the cluster itself, as remote errors.
_NAMED = (
    EngineError,
    NoEnginesRegistered,
    TaskAborted,
    TaskTimeout,
    TaskRejectError,
    UnmetDependency,
    ImpossibleDependency,
    DependencyTimeout,
    InvalidDependency,
)
_BY_NAME = {named.__name__: named for named in _NAMED}


@functools.cache
def _class_of(base: type[RemoteError], ename: str) -> type[RemoteError]:
    named = _BY_NAME.get(ename)
    if named is None:
        return base
    return type(ename, (base, named), {"__doc__": named.__doc__})


def make(
    ename: str,
    evalue: str,
    traceback: "str | list[str] | None" = None,
    engine_info: dict[str, Any] | None = None,
) -> RemoteError:
    """A remote error of the class that its name says."""
    # (`RemoteError` is looked up as tests and notebooks may have replaced it.)
    return _class_of(RemoteError, ename)(ename, evalue, traceback, engine_info)


def _remake(kind: str, *parts: Any) -> RemoteError:
    return make(*parts)


def collect_exceptions(
    rdict_or_list: "Mapping[Any, Any] | Iterable[Any]", method: str = "unspecified"
) -> Any:
    """Give results back if none is an exception; else raise the one, or all of them."""
    results = (
        list(rdict_or_list.values())
        if isinstance(rdict_or_list, Mapping)
        else list(rdict_or_list)
    )
    errors = [one for one in results if isinstance(one, BaseException)]
    if not errors:
        return rdict_or_list
    if len(errors) == 1:
        # One of several says which engine it came from by itself.
        single = errors[0]
        if len(results) == 1 or not isinstance(single, RemoteError):
            raise single
    raise compose(errors, method)


def compose(errors: Iterable[BaseException], method: str) -> CompositeError:
    """One error of several."""
    elist: list[tuple[Any, ...]] = []
    for one in errors:
        if isinstance(one, CompositeError):
            elist += one.elist
        elif isinstance(one, RemoteError):
            elist.append((one.ename, one.evalue, one.traceback, one.engine_info))
        else:
            import traceback

            text = "".join(traceback.format_exception(one))
            elist.append((type(one).__name__, str(one), text, {}))
    return CompositeError(f"one or more exceptions raised in: {method}", elist)


def wrap_exception(engine_info: dict[str, Any] = {}) -> dict[str, Any]:  # noqa: B006
    """Describe the exception that is being handled, as plain values."""
    from traceback import format_exception

    kind, value, traceback = sys.exc_info()
    return {
        "status": "error",
        "ename": kind.__name__ if kind is not None else "",
        "evalue": str(value),
        "traceback": format_exception(kind, value, traceback),
        "engine_info": dict(engine_info),
    }


def unwrap_exception(content: Mapping[str, Any]) -> RemoteError:
    """The remote error that such a description is of."""
    return make(
        content["ename"],
        content["evalue"],
        "".join(content["traceback"])
        if isinstance(content.get("traceback"), list)
        else content.get("traceback"),
        content.get("engine_info", {}),
    )
