"""The rows of the benchmark tables: what is measured, as data."""

from dataclasses import dataclass

KIB, MIB = 1 << 10, 1 << 20


@dataclass(frozen=True)
class Row:
    """One measurement.

    `nbytes` is the size of one message, of what one rank contributes to a
    reduction, or of the block that goes from or to one rank in the others.
    """

    operation: str
    ranks: int
    nbytes: int = 0

    @property
    def name(self) -> str:
        size = [size_text(self.nbytes)] if self.nbytes else []
        return ", ".join([self.operation, *size, f"{self.ranks} ranks"])


def size_text(nbytes: int) -> str:
    for unit, text in ((MIB, "MiB"), (KIB, "KiB")):
        if nbytes >= unit:
            return f"{nbytes // unit} {text}"
    return f"{nbytes} B"


def rows_of(
    operation: str, ranks: tuple[int, ...], sizes: tuple[int, ...] = (0,)
) -> list[Row]:
    return [Row(operation, n, nbytes) for n in ranks for nbytes in sizes]


START = Row("start and end of python", 4)
IDLE = Row("CPU time while blocked for 5 s", 8)

COLLECTIVES = (
    "Bcast",
    "Reduce",
    "Allreduce",
    "Allgather",
    "Alltoall",
    "Scatter",
    "Gather",
    "Reduce_scatter",
    "Scan",
)

FORMS = ("Write_at", "Write_at_all", "Read_at", "Read_at_all")

SETS: dict[str, list[Row]] = {
    "short": [
        *rows_of("Send/Recv one way", (2,), (8, KIB, 64 * KIB, MIB, 64 * MIB)),
        *rows_of("send/recv of an array, one way", (2,), (KIB, MIB, 64 * MIB)),
        *rows_of("send/recv of a dict, one way", (2,)),
        *rows_of("Isend rate, per message", (2,), (8,)),
        *rows_of("Barrier", (2, 4, 8)),
        *rows_of("Bcast", (2, 8), (8, MIB)),
        *rows_of("Allreduce", (2, 8), (8, MIB)),
        *rows_of("Allgather", (2, 8), (8, 64 * KIB)),
        *rows_of("Alltoall", (2, 8), (8, 64 * KIB)),
        *rows_of("Gather", (2, 8), (KIB,)),
        *rows_of("bcast of a dict", (2, 8)),
        START,
        IDLE,
    ],
    "p2p": [
        *rows_of("Send/Recv one way", (2,), (8, KIB, 64 * KIB, MIB, 4 * MIB, 64 * MIB)),
        *rows_of("Isend rate, per message", (2,), (8,)),
        # Two ranks that talk, and two that wait for them.
        *rows_of("Send/Recv one way", (4,), (8, 64 * KIB)),
    ],
    "collectives": [
        *rows_of("Barrier", (2, 4, 8)),
        *(
            row
            for operation in COLLECTIVES
            for row in rows_of(operation, (2, 4, 8), (8, 8 * KIB, MIB, 16 * MIB))
        ),
    ],
    "objects": [
        *rows_of("send/recv of an int, one way", (2,)),
        *rows_of("send/recv of bytes, one way", (2,), (KIB,)),
        *rows_of("send/recv of a dict, one way", (2,)),
        *rows_of("send/recv of a dict of 100 strings, one way", (2,)),
        *rows_of("send/recv of an array, one way", (2,), (KIB, MIB, 64 * MIB)),
        *rows_of("isend rate of an int, per message", (2,)),
        *rows_of("bcast of a dict", (2, 4, 8)),
        *rows_of("allgather of a dict", (2, 4, 8)),
    ],
    "windows": [
        # The first ones in a process: its segment has to grow for them.
        *rows_of("first Allocate_shared", (2,), (64 * MIB,)),
        *rows_of("Allocate_shared, Free", (2,), (64 * MIB,)),
        *rows_of("Allocate_shared, written, Free", (2,), (64 * MIB,)),
        *(
            row
            for kind in ("allocated", "created")
            for row in (
                *rows_of(f"Put, {kind}", (2,), (8, 8 * KIB, MIB, 16 * MIB)),
                *rows_of(f"Get, {kind}", (2,), (8, 8 * KIB, MIB, 16 * MIB)),
                *rows_of(f"Accumulate, {kind}", (2,), (8, 8 * KIB, MIB)),
                *rows_of(f"Fetch_and_op, {kind}", (2,), (8,)),
                *rows_of(f"Compare_and_swap, {kind}", (2,), (8,)),
                *rows_of(f"Put, {kind}, target computes", (2,), (8, MIB)),
                *rows_of(f"Fetch_and_op, {kind}, target computes", (2,), (8,)),
            )
        ),
        *rows_of("Fence", (2, 4, 8)),
    ],
    "files": [
        *(row for form in FORMS for row in rows_of(form, (2, 4), (MIB, 16 * MIB))),
        *(
            row
            for form in FORMS
            for pieces in ("4 KiB", "64 B")
            for row in rows_of(f"{form}, pieces of {pieces}", (2, 4), (MIB,))
        ),
    ],
    "neighbours": [
        *rows_of("Neighbor_allgather", (2, 4, 8), (8, 8 * KIB, MIB)),
        *rows_of("Neighbor_alltoall", (2, 4, 8), (8, 8 * KIB, MIB)),
    ],
    "processes": [START, IDLE],
}
# Every row once.
SETS["all"] = list(dict.fromkeys(row for rows in SETS.values() for row in rows))

BY_NAME: dict[str, Row] = {row.name: row for row in SETS["all"]}
