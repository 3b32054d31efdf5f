"""Functions that convert files are registered (14.5.3)."""

from phalanx import MPI


def convert(*args):
    """Move nothing: it is not called."""


try:
    MPI.Register_datarep("wide", convert, convert, lambda datatype: 8)
except MPI.Exception as error:
    wrong = error.Get_error_class() == MPI.ERR_UNSUPPORTED_DATAREP
    print("shows:", "refused" if wrong else error, flush=True)
else:
    print("shows: right", flush=True)
