"""Many kinds of calls, each again and again: memory and descriptors stay as they are.

    phalanx run -n 2 python loops.py messages        python loops.py pools

After a warm-up each kind runs in rounds of equally many turns. It fails when resident
memory grows in every round by more than `MOST` of what it was, or when there are more
descriptors than after the warm-up. What is allocated once, however late, passes.
"""

import ctypes
import gc
import os
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

MOST = 0.003  # of the resident memory, in each round
ROUNDS = 4

# Of each kind: its name, how many turns make a round, what it does.
Kind = tuple[str, int, Callable[[], object]]

_trim = ctypes.CDLL(None).malloc_trim


def resident() -> int:
    gc.collect()
    _trim(0)
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def look(name: str, turns: int, function: Callable[[], object]) -> str | None:
    """Run one kind; return what is wrong with it."""

    def round_() -> None:
        for _ in range(turns):
            function()

    round_()
    opened = descriptors()
    before = resident()
    sizes = [before]
    grown = 0
    for _ in range(ROUNDS):
        round_()
        sizes.append(resident())
        grown += sizes[-1] - sizes[-2] > MOST * before
    if grown == ROUNDS:
        text = ", ".join(f"{size / 2**20:.1f}" for size in sizes)
        return f"{name}: {text} MiB after every {turns} turns"
    if descriptors() > opened:
        return f"{name}: {opened} descriptors became {descriptors()}"
    return None


