"""Print the table in the README from the last results.

cd bench && python -m pools.table
"""

import json
from pathlib import Path

from report import time_text

from .rows import LOCKS, POOLS, QUEUES, Table

RESULTS = Path(__file__).resolve().parents[2] / "build" / "bench" / "pools.json"
SHOWN = (
    (POOLS, "tasks/s", "Phalanx fork", "no-op tasks per second, chunk size 1"),
    (POOLS, "trip", "Phalanx fork", "one call and its result"),
    (POOLS, "64 MiB", "Phalanx fork", "array of 64 MiB to a worker and back"),
    (POOLS, "64 new", "Phalanx fork", "the same, a new array comes back"),
    (POOLS, "start", "Phalanx fork", "pool of two started, used once, ended (fork)"),
    (POOLS, "start", "Phalanx spawn", "the same (spawn)"),
    (POOLS, "lost", "Phalanx fork", "killed worker noticed"),
    (QUEUES, "hop", "Phalanx Queue", "`Queue`: one hop"),
    (QUEUES, "ints/s", "Phalanx Queue", "`Queue`: numbers per second"),
    (QUEUES, "1 MiB", "Phalanx Queue", "`Queue`: array of 1 MiB"),
    (LOCKS, "Lock", "Phalanx locks", "`Lock`: acquired and released"),
)


def line(
    table: Table, name: str, ours: str, what: str, seconds: dict[str, dict[str, float]]
) -> str:
    column = next(column for column in table.columns if column.name == name)
    engine = next(engine for engine in table.engines if engine.name == ours)
    names = [peer for peer in table.peers_of(engine) if peer in seconds[name]]
    peers = {peer: seconds[name][peer] for peer in names}
    best = min(peers, key=lambda other: peers[other])
    mine, theirs = seconds[name][ours], peers[best]

    def text(value: float) -> str:
        return f"{1 / value:,.0f}" if column.rate else time_text(value)

    return (
        f"| {what} | {text(mine)} | {text(theirs)} ({best}) | {theirs / mine:.2g} |"
    ).replace("multipr.", "multiprocessing")


def main() -> None:
    results = json.loads(RESULTS.read_text())
    print(results["machine"])
    print()
    print("| | Phalanx | the best other one | times faster |")
    print("|---|---|---|---|")
    for table, name, ours, what in SHOWN:
        print(line(table, name, ours, what, results["seconds"]))


if __name__ == "__main__":
    main()
