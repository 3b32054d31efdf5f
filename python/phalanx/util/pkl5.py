"""Communicators whose objects travel with their large buffers beside the pickle stream.

Those of `phalanx.MPI` do that themselves, in one message per object and without a
copy more, so these classes add nothing on the way: a rank may send with one kind
and another receive with the other. What they add is `pickle`, a pickler of their
own, and requests and messages that are tuples.
"""

import pickle as _standard
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Self, TypeVar

from phalanx import MPI
from phalanx.MPI import ANY_SOURCE, ANY_TAG, PROC_NULL, ROOT, Status
from phalanx.typing import Buffer

__all__ = [
    "ANY_SOURCE",
    "ANY_TAG",
    "PROC_NULL",
    "ROOT",
    "Comm",
    "Intercomm",
    "Intracomm",
    "Message",
    "Pickle",
    "Request",
    "Status",
    "pickle",
]


class Pickle(MPI.Pickle):
    """A pickler with out-of-band buffers.

    ``pickle.__init__(dumps, loads, protocol, threshold)`` sets another one.
    """

    def __init__(
        self,
        dumps: Callable[..., bytes] | None = None,
        loads: Callable[..., Any] | None = None,
        protocol: int | None = None,
        threshold: int | None = None,
    ) -> None:
        super().__init__(dumps, loads, protocol, threshold)
        self._standard = dumps in (None, _standard.dumps) and loads in (
            None,
            _standard.loads,
        )

    def _is_plain(self) -> bool:
        """Whether it does what the library does anyway."""
        library = (MPI.pickle.PROTOCOL, MPI.pickle.THRESHOLD)
        return self._standard and library == (self.PROTOCOL, self.THRESHOLD)


pickle: MPI.Pickle = Pickle()
"""What the communicators of this module pickle with."""


class _Pickled:
    """An object that `pickle` has pickled, on its way through the library."""

    def __init__(self, obj: object) -> None:
        self.data, self.buffers = pickle.dumps_oob(obj)

    def __reduce__(self) -> tuple[Any, ...]:
        buffers = map(_standard.PickleBuffer, self.buffers)  # type: ignore[arg-type]
        return (_load, (self.data, list(buffers)))


def _load(data: bytes, buffers: list[Any]) -> Any:
    return pickle.loads_oob(data, buffers)


def _is_plain() -> bool:
    return isinstance(pickle, Pickle) and pickle._is_plain()


def _outgoing(obj: Any) -> Any:
    """What the library pickles: the object, or what a user's pickler made of it."""
    return obj if _is_plain() else _Pickled(obj)


def _all_outgoing(objects: Iterable[Any] | None) -> Any:
    if objects is None or _is_plain():
        return objects
    return [_Pickled(obj) for obj in objects]


def _incoming(obj: Any) -> Any:
    """The object; what a rank has from itself may not have been unpickled."""
    return _load(obj.data, obj.buffers) if type(obj) is _Pickled else obj


class _BigMPI:
    """How a large buffer is described: as bytes, since counts have 64 bits here.

    `blocksize` is for programs that set it: no block is needed.
    """

    def __init__(self) -> None:
        self.blocksize = 1 << 30
        self.cache: dict[int, MPI.Datatype] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, buf: Buffer) -> tuple[Buffer, int, MPI.Datatype]:
        with memoryview(buf) as view:  # type: ignore[arg-type]
            return (buf, view.nbytes, MPI.BYTE)


_bigmpi = _BigMPI()


Part = TypeVar("Part", MPI.Request, MPI.Message)


class _Parts(tuple[Part, ...]):
    """Handles that count as one, and are equal to it when they are all it."""

    __slots__ = ()
    _kind: type[Part]
    _null: Part

    def __new__(cls, parts: Part | Iterable[Part] | None = None) -> Self:
        """Make one from a handle, or from several."""
        several: Any = cls._null if parts is None else parts
        if isinstance(several, cls._kind):
            several = (cls._kind(several),)
        return super().__new__(cls, several)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, type(self)):
            return tuple(self) == tuple(other)
        if isinstance(other, self._kind):
            return all(part == other for part in self)
        return NotImplemented

    def __ne__(self, other: object) -> bool:
        same = self.__eq__(other)
        return same if same is NotImplemented else not same

    # As for the handles: equal ones become different ones when one completes.
    __hash__ = None  # type: ignore[assignment]

    def __bool__(self) -> bool:
        return any(bool(part) for part in self)


