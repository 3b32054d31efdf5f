"""Spawning processes: the main module stays out where it must.

The classes start a process as the standard library's do, but a worker of a pool
that is started from a main module without a guard (``if __name__ == "__main__"``)
leaves that module out, as importing it would run the script again.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import threading
from contextlib import contextmanager
from multiprocessing import popen_spawn_posix, spawn
from multiprocessing import process as _process

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _ast import AST
    from collections.abc import Iterator
    from types import FrameType
    from typing import Any

__all__ = ["SpawnPopen", "about_to_launch", "imports_main"]


_launching = threading.local()


@functools.lru_cache(maxsize=8)
def _has_guard(source: str) -> bool:
    """Whether a module compares its name with ``__main__``."""
    if "__name__" not in source:
        return False
    # The module `ast` takes longer to load than all that is done here.
    from _ast import Compare, Name, PyCF_ONLY_AST

    try:
        tree = compile(source, "<main>", "exec", PyCF_ONLY_AST, dont_inherit=True)
    except (SyntaxError, ValueError):
        return True
    for node in _nodes(tree):
        if not isinstance(node, Compare):
            continue
        sides = [node.left, *node.comparators]
        asks = any(isinstance(side, Name) and side.id == "__name__" for side in sides)
        if asks and any(_names_main(side) for side in sides):
            return True
    return False


def _nodes(tree: AST) -> Iterator[AST]:
    """All nodes of a syntax tree."""
    todo = [tree]
    while todo:
        node = todo.pop()
        yield node
        for name in node._fields:
            value: Any = getattr(node, name, None)
            for below in value if isinstance(value, list) else (value,):
                if hasattr(below, "_fields"):
                    todo.append(below)


def _names_main(side: AST) -> bool:
    """Whether one side of a comparison is, or holds, the name of a main module."""
    from _ast import Constant

    constants = (node for node in _nodes(side) if isinstance(node, Constant))
    return any(constant.value in ("__main__", "__mp_main__") for constant in constants)


def _main_source() -> str | None:
    """The text of the main module that a child would import; None if there is none."""
    main = sys.modules["__main__"]
    spec = getattr(main, "__spec__", None)
    try:
        if spec is not None:
            loader: Any = importlib.util.find_spec(spec.name)
            loader = spec.loader if loader is None else loader.loader
            source: str | None = loader.get_source(spec.name)
            return source
        path = getattr(main, "__file__", None)
        if path is None:
            return None
        with open(path, "rb") as file:
            return importlib.util.decode_source(file.read())
    except (AttributeError, ImportError, OSError, SyntaxError, ValueError):
        return None


def imports_main() -> bool:
    """Whether a worker that is spawned now imports the main module.

    It does not when the module's text never compares ``__name__``: then
    nothing protects the script from running again in the worker. Nor when there is
    no file to import, as in an interactive session, or for a script that came through
    standard input. Otherwise, without a text that can be read, the worker does as the
    standard library's does.
    """
    main = sys.modules["__main__"]
    path = getattr(main, "__file__", None)
    if getattr(main, "__spec__", None) is None and not (path and os.path.exists(path)):
        return False
    source = _main_source()
    return source is None or _has_guard(source)


@contextmanager
def about_to_launch(process: Any) -> Iterator[None]:
    """Note for `_preparation_data` whether this process leaves main out."""
    outer = getattr(_launching, "without_main", False)
    worker = getattr(process, "_is_pool_worker", False)
    _launching.without_main = worker and not imports_main()
    try:
        yield
    finally:
        _launching.without_main = outer


_std_preparation_data = spawn.get_preparation_data


@functools.wraps(_std_preparation_data)
def _preparation_data(name: str) -> dict[str, Any]:
    if getattr(_process.current_process(), "_inheriting", False):
        raise RuntimeError(_NEEDS_GUARD.format(name=name, main=_main_name()))
    data: dict[str, Any] = _std_preparation_data(name)
    if getattr(_launching, "without_main", False):
        for key in ("init_main_from_name", "init_main_from_path", "main_path"):
            data.pop(key, None)
    return data


# The launchers of the standard library look this function up in its module.
spawn.get_preparation_data = _preparation_data


_NEEDS_GUARD = """\
{name} was to be started while a new process was still importing the main module
({main}). Under the start methods 'spawn' and 'forkserver' every new process
imports that module, so whatever starts processes there has to stand under a guard:

    if __name__ == "__main__":
        ...

Or choose the start method 'fork'. A Pool of phalanx.multiprocessing, and what it
runs, needs no guard as long as the module starts no Process or Manager itself
and has no such guard elsewhere."""


def _main_name() -> str:
    """The file of the main module that is being imported, further up in this thread."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_globals.get("__name__") == "__mp_main__":
            return str(frame.f_globals.get("__file__") or "the script")
        frame = frame.f_back
    return "the script"


class SpawnPopen(popen_spawn_posix.Popen):
    """Spawns a member of the family."""

    def _launch(self, process_obj: Any) -> None:
        with about_to_launch(process_obj):
            super()._launch(process_obj)  # type: ignore[misc]
