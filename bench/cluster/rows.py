"""What is measured of interactive clusters, and under which: data."""

from tables import Column, Engine, Table

CLUSTERS = Table(
    "clusters of two engines on one machine",
    (
        Column("start", "cluster made, first result of both, stopped", 20, alone=True),
        Column("call", "a call on both engines and its results", 20),
        Column("task", "one task, whichever engine takes it, and its result"),
        Column("tasks/s", "5,000 no-op tasks in one map, per second", 50, rate=True),
        Column("push", "array of 64 MiB from the client to both", 15),
        Column("pull", "array of 64 MiB from each of both to the client", 10),
        Column("gather", "halves of 32 MiB joined to one array in the client", 10),
        Column("memory", "of all processes but the client's, idle", 5, unit="MiB"),
        Column("sockets", "that listen on a network", unit=""),
    ),
    (
        Engine("Phalanx", ""),
        Engine("ipyparallel", "cluster"),
        Engine("Dask", "cluster"),
    ),
    "cluster.measure",
    limit=180.0,
)
TABLES = (CLUSTERS,)
