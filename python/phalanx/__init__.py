"""Parallel Python from a laptop to a cluster."""
