"""What an executor is told: its keywords, the environment, the flags of Python."""

import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

# Keywords that say how processes of MPI are started or what they find.
SPAWNING = (
    "python_exe",
    "python_args",
    "mpi_info",
    "globals",
    "main",
    "path",
    "wdir",
    "env",
    "service",
)
BACKOFF = 0.001
_TRUE = ("1", "y", "yes", "true", "on")
_FALSE = ("0", "n", "no", "false", "off")

# sys.flags, and the option that sets each.
_FLAGS = {
    "inspect": "i",
    "interactive": "i",
    "debug": "d",
    "optimize": "O",
    "no_user_site": "s",
    "no_site": "S",
    "isolated": "I",
    "ignore_environment": "E",
    "dont_write_bytecode": "B",
    "safe_path": "P",
    "verbose": "v",
    "quiet": "q",
    "bytes_warning": "b",
}


class Options:
    """The keywords of an executor, checked."""

    def __init__(
        self,
        max_workers: int | None,
        initializer: Callable[..., object] | None,
        initargs: Iterable[Any],
        more: Mapping[str, Any],
    ) -> None:
        if max_workers is not None:
            if not isinstance(max_workers, int):
                kind = type(max_workers).__name__
                raise TypeError(f"max_workers must be an integer or None, got {kind}")
            if max_workers <= 0:
                raise ValueError(
                    f"max_workers must be greater than 0, got {max_workers}"
                )
        if initializer is not None and not callable(initializer):
            kind = type(initializer).__name__
            raise TypeError(f"initializer must be a callable, got {kind}")
        self.max_workers = max_workers
        self.initializer = initializer
        self.initargs = tuple(initargs)
        self.more = dict(more)
        backoff = self.more.get("backoff")
        self.backoff = _seconds(backoff)
        if self.more.get("use_pkl5") is None:
            _check_use_pkl5()

    def wants_spawn(self) -> bool:
        """Return whether an option asks for processes that MPI starts."""
        return any(self.more.get(name) is not None for name in SPAWNING)

    def number(self) -> int | None:
        """How many workers the program or its user asks for."""
        if self.max_workers is not None:
            return self.max_workers
        name = "MPI4PY_FUTURES_MAX_WORKERS"
        text = os.environ.get(name, "").strip()
        if not text:
            return None
        try:
            number = int(text)
        except ValueError:
            number = 0
        if number <= 0:
            raise ValueError(f"{name}={text}: expected a number of workers, 1 or more")
        return number

    def surroundings(self) -> dict[str, Any]:
        """What a worker is told of the program before its first task."""
        more = self.more
        told: dict[str, Any] = {
            "path": [os.fspath(place) for place in more.get("path") or ()],
            "wdir": None if more.get("wdir") is None else os.fspath(more["wdir"]),
            "env": dict(more.get("env") or {}),
            "globals": dict(more.get("globals") or {}),
            "main": None,
            "backoff": self.backoff,
        }
        if more.get("main", True) is not False:
            told["main"] = main_module()
        return told


def main_module() -> tuple[str, str] | None:
    """How a worker finds the main module: by name, by path, or not at all."""
    main = sys.modules.get("__main__")
    spec = getattr(main, "__spec__", None)
    if spec is not None and spec.name and spec.name != "__main__":
        return "name", spec.name
    path = getattr(main, "__file__", None)
    if path is None or not os.path.exists(path):
        return None  # From the command line, from standard input, interactive.
    return "path", os.path.abspath(path)


def python_flags() -> list[str]:
    """The options that give another Python the flags of this one."""
    args = [
        f"-{option * value}"
        for name, option in _FLAGS.items()
        if (value := int(getattr(sys.flags, name, 0))) > 0
    ]
    args += [f"-W{warning}" for warning in sys.warnoptions]
    for key, value in sys._xoptions.items():
        args.append(f"-X{key}" if value is True else f"-X{key}={value}")
    return args


def _seconds(value: Any) -> float:
    if value is not None:
        return max(0.0, float(value))
    text = os.environ.get("MPI4PY_FUTURES_BACKOFF", "").strip()
    if not text:
        return BACKOFF
    try:
        return max(0.0, float(text))
    except ValueError:
        _warn("MPI4PY_FUTURES_BACKOFF", text, "a number of seconds")
        return BACKOFF


def _check_use_pkl5() -> None:
    """Tell of a value that is none; large buffers go beside the pickle in any case."""
    text = os.environ.get("MPI4PY_FUTURES_USE_PKL5", "").strip()
    if text and text.lower() not in _TRUE + _FALSE:
        expected = "one of " + ", ".join(_TRUE + _FALSE)
        _warn("MPI4PY_FUTURES_USE_PKL5", text, expected)


def _warn(name: str, text: str, expected: str) -> None:
    warnings.warn(
        f"environment variable {name}: {text!r} is ignored: expected {expected}",
        category=RuntimeWarning,
        stacklevel=5,
    )
