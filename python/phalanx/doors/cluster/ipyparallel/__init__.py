"""``import ipyparallel`` answered by Phalanx, while that door is open.

This directory's parent stands first on ``sys.path`` then. The names and modules of this
package are those of ``phalanx.ipyparallel``: the same objects under another name,
loaded when they are asked for.
"""

import sys
from _frozen_importlib import ModuleSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any


def _load_phalanx() -> None:
    """Load the package these doors belong to, if this Python has none of its own."""
    try:
        import phalanx as phalanx
    except ModuleNotFoundError as error:
        if error.name != "phalanx":
            raise
    else:
        return
    from importlib.util import module_from_spec, spec_from_file_location
    from pathlib import Path

    home = Path(__file__).absolute().parents[3]
    spec = spec_from_file_location(
        "phalanx", home / "__init__.py", submodule_search_locations=[str(home)]
    )
    if spec is not None and spec.loader is not None:
        module = sys.modules["phalanx"] = module_from_spec(spec)
        spec.loader.exec_module(module)


_load_phalanx()

import phalanx.ipyparallel as _ours  # noqa: E402

__version__ = _ours.__version__
__all__ = _ours.__all__


def __getattr__(name: str) -> object:
    value = getattr(_ours, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return dir(_ours)


def _find(name: str) -> ModuleSpec | None:
    """``importlib.util.find_spec``, for modules of packages; None if it has no
    parent."""
    if name in sys.modules:
        return getattr(sys.modules[name], "__spec__", None)
    package = name.rpartition(".")[0]
    if package != "phalanx.ipyparallel" and _find(package) is None:
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
    """Loads ``ipyparallel.X`` as the module object of ``phalanx.ipyparallel.X``."""

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
        """The code for ``python -m ipyparallel.X``."""
        spec = _find(self.name)
        loader: Any = spec.loader if spec is not None else None
        return loader.get_code(self.name) if loader is not None else None

    def is_package(self, fullname: str) -> bool:
        spec = _find(self.name)
        return spec is not None and spec.submodule_search_locations is not None


class _Finder:
    """Finds every module of this package in ``phalanx.ipyparallel``."""

    def find_spec(
        self, fullname: str, path: object, target: "ModuleType | None" = None
    ) -> ModuleSpec | None:
        if not fullname.startswith(f"{__name__}."):
            return None
        name = "phalanx." + fullname
        found = _find(name)
        if found is None:
            return None
        loader: Any = _Alias(name)
        spec = ModuleSpec(fullname, loader, origin=found.origin)
        spec.submodule_search_locations = found.submodule_search_locations
        spec.has_location = found.has_location
        return spec


sys.meta_path.insert(0, _Finder())
