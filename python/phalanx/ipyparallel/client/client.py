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
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .. import _files, _reach
from ..controller.dependency import ids_of
from .asyncresult import AsyncResult
from .engines import EnginesByNumber, EnginesOfClient
from .futures import MessageFuture
from .history import History
from .records import ExecuteReply, Metadata
from .submit import Call, Ledger
from .view import BroadcastView, DirectView, LoadBalancedView, ViewExecutor

if TYPE_CHECKING:
    from ..cluster.cluster import Cluster

__all__ = ["Client", "ExecuteReply", "Metadata"]


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


class Session:
    """What programs ask of the original's session: the secret of the connection.

    Messages are not signed one by one, so there are no digests to remember.
    """

    def __init__(self, identity: str, token: str) -> None:
        self.session = identity
        self.key = token.encode()
        self.digest_history: set[bytes] = set()


class Client(EnginesOfClient, History):
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
                "sshserver= is not needed: start the controller with --ip='*', and use "
                "its connection file; what goes over the network is encrypted"
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
        link = _reach.connect(info, max(float(timeout), 1.0))
        self._ledger = Ledger(link, debug)
        self.session = Session(self._ledger.identity, info["token"])
        self._cluster_id: str = link.welcome.get("cluster_id", "")
        self._ids: list[int] = []
        self._engines = EnginesByNumber()
        self._left: dict[int, str] = {}
        self._starting = int(link.welcome.get("starting") or 0)
        self._promised = self._starting > 0
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
            ways = {"socket", "addresses"} & connection_info.keys()
            if not ways or "token" not in connection_info:
                raise ValueError(
                    "connection_info needs 'socket' or 'addresses' and 'certificate', "
                    "and 'token', as in a file"
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
        if info.get("addresses"):
            return
        if location and location != socket.gethostname() and not is_local_ip(location):
            warnings.warn(
                f"the controller of this connection file runs on {location}, and this "
                f"is {socket.gethostname()}: it can be reached on its own machine "
                "only; start it with --ip='*' for others",
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

    # --- views ------------------------------------------------------------------------

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
            number = self._engines[name]
            future = self._submit_one(call, number)
        else:
            self._build_targets(None)
            (future,) = self._ledger.submit(call, {"balanced": True}, owned=False)
        if message_future_hook is not None:
            message_future_hook(future)
        return future

    def _submit_one(self, call: Call, number: int) -> MessageFuture:
        uuids = {number: self._engines.get(number)}
        (future,) = self._ledger.submit(call, {}, None, [number], uuids, owned=False)
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
        )
        future = self._submit_one(call, number)
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

    def _own(self, futures: Iterable[MessageFuture]) -> None:
        """An `AsyncResult` has these from now on."""
        self._ledger.own(futures)

    # --- state ------------------------------------------------------------------------

    @property
    def outstanding(self) -> set[str]:
        """The ids of tasks that have not ended."""
        return self._ledger.outstanding

    @property
    def _outstanding_dict(self) -> Any:
        from collections import defaultdict

        found: dict[str, set[str]] = defaultdict(set)
        for task in self._ledger.link.pending():
            uuid = self._engines.get(task.engine)
            if uuid is not None:
                found[uuid].add(task.id)
        return found

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
            return list(self._ledger.waiting())
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
        uuids = {number: self._engines.get(number) for number in numbers}
        call = Call("clear", "clear", None, len(numbers) > 1)
        result = AsyncResult(
            self,
            self._ledger.submit(call, {}, None, numbers, uuids),
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
        if not sig:
            # Signal 0 reaches nobody: it asks whether somebody is there.
            return None
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


def _close_all() -> None:
    """At the end of the process, clients leave before the interpreter does."""
    for client in list(Client._instances):
        client.close()


atexit.register(_close_all)
