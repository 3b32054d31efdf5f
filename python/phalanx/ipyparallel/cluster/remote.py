"""Engines on other machines, started over ssh."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

from .launcher import JobEngineSetLauncher, LauncherError, LocalProcessLauncher

__all__ = ["SSHEngineSetLauncher"]


class _Fed(LocalProcessLauncher):
    """A process with something to read, whose input stays open as long as this one
    lives: the engines at the other end of it end with that."""

    fed = b""
    # The engines that it brings.
    ids: list[int] = []  # noqa: RUF012
    _stream: Any = None

    def _popen(self, **options: Any) -> "subprocess.Popen[bytes]":
        child = super()._popen(**{**options, "stdin": subprocess.PIPE})
        self._stream = child.stdin
        try:
            self._stream.write(self.fed)
            self._stream.flush()
        except BrokenPipeError:
            pass  # It has ended, and its output says why.
        return child

    def _let_go(self) -> None:
        """What is at the other end is to end."""
        if self._stream is not None:
            try:
                self._stream.close()
            except BrokenPipeError:
                pass

    def poll(self) -> int | None:
        status = super().poll()
        if status is not None:
            self._let_go()
        return status

    def _stop(self) -> Any:
        self._let_go()
        return super()._stop()


class SSHEngineSetLauncher(JobEngineSetLauncher):
    """Engines on the machines of `engines`, each with the number of its own::

        ipp.Cluster(engines="ssh", config={
            "SSHEngineSetLauncher": {"engines": {"h1": 2, "me@h2": 4}}})

    or the same in ``ipcluster_config.py``. What a machine needs is this Python, or the
    one that `remote_python` names, with Phalanx in it. The connection file is sent
    through the remote shell: no home directory need be shared. The engines end when
    this process does.
    """

    OPTIONS = {  # noqa: RUF012
        "engines": {},
        "ssh_cmd": ["ssh"],
        "ssh_args": ["-o", "BatchMode=yes", "-o", "ConnectTimeout=10"],
        "user": "",
        "remote_python": "",
        "remote_profile_dir": "",
    }

    engines: dict[str, Any]
    ssh_cmd: list[str]
    ssh_args: list[str]
    user: str
    remote_python: str
    remote_profile_dir: str

    def _hosts(self) -> list[tuple[str, int, list[str]]]:
        """Each machine, its number of engines, and their arguments."""
        hosts = []
        for host, what in self.engines.items():
            if isinstance(what, dict):
                count, args = what.get("n", 1), what.get("engine_args", [])
            elif isinstance(what, (tuple, list)):
                count, args = what
            else:
                count, args = what, []
            if isinstance(args, str):
                args = shlex.split(args)
            if int(count) > 0:
                hosts.append((host, int(count), [*self.engine_args, *args]))
        if not hosts:
            raise LauncherError(
                "engines over ssh need to know on which machines: set "
                "SSHEngineSetLauncher.engines, as in {'h1': 2, 'me@h2': 4}"
            )
        return hosts

    def needs_network(self) -> bool:
        return True

    def room(self) -> int:
        return sum(count for _, count, _ in self._hosts())

    def _command(self, host: str, count: int, first: int, args: list[str]) -> list[str]:
        python = self.remote_python or sys.executable
        engine = [python, "-m", "phalanx.ipyparallel.engine", "-n", str(count)]
        engine += ["--first", str(first), "--file", "-", "--quiet"]
        if self.remote_profile_dir:
            engine.append(f"--profile-dir={self.remote_profile_dir}")
        if self.cluster_id:
            engine.append(f"--cluster-id={self.cluster_id}")
        folder = shlex.quote(str(Path(self.work_dir).absolute()))
        line = f"cd {folder} 2>/dev/null; exec {shlex.join([*engine, *args])}"
        where = host if "@" in host or not self.user else f"{self.user}@{host}"
        return [*self.ssh_cmd, *self.ssh_args, where, line]

    def _start_jobs(self, first: int) -> None:
        hosts = self._hosts()
        info = self._connection_info()
        self.n = self.room()
        for host, count, args in hosts:
            command = self._command(host, count, first, args)
            fed = json.dumps(info).encode() + b"\n"
            job = self._job(f"ipengine-{host}", command, {}, _Fed, fed=fed)
            job.ids = list(range(first, first + count))
            self.jobs.append(job)
            job._start()
            first += count
