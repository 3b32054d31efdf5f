"""The client of a cluster: where everything in a script or notebook begins.

::

    import ipyparallel as ipp

    rc = ipp.Client()        # the cluster that was started last
    rc[:].map_sync(f, items) # on all engines
"""

import atexit
import json
import os
import signal
import socket
import sys
import time
import warnings
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .. import _files
from ..controller.dependency import ids_of
from ..error import NoEnginesRegistered, make
from .asyncresult import AsyncHubResult, AsyncResult
from .futures import MessageFuture
from .query import select
from .records import ExecuteReply, Metadata, moment
from .submit import Call, Ledger
from .view import BroadcastView, DirectView, LoadBalancedView, ViewExecutor

if TYPE_CHECKING:
    from ..cluster.cluster import Cluster

__all__ = ["Client", "ExecuteReply", "Metadata"]

# Seconds that a call waits for engines that were promised and are not there yet.
ENGINES_PATIENCE = 60.0


def is_local_ip(host: str) -> bool:
    """Whether a name or an address is of this machine."""
    if host in ("localhost", "127.0.0.1", "::1", socket.gethostname()):
        return True
    try:
        found = {entry[4][0] for entry in socket.getaddrinfo(host, None)}
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            for address in found:
                try:
                    probe.bind((address, 0))
                except OSError:
                    continue
                return True
    except OSError:
        pass
    return False


class _Engines(dict[int, str]):
    """The uuids of engines by their numbers, and numbers by uuids."""

    def __missing__(self, key: Any) -> Any:
        for number, uuid in self.items():
            if uuid == key:
                return number
        raise KeyError(key)


