"""What starts controllers and engines for a `Cluster`.

The controller is a process of its own, which starts the engines of this machine as its
children: an engine set here is a number of them, under one name.
"""

import json
import logging
import os
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .. import _files
from ..error import EngineError
from .commands import command, environment
from .config import Configured
from .twins import with_twins

__all__ = [
    "BaseLauncher",
    "ControllerLauncher",
    "EngineLauncher",
    "LauncherError",
    "LocalControllerLauncher",
    "LocalEngineLauncher",
    "LocalEngineSetLauncher",
    "LocalProcessLauncher",
    "MPIControllerLauncher",
    "NotRunning",
    "ProcessStateError",
    "abbreviate_launcher_class",
    "find_launcher_class",
    "ipcontroller_cmd_argv",
    "ipengine_cmd_argv",
]

SIGINT, SIGTERM, SIGKILL = signal.SIGINT, signal.SIGTERM, signal.SIGKILL

_PACKAGE = __name__.rpartition(".cluster.")[0]
ipcluster_cmd_argv = [sys.executable, "-m", f"{_PACKAGE}.cluster"]
ipcontroller_cmd_argv = [sys.executable, "-m", f"{_PACKAGE}.controller"]
ipengine_cmd_argv = [sys.executable, "-m", f"{_PACKAGE}.engine"]


class LauncherError(Exception):
    """Something could not be started or ended."""


class ProcessStateError(LauncherError):
    """A launcher was asked for what its process cannot do now."""


class NotRunning(LauncherError):
    """The process that a file tells of is not there."""


