"""Draw the benchmark's ratios as one picture."""

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt

COLOURS = {"MPICH": "#b0b7c3", "Open MPI": "#7d8797", "Phalanx": "#d9480f"}
SHOWN = (
    "Send/Recv one way, 8 B, 2 ranks",
    "Send/Recv one way, 1 MiB, 2 ranks",
    "Send/Recv one way, 64 MiB, 2 ranks",
    "send/recv of a dict, one way, 2 ranks",
    "send/recv of an array, one way, 64 MiB, 2 ranks",
    "Allreduce, 8 B, 2 ranks",
    "Allreduce, 1 MiB, 2 ranks",
    "Barrier, 2 ranks",
    "Barrier, 8 ranks",
    "Bcast, 1 MiB, 8 ranks",
    "start and end of python, 4 ranks",
)


def draw(results: dict, names: list[str], path: str) -> None:
    """One group of bars per row: each engine's time over that of Phalanx."""
    table = results["seconds"]
    rows = [row for row in SHOWN if row in table]
    figure, axes = plt.subplots(figsize=(8, 0.55 * len(rows) + 1.2))
    height = 0.8 / len(names)
    for index, name in enumerate(names):
        ratios = [table[row][name] / table[row][names[0]] for row in rows]
        places = [place + index * height for place in range(len(rows))]
        bars = axes.barh(places, ratios, height, label=name, color=COLOURS[name])
        axes.bar_label(bars, fmt="%.2g", padding=2, fontsize=7)
    axes.set_yticks([place + 0.4 - height / 2 for place in range(len(rows))], rows)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("time over that of Phalanx (shorter is faster)")
    axes.set_title(results["machine"], fontsize=8)
    axes.legend(fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
