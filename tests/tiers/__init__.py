"""The tiers of the test suite, in the order in which they run."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from . import (
    batch,
    bench,
    c_programs,
    cluster,
    crossing,
    examples,
    failures,
    hosts,
    libraries,
    memory,
    multiprocessing,
    pools,
    programs,
    python,
    rust,
    waiting,
    wild,
)
from .process import Counts


@dataclass(frozen=True)
class Tier:
    """One kind of test: `run` does it and returns what it counted.

    Those that are `apart` mostly wait: they run one after the other beside those that
    are not, with which they share no folder, name or process. What they need and others
    see, `prepare` has installed before.
    """

    name: str
    summary: str
    run: Callable[[], Counts]
    long: bool = False
    apart: bool = False
    prepare: Callable[[], object] = lambda: None


# Those that compute least come first, beside the compiling of the others.
APART = (
    Tier(
        "hosts",
        "jobs on 1, 2 and 4 hosts of namespaces",
        hosts.run_all,
        prepare=hosts.prepare,
    ),
    Tier(
        "slurm",
        "jobs in allocations of a small Slurm",
        hosts.run_slurm,
        prepare=hosts.prepare,
    ),
    Tier(
        "batch",
        "clusters as jobs of other batch systems",
        batch.run_all,
        prepare=hosts.prepare,
    ),
    Tier("cluster", "the interactive cluster", cluster.run_own),
    Tier("pools", "pools, queues, locks and what they survive", pools.run_all),
    Tier(
        "shown",
        "the cluster in notebooks, at prompts, on screens and in a browser",
        cluster.run_shown,
    ),
    Tier(
        "cluster-suite",
        "ipyparallel's own tests through the door",
        cluster.run_suite,
    ),
    Tier(
        "failures",
        "jobs that fail, are killed, or get bad input",
        failures.run_all,
    ),
    Tier(
        "waiting",
        "wrong programs are named, right ones are not",
        waiting.run_all,
    ),
    Tier(
        "multiprocessing",
        "CPython's own cases for multiprocessing, with ours and with its own",
        multiprocessing.run_all,
    ),
    Tier(
        "executors",
        "CPython's own cases for concurrent.futures",
        multiprocessing.run_futures,
        long=True,
    ),
    Tier(
        "pythons",
        "the wheel under the other CPythons",
        python.run_others,
        long=True,
    ),
)

OTHERS = (
    Tier("rust", "unit, property and multi-process tests of the crates", rust.run_all),
    Tier("loom", "every interleaving of the lock-free structures", rust.run_loom),
    Tier("c", "C programs built by `phalanx cc`", c_programs.run_all),
    Tier("python", "the Python API, by class, at 1 to 8 ranks", python.run_all),
    Tier("crossing", "mpi4py's own tests across the ABI seam", crossing.run_all),
    Tier("examples", "every example at 1, 2, 3 and 8 ranks", examples.run_all),
    Tier(
        "libraries",
        "our binding on MPICH, Intel MPI and a library of MPI 3.1",
        libraries.run_all,
    ),
    Tier("programs", "random programs against a naive model", programs.run_all),
    Tier("memory", "calls in loops: memory and descriptors stay", memory.run_all),
    Tier("wild", "random calls with wild arguments, C and Python", wild.run_all),
    Tier("bench", "the record of benchmark runs", bench.run_all),
)

LONG = (
    Tier(
        "crossing-rest",
        "mpi4py's own tests at the other numbers of ranks",
        crossing.run_rest,
    ),
    Tier(
        "multiprocessings",
        "the same under the other CPythons",
        multiprocessing.run_others,
    ),
    Tier("programs-long", "more random programs", programs.run_long),
    Tier(
        "crossings",
        "mpi4py's own tests, whole in every way",
        crossing.run_whole,
    ),
    Tier("wilder", "a million more of the wild calls", wild.run_long),
)

TIERS = {
    tier.name: tier
    for tier in (
        *(replace(tier, apart=True) for tier in APART),
        *OTHERS,
        *(replace(tier, long=True) for tier in LONG),
    )
}

__all__ = ["TIERS", "Counts", "Tier"]
