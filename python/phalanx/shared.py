"""NumPy arrays in shared memory, passed to other processes by handle.

    a = shared.zeros((1000, 1000))
    pool.map(work, [(a, row) for row in range(1000)])    # no element is copied

All processes see one memory: what a worker writes, everybody reads. Slices and
other views go by handle as well; results of arithmetic are ordinary arrays. The
memory is freed with the last array of it in any process. It has no name, so a
killed program leaves nothing behind.
"""

from __future__ import annotations

import math
import mmap
import operator
import os
from collections.abc import Sequence
from typing import Any, TypeAlias

try:
    import numpy as np
except ImportError as error:
    raise ImportError(
        "phalanx.shared needs NumPy, which is not installed here: "
        "python -m pip install numpy"
    ) from error
from numpy.typing import ArrayLike, DTypeLike

from ._workers import SharedBuffer

__all__ = [
    "SharedArray",
    "copy",
    "empty",
    "from_file",
    "full",
    "is_shared",
    "zeros",
]

Shape: TypeAlias = int | Sequence[int]


class SharedArray(np.ndarray[Any, Any]):
    """An array in memory that other processes can be given a handle to.

    Made by the functions of this module. Pickling one sends the handle as long as
    its memory is shared; what was copied out of shared memory (`a.copy()`,
    `a[[1, 2]]`) pickles as the ordinary array that it is.
    """

    def __reduce_ex__(self, protocol: Any) -> Any:
        memory = _memory(self)
        if memory is None or self.dtype.hasobject:
            return self.view(np.ndarray).__reduce_ex__(protocol)
        first = self.__array_interface__["data"][0] - memory.address
        place = (memory, first, self.shape, self.strides, self.dtype)
        return _attach, (*place, self.flags.writeable)

    def __array_wrap__(
        self, array: Any, context: Any = None, return_scalar: bool | None = None
    ) -> Any:
        """Results of ufuncs: ordinary arrays, and scalars as usual."""
        if return_scalar is None:
            return_scalar = array is not self  # NumPy 1 does not say.
        if array.ndim == 0 and return_scalar:
            return array[()]
        if array is self:
            return array
        # What is only seen in another way (`squeeze`) stays in shared memory.
        seen = context is None and _memory(array) is not None
        return array.view(SharedArray if seen else np.ndarray)

    def __getitem__(self, index: Any) -> Any:
        found = super().__getitem__(index)
        # What an index array or a mask picks is a copy.
        if type(found) is SharedArray and _memory(found) is None:
            return found.view(np.ndarray)
        return found


class _FileMap(mmap.mmap):
    """A mapped file that pickles as its path."""

    path: str
    identity: tuple[int, int]
    writable: bool

    @property
    def address(self) -> int:
        """Where the mapping begins in this process."""
        whole = np.frombuffer(self, np.uint8)
        return int(whole.__array_interface__["data"][0])

    def __reduce__(self) -> Any:
        return _map_file, (self.path, self.writable, self.identity)


