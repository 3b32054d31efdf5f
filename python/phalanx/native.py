"""C functions in shared libraries: handles that pickle, and calls on many threads.

    square = CFunc("./libsquare.so", "square", "void", ["double*", "size_t"])
    square(array, len(array))        # one call
    native.map(square, array)        # slices of the array, on all CPUs
    pool.map(square_file, files)     # a task may use `square`, or get it as argument

A handle holds a path, a name and types. The library is loaded by the first call
in each process, and calls run without the interpreter lock.
"""

import ctypes
import itertools
import operator
import os
import re
import struct
import threading
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["CFunc", "map"]

# Names of C types, and the type strings of arrays that hold them.
_INTEGERS: dict[str, Any] = {
    "char": ctypes.c_byte,
    "signed char": ctypes.c_byte,
    "unsigned char": ctypes.c_ubyte,
    "short": ctypes.c_short,
    "unsigned short": ctypes.c_ushort,
    "int": ctypes.c_int,
    "unsigned": ctypes.c_uint,
    "unsigned int": ctypes.c_uint,
    "long": ctypes.c_long,
    "unsigned long": ctypes.c_ulong,
    "long long": ctypes.c_longlong,
    "unsigned long long": ctypes.c_ulonglong,
    "size_t": ctypes.c_size_t,
    "ssize_t": ctypes.c_ssize_t,
    "ptrdiff_t": ctypes.c_ssize_t,
    "intptr_t": ctypes.c_ssize_t,
    "uintptr_t": ctypes.c_size_t,
    **{f"int{n}_t": getattr(ctypes, f"c_int{n}") for n in (8, 16, 32, 64)},
    **{f"uint{n}_t": getattr(ctypes, f"c_uint{n}") for n in (8, 16, 32, 64)},
}
_SCALARS: dict[str, Any] = {
    "bool": ctypes.c_bool,
    "_Bool": ctypes.c_bool,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "long double": ctypes.c_longdouble,
    **_INTEGERS,
}
_COMPLEX = {
    "float complex": "c8",
    "float _Complex": "c8",
    "double complex": "c16",
    "double _Complex": "c16",
}

# Say nothing about what an argument has to be (`__restrict` is written as well).
_QUALIFIERS = ("const", "restrict", "volatile")
# What `ctypes.byref` returns.
_Reference = type(ctypes.byref(ctypes.c_int()))
# The base of what `ctypes.CFUNCTYPE` makes.
_Callback: Any = ctypes.CFUNCTYPE(None).__base__

_ADDRESSES = (int, ctypes._SimpleCData, ctypes._Pointer, _Reference)
_RANGES = {
    kind: (0, 2**bits - 1) if kind(-1).value > 0 else (-(2 ** (bits - 1)), high)
    for kind in _INTEGERS.values()
    for bits in (8 * ctypes.sizeof(kind),)
    for high in (2 ** (bits - 1) - 1,)
}

Array = Any
CType = Any


class _Pointer:
    """A pointer argument: what it points to, and whether C only reads it.

    `element` is that of arrays as NumPy writes it: "f8"; "V" for records, which is
    what an array is that stands for a struct; None for any (`void*`).
    """

    def __init__(self, target: str, element: str | None, const: bool) -> None:
        self.target = target
        self.element = element
        self.const = const

    def __str__(self) -> str:
        return f"{'const ' if self.const else ''}{self.target}*"


def _element(ctype: Any) -> str:
    """Kind and size of an array element as NumPy writes them: "f8"."""
    code = ctype._type_
    kind = "f" if code in "fdg" else "b" if code == "?" else "u"
    if kind == "u" and code not in "BHILQ":
        kind = "i"
    return f"{kind}{ctypes.sizeof(ctype)}"


def _plain(words: list[str]) -> str:
    """The usual name of a type: "unsigned long" for "long unsigned int"."""
    rest = [word for word in words if word not in ("int", "signed", "unsigned")]
    if "unsigned" in words:
        return " ".join(["unsigned", *rest])
    if "signed" in words and rest == ["char"]:
        return "signed char"
    return " ".join(rest) or ("int" if words else "")


