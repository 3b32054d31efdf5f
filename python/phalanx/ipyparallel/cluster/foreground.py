"""``ipcluster start --engines=slurm``: a `Cluster` until it is stopped.

The command becomes this where the controller does not start the engines itself. Its one
argument says, as JSON, what was typed.
"""

import ast
import json
import os
import signal
import sys
from typing import Any

from ..error import EngineError
from .cluster import Cluster
from .config import Config
from .launcher import LauncherError

__all__ = ["main"]


def _config(options: list[str]) -> Config:
    """``--Class.option=value`` as a configuration; values are Python's, or text."""
    config = Config()
    for option in options:
        name, _, text = option.lstrip("-").partition("=")
        section, _, key = name.rpartition(".")
        try:
            value: Any = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            value = text
        config[section][key] = value
    return config


class _Ended(BaseException):
    """A signal that ends the cluster."""


def _end(number: int, frame: Any) -> None:
    raise _Ended


def _wait(cluster: Cluster) -> None:
    """Until the controller ends. What keeps engines from coming is said, once."""
    process = cluster.controller.process
    ids = [number for one in cluster.engines.values() for number in one.ids]
    coming = True
    while coming:
        try:
            process.wait(1)
            return
        except TimeoutError:
            pass
        try:
            why = cluster._crashed()
            known = cluster._control().registered
        except (OSError, EngineError, LauncherError):
            break
        if why:
            print(f"phalanx cluster: {why}", file=sys.stderr, flush=True)
        coming = not why and any(number not in known for number in ids)
    process.wait()


def main() -> int:
    """Start a cluster, wait for its end or for a signal, and end what is left of it."""
    said = json.loads(sys.argv[1])
    ready: int | None = said["ready"]
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _end)
    problem = ""
    cluster: Any = None
    try:
        cluster = Cluster(
            n=said["n"] or None,
            engines=said["engines"],
            profile_dir=said["profile_dir"],
            cluster_id=said["cluster_id"],
            controller_ip=said["controller_ip"] or "",
            controller_location=said["controller_location"] or "",
            config=_config(said["options"]),
            log_level=30 if said["quiet"] else 20,
        )
        cluster.start_cluster_sync()
        if ready is not None:
            os.write(ready, b"ready")
            os.close(ready)
            ready = None
        _wait(cluster)
    except _Ended:
        pass
    except Exception as error:
        problem = f"{type(error).__name__}: {error}"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if cluster is not None:
        cluster.stop_cluster_sync()
    if problem:
        if ready is not None:
            os.write(ready, problem.encode())
        else:
            print(f"phalanx cluster: {problem}", file=sys.stderr)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
