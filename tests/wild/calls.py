"""Random calls with wild arguments, over every function and method of an extension.

    python calls.py MODULE SEED COUNT [--say]

MODULE is `MPI` or `_workers`. The stub tells which calls there are and what they
take; most arguments are of the right kind, the others are anything. A call may
raise what it likes; it may not crash, and it may not be deaf to interrupts: one that
waits is interrupted. The same seed makes the same calls. The last one of each process
is in a file in the folder that WILD_LAST names, so that it is known after a crash;
`--say` prints them all.
"""

import ast
import contextlib
import gc
import importlib
import os
import random
import resource
import signal
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import phalanx

ROOM = 1 << 30  # bytes of memory that the calls may have
PATIENCE = 0.02  # until a call that waits is interrupted
KEPT = 24  # objects of each class

# What ends the process, starts programs, waits for other jobs, or takes bare addresses
# or process numbers on the caller's word.
LEFT_OUT = {
    "Abort", "Finalize", "Init", "Init_thread", "Spawn", "Spawn_multiple", "Accept",
    "Connect", "Join", "fromaddress", "run_worker", "started", "reaped", "Pcontrol",
    "ticket", "next_event", "wait_idle",
}  # fmt: skip
# An error under these ends the job, as it should.
FATAL = ("ERRORS_ARE_FATAL", "ERRORS_ABORT")

INTEGERS = (
    0, 1, 2, 3, 5, 8, 17, -1, -2, -3, -100, 127, 255, 1000, 65536, 2**31 - 1, -(2**31),
    2**31, 2**32, 2**63 - 1, -(2**63), 2**63, 2**64,
)  # fmt: skip
SMALL = (0, 0, 1, 1, 2, 3, 4, 8)
TEXTS = ("", "a", "key", "mpi_initial_errhandler", "\0", "ä", "x" * 5000, "\udc80")
DTYPES = ("b", "B", "h", "i", "q", "f", "d", "D", "?", "U1", "O", "M8[s]", "V3")


@dataclass(frozen=True)
class Call:
    """One function or method: where it is, and the annotations of its arguments."""

    owner: str
    name: str
    arguments: tuple[tuple[str, str], ...]
    kind: str  # "function", "method", "class", "static", "property", "setter", "new"


def calls_of(stub: Path) -> list[Call]:
    """Every call in a stub, in its order."""
    found = []
    for node in ast.parse(stub.read_text()).body:
        if isinstance(node, ast.FunctionDef):
            found.append(describe("", node))
        elif isinstance(node, ast.ClassDef):
            for member in node.body:
                if isinstance(member, ast.FunctionDef):
                    found.append(describe(node.name, member))
    return [call for call in found if call.name not in LEFT_OUT]


def describe(owner: str, node: ast.FunctionDef) -> Call:
    marks = {ast.unparse(mark).rpartition(".")[2] for mark in node.decorator_list}
    named = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    arguments = tuple(
        (argument.arg, ast.unparse(argument.annotation) if argument.annotation else "")
        for argument in named
        if argument.arg not in ("self", "cls")
    )
    kinds = {"classmethod": "class", "staticmethod": "static"}
    kinds |= {"property": "property", "setter": "setter"}
    kind = next((kinds[mark] for mark in marks if mark in kinds), "method")
    if node.name == "__new__":
        kind = "new"
    return Call(owner, node.name, arguments, kind if owner else "function")


