"""The rows of the benchmark tables: what is measured, as data."""

from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Row:
    """One measurement: `nbytes` is the size of one message or contribution."""

    operation: str
    nbytes: int
    ranks: int

    @property
    def name(self) -> str:
        return f"{self.operation}, {size_text(self.nbytes)}, {self.ranks} ranks"


def size_text(nbytes: int) -> str:
    for unit, text in ((MIB, "MiB"), (KIB, "KiB")):
        if nbytes >= unit:
            return f"{nbytes // unit} {text}"
    return f"{nbytes} B"


def rows_of(operation: str, sizes: tuple[int, ...], ranks: tuple[int, ...]) -> list:
    return [Row(operation, nbytes, n) for n in ranks for nbytes in sizes]


ROWS: list[Row] = [
    *rows_of("Send/Recv one way", (8, KIB, 64 * KIB, MIB, 64 * MIB), (2,)),
    *rows_of("send/recv of an array, one way", (KIB, MIB, 64 * MIB), (2,)),
    *rows_of("send/recv of a dict, one way", (0,), (2,)),
    *rows_of("Isend rate, per message", (8,), (2,)),
    *rows_of("Barrier", (0,), (2, 4, 8)),
    *rows_of("Bcast", (8, MIB), (2, 8)),
    *rows_of("Allreduce", (8, MIB), (2, 8)),
    *rows_of("Allgather", (8, 64 * KIB), (2, 8)),
    *rows_of("Alltoall", (8, 64 * KIB), (2, 8)),
    *rows_of("Gather", (KIB,), (2, 8)),
    *rows_of("bcast of a dict", (0,), (2, 8)),
]

# Measured when they are named: two ranks that talk, and two that wait for them.
MORE_ROWS: list[Row] = rows_of("Send/Recv one way", (8, 64 * KIB), (4,))
