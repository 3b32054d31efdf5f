"""An engine as a kernel of Jupyter's: a console or notebook can connect to it."""

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["bind"]

_SECONDS = 30.0  # until a kernel that does not start counts as failed


class _ByThread:
    """An output that is the kernel's in its thread, and the engine's in others.

    What is set on it is set on that output: IPython puts functions of its own in the
    place of ``write`` while a cell runs, and puts back what it has found.
    """

    def __init__(self, own: Any, kernels: Any, thread: threading.Thread) -> None:
        def stream() -> Any:
            return kernels if threading.current_thread() is thread else own

        self.__dict__["_stream"] = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["_stream"](), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.__dict__["_stream"](), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.__dict__["_stream"](), name)


def bind(engine: "Engine", **kwargs: Any) -> None:
    """Start a kernel of ipykernel's in a thread, over the engine's namespace.

    The engine goes on with its tasks, whose output goes to their clients as before.
    Waits until the kernel can be connected to; raises what kept it from starting.
    """
    from ipykernel.kernelapp import IPKernelApp  # type: ignore[import-not-found,unused-ignore]
    from IPython.core.interactiveshell import InteractiveShell  # type: ignore[import-not-found,unused-ignore]

    if IPKernelApp.initialized():
        return
    # IPython knows of one shell at a time; the engine keeps its own.
    engine.get_shell()
    InteractiveShell.clear_instance()
    streams = sys.stdout, sys.stderr
    hooks = sys.displayhook, sys.excepthook
    ready = threading.Event()
    failed: list[BaseException] = []

    def live() -> None:
        import asyncio

        try:
            asyncio.set_event_loop(asyncio.new_event_loop())
            app = IPKernelApp.instance(**kwargs)
            app.init_signal = lambda: None
            app.capture_fd_output = False
            app.initialize([])
            app.kernel.user_module = engine.module
            app.kernel.user_ns = engine.names
        except BaseException as problem:
            failed.append(problem)
            IPKernelApp.clear_instance()
            return
        finally:
            # What a kernel takes for itself is the engine's, too.
            sys.modules["__main__"] = engine.module
            kernels = sys.stdout, sys.stderr
            sys.displayhook, sys.excepthook = hooks
            sys.stdout, sys.stderr = (
                own if own is its else _ByThread(own, its, thread)
                for own, its in zip(streams, kernels, strict=True)
            )
            ready.set()
        app.start()

    thread = threading.Thread(target=live, name="ipykernel", daemon=True)
    thread.start()
    if not ready.wait(_SECONDS):
        raise TimeoutError(f"no kernel has started within {_SECONDS:.0f} s")
    if failed:
        raise failed[0]
