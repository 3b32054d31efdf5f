"""A parameter study that goes on when a worker is killed.

    python examples/study.py [--points 400] [--quiet]

For which growth rates does a population (x -> r x (1 - x)) behave chaotically?
Each task answers for one rate. One worker is killed in the middle, as the kernel
does it when memory runs out: with `retries=1` its task runs again and nothing is
missing. Then the same without retries: one error, which says what was lost.
"""

import argparse
import functools
import math
import os
import signal
import tempfile
from pathlib import Path

import phalanx.multiprocessing as mp
from phalanx.multiprocessing.errors import WorkerLostError

STEPS, KILLED = 20_000, 123


def exponent(rate: float) -> float:
    """The mean growth of a small difference per step; above 0 is chaos."""
    x, total = 0.4, 0.0
    for _ in range(STEPS):
        x = rate * x * (1.0 - x)
        total += math.log(abs(rate * (1.0 - 2.0 * x)) or 1e-300)
    return total / STEPS


def study(marker: Path, task: tuple[int, float]) -> float:
    """One task; the first worker that gets number KILLED is killed in it."""
    number, rate = task
    if number == KILLED:
        try:
            marker.touch(exist_ok=False)
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return exponent(rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=int, default=400, help="rates to try")
    parser.add_argument("--quiet", action="store_true", help="no progress line")
    options = parser.parse_args()
    if options.points <= KILLED:
        parser.error(f"--points must be above {KILLED}, the task that is killed")
    last = options.points - 1
    tasks = [(i, 2.8 + 1.2 * i / last) for i in range(options.points)]

    with tempfile.TemporaryDirectory() as folder:
        work = functools.partial(study, Path(folder, "first"))
        with mp.Pool(retries=1, progress=not options.quiet) as pool:
            exponents = pool.map(work, tasks)
        chaotic = sum(value > 0.001 for value in exponents)
        print(
            f"{len(exponents)} rates, {chaotic} of them chaotic; one worker was killed"
        )
        for number in (0, KILLED, last):
            if exponents[number] != exponent(tasks[number][1]):
                raise SystemExit(f"task {number} differs from a serial run")
        if abs(exponents[last] - math.log(2)) > 0.01:
            raise SystemExit("at rate 4 the exponent is ln 2")
        print(f"at rate 4 it is {exponents[last]:.3f} (ln 2 is {math.log(2):.3f})")

        work = functools.partial(study, Path(folder, "second"))
        with mp.Pool() as pool:
            results = [pool.apply_async(work, (task,)) for task in tasks]
            lost = 0
            for result in results:
                try:
                    result.get()
                except WorkerLostError as error:
                    print(f"without retries: {error}")
                    lost += 1
        if lost != 1:
            raise SystemExit(f"{lost} results were lost, 1 was expected")
        print(f"and the other {len(results) - lost} results arrived")


if __name__ == "__main__":
    main()
