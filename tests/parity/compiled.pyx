# cython: language_level=3
"""Cython code for mpi4py, in the ways that packages write it."""

from mpi4py import MPI
from mpi4py cimport MPI
from mpi4py cimport libmpi as mpi
from mpi4py.libmpi cimport MPI_Comm_dup, MPI_Comm_size, MPI_Recv, MPI_Send
from mpi4py.MPI cimport Intracomm as IntracommType

MPI.import_mpi4py()


def size_of(MPI.Comm comm):
    cdef int size = 0
    if MPI_Comm_size(comm.ob_mpi, &size) != mpi.MPI_SUCCESS:
        raise RuntimeError("no size")
    return size


def duplicate(MPI.Comm comm):
    cdef IntracommType new = MPI.Intracomm()
    MPI_Comm_dup(comm.ob_mpi, &new.ob_mpi)
    return new


def round_trip(IntracommType comm, int value):
    """A message to this rank itself and back into a status object."""
    cdef MPI.Status status = MPI.Status()
    cdef int found = 0, rank = 0
    cdef mpi.MPI_Request request
    mpi.MPI_Comm_rank(comm.ob_mpi, &rank)
    mpi.MPI_Isend(&value, 1, mpi.MPI_INT, rank, 5, comm.ob_mpi, &request)
    MPI_Recv(&found, 1, mpi.MPI_INT, rank, mpi.MPI_ANY_TAG, comm.ob_mpi, &status.ob_mpi)
    mpi.MPI_Wait(&request, mpi.MPI_STATUS_IGNORE)
    return found, status


def made(MPI.Comm comm):
    return MPI.PyMPIComm_New(comm.ob_mpi), <size_t>MPI.PyMPIComm_Get(comm)[0]


def add(datatype, MPI.Op op):
    cdef MPI.Datatype kind = datatype
    cdef int one = 1, two = 2
    mpi.MPI_Reduce_local(&one, &two, 1, kind.ob_mpi, op.ob_mpi)
    return two
