"""A plugin for pytest: tests that run on several ranks.

``@pytest.mark.ranks(3)`` runs a test on three ranks, ``@pytest.mark.ranks`` on as many
as ``--ranks`` says. The ranks of tests of one size are one job, which a test that fails
ends: the next test gets a new one. See docs/testing.md.

Pytest loads this module by its entry point, in every run: it imports little.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..MPI import Intracomm

# Where the ranks of a job find the process that has started it.
SOCKET = "PHALANX_PYTEST"
# Ranks of a test that does not say how many it wants, if --ranks does not, either.
DEFAULT = 2


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("phalanx", "tests on several ranks")
    group.addoption(
        "--ranks",
        type=int,
        metavar="N",
        help="run tests marked 'ranks' without a number on N ranks "
        f"(default {DEFAULT})",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "ranks(n): run the test on n ranks of one job (default: --ranks)"
    )
    ranks = config.getoption("--ranks")
    if ranks is not None and ranks < 1:
        raise pytest.UsageError(f"--ranks {ranks}: a job has one rank at least")
    if SOCKET in os.environ:
        from .rank import Rank

        config.pluginmanager.register(Rank(config, os.environ[SOCKET]))
    else:
        from .controller import Controller

        config.pluginmanager.register(Controller(config))


def ranks_of(item: pytest.Item) -> int | None:
    """On how many ranks a test is to run; `None` for one that is not marked."""
    marker = item.get_closest_marker("ranks")
    if marker is None:
        return None
    if len(marker.args) > 1 or marker.kwargs:
        raise pytest.UsageError(
            f"{item.nodeid}: ranks{marker.args} is not understood: it takes one number"
        )
    wanted = marker.args[0] if marker.args else item.config.getoption("--ranks")
    if wanted is None:
        return DEFAULT
    if not isinstance(wanted, int) or wanted < 1:
        raise pytest.UsageError(
            f"{item.nodeid}: ranks({wanted!r}) is not understood: a job has one rank "
            "at least"
        )
    return wanted


@pytest.fixture
def comm(request: pytest.FixtureRequest) -> Iterator[Intracomm]:
    """A communicator of all ranks that run the test, of its own."""
    from ..MPI import COMM_WORLD

    own = COMM_WORLD.Dup()
    own.Set_name(f"comm of {request.node.name}"[:127])
    yield own
    own.Free()
