"""Processes from the fork server, which loads ahead what each of them needs."""

from multiprocessing import forkserver, popen_forkserver
from typing import Any

from ._popen import about_to_launch

__all__ = ["ForkServerPopen"]

#: Imported once by the fork server, and then there in all that it forks. They start
#: no thread and map no memory.
_PRELOAD = ("phalanx.multiprocessing._passage", "phalanx.multiprocessing._worker")


class ForkServerPopen(popen_forkserver.Popen):
    """Has the fork server fork a member of the family."""

    def _launch(self, process_obj: Any) -> None:
        server: Any = forkserver._forkserver
        if server._forkserver_pid is None and server._preload_modules is not None:
            asked = server._preload_modules
            more = [name for name in _PRELOAD if name not in asked]
            server._preload_modules = [*asked, *more]
        with about_to_launch(process_obj):
            super()._launch(process_obj)  # type: ignore[misc]
