"""The backend for joblib: ``register()``, then ``parallel_backend('ipyparallel')``."""

__all__ = ["register"]


def register(name: str = "ipyparallel", make_default: bool = False) -> None:
    """Register the cluster that was started last as a backend of joblib."""
    from joblib.parallel import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
        register_parallel_backend,
    )

    from .client._joblib import IPythonParallelBackend

    register_parallel_backend(name, IPythonParallelBackend, make_default=make_default)
