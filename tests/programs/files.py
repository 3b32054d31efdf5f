"""Random reads and writes of one file, compared with a naive model.

    phalanx run -n RANKS python files.py SEED STEPS

All ranks draw the same program from the seed: in each step every rank has a view of its
own (any blocks, repeated) and writes a buffer with gaps or without. Either the ranks'
bytes differ and all write at once, or they overlap and the ranks take turns. The model
is an array of bytes and a list of places in it: afterwards the file is byte for byte
what the model says, and reads give what it has, up to the end of the file.
"""

import os
import random
import sys
import tempfile
from dataclasses import dataclass

import numpy as np
from mpi4py import MPI

ROOM = 1 << 20  # bytes of the model: no place is beyond


@dataclass
class View:
    """Blocks of a file, in bytes, repeated each `extent` bytes from `start` on."""

    start: int
    blocks: list[tuple[int, int]]
    extent: int
    item: MPI.Datatype

    def places(self, count: int) -> np.ndarray:
        """Where the first `count` bytes of the view are."""
        tile = np.concatenate([np.arange(at, at + n) for at, n in self.blocks])
        tiles = np.arange(-(-count // len(tile)))[:, None] * self.extent
        every: np.ndarray = (self.start + tiles + tile).reshape(-1)
        return every[:count]

    def set(self, file: MPI.File) -> None:
        """Makes it the view of a file."""
        size = self.item.Get_size()
        raw = self.item.Create_hindexed(
            [n // size for _, n in self.blocks], [at for at, _ in self.blocks]
        )
        filetype = raw.Create_resized(0, self.extent).Commit()
        file.Set_view(self.start, self.item, filetype)
        filetype.Free()
        raw.Free()


def draw(dice: random.Random, ranks: int, apart: bool) -> list[View]:
    """A view for each rank; with `apart`, no byte belongs to two."""
    item = dice.choice((MPI.BYTE, MPI.INT16_T, MPI.INT32_T, MPI.DOUBLE))
    size = item.Get_size()
    if apart:
        block = dice.choice((1, 2, 5, 64)) * size
        gap = dice.choice((0, 0, size, 100 * size))
        extent, start = (block + gap) * ranks, dice.randrange(100)
        return [
            View(start + r * (block + gap), [(0, block)], extent, item)
            for r in range(ranks)
        ]
    views = []
    for _ in range(ranks):
        at, blocks = 0, []
        for _ in range(dice.randint(1, 5)):
            at += dice.choice((0, 1, 3, 40)) * size
            n = dice.choice((1, 1, 2, 9, 200)) * size
            blocks.append((at, n))
            at += n
        extent = at + dice.choice((0, 0, 5)) * size
        views.append(View(dice.randrange(3000), blocks, extent, item))
    return views


def spread(view: View, dice: random.Random) -> int:
    """How far apart items lie in memory, in items."""
    return dice.choice((1, 1, 2, 3))


def memory(view: View, items: int, step: int) -> tuple[np.ndarray, MPI.Datatype]:
    """Room for items that are `step` items apart, and the type that says so."""
    size = view.item.Get_size()
    kind = view.item.Create_resized(0, step * size).Commit()
    return np.zeros(max(items * step * size, 1), np.uint8), kind


def run_step(dice: random.Random, file: MPI.File, path: str, model: np.ndarray) -> None:
    """Everybody writes, and reads what another one sees."""
    comm, end = MPI.COMM_WORLD, 0
    apart = dice.random() < 0.5
    views = draw(dice, comm.size, apart)
    before = [dice.choice((0, 0, 1, 17)) for _ in views]
    lengths = [dice.choice((0, 1, 3, 50, 400)) for _ in views]
    steps = [spread(view, dice) for view in views]
    data = [
        np.frombuffer(dice.randbytes(n * v.item.Get_size()), np.uint8)
        for n, v in zip(lengths, views, strict=True)
    ]
    form = dice.choice(("at", "own", "all", "begun", "later"))
    mine = views[comm.rank]
    mine.set(file)
    size, items, step = mine.item.Get_size(), lengths[comm.rank], steps[comm.rank]
    room, kind = memory(mine, items, step)
    room.reshape(-1)[: items * step * size].reshape(items, step * size)[:, :size] = (
        data[comm.rank].reshape(items, size)
    )
    for turn in [None] if apart else range(comm.size):
        if turn is None or turn == comm.rank:
            buffer, offset = [room, items, kind], before[comm.rank]
            if form in ("own", "all") and apart:
                file.Seek(offset)
                (file.Write_all if form == "all" else file.Write)(buffer)
            elif form == "begun" and apart:
                file.Write_at_all_begin(offset, buffer)
                file.Write_at_all_end(buffer)
            elif form == "later":
                file.Iwrite_at(offset, buffer).Wait()
            else:
                file.Write_at(offset, buffer)
        comm.Barrier()
    for view, skip, written in zip(views, before, data, strict=True):
        skipped = skip * view.item.Get_size()
        places = view.places(skipped + len(written))[skipped:]
        model[places] = written
        end = max(end, int(places[-1]) + 1 if len(places) else 0)
    file.Sync()
    end = max(end, file.Get_size())
    found = np.fromfile(path, np.uint8)
    if not np.array_equal(found, model[: len(found)]) or len(found) != end:
        wrong = np.flatnonzero(found != model[: len(found)])[:3]
        raise AssertionError(f"the file differs at {wrong}, {len(found)} of {end}")
    # Read through another rank's view, perhaps beyond the end.
    other = views[(comm.rank + 1) % comm.size]
    other.set(file)
    size, items = other.item.Get_size(), dice.choice((5, 300, 900))
    room, kind = memory(other, items, step)
    status = MPI.Status()
    file.Read_at(0, [room, items, kind], status)
    places = other.places(items * size)
    expected = model[places[places < len(found)]]
    got = room[: items * step * size].reshape(items, step * size)[:, :size].reshape(-1)
    count = status.Get_elements(MPI.BYTE)
    if count != len(expected) or not np.array_equal(got[:count], expected):
        raise AssertionError(
            f"read {count} bytes instead of {len(expected)}, or others"
        )
    comm.Barrier()


def main() -> None:
    seed, steps = int(sys.argv[1]), int(sys.argv[2])
    comm = MPI.COMM_WORLD
    dice = random.Random(seed)
    folder = tempfile.mkdtemp() if comm.rank == 0 else None
    path = os.path.join(comm.bcast(folder), "file")
    mode = MPI.MODE_RDWR | MPI.MODE_CREATE | MPI.MODE_DELETE_ON_CLOSE
    file = MPI.File.Open(comm, path, mode)
    model = np.zeros(ROOM * comm.size, np.uint8)
    for step in range(steps):
        if dice.random() < 0.1:
            file.Set_atomicity(not file.Get_atomicity())
        try:
            run_step(dice, file, path, model)
        except Exception:
            print(f"seed {seed}, step {step}, rank {comm.rank}", flush=True)
            raise
    file.Close()
    if comm.rank == 0:
        os.rmdir(os.path.dirname(path))
        print(f"{steps} steps on {comm.size} ranks")


if __name__ == "__main__":
    main()
