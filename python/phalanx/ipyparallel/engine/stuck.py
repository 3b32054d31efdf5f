"""An interrupt that does not reach its task, which is in a call of an MPI library.

Python runs signal handlers when a call has returned. Phalanx's own engine looks for
signals while it waits, and other MPI libraries do not. So `phalanx.MPI` is asked to
wait by attempts, where that can be: in messages, and before operations on all ranks.
Elsewhere (`MPI_Init`, windows, files) who waits for an engine that does not come stays
there for ever, and a thread hears of interrupts at the moment at which they come. The
first one that does not get through is told, with the line; another one ends the task
with an error that says why, and the engine.
"""

import linecache
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["is_needed", "watch"]

# So long a task may take to see an interrupt, in seconds.
PATIENCE = 1.0
# What an interrupted program ends with.
STATUS = 130


def is_needed() -> bool:
    """Whether MPI, if the engine uses it, is another library than Phalanx's own."""
    return os.environ.get("PHALANX_MPI", "") not in ("", "embedded")


def watch(engine: "Engine") -> None:
    """Begin to listen. For the main thread, which has a handler for SIGINT."""
    os.environ["PHALANX_INTERRUPTIBLE"] = "1"
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    listen = threading.Thread(
        target=_listen, args=(engine, reader), name="interrupts", daemon=True
    )
    listen.start()


def _listen(engine: "Engine", reader: int) -> None:
    told = None
    while True:
        if signal.SIGINT not in os.read(reader, 1024):
            continue
        task, heeded = engine.current, engine.interrupts
        if task is None:
            continue
        if told == (task, heeded):
            _end(engine, task)
        time.sleep(PATIENCE)
        if (engine.current, engine.interrupts) == (task, heeded):
            # Those that came meanwhile came before anything was said.
            os.set_blocking(reader, False)
            try:
                os.read(reader, 1024)
            except BlockingIOError:
                pass
            os.set_blocking(reader, True)
            told = (task, heeded)
            place, line = _place()
            print(
                f"phalanx: the interrupt does not reach engine {engine.id}, which is "
                f"in a call at {place}:\n    {line}\n"
                "phalanx: this call of an MPI library other than Phalanx's own cannot "
                "be interrupted; another interrupt ends the engine",
                file=sys.stderr,
                flush=True,
            )


def _place() -> tuple[str, str]:
    """Where the main thread is, outside of this package, and that line."""
    from .engine import _OURS

    frame = sys._current_frames().get(threading.main_thread().ident or 0)
    found = frame
    while found is not None and (
        found.f_code.co_filename.startswith((_OURS, "<frozen "))
    ):
        found = found.f_back
    found = found or frame
    if found is None:
        return "its end", ""
    name, number = found.f_code.co_filename, found.f_lineno
    line = linecache.getline(name, number).strip()
    return f"{name}:{number}, in {found.f_code.co_name}", line


def _end(engine: "Engine", task: str) -> None:
    place, line = _place()
    why = (
        f"engine {engine.id} was interrupted again in a call of an MPI library that "
        f"cannot be interrupted, at {place} ({line}): it has been ended"
    )
    error: dict[str, Any] = {"ename": "EngineError", "evalue": why, "kind": "engine"}
    error["traceback"] = [f"{why}\n"]
    try:
        engine.link.send(
            "done",
            {
                "id": task,
                "status": "error",
                "error": error,
                "metadata": b"",
                "completed": None,
            },
        )
    finally:
        os._exit(STATUS)