def _named(text: str) -> Any:
    """The type that a C declaration names: a ctypes type, a _Pointer, or None."""
    words = re.sub(r"\*", " * ", text).split()
    const = "const" in words
    words = [word for word in words if word.strip("_") not in _QUALIFIERS]
    pointer = words[-1:] == ["*"]
    name = _plain(words[:-1] if pointer else words)
    if pointer:
        if name in _SCALARS:
            return _Pointer(name, _element(_SCALARS[name]), const)
        if name in _COMPLEX or name == "void":
            return _Pointer(name, _COMPLEX.get(name), const)
        if name:
            return _Pointer(name, "V", const)
    elif name in _SCALARS:
        return _SCALARS[name]
    elif name == "void":
        return None
    known = ", ".join([*_SCALARS, *_COMPLEX])
    raise TypeError(
        f"{text!r} is not a C type known here; give one of {known}, a pointer to it "
        f'("const double*"), or a ctypes type'
    )


def _normal(given: Any) -> Any:
    """The type as it is kept: pointers of ctypes become _Pointer."""
    if isinstance(given, str):
        return _named(given)
    target = getattr(given, "_type_", None)
    if isinstance(given, type) and issubclass(given, ctypes._Pointer):
        name = next((name for name, c in _SCALARS.items() if c is target), None)
        if name is None:
            name = getattr(target, "__name__", "void")
            known = isinstance(target, type) and _is_simple(target)
            return _Pointer(name, "V" if known else None, False)
        return _Pointer(name, _element(target), False)
    if given is None or (isinstance(given, type) and _is_simple(given)):
        return given
    raise TypeError(
        f"{given!r} is not a type for a C function: give a C declaration such as "
        f'"const double*" or a ctypes type'
    )


def _is_simple(given: type) -> bool:
    kinds = (ctypes._SimpleCData, ctypes.Structure, ctypes.Union, _Callback)
    return issubclass(given, kinds)


def _memory(array: Array) -> tuple[int, str, tuple[int, ...], bool, Any]:
    """Address, element, shape, whether writable, and what keeps the memory there.

    Raises TypeError when it is no array and ValueError when it is in pieces.
    """
    interface = getattr(array, "__array_interface__", None)
    if interface is not None:
        if interface.get("strides") is not None:
            raise ValueError(
                "the array is not contiguous: pass numpy.ascontiguousarray(array), "
                "a copy, and copy back what C wrote"
            )
        address, readonly = interface["data"]
        element = interface["typestr"]
        if element[0] == ">":
            raise TypeError(f"the array's bytes are in the other order ({element})")
        return address, element[1:], interface["shape"], not readonly, array
    if isinstance(array, bytes):
        address = ctypes.cast(ctypes.c_char_p(array), ctypes.c_void_p).value or 0
        return address, "u1", (len(array),), False, array
    try:
        view = memoryview(array)
    except TypeError:
        raise TypeError(
            f"a {type(array).__name__} is no array; numpy.array(it, dtype) makes one"
        ) from None
    if not view.c_contiguous:
        raise ValueError("the memory is not contiguous")
    if view.readonly:
        raise TypeError(
            f"{type(array).__name__} is read-only: pass numpy.frombuffer(it, dtype)"
        )
    code = view.format.lstrip("@=<")
    kind = "f" if code in "efd" else "b" if code == "?" else "u"
    if kind == "u" and code in "bhilqn":
        kind = "i"
    whole = (ctypes.c_char * view.nbytes).from_buffer(view.cast("B"))
    element = f"{kind}{struct.calcsize(code)}"
    return ctypes.addressof(whole), element, tuple(view.shape or ()), True, whole


def _fits(element: str, pointer: _Pointer) -> bool:
    if pointer.element in (None, element, element[:1]):
        return True
    # A `char` array holds bytes of any kind.
    return pointer.target.endswith("char") and element[1:] == "1"


