# ruff: noqa: E402, F401
"""An interactive cluster: a controller, engines, and a client that you type at.

::

    $ ipcluster start -n 4 &
    $ ipython
    >>> import ipyparallel as ipp
    >>> rc = ipp.Client()
    >>> rc[:].map_sync(lambda x: x**2, range(16))

The names are those of ipyparallel 9. Nothing of it is loaded before it is used.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from . import client as client
    from . import cluster as cluster
    from . import controller as controller
    from . import serialize as serialize
    from . import util as util

# Names of errors stay those of their classes, whatever is done to that module later.
from . import error
from .error import (
    AlreadyDisplayedError,
    CompositeError,
    DependencyTimeout,
    EngineError,
    ImpossibleDependency,
    InvalidDependency,
    IPythonError,
    KernelError,
    NoEnginesRegistered,
    RemoteError,
    TaskAborted,
    TaskRejectError,
    TaskTimeout,
    TimeoutError,
    UnmetDependency,
    collect_exceptions,
    unwrap_exception,
    wrap_exception,
)

__version__ = "9.2.0"
version_info = (9, 2, 0)

# Where each name is.
_PLACES = {
    "client.client": "Client",
    "client.view": "BroadcastView DirectView LoadBalancedView ViewExecutor",
    "client.asyncresult": "ALL_COMPLETED AsyncHubResult AsyncMapResult AsyncResult "
    "FIRST_COMPLETED FIRST_EXCEPTION",
    "client.remotefunction": "ParallelFunction RemoteFunction parallel remote",
    "cluster.cluster": "Cluster ClusterManager",
    "controller.dependency": "Dependency depend dependent require",
    "serialize": "PrePickled Reference can can_map deserialize_object interactive "
    "pack_apply_message serialize_object uncan uncan_map unpack_apply_message "
    "use_cloudpickle use_dill use_pickle",
}
_MODULES = (
    "client",
    "cluster",
    "controller",
    "datapub",
    "engine",
    "error",
    "joblib",
    "serialize",
    "util",
)
_HOME = {name: module for module, names in _PLACES.items() for name in names.split()}

__all__ = sorted(
    {
        *_HOME,
        *error.__all__,
        "bind_kernel",
        "load_jupyter_server_extension",
        "register_joblib_backend",
        "version_info",
    }
)


def __getattr__(name: str) -> "Any":
    import importlib

    if name in _HOME:
        value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    elif name in _MODULES:
        value = importlib.import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})


def register_joblib_backend(
    name: str = "ipyparallel", make_default: bool = False
) -> None:
    """Let joblib use a cluster: ``parallel_backend('ipyparallel')``."""
    from .joblib import register

    register(name=name, make_default=make_default)


def bind_kernel(**kwargs: "Any") -> None:
    """On an engine: let a front end of Jupyter connect to it, by ipykernel.

    Raises RuntimeError elsewhere.
    """
    from .engine import bind_kernel as bind

    bind(**kwargs)


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    """What Jupyter's server loads when it is told to load this module."""
    return [{"module": __name__}]


def _load_jupyter_server_extension(app: "Any") -> None:
    """Let front ends of Jupyter's list, start and stop clusters: the path
    ``/ipyparallel/clusters`` of its server. Needs the package `jupyter_server`."""
    from ._jupyter import load

    load(app)


load_jupyter_server_extension = _load_jupyter_server_extension
