"""NumPy dtypes from MPI datatypes, and the other way round."""

from typing import Any

from phalanx import MPI
from phalanx.MPI import _typealign  # type: ignore[attr-defined]

try:
    from numpy import dtype as _np_dtype
except ImportError:  # Descriptions of dtypes are made without NumPy as well.
    _np_dtype = None  # type: ignore[assignment,misc]

__all__ = ["from_numpy_dtype", "to_numpy_dtype"]


def from_numpy_dtype(dtype: Any) -> MPI.Datatype:
    """Return a new datatype for a NumPy dtype; whoever calls this frees it.

    Raises `ValueError` for a dtype of another byte order, of objects, or of bytes
    without a type; `RuntimeError` without NumPy.
    """
    if _np_dtype is None:
        raise RuntimeError("a dtype cannot be read: NumPy is not installed")
    dtype = _np_dtype(dtype)
    if dtype.hasobject:
        raise ValueError(f"{dtype!r}: objects have no datatype; expected plain data")
    if not dtype.isnative:
        raise ValueError(f"{dtype!r}: expected the byte order of this machine")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        element = from_numpy_dtype(base)
        try:
            # A subarray and not a contiguous type: the shape can be told again.
            return element.Create_subarray(shape, shape, (0,) * len(shape))
        finally:
            element.Free()
    if dtype.fields is None:
        if dtype.kind == "V":
            raise ValueError(f"{dtype!r}: expected fields or numbers")
        code = f"S{dtype.itemsize}" if dtype.kind == "S" else dtype.char
        if dtype.kind == "S" and dtype.itemsize != 1:
            return MPI.CHAR.Create_contiguous(dtype.itemsize)
        return MPI.Datatype.fromcode("c" if dtype.kind == "S" else code).Dup()
    members: list[MPI.Datatype] = []
    try:
        offsets = []
        for name in dtype.names:
            field, offset = dtype.fields[name][:2]
            members.append(from_numpy_dtype(field))
            offsets.append(offset)
        struct = MPI.Datatype.Create_struct([1] * len(members), offsets, members)
        try:
            return struct.Create_resized(0, dtype.itemsize)
        finally:
            struct.Free()
    finally:
        for member in members:
            member.Free()


def to_numpy_dtype(datatype: MPI.Datatype) -> Any:
    """Return the NumPy dtype of a datatype, or without NumPy its description.

    Raises `ValueError` for the null datatype, a subarray that is only a part of its
    array, and bounds that no dtype has.
    """
    if datatype == MPI.DATATYPE_NULL:
        raise ValueError("the null datatype has no dtype")
    described = _describe(datatype)
    return described if _np_dtype is None else _np_dtype(described)


def _describe(datatype: MPI.Datatype) -> Any:
    """Return what `numpy.dtype` takes: a code, ``(base, shape)``, or fields."""
    base, combiner, made = datatype.decode()
    try:
        if combiner == "NAMED" or combiner.startswith("F90_"):
            for pair, value, index in _PAIRS:
                if datatype == pair:
                    return _pair(value, index)
            return datatype.tocode() if _np_dtype is None else datatype.typestr
        if combiner == "VALUE_INDEX":
            return _pair(made["value"], made["index"])
        if combiner == "STRUCT":
            return _fields(
                datatype, made["blocklengths"], made["displacements"], made["datatypes"]
            )
        if combiner == "DUP":
            return to_numpy_dtype(base)
        if combiner == "CONTIGUOUS":
            return (to_numpy_dtype(base), (made["count"],))
        if combiner == "SUBARRAY":
            if list(made["sizes"]) != list(made["subsizes"]):
                raise ValueError("a subarray that is a part of its array has no dtype")
            shape = tuple(made["sizes"])
            if made["order"] == MPI.ORDER_FORTRAN:
                shape = shape[::-1]
            return (to_numpy_dtype(base), shape)
        if combiner == "RESIZED":
            return _resized(base, made["lb"], made["extent"])
        unit = 1 if combiner.startswith("H") else base.extent
        if combiner in ("VECTOR", "HVECTOR"):
            places = [unit * made["stride"] * n for n in range(made["count"])]
            lengths = [made["blocklength"]] * made["count"]
        elif "displacements" in made and combiner in _INDEXED:
            places = [unit * place for place in made["displacements"]]
            lengths = made.get("blocklengths") or [made["blocklength"]] * len(places)
        else:
            raise ValueError(f"a datatype made by {combiner} has no dtype")
        return _fields(datatype, lengths, places, [base] * len(places))
    finally:
        for part in (base, *made.get("datatypes", ())):
            if part is not datatype and not part.is_predefined:
                part.Free()


