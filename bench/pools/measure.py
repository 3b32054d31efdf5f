"""Measure some columns under one engine; print JSON lines.

    python -m pools.measure ENGINE COLUMN ...

A line says which column begins, another one its seconds per operation in
several batches (or a word instead). Results are checked: a wrong one ends the
program with an error.
"""

import importlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

from batches import batches, demand

from . import adapters, tasks

LOST_LIMIT = 3.0  # a lost worker that nobody noticed by then is never noticed


def tasks_per_second(pool) -> list[float]:
    def run(count: int) -> None:
        demand(pool.map(tasks.same, range(count)) == list(range(count)), "map")

    return batches(run, 200)


def round_trip(pool) -> list[float]:
    def run(count: int) -> None:
        for number in range(count):
            demand(pool.call(tasks.same, number) == number, "apply")

    return batches(run, 20)


def big_array(pool, function, expected: Callable) -> list[float]:
    import numpy as np

    array = np.arange(8 << 20, dtype=np.float64)
    wanted = expected(array.copy())

    def run(count: int) -> None:
        for _ in range(count):
            result = pool.call(function, array)
            demand(result[-1] == wanted[-1], "array")

    demand(np.array_equal(pool.call(function, array), wanted), "array")
    demand(array[0] == 0, "the argument was changed")
    return batches(run)


def start_and_end(make: Callable) -> list[float]:
    def run(count: int) -> None:
        for number in range(count):
            pool = make()
            demand(pool.call(tasks.same, number) == number, "first task")
            pool.end()

    return batches(run)


def lost_worker(make: Callable) -> list[float] | str:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pid")
        pool = make()  # Kept: one that is dropped is ended first.
        get = pool.later(tasks.sleep_under_pid, path, LOST_LIMIT)
        while not os.path.exists(path):
            time.sleep(0.001)
        with open(path) as file:
            pid = int(file.read())
        time.sleep(0.05)
        os.kill(pid, signal.SIGKILL)
        start = time.perf_counter()
        try:
            get()
        except Exception:
            elapsed = time.perf_counter() - start
            return "hangs" if elapsed >= LOST_LIMIT else [elapsed]
        raise AssertionError("a killed task returned")


def import_only(engine: str) -> list[float]:
    start = time.perf_counter()
    for name in adapters.IMPORTS[engine].split(", "):
        importlib.import_module(name)
    return [time.perf_counter() - start]


def pool_columns(engine: str, wanted: list[str]) -> Iterator[tuple[str, Callable]]:
    make = adapters.MAKERS[engine]
    if "import" in wanted:
        yield "import", lambda: import_only(engine)
    if "start" in wanted:
        yield "start", lambda: start_and_end(make)
    if {"tasks/s", "trip", "64 MiB", "64 new"} & set(wanted):
        pool = make()
        yield "tasks/s", lambda: tasks_per_second(pool)
        yield "trip", lambda: round_trip(pool)
        yield "64 MiB", lambda: big_array(pool, tasks.touch, tasks.touch)
        yield "64 new", lambda: big_array(pool, tasks.double, tasks.double)
        pool.end()
    if "lost" in wanted:
        yield "lost", lambda: lost_worker(make)


def one_task(engine: str) -> None:
    """The program whose whole life is measured from outside."""
    pool = adapters.MAKERS[engine]()
    demand(pool.call(tasks.same, 5) == 5, "only task")
    pool.end()


def main() -> None:
    engine, *wanted = sys.argv[1:]
    if wanted == ["script"]:
        one_task(engine)
        return
    if engine in adapters.MAKERS:
        columns = pool_columns(engine, wanted)
    else:
        from . import queues

        columns = queues.columns(engine)
    for name, measure in columns:
        if name in wanted:
            print(json.dumps({"begin": name}), flush=True)
            print(json.dumps({"column": name, "figure": measure()}), flush=True)
            if name == "lost":
                os._exit(0)  # what the kill left behind may not end by itself


if __name__ == "__main__":
    main()