class Process:
    """A process by its number, a child of this one or not."""

    def __init__(
        self, pid: int, child: "subprocess.Popen[bytes] | None" = None
    ) -> None:
        self.pid = pid
        self.child = child
        self.returncode: int | None = None

    def __repr__(self) -> str:
        return f"<Process {self.pid}>"

    def is_running(self) -> bool:
        """Whether it is there, and no zombie."""
        if self.child is not None:
            self.returncode = self.child.poll()
            return self.returncode is None
        try:
            state = (
                Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
            )
        except OSError:
            return False
        return state[0] not in ("Z", "X")

    def poll(self) -> int | None:
        """None while it runs, else its exit status (0 when that is not known)."""
        return None if self.is_running() else self.returncode or 0

    def wait(self, timeout: float | None = None) -> int | None:
        """Its exit status, once it has ended. Raises TimeoutError before."""
        until = None if timeout is None else time.monotonic() + timeout
        while self.is_running():
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"process {self.pid} runs on after {timeout:g} s")
            self._sleep(0.1 if until is None else min(0.1, until - time.monotonic()))
        return self.returncode

    def _sleep(self, seconds: float) -> None:
        """Until it ends, at most so long. (In slices: another thread may wait too.)"""
        try:
            watch = os.pidfd_open(self.pid)
        except OSError:
            time.sleep(min(max(seconds, 0), 0.01))
            return
        try:
            poll = select.poll()
            poll.register(watch, select.POLLIN)
            poll.poll(max(seconds, 0) * 1000)
        finally:
            os.close(watch)

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it is there."""
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:
            pass


@with_twins("start", "stop", "join")
class BaseLauncher(Configured):
    """What all launchers have: a state, what they start, and who wants to know its
    end."""

    OPTIONS = {  # noqa: RUF012
        "environment": {},
        "output_limit": 100,
        "stop_timeout": 60,
    }

    cluster_id: str = ""
    profile_dir: str = ""
    identifier: str = ""
    name = "process"

    def __init__(self, work_dir: str = ".", config: Any = None, **kwargs: Any) -> None:
        self.work_dir = work_dir
        self.state = "before"
        self.start_data: Any = None
        self.stop_data: Any = None
        self.stop_callbacks: list[Any] = []
        parent = kwargs.get("parent")
        self.log = kwargs.pop("log", None) or getattr(
            parent, "log", logging.getLogger(__name__)
        )
        for name in ("cluster_id", "profile_dir"):
            if parent is not None and hasattr(parent, name):
                kwargs.setdefault(name, getattr(parent, name))
        super().__init__(config=config, **kwargs)

    @property
    def args(self) -> list[str]:
        """The command line."""
        return self.find_args()

    @property
    def arg_str(self) -> str:
        """The command line as one would type it."""
        return shlex.join(self.args)

    def find_args(self) -> list[str]:
        """The command line. Subclasses say it."""
        raise NotImplementedError(f"{type(self).__name__} has no command line")

    @property
    def cluster_args(self) -> list[str]:
        """What tells a command which cluster it belongs to."""
        args = []
        if self.profile_dir:
            args.append(f"--profile-dir={self.profile_dir}")
        if self.cluster_id:
            args.append(f"--cluster-id={self.cluster_id}")
        return args

    @property
    def cluster_env(self) -> dict[str, str]:
        """The same as variables."""
        env = {}
        if self.profile_dir:
            env["IPP_PROFILE_DIR"] = self.profile_dir
        if self.cluster_id:
            env["IPP_CLUSTER_ID"] = self.cluster_id
        return env

    def get_env(self) -> dict[str, str]:
        """Variables for the process."""
        options: dict[str, str] = self.environment  # type: ignore[attr-defined]
        return {**environment(), **self.cluster_env, **options}

    @property
    def connection_files(self) -> dict[str, str]:
        """Where the controller says how to reach it."""
        return {
            "client": str(_files.client_file(self.profile_dir, self.cluster_id)),
            "engine": str(_files.engine_file(self.profile_dir, self.cluster_id)),
        }

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self.state == "running"

    def on_stop(self, f: Any) -> None:
        """Call ``f(stop_data)`` when it ends, or now if it has."""
        if self.state == "after":
            f(self.stop_data)
        else:
            self.stop_callbacks.append(f)

    def notify_start(self, data: Any) -> Any:
        """Note that it has begun."""
        self.start_data, self.state = data, "running"
        return data

    def notify_stop(self, data: Any) -> Any:
        """Note that it has ended, and tell who wanted to know."""
        if self.state == "after":
            return data
        self.stop_data, self.state = data, "after"
        callbacks, self.stop_callbacks = self.stop_callbacks, []
        for callback in callbacks:
            callback(data)
        return data

    def to_dict(self) -> dict[str, Any]:
        """What another process needs for taking over."""
        return {
            "cluster_id": self.cluster_id,
            "profile_dir": self.profile_dir,
            "state": self.state,
        }

    @classmethod
    def from_dict(
        cls, d: dict[str, Any], *, config: Any = None, parent: Any = None, **kwargs: Any
    ) -> Any:
        """A launcher of what another process has started."""
        made = cls(config=config, parent=parent, **kwargs)
        for name in ("cluster_id", "profile_dir", "state"):
            if name in d:
                setattr(made, name, d[name])
        return made

    def signal(self, sig: int) -> None:
        """Send a signal to what was started."""
        raise NotImplementedError

    def get_output(self, remove: bool = False) -> str:
        """What it has printed."""
        return ""

    def _start(self) -> Any:
        raise NotImplementedError

    def _stop(self) -> Any:
        raise NotImplementedError

    def _join(self, timeout: float | None = None) -> None:
        raise NotImplementedError


class LocalProcessLauncher(BaseLauncher):
    """A process of this machine."""

    OPTIONS = {  # noqa: RUF012
        "cmd_and_args": [],
        "poll_seconds": 30,
        "stop_seconds_until_kill": 5,
    }

    pid = -1
    output_file = ""
    process: Any = None
    cmd_and_args: list[str]
    stop_seconds_until_kill: float

    def find_args(self) -> list[str]:
        return list(self.cmd_and_args)

    def _output(self) -> Path | None:
        if not self.output_file and self.profile_dir:
            folder = Path(self.profile_dir) / "log"
            folder.mkdir(parents=True, exist_ok=True)
            suffix = f"-{self.cluster_id}" if self.cluster_id else ""
            self.output_file = str(folder / f"{self.name}{suffix}-{os.getpid()}.log")
        return Path(self.output_file) if self.output_file else None

    def _start(self) -> int:
        if self.state != "before":
            raise ProcessStateError(
                f"the process was started already, and is in state {self.state!r}"
            )
        self.log.debug("starting %s", self.arg_str)
        path = self._output()
        if path is None:
            output: Any = subprocess.DEVNULL
        else:
            output = path.open("ab")
        try:
            child = self._popen(stdin=subprocess.DEVNULL, stdout=output)
        except OSError as problem:
            raise LauncherError(f"{self.arg_str}: {problem}") from None
        finally:
            if path is not None:
                output.close()
        self.process = Process(child.pid, child)
        self.pid = child.pid
        self.notify_start(self.pid)
        return self.pid

    def _popen(self, **options: Any) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            self.args,
            stderr=subprocess.STDOUT,
            env=self.get_env(),
            cwd=self.work_dir,
            start_new_session=True,
            **options,
        )

    def poll(self) -> int | None:
        """None while it runs, else its exit status; notes its end."""
        if self.process is None:
            return None
        status: int | None = self.process.poll()
        if status is not None and self.state == "running":
            self.notify_stop({"exit_code": status, "pid": self.pid})
        return status

    def signal(self, sig: int) -> None:
        if self.state == "running" and self.process is not None:
            self.process.send_signal(sig)

    def _join(self, timeout: float | None = None) -> None:
        if self.process is None:
            return
        wait = self.process.wait
        try:
            wait(timeout=timeout)
        except subprocess.TimeoutExpired as problem:
            raise TimeoutError(str(problem)) from None
        self.poll()

    def _stop(self) -> Any:
        """Ask it to end, and after a while end it."""
        if self.state != "running":
            return self.stop_data
        self.signal(SIGTERM)
        try:
            self._join(self.stop_seconds_until_kill)
        except TimeoutError:
            self.signal(SIGKILL)
            self._join(self.stop_seconds_until_kill)
        self.poll()
        return self.stop_data

    def get_output(self, remove: bool = False) -> str:
        path = Path(self.output_file) if self.output_file else None
        if path is None or not path.exists():
            return ""
        text = path.read_text(errors="replace")
        if remove:
            path.unlink(missing_ok=True)
        return text

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "output_file": self.output_file,
            "pid": self.pid,
        }

    @classmethod
    def from_dict(
        cls, d: dict[str, Any], *, config: Any = None, parent: Any = None, **kwargs: Any
    ) -> Any:
        made = super().from_dict(d, config=config, parent=parent, **kwargs)
        made.output_file = d.get("output_file", "")
        made.pid = int(d.get("pid", -1))
        made.process = Process(made.pid)
        if made.state == "running" and not made.process.is_running():
            raise NotRunning(f"process {made.pid} has ended")
        return made


class ControllerLauncher(BaseLauncher):
    """Something that starts a controller."""

    OPTIONS = {  # noqa: RUF012
        "connection_info_timeout": 60.0,
        "controller_args": [],
        "controller_cmd": ipcontroller_cmd_argv,
    }

    name = "ipcontroller"
    connection_info_timeout: float
    controller_args: list[str]
    controller_cmd: list[str]

    def _get_connection_info(self, timeout: float | None = None) -> dict[str, Any]:
        """What its connection files say, once they are there."""
        limit = self.connection_info_timeout if timeout is None else timeout
        until = time.monotonic() + limit
        found = {}
        for kind, path in self.connection_files.items():
            while True:
                if isinstance(self, LocalProcessLauncher) and self.poll() is not None:
                    raise LauncherError(
                        "the controller has ended: "
                        f"{self.get_output().strip() or self.stop_data}"
                    )
                left = until - time.monotonic()
                try:
                    found[kind] = _files.wait_for_connection(
                        Path(path), min(max(left, 0), 0.2)
                    )[1]
                    break
                except OSError:
                    if time.monotonic() >= until:
                        raise TimeoutError(
                            f"the controller has written no {path} in {limit:g} s"
                        ) from None
        return found


with_twins("get_connection_info")(ControllerLauncher)


class LocalControllerLauncher(LocalProcessLauncher, ControllerLauncher):
    """A controller on this machine."""

    name = "ipcontroller"

    def find_args(self) -> list[str]:
        start = self.controller_cmd
        if start == ipcontroller_cmd_argv:
            # What that Python would become: one less to start.
            start = command("ipcontroller")
        return [*start, *self.cluster_args, *self.controller_args]


class EngineLauncher(BaseLauncher):
    """Something that starts engines."""

    OPTIONS = {"engine_args": [], "engine_cmd": ipengine_cmd_argv}  # noqa: RUF012

    name = "ipengine"
    engine_set_id = ""
    n = 1
    engine_args: list[str]
    engine_cmd: list[str]

    def needs_network(self) -> bool:
        """Whether its engines reach the controller over the network."""
        return False

    def room(self) -> int | None:
        """How many engines there are to be where nobody has said it; None if that is
        not for this launcher to say."""
        return None

    def why_ended(self) -> str | None:
        """Why some of its engines cannot come any more; None if all may."""
        return None

    def waits_for(self) -> str:
        """What engines that have not come wait for; empty if that is not known."""
        return ""


class LocalEngineLauncher(LocalProcessLauncher, EngineLauncher):
    """One engine on this machine, by the command ``ipengine``."""

    name = "ipengine"

    def find_args(self) -> list[str]:
        return [*self.engine_cmd, *self.cluster_args, *self.engine_args]


class LocalEngineSetLauncher(EngineLauncher):
    """Engines on this machine: the controller starts them, as its children."""

    OPTIONS = {"delay": 0.1}  # noqa: RUF012

    launcher_class = LocalEngineLauncher

    def __init__(self, work_dir: str = ".", config: Any = None, **kwargs: Any) -> None:
        self.ids: list[int] = []
        super().__init__(work_dir=work_dir, config=config, **kwargs)
        self.stop_data = {}

    def find_args(self) -> list[str]:
        return [*self.engine_cmd, *self.cluster_args, *self.engine_args]

    def _control(self) -> Any:
        control = getattr(self.parent, "_control", None)
        if control is None:
            raise LauncherError("an engine set belongs to a cluster: use Cluster")
        return control()

    def _start(self, n: int = 1) -> list[int]:
        if self.state != "before":
            raise ProcessStateError(f"this engine set is in state {self.state!r}")
        self.n = n
        reply = self._control().request("start_engines", {"n": n})
        self.ids = list(reply["started"])
        self.notify_start(self.ids)
        return self.ids

    def _alive(self) -> list[int]:
        """Those of its engines that the controller has."""
        known = set(self._control().engines())
        return [number for number in self.ids if number in known]

    def signal(self, sig: int) -> None:
        alive = self._alive()
        if alive:
            self._control().request("signal", {"targets": alive, "signal": int(sig)})

    def _stop(self) -> Any:
        if self.state != "running":
            return self.stop_data
        try:
            alive = self._alive()
            if alive:
                self._control().request(
                    "shutdown",
                    {"targets": alive, "controller": False, "restart": False},
                    self.stop_timeout,  # type: ignore[attr-defined]
                )
        except (OSError, EngineError):
            # With the controller gone its engines are gone.
            pass
        return self.notify_stop({"engines": self.ids})

    def _join(self, timeout: float | None = None) -> None:
        until = None if timeout is None else time.monotonic() + timeout
        while self.state == "running" and self._alive():
            if until is not None and time.monotonic() >= until:
                raise TimeoutError(f"engines run on after {timeout:g} s")
            time.sleep(0.05)

    def get_output(self, remove: bool = False) -> str:
        """Which of them have come, and what the controller's log says of them."""
        registered = getattr(self.parent, "_registered", {})
        came = [
            f"engine {n} (pid {registered[n]}): Completed registration with id {n}\n"
            for n in self.ids
            if n in registered
        ]
        controller = getattr(self.parent, "_last_controller", None)
        text = controller.get_output() if controller is not None else ""
        lines = [
            line
            for line in text.splitlines(keepends=True)
            if any(f"engine {n} " in line for n in self.ids)
        ]
        return "".join(came + lines)

    def to_dict(self) -> dict[str, Any]:
        return {
            **super().to_dict(),
            "n": self.n,
            "pid": -1,
            "engines": {str(number): {"n": 1} for number in self.ids},
        }

    @classmethod
    def from_dict(
        cls, d: dict[str, Any], *, config: Any = None, parent: Any = None, **kwargs: Any
    ) -> Any:
        made = super().from_dict(d, config=config, parent=parent, **kwargs)
        made.n = int(d.get("n", 1))
        made.ids = [int(number) for number in d.get("engines", {})]
        return made


