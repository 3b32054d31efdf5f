"""Taking turns: sequences, counters, mutexes, conditions and semaphores of ranks.

Everything but `Sequential` is made, and freed, by all ranks of a communicator
together. State lies in a window and changes by atomic operations, which need no
help from the rank that holds it. Who has to wait does so in a receive: it sleeps and
hears interrupts. Who waits for one certain rank (`Sequential`, `Mutex.acquire`) gets an
error when that has ended; a notification, a permit, or the name of who is next in the
queue may come from any rank, and a wait for those ends when all others have ended.
"""

from abc import ABC, abstractmethod
from array import array
from collections.abc import Callable
from typing import Literal, NoReturn, Self, TypeVar

from phalanx import MPI

__all__ = ["Condition", "Counter", "Mutex", "Semaphore", "Sequential"]

T = TypeVar("T")

_NOBODY = -1
_BROKEN = -2
_NEXT, _ANSWER, _NOTIFY = range(3)  # tags of messages


class _Acquired(ABC):
    """What a `with` block acquires and releases."""

    @abstractmethod
    def acquire(self, blocking: bool = True) -> bool:
        """Hold it; with `blocking` false only if that is possible now."""

    @abstractmethod
    def release(self) -> None:
        """Hold it no longer."""

    def __enter__(self) -> Self:
        self.acquire()
        return self

    def __exit__(self, *exc: object) -> None:
        self.release()


class Sequential:
    """One rank after the other, in the order of ranks.

    Attributes
    ----------
    comm : Intracomm
        The ranks that take turns.
    tag : int
        The tag of the messages by which they do.
    """

    def __init__(self, comm: MPI.Intracomm, tag: int = 0) -> None:
        self.comm = comm
        self.tag = int(tag)

    def __enter__(self) -> Self:
        self.begin()
        return self

    def __exit__(self, *exc: object) -> None:
        self.end()

    def begin(self) -> None:
        """Wait until the rank before this one has called `end`."""
        rank = self.comm.Get_rank()
        if rank > 0:
            _receive(self.comm, rank - 1, self.tag)

    def end(self) -> None:
        """Let the next rank begin."""
        rank = self.comm.Get_rank()
        if rank + 1 < self.comm.Get_size():
            _send(self.comm, rank + 1, self.tag)


class Counter:
    """A number that ranks take and increase in one step; an endless iterator.

    Parameters
    ----------
    start, step : int
        The first value, and what each value adds.
    typecode : str
        How it is kept, as `array.array` names types.
    comm : Intracomm
        The ranks that share it; all of them make it together.
    info : Info
        Hints for the window that it lies in.
    root : int
        The rank whose memory it lies in.
    """

    def __init__(
        self,
        start: int = 0,
        step: int = 1,
        *,
        typecode: str = "i",
        comm: MPI.Intracomm = MPI.COMM_SELF,
        info: MPI.Info = MPI.INFO_NULL,
        root: int = 0,
    ) -> None:
        self._step = step
        self._words: _Words | None = _Words(typecode, [start], comm, info, root)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        return self.next()

    def next(self, incr: int | None = None) -> int:
        """Return the value, and add `incr` to it (default: the counter's step)."""
        if self._words is None:
            raise RuntimeError("this counter has been freed")
        return self._words.fetch(self._step if incr is None else incr, MPI.SUM)

    def free(self) -> None:
        """Give its memory back; all ranks together. Once is enough, more do no harm."""
        if self._words is not None:
            self._words.free()
        self._words = None


