"""Options by class, as in ``ipcluster_config.py``: ``c.Cluster.n = 4``.

Traitlets is not needed. Who has a ``Config`` of its own gives that: it is a dict of
dicts as well.
"""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

__all__ = ["Config", "Configured", "load_profile_config"]


class Config(dict[str, Any]):
    """Sections by the names of classes. A section that is asked for is made."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __missing__(self, name: str) -> Any:
        if not name[:1].isupper():
            raise KeyError(name)
        made = self[name] = Config()
        return made

    def merge(self, other: Mapping[str, Any]) -> None:
        """Take what the other has, section by section."""
        for name, value in other.items():
            if isinstance(value, Mapping):
                mine = self[name] if name in self else Config()
                if isinstance(mine, Config):
                    mine.merge(value)
                    self[name] = mine
                    continue
            self[name] = value


def load_profile_config(
    profile_dir: "str | Path", names: Iterable[str] = ("ipcluster_config",)
) -> Config:
    """What the configuration files of a profile say: ``NAME.py``, then
    ``NAME.json``."""
    whole = Config()
    for name in names:
        python = Path(profile_dir) / f"{name}.py"
        if python.exists():
            config = Config()
            code = compile(python.read_text(), str(python), "exec")
            exec(code, {"c": config, "get_config": lambda config=config: config})
            whole.merge(config)
        as_json = Path(profile_dir) / f"{name}.json"
        if as_json.exists():
            found = json.loads(as_json.read_text())
            found.pop("version", None)
            whole.merge(found)
    return whole


class Configured:
    """An object whose options are attributes, set by keyword or by a configuration.

    A class lists its own options, with defaults, in `OPTIONS`.
    """

    OPTIONS: dict[str, Any] = {}  # noqa: RUF012

    config: Any
    parent: Any

    def __init__(self, config: Any = None, parent: Any = None, **kwargs: Any) -> None:
        self.parent = parent
        if config is None:
            config = getattr(parent, "config", None)
        self.config = Config() if config is None else config
        known: dict[str, Any] = {}
        for base in reversed(type(self).__mro__):
            known |= base.__dict__.get("OPTIONS", {})
        for name, default in known.items():
            if name in type(self).__dict__ and not isinstance(
                type(self).__dict__[name], property
            ):
                # A subclass of the user's that says it as an attribute.
                default = getattr(type(self), name)
            value = default.copy() if isinstance(default, (list, dict)) else default
            setattr(self, name, value)
        self.configure(self.config)
        for name, value in kwargs.items():
            setattr(self, name, value)

    def configure(self, config: Mapping[str, Any]) -> None:
        """Set what a configuration says of this class and of those it derives from."""
        for base in reversed(type(self).__mro__):
            section = config.get(base.__name__)
            if isinstance(section, Mapping):
                for name, value in section.items():
                    setattr(self, name, value)