class Request(_Parts[MPI.Request]):
    """Requests of the nonblocking operations that make one."""

    __slots__ = ()
    _kind = MPI.Request
    _null = MPI.REQUEST_NULL

    def Free(self) -> None:
        """Free the requests; the operations complete by themselves."""
        for part in self:
            part.Free()

    def free(self) -> None:
        """Free the requests, those that have completed as well."""
        for part in self:
            part.free()

    def cancel(self) -> None:
        """Cancel the operations."""
        for part in self:
            part.Cancel()

    def get_status(self, status: Status | None = None) -> bool:
        """Return whether the operations have completed; the request stays."""
        done = [part.get_status(status) for part in reversed(self)]
        return all(done)

    def test(self, status: Status | None = None) -> tuple[bool, Any | None]:
        """Return whether the operations have completed, and the received object."""
        if len(self) == 1:
            done, obj = self[0].test(status)
            return done, _incoming(obj)
        done, objects = self.testall([self], None if status is None else [status])
        return done, objects[0] if objects else None

    def wait(self, status: Status | None = None) -> Any:
        """Wait for the operations; return the received object."""
        if len(self) == 1:
            return _incoming(self[0].wait(status))
        return self.waitall([self], None if status is None else [status])[0]

    @classmethod
    def get_status_all(
        cls, requests: Sequence["Request"], statuses: list[Status] | None = None
    ) -> bool:
        """Return whether all have completed; the requests stay."""
        parts, inner = _parts(requests, statuses)
        return MPI.Request.get_status_all(parts, inner)

    @classmethod
    def testall(
        cls, requests: Sequence["Request"], statuses: list[Status] | None = None
    ) -> tuple[bool, list[Any] | None]:
        """Return whether all have completed, and then the objects."""
        parts, inner = _parts(requests, statuses)
        done, objects = MPI.Request.testall(parts, inner)
        if not done or objects is None:
            return done, None
        return True, _regroup(requests, objects)

    @classmethod
    def waitall(
        cls, requests: Sequence["Request"], statuses: list[Status] | None = None
    ) -> list[Any]:
        """Wait for all; return the objects."""
        parts, inner = _parts(requests, statuses)
        objects = MPI.Request.waitall(parts, inner)
        return _regroup(requests, objects)


def _parts(
    requests: Sequence[Request], statuses: list[Status] | None
) -> tuple[list[MPI.Request], list[Status] | None]:
    """The plain requests, and their statuses: a request's is that of its first part."""
    parts = [part for request in requests for part in request]
    if statuses is None or len(parts) == len(requests):
        return parts, statuses
    for _ in range(len(requests) - len(statuses)):
        statuses.append(Status())
    inner = []
    for request, status in zip(requests, statuses, strict=False):
        inner += [status, *(Status() for _ in request[1:])][: len(request)]
    return parts, inner


def _regroup(requests: Sequence[Request], objects: list[Any]) -> list[Any]:
    """The object of each request: the one that one of its parts received."""
    values = iter(objects)
    found = []
    for request in requests:
        own = [_incoming(next(values)) for _ in request]
        found.append(next((obj for obj in own if obj is not None), None))
    return found


class Message(_Parts[MPI.Message]):
    """A matched message that has not been received."""

    __slots__ = ()
    _kind = MPI.Message
    _null = MPI.MESSAGE_NULL

    def free(self) -> None:
        """Forget the message, if it has been received."""
        for part in self:
            part.free()

    def recv(self, status: Status | None = None) -> Any:
        """Receive the object; blocks until it has arrived."""
        (part,) = self
        return _incoming(part.recv(status))

    def irecv(self) -> Request:
        """Start to receive the object."""
        (part,) = self
        return Request((part.irecv(),))

    @classmethod
    def probe(
        cls,
        comm: MPI.Comm,
        source: int = ANY_SOURCE,
        tag: int = ANY_TAG,
        status: Status | None = None,
    ) -> "Message":
        """Wait for a message and match it."""
        return cls((MPI.Message.probe(comm, source, tag, status),))

    @classmethod
    def iprobe(
        cls,
        comm: MPI.Comm,
        source: int = ANY_SOURCE,
        tag: int = ANY_TAG,
        status: Status | None = None,
    ) -> "Message | None":
        """Match a message if one has come."""
        message = MPI.Message.iprobe(comm, source, tag, status)
        return None if message is None else cls((message,))


