"""What is measured, and under which engines: data."""

from tables import Column, Engine, Table

PROGRAM = "pools.measure"
POOLS = Table(
    "pools of two workers",
    (
        Column("tasks/s", "no-op tasks per second, map, chunk size 1", 4, rate=True),
        Column("trip", "one call and its result, nothing else under way", 4),
        Column("64 MiB", "array of 64 MiB in, changed in place, returned", 4),
        Column("64 new", "array of 64 MiB in, another one returned"),
        Column("start", "pool made, one task, pool ended", 1),
        Column("script", "a whole script with one task, its imports too", alone=True),
        Column("import", "the import alone", alone=True),
        Column(
            "lost", "from the kill of a worker to the error of its task", alone=True
        ),
    ),
    (
        Engine("Phalanx fork", ""),
        Engine("Phalanx spawn", "", forks=False),
        Engine("Phalanx futures", ""),
        Engine("multipr. fork"),
        Engine("multipr. spawn", forks=False),
        Engine("concurrent.futures"),
        Engine("loky", forks=False),
        Engine("mpire"),
        Engine("mpi4py.futures", "mpich", forks=False, launched=True),
    ),
    PROGRAM,
)
QUEUES = Table(
    "queues between two processes",
    (
        Column("hop", "a number there, as half of there and back", 4),
        Column("ints/s", "numbers per second, one process to the other", 5, rate=True),
        Column("1 MiB", "array of 1 MiB there, a number back", 8),
    ),
    (
        Engine("Phalanx Queue", "", against="multipr. Queue"),
        Engine("Phalanx SimpleQueue", "", against="multipr. SimpleQueue"),
        Engine("multipr. Queue"),
        Engine("multipr. SimpleQueue"),
        Engine("multipr. Pipe"),
    ),
    PROGRAM,
)
LOCKS = Table(
    "locks, acquire and release, nobody else wants them",
    (
        Column("Lock", "multiprocessing.Lock", 1),
        Column("RLock", "multiprocessing.RLock", 1),
        Column("Semaphore", "multiprocessing.Semaphore(1)", 1),
    ),
    (Engine("Phalanx locks", ""), Engine("multipr. locks")),
    PROGRAM,
    # A turn takes a second, and the machine's speed changes every few.
    turns=7,
)
TABLES = (POOLS, QUEUES, LOCKS)
