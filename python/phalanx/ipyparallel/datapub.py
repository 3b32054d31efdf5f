"""Data that a running task shows its client: ``result.data`` has the newest of it."""

from typing import Any

__all__ = ["publish_data"]


def publish_data(data: dict[str, Any]) -> None:
    """Send a dict; the client updates its own with it. Nothing happens elsewhere."""
    from .engine import current

    engine = current()
    if engine is not None:
        engine.show("data", dict(data))
