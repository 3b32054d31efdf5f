"""Small programs that wait in vain are named; right ones that look alike are not.

The programs are rows of the files in `tests/waiting`. A wrong one must end by itself,
with its status, the name of its class in standard error, and there the marked ranks
and lines. A right one must end with status 0 and say nothing.

``waiting.txt`` lists the programs of which that is not so yet, each with its reason;
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

from waiting import PROGRAMS, Program, Right, Wrong
from waiting.program import Mark

from .process import PHALANX, PYTHON, TESTS, Counts

LISTED = TESTS / "tiers" / "waiting.txt"
SECONDS = 20.0  # until a program counts as hung
SLICE = 0.05
# As users have it, whatever the other tiers want.
ENVIRONMENT = {k: v for k, v in os.environ.items() if k != "PHALANX_ON_DEADLOCK"}
# Most programs sleep most of the time.
TOGETHER = 3 * (os.cpu_count() or 2)


@dataclass(frozen=True)
class Ended:
    """How a job ended. `code` is None when it hung."""

    code: int | None
    out: str
    err: str
    seconds: float


def run_program(program: Program) -> Ended:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        script = folder / f"{program.name}.py"
        script.write_text(program.source)
        out, err = folder / "out", folder / "err"
        launch = [PHALANX, "run", "-n", str(program.ranks), *program.flags]
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
ENTRY = re.compile(r"^ +ranks? (\d[\d, -]*)", re.MULTILINE)


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
        lacking = [r for r in mark.ranks if f"exception in rank {r} of" not in err]
    else:
        entries = ENTRY.split(err)[1:]
        pairs = zip(entries[::2], entries[1::2], strict=True)
        named = [words for words, text in pairs if re.search(place, text)]
        ranks = {rank for words in named for rank in ranks_of(words)}
        lacking = [rank for rank in mark.ranks if rank not in ranks]
    return [f"rank {rank} is not named at {here}" for rank in lacking]


def complaints(program: Program, ended: Ended) -> list[str]:
    if ended.code is None:
        return [f"hangs (killed after {SECONDS:.0f} s)"]
    if isinstance(program, Right):
        wrong = [f"status {ended.code}"] if ended.code != 0 else []
        return wrong + (["something is said of it"] if ended.err else [])
    assert isinstance(program, Wrong)
    wrong = []
    if ended.code != program.status:
        wrong.append(f"status {ended.code}, expected {program.status}")
    if not re.search(program.named, " ".join(ended.err.split())):
        wrong.append(f"nothing in standard error matches {program.named!r}")
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


def report(program: Program, ended: Ended) -> str:
    head = f"{program.name}.py at {program.ranks} ranks, {' '.join(program.flags)}"
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
    chosen = [p for p in PROGRAMS if not names or p.name in names]
    excused = allowed()
    known = {program.name for program in PROGRAMS}
    counts.expect(len(known) == len(PROGRAMS), "two programs have the same name")
    for name in sorted((set(names) | set(excused)) - known):
        counts.fail(f"no program is called {name}")
    for name in [name for name, reason in excused.items() if not reason]:
        counts.fail(f"{LISTED.name}: {name} without a reason")
    good = {Wrong: 0, Right: 0}
    late: list[tuple[float, str]] = []
    with ThreadPoolExecutor(TOGETHER) as threads:
        for program, ended in zip(
            chosen, threads.map(run_program, chosen), strict=True
        ):
            wrong = complaints(program, ended)
            if names:
                print(report(program, ended))
            if program.name in excused:
                what = f"{LISTED.name}: {program.name} is fine, strike it out"
                counts.expect(bool(wrong), what)
                continue
            what = f"{program.name}: {'; '.join(wrong)}"
            counts.expect(not wrong, what, report(program, ended))
            good[type(program)] += not wrong
            if isinstance(program, Wrong) and not wrong:
                late.append((ended.seconds, program.name))
    of = {kind: sum(isinstance(p, kind) for p in chosen) for kind in good}
    late.sort()
    print(
        f"   {good[Wrong]} of {of[Wrong]} wrong programs named, "
        f"{good[Right]} of {of[Right]} right ones with nothing said; "
        f"{len(excused)} excused"
    )
    if late:
        print(
            f"   wrong ones ended {late[len(late) // 2][0]:.1f} s after their start "
            f"(median), the last after {late[-1][0]:.1f} s ({late[-1][1]})"
        )
    return counts