class CFunc:
    """A function in a shared library, as a handle that pickles.

    `path` names the library: a file, or a name that the loader looks for
    ("libm.so.6"). A relative file is looked up now, so that workers in other
    folders find the same one. `restype` and `argtypes` are C declarations
    ("void", "size_t", "const double*") or ctypes types; `argtypes` may be left
    out for functions that ctypes can call without.

    Arrays go where the declaration has a pointer. Their element type must match,
    and they must be contiguous, and writable unless the pointer is `const`.
    """

    __slots__ = (
        "__weakref__",
        "_call",
        "_types",
        "argtypes",
        "name",
        "path",
        "restype",
    )

    path: str
    name: str
    restype: CType
    argtypes: tuple[CType, ...] | None

    def __init__(
        self,
        path: str | os.PathLike[str],
        name: str,
        restype: CType = None,
        argtypes: Sequence[CType] | None = None,
    ) -> None:
        text = os.fspath(path)
        # With a slash the loader takes it for a file, relative to the process.
        if os.sep in text or os.path.exists(text):
            text = os.path.abspath(text)
        self.path = text
        self.name = name
        self.restype = restype
        self.argtypes = None if argtypes is None else tuple(argtypes)
        self._types: tuple[Any, ...] | None = None
        if self.argtypes is not None:
            self._types = tuple(_normal(kind) for kind in self.argtypes)
            if None in self._types:
                raise TypeError(f"{self}: an argument cannot be void")
        _normal(restype)
        self._call: Callable[..., Any] | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        types = self.argtypes and [_portable(kind) for kind in self.argtypes]
        return CFunc, (self.path, self.name, _portable(self.restype), types)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, CFunc):
            return NotImplemented
        return self.__reduce__() == other.__reduce__()

    def __hash__(self) -> int:
        return hash((self.path, self.name))

    def __getattr__(self, name: str) -> Any:
        # As other functions say who they are.
        if name in ("__name__", "__qualname__"):
            return self.name
        raise AttributeError(
            f"{type(self).__name__!r} object has no attribute {name!r}"
        )

    def __str__(self) -> str:
        kinds = self.argtypes
        inner = "..." if kinds is None else ", ".join(_spelled(kind) for kind in kinds)
        return f"{_spelled(self.restype)} {self.name}({inner})"

    def __repr__(self) -> str:
        return f"<CFunc {self} in {self.path}>"

    def load(self) -> Callable[..., Any]:
        """Load the library, and return the plain function.

        Pointers are addresses in its arguments. Raises OSError when there is no
        such library and AttributeError when it has no such function.
        """
        if self._call is not None:
            return self._call
        try:
            # Not as an attribute: that would be the object of every handle to it.
            function = _library(self.path)[self.name]
        except AttributeError:
            raise AttributeError(
                f"{self.path} has no function {self.name!r}. A C++ function needs "
                f'extern "C", a static one is not visible; '
                f"`nm -D --defined-only {self.path}` lists what there is"
            ) from None
        result = _normal(self.restype)
        function.restype = ctypes.c_void_p if isinstance(result, _Pointer) else result
        if self._types is not None:
            function.argtypes = [
                ctypes.c_void_p if isinstance(kind, _Pointer) else kind
                for kind in self._types
            ]
        self._call = function
        return self._call

    def __call__(self, *args: Any) -> Any:
        """Call the function; arrays are passed by address."""
        call = self.load()
        kinds = self._types
        if kinds is None:
            kinds = (None,) * len(args)
        elif len(kinds) != len(args):
            raise TypeError(f"{self}: {len(kinds)} arguments wanted, {len(args)} given")
        keep: list[Any] = []
        values = [
            self._value(index, kind, value, keep)
            for index, (kind, value) in enumerate(zip(kinds, args, strict=True))
        ]
        try:
            return call(*values)
        except ctypes.ArgumentError as error:
            raise self._refusal(error, values) from None

    def _refusal(self, error: ctypes.ArgumentError, values: list[Any]) -> TypeError:
        """What ctypes says of an argument, with the function and what was given."""
        found = re.match(r"argument (\d+): (?:TypeError: )?(.*)", str(error))
        if found is None:
            return TypeError(f"{self}: {error}")
        number = int(found[1])
        wanted = _spelled(self.argtypes[number - 1]) if self.argtypes else "a C value"
        given = values[number - 1]
        return TypeError(
            f"argument {number} of {self}: {wanted} wanted, "
            f"{type(given).__name__} given ({given!r:.60})"
        )

    def _value(self, index: int, kind: Any, value: Any, keep: list[Any]) -> Any:
        """What ctypes is given for an argument."""
        if kind is None:
            if hasattr(value, "__array_interface__"):
                return ctypes.c_void_p(_memory(value)[0])
            return value
        if not isinstance(kind, _Pointer):
            return self._integer(index, kind, value) if kind in _RANGES else value
        if value is None or isinstance(value, _ADDRESSES):
            return value
        if isinstance(value, _Callback):
            keep.append(value)
            return ctypes.cast(value, ctypes.c_void_p)
        if isinstance(value, ctypes.Structure | ctypes.Union):
            keep.append(value)
            return ctypes.addressof(value)
        if isinstance(value, bytes) and kind.const:
            return value
        address, _, holder = self._array(index, kind, value)
        keep.append(holder)
        return address

    def _integer(self, index: int, kind: Any, value: Any) -> Any:
        """An integer that fits: C would take the lowest bits of any."""
        if not hasattr(value, "__index__"):
            return value
        number = operator.index(value)
        low, high = _RANGES[kind]
        if not low <= number <= high:
            raise OverflowError(
                f"argument {index + 1} of {self}: {number} is not in the range from "
                f"{low} to {high}"
            )
        return number

    def _array(
        self, index: int, kind: _Pointer, value: Array
    ) -> tuple[int, tuple[int, ...], Any]:
        """Address, shape and keeper of an array for a pointer argument."""
        where = f"argument {index + 1} of {self}"
        try:
            address, element, shape, writable, holder = _memory(value)
        except (TypeError, ValueError) as error:
            raise type(error)(f"{where}: {error}") from None
        if not _fits(element, kind) and kind.element == "V":
            raise TypeError(
                f"{where}: {kind.target!r} is no type of numbers known here; an array "
                f"for a struct has records (numpy.dtype([...])) as elements"
            )
        if not _fits(element, kind):
            raise TypeError(
                f"{where}: an array of {kind.target} ({kind.element}) wanted, one of "
                f"{getattr(value, 'dtype', element)} given; array.astype makes a copy "
                f"of another type"
            )
        if not writable and not kind.const:
            raise TypeError(
                f"{where}: the array is read-only; when C does not write to it, "
                f'declare the argument as "const {kind.target}*"'
            )
        return address, shape, holder