class Comm(MPI.Comm):
    """A communicator; made from another one, whose handle it shares."""

    def __new__(cls, comm: MPI.Comm | None = None) -> Self:
        """Make one from a communicator."""
        # The layout of all communicators is that of this class, whatever comes next in
        # the order of bases.
        return MPI.Comm.__new__(cls, comm)

    def send(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object; may block until it is received."""
        super().send(_outgoing(obj), dest, tag)

    def bsend(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object through the attached buffer; does not block."""
        super().bsend(_outgoing(obj), dest, tag)

    def ssend(self, obj: Any, dest: int, tag: int = 0) -> None:
        """Send an object; blocks until its receive has begun."""
        super().ssend(_outgoing(obj), dest, tag)

    def isend(self, obj: Any, dest: int, tag: int = 0) -> Request:  # type: ignore[override]
        """Start to send an object."""
        return Request((super().isend(_outgoing(obj), dest, tag),))

    def ibsend(self, obj: Any, dest: int, tag: int = 0) -> Request:  # type: ignore[override]
        """Start to send an object through the attached buffer."""
        return Request((super().ibsend(_outgoing(obj), dest, tag),))

    def issend(self, obj: Any, dest: int, tag: int = 0) -> Request:  # type: ignore[override]
        """Start to send an object; complete when its receive has begun."""
        return Request((super().issend(_outgoing(obj), dest, tag),))

    def recv(
        self,
        buf: Buffer | None = None,
        source: int = ANY_SOURCE,
        tag: int = ANY_TAG,
        status: Status | None = None,
    ) -> Any:
        """Receive an object; `buf` is not used."""
        return _incoming(super().recv(None, source, tag, status))

    def irecv(  # type: ignore[override]
        self,
        buf: Buffer | None = None,
        source: int = ANY_SOURCE,
        tag: int = ANY_TAG,
    ) -> Request:
        """Raise `RuntimeError`, as programs expect: ``mprobe(...).irecv()`` works."""
        raise RuntimeError(
            "irecv: use mprobe() or improbe(), and irecv() of the message"
        )

    def sendrecv(
        self,
        sendobj: Any,
        dest: int,
        sendtag: int = 0,
        recvbuf: Buffer | None = None,
        source: int = ANY_SOURCE,
        recvtag: int = ANY_TAG,
        status: Status | None = None,
    ) -> Any:
        """Send an object and receive one; `recvbuf` is not used."""
        obj = super().sendrecv(
            _outgoing(sendobj), dest, sendtag, None, source, recvtag, status
        )
        return _incoming(obj)

    def mprobe(  # type: ignore[override]
        self,
        source: int = ANY_SOURCE,
        tag: int = ANY_TAG,
        status: Status | None = None,
    ) -> Message:
        """Wait for a message and match it."""
        return Message.probe(self, source, tag, status)

    def improbe(  # type: ignore[override]
        self,
        source: int = ANY_SOURCE,
        tag: int = ANY_TAG,
        status: Status | None = None,
    ) -> Message | None:
        """Match a message if one has come."""
        return Message.iprobe(self, source, tag, status)

    def bcast(self, obj: Any, root: int = 0) -> Any:
        """Give all ranks the root's object."""
        return _incoming(super().bcast(_outgoing(obj), root))

    def gather(self, sendobj: Any, root: int = 0) -> list[Any] | None:
        """Give the root the objects of all ranks."""
        found = super().gather(_outgoing(sendobj), root)
        return None if found is None else [_incoming(obj) for obj in found]

    def scatter(self, sendobj: Sequence[Any] | None, root: int = 0) -> Any:
        """Give each rank one of the root's objects."""
        return _incoming(super().scatter(_all_outgoing(sendobj), root))

    def allgather(self, sendobj: Any) -> list[Any]:
        """Give all ranks the objects of all ranks."""
        return [_incoming(obj) for obj in super().allgather(_outgoing(sendobj))]

    def alltoall(self, sendobj: Sequence[Any] | None) -> list[Any]:
        """Give each rank one object of every rank."""
        found = super().alltoall(_all_outgoing(sendobj))
        return [_incoming(obj) for obj in found]


class Intracomm(Comm, MPI.Intracomm):
    """An intracommunicator."""


class Intercomm(Comm, MPI.Intercomm):
    """An intercommunicator."""
