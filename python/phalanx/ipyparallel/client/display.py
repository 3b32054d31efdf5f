"""Showing what engines have printed and displayed, with the engine's number before
it."""

import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from .records import Metadata

__all__ = ["display_outputs", "show_display", "show_stream"]

_STREAMS = ("stdout", "stderr")


def _say(name: str, text: str) -> None:
    stream = getattr(sys, name)
    stream.write(text)
    stream.flush()


def _print_text(name: str, text: str, engine: Any, single: bool) -> None:
    """What one engine printed, as a block."""
    if not text:
        return
    if not single:
        lines = text.rstrip("\n")
        gap = "\n" if "\n" in lines else " "
        text = f"[{name}:{engine}]{gap}{lines}"
    _say(name, text if text.endswith("\n") else text + "\n")


def show_stream(name: str, text: str, engine: Any, last: dict[str, Any]) -> None:
    """A piece of output as it comes: a label where another engine's came before."""
    if last.get(name) == engine and not last.get(f"{name} open", False):
        label = ""
    else:
        label = "" if last.get(name) == engine else f"[{name}:{engine}] "
    if label and last.get(f"{name} open"):
        label = "\n" + label
    if label and "\n" in text.rstrip("\n"):
        label = label.rstrip(" ") + "\n"
    last[name] = engine
    last[f"{name} open"] = not text.endswith("\n")
    _say(name, label + text)


def _display(data: dict[str, Any], metadata: dict[str, Any] | None) -> None:
    """Show data of several MIME types by IPython, or as text without it."""
    shell = None
    if "IPython" in sys.modules:
        from IPython import get_ipython  # type: ignore[import-not-found,unused-ignore]

        shell = get_ipython()
    if shell is None:
        print(data.get("text/plain", ""))
    else:
        from IPython.display import (  # type: ignore[import-not-found,unused-ignore]
            display,
        )

        display(data, metadata=metadata or {}, raw=True)


def show_display(
    kind: str, what: dict[str, Any], engine: Any, single: bool = False
) -> None:
    """Something displayed (``output``) or the value of a cell (``result``)."""
    data = what.get("data", {})
    if kind == "result":
        count = what.get("execution_count")
        label = f"Out[{count}]: " if engine is None else f"Out[{engine}:{count}]: "
        rich = {kind: one for kind, one in data.items() if kind != "text/plain"}
        text = data.get("text/plain", "")
        if "\n" in text:
            label = label.rstrip() + "\n"
        print(label + text)
        if rich and _in_notebook():
            _display(data, what.get("metadata"))
        return
    if not single:
        print(f"[output:{engine}]")
    _display(data, what.get("metadata"))


def _in_notebook() -> bool:
    if "IPython" not in sys.modules:
        return False
    from IPython import get_ipython

    return hasattr(get_ipython(), "kernel")


def _value(metadata: Metadata) -> None:
    if metadata["execute_result"] is not None:
        show_display("result", metadata["execute_result"], metadata["engine_id"])


def display_outputs(
    tasks: Sequence[Metadata], single: bool, groupby: str, result_only: bool
) -> None:
    """What `AsyncResult.display_outputs` says."""
    if groupby not in ("type", "engine", "order"):
        raise ValueError(f"groupby is 'type', 'engine' or 'order', not {groupby!r}")
    if result_only:
        for one in tasks:
            _value(one)
        return
    if single or groupby == "engine":
        for one in tasks:
            for name in _STREAMS:
                _print_text(name, one[name], one["engine_id"], single)
            for number, output in enumerate(one["outputs"]):
                quiet = single or number > 0
                show_display("output", output, one["engine_id"], quiet)
            _value(one)
        return
    for name in _STREAMS:
        for one in tasks:
            _print_text(name, one[name], one["engine_id"], single)
    if groupby == "order":
        for row in zip_longest(*(one["outputs"] for one in tasks)):
            for one, output in zip(tasks, row, strict=True):
                if output is not None:
                    show_display("output", output, one["engine_id"])
    else:
        for one in tasks:
            for number, output in enumerate(one["outputs"]):
                show_display("output", output, one["engine_id"], number > 0)
    for one in tasks:
        _value(one)
