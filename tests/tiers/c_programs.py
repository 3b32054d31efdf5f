"""C programs against our `mpi.h`: at least one calls each function of the standard.

A program says in a comment at how many ranks it runs: `ranks: 1 2 3 8`. One that
says `widths: int count` is built a second time with `COUNTS` defined, by which
`large.h` makes its calls those with `MPI_Count`. It prints one line `N checks` on
rank 0 and exits with a status other than 0 when a check fails.
"""

import importlib.util
import re
import shutil
import tempfile
from pathlib import Path

from .process import PHALANX, PYTHON, ROOT, TESTS, Counts, run, timed

RANKS = re.compile(r"ranks:\s*((?:\d+[ ,]*)+)")
WIDTHS = re.compile(r"widths:\s*((?:(?:int|count)[ ,]*)+)")
CHECKS = re.compile(r"(\d+) checks")

# What the library exports beyond the standard: for our own binding, which finds out
# whether they are there.
BEYOND = {
    "PHALANX_Abort",
    "PHALANX_Comm_ack_failed",
    "PHALANX_Comm_agree",
    "PHALANX_Comm_get_failed",
    "PHALANX_Comm_iagree",
    "PHALANX_Comm_is_revoked",
    "PHALANX_Comm_ishrink",
    "PHALANX_Comm_revoke",
    "PHALANX_Comm_serves",
    "PHALANX_Comm_shrink",
    "PHALANX_Conversion_bytes",
    "PHALANX_Error_text",
    "PHALANX_Irecv",
    "PHALANX_Is_aborting",
    "PHALANX_Is_interrupted",
    "PHALANX_Isend",
    "PHALANX_Lost_handle",
    "PHALANX_Recv_or_mprobe",
    "PHALANX_Send_now",
    "PHALANX_Set_interrupt_hook",
    "PHALANX_Set_place_hook",
    "PHALANX_Set_spot_hooks",
    "PHALANX_Set_wait_hook",
    "PHALANX_Test_lost",
    "PHALANX_Uses_error_function",
    "PHALANX_Version",
}


def standard_names() -> set[str]:
    """The functions of the standard's table."""
    table = (ROOT / "abi" / "functions.tsv").read_text().splitlines()
    rows = [line for line in table if line and not line.startswith("#")]
    return {row.split("\t")[1] for row in rows[1:]}


def exported_names(library: Path) -> set[str]:
    """What a library defines for others."""
    listed = run(["nm", "-D", "--defined-only", str(library)], 60)
    return {line.split()[-1] for line in listed.output.splitlines() if line.strip()}


def check_exports() -> Counts:
    """The library exports the standard's names, each twice, and what `BEYOND` says."""
    counts = Counts()
    if shutil.which("nm") is None:
        counts.skipped += 1
        return counts
    package = importlib.util.find_spec("phalanx")
    assert package is not None and package.origin is not None
    library = Path(package.origin).parent / "_native" / "libmpi_abi.so.1"
    names = standard_names()
    expected = names | {f"P{name}" for name in names} | BEYOND
    found = exported_names(library)
    missing, more = sorted(expected - found), sorted(found - expected)
    counts.expect(
        not missing and not more,
        f"{library.name} lacks {missing} of the standard and exports {more} beyond it",
    )
    return counts


def called_names(binary: Path) -> set[str]:
    """The functions of the library that a program calls, by its own symbols."""
    listed = run(["nm", "-D", "--undefined-only", str(binary)], 60)
    return {line.split()[-1].partition("@")[0] for line in listed.output.splitlines()}


def check_calls(folder: Path) -> Counts:
    """Every function of the standard is called by one of the programs."""
    counts = Counts()
    if shutil.which("nm") is None:
        counts.skipped += 1
        return counts
    called = set().union(*map(called_names, folder.iterdir()))
    missing = sorted(standard_names() - called)
    counts.expect(not missing, f"no program of tests/c calls {', '.join(missing)}")
    return counts


def run_program(source: Path, folder: Path, width: str) -> Counts:
    """Builds a program in one width and runs it at each of its numbers of ranks."""
    counts = Counts()
    binary = folder / f"{source.stem}-{width}"
    flags = ["-Wall", "-Wextra", "-O1", "-g", f"-I{TESTS / 'c'}"]
    flags += ["-DCOUNTS"] if width == "count" else []
    with timed(binary.name, compiling=True):
        built = run([PHALANX, "cc", *flags, str(source), "-o", str(binary)], 60)
    if built.code != 0:
        counts.fail(f"{source.name} ({width}) does not build", built.output)
        return counts
    ranks = RANKS.search(source.read_text())
    for count in ranks[1].replace(",", " ").split() if ranks else ["1", "2"]:
        done = run([PHALANX, "run", "-n", count, str(binary)], 60)
        checks = CHECKS.search(done.output)
        if done.code == 0 and checks:
            counts.passed += int(checks[1])
        else:
            counts.fail(
                f"{source.name} ({width}) at {count} ranks ({done.code})", done.output
            )
    return counts


def run_refusals() -> Counts:
    """Wrong handles and null pointers, for each parameter that takes one."""
    # In a folder of its own: that a wrong call is refused does not show a function.
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / "refusals.c"
        maker = str(TESTS / "c" / "refusals.py")
        made = run([PYTHON, maker, str(ROOT / "abi"), str(source)], 60)
        if made.code != 0:
            counts = Counts()
            counts.fail("refusals.c is not made", made.output)
            return counts
        return run_program(source, Path(folder), "int")


def run_all() -> Counts:
    counts = check_exports()
    counts += run_refusals()
    with tempfile.TemporaryDirectory() as folder:
        for source in sorted((TESTS / "c").glob("*.c")):
            widths = WIDTHS.search(source.read_text())
            for width in widths[1].replace(",", " ").split() if widths else ["int"]:
                counts += run_program(source, Path(folder), width)
        counts += check_calls(Path(folder))
    return counts
