"""Build one wheel that carries the extension, the library, and the command.

The wheel holds ``phalanx.MPI`` and ``phalanx._workers`` (CPython extensions),
the embedded engine ``phalanx/_native/libmpi_abi.so.1`` (a plain shared library
that C programs can link to as well), its header, the ``phalanx`` binary, and
``phalanx_doors.pth``, by which every Python of the environment opens the doors
when the launcher asks for it.
"""

import os
import shutil
import tomllib
import zipfile
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py
from setuptools.command.editable_wheel import editable_wheel
from setuptools_rust import Binding, RustBin, RustExtension
from setuptools_rust.build import build_rust

ROOT = Path(__file__).parent
HEADERS = ROOT / "crates" / "phalanx-mpi" / "include"
DOORS = ROOT / "python" / "phalanx_doors.pth"
ENGINE = "phalanx._native.libmpi_abi"
CARGO_PROFILE = os.environ.get("PHALANX_BUILD_PROFILE", "release")


class BuildRust(build_rust):
    """Give the engine the file name that its SONAME promises."""

    def get_dylib_ext_path(self, ext: RustExtension, target_fname: str) -> str:
        path = super().get_dylib_ext_path(ext, target_fname)
        if target_fname == ENGINE:
            return os.path.join(os.path.dirname(path), "libmpi_abi.so.1")
        return path


class BuildPy(build_py):
    """Put the headers of the library into the package, and the doors beside it."""

    def run(self) -> None:
        super().run()
        target = Path(self.build_lib, "phalanx", "include")
        target.mkdir(parents=True, exist_ok=True)
        for header in ("mpi.h", "phalanx.h"):
            shutil.copyfile(HEADERS / header, target / header)
        shutil.copyfile(DOORS, Path(self.build_lib, DOORS.name))


class EditableWheel(editable_wheel):
    """Put the doors into the wheel that stands for the source tree."""

    def run(self) -> None:
        super().run()
        for wheel in Path(self.dist_dir).glob("phalanx-*.whl"):
            with zipfile.ZipFile(wheel, "a") as archive:
                if DOORS.name not in archive.namelist():
                    archive.write(DOORS, DOORS.name)


def crate(name: str) -> str:
    return str(Path("crates", name, "Cargo.toml"))


def version() -> str:
    manifest = tomllib.loads((ROOT / "Cargo.toml").read_text())
    return manifest["workspace"]["package"]["version"]


common = {"debug": False, "args": ["--locked", "--profile", CARGO_PROFILE]}

setup(
    version=version(),
    cmdclass={
        "build_rust": BuildRust,
        "build_py": BuildPy,
        "editable_wheel": EditableWheel,
    },
    rust_extensions=[
        RustExtension(
            "phalanx.MPI",
            crate("phalanx-python"),
            binding=Binding.PyO3,
            py_limited_api=True,
            **common,
        ),
        RustExtension(
            "phalanx._workers",
            crate("phalanx-workers"),
            binding=Binding.PyO3,
            py_limited_api=True,
            **common,
        ),
        RustExtension(
            ENGINE,
            crate("phalanx-mpi"),
            binding=Binding.NoBinding,
            py_limited_api=True,
            **common,
        ),
        RustBin("phalanx", crate("phalanx-launcher"), **common),
    ],
    zip_safe=False,
)
