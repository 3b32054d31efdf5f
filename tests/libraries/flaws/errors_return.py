"""An error on a communicator with MPI_ERRORS_RETURN is returned (9.3.1)."""

import array

from phalanx import MPI

comm = MPI.COMM_SELF
comm.Set_errhandler(MPI.ERRORS_RETURN)
request = comm.Isend(array.array("i", range(8)), 0)
try:
    comm.Recv(array.array("i", [0]), 0)
except MPI.Exception:
    print("shows: right", flush=True)
else:
    print("shows: a truncated message without an error", flush=True)
