"""Packages whose modules are another package's, under other names: doors."""

# Every rank of a script that was written for mpi4py imports this: what only some
# need is imported where it is needed, and ``importlib`` is used without its package.
import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, ModuleType
    from typing import Any


def _find(name: str) -> ModuleSpec | None:
    """``importlib.util.find_spec``, for modules of packages; None if there is no such
    package."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__spec__", None)
    package = name.rpartition(".")[0]
    if package not in sys.modules and _find(package) is None:
        return None
    __import__(package)
    path = getattr(sys.modules[package], "__path__", None)
    for finder in sys.meta_path if path is not None else ():
        find = getattr(finder, "find_spec", None)
        spec: ModuleSpec | None = find(name, path, None) if find is not None else None
        if spec is not None:
            return spec
    return None


class _Alias:
    """Loads a module as the module object of another name."""

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
        """The code for ``python -m``."""
        spec = _find(self.name)
        loader: Any = spec.loader if spec is not None else None
        return loader.get_code(self.name) if loader is not None else None

    def is_package(self, fullname: str) -> bool:
        spec = _find(self.name)
        return spec is not None and spec.submodule_search_locations is not None


class Finder:
    """Finds every module of the package `door` under the name that `ours` gives it."""

    def __init__(self, door: str, ours: "Callable[[str], str]") -> None:
        self.door = door
        self.ours = ours

    def find_spec(
        self, fullname: str, path: object, target: "ModuleType | None" = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{self.door}."):
            return None
        name = self.ours(fullname)
        found = _find(name)
        if found is None:
            return None
        loader: Any = _Alias(name)
        spec = ModuleSpec(fullname, loader, origin=found.origin)
        spec.submodule_search_locations = found.submodule_search_locations
        spec.has_location = found.has_location
        return spec
