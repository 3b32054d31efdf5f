"""The joblib backend ``"phalanx"``.

    import phalanx.futures

    with joblib.parallel_config(backend="phalanx"):
        ...

joblib knows its backends by name in a table. It is entered there when joblib is
imported, before or after `phalanx.futures`; joblib is never imported for that.
"""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from types import ModuleType
from typing import TYPE_CHECKING, Any

from ._opening import AfterImport

if TYPE_CHECKING:
    from .futures import ProcessPoolExecutor

__all__ = ["close", "register_when_imported"]

NAME = "phalanx"
_hook = AfterImport()


def register_when_imported() -> None:
    """Enter the backend in joblib's table, as soon as there is one."""
    _hook.add("joblib.parallel", _register)


def _register(parallel: ModuleType) -> None:
    make: list[type] = []

    def factory(**options: Any) -> Any:
        if not make:
            make.append(_backend_class())
        return make[0](**options)

    parallel.register_parallel_backend(NAME, factory)


# One executor serves one `Parallel` after the other, as long as they ask for the same.

_lock = threading.Lock()
_idle: dict[tuple[Any, ...], "ProcessPoolExecutor"] = {}


def _reusable(key: tuple[Any, ...]) -> tuple[Any, ...] | None:
    """The key, or None when an option in it cannot be compared with another one."""
    try:
        hash(key)
    except TypeError:
        return None
    return key


def _take(
    key: tuple[Any, ...] | None, make: Callable[[], Any]
) -> "ProcessPoolExecutor":
    with _lock:
        executor = _idle.pop(key, None) if key is not None else None
        others = list(_idle.values())
        _idle.clear()
    for other in others:
        other.shutdown(wait=False)
    if executor is not None and executor.is_usable():
        return executor
    made: ProcessPoolExecutor = make()
    return made


def _give_back(key: tuple[Any, ...] | None, executor: "ProcessPoolExecutor") -> None:
    with _lock:
        if key is not None and key not in _idle:
            _idle[key] = executor
            return
    executor.shutdown(wait=False)


def close() -> None:
    """End the workers that wait for the next `Parallel`."""
    with _lock:
        executors = list(_idle.values())
        _idle.clear()
    for executor in executors:
        executor.shutdown()


class _FileByName:
    """A mapped file on its way to a worker, which maps it as well.

    Pickled, the array would go by value, and what a worker writes be lost.
    """

    def __init__(self, reduced: tuple[Any, ...]) -> None:
        self._reduced = reduced

    def __reduce__(self) -> tuple[Any, ...]:
        return self._reduced


def _with_files_by_name(items: list[Any]) -> list[Any]:
    """The calls of a batch; arguments that are views of a `numpy.memmap` by name."""
    from joblib._memmapping_reducer import (  # type: ignore[import,unused-ignore]
        _get_backing_memmap,
        _reduce_memmap_backed,
    )

    numpy = sys.modules.get("numpy")
    if numpy is None:
        return items

    def by_name(value: Any) -> Any:
        if not isinstance(value, numpy.ndarray):
            return value
        memory = _get_backing_memmap(value)
        if not isinstance(memory, numpy.memmap) or memory.filename is None:
            return value
        return _FileByName(_reduce_memmap_backed(value, memory))

    return [
        (
            function,
            tuple(by_name(value) for value in args),
            {name: by_name(value) for name, value in kwargs.items()},
        )
        for function, args, kwargs in items
    ]


def _backend_class() -> type:
    """Make the class; its bases are joblib's."""
    from joblib._parallel_backends import (  # type: ignore[import,unused-ignore]
        AutoBatchingMixin,
        FallbackToBackend,
        ParallelBackendBase,
        SequentialBackend,
    )
    from joblib.externals.loky import (  # type: ignore[import,unused-ignore]
        cpu_count,
    )

    from . import multiprocessing as mp
    from .futures import ProcessPoolExecutor

    class PhalanxBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc,unused-ignore]
        """joblib's interface to `phalanx.futures.ProcessPoolExecutor`.

        Keyword arguments of `parallel_config` go to the executor: `retries`,
        `timeout`, `memory_limit`, `pin`, `mp_context`, `initializer`, `initargs`.
        """

        supports_retrieve_callback = True
        supports_inner_max_num_threads = True
        uses_threads = False
        supports_sharedmem = False

        _executor: ProcessPoolExecutor | None = None

        def effective_n_jobs(self, n_jobs: int | None) -> int:
            """Return the number of workers for joblib's `n_jobs`."""
            if n_jobs == 0:
                raise ValueError("n_jobs == 0 in Parallel has no meaning")
            if n_jobs is None or mp.current_process().daemon:
                return 1
            if n_jobs < 0:
                return max(int(cpu_count()) + 1 + n_jobs, 1)
            return n_jobs

        def configure(
            self,
            n_jobs: int = 1,
            parallel: Any = None,
            prefer: str | None = None,
            require: str | None = None,
            **options: Any,
        ) -> int:
            """Get the workers for one `Parallel`; return how many."""
            n_jobs = self.effective_n_jobs(n_jobs)
            if n_jobs == 1:
                raise FallbackToBackend(
                    SequentialBackend(nesting_level=self.nesting_level)
                )
            options = {**self.backend_kwargs, **options}
            for name in ("temp_folder", "max_nbytes", "mmap_mode", "verbose"):
                options.pop(name, None)  # For joblib's own way of sharing arrays.
            context = options.pop("context", None)  # From JOBLIB_START_METHOD.
            if context is not None:
                options.setdefault("mp_context", context)
            if self.inner_max_num_threads is not None:
                options["threads_per_worker"] = self.inner_max_num_threads
            else:
                share = max(1, int(cpu_count()) // n_jobs)
                options.setdefault("threads_per_worker", share)
            self.parallel = parallel
            self._n_jobs = n_jobs
            self._options = options
            asked = sorted(options.items())
            self._key = _reusable((n_jobs, mp.get_start_method(), *asked))
            self._executor = _take(
                self._key, lambda: ProcessPoolExecutor(n_jobs, **options)
            )
            return n_jobs

        def submit(
            self, func: Callable[[], Any], callback: Callable[[Any], None] | None = None
        ) -> Any:
            """Have a worker do one batch."""
            assert self._executor is not None
            batch: Any = func
            items = getattr(batch, "items", None)
            if items:
                # In messages, a batch is called as what it calls.
                with suppress(AttributeError, TypeError):
                    batch.__qualname__ = items[0][0].__qualname__
                batch.items = _with_files_by_name(items)
            future = self._executor.submit(func)
            if callback is not None:
                future.add_done_callback(callback)
            return future

        def retrieve_result_callback(self, future: Any) -> Any:
            """Return the results of a batch."""
            return future.result()

        def terminate(self) -> None:
            """Keep the workers for the next `Parallel`."""
            executor, self._executor = self._executor, None
            if executor is not None:
                _give_back(self._key, executor)
            self.reset_batch_stats()

        def abort_everything(self, ensure_ready: bool = True) -> None:
            """End the workers: a batch failed, and the rest is not wanted."""
            executor, self._executor = self._executor, None
            if executor is not None:
                executor.terminate_workers()
            if ensure_ready:
                self.configure(self._n_jobs, self.parallel, **self._options)

    return PhalanxBackend
