"""``with view.sync_imports():`` -- imports that happen on the engines as well.

The import system is told ``numpy`` and never hears of the name behind ``as``, which
only the code of the block knows. So the code is looked at: behind each import stands
what its value is stored as.
"""

import builtins
import dis
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .view import DirectView

__all__ = ["mirrored", "names_given"]

_STORES = {"STORE_NAME", "STORE_FAST", "STORE_GLOBAL", "STORE_DEREF"}


def names_given(code: CodeType, at: int, name: str, fromlist: Any) -> dict[str, str]:
    """The names that the import at an offset of the code gives, and what each stands
    for.

    For ``import a.b as c`` that is ``{"c": "a.b"}``, for ``from a import b as c``
    ``{"c": "b"}``, for ``import a.b`` it is ``{"a": "a"}``.
    """
    plain = (
        {one: one for one in fromlist if one != "*"}
        if fromlist
        else {name.partition(".")[0]: name.partition(".")[0]}
    )
    instructions = iter(dis.get_instructions(code))
    for instruction in instructions:
        if instruction.offset == at:
            if instruction.opname != "IMPORT_NAME":
                return plain
            break
    else:
        return plain
    given: dict[str, str] = {}
    if fromlist:
        pending = None
        for instruction in instructions:
            if instruction.opname == "IMPORT_FROM":
                pending = instruction.argval
            elif instruction.opname in _STORES and pending is not None:
                given[instruction.argval] = pending
                pending = None
            elif instruction.opname == "POP_TOP":
                break
        return given or plain
    # ``import a.b as c`` walks down by IMPORT_FROM (and SWAP, POP_TOP) to a.b.
    walked = False
    for instruction in instructions:
        if instruction.opname in _STORES:
            asname = instruction.argval
            whole = walked or asname != name.partition(".")[0]
            return {asname: name if whole else name.partition(".")[0]}
        if instruction.opname == "IMPORT_FROM":
            walked = True
        elif instruction.opname not in ("SWAP", "POP_TOP", "ROT_TWO", "CACHE", "NOP"):
            break
    return plain


def _caller(frame: FrameType | None) -> FrameType | None:
    """The frame whose code has the import statement."""
    here = __name__
    while frame is not None and frame.f_globals.get("__name__") == here:
        frame = frame.f_back
    return frame


@contextmanager
def mirrored(view: "DirectView", local: bool, quiet: bool) -> Iterator[None]:
    """What `DirectView.sync_imports` says."""
    from ..serialize._calls import import_names

    original = builtins.__import__
    block = sys._getframe()
    # This generator, `contextlib`, `sync_imports`, `contextlib`: then the block itself.
    while block.f_back is not None and block.f_globals.get("__name__") in (
        __name__,
        "contextlib",
        "phalanx.ipyparallel.client.view",
    ):
        block = block.f_back
    pending: list[Any] = []

    def mirror(
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        frame = _caller(sys._getframe(1))
        # Imports inside of imported modules are theirs.
        if frame is not block or level:
            return original(name, globals, locals, fromlist, level)
        fromlist = tuple(fromlist or ())
        places = names_given(frame.f_code, frame.f_lasti, name, fromlist)
        if not quiet:
            _tell(name, fromlist, places)
        pending.append(view.apply_async(import_names, name, fromlist, level, places))
        if not local:
            return _Nothing()
        return original(name, globals, locals, fromlist, level)

    builtins.__import__ = mirror
    try:
        yield
    finally:
        builtins.__import__ = original
    for result in pending:
        result.get()


def _tell(name: str, fromlist: tuple[str, ...], places: dict[str, str]) -> None:
    if fromlist:
        names = ",".join(
            what if what == asname else f"{what} as {asname}"
            for asname, what in places.items()
        )
        print(f"importing {names or '*'} from {name} on engine(s)")
    elif places == {name.partition(".")[0]: name.partition(".")[0]}:
        print(f"importing {name} on engine(s)")
    else:
        print(f"importing {name} as {next(iter(places))} on engine(s)")


class _Nothing:
    """Stands for a module that is imported on engines only."""

    def __getattr__(self, name: str) -> "_Nothing":
        if name.startswith("__"):
            raise AttributeError(name)
        return self
