"""Starting, finding and ending clusters."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import launcher as launcher
    from .cluster import Cluster as Cluster
    from .cluster import ClusterManager as ClusterManager
    from .cluster import clean_cluster_files as clean_cluster_files

__all__ = ["Cluster", "ClusterManager", "clean_cluster_files"]


def __getattr__(name: str) -> Any:
    import importlib

    if name in __all__:
        from . import cluster

        # (The module is `cluster` as well: `from ipyparallel.cluster import cluster`.)
        return getattr(cluster, name)
    if name in ("app", "cluster", "launcher"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
