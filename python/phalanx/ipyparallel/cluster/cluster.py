"""A cluster as an object: ``with Cluster(n=4) as rc: rc[:].map_sync(f, items)``."""

import atexit
import json
import logging
import os
import string
import sys
import time
import weakref
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _files
from ..error import EngineError
from .config import Config, Configured, load_profile_config
from .control import Control
from .launcher import (
    LauncherError,
    NotRunning,
    abbreviate_launcher_class,
    find_launcher_class,
)
from .twins import with_twins

if TYPE_CHECKING:
    from ..client.client import Client

__all__ = ["Cluster", "ClusterManager", "clean_cluster_files"]

_LETTERS = string.ascii_lowercase + string.digits


def _suffix() -> str:
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in os.urandom(4))


def _cpu_count() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1


@with_twins(
    "start_controller",
    "start_engines",
    "stop_engines",
    "stop_engine",
    "restart_engines",
    "restart_engine",
    "signal_engine",
    "signal_engines",
    "stop_controller",
    "stop_cluster",
    "start_cluster",
    "start_and_connect",
    "connect_client",
)
class Cluster(Configured):
    """A controller and engines that this process starts, or has found.

    ``with Cluster(n=4) as rc`` starts them and gives a client; they end with the block.
    Methods such as `start_cluster` are coroutines, and each has a twin that waits, such
    as `start_cluster_sync`. What is started ends with this process, unless
    ``shutdown_atexit=False``.
    """

    OPTIONS = {  # noqa: RUF012
        "n": None,
        "delay": 1.0,
        "engine_timeout": 60,
        "controller_args": [],
        "controller_ip": "",
        "controller_location": "",
        "send_engines_connection_env": True,
        "engine_launcher_class": "local",
        "controller_launcher_class": "local",
        "load_profile": True,
    }

    n: int | None
    controller_args: list[str]
    engine_timeout: float
    cluster_id: str
    cluster_file: str
    profile: str = ""
    profile_dir: str = ""
    log_level: int = logging.INFO
    shutdown_atexit: bool = True

    def __init__(
        self, *, engines: Any = None, controller: Any = None, **kwargs: Any
    ) -> None:
        log = kwargs.pop("log", None)
        parent = kwargs.get("parent")
        config = kwargs.pop("config", None)
        if config is None and parent is not None and _is_config(parent):
            config = parent.config
        self.profile = kwargs.pop("profile", "") or ""
        directory = kwargs.pop("profile_dir", "") or ""
        self.profile_dir = str(_files.find_profile_dir(self.profile or None, directory))
        if not self.profile and not directory:
            self.profile = ""
        cluster_id = kwargs.pop("cluster_id", None)
        if cluster_id is None:
            cluster_id = f"{int(time.time())}-{_suffix()}"
        self.cluster_id = cluster_id
        load_profile = kwargs.get("load_profile", True)
        self.profile_config = Config()
        if load_profile:
            self.profile_config = load_profile_config(self.profile_dir)
            if self.profile_config:
                whole = Config()
                whole.merge(self.profile_config)
                whole.merge(config or {})
                config = whole
        self.log_level = kwargs.pop("log_level", self.log_level)
        self.shutdown_atexit = kwargs.pop("shutdown_atexit", True)
        self.cluster_file = kwargs.pop("cluster_file", "")
        super().__init__(config=config, **kwargs)
        if not self.cluster_file:
            self.cluster_file = str(
                _files.cluster_file(self.profile_dir, self.cluster_id)
            )
        if engines is not None:
            self.engine_launcher_class = engines
        if controller is not None:
            self.controller_launcher_class = controller
        for kind in ("engine", "controller"):
            name = f"{kind}_launcher_class"
            chosen = getattr(self, name)
            if isinstance(chosen, str):
                setattr(self, name, find_launcher_class(chosen, kind))
        self.controller: Any = None
        self._last_controller: Any = None
        self.engines: dict[str, Any] = {}
        self._clients: weakref.WeakSet[Client] = weakref.WeakSet()
        self._context_client: Client | None = None
        self._requests: Control | None = None
        self._registered: dict[int, int] = {}
        self.log = log or self._own_log()

    def _own_log(self) -> logging.Logger:
        log = logging.getLogger(f"{type(self).__module__}.{self.cluster_id}")
        log.setLevel(self.log_level)
        if not log.handlers:
            # In a notebook, standard error is a red box.
            shown = sys.stdout if _in_ipython(self.parent) else sys.stderr
            log.addHandler(logging.StreamHandler(shown))
        log.propagate = False
        return log

    def __repr__(self) -> str:
        fields = [f"cluster_id={self.cluster_id!r}"]
        name = _files.profile_name(self.profile_dir)
        fields.append(
            f"profile_dir={name!r}" if os.sep in name else f"profile={name!r}"
        )
        if self.controller is not None:
            fields.append(f"controller=<{self.controller.state}>")
        if self.engines:
            fields.append(f"engine_sets={list(self.engines)}")
        return f"<{type(self).__name__}({', '.join(fields)})>"

    def _repr_html_(self) -> str:
        from html import escape

        state = "not running"
        if self.controller is not None:
            state = self.controller.state
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{one.n}</td><td>{one.state}</td></tr>"
            for name, one in self.engines.items()
        )
        return (
            f"<b>Cluster</b> <code>{escape(self.cluster_id)}</code>, controller {state}"
            f"<table><tr><th>engine set</th><th>engines</th><th>state</th></tr>{rows}"
            "</table>"
        )

    # --- the controller ---------------------------------------------------------------

    def _control(self) -> Control:
        """The connection by which engines are started and ended."""
        poll = getattr(self.controller, "poll", None)
        if poll is not None and poll() is not None:
            raise ConnectionError("the controller of this cluster has ended")
        if self._requests is None or not self._requests.open:
            self._requests = Control(
                self.profile_dir, self.cluster_id, registered=self._registered
            )
        return self._requests

    def _launcher(self, kind: Any, **kwargs: Any) -> Any:
        """A launcher of this class, for this cluster."""
        return kind(
            work_dir=os.getcwd(),
            parent=self,
            config=self.config,
            log=self.log,
            cluster_id=self.cluster_id,
            profile_dir=self.profile_dir,
            **kwargs,
        )

    def _start_controller(self, **kwargs: Any) -> None:
        if self.controller is not None:
            raise RuntimeError("this cluster has a controller already")
        for name in ("security", "log", "pid"):
            Path(self.profile_dir, name).mkdir(parents=True, exist_ok=True, mode=0o700)
        made = self._launcher(self.controller_launcher_class, **kwargs)
        args = list(made.controller_args)
        ip = self.controller_ip  # type: ignore[attr-defined]
        if not ip and self._launcher(self.engine_launcher_class).needs_network():
            # Engines of other machines are to reach it.
            ip = "*"
        location = self.controller_location  # type: ignore[attr-defined]
        for option, value in (("ip", ip), ("location", location)):
            if value:
                args.append(f"--{option}={value}")
        made.controller_args = [*args, *self.controller_args]
        self.controller = self._last_controller = made
        made.on_stop(self._controller_stopped)
        made.start_sync()
        self.log.info("Started controller %s", self.cluster_id or "(default)")
        if self.shutdown_atexit:
            _AT_EXIT.add(self)
        try:
            made.get_connection_info_sync()
        except BaseException:
            made.stop_sync()
            self.controller = None
            raise
        self.update_cluster_file()

    def _controller_stopped(self, stop_data: Any = None) -> None:
        if self.controller is not None:
            self.log.info("Controller stopped: %s", stop_data)

    def _stop_controller(self) -> None:
        if self.controller is None:
            return
        controller, self.controller = self.controller, None
        if self._requests is not None:
            self._requests.close()
            self._requests = None
        controller.stop_sync()
        self.update_cluster_file()
        _AT_EXIT.discard(self)

    # --- engines ----------------------------------------------------------------------

    def _start_engines(
        self, n: int | None = None, engine_set_id: str | None = None, **kwargs: Any
    ) -> str:
        if self.controller is None:
            raise RuntimeError("engines need a controller: start that first")
        if engine_set_id is None:
            base = engine_set_id = str(int(time.time()))
            count = 1
            while engine_set_id in self.engines:
                count += 1
                engine_set_id = f"{base}-{count}"
        made = self._launcher(self.engine_launcher_class, **kwargs)
        made.engine_set_id = engine_set_id
        n = n or self.n or made.room() or _cpu_count()
        self.log.info("Starting %d engines", n)
        made.start_sync(n)
        self.engines[engine_set_id] = made
        if self.n is None:
            self.n = made.n
        self.update_cluster_file()
        return engine_set_id

    def _sets(self, engine_set_id: str | None) -> list[str]:
        if engine_set_id is None:
            return list(self.engines)
        if engine_set_id not in self.engines:
            raise KeyError(f"no engine set {engine_set_id!r}")
        return [engine_set_id]

    def _stop_engines(self, engine_set_id: str | None = None) -> None:
        for name in self._sets(engine_set_id):
            self.engines.pop(name).stop_sync()
        self.update_cluster_file()

    def _stop_engine(self, engine_id: int) -> None:
        self._control().request(
            "shutdown", {"targets": [engine_id], "controller": False, "restart": False}
        )

    def _restart_engines(self, engine_set_id: str | None = None) -> None:
        for name in self._sets(engine_set_id):
            before = self.engines[name]
            self._stop_engines(name)
            self._start_engines(before.n, name)

    def _restart_engine(self, engine_id: int) -> None:
        self._control().request(
            "shutdown", {"targets": [engine_id], "controller": False, "restart": True}
        )

    def _signal_engine(self, signum: int, engine_id: int) -> None:
        self._control().request(
            "signal", {"targets": [engine_id], "signal": int(signum)}
        )

    def _signal_engines(self, signum: int, engine_set_id: str | None = None) -> None:
        for name in self._sets(engine_set_id):
            self.engines[name].signal(signum)

    @property
    def engine_set(self) -> Any:
        """The first engine set, or None."""
        return next(iter(self.engines.values()), None)

    def _crashed(self) -> str | None:
        """Why engines of this cluster cannot come any more; None if they may."""
        if not self.engines or self.controller is None:
            return None
        poll = getattr(self.controller, "poll", None)
        if poll is not None and poll() is not None:
            return f"the controller has ended: {self.controller.stop_data}"
        control = self._control()
        for one in self.engines.values():
            why: str | None = one.why_ended()
            if why is not None:
                return why
        ids = [number for one in self.engines.values() for number in one.ids]
        if control.starting or control.engines():
            return None
        if not ids or any(number not in control.left for number in ids):
            return None
        whys = "; ".join(f"engine {n}: {control.left[n]}" for n in ids[:4])
        return f"all {len(ids)} engines have ended: {whys}"

    def _waits_for(self) -> str:
        """What engines that have not come wait for, where a batch system says it."""
        whys = []
        for one in self.engines.values():
            try:
                whys.append(one.waits_for())
            except (OSError, EngineError, LauncherError):
                continue
        return "; ".join(why for why in whys if why)

    # --- the whole --------------------------------------------------------------------

    def _start_cluster(self, n: int | None = None) -> "Cluster":
        if self.controller is None:
            self._start_controller()
        try:
            self._start_engines(n)
        except BaseException:
            # Half a cluster is none.
            self._stop_cluster()
            raise
        return self

    def _stop_cluster(self) -> None:
        for client in list(self._clients):
            client.close()
        try:
            if self.engines:
                self._stop_engines()
        except (LauncherError, OSError) as problem:
            self.log.warning("engines: %s", problem)
            self.engines.clear()
        self._stop_controller()
        self.remove_cluster_file()

    def _connect_client(self, **client_kwargs: Any) -> "Client":
        from ..client.client import Client

        if self.controller is not None:
            self.controller.get_connection_info_sync()
        made = Client(
            cluster=self,
            profile_dir=self.profile_dir,
            cluster_id=self.cluster_id,
            **client_kwargs,
        )
        self._clients.add(made)
        return made

    def _start_and_connect(
        self, n: int | None = None, activate: bool = False
    ) -> "Client":
        if n is None:
            n = self.n
        self._start_cluster(n)
        try:
            client = self._connect_client()
            count = n or self.n
            if count:
                limit = self.engine_timeout if self.engine_timeout else -1
                try:
                    client.wait_for_engines(count, timeout=limit)
                except TimeoutError as problem:
                    more = "Cluster(engine_timeout=...) waits longer"
                    raise TimeoutError(f"{problem}; {more}") from None
        except BaseException:
            self._stop_cluster()
            raise
        if activate:
            client.activate()
        return client

    def __enter__(self) -> "Client":
        client = self._context_client = self._start_and_connect()
        return client

    def __exit__(self, *args: Any) -> None:
        if self._context_client is not None:
            self._context_client.close()
            self._context_client = None
        self._stop_cluster()

    async def __aenter__(self) -> "Client":
        client: Client = await self.start_and_connect()  # type: ignore[attr-defined]
        self._context_client = client
        return client

    async def __aexit__(self, *args: Any) -> None:
        if self._context_client is not None:
            self._context_client.close()
            self._context_client = None
        await self.stop_cluster()  # type: ignore[attr-defined]

    # --- as data ----------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """What another process needs for finding it again."""
        controller = None
        if self.controller is not None:
            controller = {
                "class": abbreviate_launcher_class(self.controller_launcher_class),
                "state": self.controller.to_dict(),
            }
        return {
            "cluster": {
                "class": f"{type(self).__module__}.{type(self).__name__}",
                "cluster_id": self.cluster_id,
                "profile_dir": self.profile_dir,
                "controller_args": list(self.controller_args),
                "controller_ip": getattr(self, "controller_ip", ""),
                "controller_location": getattr(self, "controller_location", ""),
                "delay": getattr(self, "delay", 1.0),
                "n": self.n,
            },
            "controller": controller,
            "engines": {
                "class": abbreviate_launcher_class(self.engine_launcher_class),
                "sets": {name: one.to_dict() for name, one in self.engines.items()},
            },
        }

    @classmethod
    def from_dict(cls, d: dict[str, Any], **kwargs: Any) -> "Cluster":
        """The cluster that another process has started. It does not end with this one.

        Raises `NotRunning` when its controller has ended.
        """
        about = dict(d["cluster"])
        about.pop("class", None)
        kwargs.setdefault("shutdown_atexit", False)
        engines = d.get("engines") or {}
        controller = d.get("controller") or {}
        if engines.get("class"):
            kwargs.setdefault("engines", engines["class"])
        if controller.get("class"):
            kwargs.setdefault("controller", controller["class"])
        made = cls(**about, **kwargs)
        if controller:
            made.controller = made.controller_launcher_class.from_dict(
                controller["state"], config=made.config, parent=made
            )
            made._last_controller = made.controller
        for name, state in (engines.get("sets") or {}).items():
            made.engines[name] = made.engine_launcher_class.from_dict(
                state, config=made.config, parent=made
            )
            made.engines[name].engine_set_id = name
        return made

    @classmethod
    def from_file(
        cls,
        cluster_file: "str | None" = None,
        *,
        profile: str | None = None,
        profile_dir: str | None = None,
        cluster_id: str = "",
        **kwargs: Any,
    ) -> "Cluster":
        """The cluster that a file tells of: by default, that of the default profile."""
        if cluster_file is None:
            place = _files.find_profile_dir(profile, profile_dir)
            cluster_file = str(_files.cluster_file(place, cluster_id))
        path = Path(cluster_file)
        if not path.exists():
            raise FileNotFoundError(f"no cluster has written {path}")
        try:
            found = json.loads(path.read_text())
            kwargs.setdefault("cluster_file", str(path))
            return cls.from_dict(found, **kwargs)
        except (KeyError, TypeError, ValueError) as problem:
            raise ValueError(
                f"{path} is not the file of a cluster: {problem}"
            ) from None

    def write_cluster_file(self) -> None:
        """Write the file by which others find it."""
        path = Path(self.cluster_file)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        new = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:
            json.dump(self.to_dict(), file)
        new.replace(path)

    def remove_cluster_file(self) -> None:
        """Take that file away."""
        Path(self.cluster_file).unlink(missing_ok=True)

    def update_cluster_file(self) -> None:
        """Write it while there is a controller, take it away after."""
        if not self.cluster_file:
            return
        if self.controller is None:
            self.remove_cluster_file()
        else:
            self.write_cluster_file()


