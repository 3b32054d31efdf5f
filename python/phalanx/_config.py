"""Where the package's files are, and profiling libraries."""

import os
import warnings
from collections.abc import Iterable
from os.path import dirname, exists, isfile, join, realpath

PACKAGE = dirname(realpath(__file__))

Name = str | bytes | os.PathLike[str] | os.PathLike[bytes]


def get_include() -> str:
    """Return the directory of the C headers (``mpi.h``)."""
    return join(PACKAGE, "include")


def get_config() -> dict[str, str]:
    """Return what there is to know for building against the MPI library.

    ``mpicc`` is a compiler that finds header and library, ``library`` the library.
    """
    config: dict[str, str] = {}
    compiler = join(PACKAGE, "doors", "bin", "mpicc")
    if exists(compiler):
        config["mpicc"] = compiler
    library = join(PACKAGE, "_native", "libmpi_abi.so.1")
    if exists(library):
        config["library"] = library
    return config


_profilers: list[tuple[str, int]] = []


def profile(name: Name, *, path: Name | Iterable[Name] | None = None) -> None:
    """Load a library that uses the profiling interface of MPI.

    ``name`` is a file or a library's name without prefix and suffix, looked for
    in ``path``, by default the current directory.
    """
    from _ctypes import dlopen  # type: ignore[import-not-found,unused-ignore]

    directories: list[Name]
    if path is None:
        directories = [""]
    elif isinstance(path, str | bytes):
        directories = list(os.fsdecode(path).split(os.pathsep))
    elif isinstance(path, os.PathLike):
        directories = [path]
    else:
        directories = list(path)
    plain = os.fsdecode(name)
    for directory in map(os.fsdecode, directories):
        for candidate in (plain, f"lib{plain}.so"):
            file = join(directory, candidate)
            if isfile(file):
                break
        else:
            continue
        break
    else:
        raise ValueError(f"profiler {plain!r} not found")
    try:
        handle = dlopen(realpath(file), os.RTLD_NOW | os.RTLD_GLOBAL)
    except OSError as error:
        warnings.warn(str(error), stacklevel=2)
    else:
        _profilers.append((plain, handle))
