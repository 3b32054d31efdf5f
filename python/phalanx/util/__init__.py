"""What programs written for ``mpi4py.util`` import; each module loads by itself."""
