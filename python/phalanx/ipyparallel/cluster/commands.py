"""The commands ``ipcluster``, ``ipcontroller`` and ``ipengine``, as the binary has
them."""

import os
import sys
import sysconfig
from pathlib import Path

__all__ = ["binary", "command", "environment", "run_command"]


def binary() -> str:
    """The program ``phalanx`` of this installation."""
    named = os.environ.get("PHALANX_LAUNCHER", "")
    beside = str(Path(sysconfig.get_path("scripts")) / "phalanx")
    for path in (named, beside):
        if path and os.access(path, os.X_OK):
            return path
    # (It is slow to import, and seldom needed.)
    import shutil

    found = shutil.which("phalanx")
    if found is None:
        raise FileNotFoundError(
            "the program 'phalanx' is not on PATH; install the package again"
        )
    return found


def command(name: str) -> list[str]:
    """The command line of ``ipcluster``, ``ipcontroller`` or ``ipengine``."""
    return [binary(), name]


def environment() -> dict[str, str]:
    """The environment in which engines run under this very Python."""
    return {**os.environ, "PHALANX_CLUSTER_PYTHON": sys.executable}


def run_command(name: str, arguments: list[str]) -> int:
    """Become that command. (Never returns, unless it cannot be started.)"""
    line = [*command(name), *arguments]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execve(line[0], line, environment())
