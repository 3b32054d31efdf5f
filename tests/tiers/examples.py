"""Every example, those with ranks at 1, 2, 3 and 8, with its result looked at."""

import re
import shlex
import tempfile
from dataclasses import dataclass
from pathlib import Path

from .process import PHALANX, PYTHON, ROOT, Counts, Finished, run

EXAMPLES = ROOT / "examples"
RANKS = (1, 2, 3, 8)
HEAT = r"mean temperature 0\.13356\d+, hottest 0\.4962\d+"


@dataclass(frozen=True)
class Case:
    """A command line (without launcher), and what its output must match."""

    command: str
    expected: str
    picture: str = ""
    ranks: tuple[int, ...] = RANKS
    module: tuple[str, ...] = ()  # What runs the script.
    flags: tuple[str, ...] = ()  # Of the launcher.
    status: int = 0


CASES = (
    Case("words.py examples --check", r"files.*serial count took .* and agrees"),
    # The whole of Python's library takes each of two counts ten seconds.
    Case("words.py --check", r"files.*serial count took .* and agrees", ranks=(3,)),
    Case("pi.py 2e6", r"pi is about 3\.14159265358\d+, off by"),
    Case(
        "heat.py --size 96 --steps 300 --out {tmp}/heat.png",
        HEAT,
        "heat.png",
    ),
    Case(
        "quantiles.py 1e6",
        r"mean 1\.133204, deviation 0\.604763\n"
        r"\s+1% quantile 0\.312687\n\s+25% quantile 0\.713649\n"
        r"\s+50% quantile 0\.999537\n\s+75% quantile 1\.400267\n"
        r"\s+99% quantile 3\.206639",
    ),
    Case(
        "farm.py --width 120 --out {tmp}/farm.png",
        r"in the set: 34\.98%.* of 10 tasks",
        "farm.png",
    ),
    Case(
        "survivors.py --size 200 --lose 2",
        r"step 133: 1 of 3 ranks are left.*eigenvalue 9\.9384\d+ after 200 steps, on 1",
        ranks=(3,),
        flags=("--keep-going",),
        status=128 + 9,
    ),
    Case("survivors.py --lose 0", r"after 200 steps, on \d rank"),
    Case("spawn.py 2 2e6", r"148,933 primes below 2,000,000", ranks=(1,)),
    Case("overlap.py --frames 6 --points 20000", r"spread of the swarm: \d"),
    Case(
        "rings.py --steps 4 --grains 100",
        r"energy -747\.9\d+, changed by .* divided by work: the "
        r"busiest has (100|50|34|16) %",
    ),
    Case(
        "rings.py --steps 4 --grains 100 --divide rings",
        r"divided by rings: the busiest has (100|71|57|28) %",
    ),
    Case(
        "slabs.py --size 97 --out {tmp}/field.npy",
        r"75272 bytes in field\.npy by \d ranks: agrees",
    ),
    Case("life.py", r"116 cells after 1103 generations"),
    Case("census.py --most 60 --check", r"60 files in .*\n.*\na serial count agrees"),
    Case(
        "compressors.py --megabytes 1",
        r"18 settings on 1,048,576 bytes, \d workers.*gave back the same bytes",
        module=("-m", "phalanx.futures"),
    ),
    Case("compressors.py --megabytes 1 --workers 2", r"2 workers.*same", ranks=(1,)),
)


# Without ranks: plain Python; with a door: under `phalanx run`.
POOL_CASES = (
    Case("samples.py", r"[\d,]+ files, [\d,]+ lines.*NumPy on the whole array agrees"),
    Case("pool_pi.py 2e6", r"on multiprocessing\.pool\.Pool\n.*: 3\.14159265359"),
    Case("thumbnails.py --count 8", r"skipped: letter\.pgm.*8 thumbnails in"),
    Case(
        "study.py --points 200 --quiet",
        r"200 rates, \d+ of them chaotic; one worker was killed\n.*"
        r"without retries: .*\nand the other 199 results arrived",
    ),
    Case("in_order.py", r"in order .*; a serial run agrees"),
    Case("orbits.py --orbits 100000", r"largest error \d\.\de-1\d; the three agree"),
    Case("compressors.py --megabytes 1", r"18 settings.*gave back the same bytes"),
    Case("logbook.py", r"was told: .* cut off .*200 entries by 4 writers, all whole"),
    Case(
        "cluster_study.py --points 100",
        r"100 rates, \d+ of them chaotic\n1 of 2 engines are left",
    ),
    Case("cluster_pi.py --points 5e5", r"500,000 points on 2 engines: pi.* 3\.1412,"),
)
DOOR_CASE = Case(
    "pool_pi.py 2e6",
    r"on phalanx\.multiprocessing\.pool\.Pool\n.*: 3\.14159265359",
)


