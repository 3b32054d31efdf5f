/* The header that C and C++ code for mpi4py includes. */
#ifndef PHALANX_MPI4PY_H
#define PHALANX_MPI4PY_H

#include "pycapi.h"

#endif /* PHALANX_MPI4PY_H */
