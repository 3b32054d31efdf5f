"""What a client has submitted: futures, metadata, and the messages that end them."""

import bisect
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ..controller.dependency import Dependency, ids_of
from ..error import make
from ..serialize import _calls, _functions
from .futures import Batch, MessageFuture, Submitted
from .records import Metadata, moment

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..._workers import ClusterLink  # type: ignore[attr-defined,unused-ignore]

__all__ = ["Call", "Ledger", "MetadataStore"]


# So many tasks are sent together: engines begin while the others are made.
_PIECE = 250
# From so many on, those that nobody has any more are looked for.
_PRUNED = 1000

# What the controller remembers of tasks, by the method that engines are to call.
_METADATA = {
    method: f'{{"method": "{method}"}}'.encode()
    for method in ("apply", "execute", "clear")
}


class MetadataStore(dict[str, Metadata]):
    """Metadata by the ids of tasks; an id that is not there gets an empty one."""

    def __init__(self, ledger: "Ledger") -> None:
        super().__init__()
        self.ledger = ledger

    def __missing__(self, key: str) -> Metadata:
        future = self.ledger.find(key)
        if future is not None:
            return future.metadata
        made = self[key] = Metadata(msg_id=key)
        return made


class ResultStore(dict[str, Any]):
    """Results that no `AsyncResult` owns, by the ids of their tasks."""

    def __init__(self, ledger: "Ledger") -> None:
        super().__init__()
        self.ledger = ledger

    def __missing__(self, key: str) -> Any:
        future = self.ledger.kept.get(key)
        if future is None:
            raise KeyError(key)
        self[key] = future.outcome()
        return self[key]


class Call:
    """What a task does, encoded once for all the engines and tasks that share it."""

    def __init__(self, kind: str, method: str, what: Any, shared: bool) -> None:
        self.kind = kind
        self.method = method
        self.what = what
        self.shared = shared


class Known:
    """What was submitted, by the numbers of tasks, as long as somebody has it.

    (A weak dictionary would run Python code for each that is let go.)
    """

    def __init__(self) -> None:
        # The number of the first task of each, in order, and what it is of.
        self.firsts: list[int] = []
        self.references: list[weakref.ref[Submitted]] = []
        self.most = _PRUNED

    def add(self, first: int, submitted: Submitted) -> None:
        firsts, references = self.firsts, self.references
        at = len(firsts)
        if at and firsts[-1] > first:
            # Another thread was faster.
            at = bisect.bisect(firsts, first)
        firsts.insert(at, first)
        references.insert(at, weakref.ref(submitted))
        if len(firsts) >= self.most:
            self._prune()

    def _prune(self) -> None:
        pairs = zip(self.firsts, self.references, strict=True)
        left = [pair for pair in pairs if pair[1]() is not None]
        self.firsts = [first for first, _ in left]
        self.references = [reference for _, reference in left]
        self.most = max(_PRUNED, 2 * len(left))

    def find(self, number: int) -> MessageFuture | None:
        """The future of the task of this number."""
        at = bisect.bisect(self.firsts, number) - 1
        submitted = self.references[at]() if at >= 0 else None
        place = number - self.firsts[at] if submitted is not None else 0
        if submitted is None or place >= len(submitted):
            return None
        return submitted[place]


def dependency(what: Any) -> dict[str, Any] | None:
    """``after=`` and ``follow=`` as the controller wants them."""
    if what is None:
        return None
    if isinstance(what, Dependency):
        whole = what.as_dict()
        ids = whole.pop("dependencies")
        return {"ids": ids, **whole} if ids else None
    ids = ids_of(what)
    return {"ids": ids, "all": True, "success": True, "failure": False} if ids else None


