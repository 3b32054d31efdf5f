"""joblib on a load-balanced view."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from joblib.parallel import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
    AutoBatchingMixin,
    ParallelBackendBase,
)

if TYPE_CHECKING:
    from .view import LoadBalancedView

__all__ = ["IPythonParallelBackend"]


class IPythonParallelBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc,unused-ignore]
    """Batches of joblib as tasks of a view.

    Without a view: all engines of the cluster that was started last.
    """

    supports_sharedmem = False
    uses_threads = False
    supports_timeout = True
    supports_retrieve_callback = False

    def __init__(self, view: "LoadBalancedView | None" = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)  # type: ignore[misc,unused-ignore]
        self._own = view is None
        if view is None:
            from .client import Client

            view = Client().load_balanced_view()
        self._view = view

    def effective_n_jobs(self, n_jobs: int) -> int:
        """As many as asked for, or as there are engines for a negative number."""
        if n_jobs == 0:
            raise ValueError("n_jobs is not 0: there would be nobody to do it")
        engines = len(self._view)
        if n_jobs is None:
            return 1
        return max(engines + 1 + n_jobs, 1) if n_jobs < 0 else n_jobs

    def configure(self, n_jobs: int = 1, parallel: Any = None, **options: Any) -> int:
        """joblib asks how many batches may be under way."""
        self.parallel = parallel
        return self.effective_n_jobs(n_jobs)

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None
    ) -> Any:
        """Run a batch on an engine."""
        result = self._view.apply_async(func)
        if callback is not None:
            result.add_done_callback(lambda done: callback(done.result()))
        return result

    def apply_async(
        self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None
    ) -> Any:
        """Run a batch on an engine; call back with its results."""
        return self.submit(func, callback)

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """Drop what has not begun, after an error."""
        self._view.abort()

    def terminate(self) -> None:
        """joblib has done with it: a client of its own is closed."""
        if self._own:
            self._view.client.close()
