"""Where workers come from: ranks of this job, processes that it spawns, a server.

The names in `__all__` are those of the original's insides that its tests look at.
"""

import contextlib
import os
import socket
import sys
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TYPE_CHECKING, Any, Protocol

from . import _worker
from ._options import Options, python_flags
from ._worker import MAIN_RUN_NAME, RemoteTraceback

if TYPE_CHECKING:
    from phalanx import MPI

    from ._crew import Crew

__all__ = ["MAIN_RUN_NAME", "RemoteTraceback", "SharedPool", "comm_split"]

# What a launcher of MPI says to the processes that it starts.
LAUNCHED = ("PMI_FD", "PMI_RANK", "PMI_PORT", "PMIX_RANK", "OMPI_COMM_WORLD_SIZE")
SERVICE = "mpi4py-futures"
PORT = 31415

# The ranks that serve every executor of this process: `python -m mpi4py.futures`.
SharedPool: "Crew | Callable[[Options], Workers] | None" = None
# Somebody has imported `get_comm_workers`, which needs processes that MPI started.
wants_comm = False


class Workers(Protocol):
    """What an executor asks of those who work for it."""

    broken: Any

    @property
    def size(self) -> int: ...

    def submit(self, fn: Any, args: Any, kwargs: Any) -> "Future[Any]": ...

    def wait(self) -> None: ...

    def close(self) -> None: ...

    def cancel(self) -> None: ...

    def join(self) -> None: ...


class Local:
    """The processes of an executor that needs no MPI."""

    broken: Any = None

    def __init__(self, executor: Executor, size: int) -> None:
        self.executor = executor
        self.size = size

    def submit(self, fn: Any, args: Any, kwargs: Any) -> "Future[Any]":
        """Have a worker do a call; return its future."""
        return self.executor.submit(fn, *args, **kwargs)

    def wait(self) -> None:
        """Return: the workers are started when there is something to do."""

    def close(self) -> None:
        """Take no more calls."""
        self.executor.shutdown(wait=False)

    def cancel(self) -> None:
        """Cancel the calls that no worker has."""
        self.executor.shutdown(wait=False, cancel_futures=True)

    def join(self) -> None:
        """Wait until all calls are done and the workers have ended."""
        self.executor.shutdown(wait=True)


def refuse_while_importing(name: str) -> None:
    """Refuse an executor that a worker comes to while it imports the main script."""
    if _worker.importing_main:
        raise RuntimeError(
            f"a worker has come to an {name} while it imported the main script: put "
            "what the script does under `if __name__ == '__main__':`"
        )


def hire(options: Options, *, own: bool = False) -> Workers:
    """Find workers for an `MPIPoolExecutor`, as this process was started.

    With `own`, they work for nobody else.
    """
    refuse_while_importing("MPIPoolExecutor")
    if SharedPool is not None and not own:
        if callable(SharedPool):
            return SharedPool(options)
        return client(SharedPool, options)
    if options.more.get("service") is not None:
        return serve(options)
    if (
        wants_comm
        or options.wants_spawn()
        or "phalanx.MPI" in sys.modules
        or any(name in os.environ for name in LAUNCHED)
    ):
        return spawn(options)
    return processes(options)


def threads(options: Options, number: int) -> Workers:
    """Threads of this process."""
    from ._threads import Threads

    return Threads(options, number)


def processes(options: Options) -> Workers:
    """The pool of `phalanx.futures`, without MPI."""
    from phalanx.futures import ProcessPoolExecutor

    executor = ProcessPoolExecutor(
        options.number(), None, options.initializer, options.initargs
    )
    return Local(executor, executor._max_workers)


def _crew(
    connect: "Callable[[], MPI.Intercomm]",
    options: Options,
    leave: "Callable[[MPI.Intercomm, bool], None]",
    *,
    owned: bool = True,
) -> "Crew":
    from ._crew import Crew

    return Crew(connect, options.backoff, owned=owned, leave=leave)


def client(crew: "Crew", options: Options) -> Workers:
    """Have a crew work for one more executor."""
    told = options.surroundings()
    return crew.hire(options.initializer, options.initargs, told)


def _leave(whole: bool, *steps: Callable[[], None]) -> None:
    """Let go of communicators that all who have them let go of together.

    Not when one of those is known to have ended; one may end even now.
    """
    from phalanx import MPI

    if whole:
        with contextlib.suppress(MPI.Exception):
            for step in steps:
                step()


def _disconnect(comm: "MPI.Intercomm", whole: bool) -> None:
    _leave(whole, comm.Disconnect)


def _free(comm: "MPI.Intercomm", whole: bool) -> None:
    _leave(whole, comm.Free)


