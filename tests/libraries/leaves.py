"""A rank leaves in some way, and the others wait, under the library's launcher."""

import sys

from phalanx import MPI

how = sys.argv[1]
comm = MPI.COMM_WORLD
comm.Barrier()
if how == "finalized":
    MPI.Finalize()
    sys.exit(4)
if comm.rank == comm.size - 1:
    if how == "exits":
        sys.exit(3)
    if how == "raises":
        raise ValueError("wrong")
    try:
        sys.exit(5)
    except SystemExit:
        pass
comm.Barrier()
print("well", flush=True)
