"""The terminal of the job, for the rank that asks: `input()`, `breakpoint()`, `--pdb`.

The launcher has the terminal and hands it to one rank at a time. A rank that has it
finds it as its standard input, output and error, so that line editing and all that asks
whether it speaks to a terminal work as in a program that was started alone. Loaded when
a program asks for the first time, and not before.
"""

import os
import sys
import threading

from . import _failure

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from types import TracebackType

# The words of the protocol: crates/phalanx-launcher/src/job/terminal.rs
_LINE, _DEBUGGER, _POST_MORTEM, _DONE = b"i", b"d", b"p", b"r"
_GRANTED, _TYPED, _OWN, _NONE = b"g", b"o", b"s", b"n"


class _Terminal:
    """What this process has of the terminal."""

    def __init__(self) -> None:
        self.process = os.getpid()
        self.lock = threading.RLock()
        self.depth = 0
        self.saved: list[int] = []
        self.socket: _socket.socket | None = None
        # The launcher has said that our own standard input is what is to be read.
        self.reads_own = False

    def _connect(self) -> "_socket.socket | None":
        from _socket import AF_UNIX, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socketpair

        place = _failure.desk()
        if place is None:
            return None
        desk, _ = place
        ours, theirs = socketpair(AF_UNIX, SOCK_SEQPACKET)
        message = f"speaks\0{_failure.slot()}\0{os.getpid()}".encode()
        number = theirs.fileno().to_bytes(4, sys.byteorder)
        try:
            desk.sendmsg([message], [(SOL_SOCKET, SCM_RIGHTS, number)])
        except OSError:
            ours.close()
            return None
        finally:
            theirs.close()
            desk.close()
        return ours

    def acquire(self, want: bytes) -> bytes:
        """Ask for the terminal and wait for it; return the launcher's answer."""
        self.lock.acquire()
        if self.depth:
            self.depth += 1
            return _GRANTED
        answer = _NONE
        try:
            answer = self._ask(want)
            self.depth = int(answer == _GRANTED)
        finally:
            if not self.depth:
                self.lock.release()
        return answer

    def _ask(self, want: bytes) -> bytes:
        from _socket import CMSG_SPACE

        if self.reads_own:
            return _OWN
        _flush()
        if self.socket is None:
            self.socket = self._connect()
        if self.socket is None:
            self.reads_own = True
            return _OWN
        try:
            self.socket.send(want)
            answer, rights, *_ = self.socket.recvmsg(1, CMSG_SPACE(4))
        except OSError:
            answer, rights = b"", []
        except BaseException:
            # Somebody interrupts the wait: who asks no more must not be given it.
            self.socket.close()
            self.socket = None
            raise
        if answer == _GRANTED and rights:
            self._take(int.from_bytes(rights[0][2][:4], sys.byteorder))
            return _GRANTED
        if answer == _OWN:
            self.reads_own = True
            self.socket.close()
        return answer or _NONE

    def _take(self, terminal: int) -> None:
        import fcntl
        import termios

        try:
            # As a process of the background it would be stopped when it reads.
            fcntl.ioctl(terminal, termios.TIOCNOTTY)
        except OSError:
            pass  # it is not our controlling terminal
        self.saved = [os.dup(number) for number in range(3)]
        for number in range(3):
            os.dup2(terminal, number)
        os.close(terminal)

    def release(self) -> None:
        """Give the terminal back, if nobody around this has asked for it as well."""
        self.depth -= 1
        if not self.depth:
            _flush()
            for number, saved in enumerate(self.saved):
                os.dup2(saved, number)
                os.close(saved)
            self.saved = []
            try:
                if self.socket is not None:
                    self.socket.send(_DONE)
            except OSError:
                pass  # the launcher has ended the job
        self.lock.release()


_terminal: _Terminal | None = None


def _get() -> _Terminal:
    global _terminal
    if _terminal is None or _terminal.process != os.getpid():
        _terminal = _Terminal()
    return _terminal


def _flush() -> None:
    for stream in sys.stdout, sys.stderr:
        try:
            stream.flush()
        except (OSError, ValueError, AttributeError):
            pass  # closed, or replaced


def _is_plain() -> bool:
    """Whether input comes from where the program was started with."""
    return sys.stdin is not None and sys.stdin is sys.__stdin__ and _descriptor() == 0


def _descriptor() -> int:
    try:
        return sys.stdin.fileno()
    except (OSError, ValueError):
        return -1