def _map_file(
    path: str, writable: bool, identity: tuple[int, int] | None = None
) -> _FileMap:
    """Map a whole file; `identity` is the file that it has to be."""
    flags = os.O_RDWR if writable else os.O_RDONLY
    fd = os.open(path, flags | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        found = (status.st_dev, status.st_ino)
        if identity is not None and identity != found:
            raise FileNotFoundError(
                f"{path} is not the file that the array was made from: it was replaced "
                f"since. Make the array again, or write into the old file instead"
            )
        access = mmap.ACCESS_WRITE if writable else mmap.ACCESS_READ
        mapping = _FileMap(fd, 0, access=access)
    finally:
        os.close(fd)
    mapping.path, mapping.identity, mapping.writable = path, found, writable
    return mapping


def _memory(array: Any) -> SharedBuffer | _FileMap | None:
    """The shared memory that an array is a view of, if it is."""
    while array is not None:
        if isinstance(array, SharedBuffer | _FileMap):
            return array
        array = array.obj if isinstance(array, memoryview) else _base(array)
    return None


def _base(array: Any) -> Any:
    return array.base if isinstance(array, np.ndarray) else None


def _attach(
    memory: Any,
    first: int,
    shape: tuple[int, ...],
    strides: tuple[int, ...],
    dtype: np.dtype[Any],
    writable: bool,
) -> SharedArray:
    """The array that a handle describes."""
    array = SharedArray(shape, dtype, memory, first, strides)
    if not writable:
        array.flags.writeable = False
    return array


def empty(shape: Shape, dtype: DTypeLike = float, order: Any = "C") -> SharedArray:
    """Return a shared array whose elements are undefined.

    Raises MemoryError when the family's shared memory is full, and TypeError for
    elements that are Python objects.
    """
    return _make(shape, dtype, order, False)


def zeros(shape: Shape, dtype: DTypeLike = float, order: Any = "C") -> SharedArray:
    """Return a shared array of zeros."""
    return _make(shape, dtype, order, True)


def full(
    shape: Shape, fill_value: Any, dtype: DTypeLike | None = None, order: Any = "C"
) -> SharedArray:
    """Return a shared array with this value everywhere."""
    kind = np.asarray(fill_value).dtype if dtype is None else dtype
    array = _make(shape, kind, order, False)
    array[...] = fill_value
    return array


def copy(array: ArrayLike, dtype: DTypeLike | None = None) -> SharedArray:
    """Return a shared copy of an array, in the order of its elements in memory."""
    source = np.asanyarray(array)
    order = "F" if source.flags.fnc else "C"
    shared = _make(source.shape, source.dtype if dtype is None else dtype, order, False)
    shared[...] = source
    return shared


def _make(shape: Shape, dtype: DTypeLike, order: Any, zero: bool) -> SharedArray:
    kind = np.dtype(dtype)
    if kind.hasobject:
        raise TypeError(
            f"elements of type {kind} are Python objects, which only one process has: "
            f"choose numbers, fixed-length text or records of such"
        )
    sizes = _sizes(shape)
    count = math.prod(sizes)
    memory: Any = SharedBuffer(max(1, count * kind.itemsize), zero=zero)
    return SharedArray(sizes, kind, memory, order=order)


def _sizes(shape: Shape) -> tuple[int, ...]:
    given = (shape,) if isinstance(shape, int | np.integer) else shape
    sizes = tuple(operator.index(size) for size in given)
    if any(size < 0 for size in sizes):
        raise ValueError(f"shape {sizes}: negative dimensions are not possible")
    return sizes


def from_file(
    path: str | os.PathLike[str],
    dtype: DTypeLike = np.uint8,
    shape: Shape | None = None,
    mode: str = "r",
    offset: int = 0,
    order: Any = "C",
) -> SharedArray:
    """Return an array of what a file contains, without reading it all.

    All processes share the system's cache of the file; a worker is given the path.
    `mode` is "r" (read only), "r+" (writing changes the file) or "w+" (makes the
    file, of zeros, or empties it first; needs `shape`). `offset` is in bytes. Without
    `shape`, one axis takes all the file has from there.
    """
    text = os.path.abspath(os.fspath(path))
    kind = np.dtype(dtype)
    if mode not in ("r", "r+", "w+"):
        raise ValueError(
            f'mode={mode!r}: give "r", "r+" or "w+"; private changes ("c") cannot be '
            f"shared, numpy.memmap has them"
        )
    if kind.hasobject or kind.itemsize == 0:
        raise TypeError(f"elements of type {kind} cannot lie in a file")
    if offset < 0:
        raise ValueError(f"offset={offset}: expected the bytes to leave out, 0 or more")
    if shape is not None:
        sizes = _sizes(shape)
    elif mode == "w+":
        raise ValueError('mode="w+" makes a new file: shape must tell its size')
    else:
        rest = os.path.getsize(text) - offset
        if rest < 0:
            raise ValueError(f"offset={offset}: {text} has {rest + offset} bytes only")
        if rest % kind.itemsize:
            raise ValueError(
                f"{text} has {rest} bytes from offset {offset} on, which is no "
                f"multiple of the {kind.itemsize} bytes of {kind}"
            )
        sizes = (rest // kind.itemsize,)
    wanted = offset + math.prod(sizes) * kind.itemsize
    if mode == "w+":
        with open(text, "wb") as file:
            file.truncate(max(1, wanted))
    there = os.path.getsize(text)
    if there < wanted:
        raise ValueError(
            f"{text} has {there} bytes, but shape {sizes} of {kind} at offset {offset} "
            f"needs {wanted}"
        )
    if there == 0:
        return SharedArray(sizes, kind)
    memory = _map_file(text, mode != "r")
    return SharedArray(sizes, kind, memory, offset, order=order)


def is_shared(array: Any) -> bool:
    """Return whether an array (or other view) lies in memory that goes by handle.

    True for arrays of this module and their views. An ordinary view of such an
    array, `numpy.asarray(a)`, lies in that memory too, but is copied when pickled.
    """
    return _memory(array) is not None
