"""Tables with engines down and measurements across: what they are made of."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path


@dataclass(frozen=True)
class Engine:
    """One line of a table: `environment` is that of `bench/ENVIRONMENT.txt`."""

    name: str
    environment: str = "peers"
    forks: bool = True  # compared with Phalanx's fork, else with its spawn
    launched: bool = False  # by mpiexec
    against: str = ""  # the only one to compare with; default: all like it
    python: str = sys.executable  # of ours
    beside: str = ""  # what tells an older Phalanx from this one

    @property
    def ours(self) -> bool:
        return self.environment == ""

    @property
    def shown(self) -> str:
        return f"{self.name}{self.beside}"

    def older(self, number: int, folder: Path) -> "Engine":
        """The same of the Phalanx that is installed in another environment."""
        return replace(self, python=str(folder / "python"), beside=f", {number}")

    def command(self, places: dict[str, Path], *program: str) -> list[str]:
        """The command line of a Python program under this engine."""
        if self.ours:
            return [self.python, *program]
        place = places[self.environment]
        launcher = [str(place / "mpiexec"), "-n", "1"] if self.launched else []
        return [*launcher, str(place / "python"), *program]


@dataclass(frozen=True)
class Column:
    """One measurement: its heading, what it is, how many times faster we aim at."""

    name: str
    what: str
    aim: float | None = None
    rate: bool = False  # shown as operations per second
    alone: bool = False  # in a process of its own
    unit: str = "s"  # else "MiB", or nothing: a count

    def row_of(self, ours: Engine) -> str:
        """The name of this measurement of one of ours in the record."""
        which = ours.name.removeprefix("Phalanx").strip()
        return f"{self.name}, {which}" if which else self.name


@dataclass(frozen=True)
class Table:
    """Engines down, measurements across; `python -m PROGRAM ENGINE COLUMN ...`."""

    title: str
    columns: tuple[Column, ...]
    engines: tuple[Engine, ...]
    program: str
    turns: int = 1  # of each engine in a round
    limit: float = 60.0  # seconds for one process that measures

    def peers_of(self, ours: Engine) -> list[str]:
        """The names of the engines that one of ours is compared with.

        Workers that are forked start sooner than others, so those which are not
        forked are compared with their like.
        """
        if ours.against:
            return [ours.against]
        return [
            engine.name
            for engine in self.engines
            if not engine.ours and (ours.forks or not engine.forks)
        ]
