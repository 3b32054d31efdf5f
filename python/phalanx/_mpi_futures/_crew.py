"""The master's side of workers that are MPI processes.

A `Crew` is the workers behind one intercommunicator; a `Client` is one executor that
they work for. A call is sent by the thread that submits it when a worker is idle, else
by the thread of the crew when one has answered. That thread waits for all workers at
once, by a receive from each, so that it hears of each that has ended.

Short calls travel several in one message. Only those of functions that were timed
before do, and only so many that all of them together take `BATCH` seconds, and that
every worker could have as many: a call that waits for others is never behind one.
"""

import pickle
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future
from typing import TYPE_CHECKING, Any

from ._ends import again, cancel, fail, give
from ._worker import (
    ALONE,
    ANSWER,
    BYE,
    ERROR,
    INIT,
    LONG_ERROR,
    LONG_RESULT,
    MAIN_RUN_NAME,
    OBJECT,
    ORDER,
    PICKLED,
    ROOM,
    RUN,
    SETUP,
    STOP,
    UNREAD,
    ByValue,
    RemoteTraceback,
    is_embedded,
)

if TYPE_CHECKING:
    from phalanx import MPI

# As long as a call would have to take for its way there and back to be negligible.
BATCH = 1.5e-3
# After Control-C, which ends what all workers are in, nothing new begins for so long:
# the program may be on its way to cancel it.
HOLD = 1.0
KINDS = 1000  # Of so many functions it is known how long their calls take.


class Task:
    """A call, or an order to one worker, and the future that waits for it."""

    __slots__ = (
        "alone",
        "args",
        "begun",
        "by_value",
        "client",
        "fn",
        "future",
        "key",
        "kind",
        "kwargs",
    )

    def __init__(
        self, client: "Client", fn: Any, args: Any, kwargs: Any, kind: int = RUN
    ) -> None:
        self.kind = kind
        self.client = client
        self.future: Future[Any] = Future()
        self.fn = fn
        self.args = args
        self.kwargs = kwargs
        self.key = _key(fn)
        self.begun = False  # Its future says that it runs.
        self.alone = False
        self.by_value = False


def _key(fn: Any) -> Any:
    """What calls have in common that take about as long."""
    name = getattr(fn, "__qualname__", None)
    if name is not None:
        return getattr(fn, "__module__", None), name
    inner = getattr(fn, "fn", None)  # Of a function for several items.
    return type(fn) if inner is None else (type(fn), _key(inner))


class Client:
    """One executor's share of a crew."""

    def __init__(
        self,
        crew: "Crew",
        initializer: Any = None,
        initargs: tuple[Any, ...] = (),
        told: dict[str, Any] | None = None,
    ) -> None:
        self.crew = crew
        self.told = told
        self.initializer = initializer
        self.initargs = initargs
        self.broken: BaseException | None = None
        self.closed = False
        self.pending = 0
        self.event = threading.Event()
        self.over = threading.Event()

    @property
    def size(self) -> int:
        """How many workers there are, once they are."""
        return 0 if self.broken else len(self.crew.alive)

    @property
    def thread(self) -> threading.Thread:
        """The thread that takes answers."""
        return self.crew.thread

    def submit(self, fn: Any, args: Any, kwargs: Any) -> "Future[Any]":
        """Have a worker do a call; return its future."""
        task = Task(self, fn, args, kwargs)
        crew = self.crew
        with crew.lock:
            if self.broken is not None:
                raise again(self.broken)
            if self.closed:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self.pending += 1
            crew.queue.append(task)
            send = bool(crew.idle)
        if send:
            crew.dispatch()
        return task.future

    def wait(self) -> None:
        """Wait until the workers are ready, or will not be."""
        self.event.wait()

    def close(self) -> None:
        """Take no more calls; the workers end when all are done, if they may."""
        crew = self.crew
        with crew.lock:
            if self.closed:
                return
            self.closed = True
            crew.end_if_over(self)
        crew.dispatch()

    def cancel(self) -> None:
        """Cancel the calls that no worker has."""
        crew = self.crew
        with crew.lock:
            # One that a worker gave back runs, as far as its future says.
            mine = [t for t in crew.queue if t.client is self and not t.begun]
            crew.queue = deque(t for t in crew.queue if t.client is not self or t.begun)
        for task in mine:
            cancel(task.future)
            crew.finished(task)

    def join(self) -> None:
        """Wait until all calls are done, and until workers of our own have ended."""
        crew = self.crew
        if threading.current_thread() is crew.thread:
            return
        self.over.wait()
        if crew.owner is self:
            crew.thread.join()