def messages() -> list[Kind]:
    from mpi4py import MPI

    comm = MPI.COMM_WORLD
    me, size = comm.rank, comm.size
    other, before = (me + 1) % size, (me - 1) % size
    tiny, room = np.zeros(4), np.zeros(4)
    big, big_room = np.zeros(100_000), np.zeros(100_000)
    every, every_room = np.zeros(4 * size), np.zeros(4 * size)
    thing = {"a": [1, 2.5, "text"], "b": (None, True)}
    group, info = comm.Get_group(), MPI.Info.Create()

    def exchange(data: Any, into: Any) -> None:
        request = comm.Isend(data, other)
        comm.Recv(into, before)
        request.Wait()

    def persistent() -> None:
        both = [comm.Send_init(tiny, other), comm.Recv_init(room, before)]
        for _ in range(2):
            MPI.Prequest.Startall(both)
            MPI.Request.Waitall(both)
        for request in both:
            request.Free()

    def partitioned(rounds: int) -> None:
        both = [comm.Psend_init(tiny, 2, other, 5), comm.Precv_init(room, 4, before, 5)]
        for _ in range(rounds):
            MPI.Prequest.Startall(both)
            both[0].Pready_range(0, 1)
            MPI.Request.Waitall(both)
        for request in both:
            request.Free()

    def cancelled() -> None:
        request = comm.Irecv(room, before, 999)
        request.Cancel()
        request.Wait()

    def matched() -> None:
        request = comm.Isend(tiny, other)
        comm.Mprobe(before).Recv(room)
        request.Wait()

    def buffered() -> None:
        MPI.Attach_buffer(bytearray(2000))
        comm.Bsend(tiny, other)
        comm.Recv(room, before)
        MPI.Detach_buffer()

    def objects(data: Any) -> Any:
        request = comm.isend(data, other)
        got = comm.recv(source=before)
        request.wait()
        return got

    def waited(data: Any) -> Any:
        request = comm.irecv(source=before)
        sent = comm.isend(data, other)
        got = request.wait()
        sent.wait()
        return got

    lengths = [(n * 7919) % 90_000 for n in range(40)]

    def mixed() -> None:
        for length in lengths:
            objects(np.zeros(length))

    def nonblocking() -> None:
        MPI.Request.Waitall(
            [comm.Iallreduce(tiny, room), comm.Ibcast(every), comm.Ibarrier()]
        )

    def persistent_collective() -> None:
        request = comm.Allreduce_init(tiny, room)
        request.Start()
        request.Wait()
        request.Free()

    def merged() -> None:
        part = comm.Split(me % 2)
        both = part.Create_intercomm(0, comm, (me + 1) % 2) if size == 2 else None
        if both is not None:
            whole = both.Merge()
            whole.Free()
            both.Free()
        part.Free()

    def free(made: Any) -> None:
        made.Free()

    def datatype() -> None:
        kind = MPI.DOUBLE.Create_vector(3, 1, 2).Commit()
        nested = MPI.Datatype.Create_struct([1, 2], [0, 64], [kind, MPI.INT])
        nested.Get_contents()
        nested.Free()
        kind.Free()

    def packed() -> None:
        space = bytearray(100)
        MPI.DOUBLE.Pack(tiny, space, 0, comm)
        MPI.DOUBLE.Unpack(space, 0, room, comm)

    def operation() -> None:
        op = MPI.Op.Create(lambda a, b, kind: None, commute=True)
        comm.Allreduce(tiny, room, op)
        op.Free()

    def described() -> None:
        with_info = MPI.Info.Create()
        with_info.Set("key", "value")
        with_info.Dup().Free()
        with_info.Free()

    def attribute() -> None:
        keyval = MPI.Comm.Create_keyval(
            copy_fn=lambda c, k, v: v, delete_fn=lambda c, k, v: None
        )
        new = comm.Dup()
        new.Set_attr(keyval, [1, 2, 3])
        new.Dup().Free()
        new.Free()
        MPI.Comm.Free_keyval(keyval)

    def handler() -> None:
        made = MPI.Comm.Create_errhandler(lambda c, code: None)
        old = comm.Get_errhandler()
        comm.Set_errhandler(made)
        comm.Set_errhandler(old)
        made.Free()

    def groups() -> None:
        part = group.Incl([0])
        whole = MPI.Group.Union(part, group)
        MPI.Group.Translate_ranks(whole, list(range(size)), part)
        part.Free()
        whole.Free()

    def refused() -> None:
        for call in (
            lambda: comm.Send(tiny, size + 5),
            lambda: comm.Bcast(tiny, -3),
            lambda: MPI.Datatype.Create_vector(MPI.INT, -1, 1, 1),
            lambda: comm.Send([tiny, 100, MPI.DOUBLE], other),
        ):
            try:
                call()
            except Exception:
                continue
            raise AssertionError("not refused")

    def does_not_pickle() -> None:
        try:
            comm.isend(lambda: 0, other)
        except Exception:
            return
        raise AssertionError("pickled")

    def session() -> None:
        one = MPI.Session.Init()
        part = one.Create_group("mpi://SELF")
        part.Free()
        one.Finalize()

    def generalized() -> None:
        request = MPI.Grequest.Start(lambda s: None, lambda: None, lambda c: None)
        request.Complete()
        request.Wait()

    def memory() -> None:
        MPI.Free_mem(MPI.Alloc_mem(100_000))

    return [
        ("Send and Recv of 32 bytes", 500, lambda: exchange(tiny, room)),
        ("Send and Recv of 800 kB", 33, lambda: exchange(big, big_room)),
        ("Sendrecv", 333, lambda: comm.Sendrecv(tiny, other, 0, room, before)),
        ("persistent messages", 166, persistent),
        ("partitioned messages", 166, lambda: partitioned(2)),
        ("partitioned messages that are never started", 166, lambda: partitioned(0)),
        ("Cancel", 333, cancelled),
        ("Mprobe and Mrecv", 333, matched),
        ("Bsend", 166, buffered),
        ("send of a dict", 333, lambda: objects(thing)),
        ("send of 800 kB", 16, lambda: objects(big)),
        ("send of 8 MB", 3, lambda: objects(np.zeros(1_000_000))),
        ("irecv().wait() of a dict", 333, lambda: waited(thing)),
        ("irecv().wait() of 800 kB", 16, lambda: waited(big)),
        ("send of arrays of mixed sizes", 3, mixed),
        ("send of bytes", 50, lambda: objects(bytes(50_000))),
        ("Barrier", 333, comm.Barrier),
        ("Bcast", 333, lambda: comm.Bcast(tiny)),
        ("Bcast of 800 kB", 16, lambda: comm.Bcast(big)),
        ("Reduce", 333, lambda: comm.Reduce(tiny, room)),
        ("Allreduce", 333, lambda: comm.Allreduce(tiny, room)),
        ("Allreduce of 800 kB", 16, lambda: comm.Allreduce(big, big_room)),
        ("Gather", 333, lambda: comm.Gather(tiny, every_room)),
        ("Scatter", 333, lambda: comm.Scatter(every, room)),
        ("Allgather", 333, lambda: comm.Allgather(tiny, every_room)),
        ("Alltoall", 333, lambda: comm.Alltoall(every, every_room)),
        ("Scan", 333, lambda: comm.Scan(tiny, room)),
        ("nonblocking collectives", 166, nonblocking),
        ("persistent collectives", 83, persistent_collective),
        ("bcast", 333, lambda: comm.bcast(thing)),
        ("bcast of 800 kB", 16, lambda: comm.bcast(big)),
        ("gather", 166, lambda: comm.gather(thing)),
        ("scatter", 166, lambda: comm.scatter([thing] * size)),
        ("allgather", 166, lambda: comm.allgather(thing)),
        ("alltoall", 166, lambda: comm.alltoall([thing] * size)),
        ("allreduce of objects", 166, lambda: comm.allreduce([1])),
        ("allreduce of 800 kB", 8, lambda: comm.allreduce(big)),
        ("Dup", 83, lambda: free(comm.Dup())),
        ("Split", 83, lambda: free(comm.Split(me % 2))),
        ("Create_group", 83, lambda: free(comm.Create_group(group))),
        ("intercommunicators", 33, merged),
        ("Create_cart", 83, lambda: free(comm.Create_cart([size]))),
        (
            "Create_dist_graph",
            80,
            lambda: free(comm.Create_dist_graph_adjacent([before], [other])),
        ),
        ("datatypes", 166, datatype),
        ("Pack", 333, packed),
        ("operations", 166, operation),
        ("Info", 333, described),
        ("attributes", 83, attribute),
        ("error handlers", 333, handler),
        ("groups", 333, groups),
        ("calls that are refused", 166, refused),
        ("objects that do not pickle", 166, does_not_pickle),
        ("sessions", 50, session),
        ("generalized requests", 333, generalized),
        ("Alloc_mem", 166, memory),
        ("names of errors", 333, lambda: MPI.Get_error_string(info.Get_nkeys())),
    ]