_INDEXED = ("INDEXED", "HINDEXED", "INDEXED_BLOCK", "HINDEXED_BLOCK")

_PAIRS = (
    (MPI.SHORT_INT, MPI.SHORT, MPI.INT),
    (MPI.INT_INT, MPI.INT, MPI.INT),
    (MPI.LONG_INT, MPI.LONG, MPI.INT),
    (MPI.FLOAT_INT, MPI.FLOAT, MPI.INT),
    (MPI.DOUBLE_INT, MPI.DOUBLE, MPI.INT),
    (MPI.LONG_DOUBLE_INT, MPI.LONG_DOUBLE, MPI.INT),
)


def _alignment(described: Any, datatype: MPI.Datatype) -> int:
    if _np_dtype is not None:
        return int(_np_dtype(described).alignment)
    return _typealign(datatype) or 1


def _size(described: Any, datatype: MPI.Datatype) -> int:
    if _np_dtype is not None:
        return int(_np_dtype(described).itemsize)
    fields = isinstance(described, dict)
    return int(described["itemsize"]) if fields else datatype.extent


def _pair(value: MPI.Datatype, index: MPI.Datatype) -> Any:
    align = _typealign(index) or 1
    place = -(-value.extent // align) * align
    whole = max(align, _typealign(value) or 1)
    size = -(-(place + index.extent) // whole) * whole
    return {
        "names": ["f0", "f1"],
        "formats": [to_numpy_dtype(value), to_numpy_dtype(index)],
        "offsets": [0, place],
        "itemsize": size,
        "aligned": True,
    }


def _fields(
    datatype: MPI.Datatype, lengths: Any, places: Any, members: list[MPI.Datatype]
) -> Any:
    formats: list[Any] = []
    ends = []
    align = 1
    aligned = True
    for length, place, member in zip(lengths, places, members, strict=True):
        one = to_numpy_dtype(member)
        here = _alignment(one, member)
        align = max(align, here)
        aligned = aligned and place % here == 0
        # A dtype begins at 0, where the first field need not be.
        ends.append(place + length * _size(one, member))
        formats.append(one if length == 1 else (one, (length,)))
    size = max([datatype.extent, *ends])
    return {
        "names": [f"f{n}" for n in range(len(formats))],
        "formats": formats,
        "offsets": list(places),
        "itemsize": size,
        "aligned": aligned and size % align == 0,
    }


def _resized(base: MPI.Datatype, lower: int, extent: int) -> Any:
    # Not its dtype: the padding that MPI adds may be what is taken away here.
    described = _describe(base)
    if not isinstance(described, dict):
        if lower == 0 and extent == base.extent:
            return described
        raise ValueError(
            f"lower bound {lower} and extent {extent} around {described!r}: only "
            "fields have a dtype of another size"
        )
    if lower != 0:
        raise ValueError(f"lower bound {lower}: a dtype begins at 0")
    places = zip(described["formats"], described["offsets"], strict=True)
    aligned = _np_dtype is not None and all(
        place % _np_dtype(one).alignment == 0 and extent % _np_dtype(one).alignment == 0
        for one, place in places
    )
    return {**described, "itemsize": extent, "aligned": aligned}
