"""Pi by Monte Carlo on an interactive cluster: scatter, execute, gather.

    python examples/cluster_pi.py [--points 4e6] [--engines 2]

Each engine gets a part of the seeds, and counts in its own namespace how many random
points fall into a quarter of a circle. The counts are gathered.
"""

import argparse
import math

import phalanx.ipyparallel as ipp

BATCH = 100_000

COUNT = """
import random

def inside(seed):
    draw = random.Random(seed).random
    return sum(draw() ** 2 + draw() ** 2 <= 1.0 for _ in range(batch))

counts = [inside(seed) for seed in seeds]
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--points", type=float, default=2e6, help="points to draw")
    parser.add_argument("--engines", type=int, default=2, help="engines to start")
    options = parser.parse_args()
    if not 1 <= options.points < 1e12:
        parser.error("--points: expected 1 or more")
    if options.engines < 1:
        parser.error("--engines: expected 1 or more")
    seeds = list(range(max(round(options.points / BATCH), 1)))

    with ipp.Cluster(n=options.engines, log_level=40) as rc:
        view = rc[:]
        view["batch"] = BATCH
        view.scatter("seeds", seeds, block=True)
        view.execute(COUNT, block=True)
        counts = view.gather("counts", block=True)
    points = BATCH * len(seeds)
    pi = 4 * sum(counts) / points
    print(f"{points:,} points on {options.engines} engines: pi is about {pi:.4f},")
    print(f"off by {abs(pi - math.pi):.4f}")


if __name__ == "__main__":
    main()