class Crew:
    """The workers behind one intercommunicator."""

    def __init__(
        self,
        connect: "Callable[[], MPI.Intercomm]",
        backoff: float,
        *,
        owned: bool,
        leave: "Callable[[MPI.Intercomm, bool], None]",
    ) -> None:
        self.lock = threading.RLock()
        self.queue: deque[Task] = deque()
        self.idle: deque[int] = deque()
        self.alive: set[int] = set()
        self.orders: dict[int, deque[Task]] = {}
        self.begun: list[deque[Task]] = []
        self.sent: list[float] = []
        self.costs: dict[Any, float] = {}
        self.clients: weakref.WeakSet[Client] = weakref.WeakSet()
        self.told: dict[str, Any] | None = None
        self.backoff = backoff
        self.owner: Client | None = None
        self.owned = owned
        self.ending = False
        self.held: threading.Timer | None = None
        self.lost_any = False
        self.abandoned = False
        self._is_started = False
        self._started = threading.Event()
        self._connect = connect
        self._leave = leave
        self.thread = threading.Thread(
            target=self._live, name="MPIPoolExecutor", daemon=True
        )
        _crews.add(self)

    def hire(
        self, initializer: Any, initargs: tuple[Any, ...], told: dict[str, Any]
    ) -> Client:
        """Add a client.

        Before its first call every worker takes over what it is told of the program,
        and does the initializer.
        """
        # What a worker defines in the main script, its answers find here.
        sys.modules[MAIN_RUN_NAME] = sys.modules["__main__"]
        client = Client(self, initializer, initargs, told)
        with self.lock:
            self.clients.add(client)
            if self.owned:
                self.owner = client
            if self.begun:
                self._introduce(client)
        if not self._start():
            self.dispatch()
        return client

    def _start(self) -> bool:
        """Start the crew's thread; false when it has been."""
        with self.lock:
            if self._is_started:
                return False
            self._is_started = True
            self.thread.start()
        return True

    def _introduce(self, client: Client) -> None:
        """Order what every worker does before the first call of a client."""
        if client.closed and client.pending == 0:
            client.event.set()
            return
        orders: list[tuple[int, Any, tuple[Any, ...]]] = []
        if client.told != self.told:
            self.told = client.told
            orders.append((SETUP, None, (client.told,)))
        if client.initializer is not None:
            orders.append((INIT, client.initializer, client.initargs))
        left = len(orders) * len(self.alive)

        def answered(future: "Future[Any]") -> None:
            nonlocal left
            with self.lock:
                left -= 1
                error = future.exception() if not future.cancelled() else None
            if error is not None and not isinstance(error, _Gone):
                self.break_client(client, _in_worker(error))
            if left == 0 or error is not None:
                client.event.set()

        for kind, fn, args in orders:
            for worker in self.alive:
                task = Task(client, fn, args, {}, kind)
                task.future.add_done_callback(answered)
                client.pending += 1
                self.orders.setdefault(worker, deque()).append(task)
        if not orders:
            client.event.set()

    # Sending

    def dispatch(self) -> None:
        """Give idle workers what there is to do."""
        while True:
            with self.lock:
                found = self._choose()
            if found is None:
                return
            self._send(*found)

    def _choose(self) -> tuple[int, list[Task]] | None:
        """Take an idle worker and something for it; the lock is held."""
        for worker in list(self.idle) if self.orders else ():
            orders = self.orders.get(worker)
            if orders:
                self.idle.remove(worker)
                task = orders.popleft()
                if not orders:
                    del self.orders[worker]
                task.begun = task.future.set_running_or_notify_cancel()
                return self._give(worker, [task])
        if not self.idle or self.held:
            return None
        tasks: list[Task] = []
        cost = 0.0
        most = 1 + len(self.queue) // (2 * max(1, len(self.alive)))
        while self.queue and len(tasks) < most:
            task = self.queue[0]
            known = None if task.alone else self.costs.get(task.key)
            if tasks and (known is None or cost + known > BATCH):
                break
            self.queue.popleft()
            if not task.begun:
                if not task.future.set_running_or_notify_cancel():
                    self.finished(task)
                    continue
                task.begun = True
            tasks.append(task)
            if known is None:
                break
            cost += known
        return self._give(self.idle.popleft(), tasks) if tasks else None

    def _give(self, worker: int, tasks: list[Task]) -> tuple[int, list[Task]]:
        self.begun[worker] = deque(tasks)
        self.sent[worker] = time.perf_counter()
        return worker, tasks

    def _send(self, worker: int, tasks: list[Task]) -> None:
        """Send calls to a worker, which is not idle any more."""
        MPI = self.MPI
        first = tasks[0]
        try:
            if first.kind == INIT:
                order: tuple[Any, ...] = (INIT, first.fn, first.args)
            elif first.kind == SETUP:
                order = (SETUP, *first.args)
            elif first.kind == STOP:
                order = (STOP, *first.args)
            elif first.by_value:
                order = (RUN, [_by_value(first)])
            else:
                order = (RUN, [(task.fn, task.args, task.kwargs) for task in tasks])
            self.comm.send(order, worker, ORDER)
        except MPI.Exception as error:
            self._lose(worker, str(error))
        except Exception as error:
            # It could not be pickled, and nothing was sent.
            self._unsendable(worker, tasks, error)
        except BaseException:
            # An interrupt: nobody knows how much of the message is on its way.
            self._lose(worker, "sending to it was interrupted")
            raise

    def _unsendable(self, worker: int, tasks: list[Task], error: Exception) -> None:
        failed = None
        with self.lock:
            self.begun[worker].clear()
            self.idle.append(worker)
            if len(tasks) > 1:
                for task in reversed(tasks):
                    task.alone = True
                    self.queue.appendleft(task)
            elif _may_go_by_value(tasks[0], error):
                self._again_by_value(worker, tasks[0])
            else:
                failed = tasks[0]
        if failed is not None:
            fail(failed.future, error)
            self.finished(failed)

    def _again_by_value(self, worker: int, task: Task) -> None:
        task.by_value = task.alone = True
        self.queue.appendleft(task)

    # Receiving

    def _live(self) -> None:
        """The thread of the crew."""
        try:
            from phalanx import MPI

            self.MPI = MPI
            self._work_with(self._connect())
        except BaseException as error:
            # Whatever it is, nobody waits for ever.
            for worker in list(self.alive):
                self._lose(worker, f"{type(error).__name__}: {error}")
            self._break_all(error)
        finally:
            self._started.set()

    def _work_with(self, comm: "MPI.Intercomm") -> None:
        """Give the workers behind a communicator what there is to do, to the end."""
        MPI = self.MPI
        self.comm = comm
        size = comm.Get_remote_size()
        self.buffers = [bytearray(ROOM + 1) for _ in range(size)]
        self.requests = [
            comm.Recv_init((self.buffers[i], MPI.BYTE), i, ANSWER) for i in range(size)
        ]
        for request in self.requests:
            request.Start()
        self.heard = list(range(size))  # From whom a receive is active.
        with self.lock:
            self.begun = [deque() for _ in range(size)]
            self.sent = [0.0] * size
            self.alive = set(range(size))
            self.idle.extend(range(size))
            for client in list(self.clients):
                self._introduce(client)
                self.end_if_over(client)
        self._started.set()
        self.dispatch()
        wait = self._wait if is_embedded() else self._poll
        status = MPI.Status()
        while self.alive:
            try:
                worker = wait(status)
            except MPI.Exception as error:
                self._find_ended(error)
            else:
                self._hear(worker, status.Get_count(MPI.BYTE))
            self.dispatch()
        try:
            for request in self.requests:
                request.Free()
            self._leave(comm, not self.lost_any)
        finally:
            self._break_all(_Gone("all workers have ended"))

    def _wait(self, status: "MPI.Status") -> int:
        return self.MPI.Request.Waitany(self.requests, status)

    def _poll(self, status: "MPI.Status") -> int:
        pause = 0.0
        while True:
            worker, done = self.MPI.Request.Testany(self.requests, status)
            if done and worker >= 0:
                return worker
            time.sleep(pause)
            pause = min(self.backoff, pause * 2 or 1e-6)

    def _hear(self, worker: int, count: int) -> None:
        """Take an answer."""
        data = self.buffers[worker]
        kind = data[0]
        alone, kind = kind & ALONE, kind & ~ALONE
        value: Any = None
        error: BaseException | None = None
        try:
            if kind in (LONG_RESULT, LONG_ERROR):
                pickled = data[1:count] == PICKLED
                value = self.comm.recv(source=worker, tag=OBJECT)
                if pickled:
                    value = pickle.loads(value)
                kind -= LONG_RESULT
            elif kind != BYE:
                value = pickle.loads(memoryview(data)[1:count])
        except self.MPI.Exception as problem:
            return self._lose(worker, str(problem))
        except BaseException as problem:
            error = problem
        if kind == BYE:
            self.heard.remove(worker)
            return self._lose(worker, "")
        self.requests[worker].Start()
        if error is None and kind in (ERROR, UNREAD):
            error, text = value
            error.__cause__ = RemoteTraceback(text) if text else None
        if isinstance(error, KeyboardInterrupt):
            self._hold()
            # So that who waits for this call has heard of the interrupt itself before.
            time.sleep(HOLD / 10)
        task = self._next_of(worker, kind, error, bool(alone))
        if task is None:
            return
        if error is not None:
            fail(task.future, error)
        else:
            give(task.future, value)
        self.finished(task)

    def _hold(self) -> None:
        """Begin nothing for a moment."""

        def go_on() -> None:
            with self.lock:
                self.held = None
            self.dispatch()

        with self.lock:
            if self.held is None:
                self.held = threading.Timer(HOLD, go_on)
                self.held.daemon = True
                self.held.start()

    def _next_of(
        self, worker: int, kind: int, error: BaseException | None, alone: bool
    ) -> Task | None:
        """The call that an answer belongs to; None when it will be sent once more."""
        with self.lock:
            begun = self.begun[worker]
            if not begun:
                return None
            if kind == UNREAD and len(begun) > 1:
                self._give_back(worker)
                self.idle.append(worker)
                return None
            task = begun.popleft()
            took = time.perf_counter() - self.sent[worker]
            if task.kind == RUN:
                if len(self.costs) > KINDS:
                    self.costs.clear()
                before = self.costs.get(task.key, took)
                self.costs[task.key] = BATCH if alone else max(took, before / 2)
            self.sent[worker] += took
            if not begun:
                self.idle.append(worker)
            if kind == UNREAD and error is not None and _may_go_by_value(task, error):
                self._again_by_value(worker, task)
                return None
        return task

    def _give_back(self, worker: int) -> None:
        """Put what a worker has not begun before everything else; the lock is held."""
        for task in reversed(self.begun[worker]):
            task.alone = True
            self.queue.appendleft(task)
        self.begun[worker].clear()

    def finished(self, task: Task) -> None:
        """Note the end of a call."""
        with self.lock:
            task.client.pending -= 1
            self.end_if_over(task.client)

    def end_if_over(self, client: Client) -> None:
        """Note that a client is done, and end its own workers; the lock is held."""
        if not (client.closed and client.pending == 0):
            return
        client.over.set()
        if client is self.owner and self.begun and not self.ending:
            self.end()

    def end(self) -> None:
        """Have the workers end when they have done what they were given."""
        with self.lock:
            self.ending = True
            for worker in self.alive:
                task = Task(Client(self), None, (not self.lost_any,), {}, STOP)
                self.orders.setdefault(worker, deque()).append(task)

    def dismiss(self) -> None:
        """Have the workers end, and wait for that; for those that nobody owns."""
        if self._start():
            self._started.wait()
        with self.lock:
            if self.alive and not self.ending:
                self.end()
        self.dispatch()
        if threading.current_thread() is not self.thread:
            self.thread.join()

    # Ends of workers

    def _find_ended(self, error: "MPI.Exception") -> None:
        """Find whose receive has failed.

        It is not active any more. Others may have ended as well: those that say so when
        they are asked are still active, and fail in a later wait.
        """
        status = self.MPI.Status()
        found = False
        for worker in list(self.heard):
            try:
                over = self.requests[worker].Get_status(status)
            except self.MPI.Exception as problem:
                found = True
                self._lose(worker, str(problem))
                continue
            if over and status.Get_source() < 0:
                found = True
                self.heard.remove(worker)
                self._lose(worker, str(error))
        if not found:
            # Not about a worker: nothing can be received any more.
            for worker in list(self.alive):
                self._lose(worker, str(error))

    def _lose(self, worker: int, why: str) -> None:
        """Go on without a worker, which has ended."""
        with self.lock:
            if worker not in self.alive:
                return
            self.alive.discard(worker)
            if worker in self.idle:
                self.idle.remove(worker)
            begun = self.begun[worker]
            orders = list(self.orders.pop(worker, ()))
            lost = [begun.popleft()] if begun else []
            self._give_back(worker)
            self.lost_any = self.lost_any or bool(why)
            none_left = not self.alive
        for task in lost + orders:
            name = getattr(task.fn, "__qualname__", type(task.fn).__name__)
            what = (
                f"worker {worker} of the pool was lost in {name}: it was killed, or "
                f"has ended by itself ({why})"
            )
            error: Exception = _Gone(what)
            if task.kind == RUN:
                error = _lost_error(what, name)
            if task.kind != STOP:
                if not task.begun:
                    task.future.set_running_or_notify_cancel()
                fail(task.future, error)
                self.finished(task)
        if none_left and why:
            self._break_all(
                _Gone(f"every worker of the pool has ended; the last: {why}")
            )

    def break_client(self, client: Client, error: BaseException) -> None:
        """Let all calls of a client fail, and further ones be refused."""
        with self.lock:
            if client.broken is None:
                client.broken = error
            mine = [task for task in self.queue if task.client is client]
            self.queue = deque(task for task in self.queue if task.client is not client)
        for task in mine:
            if task.begun or task.future.set_running_or_notify_cancel():
                fail(task.future, again(error))
            self.finished(task)
        client.event.set()

    def _break_all(self, error: BaseException) -> None:
        if not isinstance(error, BrokenExecutor):
            problem = BrokenExecutor(f"the workers cannot be started: {error}")
            problem.__cause__ = error
            error = problem
        for client in list(self.clients):
            self.break_client(client, error)
            with self.lock:
                client.closed = True
                client.over.set()