class Ledger:
    """The tasks of one client, and the thread that receives what becomes of them.

    Every future in it ends: with the task's result, or with an error when the
    controller is gone or the client is closed.
    """

    def __init__(self, link: "ClusterLink", debug: bool = False) -> None:
        self.link = link
        self.identity: str = link.welcome["identity"]
        self.pid = os.getpid()
        self.lock = threading.Lock()
        self.requests: dict[int, Future[dict[str, Any]]] = {}
        self.parts: dict[int, dict[str, Any]] = {}
        self.request_numbers = itertools.count(1)
        self.history: list[str] = []
        self.results = ResultStore(self)
        self.metadata = MetadataStore(self)
        # What was submitted, and futures of other tasks, as long as somebody has them.
        self.submitted = Known()
        # Held while tasks are on their way and not known here yet.
        self.submitting = threading.RLock()
        self.futures: weakref.WeakValueDictionary[str, MessageFuture] = (
            weakref.WeakValueDictionary()
        )
        # Those that nobody owns stay until they are purged.
        self.kept: dict[str, MessageFuture] = {}
        self.gone: str | None = None
        self.debug = debug
        self.on_engines: Callable[[dict[str, Any]], None] = lambda fields: None
        self.thread = threading.Thread(
            target=self._receive, name="phalanx-cluster", daemon=True
        )

    def start(self) -> None:
        self.thread.start()

    # --- sending ---------------------------------------------------------------------

    def new_id(self) -> str:
        return f"{self.identity}_{self.link.reserve(1)}"

    def encode(self, what: Any, shared: bool) -> Any:
        """An object as it travels: plain as it is, or pickled."""
        plain = self.link.encode_plain(what, shared)
        if plain is not None:
            return plain
        return self.link.encode(_functions.dumps(what), shared)

    def _encode_call(self, call: Call) -> Any:
        if call.method == "apply" and _functions.mode() == "pickle":
            plain, what = None, call.what
            if type(what) is tuple:
                f, args, kwargs = what
                plain = self.link.encode_call(f, args, kwargs, call.shared)
            else:
                named = _calls.by_name(what)
                if named is not None:
                    plain = self.link.encode_plain(named, call.shared)
            if plain is not None:
                return plain
        return self.encode(call.what, call.shared)

    def submit(
        self,
        call: Call,
        fields: dict[str, Any],
        args: list[Any] | None = None,
        engines: list[int] | None = None,
        uuids: dict[int, str | None] | None = None,
        owned: bool = True,
    ) -> Submitted:
        """Send tasks that do the same thing: one for each of `args`, or of `engines`.

        `fields` are those of the controller's tasks that all of them share; `engines`
        the numbers of each one's engine, if that is settled, `uuids` their uuids.
        `owned`: somebody keeps what comes back.
        """
        self.check()
        link = self.link
        payload = self._encode_call(call)
        at = time.time()
        common = (call.kind, _METADATA[call.method], fields, payload)
        count = len(engines) if engines is not None else 1
        first = link.reserve(count if args is None else len(args))
        tasks: list[Any] = []
        with self.submitting:
            try:
                if args is None:
                    tasks = link.submit(first, *common, None, engines)
                else:
                    for low in range(0, len(args), _PIECE):
                        tasks += link.submit(
                            first + low,
                            *common,
                            [
                                self.encode((one, kwargs or None), False)
                                for one, kwargs in args[low : low + _PIECE]
                            ],
                            None if engines is None else engines[low : low + _PIECE],
                        )
            except OSError as problem:
                self.fail_all(str(problem))
                raise self._gone_error() from None
            except BaseException:
                if tasks:
                    # All or nothing.
                    ids = [task.id for task in tasks]
                    self.ask("abort", {"ids": ids, "targets": None})
                raise
            # (Engines work by now: what they do not wait for is made here.)
            batch = Batch(call.kind, at, fields, uuids or {})
            submitted = Submitted(link, tasks, batch, self.futures)
            self.history.extend(submitted.ids)
            self.submitted.add(first, submitted)
        if not owned:
            self._keep(submitted.made())
        return submitted

    def _keep(self, futures: list[MessageFuture]) -> None:
        for future in futures:
            self.futures[future.msg_id] = future
            self.kept[future.msg_id] = future
            self.metadata[future.msg_id] = future.metadata

    def expect(self, ids: Iterable[str]) -> list[MessageFuture]:
        """Futures of tasks that somebody else submitted. Their results are fetched."""
        tasks = self.link.expect(list(ids))
        futures = [MessageFuture.of(self.link, task) for task in tasks]
        self._keep(futures)
        return futures

    def drop(self, futures: list[MessageFuture]) -> None:
        """Expect nothing of these: they could not be asked for."""
        self.link.forget([one._task for one in futures if one._task is not None])
        for future in futures:
            self.metadata.pop(future.msg_id, None)
            self.kept.pop(future.msg_id, None)

    def own(self, futures: Iterable[MessageFuture]) -> None:
        """Somebody keeps these from now on."""
        if not self.kept or isinstance(futures, Submitted):
            return
        for future in futures:
            if self.kept.pop(future.msg_id, None) is not None:
                self.metadata.pop(future.msg_id, None)
                self.results.pop(future.msg_id, None)

    def find(self, msg_id: str) -> MessageFuture | None:
        """The future of a task, if it is here still."""
        found = self.futures.get(msg_id)
        if found is not None:
            return found
        with self.submitting:
            mine, _, number = msg_id.rpartition("_")
            if mine == self.identity and number.isdecimal():
                found = self.submitted.find(int(number))
                if found is not None:
                    return found
            for task in self.link.pending(msg_id):
                found = MessageFuture.of(self.link, task)
                self.futures[msg_id] = found
        return found

    def waiting(self) -> list[MessageFuture]:
        """The futures of all tasks that have not ended."""
        found = [self.find(task.id) for task in self.link.pending()]
        return [future for future in found if future is not None]

    @property
    def outstanding(self) -> set[str]:
        """The ids of all tasks that have not ended."""
        return {task.id for task in self.link.pending()}

    def request(
        self, kind: str, fields: dict[str, Any], timeout: float = 60.0
    ) -> dict[str, Any]:
        """Ask the controller, and wait for the answer.

        Raises TimeoutError, a `RemoteError` with what the controller says is wrong, or
        OSError when it is gone.
        """
        return self.answer(self.ask(kind, fields), kind, timeout)

    def ask(self, kind: str, fields: dict[str, Any]) -> "Future[dict[str, Any]]":
        """Ask the controller; the answer comes later."""
        from concurrent.futures import Future

        number = next(self.request_numbers)
        future: Future[dict[str, Any]] = Future()
        with self.lock:
            if self.gone is not None:
                raise self._gone_error()
            self.requests[number] = future
        try:
            self.link.send(kind, fields | {"request": number})
        except OSError as problem:
            self.fail_all(str(problem))
            raise self._gone_error() from None
        except BaseException:
            with self.lock:
                self.requests.pop(number, None)
            raise
        return future

    def answer(
        self, future: "Future[dict[str, Any]]", kind: str, timeout: float
    ) -> dict[str, Any]:
        try:
            reply = future.result(timeout)
        except TimeoutError:
            if future.done():
                raise
            raise TimeoutError(
                f"the controller has not answered '{kind}' within {timeout:g} s"
            ) from None
        problem = reply.get("error")
        if problem:
            name, colon, text = problem.partition(": ")
            if not colon or not name.isidentifier():
                name, text = "EngineError", problem
            raise make(name, text)
        return reply

    # --- receiving -------------------------------------------------------------------

    def _receive(self) -> None:
        while True:
            try:
                last = self._take()
            except OSError as problem:
                self.fail_all(str(problem))
                return
            if last is not None:
                # What has ended by that is told before the link has nothing more.
                self.fail_all(last or "the connection was closed")

    def _take(self) -> str | None:
        """Deal with the next messages; return the controller's last word, if one is.

        (In a frame of its own: what has come is not kept until something else comes.)
        """
        for kind, fields, payloads in self.link.receive_all(None):
            if kind == "bye":
                return fields.get("reason") or ""
            self._handle(kind, fields, payloads)
        return None

    def _handle(self, kind: str, fields: Any, payloads: list[Any]) -> None:
        try:
            if kind == "ended":
                fields()
                return
            handle = getattr(self, f"_on_{kind}", None)
            if handle is not None:
                handle(fields, payloads)
        except Exception:
            # One message that cannot be dealt with does not end the others.
            import traceback

            traceback.print_exc()

    def _on_result(self, fields: dict[str, Any], payloads: list[Any]) -> None:
        """Of a task that nobody waits for."""
        for payload in payloads:
            payload.forget()

    def _on_started(self, fields: dict[str, Any], payloads: list[Any]) -> None:
        future = self.find(fields["id"])
        if future is not None:
            dict.update(
                future.metadata,
                started=moment(fields["at"]),
                engine_id=fields["engine_id"],
            )

    def _on_stream(self, fields: dict[str, Any], payloads: list[Any]) -> None:
        msg_id = fields.get("id")
        future = self.find(msg_id) if msg_id else None
        if future is None:
            return
        metadata, name = future.metadata, fields["name"]
        if metadata["engine_id"] is None:
            dict.__setitem__(metadata, "engine_id", fields["engine_id"])
        dict.__setitem__(metadata, name, metadata[name] + fields["text"])
        self._tell(future, name, fields["text"])

    def _on_output(self, fields: dict[str, Any], payloads: list[Any]) -> None:
        future = self.find(fields["id"])
        if future is None or not payloads:
            return
        kind, what = payloads[0].loads()
        metadata = future.metadata
        if metadata["engine_id"] is None:
            dict.__setitem__(metadata, "engine_id", fields["engine_id"])
        if kind == "data":
            metadata["data"].update(what)
            return
        if kind == "clear":
            metadata["outputs"].clear()
            return
        if kind == "result":
            dict.__setitem__(metadata, "execute_result", what)
        else:
            metadata["outputs"].append(what)
        self._tell(future, kind, what)

    def _tell(self, future: MessageFuture, name: str, what: Any) -> None:
        for watcher in list(future._watchers or ()):
            watcher(future, name, what)

    def _on_engines(self, fields: dict[str, Any], payloads: list[Any]) -> None:
        self.on_engines(fields)

    def _on_reply(self, fields: dict[str, Any], payloads: list[Any]) -> None:
        number = fields["request"]
        with self.lock:
            before = self.parts.pop(number, None)
            if before is not None:
                for key, value in fields.items():
                    if isinstance(value, list):
                        fields[key] = before.get(key, []) + value
            if fields.get("more"):
                self.parts[number] = fields
                return
            future = self.requests.pop(number, None)
        if future is not None:
            future.set_result(fields)

    # --- ends ------------------------------------------------------------------------

    def _gone_error(self) -> OSError:
        return ConnectionError(f"this client has no controller any more: {self.gone}")

    def check(self) -> None:
        """Raise OSError when the controller is gone or the client closed."""
        if os.getpid() != self.pid:
            # (Before any lock: a thread that is not here may have held it.)
            raise ConnectionError(
                f"this client belongs to process {self.pid}, of which this is a fork; "
                "connect a client here"
            )
        if self.gone is not None:
            raise self._gone_error()

    def fail_all(self, reason: str) -> None:
        """End everything that still waits."""
        with self.lock:
            if self.gone is None:
                self.gone = reason
            reason = self.gone
            requests = list(self.requests.values())
            self.requests.clear()
        self.link.lose(reason)
        for request in requests:
            if not request.done():
                request.set_exception(self._gone_error())

    def close(self, reason: str) -> None:
        """Leave the cluster: what still waits ends in an error that says `reason`."""
        with self.lock:
            if self.gone is None:
                self.gone = reason
        self.link.lose(reason)
        self.link.close()
        if threading.current_thread() is not self.thread and self.thread.is_alive():
            self.thread.join(5)
        self.fail_all(reason)

    def forget(self, ids: Iterable[str]) -> None:
        """Keep nothing of tasks that have ended: who has their result has it."""
        for msg_id in ids:
            future = self.kept.get(msg_id)
            if future is not None and not future.done():
                continue
            self.metadata.pop(msg_id, None)
            self.results.pop(msg_id, None)
            self.kept.pop(msg_id, None)

    def wait_until(self, condition: Callable[[], bool], timeout: float | None) -> bool:
        """Look until something holds. For what changes rarely and is told nowhere."""
        until = None if timeout is None else time.monotonic() + timeout
        while not condition():
            if until is not None and time.monotonic() >= until:
                return False
            time.sleep(0.01)
        return True