class Wild:
    """A source of arguments, and the objects that calls have made."""

    def __init__(self, module: Any, seed: int) -> None:
        self.module = module
        self.random = random.Random(seed)
        self.objects: dict[type, list[Any]] = {}
        for name in sorted(vars(module)):
            value = getattr(module, name)
            if not name.startswith("_") and name not in FATAL:
                self.keep(value)
        if module.__name__ == "phalanx._workers":
            import phalanx.multiprocessing as mp

            self.objects[mp.queues.Queue] = [mp.Queue(), mp.Queue(2), mp.Queue()]
            self.objects[mp.queues.SimpleQueue] = [mp.SimpleQueue()]

    def keep(self, value: Any) -> None:
        """Keep an object that a call made, in place of another once there are many."""
        kind = type(value)
        if (
            kind.__module__.rpartition(".")[2]
            != self.module.__name__.rpartition(".")[2]
        ):
            return
        if any(value == getattr(self.module, name, ...) for name in FATAL):
            return
        kept = self.objects.setdefault(kind, [])
        if len(kept) < KEPT:
            kept.append(value)
        elif self.random.random() < 0.5:
            kept[self.random.randrange(KEPT)] = value

    def one(self, *things: Any) -> Any:
        return self.random.choice(things)

    def object_of(self, name: str) -> Any:
        """An object of a class or of one derived from it; None if there is none."""
        cls = getattr(self.module, name, None)
        found = [
            value
            for kind, kept in self.objects.items()
            if isinstance(cls, type) and issubclass(kind, cls)
            for value in kept
        ]
        return self.random.choice(found) if found else None

    def integer(self) -> int:
        pick = self.random.random()
        if pick < 0.6:
            return self.random.choice(SMALL)
        if pick < 0.9:
            return self.random.choice(INTEGERS)
        return self.random.getrandbits(self.one(8, 31, 32, 62)) * self.one(1, -1)

    def array(self) -> Any:
        """Memory in some form; most often an array that a message takes."""
        pick = self.random.random()
        size = self.one(0, 1, 2, 3, 8, 16, 16, 64, 1000)
        if pick < 0.5:
            return np.zeros(size, self.one("i", "d", "i", "d", "B", "q"))
        if pick < 0.6:
            return np.zeros(size, self.one(*DTYPES))
        if pick < 0.7:
            return np.zeros((size, 2), "d")[:, :: self.one(1, 1, 2, -1)]
        if pick < 0.8:
            return bytearray(size)
        if pick < 0.9:
            return memoryview(bytearray(size))
        return self.one(bytes(size), np.array(5), np.zeros((2, 0, 3)), b"")

    def message(self) -> Any:
        pick = self.random.random()
        array = self.array()
        if pick < 0.4:
            return array
        kind = self.one(None, "i", "d", "MPI_INT", self.datatype(), self.datatype())
        if pick < 0.6:
            return [array, kind]
        if pick < 0.8:
            return [array, self.one(self.integer(), self.numbers()), kind]
        if pick < 0.95:
            both = (self.numbers(), self.one(None, self.numbers()))
            return [array, self.one(both, self.numbers()), kind]
        kinds = [self.datatype() for _ in range(self.one(0, 1, 2, 3))]
        return [array, self.one(None, self.numbers()), self.numbers(), kinds]

    def datatype(self) -> Any:
        return self.object_of("Datatype")

    def numbers(self) -> Any:
        numbers = [self.integer() for _ in range(self.one(0, 1, 1, 1, 2, 3, 8))]
        if self.random.random() < 0.15:
            with contextlib.suppress(OverflowError):
                return np.array(numbers, self.one("i", "q", "d"))
        return self.one(numbers, numbers, tuple(numbers))

    def function(self) -> Callable[..., Any]:
        def nothing(*arguments: Any) -> Any:
            return arguments[0] if arguments else None

        def fails(*arguments: Any) -> Any:
            raise ValueError("from a callback")

        return self.one(nothing, nothing, fails)

    def anything(self, depth: int = 0) -> Any:
        pick = self.random.randrange(11)
        if pick == 0:
            return self.integer()
        if pick == 1:
            return self.one(None, True, False, 1.5, float("nan"), 1e300, 2j, ...)
        if pick == 2:
            return self.one(*TEXTS)
        if pick == 3:
            return self.array()
        if pick == 4:
            return self.numbers()
        if pick == 5:
            return self.function()
        if pick == 6:
            return {self.one(*TEXTS): self.one(*TEXTS)}
        if pick == 7 and depth < 3:
            return [self.anything(depth + 1) for _ in range(self.one(0, 1, 2, 4))]
        if pick == 8:
            return self.one(object(), type, int, self.module, sys)
        if pick == 9:
            return self.message()
        kinds = list(self.objects)
        return self.one(*self.objects[self.one(*kinds)]) if kinds else None

    def argument(self, name: str, annotation: str) -> Any:
        """What one argument gets: most often something of its kind."""
        if self.random.random() < 0.1:
            wild = self.anything()
            # An error handler that raises ends the job, as it should.
            harmless = name != "errhandler_fn" or not callable(wild)
            return wild if harmless else print_nothing
        kind = self.one(*annotation.split(" | ")) if annotation else "Any"
        base = kind.partition("[")[0]
        if base in ("BufSpec", "BufSpecB", "BufSpecV", "BufSpecW", "TargetSpec"):
            return self.message()
        if base == "Buffer":
            return self.array()
        if base in ("int", "float", "Aint", "Count", "Offset"):
            return self.integer()
        if base in ("str", "bytes"):
            return self.one(*TEXTS)
        if base == "bool":
            return self.one(True, False)
        if base == "None":
            return None
        if base in ("Sequence", "list", "tuple", "Iterable"):
            inner = kind.partition("[")[2].rstrip("]").partition(",")[0]
            if inner == "int":
                return self.numbers()
            return [self.argument(name, inner) for _ in range(self.one(0, 1, 2, 3))]
        if base == "Callable":
            return self.function() if name != "errhandler_fn" else print_nothing
        if base == "InPlace":
            return getattr(self.module, "IN_PLACE", None)
        if base == "TypeSpec":
            return self.one(self.datatype(), "i", "MPI_INT")
        if isinstance(getattr(self.module, base, None), type):
            return self.object_of(base)
        if name in ("obj", "sendobj", "value", "state"):
            return self.anything()
        return self.one(self.integer(), self.numbers(), self.anything())


