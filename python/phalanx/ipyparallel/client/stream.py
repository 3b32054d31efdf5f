"""Output of tasks, shown while somebody waits for their results."""

import queue
import sys
from collections.abc import Sequence
from typing import Any

from .display import show_display, show_stream
from .futures import MessageFuture, Submitted

__all__ = ["Stream"]


class Stream:
    """Output of tasks, on its way from the client's thread to the one that shows it."""

    def __init__(self, children: Sequence[MessageFuture] | Submitted) -> None:
        self.arrived: queue.SimpleQueue[tuple[MessageFuture, str, Any]] = (
            queue.SimpleQueue()
        )
        self.children = children
        self.failed: set[str] = set()
        self.last: dict[str, Any] = {}
        for child in children:
            # What has come already, then what comes.
            metadata = child.metadata
            for name in ("stdout", "stderr"):
                if metadata[name]:
                    self.arrived.put((child, name, metadata[name]))
            for output in metadata["outputs"]:
                self.arrived.put((child, "output", output))
            child.watchers.append(self.put)

    def put(self, child: MessageFuture, name: str, what: Any) -> None:
        self.arrived.put((child, name, what))

    def pump(self) -> None:
        for child in self.children:
            if child.done() and child.msg_id not in self.failed:
                # What it has shown is here already.
                self.failed.add(child.msg_id)
                error = child.exception()
                if error is not None:
                    self.arrived.put((child, "error", error))
        while True:
            try:
                child, name, what = self.arrived.get_nowait()
            except queue.Empty:
                return
            engine = child.metadata["engine_id"]
            if name in ("stdout", "stderr"):
                show_stream(name, what, engine, self.last)
            elif name in ("output", "result"):
                show_display(name, what, engine)
            elif name == "error":
                lines = "\n".join(what.render_traceback())
                print(lines, file=sys.stderr)

    def close(self) -> None:
        for child in self.children:
            if self.put in child.watchers:
                child.watchers.remove(self.put)
