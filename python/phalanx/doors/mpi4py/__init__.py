"""``import mpi4py`` answered by Phalanx.

This directory's parent stands first on ``sys.path`` under ``phalanx run`` and in
``phalanx shell``. Modules of this package are those of ``phalanx``: the same
objects under another name, imported when they are asked for.
"""

# Every rank of a script that was written for mpi4py begins here: what only some of them
# need is imported where it is needed, and ``importlib`` is used without its package.
import sys

TYPE_CHECKING = False


def _load_phalanx() -> None:
    """Load the package these doors belong to, if this Python has none of its own.

    A job may run under another Python than the one Phalanx is installed for;
    the extension works with all of them.
    """
    try:
        import phalanx as phalanx
    except ModuleNotFoundError as error:
        if error.name != "phalanx":
            raise
    else:
        return
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    home = Path(__file__).absolute().parents[2]
    spec = spec_from_file_location(
        "phalanx", home / "__init__.py", submodule_search_locations=[str(home)]
    )
    if spec is not None and spec.loader is not None:
        module = sys.modules["phalanx"] = module_from_spec(spec)
        spec.loader.exec_module(module)


_load_phalanx()

import phalanx
from phalanx import Rc, rc
from phalanx._alias import Finder as _Finder

if TYPE_CHECKING:
    from phalanx import get_config, profile

__version__ = "4.1.2"
__all__ = ["MPI"]

sys.modules[f"{__name__}.rc"] = rc  # type: ignore[assignment]


def get_include() -> str:
    """Return the directory of ``mpi4py/mpi4py.h``, for C and C++ code."""
    from os.path import abspath, dirname, join

    return join(dirname(abspath(__file__)), "include")


def __getattr__(name: str) -> object:
    if name in ("get_config", "profile"):
        return getattr(phalanx, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), "get_config", "profile"])


def _ours(fullname: str) -> str:
    """The name under which Phalanx has a module of this package."""
    name = "phalanx" + fullname.removeprefix(__name__)
    # `phalanx.futures` has executors of its own under two of the names.
    if name == "phalanx.futures" or name.startswith("phalanx.futures."):
        name = name.replace("futures", "_mpi_futures", 1)
    return name


sys.meta_path.insert(0, _Finder(__name__, _ours))
