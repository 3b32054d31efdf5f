"""Write the stubs of the extensions, python/phalanx/*.pyi, from their docstrings.

    PYTHON=... cargo xtask gen [--check]

The first line of each docstring is a signature; this puts them together. With
`--check` nothing is written, and a stub that is out of date is an error.
"""

import argparse
import inspect
import re
import sys
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

from phalanx import MPI, _workers

PACKAGE = Path(__file__).resolve().parents[2] / "python" / "phalanx"

# Of each extension: what its stub begins with.
HEADERS = {
    MPI: '''\
# Generated from the docstrings of the extension by `cargo xtask gen`: do not edit.
"""Message Passing Interface."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal, NoReturn, Self, final

from phalanx.typing import (
    Bottom,
    Buffer,
    BufSpec,
    BufSpecB,
    BufSpecV,
    BufSpecW,
    InPlace,
    TargetSpec,
    TypeSpec,
)
from typing_extensions import disjoint_base
''',
    _workers: '''\
# Generated from the docstrings of the extension by `cargo xtask gen`: do not edit.
"""Pools, queues, locks and shared memory of Phalanx."""

from collections.abc import Callable, Iterable
from typing import Any, ClassVar, Final, Self, final

from typing_extensions import disjoint_base
''',
}

# Methods that Python calls: their docstrings are Python's own.
SPECIAL = {
    "__bool__": "(self) -> bool",
    "__int__": "(self) -> int",
    "__index__": "(self) -> int",
    "__hash__": "(self) -> int",
    "__len__": "(self) -> int",
    "__repr__": "(self) -> str",
    "__str__": "(self) -> str",
    "__eq__": "(self, other: object, /) -> bool",
    "__ne__": "(self, other: object, /) -> bool",
    "__lt__": "(self, other: Any, /) -> bool",
    "__le__": "(self, other: Any, /) -> bool",
    "__gt__": "(self, other: Any, /) -> bool",
    "__ge__": "(self, other: Any, /) -> bool",
    "__iter__": "(self) -> Any",
    "__enter__": "(self) -> Any",
    "__exit__": (
        "(self, _kind: Any = ..., _error: Any = ..., _traceback: Any = ...) -> Any"
    ),
    "__contains__": "(self, key: Any, /) -> bool",
    "__getitem__": "(self, key: Any, /) -> Any",
    "__setitem__": "(self, key: Any, value: Any, /) -> None",
    "__delitem__": "(self, key: Any, /) -> None",
    "__reduce__": "(self) -> str | tuple[Any, ...]",
    "__getstate__": "(self) -> Any",
    "__setstate__": "(self, state: Any) -> None",
    "__call__": "(self, *args: Any, **kwargs: Any) -> Any",
}
# The bit of a type's flags that allows subclasses.
BASETYPE = 1 << 10

# A type that compares gets every comparison; only these two mean something.
ORDERED = {"__lt__", "__le__", "__gt__", "__ge__"}


def first_line(thing: object) -> str:
    """The first paragraph of a docstring, on one line."""
    first = (getattr(thing, "__doc__", None) or "").partition("\n\n")[0]
    return " ".join(first.split())


def split(text: str) -> list[str]:
    """The arguments of a signature, at its outer commas."""
    parts, depth = [""], 0
    for character in text:
        depth += (character in "[(") - (character in "])")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts if part.strip()]


def parameters(thing: object) -> list[inspect.Parameter] | None:
    """What Python knows of the arguments (no types), None when it knows nothing."""
    try:
        return list(inspect.signature(thing).parameters.values())  # type: ignore
    except (TypeError, ValueError):
        return None


def signature(thing: object, name: str) -> str | None:
    """`(arguments) -> result` of a docstring, None when it has none."""
    match = re.fullmatch(re.escape(name) + r"\((.*)\) -> (.+)", first_line(thing))
    if match is None:
        return None
    known = {parameter.name: parameter for parameter in parameters(thing) or ()}
    typed = []
    for number, part in enumerate(split(match[1])):
        written = re.fullmatch(r"(\*{0,2})(\w+)(: .+?)?(?:\s*=\s*(.+))?", part)
        if not written or (number == 0 and part in ("self", "cls")):
            typed.append(part)
            continue
        stars, argument, kind, default = written.groups()
        kind = (kind or ": Any").removeprefix(": ")
        runtime = known[argument].default if argument in known else ...
        if default and runtime is None and kind != "Any" and "None" not in kind:
            kind += " | None"
        literal = default and re.fullmatch(
            r"-?\d+|True|False|None|'.*'|\".*\"", default
        )
        if default and not (literal and (runtime is ... or repr(runtime) == default)):
            default = "..."
        typed.append(
            f"{stars}{argument}: {kind}" + (f" = {default}" if default else "")
        )
    return f"({', '.join(typed)}) -> {match[2]}"


def arguments(thing: object, *, bound: str) -> str:
    """The arguments that Python itself knows, which may be anything."""
    known = parameters(thing)
    if known is None:
        return f"({bound}*args: Any, **kwargs: Any)"
    parts = []
    for parameter in known:
        text = str(parameter.replace(annotation=inspect.Parameter.empty))
        name, _, default = text.partition("=")
        if parameter.kind is parameter.KEYWORD_ONLY and "*" not in parts:
            parts.append("*")
        if name not in ("self", "cls"):
            parts.append(f"{name}: Any" + (" = ..." if default else ""))
        if parameter.kind is parameter.POSITIONAL_ONLY and parameter is known[-1]:
            parts.append("/")
    return f"({bound}{', '.join(parts)})"


