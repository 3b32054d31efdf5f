"""One task's future, and what the original's modules offer about futures."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator, MutableMapping
from concurrent.futures import CancelledError, Future, wait
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..error import Remote, make
from .records import ExecuteReply, Metadata, moment

if TYPE_CHECKING:
    from ..._workers import (  # type: ignore[attr-defined,unused-ignore]
        ClusterLink,
        ClusterTask,
    )

__all__ = [
    "Batch",
    "LateFuture",
    "MessageFuture",
    "Submitted",
    "future_add_done_callback",
    "future_set_exc_info",
    "future_set_result_unless_cancelled",
    "multi_future",
]

_EMPTY: Any = object()

# What a future of the standard library has.
_STANDARD = frozenset(vars(Future()))
_making = threading.Lock()


class LateFuture(Future[Any]):
    """A future whose lock, state and callbacks are made when somebody asks for them.

    Most never are: a call that is waited for needs none of that. An interrupt may come
    at any moment; what is made is made by one store.
    """

    def _watch(self) -> bool:
        """Have `_finish` called at the end, in the client's thread.

        False: it has ended.
        """
        raise NotImplementedError

    def __getattr__(self, name: str) -> Any:
        if name in _STANDARD:
            self._begin()
            return self.__dict__[name]
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}"
        )

    def _begin(self) -> None:
        """Make what a future of the standard library has."""
        made: Future[Any] = Future()
        if not self._watch():
            self._end(made)
        with _making:
            if "_condition" not in self.__dict__:
                self.__dict__.update(made.__dict__)

    def _end(self, future: "Future[Any]") -> None:
        future.set_result(None)

    def _has_begun(self) -> bool:
        return "_condition" in self.__dict__

    def _finish(self) -> None:
        """It has ended: who waits in ways of the standard library is told."""
        if not Future.done(self):
            self._end(super())  # type: ignore[arg-type]


class Batch:
    """What tasks have in common that were submitted together."""

    def __init__(
        self,
        kind: str,
        submitted: float,
        fields: dict[str, Any],
        uuids: dict[int, str | None],
    ) -> None:
        self.kind = kind
        self.submitted = submitted
        self.fields = fields
        self.uuids = uuids


class MessageFuture(LateFuture):
    """The result of one task, from one engine.

    The value stays as it came until somebody asks for it; it is made in the thread that
    asks, once.
    """

    _task: "ClusterTask | None" = None
    _link: "ClusterLink | None" = None
    _batch: Batch | None = None
    _header: dict[str, Any] | None = None
    _metadata: Metadata | None = None
    _watchers: "list[Callable[[MessageFuture, str, Any], None]] | None" = None
    _input: str | None = None
    _told = False
    _failed = False
    _value: Any = _EMPTY
    track = False

    def __init__(
        self, msg_id: str, header: dict[str, Any] | None = None, *, track: bool = False
    ) -> None:
        self.msg_id = msg_id
        self._header = header
        self.track = track

    @classmethod
    def of(
        cls, link: "ClusterLink", task: "ClusterTask", batch: Batch | None = None
    ) -> "MessageFuture":
        """The future of a task; `batch` says what was submitted."""
        self = cls(task.id)
        self._link = link
        self._task = task
        self._batch = batch
        return self

    @property
    def header(self) -> dict[str, Any]:
        if self._header is None:
            kind = self._batch.kind if self._batch is not None else None
            self._header = {"msg_id": self.msg_id, "msg_type": kind} if kind else {}
        return self._header

    @property
    def watchers(self) -> "list[Callable[[MessageFuture, str, Any], None]]":
        """Called in the client's thread with what the task has printed and shown."""
        if self._watchers is None:
            self._watchers = []
        return self._watchers

    # --- the end ----------------------------------------------------------------------

    def _watch(self) -> bool:
        # (What nobody has submitted ends when somebody says so.)
        return (
            self._task is None
            or self._link is None
            or self._link.watch([self._task], self._finish)
        )

    def _end(self, future: "Future[Any]") -> None:
        task = self._task
        if task is None or task.ok:
            future.set_result(None)
        else:
            future.set_exception(self.outcome())

    def _finish(self) -> None:
        if self._metadata is not None:
            self._complete(self._metadata)
        super()._finish()

    def done(self) -> bool:
        """Whether it has ended."""
        task = self._task
        if task is not None and task.done:
            return True
        return self._has_begun() and super().done()

    def wait(self, timeout: float | None = None) -> bool:
        """Whether the task has ended, after at most `timeout` seconds (None: no
        limit)."""
        if self.done():
            return True
        limit = None if timeout is None or timeout < 0 else timeout
        if self._task is not None and self._link is not None:
            return self._link.wait([self._task], limit)
        return not wait([self], limit).not_done

    def outcome(self) -> Any:
        """The value, or the error as an object. The task has ended."""
        value = self._value
        return self._make() if value is _EMPTY else value

    def _make(self) -> Any:
        task = self._task
        if task is None:
            error = super().exception(0)
            self._failed = error is not None
            self._value = super().result(0) if error is None else error
            return self._value
        if task.ok:
            try:
                value: Any = task.load()
            except Exception as problem:
                value = _unreadable(problem)
                self._failed = True
            else:
                told = task.metadata
                if told and json.loads(told).get("method") == "execute":
                    value = ExecuteReply(self.msg_id, value, self.metadata)
        else:
            value = self._error()
            self._failed = True
        # An interrupt may come between any two of these lines, and another thread do
        # the same: what is stored first stands, and then its memory is let go of.
        value = self.__dict__.setdefault("_value", value)
        task.forget()
        if self._metadata is not None:
            self._complete(self._metadata)
        return value

    def result(self, timeout: float | None = None) -> Any:
        if not self.wait(timeout):
            raise TimeoutError
        self._look_for_cancel()
        value = self.outcome()
        if self._failed:
            raise value
        return value

    def exception(self, timeout: float | None = None) -> BaseException | None:
        if not self.wait(timeout):
            raise TimeoutError
        self._look_for_cancel()
        value = self.outcome()
        return value if self._failed else None

    def _look_for_cancel(self) -> None:
        if self._has_begun() and super().cancelled():
            raise CancelledError

    # --- metadata ---------------------------------------------------------------------

    @property
    def metadata(self) -> Metadata:
        """What is known of the task. It is completed when that has ended."""
        metadata = self._metadata
        if metadata is None:
            made = Metadata()
            dict.update(made, self._given())
            metadata = self.__dict__.setdefault("_metadata", made)
            if self._task is not None and not self._task.done:
                # Somebody may keep it, and look at it then.
                self._begin()
        self._complete(metadata)
        return metadata

    @metadata.setter
    def metadata(self, metadata: Metadata) -> None:
        self._metadata = metadata

    def _given(self) -> dict[str, Any]:
        given: dict[str, Any] = {"msg_id": self.msg_id}
        batch, task = self._batch, self._task
        if batch is not None and task is not None:
            fields = batch.fields
            given |= {
                "submitted": moment(batch.submitted),
                "label": fields.get("label"),
                "engine_id": task.engine,
                "engine_uuid": None
                if task.engine is None
                else batch.uuids.get(task.engine),
                "after": (fields.get("after") or {}).get("ids", []),
                "follow": (fields.get("follow") or {}).get("ids", []),
                "execute_input": self._input,
            }
        return given

    def _complete(self, metadata: Metadata) -> None:
        """Add what is known since the task has ended, if it has."""
        task = self._task
        if self._told or task is None or not task.done:
            return
        ended = task.told()
        if ended is None:
            error = self._error()
            dict.update(
                metadata, status="error", error=error, received=datetime.now(UTC)
            )
            self._told = True
            return
        fields, arrived = ended
        told = json.loads(fields["metadata"]) if fields.get("metadata") else {}
        times = {
            key: moment(fields.get(key))
            for key in ("submitted", "started", "completed", "received")
        }
        # Of somebody else's task, the controller's times are the ones that tell.
        if metadata["submitted"] is not None:
            del times["submitted"]
            times["received"] = moment(arrived)
        dict.update(
            metadata,
            times,
            engine_id=fields.get("engine_id"),
            engine_uuid=fields.get("engine_uuid"),
            status=fields["status"],
        )
        for key in ("stdout", "stderr"):
            if fields.get(key) and not metadata[key]:
                dict.__setitem__(metadata, key, fields[key])
        if told.get("execute_input") is not None:
            dict.__setitem__(metadata, "execute_input", told["execute_input"])
        if not task.ok:
            dict.__setitem__(metadata, "error", self._error())
        self._told = True

    def _error(self) -> Remote:
        """Why the task has no result."""
        if self._failed and self._value is not _EMPTY:
            known: Remote = self._value
            return known
        task = self._task
        assert task is not None
        ended = task.told()
        if ended is None:
            engine = task.engine
            return make(
                "EngineError",
                f"no result of {self.msg_id} can come: {task.lost}",
                None,
                {} if engine is None else {"engine_id": engine, "method": "wait"},
            )
        fields, _ = ended
        told = json.loads(fields["metadata"]) if fields.get("metadata") else {}
        status = fields["status"]
        problem = fields.get("error")
        info = {}
        if fields.get("engine_id") is not None:
            info = {
                "engine_id": fields["engine_id"],
                "engine_uuid": fields.get("engine_uuid"),
                "method": told.get("method", "apply"),
            }
        if status == "aborted":
            text = (problem or {}).get("evalue") or "the task was aborted"
            return make("TaskAborted", text, None, info)
        if problem is not None:
            return make(
                problem["ename"], problem["evalue"], problem.get("traceback"), info
            )
        if status != "ok":
            return make("EngineError", f"the task ended with status {status!r}")
        return make(
            "KeyError",
            f"the result of {fields['id']} is not kept any more by the controller",
        )