# Command lines that end with a sentence and this status, within a time limit.
WRONG = (
    ("farm.py --width 0", 2, "--width: 0: expected 2 or more"),
    ("farm.py --out {empty}/a/b.png", 2, "a folder that is there"),
    ("heat.py --size 1", 2, "expected 2 or more"),
    ("heat.py --steps -1", 2, "expected 0 or more"),
    ("heat.py --out {empty}", 2, "expected a file"),
    ("census.py {empty}", 1, "no files end in .py"),
    ("census.py --most 0", 2, "expected 1 or more"),
    ("life.py --size 2", 2, "expected 3 or more"),
    ("life.py --generations -1", 2, "expected 0 or more"),
    ("life.py {empty}", 1, "the pattern cannot be read"),
    ("overlap.py --frames 0", 2, "expected 1 or more"),
    ("overlap.py --points 0", 2, "expected 1 or more"),
    ("rings.py --steps 0", 2, "expected 1 or more"),
    ("rings.py --grains 0", 2, "expected 1 or more"),
    ("rings.py --divide none", 2, "invalid choice"),
    ("pi.py 0", 2, "expected 1 or more"),
    ("pi.py x", 2, "expected a whole number"),
    ("quantiles.py 0", 2, "expected 1 or more"),
    ("quantiles.py inf", 2, "expected a whole number"),
    ("survivors.py --lose -1", 2, "expected 0 or more"),
    ("spawn.py 0", 2, "workers: 0: expected 1 or more"),
    ("spawn.py 2 -1", 2, "limit: -1: expected 1 or more"),
    ("compressors.py {empty}", 1, "no files end in .py"),
    ("compressors.py {file}", 2, "expected a folder, this is a file"),
    ("compressors.py --workers 0", 2, "expected 1 or more"),
    ("words.py --top -1", 2, "expected 0 or more"),
    ("words.py {file}", 2, "expected a folder"),
    ("words.py {empty}", 1, "no files end in .py"),
    ("in_order.py {empty}", 1, "no files"),
    ("in_order.py {file}", 2, "expected a folder, this is a file"),
    ("in_order.py --workers 0", 2, "expected 1 or more"),
    ("in_order.py --workers -1", 2, "expected 1 or more"),
    ("logbook.py --writers 0", 2, "expected 1 or more"),
    ("logbook.py --entries -1", 2, "expected 1 or more"),
    ("orbits.py --orbits 0", 2, "expected 1 or more"),
    ("pool_pi.py nan", 2, "expected a whole number"),
    ("pool_pi.py inf", 2, "expected a whole number"),
    ("pool_pi.py -5", 2, "expected 40 or more"),
    ("pool_pi.py --workers 0", 2, "expected 1 or more"),
    ("samples.py {empty}", 1, "no files end in .py"),
    ("samples.py {empty}/not_there", 2, "expected a folder, there is nothing"),
    ("samples.py {blank}", 1, "only blank lines"),
    ("study.py --points 1", 2, "--points must be above 123"),
    ("thumbnails.py {empty}", 1, "no .pgm files"),
    ("thumbnails.py {file}", 2, "expected a folder"),
    ("thumbnails.py {letters}", 1, "none of 1 .pgm files can be read"),
    ("thumbnails.py {letters} --out letter.pgm", 2, "File exists"),
    ("thumbnails.py --count 0", 2, "expected 1 or more"),
    ("cluster_study.py --points 1", 2, "--points must be above 60"),
    ("cluster_study.py --engines 1", 2, "--engines must be 2 or more"),
    ("cluster_pi.py --points nan", 2, "expected 1 or more"),
    ("cluster_pi.py --engines 0", 2, "expected 1 or more"),
)
WITH_RANKS = {case.command.split()[0] for case in CASES if not case.module}


def start_example(command: str, ranks: int) -> Finished:
    """Run an example; one that has ranks on so many, others in plain Python."""
    script, *options = command.split()
    program = [PYTHON, str(EXAMPLES / script), *options]
    if script in WITH_RANKS:
        program = [PHALANX, "run", "-n", str(ranks), *program]
    return run(program, 60)


