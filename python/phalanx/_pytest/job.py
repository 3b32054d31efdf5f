"""A job of ranks that run tests, for the controller."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import pytest

from . import SOCKET
from .rank import arguments

if TYPE_CHECKING:
    from collections.abc import Iterator

# Seconds between two looks whether the job has ended while nothing comes from it.
LOOK = 0.1
# Seconds that a job may take to end when there is nothing more to run.
PATIENCE = 20.0
# The most that is shown of what a job has said, in characters.
MOST = 20_000


class JobEnded(Exception):
    """The job has ended, with what it has said."""

    def __init__(self, status: int, said: str) -> None:
        how = f"was killed by signal {-status}" if status < 0 else f"ended ({status})"
        super().__init__(how)
        self.said = said


def launcher() -> str:
    """The command that was installed with this package."""
    scripts = sysconfig.get_path("scripts")
    found = shutil.which("phalanx", path=scripts) or shutil.which("phalanx")
    if found is None:
        raise pytest.UsageError(
            f"tests on ranks need the command 'phalanx', which is neither in {scripts} "
            "nor on PATH"
        )
    return found


class Job:
    """So many ranks of this very pytest, which run what they are told."""

    def __init__(self, config: pytest.Config, ranks: int) -> None:
        self.config = config
        self.ranks = ranks
        self.holder = tempfile.TemporaryDirectory(prefix="phalanx-pytest-")
        folder = self.holder.name
        self.said: IO[bytes] = Path(folder, "said").open("w+b")
        address = str(Path(folder, "socket"))
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(address)
            listener.listen(ranks)
            self.process = subprocess.Popen(
                [
                    *(launcher(), "run", "-n", str(ranks)),
                    *("--on-deadlock", "raise", "--stdin", "none"),
                    *(sys.executable, "-m", "pytest", *arguments(config, folder)),
                ],
                cwd=config.invocation_params.dir,
                env={**os.environ, SOCKET: address},
                stdin=subprocess.DEVNULL,
                stdout=self.said,
                stderr=subprocess.STDOUT,
            )
            self.sockets = self.meet(listener)

    def meet(self, listener: socket.socket) -> list[socket.socket]:
        """Wait for all ranks; gives their sockets in order."""
        met: dict[int, socket.socket] = {}
        self.buffers: dict[socket.socket, bytes] = {}
        listener.settimeout(LOOK)
        while len(met) < self.ranks:
            try:
                there, _ = listener.accept()
            except TimeoutError:
                self.look()
                continue
            self.buffers[there] = b""
            for hello in self.hear([there]):
                met[hello[1]["rank"]] = there
                break
        return [met[rank] for rank in range(self.ranks)]

    def hear(
        self, sockets: list[socket.socket]
    ) -> Iterator[tuple[socket.socket, dict[str, Any]]]:
        """What ranks say, as it comes, until the job ends."""
        with selectors.DefaultSelector() as selector:
            for there in sockets:
                selector.register(there, selectors.EVENT_READ, there)
            while True:
                ready = selector.select(LOOK)
                if not ready:
                    self.look()
                for key, _ in ready:
                    there = key.data
                    try:
                        data = there.recv(1 << 16)
                    except ConnectionResetError:
                        # It was ended with words of ours unread.
                        data = b""
                    if not data:
                        selector.unregister(there)
                        if not selector.get_map():
                            raise self.ended()
                    *lines, rest = (self.buffers[there] + data).split(b"\n")
                    self.buffers[there] = rest
                    for line in lines:
                        yield there, json.loads(line)

    def run(
        self, nodeid: str, following: str | None
    ) -> tuple[list[list[pytest.TestReport]], bool]:
        """Run a test; gives the reports of each rank, and whether one has failed."""
        order = json.dumps({"run": nodeid, "next": following}).encode() + b"\n"
        for there in self.sockets:
            # One that is gone is met as such when the job is heard.
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                there.sendall(order)
        reports: list[list[pytest.TestReport]] = [[] for _ in self.sockets]
        done: dict[int, bool] = {}
        hook = self.config.hook
        for there, what in self.hear(self.sockets):
            rank = self.sockets.index(there)
            if "report" in what:
                reports[rank].append(
                    hook.pytest_report_from_serializable(
                        config=self.config, data=what["report"]
                    )
                )
            elif "missing" in what:
                self.kill()
                raise JobEnded(1, f"rank {rank} has not collected {what['missing']}")
            else:
                done[rank] = what["done"]
            if len(done) == self.ranks:
                break
        return reports, any(done.values())

    def look(self) -> None:
        """Raise `JobEnded` if the job has ended."""
        if self.process.poll() is not None:
            raise self.ended()

    def ended(self) -> JobEnded:
        """What there is to say of a job that has ended, or is about to."""
        status = self.wait()
        self.said.seek(0)
        said = self.said.read().decode(errors="replace")
        self.free()
        return JobEnded(status, said[-MOST:])

    def wait(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def kill(self) -> None:
        """End the job now: its ranks may be anywhere."""
        self.process.kill()
        self.process.wait()
        self.free()

    def close(self) -> None:
        """End the job: there is nothing more to run."""
        for there in self.sockets:
            there.shutdown(socket.SHUT_WR)
        self.wait()
        self.free()

    def free(self) -> None:
        for there in self.buffers:
            there.close()
        self.said.close()
        self.holder.cleanup()
