"""What a client can ask the controller about tasks: results, records, queues."""

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from ..error import make
from .asyncresult import AsyncHubResult, AsyncResult
from .query import select
from .records import moment
from .submit import Ledger

if TYPE_CHECKING:
    from .client import Client
    from .futures import MessageFuture

__all__ = ["History"]


class History:
    """The part of a client that is about tasks it, or another client, has submitted."""

    _ledger: Ledger
    block: bool

    @property
    def history(self) -> list[str]:
        """The ids of all tasks that this client has submitted."""
        return self._ledger.history

    if TYPE_CHECKING:

        def _build_targets(self, targets: Any) -> tuple[list[bytes], list[int]]: ...

        def _ids_of_jobs(self, jobs: Any) -> list[str]: ...

        def _fetch(self, ids: list[str]) -> list[MessageFuture]: ...

    # --- results and history ----------------------------------------------------------

    def get_result(
        self,
        indices_or_msg_ids: Any = None,
        block: bool | None = None,
        owner: bool = True,
    ) -> AsyncResult:
        """The result of tasks by their ids, or places in `history` (None: the last
        one).

        Tasks may be of another client's.
        """
        block = self.block if block is None else block
        if indices_or_msg_ids is None:
            indices_or_msg_ids = -1
        single = isinstance(indices_or_msg_ids, (int, str)) or (
            getattr(indices_or_msg_ids, "_single_result", False)
        )
        ids = self._ids_of_jobs(indices_or_msg_ids)
        known = {msg_id: self._ledger.find(msg_id) for msg_id in ids}
        missing = [msg_id for msg_id in ids if known[msg_id] is None]
        kind: type[AsyncResult] = AsyncResult
        if missing:
            self._ledger.check()
            kind = AsyncHubResult
            for future in self._fetch(missing):
                known[future.msg_id] = future
        futures = [known[msg_id] for msg_id in ids]
        result = kind(
            cast("Client", self),
            futures[0] if single else futures,
            fname="get_result",
            owner=owner,
        )
        if block:
            result.wait()
        return result

    def resubmit(
        self,
        indices_or_msg_ids: Any = None,
        metadata: Any = None,
        block: bool | None = None,
    ) -> AsyncResult:
        """Run tasks again, as they were. Raises a remote KeyError for unknown ones."""
        block = self.block if block is None else block
        if indices_or_msg_ids is None:
            indices_or_msg_ids = -1
        ids = self._ids_of_jobs(indices_or_msg_ids)
        new = [self._ledger.new_id() for _ in ids]
        futures = self._ledger.expect(new)
        try:
            self._ledger.request("resubmit", {"ids": ids, "new_ids": new})
        except BaseException:
            self._ledger.drop(futures)
            raise
        self.history.extend(new)
        result = AsyncHubResult(cast("Client", self), futures, fname="resubmit")
        if block:
            result.wait()
        return result

    def result_status(self, msg_ids: Any, status_only: bool = True) -> dict[str, Any]:
        """Which of these tasks have ended: ``pending`` and ``completed`` ids.

        Without `status_only`, their results too, by id.
        """
        ids = self._ids_of_jobs(msg_ids)
        reply = self._ledger.request("result_status", {"ids": ids})
        if reply.get("unknown"):
            raise make("KeyError", f"no such task: {reply['unknown'][0]}")
        completed = list(reply["completed"])
        status: dict[str, Any] = {
            "status": "ok",
            "pending": list(reply["pending"]),
            "completed": completed,
        }
        if not status_only and completed:
            result = self.get_result(completed, owner=False)
            values = result.get(timeout=60, return_exceptions=True)
            status |= zip(completed, values, strict=True)
        return status

    def queue_status(self, targets: Any = "all", verbose: bool = False) -> Any:
        """How many tasks engines have: ``queue``, ``tasks``, ``completed``, by number.

        ``verbose``: their ids instead. ``unassigned`` are those of no engine yet.
        """
        if targets == "all":
            numbers = None
        else:
            _, numbers = self._build_targets(targets)
        reply = self._ledger.request("queue_status", {"targets": numbers})
        status: dict[Any, Any] = {"unassigned": _counted(reply["unassigned"], verbose)}
        for number, queue in reply["engines"].items():
            status[int(number)] = {
                key: _counted(queue[key], verbose)
                for key in ("queue", "completed", "tasks")
            }
            if not verbose and "counts" in queue:
                keys = ("queue", "tasks", "completed")
                status[int(number)] |= zip(keys, queue["counts"], strict=True)
        if not verbose and "unassigned_count" in reply:
            status["unassigned"] = reply["unassigned_count"]
        if isinstance(targets, int) and numbers:
            return status[numbers[0]]
        return status

    def hub_history(self) -> list[str]:
        """The ids of the tasks that the controller remembers, oldest first."""
        return [record["id"] for record in self._records()]

    def _records(self) -> list[dict[str, Any]]:
        records: list[dict[str, Any]] = self._ledger.request("records", {"ids": None})[
            "records"
        ]
        return sorted(records, key=lambda record: record["submitted"])

    def db_query(self, query: dict[str, Any], keys: Any = None) -> list[dict[str, Any]]:
        """What the controller remembers of tasks: records that match a query.

        A query has values by key, or operators: ``{"submitted": {"$gt": then}}``, with
        ``$eq $ne $lt $lte $gt $gte $in $nin $all $not $mod $exists``. `keys` are the
        parts of records that come (and ``msg_id`` always does).
        """
        return select([_record(one) for one in self._records()], query, keys)

    def purge_hub_results(self, jobs: Any = [], targets: Any = []) -> None:  # noqa: B006
        """Make the controller forget tasks: these, those of engines, or ``'all'``."""
        if jobs == "all":
            self._ledger.request("purge", {"everything": True})
            return
        ids = self._ids_of_jobs(jobs)
        numbers = self._build_targets(targets)[1] if targets not in ([], None) else None
        if not ids and not numbers:
            raise ValueError("purge what? give jobs or targets")
        self._ledger.request("purge", {"ids": ids or None, "targets": numbers})

    def purge_local_results(self, jobs: Any = [], targets: Any = []) -> None:  # noqa: B006
        """Forget results and metadata here. Raises RuntimeError if tasks still run."""
        ledger = self._ledger
        if jobs == "all":
            ids = [*ledger.metadata, *ledger.results, *ledger.kept]
            if ledger.outstanding:
                raise RuntimeError(
                    f"{len(ledger.outstanding)} tasks have not ended: wait for them"
                )
        else:
            ids = self._ids_of_jobs(jobs)
            if targets not in ([], None):
                numbers = set(self._build_targets(targets)[1])
                ids += [
                    msg_id
                    for msg_id, one in ledger.metadata.items()
                    if one["engine_id"] in numbers
                ]
        running = ledger.outstanding.intersection(ids)
        if running:
            raise RuntimeError(f"{len(running)} of these tasks have not ended")
        ledger.forget(ids)

    def purge_results(self, jobs: Any = [], targets: Any = []) -> None:  # noqa: B006
        """Forget tasks here and in the controller."""
        self.purge_local_results(jobs=jobs, targets=targets)
        self.purge_hub_results(jobs=jobs, targets=targets)

    def purge_everything(self) -> None:
        """Forget all tasks, here and in the controller, and this client's history."""
        self.purge_results("all")
        self.history.clear()


