"""What an engine does before its first task: ``-c CODE``, ``-s FILE``,
PYTHONSTARTUP."""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["options_of", "run_startup"]

_CODE = ("-c", "--IPEngine.startup_command", "--IPEngineApp.startup_command")
_FILE = ("-s", "--IPEngine.startup_script", "--IPEngineApp.startup_script")


def options_of(arguments: list[str]) -> tuple[str, str]:
    """Code and file that are to run first. Options of other programs are left alone."""
    code = script = ""
    words = iter(arguments)
    for word in words:
        name, equals, value = word.partition("=")
        if name in _CODE:
            code = value if equals else next(words, "")
        elif name in _FILE:
            script = value if equals else next(words, "")
    return code, script


def run_startup(engine: "Engine", arguments: list[str]) -> None:
    """Run that code in the namespace. An error in it ends the engine, and is told."""
    code, script = options_of(arguments)
    startup = os.environ.get("PYTHONSTARTUP", "")
    for path in (startup, script):
        if path and os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                exec(compile(file.read(), path, "exec"), engine.names)
        elif path and path is script:
            sys.exit(f"phalanx: engine {engine.id}: no file {path} to start with")
    if code:
        exec(compile(code, "<startup>", "exec"), engine.names)
