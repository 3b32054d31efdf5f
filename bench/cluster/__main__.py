"""Compare Phalanx's interactive cluster with ipyparallel and Dask, in one run.

    make bench-cluster                       everything, a few minutes
    cd bench && python -m cluster --rounds 1 --only Phalanx Dask
    cd bench && python -m cluster --only Phalanx --columns call --beside OTHER/bin

The clusters take turns, round by round, each with two engines on this machine. A
figure is the median over all batches of all rounds; "times faster" compares it with
the best of the others. With `--record` the run is kept in `bench/results/`
(bench/record.py), as `make bench-cluster` does. Exits with 1 when ours failed.
"""

import sys

import turns

from .rows import TABLES

sys.exit(turns.main("cluster", TABLES, __doc__ or ""))