def _portable(kind: CType) -> CType:
    """A type that pickles: pointer types of ctypes have no name to pickle by."""
    normal = _normal(kind)
    return str(normal) if isinstance(normal, _Pointer) else kind


def _spelled(kind: CType) -> str:
    if kind is None:
        return "void"
    if isinstance(kind, str):
        return kind
    normal = _normal(kind)
    return str(normal) if isinstance(normal, _Pointer) else str(normal.__name__)


_libraries: dict[str, ctypes.CDLL] = {}


def _library(path: str) -> ctypes.CDLL:
    """The loaded library; loaded libraries stay."""
    known = _libraries.get(path)
    if known is not None:
        return known
    if os.sep in path and not os.path.exists(path):
        source = os.path.basename(path).removeprefix("lib").removesuffix(".so")
        raise FileNotFoundError(
            f"no shared library at {path}. To compile one: "
            f"cc -O3 -shared -fPIC -o {os.path.basename(path)} {source}.c"
        )
    try:
        library = ctypes.CDLL(path)
    except OSError as error:
        raise OSError(
            f"{path} cannot be loaded: {error}. `ldd {path}` lists the libraries it "
            f"needs; the machine that compiled it must be of the same kind"
        ) from None
    _libraries[path] = library
    return library


def _default_threads() -> int:
    """As many as OMP_NUM_THREADS says (pools set it), or CPUs to use."""
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    if first.isdecimal() and int(first) > 0:
        return int(first)
    from .multiprocessing._placement import usable_cpus

    return usable_cpus()


