"""Draw what the recorded runs say as one picture."""

import statistics

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
from record import OURS, Record

COLOURS = {"MPICH": "#7d8797", "Open MPI": "#d9480f"}
SHOWN = (
    "Send/Recv one way, 8 B, 2 ranks",
    "Send/Recv one way, 1 MiB, 2 ranks",
    "Send/Recv one way, 64 MiB, 2 ranks",
    "send/recv of an int, one way, 2 ranks",
    "send/recv of a dict, one way, 2 ranks",
    "send/recv of an array, one way, 64 MiB, 2 ranks",
    "Barrier, 2 ranks",
    "Barrier, 8 ranks",
    "Bcast, 8 B, 8 ranks",
    "Bcast, 1 MiB, 8 ranks",
    "Allreduce, 8 B, 2 ranks",
    "Allreduce, 1 MiB, 4 ranks",
    "Alltoall, 1 MiB, 4 ranks",
    "Reduce_scatter, 1 MiB, 4 ranks",
    "start and end of python, 4 ranks",
)


def ratios(records: list[Record], row: str, engine: str) -> list[float]:
    """The engine's time over that of Phalanx, one of each run that has both."""
    pairs = (
        (run.rows.get(row, {}).get(engine), run.rows.get(row, {}).get(OURS))
        for run in records
    )
    return [
        theirs / ours
        for theirs, ours in pairs
        if isinstance(theirs, int | float) and isinstance(ours, int | float)
    ]


def draw(records: list[Record], path: str) -> None:
    """A dot per row and engine: the median of the runs, on their whole range."""
    rows = [row for row in SHOWN if any(row in run.rows for run in records)]
    figure, axes = plt.subplots(figsize=(8, 0.36 * len(rows) + 1.4))
    axes.axvline(1, color="#333", linewidth=1)
    for index, (engine, colour) in enumerate(COLOURS.items()):
        label: str | None = f"{engine}, median of the runs; line: worst to best"
        for place, row in enumerate(rows):
            found = ratios(records, row, engine)
            if not found:
                continue
            height = place + 0.24 * (index - 0.5)
            middle = statistics.median(found)
            axes.hlines(height, min(found), max(found), color=colour, linewidth=2)
            axes.plot(middle, height, "o", color=colour, markersize=5, label=label)
            axes.annotate(
                f"{middle:.2g}",
                (max(found), height),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=7,
            )
            label = None
    axes.set_yticks(range(len(rows)), rows)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("time over that of Phalanx: right of the line, Phalanx is faster")
    machines = sorted({run.key for run in records})
    axes.set_title(f"{len(records)} runs on {', '.join(machines)}", fontsize=8)
    axes.legend(fontsize=7, loc="lower right", bbox_to_anchor=(1, 1.03), frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    # The same picture is the same file.
    with matplotlib.rc_context({"svg.hashsalt": "phalanx"}):
        figure.savefig(path, metadata={"Date": None})
