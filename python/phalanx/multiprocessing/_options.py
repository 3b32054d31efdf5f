"""The options of pools: keyword, environment variable, what each accepts.

An option that the program does not give (or gives as `None`) is taken from its
variable, so that unmodified scripts have them too. `docs/generated/options.md`
is made from `OPTIONS` by `cargo xtask gen`.
"""

from __future__ import annotations

import math
import os
import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["MOST", "OPTIONS", "Option", "Settings"]

#: No count is larger: the native part has no more bits for one.
MOST = 2**31 - 1

_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _flag(value: object) -> bool:
    if isinstance(value, str):
        word = value.strip().lower()
        if word in ("1", "true", "yes", "on"):
            return True
        if word in ("0", "false", "no", "off"):
            return False
        raise ValueError
    return bool(value)


def _whole(value: object) -> int:
    if isinstance(value, str):
        return int(value)
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError
    return int(value.__index__())


def _count(value: object) -> int:
    number = _whole(value)
    if not 1 <= number <= MOST:
        raise ValueError
    return number


def _from_zero(value: object) -> int:
    number = _whole(value)
    if not 0 <= number <= MOST:
        raise ValueError
    return number


def _seconds(value: object) -> float | None:
    if isinstance(value, str):
        if value.strip().lower() == "none":
            return None
    elif isinstance(value, bool) or not hasattr(value, "__float__"):
        raise ValueError
    number = float(value)
    if not number > 0:
        raise ValueError
    return None if math.isinf(number) else number


def _bytes(value: object) -> int | None:
    if isinstance(value, str):
        text = value.strip().lower()
        if text in ("inf", "none"):
            return None
        found = re.fullmatch(r"([0-9.]+)\s*(?:([kmgt])i?)?b?", text)
        if found is None:
            raise ValueError
        number = float(found[1]) * _UNITS[found[2] or ""]
    elif isinstance(value, float):
        if math.isinf(value):
            return None
        if not value.is_integer():
            raise ValueError
        number = value
    else:
        number = _whole(value)
    if not 1 <= number < 2**63:
        raise ValueError
    return int(number)


class Option:
    """One option; `OPTIONS` has all of them.

    Attributes
    ----------
    keyword : str
        The argument.
    variable : str
        The environment variable.
    accepts : str
        What values there are, for the page and for the error.
    default : str
        What happens when neither is given.
    where : str
        What takes the argument, and heeds the variable.
    text : str
        What it does.
    """

    __slots__ = (
        "accepts",
        "default",
        "keyword",
        "parse",
        "text",
        "variable",
        "where",
    )

    def __init__(
        self,
        keyword: str,
        variable: str,
        parse: Callable[[object], object],
        accepts: str,
        default: str,
        where: str,
        text: str,
    ) -> None:
        self.keyword = keyword
        self.variable = variable
        self.parse = parse
        self.accepts = accepts
        self.default = default
        self.where = where
        self.text = text

    def check(self, value: object) -> object:
        """Return the value that an argument gives; raise `ValueError` if it is bad."""
        try:
            return self.parse(value)
        except (ValueError, KeyError, OverflowError):
            raise ValueError(
                f"{self.keyword}={value!r}: expected {self.accepts}"
            ) from None

    def from_environment(self) -> object:
        """Return the value of the variable, `None` if it is unset or empty."""
        text = os.environ.get(self.variable, "")
        if not text:
            return None
        try:
            return self.parse(text)
        except (ValueError, KeyError, OverflowError):
            raise ValueError(
                f"{self.variable}={text}: expected {self.accepts}; "
                f"correct it or unset {self.variable}"
            ) from None


OPTIONS = {
    option.keyword: option
    for option in (
        Option(
            "processes",
            "PHALANX_WORKERS",
            _count,
            "a whole number from 1",
            "the CPUs that this process may use: its affinity and the CPU "
            "limit of its container",
            "`Pool`; `ProcessPoolExecutor` as `max_workers`",
            "The number of workers when the program gives none.",
        ),
        Option(
            "retries",
            "PHALANX_RETRIES",
            _from_zero,
            "a whole number from 0",
            "0",
            "`Pool`, `ProcessPoolExecutor`",
            "How many times a task is run again after its worker was lost or "
            "stopped. An exception that a task raises is a result and is never "
            "retried. With retries, a task can be done more than once.",
        ),
        Option(
            "timeout",
            "PHALANX_TASK_TIMEOUT",
            _seconds,
            "seconds above 0, or inf for no limit",
            "no limit",
            "`Pool`, `ProcessPoolExecutor`",
            "The time that one task may take. Then its worker is stopped and "
            "replaced, and the task ends with `TaskTimeoutError`.",
        ),
        Option(
            "memory_limit",
            "PHALANX_MEMORY_LIMIT",
            _bytes,
            "bytes, like 500M or 2GiB (powers of 1024), or inf for no limit",
            "no limit",
            "`Pool`, `ProcessPoolExecutor`",
            "The memory that one worker may use. A worker that uses more is "
            "stopped and replaced, and its task ends with `TaskMemoryError`.",
        ),
        Option(
            "progress",
            "PHALANX_PROGRESS",
            _flag,
            "1 or 0",
            "0",
            "`Pool`",
            "Show how far each `map`, `starmap`, `imap` and `imap_unordered` is: a "
            "bar of tqdm if that is installed, else a line on standard error.",
        ),
        Option(
            "threads_per_worker",
            "PHALANX_THREADS_PER_WORKER",
            _count,
            "a whole number from 1",
            "as many as each library chooses, usually one per CPU",
            "`Pool`, `ProcessPoolExecutor`",
            "How many threads OpenMP, OpenBLAS, MKL, BLIS, NumExpr and Numba use "
            "in each worker. Without it, N workers on N CPUs may run N times N "
            "threads.",
        ),
        Option(
            "pin",
            "PHALANX_PIN",
            _flag,
            "1 or 0",
            "0",
            "`Pool`, `ProcessPoolExecutor`",
            "Keep each worker on one CPU, the workers in turn over the CPUs that "
            "the parent may use.",
        ),
        Option(
            "chunksize",
            "PHALANX_CHUNKSIZE",
            _count,
            "a whole number from 1",
            "tuned from the measured times of the tasks",
            "`map`, `imap` and their variants; `ProcessPoolExecutor.map`",
            "How many items a worker takes at once. The variable counts for every "
            "call that does not give its own `chunksize`.",
        ),
        Option(
            "buffersize",
            "PHALANX_BUFFERSIZE",
            _count,
            "a whole number from 1",
            "what keeps the workers busy: four chunks for each",
            "`imap`, `imap_unordered`; `ProcessPoolExecutor.map` (not its variable)",
            "How many items may be taken from the iterable before the program takes "
            "the results.",
        ),
    )
}


class Settings:
    """The options of one pool, checked."""

    __slots__ = (
        "buffersize",
        "chunksize",
        "memory_limit",
        "pin",
        "processes",
        "progress",
        "retries",
        "threads_per_worker",
        "timeout",
    )

    processes: int | None
    retries: int
    timeout: float | None
    memory_limit: int | None
    progress: bool
    threads_per_worker: int | None
    pin: bool
    chunksize: int | None
    buffersize: int | None

    def __init__(self, **given: object) -> None:
        for keyword, option in OPTIONS.items():
            value = given.pop(keyword, None)
            if value is not None:
                value = option.check(value)
            else:
                value = option.from_environment()
            setattr(self, keyword, value)
        if given:
            raise TypeError(f"unexpected options {', '.join(given)}")
        self.retries = self.retries or 0
        self.progress = bool(self.progress)
        self.pin = bool(self.pin)