class Client:
    """A connection to the controller of a cluster.

    ``rc[0]``, ``rc[:]``, ``rc[::2]``, ``rc[[0, 2]]`` are views of engines;
    `load_balanced_view` is one that gives each task to an engine that is free.

    Which cluster: the file `connection_info` (or `url_file`), or the one that was
    started last in a profile, or the one of `cluster_id`. A controller that is just
    starting is waited for, `timeout` seconds at most. When it ends, everything that
    waits for a result gets an error at once.
    """

    _instances: ClassVar["weakref.WeakSet[Client]"] = weakref.WeakSet()

    def __new__(cls, *args: Any, **kwargs: Any) -> "Client":
        # (Said here, so that who has replaced it for a while can put it back.)
        return super().__new__(cls)

    def __init__(
        self,
        connection_info: Any = None,
        *,
        url_file: "str | os.PathLike[str] | None" = None,
        profile: str | None = None,
        profile_dir: str | None = None,
        ipython_dir: str | None = None,
        context: Any = None,
        debug: bool = False,
        sshserver: str | None = None,
        sshkey: str | None = None,
        password: str | None = None,
        paramiko: bool | None = None,
        timeout: float = 10,
        cluster_id: str | None = None,
        cluster: "Cluster | None" = None,
        **extra_args: Any,
    ) -> None:
        if self.__dict__.get("_closed") is False:
            # Whoever made `Client` give an existing one has it connected already.
            return
        if sshserver:
            raise ValueError(
                "sshserver= needs a controller that listens on a port; this one is "
                "reached on its own machine only"
            )
        self._closed = True
        self.block = False
        self.debug = debug
        self.cluster = cluster
        self.profile = profile or os.environ.get("IPP_PROFILE") or "default"
        if cluster_id is None:
            cluster_id = os.environ.get("IPP_CLUSTER_ID", "")
        place = _files.find_profile_dir(profile, profile_dir, ipython_dir)
        self._profile_dir = str(place)
        named, info = self._find(connection_info, url_file, place, cluster_id, timeout)
        self._file = named
        self._info = info
        self._check_location(info)
        from ..._workers import ClusterLink

        address = info["socket"]
        if "://" not in address and not address.startswith("unix:"):
            address = f"unix:{address}"
        link = ClusterLink.connect(
            address, info["token"], "client", _hello(), max(float(timeout), 1.0)
        )
        self._ledger = Ledger(link, debug)
        self._cluster_id: str = link.welcome.get("cluster_id", "")
        self._ids: list[int] = []
        self._engines = _Engines()
        self._left: dict[int, str] = {}
        self._starting = int(link.welcome.get("starting") or 0)
        self._engine_waiters: list[tuple[int, Future[None]]] = []
        self._add_engines(link.welcome.get("engines", []))
        self._ledger.on_engines = _weakly(self._engines_changed)
        self._closed = False
        self._ledger.start()
        # Without anybody who uses it, the connection goes.
        self._finalizer = weakref.finalize(
            self, self._ledger.close, "the client is gone"
        )
        self._finalizer.atexit = False
        Client._instances.add(self)
        self._activate_magics()

    # --- connecting -------------------------------------------------------------------

    def _find(
        self,
        connection_info: Any,
        url_file: Any,
        place: Path,
        cluster_id: str,
        timeout: float,
    ) -> tuple[Path | None, dict[str, Any]]:
        if isinstance(connection_info, dict):
            if "socket" not in connection_info or "token" not in connection_info:
                raise ValueError(
                    "connection_info needs 'socket' and 'token', as in a file"
                )
            return None, connection_info
        named = connection_info if connection_info is not None else url_file
        if named is None and "IPP_CONNECTION_INFO" in os.environ and not cluster_id:
            return None, json.loads(os.environ["IPP_CONNECTION_INFO"])
        if named is not None:
            return _files.wait_for_connection(Path(named).expanduser(), timeout)
        path = _files.client_file(place, cluster_id)
        return _files.wait_for_connection(path, timeout, None if cluster_id else place)

    def _check_location(self, info: dict[str, Any]) -> None:
        location = info.get("location")
        if location and location != socket.gethostname() and not is_local_ip(location):
            warnings.warn(
                f"the controller of this connection file runs on {location}, and this "
                f"is {socket.gethostname()}: it can be reached on its own machine only",
                RuntimeWarning,
                stacklevel=3,
            )

    def _activate_magics(self) -> None:
        """In IPython, the first client defines the magics for all engines."""
        if "IPython" not in sys.modules:
            return
        from IPython import get_ipython  # type: ignore[import-not-found,unused-ignore]

        shell = get_ipython()
        if shell is not None and "px" not in shell.magics_manager.magics["cell"]:
            self.activate()

    def close(self, linger: Any = None) -> None:
        """Leave the cluster. What still waits for a result gets an error."""
        if self._closed:
            return
        self._closed = True
        self._finalizer.detach()
        self._ledger.close("the client was closed")
        self._fail_engine_waiters()

    def __enter__(self) -> "Client":
        if self.cluster is not None:
            self.wait_for_engines(getattr(self.cluster, "n", None) or 1)
        return self

    def __exit__(self, exc_type: Any, exc_value: Any, traceback: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._closed else f"{len(self._ids)} engines"
        name = self._cluster_id or self.profile
        return f"<Client({name!r}): {state}>"

    def _repr_html_(self) -> str:
        from html import escape

        state = "closed" if self._closed or self._ledger.gone else "connected"
        rows = "".join(
            f"<tr><td>{number}</td><td>{escape(self._hosts.get(number, ''))}</td></tr>"
            for number in self._ids
        )
        name = escape(self._cluster_id or self.profile)
        return (
            f"<b>Client</b> of cluster <code>{name}</code>, {state}, "
            f"{len(self._ids)} engines"
            f"<table><tr><th>engine</th><th>machine</th></tr>{rows}</table>"
        )

    # --- engines ----------------------------------------------------------------------

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

    def _engines_changed(self, fields: dict[str, Any]) -> None:
        """Called in the client's thread."""
        for gone in fields.get("left", []):
            number = gone["id"]
            self._left[number] = gone.get("reason", "")
            self._hosts.pop(number, None)
            uuid = self._engines.pop(number, None)
            if uuid is not None:
                self._ledger.outstanding_of.pop(uuid, None)
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
        """The numbers of the engines that are there now."""
        return list(self._ids)

    def __len__(self) -> int:
        return len(self._ids)

    def __iter__(self) -> Iterator[DirectView]:
        for number in self.ids:
            yield self.direct_view(number)

    def __getitem__(self, key: Any) -> DirectView:
        """A view of one engine (a number), or of several (a slice, a list of
        numbers)."""
        if not isinstance(key, (int, slice, tuple, list, range)):
            raise TypeError(
                f"engines are chosen by a number, a slice, or a list, not {key!r}"
            )
        return self.direct_view(key)

    def _await_engines(self) -> None:
        """Engines that were promised are waited for, with a word after two seconds."""
        if self._ids or not self._starting or self._closed:
            return
        until = time.monotonic() + ENGINES_PATIENCE
        told = time.monotonic() + 2
        while not self._ids and self._starting and self._ledger.gone is None:
            now = time.monotonic()
            if now >= until:
                return
            if now >= told:
                told = until + 1
                print(
                    f"waiting for {self._starting} engines that are starting",
                    file=sys.stderr,
                )
            time.sleep(0.005)

    def _build_targets(self, targets: Any) -> tuple[list[bytes], list[int]]:
        """The engines that `targets` means: their uuids, and their numbers."""
        self._ledger.check()
        if not self._ids:
            self._await_engines()
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
        return TimeoutError(f"{len(self._ids)} of {n} engines after {timeout:g} s")

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

    # --- views ------------------------------------------------------------------------

    def direct_view(self, targets: Any = "all", **kwargs: Any) -> DirectView:
        """A view of these engines: what is called on it runs on every one of them."""
        single = isinstance(targets, int)
        if targets == "all":
            return DirectView(client=self, targets=targets, **kwargs)
        _, chosen = self._build_targets(targets)
        return DirectView(
            client=self, targets=chosen[0] if single else chosen, **kwargs
        )

    def broadcast_view(
        self, targets: Any = "all", is_coalescing: bool = False, **kwargs: Any
    ) -> BroadcastView:
        """The same as a direct view. (A call always goes out once for all engines.)"""
        single = isinstance(targets, int)
        if targets != "all":
            _, chosen = self._build_targets(targets)
            targets = chosen[0] if single else chosen
        return BroadcastView(
            client=self, targets=targets, is_coalescing=is_coalescing, **kwargs
        )

    def load_balanced_view(
        self, targets: Any = None, **kwargs: Any
    ) -> LoadBalancedView:
        """A view that gives each task to one of these engines, that which is free."""
        if targets == "all":
            targets = None
        if targets is not None:
            if isinstance(targets, int):
                targets = [targets]
            _, targets = self._build_targets(targets)
        return LoadBalancedView(client=self, targets=targets, **kwargs)

    def executor(self, targets: Any = None) -> ViewExecutor:
        """An executor as in `concurrent.futures`, on a load-balanced view."""
        return self.load_balanced_view(targets).executor

    def activate(self, targets: Any = "all", suffix: str = "") -> DirectView:
        """A view with magics ``%px``, ``%%px``, ... in IPython, with a suffix if
        given."""
        view = self.direct_view(targets)
        view.block = True
        view.activate(suffix)
        return view

    # --- calls ------------------------------------------------------------------------

    def _direct_tasks(
        self, targets: list[int], **fields: Any
    ) -> tuple[list[dict[str, Any]], list[str | None]]:
        tasks = [
            {"targets": [number], "balanced": False, **fields} for number in targets
        ]
        return tasks, [self._engines.get(number) for number in targets]

    def send_apply_request(
        self,
        socket: Any,
        f: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        metadata: Any = None,
        track: bool = False,
        ident: Any = None,
        message_future_hook: Any = None,
    ) -> MessageFuture:
        """Call a function on one engine (`ident`: its uuid), or on any.

        (`socket` is ignored: there is one connection.)
        """
        if not callable(f) and not hasattr(f, "get_object"):
            raise TypeError(f"f is called, so it has to be callable, not {f!r}")
        call = Call("apply", "apply", (f, tuple(args or ()), dict(kwargs or {})), False)
        if ident is not None:
            name = ident.decode() if isinstance(ident, bytes) else ident
            tasks, known = self._direct_tasks([self._engines[name]])  # type: ignore[index]
        else:
            self._build_targets(None)
            tasks, known = [{"targets": [], "balanced": True}], [None]
        (future,) = self._ledger.submit(call, tasks, None, known)
        if message_future_hook is not None:
            message_future_hook(future)
        return future

    def send_execute_request(
        self,
        socket: Any,
        code: str,
        silent: bool = True,
        metadata: Any = None,
        ident: Any = None,
        message_future_hook: Any = None,
    ) -> MessageFuture:
        """Execute code on one engine. (`socket` is ignored.)"""
        if not isinstance(code, str):
            raise TypeError(f"code is text, not {type(code)}")
        call = Call("execute", "execute", (code, bool(silent)), False)
        name = ident.decode() if isinstance(ident, bytes) else ident
        number = (
            self._engines[name] if name is not None else self._build_targets(None)[1][0]
        )  # type: ignore[index]
        tasks, known = self._direct_tasks([number])  # type: ignore[list-item]
        (future,) = self._ledger.submit(call, tasks, None, known)
        if message_future_hook is not None:
            message_future_hook(future)
        return future

    def create_message_futures(
        self,
        msg_id: str,
        header: Any,
        async_result: bool = False,
        track: bool = False,
        label: str | None = None,
    ) -> tuple[MessageFuture, MessageFuture]:
        """A future for the result of a task, and one for its output: the same one."""
        future = MessageFuture(msg_id, header, track=track)
        future.metadata = Metadata(msg_id=msg_id, label=label)
        return future, future

    def _future(self, msg_id: str) -> MessageFuture:
        """The future of a task, whoever submitted it."""
        found = self._ledger.find(msg_id)
        if found is not None:
            return found
        (future,) = self._fetch([msg_id])
        return future

    def _fetch(self, ids: list[str]) -> list[MessageFuture]:
        futures = self._ledger.expect(ids)
        try:
            self._ledger.link.send("fetch", {"ids": ids})
        except OSError as problem:
            self._ledger.fail_all(str(problem))
        return futures

    def _forget(self, ids: Iterable[str]) -> None:
        self._ledger.forget(ids)

    # --- state ------------------------------------------------------------------------

    @property
    def history(self) -> list[str]:
        """The ids of all tasks that this client has submitted."""
        return self._ledger.history

    @property
    def outstanding(self) -> set[str]:
        """The ids of tasks that have not ended."""
        return self._ledger.outstanding

    @property
    def _outstanding_dict(self) -> Any:
        from collections import defaultdict

        return defaultdict(set, self._ledger.outstanding_of)

    @property
    def results(self) -> dict[str, Any]:
        """Results that no `AsyncResult` owns, by the ids of their tasks."""
        return self._ledger.results

    @property
    def metadata(self) -> dict[str, Metadata]:
        """What is known of tasks that no `AsyncResult` owns or that have not ended."""
        return self._ledger.metadata

    def spin(self) -> None:
        """Does nothing: results arrive by themselves."""

    def spin_thread(self, interval: float = 1) -> None:
        """Does nothing: results arrive by themselves."""

    def stop_spin_thread(self) -> None:
        """Does nothing: results arrive by themselves."""

    # --- waiting ----------------------------------------------------------------------

    def _waited(self, jobs: Any) -> list[Any]:
        """Futures of what `jobs` means; None: of all that has not ended."""
        if jobs is None:
            with self._ledger.lock:
                return list(self._ledger.pending.values())
        if isinstance(jobs, (str, int, Future)):
            jobs = [jobs]
        futures: list[Any] = []
        for job in jobs:
            if isinstance(job, int):
                job = self.history[job]
            if isinstance(job, Future):
                futures.append(job)
            elif isinstance(job, str):
                found = self._ledger.find(job)
                if found is not None:
                    futures.append(found)
            else:
                futures += self._waited(ids_of(job))
        return futures

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Whether these (None: all) have ended, after at most `timeout` seconds."""
        from concurrent.futures import wait

        limit = None if timeout is None or timeout < 0 else timeout
        _, pending = wait(self._waited(jobs), limit)
        return not pending

    def wait_interactive(
        self, jobs: Any = None, interval: float = 1.0, timeout: float = -1.0
    ) -> bool:
        """Wait for these with a progress bar; whether they have ended."""
        from concurrent.futures import wait

        from ..util import progress

        futures = self._waited(jobs)
        until = None if timeout < 0 else time.monotonic() + timeout
        with progress(total=len(futures), unit="tasks") as bar:
            while True:
                slice_ = interval
                if until is not None:
                    slice_ = min(interval, max(until - time.monotonic(), 0))
                done, pending = wait(futures, slice_)
                bar.update(len(done) - bar.n)
                if not pending:
                    return True
                if until is not None and time.monotonic() >= until:
                    return False

    # --- the queues -------------------------------------------------------------------

    def _ids_of_jobs(self, jobs: Any) -> list[str]:
        if isinstance(jobs, int):
            return [self.history[jobs]]
        if isinstance(jobs, (list, tuple, set)):
            return [one for job in jobs for one in self._ids_of_jobs(job)]
        return ids_of(jobs)

    def abort(self, jobs: Any = None, targets: Any = None, block: Any = None) -> None:
        """Take tasks out of the queues: these, or those for these engines.

        What has not begun ends in `TaskAborted`; what runs goes on.
        """
        if jobs is not None:
            ids: list[str] | None = self._ids_of_jobs(jobs)
        else:
            ids = None
        numbers = None if targets is None else self._build_targets(targets)[1]
        fields: dict[str, Any] = {"ids": ids, "targets": numbers}
        future = self._ledger.ask("abort", fields)
        if block or (block is None and self.block):
            self._ledger.answer(future, "abort", 60)

    def clear(self, targets: Any = None, block: bool | None = None) -> Any:
        """Forget every name in the namespaces of these engines."""
        block = self.block if block is None else block
        _, numbers = self._build_targets(targets)
        tasks, known = self._direct_tasks(numbers)
        call = Call("clear", "clear", None, len(numbers) > 1)
        result = AsyncResult(
            self,
            self._ledger.submit(call, tasks, None, known),
            fname="clear",
            targets=numbers,
            owner=True,
        )
        if block:
            result.get()
            return None
        return result

    def send_signal(
        self, sig: "int | str", targets: Any = None, block: bool | None = None
    ) -> Any:
        """Send a signal to engines: ``SIGINT`` interrupts what they run."""
        if isinstance(sig, str):
            name = sig
            if not hasattr(signal, name):
                raise ValueError(f"no signal {name!r}")
            sig = int(getattr(signal, name))
        block = self.block if block is None else block
        _, numbers = self._build_targets(targets)
        future = self._ledger.ask("signal", {"targets": numbers, "signal": int(sig)})
        if block:
            self._ledger.answer(future, "signal", 60)
            return None
        return future

    def shutdown(
        self,
        targets: Any = "all",
        restart: bool = False,
        hub: bool = False,
        block: bool | None = None,
    ) -> None:
        """End engines, and with `hub` the controller too. `restart` starts them
        again."""
        block = self.block if block is None else block
        if restart and hub:
            raise ValueError(
                "a controller that ends restarts no engines: hub or restart"
            )
        numbers: list[int] | None = None
        if hub:
            block = True
        elif targets != "all":
            _, numbers = self._build_targets(targets)
        elif not self._ids:
            return
        else:
            numbers = self.ids
        future = self._ledger.ask(
            "shutdown", {"targets": numbers, "controller": hub, "restart": restart}
        )
        if not block:
            return
        try:
            self._ledger.answer(future, "shutdown", 60)
        except OSError:
            if not hub:
                raise
        if numbers is not None and not restart:
            gone = set(numbers)
            self._ledger.wait_until(lambda: gone.isdisjoint(self._ids), 5)

    # --- results and history ----------------------------------------------------------

    def get_result(
        self,
        indices_or_msg_ids: Any = None,
        block: bool | None = None,
        owner: bool = True,
    ) -> AsyncResult:
        """The result of tasks by their ids, or places in `history` (None: the last
        one).

        Tasks may be of another client's.
        """
        block = self.block if block is None else block
        if indices_or_msg_ids is None:
            indices_or_msg_ids = -1
        single = isinstance(indices_or_msg_ids, (int, str)) or (
            getattr(indices_or_msg_ids, "_single_result", False)
        )
        ids = self._ids_of_jobs(indices_or_msg_ids)
        known = {msg_id: self._ledger.find(msg_id) for msg_id in ids}
        missing = [msg_id for msg_id in ids if known[msg_id] is None]
        kind: type[AsyncResult] = AsyncResult
        if missing:
            self._ledger.check()
            kind = AsyncHubResult
            for future in self._fetch(missing):
                known[future.msg_id] = future
        futures = [known[msg_id] for msg_id in ids]
        result = kind(
            self, futures[0] if single else futures, fname="get_result", owner=owner
        )
        if block:
            result.wait()
        return result

    def resubmit(
        self,
        indices_or_msg_ids: Any = None,
        metadata: Any = None,
        block: bool | None = None,
    ) -> AsyncResult:
        """Run tasks again, as they were. Raises a remote KeyError for unknown ones."""
        block = self.block if block is None else block
        if indices_or_msg_ids is None:
            indices_or_msg_ids = -1
        ids = self._ids_of_jobs(indices_or_msg_ids)
        new = [self._ledger.new_id() for _ in ids]
        futures = self._ledger.expect(new)
        try:
            self._ledger.request("resubmit", {"ids": ids, "new_ids": new})
        except BaseException:
            with self._ledger.lock:
                for future in futures:
                    self._ledger._drop(future)
                    self._ledger.metadata.pop(future.msg_id, None)
            raise
        self.history.extend(new)
        result = AsyncHubResult(self, futures, fname="resubmit")
        if block:
            result.wait()
        return result

    def result_status(self, msg_ids: Any, status_only: bool = True) -> dict[str, Any]:
        """Which of these tasks have ended: ``pending`` and ``completed`` ids.

        Without `status_only`, their results too, by id.
        """
        ids = self._ids_of_jobs(msg_ids)
        reply = self._ledger.request("result_status", {"ids": ids})
        if reply.get("unknown"):
            raise make("KeyError", f"no such task: {reply['unknown'][0]}")
        completed = list(reply["completed"])
        status: dict[str, Any] = {
            "status": "ok",
            "pending": list(reply["pending"]),
            "completed": completed,
        }
        if not status_only and completed:
            result = self.get_result(completed, owner=False)
            values = result.get(timeout=60, return_exceptions=True)
            status |= zip(completed, values, strict=True)
        return status

    def queue_status(self, targets: Any = "all", verbose: bool = False) -> Any:
        """How many tasks engines have: ``queue``, ``tasks``, ``completed``, by number.

        ``verbose``: their ids instead. ``unassigned`` are those of no engine yet.
        """
        if targets == "all":
            numbers = None
        else:
            _, numbers = self._build_targets(targets)
        reply = self._ledger.request(
            "queue_status", {"targets": numbers, "verbose": verbose}
        )
        status: dict[Any, Any] = {"unassigned": _counted(reply["unassigned"], verbose)}
        for number, queue in reply["engines"].items():
            status[int(number)] = {
                key: _counted(queue[key], verbose)
                for key in ("queue", "completed", "tasks")
            }
            if not verbose and "counts" in queue:
                keys = ("queue", "tasks", "completed")
                status[int(number)] |= zip(keys, queue["counts"], strict=True)
        if not verbose and "unassigned_count" in reply:
            status["unassigned"] = reply["unassigned_count"]
        if isinstance(targets, int) and numbers:
            return status[numbers[0]]
        return status

    def hub_history(self) -> list[str]:
        """The ids of the tasks that the controller remembers, oldest first."""
        return [record["id"] for record in self._records()]

    def _records(self) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = self._ledger.request("records", {"ids": None})[
            "records"
        ]
        return sorted(records, key=lambda record: record["submitted"])

    def db_query(self, query: dict[str, Any], keys: Any = None) -> list[dict[str, Any]]:
        """What the controller remembers of tasks: records that match a query.

        A query has values by key, or operators: ``{"submitted": {"$gt": then}}``, with
        ``$eq $ne $lt $lte $gt $gte $in $nin $all $not $mod $exists``. `keys` are the
        parts of records that come (and ``msg_id`` always does).
        """
        return select([_record(one) for one in self._records()], query, keys)

    def purge_hub_results(self, jobs: Any = [], targets: Any = []) -> None:  # noqa: B006
        """Make the controller forget tasks: these, those of engines, or ``'all'``."""
        if jobs == "all":
            self._ledger.request("purge", {"everything": True})
            return
        ids = self._ids_of_jobs(jobs)
        numbers = self._build_targets(targets)[1] if targets not in ([], None) else None
        if not ids and not numbers:
            raise ValueError("purge what? give jobs or targets")
        self._ledger.request("purge", {"ids": ids or None, "targets": numbers})

    def purge_local_results(self, jobs: Any = [], targets: Any = []) -> None:  # noqa: B006
        """Forget results and metadata here. Raises RuntimeError if tasks still run."""
        ledger = self._ledger
        if jobs == "all":
            ids = [*ledger.metadata, *ledger.results, *ledger.kept]
            if ledger.outstanding:
                raise RuntimeError(
                    f"{len(ledger.outstanding)} tasks have not ended: wait for them"
                )
        else:
            ids = self._ids_of_jobs(jobs)
            if targets not in ([], None):
                numbers = set(self._build_targets(targets)[1])
                ids += [
                    msg_id
                    for msg_id, one in ledger.metadata.items()
                    if one["engine_id"] in numbers
                ]
        running = ledger.outstanding.intersection(ids)
        if running:
            raise RuntimeError(f"{len(running)} of these tasks have not ended")
        ledger.forget(ids)

    def purge_results(self, jobs: Any = [], targets: Any = []) -> None:  # noqa: B006
        """Forget tasks here and in the controller."""
        self.purge_local_results(jobs=jobs, targets=targets)
        self.purge_hub_results(jobs=jobs, targets=targets)

    def purge_everything(self) -> None:
        """Forget all tasks, here and in the controller, and this client's history."""
        self.purge_results("all")
        self.history.clear()

    # --- Dask -------------------------------------------------------------------------

    def become_dask(
        self,
        targets: Any = "all",
        port: int = 0,
        nanny: bool = False,
        scheduler_args: Any = None,
        **worker_args: Any,
    ) -> Any:
        """Make the engines workers of Dask too, with a scheduler in this process.

        Returns a ``distributed.Client``. Needs the package `distributed` on both sides.
        """
        from .dask import become_dask

        return become_dask(self, targets, port, nanny, scheduler_args, worker_args)

    def stop_dask(self, targets: Any = "all") -> None:
        """End the workers of Dask again; the engines go on."""
        from .dask import stop_dask

        stop_dask(self, targets)

    become_distributed = become_dask
    stop_distributed = stop_dask


def _weakly(
    method: Callable[[dict[str, Any]], None],
) -> Callable[[dict[str, Any]], None]:
    """Call a method as long as its object lives, without keeping it alive."""
    weak = weakref.WeakMethod(method)

    def call(fields: dict[str, Any]) -> None:
        alive = weak()
        if alive is not None:
            alive(fields)

    return call


def _counted(ids: list[str], verbose: bool) -> Any:
    return list(ids) if verbose else len(ids)


def _hello() -> dict[str, Any]:
    """What this process tells a controller of itself."""
    import platform

    try:
        from importlib.metadata import version

        pickler = version("cloudpickle")
    except Exception:
        pickler = ""
    return {
        "python": platform.python_version(),
        "cloudpickle": pickler,
        "platform": platform.platform(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "cwd": os.getcwd(),
        "name": Path(sys.argv[0] if sys.argv else "").name or "python",
    }


def _record(one: dict[str, Any]) -> dict[str, Any]:
    """A record of the controller's as the original's databases have it."""
    told = json.loads(one["result_metadata"]) if one.get("result_metadata") else {}
    started = moment(one.get("started"))
    submitted: datetime | None = moment(one["submitted"])
    header = {
        "msg_id": one["id"],
        "msg_type": f"{one['kind']}_request",
        "username": "username",
        "session": one["client"],
        "date": submitted,
        "version": "5.4",
    }
    asked = {
        "after": one.get("after", []),
        "follow": one.get("follow", []),
        "targets": one.get("targets", []),
        "label": one.get("label"),
    }
    error = one.get("error")
    return {
        "msg_id": one["id"],
        "header": header,
        "content": {},
        "metadata": asked,
        "buffers": [],
        "submitted": submitted,
        "client_uuid": one["client"],
        "engine_uuid": one.get("engine_uuid"),
        "started": started,
        "completed": moment(one.get("completed")),
        "resubmitted": one.get("resubmitted"),
        "received": moment(one.get("received")),
        "result_header": {}
        if one.get("completed") is None
        else {"status": one["status"]},
        "result_metadata": told,
        "result_content": {"status": one["status"]} | (error or {}),
        "result_buffers": [],
        "queue": "task" if one.get("balanced") else "mux",
        "execute_input": told.get("execute_input"),
        "execute_result": None,
        "error": error,
        "stdout": one.get("stdout", ""),
        "stderr": one.get("stderr", ""),
        "label": one.get("label"),
    }


def _close_all() -> None:
    """At the end of the process, clients leave before the interpreter does."""
    for client in list(Client._instances):
        client.close()


atexit.register(_close_all)
