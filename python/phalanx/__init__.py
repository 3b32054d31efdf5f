"""Parallel Python from a laptop to a cluster.

``from phalanx import MPI`` gives message passing with the API of mpi4py; the
options in ``phalanx.rc`` hold when they are set before that import.
"""

import sys

from ._config import get_config, get_include, profile
from ._library import load_when_needed
from ._rc import Rc, rc

__all__ = ["MPI", "Rc", "get_config", "get_include", "profile", "rc"]

sys.modules[f"{__name__}.rc"] = rc  # type: ignore[assignment]

load_when_needed()


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("phalanx")
        except PackageNotFoundError:
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
