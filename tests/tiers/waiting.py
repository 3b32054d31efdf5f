"""Small programs that wait in vain are named; right ones that look alike are not.

The programs are rows of the files in `tests/waiting`, and each is run twice: as it is,
and with `--check`. A wrong one must end by itself, with its status, the name of its
class in standard error, and there the marked ranks and lines. A right one must end with
status 0 and say nothing; with `--check` there may be remarks. Of some, `--check` finds
a mistake that has no effect otherwise.

``waiting.txt`` lists the runs of which that is not so yet, each with its reason;
one that is listed and fine is a failure. PHALANX_TEST_WAITING=NAME,NAME runs some
programs only and shows what they print.
"""

import os
import re
import signal
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from waiting import PROGRAMS, Found, Program, Right, Wrong
from waiting.program import Mark

from .process import PHALANX, PYTHON, TESTS, Counts

LISTED = TESTS / "tiers" / "waiting.txt"
SECONDS = 20.0  # until a program counts as hung
SLICE = 0.05
# As users have it, whatever the other tiers want.
UNSET = ("PHALANX_ON_DEADLOCK", "PHALANX_CHECK")
ENVIRONMENT = {k: v for k, v in os.environ.items() if k not in UNSET}
# Most programs sleep most of the time.
TOGETHER = 3 * (os.cpu_count() or 2)


@dataclass(frozen=True)
class Ended:
    """How a job ended. `code` is None when it hung."""

    code: int | None
    out: str
    err: str
    seconds: float


@dataclass(frozen=True)
class Run:
    """A program, as it is or with --check."""

    program: Program
    check: bool

    @property
    def name(self) -> str:
        return f"{self.program.name}{' --check' if self.check else ''}"

    @property
    def flags(self) -> tuple[str, ...]:
        return (*self.program.flags, *(["--check"] if self.check else []))

    @property
    def wants_silence(self) -> bool:
        program = self.program
        return isinstance(program, Right) or (
            isinstance(program, Found) and not self.check
        )


def run_program(run: Run) -> Ended:
    program = run.program
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / f"{program.name}.py"
        script.write_text(program.source)
        out, err = folder / "out", folder / "err"
        launch = [PHALANX, "run", "-n", str(program.ranks), *run.flags]
        begun = time.monotonic()
        with out.open("w") as to_out, err.open("w") as to_err:
            job = subprocess.Popen(
                [*launch, PYTHON, str(script)],
                stdin=subprocess.PIPE,
                stdout=to_out,
                stderr=to_err,
                text=True,
                cwd=folder,
                env={**ENVIRONMENT, "TMPDIR": name},
                start_new_session=True,
            )
        assert job.stdin is not None
        wait, text = program.stdin or (0.0, "")
        # In slices: a machine that stands still is no program that hangs.
        for _ in range(round(SECONDS / SLICE)):
            if not job.stdin.closed and time.monotonic() - begun >= wait:
                job.stdin.write(text)
                job.stdin.close()
            try:
                job.wait(SLICE)
                break
            except subprocess.TimeoutExpired:
                continue
        else:
            os.killpg(job.pid, signal.SIGKILL)
            job.wait()
        seconds = time.monotonic() - begun
        job.stdin.close()
        code = None if job.returncode == -signal.SIGKILL else job.returncode
        said, complained = (path.read_text(errors="replace") for path in (out, err))
        return Ended(code, said, complained, seconds)


# Where the report of a deadlock begins with one rank, or with some that do the same.
ENTRY = re.compile(
    r"^  (?:\[[a-z-]+\] (?:remark: )?)?ranks? (\d[\d, -]*)", re.MULTILINE
)
# Where the report of an exception begins.
RAISED = re.compile(r"^phalanx: ranks? (\d[\d, -]*).*?raised", re.MULTILINE | re.DOTALL)
REMARKS = re.compile(r"phalanx: --check: \d+ remarks?\n(  +.*\n)*")


def ranks_of(words: str) -> set[int]:
    """The ranks that `0, 2-4` names."""
    ranks: set[int] = set()
    for first, last in re.findall(r"(\d+)(?:-(\d+))?", words):
        ranks.update(range(int(first), int(last or first) + 1))
    return ranks


def missing(mark: Mark, program: Program, err: str) -> list[str]:
    """What a mark wants and standard error does not say."""
    name = re.escape(program.name)
    place = rf'{name}\.py(?::|", line ){mark.line}\b'
    found = re.search(place, err) is not None
    here = f"{program.name}.py:{mark.line}"
    if mark.kind == "moves":
        return [f"{here} is said to wait"] if found else []
    if not found:
        return [f"{here} is not named"]
    if mark.kind == "fails":
        named = RAISED.findall(err)
        ranks = {rank for words in named for rank in ranks_of(words)}
        lacking = [rank for rank in mark.ranks if rank not in ranks]
    else:
        entries = ENTRY.split(err)[1:]
        pairs = zip(entries[::2], entries[1::2], strict=True)
        named = [words for words, text in pairs if re.search(place, text)]
        ranks = {rank for words in named for rank in ranks_of(words)}
        lacking = [rank for rank in mark.ranks if rank not in ranks]
    return [f"rank {rank} is not named at {here}" for rank in lacking]


