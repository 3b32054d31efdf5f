"""``import mpi4py`` answered by Phalanx.

This directory's parent stands first on ``sys.path`` under ``phalanx run`` and in
``phalanx shell``. Modules of this package are those of ``phalanx``: the same
objects under another name, imported when they are asked for.
"""

# Every rank of a script that was written for mpi4py begins here: what only some of them
# need is imported where it is needed, and ``importlib`` is used without its package.
import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any


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


def _find(name: str) -> ModuleSpec | None:
    """``importlib.util.find_spec``, for modules of packages."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__spec__", None)
    package = name.rpartition(".")[0]
    __import__(package)
    path = getattr(sys.modules[package], "__path__", None)
    for finder in sys.meta_path if path is not None else ():
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(name, path, None) if find is not None else None
        if spec is not None:
            return spec
    return None


class _Alias:
    """Loads ``mpi4py.X`` as the module object of ``phalanx.X``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> "ModuleType":
        __import__(self.name)
        module = sys.modules[self.name]
        self.spec = module.__spec__
        return module

    def exec_module(self, module: "ModuleType") -> None:
        # The import system has put the alias's spec into the module.
        module.__spec__ = self.spec

    def get_code(self, fullname: str) -> "CodeType | None":
        """The code for ``python -m mpi4py.X``."""
        spec = _find(self.name)
        loader: Any = spec.loader if spec is not None else None
        return loader.get_code(self.name) if loader is not None else None

    def is_package(self, fullname: str) -> bool:
        spec = _find(self.name)
        return spec is not None and spec.submodule_search_locations is not None


class _Finder:
    """Finds every module of this package in ``phalanx``."""

    def find_spec(
        self, fullname: str, path: object, target: "ModuleType | None" = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}."):
            return None
        name = "phalanx" + fullname.removeprefix(__name__)
        # `phalanx.futures` has executors of its own under two of the names.
        if name == "phalanx.futures" or name.startswith("phalanx.futures."):
            name = name.replace("futures", "_mpi_futures", 1)
        found = _find(name)
        if found is None:
            return None
        loader: Any = _Alias(name)
        spec = ModuleSpec(fullname, loader, origin=found.origin)
        spec.submodule_search_locations = found.submodule_search_locations
        spec.has_location = found.has_location
        return spec


sys.meta_path.insert(0, _Finder())
