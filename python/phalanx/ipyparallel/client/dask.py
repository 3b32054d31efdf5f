"""Engines as workers of Dask, for those who outgrow task farms."""

from typing import TYPE_CHECKING, Any

from ..serialize._functions import namespace

if TYPE_CHECKING:
    from .client import Client

__all__ = ["become_dask", "start_worker", "stop_dask", "stop_worker"]


def start_worker(address: str, nanny: bool = False, **options: Any) -> None:
    """On an engine: start a worker beside it, as ``distributed_worker`` in its
    names."""
    import asyncio
    import threading

    from distributed import Nanny, Worker  # type: ignore[import-not-found,unused-ignore]

    names = namespace()
    if names.get("distributed_worker") is not None:
        return
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
        names["_distributed_stop"] = lambda: loop.call_soon_threadsafe(stop.set)
        ready.set()
        await stop.wait()
        await worker.close()

    threading.Thread(
        target=lambda: asyncio.run(live()), name="dask-worker", daemon=True
    ).start()
    if not ready.wait(60):
        raise TimeoutError(f"the worker did not reach the scheduler at {address}")
    if failed:
        raise failed[0]


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
    options = dict(scheduler_args or {})
    cluster = LocalCluster(
        n_workers=0, scheduler_port=port, dashboard_address=None, **options
    )
    worker_args.setdefault("nthreads", 1)
    address = cluster.scheduler_address
    view.apply_sync(start_worker, address, nanny, **worker_args)
    dask = Dask(address)
    dask.wait_for_workers(len(view))
    client._dask = cluster  # type: ignore[attr-defined]
    return dask


def stop_dask(client: "Client", targets: Any) -> None:
    """What `Client.stop_dask` does."""
    client.direct_view(targets).apply_sync(stop_worker)
    cluster = client.__dict__.pop("_dask", None)
    if cluster is not None:
        cluster.close()
