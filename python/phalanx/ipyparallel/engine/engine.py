"""The loop of an engine: takes tasks from the controller, runs them, says what came
of it.

Everything runs in the main thread, one task after another, so that an interrupt reaches
the task. The namespace is that of the module ``__main__``, which is an empty one here.
"""

# (What an engine needs before its first task only: all of them start at the same time.)
import os
import signal
import sys
import time
from types import FrameType, ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

from ..error import ImpossibleDependency, UnmetDependency
from ..serialize import _functions
from ..serialize._calls import made
from . import stuck

if TYPE_CHECKING:
    from ..._workers import ClusterLink  # type: ignore[attr-defined,unused-ignore]
    from .shell import EngineShell

__all__ = ["Engine", "running"]

running: "Engine | None" = None

# Kinds of tasks that call a function. (What else they are called is for the records.)
_CALLS = frozenset(("apply", "push", "pull", "scatter", "gather"))

# Frames of tracebacks that are ours, and say nothing about the task.
_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class Engine:
    """This process as an engine."""

    def __init__(self, link: "ClusterLink") -> None:
        self.link = link
        self.id: int = link.welcome["engine_id"]
        self.uuid: str = link.welcome["identity"]
        self.module = ModuleType("__main__", "The namespace of this engine.")
        self.module.__dict__["__builtins__"] = sys.modules["builtins"]
        sys.modules["__main__"] = self.module
        self.names = self.module.__dict__
        self.current: str | None = None
        self.count = 0
        # So many have come while there was a task.
        self.interrupts = 0
        # What a task is given is being unpacked, which may import modules: not all can
        # be imported again after half of it. So an interrupt waits, one at most.
        self.unpacking = False
        self.held = False
        self.shell: EngineShell | None = None
        self.shell_failed = False

    # --- the loop ---------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the controller says leave, or is gone."""
        global running
        running = self
        signal.signal(signal.SIGINT, self._interrupt)
        if stuck.is_needed():
            stuck.watch(self)
        self._watch_imports()
        self.link.send("ready", {})
        while True:
            try:
                if not self._serve():
                    return
            except KeyboardInterrupt:
                # For a task that had ended just before.
                continue
            except OSError:
                return

    def _serve(self) -> bool:
        """Do what comes next; return whether something may come after it.

        One task at a time: the link gives back what has not begun when a task takes
        long, so that others may run it. (In a frame of its own: what a task was given
        is not kept until the next one comes.)
        """
        message = self.link.next_task()
        if message is None:
            return True
        kind, task, payloads = message
        if task:
            self._run(task, kind, payloads)
            return True
        return kind not in ("exit", "bye")

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        if self.current is not None:
            self.interrupts += 1
            if self.unpacking and not self.held:
                self.held = True
            else:
                raise KeyboardInterrupt

    def _watch_imports(self) -> None:
        """A task that displays something without having executed code has a shell."""
        from ..._opening import AfterImport

        AfterImport().add("IPython.core.display_functions", self._display_imported)

    def _display_imported(self, module: ModuleType) -> None:
        import functools

        display = module.display

        @functools.wraps(display)
        def with_shell(*args: Any, **kwargs: Any) -> Any:
            self.get_shell()
            return display(*args, **kwargs)

        module.display = with_shell  # type: ignore[attr-defined]

    # --- one task ---------------------------------------------------------------------

    def _run(self, task: str, kind: str, payloads: list[Any]) -> None:
        told: dict[str, Any] = {}
        try:
            try:
                self.current = task
                if kind in _CALLS:
                    self.unpacking = True
                    function, args, kwargs = made(payloads)
                    self.unpacking = False
                    if self.held:
                        raise KeyboardInterrupt
                    value = function(*args, **kwargs)
                else:
                    value = self._do(kind, payloads, told)
            finally:
                self.current = None
                self.unpacking = self.held = False
        except UnmetDependency as problem:
            impossible = isinstance(problem, ImpossibleDependency)
            self._fail(task, "error" if impossible else "rejected", describe(problem))
            return
        except _Failed as problem:
            self._fail(task, "error", problem.error, told)
            return
        except BaseException as problem:
            self._fail(task, "error", describe(problem), told)
            return
        completed = time.time()
        try:
            result = self.encode(value)
        except BaseException as problem:
            error = describe(problem)
            error["evalue"] = f"the result cannot be sent: {error['evalue']}"
            self._fail(task, "error", error, told, completed)
            return
        value = None
        _flush()
        if told:
            import json

            done = {"id": task, "status": "ok", "metadata": json.dumps(told).encode()}
            self.link.send("done", done, [result])
        else:
            self.link.finish(task, result)

    def _fail(
        self,
        task: str,
        status: str,
        error: dict[str, Any],
        told: dict[str, Any] | None = None,
        completed: float | None = None,
    ) -> None:
        import json

        _flush()
        self.link.send(
            "done",
            {
                "id": task,
                "status": status,
                "error": error,
                "metadata": json.dumps(told).encode() if told else b"",
                "completed": completed,
            },
        )

    def encode(self, value: Any) -> Any:
        """An object as it travels."""
        plain = self.link.encode_plain(value)
        if plain is not None:
            return plain
        return self.link.encode(_functions.dumps(value))

    def _do(self, kind: str, payloads: list[Any], told: dict[str, Any]) -> Any:
        if kind == "execute":
            code, silent = payloads[0].loads()
            told.update(method="execute", execute_input=code)
            return self._execute(code, silent)
        if kind == "clear":
            for payload in payloads:
                payload.forget()
            self.clear()
            return None
        raise ValueError(f"this engine does not know tasks of kind {kind!r}")

    # --- code -------------------------------------------------------------------------

    def get_shell(self) -> "EngineShell | None":
        """IPython's shell over the namespace, if IPython is installed."""
        if self.shell is None and not self.shell_failed:
            try:
                from .shell import make_shell
            except ImportError:
                self.shell_failed = True
            else:
                self.shell = make_shell(self)
        return self.shell

    def _execute(self, code: str, silent: bool) -> dict[str, Any]:
        shell = self.get_shell()
        if shell is not None:
            count, error = shell.run(code, silent)
        else:
            count, error = self._execute_plainly(code, silent)
        if error is not None:
            raise _Failed(error)
        return {"status": "ok", "execution_count": count, "source": code}

    def _execute_plainly(
        self, code: str, silent: bool
    ) -> tuple[int, dict[str, Any] | None]:
        """Without IPython: Python's own statements, and the value of the last one."""
        import ast
        import linecache

        if not silent:
            self.count += 1
        name = f"<cell {self.count or 1} on engine {self.id}>"
        linecache.cache[name] = (len(code), None, code.splitlines(keepends=True), name)
        try:
            tree = ast.parse(code, name)
            last = None
            if not silent and tree.body and isinstance(tree.body[-1], ast.Expr):
                last = ast.Expression(tree.body.pop().value)  # type: ignore[attr-defined]
            exec(compile(tree, name, "exec"), self.names)
            if last is not None:
                value = eval(compile(last, name, "eval"), self.names)
                if value is not None:
                    self.names["_"] = value
                    self.show(
                        "result",
                        {
                            "data": {"text/plain": repr(value)},
                            "metadata": {},
                            "execution_count": self.count,
                        },
                    )
        except BaseException as problem:
            return self.count, describe(problem)
        return self.count, None

    def show(self, kind: str, what: Any) -> None:
        """Send something to whoever waits for the task that runs now."""
        if self.current is None:
            return
        shown = self.encode((kind, what))
        _flush()
        self.link.send("output", {"id": self.current}, [shown])

    def clear(self) -> None:
        """Forget every name."""
        _functions.forget_arrived()
        self.names.clear()
        self.names.update(
            __name__="__main__", __builtins__=sys.modules["builtins"], __doc__=None
        )
        if self.shell is not None:
            self.shell.renew()


class _Failed(Exception):
    """A cell that failed; what of is described already."""

    def __init__(self, error: dict[str, Any]) -> None:
        self.error = error


def _flush() -> None:
    """What has been printed goes on its way before anybody hears that a task has
    ended. (What C code has printed, the link looks after.)"""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            pass


def _without_ours(trace: TracebackType | None) -> TracebackType | None:
    """A traceback from the first frame of the task on."""
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_OURS):
        first = first.tb_next
    return first or trace


def describe(problem: BaseException) -> dict[str, Any]:
    """An exception as the controller passes it on."""
    import io
    import traceback

    try:
        text = str(problem)
    except Exception:
        text = f"<{type(problem).__name__} that cannot say what it is>"
    lines = io.StringIO()
    try:
        traceback.print_exception(
            type(problem), problem, _without_ours(problem.__traceback__), file=lines
        )
    except Exception:
        lines.write(f"{type(problem).__name__}: {text}\n")
    return {
        "ename": type(problem).__name__,
        "evalue": text,
        "traceback": [lines.getvalue()],
        "kind": "task",
    }
