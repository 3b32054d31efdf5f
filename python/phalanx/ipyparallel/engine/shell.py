"""IPython on an engine: magics in cells, rich display, its tracebacks.

Imported when the first code is executed, if IPython is installed.
"""

import base64
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.displayhook import DisplayHook  # type: ignore[import-not-found,unused-ignore]
from IPython.core.displaypub import DisplayPublisher  # type: ignore[import-not-found,unused-ignore]
from IPython.core.interactiveshell import InteractiveShell  # type: ignore[import-not-found,unused-ignore]

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["EngineShell", "make_shell"]


def _plain(data: dict[str, Any]) -> dict[str, Any]:
    """Forms of an object as text: pictures in base 64."""
    return {
        kind: base64.b64encode(value).decode("ascii")
        if isinstance(value, bytes)
        else value
        for kind, value in data.items()
    }


class _Hook(DisplayHook):  # type: ignore[misc,unused-ignore]
    """The value of a cell goes to the client."""

    engine: "Engine"

    def write_output_prompt(self) -> None:
        pass

    def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
        self.engine.show(
            "result",
            {
                "data": _plain(format_dict),
                "metadata": md_dict or {},
                "execution_count": self.prompt_count,
            },
        )

    def finish_displayhook(self) -> None:
        pass


class _Publisher(DisplayPublisher):  # type: ignore[misc,unused-ignore]
    """What is displayed goes to the client."""

    engine: "Engine"

    def publish(self, data: Any, metadata: Any = None, *_: Any, **__: Any) -> None:
        self.engine.show("output", {"data": _plain(data), "metadata": metadata or {}})

    def clear_output(self, wait: bool = False) -> None:
        self.engine.show("clear", None)


class EngineShell(InteractiveShell):  # type: ignore[misc,unused-ignore]
    """A shell without a terminal, whose errors are kept for the client."""

    engine: "Engine"
    last_error: "list[str] | None" = None

    def _showtraceback(self, etype: Any, evalue: Any, stb: Any) -> None:
        self.last_error = [stb] if isinstance(stb, str) else list(stb)

    def init_history(self) -> None:
        # Nothing is written to the user's history of commands.
        self.config.HistoryManager.enabled = False
        self.config.HistoryManager.hist_file = ":memory:"
        super().init_history()

    def enable_gui(self, gui: Any = None) -> None:
        """No loop of a window's events runs on an engine; figures are displayed."""

    def ask_exit(self) -> None:
        """``exit`` in a cell ends nothing."""

    def run(self, code: str, silent: bool) -> tuple[int, dict[str, Any] | None]:
        """Run a cell: its number, and what went wrong."""
        from .engine import describe

        self.last_error = None
        count = self.execution_count
        # What a cell displays is this shell's, also beside a kernel's (`bind_kernel`).
        before, InteractiveShell._instance = InteractiveShell._instance, self
        try:
            result = self.run_cell(code, store_history=not silent, silent=silent)
        finally:
            InteractiveShell._instance = before
        problem = result.error_before_exec or result.error_in_exec
        if problem is None:
            return count, None
        error = describe(problem)
        if self.last_error is not None:
            error["traceback"] = list(self.last_error)
        return count, error

    def renew(self) -> None:
        """After the names have gone: those that a shell has, and none else."""
        self.reset(new_session=False)


def make_shell(engine: "Engine") -> EngineShell:
    """The shell of this process, over the engine's namespace."""
    InteractiveShell.clear_instance()
    shell: EngineShell = EngineShell.instance(
        user_module=engine.module, displayhook_class=_Hook, display_pub_class=_Publisher
    )
    shell.engine = engine
    shell.displayhook.engine = engine
    shell.display_pub.engine = engine
    for colors in ("nocolor", "NoColor"):
        try:
            shell.colors = colors
            break
        except Exception:
            continue
    shell.builtin_trap.activate()
    # (Making a shell replaces these.)
    sys.excepthook = sys.__excepthook__
    return shell