class Mutex(_Acquired):
    """A lock that one rank holds at a time; ranks get it in the order they ask.

    Ranks, not threads, exclude each other. Without `recursive`, a rank that holds it
    and asks again gets `RuntimeError`.

    A word names the last rank in the queue. Who takes it over says so to the rank
    before it, and is told when that rank releases. When that rank has ended instead,
    nobody knows whether the rank before it still holds the mutex: it is broken, and
    who waits, or asks later, gets an error.
    """

    def __init__(
        self,
        *,
        recursive: bool = False,
        comm: MPI.Intracomm = MPI.COMM_SELF,
        info: MPI.Info = MPI.INFO_NULL,
    ) -> None:
        self._recursive = bool(recursive)
        self._count = 0
        # The rank before this one in the queue. An interrupt ends the wait for it and
        # not the place in the queue, from which the next call goes on.
        self._before: int | None = None
        self._comm: MPI.Intracomm | None = comm.Dup()
        self._rank = comm.Get_rank()
        self._last = _Words("i", [_NOBODY], self._comm, info)

    def acquire(self, blocking: bool = True) -> bool:
        """Hold the mutex; with `blocking` false only if no rank has it.

        Returns whether this rank holds it. Raises `RuntimeError` if it held it before
        and the mutex is not recursive, or if it has been freed.
        """
        comm = self._ranks()
        if self._count and not self._recursive:
            raise RuntimeError("this rank holds the mutex already")
        if self._count == 0:
            if self._before is None:
                if blocking:
                    before = self._last.fetch(self._rank, MPI.REPLACE)
                    if before == _BROKEN:
                        self._leave_broken(comm)
                    elif before != _NOBODY:
                        self._before = before
                        _send(comm, before, _NEXT)
                elif self._last.swap(_NOBODY, self._rank) != _NOBODY:
                    return False
            if self._before is not None:
                if not blocking and not comm.Iprobe(self._before, _ANSWER):
                    return False
                self._wait(comm, self._before)
        self._count += 1
        return True

    def release(self) -> None:
        """Hold it once less; the last time, the rank that asked next gets it.

        Raises `RuntimeError` if this rank does not hold it, or it has been freed.
        """
        comm = self._ranks()
        if self._count == 0:
            raise RuntimeError("this rank does not hold the mutex")
        if self._count == 1 and self._last.swap(self._rank, _NOBODY) != self._rank:
            after = _receive(comm, MPI.ANY_SOURCE, _NEXT)
            _send(comm, after, _ANSWER, b"g")
        self._count -= 1

    def locked(self) -> bool:
        """Return whether this rank holds it."""
        self._ranks()
        return self._count > 0

    def count(self) -> int:
        """Return how often this rank holds it."""
        self._ranks()
        return self._count

    def free(self) -> None:
        """Release it if held, and give its memory back; all ranks together."""
        if self._comm is None:
            return
        if self._before is not None:
            self.acquire()
        while self._count:
            self.release()
        self._last.free()
        self._comm.Free()
        self._comm = None

    def _ranks(self) -> MPI.Intracomm:
        if self._comm is None:
            raise RuntimeError("this mutex has been freed")
        return self._comm

    def _wait(self, comm: MPI.Intracomm, before: int) -> None:
        answer = bytearray(1)
        lost: MPI.Exception | None = None
        try:
            comm.Recv([answer, 1, MPI.BYTE], before, _ANSWER)
        except MPI.Exception as error:
            lost = error
        self._before = None
        if lost is not None or answer == b"b":
            self._leave_broken(comm, lost)

    def _leave_broken(
        self, comm: MPI.Intracomm, lost: MPI.Exception | None = None
    ) -> NoReturn:
        """Leave the queue, and tell who stands behind; raises `RuntimeError`."""
        if self._last.swap(self._rank, _BROKEN) != self._rank:
            _send(comm, _receive(comm, MPI.ANY_SOURCE, _NEXT), _ANSWER, b"b")
        raise RuntimeError(
            "the mutex is broken: a rank that held it, or waited for it, has ended"
        ) from lost


