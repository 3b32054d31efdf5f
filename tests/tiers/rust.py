"""The crates' own tests, and the loom models."""

import re
import shutil

from .process import PARTS, PYTHON, Counts, Part, run, timed

NEXTEST = re.compile(r"Summary .*?(\d+) tests? run: (\d+) passed(.*?)(\d+) skipped")
SLOW = re.compile(
    r"^ +(?:PASS|FAIL|SLOW) \[ *>? *([\d.]+)s\] (?:\([^)]*\) )?(.+)$", re.M
)
BINARY = re.compile(
    r"^ +Running (?:unittests )?(\S+) .*?finished in ([\d.]+)s$", re.M | re.S
)
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
    nextest = ["nextest"] if shutil.which("cargo-nextest") else []
    tests = [*nextest, "run"] if nextest else ["test"]
    with timed("tests of the crates", compiling=True):
        done = run(["cargo", *tests, "--workspace", "--no-run"], 1500)
    if done.code != 0:
        counts.fail("tests of the crates do not build", done.output)
        return counts
    if nextest:
        command = ["cargo", "nextest", "run", "--workspace", "--no-fail-fast"]
        done = run([*command, "--status-level", "slow"], 1500)
        for seconds, what in SLOW.findall(done.output):
            PARTS.append(Part(what, float(seconds), compiling=False))
        summary = NEXTEST.search(done.output)
        if summary:
            counts.passed, counts.skipped = int(summary[2]), int(summary[4])
    else:
        done = run(["cargo", "test", "--workspace", "--no-fail-fast"], 1500)
        count_cargo(done.output, counts)
        for what, seconds in BINARY.findall(done.output):
            PARTS.append(Part(what, float(seconds), compiling=False))
    if done.code != 0:
        counts.fail(f"{done.code=}", done.output)
    return counts


def run_docs() -> Counts:
    """The examples in the documentation, which nextest does not run."""
    counts = Counts()
    # With all crates: of what is compiled for their tests, little is compiled again.
    # One only links inside an interpreter.
    command = ["cargo", "test", "--doc", "--workspace", "--exclude=phalanx-object"]
    with timed("examples in the documentation"):
        done = run(command, 600)
    count_cargo(done.output, counts)
    if done.code != 0:
        counts.fail("documentation examples", done.output)
    return counts


def run_generated() -> Counts:
    """Generated files are what the generator would write."""
    counts = Counts()
    with timed("cargo xtask gen --check"):
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
    # Nothing of it is called across crates often enough to be optimised there.
    env = {
        "RUSTFLAGS": "--cfg loom",
        "CARGO_TARGET_DIR": "target/loom",
        "CARGO_PROFILE_RELEASE_LTO": "off",
    }
    with timed("loom models", compiling=True):
        done = run([*command, "--no-run"], 900, env=env)
    if done.code != 0:
        counts.fail("loom models do not build", done.output)
        return counts
    done = run(command, 900, env=env)
    count_cargo(done.output, counts)
    if done.code != 0:
        counts.fail("loom models", done.output)
    return counts
