"""The clusters of a user for Jupyter's front ends: the path ``/ipyparallel/clusters``.

| request | does |
|---|---|
| ``GET /ipyparallel/clusters`` | a list of clusters, those that run first |
| ``POST /ipyparallel/clusters`` | makes one: ``profile``, ``cluster_id``, ``n``, ... |
| ``GET /ipyparallel/clusters/KEY`` | one cluster |
| ``POST /ipyparallel/clusters/KEY`` | starts it (``n``: with so many engines) |
| ``DELETE /ipyparallel/clusters/KEY`` | stops it, and forgets it |

Who may ask is the server's to say: every request has to be authenticated. Imported by
Jupyter's server when it loads the extension; nothing else needs `jupyter_server`.
"""

import json
import os
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeVar

from jupyter_server.base.handlers import APIHandler  # type: ignore[import-not-found,unused-ignore]
from jupyter_server.utils import url_path_join  # type: ignore[import-not-found,unused-ignore]
from tornado import web  # type: ignore[import-not-found,unused-ignore]

from . import _files
from .cluster import Cluster, ClusterManager

__all__ = ["load"]

_Method = TypeVar("_Method", bound=Callable[..., Any])

# What a new cluster may be told, with the types of it. (Others name classes or
# programs, which is for who writes code.)
_OPTIONS: dict[str, tuple[type, ...]] = {
    "profile": (str,),
    "profile_dir": (str,),
    "cluster_id": (str,),
    "n": (int,),
    "engines": (str,),
}


def _authenticated(method: _Method) -> _Method:
    """Only who has the server's token or cookie gets to a method."""
    decorated: _Method = web.authenticated(method)
    return decorated


def _coroutine(cluster: Cluster, name: str) -> Callable[..., Awaitable[Any]]:
    """One of the methods that a cluster is given beside those that wait."""
    method: Callable[..., Awaitable[Any]] = getattr(cluster, name)
    return method


class _Handler(APIHandler):  # type: ignore[misc,unused-ignore]
    SUPPORTED_METHODS: ClassVar[tuple[str, ...]] = ("GET", "POST", "DELETE", "OPTIONS")

    @property
    def manager(self) -> ClusterManager:
        manager: ClusterManager = self.settings["cluster_manager"]
        return manager

    def cluster(self, key: str) -> Cluster:
        try:
            return self.manager.get_cluster(key)
        except KeyError as problem:
            raise web.HTTPError(404, f"there is no cluster {key!r}") from problem

    def body(self) -> dict[str, Any]:
        found = self.get_json_body()
        if found is None:
            return {}
        if not isinstance(found, dict):
            raise web.HTTPError(400, "the body is to be an object")
        # Forms send what was left empty.
        return {key: value for key, value in found.items() if value not in (None, "")}

    def number(self, body: dict[str, Any]) -> int | None:
        n = body.get("n")
        if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 0):
            raise web.HTTPError(400, f"n is to be a number of engines, not {n!r}")
        return n

    def tell(self, what: Any) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(json.dumps(what))


def _model(key: str, cluster: Cluster) -> dict[str, Any]:
    """A cluster as front ends know it."""
    about: dict[str, Any] = cluster.to_dict()
    about["id"] = key
    about["cluster"]["profile"] = _files.profile_name(cluster.profile_dir)
    engines = about.setdefault("engines", {})
    engines["n"] = sum(one.get("n", 0) for one in engines.get("sets", {}).values())
    about["cluster_file"] = cluster.cluster_file
    return about


def _place(model: dict[str, Any]) -> tuple[Any, ...]:
    """Those that run first, then what belongs to the default names."""
    profile, name = model["cluster"]["profile"], model["cluster"]["cluster_id"]
    return (
        not model.get("controller"),
        profile != "default",
        name != "",
        profile,
        name,
    )


class _All(_Handler):
    @_authenticated
    async def get(self) -> None:
        found = self.manager.load_clusters(init_default_clusters=True)
        models = [_model(key, cluster) for key, cluster in found.items()]
        self.tell(sorted(models, key=_place))

    @_authenticated
    async def post(self) -> None:
        body = self.body()
        self.number(body)
        for name, value in body.items():
            if name not in _OPTIONS:
                raise web.HTTPError(400, f"a cluster has no option {name!r} here")
            if not isinstance(value, _OPTIONS[name]):
                raise web.HTTPError(400, f"{name}: {value!r} is not what it is to be")
        if os.sep in body.get("cluster_id", ""):
            raise web.HTTPError(400, "cluster_id is to be part of the name of a file")
        if os.sep in body.get("profile", ""):
            body["profile_dir"] = body.pop("profile")
        if "profile" in body and "cluster_id" not in body:
            # The first one of a profile is the one without a name.
            if f"{body['profile']}:" not in self.manager.clusters:
                body["cluster_id"] = ""
        try:
            key, cluster = self.manager.new_cluster(**body)
        except KeyError as problem:
            raise web.HTTPError(409, str(problem.args[0])) from problem
        except (TypeError, ValueError, OSError) as problem:
            raise web.HTTPError(400, str(problem)) from problem
        self.tell(_model(key, cluster))


class _One(_Handler):
    @_authenticated
    async def get(self, key: str) -> None:
        self.tell(_model(key, self.cluster(key)))

    @_authenticated
    async def post(self, key: str) -> None:
        cluster = self.cluster(key)
        if cluster.controller is not None and cluster.controller.state == "running":
            raise web.HTTPError(409, f"the cluster {key!r} runs already")
        try:
            await _coroutine(cluster, "start_cluster")(n=self.number(self.body()))
        except (RuntimeError, ValueError, OSError) as problem:
            raise web.HTTPError(500, f"it could not be started: {problem}") from problem
        self.tell(_model(key, cluster))

    @_authenticated
    async def delete(self, key: str) -> None:
        await _coroutine(self.cluster(key), "stop_cluster")()
        self.manager.remove_cluster(key)
        self.set_status(204)
        self.finish()


def load(app: Any) -> None:
    """Add the paths to a server."""
    settings = app.web_app.settings
    settings["cluster_manager"] = ClusterManager(
        config=getattr(app, "config", None), log=app.log
    )
    base = url_path_join(settings["base_url"], "ipyparallel", "clusters")
    app.web_app.add_handlers(".*$", [(base, _All), (rf"{base}/([^/]+)", _One)])
