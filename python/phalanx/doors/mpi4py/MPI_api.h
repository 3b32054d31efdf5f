/* The header of Cython's that some code includes: all of it is in mpi4py.h. */
#include "include/mpi4py/mpi4py.h"
