"""The same as ``ipyparallel.datapub``, under its older name."""

from ..datapub import publish_data

__all__ = ["publish_data"]
