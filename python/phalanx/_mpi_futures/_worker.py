"""A worker: it receives calls, does them, and sends what they return.

The master sends tuples with the tag `ORDER`. For each order, and for each call of a
`RUN`, the worker answers with one message of at most `ROOM` bytes with the tag
`ANSWER`: a byte that says what it is, and the object itself if it is short. A longer
one follows with the tag `OBJECT`. The order in which answers come says to what they
belong, so when a worker is killed the first call without an answer is the one that is
lost.
"""

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from phalanx import MPI

# Tags
ORDER, ANSWER, OBJECT = 1, 2, 3
# Orders
SETUP, INIT, RUN, STOP = 0, 1, 2, 3
# Answers. `ALONE` is added when the call used the communicator of the workers.
RESULT, ERROR, LONG_RESULT, LONG_ERROR, UNREAD, BYE = 0, 1, 2, 3, 4, 5
ALONE = 0x40
PICKLED = b"p"  # The object that follows is a pickle.
ROOM = 1024

# The name under which a worker runs the main script.
MAIN_RUN_NAME = "__worker__"


class _State(threading.local):
    comm: "MPI.Intracomm | None" = None


state = _State()
used_comm = False
importing_main = False


class RemoteTraceback(Exception):
    """The traceback of an exception in a worker, as its cause in the master."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f'\n"""\n{self.text}"""'


class ByValue:
    """A call whose function the worker cannot import."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def __reduce__(self) -> tuple[Any, ...]:
        return _by_value, (self.data,)


def _by_value(data: bytes) -> Any:
    return pickle.loads(data)


