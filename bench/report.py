"""What every benchmark prints: times with units, medians, ratios."""

import statistics
from collections.abc import Iterable

Figures = dict[str, dict[str, list[float]]]  # row -> engine -> seconds


def time_text(seconds: float, space: str = " ") -> str:
    for unit, text in ((1.0, "s"), (1e-3, "ms"), (1e-6, "us")):
        if seconds >= unit:
            return f"{seconds / unit:.3g}{space}{text}"
    return f"{seconds * 1e9:.3g}{space}ns"


def medians(figures: Figures) -> dict[str, dict[str, float]]:
    return {
        row: {name: statistics.median(seconds) for name, seconds in by_engine.items()}
        for row, by_engine in figures.items()
    }


def times_faster(
    figures: dict[str, float], ours: str, peers: Iterable[str]
) -> float | None:
    """The best of the peers over ours; None when one of the two has no figure."""
    theirs = [figures[peer] for peer in peers if peer in figures]
    if not theirs or not figures.get(ours):
        return None
    return min(theirs) / figures[ours]


def geometric_mean(ratios: Iterable[float]) -> float:
    return statistics.geometric_mean(ratios)
