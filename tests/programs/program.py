"""A random program of message passing, compared with a naive model.

    phalanx run -n RANKS python program.py SEED STEPS [--say]

All ranks draw the same program from the seed: rounds of messages, collectives
(blocking, nonblocking, persistent, of buffers and of objects) and new communicators.
Every rank knows what each other one gives, so the model is a few lines of NumPy on all
the data. What is received must be what the model says; a step that differs is named
with its seed.
"""

import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from mpi4py import MPI

DTYPES = ("i4", "f8", "i8", "u1", "f4", "i2")
LENGTHS = (0, 1, 1, 2, 7, 64, 500, 3000, 20_000)
TAGS = (0, 1, 7, 1000)
# Small values, so that sums and products of floats are exact in every order.
OPERATIONS: tuple[tuple[str, Callable[..., Any]], ...] = (
    ("SUM", np.add),
    ("MAX", np.maximum),
    ("MIN", np.minimum),
    ("PROD", np.multiply),
)


@dataclass
class Group:
    """A communicator, and which ranks of the world it has, in its order."""

    members: list[int]
    comm: Any

    @property
    def size(self) -> int:
        return len(self.members)


@dataclass(frozen=True)
class Message:
    source: int
    dest: int
    tag: int
    dtype: str
    length: int
    number: int

    def data(self) -> Any:
        return values(self.number, self.length, self.dtype)


def values(number: int, length: int, dtype: str) -> Any:
    """The data that belongs to a number: small, and different for each number."""
    return ((np.arange(length) * 7 + number * 13) % 5).astype(dtype) + np.array(
        number % 2, dtype
    )


