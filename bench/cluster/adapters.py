"""One way to use every cluster: start, call, task, tasks, push, pull, gather, stop."""

import importlib
from typing import Any

import numpy as np

ENGINES = 2


def nothing(_: int = 0) -> None:
    return None


class IPyParallel:
    """The interface of ipyparallel, ours or the original."""

    def __init__(self, package: str) -> None:
        ipp = importlib.import_module(package)
        self.cluster = ipp.Cluster(n=ENGINES, log_level=40)
        self.client = self.cluster.start_and_connect_sync()
        self.direct = self.client[:]
        self.balanced = self.client.load_balanced_view()

    def call(self) -> list:
        return self.direct.apply_sync(nothing)

    def task(self) -> object:
        return self.balanced.apply_sync(nothing)

    def tasks(self, count: int) -> list:
        return self.balanced.map_sync(nothing, range(count))

    def push(self, array: np.ndarray) -> None:
        self.direct.push({"whole": array}, block=True)

    def make(self, name: str, elements: int) -> None:
        code = f"import numpy; {name} = numpy.arange({elements}, dtype='d')"
        self.direct.execute(code, block=True)

    def pull(self, name: str) -> list[np.ndarray]:
        return self.direct.pull(name, block=True)

    def gather(self, name: str) -> np.ndarray:
        return self.direct.gather(name, block=True)

    def stop(self) -> None:
        self.client.close()
        self.cluster.stop_cluster_sync()


class Dask:
    """Dask's own client. What it cannot do in one call is what its users write."""

    def __init__(self) -> None:
        from dask.distributed import Client, LocalCluster

        self.cluster = LocalCluster(
            n_workers=ENGINES, threads_per_worker=1, dashboard_address=None
        )
        self.client = Client(self.cluster)
        self.client.wait_for_workers(ENGINES)
        self.made: dict[str, list[Any]] = {}

    def call(self) -> list:
        return list(self.client.run(nothing).values())

    def task(self) -> object:
        return self.client.submit(nothing, pure=False).result()

    def tasks(self, count: int) -> list:
        futures = self.client.map(nothing, range(count), pure=False)
        return self.client.gather(futures)

    def push(self, array: np.ndarray) -> None:
        self.client.scatter(array, broadcast=True, hash=False)

    def make(self, name: str, elements: int) -> None:
        workers = list(self.client.scheduler_info()["workers"])
        self.made[name] = [
            self.client.submit(
                np.arange, elements, dtype="d", workers=[worker], pure=False
            )
            for worker in workers
        ]
        for future in self.made[name]:
            future.result()

    def pull(self, name: str) -> list[np.ndarray]:
        return self.client.gather(self.made[name])

    def gather(self, name: str) -> np.ndarray:
        return np.concatenate(self.client.gather(self.made[name]))

    def stop(self) -> None:
        self.client.close()
        self.cluster.close()


def start(name: str) -> "IPyParallel | Dask":
    """A cluster of two engines, ready, and its client."""
    if name == "Dask":
        return Dask()
    return IPyParallel("phalanx.ipyparallel" if name == "Phalanx" else "ipyparallel")
