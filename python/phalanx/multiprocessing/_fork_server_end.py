"""What the fork server leaves behind when the process that started it was killed.

Its socket lies in a temporary directory of that process, which removes it at its own
end. A killed process removes nothing. The fork server ends when the last process that
could ask it for another has ended; if the directory's owner is dead then, nobody else
would ever remove the directory, so the server does. A process that is a child of
another has its parent's directory, so only servers of others import this module.

The fork server imports this module ahead of its work; anywhere else it does nothing.
"""

import atexit
import os
import re
import shutil
import socket
import struct
import sys

__all__: list[str] = []

_COMMAND = re.compile(r"from multiprocessing\.forkserver import main; main\((\d+),")


# The kernel's mark of a process that is ending (PF_EXITING). Its descriptors are closed
# before it becomes a zombie, and that is what tells the server that nobody is left.
_EXITING = 0x4


def _born(pid: int) -> bytes | None:
    """When a process started, in ticks; None when it has ended, or is about to."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    ended = fields[0] in (b"Z", b"X") or int(fields[6]) & _EXITING
    return None if ended else fields[19]


def _tidy_up_at_the_end(listening: int) -> None:
    """Remove the directory of a listening socket at exit, if its owner was killed."""
    with socket.socket(fileno=os.dup(listening)) as listener:
        folder, name = os.path.split(listener.getsockname())
        # Who called `listen`: the process that started this one, even if it is dead.
        size = struct.calcsize("3i")
        peer = listener.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size)
    owner = struct.unpack("3i", peer)[0]
    # An owner in another process namespace has number 0, and cannot be looked at.
    if not owner or not name or not os.path.basename(folder).startswith("pymp-"):
        return
    server, born = os.getpid(), _born(owner)

    def tidy_up() -> None:
        # The processes that the server forks inherit this function.
        if os.getpid() == server and (born is None or _born(owner) != born):
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(tidy_up)


_here = _COMMAND.match(sys.orig_argv[-1]) if sys.orig_argv else None
if _here:
    _tidy_up_at_the_end(int(_here[1]))