def run_wrong(counts: Counts) -> None:
    """What is not accepted, and `--help`, end at once and with words."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        places = {key: folder / key for key in ("empty", "blank", "letters", "file")}
        for key in ("empty", "blank", "letters"):
            places[key].mkdir()
        places["file"].touch()
        (places["blank"] / "blank.py").write_text("\n\n")
        (places["letters"] / "letter.pgm").write_text("a letter")
        for command, status, sentence in WRONG:
            done = start_example(command.format(**places), 2)
            good = done.code == status and sentence in done.output
            good = good and "Traceback" not in done.output
            counts.expect(good, f"{command} (status {done.code})", done.output)
        left = sorted(path.name for path in places["empty"].iterdir())
        counts.expect(not left, f"written into an empty folder: {left}")
    for path in sorted(EXAMPLES.glob("*.py")):
        if "ArgumentParser(" in path.read_text():
            done = start_example(f"{path.name} --help", 1)
            good = done.code == 0 and done.output.startswith("usage:")
            counts.expect(good, f"{path.name} --help", done.output)


def run_thumbnails_of(counts: Counts) -> None:
    """Of a user's folder, only the subfolder for the output is written to."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pixels = bytes(range(100)) * 12
        (folder / "a.pgm").write_bytes(b"P5\n# a comment\n40 30\n255\n" + pixels)
        (folder / "other.png").touch()
        done = start_example(f"thumbnails.py {name} --out small", 1)
        found = {str(path.relative_to(folder)) for path in folder.rglob("*")}
        expected = {"a.pgm", "other.png", "small", "small/a.png"}
        good = done.code == 0 and found == expected
        counts.expect(good, f"thumbnails.py FOLDER left {found}", done.output)


def run_pool_case(case: Case, counts: Counts, door: str = "") -> None:
    script, *options = case.command.split()
    program = [PYTHON, str(EXAMPLES / script), *options]
    if door:
        done = run([PHALANX, "run", "--doors", door, *program], 120)
    else:
        done = run(program, 120)
    good = done.code == 0 and re.search(case.expected, done.output, re.DOTALL)
    name = f"{case.command}{' through the door' if door else ''}"
    counts.expect(bool(good), f"{name} (status {done.code})", done.output)


def run_case(case: Case, ranks: int, counts: Counts, launcher: bool = True) -> None:
    name = f"{case.command} at {ranks} ranks"
    with tempfile.TemporaryDirectory() as folder:
        script, *options = case.command.format(tmp=folder).split()
        program = [PYTHON, *case.module, str(EXAMPLES / script), *options]
        if launcher:
            start = [PHALANX, "run", "-n", str(ranks), *case.flags]
            done = run([*start, *program], 120)
        else:
            done = run([PHALANX, "shell", "-c", shlex.join(program)], 120)
        found = re.search(case.expected, done.output, re.DOTALL)
        good = done.code == case.status and found is not None
        if good and case.picture:
            picture = Path(folder, case.picture)
            good = picture.exists() and picture.read_bytes()[1:4] == b"PNG"
        counts.expect(good, f"{name} (status {done.code})", done.output)


def run_rust(counts: Counts) -> None:
    """The examples on the engine's own Rust API."""
    # With all crates: what the tier `rust` has compiled has their features.
    build = ["cargo", "build", "--quiet", "--workspace", "--examples"]
    done = run(build, 600)
    if done.code != 0:
        counts.fail("the Rust examples do not build", done.output)
        return
    folder = ROOT / "target" / "debug" / "examples"
    for ranks in RANKS:
        for name, options, expected in (
            ("pi", ["2000000"], r"3\.14159265358\d+"),
            (
                "heat",
                ["96", "300"],
                r"mean temperature 0\.13356\d+, hottest 0\.4962\d+",
            ),
        ):
            start = [PHALANX, "run", "-n", str(ranks), str(folder / name)]
            done = run([*start, *options], 120)
            good = done.code == 0 and re.search(expected, done.output)
            counts.expect(bool(good), f"Rust {name} at {ranks} ranks", done.output)


def run_all() -> Counts:
    counts = Counts()
    for case in CASES:
        for ranks in case.ranks:
            run_case(case, ranks, counts)
    # A process that nobody launched starts a launcher of its own for its workers.
    spawn = next(case for case in CASES if case.command.startswith("spawn"))
    run_case(spawn, 1, counts, launcher=False)
    for case in POOL_CASES:
        run_pool_case(case, counts)
    run_pool_case(DOOR_CASE, counts, door="multiprocessing")
    run_thumbnails_of(counts)
    run_wrong(counts)
    run_rust(counts)
    return counts
