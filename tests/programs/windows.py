"""Random one-sided operations on one window, compared with a naive model.

    phalanx run -n RANKS python windows.py SEED STEPS

All ranks draw the same program from the seed. A window has other sizes and units on
each rank. In each step every rank writes, combines or reads elements of some other
rank, between synchronizations of one kind; ranks that write at once have stripes of
their own, ranks that combine share all elements. The model is the memory of each rank
as an array: afterwards it is element for element what the model says.
"""

import random
import sys
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

TYPES = ("i2", "i4", "i8", "u1", "u4", "f4", "f8")
COMBINE = {
    "SUM": np.add,
    "MIN": np.minimum,
    "MAX": np.maximum,
    "BAND": np.bitwise_and,
    "BXOR": np.bitwise_xor,
}
STRIPE = 64  # elements of each rank in the memory of each other one


@dataclass
class Move:
    """What one rank does: elements `step` apart, from the first on."""

    target: int
    first: int
    count: int
    step: int
    data: np.ndarray

    def places(self) -> np.ndarray:
        """Where the elements are in the target's memory."""
        return self.first + np.arange(self.count) * self.step


class Part:
    """The window, and what all ranks think is in it."""

    def __init__(self, dice: random.Random) -> None:
        comm = MPI.COMM_WORLD
        self.code = dice.choice(TYPES)
        self.item: MPI.Datatype = MPI.Datatype.fromcode(np.dtype(self.code).char)
        size = np.dtype(self.code).itemsize
        length = STRIPE * comm.size
        self.kind = dice.choice(("allocate", "shared", "create", "dynamic"))
        dynamic = self.kind == "dynamic"
        choices = (1,) if dynamic else (1, size, size)
        units = [dice.choice(choices) for _ in range(comm.size)]
        self.scale = [size // unit for unit in units]
        self.start = [0] * comm.size
        unit, nbytes = units[comm.rank], length * size
        if dynamic:
            self.memory = np.zeros(length, self.code)
            self.win = MPI.Win.Create_dynamic(comm=comm)
            self.attach(dice.choice((1, 2, 5)))
            self.start = comm.allgather(MPI.Get_address(self.memory))
        elif self.kind == "create":
            self.memory = np.zeros(length, self.code)
            self.win = MPI.Win.Create(self.memory, unit, comm=comm)
        else:
            shared = self.kind == "shared"
            make = MPI.Win.Allocate_shared if shared else MPI.Win.Allocate
            self.win = make(nbytes, unit, comm=comm)
            self.memory = np.frombuffer(self.win.tomemory(), self.code)
            self.memory[:] = 0
        self.model = np.zeros((comm.size, length), self.code)
        comm.Barrier()

    def attach(self, parts: int) -> None:
        """Attaches the memory in so many parts, one of which is gone for a while."""
        pieces = [piece for piece in np.array_split(self.memory, parts) if len(piece)]
        for piece in pieces:
            self.win.Attach(piece)
        self.win.Detach(pieces[0])
        self.win.Attach(pieces[0])

    def place(self, target: int, element: int) -> int:
        """Where an element of a rank is, in its units."""
        return self.start[target] + element * self.scale[target]

    def draw(self, dice: random.Random, rank: int, own_stripe: bool) -> Move:
        """A move of a rank, within its stripe or anywhere."""
        low, room = (rank * STRIPE, STRIPE) if own_stripe else (0, self.model.shape[1])
        step = dice.choice((1, 1, 1, 2, 5))
        count = dice.choice((0, 1, 2, 7, room // step))
        first = low + dice.randrange(room - max(count - 1, 0) * step)
        data = np.array([dice.randrange(100) for _ in range(count)], self.code)
        return Move(dice.randrange(self.model.shape[0]), first, count, step, data)

    def at(self, move: Move) -> tuple[int, int, MPI.Datatype]:
        """Displacement, count and type of the elements of a move."""
        kind = self.item.Create_vector(move.count, 1, move.step).Commit()
        return self.place(move.target, move.first), 1, kind

    def synchronized(self, style: str, target: int, act) -> None:
        """Carries `act` out in an epoch of a kind, and waits for all ranks."""
        win, comm = self.win, MPI.COMM_WORLD
        if style == "fence":
            win.Fence()
            act()
            win.Fence()
        elif style == "lock":
            win.Lock(target, MPI.LOCK_EXCLUSIVE)
            act()
            win.Unlock(target)
            comm.Barrier()
        elif style == "shared":
            win.Lock(target, MPI.LOCK_SHARED)
            act()
            win.Flush(target)
            win.Unlock(target)
            comm.Barrier()
        elif style == "all":
            win.Lock_all()
            act()
            win.Flush_all()
            win.Unlock_all()
            comm.Barrier()
        else:
            group = win.Get_group()
            win.Post(group)
            win.Start(group)
            act()
            win.Complete()
            win.Wait()
            group.Free()
            comm.Barrier()

    def check(self, what: str) -> None:
        """This rank's memory is what the model says."""
        self.win.Lock(MPI.COMM_WORLD.rank, MPI.LOCK_SHARED)
        here = self.memory.copy()
        self.win.Unlock(MPI.COMM_WORLD.rank)
        if not np.array_equal(here, self.model[MPI.COMM_WORLD.rank]):
            wrong = np.flatnonzero(here != self.model[MPI.COMM_WORLD.rank])[:4]
            raise AssertionError(f"{what}: {self.kind} {self.code} differs at {wrong}")
        MPI.COMM_WORLD.Barrier()


def demand(good: bool, what: str) -> None:
    if not good:
        raise AssertionError(what)


def write(dice: random.Random, part: Part, style: str) -> None:
    """All put at once, each into a stripe of its own."""
    comm, win = MPI.COMM_WORLD, part.win
    moves = [part.draw(dice, rank, own_stripe=True) for rank in range(comm.size)]
    later = dice.random() < 0.3 and style in ("lock", "shared", "all")
    mine = moves[comm.rank]

    def act() -> None:
        target = part.at(mine)
        if later:
            win.Rput(mine.data, mine.target, target).Wait()
        else:
            win.Put(mine.data, mine.target, target)
        target[2].Free()

    part.synchronized(style, mine.target, act)
    for move in moves:
        part.model[move.target, move.places()] = move.data


def read(dice: random.Random, part: Part, style: str) -> None:
    """All get at once, from anywhere."""
    comm, win = MPI.COMM_WORLD, part.win
    moves = [part.draw(dice, rank, own_stripe=False) for rank in range(comm.size)]
    mine = moves[comm.rank]
    room = np.full(mine.count, 77, part.code)

    def act() -> None:
        target = part.at(mine)
        win.Get(room, mine.target, target)
        target[2].Free()

    part.synchronized(style, mine.target, act)
    demand(
        np.array_equal(room, part.model[mine.target, mine.places()]),
        f"Get gave {room} from {mine}",
    )


def combine(dice: random.Random, part: Part, style: str) -> None:
    """All combine at once into the same elements, by one operation."""
    comm, win = MPI.COMM_WORLD, part.win
    names = [n for n in COMBINE if part.code[0] != "f" or not n.startswith("B")]
    name = dice.choice(names)
    moves = [part.draw(dice, rank, own_stripe=False) for rank in range(comm.size)]
    mine = moves[comm.rank]

    def act() -> None:
        target = part.at(mine)
        win.Accumulate(mine.data, mine.target, target, getattr(MPI, name))
        target[2].Free()

    part.synchronized(style, mine.target, act)
    with np.errstate(over="ignore"):
        for move in moves:
            row, at = part.model[move.target], move.places()
            row[at] = COMBINE[name](row[at], move.data)


def exchange(dice: random.Random, part: Part, style: str) -> None:
    """All combine into stripes of their own and get what was there."""
    comm, win = MPI.COMM_WORLD, part.win
    moves = [part.draw(dice, rank, own_stripe=True) for rank in range(comm.size)]
    mine, name = moves[comm.rank], dice.choice(("SUM", "REPLACE", "NO_OP"))
    room = np.full(mine.count, 77, part.code)

    def act() -> None:
        target = part.at(mine)
        op = getattr(MPI, name)
        win.Get_accumulate(mine.data, room, mine.target, target, op)
        target[2].Free()

    part.synchronized(style, mine.target, act)
    before = part.model[mine.target, mine.places()]
    demand(np.array_equal(room, before), f"Get_accumulate gave {room}, not {before}")
    for move in moves:
        row, at = part.model[move.target], move.places()
        if name == "REPLACE":
            row[at] = move.data
        elif name == "SUM":
            with np.errstate(over="ignore"):
                row[at] = row[at] + move.data


def count(dice: random.Random, part: Part, style: str) -> None:
    """All draw numbers from one counter, and no number is drawn twice."""
    comm, win = MPI.COMM_WORLD, part.win
    target, place = dice.randrange(comm.size), dice.randrange(part.model.shape[1])
    start, turns = int(dice.randrange(4)), dice.choice((1, 4))
    swaps = part.code[0] != "f" and dice.random() < 0.5
    if comm.rank == target:
        win.Lock(target)
        part.memory[place] = start
        win.Unlock(target)
    comm.Barrier()
    one, old = np.ones(1, part.code), np.zeros(1, part.code)
    at, drawn = part.place(target, place), []

    def act() -> None:
        for _ in range(turns):
            if not swaps:
                win.Fetch_and_op(one, old, target, at, MPI.SUM)
                win_flush(win, target, style)
                drawn.append(int(old[0]))
                continue
            seen = np.full(1, start, part.code)
            while True:
                win.Compare_and_swap(seen + one, seen, old, target, at)
                win_flush(win, target, style)
                if old[0] == seen[0]:
                    break
                seen = old.copy()
            drawn.append(int(old[0]))

    part.synchronized(style, target, act)
    every = sorted(n for numbers in comm.allgather(drawn) for n in numbers)
    wanted = list(range(start, start + turns * comm.size))
    demand(every == wanted, f"drew {every}, not {wanted}")
    part.model[target, place] = start + turns * comm.size


def win_flush(win: MPI.Win, target: int, style: str) -> None:
    if style in ("lock", "shared", "all"):
        win.Flush(target)


def main() -> None:
    seed, steps = int(sys.argv[1]), int(sys.argv[2])
    comm, dice = MPI.COMM_WORLD, random.Random(seed)
    part = Part(dice)
    for step in range(steps):
        if dice.random() < 0.15:
            part.win.Free()
            part = Part(dice)
        act = dice.choice((write, read, combine, exchange, count))
        styles = (
            ("lock", "shared", "all")
            if act is count
            else ("fence", "lock", "shared", "all", "post")
        )
        style = dice.choice(styles)
        what = f"seed {seed}, step {step} ({act.__name__}, {style}), rank {comm.rank}"
        try:
            act(dice, part, style)
            part.check(what)
        except Exception:
            print(what, flush=True)
            raise
    part.win.Free()
    if comm.rank == 0:
        print(f"{steps} steps on {comm.size} ranks")


if __name__ == "__main__":
    main()
