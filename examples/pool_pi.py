"""Pi in two ways that pools offer: `starmap` and `apply_async`.

    python examples/pool_pi.py [POINTS] [--workers N]
    phalanx run --doors multiprocessing examples/pool_pi.py

This script knows nothing of Phalanx: the first line runs it on the standard pool,
the second one on ours, and it prints which one it had.

`starmap` throws darts: each task gets a seed and a number of points. `apply_async`
integrates a quarter circle, one call per piece, and a callback adds up the pieces
as they arrive.
"""

import argparse
import math
import multiprocessing
import time

import numpy as np
from arguments import at_least

PIECES = 40


def darts_inside(seed: int, points: int) -> int:
    """How many of so many random points of the square lie in the circle."""
    x, y = np.random.default_rng(seed).random((2, points))
    return int(np.count_nonzero(x * x + y * y < 1.0))


def quarter_circle(first: int, last: int, intervals: int) -> float:
    """Integrate 4 / (1 + x^2) over the intervals first to last - 1."""
    x = (np.arange(first, last) + 0.5) / intervals
    return float(np.sum(4.0 / (1.0 + x * x))) / intervals


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("points", nargs="?", type=at_least(PIECES), default=10_000_000)
    parser.add_argument("--workers", type=at_least(1), help="default: one per CPU")
    options = parser.parse_args()
    each = options.points // PIECES
    points = each * PIECES

    with multiprocessing.Pool(options.workers) as pool:
        start = time.perf_counter()
        inside = pool.starmap(darts_inside, [(seed, each) for seed in range(PIECES)])
        darts, middle = 4 * sum(inside) / points, time.perf_counter()

        parts: list[float] = []
        results = [
            pool.apply_async(
                quarter_circle,
                (piece * each, (piece + 1) * each, points),
                callback=parts.append,
            )
            for piece in range(PIECES)
        ]
        pool.close()
        pool.join()
        integral, end = math.fsum(parts), time.perf_counter()

    kind = type(pool)
    print(f"on {kind.__module__}.{kind.__qualname__}")
    expected = math.sqrt(math.pi * (4 - math.pi) / points)  # of the darts
    print(
        f"{points:,} darts:     {darts:.6f}, off by {abs(darts - math.pi):.1e}", end=""
    )
    print(f" ({expected:.0e} expected), {middle - start:.2f} s")
    print(f"{points:,} intervals: {integral:.12f}, off by", end="")
    print(f" {abs(integral - math.pi):.1e}, {end - middle:.2f} s")
    if not all(result.successful() for result in results):
        raise SystemExit("a piece is missing")
    close = 1e-9 + 1 / points**2  # for the integral
    if abs(darts - math.pi) > 6 * expected or abs(integral - math.pi) > close:
        raise SystemExit("this is not pi")


if __name__ == "__main__":
    main()