class Condition(_Acquired):
    """Ranks wait until another one notifies them, in the order they began to wait.

    Without `mutex` it has one of its own, made with the other parameters.

    The ranks that wait stand in a ring in a window: where the first is, how many there
    are, and one place for each rank. Only who holds the mutex touches it.
    """

    def __init__(
        self,
        mutex: Mutex | None = None,
        *,
        recursive: bool = True,
        comm: MPI.Intracomm = MPI.COMM_SELF,
        info: MPI.Info = MPI.INFO_NULL,
    ) -> None:
        self._owner = mutex is None
        if mutex is None:
            mutex = Mutex(recursive=recursive, comm=comm, info=info)
        self._mutex = mutex
        ranks = mutex._ranks()
        self._comm: MPI.Intracomm | None = ranks.Dup()
        self._size = ranks.Get_size()
        self._rank = ranks.Get_rank()
        places = [_NOBODY] * self._size
        self._ring = _Words("i", [0, 0, *places], self._comm, info)

    def acquire(self, blocking: bool = True) -> bool:
        """Acquire the mutex, as `Mutex.acquire` does."""
        self._ranks()
        return self._mutex.acquire(blocking)

    def release(self) -> None:
        """Release the mutex, as `Mutex.release` does."""
        self._ranks()
        self._mutex.release()

    def locked(self) -> bool:
        """Return whether this rank holds the mutex."""
        self._ranks()
        return self._mutex.locked()

    def wait(self) -> Literal[True]:
        """Release the mutex, wait to be notified, and acquire it again as often.

        Raises `RuntimeError` if this rank does not hold the mutex.
        """
        comm = self._held("wait")
        first, waiting = self._ring.read(0, 2)
        self._ring.write(2 + (first + waiting) % self._size, [self._rank])
        self._ring.write(1, [waiting + 1])
        holds = self._mutex.count()
        for _ in range(holds):
            self._mutex.release()
        try:
            _receive(comm, MPI.ANY_SOURCE, _NOTIFY)
        except BaseException:
            self._acquire_again(holds)
            self._withdraw(comm)
            raise
        self._acquire_again(holds)
        return True

    def wait_for(self, predicate: Callable[[], T]) -> T:
        """Wait until `predicate()` is true, and return what it returned."""
        self._held("wait_for")
        result = predicate()
        while not result:
            self.wait()
            result = predicate()
        return result

    def notify(self, n: int = 1) -> int:
        """Let the first `n` of those that wait go on; return how many there were.

        Raises `RuntimeError` if this rank does not hold the mutex.
        """
        comm = self._held("notify")
        first, waiting = self._ring.read(0, 2)
        number = max(0, min(n, waiting))
        if number == 0:
            return 0
        ranks = self._places(first, number)
        self._ring.write(0, [(first + number) % self._size, waiting - number])
        for rank in ranks:
            _send(comm, rank, _NOTIFY)
        return number

    def notify_all(self) -> int:
        """Let all that wait go on; return how many there were."""
        return self.notify(self._size)

    def free(self) -> None:
        """Release the mutex if held, and give the memory back; all ranks together.

        The mutex is freed as well if it is the condition's own.
        """
        if self._comm is None:
            return
        if self._owner:
            self._mutex.free()
        elif self._mutex._comm is not None:
            while self._mutex.count():
                self._mutex.release()
        self._ring.free()
        self._comm.Free()
        self._comm = None

    def _ranks(self) -> MPI.Intracomm:
        if self._comm is None:
            raise RuntimeError("this condition has been freed")
        return self._comm

    def _held(self, operation: str) -> MPI.Intracomm:
        comm = self._ranks()
        if not self._mutex.locked():
            raise RuntimeError(f"{operation}: this rank does not hold the mutex")
        return comm

    def _acquire_again(self, holds: int) -> None:
        # Anything but a recursive mutex is held once.
        for _ in range(holds):
            self._mutex.acquire()

    def _places(self, first: int, number: int) -> list[int]:
        straight = min(number, self._size - first)
        ranks = self._ring.read(2 + first, straight)
        return ranks + self._ring.read(2, number - straight)

    def _withdraw(self, comm: MPI.Intracomm) -> None:
        """Wait no longer: leave the ring, or take the notification that has come."""
        first, waiting = self._ring.read(0, 2)
        others = [rank for rank in self._places(first, waiting) if rank != self._rank]
        if len(others) == waiting:
            _receive(comm, MPI.ANY_SOURCE, _NOTIFY)
        else:
            unused = [_NOBODY] * (self._size - len(others))
            self._ring.write(0, [0, len(others), *others, *unused])