class MPIControllerLauncher(LocalControllerLauncher):
    """A controller, which is no rank: the same as a local one."""


class JobEngineSetLauncher(LocalEngineSetLauncher):
    """Engines that other processes bring: each connects to the controller by itself,
    under one of the numbers that the set has reserved. Subclasses start the jobs."""

    def __init__(self, work_dir: str = ".", config: Any = None, **kwargs: Any) -> None:
        self.jobs: list[Any] = []
        super().__init__(work_dir=work_dir, config=config, **kwargs)

    def _job(
        self,
        name: str,
        command: list[str],
        env: dict[str, str],
        kind: type[LocalProcessLauncher] = LocalProcessLauncher,
        **more: Any,
    ) -> Any:
        """A process of this machine, of a kind of launcher; it is not started yet."""
        return kind(
            work_dir=self.work_dir,
            parent=self.parent,
            log=self.log,
            cluster_id=self.cluster_id,
            profile_dir=self.profile_dir,
            name=name,
            cmd_and_args=command,
            environment={**self.environment, **env},  # type: ignore[attr-defined]
            **more,
        )

    def _start_jobs(self, first: int) -> None:
        """Start what brings `self.n` engines, to be numbered from `first` on."""
        raise NotImplementedError

    def _connection_info(self) -> dict[str, Any]:
        """What engines on other machines have to know of the controller."""
        info = json.loads(Path(self.connection_files["engine"]).read_text())
        if not info.get("addresses"):
            raise LauncherError(
                "the controller is reached on its own machine only: start it with "
                "controller_ip='*' (or --ip='*')"
            )
        found: dict[str, Any] = info
        return found

    def _start(self, n: int = 1) -> list[int]:
        if self.state != "before":
            raise ProcessStateError(f"this engine set is in state {self.state!r}")
        self.n = n
        known = [*self._control().registered]
        for other in getattr(self.parent, "engines", {}).values():
            known += other.ids
        first = max(known, default=-1) + 1
        try:
            self._start_jobs(first)
        except BaseException:
            self._stop_jobs(asked=False)
            raise
        self.ids = list(range(first, first + self.n))
        self.notify_start(self.ids)
        return self.ids

    def why_ended(self) -> str | None:
        """Why some of its engines cannot come any more; None if all may."""
        control = self._control()
        ended = [job for job in self.jobs if job.poll() is not None]
        if len(ended) == len(self.jobs):
            lost = [] if control.engines() else ended
        else:
            # One of several that has ended before its engines came.
            known = control.registered
            ids = [getattr(job, "ids", []) for job in ended]
            pairs = zip(ended, ids, strict=True)
            lost = [
                job for job, own in pairs if own and not any(i in known for i in own)
            ]
        if not lost:
            return None
        said = {job.get_output().strip() or str(job.stop_data) for job in lost}
        return f"what brings engines has ended: {'; '.join(sorted(said))}"

    def signal(self, sig: int) -> None:
        if self._alive():
            super().signal(sig)
        else:
            for job in self.jobs:
                job.signal(sig)

    def _stop(self) -> Any:
        if self.state != "running":
            return self.stop_data
        asked = bool(self._alive()) if self._reachable() else False
        data = super()._stop()
        self._stop_jobs(asked)
        return data

    def _stop_jobs(self, asked: bool) -> None:
        """End the jobs. `asked`: their engines leave already, and then they end."""
        for job in self.jobs:
            try:
                job._join(job.stop_seconds_until_kill if asked else 0)
            except TimeoutError:
                job._stop()

    def _reachable(self) -> bool:
        try:
            return bool(self._control().open)
        except (OSError, EngineError, LauncherError):
            return False

    def _join(self, timeout: float | None = None) -> None:
        for job in self.jobs:
            job._join(timeout)

    def get_output(self, remove: bool = False) -> str:
        said = [job.get_output(remove) for job in self.jobs]
        return "".join([super().get_output(remove), *said])

    def to_dict(self) -> dict[str, Any]:
        return {**super().to_dict(), "jobs": [job.to_dict() for job in self.jobs]}

    @classmethod
    def _job_from_dict(cls, d: dict[str, Any], parent: Any) -> Any:
        return LocalProcessLauncher.from_dict(d, parent=parent)

    @classmethod
    def from_dict(
        cls, d: dict[str, Any], *, config: Any = None, parent: Any = None, **kwargs: Any
    ) -> Any:
        made = super().from_dict(d, config=config, parent=parent, **kwargs)
        made.jobs = [cls._job_from_dict(job, parent) for job in d.get("jobs", [])]
        return made


