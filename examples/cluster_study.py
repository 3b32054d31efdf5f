"""A parameter study on an interactive cluster, in which an engine is killed.

    python examples/cluster_study.py [--points 200] [--engines 2]

For which growth rates does a population (x -> r x (1 - x)) behave chaotically? Each
task answers for one rate, on whichever engine is free. One engine is killed in the
middle, as the kernel does it when memory runs out: with `retries` its task runs on
another one, and nothing is missing.
"""

import argparse
import tempfile
from pathlib import Path

import phalanx.ipyparallel as ipp

KILLED = 60


def exponent(rate: float) -> float:
    """The mean growth of a small difference per step; above 0 is chaos."""
    import math

    x, total = 0.4, 0.0
    for _ in range(5_000):
        x = rate * x * (1.0 - x)
        total += math.log(abs(rate * (1.0 - 2.0 * x)) or 1e-300)
    return total / 5_000


def study(number: int, rate: float, marker: str) -> float:
    """One task; the first engine that gets number KILLED is killed in it."""
    import os
    import signal

    if number == KILLED:
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return exponent(rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=200, help="rates to try")
    parser.add_argument("--engines", type=int, default=2, help="engines to start")
    options = parser.parse_args()
    if options.points <= KILLED:
        parser.error(f"--points must be above {KILLED}, the task that is killed")
    if options.engines < 2:
        parser.error("--engines must be 2 or more: one of them is killed")
    numbers = range(options.points)
    rates = [2.8 + 1.2 * n / (options.points - 1) for n in numbers]

    with (
        tempfile.TemporaryDirectory() as folder,
        ipp.Cluster(n=options.engines, log_level=40) as rc,
    ):
        # The tasks look for this name in the namespaces of the engines.
        rc[:].push({"KILLED": KILLED}, block=True)
        view = rc.load_balanced_view(retries=1)
        markers = [str(Path(folder, "first"))] * options.points
        exponents = view.map_sync(study, numbers, rates, markers)
        chaotic = sum(one > 0 for one in exponents)
        print(f"{len(exponents)} rates, {chaotic} of them chaotic")
        print(f"{len(rc.ids)} of {options.engines} engines are left")


if __name__ == "__main__":
    main()