def _rank() -> tuple[str, bool]:
    """Return this rank's number, and whether there are others."""
    rank, size = os.environ.get("PMI_RANK", "0"), os.environ.get("PMI_SIZE", "1")
    return rank, size != "1"


def _prompt(prompt: object) -> str:
    rank, has_others = _rank()
    return f"[rank {rank}] {prompt}" if has_others else f"{prompt}"


def ask(builtin: "Callable[[object], str]", prompt: object) -> str:
    """Read a line as `input()` does, which is `builtin`, in any rank."""
    if not _is_plain():
        return builtin(prompt)
    trace = sys.gettrace()
    # A debugger that is told to step goes over this, as over the function it replaces.
    sys.settrace(None)
    try:
        return _ask(builtin, prompt)
    finally:
        sys.settrace(trace)


def _ask(builtin: "Callable[[object], str]", prompt: object) -> str:
    terminal = _get()
    is_debugger = terminal.depth > 0 or _is_called_by_debugger()
    answer = terminal.acquire(_DEBUGGER if is_debugger else _LINE)
    if answer == _GRANTED:
        try:
            is_asked = not is_debugger and _rank()[0] == "0"
            return builtin(prompt if is_asked else _prompt(prompt))
        finally:
            terminal.release()
    if answer == _TYPED:
        return _read_typed(prompt)
    try:
        return builtin(prompt)
    except EOFError:
        if answer == _OWN and _rank()[0] == "0":
            raise
        raise EOFError(_no_input(is_debugger)) from None


def _no_input(is_debugger: bool) -> str:
    rank, _ = _rank()
    what = "a debugger" if is_debugger else "input()"
    return (
        f"{what} in rank {rank} has nothing to read: standard input belongs to rank 0 "
        "(--stdin RANK chooses another one), and there is no terminal to ask"
    )


def _read_typed(prompt: object) -> str:
    """Read a line that was typed before the program asked.

    Byte by byte: what comes after it may be for somebody else.
    """
    sys.stdout.write(f"{prompt}")
    _flush()
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            break
        line += byte
    if not line:
        raise EOFError("EOF when reading a line")
    text = line.decode(sys.stdin.encoding, sys.stdin.errors or "strict")
    return text.removesuffix("\n")


def _is_called_by_debugger() -> bool:
    """Whether a debugger asks whose class we have not met, and change it for later."""
    if "pdb" not in sys.modules:
        return False
    prepare()
    frame = sys._getframe(1)
    for _ in range(12):
        if frame.f_code.co_name == "interaction":
            return True
        if frame.f_back is None:
            return False
        frame = frame.f_back
    return False


def prepare() -> None:
    """Make debuggers hold the terminal from their first word to their last."""
    import pdb

    if hasattr(pdb.Pdb.interaction, "_phalanx"):
        return
    interaction = pdb.Pdb.interaction

    def held(self: pdb.Pdb, *args: object, **kwargs: object) -> object:
        if getattr(self, "stdin", None) is not sys.__stdin__ or not _is_plain():
            return interaction(self, *args, **kwargs)  # type: ignore[arg-type]
        terminal = _get()
        if terminal.acquire(_DEBUGGER) != _GRANTED:
            return interaction(self, *args, **kwargs)  # type: ignore[arg-type]
        try:
            if type(self).cmdloop is not pdb.Pdb.cmdloop:
                # It does not ask by `input()`: its prompt is its own.
                print(_prompt("").rstrip(), flush=True)
            return interaction(self, *args, **kwargs)  # type: ignore[arg-type]
        finally:
            terminal.release()

    held._phalanx = True  # type: ignore[attr-defined]
    pdb.Pdb.interaction = held  # type: ignore[method-assign, assignment]


def examine(
    kind: type[BaseException], value: BaseException, trace: "TracebackType | None"
) -> None:
    """Let a debugger look at an exception that nobody caught (`--pdb`)."""
    is_news = issubclass(kind, Exception) and not _failure.is_echo(kind, value)
    if trace is None or not is_news or not _is_plain():
        return
    import pdb

    terminal = _get()
    answer = terminal.acquire(_POST_MORTEM)
    if answer == _NONE:
        print("phalanx: --pdb: there is no terminal", file=sys.stderr)
        return
    try:
        pdb.post_mortem(trace)
    finally:
        if answer == _GRANTED:
            terminal.release()
