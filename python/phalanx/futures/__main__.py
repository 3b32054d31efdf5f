"""Run a program whose executors share the ranks of the job.

phalanx run -n N python -m phalanx.futures FILE | -m MODULE | -c COMMAND | - [ARG ...]
"""

from phalanx._mpi_futures.__main__ import main

if __name__ == "__main__":
    main()
