"""In the process that was started: jobs of ranks, and one report from those of ranks.

Tests without the marker run here, as always. A marked one is run by all ranks of a job
(`job.py`), in step with the order of the session.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from . import ranks_of
from .job import Job, JobEnded
from .reports import broken, merged

if TYPE_CHECKING:
    from collections.abc import Iterator


class Controller:
    """The plugin of the process that was started."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.job: Job | None = None

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        # Wrong marks are told before anything runs.
        for item in items:
            ranks_of(item)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        ranks = ranks_of(item)
        if ranks is None:
            return None
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        for report in self.run(item, nextitem, ranks):
            hook.pytest_runtest_logreport(report=report)
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def run(
        self, item: pytest.Item, nextitem: pytest.Item | None, ranks: int
    ) -> Iterator[pytest.TestReport]:
        """Run a test on ranks; gives the reports of its phases."""
        if self.job is not None and self.job.ranks != ranks:
            self.close()
        following = nextitem and ranks_of(nextitem) == ranks and nextitem.nodeid
        try:
            if self.job is None:
                self.job = Job(self.config, ranks)
            reports, failed = self.job.run(item.nodeid, following or None)
        except JobEnded as ended:
            self.job = None
            yield broken(item, ranks, ended)
            return
        if failed:
            self.job.kill()
            self.job = None
        yield from merged(reports)

    def close(self) -> None:
        if self.job is not None:
            self.job.close()
            self.job = None

    def pytest_sessionfinish(self) -> None:
        self.close()
