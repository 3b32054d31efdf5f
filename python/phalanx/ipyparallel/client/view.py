"""Views: engines as a user sees them, with a namespace that can be read and written.

`DirectView` runs a call on each of its engines, `LoadBalancedView` on one that is free.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..serialize import _calls
from . import map as maps
from .asyncresult import AsyncMapResult, AsyncResult
from .balanced import LazyMapIterator, LoadBalancedView, ViewExecutor
from .base import View, check_callable
from .gather import Gathered
from .remotefunction import ParallelFunction
from .submit import Call

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

# One engine or several; their numbers; their uuids.
_Where = tuple[bool, list[int], dict[int, str | None]]

# Of these kinds are the targets of most views, and they can be compared.
_COMPARED = frozenset((str, int, list))


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
        self._last: tuple[object, Any, _Where] | None = None

    def _where(self, targets: Any) -> "_Where":
        """Whether that is one engine; the numbers of the engines, and their uuids.

        (The same objects each time, as long as no engine comes or goes.)
        """
        if targets is None:
            targets = self.targets
        client = self.client
        last, present = self._last, client._present
        if last is not None and last[0] is present and type(last[1]) is type(targets):
            if last[1] == targets:
                return last[2]
        _, numbers = client._build_targets(targets)
        known = client._engines
        found = isinstance(targets, int), numbers, {n: known.get(n) for n in numbers}
        if type(targets) in _COMPARED:
            # (A list may be changed by who has it.)
            kept = list(targets) if type(targets) is list else targets
            self._last = present, kept, found
        return found

    def _fields(self, **fields: Any) -> dict[str, Any]:
        """What all tasks have that are submitted with the present flags."""
        if self.label is not None:
            fields["label"] = str(self.label)
        return fields

    def _send(
        self,
        call: Call,
        targets: Any,
        block: bool | None,
        what: Any,
        args: list[Any] | None = None,
        **fields: Any,
    ) -> Any:
        """Submit it, and answer as `_answer` does."""
        single, numbers, uuids = self._where(targets)
        call.shared = len(numbers) > 1
        submitted = self.client._ledger.submit(
            call, self._fields(**fields), args, numbers, uuids
        )
        submitted.single = single
        return self._answer(submitted, block, what, list(numbers))

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
        check_callable(f)
        call = Call("apply", "apply", (f, tuple(args or ()), dict(kwargs or {})), True)
        return self._send(call, targets, block, f)

    def map(
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
        for child in result._children:
            child._input = code
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
        call = Call("push", "apply", (_calls.push, (ns,), {}), True)
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
        call = Call("pull", "apply", (_calls.pull, (names,), {}), True)
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
        single, numbers, uuids = self._where(targets)
        parts: list[Any] = [
            ((key, mapping.getPartition(seq, n, len(numbers)), flatten), {})
            for n in range(len(numbers))
        ]
        call = Call("scatter", "apply", _calls.push_part, len(numbers) > 1)
        futures = self.client._ledger.submit(
            call, self._fields(), parts, numbers, uuids
        )
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
        _, numbers, uuids = self._where(targets)
        function: Callable[..., Any] = _calls.pull

        def submit(function: Any, args: Any, calls: Any) -> AsyncMapResult:
            what = function if calls is not None else (function, args, {})
            call = Call("gather", "apply", what, len(numbers) > 1)
            futures = self.client._ledger.submit(
                call, self._fields(), calls, numbers, uuids
            )
            return AsyncMapResult(self.client, futures, mapping, fname="gather")

        if block and dist == "b":
            # (Later, names may have other values: who does not wait is sent them.)
            function = _calls.part
            mapping = Gathered(
                self.client._ledger,
                key,
                numbers,
                lambda calls: submit(_calls.fill, None, calls)._wait_outcomes(),
                lambda: self.gather(key, dist, numbers, False).get(),
            )
        result = submit(function, (key,), None)
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
        result = self._really_apply(_calls.use, (mode,), block=True)
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


def _check_name(name: Any) -> None:
    if not isinstance(name, str):
        raise TypeError(f"a name is text, not {name!r}")


def _distribution(dist: str) -> maps.Map:
    try:
        return maps.dists[dist]()
    except KeyError:
        raise ValueError(f"dist is 'b' or 'r', not {dist!r}") from None
