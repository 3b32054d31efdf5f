"""The choice of the MPI library, made before ``phalanx.MPI`` is loaded.

The extension needs the library ``libmpi_abi.so.1`` by that name, and finds the
embedded engine beside itself unless a library of that name is loaded already.
``PHALANX_MPI`` names one to load first: ``embedded`` (or nothing) for none,
``site`` for what the system's loader finds, else the path of a library.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import ModuleType

VARIABLE = "PHALANX_MPI"
SONAME = "libmpi_abi.so.1"


def load_when_needed(chosen: str) -> None:
    """Have the chosen library loaded when, and if, ``phalanx.MPI`` is imported.

    A program that only uses pools needs no MPI library, whatever the variable says.
    """
    sys.meta_path.insert(0, _BeforeMPI(chosen))


class _BeforeMPI:
    """Finds nothing, but hears of the import before the extension is loaded."""

    def __init__(self, chosen: str) -> None:
        self.chosen = chosen

    def find_spec(
        self,
        fullname: str,
        path: "Sequence[str] | None",
        target: "ModuleType | None" = None,
    ) -> None:
        if fullname == "phalanx.MPI":
            _load(self.chosen)


def _load(chosen: str) -> None:
    from _ctypes import dlopen  # type: ignore[import-not-found,unused-ignore]

    name = SONAME if chosen == "site" else os.path.abspath(chosen)
    try:
        # Never RTLD_GLOBAL: another package's MPI must not bind to this one.
        dlopen(name, os.RTLD_NOW | os.RTLD_LOCAL)
    except OSError as error:
        raise ImportError(
            f"{VARIABLE}={chosen}: the MPI library cannot be loaded: {error}; "
            f"name a library with the MPI 5.0 standard ABI, or unset {VARIABLE} "
            "for the embedded engine"
        ) from error
    try:
        dlopen(SONAME, os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_NOLOAD)
    except OSError:
        raise ImportError(
            f"{VARIABLE}={chosen}: this library does not call itself {SONAME}, so "
            "it does not have the MPI 5.0 standard ABI"
        ) from None
