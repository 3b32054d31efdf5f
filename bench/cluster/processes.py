"""The processes of a cluster, however they were started: what they take."""

import os
import re
from pathlib import Path

import marked


def started() -> list[Path]:
    """The directories in /proc of what this process has started."""
    return marked.processes(os.environ[marked.MARK])


def memory() -> float:
    """MiB of memory that the processes have; what several share is divided."""
    kib = 0
    for place in started():
        text = (place / "smaps_rollup").read_text()
        kib += int(re.findall(r"^Pss: +(\d+) kB", text, re.MULTILINE)[0])
    return kib / 1024


def sockets() -> int:
    """How many sockets of theirs listen on a network."""
    listening = set()
    for table in ("tcp", "tcp6"):
        for line in Path("/proc/net", table).read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A":
                listening.add(f"socket:[{fields[9]}]")
    held = set()
    for place in started():
        for descriptor in (place / "fd").iterdir():
            try:
                held.add(os.readlink(descriptor))
            except OSError:
                continue  # closed meanwhile
    return len(held & listening)
