"""Names for annotations: what buffers are and how messages may be written.

The names are those of ``mpi4py.typing``. Nothing here is needed at run time.
"""

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, runtime_checkable

from phalanx.MPI import BottomType, Datatype, InPlaceType

__all__ = [
    "Aint",
    "Bottom",
    "BufSpec",
    "BufSpecB",
    "BufSpecV",
    "BufSpecW",
    "Buffer",
    "Count",
    "Displ",
    "InPlace",
    "Offset",
    "SupportsBuffer",
    "SupportsCAI",
    "SupportsDLPack",
    "TargetSpec",
    "TypeSpec",
]


@runtime_checkable
class SupportsBuffer(Protocol):
    """Objects with the buffer protocol (PEP 688 names its method)."""

    def __buffer__(self, flags: int, /) -> memoryview: ...


@runtime_checkable
class SupportsDLPack(Protocol):
    """Objects that hand out their memory as a DLPack capsule."""

    def __dlpack__(self, /, *, stream: int | None = None) -> Any: ...

    def __dlpack_device__(self) -> tuple[int, int]: ...


@runtime_checkable
class SupportsCAI(Protocol):
    """Objects with the CUDA array interface."""

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]: ...


Buffer: TypeAlias = SupportsBuffer | SupportsDLPack | SupportsCAI
"""Memory in any of the ways that messages understand."""

Bottom: TypeAlias = BottomType | None
"""Start of the address space."""

InPlace: TypeAlias = InPlaceType | None
"""A collective's own part lies in the other buffer."""

Aint: TypeAlias = int
"""An address, or a difference of addresses."""

Count: TypeAlias = int
"""A number of entries."""

Displ: TypeAlias = int
"""A displacement in entries."""

Offset: TypeAlias = int
"""A place in a file."""

TypeSpec: TypeAlias = Datatype | str
"""A datatype, or the character or string that names one."""

BufSpec: TypeAlias = Buffer | list[Any] | tuple[Any, ...]
"""A buffer, or ``[buffer, count, displ, type]`` and its shorter forms."""

BufSpecB: TypeAlias = BufSpec
"""As `BufSpec`, for equal blocks: the count is that of one block."""

BufSpecV: TypeAlias = BufSpec
"""As `BufSpec`, with a count and a displacement for each rank."""

BufSpecW: TypeAlias = list[Any] | tuple[Any, ...]
"""``[buffer, counts, displs, types]``, with one of each for each rank."""

TargetSpec: TypeAlias = Displ | Sequence[Any] | None
"""Where one-sided communication goes: ``(displ, count, type)`` or less."""