class Program:
    def __init__(self, seed: int, say: bool) -> None:
        self.all = random.Random(seed)  # the same draws on every rank
        self.world = MPI.COMM_WORLD
        self.rank = self.world.rank
        self.own = random.Random(seed * 1000 + self.rank)  # order, and waiting
        self.groups = [Group(list(range(self.world.size)), self.world)]
        self.pending: list[tuple[Any, Callable[[Any], None]]] = []
        self.numbers = 0
        self.step, self.what, self.say = 0, "", say

    # Checks

    def same(self, got: Any, expected: Any, what: str) -> None:
        equal = np.array_equal(got, expected)
        if not equal:
            text = f"{self.what}, {what}: got {got!r}, expected {expected!r}"
            raise AssertionError(text)

    def number(self) -> int:
        self.numbers += 1
        return self.numbers

    # Steps

    def run(self, steps: int) -> None:
        kinds = [self.messages, self.collective, self.collective, self.objects]
        for self.step in range(steps):
            pick = self.all.random()
            step = self.all.choice(kinds)
            if pick < 0.06:
                step = self.new_group
            elif pick < 0.15:
                step = self.finish_pending
            group = self.all.choice(self.groups)
            self.what = f"step {self.step} ({step.__name__}, {group.members})"
            if self.say:
                print(self.rank, self.what, flush=True)
            step(group)
        self.finish_pending(self.groups[0])
        for group in self.groups[1:]:
            if group.comm != MPI.COMM_NULL:
                group.comm.Free()

    def new_group(self, group: Group) -> None:
        if len(self.groups) >= 5:
            self.finish_pending(group)
            old = self.groups.pop(self.all.randrange(1, len(self.groups)))
            if old.comm != MPI.COMM_NULL:
                old.comm.Free()
            return
        colors = [self.all.choice((0, 0, 1, MPI.UNDEFINED)) for _ in group.members]
        keys = [self.all.randrange(3) for _ in group.members]
        order = sorted(range(group.size), key=lambda at: (keys[at], at))
        parts = {
            color: [group.members[at] for at in order if colors[at] == color]
            for color in (0, 1)
        }
        mine: Any = MPI.COMM_NULL
        if self.rank in group.members:
            at = group.members.index(self.rank)
            mine = group.comm.Split(colors[at], keys[at])
        for members in parts.values():
            if members:
                has = self.rank in members
                self.groups.append(Group(members, mine if has else MPI.COMM_NULL))
                if has:
                    self.same(mine.rank, members.index(self.rank), "rank after Split")
                    self.same(mine.size, len(members), "size after Split")

    def finish_pending(self, _group: Group) -> None:
        """Wait for all that was started before, in an order of each rank's own."""
        pending, self.pending = self.pending, []
        self.own.shuffle(pending)
        style = self.own.randrange(3)
        if style == 0 and not any(hasattr(r, "objects") for r, _ in pending):
            MPI.Request.Waitall([request for request, _ in pending])
            for _, check in pending:
                check(None)
            return
        while pending:
            request, check = pending.pop()
            if style == 1 and not request.Test():
                pending.insert(0, (request, check))
                continue
            request.Wait()
            check(None)

    # Messages

    def messages(self, group: Group) -> None:
        """A round of messages between random members, received in one of many ways."""
        number = self.all.randrange(1, 3 * group.size + 1)
        sent = [
            Message(
                self.all.randrange(group.size),
                self.all.randrange(group.size),
                self.all.choice(TAGS),
                self.all.choice(DTYPES),
                self.all.choice(LENGTHS),
                self.number(),
            )
            for _ in range(number)
        ]
        receive_first = self.all.random() < 0.5
        with_objects = self.all.random() < 0.3
        # Of each receiver: what its receives leave open.
        opens = [self.all.choice(("", "", "tag", "both")) for _ in group.members]
        if group.comm == MPI.COMM_NULL:
            return
        me = group.comm.rank
        outgoing = [m for m in sent if m.source == me]
        incoming = [m for m in sent if m.dest == me]
        if with_objects:
            self.object_round(group.comm, outgoing, incoming, opens[me])
        elif receive_first:
            self.posted_round(group.comm, outgoing, incoming, opens[me])
        else:
            self.unexpected_round(group.comm, outgoing, incoming, opens[me])
        if any(opens):
            # A receive from anybody must not see the messages of a later round.
            group.comm.Barrier()

    def envelope(self, message: Message, opens: str) -> tuple[int, int]:
        source = MPI.ANY_SOURCE if opens == "both" else message.source
        return source, MPI.ANY_TAG if opens else message.tag

    def matched(
        self, left: list[Message], source: int, tag: int, opens: str
    ) -> Message:
        """Which message a receive got, by its status: the first one that it could."""
        for message in left:
            if message.source == source and (opens or message.tag == tag):
                self.same(tag, message.tag, f"tag of the message from {source}")
                left.remove(message)
                return message
        raise AssertionError(f"{self.what}: a message from {source}, {tag} is too much")

    def send(self, comm: Any, message: Message, *, blocking: bool) -> Any:
        data = message.data()
        if blocking:
            call = self.own.choice((comm.Send, comm.Send, comm.Ssend))
            call(data, message.dest, message.tag)
            return None
        way = self.own.randrange(4)
        if way == 0:
            request = comm.Send_init(data, message.dest, message.tag)
            request.Start()
            return request
        call = self.own.choice((comm.Isend, comm.Isend, comm.Issend))
        return call(data, message.dest, message.tag)

    def posted_round(
        self, comm: Any, outgoing: list[Message], incoming: list[Message], opens: str
    ) -> None:
        """Receives that wait for their messages."""
        posted = []
        for message in incoming:
            room = max((m.length * 8 for m in incoming), default=0)
            buffer = np.zeros(room, "u1")
            source, tag = self.envelope(message, opens)
            if self.own.random() < 0.2:
                request = comm.Recv_init([buffer, MPI.BYTE], source, tag)
                request.Start()
            else:
                request = comm.Irecv([buffer, MPI.BYTE], source, tag)
            posted.append((request, buffer))
        comm.Barrier()
        sends = [self.send(comm, m, blocking=False) for m in outgoing]
        left = list(incoming)
        for request, buffer in posted:
            status = MPI.Status()
            if self.own.random() < 0.3:
                while not request.Test(status):
                    pass
            else:
                request.Wait(status)
            self.arrived(left, status, buffer, opens)
        MPI.Request.Waitall(sends)

    def unexpected_round(
        self, comm: Any, outgoing: list[Message], incoming: list[Message], opens: str
    ) -> None:
        """Messages that wait for their receives."""
        sends = [self.send(comm, m, blocking=False) for m in outgoing]
        left = list(incoming)
        for message in incoming:
            room = max((m.length * 8 for m in incoming), default=0)
            buffer = np.zeros(room, "u1")
            source, tag = self.envelope(message, opens)
            status = MPI.Status()
            way = self.own.randrange(3)
            if way == 0:
                found = comm.Mprobe(source, tag, status)
                self.same(found is not None, True, "Mprobe")
                found.Recv([buffer, MPI.BYTE], status)
            else:
                if way == 1:
                    comm.Probe(source, tag, status)
                    source, tag = status.source, status.tag
                comm.Recv([buffer, MPI.BYTE], source, tag, status)
            self.arrived(left, status, buffer, opens)
        MPI.Request.Waitall(sends)

    def arrived(
        self, left: list[Message], status: Any, buffer: Any, opens: str
    ) -> None:
        message = self.matched(left, status.source, status.tag, opens)
        data = message.data()
        self.same(status.Get_count(MPI.BYTE), data.nbytes, "bytes of a message")
        self.same(buffer[: data.nbytes].view(message.dtype), data, f"{message}")
        self.same(buffer[data.nbytes :].any(), False, f"bytes behind {message}")

    def object_round(
        self, comm: Any, outgoing: list[Message], incoming: list[Message], opens: str
    ) -> None:
        sends = [
            comm.isend((m.number, m.data(), "x" * m.length), m.dest, m.tag)
            for m in outgoing
        ]
        left = list(incoming)
        for message in incoming:
            source, tag = self.envelope(message, opens)
            status = MPI.Status()
            if self.own.random() < 0.5:
                got = comm.recv(None, source, tag, status)
            else:
                got = comm.irecv(None, source, tag).wait(status)
            found = self.matched(left, status.source, status.tag, opens)
            self.same(got[0], found.number, "number of an object")
            self.same(got[1], found.data(), f"array of {found}")
            self.same(len(got[2]), found.length, "text of an object")
        MPI.Request.waitall(sends)

    # Collectives

    def collective(self, group: Group) -> None:
        """One collective on buffers, in one of its three forms."""
        name, make = self.all.choice(COLLECTIVES)
        form = self.all.choice(("", "", "I", "I", "init"))
        root = self.all.randrange(group.size)
        length = self.all.choice(LENGTHS[:-1])
        lengths = [self.all.choice(LENGTHS[:7]) for _ in group.members]
        dtype = self.all.choice(DTYPES)
        operation = self.all.choice(OPERATIONS)
        numbers = [self.number() for _ in group.members]
        self.what += f" {form} {name} root {root} {length} x {dtype}"
        if group.comm == MPI.COMM_NULL:
            return
        me, size = group.comm.rank, group.size
        every = [values(number, length, dtype) for number in numbers]
        call = Collective(me, size, root, length, lengths, dtype, every, operation)
        arguments, result, expected = make(call)
        text = self.what

        def check(_: Any) -> None:
            if expected is not None:
                self.what = text
                self.same(result, expected, "result")

        if form == "I":
            request = getattr(group.comm, f"I{name.lower()}")(*arguments)
            self.pending.append((request, check))
            return
        if form == "init":
            request = getattr(group.comm, f"{name}_init")(*arguments)
            request.Start()
            request.Wait()
            request.Free()
        else:
            getattr(group.comm, name)(*arguments)
        check(None)

    def objects(self, group: Group) -> None:
        """One collective on objects."""
        kind = self.all.choice(
            ("bcast", "gather", "allgather", "scatter", "alltoall", "allreduce", "scan")
        )
        root = self.all.randrange(group.size)
        length = self.all.choice(LENGTHS)
        numbers = [self.number() for _ in group.members]
        self.what += f" {kind} of objects, root {root}, {length}"
        if group.comm == MPI.COMM_NULL:
            return
        comm, me = group.comm, group.comm.rank

        def thing(at: int) -> dict[str, Any]:
            return {"number": numbers[at], "list": list(range(min(length, 500)))}

        if kind == "bcast":
            got = comm.bcast(thing(root) if me == root else None, root)
            self.same(got, thing(root), kind)
        elif kind == "gather":
            got = comm.gather(thing(me), root)
            want = [thing(at) for at in range(comm.size)] if me == root else None
            self.same(got, want, kind)
        elif kind == "allgather":
            got = comm.allgather(thing(me))
            self.same(got, [thing(at) for at in range(comm.size)], kind)
        elif kind == "scatter":
            given = [thing(at) for at in range(comm.size)] if me == root else None
            self.same(comm.scatter(given, root), thing(me), kind)
        elif kind == "alltoall":
            got = comm.alltoall([(me, at, thing(at)) for at in range(comm.size)])
            self.same(
                got == [(at, me, thing(me)) for at in range(comm.size)], True, kind
            )
        elif kind == "allreduce":
            got = comm.allreduce(numbers[me])
            self.same(got, sum(numbers), kind)
        else:
            got = comm.scan([me], MPI.SUM)
            self.same(got, list(range(me + 1)), kind)