# Launchers that are imported when somebody asks for one: where, and their names.
_MODULES = ("batch", "ranks", "remote")
_CLASSES = {
    "mpi": "MPIEngineSetLauncher",
    "ssh": "SSHEngineSetLauncher",
    "batch": "BatchEngineSetLauncher",
    "slurm": "SlurmEngineSetLauncher",
    "pbs": "PBSEngineSetLauncher",
    "lsf": "LSFEngineSetLauncher",
    "sge": "SGEEngineSetLauncher",
    "htcondor": "HTCondorEngineSetLauncher",
}


def __getattr__(name: str) -> Any:
    if name.endswith("Launcher"):
        from importlib import import_module

        for module in _MODULES:
            found = getattr(import_module(f".{module}", __package__), name, None)
            if found is not None:
                return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_KNOWN: dict[tuple[str, str], type[BaseLauncher]] = {
    ("controller", "local"): LocalControllerLauncher,
    ("controller", "mpi"): MPIControllerLauncher,
    ("engine", "local"): LocalEngineSetLauncher,
}


def find_launcher_class(name: str, kind: str) -> type[BaseLauncher]:
    """The launcher that a short name, or the full name of a class, means.

    `kind` is ``engine`` or ``controller``. Other packages' launchers are found by their
    entry points (``ipyparallel.engine_launchers``,
    ``ipyparallel.controller_launchers``).
    """
    kind = kind.lower()
    if kind not in ("engine", "controller"):
        raise ValueError(f"kind is 'engine' or 'controller', not {kind!r}")
    found = _KNOWN.get((kind, name.lower()))
    if found is not None:
        return found
    if kind == "engine" and name.lower() in _CLASSES:
        elsewhere: type[BaseLauncher] = __getattr__(_CLASSES[name.lower()])
        return elsewhere
    from importlib import import_module
    from importlib.metadata import entry_points

    for entry in entry_points(group=f"ipyparallel.{kind}_launchers", name=name.lower()):
        # Those of the original start the original.
        if not entry.value.startswith("ipyparallel."):
            loaded: type[BaseLauncher] = entry.load()
            return loaded
    if "." in name:
        module, _, attribute = name.rpartition(".")
        if module.startswith("ipyparallel."):
            module = f"{_PACKAGE}.{module.partition('.')[2]}"
        loaded = getattr(import_module(module), attribute)
        return loaded
    short = {known for of, known in _KNOWN if of == kind}
    names = ", ".join(sorted(short | (set(_CLASSES) if kind == "engine" else set())))
    raise KeyError(f"no {kind} launcher {name!r}; there are {names}")


def abbreviate_launcher_class(cls: type) -> str:
    """The short name of a launcher class, or its full one."""
    for (_, name), known in _KNOWN.items():
        if known is cls:
            return name
    for name, known_as in _CLASSES.items():
        if cls.__name__ == known_as and cls.__module__.startswith(f"{__package__}."):
            return name
    return f"{cls.__module__}.{cls.__qualname__}"
