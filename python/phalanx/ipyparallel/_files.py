"""Profiles and connection files: where a cluster says how to reach it.

Names, places and modes are those of IPython: ``profile_NAME/security`` in
``IPYTHONDIR`` or ``~/.ipython``. IPython itself is not needed.
"""

import json
import os
import time
from pathlib import Path
from typing import Any

__all__ = [
    "client_file",
    "cluster_file",
    "find_profile_dir",
    "ipython_dir",
    "profile_dirs",
    "profile_name",
    "read_connection",
]


def ipython_dir() -> Path:
    """Where profiles are."""
    named = os.environ.get("IPYTHONDIR")
    return Path(named).expanduser() if named else Path.home() / ".ipython"


def find_profile_dir(
    profile: str | None = None,
    profile_dir: str | None = None,
    place: "str | Path | None" = None,
) -> Path:
    """The directory of a profile. It need not be there."""
    if profile_dir:
        return Path(profile_dir).expanduser().absolute()
    if not profile and "IPP_PROFILE_DIR" in os.environ:
        return Path(os.environ["IPP_PROFILE_DIR"])
    base = Path(place).expanduser() if place else ipython_dir()
    return (base / f"profile_{profile or 'default'}").absolute()


def profile_dirs(place: "str | Path | None" = None) -> list[Path]:
    """The directories of all profiles that are there."""
    base = Path(place) if place else ipython_dir()
    return sorted(path for path in base.glob("profile_*") if path.is_dir())


def profile_name(profile_dir: "str | Path") -> str:
    """``default`` for ``.../profile_default``, or the path if it is none of
    IPython's."""
    path = Path(profile_dir)
    name = path.name
    if name.startswith("profile_") and path.parent == ipython_dir().absolute():
        return name.removeprefix("profile_")
    return str(path)


def _named(kind: str, cluster_id: str | None) -> str:
    return (
        f"ipcontroller-{cluster_id}-{kind}.json"
        if cluster_id
        else (f"ipcontroller-{kind}.json")
    )


def client_file(profile_dir: "str | Path", cluster_id: str | None) -> Path:
    """The connection file for clients."""
    return Path(profile_dir) / "security" / _named("client", cluster_id)


def engine_file(profile_dir: "str | Path", cluster_id: str | None) -> Path:
    """The connection file for engines."""
    return Path(profile_dir) / "security" / _named("engine", cluster_id)


def cluster_file(profile_dir: "str | Path", cluster_id: str | None) -> Path:
    """The file by which a cluster is found, stopped and listed."""
    name = f"cluster-{cluster_id}.json" if cluster_id else "cluster.json"
    return Path(profile_dir) / "security" / name


def _newest(profile_dir: Path) -> Path | None:
    """The connection file that was written last, of any cluster of a profile."""
    found = [
        (path.stat().st_mtime_ns, path)
        for path in (profile_dir / "security").glob("ipcontroller*-client.json")
    ]
    return max(found)[1] if found else None


def _alive(info: dict[str, Any]) -> bool:
    """Whether the controller that wrote a file may be running."""
    pid = info.get("pid")
    location = info.get("location")
    if not isinstance(pid, int) or pid <= 0 or not _here(location):
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def _here(location: Any) -> bool:
    import socket

    return not location or location == socket.gethostname()


def read_connection(path: Path) -> dict[str, Any]:
    """What a connection file says.

    Raises ValueError for a file of another program, and OSError as `open` does.
    """
    text = path.read_text()
    if not text.strip():
        raise FileNotFoundError(f"{path} is being written")
    try:
        info = json.loads(text)
    except ValueError as problem:
        raise ValueError(f"{path} is not a connection file: {problem}") from None
    if not isinstance(info, dict) or "phalanx" not in info:
        raise ValueError(
            f"{path} was not written by Phalanx, but by a controller of another "
            "ipyparallel; stop that one, and start this with 'phalanx cluster start'"
        )
    return info


def wait_for_connection(
    path: Path, timeout: float, newest_of: Path | None = None
) -> tuple[Path, dict[str, Any]]:
    """The file and what it says, once a controller that is starting has written it.

    Without the file, that of the cluster of `newest_of` that started last is taken.
    Raises OSError with what to do when there is none after `timeout` seconds.
    """
    until = time.monotonic() + max(timeout, 0)
    pause = 0.001
    stale = None
    while True:
        chosen = path
        if newest_of is not None and not path.exists():
            chosen = _newest(newest_of) or path
        try:
            info = read_connection(chosen)
            if info.get("socket") and info.get("state") != "starting":
                if _alive(info):
                    return chosen, info
                stale = info
        except FileNotFoundError:
            pass
        if time.monotonic() >= until:
            break
        time.sleep(pause)
        pause = min(pause * 1.25, 0.1)
    if stale is not None:
        raise OSError(
            f"the controller of {path.parent.parent.name} (process {stale.get('pid')}) "
            "has ended without taking its connection file away; start a cluster with "
            "'ipcluster start -n 4', or remove the file with 'ipcluster clean'"
        )
    raise OSError(
        f"no cluster is running: after {timeout:g} s there is no connection file "
        f"{path}; start one with 'ipcluster start -n 4', or name another with "
        "profile=, cluster_id= or url_file="
    )