@dataclass
class Collective:
    """The arguments of one collective, and what every rank gives."""

    me: int
    size: int
    root: int
    length: int
    lengths: list[int]
    dtype: str
    every: list[Any]
    operation: tuple[str, Callable[..., Any]]

    @property
    def mine(self) -> Any:
        return self.every[self.me]

    @property
    def op(self) -> Any:
        return getattr(MPI, self.operation[0])

    def room(self, length: int) -> Any:
        return np.zeros(length, self.dtype)

    def reduced(self, arrays: list[Any]) -> Any:
        return reduce(self.operation[1], arrays)

    def blocks(self, rank: int) -> Any:
        """What a rank gives when it has a block for every rank."""
        parts = [np.roll(self.every[rank], at) for at in range(self.size)]
        return np.concatenate(parts) if parts else self.room(0)

    def part(self, rank: int, at: int) -> Any:
        return np.roll(self.every[rank], at)


Made = tuple[tuple[Any, ...], Any, Any]


def bcast(c: Collective) -> Made:
    buffer = c.mine.copy() if c.me == c.root else c.room(c.length)
    return (buffer, c.root), buffer, c.every[c.root]


def reduce_(c: Collective) -> Made:
    result = c.room(c.length) if c.me == c.root else None
    return (
        (c.mine, result, c.op, c.root),
        result,
        c.reduced(c.every) if c.me == c.root else None,
    )