def _counted(ids: list[str], verbose: bool) -> Any:
    return list(ids) if verbose else len(ids)


def _record(one: dict[str, Any]) -> dict[str, Any]:
    """A record of the controller's as the original's databases have it."""
    told = json.loads(one["result_metadata"]) if one.get("result_metadata") else {}
    started = moment(one.get("started"))
    submitted: datetime | None = moment(one["submitted"])
    header = {
        "msg_id": one["id"],
        "msg_type": f"{one['kind']}_request",
        "username": "username",
        "session": one["client"],
        "date": submitted,
        "version": "5.4",
    }
    asked = {
        "after": one.get("after", []),
        "follow": one.get("follow", []),
        "targets": one.get("targets", []),
        "label": one.get("label"),
    }
    error = one.get("error")
    return {
        "msg_id": one["id"],
        "header": header,
        "content": {},
        "metadata": asked,
        "buffers": [],
        "submitted": submitted,
        "client_uuid": one["client"],
        "engine_uuid": one.get("engine_uuid"),
        "started": started,
        "completed": moment(one.get("completed")),
        "resubmitted": one.get("resubmitted"),
        "received": moment(one.get("received")),
        "result_header": {}
        if one.get("completed") is None
        else {"status": one["status"]},
        "result_metadata": told,
        "result_content": {"status": one["status"]} | (error or {}),
        "result_buffers": [],
        "queue": "task" if one.get("balanced") else "mux",
        "execute_input": told.get("execute_input"),
        "execute_result": None,
        "error": error,
        "stdout": one.get("stdout", ""),
        "stderr": one.get("stderr", ""),
        "label": one.get("label"),
    }
