"""The engine's side: a Python process with a namespace, in which tasks run."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["bind_kernel", "current"]


def current() -> "Engine | None":
    """The engine that this process is, if it is one."""
    import sys

    module = sys.modules.get(f"{__name__}.engine")
    return getattr(module, "running", None)


def bind_kernel(**kwargs: Any) -> None:
    """Let a front end of Jupyter connect to this engine, by ipykernel.

    Raises RuntimeError if this process is no engine, ImportError without ipykernel.
    """
    engine = current()
    if engine is None:
        raise RuntimeError("bind_kernel is for engines: call it there, by view.apply")
    from .kernel import bind

    bind(engine, **kwargs)
