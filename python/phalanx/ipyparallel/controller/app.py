"""The command ``ipcontroller`` as a function."""

from ..cluster.app import ipcontroller as main

__all__ = ["main"]
