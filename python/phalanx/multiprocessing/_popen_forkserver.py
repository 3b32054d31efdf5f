"""Processes from the fork server, which loads ahead what each of them needs."""

from __future__ import annotations

import io
import os
import time
from multiprocessing import forkserver, popen_forkserver, reduction, spawn, util
from multiprocessing.context import set_spawning_popen
from multiprocessing.process import parent_process

from ._popen import about_to_launch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

__all__ = ["ForkServerPopen"]

#: Imported once by the fork server, and then there in all that it forks. They start
#: no thread and map no memory.
_PRELOAD = ("phalanx.multiprocessing._passage", "phalanx.multiprocessing._worker")

#: What removes the temporary directory of the process that started the server. Only
#: where that is its own: children have the directory of their parent.
_END = "phalanx.multiprocessing._fork_server_end"
_FIRST = os.getpid()

#: So many fork servers are asked for one process, each after a longer pause: one that
#: was just killed still counts as running for a moment.
_ATTEMPTS = 6
_PAUSE = 0.02


class ForkServerPopen(popen_forkserver.Popen):
    """Has the fork server fork a member of the family."""

    def _launch(self, process_obj: Any) -> None:
        popen: Any = self
        with about_to_launch(process_obj):
            data = io.BytesIO()
            set_spawning_popen(popen)
            try:
                reduction.dump(spawn.get_preparation_data(process_obj._name), data)
                reduction.dump(process_obj, data)
            finally:
                set_spawning_popen(None)
            for attempt in range(_ATTEMPTS):
                time.sleep(_PAUSE * attempt)
                try:
                    writer = self._ask()
                except (EOFError, ConnectionError) as error:
                    why = error
                    continue
                with open(writer, "wb") as file:
                    file.write(data.getbuffer())
                return
        raise ConnectionError(
            f"{process_obj.name} cannot be started: the fork server ended {_ATTEMPTS} "
            "times while it was asked for a new process. Something kills it (a limit "
            "on memory, perhaps), or it fails while it loads its modules, and has "
            "said above why"
        ) from why

    def _ask(self) -> int:
        """Have the server fork; return what the new process reads its object from.

        It gets that when its number has arrived here. So it runs nothing if the server
        is killed in between, and another server can be asked.
        """
        server: Any = forkserver._forkserver
        popen: Any = self
        asked = server._preload_modules
        own = parent_process() is None and os.getpid() == _FIRST
        if asked is not None and (server._forkserver_pid is None or not own):
            more = [*_PRELOAD, _END] if own else _PRELOAD
            kept = [name for name in asked if name not in (*_PRELOAD, _END)]
            server._preload_modules = [*kept, *more]
        sentinel, writer = forkserver.connect_to_new_process(popen._fds)
        try:
            pid = forkserver.read_signed(sentinel)
            # The child has the other end: it sees by this one that its parent lives.
            alive = os.dup(writer)
        except BaseException:
            os.close(sentinel)
            os.close(writer)
            raise
        popen.sentinel, popen.pid = sentinel, pid
        close: Any = util.close_fds  # type: ignore[attr-defined]
        popen.finalizer = util.Finalize(popen, close, (alive, sentinel))
        return writer
