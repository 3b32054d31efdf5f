"""Random calls with wild arguments: no crash, no hang, nothing left behind.

The programs are in `tests/wild`. Each batch is a job of its own with a seed, which a
failure names; `python tests/run.py wild` makes the same calls every time. The long
tier `wilder` goes on with other seeds, for PHALANX_TEST_CALLS calls (a million).
"""

import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .process import PHALANX, PYTHON, ROOT, TESTS, Counts, run

FOLDER = TESTS / "wild"
SECONDS = 240.0  # until a batch counts as hung


@dataclass(frozen=True)
class Kind:
    """One kind of batch: what it calls, at how many ranks, how many calls it makes."""

    name: str
    command: tuple[str, ...]
    ranks: int
    calls: int
    batches: int  # of the bounded tier

    def job(self, seed: int) -> list[str]:
        launcher = [PHALANX, "run", "-n", str(self.ranks)] if self.ranks > 1 else []
        return [*launcher, *self.command, str(seed), str(self.calls)]


def kinds(program: Path) -> list[Kind]:
    python = (PYTHON, "-W", "ignore", str(FOLDER / "calls.py"))
    return [
        Kind("C", (str(program),), 1, 20_000, 40),
        Kind("MPI", (*python, "MPI"), 1, 4000, 10),
        Kind("MPI", (*python, "MPI"), 2, 2000, 4),
        Kind("_workers", (*python, "_workers"), 1, 4000, 4),
    ]


def build(folder: Path, counts: Counts) -> Path | None:
    """Write and compile the C program; None when that fails."""
    source, program = folder / "wild.c", folder / "wild"
    done = run([PYTHON, str(FOLDER / "c_calls.py"), str(ROOT / "abi"), str(source)], 60)
    if done.code == 0:
        command = [PHALANX, "cc", "-O1", "-g", str(source), "-o", str(program)]
        done = run(command, 300)
    if done.code != 0:
        counts.fail("the C program of wild calls does not build", done.output)
        return None
    return program


def run_batch(kind: Kind, seed: int, counts: Counts) -> None:
    names = set(os.listdir("/dev/shm"))
    with tempfile.TemporaryDirectory() as folder:
        last, temporary = Path(folder, "last"), Path(folder, "tmp")
        last.mkdir()
        temporary.mkdir()
        env = {"WILD_LAST": str(last), "TMPDIR": str(temporary)}
        done = run(kind.job(seed), SECONDS, env=env, cwd=temporary)
        wrong = []
        if done.code != 0:
            wrong.append(f"status {done.code}" if done.code is not None else "hangs")
        elif done.output.count(" calls") < kind.ranks:
            wrong.append("ended early")
        if "panicked at" in done.output:
            wrong.append("panicked")
        left = [path.name for path in temporary.iterdir()]
        # Other programs make names, too; ours would carry our name.
        left += [n for n in set(os.listdir("/dev/shm")) - names if "phalanx" in n]
        if left:
            wrong.append(f"left {left}")
        if not wrong:
            counts.passed += 1
            return
        calls = [path.read_text(errors="replace") for path in last.iterdir()]
        lines = [text.partition("\n")[0] for text in calls]
        counts.fail(
            f"{kind.name}, {kind.ranks} ranks, seed {seed}: {', '.join(wrong)}",
            "\n".join([done.output, "last calls:", *lines, " ".join(kind.job(seed))]),
        )


def run_batches(first_seed: int, calls: int | None) -> Counts:
    """The batches of the bounded tier, or so many calls from other seeds on."""
    counts = Counts()
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder), counts)
        if program is None:
            return counts
        every = kinds(program)
        of_one_round = sum(kind.calls * kind.ranks * kind.batches for kind in every)
        rounds = 1 if calls is None else -(-calls // of_one_round)
        for round_ in range(rounds):
            for kind in every:
                for batch in range(kind.batches):
                    seed = first_seed + round_ * kind.batches + batch
                    run_batch(kind, seed, counts)
        print(f"   {rounds * of_one_round} calls in {counts.passed} good batches")
    return counts


def run_all() -> Counts:
    return run_batches(1, None)


def run_long() -> Counts:
    return run_batches(1000, int(os.environ.get("PHALANX_TEST_CALLS", "1_000_000")))
