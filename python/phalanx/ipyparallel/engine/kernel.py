"""An engine as a kernel of Jupyter's: a console or notebook can connect to it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["bind"]


def bind(engine: "Engine", **kwargs: Any) -> None:
    """Start a kernel of ipykernel's in a thread, over the engine's namespace."""
    import threading

    from ipykernel.embed import IPKernelApp  # type: ignore[import-not-found,unused-ignore]

    if IPKernelApp.initialized():
        return
    ready = threading.Event()

    def live() -> None:
        import asyncio

        asyncio.set_event_loop(asyncio.new_event_loop())
        app = IPKernelApp.instance(**kwargs)
        app.init_signal = lambda: None
        app.initialize([])
        app.kernel.user_module = engine.module
        app.kernel.user_ns = engine.names
        ready.set()
        app.start()

    threading.Thread(target=live, name="ipykernel", daemon=True).start()
    ready.wait(30)
