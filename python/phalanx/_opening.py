"""Doing something to a module just after its import, and the door that needs it.

``phalanx run --doors multiprocessing`` loads this file at the start of every
Python process, by its path, so that a process that never imports
``multiprocessing`` never loads Phalanx either.
"""

# This runs at the start of every Python process of a job: it imports what all of them
# have loaded already, and finders and loaders have no base class.
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from importlib.machinery import ModuleSpec
    from types import CodeType, ModuleType
    from typing import Any

    Action = Callable[[ModuleType], None]


class _Loader:
    """Loads a module as its own loader does, and then acts on it."""

    def __init__(self, loader: "Any", action: "Action") -> None:
        self.loader = loader
        self.action = action

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        module: ModuleType | None = self.loader.create_module(spec)
        return module

    def exec_module(self, module: "ModuleType") -> None:
        # From here on nothing shows that somebody else stood in between.
        module.__loader__ = self.loader
        if module.__spec__ is not None:
            module.__spec__.loader = self.loader
        self.loader.exec_module(module)
        # The action may ask for the module as an attribute of its package, which
        # the import system sets only later.
        package, _, name = module.__name__.rpartition(".")
        if package in sys.modules:
            setattr(sys.modules[package], name, module)
        self.action(module)

    def get_code(self, fullname: str) -> "CodeType | None":
        """The code for ``python -m``."""
        code: CodeType | None = self.loader.get_code(fullname)
        return code


class AfterImport:
    """Acts on modules just after their import; each action is done once."""

    def __init__(self) -> None:
        self.actions: dict[str, Action] = {}

    def add(self, name: str, action: "Action") -> None:
        """Act now if the module is imported already, else when it has been."""
        module = sys.modules.get(name)
        spec = getattr(module, "__spec__", None)
        if module is not None and not getattr(spec, "_initializing", False):
            action(module)
            return
        self.actions[name] = action
        if self not in sys.meta_path:
            sys.meta_path.insert(0, self)

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None",
        target: "ModuleType | None" = None,
    ) -> "ModuleSpec | None":
        if fullname not in self.actions:
            return None
        # The others are asked, and followed. Who only looks for the module, without
        # an import, does not use the action up.
        finders: list[Any] = list(sys.meta_path)
        here = next((n for n, finder in enumerate(finders) if finder is self), None)
        others = [] if here is None else finders[here + 1 :]
        # Old finders have another method, which the import system does not call either.
        finds = (getattr(finder, "find_spec", None) for finder in others)
        found = (find(fullname, path, target) for find in finds if find is not None)
        spec: ModuleSpec | None = next((spec for spec in found if spec), None)
        if spec is None or not hasattr(spec.loader, "exec_module"):
            return None
        loader: Any = _Loader(spec.loader, self._act)
        spec.loader = loader
        return spec

    def _act(self, module: "ModuleType") -> None:
        action = self.actions.pop(module.__name__, None)
        if action is not None:
            action(module)


def _package() -> None:
    """Make the package that this file belongs to the one that is imported, if none is.

    A script may run under another Python than the one Phalanx is installed for;
    the extensions work with all of them.
    """
    from importlib.util import find_spec, module_from_spec, spec_from_file_location
    from os.path import dirname, join

    if find_spec("phalanx") is not None:
        return
    home = dirname(__file__)
    spec = spec_from_file_location(
        "phalanx", join(home, "__init__.py"), submodule_search_locations=[home]
    )
    if spec is not None and spec.loader is not None:
        module = sys.modules["phalanx"] = module_from_spec(spec)
        spec.loader.exec_module(module)


def _patch(_module: "ModuleType") -> None:
    try:
        _package()
        from phalanx.multiprocessing import _patch as door

        door.install()
    except ImportError as error:
        sys.stderr.write(
            "phalanx: the door 'multiprocessing' stays closed in this process, which "
            f"uses the standard library's pools and queues: {error}\n"
        )


def open_door() -> None:
    """Patch ``multiprocessing`` when, and if, this process imports it."""
    AfterImport().add("multiprocessing", _patch)
