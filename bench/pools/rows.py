"""What is measured, and under which engines: data."""

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

    def row_of(self, ours: Engine) -> str:
        """The name of this measurement of one of ours in the record."""
        return f"{self.name}, {ours.name.removeprefix('Phalanx ')}"


@dataclass(frozen=True)
class Table:
    """Engines down, measurements across; `group` is what `measure` is asked for."""

    title: str
    columns: tuple[Column, ...]
    engines: tuple[Engine, ...]
    turns: int = 1  # of each engine in a round

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


POOLS = Table(
    "pools of two workers",
    (
        Column("tasks/s", "no-op tasks per second, map, chunk size 1", 4, rate=True),
        Column("trip", "one call and its result, nothing else under way", 4),
        Column("64 MiB", "array of 64 MiB in, changed in place, returned", 4),
        Column("64 new", "array of 64 MiB in, another one returned"),
        Column("start", "pool made, one task, pool ended", 1),
        Column("script", "a whole script with one task, its imports too"),
        Column("import", "the import alone"),
        Column("lost", "from the kill of a worker to the error of its task"),
    ),
    (
        Engine("Phalanx fork", ""),
        Engine("Phalanx spawn", "", forks=False),
        Engine("Phalanx futures", ""),
        Engine("multipr. fork"),
        Engine("multipr. spawn", forks=False),
        Engine("concurrent.futures"),
        Engine("loky", forks=False),
        Engine("mpire"),
        Engine("mpi4py.futures", "mpich", forks=False, launched=True),
    ),
)
QUEUES = Table(
    "queues between two processes",
    (
        Column("hop", "a number there, as half of there and back", 4),
        Column("ints/s", "numbers per second, one process to the other", 5, rate=True),
        Column("1 MiB", "array of 1 MiB there, a number back", 8),
    ),
    (
        Engine("Phalanx Queue", "", against="multipr. Queue"),
        Engine("Phalanx SimpleQueue", "", against="multipr. SimpleQueue"),
        Engine("multipr. Queue"),
        Engine("multipr. SimpleQueue"),
        Engine("multipr. Pipe"),
    ),
)
LOCKS = Table(
    "locks, acquire and release, nobody else wants them",
    (
        Column("Lock", "multiprocessing.Lock", 1),
        Column("RLock", "multiprocessing.RLock", 1),
        Column("Semaphore", "multiprocessing.Semaphore(1)", 1),
    ),
    (Engine("Phalanx locks", ""), Engine("multipr. locks")),
    # A turn takes a second, and the machine's speed changes every few.
    turns=7,
)
TABLES = (POOLS, QUEUES, LOCKS)