def allreduce(c: Collective) -> Made:
    result = c.room(c.length)
    return (c.mine, result, c.op), result, c.reduced(c.every)


def allreduce_in_place(c: Collective) -> Made:
    result = c.mine.copy()
    return (MPI.IN_PLACE, result, c.op), result, c.reduced(c.every)


def scan(c: Collective) -> Made:
    result = c.room(c.length)
    return (c.mine, result, c.op), result, c.reduced(c.every[: c.me + 1])


def exscan(c: Collective) -> Made:
    result = c.room(c.length)
    return (
        (c.mine, result, c.op),
        result,
        c.reduced(c.every[: c.me]) if c.me else None,
    )


def gather(c: Collective) -> Made:
    result = c.room(c.length * c.size) if c.me == c.root else None
    return (
        (c.mine, result, c.root),
        result,
        np.concatenate(c.every) if c.me == c.root else None,
    )


def allgather(c: Collective) -> Made:
    result = c.room(c.length * c.size)
    return (c.mine, result), result, np.concatenate(c.every)


def allgatherv(c: Collective) -> Made:
    lengths = [length if c.length else 0 for length in c.lengths]
    given = [np.resize(a, n) for a, n in zip(c.every, lengths, strict=True)]
    result = c.room(sum(lengths))
    return (given[c.me], [result, lengths]), result, np.concatenate(given)


def gatherv(c: Collective) -> Made:
    (given, room), result, expected = allgatherv(c)
    here = c.me == c.root
    return (given, room if here else None, c.root), result, expected if here else None


def scatter(c: Collective) -> Made:
    given = c.blocks(c.root) if c.me == c.root else None
    result = c.room(c.length)
    return (given, result, c.root), result, c.part(c.root, c.me)


def alltoall(c: Collective) -> Made:
    result = c.room(c.length * c.size)
    parts = [c.part(rank, c.me) for rank in range(c.size)]
    return (c.blocks(c.me), result), result, np.concatenate(parts)


def alltoallv(c: Collective) -> Made:
    counts = [c.length] * c.size
    result = c.room(c.length * c.size)
    parts = [c.part(rank, c.me) for rank in range(c.size)]
    return ([c.blocks(c.me), counts], [result, counts]), result, np.concatenate(parts)


def reduce_scatter_block(c: Collective) -> Made:
    result = c.room(c.length)
    parts = [c.part(rank, c.me) for rank in range(c.size)]
    return (c.blocks(c.me), result, c.op), result, c.reduced(parts)


def reduce_scatter(c: Collective) -> Made:
    result = c.room(c.lengths[c.me])
    total = sum(c.lengths)
    fill = [np.resize(a, total) if c.length else c.room(total) for a in c.every]
    start = sum(c.lengths[: c.me])
    expected = c.reduced(fill)[start : start + c.lengths[c.me]]
    return (fill[c.me], result, c.lengths, c.op), result, expected


def barrier(c: Collective) -> Made:
    return (), None, None


COLLECTIVES: tuple[tuple[str, Callable[[Collective], Made]], ...] = (
    ("Bcast", bcast),
    ("Reduce", reduce_),
    ("Allreduce", allreduce),
    ("Allreduce", allreduce_in_place),
    ("Scan", scan),
    ("Exscan", exscan),
    ("Gather", gather),
    ("Gatherv", gatherv),
    ("Allgather", allgather),
    ("Allgatherv", allgatherv),
    ("Scatter", scatter),
    ("Alltoall", alltoall),
    ("Alltoallv", alltoallv),
    ("Reduce_scatter_block", reduce_scatter_block),
    ("Reduce_scatter", reduce_scatter),
    ("Barrier", barrier),
)


def main() -> int:
    seed, steps = int(sys.argv[1]), int(sys.argv[2])
    program = Program(seed, "--say" in sys.argv)
    try:
        program.run(steps)
    except BaseException:
        print(f"seed {seed}, rank {program.rank}: {program.what}", flush=True)
        raise
    done = MPI.COMM_WORLD.allreduce(1)
    if program.rank == 0:
        print(f"{steps} steps on {done} ranks", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
