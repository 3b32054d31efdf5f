"""The commands as functions: ``main()`` of each is what its name starts."""

import sys

from .commands import run_command

__all__ = ["ipcluster", "ipcontroller", "ipengine", "main"]


def ipcluster(argv: list[str] | None = None) -> int:
    """``ipcluster start|stop|engines|list|clean``."""
    return run_command("ipcluster", sys.argv[1:] if argv is None else argv)


def ipcontroller(argv: list[str] | None = None) -> int:
    """``ipcontroller``: a controller without engines."""
    return run_command("ipcontroller", sys.argv[1:] if argv is None else argv)


def ipengine(argv: list[str] | None = None) -> int:
    """``ipengine``: an engine for a controller that runs."""
    return run_command("ipengine", sys.argv[1:] if argv is None else argv)


main = ipcluster
