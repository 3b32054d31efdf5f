"""Engines that are the ranks of one MPI job, on this machine or on several."""

import json
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from .commands import binary
from .launcher import JobEngineSetLauncher, LauncherError

__all__ = ["MPIEngineSetLauncher", "ranks_command", "ssh_args"]


def ranks_command() -> list[str]:
    """The command that starts engines as ranks: one that ends leaves the others
    alone, and a deadlock is an error of the tasks that are in it."""
    return [binary(), "run", "--keep-going", "--on-deadlock", "raise"]


def ssh_args(shell: Any) -> list[str]:
    """A remote shell, as text or as words, as an argument of ``phalanx run``."""
    if not shell:
        return []
    return ["--ssh", shell if isinstance(shell, str) else " ".join(map(str, shell))]


class MPIEngineSetLauncher(JobEngineSetLauncher):
    """Engines that are the ranks of one job: ``from mpi4py import MPI`` in a task.

    Rank k is the k-th engine of the set. An engine that dies leaves the others alone.
    `hosts` or `hostfile` name other machines, on which ``phalanx run`` starts the
    ranks over ssh::

        ipp.Cluster(engines="mpi", config={
            "MPIEngineSetLauncher": {"hosts": {"h1": 2, "me@h2": 4}}})

    In an allocation of Slurm's they are on its nodes without that. The controller then
    listens for engines of other machines. `mpi_cmd` is Phalanx's own launcher unless it
    is configured, and `mpi_args` are further arguments of it.
    """

    OPTIONS = {  # noqa: RUF012
        "mpi_cmd": [],
        "mpi_args": [],
        "hosts": {},
        "hostfile": "",
        "ssh_cmd": [],
    }

    mpi_cmd: list[str]
    mpi_args: list[str]
    hosts: Any
    hostfile: str
    ssh_cmd: Any

    def _host_args(self) -> list[str]:
        """The machines, as arguments of ``phalanx run``."""
        hosts = self.hosts
        if isinstance(hosts, Mapping):
            hosts = [f"{host}:{n}" for host, n in hosts.items() if n != 0]
        if isinstance(hosts, Iterable) and not isinstance(hosts, str):
            hosts = ",".join(map(str, hosts))
        if not isinstance(hosts, str):
            raise LauncherError(
                "MPIEngineSetLauncher.hosts says where the ranks are, as in "
                f"{{'h1': 2, 'h2': 2}} or 'h1:2,h2:2', and not {hosts!r}"
            )
        args = ["--host", hosts] if hosts else []
        if self.hostfile:
            args += ["--hostfile", str(self.hostfile)]
        if self.mpi_cmd and args:
            raise LauncherError(
                "MPIEngineSetLauncher.hosts and hostfile are for Phalanx's own "
                "launcher: with mpi_cmd, name the machines in mpi_args"
            )
        return args + ssh_args(self.ssh_cmd)

    def _layout(self, n: int | None) -> dict[str, Any]:
        """Where so many ranks would be, and how many they are if nobody says it."""
        args = [*self._host_args(), *self.mpi_args]
        env = self.get_env()
        if self.mpi_cmd or not (args or env.get("SLURM_JOB_ID")):
            return {"ranks": None, "hosts": []}
        args += [] if n is None else ["-n", str(n)]
        args.append("ipengine")
        done = subprocess.run(
            [binary(), "layout", *args],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            cwd=self.work_dir,
            env=env,
            check=False,
        )
        if done.returncode != 0:
            raise LauncherError(done.stderr.strip())
        layout: dict[str, Any] = json.loads(done.stdout)
        return layout

    def needs_network(self) -> bool:
        return bool(self._layout(getattr(self.parent, "n", None))["hosts"])

    def room(self) -> int | None:
        found: int | None = self._layout(None)["ranks"]
        return found

    def find_args(self) -> list[str]:
        command = self.mpi_cmd or [*ranks_command(), *self._host_args()]
        ranks = ["-n", str(self.n)]
        return [*command, *self.mpi_args, *ranks, *super().find_args()]

    def _start_jobs(self, first: int) -> None:
        env = {"PHALANX_CLUSTER_FIRST": str(first)}
        sent = getattr(self.parent, "send_engines_connection_env", True)
        if self._layout(self.n)["hosts"]:
            # The machines need not share a home directory.
            info = self._connection_info()
            if sent:
                env["IPP_CONNECTION_INFO"] = json.dumps(info)
        job = self._job("ipengine-mpi", self.find_args(), env)
        self.jobs = [job]
        job._start()
