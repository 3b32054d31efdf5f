"""Pools, queues and locks: Phalanx beside what else there is, in one run."""
