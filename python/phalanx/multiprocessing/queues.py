"""Queues between processes, in shared memory.

Drop-in for `multiprocessing.queues`: the classes are subclasses of those there. An
object is pickled by the process that puts it and is in the queue when `put` returns.
There is no thread that would still have to send it: so a process may end at once, an
object that does not pickle raises in `put`, and a process can be joined before its
queue was read. Killing a process that puts or gets harms nobody else.
"""

from __future__ import annotations

import os
import threading
import types
from multiprocessing import queues as _std
from multiprocessing import reduction
from queue import Empty, Full
from typing import TYPE_CHECKING, Any, Self, TypeVar

import phalanx._workers as _workers

from .synchronize import SEM_VALUE_MAX

__all__ = ["Empty", "Full", "JoinableQueue", "Queue", "SimpleQueue"]

_T = TypeVar("_T")

if TYPE_CHECKING:

    class _Base(_std.Queue[_T], _workers.QueueBase):
        """The standard class over the native part."""

    class _Joinable(_std.JoinableQueue[_T]):
        """The standard class."""

    class _Simple(_std.SimpleQueue[_T], _workers.SimpleQueueBase):
        """The standard class over the native part."""

else:
    # Native methods come first; the standard classes make isinstance hold.
    class _Base(_workers.QueueBase, _std.Queue):
        __class_getitem__ = classmethod(types.GenericAlias)

    class _Joinable(_std.JoinableQueue):
        __class_getitem__ = classmethod(types.GenericAlias)

    class _Simple(_workers.SimpleQueueBase, _std.SimpleQueue):
        __class_getitem__ = classmethod(types.GenericAlias)


# Ends


class _End:
    """What stands for one end of the pipe that other queues have."""

    _is_reader: bool

    def __init__(self, queue: Any) -> None:
        self._queue = queue

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._queue is self._queue

    def __hash__(self) -> int:
        return hash((type(self), id(self._queue)))

    def __repr__(self) -> str:
        return f"<{type(self).__name__.lstrip('_')} of {self._queue!r}>"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def readable(self) -> bool:
        """Whether this is the end to receive from."""
        return self._is_reader

    @property
    def writable(self) -> bool:
        """Whether this is the end to send to."""
        return not self._is_reader

    @property
    def closed(self) -> bool:
        """Whether this end was closed in this process."""
        closed: bool = self._queue._end_closed(self._is_reader)
        return closed

    def close(self) -> None:
        """Close this end in this process."""
        self._queue._close_end(self._is_reader)

    def _check_closed(self) -> None:
        if self.closed:
            raise OSError("handle is closed")


class _Reader(_End):
    """The end to receive from; may be waited for together with pipes and sockets."""

    _is_reader = True

    def fileno(self) -> int:
        """Return a descriptor that is readable while the queue is not empty.

        It is made when first asked for, and only to be waited for: with `select`, with
        `multiprocessing.connection.wait`, or by an event loop.
        """
        fd: int = self._queue._fileno()
        return fd

    def poll(self, timeout: float | None = 0.0) -> bool:
        """Return whether there is something to receive, waiting up to `timeout`."""
        there: bool = self._queue._poll(timeout)
        return there

    def recv(self) -> Any:
        """Receive an object."""
        self._check_closed()
        return self._queue.get()

    def recv_bytes(self, maxlength: int | None = None) -> bytes:
        """Receive an object as its pickle."""
        return bytes(reduction.ForkingPickler.dumps(self.recv()))


class _Writer(_End):
    """The end to send to."""

    _is_reader = False

    def fileno(self) -> int:
        """Raise: a queue can always be written to, or be waited for by `put`."""
        raise OSError("the writing end of a queue in shared memory has no descriptor")

    def send(self, obj: Any) -> None:
        """Send an object."""
        self._check_closed()
        self._queue.put(obj)

    def send_bytes(
        self,
        buf: bytes | bytearray | memoryview,
        offset: int = 0,
        size: int | None = None,
    ) -> None:
        """Send the object of a pickle."""
        end = None if size is None else offset + size
        self.send(reduction.ForkingPickler.loads(memoryview(buf)[offset:end]))


class _HasEnds:
    """The attributes `_reader` and `_writer`, which a subclass may replace."""

    @property
    def _reader(self) -> Any:
        return self.__dict__.get("_reader") or _Reader(self)

    @_reader.setter
    def _reader(self, end: Any) -> None:
        self.__dict__["_reader"] = end

    @property
    def _writer(self) -> Any:
        return self.__dict__.get("_writer") or _Writer(self)

    @_writer.setter
    def _writer(self, end: Any) -> None:
        self.__dict__["_writer"] = end


# Queues


class Queue(_HasEnds, _Base[_T]):
    """A first-in, first-out queue for any number of processes.

    Parameters
    ----------
    maxsize : int
        Most objects in it at a time; 0 or less for no limit.
    ctx : multiprocessing context
        Accepted for compatibility.
    """

    _ignore_epipe: bool

    def __init__(self, maxsize: int = 0, *, ctx: Any = None) -> None:
        limit = 0
        if maxsize <= 0:
            maxsize = SEM_VALUE_MAX
        elif maxsize < SEM_VALUE_MAX:
            limit = maxsize
        self._create(maxsize, limit)
        self._ignore_epipe = False
        self._opid = os.getpid()

    def __getstate__(self) -> Any:
        return (self._ignore_epipe, self._opid, self._token())

    def __setstate__(self, state: Any) -> None:
        self._ignore_epipe, self._opid, token = state
        self._open(token)

    def join_thread(self) -> None:
        """Do nothing: what was put is in the queue. Needs a closed queue."""
        if not self._closed:
            raise AssertionError(f"Queue {self!r} not closed")

    def cancel_join_thread(self) -> None:
        """Do nothing: there is no thread, and nothing can be lost."""

    def _terminate_broken(self) -> None:
        self._reader.close()
        self.close()


class JoinableQueue(Queue[_T], _Joinable[_T]):
    """A queue that counts what was put and not yet declared done.

    Parameters
    ----------
    maxsize : int
        Most objects in it at a time; 0 or less for no limit.
    ctx : multiprocessing context
        Accepted for compatibility.
    """

    def task_done(self) -> None:
        """Say that the work for an object that was got is done."""
        if not self._task_done():
            raise ValueError("task_done() called too many times")

    def join(self) -> None:
        """Wait until `task_done` was called for every object that was put."""
        self._join()


class SimpleQueue(_HasEnds, _Simple[_T]):
    """An unbounded queue with `put`, `get` and `empty`.

    Parameters
    ----------
    ctx : multiprocessing context
        Accepted for compatibility.
    """

    # For the standard pool, whose end takes them to be sure that nobody waits there.
    _rlock = _wlock = threading.Lock()

    def __init__(self, *, ctx: Any = None) -> None:
        self._create()

    def __getstate__(self) -> Any:
        return self._token()

    def __setstate__(self, state: Any) -> None:
        self._open(state)
