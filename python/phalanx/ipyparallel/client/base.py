"""What direct and load-balanced views have in common."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ..serialize.canning import Reference
from .asyncresult import SLICE, AsyncMapResult, AsyncResult
from .futures import Submitted
from .remotefunction import (
    ParallelFunction,
    RemoteFunction,
    getname,
    parallel,
    remote,
)

if TYPE_CHECKING:
    from .balanced import ViewExecutor
    from .client import Client

__all__ = ["View", "check_callable"]


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

    def _answer(
        self, submitted: Submitted, block: bool | None, what: Any, targets: Any = None
    ) -> Any:
        """The results of a call that is waited for, else an `AsyncResult` of it.

        `what` is the name of what is called, or that itself.
        """
        self.history.extend(submitted.ids)
        if block:
            # Most such calls have nothing but values, and nobody asks for more.
            values = submitted.values(SLICE)
            if values is not None:
                return values[0] if submitted.single else list(values)
        result = AsyncResult(
            self.client,
            submitted,
            fname=what if type(what) is str else getname(what),
            targets=targets,
            owner=True,
        )
        return result.get() if block else result

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
        from .balanced import ViewExecutor

        return ViewExecutor(self)


def check_callable(f: Any) -> None:
    if not callable(f) and not isinstance(f, Reference):
        raise TypeError(f"a call needs a function, not {f!r}")
