"""A connection to a controller for what is no task: starting and ending engines."""

from pathlib import Path
from typing import Any

from .. import _files, _reach

__all__ = ["Control"]


class Control:
    """Requests to a controller, by its connection file."""

    def __init__(
        self,
        profile_dir: str,
        cluster_id: str,
        timeout: float = 10,
        registered: dict[int, int] | None = None,
    ) -> None:
        from ..client.submit import Ledger

        path = _files.client_file(profile_dir, cluster_id)
        _, info = _files.wait_for_connection(Path(path), timeout)
        link = _reach.connect(info, timeout)
        self._ledger = Ledger(link)
        self._engines = {engine["id"] for engine in link.welcome["engines"]}
        # Every engine that has been there, with its process.
        self.registered: dict[int, int] = {} if registered is None else registered
        self._register(link.welcome["engines"])
        self.starting = int(link.welcome.get("starting") or 0)
        self.left: dict[int, str] = {}
        self._ledger.on_engines = self._changed
        self._ledger.start()

    def _register(self, engines: list[dict[str, Any]]) -> None:
        self.registered.update({one["id"]: one["pid"] for one in engines})

    def _changed(self, fields: dict[str, Any]) -> None:
        self._register(fields.get("joined", []))
        self._engines |= {engine["id"] for engine in fields.get("joined", [])}
        for gone in fields.get("left", []):
            self._engines.discard(gone["id"])
            self.left[gone["id"]] = gone.get("reason", "")
        self.starting = int(fields.get("starting") or 0)

    @property
    def open(self) -> bool:
        """Whether the controller is there."""
        return self._ledger.gone is None

    def engines(self) -> set[int]:
        """The engines that are there now."""
        return set(self._engines)

    def request(
        self, kind: str, fields: dict[str, Any], timeout: float = 60
    ) -> dict[str, Any]:
        """Ask, and wait for the answer."""
        return self._ledger.request(kind, fields, timeout)

    def close(self) -> None:
        """Leave."""
        self._ledger.close("the cluster object was closed")
