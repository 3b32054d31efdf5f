"""The crates' own tests, and the loom models."""

import re
import shutil

from .process import PYTHON, Counts, run

NEXTEST = re.compile(r"Summary .*?(\d+) tests? run: (\d+) passed(.*?)(\d+) skipped")
CARGO = re.compile(r"test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored")


def count_cargo(output: str, counts: Counts) -> int:
    """Add up the result lines of `cargo test`; return how many failed."""
    failed = 0
    for passed, wrong, ignored in CARGO.findall(output):
        counts.passed += int(passed)
        failed += int(wrong)
        counts.skipped += int(ignored)
    return failed


def run_crates() -> Counts:
    counts = Counts()
    if shutil.which("cargo-nextest"):
        command = ["cargo", "nextest", "run", "--workspace", "--no-fail-fast"]
        done = run([*command, "--status-level", "fail"], 1500)
        summary = NEXTEST.search(done.output)
        if summary:
            counts.passed, counts.skipped = int(summary[2]), int(summary[4])
    else:
        done = run(["cargo", "test", "--workspace", "--no-fail-fast"], 1500)
        count_cargo(done.output, counts)
    if done.code != 0:
        counts.fail(f"{done.code=}", done.output)
    return counts


def run_docs() -> Counts:
    """The examples in the documentation, which nextest does not run."""
    counts = Counts()
    crates = ("phalanx-shm", "phalanx-engine", "phalanx-pool")
    command = ["cargo", "test", "--doc", *(f"--package={name}" for name in crates)]
    done = run(command, 600)
    count_cargo(done.output, counts)
    if done.code != 0:
        counts.fail("documentation examples", done.output)
    return counts


def run_generated() -> Counts:
    """Generated files are what the generator would write."""
    counts = Counts()
    done = run(["cargo", "xtask", "gen", "--check"], 300, env={"PYTHON": PYTHON})
    counts.expect(done.code == 0, "cargo xtask gen --check", done.output)
    return counts


def run_all() -> Counts:
    counts = run_crates()
    counts += run_docs()
    counts += run_generated()
    return counts


def run_loom() -> Counts:
    counts = Counts()
    command = ["cargo", "test", "-p", "phalanx-shm", "--release", "--test", "loom"]
    env = {"RUSTFLAGS": "--cfg loom", "CARGO_TARGET_DIR": "target/loom"}
    done = run(command, 900, env=env)
    count_cargo(done.output, counts)
    if done.code != 0:
        counts.fail("loom models", done.output)
    return counts