def _is_config(parent: Any) -> bool:
    return hasattr(parent, "config")


def _in_ipython(parent: Any) -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython  # type: ignore[import-not-found,unused-ignore]

    return parent is not None or get_ipython() is not None


# Kept, so that a cluster whose object nobody has any more ends with the process, too.
_AT_EXIT: "set[Cluster]" = set()


def _stop_all() -> None:
    for cluster in list(_AT_EXIT):
        if cluster.controller is None:
            continue
        try:
            cluster._stop_cluster()
        except Exception as problem:
            print(f"phalanx: {cluster!r} was not stopped: {problem}", file=sys.stderr)


atexit.register(_stop_all)


class ClusterManager(Configured):
    """The clusters of this user, by key: ``PROFILE:CLUSTER_ID``."""

    def __init__(self, **kwargs: Any) -> None:
        self.log = kwargs.pop("log", None) or logging.getLogger(__name__)
        self._clusters: dict[str, Cluster] = {}
        super().__init__(**kwargs)

    @property
    def clusters(self) -> dict[str, Cluster]:
        """Those that were found or added."""
        return self._clusters

    def _cluster_key(self, cluster: Cluster) -> str:
        return f"{_files.profile_name(cluster.profile_dir)}:{cluster.cluster_id}"

    def load_clusters(
        self,
        *,
        profile_dirs: "Iterable[str] | None" = None,
        profile_dir: str | None = None,
        profiles: "Iterable[str] | None" = None,
        profile: str | None = None,
        init_default_clusters: bool = False,
        **kwargs: Any,
    ) -> dict[str, Cluster]:
        """Look at the files of profiles (all, if none is named) again.

        Clusters whose controller has ended go.
        """
        places = _places(profile_dirs, profile_dir, profiles, profile)
        for key, cluster in list(self._clusters.items()):
            poll = getattr(cluster.controller, "poll", lambda: None)
            if cluster.controller is not None and poll() is not None:
                del self._clusters[key]
                cluster.remove_cluster_file()
            elif (
                cluster.controller is not None
                and not Path(cluster.cluster_file).exists()
            ):
                del self._clusters[key]
        for place in places:
            for path in sorted((place / "security").glob("cluster*.json")):
                try:
                    cluster = Cluster.from_file(str(path), **kwargs)
                except NotRunning:
                    path.unlink(missing_ok=True)
                    continue
                except (ValueError, OSError) as problem:
                    self.log.warning("%s", problem)
                    continue
                self._clusters.setdefault(self._cluster_key(cluster), cluster)
            if init_default_clusters:
                default = Cluster(profile_dir=str(place), cluster_id="")
                self._clusters.setdefault(self._cluster_key(default), default)
        return self._clusters

    def new_cluster(self, **kwargs: Any) -> tuple[str, Cluster]:
        """A cluster that is still to be started, and its key."""
        cluster = Cluster(parent=self, **kwargs)
        key = self._cluster_key(cluster)
        if key in self._clusters:
            raise KeyError(f"there is a cluster {key} already")
        self._clusters[key] = cluster
        return key, cluster

    def get_cluster(self, cluster_id: str) -> Cluster:
        """A cluster by its key."""
        try:
            return self._clusters[cluster_id]
        except KeyError:
            raise KeyError(f"no cluster {cluster_id!r}") from None

    def remove_cluster(self, cluster_id: str) -> None:
        """Forget a cluster. It goes on running."""
        if cluster_id not in self._clusters:
            raise KeyError(f"no cluster {cluster_id!r}")
        del self._clusters[cluster_id]


