"""What a client has submitted: futures, metadata, and the messages that end them."""

import itertools
import json
import threading
import time
import weakref
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ..controller.dependency import Dependency, ids_of
from ..error import RemoteError, make
from ..serialize import _functions
from .futures import MessageFuture
from .records import ExecuteReply, Metadata, moment

if TYPE_CHECKING:
    from concurrent.futures import Future

    from ..._workers import ClusterLink  # type: ignore[attr-defined,unused-ignore]

__all__ = ["Call", "Ledger", "MetadataStore"]


class MetadataStore(dict[str, Metadata]):
    """Metadata by the ids of tasks; an id that is not there gets an empty one."""

    def __missing__(self, key: str) -> Metadata:
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
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.requests: dict[int, Future[dict[str, Any]]] = {}
        self.parts: dict[int, dict[str, Any]] = {}
        self.request_numbers = itertools.count(1)
        self.history: list[str] = []
        self.outstanding: set[str] = set()
        self.outstanding_of: dict[str, set[str]] = {}
        self.results = ResultStore(self)
        self.metadata = MetadataStore()
        self.pending: dict[str, MessageFuture] = {}
        # Futures that have ended, for as long as somebody has them.
        self.ended: weakref.WeakValueDictionary[str, MessageFuture] = (
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
        return f"{self.identity}_{next(self.numbers)}"

    def encode(self, what: Any, shared: bool) -> Any:
        stream, buffers = _functions.dumps(what)
        return self.link.encode((stream, buffers), shared)

    def submit(
        self,
        call: Call,
        tasks: list[dict[str, Any]],
        args: list[Any] | None = None,
        engines: Iterable[str | None] = (),
        metadata: dict[str, Any] | None = None,
    ) -> list[MessageFuture]:
        """Send tasks that do the same thing: each with its own arguments, if given.

        `tasks` have the fields of the controller's tasks but id, kind and payloads;
        `engines` the uuid of each one's engine, if that is settled.
        """
        self.check()
        payloads = [self.encode(call.what, call.shared)]
        header = json.dumps({"method": call.method}).encode()
        futures = []
        known = list(engines) or [None] * len(tasks)
        submitted = datetime.now(UTC)
        for number, task in enumerate(tasks):
            msg_id = self.new_id()
            task |= {"id": msg_id, "kind": call.kind, "payload": 0, "metadata": header}
            if args is not None:
                task["args"] = len(payloads)
                payloads.append(self.encode(args[number], False))
            future = MessageFuture(msg_id, {"msg_id": msg_id, "msg_type": call.kind})
            future.metadata = Metadata(metadata or {})
            dict.update(
                future.metadata,
                msg_id=msg_id,
                submitted=submitted,
                label=task.get("label"),
                engine_uuid=known[number],
                engine_id=task["targets"][0]
                if not task.get("balanced") and task["targets"]
                else None,
                after=(task.get("after") or {}).get("ids", []),
                follow=(task.get("follow") or {}).get("ids", []),
            )
            futures.append(future)
        with self.lock:
            if self.gone is not None:
                raise self._gone_error()
            for future, uuid in zip(futures, known, strict=True):
                self._expect(future, uuid)
                self.history.append(future.msg_id)
        try:
            self.link.send("submit", {"tasks": tasks}, payloads)
        except OSError as problem:
            self.fail_all(str(problem))
            raise self._gone_error() from None
        except BaseException:
            with self.lock:
                for future in futures:
                    self._drop(future)
                    self.history.remove(future.msg_id)
            raise
        return futures

    def _expect(self, future: MessageFuture, uuid: str | None) -> None:
        self.pending[future.msg_id] = future
        self.outstanding.add(future.msg_id)
        self.metadata[future.msg_id] = future.metadata
        if uuid is not None:
            self.outstanding_of.setdefault(uuid, set()).add(future.msg_id)

    def _drop(self, future: MessageFuture) -> None:
        self.pending.pop(future.msg_id, None)
        self.outstanding.discard(future.msg_id)
        for waiting in self.outstanding_of.values():
            waiting.discard(future.msg_id)

    def expect(self, ids: Iterable[str]) -> list[MessageFuture]:
        """Futures of tasks that somebody else submitted. Their results are fetched."""
        futures = []
        with self.lock:
            for msg_id in ids:
                future = MessageFuture(msg_id)
                future.metadata = Metadata(msg_id=msg_id)
                self._expect(future, None)
                futures.append(future)
        return futures

    def find(self, msg_id: str) -> MessageFuture | None:
        """The future of a task, if it is here still."""
        with self.lock:
            return self.pending.get(msg_id) or self.ended.get(msg_id)

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
        reason = "the connection was closed"
        try:
            while (last := self._take()) is None:
                pass
            reason = last or reason
        except OSError as problem:
            reason = str(problem)
        finally:
            self.fail_all(reason)

    def _take(self) -> str | None:
        """Deal with the next messages; return the controller's last word, if one is.

        (In a frame of its own: what has come is not kept until something else comes.)
        """
        for kind, fields, payloads in self.link.receive_all(None):
            if kind == "bye":
                return fields.get("reason") or ""
            self._handle(kind, fields, payloads)
        return None

    def _handle(self, kind: str, fields: dict[str, Any], payloads: list[Any]) -> None:
        try:
            handle = getattr(self, f"_on_{kind}", None)
            if handle is not None:
                handle(fields, payloads)
        except Exception:
            # One message that cannot be dealt with does not end the others.
            import traceback

            traceback.print_exc()

    def _on_result(self, fields: dict[str, Any], payloads: list[Any]) -> None:
        msg_id = fields["id"]
        with self.lock:
            future = self.pending.get(msg_id)
        if future is None:
            for payload in payloads:
                payload.forget()
            return
        metadata = future.metadata
        told = json.loads(fields["metadata"]) if fields.get("metadata") else {}
        times = {
            key: moment(fields.get(key))
            for key in ("submitted", "started", "completed")
        }
        # Of somebody else's task, the controller's times are the ones that tell.
        asked_later = metadata["submitted"] is None
        if not asked_later:
            del times["submitted"]
        dict.update(
            metadata,
            times,
            received=moment(fields.get("received"))
            if asked_later
            else datetime.now(UTC),
            engine_id=fields.get("engine_id"),
            engine_uuid=fields.get("engine_uuid"),
            status=fields["status"],
        )
        for key in ("stdout", "stderr"):
            if fields.get(key) and not metadata[key]:
                dict.__setitem__(metadata, key, fields[key])
        if told.get("execute_input") is not None:
            dict.__setitem__(metadata, "execute_input", told["execute_input"])
        with self.lock:
            self._drop(future)
            self.ended[msg_id] = future
            if msg_id in self.metadata:
                self.kept[msg_id] = future
        error = self._error_of(fields, told)
        if error is not None:
            dict.__setitem__(metadata, "error", error)
            self._tell(future, "error", error)
            future.fail(error)
            return
        payload = payloads[0] if payloads else None

        def load() -> Any:
            if payload is None:
                return None
            return finish(_functions.loads(*payload.load()))

        finish = (
            (lambda content: ExecuteReply(msg_id, content, metadata))
            if told.get("method") == "execute"
            else (lambda value: value)
        )
        future.deliver(load)

    def _error_of(
        self, fields: dict[str, Any], told: dict[str, Any]
    ) -> RemoteError | None:
        status = fields["status"]
        problem = fields.get("error")
        info = {}
        if fields.get("engine_id") is not None:
            info = {
                "engine_id": fields["engine_id"],
                "engine_uuid": fields.get("engine_uuid"),
                "method": told.get("method", "apply"),
            }
        if status == "aborted":
            text = (problem or {}).get("evalue") or "the task was aborted"
            return make("TaskAborted", text, None, info)
        if problem is not None:
            return make(
                problem["ename"], problem["evalue"], problem.get("traceback"), info
            )
        if status != "ok":
            return make("EngineError", f"the task ended with status {status!r}")
        if fields.get("gone"):
            return make(
                "KeyError",
                f"the result of {fields['id']} is not kept any more by the controller",
            )
        return None

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
        kind, what = _functions.loads(*payloads[0].load())
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
        for watcher in list(future.watchers):
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
        if self.gone is not None:
            raise self._gone_error()

    def fail_all(self, reason: str) -> None:
        """End everything that still waits."""
        with self.lock:
            if self.gone is None:
                self.gone = reason
            reason = self.gone
            futures = list(self.pending.values())
            requests = list(self.requests.values())
            self.pending.clear()
            self.requests.clear()
            self.outstanding.clear()
            self.outstanding_of.clear()
        now = datetime.now(UTC)
        for future in futures:
            metadata = future.metadata
            error = make(
                "EngineError",
                f"no result of {future.msg_id} can come: {reason}",
                None,
                {"engine_id": metadata["engine_id"], "method": "wait"}
                if metadata["engine_id"] is not None
                else {},
            )
            dict.update(metadata, status="error", error=error, received=now)
            future.fail(error)
        for request in requests:
            if not request.done():
                request.set_exception(self._gone_error())

    def close(self, reason: str) -> None:
        """Leave the cluster: what still waits ends in an error that says `reason`."""
        with self.lock:
            if self.gone is None:
                self.gone = reason
        self.link.close()
        if threading.current_thread() is not self.thread and self.thread.is_alive():
            self.thread.join(5)
        self.fail_all(reason)

    def forget(self, ids: Iterable[str]) -> None:
        """Keep nothing of tasks that have ended: who has their result has it."""
        with self.lock:
            for msg_id in ids:
                if msg_id in self.outstanding:
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
