"""Engines as workers of Dask, for those who outgrow task farms."""

from typing import TYPE_CHECKING, Any

from ..serialize._functions import namespace

if TYPE_CHECKING:
    from .client import Client

__all__ = ["become_dask", "start_worker", "stop_dask", "stop_worker"]

_SECONDS = 60.0  # for a worker to reach its scheduler, or to leave it


def start_worker(address: str, nanny: bool = False, **options: Any) -> bool:
    """On an engine: start a worker beside it, as ``distributed_worker`` in its names.

    Waits until the worker has reached its scheduler; False if there was one already.
    """
    import asyncio
    import threading

    from distributed import Nanny, Worker  # type: ignore[import-not-found,unused-ignore]

    from ..engine import current

    names = namespace()
    if names.get("distributed_worker") is not None:
        return False
    engine = current()
    if engine is not None:
        options.setdefault("name", f"engine-{engine.id}")
    ready = threading.Event()
    failed: list[BaseException] = []

    async def live() -> None:
        stop = asyncio.Event()
        try:
            worker = await (Nanny if nanny else Worker)(address, **options)
        except BaseException as problem:
            failed.append(problem)
            ready.set()
            return
        names["distributed_worker"] = worker
        loop = asyncio.get_running_loop()

        def end() -> None:
            loop.call_soon_threadsafe(stop.set)
            thread.join(_SECONDS)

        names["_distributed_stop"] = end
        ready.set()
        await stop.wait()
        await worker.close()

    thread = threading.Thread(
        target=lambda: asyncio.run(live()), name="dask-worker", daemon=True
    )
    thread.start()
    if not ready.wait(_SECONDS):
        raise TimeoutError(f"the worker did not reach the scheduler at {address}")
    if failed:
        raise failed[0]
    return True


def stop_worker() -> None:
    """On an engine: end the worker."""
    names = namespace()
    stop = names.pop("_distributed_stop", None)
    names.pop("distributed_worker", None)
    if stop is not None:
        stop()


def become_dask(
    client: "Client",
    targets: Any,
    port: int,
    nanny: bool,
    scheduler_args: Any,
    worker_args: dict[str, Any],
) -> Any:
    """What `Client.become_dask` does."""
    from distributed import Client as Dask
    from distributed import LocalCluster

    view = client.direct_view(targets)
    known = client.__dict__.get("_dask")
    if known is None:
        options = dict(scheduler_args or {})
        cluster = LocalCluster(
            n_workers=0, scheduler_port=port, dashboard_address=None, **options
        )
        known = client.__dict__["_dask"] = (cluster, Dask(cluster))
    cluster, dask = known
    before = len(dask.scheduler_info(n_workers=-1)["workers"])
    worker_args.setdefault("nthreads", 1)
    started = view.apply_sync(
        start_worker, cluster.scheduler_address, nanny, **worker_args
    )
    # (One engine gives its answer, several a list of theirs.)
    more = sum(started) if isinstance(started, list) else started
    dask.wait_for_workers(before + more)
    return dask


def stop_dask(client: "Client", targets: Any) -> None:
    """What `Client.stop_dask` does."""
    view = client.direct_view(targets)
    known = client.__dict__.get("_dask")
    _, numbers = client._build_targets(targets)
    if known is not None and not set(numbers) >= set(client.ids):
        known = None
    if known is not None:
        # Who computes nothing any more is not told that results are lost.
        client.__dict__.pop("_dask")
        known[1].close()
    view.apply_sync(stop_worker)
    if known is not None:
        known[0].close()
