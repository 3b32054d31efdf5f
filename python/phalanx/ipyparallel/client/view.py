"""Views: engines as a user sees them, with a namespace that can be read and written.

`DirectView` runs a call on each of its engines, `LoadBalancedView` on one that is free.
"""

import builtins
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..serialize.canning import Reference
from . import map as maps
from .asyncresult import AsyncMapResult, AsyncResult
from .remotefunction import ParallelFunction, RemoteFunction, getname, parallel, remote
from .submit import Call, dependency

if TYPE_CHECKING:
    from .client import Client

__all__ = [
    "BroadcastView",
    "DirectView",
    "LazyMapIterator",
    "LoadBalancedView",
    "View",
    "ViewExecutor",
]


class View:
    """What both kinds of views have in common.

    ``view.block`` says whether calls wait; ``temp_flags(block=True)`` sets it, or any
    other flag, for a ``with`` block.
    """

    _flag_names: tuple[str, ...] = ("targets", "block", "track", "label")

    block: bool = False
    track: bool = False
    label: Any = None
    targets: Any = None

    def __init__(
        self, client: "Client | None" = None, socket: Any = None, **flags: Any
    ) -> None:
        if client is None:
            raise TypeError("a view belongs to a client: use client[:]")
        self.client = client
        self.history: list[str] = []
        self.block = client.block
        self.set_flags(**flags)

    def __repr__(self) -> str:
        text = str(self.targets)
        if len(text) > 16:
            text = text[:12] + "...]"
        return f"<{type(self).__name__} {text}>"

    def __len__(self) -> int:
        if isinstance(self.targets, list):
            return len(self.targets)
        if isinstance(self.targets, int):
            return 1
        return len(self.client)

    @property
    def outstanding(self) -> set[str]:
        """The ids of this view's tasks that have not ended."""
        return self.client.outstanding.intersection(self.history)

    @property
    def results(self) -> dict[str, Any]:
        """Results that no `AsyncResult` owns, by the ids of their tasks."""
        return self.client.results

    # --- flags ------------------------------------------------------------------------

    def set_flags(self, **kwargs: Any) -> "View":
        """Set flags (``block``, ``track``, ``label``, ``targets``, ...); gives the
        view."""
        for name, value in kwargs.items():
            if name not in self._flag_names:
                raise KeyError(
                    f"no flag {name!r}; there are {', '.join(self._flag_names)}"
                )
            setattr(self, name, value)
        return self

    @contextmanager
    def temp_flags(self, **kwargs: Any) -> Iterator["View"]:
        """Set flags for a ``with`` block."""
        before = {name: getattr(self, name) for name in self._flag_names}
        try:
            yield self.set_flags(**kwargs)
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    # --- calls ------------------------------------------------------------------------

    def _really_apply(
        self, f: Callable[..., Any], args: Any, kwargs: Any, block: bool, **rest: Any
    ) -> Any:
        raise NotImplementedError

    def _took(self, result: AsyncResult) -> AsyncResult:
        self.history.extend(result.msg_ids)
        return result

    def apply(self, __ipp_f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``f(*args, **kwargs)`` on the engines.

        The results if the view blocks, else an `AsyncResult`.
        """
        return self._really_apply(__ipp_f, args, kwargs, self.block)

    def apply_async(
        self, __ipp_f: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> AsyncResult:
        """The same; always an `AsyncResult`."""
        result: AsyncResult = self._really_apply(__ipp_f, args, kwargs, False)
        return result

    def apply_sync(self, __ipp_f: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """The same; always the results."""
        return self._really_apply(__ipp_f, args, kwargs, True)

    def map(self, f: Callable[..., Any], *sequences: Any, **kwargs: Any) -> Any:
        """Call `f` for each item; see the classes for what else can be given."""
        raise NotImplementedError

    def map_async(
        self, f: Callable[..., Any], *sequences: Any, **kwargs: Any
    ) -> AsyncMapResult:
        """`map` that gives an `AsyncMapResult` at once."""
        if "block" in kwargs:
            raise TypeError("map_async does not block: use map(..., block=...)")
        result: AsyncMapResult = self.map(f, *sequences, block=False, **kwargs)
        return result

    def map_sync(self, f: Callable[..., Any], *sequences: Any, **kwargs: Any) -> Any:
        """`map` that waits, and gives the list of results."""
        if "block" in kwargs:
            raise TypeError("map_sync blocks: use map(..., block=...)")
        return self.map(f, *sequences, block=True, **kwargs)

    def imap(self, f: Callable[..., Any], *sequences: Any, **kwargs: Any) -> Any:
        """An iterator over the results of `map_async`, as they arrive."""
        return iter(self.map_async(f, *sequences, **kwargs))

    def remote(
        self, block: bool | None = None, **flags: Any
    ) -> Callable[[Callable[..., Any]], RemoteFunction]:
        """A decorator: calls of the function run on the engines."""
        return remote(self, block=self.block if block is None else block, **flags)

    def parallel(
        self, dist: str = "b", block: bool | None = None, **flags: Any
    ) -> Callable[[Callable[..., Any]], ParallelFunction]:
        """A decorator: calls of the function divide sequences among the engines."""
        return parallel(
            self, dist=dist, block=self.block if block is None else block, **flags
        )

    # --- what the client does for these engines ---------------------------------------

    def wait(self, jobs: Any = None, timeout: float | None = -1) -> bool:
        """Whether these (None: all of this view) have ended, after `timeout`
        seconds."""
        return self.client.wait(self.history if jobs is None else jobs, timeout)

    def abort(self, jobs: Any = None, targets: Any = None, block: Any = None) -> None:
        """Take tasks out of the queues (None: all of this view's)."""
        block = self.block if block is None else block
        jobs = list(self.outstanding) if jobs is None else jobs
        self.client.abort(jobs=jobs, targets=targets, block=block)

    def queue_status(self, targets: Any = None, verbose: bool = False) -> Any:
        """`Client.queue_status` of these engines."""
        targets = self.targets if targets is None else targets
        return self.client.queue_status(
            targets="all" if targets is None else targets, verbose=verbose
        )

    def purge_results(self, jobs: Any = [], targets: Any = []) -> None:  # noqa: B006
        """`Client.purge_results`; an empty call purges nothing."""
        if targets in (None, "all"):
            targets = self.targets
        self.client.purge_results(jobs=jobs, targets=targets)

    def shutdown(
        self,
        targets: Any = None,
        restart: bool = False,
        hub: bool = False,
        block: bool | None = None,
    ) -> None:
        """`Client.shutdown` of these engines."""
        block = self.block if block is None else block
        if targets in (None, "all"):
            targets = self.targets
        self.client.shutdown(
            targets="all" if targets is None else targets,
            restart=restart,
            hub=hub,
            block=block,
        )

    def get_result(
        self,
        indices_or_msg_ids: Any = None,
        block: bool | None = None,
        owner: bool = False,
    ) -> AsyncResult:
        """`Client.get_result`; numbers are places in this view's history."""
        if indices_or_msg_ids is None:
            indices_or_msg_ids = -1
        if isinstance(indices_or_msg_ids, int):
            indices_or_msg_ids = self.history[indices_or_msg_ids]
        elif isinstance(indices_or_msg_ids, (list, tuple)):
            indices_or_msg_ids = [
                self.history[one] if isinstance(one, int) else one
                for one in indices_or_msg_ids
            ]
        block = self.block if block is None else block
        return self.client.get_result(indices_or_msg_ids, block=block, owner=owner)

    def spin(self) -> None:
        """Does nothing: results arrive by themselves."""

    @property
    def executor(self) -> "ViewExecutor":
        """An executor as in `concurrent.futures` on this view."""
        return ViewExecutor(self)


# --- what runs on engines, by name ----------------------------------------------------


def _push(names: dict[str, Any]) -> None:
    from ..serialize._functions import namespace

    place = namespace()
    for name, value in names.items():
        if "." in name:
            holder, _, attribute = name.rpartition(".")
            setattr(eval(holder, place), attribute, value)
        else:
            place[name] = value


def _pull(names: "str | list[str]") -> Any:
    from ..serialize._functions import namespace

    place = namespace()
    if isinstance(names, str):
        return eval(names, place)
    return [eval(name, place) for name in names]


def _push_part(name: str, part: Any, flatten: bool) -> None:
    if flatten and len(part) == 1:
        part = part[0]
    _push({name: part})


class _MapPart:
    """One engine's part of a map: calls a function for each item."""

    def __init__(self, f: Callable[..., Any]) -> None:
        self.f = f

    def __call__(self, *parts: Any) -> list[Any]:
        return list(builtins.map(self.f, *parts))


def _import(name: str, fromlist: tuple[str, ...], level: int, places: Any) -> None:
    """Run the same import here: `places` are the names that it gives, and to what."""
    import sys

    from ..serialize._functions import namespace

    place = namespace()
    __import__(name)
    if not fromlist:
        for asname, what in places.items():
            place[asname] = sys.modules[what]
        return
    module = __import__(name, fromlist=list(fromlist))
    if fromlist == ("*",):
        names = getattr(module, "__all__", None)
        if names is None:
            names = [one for one in vars(module) if not one.startswith("_")]
        place.update({one: getattr(module, one) for one in names})
        return
    for asname, what in places.items():
        place[asname] = getattr(module, what)


def _use(mode: str) -> None:
    from ..serialize._functions import set_mode

    set_mode(mode)


class DirectView(View):
    """One engine, or several: each call runs on every one of them.

    ``view["a"]`` reads a name of their namespaces, ``view["a"] = 5`` writes it. A
    view of one engine (by its number) gives single results, any other lists.
    """

    def __init__(
        self,
        client: "Client | None" = None,
        socket: Any = None,
        targets: Any = None,
        **flags: Any,
    ) -> None:
        super().__init__(client=client, socket=socket, **flags)
        self.targets = targets

    def _tasks(
        self, targets: Any, **fields: Any
    ) -> tuple[bool, list[int], list[dict[str, Any]], list[str | None]]:
        """Whether there is one engine, and a task for each."""
        if targets is None:
            targets = self.targets
        _, numbers = self.client._build_targets(targets)
        if self.label is not None:
            fields["label"] = str(self.label)
        tasks, known = self.client._direct_tasks(numbers, **fields)
        return isinstance(targets, int), numbers, tasks, known

    def _send(
        self,
        call: Call,
        targets: Any,
        block: bool | None,
        name: str,
        args: list[Any] | None = None,
        **fields: Any,
    ) -> Any:
        single, numbers, tasks, known = self._tasks(targets, **fields)
        call.shared = len(numbers) > 1
        futures = self.client._ledger.submit(call, tasks, args, known)
        result = self._took(
            AsyncResult(
                self.client,
                futures[0] if single else futures,
                fname=name,
                targets=numbers,
                owner=True,
            )
        )
        return result.get() if block else result

    def _really_apply(
        self,
        f: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        block: bool | None = None,
        targets: Any = None,
        **rest: Any,
    ) -> Any:
        block = self.block if block is None else block
        _callable(f)
        call = Call("apply", "apply", (f, tuple(args or ()), dict(kwargs or {})), True)
        return self._send(call, targets, block, getname(f))

    def map(  # type: ignore[override]
        self,
        f: Callable[..., Any],
        *sequences: Any,
        block: bool | None = None,
        track: bool = False,
        return_exceptions: bool = False,
        label: Any = None,
    ) -> Any:
        """Call `f` for each item: every engine gets a part of the sequences.

        The list of results if the view blocks, else an `AsyncMapResult`.
        """
        if not sequences:
            raise TypeError("map needs a sequence")
        block = self.block if block is None else block
        function = ParallelFunction(
            self, f, block=block, return_exceptions=return_exceptions
        )
        with self.temp_flags(label=self.label if label is None else label):
            return function.map(*sequences)

    def execute(
        self,
        code: str,
        silent: bool = True,
        targets: Any = None,
        block: bool | None = None,
        label: Any = None,
    ) -> Any:
        """Execute code in the engines' namespaces, as a cell of a notebook is.

        Gives an `AsyncResult` of `ExecuteReply` objects, which it waits for if the view
        blocks. Unless `silent`, the value of the last expression comes with it.
        """
        if not isinstance(code, str):
            raise TypeError(f"code is text, not {type(code).__name__}")
        block = self.block if block is None else block
        call = Call("execute", "execute", (code, bool(silent)), True)
        with self.temp_flags(label=self.label if label is None else label):
            result = self._send(
                call, targets, False, "execute", stop_on_error=not silent
            )
        for metadata in result._metadata:
            dict.__setitem__(metadata, "execute_input", code)
        if block:
            result.get()
        return result

    def run(
        self,
        filename: str,
        targets: Any = None,
        block: bool | None = None,
        label: Any = None,
    ) -> Any:
        """Execute the code of a file of this machine."""
        # A last line that is indented ends only with a line behind it.
        code = Path(filename).expanduser().read_text() + "\n"
        return self.execute(code, targets=targets, block=block, label=label)

    # --- the namespaces ---------------------------------------------------------------

    def push(
        self,
        ns: dict[str, Any],
        targets: Any = None,
        block: bool | None = None,
        track: bool | None = None,
    ) -> Any:
        """Set names in the engines' namespaces. An array goes out once for all of
        them."""
        if not isinstance(ns, dict):
            raise TypeError(f"push takes a dict of names and values, not {ns!r}")
        for name in ns:
            _check_name(name)
        block = self.block if block is None else block
        call = Call("push", "apply", (_push, (ns,), {}), True)
        return self._send(call, targets, block, "_push")

    def pull(self, names: Any, targets: Any = None, block: bool | None = None) -> Any:
        """The values of a name, or of several, in the engines' namespaces."""
        if isinstance(names, str):
            _check_name(names)
        else:
            names = list(names)
            for name in names:
                _check_name(name)
        block = self.block if block is None else block
        call = Call("pull", "apply", (_pull, (names,), {}), True)
        return self._send(call, targets, block, "_pull")

    def update(self, ns: dict[str, Any]) -> Any:
        """Set names, as `push` does."""
        return self.push(ns, block=self.block, track=self.track)

    def get(self, key_s: Any) -> Any:
        """The values of a name, or of several; waits for them."""
        return self.pull(key_s, block=True)

    def __getitem__(self, key: Any) -> Any:
        return self.get(key)

    def __setitem__(self, key: str, value: Any) -> None:
        self.update({key: value})

    def scatter(
        self,
        key: str,
        seq: Any,
        dist: str = "b",
        flatten: bool = False,
        targets: Any = None,
        block: bool | None = None,
        track: bool | None = None,
    ) -> Any:
        """Give each engine a part of a sequence, under a name.

        `dist`: ``b`` parts that are consecutive, ``r`` every n-th item. With
        `flatten` an engine that gets one item has the item, not a sequence of it.
        """
        _check_name(key)
        block = self.block if block is None else block
        mapping = _distribution(dist)
        if not hasattr(seq, "__len__"):
            seq = list(seq)
        single, numbers, tasks, known = self._tasks(targets)
        parts = [
            ((key, mapping.getPartition(seq, n, len(numbers)), flatten), {})
            for n in range(len(numbers))
        ]
        call = Call("scatter", "apply", _push_part, len(numbers) > 1)
        futures = self.client._ledger.submit(call, tasks, parts, known)
        result = self._took(
            AsyncResult(
                self.client,
                futures[0] if single else futures,
                fname="scatter",
                targets=numbers,
                owner=True,
            )
        )
        return result.get() if block else result

    def gather(
        self,
        key: str,
        dist: str = "b",
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        """Put together what `scatter` divided: lists are joined, arrays
        concatenated."""
        _check_name(key)
        block = self.block if block is None else block
        mapping = _distribution(dist)
        _, numbers, tasks, known = self._tasks(targets)
        call = Call("gather", "apply", (_pull, (key,), {}), len(numbers) > 1)
        futures = self.client._ledger.submit(call, tasks, None, known)
        result = AsyncMapResult(self.client, futures, mapping, fname="gather")
        self._took(result)
        return result.get() if block else result

    def clear(self, targets: Any = None, block: bool | None = None) -> Any:
        """Forget every name in the engines' namespaces."""
        block = self.block if block is None else block
        targets = self.targets if targets is None else targets
        return self.client.clear(targets=targets, block=block)

    # --- imports and pickling ---------------------------------------------------------

    @contextmanager
    def sync_imports(self, local: bool = True, quiet: bool = False) -> Iterator[None]:
        """Imports in this ``with`` block happen on the engines as well.

        ``import numpy as np`` gives the engines ``np``, too. With ``local=False`` they
        happen on the engines only; `quiet` prints nothing.
        """
        from .imports import mirrored

        with mirrored(self, local, quiet):
            yield

    @property
    def importer(self) -> Any:
        """``sync_imports()``, for ``with view.importer:``."""
        return self.sync_imports(True)

    def _use(self, mode: str) -> Any:
        from ..serialize import _functions

        # Engines first: what tells them is sent as they still understand it.
        result = self._really_apply(_use, (mode,), block=True)
        _functions.set_mode(mode)
        return result

    def use_dill(self) -> Any:
        """Send everything as dill does, on both sides."""
        return self._use("dill")

    def use_cloudpickle(self) -> Any:
        """Send functions as cloudpickle does, with their globals, on both sides."""
        return self._use("cloudpickle")

    def use_pickle(self) -> Any:
        """Undo `use_dill` and `use_cloudpickle`."""
        return self._use("pickle")

    def activate(self, suffix: str = "") -> None:
        """Define the magics ``%px``, ... for this view in IPython."""
        import sys

        if "IPython" not in sys.modules:
            print("The magics are IPython's: start 'ipython' to have them.")
            return
        from IPython import get_ipython  # type: ignore[import-not-found,unused-ignore]

        shell = get_ipython()
        if shell is None:
            print("The magics are IPython's: start 'ipython' to have them.")
            return
        from .magics import ParallelMagics

        magics = ParallelMagics(shell, self, suffix)
        shell.magics_manager.register(magics)


class BroadcastView(DirectView):
    """A direct view; `is_coalescing` and the rest is as there."""

    _flag_names = (*DirectView._flag_names, "is_coalescing")
    is_coalescing: bool = False

    def execute(  # type: ignore[override]
        self,
        code: str,
        silent: bool = True,
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        return super().execute(code, silent=silent, targets=targets, block=block)

    def gather(
        self,
        key: str,
        dist: str = "b",
        targets: Any = None,
        block: bool | None = None,
    ) -> Any:
        return super().gather(key, dist=dist, targets=targets, block=block)

    def map(  # type: ignore[override]
        self,
        f: Callable[..., Any],
        *sequences: Any,
        block: bool | None = None,
        track: bool = False,
        return_exceptions: bool = False,
    ) -> Any:
        return super().map(
            f,
            *sequences,
            block=block,
            track=track,
            return_exceptions=return_exceptions,
        )

    def scatter(
        self,
        key: str,
        seq: Any,
        dist: str = "b",
        flatten: bool = False,
        targets: Any = None,
        block: bool | None = None,
        track: bool | None = None,
    ) -> Any:
        return super().scatter(
            key,
            seq,
            dist=dist,
            flatten=flatten,
            targets=targets,
            block=block,
            track=track,
        )


def _callable(f: Any) -> None:
    if not callable(f) and not isinstance(f, Reference):
        raise TypeError(f"a call needs a function, not {f!r}")


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a name is text, not {name!r}")


def _distribution(dist: str) -> maps.Map:
    try:
        return maps.dists[dist]()
    except KeyError:
        raise ValueError(f"dist is 'b' or 'r', not {dist!r}") from None


class LoadBalancedView(View):
    """Engines as one pool: each task goes to one that is free.

    Flags: ``after`` (tasks that have to end first), ``follow`` (tasks on whose engine
    it has to run), ``timeout`` (seconds that it may wait for these), ``retries``
    (engines that it is tried on again when it fails), ``label``.
    """

    _flag_names = (*View._flag_names, "follow", "after", "timeout", "retries")

    follow: Any = None
    after: Any = None
    timeout: float = 0.0
    retries: int = 0

    def __init__(
        self, client: "Client | None" = None, socket: Any = None, **flags: Any
    ) -> None:
        super().__init__(client=client, socket=socket, **flags)

    def set_flags(self, **kwargs: Any) -> "LoadBalancedView":
        """Set flags; raises for values that they cannot have."""
        for name in ("follow", "after"):
            if name in kwargs:
                dependency(kwargs[name])
        if "timeout" in kwargs:
            seconds = float(kwargs["timeout"] or 0)
            if seconds < 0:
                raise ValueError(f"timeout is a number of seconds, not {seconds:g}")
            kwargs["timeout"] = seconds
        if "retries" in kwargs:
            retries = int(kwargs["retries"])
            if retries < 0:
                raise ValueError(f"retries is 0 or more, not {retries}")
            kwargs["retries"] = retries
        if isinstance(kwargs.get("targets"), int):
            kwargs["targets"] = [kwargs["targets"]]
        super().set_flags(**kwargs)
        return self

    def _task(self, **fields: Any) -> dict[str, Any]:
        """What all tasks have that are submitted with the present flags."""
        numbers: list[int] = []
        if self.targets is not None and self.targets != "all":
            _, numbers = self.client._build_targets(self.targets)
        else:
            # Raises where there is no engine at all.
            self.client._build_targets(None)
        return {
            "targets": numbers,
            "balanced": True,
            "after": dependency(self.after),
            "follow": dependency(self.follow),
            "timeout": self.timeout or None,
            "retries": self.retries,
            "label": None if self.label is None else str(self.label),
            **fields,
        }

    def _really_apply(
        self,
        f: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        block: bool | None = None,
        **rest: Any,
    ) -> Any:
        block = self.block if block is None else block
        _callable(f)
        call = Call("apply", "apply", (f, tuple(args or ()), dict(kwargs or {})), False)
        (future,) = self.client._ledger.submit(call, [self._task()])
        result = self._took(
            AsyncResult(self.client, future, fname=getname(f), owner=True)
        )
        return result.get() if block else result

    def _call_many(self, f: Any, name: str, calls: list[Any]) -> list[Any]:
        """A task for each of the arguments of one function, which is sent once."""
        task = self._task()
        shared = Call("apply", "apply", f, len(calls) > 1)
        futures = self.client._ledger.submit(shared, [dict(task) for _ in calls], calls)
        self.history.extend(future.msg_id for future in futures)
        return futures

    def map(  # type: ignore[override]
        self,
        f: Callable[..., Any],
        *sequences: Any,
        block: bool | None = None,
        chunksize: int = 1,
        ordered: bool = True,
        return_exceptions: bool = False,
        label: Any = None,
    ) -> Any:
        """Call `f` for each item, `chunksize` items in a task.

        The list of results if the view blocks, else an `AsyncMapResult`, whose
        iteration is in the order of arrival unless `ordered`.
        """
        if not sequences:
            raise TypeError("map needs a sequence")
        block = self.block if block is None else block
        function = ParallelFunction(
            self,
            f,
            block=block,
            chunksize=chunksize,
            ordered=ordered,
            return_exceptions=return_exceptions,
        )
        with self.temp_flags(label=self.label if label is None else label):
            return function.map(*sequences)

    def imap(  # type: ignore[override]
        self,
        f: Callable[..., Any],
        *sequences: Any,
        ordered: bool = True,
        max_outstanding: "int | str | None" = "auto",
        return_exceptions: bool = False,
    ) -> "LazyMapIterator":
        """Results of a sequence that may be endless, with so many tasks at a time.

        ``'auto'``: four for each engine; 0: all that the sequence has.
        """
        _callable(f)
        if max_outstanding == "auto":
            limit: int | None = 4 * max(len(self), 1)
        elif not max_outstanding:
            limit = None
        else:
            limit = int(max_outstanding)
            if limit < 0:
                raise ValueError(f"max_outstanding is 0 or more, not {limit}")
        stop = threading.Event()
        items = zip(*sequences, strict=False)
        waiting: deque[AsyncResult] = deque()

        def submit() -> bool:
            if stop.is_set():
                return False
            for arguments in items:
                waiting.append(self.apply_async(f, *arguments))
                return True
            return False

        def fill() -> None:
            while limit is None or len(waiting) < limit:
                if not submit():
                    return

        fill()

        def results() -> Iterator[Any]:
            while waiting:
                result = waiting[0] if ordered else _first_of(waiting)
                result.wait()
                waiting.remove(result)
                fill()
                yield result.get(return_exceptions=return_exceptions)
                if stop.is_set():
                    return

        return LazyMapIterator(results(), stop.set)

    def register_joblib_backend(
        self, name: str = "ipyparallel", make_default: bool = False
    ) -> None:
        """Let joblib use this view: ``parallel_backend(name)``."""
        from joblib.parallel import register_parallel_backend

        from ._joblib import IPythonParallelBackend

        register_parallel_backend(
            name,
            lambda **options: IPythonParallelBackend(view=self, **options),
            make_default=make_default,
        )


def _first_of(results: Iterable[AsyncResult]) -> AsyncResult:
    from concurrent.futures import FIRST_COMPLETED, wait

    done, _ = wait(list(results), return_when=FIRST_COMPLETED)
    # Of several, the one that was submitted first.
    first: AsyncResult = next(one for one in results if one in done)
    return first


class LazyMapIterator:
    """The results of `imap`. `cancel` ends it: nothing more is submitted."""

    def __init__(self, gen: Iterator[Any], signal_done: Callable[[], None]) -> None:
        self._gen = gen
        self._done = signal_done

    def __iter__(self) -> "LazyMapIterator":
        return self

    def __next__(self) -> Any:
        return next(self._gen)

    def cancel(self) -> None:
        """Submit nothing more. What has been submitted runs to its end."""
        self._done()


class ViewExecutor(Executor):
    """A view as an executor. Its `shutdown` ends no engines."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._open = True

    def submit(  # type: ignore[override]
        self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Call ``fn(*args, **kwargs)``; the future is an `AsyncResult`."""
        self._check()
        return self.view.apply_async(fn, *args, **kwargs)

    def map(  # type: ignore[override]
        self, func: Callable[..., Any], *iterables: Any, **kwargs: Any
    ) -> Iterator[Any]:
        """The results for each item, in order. ``timeout=`` is not supported."""
        self._check()
        if "timeout" in kwargs and kwargs.pop("timeout") is not None:
            raise TypeError("map of a view takes no timeout; give it to result()")
        if "chunksize" in kwargs and kwargs["chunksize"] == 1:
            del kwargs["chunksize"]
        if isinstance(self.view, LoadBalancedView):
            kwargs.setdefault("max_outstanding", 0)
            kwargs.pop("chunksize", None)
            results: Iterator[Any] = self.view.imap(func, *iterables, **kwargs)
            return results
        kwargs.pop("chunksize", None)
        return iter(self.view.map_async(func, *iterables, **kwargs))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Wait for what was submitted; engines go on."""
        self._open = False
        if cancel_futures:
            self.view.abort()
        if wait:
            self.view.wait()

    def _check(self) -> None:
        if not self._open:
            raise RuntimeError("this executor was shut down")