class _Gone(BrokenExecutor):
    """Nobody is there any more to do it."""


def _in_worker(error: BaseException) -> BaseException:
    new = BrokenExecutor(
        f"a worker failed before its first call: {type(error).__name__}: {error}"
    )
    new.__cause__ = error
    return new


def _lost_error(what: str, name: str) -> Exception:
    from phalanx.multiprocessing.errors import WorkerLostError

    return WorkerLostError(what, function=name)


def _may_go_by_value(task: Task, error: BaseException) -> bool:
    """Whether a function is worth sending by value, since it is not found by name."""
    kinds = (pickle.PicklingError, AttributeError, ImportError, TypeError)
    return task.kind == RUN and not task.by_value and isinstance(error, kinds)


def _by_value(task: Task) -> tuple[Any, ...]:
    import cloudpickle  # type: ignore[import-untyped,unused-ignore]

    call = cloudpickle.dumps((task.fn, task.args, task.kwargs))
    return _call, (ByValue(call),), {}


def _call(parts: tuple[Any, Any, Any]) -> Any:
    fn, args, kwargs = parts
    return fn(*args, **kwargs)


# The end of the interpreter

_crews: "weakref.WeakSet[Crew]" = weakref.WeakSet()


def _finish() -> None:
    """Finish all calls before the interpreter ends, as `concurrent.futures` does."""
    crews = [crew for crew in list(_crews) if not crew.abandoned]
    interrupted = getattr(sys, "last_type", None) is KeyboardInterrupt
    for crew in crews:
        for client in list(crew.clients):
            if interrupted and not hasattr(sys, "ps1"):
                client.cancel()
            client.close()
    for crew in crews:
        for client in list(crew.clients):
            client.join()
        crew.dismiss()


threading._register_atexit(_finish)  # type: ignore[attr-defined]