def is_writable(cls: type, name: str) -> bool:
    """Whether a property has a setter: deleting says so, and does nothing."""
    try:
        make: Any = cls.__new__
        instance = make(cls)
        vars(cls)[name].__delete__(instance)
    except AttributeError as error:
        return "not writable" not in str(error)
    except Exception:
        # It cannot be made without arguments. Classes of `_workers` have no setters.
        return cls.__module__ != _workers.__name__
    return False


def method(cls: type, name: str, thing: object) -> list[str]:
    kind = type(thing).__name__
    lines = []
    if kind in ("getset_descriptor", "property"):
        match = re.fullmatch(re.escape(name) + r": (.+)", first_line(thing))
        result = match[1] if match else "int" if name == "handle" else "Any"
        lines = ["@property", f"def {name}(self) -> {result}: ..."]
        if kind == "getset_descriptor" and is_writable(cls, name):
            lines += [f"@{name}.setter"]
            lines += [f"def {name}(self, value: {result}, /) -> None: ..."]
        return lines
    if name in SPECIAL:
        return [f"def {name}{SPECIAL[name]}: ..."]
    if not callable(thing) and not isinstance(thing, (classmethod, staticmethod)):
        return [f"{name}: ClassVar[int]"] if type(thing) is int else []
    static, of_class = isinstance(thing, staticmethod), "class" in kind
    function = getattr(thing, "__func__", thing) if static else thing
    bound = "" if static else "cls, " if of_class else "self, "
    text = signature(function, name)
    if text is None:
        text = arguments(getattr(cls, name), bound=bound) + " -> Any"
    elif static and text.startswith("(cls"):
        text = re.sub(r"^\(cls(, )?", "(", text)
    elif bound and not re.match(r"\((self|cls)\b", text):
        text = f"({bound}{text[1:]}".replace(", )", ")", 1)
    lines = ["@staticmethod"] if static else ["@classmethod"] if of_class else []
    return [*lines, f"def {name}{text}: ..."]


def is_native(cls: type) -> bool:
    """Whether a class is the extension's own, and not written in Python."""
    return not any(isinstance(member, FunctionType) for member in vars(cls).values())


def has_own_layout(cls: type) -> bool:
    """Whether instances have more in them than those of the base, a dictionary and weak
    references aside: then no class can have this one and another such one as bases."""
    base = cls.__base__ or object
    beside = sum(
        tuple.__itemsize__
        for name in ("__dictoffset__", "__weakrefoffset__")
        if getattr(cls, name) > 0 and not getattr(base, name)
    )
    return cls.__basicsize__ - beside > base.__basicsize__


def class_lines(cls: type) -> list[str]:
    bases = [base.__name__ for base in cls.__bases__ if base is not object]
    listed = f"({', '.join(bases)})" if bases else ""
    lines = []
    if not cls.__flags__ & BASETYPE:
        lines += ["@final"]
    elif is_native(cls) and has_own_layout(cls):
        lines += ["@disjoint_base"]
    lines += [f"class {cls.__name__}{listed}:"]
    members = vars(cls)
    body: list[str] = []
    if "__new__" in members:
        text = arguments(cls, bound="cls, ")
        body.append(f"def __new__{text} -> Self: ...")
    if "__init__" in members:
        text = arguments(members["__init__"], bound="self, ")
        body.append(f"def __init__{text} -> None: ...")
    # In the order of names: that of the members changes from build to build.
    for name, thing in sorted(members.items()):
        special = name.startswith("__") and name.endswith("__")
        if name == "__hash__" and thing is None:
            body.append("__hash__: ClassVar[None]  # type: ignore[assignment]")
            continue
        if name in ("__new__", "__init__") or (special and name not in SPECIAL):
            continue
        if name in ORDERED and cls is not MPI.Exception:
            continue
        body += method(cls, name, thing)
    return lines + ["    " + line for line in body or ["..."]]


def module_lines(module: ModuleType) -> list[str]:
    public = [name for name in vars(module) if not name.startswith("_")]
    lines = ["__all__ = [", *(f'    "{name}",' for name in sorted(public)), "]"]
    seen: dict[int, str] = {}
    for name, thing in vars(module).items():
        if name.startswith("_"):
            continue
        if isinstance(thing, type):
            if id(thing) in seen:
                lines += [f"{name} = {seen[id(thing)]}"]
                continue
            seen[id(thing)] = name
            lines += ["", *class_lines(thing), ""]
        elif callable(thing) and type(thing).__name__.startswith("builtin"):
            text = signature(thing, name)
            text = text or arguments(thing, bound="") + " -> Any"
            lines += [f"def {name}{text}: ..."]
        else:
            kind = type(thing).__name__
            known = hasattr(module, kind) or kind in ("int", "str", "float")
            lines += [f"{name}: Final[{kind}]" if known else f"{name}: Any"]
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing")
    options = parser.parse_args()
    stale = []
    for module, header in HEADERS.items():
        target = PACKAGE / f"{module.__name__.rpartition('.')[2]}.pyi"
        text = header + "\n" + "\n".join(module_lines(module)) + "\n"
        if not options.check:
            target.write_text(text)
        elif not target.is_file() or target.read_text() != text:
            stale.append(target.name)
    if stale:
        names = ", ".join(f"python/phalanx/{name}" for name in stale)
        print(f"out of date: {names} (run `cargo xtask gen`)", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
