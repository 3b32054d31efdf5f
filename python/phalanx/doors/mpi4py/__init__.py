"""``import mpi4py`` answered by Phalanx.

This directory's parent stands first on ``sys.path`` under ``phalanx run`` and in
``phalanx shell``. Modules of this package are those of ``phalanx``: the same
objects under another name, imported when they are asked for.
"""

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any


def _find_phalanx() -> None:
    """Load the package these doors belong to, if this Python has none of its own.

    A job may run under another Python than the one Phalanx is installed for;
    the extension works with all of them.
    """
    if find_spec("phalanx") is not None:
        return
    home = Path(__file__).absolute().parents[2]
    spec = spec_from_file_location(
        "phalanx", home / "__init__.py", submodule_search_locations=[str(home)]
    )
    if spec is not None and spec.loader is not None:
        module = sys.modules["phalanx"] = module_from_spec(spec)
        spec.loader.exec_module(module)


_find_phalanx()

from phalanx import Rc, get_config, get_include, profile, rc

__version__ = "4.1.2"
__all__ = ["MPI"]

sys.modules[f"{__name__}.rc"] = rc  # type: ignore[assignment]


class _Alias(Loader):
    """Loads ``mpi4py.X`` as the module object of ``phalanx.X``."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.spec: ModuleSpec | None = None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(self.name)
        self.spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        # The import system has put the alias's spec into the module.
        module.__spec__ = self.spec

    def get_code(self, fullname: str) -> CodeType | None:
        """The code for ``python -m mpi4py.X``."""
        spec = find_spec(self.name)
        loader: Any = spec.loader if spec is not None else None
        return loader.get_code(self.name) if loader is not None else None

    def is_package(self, fullname: str) -> bool:
        spec = find_spec(self.name)
        return spec is not None and spec.submodule_search_locations is not None


class _Finder(MetaPathFinder):
    """Finds every module of this package in ``phalanx``."""

    def find_spec(
        self, fullname: str, path: Any, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}."):
            return None
        name = "phalanx" + fullname.removeprefix(__name__)
        found = find_spec(name)
        if found is None:
            return None
        spec = ModuleSpec(fullname, _Alias(name), origin=found.origin)
        spec.submodule_search_locations = found.submodule_search_locations
        spec.has_location = found.has_location
        return spec


sys.meta_path.insert(0, _Finder())