class Submitted:
    """The futures of tasks that were submitted together, made when they are asked for.

    Who wants the values only gets them without: futures that are made later have them.
    """

    # It is one task, and its value is wanted, not a list of one.
    single = False

    def __init__(
        self,
        link: "ClusterLink",
        tasks: "list[ClusterTask]",
        batch: Batch,
        known: MutableMapping[str, MessageFuture],
    ) -> None:
        self.link = link
        self.tasks = tasks
        self.batch = batch
        # Where they are found that somebody keeps without this.
        self.known = known
        self.ids = [task.id for task in tasks]
        self._futures: list[MessageFuture] | None = None
        self._values: list[Any] | None = None

    def made(self) -> list[MessageFuture]:
        """The futures."""
        if self._futures is None:
            made = [MessageFuture.of(self.link, one, self.batch) for one in self.tasks]
            with _making:
                if self._futures is None:
                    for future, value in zip(made, self._values or (), strict=False):
                        future._value = value
                    self.known.update(zip(self.ids, made, strict=True))
                    self._futures = made
        return self._futures

    def are_made(self) -> bool:
        """Whether somebody has asked for the futures."""
        return self._futures is not None

    def values(self, timeout: float = 0.0) -> list[Any] | None:
        """The values, if all tasks have ended by then and have one; None: ask the
        futures."""
        if self._values is None and self._futures is None:
            try:
                values = self.link.collect(self.tasks, timeout)
            except Exception:
                # Of which one that was, its future says.
                return None
            if values is None:
                return None
            with _making:
                if self._values is None:
                    self._values = values
                    if self._futures is not None:
                        for future, value in zip(self._futures, values, strict=True):
                            future.__dict__.setdefault("_value", value)
            # (Others may have loaded them as well; what was stored first stands.)
            self.link.release(self.tasks)
        return self._values

    def __len__(self) -> int:
        return len(self.tasks)

    def __getitem__(self, place: int) -> MessageFuture:
        return self.made()[place]

    def __iter__(self) -> Iterator[MessageFuture]:
        return iter(self.made())


