"""Results of calls that are still running, or have ended.

Every `AsyncResult` ends: with values, or with an error that says why. What a task has
printed arrives before its result.
"""

import builtins
import math
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import (
    ALL_COMPLETED,
    FIRST_COMPLETED,
    FIRST_EXCEPTION,
    Future,
)
from contextlib import contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ..error import Remote, collect_exceptions, compose
from .display import display_outputs
from .futures import LateFuture, MessageFuture, Submitted
from .map import Map
from .records import METADATA_KEYS, Metadata
from .stream import Stream

if TYPE_CHECKING:
    from ..._workers import ClusterLink  # type: ignore[attr-defined,unused-ignore]
    from .client import Client

__all__ = [
    "ALL_COMPLETED",
    "FIRST_COMPLETED",
    "FIRST_EXCEPTION",
    "AsyncHubResult",
    "AsyncMapResult",
    "AsyncResult",
]

TimeoutError = builtins.TimeoutError

# When an engine has ended, the others have so many seconds before that is told.
SHORT = 3.0
# Who waits for several looks so often whether engines have ended.
SLICE = 1.0


def _limit(timeout: float | None) -> float | None:
    """A time-out as the standard library has it; negative ones are none."""
    return None if timeout is None or timeout < 0 else timeout


class AsyncResult(LateFuture):
    """The results of one call on one or several engines.

    A future whose result is what `get` gives. A name of a task's metadata is an
    attribute: a value for a call on one engine, else a list.
    """

    msg_ids: list[str]
    owner: bool
    # (What most of them never have any other of, none has of its own.)
    _tasks: list[Any] | None = None
    _return_exceptions = False
    _chunk_sizes: "dict[str, int]" = {}  # noqa: RUF012
    _streams: Sequence[Stream] = ()
    # Since when one of several is known to have lost its engine.
    _short_since: float | None = None
    # Those before this one have ended.
    _next = 0

    def __init__(
        self,
        client: "Client | None",
        children: Any,
        fname: str = "unknown",
        targets: Any = None,
        owner: bool = False,
        return_exceptions: bool = False,
        chunk_sizes: dict[str, int] | None = None,
    ) -> None:
        self._single_result = isinstance(children, (Future, str))
        self._client = client
        self._children: Sequence[MessageFuture] | Submitted
        if isinstance(children, Submitted):
            self._single_result = children.single
            self._children = children
            self._link: ClusterLink | None = children.link
            self._tasks = children.tasks
            self.msg_ids = list(children.ids)
        else:
            several = [children] if self._single_result else list(children)
            self._children = [
                client._future(child) if isinstance(child, str) and client else child
                for child in several
            ]
            self.msg_ids = [child.msg_id for child in self._children]
            # The tasks, if the end of all of them is told at one place.
            link = self._children[0]._link if self._children else None
            self._link = link
            if link is not None and all(one._link is link for one in self._children):
                self._tasks = [child._task for child in self._children]
        self._fname = fname
        self._targets = targets
        self.owner = owner
        if return_exceptions:
            self._return_exceptions = True
        if chunk_sizes:
            self._chunk_sizes = chunk_sizes
        self._asked = time.time()
        if owner and client is not None:
            client._own(self._children)

    def _all_done(self) -> bool:
        at = self._next
        if self._tasks is not None:
            tasks, count = self._tasks, len(self._tasks)
            while at < count and tasks[at].done:
                at += 1
        else:
            count = len(self._children)
            while at < count and self._children[at].done():
                at += 1
        self._next = at
        return at == count

    def _watch(self) -> bool:
        if self._tasks is not None and self._link is not None:
            return self._link.watch(self._tasks, self._finish)
        if self._all_done():
            return False
        left = len(self._children)
        lock = threading.Lock()

        def count(child: Any) -> None:
            nonlocal left
            with lock:
                left -= 1
                last = left == 0
            if last:
                self._finish()

        for child in self._children:
            child.add_done_callback(count)
        return True

    def done(self) -> bool:
        """Whether all of it has ended."""
        return self._all_done()

    # --- waiting -------------------------------------------------------------------

    def __repr__(self) -> str:
        state = "pending" if not self.done() else "finished"
        if self.done() and not self.successful():
            state = "failed"
        return f"<{type(self).__name__}({self._fname}): {state}>"

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *METADATA_KEYS})

    def ready(self) -> bool:
        """Whether all of it has ended."""
        return self.done()

    def successful(self) -> bool:
        """Whether it ended without an error. Raises ValueError while it runs."""
        if not self.done():
            raise ValueError(f"{self!r} has not ended yet")
        return not any(isinstance(one, Remote) for one in self._outcomes())

    def wait(self, timeout: float | None = -1, return_when: str | None = None) -> Any:
        """Whether it has ended, after at most `timeout` seconds (-1, None: no limit).

        With `return_when` two sets come instead, of results that have ended and that
        have not: after the first that ends, or the first that fails.
        """
        if return_when in (None, ALL_COMPLETED) and return_when is None:
            return self._wait_all(_limit(timeout))
        if return_when not in (ALL_COMPLETED, FIRST_COMPLETED, FIRST_EXCEPTION):
            raise ValueError(
                "return_when is FIRST_COMPLETED, FIRST_EXCEPTION or ALL_COMPLETED, "
                f"not {return_when!r}"
            )
        self._wait_for(_limit(timeout), str(return_when))
        parts = self.split() if len(self._children) > 1 else (self,)
        done = {part for part in parts if part._children and part._all_done()}
        return done, set(parts) - done

    def _wait_all(self, timeout: float | None) -> bool:
        if not self._all_done():
            self._wait_for(timeout, ALL_COMPLETED)
        self._pump()
        if not self._all_done():
            return False
        if self._has_futures():
            for child in self._children:
                if child._metadata is not None:
                    # Who has it sees that it has ended.
                    child._complete(child._metadata)
        return True

    def _has_futures(self) -> bool:
        children = self._children
        return not isinstance(children, Submitted) or children.are_made()

    def _wait_for(self, timeout: float | None, return_when: str) -> None:
        """Wait for as many children; meanwhile show what is streamed."""
        until = None if timeout is None else time.monotonic() + timeout
        wait = self._waiter(return_when)
        several = len(self._children) > 1
        while True:
            self._pump()
            if several:
                self._tell_of_lost_engines()
            # (A stream asks to be looked at, and so does an engine that may have ended;
            # there is nothing to wake for otherwise.)
            slice_ = 0.05 if self._streams else SLICE if several else None
            if until is not None:
                left = until - time.monotonic()
                slice_ = left if slice_ is None else min(slice_, left)
            if wait(max(slice_, 0) if slice_ is not None else None):
                break
            if until is not None and time.monotonic() >= until:
                break
        self._pump()
        if several:
            self._tell_of_lost_engines()

    def _tell_of_lost_engines(self) -> None:
        """Say, once, that engines have ended, where others are still at it seconds
        later: they may wait for those, and nobody would know."""
        if self._short_since == math.inf:
            return
        if self._tasks is None:
            return
        left = sum(not task.done for task in self._tasks)
        failed = [at for at, one in enumerate(self._tasks) if one.done and not one.ok]
        if not failed or not left:
            return
        outcomes = [self._children[at].outcome() for at in failed]
        lost = [one for one in outcomes if getattr(one, "ename", "") == "EngineError"]
        if not lost:
            return
        now = time.monotonic()
        self._short_since = self._short_since or now
        if now - self._short_since < SHORT:
            return
        self._short_since = math.inf
        others = "1 other runs on" if left == 1 else f"{left} others run on"
        whys = "; ".join(str(one.evalue) for one in lost[:4])
        print(
            f"phalanx: {self._fname}: {whys}; {others} (rc.send_signal('SIGINT') "
            "interrupts engines)",
            file=sys.stderr,
        )

    def _waiter(self, return_when: str) -> Callable[[float | None], bool]:
        """What waits for as many children; whether so many have ended, it says."""
        link, tasks = self._link, self._tasks
        if return_when == ALL_COMPLETED and tasks is not None and link is not None:
            return lambda timeout: link.wait(tasks, timeout)
        enough = threading.Event()

        def look(child: Future[Any]) -> None:
            if return_when == FIRST_COMPLETED or (
                return_when == FIRST_EXCEPTION and child.exception() is not None
            ):
                enough.set()

        self.add_done_callback(lambda _: enough.set())
        if return_when != ALL_COMPLETED:
            for child in self._children:
                child.add_done_callback(look)
        return enough.wait

    def wait_for_send(self, timeout: float | None = -1) -> None:
        """Returns at once: what is sent is copied when the call is made."""

    @property
    def sent(self) -> bool:
        """True: arguments may be changed as soon as the call has been made."""
        return True

    @property
    def _tracker(self) -> "_Sent":
        return _Sent()

    def wait_for_output(self, timeout: float | None = -1) -> bool:
        """Whether it has ended and its output is here, after at most `timeout`
        seconds."""
        return self._wait_all(_limit(timeout))

    # --- values --------------------------------------------------------------------

    def _outcomes(self) -> list[Any]:
        """What each child gave, or its error. All have ended."""
        if isinstance(self._children, Submitted):
            values = self._children.values()
            if values is not None:
                return list(values)
        return [child.outcome() for child in self._children]

    def _wait_outcomes(self) -> list[Any]:
        """The outcomes, when all are there; errors are raised."""
        self._wait_all(None)
        outcomes = self._outcomes()
        self._raise(outcomes)
        return outcomes

    def _result_of(self, child: MessageFuture) -> Any:
        value = child.outcome()
        if isinstance(value, Remote) and self._return_exceptions is False:
            raise value
        return value

    def _put_together(self, outcomes: list[Any]) -> Any:
        return outcomes[0] if self._single_result else outcomes

    def get(
        self,
        timeout: float | None = None,
        return_exceptions: bool | None = None,
        return_when: str | None = None,
    ) -> Any:
        """The results. Raises TimeoutError if they are not there after `timeout`
        seconds.

        An error of a task is raised, those of several as a `CompositeError`; with
        `return_exceptions` they stand in the places of results instead. With
        ``return_when=FIRST_EXCEPTION`` it does not wait for the others then.
        """
        if timeout is None and return_when is None and not self._streams:
            # So most calls are waited for, and most have nothing but values.
            children = self._children
            if type(children) is Submitted:
                values = children.values(SLICE)
                if values is not None:
                    return self._put_together(list(values))
        if return_exceptions is None:
            return_exceptions = self._return_exceptions
        if return_when in (FIRST_EXCEPTION, FIRST_COMPLETED):
            done, _ = self.wait(timeout if timeout is not None else -1, return_when)
            failed = [
                child.outcome()
                for part in done
                for child in part._children
                if isinstance(child.outcome(), Remote)
            ]
            if failed and not return_exceptions:
                collect_exceptions(failed, self._fname)
            if return_when == FIRST_COMPLETED and done and not self.done():
                return [part.get(return_exceptions=return_exceptions) for part in done]
        if not self._wait_all(_limit(timeout)):
            raise TimeoutError(
                f"{self._fname}: no result after {timeout} s; "
                f"{self.progress} of {len(self)} have arrived"
            )
        outcomes = self._outcomes()
        if not return_exceptions:
            self._raise(outcomes)
        return self._put_together(outcomes)

    def _raise(self, outcomes: list[Any]) -> None:
        errors = [one for one in outcomes if isinstance(one, Remote)]
        if len(outcomes) == 1 and errors:
            raise errors[0]
        if errors:
            # (Of a call on several engines, one that fails is told like several.)
            raise compose(errors, self._fname)

    def result(self, timeout: float | None = None) -> Any:
        return self.get(timeout)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        try:
            self.get(timeout, return_exceptions=False)
        except Remote as problem:
            return problem
        return None

    @property
    def r(self) -> Any:
        """What `get` gives, without a limit of time."""
        return self.get()

    def get_dict(self, timeout: float | None = -1) -> dict[int, Any]:
        """The results by the numbers of engines.

        Raises ValueError when an engine gave more than one of them.
        """
        results = self.get(timeout)
        engines = [one["engine_id"] for one in self._metadata]
        if len(set(engines)) < len(engines):
            raise ValueError(
                f"{self._fname}: there are several results of one engine; "
                "a dict by engine would lose some"
            )
        if self._single_result:
            return {engines[0]: results}
        return dict(zip(engines, results, strict=True))

    @property
    def result_dict(self) -> dict[int, Any]:
        """What `get_dict` gives."""
        return self.get_dict()

    def __len__(self) -> int:
        return len(self._children)

    def __iter__(self) -> Iterator[Any]:
        if self._single_result:
            value = self.get()
            try:
                yield from value
            except TypeError:
                yield value
            return
        for child in self._children:
            self._wait_child(child)
            yield self._result_of(child)

    def _wait_child(self, child: MessageFuture) -> None:
        while not child.wait(0.05 if self._streams else None):
            self._pump()
        self._pump()

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in METADATA_KEYS:
                raise KeyError(key)
            values = [one[key] for one in self._metadata]
            return values[0] if self._single_result else values
        if isinstance(key, slice):
            values = self._flat()[key]
            return collect_exceptions(values, self._fname)
        if isinstance(key, int):
            values = self._flat()
            try:
                value = values[key]
            except IndexError:
                raise IndexError(
                    f"no result {key}: {self._fname} has {len(values)}"
                ) from None
            return collect_exceptions([value], self._fname)[0]
        raise TypeError(
            f"an index is a number, a slice, or a name of metadata, not {key!r}"
        )

    def _flat(self) -> list[Any]:
        self._wait_all(None)
        outcomes = self._outcomes()
        if not self._single_result:
            return outcomes
        if isinstance(outcomes[0], (list, tuple)):
            return list(outcomes[0])
        return outcomes

    def __getattr__(self, key: str) -> Any:
        if key in METADATA_KEYS and "_children" in self.__dict__:
            self._pump()
            return self[key]
        return super().__getattr__(key)

    @property
    def _metadata(self) -> list[Metadata]:
        return [child.metadata for child in self._children]

    @property
    def metadata(self) -> Any:
        """What is known of the task, or of each of the tasks."""
        return self._metadata[0] if self._single_result else self._metadata

    # --- parts ---------------------------------------------------------------------

    def split(self) -> tuple["AsyncResult", ...]:
        """One result for each task."""
        if len(self._children) <= 1:
            return (self,)
        whole = type(self) is AsyncResult
        return tuple(
            AsyncResult(
                self._client,
                child if whole else [child],
                fname=self._fname,
                targets=None,
                owner=False,
                return_exceptions=self._return_exceptions,
            )
            for child in self._children
        )

    @classmethod
    def join(cls, *async_results: "AsyncResult") -> "AsyncResult":
        """One result of all the tasks of several."""
        if not async_results:
            raise ValueError("there is nothing to join")
        if len(async_results) == 1:
            return async_results[0]
        first = async_results[0]
        return cls(
            first._client,
            [child for one in async_results for child in one._children],
            fname=first._fname,
            owner=False,
            return_exceptions=first._return_exceptions,
        )

    def abort(self) -> None:
        """Take what has not begun out of the queues: it ends in `TaskAborted`.

        Raises ValueError when all of it has ended.
        """
        if self.done():
            raise ValueError(f"{self._fname} has ended: there is nothing to abort")
        if self._client is not None:
            self._client.abort(self.msg_ids)

    def cancel(self) -> bool:
        """Abort it, as far as it has not begun. False: a future here is not
        cancelled."""
        if not self.done():
            self.abort()
        return False

    # --- times ---------------------------------------------------------------------

    @property
    def progress(self) -> int:
        """How many results have arrived (of a map: of how many items)."""
        if not self._has_futures() and self._all_done():
            return sum(map(self._size, self.msg_ids))
        return sum(self._size(one.msg_id) for one in self._children if one.done())

    def _size(self, msg_id: str) -> int:
        return self._chunk_sizes.get(msg_id, 1)

    @property
    def elapsed(self) -> float:
        """Seconds since it was submitted; once it has ended, until the last arrived."""
        if self.done():
            return self.wall_time
        now = datetime.now().astimezone()
        begun = [one["submitted"] for one in self._metadata if one["submitted"]]
        # (Of a task that somebody else submitted nothing is known before it ends.)
        asked = datetime.fromtimestamp(self._asked).astimezone()
        return float((now - min([*begun, asked])).total_seconds())

    def _ended(self, what: str) -> None:
        if not self.done():
            raise TimeoutError(f"{what} is known when {self._fname} has ended")

    @property
    def serial_time(self) -> float:
        """Seconds that engines were busy with it, all together."""
        self._ended("serial_time")
        return sum(
            float((one["completed"] - one["started"]).total_seconds())
            for one in self._metadata
            if one["completed"] and one["started"]
        )

    @property
    def wall_time(self) -> float:
        """Seconds from the first submission to the last arrival."""
        self._ended("wall_time")
        return self.timedelta(self._times("submitted"), self._times("received"))

    def _times(self, key: str) -> list[datetime]:
        return [one[key] for one in self._metadata if one[key]]

    def timedelta(
        self,
        start: Any,
        end: Any,
        start_key: Callable[[Iterable[datetime]], datetime] = min,
        end_key: Callable[[Iterable[datetime]], datetime] = max,
    ) -> float:
        """Seconds between two times, or between the first and last of two lists."""
        if not isinstance(start, datetime):
            start = list(start)
            if not start:
                return 0.0
            start = start_key(start)
        if not isinstance(end, datetime):
            end = list(end)
            if not end:
                return 0.0
            end = end_key(end)
        seconds: float = (end - start).total_seconds()
        return seconds

    # --- output --------------------------------------------------------------------

    def display_outputs(self, groupby: str = "type", result_only: bool = False) -> None:
        """Show what the tasks have printed, displayed and given, by engine.

        `groupby`: ``type`` (all that was printed, then all errors' output, then what
        was displayed), ``engine``, or ``order`` (each engine's first, then each
        second).
        """
        self._wait_all(None)
        try:
            self._outcomes()
        finally:
            display_outputs(self._metadata, self._single_result, groupby, result_only)

    @contextmanager
    def stream_output(self) -> Iterator[None]:
        """Show what is printed and displayed as it comes, in a ``with`` block.

        It is shown while this thread waits for the result, and at the end of the block.
        """
        stream = Stream(self._children)
        self._streams = [*self._streams, stream]
        try:
            yield
        finally:
            self._pump()
            stream.close()
            self._streams = [one for one in self._streams if one is not stream]

    def _pump(self) -> None:
        for stream in self._streams:
            stream.pump()

    def wait_interactive(
        self,
        interval: float = 0.1,
        timeout: float | None = -1,
        widget: Any = None,
        return_when: str = ALL_COMPLETED,
    ) -> None:
        """Wait with a progress bar (tqdm where it is installed, else a line of
        text)."""
        from ..util import progress

        limit = _limit(timeout)
        until = None if limit is None else time.monotonic() + limit
        total = len(self)
        with progress(
            total=total, unit="tasks", desc=self._fname, widget=widget
        ) as bar:
            while True:
                left = None if until is None else max(until - time.monotonic(), 0)
                slice_ = interval if left is None else min(interval, left)
                if return_when == ALL_COMPLETED:
                    ended = self._wait_all(slice_)
                else:
                    self._wait_for(slice_, return_when)
                    ended = self.done() or any(
                        child.done()
                        and (
                            return_when == FIRST_COMPLETED
                            or child.exception() is not None
                        )
                        for child in self._children
                    )
                bar.update(self.progress - bar.n)
                if ended or (until is not None and time.monotonic() >= until):
                    return