def map(
    cfunc: CFunc,
    *arrays: Array,
    extra: Sequence[Any] = (),
    threads: int | None = None,
    chunk: int | None = None,
) -> list[Any]:
    """Run a C function over slices of arrays, on threads without the interpreter lock.

    The function takes one pointer per array, then the length of the slice, then
    `extra`, the same for every slice (arrays in it are passed whole):

        void scale(double *x, const double *y, size_t n, double factor);

        native.map(scale, x, y, extra=[0.5])

    Arrays are cut along their first axis, all in the same places, so the length is
    in rows: pass the width of a row in `extra`. `chunk` is the length of a slice
    (default: four slices per thread), `threads` how many work (default:
    OMP_NUM_THREADS, or the CPUs that this process may use). The function must not
    mind being called by several threads at once.

    Returns what the function returned, slice by slice in order. Ctrl-C and errors
    take effect when the slices under way are done.
    """
    if not arrays:
        raise TypeError(f"native.map({cfunc.name}): give at least one array to cut")
    kinds = cfunc._types
    if kinds is None:
        raise TypeError(f"native.map({cfunc.name}): the handle needs argtypes")
    wanted = len(arrays) + 1 + len(extra)
    if len(kinds) != wanted:
        raise TypeError(
            f"native.map({cfunc}): {len(arrays)} arrays, the length and {len(extra)} "
            f"extra arguments are {wanted}, the function has {len(kinds)}"
        )
    if kinds[len(arrays)] not in _INTEGERS.values():
        raise TypeError(
            f"native.map({cfunc}): argument {len(arrays) + 1} is the length of the "
            f'slice and must be an integer type such as "size_t"'
        )
    pieces: list[tuple[int, int]] = []
    keep: list[Any] = []
    rows: int | None = None
    for index, (kind, array) in enumerate(zip(kinds, arrays, strict=False)):
        if not isinstance(kind, _Pointer):
            raise TypeError(f"native.map({cfunc}): argument {index + 1} is no pointer")
        address, shape, holder = cfunc._array(index, kind, array)
        if not shape:
            raise TypeError(
                f"argument {index + 1} of {cfunc}: an array of no dimension"
            )
        if rows is not None and shape[0] != rows:
            raise ValueError(
                f"native.map({cfunc.name}): the arrays have {rows} and {shape[0]} rows"
            )
        rows = shape[0]
        keep.append(holder)
        size = array.nbytes if hasattr(array, "nbytes") else memoryview(array).nbytes
        pieces.append((address, size // rows if rows else 0))
    rest = [
        cfunc._value(len(arrays) + 1 + index, kind, value, keep)
        for index, (kind, value) in enumerate(
            zip(kinds[len(arrays) + 1 :], extra, strict=True)
        )
    ]
    return _run(cfunc, pieces, rest, keep, rows or 0, threads, chunk)


def _run(
    cfunc: CFunc,
    pieces: list[tuple[int, int]],
    rest: list[Any],
    keep: list[Any],
    rows: int,
    threads: int | None,
    chunk: int | None,
) -> list[Any]:
    """Slices as tasks; the calling thread is one of the threads."""
    threads = _default_threads() if threads is None else threads
    if threads < 1:
        raise ValueError(f"threads={threads}: at least one thread has to work")
    if chunk is None:
        chunk = max(1, -(-rows // (4 * threads)))
    elif chunk < 1:
        raise ValueError(f"chunk={chunk}: a slice has at least one row")
    starts = range(0, rows, chunk)
    results: list[Any] = [None] * len(starts)
    errors: list[BaseException] = []
    turn = itertools.count()
    call = cfunc.load()

    def work(_memory: list[Any]) -> None:
        try:
            # Only one thread at a time is in `next`: it holds the interpreter lock.
            for index in turn:
                if index >= len(starts) or errors:
                    return
                start = starts[index]
                addresses = [address + start * width for address, width in pieces]
                values = [*addresses, min(chunk, rows - start), *rest]
                try:
                    results[index] = call(*values)
                except ctypes.ArgumentError as error:
                    raise cfunc._refusal(error, values) from None
        except BaseException as error:
            errors.append(error)

    # Each has the memory itself, whatever becomes of the caller.
    others = [
        threading.Thread(
            target=work, args=(keep,), name=f"phalanx-native-{number}", daemon=True
        )
        for number in range(1, min(threads, len(starts)))
    ]
    started: list[threading.Thread] = []
    try:
        for thread in others:
            started.append(thread)
            thread.start()
    except RuntimeError:
        started.pop()  # The system has no room for more: those that run do it all.
    except BaseException as error:
        errors.append(error)
    work(keep)
    _join(started, errors)
    if errors:
        raise errors[0]
    return results


def _join(threads: list[threading.Thread], errors: list[BaseException]) -> None:
    """Wait for threads, which use the caller's memory, even through Ctrl-C."""
    while True:
        try:
            for thread in threads:
                while thread.is_alive():
                    thread.join()
            return
        except BaseException as error:
            errors.append(error)
