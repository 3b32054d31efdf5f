"""What a process tells a controller of itself.

(Every engine says it as it starts: what `platform` and `importlib.metadata` would take
long to find out is looked up here.)
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["hello"]


def hello() -> "dict[str, Any]":
    """The fields of the first message of a connection."""
    system = os.uname()
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "cloudpickle": _version_of("cloudpickle"),
        "platform": f"{system.sysname}-{system.release}-{system.machine}",
        "host": system.nodename,
        "pid": os.getpid(),
        "cwd": os.getcwd(),
        "name": os.path.basename(sys.argv[0] if sys.argv else "") or "python",
    }


def _version_of(package: str) -> str:
    """The version of an installed package; empty if it is not."""
    loaded = sys.modules.get(package)
    if loaded is not None:
        return str(getattr(loaded, "__version__", ""))
    for place in sys.path:
        try:
            names = os.listdir(place or ".")
        except OSError:
            continue
        for name in names:
            if name.startswith(f"{package}-") and name.endswith(
                (".dist-info", ".egg-info")
            ):
                return name.removeprefix(f"{package}-").rpartition(".")[0]
    return ""