class _Sent:
    """What tells whether arguments have been sent: they have."""

    done = True

    def wait(self, timeout: float | None = None) -> None:
        """Returns at once."""


class AsyncMapResult(AsyncResult):
    """The results of a map: one for each item, in the order in which they are.

    Iterating gives each as it arrives; with ``ordered=False`` in the order of arrival.
    """

    def __init__(
        self,
        client: "Client | None",
        children: Any,
        mapObject: Any,
        fname: str = "",
        ordered: bool = True,
        return_exceptions: bool = False,
        chunk_sizes: dict[str, int] | None = None,
    ) -> None:
        self._mapObject: Map = mapObject
        self.ordered = ordered
        super().__init__(
            client,
            children,
            fname=fname,
            owner=True,
            return_exceptions=return_exceptions,
            chunk_sizes=chunk_sizes,
        )
        self._single_result = False

    def __len__(self) -> int:
        return sum(map(self._size, self.msg_ids))

    def _put_together(self, outcomes: list[Any]) -> Any:
        parts = outcomes
        if any(isinstance(one, Remote) for one in outcomes):
            # An error stands for every item of its part.
            parts = [
                [one] * self._size(msg_id) if isinstance(one, Remote) else one
                for msg_id, one in zip(self.msg_ids, outcomes, strict=True)
            ]
        return self._mapObject.joinPartitions(parts)

    def _flat(self) -> list[Any]:
        self._wait_all(None)
        return list(self._put_together(self._outcomes()))

    def __iter__(self) -> Iterator[Any]:
        for child in self._in_order() if self.ordered else self._as_they_end():
            part = self._result_of(child)
            if isinstance(part, Remote):
                for _ in range(self._size(child.msg_id)):
                    yield part
            else:
                yield from part

    def _in_order(self) -> Iterator[MessageFuture]:
        for child in self._children:
            self._wait_child(child)
            yield child

    def _as_they_end(self) -> Iterator[MessageFuture]:
        ended: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for child in self._children:
            child.add_done_callback(ended.put)
        for _ in self._children:
            while True:
                try:
                    child = ended.get(timeout=0.05 if self._streams else None)
                    break
                except queue.Empty:
                    self._pump()
            self._pump()
            yield child


class AsyncHubResult(AsyncResult):
    """The results of tasks that another client submitted, or that this one let go.

    The controller sends them when they are there; nothing is asked for again and again.
    """

    def wait(self, timeout: float | None = -1, return_when: str | None = None) -> Any:
        return super().wait(timeout, return_when)