class Worker:
    """The life of one worker."""

    def __init__(self, comm: "MPI.Intercomm", intracomm: "MPI.Intracomm") -> None:
        from phalanx import MPI

        self.mpi = MPI
        self.comm = comm
        self.backoff = 0.001
        self.polls = not is_embedded()
        self.busy = False
        self.whole = False  # Whether all workers end together.
        state.comm = intracomm

    def serve(self) -> None:
        """Do what the master says until it says that it is over."""
        before = None
        if threading.current_thread() is threading.main_thread():
            before = signal.signal(signal.SIGINT, self._interrupted)
        try:
            while self._obey():
                pass
        finally:
            state.comm = None
            if before is not None:
                signal.signal(signal.SIGINT, before)

    def _interrupted(self, number: int, frame: object) -> None:
        # Control-C reaches every process of a job. It is for the master to say what
        # becomes of it; here it ends a call that is running, and nothing else.
        if self.busy:
            raise KeyboardInterrupt

    def _obey(self) -> bool:
        if self.polls:
            pause = 0.0
            while not self.comm.Iprobe(0, ORDER):
                time.sleep(pause)
                pause = min(self.backoff, pause * 2 or 1e-6)
        try:
            kind, *order = self.comm.recv(source=0, tag=ORDER)
        except self.mpi.Exception as error:
            # What happened to the master, others say; the frames here say nothing.
            raise SystemExit(f"a worker has lost its master: {error}") from None
        except BaseException as error:
            # Nothing of it has begun. The master sends it call by call, or by value.
            self._answer(UNREAD, error)
            return True
        if kind == RUN:
            self._run(order[0])
        elif kind == SETUP:
            self._do(self._set_up, (order[0],), {})
        elif kind == INIT:
            self._do(order[0], order[1], {})
        else:
            self.whole = order[0]
            self._send(BYE, b"")
            return False
        return True

    def _run(self, calls: list[tuple[Any, ...]]) -> None:
        calls.reverse()
        while calls:
            self._do(*calls.pop())

    def _do(self, function: Any, args: Any, kwargs: Any) -> None:
        global used_comm
        used_comm = False
        try:
            try:
                self.busy = True
                value = function(*args, **kwargs)
            finally:
                self.busy = False
            del function, args, kwargs
            self._answer(RESULT, value)
        except self.mpi.Exception as error:
            if self._is_over(error):
                raise
            self._answer(ERROR, error)
        except BaseException as error:
            self._answer(ERROR, error)

    def _is_over(self, error: "MPI.Exception") -> bool:
        """Whether the master cannot be told of an error, as it has ended itself."""
        try:
            self.comm.Iprobe(0, ORDER)
        except self.mpi.Exception:
            return True
        return False

    def _answer(self, kind: int, value: Any) -> None:
        """Send a result or an exception; raises what pickling raises for a result."""
        if kind != RESULT:
            try:
                self._put(kind, _with_traceback(value))
            except self.mpi.Exception:
                raise
            except BaseException as problem:
                text = "".join(traceback.format_exception(value))
                what = f"{type(value).__name__} of a worker cannot be sent: {problem!r}"
                self._put(kind, (RuntimeError(what), text))
            return
        self._put(kind, value)

    def _put(self, kind: int, value: Any) -> None:
        large: list[pickle.PickleBuffer] = []
        data = pickle.dumps(value, 5, buffer_callback=large.append)
        if large:
            if sum(buffer.raw().nbytes for buffer in large) < ROOM // 2:
                data = pickle.dumps(value, 5)
                large = []
        if not large and len(data) < ROOM:
            self._send(kind, data)
            return
        if kind == UNREAD:
            # Only what it is: the call is sent once more, and says the rest itself.
            error = RuntimeError(str(value[0])[: ROOM // 8])
            self._send(kind, pickle.dumps((error, "")))
            return
        # What has no large buffers is pickled already.
        self._send(kind + LONG_RESULT, b"" if large else PICKLED)
        self.comm.send(value if large else pickle.PickleBuffer(data), 0, OBJECT)

    def _send(self, kind: int, data: bytes) -> None:
        if used_comm:
            kind |= ALONE
        self.comm.Send((bytes((kind,)) + data, self.mpi.BYTE), 0, ANSWER)

    def _set_up(self, told: dict[str, Any]) -> None:
        """Become what a child of the program is."""
        global importing_main
        self.backoff = told["backoff"]
        os.environ.update(told["env"])
        if told["wdir"] is not None:
            os.chdir(told["wdir"])
        sys.path.extend(told["path"])
        main = sys.modules["__main__"]
        if told["main"] is not None:
            importing_main = True
            try:
                kind, place = told["main"]
                run_main(kind, place, told["globals"])
            finally:
                importing_main = False
        elif told["globals"]:
            main.__dict__.update(told["globals"])
        sys.modules[MAIN_RUN_NAME] = sys.modules["__main__"]


def _with_traceback(error: BaseException) -> tuple[BaseException, str]:
    # The frames of this module say nothing to the reader.
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_globals is globals():
        trace = trace.tb_next
    text = "".join(traceback.format_exception(type(error), error, trace))
    return error, text


def run_main(kind: str, place: str, names: dict[str, Any]) -> None:
    """Run the main script as `__worker__`, so that what it defines can be found."""
    known = sys.modules["__main__"]
    if getattr(known, "_phalanx_worker_of", None) == place:
        return  # For an earlier executor.
    module = ModuleType(MAIN_RUN_NAME)
    content = module.__dict__
    content.update(names, _phalanx_worker_of=place)
    if kind == "name":
        from importlib.util import find_spec

        spec = find_spec(place)
        loader: Any = spec.loader if spec is not None else None
        code: Any = loader.get_code(place) if loader is not None else None
        if spec is None or code is None:
            raise ImportError(f"a worker does not find the main module {place!r}")
        content.update(__spec__=spec, __file__=spec.origin, __package__=spec.parent)
    elif os.path.isdir(place) or not place.endswith((".py", ".pyw")):
        import runpy

        # A directory, an archive, or a script under another name: it decides by itself.
        content.update(runpy.run_path(place, names, MAIN_RUN_NAME))
        sys.modules["__main__"] = sys.modules[MAIN_RUN_NAME] = module
        return
    else:
        here = os.path.dirname(place)
        if not getattr(sys.flags, "safe_path", False) and here not in sys.path:
            sys.path.insert(0, here)
        with open(place, "rb") as script:
            code = compile(script.read(), place, "exec", dont_inherit=True)
        content.update(__file__=place, __package__=None)
    sys.modules["__main__"] = sys.modules[MAIN_RUN_NAME] = module
    exec(code, content)


def is_embedded() -> bool:
    """Whether waits in MPI sleep, so that nobody needs to poll."""
    from phalanx import MPI

    return bool(MPI.get_vendor()[0] == "Phalanx") and (
        MPI.Query_thread() == MPI.THREAD_MULTIPLE
    )


def comm_of_workers() -> "MPI.Intracomm":
    """The communicator of the workers, and note that this call needs all of them."""
    global used_comm
    comm = state.comm
    if comm is None:
        raise RuntimeError(
            "get_comm_workers() is for functions that an MPIPoolExecutor runs: this "
            "process is not a worker that MPI started"
        )
    used_comm = True
    return comm
