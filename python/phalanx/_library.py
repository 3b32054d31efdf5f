"""The choice of the MPI library, before ``phalanx.MPI`` is loaded.

The extension needs the library ``libmpi_abi.so.1`` by that name, and finds the
embedded engine beside itself unless a library of that name is loaded already.
``PHALANX_MPI`` names one to load first: ``embedded`` (or nothing) for none,
``site`` for what the system's loader finds, else the path of a library.
"""

import os

VARIABLE = "PHALANX_MPI"
SONAME = "libmpi_abi.so.1"


def load_chosen() -> None:
    """Load the library that ``PHALANX_MPI`` names; do nothing for the embedded one."""
    chosen = os.environ.get(VARIABLE, "")
    if chosen in ("", "embedded"):
        return
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
