"""Shared memory with a name, of which nothing outlives the program.

``SharedMemory`` and ``ShareableList`` are subclasses of the standard library's
with the same interface. The memory lies in the arena that the processes of a
program share, and its name in a table there: it stays until `unlink`, also when
nobody has it open, and is gone with the last process, however that one ends. No
resource tracker watches it, so none removes it while others use it.

Names that the table does not have are looked up in those of the program's
ancestors, for programs that were started by other means than this package, then
in /dev/shm, where unrelated programs put theirs. A new block gets a name that is in
none of them.
"""

from __future__ import annotations

import errno
import mmap
import os
import types
from collections.abc import Callable
from multiprocessing import shared_memory as _std
from typing import Any

from .._workers import SharedBuffer, names_add, names_get, names_remove

__all__ = ["ShareableList", "SharedMemory"]

_FOLDER = "/dev/shm"


class SharedMemory(_std.SharedMemory):
    """A block of memory that other processes open by its name.

    `create` makes a new block of `size` bytes, zeroed, under `name` or a name of
    its own; without, the block of that name is opened. `track` is accepted, and
    needs no attention: nothing is tracked.
    """

    _memory: SharedBuffer | None = None
    _prepend_leading_slash: bool
    _is_named = False  # by the caller

    def __init__(
        self,
        name: str | None = None,
        create: bool = False,
        size: int = 0,
        *,
        track: bool = True,
    ) -> None:
        if not size >= 0:
            raise ValueError("'size' must be a positive integer")
        if create:
            self._flags = os.O_CREAT | os.O_EXCL | os.O_RDWR
            if size == 0:
                raise ValueError("'size' must be a positive number different from zero")
        if name is None:
            if not self._flags & os.O_EXCL:
                raise ValueError("'name' can only be None if create=True")
            self._create_anonymous(size)
        else:
            _check(name)
            self._is_named = True
            self._name = "/" + name if self._prepend_leading_slash else name
            self._open(size)

    def _create_anonymous(self, size: int) -> None:
        make: Callable[[], str] = _std._make_filename  # type: ignore[attr-defined]
        while True:
            self._name = make()
            try:
                self._open(size)
            except FileExistsError:
                continue
            break

    def _open(self, size: int) -> None:
        """Create or attach, as the flags say (subclasses may change them)."""
        flags = self._flags
        name = _key(self.name)
        memory = None
        if not flags & os.O_EXCL:
            memory = names_get(name)
            if memory is None and self._open_foreign():
                return
        elif self._is_taken():
            raise _error(errno.EEXIST, self.name)
        while memory is None:
            if not flags & os.O_CREAT:
                raise _error(errno.ENOENT, self.name)
            memory = SharedBuffer(size)
            if not names_add(name, memory):
                if flags & os.O_EXCL:
                    raise _error(errno.EEXIST, self.name)
                # Somebody else was first to create it.
                memory = names_get(name)
        self._memory = memory
        self._size = memory.nbytes
        buffer: Any = memory
        self._buf = memoryview(buffer)

    def _is_taken(self) -> bool:
        """Whether a block of this program, an ancestor or another one has the name."""
        name = _key(self.name)
        # Looking at ancestors takes a while; a name that was drawn here is in use
        # in our own table at most, which says so when it is added.
        if self._is_named and names_get(name) is not None:
            return True
        return os.path.exists(os.path.join(_FOLDER, name))

    def _open_foreign(self) -> bool:
        """Attach a block of an unrelated program; False when there is none."""
        name = _key(self.name)
        if "/" in name or not name:
            return False
        try:
            fd = os.open(
                os.path.join(_FOLDER, name),
                os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW,
            )
        except FileNotFoundError:
            return False
        try:
            self._mmap = mmap.mmap(fd, os.fstat(fd).st_size)
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        self._size = len(self._mmap)
        self._buf = memoryview(self._mmap)
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, False, self.size)

    def close(self) -> None:
        """Give up this object's access; the memory stays until it is unlinked.

        Arrays that were made of `buf` stay valid, and keep the memory.
        """
        if self._memory is not None:
            # Not released: an array over it would lose its memory, unnoticed.
            self._buf = None  # type: ignore[assignment]
            self._memory = None
        super().close()

    def unlink(self) -> None:
        """Remove the name; the memory is freed when its last user closes it.

        Raises FileNotFoundError when the name has been removed before.
        """
        if not self._name:
            return
        _check(self.name)
        name = _key(self.name)
        if names_remove(name):
            return
        path = os.path.join(_FOLDER, name)
        if "/" in name or not name or not os.path.exists(path):
            raise _error(errno.ENOENT, self.name)
        os.unlink(path)


def _key(name: str) -> str:
    """What a name is in the table: shm_open takes no notice of leading slashes."""
    return name.lstrip("/")


def _check(name: str) -> None:
    """Refuse a name that no file could have."""
    if "\0" in name:
        raise ValueError("embedded null byte in the name of a SharedMemory")


def _error(code: int, name: str) -> OSError:
    """The error of this code: OSError makes FileNotFoundError and the like of it."""
    return OSError(code, os.strerror(code), name)


def _with_our_memory(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, to which SharedMemory is the class of this module."""
    names = {**vars(_std), "SharedMemory": SharedMemory}
    ours = types.FunctionType(
        function.__code__,
        names,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    ours.__kwdefaults__ = function.__kwdefaults__
    return ours


class ShareableList(_std.ShareableList[Any]):
    """A list of fixed length in a `SharedMemory`, the attribute `shm`."""

    __init__ = _with_our_memory(_std.ShareableList.__init__)