def complaints(run: Run, ended: Ended) -> list[str]:
    program = run.program
    if ended.code is None:
        return [f"hangs (killed after {SECONDS:.0f} s)"]
    if run.wants_silence:
        wrong = [f"status {ended.code}"] if ended.code != 0 else []
        said = REMARKS.sub("", ended.err) if run.check else ended.err
        return wrong + (["something is said of it"] if said else [])
    assert isinstance(program, Wrong | Found)
    wrong = []
    named = program.named
    if isinstance(program, Wrong) and run.check and program.checked:
        named = program.checked
    if ended.code != program.status:
        wrong.append(f"status {ended.code}, expected {program.status}")
    if not re.search(named, " ".join(ended.err.split())):
        wrong.append(f"nothing in standard error matches {named!r}")
    if isinstance(program, Wrong) and run.check and program.checked:
        # It comes to another end, at other lines.
        return wrong
    if "to the end" in ended.out:
        wrong.append("named only when the others had come to their end")
    # One of the lines at which calls differ is enough: the other ranks may be ended.
    differs = [mark for mark in program.marks if mark.kind == "differs"]
    silent = [text for mark in differs for text in missing(mark, program, ended.err)]
    if len(silent) == len(differs):
        wrong += silent
    for mark in program.marks:
        if mark.kind != "differs":
            wrong += missing(mark, program, ended.err)
    return wrong


def numbered(program: Program) -> str:
    lines = program.source.splitlines()
    return "\n".join(f"{i:3} | {line}" for i, line in enumerate(lines, start=1))


def report(run: Run, ended: Ended) -> str:
    program = run.program
    head = f"{program.name}.py at {program.ranks} ranks, {' '.join(run.flags)}"
    status = f"status {ended.code} after {ended.seconds:.1f} s"
    texts = [head, numbered(program), f"--- {status}; standard output", ended.out]
    return "\n".join([*texts, "--- standard error", ended.err])


def allowed() -> dict[str, str]:
    """The programs of `waiting.txt`, with their reasons."""
    lines = [line for line in LISTED.read_text().splitlines() if line[:1] not in "#"]
    pairs = [line.partition("#") for line in lines if line.strip()]
    return {name.strip(): reason.strip() for name, _, reason in pairs}


def run_all() -> Counts:
    counts = Counts()
    names = [
        name for name in os.environ.get("PHALANX_TEST_WAITING", "").split(",") if name
    ]
    chosen = [
        Run(program, check)
        for check in (False, True)
        for program in PROGRAMS
        if not names or program.name in names
        if not (check and isinstance(program, Wrong) and program.checked is None)
        if not (check and isinstance(program, Right) and not program.checked)
    ]
    excused = allowed()
    known = {program.name for program in PROGRAMS}
    counts.expect(len(known) == len(PROGRAMS), "two programs have the same name")
    listed = {name.removesuffix(" --check") for name in excused}
    for name in sorted((set(names) | listed) - known):
        counts.fail(f"no program is called {name}")
    for name in [name for name, reason in excused.items() if not reason]:
        counts.fail(f"{LISTED.name}: {name} without a reason")
    good = {True: 0, False: 0}
    late: list[tuple[float, str]] = []
    with ThreadPoolExecutor(TOGETHER) as threads:
        for run, ended in zip(chosen, threads.map(run_program, chosen), strict=True):
            wrong = complaints(run, ended)
            if names:
                print(report(run, ended))
            if run.name in excused:
                what = f"{LISTED.name}: {run.name} is fine, strike it out"
                counts.expect(bool(wrong), what)
                continue
            what = f"{run.name}: {'; '.join(wrong)}"
            counts.expect(not wrong, what, report(run, ended))
            good[run.wants_silence] += not wrong
            if isinstance(run.program, Wrong) and not wrong:
                late.append((ended.seconds, run.name))
    of = {kind: sum(run.wants_silence == kind for run in chosen) for kind in good}
    late.sort()
    print(
        f"   {good[False]} of {of[False]} runs of wrong programs named, "
        f"{good[True]} of {of[True]} of right ones with nothing said; "
        f"{len(excused)} excused"
    )
    if late:
        print(
            f"   wrong ones ended {late[len(late) // 2][0]:.1f} s after their start "
            f"(median), the last after {late[-1][0]:.1f} s ({late[-1][1]})"
        )
    return counts
