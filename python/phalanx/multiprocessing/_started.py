"""A pool in each of the processes that a launcher has started: said once."""

import sys
from multiprocessing import parent_process

from .. import _workers

_looked = False


def look() -> None:
    """Say it, once in the process that was started first, when pools are likely meant
    to be one: where no MPI is used, each of them does the whole work.
    """
    global _looked
    if _looked:
        return
    _looked = True
    uses_mpi = any(name in sys.modules for name in ("phalanx.MPI", "mpi4py.MPI"))
    if uses_mpi or parent_process() is not None:
        return
    started = _workers.started_with_others()
    if started is None:
        return
    launcher, size, rank = started
    if rank in (None, 0) and sys.stderr is not None:
        sys.stderr.write(
            f"phalanx: {launcher} has started this program {size} times, and each has "
            "a pool of its own and does all the work; start it once for one pool, or "
            "use phalanx.futures.MPIPoolExecutor (python -m phalanx.futures) for one "
            "on all; PHALANX_ALONE=1 where this is meant\n"
        )
