"""Data of drawn sizes, places and types, by message and collective, in every way."""

import unittest

from moving import SEED, WAYS, MovesCase, times

DRAWN = """
draw = random.Random({seed})  # the same draws on all ranks
FILLER = 0xEE

def fill(size, seed):
    return bytearray(random.Random(seed).randbytes(size))

class Layout:
    # Which bytes of each extent belong to the data, as a type of MPI and as a model.
    def __init__(self, bytes_each):
        self.each = bytes_each
        self.kind = draw.choice(("plain", "vector", "struct", "indexed"))
        gaps = 0 if self.kind == "plain" else draw.randrange(1, 7)
        self.extent = bytes_each + gaps
        at = sorted(draw.sample(range(self.extent), bytes_each))
        if self.kind in ("plain", "vector"):
            at = list(range(bytes_each))
        self.at = at
        if self.kind == "struct":
            made = MPI.BYTE.Create_struct([1] * len(at), at, [MPI.BYTE] * len(at))
        elif self.kind == "indexed":
            made = MPI.BYTE.Create_indexed([1] * len(at), at)
        else:
            made = MPI.BYTE.Create_contiguous(bytes_each)
        self.type = made.Create_resized(0, self.extent).Commit()
        made.Free()
        self.skip = draw.randrange(64)

    def room(self, count):
        return bytearray([FILLER]) * (self.skip + count * self.extent + 64)

    def argument(self, room, count):
        return [memoryview(room)[self.skip :], count, self.type]

    def lay(self, packed, count):
        room = self.room(count)
        for turn, at in enumerate(self.at):
            first = self.skip + at
            last = first + (count - 1) * self.extent + 1
            if count:
                room[first : last : self.extent] = packed[turn :: self.each]
        return room

def pair(source, dest, what):
    each = draw.choice((1, 1, 3, 8, 13))
    count = int(2 ** draw.uniform(0, 21)) // each
    mine, theirs = Layout(each), Layout(each)
    number = draw.getrandbits(32)
    packed = fill(each * count, number)
    if me == source:
        data = mine.lay(packed, count)
        later = lambda *a: comm.Isend(*a).Wait()
        call = draw_of_call.choice((comm.Send, comm.Ssend, later))
        call(mine.argument(data, count), dest)
        demand(data, mine.lay(packed, count), f"the sender's own of {{what}}")
    if me == dest:
        room = theirs.room(count)
        comm.Recv(theirs.argument(room, count), source)
        kinds = f"{{what}}: {{mine.kind}} to {{theirs.kind}}"
        demand(room, theirs.lay(packed, count), kinds)
    mine.type.Free()
    theirs.type.Free()

def together(what):
    size, root = int(2 ** draw.uniform(0, 20.5)), draw.randrange(n)
    operation = draw.choice(("bcast", "gather", "scatter", "allgather", "alltoall",
                             "allreduce", "reduce", "scan", "reduce_scatter"))
    skips = [draw.randrange(64) for _ in range(2 * n)]
    numbers = [draw.getrandbits(32) for _ in range(n)]
    def place(size, which):
        room = bytearray([FILLER]) * (size + 64 + skips[which])
        return room, memoryview(room)[skips[which] :][:size]
    def put(packed):
        room, view = place(len(packed), me)
        view[:] = packed
        return [view, len(packed), MPI.BYTE]
    if operation in ("alltoall", "scatter"):
        every = [fill(size * n, number) for number in numbers]
    else:
        every = [fill(size, number) for number in numbers]
    slot = slice(me * size, (me + 1) * size)
    def xor(ranks):
        total = 0
        for rank in ranks:
            total ^= int.from_bytes(every[rank], "little")
        return total.to_bytes(size, "little")
    blocks = n if operation in ("gather", "allgather", "alltoall") else 1
    got = place(size * blocks, n + me)
    given, want = put(every[me]), None
    if operation == "bcast":
        got = place(size, me)
        if me == root:
            got[1][:] = every[root]
        comm.Bcast([got[1], size, MPI.BYTE], root)
        want = every[root]
    elif operation == "gather":
        comm.Gather(given, [got[1], size, MPI.BYTE] if me == root else None, root)
        want = b"".join(every) if me == root else None
    elif operation == "scatter":
        whole = [given[0], size, MPI.BYTE] if me == root else None
        comm.Scatter(whole, [got[1], size, MPI.BYTE], root)
        want = every[root][slot]
    elif operation == "allgather":
        comm.Allgather(given, [got[1], size, MPI.BYTE])
        want = b"".join(every)
    elif operation == "alltoall":
        comm.Alltoall([given[0], size, MPI.BYTE], [got[1], size, MPI.BYTE])
        want = b"".join(data[slot] for data in every)
    elif operation == "allreduce":
        comm.Allreduce(given, [got[1], size, MPI.BYTE], MPI.BXOR)
        want = xor(range(n))
    elif operation == "reduce":
        whole = [got[1], size, MPI.BYTE] if me == root else None
        comm.Reduce(given, whole, MPI.BXOR, root)
        want = xor(range(n)) if me == root else None
    elif operation == "scan":
        comm.Scan(given, [got[1], size, MPI.BYTE], MPI.BXOR)
        want = xor(range(me + 1))
    else:
        counts = [size // n + (rank < size % n) for rank in range(n)]
        got = place(counts[me], n + me)
        comm.Reduce_scatter(given, [got[1], counts[me], MPI.BYTE], counts, MPI.BXOR)
        want = xor(range(n))[sum(counts[:me]) :][: counts[me]]
    room, view = got
    if want is not None:
        demand(bytes(view), bytes(want), f"{{what}}: {{operation}} of {{size}}")
    skip = skips[me] if operation == "bcast" else skips[n + me]
    edges = room[:skip] + room[skip + len(view) :]
    assert edges.count(FILLER) == len(edges), f"{{what}}: {{operation}} wrote beside"

draw_of_call = random.Random({seed} + me)
for turn in range({turns}):
    what = f"turn {{turn}} of seed {seed}"
    if draw.random() < 0.5:
        source = draw.randrange(n)
        pair(source, (source + draw.randrange(1, n)) % n, what)
    else:
        together(what)
print("right", flush=True)
"""


class TestDrawn(MovesCase):
    def test_data_is_what_was_sent_and_nothing_beside_it_changes(self):
        def check(ways, ranks):
            script = DRAWN.format(seed=SEED + ranks, turns=times(150))
            ended = self.moving(ranks, script, ways).end()
            self.assertEqual(ended.status, 0, ended.text)
            self.assertEqual(ended.out.count("right"), ranks, ended.text)

        self.at_once(2, check, [(ways, ranks) for ways in WAYS for ranks in (2, 3)])


if __name__ == "__main__":
    unittest.main()
