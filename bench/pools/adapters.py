"""One way to call every pool: make, map, call, later, end."""

from collections.abc import Callable

WORKERS = 2


class StandardPool:
    """`multiprocessing.Pool`, ours or the original."""

    def __init__(self, package: str, method: str) -> None:
        if package == "phalanx":
            import phalanx.multiprocessing as multiprocessing
        else:
            import multiprocessing
        self.pool = multiprocessing.get_context(method).Pool(WORKERS)

    def map(self, function, items) -> list:
        return self.pool.map(function, items, chunksize=1)

    def call(self, function, argument):
        return self.pool.apply(function, (argument,))

    def later(self, function, argument, seconds: float) -> Callable[[], object]:
        result = self.pool.apply_async(function, (argument,))
        return lambda: result.get(seconds)

    def end(self) -> None:
        self.pool.close()
        self.pool.join()


class Executor:
    """The interface of `concurrent.futures`, which four engines have."""

    def __init__(self, package: str) -> None:
        if package == "phalanx":
            from phalanx.futures import ProcessPoolExecutor as Class
        elif package == "mpi4py":
            from mpi4py.futures import MPIPoolExecutor as Class
        elif package == "loky":
            from loky import ProcessPoolExecutor as Class
        else:
            from concurrent.futures import ProcessPoolExecutor as Class
        self.pool = Class(max_workers=WORKERS)

    def map(self, function, items) -> list:
        return list(self.pool.map(function, items, chunksize=1))

    def call(self, function, argument):
        return self.pool.submit(function, argument).result()

    def later(self, function, argument, seconds: float) -> Callable[[], object]:
        future = self.pool.submit(function, argument)
        return lambda: future.result(seconds)

    def end(self) -> None:
        self.pool.shutdown(wait=True)


class Mpire:
    def __init__(self) -> None:
        from mpire import WorkerPool

        self.pool = WorkerPool(n_jobs=WORKERS, keep_alive=True)

    def map(self, function, items) -> list:
        return self.pool.map(function, items, chunk_size=1)

    def call(self, function, argument):
        return self.pool.apply(function, (argument,))

    def later(self, function, argument, seconds: float) -> Callable[[], object]:
        result = self.pool.apply_async(function, (argument,))
        return lambda: result.get(seconds)

    def end(self) -> None:
        self.pool.stop_and_join()


MAKERS: dict[str, Callable[[], StandardPool | Executor | Mpire]] = {
    "Phalanx fork": lambda: StandardPool("phalanx", "fork"),
    "Phalanx spawn": lambda: StandardPool("phalanx", "spawn"),
    "Phalanx futures": lambda: Executor("phalanx"),
    "multipr. fork": lambda: StandardPool("multiprocessing", "fork"),
    "multipr. spawn": lambda: StandardPool("multiprocessing", "spawn"),
    "concurrent.futures": lambda: Executor("concurrent"),
    "loky": lambda: Executor("loky"),
    "mpire": Mpire,
    "mpi4py.futures": lambda: Executor("mpi4py"),
}
IMPORTS = {
    "Phalanx fork": "phalanx.multiprocessing, phalanx.multiprocessing.pool",
    "Phalanx spawn": "phalanx.multiprocessing, phalanx.multiprocessing.pool",
    "Phalanx futures": "phalanx.futures",
    "multipr. fork": "multiprocessing, multiprocessing.pool",
    "multipr. spawn": "multiprocessing, multiprocessing.pool",
    "concurrent.futures": "concurrent.futures.process",
    "loky": "loky",
    "mpire": "mpire",
    "mpi4py.futures": "mpi4py.futures",
}
