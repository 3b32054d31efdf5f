"""``import ipyparallel`` answered by Phalanx, while that door is open.

This directory's parent stands first on ``sys.path`` then. The names and modules of this
package are those of ``phalanx.ipyparallel``: the same objects under another name,
loaded when they are asked for.
"""

import sys


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
from phalanx._alias import Finder as _Finder  # noqa: E402

__version__ = _ours.__version__
__all__ = _ours.__all__


def __getattr__(name: str) -> object:
    value = getattr(_ours, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return dir(_ours)


sys.meta_path.insert(0, _Finder(__name__, "phalanx.{}".format))