class Semaphore(_Acquired):
    """A number of permits that ranks take and give back.

    Parameters
    ----------
    value : int
        How many permits there are.
    bounded : bool
        Giving back more than were there raises `ValueError`.
    comm : Intracomm
        The ranks that share it; all of them make it together.
    info : Info
        Hints for its windows.
    """

    def __init__(
        self,
        value: int = 1,
        *,
        bounded: bool = True,
        comm: MPI.Intracomm = MPI.COMM_SELF,
        info: MPI.Info = MPI.INFO_NULL,
    ) -> None:
        if value < 0:
            raise ValueError(f"a semaphore of {value} permits: expected 0 or more")
        self._bounded = bool(bounded)
        self._value = value
        self._counter = Counter(value, comm=comm, info=info)
        self._condition = Condition(recursive=False, comm=comm, info=info)

    def acquire(self, blocking: bool = True) -> bool:
        """Take a permit, with `blocking` false only if there is one now.

        Returns whether this rank got one.
        """
        with self._condition:
            while self._counter.next(0) == 0:
                if not blocking:
                    return False
                self._condition.wait()
            self._counter.next(-1)
            return True

    def release(self, n: int = 1) -> None:
        """Give `n` permits back.

        Raises `ValueError` if `n` is not positive, or the semaphore is bounded and
        would have more permits than it began with.
        """
        if n < 1:
            raise ValueError(f"release of {n} permits: expected 1 or more")
        with self._condition:
            have = self._counter.next(0)
            if self._bounded and have + n > self._value:
                raise ValueError(
                    f"release of {n} permits where {have} of {self._value} are there: "
                    "more than were acquired"
                )
            self._counter.next(n)
            self._condition.notify(n)

    def free(self) -> None:
        """Give its memory back; all ranks together."""
        self._counter.free()
        self._condition.free()


def _send(comm: MPI.Intracomm, rank: int, tag: int, data: bytes = b"") -> None:
    comm.Send([data, len(data), MPI.BYTE], rank, tag)


def _receive(comm: MPI.Intracomm, rank: int, tag: int) -> int:
    """Receive an empty message; return who sent it."""
    status = MPI.Status()
    comm.Recv([None, 0, MPI.BYTE], rank, tag, status)
    return status.Get_source()


class _Words:
    """Numbers in the memory of one rank, under one epoch of all ranks for good."""

    def __init__(
        self,
        typecode: str,
        values: list[int],
        comm: MPI.Intracomm,
        info: MPI.Info,
        root: int = 0,
    ) -> None:
        first = array(typecode, values)
        here = comm.Get_rank() == root
        unit = first.itemsize
        size = len(first) * unit if here else 0
        self._typecode = typecode
        self._type = MPI.Datatype.fromcode(typecode)
        self._root = root
        self._win = MPI.Win.Allocate(size, unit, info, comm)
        self._win.Lock_all()
        if here:
            self._put(0, first)
        comm.Barrier()

    def fetch(self, value: int, op: MPI.Op) -> int:
        """Do `op` with the first number; return what it was."""
        result = array(self._typecode, [0])
        operand = array(self._typecode, [value])
        self._win.Fetch_and_op(
            [operand, 1, self._type], [result, 1, self._type], self._root, 0, op
        )
        self._win.Flush(self._root)
        return result[0]

    def swap(self, expected: int, value: int) -> int:
        """Replace the first number if it is `expected`; return what it was."""
        result, new, old = (array(self._typecode, [n]) for n in (0, value, expected))
        self._win.Compare_and_swap(
            [new, 1, self._type],
            [old, 1, self._type],
            [result, 1, self._type],
            self._root,
        )
        self._win.Flush(self._root)
        return result[0]

    def read(self, place: int, number: int) -> list[int]:
        result = array(self._typecode, [0] * number)
        if number:
            self._win.Get([result, number, self._type], self._root, [place, number])
            self._win.Flush(self._root)
        return list(result)

    def write(self, place: int, values: list[int]) -> None:
        self._put(place, array(self._typecode, values))

    def free(self) -> None:
        self._win.Unlock_all()
        self._win.Free()

    def _put(self, place: int, values: "array[int]") -> None:
        self._win.Put(
            [values, len(values), self._type], self._root, [place, len(values)]
        )
        self._win.Flush(self._root)
