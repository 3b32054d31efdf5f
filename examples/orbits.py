"""A C function over a shared array: on threads, and in the workers of a pool.

    python examples/orbits.py [--orbits 1000000]

Where is a comet at a given time? Kepler's equation, E - e sin E = M, has to be
solved for E step by step, with a number of steps that differs from comet to
comet, which NumPy cannot vectorise well. The C function below does it for a
slice of an array. This script compiles it with `cc`.
"""

import argparse
import functools
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import phalanx.multiprocessing as mp
from arguments import at_least
from phalanx import native, shared

SOURCE = r"""
#include <math.h>
#include <stddef.h>

/* Replaces each mean anomaly by the eccentric one; returns the steps it took. */
long solve_kepler(double *anomaly, const double *eccentricity, size_t n)
{
    long steps = 0;
    for (size_t i = 0; i < n; i++) {
        double mean = anomaly[i], e = eccentricity[i];
        double E = e < 0.8 ? mean : copysign(M_PI, mean), change = 1.0;
        for (int turn = 0; turn < 50 && fabs(change) > 1e-14; turn++, steps++) {
            change = (E - e * sin(E) - mean) / (1.0 - e * cos(E));
            E -= change;
        }
        anomaly[i] = E;
    }
    return steps;
}
"""


def compile_library(folder: Path) -> native.CFunc:
    """Compile the C code, and return the handle to its function."""
    source, library = folder / "kepler.c", folder / "libkepler.so"
    source.write_text(SOURCE)
    command = ["cc", "-O3", "-shared", "-fPIC", "-o", library, source, "-lm"]
    subprocess.run(command, check=True)
    types = ["double*", "const double*", "size_t"]
    return native.CFunc(library, "solve_kepler", "long", types)


def comets(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean anomalies and eccentricities."""
    generator = np.random.default_rng(2026)
    anomalies = generator.uniform(-np.pi, np.pi, count)
    return anomalies, generator.uniform(0.0, 0.95, count)


def solve_part(
    solve: native.CFunc, whole: np.ndarray, eccentricities: np.ndarray, part: slice
) -> int:
    """A pool's task: the function and both arrays come to the worker as handles."""
    mine = whole[part]
    return solve(mine, eccentricities[part], len(mine))


def check(anomalies: np.ndarray, e: np.ndarray, solved: np.ndarray) -> float:
    """The largest error of the equation."""
    return float(np.abs(solved - e * np.sin(solved) - anomalies).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--orbits", type=at_least(1), default=1_000_000)
    options = parser.parse_args()
    anomalies, eccentricities = comets(options.orbits)

    with tempfile.TemporaryDirectory() as folder:
        solve = compile_library(Path(folder))

        one = anomalies.copy()
        start = time.perf_counter()
        steps = solve(one, eccentricities, len(one))
        print(f"one call:       {time.perf_counter() - start:.3f} s, {steps:,} steps")

        threads = anomalies.copy()
        start = time.perf_counter()
        steps = sum(native.map(solve, threads, eccentricities))
        print(f"on threads:     {time.perf_counter() - start:.3f} s, {steps:,} steps")

        # The workers write into this memory; nothing of it travels.
        workers, e = shared.copy(anomalies), shared.copy(eccentricities)
        size = max(1, options.orbits // 16)
        parts = [slice(at, at + size) for at in range(0, options.orbits, size)]
        task = functools.partial(solve_part, solve, workers, e)
        with mp.Pool() as pool:
            start = time.perf_counter()
            steps = sum(pool.map(task, parts))
            print(
                f"in a pool:      {time.perf_counter() - start:.3f} s, {steps:,} steps"
            )

    same = np.array_equal(one, threads) and np.array_equal(one, workers)
    error = check(anomalies, eccentricities, workers)
    print(f"largest error {error:.1e}; the three {'agree' if same else 'differ'}")


if __name__ == "__main__":
    main()
