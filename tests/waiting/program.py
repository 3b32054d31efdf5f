"""A small program of the corpus: its text, and what is expected of the job.

The text carries its marks as comments, so that no line number is written down:

    comm.recv(source=1)     # waits: 0 2    in the table, ranks 0 and 2 wait here
    comm.recv(source=1)     # waits:        somebody waits here, whatever its name
    comm.send("x", dest=9)  # fails: 1      rank 1's traceback names this line
    comm.Barrier()          # differs:      at least one of these lines is named
    time.sleep(10)          # moves:        nobody is said to wait here
    comm.Dup()              # found: 1      --check finds a mistake of rank 1 here

Only ranks without which nothing is proved are marked: one that comes to its wait
later than the proof is in the table or not.
"""

import re
import textwrap
from dataclasses import dataclass

HEAD = """\
from mpi4py import MPI
comm = MPI.COMM_WORLD
rank, size = comm.rank, comm.size
"""
MARK = re.compile(r"#\s*(waits|fails|differs|moves|found):((?:\s+\d+)*)\s*$")

# What a wrong program must be called. Each is looked for in standard error.
DEADLOCK = r"deadlock"
MISMATCH = r"the ranks disagree"
ENDED = r"has ended"
TRUNCATED = r"MPI_ERR_TRUNCATE"
# What --check says of a program that needs its small messages to be kept.
KEPT = r"deadlock.*with --check, a send waits until it is received"


@dataclass(frozen=True)
class Mark:
    """One marked line: its number in the program, and the ranks named there."""

    kind: str
    line: int
    ranks: tuple[int, ...]


@dataclass(frozen=True)
class Program:
    """What both kinds have: `name` is its file's, `text` follows on `HEAD`."""

    name: str
    ranks: int
    text: str
    flags: tuple[str, ...] = ()  # of `phalanx run`
    stdin: tuple[float, str] | None = None  # after so many seconds, so much
    head: str = HEAD

    @property
    def source(self) -> str:
        return self.head + textwrap.dedent(self.text).lstrip("\n")

    @property
    def marks(self) -> list[Mark]:
        found = []
        for number, line in enumerate(self.source.splitlines(), start=1):
            if mark := MARK.search(line):
                ranks = tuple(int(rank) for rank in mark[2].split())
                found.append(Mark(mark[1], number, ranks))
        return found


@dataclass(frozen=True)
class Wrong(Program):
    """A program that cannot end well, and how that is to be named."""

    named: str = DEADLOCK  # regular expressions, one or more words of the class
    status: int = 1
    # The same with --check; None: it comes to another end there.
    checked: str | None = ""


@dataclass(frozen=True)
class Right(Program):
    """A program that ends with status 0, and of which nothing is said."""

    # Not run with --check, where it depends on the moment what becomes of it.
    checked: bool = True


@dataclass(frozen=True)
class Found(Program):
    """A program that ends with status 0, and in which --check finds a mistake.

    Those that rely on small messages being kept are such programs: see `KEPT`.
    """

    named: str = KEPT
    status: int = 1
