"""Telling the launcher of an exception that nobody caught.

It shows one traceback for all ranks that raised the same, at the end of the job, where
it can be found. What cannot be told is shown by the rank itself.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from types import FrameType, TracebackType

_DESK = "PHALANX_DESK"
_WORLD = "PHALANX_WORLD"
# The launcher reads packets of 64 KiB.
_BEGINNING, _END, _FIELD = 12_000, 36_000, 2_000
_PATIENCE = 1.0  # seconds that a full desk may take


def desk() -> "tuple[_socket.socket, bool] | None":
    """Return the socket to the launcher, and whether our errors go past it.

    A program that a rank has started has inherited the variable, and maybe something
    else under that number: the socket has to be the one that the launcher made.
    """
    number, _, rest = os.environ.get(_DESK, "").partition(":")
    inode, _, shows = rest.partition(":")
    if not number.isdigit() or not inode.isdigit():
        return None
    from _socket import socket

    try:
        if os.fstat(int(number)).st_ino != int(inode):
            return None
        return socket(fileno=os.dup(int(number))), bool(shows)
    except OSError:
        return None


def slot() -> int:
    """Return the place of this process in the job's segment."""
    first, _, rank, *_ = os.environ.get(_WORLD, "::").split(":")
    return int(first) + int(rank) if first.isdigit() and rank.isdigit() else -1


def send(desk: "_socket.socket", message: bytes) -> bool:
    """Send one packet, if the launcher takes it soon."""
    import time
    from _socket import MSG_DONTWAIT, MSG_NOSIGNAL

    deadline = time.monotonic() + _PATIENCE
    while True:
        try:
            desk.send(message, MSG_DONTWAIT | MSG_NOSIGNAL)
            return True
        except BlockingIOError:
            # Waiting for room would need a flag on what all ranks share.
            if time.monotonic() > deadline:
                return False
            time.sleep(0.01)
        except OSError:
            return False


def tell(
    kind: type[BaseException],
    value: BaseException,
    trace: "TracebackType | None",
    shown: bool,
) -> bool:
    """Tell the launcher of an exception; return whether it is to show it.

    `shown` says that it has been shown here.
    """
    place = desk()
    if place is None:
        return False
    socket, shows = place
    try:
        how = "again" if is_echo(kind, value) else "shown" if shown or shows else ""
        file, line, function, source = _place(trace)
        fields = [
            "raised",
            str(slot()),
            how,
            _name(kind)[:_FIELD],
            _text(value)[:_FIELD],
            file[:_FIELD],
            str(line),
            function[:_FIELD],
            source[:_FIELD],
            _traceback(kind, value, trace),
        ]
        message = "\0".join(field.replace("\0", "?") for field in fields)
        return send(socket, message.encode(errors="replace")) and not (shown or shows)
    finally:
        socket.close()


def is_echo(kind: type[BaseException], value: BaseException) -> bool:
    """Whether it only tells that another rank has failed."""
    module = sys.modules.get("phalanx.MPI")
    if module is None:
        return False
    if kind is getattr(module, "_PeerError", None):
        return True
    if not isinstance(value, module.Exception):
        return False
    try:
        echoes = module.ERR_PROC_ABORTED, module.ERR_PROC_FAILED, module.ERR_REVOKED
        return value.Get_error_class() in echoes
    except BaseException:
        return False


def _name(kind: type[BaseException]) -> str:
    if kind.__module__ in ("builtins", "__main__"):
        return kind.__qualname__
    return f"{kind.__module__}.{kind.__qualname__}"


def _text(value: BaseException) -> str:
    try:
        return str(value)
    except BaseException:
        return "<its text could not be made>"


def _place(trace: "TracebackType | None") -> tuple[str, int, str, str]:
    """Return the innermost place in a program of the user's, else of any."""
    import linecache

    homes = {sys.prefix, sys.base_prefix}
    libraries = tuple(os.path.join(home, "lib") for home in homes)
    found: tuple[FrameType, int] | None = None
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        ours = file.startswith(libraries) or file.startswith("<frozen")
        if found is None or not ours:
            found = trace.tb_frame, trace.tb_lineno
        trace = trace.tb_next
    if found is None:
        return "", 0, "", ""
    frame, line = found
    code = frame.f_code
    source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    return os.path.abspath(code.co_filename), line, code.co_name, source


def _traceback(
    kind: type[BaseException], value: BaseException, trace: "TracebackType | None"
) -> str:
    import traceback

    text = "".join(traceback.format_exception(kind, value, trace))
    if len(text.encode(errors="replace")) <= _BEGINNING + _END:
        return text
    beginning = text.encode(errors="replace")[:_BEGINNING].decode(errors="ignore")
    end = text.encode(errors="replace")[-_END:].decode(errors="ignore")
    return f"{beginning}\n  [...]\n{end}"
