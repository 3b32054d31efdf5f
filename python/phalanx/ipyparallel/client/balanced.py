"""Engines as one pool: views that balance, and executors on views."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any

from .asyncresult import AsyncResult
from .base import View, check_callable
from .remotefunction import ParallelFunction
from .submit import Call, dependency

if TYPE_CHECKING:
    from .client import Client

__all__ = ["LazyMapIterator", "LoadBalancedView", "ViewExecutor"]


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

    def _fields(self) -> dict[str, Any]:
        """What all tasks have that are submitted with the present flags."""
        numbers: list[int] = []
        fields: dict[str, Any]
        if self.targets is not None and self.targets != "all":
            _, numbers = self.client._build_targets(self.targets)
        else:
            self.client._look_for_engines()
        fields = {"balanced": True}
        if numbers:
            fields["targets"] = numbers
        if self.after is not None:
            fields["after"] = dependency(self.after)
        if self.follow is not None:
            fields["follow"] = dependency(self.follow)
        if self.timeout:
            fields["timeout"] = self.timeout
        if self.retries:
            fields["retries"] = self.retries
        if self.label is not None:
            fields["label"] = str(self.label)
        return fields

    def _really_apply(
        self,
        f: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        block: bool | None = None,
        **rest: Any,
    ) -> Any:
        block = self.block if block is None else block
        check_callable(f)
        call = Call("apply", "apply", (f, tuple(args or ()), dict(kwargs or {})), False)
        submitted = self.client._ledger.submit(call, self._fields())
        submitted.single = True
        return self._answer(submitted, block, f)

    def _call_many(self, f: Any, name: str, calls: list[Any]) -> Any:
        """A task for each of the arguments of one function, which is sent once."""
        shared = Call("apply", "apply", f, len(calls) > 1)
        futures = self.client._ledger.submit(shared, self._fields(), calls)
        self.history.extend(futures.ids)
        return futures

    def map(
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

    def imap(
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
        check_callable(f)
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
        from joblib.parallel import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
            register_parallel_backend,
        )

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

    def submit(
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
