"""Our binding on other MPI libraries, and what those get wrong.

MPICH and Intel MPI come from PyPI, with pinned hashes, into ``build/libraries``; a
library of MPI 3.1 is made in front of MPICH (`plain_library`). ``flaws.tsv`` beside
this module lists what the two get wrong, each row with a program: it is run on the
library, and fails when the library no longer gets it wrong, so that the table stays
true. ``docs/libraries.md`` shows the table (``--write`` makes it anew).
"""

import os
import re
import sys
import venv
from dataclasses import dataclass
from pathlib import Path

from . import plain_library
from .process import PHALANX, PYTHON, ROOT, TESTS, Counts, count_unittest, run

WORK = ROOT / "build" / "libraries"
REQUIREMENTS = TESTS / "requirements"
PROGRAMS = TESTS / "libraries"
FLAWS = TESTS / "tiers" / "flaws.tsv"
PAGE = ROOT / "docs" / "libraries.md"
SECONDS = 120.0
RANKS = (1, 2, 3)


@dataclass(frozen=True)
class Library:
    """One library from PyPI, and how programs are started on it."""

    name: str
    requirement: str
    home: Path

    @property
    def file(self) -> str:
        return str(self.home / "lib" / "libmpi_abi.so.1")

    @property
    def env(self) -> dict[str, str]:
        path = f"{self.home / 'bin'}:{os.environ['PATH']}"
        return {"PHALANX_MPI": self.file, "PATH": path}


LIBRARIES = tuple(
    Library(name, requirement, WORK / name)
    for name, requirement in (("mpich", "mpich.txt"), ("intel", "intel.txt"))
)


def install(library: Library, counts: Counts) -> bool:
    """Install a library, once; False, and a failure, when that fails."""
    wanted = (REQUIREMENTS / library.requirement).read_text()
    stamp = library.home / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return True
    venv.create(library.home, with_pip=True, clear=True)
    pip = [str(library.home / "bin" / "python"), "-m", "pip", "--quiet", "install"]
    pip += ["--disable-pip-version-check", "--require-hashes", "-r"]
    done = run([*pip, str(REQUIREMENTS / library.requirement)], 900)
    if done.code != 0:
        counts.fail(f"pip install of {library.name}", done.output)
        return False
    stamp.write_text(wanted)
    return True


# A library of MPI 3.1


def run_plain(behind: str, counts: Counts) -> None:
    """Our binding on a library without large counts and newer functions."""
    library = plain_library.build(behind, WORK / "plain", counts)
    if library is None:
        return
    env = {"PHALANX_MPI": library}
    for ranks in RANKS:
        program = str(PROGRAMS / "plain.py")
        command = [PHALANX, "run", "-n", str(ranks), PYTHON, program]
        done = run(command, SECONDS, env=env)
        counts += count_unittest(done, f"what MPI 3.1 lacks, at {ranks} ranks")


# Executors, started by the library's own launcher


def run_executors(library: Library, counts: Counts) -> None:
    launcher = str(library.home / "bin" / "mpiexec")
    program = str(PROGRAMS / "executor.py")
    pool = [PYTHON, "-m", "phalanx.futures", program]
    for ranks in (2, 3, 4):
        for kind, command in (("pool", pool), ("comm", [PYTHON, program])):
            started = [launcher, "-n", str(ranks), *command, kind]
            done = run(started, SECONDS, env=library.env)
            good = done.code == 0 and f"done {kind}" in done.output
            what = f"executors ({kind}) of {library.name}'s mpiexec -n {ranks}"
            counts.expect(good, what, done.output)
    # The launcher ends the job, and nobody waits for ever.
    done = run([launcher, "-n", "3", *pool, "killed"], SECONDS, env=library.env)
    good = done.code not in (0, None) and "done" not in done.output
    counts.expect(good, f"a killed worker ends {library.name}'s job", done.output)


# What a rank that leaves does to the others, under the library's own launcher


def run_leaving(library: Library, counts: Counts) -> None:
    launcher = str(library.home / "bin" / "mpiexec")
    program = str(PROGRAMS / "leaves.py")
    for ranks in (2, 3):
        for how, code, said in (
            ("exits", 3, "exits with status 3: the job ends"),
            ("raises", 1, "ValueError: wrong"),
            ("caught", 0, "well"),
            ("finalized", 4, ""),
        ):
            command = [launcher, "-n", str(ranks), PYTHON, program, how]
            done = run(command, SECONDS, env=library.env)
            good = done.code == code and said in done.output
            what = f"a rank leaves ({how}) of {library.name}'s mpiexec -n {ranks}"
            counts.expect(good, what, f"status {done.code}: {done.output}")


# What a library gets wrong


@dataclass(frozen=True)
class Flaw:
    """A row of the table: a program whose output on the library is `shows`."""

    library: str
    ranks: int
    program: str
    shows: str
    text: str


def flaws() -> list[Flaw]:
    rows = [
        line.split("\t")
        for line in FLAWS.read_text().splitlines()
        if line and not line.startswith("#")
    ]
    return [Flaw(row[0], int(row[1]), *row[2:]) for row in rows[1:]]


def shown(flaw: Flaw, library: Library) -> str:
    """What the program shows: its last line, or how it ended."""
    program = str(PROGRAMS / "flaws" / f"{flaw.program}.py")
    command = [PHALANX, "run", "-n", str(flaw.ranks), PYTHON, program]
    done = run(command, 20, env=library.env)
    if done.code is None:
        return "hangs"
    told: list[str] = re.findall(r"^shows: (.*)$", done.output, re.MULTILINE)
    if told:
        return told[-1]
    return "ends the job" if done.code else "says nothing"


def run_flaws(library: Library, counts: Counts) -> None:
    for flaw in flaws():
        if flaw.library != library.name:
            continue
        found = shown(flaw, library)
        what = f"{flaw.program} on {library.name}: expected {flaw.shows!r}: {found!r}"
        if found == "right":
            what += "; it is mended: take the row out of flaws.tsv"
        counts.expect(found == flaw.shows, what)


def table() -> str:
    """The rows for `docs/libraries.md`."""
    names = {"mpich": "MPICH", "intel": "Intel MPI"}
    lines = [
        "| library | what it gets wrong | ranks | what happens |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| {names[flaw.library]} | {flaw.text} "
        f"([program](../tests/libraries/flaws/{flaw.program}.py)) "
        f"| {flaw.ranks} | {flaw.shows} |"
        for flaw in flaws()
    ]
    return "\n".join(lines)


MARKS = re.compile(r"(<!-- flaws -->\n).*?(\n<!-- end -->)", re.DOTALL)


def page(text: str) -> str:
    return MARKS.sub(lambda match: f"{match[1]}{table()}{match[2]}", text)


# All


def run_all() -> Counts:
    counts = Counts()
    counts.expect(page(PAGE.read_text()) == PAGE.read_text(), f"{PAGE} is not current")
    for library in LIBRARIES:
        here = Counts()
        if install(library, here):
            for ranks in RANKS:
                program = str(PROGRAMS / "other.py")
                command = [PHALANX, "run", "-n", str(ranks), PYTHON, program]
                done = run(command, SECONDS, env=library.env)
                here += count_unittest(done, f"{library.name} at {ranks} ranks")
            run_executors(library, here)
            run_leaving(library, here)
            run_flaws(library, here)
        if library.name == "mpich" and not here.failures:
            run_plain(library.file, here)
        print(f"   {library.name}: {here.passed} passed, {here.failed} failed")
        counts += here
    return counts


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        PAGE.write_text(page(PAGE.read_text()))
