"""An iteration that goes on when ranks are lost.

    phalanx run --keep-going -n 4 examples/survivors.py [--steps 200] [--lose 1]

The ranks look for the largest eigenvalue of a symmetric matrix by power iteration,
each with a block of its rows; after every step all have the vector, which is all that
the next step needs. While they compute, `--lose` of them kill themselves, as a machine
that runs out of memory might. The others hear of it in the middle of a collective call,
make sure that all leave it (`Revoke`), make a communicator of those who are left
(`Shrink`), find out which step all of them have finished, divide the rows anew, and go
on from there.
"""

import argparse
import os
import signal

import numpy as np
from arguments import at_least
from mpi4py import MPI


def rows_of(comm: MPI.Comm, size: int) -> tuple[int, int]:
    """The first row of this rank's block, and the one after its last."""
    return size * comm.rank // comm.size, size * (comm.rank + 1) // comm.size


def block(first: int, last: int, size: int) -> np.ndarray:
    """Some rows of the matrix: 2 on the diagonal, 1 / (1 + distance) elsewhere."""
    distance = np.abs(np.arange(first, last)[:, None] - np.arange(size)[None, :])
    return np.where(distance == 0, 2.0, 1.0 / (1.0 + distance))


def step(comm: MPI.Comm, rows: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Multiply by the matrix; all ranks get the whole product."""
    size = len(vector)
    bounds = [size * rank // comm.size for rank in range(comm.size + 1)]
    product = np.empty(size)
    comm.Allgatherv(rows @ vector, (product, np.diff(bounds).tolist()))
    return product


def repaired(comm: MPI.Comm) -> MPI.Comm:
    """A communicator of those who are left, whatever each of them was doing."""
    comm.Revoke()
    return comm.Shrink()


def iterate(comm: MPI.Comm, size: int, steps: int, lose: int) -> None:
    world, ranks = comm, comm.size
    # Of the last two steps: some ranks may have finished one that others have not.
    vectors = {0: np.ones(size)}
    done, value = 0, 0.0
    rows = block(*rows_of(comm, size), size)
    while done < steps:
        # Ranks from the end are lost, one after the other.
        if world.rank > 0 and world.rank >= ranks - lose:
            if done == steps * (ranks - world.rank) // (lose + 1):
                os.kill(os.getpid(), signal.SIGKILL)
        try:
            product = step(comm, rows, vectors[done])
        except MPI.Exception as error:
            if error.error_class not in (MPI.ERR_PROC_FAILED, MPI.ERR_REVOKED):
                raise
            while True:
                comm = repaired(comm)
                try:
                    done = comm.allreduce(done, MPI.MIN)
                    break
                except MPI.Exception:
                    continue  # One more was lost meanwhile.
            rows = block(*rows_of(comm, size), size)
            if comm.rank == 0:
                print(f"step {done}: {comm.size} of {ranks} ranks are left")
            continue
        value = float(np.linalg.norm(product))
        done += 1
        vectors = {done - 1: vectors[done - 1], done: product / value}
    if comm.rank == 0:
        left = f"{steps} steps, on {comm.size} rank(s)"
        print(f"largest eigenvalue {value:.9f} after {left}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--size", type=at_least(2), default=500, help="rows")
    parser.add_argument("--steps", type=at_least(1), default=200)
    parser.add_argument("--lose", type=at_least(0), default=1, help="ranks to lose")
    args = parser.parse_args()
    iterate(MPI.COMM_WORLD, args.size, args.steps, args.lose)


if __name__ == "__main__":
    main()
