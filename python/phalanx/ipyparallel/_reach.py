"""Connecting to a controller: over its socket, or through a gateway to another
machine."""

import json
import os
import socket
import subprocess
from typing import Any

from ._hello import hello
from .cluster import commands

__all__ = ["connect"]


def connect(info: dict[str, Any], timeout: float) -> Any:
    """A client's ``ClusterLink`` to the controller of a connection file.

    Over the controller's own socket if that is on this machine. Else, if it was
    started with ``--ip``, through a gateway, a process of this one's own: the command
    ``phalanx cluster gateway``, which ends with the link. Blocks until the controller
    has answered, `timeout` seconds at most.

    Raises ``ClusterGone`` with the reason when nobody answers, or not as one should.
    """
    from .._workers import ClusterLink

    address = info.get("socket")
    far = bool(info.get("addresses") and info.get("certificate"))
    if address and not (far and not _answers(address)):
        if not address.startswith("unix:"):
            address = f"unix:{address}"
        return ClusterLink.connect(address, info["token"], "client", hello(), timeout)
    ours, theirs = socket.socketpair()
    with ours, theirs:
        command = [
            *(commands.binary(), "cluster", "gateway"),
            *("--fd", str(theirs.fileno()), "--file", "-"),
            *("--timeout", str(max(timeout - 0.5, 0.5))),
        ]
        gateway = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            # An interrupt that is typed is for this process.
            start_new_session=True,
        )
        assert gateway.stdin is not None
        try:
            with gateway.stdin as stream:
                stream.write(json.dumps(info).encode() + b"\n")
        except BrokenPipeError:
            pass  # It has ended, and says why to standard error.
        theirs.close()
        number = os.dup(ours.fileno())
    # It ends with the connection; nobody waits for it then but who reaps it here.
    _gateways.append(gateway)
    _gateways[:] = [one for one in _gateways if one.poll() is None]
    return ClusterLink.connect(
        f"fd:{number}", info["token"], "client", hello(), timeout
    )


_gateways: list["subprocess.Popen[bytes]"] = []


def _answers(path: str) -> bool:
    """Whether somebody of this machine listens there."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(path.removeprefix("unix:"))
        except OSError:
            return False
    return True