def _places(
    profile_dirs: "Iterable[str] | None",
    profile_dir: str | None,
    profiles: "Iterable[str] | None",
    profile: str | None,
) -> list[Path]:
    if profile_dirs is not None:
        return [Path(one) for one in profile_dirs]
    if profile_dir:
        return [Path(profile_dir)]
    if profiles is not None:
        return [_files.find_profile_dir(one) for one in profiles]
    if profile:
        return [_files.find_profile_dir(profile)]
    return _files.profile_dirs()


def _old_files(place: Path) -> Iterator[Path]:
    yield from (place / "security").glob("*.json")
    for name in ("log", "pid"):
        folder = place / name
        if folder.is_dir():
            yield from (path for path in folder.iterdir() if path.is_file())


def clean_cluster_files(
    profile_dirs: "Iterable[str] | None" = None, *, log: Any = None, force: bool = False
) -> None:
    """Take away what clusters have left: connection files, logs.

    Clusters that run are left alone, unless `force`.
    """
    logger = log or logging.getLogger(__name__)
    for place in _places(profile_dirs, None, None, None):
        manager = ClusterManager(log=logger)
        running = manager.load_clusters(profile_dirs=[str(place)])
        kept = {
            one.cluster_id for one in running.values() if one.controller is not None
        }
        for path in _old_files(place):
            mine = any(f"-{name}" in path.name for name in kept if name) or (
                "" in kept and path.suffix == ".json" and path.name.count("-") < 2
            )
            if mine and not force:
                continue
            logger.info("removing %s", path)
            path.unlink(missing_ok=True)
