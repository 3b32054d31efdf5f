# `from mpi4py cimport MPI` and `from mpi4py cimport libmpi`.
