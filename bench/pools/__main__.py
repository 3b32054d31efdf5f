"""Compare Phalanx's pools, queues and locks with the others, in one run.

    make bench-pools                     everything, a few minutes
    cd bench && python -m pools --rounds 1 --only "Phalanx fork" loky
    cd bench && python -m pools --only "Phalanx fork" --columns trip --beside OTHER/bin

The engines take turns, round by round, so that a machine whose speed drifts
treats them alike. A figure is the median over all batches of all rounds; "times
faster" compares it with the best of the others. With `--record` the run is kept
in `bench/results/` (bench/record.py), as `make bench-pools` does. Exits with 1
when one of ours failed.
"""

import sys

import turns

from .rows import TABLES

sys.exit(turns.main("pools", TABLES, __doc__ or ""))