class _Unreadable(Remote):
    """The result of a task cannot be made in this process."""


def _unreadable(problem: Exception) -> Remote:
    import traceback

    text = "".join(traceback.format_exception(problem))
    return _Unreadable(
        type(problem).__name__,
        f"the result has arrived, but cannot be unpickled here: {problem}",
        text,
    )


def multi_future(children: Iterable["Future[Any]"]) -> "Future[list[Any]]":
    """A future of the results of several, which ends when all have ended."""
    several = list(children)
    whole: Future[list[Any]] = Future()
    left = len(several)
    lock = threading.Lock()

    def finish() -> None:
        try:
            whole.set_result([one.result() for one in several])
        except BaseException as problem:
            whole.set_exception(problem)

    def count(_: "Future[Any]") -> None:
        nonlocal left
        with lock:
            left -= 1
            last = left == 0
        if last:
            finish()

    if not several:
        finish()
    for one in several:
        one.add_done_callback(count)
    return whole


def future_set_result_unless_cancelled(future: "Future[Any]", value: Any) -> None:
    """Set a result, if nobody has cancelled the future."""
    if not future.cancelled():
        future.set_result(value)


def future_set_exc_info(future: "Future[Any]", exc_info: tuple[Any, ...]) -> None:
    """Set an exception as ``sys.exc_info()`` gives it."""
    if exc_info[1] is None:
        raise ValueError("there is no exception to set")
    future.set_exception(exc_info[1])


def future_add_done_callback(
    future: "Future[Any]", callback: Callable[["Future[Any]"], object]
) -> None:
    """Call back when the future ends, or now."""
    future.add_done_callback(callback)
