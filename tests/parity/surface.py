"""Print what `mpi4py` offers here: every public name, and what it is.

    phalanx run -n 1 python tests/parity/surface.py

A JSON object: names to what they are (a constant and its value, a class, a function
and its parameters with defaults), those that begin with one underscore in `mpi4py.MPI`
and the special methods of its classes as well: programs use them. The tier
`crossing` compares that of the original with ours, each from an environment of its
own.
"""

import ast
import importlib
import inspect
import json
import sys

MODULES = (
    "mpi4py",
    "mpi4py.MPI",
    "mpi4py.bench",
    "mpi4py.futures",
    "mpi4py.futures.aplus",
    "mpi4py.futures.server",
    "mpi4py.futures.util",
    "mpi4py.run",
    "mpi4py.typing",
    "mpi4py.util",
    "mpi4py.util.dtlib",
    "mpi4py.util.pkl5",
    "mpi4py.util.pool",
    "mpi4py.util.sync",
)

# Enough of a module that says which names are its own.
OWN = ("mpi4py", "phalanx")


def from_text(name: str, text: str) -> str | None:
    """Parameters from the first line of a docstring, defaults as they stand there."""
    line = text.partition("\n")[0].strip()
    if not line.startswith(f"{name}("):
        return None
    try:
        tree = ast.parse(f"def {line}: ...")
    except SyntaxError:
        return None
    arguments = tree.body[0].args
    for argument in ast.walk(arguments):
        if isinstance(argument, ast.arg):
            argument.annotation = None
    return ast.unparse(arguments)


def from_signature(function: object) -> str | None:
    """Parameters as Python sees them; defaults that are objects as an ellipsis."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    plain = bool | int | float | str | tuple | None
    parameters = []
    for one in signature.parameters.values():
        if one.kind is one.VAR_KEYWORD:
            one = one.replace(name="kwargs")
        if one.default is not one.empty and not isinstance(one.default, plain):
            one = one.replace(default=...)
        parameters.append(one.replace(annotation=one.empty))
    text = str(
        signature.replace(parameters=parameters, return_annotation=inspect._empty)
    )
    return text[1:-1].replace("Ellipsis", "...")


def without_self(parameters: str) -> str:
    parts = [part.strip() for part in parameters.split(",")]
    while parts and parts[0] in ("self", "cls", "/"):
        del parts[0]
    return f"({', '.join(parts)})"


def describe(name: str, thing: object, owner: type | None = None) -> str:
    if isinstance(thing, property) or inspect.isdatadescriptor(thing):
        return "property"
    if isinstance(thing, bool | int | float | str | None):
        return f"{type(thing).__name__} {thing!r}"
    if not callable(thing):
        return f"a {type(thing).__name__}"
    bound = getattr(thing, "__self__", None)
    kind = "function"
    if owner is not None:
        kind = "classmethod" if isinstance(bound, type) else "method"
    text = from_text(name, getattr(thing, "__doc__", None) or "")
    parameters = text or from_signature(thing)
    if parameters is None:
        return f"a {type(thing).__name__}"
    return f"{kind} {without_self(parameters)}"


def is_offered(name: str, thing: object) -> bool:
    """Whether programs use an attribute of `mpi4py.MPI`: tools of the original do."""
    if not name.startswith("_"):
        return True
    tool = inspect.isroutine(thing) or isinstance(thing, dict)
    return tool and not name.startswith("__")


def special_methods(owner: type) -> list[str]:
    """Those that a compiled class has itself; what classes are made of aside."""
    made_of = ("__doc__", "__module__", "__new__", "__pyx_vtable__")
    return [n for n in vars(owner) if n.startswith("__") and n not in made_of]


def look(module_name: str) -> dict[str, str]:
    module = importlib.import_module(module_name)
    found = {}
    listed = getattr(module, "__all__", None)
    whole = module_name in ("mpi4py", "mpi4py.MPI")
    names = [name for name in dir(module) if not name.startswith("_")]
    if module_name == "mpi4py.MPI":
        names = [name for name in dir(module) if is_offered(name, vars(module)[name])]
    for name in names if whole or listed is None else listed:
        thing = getattr(module, name)
        if inspect.ismodule(thing) or name == "TYPE_CHECKING":
            continue
        if not whole and not isinstance(thing, type) and not inspect.isroutine(thing):
            continue  # what a module needs for itself
        home = getattr(thing, "__module__", None)
        if isinstance(home, str) and home.partition(".")[0] not in OWN:
            if module_name not in ("mpi4py.futures", "mpi4py.futures.aplus"):
                continue  # imported from elsewhere
        full = f"{module_name}.{name}"
        if not isinstance(thing, type):
            found[full] = describe(name, thing)
            continue
        found[full] = "class"
        if not str(home).startswith(OWN):
            continue
        if module_name == "mpi4py.MPI" and not issubclass(thing, BaseException):
            for special in special_methods(thing):
                found[f"{full}.{special}"] = "special method"
        if inspect.isfunction(thing.__init__):
            found[f"{full}.__init__"] = describe("__init__", thing.__init__, thing)
        for member in dir(thing):
            if member.startswith("_"):
                continue
            if issubclass(thing, BaseException) and hasattr(BaseException, member):
                continue
            static = inspect.getattr_static(thing, member)
            if not inspect.isdatadescriptor(static) and not isinstance(
                static, property
            ):
                static = getattr(thing, member)
            found[f"{full}.{member}"] = describe(member, static, thing)
    return found


def main() -> None:
    found = {}
    for module in MODULES:
        found |= look(module)
    json.dump(found, sys.stdout, indent=0, sort_keys=True)


if __name__ == "__main__":
    main()
