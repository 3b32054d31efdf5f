"""Parallel Python from a laptop to a cluster.

``from phalanx import MPI`` gives message passing with the API of mpi4py; the
options in ``phalanx.rc`` hold when they are set before that import.
"""

# Every rank and every worker of a pool begins with this import: nothing is loaded here
# that not all of them use.
import os
import sys

from ._rc import Rc, rc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._config import get_config, get_include, profile

__all__ = ["MPI", "Rc", "get_config", "get_include", "profile", "rc"]

sys.modules[f"{__name__}.rc"] = rc  # type: ignore[assignment]

_chosen = os.environ.get("PHALANX_MPI", "")
if _chosen not in ("", "embedded"):
    from ._library import load_when_needed

    load_when_needed(_chosen)
del _chosen


def __getattr__(name: str) -> object:
    if name in ("get_config", "get_include", "profile"):
        from . import _config

        return getattr(_config, name)
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("phalanx")
        except PackageNotFoundError:
            return "0+unknown"
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
