"""In a rank: runs the tests that the controller names, and tells how they went.

What the two say is JSON in lines. The controller says ``{"run": id, "next": id}``; the
rank answers with one ``{"report": ...}`` for each phase and ``{"done": failed}``.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..MPI import Intracomm


class Rank:
    """The plugin of a rank."""

    def __init__(self, config: pytest.Config, address: str) -> None:
        self.config = config
        self.failed = False
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(address)
        self.lines = self.socket.makefile("r", encoding="utf-8")
        from ..MPI import COMM_WORLD

        self.world: Intracomm = COMM_WORLD.Dup()
        self.world.Set_name("where ranks meet after a test")
        self.say(rank=self.world.rank)

    def say(self, **what: object) -> None:
        self.socket.sendall(json.dumps(what).encode() + b"\n")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        for line in self.lines:
            order = json.loads(line)
            item, following = items.get(order["run"]), items.get(order["next"])
            if item is None:
                self.say(missing=order["run"])
                break
            self.failed = False
            self.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            self.say(done=self.failed)
            if self.meet():
                break
        return True

    def meet(self) -> bool:
        """Wait for the other ranks: whether the test has failed on one of them.

        The wait is one that others see: a rank that is still in the test, and waits for
        this one, is in a deadlock then, and told so.
        """
        from ..MPI import Exception as Failure

        try:
            return any(self.world.allgather(self.failed))
        except Failure:
            return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed
        hook = self.config.hook
        self.say(
            report=hook.pytest_report_to_serializable(config=self.config, report=report)
        )

    @pytest.hookimpl(trylast=True)
    def pytest_unconfigure(self) -> None:
        self.socket.close()
        if self.failed:
            # What the test has left under way is nobody's: the others may be anywhere.
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(0)


def arguments(config: pytest.Config, folder: str) -> list[Any]:
    """The command line of a rank: that of the controller, without what writes files."""
    own = [*config.invocation_params.args, "-o", f"cache_dir={folder}/cache"]
    if getattr(config.option, "xmlpath", None):
        own.append(f"--junitxml={os.devnull}")
    return own
