"""Measure some columns with one cluster; print JSON lines.

    python -m cluster.measure NAME COLUMN ...

Results are checked: a wrong one ends the program with an error.
"""

import json
import sys
import time
from collections.abc import Callable, Iterator

import numpy as np
from batches import batches, demand

from . import adapters, processes

TASKS = 5000
IDLE = 1.0  # seconds until a cluster has come to rest
WHOLE = np.arange(8 << 20, dtype="d")  # 64 MiB
# Arrays are moved so often before it counts. New pages are the system's to make, which
# takes ten times as long as the copy on some virtual machines, and is over when the
# last arrays' memory is used again.
WARM = 4


def started(name: str) -> list[float]:
    begin = time.perf_counter()
    cluster = adapters.start(name)
    demand(len(cluster.call()) == adapters.ENGINES, "first call")
    cluster.stop()
    return [time.perf_counter() - begin]


def repeat(operation: Callable[[], bool], what: str, warm: int = 0) -> list[float]:
    for _ in range(warm):
        demand(operation(), what)

    def run(count: int) -> None:
        for _ in range(count):
            demand(operation(), what)

    return batches(run)


def tasks(cluster) -> list[float]:
    demand(cluster.tasks(10) == [None] * 10, "tasks")
    begin = time.perf_counter()
    demand(cluster.tasks(TASKS) == [None] * TASKS, "tasks")
    return [(time.perf_counter() - begin) / TASKS]


def at_rest(figure: Callable[[], float]) -> list[float]:
    time.sleep(IDLE)
    return [figure()]


def columns(cluster) -> Iterator[tuple[str, Callable[[], list[float]]]]:
    # Before anything was moved: what a cluster takes that nobody has used much.
    yield "memory", lambda: at_rest(processes.memory)
    yield "sockets", lambda: at_rest(processes.sockets)
    yield "call", lambda: repeat(lambda: cluster.call() == [None] * 2, "call")
    yield "task", lambda: repeat(lambda: cluster.task() is None, "task")
    yield "tasks/s", lambda: tasks(cluster)
    yield "push", lambda: repeat(lambda: cluster.push(WHOLE) is None, "push", WARM)
    cluster.make("part", WHOLE.size)
    yield (
        "pull",
        lambda: repeat(
            lambda: [a[-1] for a in cluster.pull("part")] == [WHOLE[-1]] * 2,
            "pull",
            WARM,
        ),
    )
    half = WHOLE.size // 2
    cluster.make("half", half)
    yield (
        "gather",
        lambda: repeat(
            lambda: cluster.gather("half")[[half - 1, -1]].tolist() == [half - 1] * 2,
            "gather",
            WARM,
        ),
    )


def main() -> None:
    name, *wanted = sys.argv[1:]
    if wanted == ["start"]:
        print(json.dumps({"begin": "start"}), flush=True)
        print(json.dumps({"column": "start", "figure": started(name)}), flush=True)
        return
    cluster = adapters.start(name)
    demand(len(cluster.call()) == adapters.ENGINES, "first call")
    for column, measure in columns(cluster):
        if column in wanted:
            print(json.dumps({"begin": column}), flush=True)
            print(json.dumps({"column": column, "figure": measure()}), flush=True)
    cluster.stop()


if __name__ == "__main__":
    main()
