"""Queues and pipes between two processes, and locks that nobody contends."""

from collections.abc import Callable, Iterator

from .measure import batches, demand


class PipeEnd:
    """A connection with the names of a queue."""

    def __init__(self, connection) -> None:
        self.put, self.get = connection.send, connection.recv


def serve(there, back) -> None:
    """The other process: answer until told to stop."""
    if not hasattr(there, "put"):
        there, back = PipeEnd(there), PipeEnd(back)
    get, put = there.get, back.put
    while (request := get()) is not None:
        if isinstance(request, tuple):  # stream so many numbers
            for number in range(request[0]):
                put(number)
        elif isinstance(request, int):
            put(request)
        else:
            put(float(request[0] + request[-1]))


def hop(there, back) -> list[float]:
    def run(count: int) -> None:
        for number in range(count):
            there.put(number)
            demand(back.get() == number, "hop")

    return [seconds / 2 for seconds in batches(run, 50)]


def stream(there, back) -> list[float]:
    def run(count: int) -> None:
        there.put((count,))
        get = back.get
        demand(sum(get() for _ in range(count)) == count * (count - 1) // 2, "ints")

    return batches(run, 2000)


def array(there, back) -> list[float]:
    import numpy as np

    thing = np.arange(1 << 17, dtype=np.float64)

    def run(count: int) -> None:
        for number in range(count):
            thing[0] = number
            there.put(thing)
            demand(back.get() == number + thing[-1], "array")

    return batches(run, 10)


def package_of(engine: str):
    if engine.startswith("Phalanx"):
        import phalanx.multiprocessing as package
    else:
        import multiprocessing as package
    return package


def lock(engine: str, kind: str) -> list[float]:
    thing = getattr(package_of(engine).get_context("fork"), kind)()
    acquire, release = thing.acquire, thing.release

    def run(count: int) -> None:
        for _ in range(count):
            acquire()
            release()

    demand(acquire(), kind)
    release()
    return batches(run, 10_000)


def columns(engine: str) -> Iterator[tuple[str, Callable]]:
    kind = engine.split()[1]
    if kind == "locks":
        for name in ("Lock", "RLock", "Semaphore"):
            yield name, lambda name=name: lock(engine, name)
        return
    context = package_of(engine).get_context("fork")
    if kind == "Pipe":
        near, far = context.Pipe()
        process = context.Process(target=serve, args=(far, far), daemon=True)
        process.start()
        there = back = PipeEnd(near)
    else:
        there, back = getattr(context, kind)(), getattr(context, kind)()
        process = context.Process(target=serve, args=(there, back), daemon=True)
        process.start()
    yield "hop", lambda: hop(there, back)
    yield "ints/s", lambda: stream(there, back)
    yield "1 MiB", lambda: array(there, back)
    there.put(None)
    process.join()
