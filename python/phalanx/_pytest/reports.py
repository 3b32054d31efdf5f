"""From the reports of ranks to the one that is shown."""

from __future__ import annotations

import re
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .job import JobEnded

ADDRESS = re.compile("0x[0-9a-f]{6,}")
PHASES = ("setup", "call", "teardown")


def names(ranks: list[int], of: int) -> str:
    """`rank 1`, `ranks 0, 2` or `all 3 ranks`."""
    if len(ranks) == of:
        return f"all {of} ranks" if of > 1 else "rank 0"
    word = "rank" if len(ranks) == 1 else "ranks"
    return f"{word} {', '.join(map(str, ranks))}"


def merged(reports: list[list[pytest.TestReport]]) -> Iterator[pytest.TestReport]:
    """One report for each phase, from the lists of reports of all ranks.

    It has failed, also as expected, if it has on some rank; what the same text says of
    several ranks is there once. It was skipped if it was on all of them.
    """
    for phase in PHASES:
        here = [
            (rank, report)
            for rank, own in enumerate(reports)
            for report in own
            if report.when == phase
        ]
        if here:
            yield one(here, len(reports))


def weight(report: pytest.TestReport) -> int:
    """How much a rank's report counts: the least one is that of the test."""
    if report.failed:
        return 0
    if report.skipped:
        # One that failed as expected says more than one that passed.
        return 1 if hasattr(report, "wasxfail") else 3
    return 2


def gist(report: pytest.TestReport) -> str:
    """What went wrong, in a line."""
    crash = getattr(report.longrepr, "reprcrash", None)
    message = crash.message if crash else report.longreprtext
    return str(message).partition("\n")[0]


def is_consequence(same: list[tuple[int, pytest.TestReport]]) -> bool:
    """Whether ranks have failed because others had: these are shown first."""
    return "deadlock:" in gist(same[0][1])


class OfRanks:
    """What several ranks say of a test, as `TestReport.longrepr` wants it.

    The summary of a run, and the file for a CI server, take the one line of
    `reprcrash`; a plain text would stand there whole, a second time.
    """

    def __init__(self, gist: str, text: str) -> None:
        self.reprcrash = SimpleNamespace(message=gist)
        self.text = text

    def __str__(self) -> str:
        return self.text

    def toterminal(self, out: pytest.TerminalReporter) -> None:
        out.line(self.text)


def one(here: list[tuple[int, pytest.TestReport]], of: int) -> pytest.TestReport:
    failed = [(rank, report) for rank, report in here if report.failed]
    first = min((report for _, report in here), key=weight)
    longrepr: Any = first.longrepr
    if failed:
        texts: dict[str, list[tuple[int, pytest.TestReport]]] = {}
        for rank, report in failed:
            # Objects lie elsewhere on each rank.
            text = ADDRESS.sub("0x...", report.longreprtext)
            texts.setdefault(text, []).append((rank, report))
        told = [
            (f"on {names([rank for rank, _ in same], of)}: {gist(same[0][1])}", same)
            for same in sorted(texts.values(), key=is_consequence)
        ]
        longrepr = OfRanks(
            told[0][0],
            "\n\n".join(f"{line}\n\n{same[0][1].longreprtext}" for line, same in told),
        )
    return pytest.TestReport(
        nodeid=first.nodeid,
        location=first.location,
        keywords=dict(first.keywords),
        outcome=first.outcome,
        longrepr=longrepr,
        when=first.when,
        sections=[
            (f"{name} (rank {rank})", text)
            for rank, report in here
            for name, text in report.sections
        ],
        duration=max(report.duration for _, report in here),
        start=min(report.start for _, report in here),
        stop=max(report.stop for _, report in here),
        **{key: first.__dict__[key] for key in ("wasxfail",) if hasattr(first, key)},
    )


def broken(item: pytest.Item, ranks: int, ended: JobEnded) -> pytest.TestReport:
    """The report of a test whose job has ended in its midst."""
    return pytest.TestReport(
        nodeid=item.nodeid,
        location=item.location,
        keywords=dict.fromkeys(item.keywords, 1),
        outcome="failed",
        longrepr=f"the job of {ranks} ranks {ended} while this test ran",
        when="call",
        sections=[("Captured stderr of the job", ended.said)] if ended.said else [],
    )