def spawn(options: Options) -> Workers:
    """Processes that MPI starts for this executor."""
    number = options.number()
    more = options.more
    program = os.fspath(more.get("python_exe") or sys.executable)
    given = [os.fspath(arg) for arg in more.get("python_args") or ()]
    args = [*python_flags(), *given, "-m", f"{__package__}.server", "--worker"]

    def connect() -> "MPI.Intercomm":
        from phalanx import MPI

        count = number
        if count is None:
            universe = MPI.COMM_WORLD.Get_attr(MPI.UNIVERSE_SIZE)
            count = max(1, (universe or 1) - 1)
        info = MPI.Info.Create()
        try:
            # A worker that is killed costs a call, not the job.
            info.Set("phalanx_expendable", "true")
            for key, value in dict(more.get("mpi_info") or {}).items():
                info.Set(key, value)
            return MPI.COMM_SELF.Spawn(program, args, count, info)
        finally:
            info.Free()

    return client(_crew(connect, options, _disconnect), options)


def comm_split(
    comm: "MPI.Intracomm", root: int
) -> "tuple[MPI.Intercomm, MPI.Intracomm]":
    """Part a communicator into its root and the others.

    Returns the intercommunicator between both, and the communicator of this side.
    """
    rank = comm.Get_rank()
    mine = comm.Split(int(rank != root), rank)
    other = root if rank != root else int(root == 0)
    return mine.Create_intercomm(0, comm, other), mine  # type: ignore[attr-defined, return-value]


def ranks(comm: "MPI.Intracomm", root: int, options: Options) -> "Crew":
    """The other ranks of a communicator, at its root; they call `work`.

    They are there for every executor until `Crew.dismiss`.
    """
    inter, mine = comm_split(comm, root)
    mine.Free()
    return _crew(lambda: inter, options, _free, owned=False)


def work(comm: "MPI.Intracomm", root: int) -> None:
    """Work for the root of a communicator until it is over."""
    inter, mine = comm_split(comm, root)
    worker = _worker.Worker(inter, mine)
    worker.serve()
    _leave(worker.whole, inter.Free, mine.Free)


def work_for_parent() -> None:
    """Work for the process that has spawned this one until it is over."""
    from phalanx import MPI

    parent = MPI.Comm.Get_parent()
    if not parent:
        raise SystemExit(
            "this is how an MPIPoolExecutor starts its workers; nobody has spawned "
            "this process"
        )
    worker = _worker.Worker(parent, MPI.COMM_WORLD.Dup())
    worker.serve()
    _disconnect(parent, worker.whole)


# A server: a job whose ranks work for the executors of another job

Service = str | tuple[str | None, int | str | None]


def serve(options: Options) -> Workers:
    """The ranks of a server."""
    service = options.more["service"]
    if service is True:
        service = os.environ.get("MPI4PY_FUTURES_SERVICE", "") or SERVICE

    def connect() -> "MPI.Intercomm":
        from phalanx import MPI

        info = MPI.Info.Create()
        try:
            for key, value in dict(options.more.get("mpi_info") or {}).items():
                info.Set(key, value)
            if isinstance(service, str):
                port = MPI.Lookup_name(service, info)
            else:
                port = _ask_for_port(*service)
            return MPI.COMM_SELF.Connect(port, info, root=0)
        finally:
            info.Free()

    return client(_crew(connect, options, _disconnect), options)


def _ask_for_port(host: str | None, port: int | str | None) -> str:
    host = host or os.environ.get("MPI4PY_FUTURES_SERVER_HOST", "") or "localhost"
    number = int(port or os.environ.get("MPI4PY_FUTURES_SERVER_PORT", "") or PORT)
    text = b""
    with socket.create_connection((host, number), timeout=60) as connection:
        while part := connection.recv(4096):
            text += part
    if not text:
        raise RuntimeError(f"the server at {host}:{number} has named no port of MPI")
    return text.decode()


def accept(service: Service, entries: dict[str, str]) -> None:
    """Be a server for one executor; every rank calls it."""
    from phalanx import MPI

    comm = MPI.COMM_WORLD
    info = MPI.Info.Create()
    for key, value in entries.items():
        info.Set(key, value)
    port = None
    if comm.Get_rank() == 0:
        port = MPI.Open_port(info)
        if isinstance(service, str):
            MPI.Publish_name(service, port, info)
        else:
            _tell_port(port, *service)
    try:
        parent = comm.Accept(port or "", info, 0)
    finally:
        if port is not None:
            if isinstance(service, str):
                MPI.Unpublish_name(service, port, info)
            MPI.Close_port(port)
        info.Free()
    worker = _worker.Worker(parent, comm.Dup())
    worker.serve()
    _disconnect(parent, worker.whole)


def _tell_port(text: str, bind: str | None, port: int | str | None) -> None:
    bind = (
        bind if bind is not None else os.environ.get("MPI4PY_FUTURES_SERVER_BIND", "")
    )
    number = int(port or os.environ.get("MPI4PY_FUTURES_SERVER_PORT", "") or PORT)
    with socket.create_server((bind, number)) as listener:
        connection, _ = listener.accept()
        with connection:
            connection.sendall(text.encode())
