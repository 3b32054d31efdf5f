"""Dust in rings around a star: dividing work by what it costs.

    phalanx run -n 4 examples/rings.py [--divide rings] [--steps 40] [--grains 2000]
    phalanx run -n 4 --report rings.html examples/rings.py --divide rings

The inner rings need more substeps than the outer ones. `--divide rings` gives
every rank as many rings as the others, and in each step all wait for the rank
that has the inner ones: the report says so. `--divide work`, the default, cuts
the rings where the work is equal.
"""

import argparse
import math
import time

import numpy as np
from arguments import at_least
from mpi4py import MPI

RINGS = 32
STEP = 0.5  # time between two sums of the energy; the innermost orbit takes 2 pi


def substeps(radius: float) -> int:
    """Orbits are faster further in: smaller steps for the same accuracy."""
    return math.ceil(64 * radius**-1.5)


def work(radius: float) -> int:
    """What a step of a ring costs, in substeps: two half kicks and its energy too."""
    return substeps(radius) + 3


class Ring:
    """Grains on circles around a star of mass 1, at distances near `radius`."""

    def __init__(self, radius: float, grains: int) -> None:
        angle = np.linspace(0, 2 * np.pi, grains, endpoint=False)
        distance = radius * (1 + 0.01 * np.cos(5 * angle))
        outwards = np.array([np.cos(angle), np.sin(angle)])
        self.place = distance * outwards
        self.speed = distance**-0.5 * np.array([-outwards[1], outwards[0]])
        self.substeps = substeps(radius)

    def advance(self) -> None:
        """Leapfrog: half a kick, then drifts and kicks in turn."""
        small = STEP / self.substeps
        self.speed += small / 2 * self.pull()
        for _ in range(self.substeps):
            self.place += small * self.speed
            self.speed += small * self.pull()
        self.speed -= small / 2 * self.pull()

    def pull(self) -> np.ndarray:
        return -self.place / (self.place**2).sum(axis=0) ** 1.5

    def energy(self) -> float:
        kinetic = 0.5 * (self.speed**2).sum(axis=0)
        return float((kinetic - (self.place**2).sum(axis=0) ** -0.5).sum())


def cuts(radii: np.ndarray, ranks: int, by: str) -> np.ndarray:
    """Where each rank's rings begin, and the end of the last ones."""
    cost = np.array([work(r) if by == "work" else 1 for r in radii])
    done = np.concatenate(([0.0], np.cumsum(cost)))
    # The ring whose middle lies behind the rank's share begins the next one.
    middles = (done[:-1] + done[1:]) / 2
    return np.searchsorted(middles, np.linspace(0, done[-1], ranks + 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--divide", choices=("rings", "work"), default="work")
    parser.add_argument("--steps", type=at_least(1), default=40)
    parser.add_argument("--grains", type=at_least(1), default=2000, help="per ring")
    options = parser.parse_args()

    comm = MPI.COMM_WORLD
    radii = np.linspace(1, 4, RINGS)
    first, last = cuts(radii, comm.size, options.divide)[comm.rank :][:2]
    rings = [Ring(radius, options.grains) for radius in radii[first:last]]

    energy = np.empty(options.steps + 1)
    comm.Barrier()
    start = time.perf_counter()
    for step in range(options.steps + 1):
        if step > 0:
            for ring in rings:
                ring.advance()
        own = np.array([sum(ring.energy() for ring in rings)])
        comm.Allreduce(own, energy[step : step + 1])
    seconds = time.perf_counter() - start

    own_work = sum(work(radius) for radius in radii[first:last])
    most, total = comm.reduce(own_work, MPI.MAX), comm.reduce(own_work)
    if comm.rank == 0:
        drift = np.abs(energy / energy[0] - 1).max()
        print(f"energy {energy[0]:.6f}, changed by {drift:.0e} at most")
        print(
            f"{RINGS} rings on {comm.size} ranks divided by {options.divide}: the "
            f"busiest has {100 * most / total:.0f} % of the work, {seconds:.2f} s"
        )


if __name__ == "__main__":
    main()