def print_nothing(*arguments: Any) -> None:
    """An error handler."""


def short(value: Any) -> str:
    """How an argument is written in the log."""
    if isinstance(value, np.ndarray):
        return f"np.zeros({value.shape}, {value.dtype.str!r})"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}({', '.join(map(short, value))})"
    if isinstance(value, types.FunctionType):
        return value.__name__
    if type(value).__module__ in ("builtins", "numpy"):
        return repr(value)[:60]
    return f"<{type(value).__name__}>"


class Interrupted(BaseException):
    """A call waited longer than `PATIENCE`."""


class Alarm:
    """Interrupts what waits in its `with` block.

    The signal may come to another thread, and so be seen here when all is over.
    """

    def __init__(self) -> None:
        self.is_set = False
        signal.signal(signal.SIGALRM, self.interrupt)

    def interrupt(self, number: int, frame: object) -> None:
        if self.is_set:
            raise Interrupted

    def __enter__(self) -> None:
        self.is_set = True
        signal.setitimer(signal.ITIMER_REAL, PATIENCE)

    def __exit__(self, *_: object) -> None:
        self.is_set = False
        signal.setitimer(signal.ITIMER_REAL, 0)


def make(wild: Wild, call: Call) -> tuple[str, Callable[[], Any]] | None:
    """One call with its arguments, as text and as a function."""
    last = {"shutdown", "timeout"}
    given = []
    for name, annotation in call.arguments:
        if name in last and wild.random.random() < 0.7:
            given.append(0)
        else:
            given.append(wild.argument(name, annotation))
    if wild.random.random() < 0.3:
        given = given[: wild.random.randrange(len(given) + 1)]
    owner = getattr(wild.module, call.owner) if call.owner else wild.module
    said = f"{call.owner}.{call.name}({', '.join(map(short, given))})"
    if call.kind == "new":
        return said, lambda: owner(*given)
    if call.kind in ("function", "static", "class"):
        return said, lambda: getattr(owner, call.name)(*given)
    instance = wild.object_of(call.owner)
    if instance is None:
        return None
    if call.kind == "property":
        return said, lambda: getattr(instance, call.name)
    if call.kind == "setter":
        return said, lambda: setattr(instance, call.name, *(given or [0]))
    return said, lambda: getattr(instance, call.name)(*given)


def limit_memory() -> None:
    """Have what asks for gigabytes refused, instead of filling them with zeros."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def main() -> int:
    name, seed, count = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    say = "--say" in sys.argv
    module = importlib.import_module(f"phalanx.{name}")
    calls = calls_of(Path(phalanx.__file__).parent / f"{name}.pyi")
    wild = Wild(module, seed)
    folder = os.environ.get("WILD_LAST")
    place = f"{folder}/{os.getpid()}" if folder else os.devnull
    last = os.open(place, os.O_RDWR | os.O_CREAT)
    alarm = Alarm()
    # What is mapped once does not count.
    if name == "_workers":
        module.family_fd()
    else:
        module.Free_mem(module.Alloc_mem(1))
    limit_memory()
    raised = waited = made = 0
    for number in range(count):
        found = make(wild, wild.random.choice(calls))
        if found is None:
            continue
        said, function = found
        if say:
            print(number, said, flush=True)
        os.pwrite(last, f"{number} {said}\n".encode(errors="replace")[:4000], 0)
        made += 1
        try:
            with alarm:
                result = function()
        except Interrupted:
            waited += 1
        except BaseException:
            raised += 1
        else:
            for value in result if isinstance(result, (list, tuple)) else [result]:
                wild.keep(value)
        if number % 1000 == 0:
            gc.collect()
    print(f"{made} calls, {raised} raised, {waited} waited", flush=True)
    os.pwrite(last, b"the end\n", 0)
    gc.collect()
    return 0


if __name__ == "__main__":
    sys.exit(main())
