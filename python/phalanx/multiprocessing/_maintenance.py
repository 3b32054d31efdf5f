"""The workers of a pool, and the threads that look after them.

A `Crew` starts the workers, replaces those that end, and runs callbacks. It knows
nothing of the `Pool` that it serves, so that a forgotten pool can be collected. Its two
threads are separate because a callback may take its time, or wait for another result,
and a lost worker has to be replaced meanwhile.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from multiprocessing import pool as _std
from multiprocessing import util
from queue import SimpleQueue

import phalanx._workers as _workers

from . import _started
from . import context as _context
from ._forking import uninterrupted, without_loggers
from ._placement import Placement
from ._worker import Initializer, work

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    class Waiting(Protocol):
        """A result with something to run when its job has ended."""

        #: Whether `_call_back` runs no code of the program, so that any thread may
        #: call it.
        _is_quick: bool

        def _call_back(self) -> None: ...

        def _abandon(self) -> None: ...


__all__ = ["Crew", "our_context"]

RUN: str = _std.RUN
CLOSE: str = _std.CLOSE
TERMINATE: str = _std.TERMINATE

# How long a worker has to end after it was asked to, before it is killed.
GRACE = 1.0
# How long it is tried to start a worker when the system has no room for a process.
PATIENCE = 10.0


def our_context(given: Any) -> Any:
    """Return the context of this package for one of the standard library's.

    A context of another class, which may start processes of its own kind, is kept.
    """
    if type(given).__module__ == "multiprocessing.context":
        return _context._ours(given)
    return given


def _run(call: Callable[[], object]) -> None:
    """Call something whose exception has nobody to be raised to: it is printed."""
    try:
        call()
    except BaseException as error:
        thread = threading.current_thread()
        threading.excepthook(
            threading.ExceptHookArgs((type(error), error, error.__traceback__, thread))
        )


class Crew:
    """The workers of one pool.

    Attributes
    ----------
    supervisor : phalanx._workers.Supervisor
        Who gives the workers their tasks.
    workers : list of Process
        The running workers, in no order.
    state : str
        `RUN`, `CLOSE` or `TERMINATE` of the standard library's module.
    pid : int
        The process that the pool belongs to.
    """

    def __init__(
        self,
        supervisor: _workers.Supervisor,
        process: Callable[..., Any],
        slots: int,
        initializer: Initializer,
        placements: list[Placement],
        *,
        daemon: bool,
        ends_by_hand: bool = False,
    ) -> None:
        _started.look()
        self.supervisor = supervisor
        self.workers: list[Any] = []
        self.state = RUN
        self.pid = os.getpid()
        self._process = process
        self._initializer = initializer
        self._placements = placements
        self._daemon = daemon
        # Whether all ends when the program itself ends a worker by its process object.
        self._ends_by_hand = ends_by_hand
        self._slots: list[Any] = [None] * slots
        self._wanted = 0
        self._lock = threading.Lock()
        self._waiting: dict[_workers.Job, Waiting | None] = {}
        self._due: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        # Of the thread of callbacks: it has nothing more to wait for; it has ended.
        self._ended = False
        self._over = False
        self._call_lock = threading.Lock()
        self._watcher = threading.Thread(
            target=self._watch, name="phalanx-pool", daemon=True
        )
        self._caller: threading.Thread | None = None

    @property
    def thread(self) -> threading.Thread:
        """The thread that replaces workers."""
        return self._watcher

    # Workers

    def start(self) -> None:
        """Start all workers and then the thread that replaces them."""
        try:
            self.fill(len(self._slots))
            # Not with the first call: that may come when the main thread has ended, and
            # from then on Python 3.12 starts no thread.
            self.watch()
        except BaseException:
            self.state = TERMINATE
            self.supervisor.terminate()
            self._end_workers()
            raise

    def watch(self) -> None:
        """Start the thread that replaces workers, if it does not run yet."""
        if self._watcher.ident is None:
            self._watcher.start()

    def fill(self, count: int = 0) -> None:
        """Have so many workers run, or as many as were wanted before if that is more.

        Starts those that are missing.
        """
        with self._lock:
            self._wanted = max(self._wanted, count)
            if self.state == TERMINATE:
                return
            free = [slot for slot, process in enumerate(self._slots) if process is None]
            missing = free[: max(0, self._wanted - len(self.workers))]
            new = [(slot, self._make(slot)) for slot in missing]
            # All of them start by the same method.
            if all(getattr(one, "_start_method", "fork") == "fork" for _, one in new):
                # Each fork makes all memory be copied as it is touched, here and there:
                # as little as possible is done between two of them.
                self._start(new)
                return
            from multiprocessing import resource_tracker

            resource_tracker.ensure_running()  # It unblocks interrupts when it starts.
            for one in new:
                if self.state != TERMINATE:
                    self._start([one])

    def _make(self, slot: int) -> Any:
        """Make the process object of a worker that is to be started in a slot."""
        process = self._process(
            target=work,
            args=(
                self._placements[slot % len(self._placements)],
                self.supervisor.ticket(slot),
                self._initializer,
            ),
        )
        process.name = process.name.replace("Process", "PoolWorker")
        process.daemon = self._daemon
        process._is_pool_worker = True
        return process

    def _start(self, new: list[tuple[int, Any]]) -> None:
        """Start the workers of some slots, and have them watched."""
        begun: list[tuple[int, Any]] = []
        # The worker takes interrupts when it is ready for them.
        with uninterrupted():
            try:
                with without_loggers():
                    for slot, process in new:
                        process.start()
                        begun.append((slot, process))
            finally:
                self._have_watched(begun)

    def _have_watched(self, begun: list[tuple[int, Any]]) -> None:
        """Tell the supervisor of workers that have just started.

        Those of which it takes no notice are killed.
        """
        watched = 0
        try:
            for slot, process in begun:
                self.supervisor.started(slot, process.pid)
                watched += 1
        except BaseException:
            # They may have begun with a task.
            for slot, process in begun[watched:]:
                process.kill()
                process.join()
                self.supervisor.reaped(slot, process.pid, process.exitcode)
            raise
        finally:
            self._keep(begun[:watched])

    def _keep(self, watched: list[tuple[int, Any]]) -> None:
        """Enter workers that are watched."""
        for slot, process in watched:
            self._slots[slot] = process
            self.workers.append(process)
            if self._ends_by_hand:
                process._when_ended_by_hand = self._ended_by_hand
            util.debug("added worker")

    def _ended_by_hand(self) -> None:
        if self.state != TERMINATE and self.pid == os.getpid():
            self.terminate()

    def _watch(self) -> None:
        """Join workers that ended and start others, until the supervisor is done."""
        while (event := self.supervisor.next_event()) is not None:
            if event[0] == "ended":
                self._replace(event[1], event[2])
            elif event[0] == "call":
                self._call_due(event[1])
        self._ended = True
        self._due.put(None)
        if self.state == TERMINATE:
            self._end_workers()  # One may have started while the others were ended.
        util.debug("worker handler exiting")

    def _replace(self, slot: int, pid: int) -> None:
        with self._lock:
            process = self._slots[slot]
            if process is None or process.pid != pid:
                return
            util.debug("cleaning up worker %d", slot)
            process.join()
            # What it leaves is settled before another worker has the slot.
            self.supervisor.reaped(slot, pid, process.exitcode)
            self._slots[slot] = None
            self.workers.remove(process)
        if self.state == RUN or (self.state == CLOSE and not self.supervisor.is_idle()):
            self._refill()

    def _refill(self) -> None:
        """Start missing workers; try for a while if the system has no room for them."""
        if util.is_exiting():
            return
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                self.fill()
                return
            except Exception as error:
                if isinstance(error, OSError) and time.monotonic() < deadline:
                    time.sleep(0.1)
                    continue
                left = len(self.workers)
                print(
                    f"phalanx: a pool cannot start a worker: {error}; "
                    + (f"it goes on with {left}" if left else "it has none left"),
                    file=sys.stderr,
                )
                if not left:
                    self.supervisor.terminate()
                return

    # Callbacks

    def expect(self, job: _workers.Job, result: Waiting) -> None:
        """Run what `result` has to run when the job has ended."""
        if not result._is_quick:
            self._start_caller()
        # The event may have come before this entry; then it has left `None`.
        if self._waiting.setdefault(job, result) is None:
            del self._waiting[job]
            self._finish(result)

    def call_later(self, call: Callable[[], object]) -> None:
        """Run something in the thread of callbacks, or here when there is none."""
        if self._start_caller():
            with self._call_lock:
                if not self._over:
                    self._due.put(call)
                    return
        _run(call)

    def _start_caller(self) -> bool:
        """Start the thread of callbacks, if there is none; return whether there is."""
        if self._caller is not None:
            return True
        with self._lock:
            if self._caller is None:
                caller = threading.Thread(
                    target=self._call, name="phalanx-callbacks", daemon=True
                )
                try:
                    caller.start()
                except RuntimeError:
                    # At the interpreter's end Python 3.12 starts none, while other
                    # threads of the program still go on.
                    return False
                self._caller = caller
        return True

    def pending(self) -> int:
        """Return how many results there are whose jobs have not ended."""
        return len(self._waiting)

    def expected(self) -> list[Waiting]:
        """Return the results whose jobs have not ended."""
        return [result for result in list(self._waiting.values()) if result is not None]

    def _call_due(self, job: _workers.Job) -> None:
        result = self._waiting.setdefault(job, None)
        if result is not None:
            del self._waiting[job]
            self._finish(result)

    def _finish(self, result: Waiting) -> None:
        if result._is_quick:
            _run(result._call_back)
        else:
            self.call_later(lambda: self._call_back(result))

    def _call_back(self, result: Waiting) -> None:
        if self.state == TERMINATE:
            result._abandon()
        else:
            result._call_back()

    def _call(self) -> None:
        while True:
            call = self._due.get()
            if call is not None:
                _run(call)
            del call
            if self._ended:
                with self._call_lock:
                    if self._due.empty():
                        self._over = True
                        return

    # The end

    def close(self) -> None:
        """Take no more tasks; the workers end when all are done."""
        if self.state == RUN:
            self.state = CLOSE
            self.supervisor.close()

    def join(self) -> None:
        """Wait for the end of the threads and of the workers."""
        if self.state == CLOSE and self.pid == os.getpid():
            # Also what nobody takes the results of.
            self.supervisor.wait_idle(None)
        self._join(self._watcher)
        self._join(self._caller)
        for slot, process in enumerate(self._slots):
            if process is not None:
                process.join()
                self.supervisor.reaped(slot, process.pid, process.exitcode)
        if self.pid == os.getpid():
            self.supervisor.terminate()  # Its threads and descriptors go.

    def forget_workers(self) -> None:
        """Let go of the process objects, which have descriptors, after `join`."""
        self._slots = [None] * len(self._slots)
        self.workers.clear()

    def terminate(self, *, kill: bool = False) -> None:
        """End the workers now, by SIGKILL if asked; what is not done will not be."""
        self.state = TERMINATE
        self.supervisor.terminate()
        self._join(self._watcher)
        self._end_workers(kill)
        for result in self.expected():
            result._abandon()
        self._waiting.clear()
        self._ended = True
        self._due.put(None)
        self._join(self._caller)

    @staticmethod
    def _join(thread: threading.Thread | None) -> None:
        if (
            thread is not None
            and thread.ident is not None
            and thread is not threading.current_thread()
        ):
            thread.join()

    def _end_workers(self, kill: bool = False) -> None:
        for process in self.workers:
            if process.exitcode is None:
                end = process.kill if kill else process.terminate
                end()
        deadline = time.monotonic() + GRACE
        for process in self.workers:
            process.join(max(0.0, deadline - time.monotonic()))
        for slot, process in enumerate(self._slots):
            if process is not None:
                if process.exitcode is None:
                    process.kill()
                    process.join()
                self.supervisor.reaped(slot, process.pid, process.exitcode)