def nothing() -> None:
    """What a process runs that only starts."""


def same(value: Any) -> Any:
    return value


def pools() -> list[Kind]:
    import phalanx.multiprocessing as mp
    from phalanx import shared
    from phalanx.futures import ProcessPoolExecutor

    ctx = mp.get_context("fork")
    queue, simple, lock = ctx.Queue(), ctx.SimpleQueue(), ctx.Lock()
    event, pool = ctx.Event(), ctx.Pool(2)
    big = np.zeros(100_000)

    def through(where: Any, value: Any) -> None:
        where.put(value)
        where.get()

    def locked() -> None:
        with lock:
            event.set()
            event.wait()
            event.clear()

    def process() -> None:
        child = ctx.Process(target=nothing)
        child.start()
        child.join()
        child.close()

    def another_pool() -> None:
        with ctx.Pool(2) as made:
            made.map(same, range(4))

    def executor() -> None:
        with ProcessPoolExecutor(2) as made:
            made.submit(same, 1).result()

    def fails() -> None:
        try:
            pool.apply(int, ("x",))
        except ValueError:
            return
        raise AssertionError("not raised")

    def made_anew() -> None:
        through(ctx.Queue(), 1)
        ctx.Lock()
        ctx.Barrier(2)
        ctx.Condition()
        ctx.Semaphore(3)

    return [
        ("Queue", 500, lambda: through(queue, {"a": 1})),
        ("Queue with 800 kB", 33, lambda: through(queue, big)),
        ("SimpleQueue", 500, lambda: through(simple, "text")),
        ("queues and locks made anew", 83, made_anew),
        ("Lock and Event", 500, locked),
        ("Pool.map", 16, lambda: pool.map(same, range(100))),
        ("Pool.map of 800 kB", 3, lambda: pool.map(same, [big] * 4)),
        ("Pool.apply", 83, lambda: pool.apply(same, (1,))),
        ("Pool.apply that raises", 50, fails),
        ("Pool.imap", 8, lambda: list(pool.imap(same, range(100)))),
        ("lambdas", 33, lambda: pool.map(lambda x: x + 1, [1])),
        ("Process", 5, process),
        ("Pool", 3, another_pool),
        ("ProcessPoolExecutor", 3, executor),
        ("shared arrays", 83, lambda: shared.zeros(10_000)),
    ]


def main() -> int:
    kinds = messages() if sys.argv[1] == "messages" else pools()
    chosen = sys.argv[2:]
    good = bad = 0
    for name, turns, function in kinds:
        if chosen and name not in chosen:
            continue
        wrong = look(name, turns, function)
        good += wrong is None
        if wrong is not None:
            bad += 1
            print(f"grows: {wrong}", flush=True)
    print(f"{good} kinds stay as they are, {bad} grow", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
