"""The engines that a client knows, and how it waits for them."""

import sys
import time
from collections.abc import Iterable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from ..error import NoEnginesRegistered, make
from .submit import Ledger

if TYPE_CHECKING:
    from ..cluster.cluster import Cluster

__all__ = ["EnginesByNumber", "EnginesOfClient"]

# Seconds that a call waits for engines that were promised and are not there yet.
ENGINES_PATIENCE = 60.0


class EnginesByNumber(dict[Any, Any]):
    """The uuids of engines by their numbers, and numbers by uuids."""

    def __missing__(self, key: Any) -> Any:
        for number, uuid in self.items():
            if uuid == key:
                return number
        raise KeyError(key)


class EnginesOfClient:
    """The part of a client that is about its engines."""

    _ledger: Ledger
    _closed: bool
    _ids: list[int]
    _engines: EnginesByNumber
    _left: dict[int, str]
    _starting: int
    _promised: bool
    # Another object whenever engines have come or gone.
    _present: object
    _engine_waiters: list[tuple[int, "Future[None]"]]
    cluster: "Cluster | None"

    _hosts: dict[int, str]

    def _add_engines(self, engines: list[dict[str, Any]]) -> None:
        self._hosts = getattr(self, "_hosts", {})
        for engine in engines:
            number = engine["id"]
            self._engines[number] = engine["uuid"]
            self._hosts[number] = f"{engine.get('host', '')} ({engine.get('pid')})"
            self._left.pop(number, None)
            if number not in self._ids:
                self._ids.append(number)
        self._ids.sort()
        # (At the end: what somebody finds meanwhile is of before.)
        self._present = object()

    def _engines_changed(self, fields: dict[str, Any]) -> None:
        """Called in the client's thread."""
        for gone in fields.get("left", []):
            number = gone["id"]
            self._left[number] = gone.get("reason", "")
            self._hosts.pop(number, None)
            self._engines.pop(number, None)
            if number in self._ids:
                self._ids.remove(number)
        self._add_engines(fields.get("joined", []))
        self._starting = int(fields.get("starting") or 0)
        for n, future in list(self._engine_waiters):
            if len(self._ids) >= n and not future.done():
                future.set_result(None)
        self._engine_waiters = [
            one for one in self._engine_waiters if not one[1].done()
        ]

    def _fail_engine_waiters(self, reason: str = "the client was closed") -> None:
        for _, future in self._engine_waiters:
            if not future.done():
                future.set_exception(make("EngineError", reason))
        self._engine_waiters.clear()

    @property
    def ids(self) -> list[int]:
        """The numbers of the engines that are there now.

        (Engines that were starting when the client came are waited for.)
        """
        self._await_engines()
        return list(self._ids)

    def __len__(self) -> int:
        return len(self.ids)

    def _await_engines(self) -> None:
        """Engines that were starting when the client came are waited for, once.

        After two seconds it says so; after a minute it goes on with those there are.
        """
        if not self._promised:
            return
        until = time.monotonic() + ENGINES_PATIENCE
        told = time.monotonic() + 2
        while self._starting and not self._closed and self._ledger.gone is None:
            now = time.monotonic()
            if now >= until:
                break
            if now >= told:
                told = until + 1
                print(
                    f"waiting for {self._starting} engines that are starting",
                    file=sys.stderr,
                )
            time.sleep(0.002)
        self._promised = False

    def _look_for_engines(self) -> None:
        """Raise `NoEnginesRegistered` where there is no engine at all."""
        if self._promised or not self._ids:
            self._build_targets(None)

    def _build_targets(self, targets: Any) -> tuple[list[bytes], list[int]]:
        """The engines that `targets` means: their uuids, and their numbers."""
        self._ledger.check()
        ids = self.ids
        if targets is None or targets == "all":
            if not ids:
                raise NoEnginesRegistered(
                    "this cluster has no engines; start some with 'ipengine' or "
                    "'ipcluster engines'"
                )
            chosen = ids
        elif isinstance(targets, str):
            raise TypeError(f"engines are a number, a list, or 'all', not {targets!r}")
        elif isinstance(targets, int):
            chosen = [self._one_target(targets, ids)]
        elif isinstance(targets, slice):
            chosen = ids[targets]
        elif isinstance(targets, Iterable):
            chosen = [self._one_target(target, ids) for target in targets]
        else:
            raise TypeError(f"engines are a number, a list, or 'all', not {targets!r}")
        return [self._engines[number].encode() for number in chosen], list(chosen)

    def _one_target(self, target: Any, ids: list[int]) -> int:
        if not isinstance(target, int):
            raise TypeError(f"an engine is a number, not {target!r}")
        number = target
        if number < 0:
            if not ids:
                raise IndexError("this cluster has no engines")
            try:
                number = ids[number]
            except IndexError:
                raise IndexError(f"no engine {target}: there are {len(ids)}") from None
        if number not in self._engines:
            why = self._left.get(number)
            said = f"; it is gone: {why}" if why else ""
            raise IndexError(f"no engine {number}: there are {ids}{said}")
        return number

    def wait_for_engines(
        self,
        n: int | None = None,
        *,
        timeout: float = -1,
        block: bool = True,
        interactive: bool | None = None,
        widget: Any = None,
    ) -> "Future[None] | None":
        """Wait until there are `n` engines (None: those of the cluster).

        Raises TimeoutError after `timeout` seconds (-1: no limit), and `EngineError`
        when engines that were starting end instead. With ``block=False`` a future
        comes.
        """
        if n is None:
            n = getattr(self.cluster, "n", None)
            if n is None:
                n = len(self._ids) + self._starting or 1
        future: Future[None] = Future()
        if len(self._ids) >= n:
            future.set_result(None)
            return None if block else future
        self._ledger.check()
        self._engine_waiters.append((n, future))
        if len(self._ids) >= n and not future.done():
            future.set_result(None)
        if not block:
            if timeout is not None and timeout >= 0:
                self._limit_later(n, future, timeout)
            return future
        limit = None if timeout is None or timeout < 0 else timeout
        self._wait_interactively(n, future, limit, interactive, widget)
        return None

    def _limit_later(self, n: int, future: "Future[None]", timeout: float) -> None:
        import threading

        def end() -> None:
            if not future.done():
                future.set_exception(self._too_few(n, timeout))

        timer = threading.Timer(timeout, end)
        timer.daemon = True
        timer.start()
        future.add_done_callback(lambda _: timer.cancel())

    def _too_few(self, n: int, timeout: float) -> TimeoutError:
        waits = getattr(self.cluster, "_waits_for", lambda: "")()
        text = f"{len(self._ids)} of {n} engines after {timeout:g} s"
        return TimeoutError(f"{text}; {waits}" if waits else text)

    def _wait_interactively(
        self,
        n: int,
        future: "Future[None]",
        limit: float | None,
        interactive: bool | None,
        widget: Any,
    ) -> None:
        from ..util import progress

        started = time.monotonic()
        if interactive is None:
            interactive = sys.stderr.isatty() or "ipykernel" in sys.modules
        bar = None
        lost_before = len(self._left)
        idle_since: float | None = None
        try:
            while not future.done():
                now = time.monotonic()
                if limit is not None and now - started >= limit:
                    raise self._too_few(n, limit)
                left = 0.05 if limit is None else min(0.05, limit - (now - started))
                try:
                    future.exception(max(left, 0))
                except TimeoutError:
                    pass
                self._ledger.check()
                if interactive and bar is None and now - started > 0.5:
                    bar = progress(total=n, unit="engines", widget=widget)
                if bar is not None:
                    bar.update(len(self._ids) - bar.n)
                self._look_for_crash(n, lost_before)
                idle_since = None if self._starting else idle_since or now
            future.result(0)
        finally:
            if bar is not None:
                bar.close()
            self._engine_waiters = [
                one for one in self._engine_waiters if one[1] is not future
            ]

    def _look_for_crash(self, n: int, lost_before: int) -> None:
        """Engines that end while others are waited for will not be there."""
        if len(self._left) > lost_before and not self._starting and not self._ids:
            reasons = "; ".join(
                f"engine {number}: {why}" for number, why in self._left.items()
            )
            raise make(
                "EngineError", f"engines ended while {n} were waited for: {reasons}"
            )
        cluster = self.cluster
        crashed = getattr(cluster, "_crashed", None)
        if crashed is not None:
            why = crashed()
            if why:
                raise make("EngineError", why)
