"""How the family's arena comes along with a new process.

A forked child inherits it, if it is there before the fork. To a spawned one it
travels with the process object. Children import this module when they start, so it
imports little.
"""

from __future__ import annotations

import os
from multiprocessing import popen_fork
from multiprocessing.reduction import DupFd

import phalanx._workers as _workers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["ForkPopen", "Passage", "arrive"]


class Passage:
    """Pickled ahead of a process object: gives the child the family's arena."""

    def __reduce__(self) -> Any:
        return _board, (DupFd(_workers.family_fd()),)


def _board(fd: Any) -> None:
    """Map the arena in the child, unless it has it already."""
    number = fd.detach()
    os.set_inheritable(number, False)
    _workers.join_family(number)


def arrive(_passage: None, make: Callable[..., Any], args: tuple[Any, ...]) -> Any:
    """Make the process object, as `make` would have been called without passage."""
    return make(*args)


class ForkPopen(popen_fork.Popen):
    """Forks a member of the family."""

    def _launch(self, process_obj: Any) -> None:
        _workers.family_fd()
        super()._launch(process_obj)  # type: ignore[misc]
