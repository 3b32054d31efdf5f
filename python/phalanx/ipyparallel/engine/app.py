"""The command ``ipengine`` as a function."""

from ..cluster.app import ipengine as main

__all__ = ["main"]
